"""HTTP details beside the answer: retry headers, model lists, unknown paths, and bodies that are too large or not JSON."""

import io
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from router.wire import WIRES
from tests.conftest import Workspace, routes, serving
from tests.support.raw import connected, until_closed

ASKED: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
async def test_error_after_all_targets_failed_has_x_should_retry_false(workspace: Workspace, wire: str, *, stream: bool) -> None:
    """A 502 after all targets failed has `X-Should-Retry: false` in every wire, so that the client's SDK does not retry."""
    targets = "a: {script: [{fail: down}]}\nb: {script: [{text: Half}, {fail: down}]}"
    more = "  breaks: {pipeline: chat, targets: [b]}\n"
    async with serving(workspace.write("routes.yaml", routes(targets, more=more)).build()) as client:
        down = await client.post(f"/api/chat?protocol={wire}", messages=ASKED, stream=stream)
        cut = await client.post(f"/api/chat/breaks?protocol={wire}", messages=ASKED, stream=False)
    assert (down.status, down.headers["x-should-retry"]) == (502, "false")
    assert (cut.status, cut.headers["x-should-retry"]) == (502, "false")


async def test_error_400_and_429_have_no_x_should_retry_header(workspace: Workspace) -> None:
    """A 400, and a 429 with `Retry-After`, have no `X-Should-Retry` header."""
    limited = "targets: [a]\n    limit: {requests: 1/hour}"
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", limited)).build()) as client:
        malformed = await client.post("/api/chat", messages="none")
        answers = [await client.post("/api/chat", messages=ASKED) for _ in range(3)]
    refused = answers[-1]
    assert (malformed.status, "x-should-retry" in malformed.headers) == (400, False)
    assert refused.status == 429
    assert "retry-after" in refused.headers
    assert "x-should-retry" not in refused.headers


LISTS = """
  title: {aliases: [small], pipeline: chat, targets: [a], listed: false}
  known: {pipeline: chat, targets: [b]}
"""
OF_ANTHROPIC = {"anthropic-version": "2023-06-01"}
TARGETS = "a: {script: [{text: Hi}]}\nb: {model: openai/gpt-4o, api_key: sk-test, price: {input: 2, output: 8}}"


async def test_model_lists_have_aliases_and_omit_routes_with_listed_false(workspace: Workspace) -> None:
    """Both model lists describe routes and aliases without those with `listed: false`, which still answer and are found by name."""
    async with serving(workspace.write("routes.yaml", routes(TARGETS, more=LISTS)).build()) as client:
        openais, ours = (await client.get("/v1/models")).json, (await client.get("/api/models")).json
        hidden, alias = await client.get("/v1/models/small"), await client.get("/v1/models/gpt-4")
        answered = await client.post("/api/chat/title", messages=ASKED, stream=False)
    assert [one["id"] for one in openais["data"]] == ["chat-model", "gpt-4", "known"]
    assert [(one["id"], one["aliases"]) for one in ours["models"]] == [("chat-model", ["gpt-4"]), ("known", [])]
    for one in (openais["data"][2], ours["models"][1]):
        assert (one["context_window"], one["input_modalities"][:2], one["tools"]) == (128_000, ["text", "image"], [])
        assert (one["name"], one["price"]["input"], one["price"]["output"]) == ("openai/gpt-4o", 2, 8)
    assert (hidden.status, hidden.json["id"], alias.json["id"], answered.status) == (200, "small", "gpt-4", 200)
    assert "x-request-id" in alias.headers


async def test_unknown_model_gets_a_404_in_the_error_form_of_the_client(workspace: Workspace) -> None:
    """`GET /v1/models/…` of an unknown id is a 404 in OpenAI's form, or in Anthropic's with the header `anthropic-version`."""
    async with serving(workspace.write("routes.yaml", routes(TARGETS, more=LISTS)).build()) as client:
        openais = await client.get("/v1/models/some/other")
        anthropics = await client.get("/v1/models/some/other", OF_ANTHROPIC)
        listed = (await client.get("/v1/models", OF_ANTHROPIC)).json
        one = (await client.get("/v1/models/known", OF_ANTHROPIC)).json
    assert (openais.status, openais.json["error"]["code"]) == (404, "model_not_found")
    assert (anthropics.status, anthropics.json["type"], anthropics.json["error"]["type"]) == (404, "error", "not_found_error")
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "chat-model", "known")
    assert one == listed["data"][-1]
    assert set(one) == {"type", "id", "display_name", "created_at"}


async def test_unknown_path_gets_a_404_in_the_error_form_of_its_api(workspace: Workspace) -> None:
    """An unknown path is a 404 in OpenAI's form below /v1, in Anthropic's below /v1/messages, and in a common form elsewhere.
    Below /v1 the header `anthropic-version` gets Anthropic's form, too.
    """
    async with serving(workspace.write("routes.yaml", routes(TARGETS)).build()) as client:
        openais = [await client.get(path) for path in ("/v1", "/v1/", "/v1/files", "/v1/messagesx")]
        openais += [await client.post("/v1/models"), await client.post("/v1/audio/speech")]
        anthropics = [
            await client.get("/v1/messages/batches"),
            await client.get("/v1/messages/"),
            await client.get("/v1/files", OF_ANTHROPIC),
        ]
        others = [await client.get(path) for path in ("/index.html", "/no-such", "/api", "/api/chats")]
    for answer in openais:
        assert (answer.status, answer.json["error"]["code"], answer.json["error"]["type"]) == (
            404,
            "unknown_address",
            "invalid_request_error",
        )
    for answer in anthropics:
        assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (404, "error", "not_found_error")
    for answer in others:
        assert (answer.status, answer.json["code"], answer.json["error"]) == (404, "unknown_address", answer.json["message"])
    for answer in (*openais, *anthropics, *others):
        assert answer.headers["x-request-id"]


async def test_unknown_path_gets_a_404_in_the_form_of_the_configured_protocol(workspace: Workspace) -> None:
    """With `server.protocol: ui-message-stream`, the 404 of an unknown path has the error form of the AI SDK."""
    declared = routes(TARGETS, more="server: {protocol: ui-message-stream}\n")
    async with serving(workspace.write("routes.yaml", declared).build()) as client:
        answer = await client.get("/api/chats")
    assert (answer.status, answer.json["code"], answer.json["cause"]) == (404, "bad_request:api", "unknown_address")


async def test_404_of_an_unknown_path_lists_the_served_endpoints(workspace: Workspace) -> None:
    """The 404 of an unknown path lists every endpoint in the OpenAPI document for callers, below /v1 and /v4/ai only those there."""
    async with serving(workspace.write("routes.yaml", routes(TARGETS)).build()) as client:
        documented = (await client.get("/openapi.json")).json["paths"]
        elsewhere = (await client.get("/no-such")).json["error"]
        below = {address: (await client.get(f"{address}no-such")).json["error"]["message"] for address in ("/v1/", "/v4/ai/")}
    served = {
        f"{method.upper()} {path}"
        for path, methods in documented.items()
        for method in methods
        if path.startswith(("/api/", "/v1/", "/v4/"))
    }
    listed = set(elsewhere.partition("Served are: ")[2].removesuffix(".").split(", "))
    assert listed == served
    assert {"POST /api/chat", "POST /v1/messages", "GET /v1/models/{model}"} <= listed
    for address, sentence in below.items():
        assert set(sentence.partition("Served are: ")[2].removesuffix(".").split(", ")) == {one for one in served if f" {address}" in one}


SMALL = "server: {request: {body: 64KiB}}\n"
PICTURE = "x" * 300_000
OF_UI: dict[str, Any] = {"id": "c1", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": PICTURE}]}]}
OF_4: dict[str, Any] = {"messages": [{"role": "user", "content": "Look", "experimental_attachments": [{"url": PICTURE}]}]}
SAYS_NOTHING: dict[str, Any] = {"messages": [{"role": "user", "content": f'What is {{"parts": [1]}}? {PICTURE}'}]}
LARGE: dict[str, tuple[str, dict[str, Any], dict[str, str], str]] = {
    "a parameter": ("/api/chat?protocol=openai", OF_UI, {}, "openai"),
    "a header": ("/api/chat", OF_UI, {"x-stream-protocol": "anthropic"}, "anthropic"),
    "OpenAI's address": ("/v1/chat/completions", OF_UI, {}, "openai"),
    "Anthropic's address": ("/v1/messages", OF_UI, {}, "anthropic"),
    "parts": ("/api/chat", OF_UI, {}, "ui"),
    "parts, for a route": ("/api/chat/gpt-4", OF_UI, {}, "ui"),
    "attachments": ("/api/chat", OF_4, {}, "ui"),
    "nothing": ("/api/chat", SAYS_NOTHING, {}, "both"),
}
"""The part of a too large request that names its wire → path, body, headers, and the expected form of its error."""


def form(answer: dict[str, Any]) -> str:
    """Return the form of an error body: `anthropic`, `openai`, `ui`, or `both` if every front end reads it; else the body as text."""
    match answer:
        case {"type": "error", "error": {"type": "request_too_large", "message": str()}}:
            return "anthropic"
        case {"error": {"code": "too_large", "type": "invalid_request_error", "message": str()}}:
            return "openai"
        case {"code": "bad_request:api", "message": str(), "cause": "too_large"}:
            return "ui"
        case {"type": "error", "code": "too_large", "error": str(error), "message": str(message)} if error == message:
            return "both"
        case _:
            return str(answer)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("case", LARGE)
async def test_too_large_body_gets_a_413_in_the_error_form_of_its_wire(workspace: Workspace, case: str, *, chunked: bool) -> None:
    """A body over `server.request.body` gets a 413 in the error form given by parameter, header, path or the body's beginning."""
    path, sent, headers, expected = LARGE[case]
    data = json.dumps(sent).encode()

    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(data), 16384):
            yield data[start : start + 16384]

    async with (
        serving(workspace.write("routes.yaml", routes(TARGETS, more=SMALL)).build()) as client,
        client.session.post(client.base + path, data=pieces() if chunked else data, headers=headers) as response,
    ):
        answer = await response.json()
    assert response.status == 413
    assert form(answer) == expected


async def test_too_large_body_with_expect_100_continue_is_refused_unread(workspace: Workspace) -> None:
    """A client that sends `Expect: 100-continue` with a too large `Content-Length` gets a 413 at once instead of a 100."""
    lines = "host: localhost\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 1000000"
    async with (
        serving(workspace.write("routes.yaml", routes(TARGETS, more=SMALL)).build()) as client,
        connected(client.base) as (reader, writer),
    ):
        writer.write(f"POST /api/chat HTTP/1.1\r\n{lines}\r\n\r\n".encode())
        said = await until_closed(reader)
    assert said.startswith(b"HTTP/1.1 413")
    assert form(json.loads(said.partition(b"\r\n\r\n")[2])) == "both"


async def test_too_large_content_length_is_refused_without_any_body(workspace: Workspace) -> None:
    """A request with a too large `Content-Length` gets a 413 although no byte of its body arrives."""
    async with (
        serving(workspace.write("routes.yaml", routes(TARGETS, more=SMALL)).build()) as client,
        connected(client.base) as (reader, writer),
    ):
        writer.write(b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413")


async def test_json_body_that_breaks_off_gets_a_400_in_the_form_of_the_ai_sdk(workspace: Workspace) -> None:
    """A body of the AI SDK that breaks off gets a 400 in the AI SDK's error form."""
    async with (
        serving(workspace.write("routes.yaml", routes(TARGETS)).build()) as client,
        client.session.post(f"{client.base}/api/chat", data=b'{"messages":[{"role":"user","parts":[{"type":') as response,
    ):
        answer = await response.json()
    assert (response.status, answer["code"], answer["cause"]) == (400, "bad_request:api", "bad_request")


async def test_5_mib_photo_is_accepted_by_the_default_body_limit(workspace: Workspace) -> None:
    """A chat with a `data:` URL of 5 MiB is answered with the default `server.request.body`."""
    url = "data:image/jpeg;base64," + "A" * (5 * 1024 * 1024)
    parts: list[dict[str, str]] = [{"type": "text", "text": "What is this?"}, {"type": "file", "mediaType": "image/jpeg", "url": url}]
    asked = json.dumps({"messages": [{"id": "m1", "role": "user", "parts": parts}]}).encode()
    async with (
        serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client,
        client.session.post(f"{client.base}/api/chat", data=io.BytesIO(asked)) as response,
    ):
        assert response.status == 200
