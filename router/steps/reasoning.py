"""The step of a route's `reasoning: hide`: the model's reasoning is not sent to the client."""

from router.chat import Ask
from router.events import Answer, Beside, Events, EventStream, Step, Thought


def reasoning() -> Step:
    """Return the step that drops the Thought events of the answer. All other events pass unchanged."""

    def step(answer: Answer) -> Answer:
        async def spoken(ask: Ask, beside: Beside) -> Events:
            events = beside.over(answer(ask))
            try:
                async for event in events:
                    if event.__class__ is not Thought:
                        yield event
            finally:
                await events.aclose()

        def fast(ask: Ask) -> Events:
            beside = Beside(thoughts=False)
            return EventStream(spoken(ask, beside), beside.fast)

        return fast

    return step
