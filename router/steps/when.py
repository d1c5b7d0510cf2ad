"""Which entries of a route's targets are asked: those whose `when` holds.

It stands below the pipeline's steps and above the cache. So a condition is about the conversation that a model would read, and an answer is kept for those questions
alone for which the same entries hold. It looks once: the model calls of one answer, and whoever rescues it, are among the same entries.
"""

from collections.abc import Sequence
from dataclasses import replace

from router.chat import Ask
from router.config.conditions import When
from router.events import Answer, Step


def when(*, conditions: Sequence[When | None]) -> Step:
    """Note which of these hold, by their places. One that is None always does."""
    measured = any(one is not None and one.tokens is not None for one in conditions)

    def held(ask: Ask) -> frozenset[int]:
        tokens, has_image = ask.tokens if measured else 0, "image" in ask.shows  # the estimate reads all words
        return frozenset(
            place for place, one in enumerate(conditions) if one is None or one.holds(ask.circumstances, tokens, has_image=has_image)
        )

    def step(answer: Answer) -> Answer:
        return lambda ask: answer(replace(ask, held=held(ask)))

    return step
