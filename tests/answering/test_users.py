"""End users behind one shared API key: limits, resumed answers, caches and logs for each user."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from router.callers.keys import hashed, new
from router.commands import main
from router.errors import ConfigError
from router.generation import Generation
from tests.answering.test_resume import PACED, WORDS
from tests.conftest import AS_OPERATOR, Answered, Client, Workspace, direct_target, routes, serving
from tests.support.collector import attributes, collector
from tests.support.provider import Reply, chunk, provider, text

WEBUI, OTHER, LITELLM = new(), new(), new()
USER = "X-OpenWebUI-User-Id"
"""The header in which Open WebUI sends the id of its user."""
HI = "a: {script: [{text: Hi}]}"
ASK: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}


def declared(webui: str = f"{{header: {USER}}}", more: str = "", limit: str = "") -> str:
    """Return a `server` section with three keys: `webui` (users in a header), `litellm` (in the body) and `other` (no users)."""
    webui_limit = f", limit: {{{limit}}}" if limit else ""
    return (
        "server:\n  auth:\n    keys:\n"
        f"      webui: {{hash: '{hashed(WEBUI)}', user: {webui}{webui_limit}}}\n"
        f"      other: {{hash: '{hashed(OTHER)}'}}\n"
        f"      litellm: {{hash: '{hashed(LITELLM)}', user: {{field: user}}}}\n"
        f"{more}"
    )


@asynccontextmanager
async def shared(
    workspace: Workspace, route: str = "targets: [a]", targets: str = HI, server: str | None = None
) -> AsyncGenerator[Client, None]:
    """Run a router with the keys of `declared`, or with this `server` section; yield its client."""
    workspace.write("routes.yaml", routes(targets, route, declared() if server is None else server))
    async with serving(workspace.build()) as client:
        yield client


def bearing(key: str, user: str | None = None, header: str = USER) -> dict[str, str]:
    """Return request headers with this API key and, if given, this end user."""
    return {"authorization": f"Bearer {key}", **({} if user is None else {header: user})}


async def asked(client: Client, headers: dict[str, str], path: str = "/api/chat", method: str = "POST", **body: Any) -> Answered:
    """POST one question, or send a request without a body by another method, and return the whole answer."""
    sent: dict[str, Any] = {"json": {**ASK, **body}} if method == "POST" else {}
    async with client.session.request(method, client.base + path, headers=headers, **sent) as response:
        return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())


async def test_limit_per_user_refuses_only_the_user_over_it(workspace: Workspace) -> None:
    """Of 2,000 users of one key, only the one who asks a third time within a limit of two an hour gets a 429."""
    async with shared(workspace, "targets: [a]\n    limit: {requests: 2/hour, per: user}") as client:
        users = [f"user-{number}" for number in range(2000)] + ["user-7"] * 2
        found = await asyncio.gather(*(asked(client, bearing(WEBUI, user)) for user in users))
        refused = [user for user, answer in zip(users, found, strict=True) if answer.status == 429]
        assert refused == ["user-7"]
        assert Counter(answer.status for answer in found) == {200: 2001, 429: 1}


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/chat-model", "/v1/chat/completions"])
async def test_key_limit_per_user_counts_each_user_of_the_key(workspace: Workspace, path: str) -> None:
    """A key's limit `per: user` of one an hour answers each user's first request and refuses the second, at every chat path."""
    async with shared(workspace, server=declared(limit="requests: 1/hour, per: user")) as client:
        found = [(await asked(client, bearing(WEBUI, user), path)).status for user in ("ann", "ann", "ben", "ben")]
        assert found == [200, 429, 200, 429]


async def test_user_header_is_ignored_for_a_key_without_a_user_setting(workspace: Workspace) -> None:
    """A user header sent with a key that declares none changes neither limit, cache nor resume, and the log names no user."""
    route = "targets: [a]\n    limit: {requests: 2/hour, per: user}\n    cache: {ttl: 1h}"
    async with shared(workspace, route) as client:
        assert (await asked(client, bearing(WEBUI, "ann"), id="chat-1")).headers["x-router-cache"] == "miss"
        forged = [await asked(client, bearing(OTHER, user), id="chat-2") for user in ("ann", "ben", "cyd")]
        assert [answer.status for answer in forged] == [200, 200, 429]
        assert [answer.headers.get("x-router-cache") for answer in forged] == ["miss", "hit", None]
        assert (await asked(client, bearing(OTHER, "ann"), "/api/chat/chat-1/stream", "GET")).status == 204
        assert (await asked(client, bearing(WEBUI, "ann"), "/api/chat/chat-1/stream", "GET")).status == 200
        assert (await asked(client, bearing(WEBUI, "ann"))).status == 200
    assert [entry["user"] for entry in await records(workspace, OTHER, "ann")] == [None]


async def records(workspace: Workspace, key: str, user: str) -> list[dict[str, Any]]:
    """Send one request as this user and return its admin record in a list."""
    async with serving(workspace.build()) as client:
        request_id = (await asked(client, bearing(key, user))).headers["x-request-id"]
        page = await asked(client, AS_OPERATOR, f"/admin/requests/{request_id}", "GET")
        return [page.json]


async def test_answer_of_a_chat_can_be_resumed_only_by_its_user(workspace: Workspace) -> None:
    """A chat's answer is resumed by its own user; another user of the same key, and another key, get nothing."""
    async with shared(workspace, targets=PACED, server=declared(more="  resume: {grace: 60s}\n")) as client:
        running = asyncio.create_task(asked(client, bearing(WEBUI, "ann"), id="chat-1"))
        seen = await found_soon(client, bearing(WEBUI, "ann"), "chat-1")
        for headers in (bearing(WEBUI, "ben"), bearing(WEBUI, "an"), bearing(OTHER), bearing(OTHER, "ann")):
            assert (await asked(client, headers, "/api/chat/chat-1/stream", "GET")).status == 204
            assert (await asked(client, headers, "/api/chat?chatId=chat-1", "GET")).body == b""
        assert (await running).text == seen.text == "".join(WORDS)


async def found_soon(client: Client, headers: dict[str, str], chat: str) -> Answered:
    """Resume a chat's answer as soon as there is one, and return it."""
    async with asyncio.timeout(240):
        while (answer := await asked(client, headers, f"/api/chat/{chat}/stream", "GET")).status != 200:
            await asyncio.sleep(0.005)
    return answer


async def test_answer_of_a_chat_can_be_stopped_only_by_its_user(workspace: Workspace) -> None:
    """A stop by another user or key gets a 204 and leaves the answer running; a stop by its own user ends it."""
    async with (
        provider(Reply((chunk({"content": "So "}),), hold=True)) as fake,
        shared(workspace, targets=direct_target(fake.base)) as client,
    ):
        running = asyncio.create_task(asked(client, bearing(WEBUI, "ann"), id="chat-1"))
        await fake.until(lambda: len(fake.requests) == 1)
        assert (await asked(client, bearing(WEBUI, "ben"), "/api/chat/chat-1/stop")).status == 204
        assert (await asked(client, bearing(OTHER, "ann"), "/api/chat/chat-1/stop")).status == 204
        assert not running.done()
        assert (await asked(client, bearing(WEBUI, "ann"), "/api/chat/chat-1/stop")).status == 204
        assert (await running).lines[-1][1]["finishReason"] == "other"


SCOPES = {
    "": ["miss", "miss", "hit", "miss"],
    "user": ["miss", "miss", "hit", "miss"],
    "caller": ["miss", "hit", "hit", "miss"],
    "route": ["miss", "hit", "hit", "hit"],
}


@pytest.mark.parametrize("scope", SCOPES)
async def test_cache_scope_is_the_user_the_caller_or_the_route(workspace: Workspace, scope: str) -> None:
    """A cached answer is a hit for its user by default, for all users of the key with `scope: caller`, for all with `route`."""
    said = f", scope: {scope}" if scope else ""
    async with shared(workspace, f"targets: [a]\n    cache: {{ttl: 1h{said}}}") as client:
        who = (bearing(WEBUI, "ann"), bearing(WEBUI, "ben"), bearing(WEBUI, "ann"), bearing(OTHER))
        assert [(await asked(client, headers)).headers["x-router-cache"] for headers in who] == SCOPES[scope]


async def test_concurrent_requests_are_coalesced_only_within_one_user(workspace: Workspace) -> None:
    """Six concurrent identical requests of two users of one key make two calls to the provider."""
    async with provider(Reply(text("Hi"))) as fake:
        async with shared(workspace, "targets: [a]\n    cache: {ttl: 1h}", direct_target(fake.base)) as client:
            found = await asyncio.gather(*(asked(client, bearing(WEBUI, f"user-{count % 2}")) for count in range(6)))
            assert {answer.status for answer in found} == {200}
        assert len(fake.requests) == 2


BAD: dict[str, tuple[bytes, ...]] = {
    "none": (),
    "an empty one": (b"",),
    "blanks": (b"  ",),
    "two": (b"ann", b"ben"),
    "the same one twice": (b"ann", b"ann"),
    "too long": (b"x" * 256,),
    "a tab": (b"a\tb",),
    "not UTF-8": (b"\xff\xfe",),
    "an invisible character": ("a\u200bb".encode(),),
    "a reversal of the line": ("a\u202eb".encode(),),
    "a placeholder": (b"{{LIBRECHAT_USER_ID}}",),
}


@pytest.mark.parametrize("case", BAD)
async def test_request_without_a_valid_user_header_gets_a_400(workspace: Workspace, case: str, caplog: pytest.LogCaptureFixture) -> None:
    """A missing, repeated or invalid user header gets a 400 naming it, without a provider call; the log has the reason."""
    async with provider(Reply(text("Hi"))) as fake, shared(workspace, targets=direct_target(fake.base)) as client:
        with caplog.at_level(logging.INFO, "router.access"):
            for method, path in (("POST", "/api/chat"), ("GET", "/api/chat/chat-1/stream"), ("POST", "/api/chat/chat-1/stop")):
                status, body = await raw(client, method, path, BAD[case])
                assert status == 400, (path, body)
                assert (json.loads(body)["code"], USER in body) == ("bad_request", True)
        assert not fake.requests
    lines = [cast("dict[str, Any]", record.__dict__["fields"]) for record in caplog.records if record.name == "router.access"]
    assert [(line["caller"], line["user"], line["status"]) for line in lines] == [("webui", None, 400)] * 3
    assert all(line["reason"].startswith(f"{USER}: ") for line in lines)


async def raw(client: Client, method: str, path: str, values: tuple[bytes, ...]) -> tuple[int, str]:
    """Send a request whose user header has these byte values, and return its status and body."""
    host, port = client.base.removeprefix("http://").split(":")
    data = json.dumps(ASK).encode() if method == "POST" and path == "/api/chat" else b""
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {WEBUI}\r\ncontent-length: {len(data)}\r\n"
    lines = b"".join(USER.encode() + b": " + value + b"\r\n" for value in values)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + lines + b"connection: close\r\n\r\n" + data)
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2].decode()


async def test_model_lists_need_no_user_header(workspace: Workspace) -> None:
    """`GET /api/models` and `/v1/models` are answered without a user header."""
    async with shared(workspace) as client:
        for path in ("/api/models", "/v1/models"):
            assert (await asked(client, bearing(WEBUI), path, "GET")).status == 200


async def test_requests_without_an_optional_user_share_one_limit(workspace: Workspace) -> None:
    """With `optional: true`, requests without a user share one count of a limit `per: user`, apart from each user's."""
    server = declared(f"{{header: {USER}, optional: true}}")
    route = "targets: [a]\n    limit: {requests: 1/hour, per: user}"
    async with shared(workspace, route, server=server) as client:
        statuses = [(await asked(client, bearing(WEBUI, user))).status for user in (None, "", "ann", "ann", "ben")]
        assert statuses == [200, 429, 200, 429, 200]
        assert (await asked(client, bearing(WEBUI, "x" * 256))).status == 400


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/chat-model", "/v1/chat/completions"])
async def test_user_field_of_the_body_counts_for_a_key_that_declares_it(workspace: Workspace, path: str) -> None:
    """The body field `user` names the user for a key with `user: {field: user}`; none or a bad one is a 400, other keys ignore it."""
    route = "targets: [a]\n    limit: {requests: 1/hour, per: user}\n    cache: {ttl: 1h}"
    async with shared(workspace, route) as client:
        named = [await asked(client, bearing(LITELLM, "forged"), path, user=user) for user in ("ann", "ann", "ben")]
        assert [answer.status for answer in named] == [200, 429, 200]
        assert [named[0].headers["x-router-cache"], named[2].headers["x-router-cache"]] == ["miss", "miss"]
        wrong: list[dict[str, Any]] = [{}, *({"user": value} for value in (None, "", 7, {"id": "ann"}, "a\nb", "x" * 256))]
        for fields in wrong:
            answer = await asked(client, bearing(LITELLM), path, **fields)
            assert answer.status == 400
            assert "user: " in answer.body.decode()
        assert [(await asked(client, bearing(OTHER), path, user=user)).status for user in ("ann", "ben")] == [200, 429]


async def test_key_limit_not_per_user_refuses_before_the_body_is_read(workspace: Workspace) -> None:
    """A key's limit that is not per user refuses before the body with the user arrives; a route's limit refuses every user."""
    server = declared().replace("user: {field: user}", "user: {field: user}, limit: {requests: 2/hour, per: user}")
    async with shared(workspace, "targets: [a]\n    limit: {requests: 1/hour}", server=server) as client:
        found = [(await asked(client, bearing(LITELLM), user=user)).status for user in ("ann", "ann", "ben")]
        assert found == [200, 429, 429]
    async with shared(workspace, server=server.replace("2/hour, per: user", "1/hour")) as client:
        assert (await asked(client, bearing(LITELLM), user="ann")).status == 200
        head = f"POST /api/chat HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {LITELLM}\r\ncontent-length: 1000\r\n\r\n"
        host, port = client.base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 429")
        writer.close()


async def test_resume_finds_no_answer_of_a_user_named_in_the_body(workspace: Workspace) -> None:
    """A resume, which has no body to name a user, finds only answers that were asked for without a user."""
    server = declared().replace("{field: user}", "{field: user, optional: true}")
    async with shared(workspace, server=server) as client:
        assert (await asked(client, bearing(LITELLM), user="ann", id="chat-1")).text == "Hi"
        assert (await asked(client, bearing(LITELLM), id="chat-2")).text == "Hi"
        for chat, status in (("chat-1", 204), ("chat-2", 200)):
            assert (await asked(client, bearing(LITELLM), f"/api/chat/{chat}/stream", "GET")).status == status


async def test_token_and_concurrency_limits_per_user_count_each_user(workspace: Workspace) -> None:
    """A token or concurrency limit `per: user` that one user has used up still answers another user."""
    async with provider(Reply(text("All of it."))) as good:
        route = "targets: [a]\n    limit: {tokens: 10/hour, per: user}"
        async with shared(workspace, route, direct_target(good.base)) as client:
            assert [(await asked(client, bearing(WEBUI, user))).status for user in ("ann", "ann", "ben")] == [200, 429, 200]
    async with provider(Reply((chunk({"content": "So "}),), hold=True)) as slow:
        route = "targets: [a]\n    limit: {concurrent: 1, per: user}"
        async with shared(workspace, route, direct_target(slow.base)) as client:
            running = [asyncio.create_task(asked(client, bearing(WEBUI, user), id=user)) for user in ("ann", "ben")]
            await slow.until(lambda: len(slow.requests) == 2)
            assert (await asked(client, bearing(WEBUI, "ann"))).status == 429
            for user in ("ann", "ben"):
                assert (await asked(client, bearing(WEBUI, user), f"/api/chat/{user}/stop")).status == 204
            await asyncio.gather(*running)


async def test_breaker_counts_an_upstream_403_once_per_user(workspace: Workspace) -> None:
    """A provider's 403s count once per user for the circuit breaker: with `failures: 2`, it opens after two users got one."""
    async with provider(Reply(status=403, body=b"Forbidden")) as fake:
        route = "targets: [a]\n    breaker: {failures: 2}"
        async with shared(workspace, route, direct_target(fake.base)) as client:
            for user, count in (("ann", 1), ("ann", 2), ("ann", 3), ("ben", 4), ("cyd", 4)):
                assert (await asked(client, bearing(WEBUI, user))).status >= 500
                assert len(fake.requests) == count, user


SECRET = "a-secret-of-thirty-two-characters-or-more"


def token(**claims: Any) -> str:
    """Return a JWT of the issuer with these claims."""
    said = {"iss": "https://issuer", "aud": "pointsman", "exp": 4_000_000_000, "sub": "webui", **claims}
    return jwt.encode({"alg": "HS256"}, said, OctKey.import_key(SECRET))


async def test_jwt_claim_names_the_user(workspace: Workspace) -> None:
    """The declared claim of a JWT names the user, whatever header is sent; a token without a valid one gets a 401."""
    issuer = f"jwt: {{issuer: 'https://issuer', audience: pointsman, algorithms: [HS256], secret: {SECRET}, user_claim: email}}"
    route = "targets: [a]\n    limit: {requests: 1/hour, per: user}"
    async with shared(workspace, route, server=f"server: {{auth: {{{issuer}}}}}\n") as client:
        for email in ("ann@example.com", "ben@example.com", 42):
            statuses = [(await asked(client, bearing(token(email=email), "forged-" * n))).status for n in (1, 2)]
            assert statuses == [200, 429], email
        for wrong in (None, "", " ", True, 1.5, ["ann"], {"id": "ann"}, "x" * 256, "a\x00b"):
            answer = await asked(client, bearing(token(email=wrong), "ann"))
            assert (answer.status, answer.json["code"]) == (401, "unauthorized"), wrong
        assert (await asked(client, bearing(token(), "ann"))).status == 401


async def test_user_is_in_the_access_log_and_not_in_the_metrics(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """The user is in the access log and in the admin record of the request, but not in the answer, metrics or other admin pages."""
    with caplog.at_level(logging.INFO, "router.access"):
        async with shared(workspace) as client:
            answer = await asked(client, bearing(WEBUI, "ann-canary"))
            assert "ann-canary" not in str(answer.headers) + answer.body.decode()
            one = await asked(client, AS_OPERATOR, f"/admin/requests/{answer.headers['x-request-id']}", "GET")
            assert one.json["user"] == "ann-canary"
            for path in ("/metrics", "/admin/requests", "/admin/targets", "/admin/config"):
                page = await asked(client, AS_OPERATOR, path, "GET")
                assert page.status == 200
                assert "ann-canary" not in page.body.decode()
    (line,) = [cast("dict[str, Any]", record.__dict__["fields"]) for record in caplog.records if record.name == "router.access"]
    assert (line["caller"], line["user"]) == ("webui", "ann-canary")


async def test_user_header_is_not_sent_to_template_or_provider(workspace: Workspace) -> None:
    """The user of the header reaches neither the prompt template nor the provider; `ask.user` is the body's field."""
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n")
    workspace.write("pipelines/chat.j2", "You serve {{ ask.user | default('somebody') }}.")
    async with provider(Reply(text("Hi"))) as fake, shared(workspace, targets=direct_target(fake.base)) as client:
        assert (await asked(client, bearing(WEBUI, "ann-canary"))).status == 200
        assert (await asked(client, bearing(WEBUI, "ann-canary"), user="field")).status == 200
        assert [one["messages"][0]["content"] for one in fake.requests] == ["You serve somebody.", "You serve field."]
        assert "ann-canary" not in str(fake.requests)


PER_USER = "targets: [a]\n    limit: {requests: 1/hour, per: user}"


@pytest.mark.parametrize(
    "server",
    ["", "server: {auth: none}\n", f"server: {{auth: {{keys: {{other: {{hash: '{hashed(OTHER)}'}}}}}}}}\n", "file"],
    ids=["nobody is declared", "everybody", "a key without users", "a file of keys without users"],
)
def test_limit_per_user_without_a_user_setting_is_refused_at_load(workspace: Workspace, server: str) -> None:
    """A limit `per: user` is a configuration error if no key or token issuer names users."""
    workspace.write("keys", f"other {hashed(OTHER)}\n")
    if server == "file":
        server = "server: {auth: {keys: '${file:keys}'}}\n"
    workspace.write("routes.yaml", routes(HI, PER_USER, server))
    with pytest.raises(ConfigError) as refused:
        workspace.build()
    (complaint,) = refused.value.complaints
    assert str(complaint.place) == "routes.yaml:8:36"
    for word in ("`per: user`", f"`user: {{header: {USER}}}`", "`server.auth.keys`", "`user_claim`", "`per: key`"):
        assert word in complaint.message


def built(workspace: Workspace, server: str, route: str = PER_USER) -> Generation:
    """Build the generation of a configuration with this `server` section and route."""
    return workspace.write("routes.yaml", routes(HI, route, server)).build()


def test_key_file_line_can_declare_the_user_header_or_field(workspace: Workspace) -> None:
    """A line of a key file declares its users with `user=header:…` or `user=field:…`."""
    workspace.write("keys", f"webui {hashed(WEBUI)} user=header:{USER}\nlitellm {hashed(LITELLM)} user=field:safety_identifier\n")
    generation = built(workspace, "server: {auth: {keys: '${file:keys}'}}\n")
    keys = cast("Any", generation.server.auth).keys
    assert (keys["webui"].user.header, keys["litellm"].user.field) == (USER, "safety_identifier")
    generation.discard()


WRONG: dict[str, tuple[str, str]] = {
    "nothing": ("{}", "a user is named either in a `header` or in a `field` of the body"),
    "both": (f"{{header: {USER}, field: user}}", "a user is named either in a `header` or in a `field` of the body"),
    "no header": ("{header: 'X OpenWebUI'}", "`X OpenWebUI` is not the name of a header"),
    "a secret one": ("{header: Authorization}", "the header Authorization holds a secret"),
    "another secret one": ("{header: X-Session-Token}", "the header X-Session-Token holds a secret"),
    "a cookie": ("{header: Cookie}", "the header Cookie holds a secret"),
    "another field": ("{field: metadata}", "`metadata` is not one of user, safety_identifier"),
    "a name alone": (USER, "`user` takes a mapping, e.g. {header: X-OpenWebUI-User-Id}"),
}


@pytest.mark.parametrize("case", WRONG)
def test_invalid_user_setting_of_a_key_is_refused_at_load(workspace: Workspace, case: str) -> None:
    """A key's `user` with both or no source, an invalid or secret header or another field is a configuration error."""
    written, told = WRONG[case]
    with pytest.raises(ConfigError) as refused:
        built(workspace, declared(written), "targets: [a]")
    assert any(told in complaint.message for complaint in refused.value.complaints)


@pytest.mark.parametrize(
    "header", [USER, "X-LibreChat-User-Id", "X-Auth-Request-User", "Remote-User", "Cf-Access-Authenticated-User-Email"]
)
def test_user_headers_of_known_front_ends_are_accepted(workspace: Workspace, header: str) -> None:
    """The user headers of known front ends and proxies, also those with `Auth` in their name, are accepted."""
    generation = built(workspace, declared(f"{{header: {header}}}"))
    assert cast("Any", generation.server.auth).keys["webui"].user.header == header
    generation.discard()


def test_key_limit_per_user_needs_the_user_setting_of_that_key(workspace: Workspace) -> None:
    """A key's limit `per: user` is a configuration error if only another key declares users."""
    with pytest.raises(ConfigError) as refused:
        built(workspace, declared().replace(f"{hashed(OTHER)}'", f"{hashed(OTHER)}', limit: {{requests: 1/hour, per: user}}"))
    assert any("beside the limit" in complaint.message for complaint in refused.value.complaints)


def test_cache_scope_user_without_any_user_setting_is_warned_of(workspace: Workspace) -> None:
    """A cache with `scope: user` in a configuration without users gets a warning; the default scope does not."""
    for cache, warned in (("{ttl: 1h, scope: user}", 1), ("{ttl: 1h}", 0), ("{ttl: 1h, scope: caller}", 0)):
        generation = built(workspace, "server: {auth: none}\n", f"targets: [a]\n    cache: {cache}")
        assert len([one for one in generation.declaration.complaints.warnings if "`scope: user`" in one.message]) == warned
        generation.discard()


async def test_request_span_has_enduser_id_and_other_telemetry_does_not(workspace: Workspace) -> None:
    """The span of the request has `enduser.id` if its key declares users; spans of attempts and metrics never contain the user."""
    async with collector() as there, provider(Reply(text("Hi"))) as good:
        server = f"{declared()}  otel: {{endpoint: '{there.endpoint}', every: 1h}}\n"
        async with shared(workspace, targets=direct_target(good.base), server=server) as client:
            await asked(client, bearing(OTHER))  # the packages are loaded
            async with asyncio.timeout(240):
                while client.edge.admin.traces.opening:
                    await asyncio.sleep(0.01)
            await asked(client, bearing(WEBUI, "ann-canary"))
            await asked(client, bearing(OTHER, "ann-canary"))
    named = [attributes(span).get("enduser.id") for span in there.spans if span.name == "chat chat-model"]
    assert named == ["ann-canary", None]
    assert there.metrics
    assert there.raw.count(b"ann-canary") == 1


def test_keys_new_command_prints_the_user_setting_of_the_key(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router keys new` with `--user-header` or `--user-field` prints valid YAML and a key-file line; a secret header exits with 2."""
    for option, where in ((("--user-header", USER), ("header", USER)), (("--user-field", "user"), ("field", "user"))):
        assert main(["keys", "new", "webui", *option]) == 0
        told = capsys.readouterr().err
        inline = told.split("server:` in routes.yaml\n")[1].split("or this line")[0]
        workspace.write("keys", told.strip().splitlines()[-1])
        for server in (f"server:\n{inline}", "server: {auth: {keys: '${file:keys}'}}\n"):
            generation = built(workspace, server)
            assert getattr(cast("Any", generation.server.auth).keys["webui"].user, where[0]) == where[1]
            generation.discard()
    for wrong in (("--user-header", "Cookie"), ("--user-header", "X Y"), ("--user-field", "metadata")):
        with pytest.raises(SystemExit) as left:
            main(["keys", "new", "webui", *wrong])
        assert left.value.code == 2
