"""Times that the documentation promises. How long something takes says as much of a busy machine as of the router, so the suite only takes
them; `python -m tests.endurance.times` runs the same tests on a machine with room, and holds each to its promise.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

HELD = "POINTSMAN_TIMES"
"""The variable under which promises are held."""
timed = pytest.mark.times


def hold(taken: float, most: float) -> None:
    """Fail where something took longer, or more, than is promised, and promises are held."""
    if os.environ.get(HELD):
        assert taken <= most, f"{taken:.3f}, and {most:g} are promised"


@contextmanager
def within(most: float) -> Generator[None, None, None]:
    """Hold the block to so many seconds."""
    began = time.monotonic()
    yield
    hold(time.monotonic() - began, most)
