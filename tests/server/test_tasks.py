"""A request on its way from the connection to the application: its task, its HTTP version, and its headers by name."""

import asyncio
import contextvars
import gc
import json
import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from bench.by_hand import Line
from router.server import Door, application
from tests.conftest import Workspace, routes
from tests.support.raw import request

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
OLD, NEW = b"GET /a HTTP/1.0\r\nhost: a\r\n\r\n", b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"


class Connected:
    """A connection of a client to an application, fed by hand. `seen`: the scopes of its requests."""

    def __init__(self, app: Any, **settings: Any) -> None:
        self.seen: list[Scope] = []
        self.line, self.state = Line(), ServerState()
        config = uvicorn.Config(self._noted(app), http=Door, ws="none", log_config=None, lifespan="off", proxy_headers=False, **settings)
        config.load()
        self.door = Door(config, self.state, {})
        self.door.connection_made(cast("asyncio.Transport", self.line))

    def _noted(self, app: Any) -> Any:
        async def noted(scope: Scope, receive: Receive, send: Send) -> Any:
            self.seen.append(scope)
            return await app(scope, receive, send)

        return noted

    async def settle(self) -> None:
        """Give the event loop some turns."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def ask(self, *pieces: bytes) -> bytes:
        """Feed pieces of requests, and return what was sent to the client."""
        for piece in pieces:
            self.door.data_received(piece)
            await self.settle()
        return self.line.heard()


async def answering(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer with an empty body."""
    await send(START)
    await send({"type": "http.response.body", "body": b""})


# Its task.


async def test_task_is_running_for_the_server_until_it_ends() -> None:
    """The task of a request is in the server's `tasks` from its start to its end, also after the end of the response."""
    going_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answering(scope, receive, send)
        await going_on.wait()

    connected = Connected(app)
    connected.door.data_received(NEW)
    assert len(connected.state.tasks) == 1
    await connected.settle()
    assert len(connected.state.tasks) == 1
    assert connected.line.heard().endswith(b"\r\n\r\n")
    going_on.set()
    await connected.settle()
    assert not connected.state.tasks


async def test_task_that_is_cancelled_before_its_first_step_leaves_the_servers_tasks() -> None:
    """A task that is cancelled before it has begun runs nothing, and yet the server does not wait for it."""
    connected = Connected(answering)
    connected.door.data_received(NEW)
    for task in connected.state.tasks:
        task.cancel()
    await connected.settle()
    assert not connected.state.tasks
    assert not connected.seen


async def raises(*_: object) -> None:
    """Fail."""
    raise ValueError("of the application")


async def raises_late(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Fail after the start of the response."""
    await send(START)
    await send({"type": "http.response.body", "body": b"A", "more_body": True})
    raise ValueError("of the application")


async def returns(scope: Scope, receive: Receive, send: Send) -> str:
    """Answer, and return what no application returns."""
    await answering(scope, receive, send)
    return "something"


async def does_nothing(*_: object) -> None:
    """Send no response."""


async def stops(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Send no end of the response."""
    await send(START)


ODD: dict[str, tuple[Any, str, bool]] = {
    "raises": (raises, "Exception in ASGI application\n", True),
    "raises late": (raises_late, "Exception in ASGI application\n", False),
    "returns": (returns, "ASGI callable should return None, but returned 'something'.", False),
    "does nothing": (does_nothing, "ASGI callable returned without starting response.", True),
    "stops": (stops, "ASGI callable returned without completing response.", False),
}


@pytest.mark.parametrize("case", ODD)
async def test_application_that_breaks_asgi_is_logged_as_uvicorn_does(caplog: pytest.LogCaptureFixture, case: str) -> None:
    """An application that raises, returns something or leaves out its response is logged, and is a 500 if nothing was sent."""
    app, logged, refused = ODD[case]
    connected = Connected(app)
    with caplog.at_level(logging.ERROR, "uvicorn.error"):
        answer = await connected.ask(NEW)
    assert [one.getMessage() for one in caplog.records] == [logged]
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n") is refused
    assert not connected.state.tasks
    assert all((one.exc_info is not None) is case.startswith("raises") for one in caplog.records)


class Held:
    """A value that only the frame of an application, or the context of its task, holds."""


HELD: contextvars.ContextVar[Held | None] = contextvars.ContextVar("HELD", default=None)


async def waits(*_: object) -> None:
    """Wait until the task is cancelled."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("fails", [raises, raises_late, waits])
async def test_failed_application_is_freed_without_the_garbage_collector(caplog: pytest.LogCaptureFixture, fails: Any) -> None:
    """The end of its task frees what an application held that raised, or was cancelled: no reference leads back to the error."""
    held: list[weakref.ref[Held]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        holding = Held()
        held.append(weakref.ref(holding))
        await fails(scope, receive, send)

    caplog.set_level(logging.CRITICAL + 1, "uvicorn.error")  # the log of a test keeps the error
    gc.disable()
    try:
        connected = Connected(app)
        await connected.ask(NEW)
        for task in connected.state.tasks:
            task.cancel()
        await connected.settle()
        assert held[0]() is None
    finally:
        gc.enable()


async def test_idle_connection_keeps_no_context_of_its_last_request() -> None:
    """The values of a request's context variables are freed once it is answered, and not only when the connection ends."""
    held: list[weakref.ref[Held]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        holding = Held()
        held.append(weakref.ref(holding))
        HELD.set(holding)
        await answering(scope, receive, send)

    connected = Connected(app)
    await connected.ask(NEW, NEW)  # the first sets the connection's timer, which keeps the context in which it was made
    assert len(held) == 2
    assert held[1]() is None


@pytest.mark.parametrize("reset", [False, True])
async def test_request_sees_the_servers_context_unless_it_is_reset(reset: bool) -> None:
    """The task of a request has the context of the connection; with uvicorn's `reset_contextvars`, an empty one."""
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(HELD.get())
        await answering(scope, receive, send)

    of_server = Held()
    HELD.set(of_server)
    await Connected(app, reset_contextvars=reset).ask(NEW)
    HELD.set(None)
    assert seen == [None if reset else of_server]


async def test_task_factory_of_the_loop_makes_the_tasks_of_requests() -> None:
    """The task of a request comes from the event loop's task factory, where a tracer has installed one."""
    made: list[str] = []

    def factory(loop: Any, work: Any, context: contextvars.Context | None = None) -> Any:
        made.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, context=context)

    asyncio.get_running_loop().set_task_factory(factory)
    connected = Connected(answering)
    assert (await connected.ask(NEW)).startswith(b"HTTP/1.1 200 OK\r\n")
    asyncio.get_running_loop().set_task_factory(None)
    assert made == ["Cycle.run_asgi"]
    assert not connected.state.tasks


# Its HTTP version.

BODY = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
VERSIONS: dict[str, tuple[Sequence[bytes], Sequence[str]]] = {
    "1.1": ([NEW], ["1.1"]),
    "1.0": ([OLD], ["1.0"]),
    "1.0 that shows 1.1 where the version of a shorter URL stands": ([b"GET /aHTTP/1.1 HTTP/1.0\r\n\r\n"], ["1.0"]),
    "line breaks first": ([b"\r\n" * 4 + NEW], ["1.1"]),
    "1.0 after line breaks": ([b"\r\n" * 4 + OLD], ["1.0"]),
    "1.0 after spaces": ([b"GET   /a HTTP/1.0\r\nhost: HTTP/1.1\r\n\r\n"], ["1.0"]),
    "1.0 in two pieces, of which the second shows 1.1 there": ([b"GET /a HTTP/1.0\r\n", b"x: aaaa HTTP/1.1\r\n\r\n"], ["1.0"]),
    "1.1 in pieces": ([NEW[:3], NEW[3:10], NEW[10:]], ["1.1"]),
    "two": ([NEW, NEW], ["1.1", "1.1"]),
    "1.0 after 1.1": ([NEW, OLD], ["1.1", "1.0"]),
    "1.0 pipelined behind 1.1": ([NEW + OLD], ["1.1", "1.0"]),
    "1.0 pipelined behind an offer": ([NEW.replace(b"host", b"upgrade: h2c\r\nconnection: upgrade\r\nhost") + OLD], ["1.1", "1.0"]),
    "1.0 behind a body": ([BODY % 3 + b"ab", b"c" + OLD], ["1.1", "1.0"]),
    "1.0 behind a body that shows 1.1 there": ([BODY % 17 + b"a", b"GET /a HTTP/1.1\r" + OLD], ["1.1", "1.0"]),
}


@pytest.mark.parametrize("case", VERSIONS)
async def test_http_version_is_that_of_the_request_line(case: str) -> None:
    """The HTTP version is read from the request's own line, wherever it stands in the received bytes."""
    pieces, versions = VERSIONS[case]
    connected = Connected(answering)
    await connected.ask(*pieces)
    assert [scope["http_version"] for scope in connected.seen] == versions


async def test_scope_of_a_request_keeps_nothing_of_the_one_before() -> None:
    """Two requests of one connection have scopes of their own, with their own parts of the URL, their headers and state."""
    connected = Connected(answering)
    await connected.ask(request("GET /a%20b?c=d", x_more="1", connection="keep-alive"), request("GET /e"))
    first, second = connected.seen
    assert (first["path"], first["raw_path"], first["query_string"]) == ("/a b", b"/a%20b", b"c=d")
    assert (second["path"], second["raw_path"], second["query_string"]) == ("/e", b"/e", b"")
    assert (b"x-more", b"1") in first["headers"]
    assert b"x-more" not in dict(second["headers"])
    assert first["state"] is not second["state"]


# Its headers.


def replaced(scope: Scope, header: tuple[bytes, bytes]) -> None:
    """Give the scope a list of headers with one more."""
    scope["headers"] = [*scope["headers"], header]


def appended(scope: Scope, header: tuple[bytes, bytes]) -> None:
    """Add a header to the list that is there."""
    scope["headers"].append(header)


@pytest.mark.parametrize("change", [replaced, appended])
async def test_header_that_a_layer_changes_counts_as_if_the_client_had_sent_it(
    workspace: Workspace, change: Callable[[Scope, tuple[bytes, bytes]], None]
) -> None:
    """A layer before the application may change headers: the id of the request, a proxy's header and the host are then the layer's."""
    edge = application(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build())
    header = (b"", b"")

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        change(scope, header)
        await edge(scope, receive, send)

    asked = request("POST /api/chat", json.dumps({"messages": [{"role": "user", "content": "Hi"}], "stream": False}).encode())
    for header, status in ((b"x-request-id", b"of-the-layer"), 200), ((b"x-real-ip", b"192.0.2.1"), 403), ((b"host", b"/"), 400):
        answer = await Connected(layer).ask(asked)
        assert answer.startswith(b"HTTP/1.1 %d " % status), header
        assert (b"of-the-layer" in answer) is (status == 200)
