"""Control of Python's garbage collector: thresholds for a serving process, and none while a configuration loads."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

STEADY = (10_000, 10, 3)
"""The collector's thresholds in a serving process; objects loaded before are frozen."""


@contextmanager
def uncollected() -> Generator[None, None, None]:
    """Keep the garbage collector off during the block, which makes many long-lived objects.

    With 10,000 routes, collections would take half of a load's CPU. Afterwards, unless the thresholds are STEADY, all objects are moved
    into the oldest generation, which young collections do not visit. A collector that was off before stays off.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if gc.get_threshold() != STEADY:  # to count what is frozen would take as long as a pass over it
                gc.freeze()
                gc.unfreeze()  # into the oldest generation
            gc.enable()


@contextmanager
def collected() -> Generator[None, None, None]:
    """Collect the garbage of the block, which runs an operator's code. A process that begins to serve freezes all garbage that is left.

    Only objects of the block are visited. In a process that serves, the collector finds them by itself.
    """
    if gc.get_threshold() == STEADY:
        yield
        return
    gc.freeze()
    gc.unfreeze()  # into the oldest generation
    yield
    gc.collect(0)
