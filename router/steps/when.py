"""Conditions of a route's targets: only entries whose `when` holds are asked.

The step stands below the pipeline's steps and above the cache, so that a condition is about the conversation that a model would read.
A cached answer is used only for questions for which the same entries hold. The conditions are checked once per answer: all its model
calls, and the target that continues a cut one, are among the same entries.
"""

from collections.abc import Sequence

from router.chat import Ask
from router.config.conditions import When
from router.events import Step
from router.value import replace


def when(*, conditions: Sequence[When | None]) -> Step:
    """Return the step that sets `held`: the positions of the entries whose condition holds. An entry without one (None) always holds."""
    measured = any(one is not None and one.tokens is not None for one in conditions)

    def held(ask: Ask) -> frozenset[int]:
        tokens, has_image = ask.tokens if measured else 0, "image" in ask.shows  # the estimate reads all words
        return frozenset(
            place for place, one in enumerate(conditions) if one is None or one.holds(ask.circumstances, tokens, has_image=has_image)
        )

    return lambda answer: lambda ask: answer(replace(ask, held=held(ask)))
