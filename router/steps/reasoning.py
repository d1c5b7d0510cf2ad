"""The step of a route's `reasoning: hide`: the model's reasoning is not sent to the client."""

from router.chat import Ask
from router.events import Answer, Events, EventStream, Step, without_thoughts


def reasoning() -> Step:
    """Return the step that drops the Thought events of the answer. All other events pass unchanged."""

    def step(answer: Answer) -> Answer:
        def spoken(ask: Ask) -> Events:
            events = answer(ask)
            if type(events) is not EventStream:
                return without_thoughts(events)
            events.with_thoughts = False
            return events

        return spoken

    return step
