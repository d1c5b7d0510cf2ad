"""A provider's deltas → events, for every lane: however they are chopped, indexed or interleaved.

Everything that affects how pieces become Text, Thought, ToolInput and ToolCall lives here. Pieces of one kind that come
together leave together: a lane takes the events after each read, and an answer in a hurry costs by the read, not by the word.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from router.chat import JsonObject, whole
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

MAX_CALLS = 128
MAX_ARGUMENTS = 1024 * 1024
"""Characters of one call's arguments. A model that writes more is not calling a tool any more."""


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

    def __init__(self, target: str) -> None:
        self._target = target
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
        self.said = False
        self.finished = False
        """Whether the provider said why it ends: what it says after that does not count."""

    def take(self) -> list[Event]:
        """The events of what was fed since the last time."""
        self._close_run()
        events, self._events = self._events, []
        return events

    def _close_run(self) -> None:
        if self._run:
            self._events.append(self._kind("".join(self._run)))
            self._run.clear()

    def _extend_run(self, kind: type[Text | Thought], piece: str) -> None:
        if kind is not self._kind:
            self._close_run()
            self._kind = kind
        self._run.append(piece)

    def text(self, piece: str) -> None:
        """A piece of the answer."""
        if piece := self._text.feed(piece):
            self.said = True
            if self._kind is Text:
                self._run.append(piece)  # as nearly always: it goes on
            else:
                self._extend_run(Text, piece)

    def thought(self, piece: str) -> None:
        """A piece of reasoning."""
        if piece := self._thought.feed(piece):
            self._extend_run(Thought, piece)

    def call(self, index: int, call_id: str, name: str, part: str) -> None:
        """A piece of a tool call. A new id begins a new call, whatever its index; a repeated name is the same name."""
        pending = self._pending(index, call_id, name)
        if name and not pending.name:
            pending.name = name
        if part:
            pending.size += len(part)
            if pending.size > MAX_ARGUMENTS:
                raise TargetDown(self._target, "malformed")
            pending.parts.append(part)
            if pending.name:
                self._close_run()
                self._events.append(ToolInput(pending.call_id, pending.name, whole(part)))

    def _pending(self, index: int, call_id: str, name: str) -> Pending:
        known = self._ids.get((index, call_id)) if call_id else self._latest.get(index)
        if known is not None and (call_id or not name or name == known.name or not known.name):
            return known  # without ids, another name is another call
        if len(self._calls) >= MAX_CALLS:
            raise TargetDown(self._target, "malformed")
        taken = {pending.call_id for pending in self._calls}
        unique = call_id if call_id and call_id not in taken else f"call_{secrets.token_hex(12)}"
        pending = Pending(index, unique, name)
        self._calls.append(pending)
        self._latest[index] = pending
        if call_id:
            self._ids[index, call_id] = pending
        return pending

    def done(self) -> None:
        """The provider marks the end: without a reason, it is an end all the same."""
        self.finish("unknown")

    def finish(self, reason: str) -> None:
        """The provider says why it ends. The first reason stands."""
        self._reason = self._reason or reason
        self.finished = True

    def usage(self, input_tokens: int, output_tokens: int) -> None:
        """The provider says what it used. The last word stands: some count as they go."""
        self._usage = Usage(input_tokens, output_tokens)

    def end(self) -> Iterator[Event]:
        """The rest, and the Finish. TargetDown where the provider stopped without an end."""
        if rest := self._thought.end():
            self._extend_run(Thought, rest)
        if rest := self._text.end():
            self._extend_run(Text, rest)
        yield from self.take()
        if self._reason is None:
            raise TargetDown(self._target, "cut")
        calls = [pending for pending in sorted(self._calls, key=lambda one: one.index) if pending.name]
        for pending in calls:
            yield _called(pending)
        reason = REASONS.get(self._reason.lower(), "other")
        if calls and reason == "stop":
            reason = "tool-calls"  # some servers say stop whatever they ask for
        if reason == "content-filter" and not self.said and not calls:
            raise ContentFiltered(self._target, "content_filter")
        yield Finish(reason, self._usage)


def _called(pending: Pending) -> ToolCall:
    written = whole("".join(pending.parts))
    try:
        # Nothing and null are how some models write that there are none.
        value: object = json.loads(written, parse_constant=_no_constant) if written.strip() not in ("", "null") else {}
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return ToolCall(pending.call_id, pending.name, {}, written)
    return ToolCall(pending.call_id, pending.name, cast("JsonObject", value))


def _no_constant(word: str) -> None:
    raise ValueError(word)
