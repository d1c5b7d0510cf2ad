"""Structured output: an answer that must be JSON of a given schema, held and checked before the client receives it.
Text from a target that supports the schema natively is streamed once it begins as such JSON does, and checked at its end. All other text
is held until it is valid. Code fences and words around the JSON are removed. An invalid answer is corrected once; see `Chain.another`.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from router.chat import Ask, Message, OutputFormat, Part
from router.errors import Filtered, InvalidOutput, OutputCutOff, RouterError
from router.events import Event, Events, Finish, Start, Text, ToolCall
from router.output import BOUNDS, Checked, begins, checked
from router.value import Mutable, field

MAX_REPEATED = 64 * 1024
"""Characters of an invalid answer that the correction request repeats at most."""
CORRECT = (
    "Your answer above is not what was asked for:\n{wrong}\n"
    "Give the whole answer again, corrected: the JSON alone, without a code fence and without a word before or after it."
)


class Form(Mutable):
    """The text of an answer with a required form, over all the targets that give it.
    tools: True if the model may call tools: text is then held even from a target that supports the schema natively
    sent: True once some of its text was passed on
    wrong: the check of the last target's answer, with its errors; None if that was not found invalid
    corrected: True once a target was asked for a correction
    error: the error that ends the answer; None without one
    """

    output: OutputFormat
    tools: bool
    sent: bool = False
    wrong: Checked | None = None
    corrected: bool = False
    error: type[RouterError] | None = None
    _held: list[str] = field(default_factory=list[str])
    _size: int = 0
    _streams: bool = False
    """True while the text of the present target may be streamed."""
    _calls: bool = False
    """True once the present target called a tool."""

    def reads(self, start: Start) -> None:
        """Begin with the text of another target. `start`: its Start, which says whether it supports the schema natively."""
        self._held, self._size, self.wrong, self._calls = [], 0, None, False
        self._streams = start.output == "native" and not self.tools  # beside tools, what it says may be no answer yet

    async def over(self, events: AsyncGenerator[Event, None]) -> Events:
        """Stream the events of all targets. Text comes once it is valid; native JSON comes as it arrives, and is checked at its end.
        The Finish of an invalid answer is left out (`wrong` is set), and another target's events follow. The text of an answer that
        calls tools is not checked, but dropped unless it was streamed.
        """
        async with aclosing(events):
            async for event in events:
                match event:
                    case Text(text):
                        self._size += len(text)
                        if self._size <= BOUNDS.characters:
                            self._held.append(text)
                        if self._streams and not self.sent and (begun := "".join(self._held).lstrip()):
                            self._streams = self.sent = begins(begun, self.output)
                            text = begun
                        if self._streams and self.sent:
                            yield Text(text)
                    case Finish():
                        if self._calls:
                            yield event  # what it said beside its calls is no answer: that comes when they have run
                        elif await self._right(event):
                            if not self.sent and self.text:
                                yield Text(self.text)
                            yield event
                    case ToolCall():
                        self._calls = True
                        yield event
                    case _:
                        yield event

    @property
    def text(self) -> str:
        """The text of the present or last target, as far as it is within the bound; after a successful check its JSON alone."""
        return "".join(self._held)

    async def _right(self, end: Finish) -> bool:
        """Return whether the text is the required JSON, and remove what stands around it. If it is not, store its errors in `wrong`.
        `error` is set as well if it cannot be corrected: it was cut off, filtered, partly sent, or is the correction itself.
        """
        said = self.text
        found = await checked(said if self._size <= BOUNDS.characters else " " * (BOUNDS.characters + 1), self.output)
        if not found.wrong and (not self.sent or found.text == said.strip()):
            self._held = [found.text]
            return True
        self.wrong = found
        if end.reason in ("length", "content-filter"):
            self.error = OutputCutOff if end.reason == "length" else Filtered  # with the same limit it would be cut off again
        elif self.sent or self.corrected:
            self.error = InvalidOutput
        return False

    def correction(self, ask: Ask) -> Ask:
        """Return the question followed by the invalid answer and a list of its errors, and note that a correction was asked for."""
        assert self.wrong is not None
        self.corrected = True
        said: list[Part] = [self.text[:MAX_REPEATED].strip()] if self.text.strip() else []
        wrong = "\n".join(f"- {one}" for one in self.wrong.wrong)
        messages = [Message("assistant", tuple(said))] if said else []
        return ask.with_messages(*ask.messages, *messages, Message("user", (CORRECT.format(wrong=wrong),)))
