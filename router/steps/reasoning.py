"""The step of a route's `reasoning: hide`: the model's reasoning is not sent to the client."""

from router.chat import Ask
from router.events import Answer, Events, EventStream, Step, Thought


def reasoning() -> Step:
    """Return the step that drops the Thought events of the answer. All other events pass unchanged."""

    def step(answer: Answer) -> Answer:
        def spoken(ask: Ask) -> Events:
            events = answer(ask)
            if type(events) is not EventStream:
                return _without_thoughts(events)
            return EventStream(events.generator, events.fast_without_thoughts, _without_thoughts)

        return spoken

    return step


async def _without_thoughts(events: Events) -> Events:
    try:
        async for event in events:
            if event.__class__ is not Thought:
                yield event
    finally:
        await events.aclose()
