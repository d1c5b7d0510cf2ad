"""The garbage collector stays away from a load, and does not visit what was loaded right after it either."""

import gc
from collections.abc import Generator

import pytest

from router.garbage import STEADY, uncollected

MADE = 50_000


@pytest.fixture(autouse=True)
def unfrozen() -> Generator[None, None, None]:
    """Nothing is frozen before the test, as in a process that does not serve yet; afterwards the collector is as it was."""
    before = gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)
    gc.freeze()


def young() -> int:
    """Objects that the next two of three passes visit."""
    return len(gc.get_objects(0)) + len(gc.get_objects(1))


def test_load_leaves_nothing_young() -> None:
    """A pass over the young objects of a load of 10,000 routes takes as long as a third of the load."""
    with uncollected():
        made = [[number] for number in range(MADE)]
        assert young() >= MADE
        assert not gc.isenabled()
    assert young() < MADE
    assert gc.isenabled()
    assert len(made) == MADE
    assert gc.get_freeze_count() == 0


def test_load_of_a_serving_process_leaves_frozen_objects_frozen() -> None:
    gc.freeze()
    gc.set_threshold(*STEADY)
    frozen = gc.get_freeze_count()
    with uncollected():
        made = [[number] for number in range(MADE)]
    assert gc.get_freeze_count() >= frozen - 1000
    assert len(made) == MADE


def test_collector_stays_away_from_a_load_within_a_load() -> None:
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
