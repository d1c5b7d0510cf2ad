"""Repeated warm-up of LiteLLM on reload, and garbage collection."""

import gc
import weakref

from router.garbage import uncollected
from router.targets import litellm_library


class Link:
    """An object that refers to itself, so that only the garbage collector frees it."""

    def __init__(self) -> None:
        self.itself = self


async def test_repeated_litellm_warm_up_does_not_freeze_new_garbage() -> None:
    """An unreachable cycle made before a second warm-up is collected: only the first warm-up freezes objects."""
    await litellm_library.warm()
    with uncollected():
        circle = weakref.ref(Link())
        assert circle() is not None
        await litellm_library.warm()
    gc.collect()
    assert circle() is None
