"""The garbage collector, told when to stay away."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


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
            if not gc.get_freeze_count():  # of a server that serves: see `steady`
                gc.freeze()
                gc.unfreeze()  # into the oldest generation
            gc.enable()
