"""Live: a request keeps its generation to its end, and an old generation is closed when its last request ends."""

import asyncio
from contextlib import AsyncExitStack

from router.config import load
from router.generation import Generation, build
from router.reload import Live
from tests.conftest import Workspace, direct_target, routes, serving
from tests.reload.following import in_place, routes_answering, until
from tests.support.provider import Reply, provider, text


class Closing(Generation):
    """A generation that records whether it was closed."""

    closed: bool = False

    async def close(self) -> None:
        """Record the call, and close the generation."""
        self.closed = True
        await super().close()


def made(workspace: Workspace, text: str) -> Closing:
    """Return a generation whose only model answers with this text."""
    generation = workspace.write("routes.yaml", routes(f"a: {{script: [{{text: {text}}}]}}")).build()
    return Closing(generation.digest, generation.declaration, generation.server, generation.routes, generation.aliases, generation.skipped)


async def test_request_keeps_its_generation_across_a_swap(workspace: Workspace) -> None:
    """A swap affects new requests only: the old generation is closed after its last request has ended, not before."""
    old, new = made(workspace, "old"), made(workspace, "new")
    live = Live(old)
    old.requests += 2
    assert live.alive == 1
    live.swap(new)
    assert live.generation is new
    new.requests += 1
    new.leave()
    old.leave()
    await asyncio.sleep(0)
    assert live.alive == 2
    assert not old.closed
    old.leave()
    await asyncio.sleep(0)
    assert old.closed
    assert not new.closed
    await asyncio.sleep(0)
    assert live.alive == 1
    await live.close()
    assert new.closed


async def test_generation_without_requests_is_closed_when_it_is_replaced(workspace: Workspace) -> None:
    """A generation without a request is closed by the next turn of the event loop after it was replaced."""
    generations = [made(workspace, f"text{index}") for index in range(5)]
    live = Live(generations[0])
    for generation in generations[1:]:
        live.swap(generation)
    await asyncio.sleep(0)
    assert [generation.closed for generation in generations] == [True, True, True, True, False]
    await live.close()


async def test_readiness_stays_true_after_an_edit_adds_a_slow_tool_server(workspace: Workspace) -> None:
    """A process that was ready stays ready after a swap to a generation whose tool server was not reached yet."""
    live = Live(workspace.write("routes.yaml", routes_answering("one")).build())
    assert live.ready
    slow = workspace.write("routes.yaml", routes("a: {script: demo}", "targets: [a]\n    tools: [{mcp: [no-such-command]}]")).build()
    assert not slow.ready
    live.swap(slow)
    assert live.ready
    await live.close()


async def test_running_answers_finish_on_the_generation_they_began_with(workspace: Workspace) -> None:
    """Fifty running streams finish from the old target after an edit has replaced it; a later request asks the new target."""
    gate = asyncio.Event()
    async with (
        provider(Reply(text("new"))) as new,
        provider(Reply(text("slow", "ly"), gate=gate)) as old,
        AsyncExitStack() as stack,
    ):
        patient = "targets: [a]\n    timeout: {first_token: 120s}"
        file = workspace.write("routes.yaml", routes(direct_target(old.base), patient)).root / "routes.yaml"
        client = await stack.enter_async_context(serving(build(load(file)), file))
        asked = [asyncio.create_task(client.ask()) for _ in range(50)]
        await until(lambda: len(old.requests) == 50)
        first = client.edge.live.generation.digest
        in_place(file, routes(direct_target(new.base)))
        await until(lambda: client.edge.live.generation.digest != first)
        assert (await client.ask()).text == "new"
        gate.set()
        answers = await asyncio.gather(*asked)
        assert {answer.text for answer in answers} == {"slowly"}
        assert len({answer.headers["x-router-generation"] for answer in answers}) == 1
