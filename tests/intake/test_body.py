"""What a request's body may cost: nothing where a limit refuses it, a bounded number of values, and nothing of the loop where it is large."""

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
from router.errors import Crowded, Refused, TooLarge
from router.intake import Intake, body, question
from router.intake.body import ON_LOOP_BYTES, ON_LOOP_VALUES, Bodies, Incoming, Reading, parsed
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.provider import Provider, Reply, error, provider, text
from tests.support.raw import connected

HI = "a: {script: [{text: Hello}]}"
NESTED = b'{"model":"gpt-4","x":[%b]}' % b",".join([b'{"a":' * 60 + b"1" + b"}" * 60] * 2890)
"""1 MiB, nested 60 deep."""
FILES = (body.__file__, question.__file__, chat.__file__)


def head(path: str, **headers: str) -> bytes:
    """A request whose body of 1 MiB has yet to come."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048576\r\n{lines}\r\n".encode()


async def status(client_base: str, data: bytes) -> int:
    """The status that is sent before the body has come."""
    async with connected(client_base) as (reader, writer):
        writer.write(data)
        return int((await reader.readline()).split()[1])


async def test_callers_limit_refuses_before_the_body(workspace: Workspace) -> None:
    """A caller over its own limit gets its 429 although not one byte of its body has come."""
    key = new()
    auth = f"{{keys: {{alice: {{hash: 'sha256:{hashlib.sha256(key.encode()).hexdigest()}', limit: {{requests: 1/hour}}}}}}}}"
    workspace.write("routes.yaml", routes(HI, more=f"server: {{auth: {auth}}}\n"))
    async with serving(workspace.build()) as client:
        client.session.headers["authorization"] = f"Bearer {key}"
        assert (await client.ask()).status == 200
        for path in ("/api/chat", "/api/chat/chat-model", "/v1/chat/completions"):
            assert await status(client.base, head(path, authorization=f"Bearer {key}")) == 429


@pytest.mark.parametrize("per", ["ip", "route"])
async def test_limit_of_the_paths_route_refuses_before_the_body(workspace: Workspace, per: str) -> None:
    """The route that the path names refuses with 429, one that is unknown with 404, although not one byte of the body has come."""
    workspace.write("routes.yaml", routes(HI, f"targets: [a]\n    limit: {{requests: 1/hour, per: {per}}}"))
    async with serving(workspace.build()) as client:
        assert (await client.ask()).status == 200
        assert await status(client.base, head("/api/chat/chat-model")) == 429
        assert await status(client.base, head("/api/chat/gpt-4")) == 429
        assert await status(client.base, head("/api/chat/no-such")) == 404


async def test_refused_body_counts_for_the_limit_before_it(workspace: Workspace) -> None:
    """A body that cannot be read has used one request of the limit that let it in: else it could be sent without end."""
    workspace.write("routes.yaml", routes(HI, "targets: [a]\n    limit: {requests: 2/hour, concurrent: 1}"))
    async with serving(workspace.build()) as client:
        statuses: list[int] = []
        for _ in range(3):
            async with client.session.post(f"{client.base}/api/chat/chat-model", data=b"{") as response:
                statuses.append(response.status)
    assert statuses == [400, 400, 429]


@contextmanager
def calls_of_body() -> Generator[list[int], None, None]:
    """Note the thread of each call of a function of router/intake/body.py and router/intake/question.py: in this thread and in new ones."""
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
        (b'{"messages":[{"role":"user","content":"%b"}]}' % (b"x" * ON_LOOP_BYTES), 200),
        (b'{"messages":[{"role":"user","content":"Hi"}],"x":[1%b]}' % (b",1" * ON_LOOP_VALUES), 200),
    ],
    ids=["nested", "many bytes", "many values"],
)
async def test_large_body_is_read_off_the_loop(workspace: Workspace, data: bytes, answer: int) -> None:
    """Not one call that parses it, or makes a question of it, is made by the loop's thread."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        with calls_of_body() as calls:
            async with client.session.post(f"{client.base}/api/chat", data=io.BytesIO(data)) as response:
                assert response.status == answer
    assert calls
    assert threading.get_ident() not in calls


async def test_small_body_is_read_on_the_loop(workspace: Workspace) -> None:
    """It takes less time than a thread takes to start."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        with calls_of_body() as calls:
            assert (await client.ask("Hello, " * 100)).status == 200
    assert set(calls) == {threading.get_ident()}


async def test_large_bodies_are_read_one_at_a_time() -> None:
    """The loop shares the interpreter with one thread, however many clients send at once; a client that leaves gives up its turn."""
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
    """Count the images of questions that something still holds. Not by a comprehension: its list would be counted, too."""
    return sum(isinstance(one, File) and one.url == PHOTO for one in gc.get_objects())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("end", ENDS)
async def test_question_is_let_go_of_when_its_answer_ends(workspace: Workspace, end: str, *, stream: bool) -> None:
    """Nothing holds it in a circle, however the answer ends: the collector looks for circles seldom, and does not know how large they are."""
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
    """The status of a question with this image."""
    shown = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": photo}}]}]
    return (await client.post(messages=shown, stream=False)).status


async def asked(fake: Provider, times: int) -> None:
    """Wait until the provider was asked so often; its answers may be held back."""
    async with asyncio.timeout(240):
        while len(fake.requests) < times:
            await asyncio.sleep(0.01)


async def test_bodies_beyond_the_bound_of_all_are_refused(workspace: Workspace) -> None:
    """While one large question is answered, a second one is told to come again; a small one is answered, and later the large one."""
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


async def test_body_of_the_largest_size_is_always_read() -> None:
    """Whatever the bound of all is; what it held is given back when its request ends."""
    bodies, bounds = Bodies(most=10), RequestBounds(body=1000)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x" * 1000, "more_body": False}

    with closing(Incoming(bodies, receive, None, bounds)) as one:
        assert len(await one.read()) == bodies.held == 1000
        with closing(Incoming(bodies, receive, None, bounds)) as other, pytest.raises(Crowded):
            await other.read()
        assert bodies.held == 1000
    assert bodies.held == 0


def test_too_many_values_are_refused_before_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser is not called, so that it cannot hold the interpreter's lock for half a second."""
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
    """Count the values in a value, itself included; one more for what is empty."""
    match value:
        case dict():
            return 1 + sum(map(values, value.values())) + (not value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case list():
            return 1 + sum(map(values, value)) + (not value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case _:
            return 1


@settings(deadline=None)
@given(SHAPES, st.booleans())
def test_count_of_values_is_exact_whatever_texts_hold(value: object, ascii_only: bool) -> None:
    """Commas, brackets, quotation marks and backslashes in texts and in keys are not counted."""
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    count = values(value)
    assert not crowded(data, count)
    assert crowded(data, count - 1)


@settings(deadline=None)
@given(st.text(alphabet='[]{}",:\\1 ', max_size=60))
def test_mistake_hides_no_values(text: str) -> None:
    """A body that is no JSON is counted at least as far as a parser would make values of it."""
    made = 0

    def noted(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal made
        made += len(pairs)
        return dict(pairs)

    with suppress(ValueError, Refused):
        json.loads(text, object_pairs_hook=noted)
    assert made == 0 or crowded(text.encode(), made)
