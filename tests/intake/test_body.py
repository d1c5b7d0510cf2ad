"""Reading a request's body: limits before it is read, a bound on its values, threads for large ones, and memory."""

import asyncio
import gc
import hashlib
import io
import json
import sys
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import chat
from router.callers.keys import new
from router.chat import File, crowded
from router.config.server import RequestBounds
from router.errors import BadAsk, Crowded, Refused, TooLarge
from router.intake import Intake, body, question
from router.intake.body import ON_LOOP_BYTES, ON_LOOP_VALUES, Bodies, ClientLeft, Incoming, Reading, parsed
from router.intake.plain_question import ON_LOOP_BYTES as PLAIN_ON_LOOP_BYTES
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.provider import Provider, Reply, error, provider, text
from tests.support.raw import connected

HI = "a: {script: [{text: Hello}]}"
NESTED = b'{"model":"gpt-4","x":[%b]}' % b",".join([b'{"a":' * 60 + b"1" + b"}" * 60] * 2890)
"""A body of 1 MiB whose values are nested 60 levels deep."""
BOUNDS = RequestBounds()
FILES = (body.__file__, question.__file__, chat.__file__)


def head(path: str, **headers: str) -> bytes:
    """Return the head of a request that announces a body of 1 MiB."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048576\r\n{lines}\r\n".encode()


async def status(client_base: str, data: bytes) -> int:
    """Send this data and return the status of the response."""
    async with connected(client_base) as (reader, writer):
        writer.write(data)
        return int((await reader.readline()).split()[1])


async def test_api_key_over_its_limit_gets_a_429_before_its_body_is_read(workspace: Workspace) -> None:
    """A request whose API key is over its limit gets a 429 although no byte of its body has arrived."""
    key = new()
    auth = f"{{keys: {{alice: {{hash: 'sha256:{hashlib.sha256(key.encode()).hexdigest()}', limit: {{requests: 1/hour}}}}}}}}"
    workspace.write("routes.yaml", routes(HI, more=f"server: {{auth: {auth}}}\n"))
    async with serving(workspace.build()) as client:
        client.session.headers["authorization"] = f"Bearer {key}"
        assert (await client.ask()).status == 200
        for path in ("/api/chat", "/api/chat/chat-model", "/v1/chat/completions"):
            assert await status(client.base, head(path, authorization=f"Bearer {key}")) == 429


@pytest.mark.parametrize("per", ["ip", "route"])
async def test_route_in_the_path_over_its_limit_gets_a_429_before_the_body_is_read(workspace: Workspace, per: str) -> None:
    """A route named in the path answers with a 429 if over its limit, an unknown one with a 404, before any byte of the body."""
    workspace.write("routes.yaml", routes(HI, f"targets: [a]\n    limit: {{requests: 1/hour, per: {per}}}"))
    async with serving(workspace.build()) as client:
        assert (await client.ask()).status == 200
        assert await status(client.base, head("/api/chat/chat-model")) == 429
        assert await status(client.base, head("/api/chat/gpt-4")) == 429
        assert await status(client.base, head("/api/chat/no-such")) == 404


async def test_request_with_an_invalid_body_counts_for_the_limit(workspace: Workspace) -> None:
    """A request with invalid JSON uses up one request of its route's limit: after two 400s, the third gets a 429."""
    workspace.write("routes.yaml", routes(HI, "targets: [a]\n    limit: {requests: 2/hour, concurrent: 1}"))
    async with serving(workspace.build()) as client:
        statuses: list[int] = []
        for _ in range(3):
            async with client.session.post(f"{client.base}/api/chat/chat-model", data=b"{") as response:
                statuses.append(response.status)
    assert statuses == [400, 400, 429]


@contextmanager
def calls_of_body() -> Generator[list[int], None, None]:
    """Record the thread id of each call that parses a body or makes a question of it, in this thread and in new ones."""
    found: list[int] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name in ("parsed", "_once", "crowded", "asked") and frame.f_code.co_filename in FILES:
            found.append(threading.get_ident())

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (NESTED, 413),
        (b'{"messages":[{"role":"user","content":"%b"}],"top_p":1}' % (b"x" * ON_LOOP_BYTES), 200),
        (b'{"messages":[{"role":"user","content":"%b"}]}' % (b"x" * PLAIN_ON_LOOP_BYTES), 200),
        (b'{"messages":[{"role":"user","content":"Hi"}],"x":[1%b]}' % (b",1" * ON_LOOP_VALUES), 200),
    ],
    ids=["nested", "many bytes", "very many bytes", "many values"],
)
async def test_large_body_is_parsed_in_another_thread(workspace: Workspace, data: bytes, answer: int) -> None:
    """A body with many bytes, many values or deep nesting is not parsed in the event loop's thread."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        with calls_of_body() as calls:
            async with client.session.post(f"{client.base}/api/chat", data=io.BytesIO(data)) as response:
                assert response.status == answer
    assert calls
    assert threading.get_ident() not in calls


async def test_small_body_is_parsed_in_the_event_loop_thread(workspace: Workspace) -> None:
    """A small body is parsed in the event loop's thread."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        with calls_of_body() as calls:
            assert (await client.ask("Hello, " * 100, temperature=0.5)).status == 200
    assert set(calls) == {threading.get_ident()}


async def test_large_bodies_are_parsed_one_at_a_time() -> None:
    """Of eight large bodies, of which one is cancelled while it waits, seven are parsed, never two at the same time."""
    reading, large = Reading(), b" " * (ON_LOOP_BYTES + 1)
    running, most, go = 0, 0, threading.Event()

    def work() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        go.wait(20)
        running -= 1
        return 1

    asked = [asyncio.create_task(reading.of(large, work)) for _ in range(8)]
    await asyncio.sleep(0)
    asked.pop().cancel()
    go.set()
    assert await asyncio.gather(*asked) == [1] * 7
    assert most == 1


PHOTO = f"data:image/png;base64,{'A' * 100_000}"
SHOWN = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PHOTO}}]}]
ENDS: dict[str, Reply] = {
    "answered": Reply(text("Hi")),
    "refused": error(401),
    "failed": error(500),
    "cut": Reply(text("Hi", " there")[:1], drop=True),
    "silent": Reply(hold=True),
}


def photos() -> int:
    """Return the number of File objects with the test's image that are still in memory."""
    return sum(isinstance(one, File) and one.url == PHOTO for one in gc.get_objects())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("end", ENDS)
async def test_image_of_a_question_is_freed_when_its_answer_ends(workspace: Workspace, end: str, *, stream: bool) -> None:
    """The image of a question is freed without the garbage collector, whether its answer succeeds, fails, is cut or times out."""
    async with provider(ENDS[end]) as fake:
        policy = "targets: [a]\n    retry: {attempts: 1}\n    timeout: {first_token: 0.2s}"
        async with serving(workspace.write("routes.yaml", routes(direct_target(fake.base), policy)).build()) as client:
            await client.ask()  # what is made once is made
            gc.collect()
            gc.disable()
            try:
                await client.post(messages=SHOWN, stream=stream)
                async with asyncio.timeout(240):
                    while photos():
                        await asyncio.sleep(0.01)
            finally:
                gc.enable()
            assert client.edge.admin.chat.running == 0


async def held_open(client: Client, photo: str) -> int:
    """Ask a question with this image and return the status."""
    shown = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": photo}}]}]
    return (await client.post(messages=shown, stream=False)).status


async def asked(fake: Provider, times: int) -> None:
    """Wait until the provider has got this number of requests."""
    async with asyncio.timeout(240):
        while len(fake.requests) < times:
            await asyncio.sleep(0.01)


async def test_body_beyond_the_bound_on_all_bodies_gets_a_503(workspace: Workspace) -> None:
    """A large body gets a 503 if, with one being answered, it exceeds the bound on all bodies; a small one is answered.
    Once the first is answered, a large one is, too.
    """
    gate = asyncio.Event()
    async with provider(Reply(text("Hi"), gate=gate)) as fake:
        more = "server: {request: {body: 128KiB}}\n"
        async with serving(workspace.write("routes.yaml", routes(direct_target(fake.base), more=more)).build()) as client:
            client.edge.admin.chat.intake = Intake(most=150_000)
            first = asyncio.create_task(held_open(client, PHOTO))
            await asked(fake, 1)
            crowded_out = await client.post(messages=SHOWN, stream=False)
            small = asyncio.create_task(client.ask("Hello"))
            await asked(fake, 2)
            gate.set()
            assert (await first, (await small).status) == (200, 200)
            assert await held_open(client, PHOTO) == 200
    assert (crowded_out.status, crowded_out.json["code"], crowded_out.headers["retry-after"]) == (503, "overloaded", "1")
    assert "x-should-retry" not in crowded_out.headers


async def test_single_body_is_read_even_beyond_the_bound_on_all_bodies() -> None:
    """A body larger than the bound on all bodies is read if no other is held, and its bytes are released when its request ends."""
    bodies, bounds = Bodies(most=10), RequestBounds(body=1000)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x" * 1000, "more_body": False}

    with closing(Incoming(bodies, receive, None, bounds)) as one:
        assert len(await one.read()) == bodies.held == 1000
        with closing(Incoming(bodies, receive, None, bounds)) as other, pytest.raises(Crowded):
            await other.read()
        assert bodies.held == 1000
    assert bodies.held == 0


async def in_pieces(*pieces: bytes, pause: float = 0.0, seconds: float = 20.0, bounds: RequestBounds = BOUNDS) -> bytes:
    """Return the body that `Incoming` reads within `seconds` from these pieces. `pause`: seconds before each piece."""
    left = list(pieces)

    async def receive() -> dict[str, object]:
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    with closing(Incoming(Bodies(), receive, None, bounds, seconds=seconds)) as one:
        return await one.read()


async def test_body_that_arrives_in_pieces_is_read_whole() -> None:
    """A body whose pieces have to be waited for is read whole, and refused as soon as it exceeds its bound."""
    assert await in_pieces(b"one ", b"two ", b"three") == b"one two three"
    with pytest.raises(TooLarge):
        await in_pieces(b"x" * 6, b"x" * 5, b"not read", bounds=RequestBounds(body=10))


async def test_body_that_arrives_too_late_is_refused() -> None:
    """A body that is not complete within its time raises BadAsk."""
    with pytest.raises(BadAsk, match=r"The request's body did not come in time\."):
        await in_pieces(b"one", b"two", pause=0.04, seconds=0.05)


async def test_client_that_leaves_while_its_body_arrives_raises_client_left() -> None:
    """A disconnect in the middle of a body raises ClientLeft."""
    messages: list[dict[str, object]] = [{"type": "http.request", "body": b"one", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0)
        return messages.pop(0)

    with closing(Incoming(Bodies(), receive, None, BOUNDS)) as one, pytest.raises(ClientLeft):
        await one.read()


async def test_cancellation_while_a_body_arrives_reaches_its_receiver() -> None:
    """If a request is cancelled while it waits for its body, the wait of `receive` is cancelled, and nothing stays counted."""
    cancelled = False

    async def receive() -> dict[str, object]:
        nonlocal cancelled
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            cancelled = True
            raise
        raise AssertionError

    bodies = Bodies()
    reading = asyncio.create_task(Incoming(bodies, receive, None, BOUNDS).read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (cancelled, bodies.held) == (True, 0)


SPACE = st.text(alphabet=" \t\r\n", max_size=3)


@given(SPACE, st.sampled_from(['{"a":1}', '{"a":[]', '{"a":1}}', "[1]", "", '{"a":1} x', "\u00a0{}"]), SPACE, st.booleans())
def test_white_space_around_a_body_is_ignored_and_mistakes_have_a_place(before: str, text: str, after: str, marked: bool) -> None:
    """A body is read as the JSON module reads it, whatever stands around it; an error names the line and column that the module names."""
    given = before + text + after
    try:
        expected: object = json.loads(given)
    except json.JSONDecodeError as error:
        expected = f"The body is not JSON (line {error.lineno}, column {error.colno})."
    try:
        read: object = parsed(f"\ufeff{given}".encode() if marked else given.encode(), BOUNDS)
    except BadAsk as error:
        read = error.public
    assert read == ("The body must be a JSON object." if isinstance(expected, list) else expected)


def test_body_with_too_many_values_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body with more than 50,000 JSON values raises TooLarge without a call of the JSON parser."""
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("parsed"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    for data in (NESTED, b"[" * 200_000, b'{"a":[' + b'"",' * 60_000 + b'""]}', b"[" + b'"\\"",' * 60_000 + b'""]'):
        with pytest.raises(TooLarge, match="too many values: 50000 at most"):
            parsed(data, RequestBounds())


SHAPES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a,[]{}"\\:\u00e9\u2028', max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(alphabet='a,[{"\\', max_size=4), inner, max_size=5),
    max_leaves=40,
)


def values(value: object) -> int:
    """Return the number of JSON values in a value, itself included; an empty list or object counts as two."""
    match value:
        case dict():
            return 1 + sum(map(values, value.values())) + (not value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case list():
            return 1 + sum(map(values, value)) + (not value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case _:
            return 1


@settings(deadline=None)
@given(SHAPES, st.booleans())
def test_count_of_json_values_ignores_syntax_within_strings(value: object, ascii_only: bool) -> None:
    """The count of values in a JSON body is exact although strings and keys contain commas, brackets and quotes."""
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    count = values(value)
    assert not crowded(data, count)
    assert crowded(data, count - 1)


@settings(deadline=None)
@given(st.text(alphabet='[]{}",:\\1 ', max_size=60))
def test_count_of_json_values_covers_invalid_json(text: str) -> None:
    """The count of values in invalid JSON is at least the number of members that the parser makes before it fails."""
    made = 0

    def noted(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal made
        made += len(pairs)
        return dict(pairs)

    with suppress(ValueError, Refused):
        json.loads(text, object_pairs_hook=noted)
    assert made == 0 or crowded(text.encode(), made)
