"""Keep a model's thoughts from the client: a route's `reasoning: hide`."""

from contextlib import aclosing

from router.chat import Ask
from router.events import Answer, Events, Step, Thought


def reasoning() -> Step:
    """Drop the thoughts of the answer."""

    def step(answer: Answer) -> Answer:
        async def spoken(ask: Ask) -> Events:
            async with aclosing(answer(ask)) as events:
                async for event in events:
                    if not isinstance(event, Thought):
                        yield event

        return spoken

    return step
