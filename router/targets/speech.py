"""Deltas of a provider → events, for every lane: however they are chopped, indexed or interleaved.

Everything that affects how pieces become Text, Thought, ToolInput and ToolCall lives here. Pieces of one kind that come
together leave together: a lane takes the events after each read, and an answer in a hurry costs by the read, not by the word.
"""

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from router.chat import JsonObject, ReasoningState, deeper, mended, repaired
from router.errors import ContentFiltered, TargetDown
from router.events import CUT_SHORT, Event, Finish, Produced, Reason, Source, Text, Thought, ToolInput
from router.targets.counts import Apart, each
from router.targets.open_call import EMPTY, MAX_DEPTH, OpenCall, called_by, follows
from router.targets.text_filters import AnswerLimits, Cutter, Joined, Opening
from router.usage import Meter, Usage
from router.value import replace

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
"""Finish reasons that mean a failure: the provider's own source broke off (OpenRouter and Mistral, Z.ai, vLLM, DeepSeek)."""

MAX_CALLS = 128
MAX_ARGUMENTS = 1024 * 1024
"""Characters of one call's arguments. A model that writes more is not calling a tool any more."""


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}")
"""A model's name."""


BYTES_OF_A_TOKEN = 4
MAX_STATES = 256
"""Reasoning states of one model call."""
MAX_STATE = 4 * 1024 * 1024
"""Bytes of all states together. A provider that sends more, or state that cannot be sent again, gets no state back."""
MAX_SOURCES = 256
"""Sources of one model call; more are left out."""
MAX_PRODUCED = 16 * 1024 * 1024
"""Characters of all files of one model call, in base64; a file beyond them is left out."""
log = logging.getLogger("router.targets")


@dataclass(frozen=True, slots=True)
class Marked:
    """Reasoning state, and where it came: after so many characters of text, beside a call, or after so many calls."""

    value: JsonObject
    at: int
    call: "OpenCall | None"
    calls: int


class Speech:
    """Assembler of one model call's deltas into events: feed each delta, `take` the events, and `end` when the provider is done."""

    def __init__(self, target: str, issuer: str = "") -> None:
        self.target = target
        self._cutter: Cutter | None = None
        self._left: int | None = None
        """Bytes that the answer may still have; None where its provider counts."""
        self.cut = False
        """True if the router ended the answer: nothing more of it is read."""
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
        self._calls: list[OpenCall] = []
        self._ids: dict[tuple[int, str], OpenCall] = {}
        self._latest: dict[int, OpenCall] = {}
        self._reason: str | None = None
        self.meter = Meter()
        self._opening: Opening | None = Opening()
        self._sources: set[Source] = set()
        self._produced = 0
        """Characters of the files so far."""
        self._left_out = False
        """True once the log says that a file was left out."""
        self.said = False
        self.model: str | None = None
        """The provider's name of the model; empty if it is not a name, None if the provider sent none."""
        self.finished = False
        """True once the provider sent a finish reason: later content does not count."""
        self.resumed: int = 0
        """Times that a finish reason was taken back."""

    def bound(self, bounds: AnswerLimits) -> None:
        """End the answer at these bounds."""
        self._cutter = Cutter(bounds.stops) if bounds.stops else None
        self._left = None if bounds.tokens is None else bounds.tokens * BYTES_OF_A_TOKEN

    def take(self) -> list[Event]:
        """Return the events of all that was fed since the last call."""
        if self._cutter is None and self._left is None and self._kind is Text and not self._events:
            # As nearly always: one text without bounds.
            if not (piece := "".join(self._run)):
                return []
            del self._run[:]
            self._written += len(piece)
            return [Text(piece)]
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
        """Return the part of a piece that is within the bounds."""
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
        """Add a piece of the answer. Text in `<think>` at its very start is a thought."""
        if self._text.half or not piece.isascii():  # nearly always both halves of all pairs are here
            piece = self._text.feed(piece)
        if piece:
            if self._opening is not None:
                self._opened(self._opening, piece)
                return
            self.said = True
            if self._kind is Text:
                self._run.append(piece)  # as nearly always: it goes on
            else:
                self._extend_run(Text, piece)

    def thought(self, piece: str) -> None:
        """Add a piece of reasoning. A provider that marks reasoning does not write it into the answer as well."""
        if piece := self._thought.feed(piece):
            if self._opening is not None:
                self._settled(self._opening)
            self._extend_run(Thought, piece)

    def source(self, found: Source | None) -> None:
        """Add a source that the text before it is taken from, once in each model call; None for one that no client may have."""
        if found is None or found in self._sources or self.cut or len(self._sources) >= MAX_SOURCES:
            return
        self._sources.add(found)
        self._shown(found)

    def file(self, found: Produced | None) -> None:
        """Add a file that the model made; None for one that no client may have, which the log says."""
        if self.cut:
            return
        if found is None or self._produced + len(found.data) > MAX_PRODUCED:
            if not self._left_out:
                self._left_out = True
                log.warning("file_left_out", extra={"fields": {"target": self.target}})
            return
        self._produced += len(found.data)
        self.said = True
        self._shown(found)

    def _shown(self, found: Source | Produced) -> None:
        if self._opening is not None:
            self._settled(self._opening)
        self._close_run()
        self._events.append(found)

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
        """End the answer's start, and add the text that it still held."""
        self._opening = None
        if held := opening.held:
            self.said = self.said or not opening.within
            self._extend_run(Thought if opening.within else Text, held)

    def call(self, index: int, call_id: str, name: str, part: str) -> None:
        """Add a piece of a tool call. A new id begins a new call, whatever its index, and so does a new name.

        A repeated name continues the call, unless the arguments were complete and others begin. Arguments repeated under their id are
        ignored.
        """
        if self._opening is not None:
            self._settled(self._opening)
        call_id, name = repaired(call_id), repaired(name)
        known = self._known(index, call_id, name, part)
        how = "another" if known is None else follows(known, call_id, name, part)
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

    def _input(self, pending: OpenCall, part: str) -> None:
        """Emit a piece of a call's arguments, once the name is known and they are more than an empty object."""
        if not pending.name:
            return
        if len(pending.parts) == 1 and part.strip() in EMPTY:
            pending.unsaid = part
            return
        self._close_run()
        self._events.append(ToolInput(pending.call_id, pending.name, repaired(pending.unsaid + part)))
        pending.unsaid = ""

    def _known(self, index: int, call_id: str, name: str, part: str) -> OpenCall | None:
        """Return the call that a piece may belong to."""
        known = self._ids.get((index, call_id)) if call_id else self._latest.get(index)
        if known is None and call_id and name:
            # The complete call once more, at another index.
            alike = (one for one in self._calls if one.theirs == call_id and one.name == name)
            known = next((one for one in alike if follows(one, call_id, name, part) == "repeated"), None)
        return known

    def _begun(self, index: int, call_id: str, name: str) -> OpenCall:
        if len(self._calls) >= MAX_CALLS:
            raise TargetDown(self.target, "malformed")
        taken = {pending.call_id for pending in self._calls}
        unique = call_id if call_id and call_id not in taken else f"call_{secrets.token_hex(12)}"
        pending = OpenCall(index, unique, name, call_id)
        self._calls.append(pending)
        self._latest[index] = pending
        if call_id:
            self._ids[index, call_id] = pending
        return pending

    def state(self, value: JsonObject, call: int | None = None) -> None:
        """Add reasoning state that the provider wants back with the results of the calls, in its own form.

        `call`: the index of the call that it stands beside, if any; state that comes between two calls belongs to the second.
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
        """Set the source of reasoning state that is complete only at the end of the answer."""
        self._last_states = states

    def _stated(self, calls: Sequence[OpenCall]) -> Iterator[Event]:
        """Return the reasoning state of this model call."""
        for value in self._last_states() if self._last_states is not None else ():
            self.state(value)
        for one in self._states:
            beside = one.call or next((call for call in self._calls[one.calls :] if one.calls and call in calls), None)
            yield ReasoningState(self._issuer, one.value, beside.call_id if beside else "", self._written - one.at)

    @property
    def used(self) -> Usage | None:
        """The tokens so far; None if the provider sent no count."""
        return self.meter.usage

    @property
    def counted(self) -> bool:
        """True once the provider sent its finish reason and its usage: nothing is left to read."""
        return self.finished and self.meter.usage is not None

    @property
    def answered(self) -> bool:
        """True once the answer is complete: it has a finish reason, and text or calls."""
        return self.finished and (self.said or bool(self._calls))

    def done(self) -> None:
        """Record the provider's mark of the end, which is an end even without a reason."""
        self.finish("unknown")

    def finish(self, reason: str) -> None:
        """Record a finish reason. The first one stands."""
        self._reason = self._reason or reason
        self.finished = True
        self.meter.final = self.meter.usage is not None

    def resume(self) -> None:
        """Take back the finish reason, for a provider that sends one with each piece."""
        self._reason = None
        self.finished = self.meter.final = False
        self.resumed += 1

    def called(self, model: object) -> None:
        """Record the provider's name of the model. Any other text, or a name too long, is dropped: a provider's words go nowhere."""
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
        apart: Apart | None = None,
    ) -> None:
        """Record the provider's usage, in tokens. The last count stands, as some count as they go; a count of zero is ignored.

        The caches' share belongs to the input and reasoning to the output: see Usage. A cache share larger than the input was counted
        beside it, and is added.
        """
        before = self.meter.usage or Usage()
        read, hit, stored, lasting, written, thought = each(input_tokens, cached, cache_write, cache_write_1h, output_tokens, reasoning)
        if not read + hit + stored:
            read, hit, stored = before.input_tokens, before.cached_tokens, before.cache_write_tokens
            lasting = before.cache_write_1h_tokens
        elif hit + stored > read:
            read += hit + stored
        written, thought = written or before.output_tokens, thought or before.reasoning_tokens
        counted = Usage(
            read,
            written,
            hit,
            stored,
            min(thought, written),
            min(lasting, stored),
            before.audio_input_tokens,
            before.audio_output_tokens,
            before.image_output_tokens,
            before.searches,
            before.service_tier,
        )
        self.meter.usage = counted if apart is None else apart.over(counted)
        self.meter.final = self.finished

    def end(self) -> Iterator[Event]:
        """Return the remaining events and the Finish. TargetDown if the provider sent no finish reason, or one that means a failure."""
        if self._thought.half:
            self._extend_run(Thought, self._thought.end())
        if self._text.half:
            rest = self._text.end()
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
        calls = [one for one in sorted(self._calls, key=lambda one: one.index) if one.name] if self._calls else []
        if calls:
            yield from self._stated(calls)
        for pending in calls:
            if pending.unsaid:
                yield ToolInput(pending.call_id, pending.name, pending.unsaid)
        for pending in calls:
            made = called_by(pending)
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
