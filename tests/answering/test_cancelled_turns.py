"""A request that ends at any turn of the event loop gives back its place in a limit, and leaves no record, body or generation held."""

import asyncio
import json
from typing import Any

import pytest

from router.server import Edge, application
from tests.conftest import Workspace, routes

AT_ONCE, IN_ALL = 16, 40
"""Turns of the event loop in which a question is read and its answer begins; and with those, a tenth of a millisecond each, until it ends."""
SCRIPT = "a: {script: [{text: Hello}, {pause: 1ms}, {text: ' you'}]}"
LIMITED = "targets: [a]\n    limit: {concurrent: 1, requests: 1000/minute}"
PIECES = (b'{"model": "chat-model", "messages": [{"role": "user", ', b'"content": "Hi"}], "stream": %s}')


class Line:
    """A client's connection as an ASGI server has it: the body arrives in pieces, a turn apart, then the client may leave."""

    def __init__(self, *, stream: bool) -> None:
        self.left = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self._pieces = [piece % (b"true" if stream else b"false") if b"%s" in piece else piece for piece in PIECES]

    async def receive(self) -> dict[str, Any]:
        """Return the next piece of the body, or the client's disconnect."""
        if not self._pieces:
            await self.left.wait()
            return {"type": "http.disconnect"}
        await asyncio.sleep(0)
        return {"type": "http.request", "body": self._pieces.pop(0), "more_body": bool(self._pieces)}

    async def send(self, message: Any) -> None:
        """Take a message, and let a turn pass."""
        self.sent.append(message)
        await asyncio.sleep(0)

    @property
    def status(self) -> int:
        """The status that was sent; 0 without one."""
        return self.sent[0]["status"] if self.sent else 0


def ask(edge: Edge, line: Line) -> asyncio.Task[None]:
    """Start a task that asks a question on this connection, and return the task."""
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }

    async def serve() -> None:
        await edge(scope, line.receive, line.send)

    return asyncio.create_task(serve())


def held(edge: Edge) -> dict[str, object]:
    """Return what is held for requests: all of it is empty or 0 where none is served."""
    admin, chat = edge.admin, edge.admin.chat
    return {
        "places": dict(edge.live.generation.kept.local._inside),
        "running": chat.running,
        "requests": edge.live.generation.requests,
        "records": dict(admin.ring.running),
        "bytes": chat.intake._bodies.held,
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("by", ["shutdown", "client"])
async def test_request_that_ends_at_any_turn_holds_nothing(workspace: Workspace, by: str, *, stream: bool) -> None:
    """Cancelled or left by its client after any number of turns, a request is recorded once, and the next one finds its place free."""
    workspace.write("routes.yaml", routes(SCRIPT, LIMITED))
    edge = application(workspace.build())
    nothing = held(edge)
    statuses = set[int]()
    for turn in range(IN_ALL):
        line = Line(stream=stream)
        asking = ask(edge, line)
        for before in range(turn):
            await asyncio.sleep(0 if before < AT_ONCE else 0.0001)
        if by == "shutdown":
            asking.cancel()
        else:
            line.left.set()
        await asyncio.wait([asking])
        statuses.add(line.status)
        assert held(edge) == nothing, f"turn {turn}"
    asked = edge.admin.ring.latest(1000)
    begun = IN_ALL - (by == "shutdown")  # a task that is cancelled before its first turn has asked nothing
    assert len(asked) == begun
    line = Line(stream=stream)
    await ask(edge, line)
    assert line.status == 200
    said = b"".join(message.get("body", b"") for message in line.sent)
    assert b"Hello" in said
    assert held(edge) == nothing
    assert statuses >= ({200, 503} if by == "shutdown" else {0, 200})
    assert json.dumps(edge.admin.ring.latest(1)).count('"outcome": "stop"') == 1
