"""The HTTP client of the direct lanes: reuse and closing of connections, and unusual or broken responses."""

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from bench.by_hand import Line
from router.chat import Ask, Message
from router.config.declaration import TargetConfig
from router.config.values import Name, Secret
from router.errors import Misfit, TargetDenied
from router.events import Text
from router.targets import openai
from router.targets.connection import MAX_HEAD_BYTES, MAX_UNREAD_BYTES, Connection, Cut
from router.targets.connections import KEPT, ConnectionPool, Connections, trusting
from tests.support.provider import Provider, Reply, text

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
WHOLE = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
NOTHING: dict[str, str] = {}


class Server:
    """A server that answers each request with the next of its responses (the last one repeated). `close`: close the connection after it."""

    def __init__(self, responses: Sequence[bytes], *, close: bool) -> None:
        self._responses = list(responses)
        self._close = close
        self.connections = 0
        self.requests: list[bytes] = []
        self.left = asyncio.Event()
        self.serving: set[asyncio.Task[object] | None] = set()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self.serving.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                writer.write(self._responses.pop(0) if len(self._responses) > 1 else self._responses[0])
                await writer.drain()
                if self._close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(*responses: bytes, close: bool = False) -> AsyncGenerator[tuple[Server, Connections]]:
    """Yield a server on loopback and a pool of connections; close both at the end."""
    server, connections = Server(responses, close=close), Connections()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/chat"
    try:
        yield server, connections
    finally:
        await connections.close()
        listener.close()
        await asyncio.gather(*(task for task in server.serving if task))


async def asked(server: Server, connections: Connections) -> Connection:
    """Send a request, and return its response once the headers are there."""
    async with asyncio.timeout(240):
        return await connections.answered(connections.endpoint(server.url, NOTHING, 3), b"{}")


async def read(response: Connection) -> bytes:
    """Return the body to its end, and release the connection."""
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout(240):
            while piece := await response.read():
                pieces.append(piece)
    finally:
        response.release()
    return b"".join(pieces)


RESPONSES = {
    "with a length": WHOLE,
    "in chunks": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;more=1\r\nllo\r\n0\r\ntrailer: x\r\n\r\n",
    "after a 1xx": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + WHOLE,
    "compressed unasked": OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%s" % (len(made := gzip.compress(b"hello")), made),
    "with an old server's line ends": WHOLE.replace(b"OK\r\n", b"OK\r\nX-Note:   much space  \r\n"),
}


@pytest.mark.parametrize("how", RESPONSES)
async def test_connection_is_reused_after_a_complete_body(how: str) -> None:
    """Three requests are answered on one connection: with a length, in chunks, after a 1xx response, in gzip, or with unusual headers."""
    async with serving(RESPONSES[how]) as (server, connections):
        for _ in range(3):
            response = await asked(server, connections)
            assert response.status == 200
            assert response.content_type == "text/plain"
            assert await read(response) == b"hello"
    assert server.connections == 1


async def test_body_without_a_length_ends_when_the_connection_closes() -> None:
    """A body without length or chunks is complete when the server closes the connection, and the next request opens a new one."""
    async with serving(OK + b"\r\nhello", close=True) as (server, connections):
        assert await read(await asked(server, connections)) == b"hello"
        assert await read(await asked(server, connections)) == b"hello"
    assert server.connections == 2


async def test_connection_with_a_close_header_is_not_reused() -> None:
    """A response with `connection: close` makes the next request open a new connection."""
    async with serving(WHOLE.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n")) as (server, connections):
        for _ in range(2):
            assert await read(await asked(server, connections)) == b"hello"
    assert server.connections == 2


CUTS = {
    "short of its length": OK + b"content-length: 9\r\n\r\nhello",
    "between its chunks": OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "no chunk at all": OK + b"transfer-encoding: chunked\r\n\r\nhello",
    "compressed, and is not": OK + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("how", CUTS)
async def test_body_that_breaks_off_raises_cut(how: str) -> None:
    """A body that ends before its length or its last chunk, or that is not the gzip it claims to be, raises Cut."""
    async with serving(CUTS[how], close=True) as (server, connections):
        with pytest.raises(Cut):
            await read(await asked(server, connections))


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 2", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: %b\r\n" % (b"y" * 1000) * 70]
)
async def test_input_that_is_not_an_http_response_is_an_error(said: bytes) -> None:
    """A connection closed before the status, another protocol, or headers above the size limit raise OSError or Cut."""
    async with serving(said, close=True) as (server, connections):
        with pytest.raises((OSError, Cut)):
            await asked(server, connections)


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a status line": (b"HTTP/1.1 200 ", b"y" * 4096),
    "a header's name": (b"HTTP/1.1 200 OK\r\n", b"y" * 4096),
    "a header's value": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 4096),
    "empty headers": (b"HTTP/1.1 200 OK\r\n", b"a:\r\n" * 1024),
    "informational responses": (b"", b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n" * 100),
    "line breaks": (b"", b"\r\n" * 2048),
    "a trailer's name": (CHUNKED + b"1\r\nh\r\n0\r\n", b"y" * 4096),
    "a trailer's value": (CHUNKED + b"1\r\nh\r\n0\r\nx: ", b"y" * 4096),
    "trailers": (CHUNKED + b"1\r\nh\r\n0\r\n", b"x: y\r\n" * 512),
    "a chunk's extension": (CHUNKED + b"5;", b"y" * 4096),
}


@pytest.mark.parametrize("how", ENDLESS)
async def test_endless_headers_are_cut_off_at_their_limit(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status line, headers, 1xx responses, trailers or chunk extensions without end raise Cut soon after MAX_HEAD_BYTES bytes."""
    begin, more = ENDLESS[how]
    taken: list[int] = []
    received = Connection.data_received

    def counted(self: Connection, data: bytes) -> None:
        taken.append(len(data))
        received(self, data)

    monkeypatch.setattr(Connection, "data_received", counted)
    async with serving(begin + more * 4096, close=True) as (server, connections):
        with pytest.raises(Cut):
            await read(await asked(server, connections))
    assert sum(taken) <= MAX_HEAD_BYTES + 2 * 256 * 1024  # a read of asyncio's that begins with body, and one that goes beyond the bound


async def test_many_large_chunks_do_not_exceed_the_header_limit() -> None:
    """A response is read in full when each of its chunk extensions, headers and trailers is below the limit, though their sum is above."""
    chunk = b"5;note=" + b"y" * 40_000 + b"\r\nhello\r\n"
    head = CHUNKED.replace(b"\r\n\r\n", b"\r\nx: " + b"y" * 40_000 + b"\r\n\r\n")
    said = b"HTTP/1.1 100 Continue\r\n\r\n" + head + chunk * 50 + b"0\r\nx: " + b"y" * 40_000 + b"\r\ncontent-type: no\r\n\r\n"
    async with serving(said) as (server, connections):
        response = await asked(server, connections)
        assert await read(response) == b"hello" * 50
        assert response.content_type == "text/plain"
        response.release()


async def test_connection_released_before_the_end_of_its_body_is_closed() -> None:
    """Releasing a response before the end of its body closes the connection, so that the provider stops writing."""
    async with serving(OK + b"content-length: 9\r\n\r\nhello") as (server, connections):
        response = await asked(server, connections)
        assert await response.read() == b"hello"
        response.release()
        async with asyncio.timeout(240):
            await server.left.wait()


async def test_request_cancelled_as_its_headers_arrive_closes_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is cancelled in the turn of the loop that reads the response's headers closes its connection."""
    parsed = Connection.data_received

    def received(connection: Connection, data: bytes) -> None:
        parsed(connection, data)
        asking.cancel()

    monkeypatch.setattr(Connection, "data_received", received)
    async with serving(OK + b"content-length: 9\r\n\r\nhello") as (server, connections), asyncio.timeout(240):
        asking = asyncio.create_task(connections.answered(connections.endpoint(server.url, NOTHING, 3), b"{}"))
        with pytest.raises(asyncio.CancelledError):
            await asking
        await server.left.wait()


async def test_idle_connection_that_the_server_closed_is_not_reused() -> None:
    """A kept connection that the server has closed meanwhile is replaced by a new one for the next request."""
    async with serving(WHOLE, close=True) as (server, connections):
        first = await asked(server, connections)
        assert await read(first) == b"hello"
        await first.gone()
        assert await read(await asked(server, connections)) == b"hello"
    assert server.connections == 2


@pytest.mark.parametrize("how", ["half-closed", "bytes outside of a response", "lost"])
async def test_kept_connection_that_cannot_be_used_leaves_the_pool_at_once(how: str) -> None:
    """The next request opens a new connection once the server has ended the kept one, or has sent bytes that belong to no response."""
    pool = Pool()
    pool.answers = WHOLE
    connections = Connections(pool=pool)
    endpoint = connections.endpoint("http://127.0.0.1:9/v1", NOTHING, 3)
    first = await connections.answered(endpoint, b"{}")
    assert await read(first) == b"hello"
    assert [*endpoint.idle] == [first]
    if how == "half-closed":
        first.eof_received()
    elif how == "lost":
        first.connection_lost(None)
    else:
        first.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert not endpoint.idle
    assert await read(await connections.answered(endpoint, b"{}")) == b"hello"
    assert pool.opened_so_far == 2


class Compared(Connection):
    """A connection that counts how often it is compared with another one."""

    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Compared.comparisons += 1
        return self is other

    __hash__ = Connection.__hash__


async def test_lost_idle_connections_are_not_looked_for_among_the_others() -> None:
    """A server that closes 100 idle connections together costs no comparison of each with the others."""
    idle = ConnectionPool().idle_at(("127.0.0.1", 9, None, None))
    made = [Compared() for _ in range(100)]
    for one in made:
        one.connection_made(cast("asyncio.Transport", Line()))
        one.idle = idle
        idle[one] = None
    for one in made:
        one.connection_lost(None)
    assert not idle
    assert Compared.comparisons == 0


@pytest.mark.parametrize("more", [b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 3\r\n\r\nabc", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_second_response_in_the_same_read_changes_nothing_of_the_first(more: bytes) -> None:
    """A response that comes with another one behind it keeps its status, headers and body, and its connection is not used again."""
    async with serving(WHOLE + more, WHOLE) as (server, connections):
        response = await asked(server, connections)
        assert (response.status, response.content_type, await read(response)) == (200, "text/plain", b"hello")
        assert await read(await asked(server, connections)) == b"hello"
    assert server.connections == 2


@pytest.mark.parametrize("begun", [b"\r\n", b"HTT", b"HTTP/1.1 408 Request Timeout\r\nx: y"])
async def test_begun_second_response_in_the_same_read_does_not_reach_the_next_one(begun: bytes) -> None:
    """The next response on a connection is read from its own first byte, although the read of the last one had a few bytes more."""
    async with serving(WHOLE + begun, WHOLE) as (server, connections):
        for _ in range(3):
            response = await asked(server, connections)
            assert (response.status, response.headers.get("x"), await read(response)) == (200, None, b"hello")
    assert server.connections == 1


async def test_response_after_one_without_the_body_it_declares_is_read_whole() -> None:
    """A 304 has no body, whatever its length says: that length counts neither for it nor for the next response on the connection."""
    async with serving(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n", WHOLE) as (server, connections):
        for status, body in ((304, b""), (200, b"hello"), (200, b"hello")):
            response = await asked(server, connections)
            assert (response.status, await read(response)) == (status, body)
    assert server.connections == 1


async def test_connection_that_was_idle_for_too_long_is_closed() -> None:
    """A sweep closes a connection that became idle KEPT seconds ago, and keeps one that was used since."""
    async with serving(WHOLE) as (server, connections):
        old, young = await asked(server, connections), await asked(server, connections)
        for response in (old, young):
            assert await read(response) == b"hello"
        old.kept -= KEPT
        connections._pool._sweep(old.loop)
        assert not old.usable
        assert [*connections.endpoint(server.url, NOTHING, 3).idle] == [young]
        await server.left.wait()


async def test_connection_in_use_when_the_pool_closes_is_closed_after_its_answer() -> None:
    """The response of a request that runs while the pool is closed is read to its end, and its connection is then closed."""
    async with serving(WHOLE) as (server, connections):
        response = await asked(server, connections)
        await connections.close()
        assert await read(response) == b"hello"
        async with asyncio.timeout(240):
            await server.left.wait()


@pytest.mark.parametrize("how", ["half-closed and lost", "bytes before the request", "lost"])
async def test_request_on_a_new_connection_that_has_failed_raises_at_once(how: str) -> None:
    """A new connection that fails between its opening and its first request makes the request fail, and not wait for ever."""
    connections = Connections(pool=FailedPool(how))
    with pytest.raises((ConnectionError, Cut)):
        async with asyncio.timeout(30):
            await connections.answered(connections.endpoint("http://127.0.0.1:9/v1", NOTHING, 3), b"{}")


@pytest.mark.parametrize(("begun", "opened"), [(b"", 2), (b"HTTP/1.1 2", 1), (b"HTTP/1.1 100 Continue\r\n\r\n", 1)])
async def test_request_is_repeated_only_if_no_byte_of_its_answer_came(begun: bytes, opened: int) -> None:
    """A kept connection that fails after a byte of the response raises; one that fails before it is replaced by a new one."""
    pool = Pool()
    connections = Connections(pool=pool)
    endpoint = connections.endpoint("http://127.0.0.1:9/v1", NOTHING, 3)
    pool.answers = WHOLE
    response = await connections.answered(endpoint, b"{}")
    assert await read(response) == b"hello"
    pool.answers = b""
    again = asyncio.create_task(connections.answered(endpoint, b"{}"))
    await asyncio.sleep(0)
    if begun:
        response.data_received(begun)
    pool.answers = WHOLE
    response.connection_lost(None)
    if opened == 1:
        with pytest.raises((OSError, Cut)):
            await again
    else:
        assert await read(await again) == b"hello"
    assert pool.opened_so_far == opened


class Pool(ConnectionPool):
    """A pool whose new connections are answered with `answers` as soon as they ask."""

    answers = b""
    opened_so_far = 0

    async def _open(self, host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
        connection, line = Connection(), Line()

        def write(_: bytes) -> None:
            if self.answers:
                connection.loop.call_soon(connection.data_received, self.answers)

        line.write = write
        connection.connection_made(cast("asyncio.Transport", line))
        self.opened_so_far += 1
        return connection


async def test_long_rest_of_an_answer_does_not_pause_the_next_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of a rest that was read in the background count for no later response, whose reading they would pause with nothing to read."""
    pool, pauses = Pool(), list[Connection]()
    pool.answers = CHUNKED + b"5\r\nhello\r\n"
    connections = Connections(pool=pool)
    endpoint = connections.endpoint("http://127.0.0.1:9/v1", NOTHING, 3)
    response = await connections.answered(endpoint, b"{}")
    monkeypatch.setattr(response._transport, "pause_reading", lambda: pauses.append(response))
    assert await response.read() == b"hello"
    response.release(complete=True)
    response.data_received(b"%x\r\n%b\r\n" % (MAX_UNREAD_BYTES // 2, b"a" * (MAX_UNREAD_BYTES // 2)))
    response.data_received(b"%x\r\n%b\r\n0\r\n\r\n" % (MAX_UNREAD_BYTES, b"b" * MAX_UNREAD_BYTES))
    assert [*endpoint.idle] == [response]
    pool.answers = CHUNKED
    assert await connections.answered(endpoint, b"{}") is response
    assert pauses == []
    response.data_received(b"5\r\nhello\r\n0\r\n\r\n")
    assert await read(response) == b"hello"


class FailedPool(Pool):
    """A pool whose new connections fail as soon as they are open."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    async def _open(self, host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
        connection = await super()._open(host, port, tls)
        if self.how == "bytes before the request":
            connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            return connection
        if self.how != "lost":
            connection.eof_received()
        connection.connection_lost(None)
        return connection


async def test_slow_reader_applies_backpressure_to_the_provider() -> None:
    """The first read of a body 40 times as large as the read buffer returns less than half; later reads return all the rest."""
    size = 40 * MAX_UNREAD_BYTES
    async with serving(OK + b"content-length: %d\r\n\r\n%b" % (size, b"x" * size)) as (server, connections):
        response = await asked(server, connections)
        first = await response.read()
        assert len(first) < size / 2
        assert len(first) + len(await read(response)) == size


async def test_connection_to_a_closed_port_raises_oserror() -> None:
    """A request to a port on which no server listens raises OSError."""
    async with serving(WHOLE) as (server, connections):
        pass
    with pytest.raises(OSError):
        await asked(server, connections)


async def test_hanging_dns_lookup_does_not_block_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred requests to a host whose DNS lookup hangs share one lookup and time out; a request to another host is answered."""
    release, lookups = threading.Event(), list[str]()

    def getaddrinfo(host: str, *args: Any, **more: Any) -> Any:
        lookups.append(host)
        if host == "hangs.invalid":
            release.wait(20)
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return found(host, *args, **more)

    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with serving(WHOLE) as (server, connections):
        hangs = connections.endpoint("http://hangs.invalid/", NOTHING, 0.05)
        came = await asyncio.gather(*(connections.answered(hangs, b"{}") for _ in range(100)), return_exceptions=True)
        assert {type(one) for one in came} == {TimeoutError}
        assert await read(await asked(server, connections)) == b"hello"
        assert lookups.count("hangs.invalid") == 1
        release.set()
        with pytest.raises(OSError, match="no such name"):
            await connections.answered(connections.endpoint("http://hangs.invalid/", NOTHING, 3), b"{}")


async def test_https_to_a_server_without_tls_raises_ssl_error() -> None:
    """An https request to a server that answers in plain HTTP raises SSLError."""
    async with serving(WHOLE) as (server, connections), plain() as port:
        del server
        with pytest.raises(ssl.SSLError):
            await connections.answered(connections.endpoint(f"https://127.0.0.1:{port}/", NOTHING, 3), b"{}")


@asynccontextmanager
async def plain() -> AsyncGenerator[int]:
    """Yield the port of a server that answers each connection with plain HTTP, without TLS."""

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            transport.close()

    listener = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


async def test_http_request_has_each_header_once() -> None:
    """A request has a percent-encoded path, the URL's credentials as basic authentication, its body, and each header once."""
    async with serving(WHOLE) as (server, connections):
        url = server.url.replace("127", "u%40x:p@127") + "/é?api-version=1"
        response = await connections.answered(connections.endpoint(url, {"x-key": "k"}, 3), b'{"a":1}')
        response.release()
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    host = server.url.split("/")[2]
    assert lines[0] == "POST /v1/chat/%C3%A9?api-version=1 HTTP/1.1"
    assert {f"host: {host}", "x-key: k", "authorization: Basic dUB4OnA=", "content-length: 7", "accept-encoding: identity"} <= set(lines)
    assert len({line.partition(":")[0] for line in lines[1:]}) == len(lines) - 1
    assert body == b'{"a":1}'


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://host/v1", NOTHING),
        ("host:8000/v1", NOTHING),
        ("http://host:port/v1", NOTHING),
        ("http://", NOTHING),
        ("http://host/v1", {"authorization": "Bearer sk\r\nx-other: y"}),
        ("http://host/v1", {"authorization": "Bearer ключ"}),
    ],
)
def test_unusable_url_or_header_is_refused_at_load(url: str, headers: dict[str, str]) -> None:
    """A URL that is not a valid http(s) address, or a header value that HTTP cannot carry, raises Misfit when the endpoint is made."""
    with pytest.raises(Misfit):
        Connections().endpoint(url, headers, 3)


@pytest.mark.parametrize(("url", "host"), [("http://[::1]:8000/v1", "[::1]:8000"), ("https://bücher.example/v1", "xn--bcher-kva.example")])
def test_host_header_has_ipv6_brackets_and_ascii_names(url: str, host: str) -> None:
    """The `host` header keeps the brackets and the port of an IPv6 address, and has an international name in its ASCII form."""
    assert f"host: {host}\r\n".encode() in Connections().endpoint(url, NOTHING, 3).head


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for `localhost`, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "both.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    made.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return made


@pytest.mark.parametrize(
    ("host", "trusted", "comes_of_it"),
    [("localhost", True, "Hello"), ("127.0.0.1", True, "tls"), ("localhost", False, "tls")],
    ids=["trusted", "another name", "signed by nobody"],
)
async def test_tls_certificate_is_checked_for_its_name_and_signer(
    certificate: Path, host: str, trusted: bool, comes_of_it: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted certificate of the right host gives the answer; another host or signer raises TargetDenied `tls`, without a request."""
    trusting.cache_clear()
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    fake = Provider([Reply(text("Hello"))])
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=context)
    connections = Connections()
    target = TargetConfig(
        model=Name("openai/x"), api_base=f"https://{host}:{server.sockets[0].getsockname()[1]}/v1", api_key=Secret("sk-a")
    )
    ask = Ask(model="m", messages=(Message("user", ("Hi",)),))
    try:
        async with aclosing(openai.answer("a", target, 3, connections)(ask)) as events:
            told = "".join([event.text async for event in events if isinstance(event, Text)])
    except TargetDenied as denied:
        told = denied.outcome
    finally:
        await connections.close()
        server.close()
        trusting.cache_clear()
    assert told == comes_of_it
    assert len(fake.requests) == (1 if comes_of_it == "Hello" else 0)
