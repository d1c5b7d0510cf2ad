"""The garbage collector, told when to stay away."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

STEADY = (10_000, 10, 3)
"""The thresholds of a process that serves: what it had loaded before is frozen, and stays so."""


@contextmanager
def uncollected() -> Generator[None, None, None]:
    """Keep the collector away while much is made that stays: it would pass over all of it again and again.

    With 10,000 routes that is half of the CPU of a load. Afterwards all of it is old at once: the next pass over what is young would have
    to visit it.
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
