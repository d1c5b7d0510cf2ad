"""Promises of docs/security.md that hold for every address: what clients may send, and what of a provider's response is passed on."""

import ast
import asyncio
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

import pytest

from router.errors import ConfigError
from tests.conftest import LANES, ROOT, Client, Workspace, routes, serving
from tests.support.files import files_below
from tests.support.process import process
from tests.support.provider import Reply, error, provider, text
from tests.support.raw import RawResponse, request, response_to
from tests.test_shape import imports, modules

HI = "a: {script: [{text: Hi}]}"
ASK: dict[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
ADDRESSES = ("/api/chat", "/api/chat/chat-model", "/v1/chat/completions")
HOSTILE: dict[str, Any] = {
    "api_base": "http://127.0.0.1:9/v1",
    "base_url": "http://127.0.0.1:9/v1",
    "api_key": "sk-mine",
    "api_version": "1",
    "organization": "evil",
    "extra_headers": {"x-evil": "1"},
    "headers": {"x-evil": "1"},
    "extra_body": {"evil": 1},
    "extra_query": {"evil": 1},
    "mock_response": "mocked",
    "custom_llm_provider": "evil",
    "fallbacks": ["evil"],
    "callbacks": ["evil"],
    "user": "evil",
    "metadata": {"evil": 1},
    "targets": ["evil"],
    "pipeline": "evil",
    "prompt": "{{ evil }}",
    "template": "{{ evil }}",
    "mcp_servers": [{"command": "evil"}],
    "timeout": 999,
    "num_retries": 99,
}


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("address", ADDRESSES)
async def test_provider_gets_only_the_messages_of_a_client(workspace: Workspace, lane: str, address: str) -> None:
    """Unknown fields and headers of a client's request, of its `params` and of its messages do not reach the provider."""
    fields = {**HOSTILE, "params": HOSTILE, "messages": [{**HOSTILE, "role": "user", "content": "Hi", "id": "m1"}]}
    headers = {
        "cookie": "evil=1",
        "x-api-key": "sk-mine",
        "x-evil": "1",
        "openai-organization": "evil",
        "anthropic-beta": "evil",
        "user-agent": "evil",
    }
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base)))
        async with serving(workspace.build()) as client:
            sent = json.dumps({**ASK, **fields}).encode()
            answer = await response_to(
                client.base, request(f"POST {address}?api_base=http://evil", sent, authorization="Bearer sk-mine", **headers)
            )
    assert answer.status == 200
    assert set(fake.requests[0]) <= {"model", "messages", "stream", "stream_options"}
    assert fake.requests[0]["model"] == "fake"
    assert fake.requests[0]["messages"] == [{"role": "user", "content": "Hi"}]
    assert fake.headers[0]["authorization"] == "Bearer sk-test"
    assert "evil" not in json.dumps(fake.headers)
    assert "sk-mine" not in json.dumps(fake.headers)


MODELS = [
    "no-such",
    "openai/gpt-4o",
    "fake",
    "a",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "chat-model\r\nx: y",
    "x" * 100_000,
    "{{7*7}}",
    "${HOME}",
    " gpt-4",
    "GPT-4",
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model[:20])
async def test_unknown_model_name_is_a_404_that_does_not_repeat_it(workspace: Workspace, model: str) -> None:
    """A model name that is no declared route, such as a target's name or a path, is a 404 that does not contain the name."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        for address in ("/api/chat", "/v1/chat/completions"):
            answer = await response_to(client.base, request(f"POST {address}", json.dumps({**ASK, "model": model}).encode()))
            assert answer.status == 404
            assert model not in answer.everything or len(model) < 2
        if re.fullmatch(r"[!-~]{1,60}", model):
            answer = await response_to(client.base, request(f"POST /api/chat/{model}", json.dumps(ASK).encode()))
            assert answer.status in (400, 404)
            assert "script" not in answer.everything


async def every_kind(client: Client) -> Mapping[str, RawResponse]:
    """Return kind → a response of that kind: answers, pages, refusals."""
    body = json.dumps(ASK).encode()
    sent = {
        "an answer": request("POST /api/chat", body),
        "a stream": request("POST /api/chat", body.replace(b"false", b"true")),
        "a completion": request("POST /v1/chat/completions", body),
        "models": request("GET /api/models"),
        "OpenAI's models": request("GET /v1/models"),
        "health": request("GET /healthz"),
        "readiness": request("GET /readyz"),
        "the documentation": request("GET /openapi.json"),
        "no page": request("GET /no/such/page"),
        "no method": request("GET /api/chat"),
        "no method of a page": request("POST /healthz"),
        "no body": request("POST /api/chat"),
        "no model": request("POST /api/chat/no-such", body),
        "nothing to find": request("GET /api/chat/chat-1/stream"),
        "not HTTP": b"hello\r\n\r\n",
        "too long": request("GET /" + "x" * 20_000),
    }
    return {kind: await response_to(client.base, data) for kind, data in sent.items()}


async def test_every_response_has_no_store_and_nosniff_headers(workspace: Workspace) -> None:
    """Every kind of response has `no-store` and `nosniff` headers, and does not name the server's software."""
    workspace.write("routes.yaml", routes(HI))
    async with serving(workspace.build()) as client:
        answers = await every_kind(client)
    for kind, answer in answers.items():
        assert answer.headers["cache-control"].startswith("no-store"), kind
        assert answer.headers["x-content-type-options"] == "nosniff", kind
        assert "server" not in answer.headers, kind
        assert not re.search("uvicorn|python|fastapi|starlette|traceback", answer.everything.lower()) or kind == "the documentation", kind


@pytest.mark.parametrize(
    "origin",
    ["https://chat.example.com", "https://chat.example.com.evil.example", "https://evil.example", "null", "http://chat.example.com", "*"],
)
async def test_cors_headers_allow_exactly_the_declared_origin(workspace: Workspace, origin: str) -> None:
    """Answers and refusals allow exactly the declared origin, and vary by `Origin`; a preflight of any other origin is a 400."""
    workspace.write("routes.yaml", routes(HI, more="server: {cors: {origins: [https://chat.example.com]}}\n"))
    allowed = origin == "https://chat.example.com"
    async with serving(workspace.build()) as client:
        for line, body in (("POST /api/chat", json.dumps(ASK).encode()), ("POST /api/chat", b"{"), ("GET /api/models", b"")):
            answer = await response_to(client.base, request(line, body, origin=origin))
            assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
            assert "origin" in answer.headers["vary"].lower()
        asked = request(
            "OPTIONS /api/chat", origin=origin, access_control_request_method="POST", access_control_request_headers="authorization"
        )
        answer = await response_to(client.base, asked)
        assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert answer.status == (200 if allowed else 400)


@pytest.mark.parametrize(
    "server",
    ["server: {cors: {origins: ['*']}}", "server: {cors: {origins: ['https://*.example.com']}}", "server: {cors: {origins: ['null']}}"],
)
def test_cors_origin_with_a_star_or_null_is_refused_at_load(workspace: Workspace, server: str) -> None:
    """A declared CORS origin that is `*`, has a star in it or is `null` raises ConfigError."""
    workspace.write("routes.yaml", routes(HI, more=server + "\n"))
    with pytest.raises(ConfigError):
        workspace.build()


THEIRS = {
    "set_cookie": "session=canary",
    "x_canary": "canary",
    "server": "canary",
    "location": "https://canary.example",
    "access_control_allow_origin": "*",
    "x_ratelimit_remaining_requests": "7",
    "openai_organization": "canary",
    "www_authenticate": "canary",
    "cache_control": "public, max-age=600",
}
OURS = {
    "date",
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "x-request-id",
    "x-router-generation",
    "x-router-target",
    "x-router-model",
    "x-router-attempts",
    "cache-control",
    "x-content-type-options",
    "x-accel-buffering",
    "retry-after",
    "x-should-retry",
}


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("status", [200, 401, 429, 500])
async def test_headers_of_a_provider_are_not_passed_on(
    workspace: Workspace, lane: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider's own headers, such as Set-Cookie, reach neither client nor log, with any status."""
    named = {name.replace("_", "-"): value for name, value in THEIRS.items()}
    reply = Reply(text("Hi"), headers=named) if status == 200 else error(status, "canary", retry_after="2", **THEIRS)
    async with provider(reply) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base), "targets: [a]\n    retry: {attempts: 1}"))
        with caplog.at_level(logging.INFO):
            async with serving(workspace.build()) as client:
                answers = [
                    await response_to(client.base, request("POST /api/chat", json.dumps({**ASK, "stream": stream}).encode()))
                    for stream in (True, False)
                ]
    for answer in answers:
        assert set(answer.headers) <= OURS
        assert "canary" not in answer.everything
        assert answer.headers["cache-control"] == "no-store, no-transform"
    assert "canary" not in caplog.text


BREAKS = ["a\r\nset-cookie: x=1", "a\nx-evil: 1", "a\rb", "a\x00b", "a b", "ü", "a\u2028b"]


@pytest.mark.parametrize("name", BREAKS, ids=repr)
def test_target_name_or_key_with_a_control_or_odd_character_is_refused_at_load(workspace: Workspace, name: str) -> None:
    """A target name or API key with a line break, NUL, space or non-ASCII character raises ConfigError."""
    written = json.dumps(name)
    targets = f"{written}: {{script: [{{text: Hi}}]}}"
    workspace.write("routes.yaml", routes(targets, f"targets: [{written}]"))
    with pytest.raises(ConfigError) as refused:
        workspace.build()
    assert "is not a name" in str(refused.value)
    with pytest.raises(ConfigError):
        workspace.write("routes.yaml", routes(f"a: {{model: openai/fake, api_base: 'http://127.0.0.1:9/v1', api_key: {written}}}")).build()


@pytest.mark.parametrize("name", BREAKS, ids=repr)
@pytest.mark.parametrize("lane", LANES)
async def test_text_of_a_provider_cannot_inject_a_header(workspace: Workspace, lane: str, name: str) -> None:
    """Line breaks and other odd characters in a provider's model name and ids add no header to the response."""
    frames = [frame.replace(b'"fake"', json.dumps(name).encode()).replace(b'"c1"', json.dumps(name).encode()) for frame in text("Hi")]
    async with provider(Reply(frames)) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base)))
        async with serving(workspace.build()) as client:
            answer = await response_to(client.base, request("POST /api/chat", json.dumps(ASK).encode(), x_request_id="a b"))
    assert answer.status == 200
    assert set(answer.headers) <= OURS


FORBIDDEN = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


def test_router_imports_no_pickle_module() -> None:
    """Modules of `router/` do not import pickle or a similar module, whose data could run code."""
    found = {name: {imported.partition(".")[0] for imported, _ in imports(tree)} & FORBIDDEN for name, tree in modules(ROOT).items()}
    assert len(found) > 50
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_certificate_checks_cannot_be_turned_off() -> None:
    """Code in `router/` does not turn the check of certificates off, and the configuration schema has no key for that."""
    unsafe = re.compile(r"CERT_NONE|check_hostname\s*=\s*False|verify\w*\s*=\s*False|_create_unverified|ssl\s*=\s*False")
    assert unsafe.search("context.verify_mode = ssl.CERT_NONE")
    assert [name for name, tree in modules(ROOT).items() if unsafe.search(ast.unparse(tree))] == []
    assert not re.search("verify|insecure|tls", (ROOT / "routes.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("lane", ["direct", "litellm"])
async def test_proxy_variables_of_the_environment_are_ignored(workspace: Workspace, lane: str) -> None:
    """The environment's proxy variables are ignored: the provider is asked directly, and the named proxy gets no connection."""
    asked: list[bytes] = []

    async def proxied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(proxied, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    async with server, provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(LANES[lane](fake.base), "targets: [a]\n    timeout: {first_token: 30s}"))
        async with process(workspace.root, **dict.fromkeys(names, address)) as router:
            status, _, body = await router.ask("Hi", "chat-model", stream=False)
    assert (status, json.loads(body)["content"]) == (200, "Hi")
    assert asked == []


def test_table_of_security_md_is_complete_and_names_existing_tests() -> None:
    """The table in docs/security.md has consecutive numbers up to 61 or more, and each test that it names exists."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) >= 61
    known = {
        f"{path.relative_to(ROOT)}::{name}"
        for path in files_below(ROOT / "tests", ".py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named = set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", page))
    assert len(named) > 60
    assert sorted(named - known) == []
