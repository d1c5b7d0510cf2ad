"""Assembly of a provider's deltas into events, for every lane, however the deltas are split, indexed or interleaved.

Neighbouring pieces of one kind become one event per read, because a fast answer's cost is per event.
"""

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import cast

import msgspec

from router.chat import JsonObject, ReasoningState, deeper, mended, repaired
from router.errors import ContentFiltered, TargetDown
from router.events import CUT_SHORT, Event, Finish, Produced, Source, Text, Thought, ToolInput
from router.targets.counts import NO_USAGE, Counts
from router.targets.finish_reasons import BROKEN, REASONS
from router.targets.open_call import EMPTY, MAX_DEPTH, OpenCall, called_by, follows, goes_on
from router.targets.text_filters import AnswerLimits, Cutter, Joined, Opening
from router.usage import Meter, Usage
from router.value import field, replace

MAX_CALLS = 128
MAX_ARGUMENTS = 1024 * 1024
"""Limit of one call's arguments in characters; more raises TargetDown `malformed`."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}")
"""Pattern of a model name that a provider may report."""
BYTES_OF_A_TOKEN = 4
MAX_STATES = 256
"""Limit of reasoning states per model call. One more, and all of them are dropped."""
MAX_STATE = 4 * 1024 * 1024
"""Limit of all states of a model call in bytes. Beyond it, or if a state cannot be sent back, all states are dropped."""
MAX_SOURCES = 256
"""Limit of sources per model call; more are dropped."""
MAX_PRODUCED = 16 * 1024 * 1024
"""Limit of all files of a model call in base64 characters; a file beyond it is dropped."""
log = logging.getLogger("router.targets")


class Speech(msgspec.Struct, eq=False):
    """Assembler of one model call's deltas into events. A lane's reader feeds it; its events are taken after each read, and at the end.
    target: name of the target, for errors
    issuer: the target and its model, for reasoning states
    """

    target: str
    issuer: str = ""
    _cutter: Cutter | None = None
    _left: int | None = None
    """Bytes of text and thought that the answer may still have; None if the provider enforces the limit."""
    _limited: bool = False
    """True if `_cutter` or `_left` is set."""
    cut: bool = False
    """True if the router ended the answer: the rest of it is not read."""
    _states: list[tuple[JsonObject, int, OpenCall | None, int]] = []
    """Reasoning states so far: (value, characters of text before it, call that it belongs to, if known, number of calls before it)."""
    _states_size: int = 0
    """Bytes of all states so far, dropped ones included."""
    states_at_end: Callable[[], Iterable[JsonObject]] | None = None
    """Returns further reasoning states, once the answer has ended."""
    written: int = 0
    """Characters of text that `take` has returned, or is about to return."""
    flowing: bool = False
    """True if `take` returned text alone, and would do so again for more text. A reader that adds to it ends that (`TextFrames.frames`)."""
    _text: Joined | None = None
    """The filter of the text; None until a text is not ASCII alone."""
    _thought: Joined | None = None
    """The filter of the thoughts; None until there are any."""
    _events: list[Event] = []
    _run: list[str] = []
    """Pieces of the kind `kind` that become one event: those since the last event."""
    kind: type[Text | Thought] = Text
    _calls: list[OpenCall] = []
    _ids: dict[tuple[int, str], OpenCall] = {}
    _latest: dict[int, OpenCall] = {}
    _reason: str | None = None
    meter: Meter = field(default_factory=Meter)
    _opens: bool = True
    """True while the answer may still begin with `<think>`, or is within that thought."""
    _opening: Opening | None = None
    """The filter of that beginning; None until it has white space or a tag."""
    _sources: dict[Source, None] = {}
    _produced: int = 0
    """Base64 characters of files so far."""
    _left_out: bool = False
    """True once a dropped file was logged: it is logged once per answer."""
    said: bool = False
    model: str | None = None
    """The model name that the provider reports; empty if it is not a valid name, None if there was none."""
    finished: bool = False
    """True once a finish reason came: later content is ignored."""
    resumed: int = 0
    """Number of finish reasons that were taken back."""

    def bound(self, bounds: AnswerLimits) -> None:
        """Set the limits at which the router ends the answer; called before the first delta."""
        self._cutter = Cutter(bounds.stops) if bounds.stops else None
        self._left = None if bounds.tokens is None else bounds.tokens * BYTES_OF_A_TOKEN
        self._limited = self._cutter is not None or self._left is not None

    def take(self) -> list[Event]:
        """Remove and return the events assembled so far. Text that may be the beginning of a tag or stop text is held back."""
        if not self._events and not self._limited:  # the usual case: one text or thought without limits
            if not self._run:
                return []
            piece = "".join(self._run)
            self._run = []
            if self.kind is Text:
                self.written += len(piece)
                if not self.finished and self.model is not None and (self._text is None or not self._text.half):
                    self.flowing = True
            return [self.kind(piece)]
        self._close_run()
        events, self._events = self._events, []
        return events

    def _close_run(self) -> None:
        if self._run:
            piece = "".join(self._run)
            self._run.clear()
            if self._limited:
                piece = "" if self.cut else self._bounded(piece)
            if piece:
                self._events.append(self.kind(piece))
            if self.kind is Text:
                self.written += len(piece)

    def _bounded(self, piece: str) -> str:
        """Return the part of a piece within the limits; end the answer (`cut`) if that is not all. Stop texts count in text alone."""
        if self._cutter is not None and self.kind is Text:
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
        if kind is not self.kind:
            self._close_run()
            self.kind = kind
        self._run.append(piece)

    def text(self, piece: str) -> None:
        """Add a piece of text. `<think>…</think>` at the very start of the answer becomes a thought."""
        if self._text is not None or not piece.isascii():
            if self._text is None:
                self._text = Joined()
            piece = self._text.feed(piece)
        if piece:
            if self._opens:
                if self._opening is not None or not piece[0].isalnum():
                    self._opened(piece)
                    return
                self._opens = False  # the usual case: the answer begins with neither white space nor a tag
            self.said = True
            if self.kind is Text:
                self._run.append(piece)  # the usual case: text after text
            else:
                self._extend_run(Text, piece)

    def thought(self, piece: str) -> None:
        """Add a piece of a thought that the provider sent apart from the text. From then on, `<think>` in the text is text."""
        if self._thought is None:
            self._thought = Joined()
        if piece := self._thought.feed(piece):
            if self._opens:
                self._end_opening()
            self._extend_run(Thought, piece)

    def source(self, found: Source | None) -> None:
        """Add a source, unless it is None (unsafe), the model call has it already or MAX_SOURCES others, or the text was cut."""
        if found is None or found in self._sources or self.cut or len(self._sources) >= MAX_SOURCES:
            return
        self._sources[found] = None
        self._shown(found)

    def file(self, found: Produced | None) -> None:
        """Add a file that the model made; drop None (unsafe), and one that would bring the total above MAX_PRODUCED. Log the first drop."""
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
        if self._opens:
            self._end_opening()
        self._close_run()
        self._events.append(found)

    def _opened(self, piece: str) -> None:
        if self._opening is None:
            self._opening = Opening()
        thought, text = self._opening.feed(piece)
        self._opens = not self._opening.over
        if thought:
            self._extend_run(Thought, thought)
        if text:
            self.said = True
            self._extend_run(Text, text)

    def _end_opening(self) -> None:
        """Stop looking for `<think>` at the start of the answer, and add what was held back for it: a thought after the tag, else text."""
        self._opens = False
        if (opening := self._opening) is not None and (held := opening.held):
            self.said = self.said or not opening.within
            self._extend_run(Thought if opening.within else Text, held)

    def call(self, index: int, call_id: str, name: str, part: str) -> None:
        """Add a piece of a tool call: `part` of its arguments. A new id or name starts a new call, unless `goes_on` denies it of the id.
        A repeated name continues the call, unless the arguments were complete and others begin. Complete arguments repeated under their id
        are ignored. Raises TargetDown `malformed` beyond MAX_CALLS or MAX_ARGUMENTS.
        """
        if self._opens:
            self._end_opening()
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
        """Add a ToolInput event for a piece of a call's arguments, unless the call has no name, or the piece may be a placeholder."""
        if not pending.name:
            return
        if pending.twin is not None and pending.repeats:
            pending.unsaid += part
        elif len(pending.parts) == 1 and part.strip() in EMPTY:
            pending.unsaid = part
        else:
            self._close_run()
            self._events.append(ToolInput(pending.call_id, pending.name, repaired(pending.unsaid + part)))
            pending.unsaid = ""

    def _known(self, index: int, call_id: str, name: str, part: str) -> OpenCall | None:
        """Return the call that a piece may belong to, by index and id, or by index if it has no id; None if it begins a new one.
        A repeated complete call is found at another index, too; an incomplete one under another id (`goes_on`).
        """
        known = self._ids.get((index, call_id)) if call_id else self._latest.get(index)
        if known is None and call_id and name:
            alike = (one for one in self._calls if one.theirs == call_id and one.name == name)  # at another index
            known = next((one for one in alike if follows(one, call_id, name, part) == "repeated"), None)
        if known is None and call_id and (latest := self._latest.get(index)) is not None and goes_on(latest, name, part):
            latest.theirs = latest.theirs or call_id
            known = self._ids[index, call_id] = latest
        return known

    def _begun(self, index: int, call_id: str, name: str) -> OpenCall:
        if len(self._calls) >= MAX_CALLS:
            raise TargetDown(self.target, "malformed")
        taken = {pending.call_id for pending in self._calls}
        unique = call_id if call_id and call_id not in taken else f"call_{secrets.token_hex(12)}"
        pending = OpenCall(index, unique, name, call_id)
        if unique != call_id and call_id:
            pending.twin = next((one for one in self._calls if one.theirs == call_id and one.name == name), None)
        self._calls.append(pending)
        self._latest[index] = pending
        if call_id:
            self._ids[index, call_id] = pending
        return pending

    def state(self, value: JsonObject, call: int | None = None) -> None:
        """Add reasoning state, in the form in which the provider wants it back with the results of the calls.
        `call`: index of the call that it belongs to; without it, state between two calls belongs to the second.
        Beyond MAX_STATES or MAX_STATE, or if it cannot be sent back, all states of the answer are dropped.
        """
        size = MAX_STATE + 1
        if len(self._states) < MAX_STATES and not deeper(value, MAX_DEPTH):
            with suppress(OverflowError, TypeError, ValueError):
                size = len(msgspec.json.encode(value := cast("JsonObject", mended(value))))
        self._states_size += size
        if self._states_size > MAX_STATE:
            self._states.clear()
            return
        self._close_run()
        self._states.append((value, self.written, None if call is None else self._latest.get(call), len(self._calls)))

    @property
    def used(self) -> Usage | None:
        """Return the usage of this model call so far; None if the provider has sent none."""
        return self.meter.usage

    @property
    def counted(self) -> bool:
        """Return whether both the finish reason and usage have come, so that nothing is left to read."""
        return self.finished and self.meter.usage is not None

    @property
    def begun(self) -> bool:
        """Return whether text, thoughts, files or calls have come."""
        return self.said or not self._opens or (self._opening is not None and self._opening.within)

    @property
    def answered(self) -> bool:
        """Return whether the answer is complete: it has a finish reason, and also text, files or calls."""
        return self.finished and (self.said or bool(self._calls))

    def finish(self, reason: str = "unknown") -> None:
        """Record a finish reason in the provider's word, unless there is one; `unknown` for an end mark. Readers ignore content after it."""
        self._reason = self._reason or reason
        self.finished = True
        if self.meter.usage is not None:
            self.meter.final = True

    def resume(self) -> None:
        """Take back the finish reason because content follows it, for a provider that sends one with each chunk."""
        self._reason = None
        self.finished = self.meter.final = False
        self.resumed += 1

    def called(self, model: object) -> None:
        """Set `model` to the model name that the provider reports; empty if it is not a valid name."""
        self.model = model if type(model) is str and NAME.fullmatch(model) else ""

    def usage(self, counts: Counts) -> None:
        """Record the provider's token counts, over those that it sent before."""
        meter = self.meter
        meter.usage = counts.over(meter.usage or NO_USAGE)
        if self.finished:
            meter.final = True

    def end(self) -> Iterator[Event]:
        """Yield the remaining events: text, then reasoning states and ToolCalls if there are calls, at last Finish.
        Raises TargetDown `cut`, after the remaining text, without a finish reason, or with one that reports a failure.
        Raises ContentFiltered if a filter stopped the answer before any text, file or call.
        """
        if self._thought is not None and self._thought.half:
            self._extend_run(Thought, self._thought.end())
        if self._text is not None and self._text.half:
            self.text(self._text.end())
        if self._opens:
            self._end_opening()
        if self._run:
            self._close_run()
        if self._cutter is not None and not self.cut and (rest := self._cutter.end()):
            self._events.append(Text(rest))
        if self._events:
            events, self._events = self._events, []
            yield from events
        word = (self._reason or "error").lower()
        if word in BROKEN:
            raise TargetDown(self.target, "cut")
        reason = REASONS.get(word, "other")
        if calls := self._calls and self._made():
            yield from self._called(calls, cut_short=reason in CUT_SHORT)
            if reason == "stop":
                reason = "tool-calls"  # some servers report `stop` for calls too
        elif reason == "content-filter" and not self.said:
            raise ContentFiltered(self.target, "content_filter")
        yield Finish(reason, self.meter.usage, model=self.model or "")

    def _made(self) -> list[OpenCall]:
        """Return the calls that have a name, by their indexes, without those that repeat an earlier one."""
        calls = [one for one in sorted(self._calls, key=lambda one: one.index) if one.name]
        return [one for one in calls if one.twin is None or one.written != one.twin.written] if len(calls) > 1 else calls

    def _called(self, calls: list[OpenCall], *, cut_short: bool) -> Iterator[Event]:
        """Yield the reasoning states beside calls, and the calls. `cut_short`: true if the last one may lack its arguments."""
        for value in self.states_at_end() if self.states_at_end is not None else ():
            self.state(value)
        for value, at, call, before in self._states:
            beside = call or next((one for one in self._calls[before:] if before and one in calls), None)
            beside = beside and (beside.twin or beside)
            yield ReasoningState(self.issuer, value, beside.call_id if beside else "", self.written - at)
        for pending in calls:
            if pending.unsaid:
                yield ToolInput(pending.call_id, pending.name, pending.unsaid)
        for pending in calls:
            made = called_by(pending)
            if cut_short and pending is self._calls[-1] and pending.written.strip() in ("", *EMPTY):
                made = replace(made, malformed="")  # no arguments had come, or their placeholder alone
            yield made
