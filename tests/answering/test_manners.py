"""HTTP manners: what a client learns from headers, lists and errors besides an answer."""

from typing import Any

import pytest

from router.wire import WIRES
from tests.conftest import Workspace, routes, serving

ASKED: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_forbids_a_retry_when_the_targets_are_exhausted(workspace: Workspace, wire: str, *, stream: bool) -> None:
    """Retries of the client's SDK would multiply those that were made here; streamed or not, in every dialect."""
    targets = "a: {script: [{fail: down}]}\nb: {script: [{text: Half}, {fail: down}]}"
    more = "  breaks: {pipeline: chat, targets: [b]}\n"
    async with serving(workspace.write("routes.yaml", routes(targets, more=more)).build()) as client:
        down = await client.post(f"/api/chat?protocol={wire}", messages=ASKED, stream=stream)
        cut = await client.post(f"/api/chat/breaks?protocol={wire}", messages=ASKED, stream=False)
    assert (down.status, down.headers["x-should-retry"]) == (502, "false")
    assert (cut.status, cut.headers["x-should-retry"]) == (502, "false")


async def test_an_error_allows_a_retry_when_it_names_a_wait_or_is_the_clients(workspace: Workspace) -> None:
    """After Retry-After another try may help; of a 400 no SDK makes one."""
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


async def test_models_are_listed_with_aliases_unless_the_route_is_hidden(workspace: Workspace) -> None:
    """A hidden route is in no list; it answers, and is described where it is asked for by name."""
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


async def test_an_unknown_model_is_refused_in_the_form_of_the_client(workspace: Workspace) -> None:
    """OpenAI's, or Anthropic's where the header says so; an id may hold slashes."""
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


async def test_an_unknown_address_is_refused_in_the_form_of_its_neighbours(workspace: Workspace) -> None:
    """OpenAI's below /v1, Anthropic's below /v1/messages or for a client of its API, elsewhere one that all our front ends read."""
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


async def test_an_unknown_address_is_refused_in_the_declared_dialect(workspace: Workspace) -> None:
    """Where every client of this server is one of the AI SDK's, its error is theirs."""
    declared = routes(TARGETS, more="server: {protocol: ui-message-stream}\n")
    async with serving(workspace.write("routes.yaml", declared).build()) as client:
        answer = await client.get("/api/chats")
    assert (answer.status, answer.json["code"], answer.json["cause"]) == (404, "bad_request:api", "unknown_address")


async def test_the_refusal_of_an_unknown_address_lists_those_that_are_served(workspace: Workspace) -> None:
    """All that callers may ask, of the documentation's own table; below /v1 its addresses alone; operators' never."""
    async with serving(workspace.write("routes.yaml", routes(TARGETS)).build()) as client:
        documented = (await client.get("/openapi.json")).json["paths"]
        elsewhere, below = (await client.get("/no-such")).json["error"], (await client.get("/v1/no-such")).json["error"]["message"]
    served = {
        f"{method.upper()} {path}" for path, methods in documented.items() for method in methods if path.startswith(("/api/", "/v1/"))
    }
    listed = set(elsewhere.partition("Served are: ")[2].removesuffix(".").split(", "))
    assert listed == served
    assert {"POST /api/chat", "POST /v1/messages", "GET /v1/models/{model}"} <= listed
    assert set(below.partition("Served are: ")[2].removesuffix(".").split(", ")) == {one for one in served if " /v1/" in one}
