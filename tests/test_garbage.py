"""The garbage collector is off while a configuration loads, and the loaded objects are not visited by its next frequent passes."""

import gc
import sys
import weakref
from collections.abc import Generator
from pathlib import Path

import pytest

from router import asgi
from router.garbage import STEADY, collected, uncollected
from router.toolbox import load

MADE = 50_000
TOOL = '''
"""A tool file that needs an object with a cycle only while it is loaded."""

import weakref


class Index:
    def __init__(self) -> None:
        self.me = self


index = Index()
GONE = weakref.ref(index)
del index


def look() -> int:
    """Look."""
    return 1
'''


class Cycle:
    """An object that only the garbage collector frees."""

    def __init__(self) -> None:
        self.me = self


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


def test_garbage_of_a_tool_file_is_collected_when_the_file_is_loaded() -> None:
    """Garbage that a tool file makes when it is run is freed before the load ends: a process that begins to serve would freeze it."""
    with uncollected():
        made = load("mine", TOOL, Path("tools/mine.py"), "test")
        gone = sys.modules[made.module].GONE
        made.close()
        assert gone() is None


def test_collection_after_an_operators_code_visits_no_older_objects() -> None:
    """`collected` frees the garbage of its block, and does not visit older objects: with 10,000 routes, that would take a second."""
    with uncollected():
        older = weakref.ref(Cycle())
        with collected():
            younger = weakref.ref(Cycle())
        assert older() is not None
        assert younger() is None


def test_collection_after_an_operators_code_is_left_out_in_a_serving_process() -> None:
    """In a process that serves, `collected` neither collects nor unfreezes anything."""
    gc.freeze()
    gc.set_threshold(*STEADY)
    frozen = gc.get_freeze_count()
    with uncollected(), collected():
        made = weakref.ref(Cycle())
    assert made() is not None
    assert gc.get_freeze_count() >= frozen - 1000


def test_garbage_of_the_program_around_asgi_app_is_collected_before_all_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`router.asgi:app` frees the garbage of the program that imports it before `steady` freezes all objects of the process."""
    gc.disable()
    seen: list[object] = []
    garbage = weakref.ref(Cycle())
    monkeypatch.setattr(asgi, "to_stderr", lambda: None)
    monkeypatch.setattr(asgi, "create_app", lambda: None)
    monkeypatch.setattr(asgi, "steady", lambda: seen.append(garbage()))
    asgi._app.__wrapped__()
    gc.enable()
    assert seen == [None]
