"""No more than so many tokens of one model call: a route's `max_output`.

The model is asked for no more. One that goes on all the same, as a broken server may for ever, is cut off where its characters
could not be so few tokens.
"""

from contextlib import aclosing
from dataclasses import replace

from router.chat import Ask
from router.events import Answer, Events, Finish, Step, Text, Thought, ToolInput

WIDEST = 16
"""Characters of a token: hardly any is longer, most are four."""
SLACK = 1024
"""Characters more, so that a short answer is not cut off for its few long words."""


def ceiling(*, tokens: int) -> Step:
    """At most so many tokens."""

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
