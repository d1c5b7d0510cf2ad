"""Control of Python's garbage collector: thresholds for a serving process, and none while a configuration loads."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

STEADY = (10_000, 10, 3)
"""The collector's thresholds in a serving process; objects loaded before are frozen."""


@contextmanager
def uncollected() -> Generator[None, None, None]:
    """Disable the garbage collector during the block, in which many long-lived objects are made.

    With 10,000 routes, collections would take half of the CPU of a load. Afterwards all objects are moved into the oldest generation.
    So the next young collection does not visit them. In a process with the thresholds STEADY they stay where they are.
    A collector that was off before stays off.
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
