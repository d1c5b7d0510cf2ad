"""The answer cache of a route through a running router: request coalescing, hits in every wire, keys, and what is not cached."""

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.config import declare, read
from router.errors import ConfigError
from router.generation import build
from router.intake.cache_control import cache_control
from router.wire import WIRES
from tests.conftest import Answered, Client, Workspace, direct_target, routes, serving
from tests.support.provider import Provider, Reply, calls, chunk, error, provider, text
from tests.support.redis_cli import keys, redis_command
from tests.support.services import RedisServer, redis_server
from tests.wire.readers import READERS

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "model": "chat-model"}
CACHED = "targets: [a]\n    cache: {ttl: 1h}"
PACED = "a: {script: [" + ", ".join("{text: 'word '}, {pause: 200ms}" for _ in range(10)) + "]}"


@asynccontextmanager
async def cached(workspace: Workspace, targets: str, route: str = CACHED, more: str = "") -> AsyncGenerator[Client, None]:
    """Run a router whose route `chat-model` has a cache, and yield its client."""
    async with serving(workspace.write("routes.yaml", routes(targets, route, more)).build()) as client:
        yield client


async def asked(client: Client, path: str = "/api/chat", said: dict[str, Any] = BODY, **headers: str) -> Answered:
    """POST one question with these headers (`_` in a name stands for `-`) and return the whole answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.session.post(client.base + path, json=said, headers=named) as response:
        return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())


def how(answer: Answered) -> str:
    """Return the answer's `X-Router-Cache` header: hit, miss, shared or bypass."""
    return answer.headers["x-router-cache"]


async def test_500_identical_concurrent_requests_make_one_upstream_call(workspace: Workspace) -> None:
    """All of 500 identical concurrent requests get the same answer from one call to the provider: one miss, the rest shared or hits."""
    gate = asyncio.Event()
    script = Reply(text(*[f"word{count} " for count in range(50)]), gate=gate)
    async with provider(script) as fake, cached(workspace, direct_target(fake.base)) as client:
        asking = [asyncio.create_task(asked(client)) for _ in range(500)]
        await running(client, 500)
        gate.set()
        answers = await asyncio.gather(*asking)
        assert len(fake.requests) == 1
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].text.startswith("word0 word1")
    counted = Counter(how(answer) for answer in answers)
    assert counted["miss"] == 1
    assert counted["shared"] > 400
    assert counted["miss"] + counted["shared"] + counted["hit"] == 500


async def test_clients_of_every_wire_share_one_upstream_call(workspace: Workspace) -> None:
    """Concurrent requests in every wire, streamed or not, share the answer of the first request and get its whole text."""
    async with cached(workspace, PACED) as client:
        first = asyncio.create_task(asked(client))
        await running(client, 1)
        kinds = [(wire, stream) for wire in WIRES for stream in (True, False)]
        others = [asyncio.create_task(asked(client, f"/api/chat?protocol={wire}", {**BODY, "stream": stream})) for wire, stream in kinds]
        assert how(await first) == "miss"
        assert {how(await one) for one in others} == {"shared"}
        for (wire, stream), one in zip(kinds, others, strict=True):
            body = (await one).body
            said = READERS[wire](body).text if stream else body.decode()
            assert "word " * 9 + "word" in said


def without_ids(data: bytes) -> bytes:
    """Return the bytes with ids and timestamps, which differ between answers, replaced by `ID`."""
    return re.sub(
        rb'[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|"(created|created_at|completed_at)":\d+|req_[0-9a-f]{24}|\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)',
        b"ID",
        data,
    )


ROUND = (
    Reply(calls(("c1", "get_weather", '{"location": "Beijing"}'))),
    Reply((chunk({"reasoning_content": "Hm."}), *text("It is ", "25°C."))),
)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
async def test_cache_hit_has_the_same_bytes_as_an_uncached_answer(workspace: Workspace, wire: str, stream: bool) -> None:
    """A hit of an answer cached from another wire has the bytes and headers of an uncached one but for ids, times and cache headers."""
    route = "targets: [a]\n    tools: [weather]\n    reasoning: show\n    cache: {ttl: 1h, tools: keep}"
    path, said = f"/api/chat?protocol={wire}", {**BODY, "stream": stream, "stream_options": {"include_usage": True}}
    async with provider(*ROUND, *ROUND) as fake, cached(workspace, direct_target(fake.base), route) as client:
        plain = await asked(client, path, said, cache_control="no-store")
        await asked(client)
        hit = await asked(client, path, said)
        assert [how(plain), how(hit)] == ["miss", "hit"]
        assert len(fake.requests) == 4
    assert without_ids(hit.body) == without_ids(plain.body)
    own = {"x-router-cache", "age", "x-request-id", "request-id", "date", "x-router-attempts", "content-length"}
    assert {name: value for name, value in hit.headers.items() if name not in own} == {
        name: value for name, value in plain.headers.items() if name not in own
    }
    assert "x-router-attempts" not in hit.headers


async def test_answer_of_a_cached_route_has_cache_and_age_headers(workspace: Workspace) -> None:
    """A miss has `X-Router-Cache: miss`, a hit also `Age`; CORS exposes both; a route without a cache sends neither."""
    more = "  plain: {pipeline: chat, targets: [a]}\nserver: {cors: {origins: ['http://localhost:3000']}}\n"
    async with cached(workspace, "a: {script: [{text: Hi}]}", more=more) as client:
        first, second = await asked(client), await asked(client, origin="http://localhost:3000")
        plain = await asked(client, "/api/chat/plain")
    assert (how(first), first.headers.get("age")) == ("miss", None)
    assert (how(second), int(second.headers["age"])) == ("hit", 0)
    exposed = second.headers["access-control-expose-headers"].lower()
    assert "x-router-cache" in exposed
    assert "age" in exposed
    assert "x-router-cache" not in plain.headers


async def test_cache_control_and_regeneration_bypass_the_cache(workspace: Workspace) -> None:
    """Requests with `no-cache`, `max-age=0` or trigger `regenerate-message` bypass the cache; `max-age=60, no-store` can be a hit."""
    async with provider(Reply(text("Hi"))) as fake, cached(workspace, direct_target(fake.base)) as client:
        assert [how(await asked(client)), how(await asked(client))] == ["miss", "hit"]
        assert how(await asked(client, cache_control="no-cache")) == "bypass"
        assert how(await asked(client, cache_control="max-age=0")) == "bypass"
        assert how(await asked(client, cache_control="max-age=60, no-store")) == "hit"
        again = {**BODY, "trigger": "regenerate-message", "id": "chat-1"}
        assert how(await asked(client, said=again)) == "bypass"
        assert how(await asked(client, said={**again, "trigger": "submit-message"})) == "hit"
        assert len(fake.requests) == 4


CONTROLS: dict[bytes, tuple[float, bool]] = {
    b"": (float("inf"), True),
    b"no-cache": (0, True),
    b"No-Cache , NO-STORE": (0, False),
    b"no-store": (float("inf"), False),
    b"max-age=60": (60, True),
    b'max-age="60"': (60, True),
    b"max-age=60,max-age=5": (5, True),
    b"max-age": (0, True),
    b"max-age=": (0, True),
    b"max-age=-1": (0, True),
    b"max-age=1e9": (0, True),
    b"max-age=" + b"9" * 10_000: (0, True),
    "max-age=٣".encode(): (0, True),
    b"only-if-cached, x-no-cache, max-stale=5, ,=,\xff": (float("inf"), True),
}


@pytest.mark.parametrize("header", CONTROLS)
def test_cache_control_header_is_parsed_as_in_rfc_9111(header: bytes) -> None:
    """A Cache-Control header gives `max_age` and `store`; unknown directives are ignored, and an invalid `max-age` counts as 0."""
    made = cache_control(header, {})
    assert (made.max_age, made.store) == CONTROLS[header]


async def test_cached_answer_is_shared_across_callers_only_with_scope_route(workspace: Workspace) -> None:
    """With `scope: caller`, a caller gets no hit or shared answer of another caller; with `scope: route`, all callers share."""
    for scope, wanted in (("caller", ["miss", "miss", "miss", "hit"]), ("route", ["miss", "hit", "hit", "hit"])):
        async with cached(workspace, "a: {script: [{text: Hi}]}", f"targets: [a]\n    cache: {{ttl: 1h, scope: {scope}}}") as client:
            told = [how(await asked(client, authorization=who)) for who in ("Bearer one", "Bearer two", "Basic one", "Bearer one")]
            assert told == wanted
    async with cached(workspace, PACED) as client:
        answers = await asyncio.gather(*(asked(client, authorization=f"Bearer {count % 2}") for count in range(6)))
        assert sorted(how(one) for one in answers) == ["miss"] * 2 + ["shared"] * 4


async def test_fields_that_the_prompt_does_not_use_leave_the_cache_key_unchanged(workspace: Workspace) -> None:
    """The cache key ignores fields that the prompt does not use, their order and the alias; a used field or `temperature` changes it."""
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n").write("pipelines/chat.j2", "Be {{ params.mood }}.")
    async with provider(Reply(text("Hi"))) as fake, cached(workspace, direct_target(fake.base)) as client:
        kind = {**BODY, "params": {"mood": "kind"}}
        assert how(await asked(client, said=kind)) == "miss"
        other = {"x": 1, "id": "chat-1", "params": {"other": 2, "mood": "kind"}, "model": "gpt-4", "messages": BODY["messages"]}
        assert how(await asked(client, said=other)) == "hit"
        assert how(await asked(client, said={**BODY, "params": {"mood": "cruel"}})) == "miss"
        assert how(await asked(client, said={**kind, "temperature": 0})) == "miss"
        assert [request["messages"][0]["content"] for request in fake.requests] == ["Be kind.", "Be cruel.", "Be kind."]


async def left(client: Client, fake: Provider) -> None:
    """Ask, disconnect after the first bytes, and wait until the provider's connection is closed."""
    closed = fake.closed
    async with client.session.post(f"{client.base}/api/chat", json=BODY) as response:
        await response.content.readany()
        response.close()
    await fake.until(lambda: fake.closed > closed)


HALF = (chunk({"content": "Half an answer"}),)


async def test_incomplete_answer_is_not_cached(workspace: Workspace) -> None:
    """An answer that was cut off, abandoned by its client, failed or ended with `length` is not cached: the next request is a miss."""
    route = "targets: [a]\n    retry: {attempts: 1}\n    rescue: fail\n    cache: {ttl: 1h}"
    script = [Reply(HALF, hold=True), Reply(HALF, drop=True), error(500), Reply(text("Short", finish="length")), Reply(text("Whole"))]
    async with provider(*script) as fake, cached(workspace, direct_target(fake.base), route) as client:
        await left(client, fake)
        cut = await asked(client)
        assert (cut.status, cut.codes) == (200, "03d")
        assert (await asked(client)).status == 502
        assert (await asked(client)).lines[-1][1]["finishReason"] == "length"
        whole = await asked(client)
        assert (how(whole), whole.text) == ("miss", "Whole")
        assert (await asked(client)).text == "Whole"
        assert len(fake.requests) == 5


async def test_shared_upstream_call_is_cancelled_when_its_last_client_disconnects(workspace: Workspace) -> None:
    """A shared call to the provider goes on after its first client disconnects and is cancelled when the last client has disconnected."""
    async with provider(Reply(HALF, hold=True)) as fake, cached(workspace, direct_target(fake.base)) as client:
        first, second = [await client.session.post(f"{client.base}/api/chat", json=BODY) for _ in range(2)]
        for response in (first, second):
            assert b"Half" in await response.content.readany()
        first.close()
        await running(client, 1)
        assert fake.open == 1
        third = await client.session.post(f"{client.base}/api/chat", json=BODY)
        assert third.headers["x-router-cache"] == "shared"
        third.close()
        second.close()
        await fake.until(lambda: fake.open == 0)
        assert len(fake.requests) == 1


async def test_upstream_error_before_the_first_token_reaches_all_sharing_requests(workspace: Workspace) -> None:
    """Concurrent requests that share a call get a 503 with the provider's `Retry-After` if the provider answers it with a 429.

    Only one of them has the attempts header, and the provider gets two calls at most.
    """
    route = "targets: [a]\n    retry: {attempts: 1}\n    cache: {ttl: 1h}"
    async with (
        provider(error(429, retry_after="7"), Reply(text("Hi"))) as fake,
        cached(workspace, direct_target(fake.base), route) as client,
    ):
        answers = await asyncio.gather(*(asked(client) for _ in range(20)))
        refused = [answer for answer in answers if answer.status != 200]
        assert refused
        assert {answer.status for answer in refused} == {503}
        assert {answer.headers["retry-after"] for answer in refused} == {"7"}
        assert sum("x-router-attempts" in answer.headers for answer in refused) == 1
        assert len(fake.requests) <= 2  # who came after it was over asked again


async def test_slow_client_of_a_shared_answer_does_not_delay_the_others(workspace: Workspace) -> None:
    """A client that reads a shared answer too slowly has it cut off with an error frame, while the other client gets the whole answer."""
    gate, piece = asyncio.Event(), "x" * 60_000
    script = Reply((chunk({"content": "Hm. "}), *[chunk({"content": piece})] * 400, *text("end")), gate=gate)
    async with provider(script) as fake, cached(workspace, direct_target(fake.base)) as client:
        reader, writer = await asyncio.open_connection(*client.base.removeprefix("http://").split(":"), limit=1024)
        body = json.dumps(BODY).encode()
        writer.write(b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert b"200" in await reader.readline()
        reading = asyncio.create_task(asked(client))
        await running(client, 2)
        gate.set()
        whole = await reading
        assert (how(whole), len(whole.text)) == ("shared", 4 + 400 * len(piece) + 3)
        rest = b"".join([data async for data in _pieces(reader)])
        writer.close()
        assert len(fake.requests) == 1
    assert 64 * 1024 < len(rest) < len(whole.body)
    assert b'3:{"type":"error"' in rest
    assert b'd:{"type":"finish","finishReason":"error"}' in rest


async def running(client: Client, count: int) -> None:
    """Wait until the router has this number of running answers."""
    async with asyncio.timeout(240):
        while client.edge.admin.chat.running != count:
            await asyncio.sleep(0.01)


async def _pieces(reader: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    while data := await reader.read(1 << 20):
        yield data


EDITS: dict[str, tuple[str, str, str, str]] = {
    "another route": ("routes.yaml", "other: {pipeline: chat, targets: [b]}", "other: {pipeline: chat, targets: [a]}", "hit"),
    "another target": ("routes.yaml", "text: Bee", "text: Other", "hit"),
    "a timeout of its own": ("routes.yaml", "retry: {attempts: 1}", "retry: {attempts: 3}", "hit"),
    "its time to live": ("routes.yaml", "ttl: 1h", "ttl: 2h", "hit"),
    "a template of another pipeline": ("pipelines/plain.j2", "Plain", "Plainer", "hit"),
    "its scope": ("routes.yaml", "scope: route", "scope: caller", "miss"),
    "its room": ("routes.yaml", "size: 1MiB", "size: 2MiB", "miss"),
    "what its target says": ("routes.yaml", "text: Ay", "text: Oh", "miss"),
    "the order of its targets": ("routes.yaml", "targets: [a, b]", "targets: [b, a]", "miss"),
    "a target fewer": ("routes.yaml", "targets: [a, b]", "targets: [a]", "miss"),
    "its sampling": ("pipelines/chat.yaml", "temperature: 0", "temperature: 1", "miss"),
    "its prompt": ("pipelines/chat.j2", "Be kind", "Be brief", "miss"),
    "its tools": ("tools/weather.py", "25°C", "26°C", "miss"),
    "how often it may call them": ("routes.yaml", "max_steps: 3", "max_steps: 4", "miss"),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_configuration_edit_drops_cached_answers_only_if_it_affects_them(workspace: Workspace, edit: str) -> None:
    """An edit of prompt, sampling, tools, `max_steps`, targets, or cache scope or size leads to a miss; others keep the hit."""
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n  - params: {temperature: 0}\n")
    workspace.write("pipelines/chat.j2", "Be kind.").write("pipelines/plain.j2", "Plain.")
    route = (
        "targets: [a, b]\n    tools: [weather]\n    max_steps: 3\n    retry: {attempts: 1}\n    cache: {ttl: 1h, size: 1MiB, scope: route}"
    )
    more = "  other: {pipeline: chat, targets: [b]}\n"
    targets = "a: {script: [{text: Ay}]}\nb: {script: [{text: Bee}]}"
    if edit == "another target":
        route = route.replace("[a, b]", "[a]")
    async with cached(workspace, targets, route, more) as client:
        assert [how(await asked(client)), how(await asked(client))] == ["miss", "hit"]
        file, before, after, wanted = EDITS[edit]
        content = (workspace.root / file).read_text(encoding="utf-8")
        assert before in content
        workspace.write(file, content.replace(before, after, 1))
        live = client.edge.live
        live.swap(build(declare(read(workspace.root / "routes.yaml"), {}), live.generation.kept))
        assert how(await asked(client)) == wanted
        assert how(await asked(client)) == "hit"


async def test_cached_answers_survive_a_rotated_key_but_not_a_new_target(workspace: Workspace) -> None:
    """A cached answer stays a hit after a change of an API key's value; a target that becomes available leads to a miss."""
    targets = (
        "a: {model: openai/x, api_base: 'BASE', api_key: '${KEY}', optional: true}\nb: {model: openai/y, api_base: 'BASE', api_key: k}"
    )
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(targets.replace("BASE", fake.base), "targets: [a, b]\n    cache: {ttl: 1h}"))
        async with serving(workspace.build()) as client:
            told: list[str] = [how(await asked(client))]
            for key in ({}, {"KEY": "one"}, {"KEY": "two"}):
                live = client.edge.live
                live.swap(build(declare(read(workspace.root / "routes.yaml"), key), live.generation.kept))
                told.append(how(await asked(client)))
    assert told == ["miss", "hit", "miss", "hit"]


async def test_shared_answer_under_way_ends_on_its_old_configuration(workspace: Workspace) -> None:
    """Requests that share an answer during a reload get the old configuration's text; a request after the reload gets the new one."""
    async with cached(workspace, PACED) as client:
        old = [asyncio.create_task(asked(client)) for _ in range(3)]
        await running(client, 3)
        workspace.write("routes.yaml", routes(PACED.replace("word", "new"), CACHED))
        live = client.edge.live
        live.swap(build(declare(read(workspace.root / "routes.yaml"), {}), live.generation.kept))
        new = await asked(client)
        assert {answer.text.strip() for answer in await asyncio.gather(*old)} == {"word " * 9 + "word"}
        assert (how(new), new.text.strip()) == ("miss", "new " * 9 + "new")
        assert live.alive == 1


async def test_answer_of_a_scripted_fallback_target_is_not_cached(workspace: Workspace) -> None:
    """An answer of a scripted target behind a failed provider is not cached: the next request asks the provider again."""
    route = "targets: [a, demo]\n    retry: {attempts: 1}\n    cache: {ttl: 1h}"
    async with provider(error(500), Reply(text("Real"))) as fake:
        async with cached(workspace, direct_target(fake.base) + "demo: {script: [{text: Demo}]}", route) as client:
            assert [(await asked(client)).text for _ in range(3)] == ["Demo", "Real", "Real"]
        assert len(fake.requests) == 2


async def test_answer_of_a_chat_from_the_cache_can_be_resumed(workspace: Workspace) -> None:
    """The answer of a chat can be resumed by its chat id with the same bytes, whether it was a miss or a cache hit."""
    async with cached(workspace, "a: {script: [{text: Hello}]}") as client:
        first, second = [await asked(client, said={**BODY, "id": chat}) for chat in ("one", "two")]
        assert [how(first), how(second)] == ["miss", "hit"]
        assert first.body == second.body
        for chat in ("one", "two"):
            assert (await client.get(f"/api/chat/{chat}/stream")).body == first.body


async def test_cache_hit_counts_no_tokens_attempts_or_tool_calls(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A cache hit adds no tokens, attempts or tool calls to access log and metrics; the metrics count it as a hit."""
    route = "targets: [a]\n    tools: [weather]\n    cache: {ttl: 1h, tools: keep}"
    async with provider(*ROUND) as fake, cached(workspace, direct_target(fake.base), route) as client:
        with caplog.at_level(logging.INFO, "router.access"):
            for _ in range(3):
                await asked(client)
        page = (await client.get("/metrics")).body.decode()
    miss, hit, _ = [record.__dict__["fields"] for record in caplog.records if record.name == "router.access"]
    assert (miss["cache"], miss["steps"], miss["input_tokens"], len(miss["tools"]), len(miss["attempts"])) == ("miss", 2, 22, 1, 2)
    assert (hit["cache"], hit["steps"], hit["input_tokens"], hit["tools"], hit["attempts"]) == ("hit", 0, None, [], [])
    assert (hit["target"], hit["outcome"], hit["status"]) == ("a", "stop", 200)
    for line in (
        'router_cache_total{result="miss",route="chat-model"} 1.0',
        'router_cache_total{result="hit",route="chat-model"} 2.0',
        'router_tokens_total{direction="input",route="chat-model"} 22.0',
        'router_attempts_total{outcome="ok",target="a"} 2.0',
        'router_tool_calls_total{result="ok",tool="get_weather"} 1.0',
    ):
        assert line in page.splitlines()


def test_unknown_cache_field_in_the_configuration_is_refused(workspace: Workspace) -> None:
    """A misspelt field of a route's `cache` is a configuration error that suggests the right field."""
    workspace.write("routes.yaml", routes("a: {script: demo}", "targets: [a]\n    cache: {ttl: 1h, sise: 1MiB}"))
    with pytest.raises(ConfigError, match="did you mean `size`"):
        workspace.build()


@asynccontextmanager
async def replicas(workspace: Workspace, server: RedisServer, base: str) -> AsyncGenerator[list[Client], None]:
    """Run two routers with the same configuration and one shared Redis, and yield their clients."""
    workspace.write("routes.yaml", routes(direct_target(base), CACHED, f"server: {{redis: '{server.url}'}}\n"))
    async with serving(workspace.build()) as one, serving(workspace.build()) as other:
        yield [one, other]


async def test_replicas_share_cached_answers_through_redis(workspace: Workspace) -> None:
    """An answer cached by one replica is a hit on the other for the same caller, also in another wire; `no-cache` renews it for both."""
    script = [Reply(text("First")), Reply(text("Second")), Reply(text("Third"))]
    async with provider(*script) as fake, redis_server() as server, replicas(workspace, server, fake.base) as (one, other):
        first = await asked(one)
        await kept_in(server, 1)
        there = await asked(other, "/api/chat?protocol=ui-message-stream")
        assert (first.text, how(there), READERS["ui-message-stream"](there.body).text) == ("First", "hit", "First")
        renewed = await asked(other, cache_control="no-cache")
        assert (how(renewed), renewed.text) == ("bypass", "Second")
        async with asyncio.timeout(240):
            while (again := await asked(one)).text != "Second":
                await asyncio.sleep(0.01)
        assert how(again) == "hit"
        assert how(await asked(one, authorization="Bearer other")) == "miss"
        assert len(fake.requests) == 3
        for name in await answers(server):
            assert re.fullmatch(r"pointsman:\{[0-9a-f]{64}\}:cache", name)
            assert 3_500_000 < int(await redis_command(server, "PTTL", name)) <= 3_600_000


async def answers(server: RedisServer) -> list[str]:
    """Return the Redis keys of cached answers."""
    return [name for name in await keys(server) if name.endswith(":cache")]


async def kept_in(server: RedisServer, count: int) -> None:
    """Wait until Redis holds at least this number of cached answers: they are written after the client has its answer."""
    async with asyncio.timeout(240):
        while len(await answers(server)) < count:
            await asyncio.sleep(0.01)


async def test_replica_without_redis_serves_its_own_cached_answers(workspace: Workspace) -> None:
    """While Redis does not respond, each replica serves hits of the answers that it made itself, and no request fails."""
    async with provider(Reply(text("Hi"))) as fake, redis_server() as server, replicas(workspace, server, fake.base) as (one, other):
        assert how(await asked(one)) == "miss"
        async with asyncio.timeout(240):
            while how(await asked(one)) != "hit":  # until Redis has said that it has it, whoever asks shares the answer that is being made
                await asyncio.sleep(0.01)
        server.daemon.pause()
        try:
            assert [how(await asked(one)) for _ in range(2)] == ["hit", "hit"]
            assert [how(await asked(other)) for _ in range(2)] == ["miss", "hit"]
        finally:
            server.daemon.resume()
