"""Live: which generation answers, and when the one before it is let go."""

import asyncio

from router.generation import Generation
from router.reload import Live
from tests.conftest import Workspace, routes


class Closing(Generation):
    """A generation that says when it was closed."""

    closed = False

    async def close(self) -> None:
        """Note it."""
        self.closed = True
        await super().close()


def made(workspace: Workspace, text: str) -> Closing:
    """A generation that says this."""
    generation = workspace.write("routes.yaml", routes(f"a: {{script: [{{text: {text}}}]}}")).build()
    return Closing(generation.digest, generation.server, generation.routes, generation.aliases, generation.skipped)


async def test_a_request_keeps_the_generation_it_began_with(workspace: Workspace) -> None:
    """A swap changes what new requests get; the old generation is closed when its last rider leaves, not before."""
    old, new = made(workspace, "old"), made(workspace, "new")
    live = Live(old)
    with live.pinned() as first, live.pinned() as second:
        live.swap(new)
        assert first is second is old
        with live.pinned() as third:
            assert third is live.generation is new
        assert not old.closed
    await asyncio.sleep(0)
    assert old.closed
    assert not new.closed
    await live.close()
    assert new.closed


async def test_a_generation_nobody_rides_on_is_let_go_at_once(workspace: Workspace) -> None:
    """And each of many."""
    generations = [made(workspace, f"text{index}") for index in range(5)]
    live = Live(generations[0])
    for generation in generations[1:]:
        live.swap(generation)
    await asyncio.sleep(0)
    assert [generation.closed for generation in generations] == [True, True, True, True, False]
    await live.close()
