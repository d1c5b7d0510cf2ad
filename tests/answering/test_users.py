"""End users behind one shared key: whose limit, whose answer and whose cache it is, over HTTP."""

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
"""The header in which Open WebUI names its user."""
HI = "a: {script: [{text: Hi}]}"
ASK: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}


def declared(webui: str = f"{{header: {USER}}}", more: str = "", limit: str = "") -> str:
    """A `server:` with a front end that names its users, another caller that does not, and one that names them in the body."""
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
    """A router whose callers are those of `declared`."""
    workspace.write("routes.yaml", routes(targets, route, declared() if server is None else server))
    async with serving(workspace.build()) as client:
        yield client


def bearing(key: str, user: str | None = None, header: str = USER) -> dict[str, str]:
    """The headers of a front end with this key."""
    return {"authorization": f"Bearer {key}", **({} if user is None else {header: user})}


async def asked(client: Client, headers: dict[str, str], path: str = "/api/chat", method: str = "POST", **body: Any) -> Answered:
    """Ask once, or ask for what is there."""
    sent: dict[str, Any] = {"json": {**ASK, **body}} if method == "POST" else {}
    async with client.session.request(method, client.base + path, headers=headers, **sent) as response:
        return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())


async def test_user_over_the_limit_is_the_only_one_of_two_thousand_refused(workspace: Workspace) -> None:
    """All of them share one key; the limit of the route counts each of them."""
    async with shared(workspace, "targets: [a]\n    limit: {requests: 2/hour, per: user}") as client:
        users = [f"user-{number}" for number in range(2000)] + ["user-7"] * 2
        found = await asyncio.gather(*(asked(client, bearing(WEBUI, user)) for user in users))
        refused = [user for user, answer in zip(users, found, strict=True) if answer.status == 429]
        assert refused == ["user-7"]
        assert Counter(answer.status for answer in found) == {200: 2001, 429: 1}


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/chat-model", "/v1/chat/completions"])
async def test_limit_of_a_key_counts_each_of_its_users(workspace: Workspace, path: str) -> None:
    """Before the body is read, over all routes."""
    async with shared(workspace, server=declared(limit="requests: 1/hour, per: user")) as client:
        found = [(await asked(client, bearing(WEBUI, user), path)).status for user in ("ann", "ann", "ben", "ben")]
        assert found == [200, 429, 200, 429]


async def test_header_of_a_caller_that_declares_none_has_no_effect(workspace: Workspace) -> None:
    """It neither gets a limit of its own with it, nor the user's answers, nor their cache; and the log names no user."""
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
    """The record of one request, as the page of an operator shows it."""
    async with serving(workspace.build()) as client:
        request_id = (await asked(client, bearing(key, user))).headers["x-request-id"]
        page = await asked(client, AS_OPERATOR, f"/admin/requests/{request_id}", "GET")
        return [page.json]


async def test_answer_of_a_chat_is_found_by_its_own_user_alone(workspace: Workspace) -> None:
    """Behind one key, with the chat's very id."""
    async with shared(workspace, targets=PACED, server=declared(more="  resume: {grace: 60s}\n")) as client:
        running = asyncio.create_task(asked(client, bearing(WEBUI, "ann"), id="chat-1"))
        seen = await found_soon(client, bearing(WEBUI, "ann"), "chat-1")
        for headers in (bearing(WEBUI, "ben"), bearing(WEBUI, "an"), bearing(OTHER), bearing(OTHER, "ann")):
            assert (await asked(client, headers, "/api/chat/chat-1/stream", "GET")).status == 204
            assert (await asked(client, headers, "/api/chat?chatId=chat-1", "GET")).body == b""
        assert (await running).text == seen.text == "".join(WORDS)


async def found_soon(client: Client, headers: dict[str, str], chat: str) -> Answered:
    """The answer of a chat, as soon as there is one."""
    async with asyncio.timeout(240):
        while (answer := await asked(client, headers, f"/api/chat/{chat}/stream", "GET")).status != 200:
            await asyncio.sleep(0.005)
    return answer


async def test_answer_of_a_chat_is_stopped_by_its_own_user_alone(workspace: Workspace) -> None:
    """Another user's stop is answered as ever, and stops nothing."""
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
async def test_answers_are_kept_for_a_user_a_caller_or_everybody(workspace: Workspace, scope: str) -> None:
    """A user's own unless the route says more."""
    said = f", scope: {scope}" if scope else ""
    async with shared(workspace, f"targets: [a]\n    cache: {{ttl: 1h{said}}}") as client:
        who = (bearing(WEBUI, "ann"), bearing(WEBUI, "ben"), bearing(WEBUI, "ann"), bearing(OTHER))
        assert [(await asked(client, headers)).headers["x-router-cache"] for headers in who] == SCOPES[scope]


async def test_call_under_way_is_shared_by_one_user_alone(workspace: Workspace) -> None:
    """Six requests of two users at once make two calls."""
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
async def test_front_end_that_names_no_user_is_refused(workspace: Workspace, case: str, caplog: pytest.LogCaptureFixture) -> None:
    """400 with the name of the header, before anybody is asked; the log says why and repeats nothing."""
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
    """A request whose user header has these values, byte for byte."""
    host, port = client.base.removeprefix("http://").split(":")
    data = json.dumps(ASK).encode() if method == "POST" and path == "/api/chat" else b""
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {WEBUI}\r\ncontent-length: {len(data)}\r\n"
    lines = b"".join(USER.encode() + b": " + value + b"\r\n" for value in values)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + lines + b"connection: close\r\n\r\n" + data)
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2].decode()


async def test_pages_that_are_no_ones_need_no_user(workspace: Workspace) -> None:
    """A front end lists the models before anybody has logged in."""
    async with shared(workspace) as client:
        for path in ("/api/models", "/v1/models"):
            assert (await asked(client, bearing(WEBUI), path, "GET")).status == 200


async def test_request_without_a_user_counts_with_its_caller_where_that_is_declared(workspace: Workspace) -> None:
    """`optional: true`: those without a user share one limit and one cache, apart from each user's."""
    server = declared(f"{{header: {USER}, optional: true}}")
    route = "targets: [a]\n    limit: {requests: 1/hour, per: user}"
    async with shared(workspace, route, server=server) as client:
        statuses = [(await asked(client, bearing(WEBUI, user))).status for user in (None, "", "ann", "ann", "ben")]
        assert statuses == [200, 429, 200, 429, 200]
        assert (await asked(client, bearing(WEBUI, "x" * 256))).status == 400


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/chat-model", "/v1/chat/completions"])
async def test_user_is_named_in_the_body_where_the_key_says_so(workspace: Workspace, path: str) -> None:
    """The field `user` of that caller counts; that of another is passed over, as is a header of this one."""
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


async def test_limit_of_the_body_names_user_leaves_other_limits_before_the_body(workspace: Workspace) -> None:
    """A key's own limit that is not per user refuses without the body; one per user is given back where the route's refuses."""
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


async def test_caller_that_names_users_in_the_body_finds_none_of_their_answers(workspace: Workspace) -> None:
    """A request without a body names nobody: it finds what was asked for nobody, where that is allowed, and no user's answer."""
    server = declared().replace("{field: user}", "{field: user, optional: true}")
    async with shared(workspace, server=server) as client:
        assert (await asked(client, bearing(LITELLM), user="ann", id="chat-1")).text == "Hi"
        assert (await asked(client, bearing(LITELLM), id="chat-2")).text == "Hi"
        for chat, status in (("chat-1", 204), ("chat-2", 200)):
            assert (await asked(client, bearing(LITELLM), f"/api/chat/{chat}/stream", "GET")).status == status


async def test_tokens_and_places_are_counted_for_each_user(workspace: Workspace) -> None:
    """As requests are: what one user spends or holds takes nothing of another's."""
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


async def test_user_whose_messages_are_refused_does_not_open_the_breaker_for_others(workspace: Workspace) -> None:
    """A 403 without a reason may be about one message: each user counts once for the breaker, as each caller does."""
    async with provider(Reply(status=403, body=b"Forbidden")) as fake:
        route = "targets: [a]\n    breaker: {failures: 2}"
        async with shared(workspace, route, direct_target(fake.base)) as client:
            for user, count in (("ann", 1), ("ann", 2), ("ann", 3), ("ben", 4), ("cyd", 4)):
                assert (await asked(client, bearing(WEBUI, user))).status >= 500
                assert len(fake.requests) == count, user


SECRET = "a-secret-of-thirty-two-characters-or-more"


def token(**claims: Any) -> str:
    """A token of the issuer."""
    said = {"iss": "https://issuer", "aud": "pointsman", "exp": 4_000_000_000, "sub": "webui", **claims}
    return jwt.encode({"alg": "HS256"}, said, OctKey.import_key(SECRET))


async def test_claim_of_a_token_names_the_user(workspace: Workspace) -> None:
    """A text or a number; a token that names nobody is refused, and no header stands over it."""
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


async def test_user_is_in_the_log_and_in_no_metric(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """Also in the record of the request that operators see; the list of requests and every other page name no user."""
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


async def test_template_and_provider_see_no_user(workspace: Workspace) -> None:
    """What a template calls `ask.user` is a field of the body, and a provider is sent neither."""
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
def test_limit_per_user_needs_a_caller_that_names_its_users(workspace: Workspace, server: str) -> None:
    """Else all users of a front end would share what one of them may use."""
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
    """The generation of these."""
    return workspace.write("routes.yaml", routes(HI, route, server)).build()


def test_line_of_a_key_file_says_where_users_are_named(workspace: Workspace) -> None:
    """A header or a field."""
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
def test_source_of_users_that_cannot_be_is_refused(workspace: Workspace, case: str) -> None:
    """With what to write."""
    written, told = WRONG[case]
    with pytest.raises(ConfigError) as refused:
        built(workspace, declared(written), "targets: [a]")
    assert any(told in complaint.message for complaint in refused.value.complaints)


@pytest.mark.parametrize(
    "header", [USER, "X-LibreChat-User-Id", "X-Auth-Request-User", "Remote-User", "Cf-Access-Authenticated-User-Email"]
)
def test_header_of_a_known_front_end_is_taken(workspace: Workspace, header: str) -> None:
    """Also where one of its words is that of a secret."""
    generation = built(workspace, declared(f"{{header: {header}}}"))
    assert cast("Any", generation.server.auth).keys["webui"].user.header == header
    generation.discard()


def test_limit_of_a_key_per_user_needs_its_own_users(workspace: Workspace) -> None:
    """Those of another key are not believed of it."""
    with pytest.raises(ConfigError) as refused:
        built(workspace, declared().replace(f"{hashed(OTHER)}'", f"{hashed(OTHER)}', limit: {{requests: 1/hour, per: user}}"))
    assert any("beside the limit" in complaint.message for complaint in refused.value.complaints)


def test_cache_of_each_user_is_warned_of_where_nobody_names_users(workspace: Workspace) -> None:
    """It is no more than the caller's own; the default, which says the same, is not warned of."""
    for cache, warned in (("{ttl: 1h, scope: user}", 1), ("{ttl: 1h}", 0), ("{ttl: 1h, scope: caller}", 0)):
        generation = built(workspace, "server: {auth: none}\n", f"targets: [a]\n    cache: {cache}")
        assert len([one for one in generation.declaration.complaints.warnings if "`scope: user`" in one.message]) == warned
        generation.discard()


async def test_span_of_the_request_names_the_user_and_no_other(workspace: Workspace) -> None:
    """As `enduser.id`; the tries below it and the measures do not."""
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


def test_new_key_is_printed_with_the_header_or_field_that_names_its_users(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Both in what goes into routes.yaml and in the line of a key file; a header that holds a secret is refused."""
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
