"""Limits on requests, tokens, spend and concurrency over HTTP, and the bound `max_streams` on running answers."""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any, cast

import aiohttp
import pytest

from router.callers.keys import new
from router.config import load
from router.errors import ConfigError
from router.generation import build
from router.journal.entry import Entry
from router.journal.metrics import Metrics
from tests.conftest import AS_OPERATOR, Client, Workspace, direct_target, routes, serving
from tests.support.promises import hold, timed
from tests.support.provider import Reply, chunk, error, provider, text

HI = "a: {script: [{text: Hello}]}"


def limited(limit: str, more: str = "", targets: str = HI) -> str:
    """Return a routes.yaml whose route has this limit."""
    return routes(targets, f"targets: [a]\n    limit: {{{limit}}}", more)


async def asked(client: Client, headers: dict[str, str] | None = None, path: str = "/api/chat") -> tuple[int, dict[str, str], bytes]:
    """Ask once and return status, headers and body."""
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}
    async with client.session.post(client.base + path, json=body, headers=headers) as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()


async def test_request_limit_admits_exactly_its_number_of_concurrent_requests(workspace: Workspace) -> None:
    """A limit of 100 an hour answers 100 of 1,000 concurrent requests; the other 900 get a 429 with `Retry-After` and RateLimit headers."""
    workspace.write("routes.yaml", limited("requests: 100/hour"))
    async with serving(workspace.build()) as client:
        answers = await asyncio.gather(*(asked(client) for _ in range(1000)))
        assert sorted(status for status, _, _ in answers) == [200] * 100 + [429] * 900
        _, headers, body = next(one for one in answers if one[0] == 429)
        assert json.loads(body)["code"] == "rate_limited"
        assert 3500 < int(headers["retry-after"]) <= 3600
        assert headers["ratelimit-policy"] == '"requests";q=100;w=3600'
        assert headers["ratelimit"].startswith('"requests";r=0;t=')
        left = {one[1]["ratelimit"].split(";")[1] for one in answers if one[0] == 200}
        assert left == {f"r={number}" for number in range(100)}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/chat?protocol=data-stream", "rate_limited"),
        ("/api/chat?protocol=ui-message-stream", "rate_limited"),
        ("/v1/chat/completions", "rate_limit_exceeded"),
    ],
)
async def test_rate_limit_refusal_has_the_error_form_of_the_wire(workspace: Workspace, path: str, code: str) -> None:
    """A request over the limit gets a 429 with `Retry-After` and a body in the error form of its wire."""
    workspace.write("routes.yaml", limited("requests: 1/hour"))
    async with serving(workspace.build()) as client:
        await asked(client)
        status, headers, body = await asked(client, path=path)
        assert (status, "retry-after" in headers) == (429, True)
        assert code in body.decode() or "Rate limit exceeded" in body.decode()


async def test_cors_exposes_rate_limit_and_retry_after_headers(workspace: Workspace) -> None:
    """Answers and refusals to a page of another origin expose the RateLimit and `Retry-After` headers through CORS."""
    workspace.write("routes.yaml", limited("requests: 1/hour", "server: {cors: {origins: ['https://app.example']}}\n"))
    async with serving(workspace.build()) as client:
        answers = [await asked(client, {"origin": "https://app.example"}) for _ in range(2)]
        for (status, headers, _), names in zip(answers, [{"ratelimit"}, {"ratelimit", "retry-after"}], strict=True):
            exposed = {name.strip() for name in headers["access-control-expose-headers"].lower().split(",")}
            assert names <= set(headers) & exposed, status
            assert "ratelimit-policy" in exposed


async def test_limit_counts_per_ip_per_key_or_per_route(workspace: Workspace) -> None:
    """A limit counts requests of one IP address, of one API key or of the whole route together, as its `per` declares."""
    for per, statuses in (("ip", [200, 429, 200, 200]), ("route", [200, 429, 429, 429])):
        workspace.write("routes.yaml", limited(f"requests: 1/hour, per: {per}", "server: {auth: none, proxies: [127.0.0.1]}\n"))
        async with serving(workspace.build()) as client:
            addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1"]
            found = [(await asked(client, {"x-forwarded-for": address}))[0] for address in addresses]
            assert found == statuses
    headers, server = keyed({"one": "requests: 9/hour", "two": "requests: 9/hour"})
    workspace.write("routes.yaml", limited("requests: 1/hour, per: key", server))
    async with serving(workspace.build()) as client:
        found = [(await asked(client, headers[name]))[0] for name in ("one", "one", "two")]
        assert found == [200, 429, 200]


@pytest.mark.parametrize("server", ["", "server: {auth: none}\n"])
async def test_limit_per_key_without_configured_keys_is_refused_at_load(workspace: Workspace, server: str) -> None:
    """A limit with `per: key` is a configuration error if `server.auth` declares no keys or JWT issuer."""
    workspace.write("routes.yaml", limited("requests: 1/hour, per: key", server))
    with pytest.raises(ConfigError) as refused:
        workspace.build()
    (complaint,) = refused.value.complaints
    assert str(complaint.place) == "routes.yaml:8:36"
    for word in ("`per: key`", "`server.auth`", "`keys`", "`jwt`", "`per: ip`", "`per: route`"):
        assert word in complaint.message


async def test_forged_forwarded_for_header_does_not_evade_a_limit_per_ip(workspace: Workspace) -> None:
    """A limit `per: ip` trusts only the X-Forwarded-For entry that a declared proxy added, and counts an IPv6 /64 as one address."""
    workspace.write("routes.yaml", limited("requests: 1/hour, per: ip", "server: {auth: none}\n"))
    async with serving(workspace.build()) as client:
        assert (await asked(client, {"x-forwarded-for": "192.0.2.1"}))[0] == 200
        for header in ("x-forwarded-for", "x-real-ip", "forwarded"):
            assert (await asked(client, {header: "192.0.2.77"}))[0] == 429
    workspace.write("routes.yaml", limited("requests: 1/hour, per: ip", "server: {auth: none, proxies: [127.0.0.0/8, 10.0.0.0/8]}\n"))
    async with serving(workspace.build()) as client:
        assert (await asked(client, {"x-forwarded-for": "192.0.2.1"}))[0] == 200
        for forged in ("198.51.100.9, 192.0.2.1", "1.1.1.1,2.2.2.2, 192.0.2.1", "192.0.2.1, 10.1.1.1", "::ffff:192.0.2.1", "x, 192.0.2.1"):
            assert (await asked(client, {"x-forwarded-for": forged}))[0] == 429, forged
        assert (await asked(client, {"x-forwarded-for": "2001:db8:1:2::1"}))[0] == 200
        assert (await asked(client, {"x-forwarded-for": "2001:db8:1:2:ffff::7"}))[0] == 429


async def test_undeclared_proxy_is_logged_once(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A peer that sends X-Forwarded-For and is not in `server.proxies` is logged in one warning, however many requests follow."""
    for server, expected in (("server: {auth: none}\n", ["127.0.0.1"]), ("server: {auth: none, proxies: [127.0.0.0/8]}\n", [])):
        caplog.clear()
        workspace.write("routes.yaml", limited("requests: 9/hour, per: ip", server))
        async with serving(workspace.build()) as client:
            assert (await asked(client, {}))[0] == 200
            assert not [one for one in caplog.records if one.message == "undeclared_proxy"]
            for address in ("192.0.2.1", "192.0.2.2"):
                assert (await asked(client, {"x-forwarded-for": address}))[0] == 200
        warned = [cast("dict[str, str]", one.__dict__["fields"]) for one in caplog.records if one.message == "undeclared_proxy"]
        assert [one["peer"] for one in warned] == expected


async def test_limit_of_an_api_key_counts_over_all_routes(workspace: Workspace) -> None:
    """The limit of an API key counts its requests to all routes together: the third gets a 429."""
    key = new()
    digest = hashlib.sha256(key.encode()).hexdigest()
    auth = f"server: {{auth: {{keys: {{alice: {{hash: 'sha256:{digest}', limit: {{requests: 2/hour}}}}}}}}}}\n"
    other = "  title-model: {pipeline: chat, targets: [a]}\n"
    workspace.write("routes.yaml", routes(HI) + other + auth)
    async with serving(workspace.build()) as client:
        headers = {"authorization": f"Bearer {key}"}
        assert (await asked(client, headers))[0] == 200
        assert (await asked(client, headers, "/api/chat/title-model"))[0] == 200
        assert (await asked(client, headers))[0] == 429


def keyed(limits: dict[str, str]) -> tuple[dict[str, dict[str, str]], str]:
    """Return the request headers of API keys with these limits, by name, and the `server` section that declares them."""
    keys = {name: new() for name in limits}
    lines = [f"{name}: {{hash: 'sha256:{hashlib.sha256(keys[name].encode()).hexdigest()}', limit: {{{limits[name]}}}}}" for name in limits]
    headers = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}
    return headers, f"server: {{auth: {{keys: {{{', '.join(lines)}}}}}}}\n"


async def test_limit_of_an_api_key_counts_per_ip_or_for_the_whole_key(workspace: Workspace) -> None:
    """The limit of an API key counts each client address apart with `per: ip`, and all together with `per: key` or `per: route`."""
    for per, statuses in (("ip", [200, 429, 200]), ("key", [200, 429, 429]), ("route", [200, 429, 429])):
        headers, server = keyed({"alice": f"requests: 1/hour, per: {per}"})
        workspace.write("routes.yaml", routes(HI, more=server.replace("{auth:", "{proxies: [127.0.0.1], auth:", 1)))
        async with serving(workspace.build()) as client:
            addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
            found = [(await asked(client, {**headers["alice"], "x-forwarded-for": address}))[0] for address in addresses]
            assert found == statuses, per


async def test_refused_requests_use_up_no_other_limit(workspace: Workspace) -> None:
    """Requests refused by the key's limit do not count for the route's limit, nor those refused by the route for the key's limit."""
    headers, server = keyed({"alice": "requests: 1/hour", "bob": "requests: 5/hour"})
    workspace.write("routes.yaml", limited("requests: 3/hour", "  title-model: {pipeline: chat, targets: [a]}\n" + server))
    async with serving(workspace.build()) as client:
        assert [(await asked(client, headers["alice"]))[0] for _ in range(10)] == [200] + 9 * [429]
        assert [(await asked(client, headers["bob"]))[0] for _ in range(10)] == [200] * 2 + 8 * [429]
        assert [(await asked(client, headers["bob"], "/api/chat/title-model"))[0] for _ in range(4)] == [200] * 3 + [429]


async def test_concurrency_slot_is_released_when_another_limit_refuses(workspace: Workspace) -> None:
    """A request that its route's concurrency limit refuses holds no slot of its API key's concurrency limit."""
    slow = "a: {script: [{text: Hel}, {pause: 60s}, {text: lo}]}"
    headers, server = keyed({"alice": "concurrent: 1", "bob": "concurrent: 1"})
    more = "  title-model: {pipeline: chat, targets: [b]}\n" + server
    workspace.write("routes.yaml", limited("concurrent: 1", more, slow + "\nb: {script: [{text: Hello}]}"))
    async with serving(workspace.build()) as client:
        body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}
        async with client.session.post(f"{client.base}/api/chat", json=body, headers=headers["alice"]) as response:
            await response.content.readany()
            for _ in range(3):
                assert (await asked(client, headers["bob"]))[0] == 429
            assert (await asked(client, headers["bob"], "/api/chat/title-model"))[0] == 200
            assert (await asked(client, headers["alice"], "/api/chat/title-model"))[0] == 429


@pytest.mark.parametrize(
    ("own", "told"),
    [("concurrent: 9", "q=3;"), ("requests: 2/hour", "q=2;"), ("requests: 9/hour", "q=3;")],
    ids=["none of its own", "its own", "the route's"],
)
async def test_rate_limit_headers_describe_the_tightest_request_limit(workspace: Workspace, own: str, told: str) -> None:
    """The RateLimit headers describe the limit with the fewest requests left, of the key's and the route's."""
    headers, server = keyed({"alice": own})
    workspace.write("routes.yaml", limited("requests: 3/hour", server))
    async with serving(workspace.build()) as client:
        assert told in (await asked(client, headers["alice"]))[1]["ratelimit-policy"]


async def test_token_or_spend_limit_refuses_the_next_request_not_the_running_one(workspace: Workspace) -> None:
    """An answer that exceeds a token or spend limit is sent in full; the next request gets a 429."""
    async with provider(Reply(text("All ", "of it."))) as good:  # 11 + 3 tokens
        for limit in ("tokens: 10/hour", "spend: 0.00001USD/hour"):
            target = direct_target(good.base).replace("}", ", price: {input: 1, output: 2}}")
            workspace.write("routes.yaml", limited(limit, targets=target))
            async with serving(workspace.build()) as client:
                first = await client.ask()
                assert (first.status, first.text) == (200, "All of it.")
                assert (await client.ask()).status == 429
                told = (await client.get(f"/admin/requests/{first.headers['x-request-id']}")).json
                assert told["cost_usd"] == pytest.approx((11 * 1 + 3 * 2) / 1_000_000)
                page = (await client.get("/metrics")).body.decode()
                assert 'router_cost_usd_total{route="chat-model"} 1.7e-05' in page


async def test_tokens_are_estimated_when_the_client_disconnects_early(workspace: Workspace) -> None:
    """An answer whose client disconnects early counts estimated tokens and cost for limits and the log, but not in the metrics."""
    said = "word " * 20
    async with provider(Reply((chunk({"content": said}),), hold=True)) as holding:
        target = direct_target(holding.base).replace("}", ", price: {input: 1000, output: 2000}}")
        for limit in ("tokens: 25/hour", "spend: 0.05USD/hour"):
            workspace.write("routes.yaml", limited(limit, targets=target))
            async with serving(workspace.build()) as client:
                async with reading(client, "/api/chat", messages=[{"role": "user", "content": "x" * 40}]) as status:
                    assert status == 200
                async with asyncio.timeout(240):
                    while client.edge.admin.chat.running:
                        await asyncio.sleep(0.005)
                assert (await client.ask()).status == 429
                left = (await client.get("/admin/requests")).json["requests"][1]
                assert (left["outcome"], left["estimated"], left["input_tokens"], left["output_tokens"]) == ("client_left", True, 10, 22)
                assert left["cost_usd"] == pytest.approx((10 * 1000 + 22 * 2000) / 1_000_000)
                page = (await client.get("/metrics")).body.decode()
                assert "router_tokens_total{" not in page
                assert "router_cost_usd_total{" not in page


@pytest.mark.parametrize(
    ("ending", "tokens"),
    [(Reply((chunk({"content": "So far, so good."}),), drop=True), (12, 12)), (Reply(text("So far, so good.")[:-2]), (3, 6))],
)
async def test_tokens_are_estimated_when_the_provider_reports_no_usage(
    workspace: Workspace, ending: Reply, tokens: tuple[int, int]
) -> None:
    """An answer without usage from its provider counts estimated tokens for limits and the log; the client gets no usage."""
    async with provider(ending) as upstream:
        workspace.write("routes.yaml", limited("tokens: 6/hour", targets=direct_target(upstream.base)))
        async with serving(workspace.build()) as client:
            answer = await client.ask("Hello, you")
            assert "usage" not in answer.lines[-1][1]
            told = (await client.get(f"/admin/requests/{answer.headers['x-request-id']}")).json
            assert (told["estimated"], told["input_tokens"], told["output_tokens"]) == (True, *tokens)
            assert (await client.ask()).status == 429


async def test_concurrency_slot_is_released_when_the_client_disconnects(workspace: Workspace) -> None:
    """200 chats whose clients disconnect in mid-answer, five at a time, leave no slot of a concurrency limit of 5 taken."""
    async with provider(Reply((chunk({"content": "So "}),), hold=True)) as holding:
        workspace.write("routes.yaml", limited("concurrent: 5", targets=direct_target(holding.base)))
        async with serving(workspace.build()) as client:
            chats = [{}, {"id": "c"}]
            for number in range(40):
                body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}], **chats[number % 2]}
                async with aiohttp.ClientSession() as session:
                    tasks = [asyncio.create_task(_left(session, client.base, {**body, "id": f"{number}-{one}"})) for one in range(5)]
                    await asyncio.gather(*tasks)
                await over(client)


@pytest.mark.parametrize("more", [{}, {"stream": False}, {"id": "chat"}], ids=["stream", "whole", "chat"])
async def test_concurrency_slot_is_released_if_an_observer_raises(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, more: dict[str, Any]
) -> None:
    """An observer of requests that raises leaves no slot taken, does not stop the observers after it, and is logged once."""

    def broken(_: Metrics, entry: Entry) -> None:
        raise ValueError(entry.request_id)

    monkeypatch.setattr(Metrics, "count", broken)
    workspace.write("routes.yaml", limited("concurrent: 1"))
    async with serving(workspace.build()) as client:
        for _ in range(3):
            answer = await client.ask(**more)
            assert answer.status == 200
            await over(client)
            assert (await client.get(f"/admin/requests/{answer.headers['x-request-id']}")).json["status"] == 200
    assert [record.message for record in caplog.records if record.name == "router.problems"] == ["an observer of requests fails"]


async def test_concurrency_slot_is_released_if_the_client_leaves_and_an_observer_raises(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer whose client disconnects releases its slot although an observer of requests raises."""

    def broken(_: Metrics, entry: Entry) -> None:
        raise ValueError(entry.request_id)

    monkeypatch.setattr(Metrics, "count", broken)
    async with provider(Reply((chunk({"content": "So "}),), hold=True)) as holding:
        server = "server: {resume: {grace: 100ms}}\n"
        workspace.write("routes.yaml", limited("concurrent: 1", server, targets=direct_target(holding.base)))
        async with serving(workspace.build()) as client:
            for chat in ({}, {"id": "c"}):
                async with aiohttp.ClientSession() as session:
                    await _left(session, client.base, {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}], **chat})
                await over(client)


async def over(client: Client) -> None:
    """Wait until no answer is running and no limit has a count left."""
    async with asyncio.timeout(240):
        while client.edge.admin.chat.running or len(client.edge.live.generation.kept.counts):  # type: ignore[arg-type]
            await asyncio.sleep(0.005)


async def _left(session: aiohttp.ClientSession, base: str, body: dict[str, object]) -> None:
    """Ask, read the first bytes, and disconnect."""
    async with session.post(f"{base}/api/chat", json=body) as response:
        assert response.status == 200
        await response.content.readany()
        response.close()


async def test_limit_count_survives_a_reload_that_leaves_the_limit_unchanged(workspace: Workspace) -> None:
    """A used-up limit still refuses after a reload that edits something else, and has room after one that raises the limit."""
    file = workspace.write("routes.yaml", limited("requests: 2/hour")).root / "routes.yaml"
    async with serving(build(load(file)), file) as client:

        async def edited(text: str) -> None:
            workspace.write("routes.yaml", text)
            async with client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
                assert response.status == 200

        assert (await asked(client))[1]["ratelimit"].startswith('"requests";r=1;')
        await edited(limited("requests: 2/hour", "server: {keep_alive: 9s}\n"))
        assert (await asked(client))[1]["ratelimit"].startswith('"requests";r=0;')
        assert (await asked(client))[0] == 429
        await edited(limited("requests: 3/hour"))
        assert (await asked(client))[0] == 200


@timed
async def test_requests_beyond_max_streams_get_a_503_at_once(workspace: Workspace) -> None:
    """With `max_streams: 50`, 950 of 1,000 concurrent requests get a 503 with `Retry-After: 1`, in 20 ms at the median."""
    gate, refused = asyncio.Event(), 0
    async with provider(Reply(text("Hel", "lo"), gate=gate)) as held:
        patient = "targets: [a]\n    timeout: {first_token: 120s}"
        workspace.write("routes.yaml", routes(direct_target(held.base), patient, "server: {max_streams: 50}\n"))
        async with serving(workspace.build()) as client:

            async def one() -> int:
                nonlocal refused
                status, headers, body = await asked(client)
                if status == 503:
                    assert (headers["retry-after"], json.loads(body)["code"]) == ("1", "overloaded")
                    refused += 1
                    if refused == 950:  # while the others are still answered
                        gate.set()
                return status

            async with asyncio.timeout(120):
                found = await asyncio.gather(*(one() for _ in range(1000)))
            assert (found.count(200), found.count(503)) == (50, 950)
            assert (await asked(client))[0] == 200
            told = (await client.get("/admin/requests?last=1000")).json["requests"]
            hold(median(one["seconds"] for one in told if one["status"] == 503), 0.02)


@timed
async def test_refusal_beyond_max_streams_reaches_the_client_within_20_ms(workspace: Workspace) -> None:
    """A 503 beyond `max_streams` takes at most 20 ms at the client, as the median of 100 requests."""
    workspace.write("routes.yaml", routes(SLOW, more="server: {max_streams: 20}\n"))
    async with serving(workspace.build()) as client, AsyncExitStack() as stack:
        for _ in range(20):
            assert await stack.enter_async_context(reading(client, "/api/chat", user="full")) == 200
        times: list[float] = []
        for _ in range(100):
            began = time.monotonic()
            assert (await asked(client))[0] == 503
            times.append(time.monotonic() - began)
        hold(median(times), 0.02)


SLOW = "a: {script: [{text: Hel}, {pause: 60s}, {text: lo}]}"


@asynccontextmanager
async def reading(client: Client, path: str, **question: object) -> AsyncGenerator[int, None]:
    """Ask a question, or resume one by its path, read the first bytes, yield the status, and disconnect in the end."""
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}], **question} if question else None
    async with client.session.request("POST" if body else "GET", client.base + path, json=body) as response:
        await response.content.readany()
        yield response.status
        response.close()


async def test_resumed_streams_have_a_max_streams_bound_of_their_own(workspace: Workspace) -> None:
    """Resumed streams take no place of new questions within `max_streams`, and get a 503 beyond a bound of the same size."""
    workspace.write(
        "routes.yaml",
        routes(
            f"{SLOW}\nb: {{script: [{{text: Hello}}]}}",
            more="""
  title-model: {pipeline: chat, targets: [b]}
server: {max_streams: 2}
""",
        ),
    )
    async with serving(workspace.build()) as client, AsyncExitStack() as stack:
        assert await stack.enter_async_context(reading(client, "/api/chat", id="c")) == 200
        for _ in range(2):
            assert await stack.enter_async_context(reading(client, "/api/chat/c/stream")) == 200
        status, headers, body = await came_back(client, "c")
        assert (status, headers["retry-after"], json.loads(body)["code"]) == (503, "1", "overloaded")
        assert (await asked(client, path="/api/chat/title-model"))[0] == 200
        assert "router_open_streams 3.0" in (await client.get("/metrics")).body.decode()


async def came_back(client: Client, chat: str) -> tuple[int, dict[str, str], bytes]:
    """Resume a chat's answer and return status, headers and body."""
    async with client.session.get(f"{client.base}/api/chat/{chat}/stream") as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()


async def test_answer_counts_for_max_streams_after_its_client_left(workspace: Workspace) -> None:
    """An answer that goes on after its client left counts for `max_streams` until it ends: a further question gets a 503."""
    workspace.write("routes.yaml", routes(SLOW, more="server: {max_streams: 1, resume: {grace: 60s}}\n"))
    async with serving(workspace.build()) as client:
        async with reading(client, "/api/chat", id="c") as status:
            assert status == 200
        async with asyncio.timeout(240):
            while client.edge.admin.chat._asking:
                await asyncio.sleep(0.005)
        assert (await asked(client))[0] == 503
        assert "router_open_streams 1.0" in (await client.get("/metrics")).body.decode()
        assert (await client.post("/api/chat/c/stop")).status == 204
        async with asyncio.timeout(240):
            while client.edge.admin.chat.running:
                await asyncio.sleep(0.005)
        async with reading(client, "/api/chat", id="d") as status:
            assert status == 200


@timed
async def test_request_fails_at_once_when_every_breaker_is_open(workspace: Workspace) -> None:
    """A request gets a 503 within 50 ms when every target's circuit breaker is open; `Retry-After` is the time to the first probe."""
    async with provider(error(500)) as down:
        targets = direct_target(down.base) + direct_target(down.base, "b")
        workspace.write("routes.yaml", routes(targets, "targets: [a, b]\n    breaker: {failures: 1, open: 30s}\n    retry: {attempts: 1}"))
        async with serving(workspace.build()) as client:
            await client.ask()
            requests = len(down.requests)
            refused = await client.ask()
            assert (refused.status, len(down.requests)) == (503, requests)
            assert 25 <= int(refused.headers["retry-after"]) <= 30
            for _ in range(20):
                assert (await client.ask()).status == 503
            told = (await client.get("/admin/requests?last=20")).json["requests"]
            hold(median(one["seconds"] for one in told), 0.05)
            assert len(down.requests) == requests


async def test_answer_longer_than_max_output_is_cut_with_finish_reason_length(workspace: Workspace) -> None:
    """`max_output` caps the `max_tokens` sent to the provider; an answer that goes on regardless is cut with reason `length`."""
    endless = Reply(tuple(chunk({"content": "word " * 50}) for _ in range(400)), hold=True)
    async with provider(endless) as running:
        workspace.write("routes.yaml", routes(direct_target(running.base), "targets: [a]\n    max_output: 100"))
        async with serving(workspace.build()) as client:
            answer = await client.ask(max_tokens=5000)
            assert answer.lines[-1][1]["finishReason"] == "length"
            assert len(answer.text) <= 100 * 16 + 1024
            assert running.requests[0].get("max_tokens", running.requests[0].get("max_completion_tokens")) == 100
            await running.until(lambda: not running.open)


async def test_price_of_a_target_without_price_comes_from_litellms_table(workspace: Workspace) -> None:
    """A target without `price` has the price of its model in LiteLLM's table; an unknown model has none."""
    workspace.write(
        "routes.yaml", routes("a: {model: openai/gpt-4o, api_key: sk-x}\nb: {model: openai/none-such, api_key: sk-x}", "targets: [a, b]")
    )
    generation = workspace.build()
    generation.start()
    async with asyncio.timeout(240):
        while "a" not in generation.prices:
            await asyncio.sleep(0.01)
    assert (generation.prices["a"].input, generation.prices["a"].output) == (2.5, 10.0)
    assert "b" not in generation.prices
    await generation.close()


@pytest.mark.parametrize(
    ("limit", "complaint"),
    [
        ("requests: 10", "`10` is not a rate: write a whole number and second, minute, hour or day, e.g. 10/minute"),
        ("requests: 0/minute", "`0/minute` is not a rate"),
        ("spend: 5/day", "`5/day` is not a sum in a time: write US dollars and second, minute, hour or day, e.g. 5USD/day"),
        ("spend: 0USD/day", "`0USD/day` is not a sum in a time"),
        ("per: ip", "a limit limits something: requests, tokens, spend or concurrent"),
        ("concurrent: 0", "concurrent must be from 1 to 1000000"),
        ("request: 1/minute", "unknown key `request`"),
    ],
)
def test_invalid_limit_is_refused_at_load(workspace: Workspace, limit: str, complaint: str) -> None:
    """An invalid rate, sum, concurrency or key of a `limit` is a configuration error that describes the right form."""
    workspace.write("routes.yaml", limited(limit))
    with pytest.raises(Exception, match=re.escape(complaint)):
        workspace.build()
