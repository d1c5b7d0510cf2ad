"""The step of a route's `reasoning: hide`: the model's reasoning is not sent to the client."""

from collections.abc import Sequence

from router.chat import Ask
from router.events import Answer, Beside, Events, EventStream, Step, Thought, Words


def reasoning() -> Step:
    """Return the step that drops the Thought events of the answer. All other events pass unchanged."""

    def step(answer: Answer) -> Answer:
        async def spoken(ask: Ask, beside: Beside) -> Events:
            events = beside.over(answer(ask))
            try:
                async for event in events:
                    if not isinstance(event, Thought):
                        yield event
            finally:
                await events.aclose()

        def fast(ask: Ask) -> Events:
            beside = Beside(_spoken)
            return EventStream(spoken(ask, beside), beside.fast)

        return fast

    return step


def _spoken(words: Sequence[Words]) -> Sequence[Words]:
    if len(words) == 1:
        return words if words[0].__class__ is not Thought else ()
    return [word for word in words if word.__class__ is not Thought]
