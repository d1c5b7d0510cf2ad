"""The garbage collector is off while a configuration loads, and the loaded objects are not visited by its next frequent passes."""

import gc
from collections.abc import Generator

import pytest

from router.garbage import STEADY, uncollected

MADE = 50_000


@pytest.fixture(autouse=True)
def unfrozen() -> Generator[None, None, None]:
    """Unfreeze all objects and set Python's default thresholds for the test, as in a process that does not serve yet; restore both."""
    before = gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)
    gc.freeze()


def young() -> int:
    """Return the number of objects in the two younger generations of the garbage collector."""
    return len(gc.get_objects(0)) + len(gc.get_objects(1))


def test_load_leaves_its_objects_in_the_oldest_generation() -> None:
    """Objects made under `uncollected` are in the collector's oldest generation afterwards, unfrozen, and the collector is on again."""
    with uncollected():
        made = [[number] for number in range(MADE)]
        assert young() >= MADE
        assert not gc.isenabled()
    assert young() < MADE
    assert gc.isenabled()
    assert len(made) == MADE
    assert gc.get_freeze_count() == 0


def test_load_of_a_serving_process_leaves_frozen_objects_frozen() -> None:
    """With the STEADY thresholds of a serving process, objects frozen before a block under `uncollected` stay frozen."""
    gc.freeze()
    gc.set_threshold(*STEADY)
    frozen = gc.get_freeze_count()
    with uncollected():
        made = [[number] for number in range(MADE)]
    assert gc.get_freeze_count() >= frozen - 1000
    assert len(made) == MADE


def test_nested_uncollected_block_leaves_the_collector_off() -> None:
    """The collector stays off in an outer `uncollected` block after an inner one has ended."""
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
