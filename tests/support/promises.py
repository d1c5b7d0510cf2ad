"""Times that the documentation promises. The normal suite measures but does not check them, since a busy machine would fail them.

`python -m tests.endurance.times` runs the same tests and checks each time.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

HELD = "POINTSMAN_TIMES"
"""The environment variable that turns the checks of promised times on."""
timed = pytest.mark.times


def hold(taken: float, most: float) -> None:
    """Fail if a time exceeds its promised maximum and POINTSMAN_TIMES is set."""
    if os.environ.get(HELD):
        assert taken <= most, f"{taken:.3f}, and {most:g} are promised"


@contextmanager
def within(most: float) -> Generator[None, None, None]:
    """Fail if the block takes more than `most` seconds and POINTSMAN_TIMES is set."""
    began = time.monotonic()
    yield
    hold(time.monotonic() - began, most)
