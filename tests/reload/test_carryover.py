"""Carryover: the state that a generation takes over from the one before it."""

from router.config import load
from router.generation import build
from tests.conftest import Workspace, direct_target, routes, serving
from tests.reload.following import in_place
from tests.support.provider import error, provider


async def test_unchanged_target_keeps_its_health_and_connections(workspace: Workspace) -> None:
    """A target keeps its open circuit breaker and connections over an edit elsewhere, but an edit of its API key closes the breaker."""
    async with provider(error(500)) as down:
        file = workspace.root / "routes.yaml"

        def declared(keep: str, key: str = "sk-test") -> str:
            target = direct_target(down.base, key=key)
            return routes(
                target, "targets: [a]\n    breaker: {failures: 1, open: 1h}\n    retry: {attempts: 1}", f"server: {{keep_alive: {keep}}}\n"
            )

        in_place(file, declared("10s"))
        first = build(load(file))
        async with serving(first) as client:
            assert (await client.ask()).status == 502
            in_place(file, declared("20s"))
            second = build(load(file), first.kept)
            assert second.digest != first.digest
            assert second.kept.connections is first.kept.connections
            client.edge.live.swap(second)
            assert (await client.ask()).status == 503
            assert len(down.requests) == 1
            in_place(file, declared("20s", "sk-other"))
            client.edge.live.swap(build(load(file), second.kept))
            assert (await client.ask()).status == 502
            assert len(down.requests) == 2
