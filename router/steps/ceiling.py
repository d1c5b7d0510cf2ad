"""The step of a route's `max_output`: the most output tokens of one model call.

The limit is sent to the model. An answer that goes on all the same (a broken server may not stop) is cut off
with a Finish of reason `length` once it has more characters than the limit allows: tokens × `WIDEST` + `SLACK`.
"""

from contextlib import aclosing

from router.chat import Ask
from router.events import Answer, Events, Finish, Step, Text, Thought, ToolInput
from router.value import replace

WIDEST = 16
"""The most characters assumed for one token: hardly any token is longer, most have four."""
SLACK = 1024
"""Additional characters, so that a short answer is not cut off because of a few long words."""


def ceiling(*, tokens: int) -> Step:
    """Return the step that limits each model call to `tokens` output tokens; a lower limit of the client stays."""

    def step(answer: Answer) -> Answer:
        async def capped(ask: Ask) -> Events:
            wanted = ask.params.max_tokens
            ask = replace(ask, params=replace(ask.params, max_tokens=tokens if wanted is None else min(tokens, wanted)))
            left = tokens * WIDEST + SLACK
            async with aclosing(answer(ask)) as events:
                async for event in events:
                    match event:
                        case Text(text) | Thought(text):
                            yield type(event)(text[:left])
                            left -= len(text)
                        case ToolInput(_, _, text):
                            yield event
                            left -= len(text)
                        case _:
                            yield event
                    if left <= 0:
                        yield Finish("length")
                        return

        return capped

    return step
