"""The form of an answer: what a target says is held back until it is known to be the JSON that the question wants.

Where the provider keeps to the form by itself (`OutputWay` native) the text is passed on as it comes, once it begins as such JSON does; it is
checked at its end all the same. Every other text is held: nothing that is not right reaches a client. What stands around the JSON
(code fences, words) is taken off. One that is wrong is told so, once; see `Chain.correct`.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from router.chat import Ask, Message, OutputFormat, Part
from router.errors import Filtered, InvalidOutput, OutputCutOff, RouterError
from router.events import Event, Events, Finish, Start, Text, ToolCall
from router.output import BOUNDS, Checked, begins, checked

MAX_REPEATED = 64 * 1024
"""Characters of a wrong answer that its model is shown again."""
CORRECT = (
    "Your answer above is not what was asked for:\n{wrong}\n"
    "Give the whole answer again, corrected: the JSON alone, without a code fence and without a word before or after it."
)


@dataclass(slots=True)
class Form:
    """An answer on its way into the form that a question wants, over all the targets that give it.

    sent: whether some of its text was passed on
    wrong: what its last target said that is not right; None while nothing is
    corrected: whether a target was told so already
    error: what ends the answer; None while nothing does
    """

    output: OutputFormat
    tools: bool
    sent: bool = False
    wrong: Checked | None = None
    corrected: bool = False
    error: type[RouterError] | None = None
    _held: list[str] = field(default_factory=list[str])
    _size: int = 0

    async def over(self, events: AsyncGenerator[Event, None], start: Start) -> Events:
        """Return a target's events as the client gets them. Without a Finish at the end the answer broke off, or is wrong."""
        self._held, self._size, self.wrong = [], 0, None
        streams = start.output == "native" and not self.tools  # beside tools, what it says may be no answer yet
        calls = False
        async with aclosing(events):
            async for event in events:
                match event:
                    case Text(text):
                        self._size += len(text)
                        if self._size <= BOUNDS.characters:
                            self._held.append(text)
                        if streams and not self.sent and (begun := "".join(self._held).lstrip()):
                            streams = self.sent = begins(begun, self.output)
                            text = begun
                        if streams and self.sent:
                            yield Text(text)
                    case Finish():
                        if calls:
                            yield event  # what it said beside its calls is no answer: that comes when they have run
                        elif await self._right(event):
                            if not self.sent and self.text:
                                yield Text(self.text)
                            yield event
                    case ToolCall():
                        calls = True
                        yield event
                    case _:
                        yield event

    @property
    def text(self) -> str:
        """Text of the last target."""
        return "".join(self._held)

    async def _right(self, end: Finish) -> bool:
        """Return whether the text is valid, with anything around its JSON taken off."""
        said = self.text
        found = await checked(said if self._size <= BOUNDS.characters else " " * (BOUNDS.characters + 1), self.output)
        if not found.wrong and (not self.sent or found.text == said.strip()):
            self._held = [found.text]
            return True
        self.wrong = found
        match end.reason:
            case "length":
                self.error = OutputCutOff  # with the same limit it would be cut off again
            case "content-filter":
                self.error = Filtered
            case _ if self.sent or self.corrected:
                self.error = InvalidOutput
            case _:
                pass
        return False

    def correction(self, ask: Ask) -> Ask:
        """The question with the wrong answer and what is wrong with it."""
        assert self.wrong is not None
        self.corrected = True
        said: list[Part] = [self.text[:MAX_REPEATED].strip()] if self.text.strip() else []
        wrong = "\n".join(f"- {one}" for one in self.wrong.wrong)
        messages = [Message("assistant", tuple(said))] if said else []
        return ask.with_messages(*ask.messages, *messages, Message("user", (CORRECT.format(wrong=wrong),)))
