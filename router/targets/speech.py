"""A provider's deltas → events, for every lane: however they are chopped, indexed or interleaved.

Everything that affects how pieces become Text, Thought, ToolInput and ToolCall lives here. Pieces of one kind that come
together leave together: a lane takes the events after each read, and an answer in a hurry costs by the read, not by the word.
"""

import itertools
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import msgspec

from router.chat import ESCAPED, Json, JsonObject, ReasoningState, crowded, deeper, finite, mended, no_constant, whole
from router.errors import ContentFiltered, TargetDown
from router.events import CUT_SHORT, Event, Finish, Reason, Text, Thought, ToolCall, ToolInput
from router.targets.counts import tokens
from router.usage import Meter, Usage

REASONS: dict[str, Reason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "max_output_tokens": "length",
    "tool_calls": "tool-calls",
    "tool_use": "tool-calls",
    "function_call": "tool-calls",
    "content_filter": "content-filter",
    "refusal": "content-filter",
    "safety": "content-filter",
    "sensitive": "content-filter",
    "guardrail_intervened": "content-filter",
    "content_filtered": "content-filter",
    "prohibited_content": "content-filter",
    "blocklist": "content-filter",
    "spii": "content-filter",
    "recitation": "content-filter",
    "image_safety": "content-filter",
    "image_prohibited_content": "content-filter",
    "image_recitation": "content-filter",
    "model_armor": "content-filter",
    "unknown": "unknown",
}

BROKEN = frozenset({"error", "network_error", "abort", "insufficient_system_resource"})
"""Reasons that are no end: what a provider says whose own source broke off (OpenRouter and Mistral, Z.ai, vLLM, DeepSeek)."""

MAX_CALLS = 128
MAX_DEPTH = 100
"""Levels of nesting in one call's arguments: what can just be read can no longer be written, not in calls of Python's own."""
MAX_VALUES = 50_000
"""JSON values in one call's arguments."""
MAX_LOOKS = 64
"""How often it is looked whether a call's arguments are whole, and where they may have begun anew: each takes time for all of them."""
MAX_ARGUMENTS = 1024 * 1024
"""Characters of one call's arguments. A model that writes more is not calling a tool any more."""


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}")
"""A model's name."""


class Joined:
    """Text whose surrogate pairs are whole: half an emoji waits for its other half, or becomes U+FFFD."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, piece: str) -> str:
        """What of the text is whole now."""
        if not self._half and piece.isascii():
            return piece
        piece, self._half = self._half + piece, ""
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        return whole(piece)

    def end(self) -> str:
        """What is left of a half."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""


THINK, THOUGHT = "<think>", "</think>"
MAX_BLANK = 64
"""Characters of white space that may stand before `<think>`."""


class Opening:
    """The start of an answer whose model may write its thoughts into it, as `<think>…</think>`. Over after the closing tag,
    or as soon as there is something else. A closing tag alone is text: nobody can tell which text before it was a thought.
    """

    def __init__(self) -> None:
        self.held = ""
        """What may be the beginning of a tag."""
        self.within = False
        """Whether the opening tag was there."""
        self.over = False

    def feed(self, piece: str) -> tuple[str, str]:
        """What is certain now: thought, and text after it."""
        piece, self.held = self.held + piece, ""
        if not self.within:
            start = piece.lstrip()
            self.within = start.startswith(THINK) and len(piece) - len(start) <= MAX_BLANK
            if not self.within:
                self.over = not THINK.startswith(start) or len(piece) - len(start) > MAX_BLANK
                self.held = "" if self.over else piece
                return "", piece if self.over else ""
            piece = start.removeprefix(THINK)
        thought, tag, text = piece.partition(THOUGHT)
        if tag:
            self.over = True
            return thought, text
        most = len(THOUGHT) - 1
        kept = next((size for size in range(min(most, len(piece)), 0, -1) if THOUGHT.startswith(piece[-size:])), 0)
        self.held = piece[len(piece) - kept :]
        return piece[: len(piece) - kept], ""


BYTES_OF_A_TOKEN = 4
MAX_STATES = 256
"""Reasoning states of one model call."""
MAX_STATE = 4 * 1024 * 1024
"""Bytes of all of them together. A provider that sends more, or what cannot be sent again, gets none of them back."""


class Cutter:
    """Ends a text where one of these texts begins, for a model that takes no `stop`."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        """What may be the beginning of one."""
        self.over = False

    def feed(self, piece: str) -> str:
        """What of the text is certain to come before any of them."""
        piece, self._held = self._held + piece, ""
        found = [at for stop in self._stops if (at := piece.find(stop)) >= 0]
        if found:
            self.over = True
            return piece[: min(found)]
        longest = max(map(len, self._stops)) - 1
        kept = next(
            (size for size in range(min(longest, len(piece)), 0, -1) if any(stop.startswith(piece[-size:]) for stop in self._stops)), 0
        )
        self._held = piece[len(piece) - kept :]
        return piece[: len(piece) - kept]

    def end(self) -> str:
        """What is left: the text is over without them."""
        held, self._held = self._held, ""
        return held


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where we end an answer ourselves, because its model cannot be told to.

    stops: texts that end it
    tokens: the most that it may have, estimated at four bytes each; None where the model was told
    """

    stops: tuple[str, ...] = ()
    tokens: int | None = None


UNBOUND = Bounds()
"""The provider ends it."""


@dataclass(frozen=True, slots=True)
class Marked:
    """Reasoning state, and where it came: after so many characters of text, beside a call, or after so many calls."""

    value: JsonObject
    at: int
    call: "Pending | None"
    calls: int


@dataclass(slots=True)
class Pending:
    """A call whose arguments are still coming."""

    index: int
    call_id: str
    name: str
    theirs: str = ""
    """The id that the provider gave it."""
    parts: list[str] = field(default_factory=list[str])
    size: int = 0
    unsaid: str = ""
    """Of its arguments, what is not told yet: an empty object may only hold the place of one."""
    over: bool = False
    """Whether all was told, and comes again."""
    looks: int = 0
    """How often it was looked whether they are whole."""

    @property
    def written(self) -> str:
        """Its arguments so far."""
        return "".join(self.parts)


class Speech:
    """One model call's deltas, as events. Feed what came, `take` what that makes; `end` when the provider is done."""

    def __init__(self, target: str, issuer: str = "") -> None:
        self.target = target
        self._cutter: Cutter | None = None
        self._left: int | None = None
        """Bytes that the answer may still have; None where its provider counts."""
        self.cut = False
        """Whether we ended the answer: nothing more of it is read."""
        self._issuer = issuer
        self._states: list[Marked] = []
        self._states_size = 0
        """Bytes of all the state that came, whether it is kept or not."""
        self._last_states: Callable[[], Iterable[JsonObject]] | None = None
        self._written = 0
        """Characters of text in the events that were made."""
        self._text = Joined()
        self._thought = Joined()
        self._events: list[Event] = []
        self._run: list[str] = []
        """Pieces that follow each other, and are all of the kind `_kind`."""
        self._kind: type[Text | Thought] = Text
        self._calls: list[Pending] = []
        self._ids: dict[tuple[int, str], Pending] = {}
        self._latest: dict[int, Pending] = {}
        self._reason: str | None = None
        self.meter = Meter()
        self._opening: Opening | None = Opening()
        self.said = False
        self.model: str | None = None
        """What the provider calls the model; empty where that is no name, None where it has not said."""
        self.finished = False
        """Whether the provider said why it ends: what it says after that does not count."""
        self.resumed: int = 0
        """How often that was taken back."""

    def bound(self, bounds: Bounds) -> None:
        """End the answer at these bounds."""
        self._cutter = Cutter(bounds.stops) if bounds.stops else None
        self._left = None if bounds.tokens is None else bounds.tokens * BYTES_OF_A_TOKEN

    def take(self) -> list[Event]:
        """The events of what was fed since the last time."""
        self._close_run()
        events, self._events = self._events, []
        return events

    def _close_run(self) -> None:
        if self._run:
            piece = "".join(self._run)
            self._run.clear()
            if self._cutter is not None or self._left is not None:
                piece = "" if self.cut else self._bounded(piece)
            if piece:
                self._events.append(self._kind(piece))
            if self._kind is Text:
                self._written += len(piece)

    def _bounded(self, piece: str) -> str:
        """What of a piece the answer may still have."""
        if self._cutter is not None and self._kind is Text:
            piece = self._cutter.feed(piece)
            if self._cutter.over:
                self._cut("stop")
        if self._left is not None:
            encoded = piece.encode()
            if len(encoded) > self._left:
                piece = encoded[: self._left].decode(errors="ignore")
                self._cut("length")
            self._left -= min(len(encoded), self._left)
        return piece

    def _cut(self, reason: str) -> None:
        if not self.cut:
            self.cut = True
            self._reason = reason
            self.finished = True
            self._calls.clear()

    def _extend_run(self, kind: type[Text | Thought], piece: str) -> None:
        if kind is not self._kind:
            self._close_run()
            self._kind = kind
        self._run.append(piece)

    def text(self, piece: str) -> None:
        """A piece of the answer. What stands in `<think>` at its very start is a thought."""
        if piece := self._text.feed(piece):
            if self._opening is not None:
                self._opened(self._opening, piece)
                return
            self.said = True
            if self._kind is Text:
                self._run.append(piece)  # as nearly always: it goes on
            else:
                self._extend_run(Text, piece)

    def thought(self, piece: str) -> None:
        """A piece of reasoning. Who says that it is one does not write it into the answer as well."""
        if piece := self._thought.feed(piece):
            if self._opening is not None:
                self._settled(self._opening)
            self._extend_run(Thought, piece)

    def _opened(self, opening: Opening, piece: str) -> None:
        thought, text = opening.feed(piece)
        if opening.over:
            self._opening = None
        if thought:
            self._extend_run(Thought, thought)
        if text:
            self.said = True
            self._extend_run(Text, text)

    def _settled(self, opening: Opening) -> None:
        """The answer's start is over: what was held of it."""
        self._opening = None
        if held := opening.held:
            self.said = self.said or not opening.within
            self._extend_run(Thought if opening.within else Text, held)

    def call(self, index: int, call_id: str, name: str, part: str) -> None:
        """A piece of a tool call. A new id begins a new call, whatever its index, and so does a new name; a repeated name is the
        same name, unless the arguments were whole and others begin. Arguments that come again under their id are the same ones.
        """
        if self._opening is not None:
            self._settled(self._opening)
        call_id, name = whole(call_id), whole(name)
        known = self._known(index, call_id, name, part)
        how = "another" if known is None else _follows(known, call_id, name, part)
        if how == "repeated":
            return
        pending = self._begun(index, call_id, name) if known is None or how == "another" else known
        if how == "instead":
            pending.parts.clear()
            pending.unsaid = ""
        if name and not pending.name:
            pending.name = name
        if part:
            pending.over = pending.over or how == "again"
            pending.size += len(part)
            if pending.size > MAX_ARGUMENTS:
                raise TargetDown(self.target, "malformed")
            pending.parts.append(part)
            if not pending.over:
                self._input(pending, part)

    def _input(self, pending: Pending, part: str) -> None:
        """Tell a piece of a call's arguments, as soon as its name is known and they are more than an empty object."""
        if not pending.name:
            return
        if len(pending.parts) == 1 and part.strip() in EMPTY:
            pending.unsaid = part
            return
        self._close_run()
        self._events.append(ToolInput(pending.call_id, pending.name, whole(pending.unsaid + part)))
        pending.unsaid = ""

    def _known(self, index: int, call_id: str, name: str, part: str) -> Pending | None:
        """The call that a piece may belong to."""
        known = self._ids.get((index, call_id)) if call_id else self._latest.get(index)
        if known is None and call_id and name:
            # All of it once more, at another place.
            alike = (one for one in self._calls if one.theirs == call_id and one.name == name)
            known = next((one for one in alike if _follows(one, call_id, name, part) == "repeated"), None)
        return known

    def _begun(self, index: int, call_id: str, name: str) -> Pending:
        if len(self._calls) >= MAX_CALLS:
            raise TargetDown(self.target, "malformed")
        taken = {pending.call_id for pending in self._calls}
        unique = call_id if call_id and call_id not in taken else f"call_{secrets.token_hex(12)}"
        pending = Pending(index, unique, name, call_id)
        self._calls.append(pending)
        self._latest[index] = pending
        if call_id:
            self._ids[index, call_id] = pending
        return pending

    def state(self, value: JsonObject, call: int | None = None) -> None:
        """Reasoning state that the provider wants back with the results of the calls, in its own form. `call`: the index of the call
        that it stands beside, if it does; state that comes between two calls belongs to the second.
        """
        size = _size(value)
        self._states_size += MAX_STATE + 1 if size is None or len(self._states) >= MAX_STATES else size
        if self._states_size > MAX_STATE:
            self._states.clear()
            return
        self._close_run()
        beside = None if call is None else self._latest.get(call)
        self._states.append(Marked(cast("JsonObject", mended(value)), self._written, beside, len(self._calls)))

    def states_at_end(self, states: Callable[[], Iterable[JsonObject]]) -> None:
        """Reasoning state that is whole only when the answer is."""
        self._last_states = states

    def _stated(self, calls: Sequence[Pending]) -> Iterator[Event]:
        """The reasoning state of this model call."""
        for value in self._last_states() if self._last_states is not None else ():
            self.state(value)
        for one in self._states:
            beside = one.call or next((call for call in self._calls[one.calls :] if one.calls and call in calls), None)
            yield ReasoningState(self._issuer, one.value, beside.call_id if beside else "", self._written - one.at)

    @property
    def used(self) -> Usage | None:
        """Tokens so far, where the provider said."""
        return self.meter.usage

    @property
    def counted(self) -> bool:
        """Whether the provider said what it used: then there is nothing left to say."""
        return self.finished and self.meter.usage is not None

    @property
    def answered(self) -> bool:
        """Whether this is an answer already: its end was told, and there is something in it."""
        return self.finished and (self.said or bool(self._calls))

    def done(self) -> None:
        """The provider marks the end: without a reason, it is an end all the same."""
        self.finish("unknown")

    def finish(self, reason: str) -> None:
        """The provider says why it ends. The first reason stands."""
        self._reason = self._reason or reason
        self.finished = True
        self.meter.final = self.counted

    def resume(self) -> None:
        """Take back that the provider ended: it gives a reason with each piece that it says."""
        self._reason = None
        self.finished = self.meter.final = False
        self.resumed += 1

    def called(self, model: object) -> None:
        """The provider names the model. What is no name, or a long one, is a provider's words, which go nowhere."""
        self.model = model if isinstance(model, str) and NAME.fullmatch(model) else ""

    def usage(
        self,
        input_tokens: float,
        output_tokens: float,
        *,
        cached: float = 0,
        cache_write: float = 0,
        reasoning: float = 0,
        cache_write_1h: float = 0,
    ) -> None:
        """The provider says what it used, in tokens. The last word stands, as some count as they go; but nothing is no word.

        The caches' share belongs to the input and reasoning to the output: see Usage. What is more than all of the input was counted
        beside it.
        """
        before = self.meter.usage or Usage()
        read, hit, stored, lasting = map(tokens, (input_tokens, cached, cache_write, cache_write_1h))
        if not read + hit + stored:
            read, hit, stored = before.input_tokens, before.cached_tokens, before.cache_write_tokens
            lasting = before.cache_write_1h_tokens
        elif hit + stored > read:
            read += hit + stored
        written, thought = tokens(output_tokens) or before.output_tokens, tokens(reasoning) or before.reasoning_tokens
        self.meter.usage = Usage(read, written, hit, stored, min(thought, written), min(lasting, stored))
        self.meter.final = self.finished

    def end(self) -> Iterator[Event]:
        """The rest, and the Finish. TargetDown where the provider stopped without an end, or says that it broke off."""
        if rest := self._thought.end():
            self._extend_run(Thought, rest)
        if rest := self._text.end():
            if self._opening is not None:
                self._opened(self._opening, rest)
            else:
                self._extend_run(Text, rest)
        if self._opening is not None:
            self._settled(self._opening)
        self._close_run()
        if self._cutter is not None and not self.cut and (rest := self._cutter.end()):
            self._events.append(Text(rest))
        yield from self.take()
        if self._reason is None or self._reason.lower() in BROKEN:
            raise TargetDown(self.target, "cut")
        reason = REASONS.get(self._reason.lower(), "other")
        calls = [pending for pending in sorted(self._calls, key=lambda one: one.index) if pending.name]
        if calls:
            yield from self._stated(calls)
        for pending in calls:
            if pending.unsaid:
                yield ToolInput(pending.call_id, pending.name, pending.unsaid)
        for pending in calls:
            made = _called(pending)
            if reason in CUT_SHORT and pending is self._calls[-1] and not pending.written.strip():
                made = replace(made, malformed="")  # its arguments had not begun
            yield made
        if calls and reason == "stop":
            reason = "tool-calls"  # some servers say stop whatever they ask for
        if reason == "content-filter" and not self.said and not calls:
            raise ContentFiltered(self.target, "content_filter")
        yield Finish(reason, self.meter.usage, model=self.model or "")


def _size(value: JsonObject) -> int | None:
    """Bytes of a reasoning state as JSON; None where it cannot be sent to its provider again."""
    if deeper(value, MAX_DEPTH):
        return None
    try:
        return len(msgspec.json.encode(mended(value)))
    except (OverflowError, TypeError, ValueError):
        return None


EMPTY = ("{}", "null")
"""Arguments that hold the place of others, where a gateway has none yet; or there are none."""
Follows = Literal["on", "again", "instead", "repeated", "another"]
"""How a piece follows what is known of a call: it goes on; all of it comes once more, piece by piece or in this one piece; it stands in the
place of an empty object; it begins another call of the same tool.
"""


def _follows(known: Pending, call_id: str, name: str, part: str) -> Follows:
    if name and known.name and name != known.name:
        return "another"
    if not known.parts or not part.lstrip().startswith("{"):
        return "on"
    if not known.parts[-1].rstrip().endswith(("}", "null")) or known.looks >= MAX_LOOKS:
        return "on"
    known.looks += 1
    if (held := _arguments(known.written)) is None:
        return "on"
    new = _arguments(part)
    if not held and new != held and (new is None or not name):
        return "instead"
    if new == held and (call_id or not name):
        return "repeated"
    if name and (new is not None or not call_id):
        return "another"  # from a server that sends calls whole and tells them apart by nothing
    return "again"


def _called(pending: Pending) -> ToolCall:
    written = whole(pending.written)
    # Nothing is how some models write that there are none.
    value: JsonObject | None = _arguments(written) if written.strip() else {}
    if value is None:
        value = _last(pending.parts)
    if value is None or deeper(cast("object", value), MAX_DEPTH):
        return ToolCall(pending.call_id, pending.name, {}, written)
    if ESCAPED.search(written):
        value = cast("JsonObject", mended(cast("Json", value)))
    return ToolCall(pending.call_id, pending.name, value)


def _arguments(written: str) -> JsonObject | None:
    """Arguments as an object; None where they are no whole one, or hold too many values."""
    if crowded(written.encode("utf-8", "surrogatepass"), MAX_VALUES):
        return None
    try:
        value: object = json.loads(written, parse_float=finite, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return None
    return {} if value is None else cast("JsonObject", value) if isinstance(value, dict) else None


def _last(parts: list[str]) -> JsonObject | None:
    """The arguments, where a server began with them anew: what came before is the beginning of what came then, or all of it; once, or
    with every piece.
    """
    starts = [at for at, part in enumerate(parts) if part.lstrip().startswith("{")]
    for at in reversed(starts[1:][-MAX_LOOKS:]):
        if (value := _arguments(rest := "".join(parts[at:]).strip())) is not None:
            begun = ["".join(parts[one:after]).strip() for one, after in itertools.pairwise(one for one in starts if one <= at)]
            return value if rest.startswith("".join(parts[:at]).strip()) or all(map(rest.startswith, begun)) else None
    return None
