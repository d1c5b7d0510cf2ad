"""An answer of a rehearsal, collected: its text, its calls, its times, and the category of its error."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from router.chat import Ask, Call, Message, ReasoningState
from router.errors import ContentFiltered, ContextTooLong, Misfit, TargetDown, TargetError, TargetRefused, TargetSilent
from router.events import Event, Finish, Reason, Start, Text, Thought, ToolCall, Usage
from router.targets import Target
from router.value import Mutable, field

Clock = Callable[[], float]
"""A clock in seconds that never goes backwards."""
MAX_EVENTS = 20_000
"""Maximum events of one answer; a longer one counts as malformed. No answer within the limits of a rehearsal has so many."""
ACCOUNT = frozenset({
    "status_401", "status_402", "status_403", "status_407", "tls", "redirect", "no_library", "proxy", "proxy_login", "proxy_denied",
    "proxy_tls",
})  # fmt: skip
"""Outcomes of a refusal that concerns the key, the account or the address, and never one question."""


class Heard(Mutable):
    """The collected answer to one question of a rehearsal, or the error in its place.

    outcome: `ok`, or the category of the error
    learned: what the target's refusals taught within this question, in the words of `Learned.sentences`
    omitted: parameters of the question that the target was not sent
    first_token: seconds until its first token; None without one
    """

    outcome: str = "ok"
    error: TargetError | None = None
    said: list[str] = field(default_factory=list[str])
    thoughts: list[str] = field(default_factory=list[str])
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    states: list[ReasoningState] = field(default_factory=list[ReasoningState])
    reason: Reason | None = None
    usage: Usage | None = None
    omitted: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()
    first_token: float | None = None

    @property
    def text(self) -> str:
        """Return the text of the answer, without its reasoning."""
        return "".join(self.said)

    @property
    def refused(self) -> bool:
        """Return whether the provider refused this question itself: not for the key, the account, the length or the content."""
        other = isinstance(self.error, ContextTooLong | ContentFiltered) or self.outcome in ACCOUNT
        return isinstance(self.error, TargetRefused) and not other

    def as_message(self) -> Message:
        """Return the answer as an assistant's message, its reasoning state before its calls."""
        calls = [Call(one.call_id, one.name, one.arguments) for one in self.calls]
        return Message("assistant", (*([self.text] if self.text else []), *self.states, *calls))

    def take(self, event: Event) -> None:
        """Add one event to the answer. Kinds of events that a rehearsal does not look at are ignored."""
        match event:
            case Start(omitted=omitted):
                self.omitted = omitted
            case Text(piece):
                self.said.append(piece)
            case Thought(piece):
                self.thoughts.append(piece)
            case ToolCall():
                self.calls.append(event)
            case ReasoningState():
                self.states.append(event)
            case Finish(reason, usage):
                self.reason, self.usage = reason, usage
            case _:
                pass


async def hear(target: Target, ask: Ask, deadline: float, clock: Clock) -> Heard:
    """Ask the target, and return the collected answer or its error. Raises only when it is cancelled.

    deadline: seconds for all of it; after that the error is a TargetSilent
    clock: the clock of `first_token`
    """
    heard, before, began = Heard(), set(target.learned.sentences), clock()
    try:
        async with asyncio.timeout(deadline), aclosing(target.answer(ask)) as events:
            count = 0
            async for event in events:
                heard.take(event)
                if heard.first_token is None and not isinstance(event, Start):
                    heard.first_token = clock() - began
                count += 1
                if count > MAX_EVENTS:
                    raise TargetDown(target.name, "malformed")
    except TimeoutError:
        late = "timeout_first_token" if heard.first_token is None else "timeout_total"
        heard.error, heard.outcome = TargetSilent(target.name, late), late
    except Misfit:
        heard.error, heard.outcome = TargetRefused(target.name, "cannot_be_asked"), "cannot_be_asked"
    except TargetError as error:
        heard.error, heard.outcome = error, error.outcome
        if error.used is not None:
            heard.usage = error.used
    heard.learned = tuple(one for one in target.learned.sentences if one not in before)
    return heard
