"""Connections that a caller stops opening: their socket stays with their transport until that closes it."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from router.targets import connections
from router.targets.connection import Connection
from router.targets.connections import ConnectionPool
from tests.support.authority import Authority

LOOPS = ["asyncio", "uvloop"]


class Stopped(Connection):
    """A connection that cancels the task which opens it. `at_once`: before its transport is made, otherwise as it is ready."""

    at_once: bool
    opening: "asyncio.Task[Connection]"
    made: "list[Stopped]"

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)
        if self.at_once:
            self.opening.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; cancel the task unless that is done."""
        super().connection_made(transport)
        if not self.at_once:
            self.opening.cancel()


async def _stop(tls: ssl.SSLContext | None, trusted: ssl.SSLContext | None, stopped: type[Stopped]) -> None:
    """Cancel the opening of a connection, and let another socket connect: it gets the lowest free number of a descriptor."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    stopped.opening = asyncio.create_task(ConnectionPool()._open("127.0.0.1", port, trusted))
    with suppress(asyncio.CancelledError):
        await stopped.opening
    assert stopped.opening.cancelled()
    with socket.socket() as other:
        other.setblocking(False)
        await loop.sock_connect(other, ("127.0.0.1", port))
    if trusted is not None and not stopped.at_once:
        await stopped.made[0]._lost
    server.close()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("at_once", [True, False], ids=["before its transport is made", "as it is ready"])
@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
def test_socket_of_a_cancelled_connection_is_closed_by_its_transport(
    secure: bool, at_once: bool, loop: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A socket opened after the cancellation connects: no transport still has the number of its file descriptor."""
    factory: Callable[[], asyncio.AbstractEventLoop] = (
        asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    )
    tls = trusted = None
    if secure:
        authority = Authority(tmp_path)
        tls, trusted = authority.server("127.0.0.1"), ssl.create_default_context(cadata=authority.pem)
    stopped = type("Case", (Stopped,), {"at_once": at_once, "made": []})
    monkeypatch.setattr(connections, "Connection", stopped)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_stop(tls, trusted, stopped))
