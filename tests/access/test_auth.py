"""Authentication of callers over HTTP, by API key or by token (JWT), before anything else of a request is looked at."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from openai import AsyncOpenAI, AuthenticationError, PermissionDeniedError

from router.callers.keys import hashed, new
from router.commands import main
from router.config import declare, read
from router.config.server import Auth
from router.errors import ConfigError
from router.generation import build
from router.reload import Live, Reload
from router.value import force_setattr
from tests.conftest import Answered, Client, Workspace, routes, serving
from tests.support.process import process
from tests.support.provider import Reply, provider, text
from tests.support.raw import connected, parsed, request, response_to, until_closed

EVERYWHERE = "0.0.0.0"  # noqa: S104 - never listened at
HI = "a: {script: [{text: Hi}]}"
ALICE, BOB, OLD, STRANGER = new(), new(), new(), new()
ASK = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}
MORE = "  title-model: {pipeline: chat, targets: [a]}\n"
PUBLISHED = "2020-01-31"
KEYS = f"""server:
  auth:
    keys:
      alice: {{hash: {hashed(ALICE)}}}
      bob: {{hash: {hashed(BOB)}, routes: [title-model]}}
      old: {{hash: {hashed(OLD)}, expires: {PUBLISHED}}}
"""


@asynccontextmanager
async def guarded(workspace: Workspace, server: str = KEYS, targets: str = HI) -> AsyncGenerator[Client, None]:
    """Serve two routes and three API keys: alice's, bob's (title-model alone) and an expired one; yield a client without a key."""
    async with serving(workspace.write("routes.yaml", routes(targets, more=MORE + server)).build()) as client:
        yield client


async def asked(client: Client, key: str | None, path: str = "/api/chat", method: str = "POST", **body: Any) -> Answered:
    """Send a request with this API key, or without any; return the answer."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    sent: dict[str, Any] = {"json": {**ASK, **body}} if method == "POST" else {}
    async with client.session.request(method, client.base + path, headers=headers, **sent) as response:
        return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())


async def test_valid_api_key_is_answered_and_any_other_is_401(workspace: Workspace) -> None:
    """A valid key is answered; no key, an unknown, shortened or expired one gets a 401 with `WWW-Authenticate: Bearer`.

    The response never contains the refused key.
    """
    async with guarded(workspace) as client:
        assert (await asked(client, ALICE)).text == "Hi"
        for key in (None, STRANGER, OLD, "sk-x", ALICE[:-1]):
            answer = await asked(client, key)
            assert (answer.status, answer.json["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["cache-control"] == "no-store, no-transform"
            assert key is None or key not in answer.body.decode() + str(answer.headers)


DIALECTS: dict[str, tuple[str, str, str]] = {
    "line": ("/api/chat?protocol=line", "code", "unauthorized"),
    "data-stream": ("/api/chat?protocol=data-stream", "code", "unauthorized:chat"),
    "ui-message-stream": ("/api/chat?protocol=ui-message-stream", "code", "unauthorized:chat"),
    "openai": ("/v1/chat/completions", "error", "invalid_api_key"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_401_has_the_error_form_of_the_requests_dialect(workspace: Workspace, dialect: str) -> None:
    """A 401 has its code in the error form of the dialect of the request's path, which is known before the body."""
    path, name, code = DIALECTS[dialect]
    async with guarded(workspace) as client:
        found = (await asked(client, None, path)).json[name]
    assert (found["code"] if isinstance(found, dict) else found) == code


async def test_openai_client_raises_its_own_error_for_a_refused_key(workspace: Workspace) -> None:
    """OpenAI's client raises AuthenticationError for an unknown key and PermissionDeniedError for a forbidden route."""
    async with guarded(workspace) as client:
        for key, raised in ((STRANGER, AuthenticationError), (BOB, PermissionDeniedError)):
            async with AsyncOpenAI(api_key=key, base_url=f"{client.base}/v1", max_retries=0) as openai:
                with pytest.raises(raised):
                    await openai.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hi"}])
        async with AsyncOpenAI(api_key=BOB, base_url=f"{client.base}/v1", max_retries=0) as openai:
            assert [model.id for model in (await openai.models.list()).data] == ["title-model"]


async def test_api_key_is_403_for_a_route_it_may_not_ask(workspace: Workspace) -> None:
    """A forbidden route is 403 by id, alias or path, and is not in that key's list of models; an unknown route is 404."""
    async with guarded(workspace) as client:
        assert (await asked(client, BOB, model="title-model")).text == "Hi"
        for path, model in (("/api/chat", "gpt-4"), ("/api/chat", "chat-model"), ("/api/chat/gpt-4", "title-model")):
            answer = await asked(client, BOB, path, model=model)
            assert (answer.status, answer.json["code"]) == (403, "not_allowed")
            assert model not in answer.body.decode()
        assert (await asked(client, BOB, model="no-such")).status == 404
        listed = {key: (await asked(client, key, "/api/models", "GET")).json["models"] for key in (ALICE, BOB)}
    assert [one["id"] for one in listed[ALICE]] == ["chat-model", "title-model"]
    assert [one["id"] for one in listed[BOB]] == ["title-model"]


async def test_unauthorized_request_is_refused_before_its_body_is_read(workspace: Workspace) -> None:
    """A request without a valid key is 401 before its body arrives, without `100 Continue`; with a valid key it gets `100 Continue`."""
    head = "POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\nconnection: close\r\n"
    async with guarded(workspace) as client:
        for key in ("", f"authorization: Bearer {STRANGER}\r\n"):
            assert (await response_to(client.base, f"{head}{key}\r\n".encode())).status == 401
        async with connected(client.base) as (reader, writer):
            writer.write(f"{head}authorization: Bearer {ALICE}\r\n\r\n".encode())
            assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"


async def test_unauthorized_request_is_refused_before_anything_is_looked_up(workspace: Workspace) -> None:
    """A request without a key is 401 for a running answer, an unknown route, a wrong method or an unknown page alike."""
    slow = "a: {script: [{text: Hi}, {pause: 5s}, {text: you}]}"
    async with guarded(workspace, targets=slow) as client:
        running = asyncio.create_task(asked(client, ALICE, id="chat-1"))
        while (await asked(client, ALICE, "/api/chat/chat-2/stream", "GET")).status != 204 or not client.edge._chat.running:
            await asyncio.sleep(0)
        refused = [
            await asked(client, None, path, method)
            for path, method in (
                ("/api/chat/chat-1/stream", "GET"),
                ("/api/chat?chatId=chat-1", "GET"),
                ("/api/chat/chat-1/stop", "POST"),
                ("/api/chat/no-such-route", "POST"),
                ("/api/chat", "GET"),
                ("/api/chat", "DELETE"),
                ("/api/models", "GET"),
                ("/v1/models", "GET"),
                ("/v1/chat/completions", "POST"),
                ("/no/such/page", "GET"),
            )
        ]
        assert [answer.status for answer in refused] == [401] * len(refused)
        assert not running.done()
        assert (await asked(client, ALICE, "/api/chat/chat-1/stop")).status == 204
        await running


async def test_recorded_answer_is_read_by_its_own_caller_alone(workspace: Workspace) -> None:
    """A chat's recorded answer is 204 for another caller; its own caller reads it, also with a rotated key, and the old key is 401."""
    answers = f"{KEYS}  resume: {{grace: 15s}}\n".replace(f"{{hash: {hashed(BOB)}, routes: [title-model]}}", f"{{hash: {hashed(BOB)}}}")
    file = workspace.write("routes.yaml", routes(HI, more=MORE + answers)).root / "routes.yaml"
    async with serving(workspace.build(), file) as client:
        whole = (await asked(client, ALICE, id="chat-1")).body
        path = "/api/chat/chat-1/stream"
        assert (await asked(client, ALICE, path, "GET")).body == whole
        assert (await asked(client, BOB, path, "GET")).status == 204
        rotated = new()
        workspace.write("routes.yaml", routes(HI, more=MORE + answers.replace(hashed(ALICE), hashed(rotated))))
        while (await asked(client, rotated, path, "GET")).status == 401:
            await asyncio.sleep(0.02)
        assert (await asked(client, rotated, path, "GET")).body == whole
        assert (await asked(client, ALICE, path, "GET")).status == 401


async def test_health_and_preflights_need_no_key(workspace: Workspace) -> None:
    """Health pages and a CORS preflight need no key; the question that follows the preflight does, and its 401 has the CORS header."""
    async with guarded(workspace, KEYS + "  cors: {origins: [https://chat.example.com]}\n") as client:
        for path in ("/healthz", "/readyz"):
            assert (await asked(client, None, path, "GET")).status == 200
        origin = {"origin": "https://chat.example.com", "access-control-request-method": "POST"}
        async with client.session.options(
            f"{client.base}/api/chat", headers={**origin, "access-control-request-headers": "authorization"}
        ) as allowed:
            assert allowed.status == 200
            assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
        refused = await client.session.post(f"{client.base}/api/chat", json=ASK, headers=origin)
        assert refused.status == 401
        assert refused.headers["access-control-allow-origin"] == origin["origin"]


BAD_HOSTS = [
    request("GET /api/models", host="localhost/healthz"),
    request("GET /api/models", host="localhost:8000/healthz?"),
    request("GET /api/models", host="/healthz"),
    request("GET /api/models", host="healthz"),
    request("GET /api/models", host="a@localhost/healthz#"),
    request("GET /api/models", host="evil.example", x_forwarded_host="localhost/healthz", x_forwarded_prefix="/healthz"),
    request("GET /api/models", x_original_url="/healthz", x_rewrite_url="/healthz"),
    request("GET http://localhost/healthz/../api/models"),
    request("GET http://evil.example/api/models"),
    request("GET /healthz/../api/models"),
    request("GET /healthz/%2e%2e/api/models"),
    request("GET /healthz%2f..%2fapi%2fmodels"),
    request("GET /healthz;/api/models"),
    request("GET /healthz/"),
    request("GET //api/models"),
    request("GET /./api/models"),
    request("GET /api/models/"),
    request("GET /api/models?/healthz"),
    request("GET /api/models#/healthz"),
    request("GET /api//models"),
    request("GET /%61pi/models"),
    request("GET /API/models"),
    request("GET /api/models%00/healthz"),
    request("GET /api\\models"),
    request("HEAD /api/models"),
    request("OPTIONS /api/models"),
    request("GET *"),
    request("POST /healthz/../api/chat", json.dumps(ASK).encode()),
    request("POST //api/chat", json.dumps(ASK).encode()),
    request("POST /api/chat/", json.dumps(ASK).encode()),
    request("POST /api/chat", json.dumps(ASK).encode(), x_http_method_override="GET"),
    request("POST /v1/../healthz", json.dumps(ASK).encode()),
    request("CONNECT evil.example:443"),
]


@pytest.mark.parametrize("sent", BAD_HOSTS, ids=lambda sent: sent.partition(b"\r\n")[0].decode("latin-1"))
async def test_spelling_of_host_or_address_does_not_bypass_the_gate(workspace: Workspace, sent: bytes) -> None:
    """Unusual hosts, paths and proxy headers without a key are 400 or 401; the response has no page, answer, redirect or sent host."""
    async with guarded(workspace) as client:
        answer = await response_to(client.base, sent)
    assert answer.status in (400, 401)
    assert "chat-model" not in answer.everything
    assert "Hi" not in answer.everything
    assert "evil" not in answer.everything
    assert "location" not in answer.headers


HEADERS = {
    "another scheme": ["Basic " + ALICE],
    "no scheme": [ALICE],
    "nothing after the scheme": ["Bearer"],
    "more than a key": [f"Bearer {ALICE} x"],
    "two keys in one": [f"Bearer {ALICE}, Bearer {BOB}"],
    "two headers": [f"Bearer {ALICE}", f"Bearer {BOB}"],
    "two headers, one of them wrong": [f"Bearer {ALICE}", "Basic eA=="],
    "another header": [],
    "letters of other alphabets": ["Bearer pm_\xff\xfe"],
}


@pytest.mark.parametrize("case", HEADERS)
async def test_api_key_is_read_from_one_authorization_header_only(workspace: Workspace, case: str) -> None:
    """A key is read from a single `Authorization: Bearer` header, with `Bearer` in any case and blanks around the key, else 401."""
    lines = "".join(f"authorization: {value}\r\n" for value in HEADERS[case])
    head = f"GET /api/models?api_key={ALICE}&key={ALICE} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-api-key: {ALICE}\r\ncookie: key={ALICE}\r\n"
    async with guarded(workspace) as client:
        assert (await response_to(client.base, f"{head}{lines}\r\n".encode("latin-1"))).status == 401
        assert (await response_to(client.base, f"{head}authorization: bEARER  {ALICE}\r\n\r\n".encode())).status == 200
        assert (await response_to(client.base, f"{head}authorization: Bearer {ALICE}\t \r\n\r\n".encode())).status == 200


async def test_key_and_its_rights_cannot_be_changed_by_any_request(workspace: Workspace) -> None:
    """No path creates or changes keys; a body that names other routes or callers is still 403, and a caller's key opens no admin page."""
    async with guarded(workspace, KEYS + "  admin: {key: the-operators-own-key}\n") as client:
        paths = cast("Any", client.edge._pages).openapi()["paths"]
        assert len(paths) > 8
        assert not [path for path in paths if re.search("key|caller|token(?!s)|auth|user", path)]
        for path in ("/admin/keys", "/admin/keys/bob", "/admin/config", "/admin/reload", "/keys", "/v1/keys", "/key/generate", "/metrics"):
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                answer = await asked(client, BOB, path, method, name="bob", routes=["chat-model"])
                assert answer.status in (401, 404, 405), (path, method)
        widened: dict[str, Any] = {
            "routes": ["chat-model"],
            "caller": "key:alice",
            "user": "alice",
            "metadata": {"caller": "alice"},
            "params": {"caller": "alice"},
        }
        assert (await asked(client, BOB, **widened)).status == 403


async def test_log_names_the_caller_and_never_holds_a_whole_key(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """The access log has the caller's name, the first 11 characters of an unknown API key, and nothing of any other credential."""
    with caplog.at_level(logging.INFO, "router.access"):
        async with guarded(workspace) as client:
            for key in (ALICE, BOB, OLD, STRANGER, "hunter2", None):
                await asked(client, key)
    fields = [cast("dict[str, Any]", record.__dict__["fields"]) for record in caplog.records if record.name == "router.access"]
    assert [(one["caller"], one["status"]) for one in fields] == [
        ("alice", 200),
        ("bob", 403),
        ("old", 401),
        (STRANGER[:11], 401),
        ("", 401),
        ("", 401),
    ]
    for key in (ALICE, BOB, OLD, STRANGER, "hunter2"):
        assert key not in caplog.text + repr(fields)
        assert hashed(key)[7:] not in caplog.text + repr(fields)


async def test_caller_id_reaches_pipeline_steps_and_no_provider(workspace: Workspace) -> None:
    """The route's answer gets the caller's id in its Ask; the provider receives neither that id nor the caller's key."""
    seen: list[str] = []
    async with (
        provider(Reply(text("Hi"))) as fake,
        guarded(workspace, targets=f"a: {{model: openai/fake, api_base: '{fake.base}', api_key: sk-own}}") as client,
    ):
        compiled = client.edge.live.generation.routes["chat-model"]
        answer = compiled.answer

        def noted(ask: Any) -> Any:
            seen.append(ask.caller)
            return answer(ask)

        force_setattr(compiled, "answer", noted)
        assert (await asked(client, ALICE)).text == "Hi"
        sent = repr(fake.headers) + repr(fake.requests)
    assert seen == ["key:alice"]
    assert "alice" not in sent
    assert ALICE[3:20] not in sent
    assert fake.headers[0]["authorization"] == "Bearer sk-own"


BOTH = (
    KEYS
    + """    jwt:
      issuer: https://login.example.com/
      audience: pointsman
      algorithms: [RS256]
      jwks: ${file:jwks.json}
      routes_claim: routes
"""
)


@cache
def signer() -> RSAKey:
    """Return the issuer's key, made at its first use."""
    return RSAKey.generate_key(2048, {"kid": "one"})


def token(**claims: Any) -> str:
    """Return a token of the issuer with these claims, by default valid for title-model."""
    good = {"iss": "https://login.example.com/", "aud": "pointsman", "sub": "user-1", "exp": int(datetime.now(UTC).timestamp()) + 60}
    return jwt.encode({"alg": "RS256", "kid": "one"}, {**good, "routes": ["title-model"], **claims}, signer())


async def test_tokens_and_api_keys_are_accepted_side_by_side(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """With keys and tokens declared, both are accepted; a token's claim names its routes, its `sub` is logged, an invalid one is 401."""
    workspace.write("jwks.json", json.dumps({"keys": [signer().as_dict(private=False)]}))
    with caplog.at_level(logging.INFO, "router.access"):
        async with guarded(workspace, BOTH) as client:
            assert (await asked(client, token(), model="title-model")).text == "Hi"
            assert (await asked(client, token())).status == 403
            assert (await asked(client, ALICE)).text == "Hi"
            late = token(exp=int((datetime.now(UTC) - timedelta(minutes=5)).timestamp()))
            for wrong in (late, token(aud="x"), token()[:-8], "pm_" + token(), STRANGER):
                answer = await asked(client, wrong, model="title-model")
                assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    names = [record.__dict__["fields"]["caller"] for record in caplog.records if record.name == "router.access"]
    assert names[:3] == ["user-1", "user-1", "alice"]


async def test_token_is_503_while_its_issuer_cannot_be_reached(workspace: Workspace) -> None:
    """A token whose keys cannot be fetched is 503 with `Retry-After`; a caller with an API key is still answered."""
    away = BOTH.replace("${file:jwks.json}", "http://127.0.0.1:9/jwks.json")
    async with guarded(workspace, away) as client:
        answer = await asked(client, token(), model="title-model")
        assert (answer.status, answer.json["code"]) == (503, "unverifiable")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await asked(client, ALICE)).text == "Hi"


async def test_keys_file_is_reloaded_at_an_edit(workspace: Workspace) -> None:
    """A new line of the keys file is accepted and a removed one is 401 without a restart; an invalid edit changes nothing."""
    bob = new()
    file = workspace.root / "routes.yaml"
    workspace.write("keys", f"# who may ask\nalice {hashed(ALICE)}\n\nbob  {hashed(BOB)}  expires=2099-01-01 routes=title-model # pm_\n")
    workspace.write("routes.yaml", routes(HI, more=MORE + "server: {auth: {keys: '${file:keys}'}}\n"))
    async with serving(workspace.build(), file) as client:
        assert (await asked(client, ALICE)).text == "Hi"
        assert (await asked(client, BOB)).status == 403
        workspace.write("keys", f"bob {hashed(bob)}\n")
        while (await asked(client, bob)).status != 200:
            await asyncio.sleep(0.02)
        assert (await asked(client, ALICE)).status == (await asked(client, BOB)).status == 401
        failures = client.edge.admin.reload
        assert failures is not None
        workspace.write("keys", f"bob {bob}\n")
        while failures.failed is None:
            await asyncio.sleep(0.02)
        assert "line 1 of the keys: this is a key" in str(failures.failed.error)
        assert bob not in str(failures.failed.error)
        assert (await asked(client, bob)).text == "Hi"


COMPLAINTS: list[tuple[str, str]] = [
    ("server: {auth: nobody}", "`nobody` is not one of none"),
    ("server: {auth: {}}", "callers are known by `keys` or by `jwt`; for everybody write `auth: none`"),
    ("server: {auth: {keys: {a: {hash: abc}}}}", "a key's hash is `sha256:` and 64 hexadecimal digits"),
    (f"server: {{auth: {{keys: {{a: {{hash: {ALICE}}}}}}}}}", "this is a key, and everybody who reads this can use it now"),
    (f"server: {{auth: {{keys: {{a: {{hash: {hashed(ALICE)}, expires: tomorrow}}}}}}}}", "`tomorrow` is no day and no moment"),
    (
        f"server: {{auth: {{keys: {{a: {{hash: {hashed(ALICE)}, expires: 2027-01-31T10:00}}}}}}}}",
        "`2027-01-31T10:00` is no day and no moment",
    ),
    (f"server: {{auth: {{keys: {{a: {{hash: {hashed(ALICE)}, routes: []}}}}}}}}", "it could ask nothing"),
    (f"server: {{auth: {{keys: {{a: {{hash: {hashed(ALICE)}, routes: [chat-modl]}}}}}}}}", "did you mean `chat-model`?"),
    (f"server: {{auth: {{keys: {{a: {{hash: {hashed(ALICE)}}}, b: {{hash: {hashed(ALICE)}}}}}}}}}", "`b` and `a` have the same key"),
    ("server: {auth: {keys: '${file:keys}'}}", "line 2 of the keys: there is no hash"),
    ("server: {auth: {jwt: {issuer: x, audience: y, algorithms: [RS256]}}}", "either `jwks` or a `secret`"),
    ("server: {auth: {jwt: {issuer: x, audience: y, algorithms: [none], secret: 's'}}}", "`none` is not one of HS256"),
    ("server: {auth: {jwt: {issuer: x, audience: y, algorithms: [], secret: 's'}}}", "name the algorithms"),
    ("server: {auth: {jwt: {issuer: x, audience: y, algorithms: [HS256], secret: 's'}}}", "can be guessed"),
    ("server: {auth: {jwt: {issuer: x, audience: y, algorithms: [HS256], jwks: https://x.example/k}}}", "goes with a `secret`"),
    ("server: {auth: {jwt: {issuer: x, audience: y, algorithms: [RS256], jwks: http://x.example/k}}}", "write an https address"),
    ("server: {auth: {jwt: {issuer: x, audience: y, algorithms: [RS256], jwks: '{\"keys\": 5}'}}}", "this is no JSON Web Key Set"),
    ("server: {auth: {jwt: {issuer: x, audience: y, algorithms: [RS256], jwks: '{\"keys\": []}'}}}", "`jwks` has no key"),
]


@pytest.mark.parametrize(("server", "told"), COMPLAINTS, ids=[told for _, told in COMPLAINTS])
def test_invalid_auth_declaration_is_a_configuration_error(workspace: Workspace, server: str, told: str) -> None:
    """Each mistake in `server.auth` is an error when the file is loaded, with the sentence in the table and without any key."""
    workspace.write("keys", f"alice {hashed(ALICE)}\nbob\n").write("routes.yaml", routes(HI, more=server + "\n"))
    with pytest.raises(ConfigError) as refused:
        workspace.build()
    assert told in str(refused.value)
    assert ALICE not in str(refused.value)


FILES: list[tuple[str, str]] = [
    (f"{ALICE} {hashed(ALICE)}", "line 1 of the keys: it begins with a key"),
    (f"alice {ALICE}", "line 1 of the keys: this is a key"),
    ("-x", "line 1 of the keys: there is no hash"),
    (f"alice {hashed(ALICE)}\nalice {hashed(BOB)}", "line 2 of the keys: this name stands in an earlier line"),
    (f"alice {hashed(ALICE)}\n# c\nbob {hashed(ALICE)}", "line 3 of the keys: this key stands in an earlier line"),
    (f"alice {hashed(ALICE)} expire=2027-01-01", "line 1 of the keys: write NAME HASH, then expires=…, routes=…"),
    (f"alice {hashed(ALICE)} expires=soon", "line 1 of the keys: write NAME HASH"),
    (f"alice {hashed(ALICE)} routes=", "line 1 of the keys: write NAME HASH"),
    (f"alice {hashed(ALICE)} routes=chat-model routes=chat-model", "each at most once"),
    (f"alice {hashed(ALICE)} routes=no-such", "the key of `alice` names a route that there is not; there is `chat-model`"),
    (f"a!ice {hashed(ALICE)}", "line 1 of the keys: write NAME HASH"),
]


@pytest.mark.parametrize(("content", "told"), FILES, ids=[told for _, told in FILES])
def test_mistake_in_the_keys_file_is_reported_by_line_without_its_text(workspace: Workspace, content: str, told: str) -> None:
    """A mistake in the keys file is reported with its line number, an unknown route with the key's name, and neither with the line's text."""
    workspace.write("keys", content + "\n").write("routes.yaml", routes(HI, more="server: {auth: {keys: '${file:keys}'}}\n"))
    with pytest.raises(ConfigError) as refused:
        workspace.build()
    assert told in str(refused.value)
    assert not any(secret in str(refused.value) for secret in (ALICE, hashed(ALICE), "soon", "no-such", "a!ice"))


HOSTS = {
    "127.0.0.1": True,
    "localhost": True,
    "::1": True,
    "127.8.8.8": True,
    EVERYWHERE: False,
    "::": False,
    "": False,
    "192.0.2.1": False,
    "chat.example": False,
}


@pytest.mark.parametrize("host", HOSTS)
def test_public_listen_address_requires_declared_auth(workspace: Workspace, host: str) -> None:
    """A listen address beyond loopback without `server.auth` is one error that names the remedies; `auth: none` or keys are valid."""
    for server, said_so in (("", False), ("server: {keep_alive: 5s}\n", False), ("server: {auth: none}\n", True), (KEYS, True)):
        workspace.write("routes.yaml", routes(HI, more=MORE + server))
        found = declare(read(workspace.root / "routes.yaml"), {}, host).complaints.in_order()
        assert not found if HOSTS[host] or said_so else len(found) == 1
        for complaint in found:
            assert all(words in complaint.message for words in ("`router keys new NAME`", "`auth: none`", "jwt"))
            assert complaint.place.line == (1 if not server else 9)


async def test_edit_that_removes_auth_is_refused_at_a_public_address(workspace: Workspace) -> None:
    """On a public address, an edit without `auth` fails to load, and the old configuration stays live."""
    file = workspace.write("routes.yaml", routes(HI, more=MORE + KEYS)).root / "routes.yaml"
    live = Live(build(declare(read(file), {}, EVERYWHERE)))
    reload = Reload(live, file, EVERYWHERE)
    workspace.write("routes.yaml", routes(HI, more=MORE))
    await reload.refresh()
    assert reload.failed is not None
    assert "`auth: none`" in str(reload.failed.error)
    assert isinstance(live.generation.server.auth, Auth)
    await live.close()


async def test_workers_refuse_an_edit_that_removes_auth_at_a_public_address(workspace: Workspace) -> None:
    """Two worker processes on all addresses refuse an edit without `auth`: requests without a key are still 401, and with it 200."""
    workspace.write("routes.yaml", routes(HI, more=MORE + KEYS))
    async with process(workspace.root, "--host", EVERYWHERE, "--workers", "2", ROUTER_ENV="staging") as router:
        async with asyncio.timeout(240):
            while len((await router.get("/admin/config"))[1]["workers"]) < 2:
                await asyncio.sleep(0.05)
        workspace.write("routes.yaml", routes(HI, more=MORE))
        async with asyncio.timeout(240):
            while router.printed.count("not reloaded") < 2:
                await asyncio.sleep(0.05)
        assert (await router.ask())[0] == 401
        assert (await router.post("/api/chat", ASK, authorization=f"Bearer {ALICE}"))[0] == 200
        assert "`auth: none`" in router.printed


def test_serve_exits_1_at_a_public_address_without_auth_and_names_the_remedy(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """`router serve --host 0.0.0.0` without `server.auth` exits with code 1 and prints what to declare."""
    workspace.write("routes.yaml", routes(HI))
    assert main(["serve", "--routes", str(workspace.root / "routes.yaml"), "--host", EVERYWHERE]) == 1
    told = capsys.readouterr().err
    assert "routes.yaml:1:1: whoever reaches 0.0.0.0 could ask, and you would pay" in told
    assert "where something else keeps strangers out, write `auth: none`" in told


async def test_key_of_keys_new_is_accepted_once_it_is_declared(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router keys new` prints the key on stdout and its declarations on stderr; declared in either form, it is accepted."""
    assert main(["keys", "new", "alice", "--expires", "90d", "--routes", "chat-model"]) == 0
    key, told = capsys.readouterr()
    key = key.strip()
    assert key.startswith("pm_")
    assert key not in told
    inline = told.split("server:` in routes.yaml\n")[1].split("or this line")[0]
    line = told.strip().splitlines()[-1]
    workspace.write("keys", line)
    for server in (f"server:\n{inline}", "server: {auth: {keys: '${file:keys}'}}\n"):
        async with guarded(workspace, server) as client:
            assert (await asked(client, key)).text == "Hi"
            assert (await asked(client, key, model="title-model")).status == 403


def test_keys_new_prints_json_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    """`router keys new --json` prints the key and its line for the keys file in one object; invalid arguments exit with code 2."""
    assert main(["keys", "new", "ci", "--expires", "2030-01-31", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["line"] == f"ci  {hashed(made['key'])}  expires=2030-01-31  # {made['key'][:11]}"
    for wrong in (["a b"], ["a", "--expires", "soon"], ["a", "--expires", "0s"], ["a", "--routes", ","], []):
        with pytest.raises(SystemExit) as left:
            main(["keys", "new", *wrong])
        assert left.value.code == 2


def test_check_reports_expired_keys_without_failing(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router check` lists an expired key and exits with code 0, with and without `--json`."""
    workspace.write("routes.yaml", routes(HI, more=MORE + KEYS))
    assert main(["check", "--routes", str(workspace.root / "routes.yaml")]) == 0
    assert "expired: the key of old, 2020-01-31 00:00 UTC" in capsys.readouterr().out
    assert main(["check", "--json", "--routes", str(workspace.root / "routes.yaml")]) == 0
    assert json.loads(capsys.readouterr().out)["expired"] == {"old": "2020-01-31 00:00 UTC"}


async def test_callers_without_declared_auth_are_answered_and_kept_apart(workspace: Workspace) -> None:
    """Without declared auth or with `none`, any credential is answered as a caller of its own: recorded answers of others are 204."""
    for server in ("", "server: {auth: none}\n"):
        async with guarded(workspace, server) as client:
            one = (await asked(client, "anything", id="chat-1")).body
            assert (await asked(client, "anything", "/api/chat/chat-1/stream", "GET")).body == one
            assert (await asked(client, "anything else", "/api/chat/chat-1/stream", "GET")).status == 204
            assert (await asked(client, None, "/api/chat/chat-1/stream", "GET")).status == 204


async def test_connection_stays_open_after_a_401(workspace: Workspace) -> None:
    """After a 401, the next request on the same connection is answered."""
    async with guarded(workspace) as client, connected(client.base) as (reader, writer):
        body = json.dumps({**ASK, "stream": False}).encode()
        for key, more in ((STRANGER, ""), (ALICE, "connection: close\r\n")):
            writer.write(
                f"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\nauthorization: Bearer {key}\r\n{more}\r\n".encode()
                + body
            )
        data = await until_closed(reader)
    assert parsed(data).status == 401
    assert b'"content":"Hi"' in data


async def test_openapi_schema_declares_authentication(workspace: Workspace) -> None:
    """The OpenAPI schema has a bearer scheme; chat and model operations require it and list 401 and 503, and /healthz does not."""
    async with guarded(workspace) as client:
        told = cast("Any", client.edge._pages).openapi()
    assert told["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, method in (("/api/chat", "post"), ("/v1/chat/completions", "post"), ("/api/models", "get"), ("/v1/models", "get")):
        operation = told["paths"][path][method]
        assert {"bearer": []} in operation["security"]
        assert {"401", "503"} <= set(operation["responses"])
    assert "security" not in told["paths"]["/healthz"]["get"]


def test_diff_describes_a_change_of_callers(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router diff` describes changed keys and token rules; values of variables appear as their names alone."""
    before = workspace.write("routes.yaml", routes(HI, more=MORE + KEYS)).root / "routes.yaml"
    unseen = "server: {auth: {keys: {a: {hash: '${A}'}, b: {hash: '${B}'}}, jwt: {issuer: x, audience: y, algorithms: [HS512], secret: '${S}'}}}\n"
    after = workspace.write("after.yaml", routes(HI, more=MORE + unseen)).root / "after.yaml"
    assert main(["diff", str(before), str(after)]) in (0, 3)
    told = capsys.readouterr()
    assert told.err == ""
    assert "server: auth.keys.alice hash" in told.out
    assert "secret ${S}" in told.out
