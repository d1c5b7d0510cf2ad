"""A provider's deltas → events, for every lane: however they are chopped, indexed or interleaved.

Everything that affects how pieces become Text, Thought, ToolInput and ToolCall lives here. Pieces of one kind that come
together leave together: a lane takes the events after each read, and an answer in a hurry costs by the read, not by the word.
"""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from router.chat import ESCAPED, Json, JsonObject, ReasoningState, deeper, finite, mended, no_constant, whole
from router.errors import ContentFiltered, TargetDown
from router.events import Event, Finish, Reason, Text, Thought, ToolCall, ToolInput, Usage

REASONS: dict[str, Reason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool-calls",
    "tool_use": "tool-calls",
    "function_call": "tool-calls",
    "content_filter": "content-filter",
    "refusal": "content-filter",
    "safety": "content-filter",
    "unknown": "unknown",
}

BROKEN = frozenset({"error", "network_error", "abort", "insufficient_system_resource"})
"""Reasons that are no end: what a provider says whose own source broke off (OpenRouter and Mistral, Z.ai, vLLM, DeepSeek)."""

MAX_CALLS = 128
MAX_DEPTH = 100
"""Levels of nesting in one call's arguments: what can just be read can no longer be written, not in calls of Python's own."""
MAX_ARGUMENTS = 1024 * 1024
"""Characters of one call's arguments. A model that writes more is not calling a tool any more."""


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}")
"""A model's name."""
MOST_TOKENS = 1_000_000_000
"""More than any model reads or writes at once: whoever counts them counts something else."""


def tokens(count: float | None) -> int:
    """A provider's count; none where it is no number of tokens (infinite, below nothing, not there)."""
    return int(count) if count is not None and 0 <= count <= MOST_TOKENS else 0


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
"""Characters of all of them together. A provider that sends more gets none of them back."""


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
    """Reasoning state, and where it came: after so many characters of text, or beside a call."""

    value: JsonObject
    at: int
    call: "Pending | None"


@dataclass(slots=True)
class Pending:
    """A call whose arguments are still coming."""

    index: int
    call_id: str
    name: str
    parts: list[str] = field(default_factory=list[str])
    size: int = 0


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
        self._usage: Usage | None = None
        self._opening: Opening | None = Opening()
        self.said = False
        self.model: str | None = None
        """What the provider calls the model; empty where that is no name, None where it has not said."""
        self.finished = False
        """Whether the provider said why it ends: what it says after that does not count."""

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
        same name, unless the arguments were whole and begin once more.
        """
        if self._opening is not None:
            self._settled(self._opening)
        call_id, name = whole(call_id), whole(name)
        pending = self._pending(index, call_id, name, part)
        if name and not pending.name:
            pending.name = name
        if part:
            pending.size += len(part)
            if pending.size > MAX_ARGUMENTS:
                raise TargetDown(self.target, "malformed")
            pending.parts.append(part)
            if pending.name:
                self._close_run()
                self._events.append(ToolInput(pending.call_id, pending.name, whole(part)))

    def _pending(self, index: int, call_id: str, name: str, part: str) -> Pending:
        known = self._ids.get((index, call_id)) if call_id else self._latest.get(index)
        if known is not None and (not name or not known.name or (name == known.name and not _begins_again(known, part))):
            return known
        if len(self._calls) >= MAX_CALLS:
            raise TargetDown(self.target, "malformed")
        taken = {pending.call_id for pending in self._calls}
        unique = call_id if call_id and call_id not in taken else f"call_{secrets.token_hex(12)}"
        pending = Pending(index, unique, name)
        self._calls.append(pending)
        self._latest[index] = pending
        if call_id:
            self._ids[index, call_id] = pending
        return pending

    def state(self, value: JsonObject, call: int | None = None) -> None:
        """Reasoning state that the provider wants back with the results of the calls, in its own form. `call`: the index of the call
        that it stands beside, if it does.
        """
        if len(self._states) < MAX_STATES:
            self._close_run()
            self._states.append(Marked(value, self._written, None if call is None else self._latest.get(call)))

    def _stated(self) -> Iterator[Event]:
        """The reasoning state of this model call. None where there is too much of it to keep."""
        if self._states and len(json.dumps([one.value for one in self._states])) <= MAX_STATE:
            for one in self._states:
                yield ReasoningState(self._issuer, one.value, one.call.call_id if one.call else "", self._written - one.at)

    @property
    def used(self) -> tuple[int, int] | None:
        """Tokens read and written so far, where the provider said."""
        return (self._usage.input_tokens, self._usage.output_tokens) if self._usage else None

    @property
    def counted(self) -> bool:
        """Whether the provider said what it used: then there is nothing left to say."""
        return self.finished and self._usage is not None

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

    def called(self, model: object) -> None:
        """The provider names the model. What is no name, or a long one, is a provider's words, which go nowhere."""
        self.model = model if isinstance(model, str) and NAME.fullmatch(model) else ""

    def usage(self, input_tokens: float, output_tokens: float) -> None:
        """The provider says what it used. The last word stands: some count as they go."""
        self._usage = Usage(tokens(input_tokens), tokens(output_tokens))

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
        calls = [pending for pending in sorted(self._calls, key=lambda one: one.index) if pending.name]
        if calls:
            yield from self._stated()
        for pending in calls:
            yield _called(pending)
        reason = REASONS.get(self._reason.lower(), "other")
        if calls and reason == "stop":
            reason = "tool-calls"  # some servers say stop whatever they ask for
        if reason == "content-filter" and not self.said and not calls:
            raise ContentFiltered(self.target, "content_filter")
        yield Finish(reason, self._usage, model=self.model or "")


def _begins_again(pending: Pending, part: str) -> bool:
    """Whether this is another call of the same tool, from a server that sends calls whole and tells them apart by nothing."""
    return len(pending.parts) == 1 and part.lstrip().startswith("{") and _called(pending).malformed is None


def _called(pending: Pending) -> ToolCall:
    written = whole("".join(pending.parts))
    try:
        # Nothing and null are how some models write that there are none.
        value: object = {} if written.strip() in ("", "null") else json.loads(written, parse_float=finite, parse_constant=no_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or deeper(cast("object", value), MAX_DEPTH):
        return ToolCall(pending.call_id, pending.name, {}, written)
    if ESCAPED.search(written):
        value = mended(cast("Json", value))
    return ToolCall(pending.call_id, pending.name, cast("JsonObject", value))
