"""Door: bounds in bytes and in time for each client connection."""

import asyncio
import errno
import itertools
import json
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from router.config.server import RequestBounds
from router.errors import Refused
from router.events import Events, Finish, Start, Text
from router.intake.body import parsed as parsed_body
from router.server import Door
from router.value import force_setattr
from tests.conftest import Client, Workspace, routes, serving
from tests.support.provider import Reply, provider, text
from tests.support.raw import connected, parsed, request, response_to, until_closed

HI = "a: {script: [{text: Hi}]}"
ASK = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
BODY = json.dumps(ASK).encode()


class Hasty(Door):
    """A door whose time limits are 0.2 to 0.3 s instead of 10 to 35 s."""

    FIRST = 0.2
    BODY = 0.3
    SENT = 0.3


class Patient(Door):
    """A door whose time limits are longer than any test."""

    FIRST = BODY = SENT = LINGER = 60.0


class Curt(Patient):
    """A door that reads and discards 1 MiB at most after an answer."""

    MAX_DISCARDED_BYTES = 1024 * 1024


@asynccontextmanager
async def open_door(workspace: Workspace, door: type[Door] = Door, targets: str = HI, more: str = "") -> AsyncGenerator[Client, None]:
    """Yield a client of a router that is served behind this door."""
    async with serving(workspace.write("routes.yaml", routes(targets, more=more)).build(), door=door) as client:
        yield client


async def still_serves(client: Client) -> bool:
    """Return whether another client is still answered."""
    return (await client.ask()).text == "Hi"


def padded(size: int) -> bytes:
    """Return a valid request whose request line and headers have this many bytes."""
    bare = request("POST /api/chat", BODY, x_more="")
    head = len(bare) - len(BODY)
    return request("POST /api/chat", BODY, x_more="x" * (size - head))


async def test_headers_beyond_16_kib_are_refused_with_431(workspace: Workspace) -> None:
    """The request line and headers may have 16 KiB together; more is a 431 with code `too_large`, after which the connection closes."""
    async with open_door(workspace) as client:
        assert (await response_to(client.base, padded(16 * 1024 - 64))).status == 200
        for data in (
            padded(16 * 1024 + 64),
            request("GET /" + "x" * 16 * 1024),
            request("GET /?" + "x" * 16 * 1024),
            request("GET /", **{f"x-{count}": "y" * 100 for count in range(200)}),
        ):
            answer = await response_to(client.base, data)
            assert answer.status == 431
            assert json.loads(answer.rest) == {"type": "error", "error": "The request's headers are too large.", "code": "too_large"}
            assert "xxx" not in answer.everything
        assert await still_serves(client)


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a header without end": (b"GET / HTTP/1.1\r\nx: ", b"x" * 4096),
    "headers without end": (b"GET / HTTP/1.1\r\n", b"".join(b"x-%d: y\r\n" % count for count in range(400))),
    "an address without end": (b"GET /", b"x" * 4096),
    "a name without end": (b"GET / HTTP/1.1\r\n", b"x" * 4096),
    "a method without end": (b"", b"X" * 4096),
    "line breaks without end": (b"", b"\r\n" * 2048),
    "trailers without end": (
        b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nx: ",
        b"x" * 4096,
    ),
    "a chunk's extension without end": (b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5;", b"x" * 4096),
}


@pytest.mark.parametrize("case", ENDLESS)
async def test_endless_request_is_cut_off(workspace: Workspace, case: str) -> None:
    """A connection whose request line, header, trailer or chunk extension never ends is closed before the client has sent 16 MiB."""
    begin, more = ENDLESS[case]
    async with open_door(workspace) as client, connected(client.base) as (reader, writer):
        writer.write(begin)
        sent = 0
        ended = asyncio.create_task(until_closed(reader))
        while not ended.done() and sent < 64 * 1024 * 1024:
            writer.write(more)
            sent += len(more)
            try:
                await writer.drain()
            except ConnectionError:
                break
        assert sent < 16 * 1024 * 1024  # what the kernel took on the way, too
        assert parsed(await ended).status in (0, 400, 431)
        assert await still_serves(client)


SLOW: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"", b""),
    "half a line": (b"GET /heal", b""),
    "half the headers": (b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n", b""),
    "a header, byte by byte": (b"GET /healthz HTTP/1.1\r\nx: ", b"x"),
    "line breaks, one by one": (b"", b"\r\n"),
    "half the body": (b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{", b""),
    "a body, byte by byte": (b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n{", b" "),
    "a body, chunk by chunk": (b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "trailers, byte by byte": (b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ", b"x"),
    "a body for a page that reads none": (b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n", b" "),
    "a second request, byte by byte": (b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nx: ", b"x"),
    "line breaks after an answer": (b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", b"\r\n"),
}


@pytest.mark.parametrize("case", SLOW)
async def test_slow_request_is_cut_off_after_its_time_limit(workspace: Workspace, case: str) -> None:
    """A connection whose headers or body are incomplete after their time limit is closed, even if bytes arrive steadily (Slowloris)."""
    begin, more = SLOW[case]
    async with open_door(workspace, Hasty) as client, connected(client.base) as (reader, writer):
        writer.write(begin)
        ended = asyncio.create_task(until_closed(reader))
        while not (await asyncio.wait([ended], timeout=0.02))[0]:
            if more and not writer.is_closing():
                writer.write(more)
        assert parsed(await ended).status in (0, 200, 408)
        assert await still_serves(client)


async def test_slow_request_within_its_time_limit_is_answered(workspace: Workspace) -> None:
    """A request that is sent byte by byte within the limits (10 s for headers, 35 s for the body) is answered."""
    data = request("POST /api/chat", BODY)
    async with open_door(workspace, Patient) as client, connected(client.base) as (reader, writer):
        for count in range(len(data)):
            writer.write(data[count : count + 1])
            await writer.drain()
            await asyncio.sleep(0)
        answer = parsed(await until_closed(reader))
    assert (Door.FIRST, Door.BODY, Door.SENT) == (10.0, 35.0, 30.0)
    assert answer.status == 200
    assert json.loads(answer.rest)["content"] == "Hi"


async def test_idle_connection_between_two_requests_stays_open(workspace: Workspace) -> None:
    """A keep-alive connection stays open while it is idle between requests, since the time limits begin with a request's first byte."""
    async with open_door(workspace, Hasty) as client, connected(client.base) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(Hasty.FIRST + Hasty.BODY + 0.2)  # the wait itself is what is tested
        assert not reader.at_eof()


class Short(Patient):
    """A door that closes a connection that was idle for 0.3 s after an answer."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.timeout_keep_alive = 0.3  # type: ignore[assignment]


async def test_idle_connection_is_closed_after_the_keep_alive_time(workspace: Workspace) -> None:
    """A connection that is idle for the keep-alive time after an answer is closed without a word; a request before that starts it anew."""
    doors: list[Door] = []

    class Noted(Patient):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.timeout_keep_alive = 60
            doors.append(self)

    async with open_door(workspace, Noted) as client, connected(client.base) as (reader, writer):
        deadlines: list[float] = []
        for keep_alive in (60, 60, 60, 0.3):
            await asyncio.sleep(0.01)  # so that the times differ
            for door in doors:
                door.timeout_keep_alive = keep_alive  # type: ignore[assignment]
            began = time.monotonic()
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
            deadlines.append(doors[-1]._read_by)
        assert await until_closed(reader) == b""
        assert time.monotonic() - began > 0.3 - 0.05  # not before
    assert deadlines[0] < deadlines[1] < deadlines[2]


class HastyAndShort(Hasty, Short):
    """A door that waits 0.2 s for headers, and 0.3 s for the next request."""


async def test_line_breaks_after_a_request_leave_its_answer_alone(workspace: Workspace) -> None:
    """Line breaks after a body (RFC 9112, 2.2) do not end its answer after the time limit of headers, and are no request of their own."""
    slow = "a: {script: [{text: Half}, {pause: 600ms}, {text: more}]}"
    async with open_door(workspace, HastyAndShort, slow) as client, connected(client.base) as (reader, writer):
        writer.write(request("POST /api/chat", BODY, connection="keep-alive"))
        for pause in (0.1, 0.3):
            await asyncio.sleep(pause)  # so that the line breaks come by themselves, and the time limit passes meanwhile
            writer.write(b"\r\n")
        assert b'"content":"Halfmore"' in (answer := await until_closed(reader))
    assert answer.count(b"HTTP/1.1") == 1


async def test_idle_time_begins_once_the_body_that_was_not_awaited_has_come(workspace: Workspace) -> None:
    """A client that sends its body after the answer has a whole keep-alive time from the end of that body on."""
    async with open_door(workspace, Short) as client, connected(client.base) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.5)  # the wait itself is what is tested: a body may take longer
        writer.write(b"{}")
        assert await until_closed(reader) == b""


async def test_body_in_many_pieces_arrives_whole(workspace: Workspace) -> None:
    """A body of chunks, several in one read and several reads, is put together in order."""
    body = json.dumps({**ASK, "messages": [{"role": "user", "content": "Hi " * 200}]}).encode()
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[at : at + 7] for at in range(0, len(body), 7))]
    head = b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    async with open_door(workspace, Patient) as client, connected(client.base) as (reader, writer):
        writer.write(head + b"".join(chunks[:50]))
        await asyncio.sleep(0.05)
        for chunk in chunks[50:60]:
            writer.write(chunk)
            await asyncio.sleep(0.01)
        writer.write(b"".join(chunks[60:]) + b"0\r\n\r\n")
        answer = parsed(await until_closed(reader))
    assert answer.status == 200
    assert json.loads(answer.rest)["content"] == "Hi"


@dataclass
class Endless:
    """An answer of up to 1,000,000 pieces of 1 KiB. `taken`: bytes that were taken; `closed`: true once the stream was closed."""

    taken: int = 0
    closed: bool = False

    async def answer(self, _: Any) -> Events:
        """Stream 1 KiB at a time."""
        try:
            yield Start("a", "m")
            for _ in range(1_000_000):
                yield Text("x" * 1024)
                self.taken += 1024
                await asyncio.sleep(0)
            yield Finish("stop")
        finally:
            self.closed = True


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true, for 240 s at most."""
    async with asyncio.timeout(240):
        while not condition():
            await asyncio.sleep(0.01)


async def unread(client: Client, data: bytes) -> socket.socket:
    """Send a request from a client with the smallest receive buffer, and return its socket, from which nothing is read."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await loop.sock_connect(sock, ("127.0.0.1", int(client.base.rpartition(":")[2])))
    await loop.sock_sendall(sock, data)
    return sock


def reset(sock: socket.socket) -> bool:
    """Return whether the server has reset the connection."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


@pytest.mark.parametrize("recorded", [False, True])
async def test_client_that_does_not_read_is_reset_after_its_time_limit(workspace: Workspace, recorded: bool) -> None:
    """A client that reads nothing is reset after its time limit, and its answer is closed before 4 MiB of it were produced."""
    endless = Endless()
    async with open_door(workspace, Hasty) as client:
        force_setattr(client.edge.live.generation.routes["chat-model"], "answer", endless.answer)
        body = json.dumps({**ASK, "stream": True, **({"id": "chat-1"} if recorded else {})}).encode()
        with await unread(client, request("POST /api/chat", body)) as sock:
            await until(lambda: endless.closed)
            assert endless.taken < 4 * 1024 * 1024
            await until(lambda: not client.edge._chat.running)
            await until(lambda: reset(sock))


async def test_answer_for_a_client_that_does_not_read_stops_within_1_mib(workspace: Workspace) -> None:
    """An answer of up to a gigabyte is paused before 1 MiB of it was produced while its client reads nothing (backpressure)."""
    endless = Endless()
    async with open_door(workspace, Patient) as client:
        force_setattr(client.edge.live.generation.routes["chat-model"], "answer", endless.answer)
        with await unread(client, request("POST /api/chat", json.dumps({**ASK, "stream": True}).encode())):
            seen = -1
            while seen != endless.taken:
                seen = endless.taken
                for _ in range(50):
                    await asyncio.sleep(0.002)
            assert 0 < endless.taken < 1024 * 1024
        await until(lambda: endless.closed)


async def test_slow_client_that_keeps_reading_gets_the_whole_answer(workspace: Workspace) -> None:
    """A client that reads slowly, but within the time limit for unread bytes, gets the whole answer."""
    count = 400
    script = f"a: {{script: [{', '.join(['{text: ' + 'y' * 1000 + '}'] * count)}]}}"
    async with open_door(workspace, Hasty, script) as client, connected(client.base) as (reader, writer):
        writer.write(request("POST /api/chat", json.dumps({**ASK, "stream": True}).encode()))
        got = bytearray()
        while piece := await reader.read(16 * 1024):
            got += piece
            await asyncio.sleep(0.005)
    assert got.count(b"y" * 1000) == count
    assert b'"finishReason":"stop"' in got


async def test_unread_rest_of_a_finished_answer_is_dropped_after_its_time_limit(workspace: Workspace) -> None:
    """The connection is reset when the last bytes of a finished answer, which fit into the transport's buffer, are not read in time."""
    doors: list[Door] = []

    class Seen(Hasty):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            doors.append(self)
            super().connection_made(transport)

    for size in range(80_000, 400_000, 20_000):
        script = "a: {script: [{text: " + "z" * size + "}]}"
        async with open_door(workspace, Seen, script) as client:
            with await unread(client, request("POST /api/chat", BODY, connection="keep-alive")) as sock:
                await until(lambda: bool(doors and doors[-1]._said and doors[-1].cycle))
                left, paused = doors[-1].transport.get_write_buffer_size(), doors[-1].flow.write_paused
                if left and not paused:
                    await until(lambda: reset(sock))
                    return
        doors.clear()
    raise AssertionError("no size left anything in the transport")


BROKEN: dict[str, bytes] = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two lengths": b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "a length and chunks": b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
    "a huge length": b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999999\r\n\r\n",
    "a chunk of no size": b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "a line break in a header's name": b"GET / HTTP/1.1\r\nx\ny: z\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nhost: \x00\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: a\r\n b\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nauthorization : a\r\n\r\n",
    "letters that are none in an address": b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("case", BROKEN)
async def test_input_that_is_not_http_is_refused_at_once(workspace: Workspace, case: str) -> None:
    """Input that is not valid HTTP/1.1 gets a 400 or 413 that repeats none of it, and the connection closes."""
    async with open_door(workspace, Patient) as client:
        answer = await response_to(client.base, BROKEN[case])
        assert answer.status in (400, 413)
        assert "hello" not in answer.everything
        assert await still_serves(client)


async def test_pipelined_requests_are_bounded(workspace: Workspace) -> None:
    """Eleven pipelined requests are all answered, and of 5,000 sent at once fewer than forty."""
    one = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with open_door(workspace) as client:
        assert (await response_to(client.base, one * 10 + last)).rest.count(b'{"status":"ok"}') == 11
        assert (await response_to(client.base, one * 5000 + last)).rest.count(b'{"status":"ok"}') < 40
        assert await still_serves(client)


async def test_invalid_http_during_an_answer_closes_the_connection_without_a_400(workspace: Workspace) -> None:
    """Invalid bytes that arrive during an answer close the connection without a 400, which would look like part of the answer."""
    slow = "a: {script: [{text: Half}, {pause: 10s}, {text: more}]}"
    async with open_door(workspace, Patient, slow) as client, connected(client.base) as (reader, writer):
        writer.write(request("POST /api/chat", json.dumps({**ASK, "stream": True}).encode(), connection="keep-alive"))
        got = await reader.readuntil(b"Half")
        writer.write(b"no http\r\n\r\n")
        got += await until_closed(reader)
    assert got.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_body_after_a_refusal_is_read_up_to_a_bound(workspace: Workspace, connection: str) -> None:
    """A client that goes on sending a body after its 413 is disconnected before it has sent 32 MiB."""
    async with open_door(workspace, Curt) as client, connected(client.base) as (reader, writer):
        head = f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\ncontent-length: 1000000000\r\n\r\n"
        writer.write(head.encode())
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413")
        sent = 0
        with suppress(ConnectionError):
            while sent < 64 * 1024 * 1024:
                writer.write(b"x" * 65536)
                sent += 65536
                await writer.drain()
        assert sent < 32 * 1024 * 1024


FRAMINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "its length said": (f"content-length: {4 * 1024 * 1024}", lambda piece: piece),
    "in chunks": ("transfer-encoding: chunked", lambda piece: b"%x\r\n%b\r\n" % (len(piece), piece)),
}


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/no-such", "/no-such", "/v1/messages"])
async def test_client_that_reads_only_after_sending_its_body_gets_the_refusal(
    workspace: Workspace, path: str, framing: str, connection: str
) -> None:
    """A client that sends its whole body of 4 MiB before it reads still gets the 413 or 404; a keep-alive connection stays usable."""
    length, framed = FRAMINGS[framing]
    piece = framed(b"x" * 65536)
    async with (
        open_door(workspace, Patient, more="server: {request: {body: 64KiB}}\n") as client,
        connected(client.base) as (reader, writer),
    ):
        writer.write(f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\n{length}\r\n\r\n".encode())
        for _ in range(64):
            writer.write(piece)
            await writer.drain()
        if framing == "in chunks":
            writer.write(b"0\r\n\r\n")
        if connection == "keep-alive":  # and it is still in step
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answers = (await until_closed(reader)).split(b"HTTP/1.1 ")[1:]
        assert [one[:3] for one in answers] == [b"404" if "no-such" in path else b"413"] + [b"200"] * (connection == "keep-alive")
        assert await still_serves(client)


async def test_client_that_reads_only_after_sending_its_headers_gets_the_refusal(workspace: Workspace) -> None:
    """A client that sends 4 MiB of headers before it reads still gets the 431."""
    async with open_door(workspace, Patient) as client, connected(client.base) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n")
        for _ in range(64):
            writer.write(b"x: " + b"y" * 65536 + b"\r\n")
            await writer.drain()
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 431")
        assert await still_serves(client)


class Brief(Patient):
    """A door that waits 0.1 s for a client that is still sending after its refusal."""

    LINGER = 0.1


async def test_client_that_never_ends_its_body_is_disconnected_after_its_refusal(workspace: Workspace) -> None:
    """A client that keeps sending after its 413 gets the refusal, and is disconnected after the time LINGER."""
    async with open_door(workspace, Brief) as client, connected(client.base) as (reader, writer):
        writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 1000000000\r\n\r\nx")
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 413")
        while not writer.transport.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0)


async def test_chunked_body_over_the_limit_is_413_before_it_ends(workspace: Workspace) -> None:
    """A chunked body gets a 413 as soon as it exceeds the limit of 64 KiB, before its last chunk."""
    async with open_door(workspace, more="server: {request: {body: 64KiB}}\n") as client, connected(client.base) as (reader, writer):
        writer.write(b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(17):
            writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
        await writer.drain()
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413")


OFFERS = {
    "websocket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n",
    "HTTP/2, as Java offers it": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA\r\n",
    "TLS": "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
    "twice": "Connection: keep-alive\r\nUpgrade: h2c\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n",
}
CHUNKED = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5, BODY[:5], len(BODY) - 5, BODY[5:])


def offering(line: str, offer: str, framing: str, body: bytes) -> bytes:
    """Return a request whose headers offer a change of protocol."""
    return f"{line} HTTP/1.1\r\nHost: localhost\r\n{offer}{framing}\r\n".encode() + body


@pytest.mark.parametrize("size", [1, 37, 1 << 16], ids=["byte by byte", "in pieces", "in one piece"])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_upgrade_header_is_ignored(workspace: Workspace, offer: str, size: int) -> None:
    """A request that offers another protocol is answered over HTTP/1.1, and so are later requests on its connection."""
    requests = [
        offering("POST /api/chat", offer, f"Content-Length: {len(BODY)}\r\n", BODY),
        offering("POST /v1/chat/completions", offer, "Transfer-Encoding: chunked\r\n", CHUNKED),
        offering("GET /healthz", offer, "", b""),
        offering("POST /api/chat/gpt-4", offer, f"Content-Length: {len(BODY)} \r\n", BODY),
        request("POST /api/chat", BODY),
    ]
    sent = b"".join(requests)
    async with open_door(workspace) as client, connected(client.base) as (reader, writer):
        for start in range(0, len(sent), size):
            writer.write(sent[start : start + size])
            await writer.drain()
        answers = (await until_closed(reader)).split(b"HTTP/1.1 ")[1:]
        assert [one[:3] for one in answers] == [b"200"] * len(requests)
        assert sum(b"Hi" in one for one in answers) == len(requests) - 1


async def test_upgrade_header_does_not_bypass_request_limits(workspace: Workspace) -> None:
    """Requests with an Upgrade header meet the same refusals, header limit and pipelining bound as requests without one."""
    offer = OFFERS["HTTP/2, as Java offers it"]
    async with open_door(workspace) as client:
        for sent, status in (
            (offering("POST /api/chat", "Connection: close, Upgrade\r\nUpgrade: h2c\r\n", f"Content-Length: {len(BODY)}\r\n", BODY), 200),
            (request("CONNECT /api/chat", connection="upgrade", upgrade="h2c"), 400),
            (request("CONNECT localhost:443"), 400),
            (offering("POST /api/chat", offer, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", CHUNKED), 400),
            (offering("POST /api/chat", offer, "Content-Length: 3\r\nContent-Length: 4\r\n", BODY), 400),
            (offering("GET /healthz", offer, f"X: {'x' * 16 * 1024}\r\n", b""), 431),
        ):
            answer = await response_to(client.base, sent)
            assert (answer.status, answer.rest.count(b"HTTP/1.1 ")) == (status, 0), sent[:200]
        flood = offering("GET /healthz", offer, "", b"") * 10_000
        answer = await response_to(client.base, flood)
        assert answer.rest.count(b"HTTP/1.1 ") <= Door.MAX_PIPELINED
        assert await still_serves(client)


async def test_white_space_around_a_header_value_is_ignored(workspace: Workspace) -> None:
    """Blanks and tabs around a header value are not part of it (RFC 9112, 5)."""
    async with open_door(workspace) as client:
        for blank in ("", " ", "\t ", " " * 100):
            more = {"x_stream_protocol": f"\t text{blank}", "x_request_id": f"  mine{blank}"}
            answer = await response_to(client.base, request("POST /api/chat", BODY, **more))
            assert (answer.status, answer.rest, answer.headers["x-request-id"]) == (200, b"Hi", "mine")


HALF = "\ud83d"
HI_HALF: dict[str, Any] = {**ASK, "messages": [{"role": "user", "content": "Hi"}]}
CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": HALF})}}
SURROGATES: dict[str, tuple[dict[str, Any], int]] = {
    "in what is said": ({"messages": [{"role": "user", "content": f"Hi {HALF}"}]}, 200),
    "in the model": ({"model": HALF}, 404),
    "in a role": ({"messages": [{"role": HALF, "content": "Hi"}]}, 400),
    "in the chat's id": ({"id": HALF}, 200),
    "in a key": ({HALF: 1}, 200),
    "in a stop": ({"stop": [HALF]}, 200),
    "in a parameter of the template": ({"params": {"kind": HALF}}, 200),
    "in a call's arguments": (
        {"messages": [{"role": "assistant", "tool_calls": [CALLED]}, {"role": "tool", "tool_call_id": "c", "content": HALF}]},
        200,
    ),
    "in a tool's description": ({"tools": [{"type": "function", "function": {"name": "f", "description": HALF}}]}, 200),
    "in a tool's name": ({"tools": [{"type": "function", "function": {"name": HALF}}]}, 400),
    "in a tool's schema": (
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {HALF: {"title": HALF}}}}}
            ]
        },
        200,
    ),
}


@pytest.mark.parametrize("case", SURROGATES)
async def test_lone_surrogate_in_a_request_is_repaired_or_refused(workspace: Workspace, case: str) -> None:
    """A lone surrogate in a text is replaced before a provider gets it; one in a model, role or tool name is a 4xx."""
    fields, status = SURROGATES[case]
    sent = json.dumps({**HI_HALF, **fields})
    assert "\\ud83d" in sent
    path = "/v1/chat/completions" if "tools" in sent else "/api/chat"
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n").write(
            "pipelines/chat.j2", "{{ params.kind | default('') }}"
        )
        async with open_door(workspace, targets=f"a: {{model: openai/fake, api_base: '{fake.base}', api_key: sk-own}}") as client:
            answer = await response_to(client.base, request(f"POST {path}", sent.encode()))
    assert answer.status == status, answer.rest
    assert "\\ud83d" not in json.dumps(fake.requests)


MANY = 40_000
QUICK: dict[str, bytes] = {
    "lists in lists": b"[" * 1_000_000,
    "objects in objects": b'{"a":' * 200_000,
    "closed again": b"[" * 500_000 + b"]" * 500_000,
    "just too deep": b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
    "the same key often": b'{"a":1' + b',"a":1' * 100_000 + b"}",
    "the same key in another spelling": b'{"a":1,"\\u0061":2}',
    "the same key deep down": b'{"a":{"b":[{"c":1,"c":2}]}}',
    "a number of a million digits": b'{"seed":' + b"9" * 1_000_000 + b"}",
    "a number beyond all": b'{"temperature":1e999,"messages":[{"role":"user","content":"Hi"}]}',
    "no number": b'{"temperature":NaN}',
    "a truth for a number": b'{"temperature":true,"messages":[{"role":"user","content":"Hi"}]}',
    "a truth for a count": b'{"max_tokens":true,"messages":[{"role":"user","content":"Hi"}]}',
    "a number for a truth": b'{"stream":1,"messages":[{"role":"user","content":"Hi"}]}',
    "a text that does not end": b'{"a":"' + b"x" * 1_000_000,
    "keys that fall together": b"{" + b",".join(b'"%d":0' % count for count in range(MANY)) + b"}",
    "control characters": b'{"a":"\x00\x1b[31m"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-8 that is longer than it need be": b'{"a":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\xbd"}',
    "nothing": b"",
    "null": b"null",
    "two objects": b"{}{}",
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
}


@pytest.mark.parametrize("case", QUICK)
async def test_hostile_json_is_refused_quickly(workspace: Workspace, case: str) -> None:
    """A hostile JSON body is a 4xx, and parsing it takes less than 0.5 s of CPU time."""
    async with open_door(workspace) as client:
        answer = await response_to(client.base, request("POST /api/chat", QUICK[case]))
    assert 400 <= answer.status < 500
    assert set(json.loads(answer.rest)) - {"message"} == {"type", "error", "code", "requestId"}
    timed = min(_seconds(QUICK[case]) for _ in range(3))
    assert timed < 0.5  # 1 MiB of JSON takes some 10 ms; what grows faster than its length would take minutes


def _seconds(body: bytes) -> float:
    began = time.thread_time()  # of this thread's own: others may have the processor meanwhile
    with suppress(Refused):
        parsed_body(body, RequestBounds())
    return time.thread_time() - began


async def test_request_that_arrives_in_one_piece_sets_no_timer(workspace: Workspace) -> None:
    """Twenty requests on one connection, each in one piece, set only the one timer of the connection."""
    made = itertools.count()
    timers: list[int] = []

    class Counted(Door):
        def _wait(self) -> None:
            timers.append(next(made))
            super()._wait()

    async with open_door(workspace, Counted) as client, connected(client.base) as (reader, writer):
        for _ in range(20):
            writer.write(request("POST /api/chat", BODY, connection="keep-alive"))
            await reader.readuntil(b'"content":"Hi"')
        assert len(timers) == 1
