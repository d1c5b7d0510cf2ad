"""The events of an answer together with the attempts behind it."""

from contextlib import aclosing

from router.attempt import Trail
from router.chat import Ask
from router.events import Answer, Event, Failure, Finish, Order
from router.value import replace


async def with_attempts(answer: Answer, ask: Ask) -> list[Event]:
    """Return all events of one answer, and assert that their order is valid. The last event lists the attempts of the question's trail."""
    order, ask = Order(), replace(ask, trail=Trail())
    async with aclosing(answer(ask)) as events:
        seen = [order.see(event) async for event in events]
    order.end()
    end = seen[-1]
    assert isinstance(end, Finish | Failure)
    return [*seen[:-1], replace(end, attempts=ask.trail.attempts)]
