"""LiteLLM, warmed by each configuration that has a target of its: what that leaves in the process."""

import gc
import weakref

from router.garbage import uncollected
from router.targets import litellm_library


class Link:
    """An object that holds itself, as a request and its error do: only the garbage collector frees it."""

    def __init__(self) -> None:
        self.itself = self


async def test_reload_with_litellm_lets_garbage_be_freed() -> None:
    """The first warming takes LiteLLM out of the collector's sight for good. Later ones, of reloads, take nothing along."""
    await litellm_library.warm()
    with uncollected():
        circle = weakref.ref(Link())
        assert circle() is not None
        await litellm_library.warm()
    gc.collect()
    assert circle() is None
