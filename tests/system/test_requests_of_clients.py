"""Requests of current front ends and SDKs, as they send them, and the right answer to each.

Libraries that a test can run are run elsewhere: this file holds the requests of those that it cannot run (Codex, Claude Code, Open WebUI,
assistant-ui, LlamaIndex, a browser, a Java client), and library fields that no other test sends. The others:

* `@ai-sdk/openai`, openai-agents, CopilotKit's adapter (a model of `@ai-sdk/openai`), the SDKs of OpenAI and Anthropic, LangChain with its three
  methods of structured output and `parallel_tool_calls: false`: tests/clients/test_sdks.py
* `useChat` of the AI SDK 4 to 7, with resume and stop: tests/clients/test_router_streams.py
* a round of both kinds of tools: tests/answering/test_client_tools.py
* bodies that are too large: tests/answering/test_manners.py
* fields that are passed on or named: tests/models/test_client_fields.py
"""

import io
import json
import logging
from typing import Any

import openai
import pytest

from tests.conftest import ROOT, Answered, Client, Workspace, direct_target, routes, serving
from tests.support.provider import Reply, calls, provider, text
from tests.support.raw import response_to
from tests.wire.readers import READERS

HI = Reply(text("Hi ", "there."))
SHELL: dict[str, Any] = {
    "type": "function",
    "name": "shell",
    "description": "Runs a shell command and returns its output.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"command": {"type": "array", "items": {"type": "string"}}, "workdir": {"type": "string"}},
        "required": ["command"],
        "additionalProperties": False,
    },
}


async def posted(client: Client, path: str, body: Any, headers: dict[str, str] | None = None) -> Answered:
    """Return the response to a JSON body with these headers."""
    typed = {"content-type": "application/json", **(headers or {})}
    async with client.session.post(client.base + path, data=io.BytesIO(json.dumps(body).encode()), headers=typed) as response:
        return Answered(response.status, {name.lower(): one for name, one in response.headers.items()}, await response.read())


def frames(answer: Answered) -> list[dict[str, Any]]:
    """Return the JSON data of each event of an SSE response."""
    lines = [line.removeprefix("data: ") for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def declared(base: str, more: str = "", server: str = "") -> str:
    """Return a routes.yaml with one direct target at this address. `more`: lines of the route; `server`: its `server` section."""
    return routes(direct_target(base), f"targets: [a]\n    retry: {{attempts: 1}}{more}", server)


CODEX = {"originator": "codex_cli_rs", "accept": "text/event-stream", "session_id": "0199", "authorization": "Bearer none"}
OF_CODEX: dict[str, Any] = {
    "model": "gpt-4",
    "instructions": "You are a coding agent running in the Codex CLI.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>read-only</permissions>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context/>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]},
    ],
    "tools": [SHELL],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": None,
    "store": False,
    "stream": True,
    "include": [],
    "prompt_cache_key": "0199",
}


async def test_codex_calls_its_shell_and_goes_on_with_the_output(workspace: Workspace) -> None:
    """Codex gets a call of its shell from /v1/responses, sends the call and its output back, and gets the next turn's text."""
    asked = Reply(calls(("call_1", "shell", '{"command":["ls"]}')))
    async with provider(asked, HI) as fake, serving(workspace.write("routes.yaml", declared(fake.base)).build()) as client:
        first = frames(await posted(client, "/v1/responses", OF_CODEX, CODEX))
        done = [one["item"] for one in first if one["type"] == "response.output_item.done"]
        output = {"type": "function_call_output", "call_id": "call_1", "output": "Exit code: 0\nOutput:\nREADME.md"}
        again = {**OF_CODEX, "input": [*OF_CODEX["input"], *done, output]}
        second = frames(await posted(client, "/v1/responses", again, CODEX))
    assert [(one["type"], one["name"], one["arguments"]) for one in done] == [("function_call", "shell", '{"command":["ls"]}')]
    assert [one["sequence_number"] for one in second] == list(range(len(second)))
    assert (second[0]["type"], second[-1]["type"]) == ("response.created", "response.completed")
    assert "".join(one["delta"] for one in second if one["type"] == "response.output_text.delta") == "Hi there."
    assert [one["role"] for one in fake.requests[1]["messages"]][-2:] == ["assistant", "tool"]


OPEN_WEBUI: dict[str, Any] = {
    "model": "gpt-4",
    "stream": True,
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {
            "type": "reasoning",
            "id": "r_1",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Look it up."}],
            "summary": None,
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}", "status": "completed"},
        {
            "type": "function_call_output",
            "id": "fco_1",
            "call_id": "call_1",
            "output": [{"type": "input_text", "text": "25°C"}],
            "status": "completed",
        },
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "It is 25°C."}],
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And tomorrow?"}]},
    ],
    "tools": [{"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}],
}


async def test_output_items_that_open_webui_sends_back_become_the_history(workspace: Workspace) -> None:
    """A Responses request of Open WebUI with earlier output items reaches the model as user, assistant and tool messages."""
    async with provider(HI) as fake, serving(workspace.write("routes.yaml", declared(fake.base)).build()) as client:
        answer = await posted(client, "/v1/responses", OPEN_WEBUI, {"authorization": "Bearer none", "x-openwebui-user-id": "1"})
    assert (answer.status, frames(answer)[-1]["type"]) == (200, "response.completed")
    roles = ["system", "user", "assistant", "tool", "assistant", "user"]
    assert [one["role"] for one in fake.requests[0]["messages"]][-len(roles) :] == roles


CLAUDE_CODE = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": (
        "claude-code-20250219,oauth-2025-04-20,interleaved-thinking-2025-05-14,thinking-token-count-2026-05-13,context-management-2025-06-27,"
        "prompt-caching-scope-2026-01-05,mid-conversation-system-2026-04-07,effort-2025-11-24,extended-cache-ttl-2025-04-11"
    ),
    "anthropic-dangerous-direct-browser-access": "true",
    "x-api-key": "none",
    "x-app": "cli",
    "user-agent": "claude-cli/2.1.0 (external, cli)",
}
CACHED = {"cache_control": {"type": "ephemeral"}}
OF_CLAUDE_CODE: dict[str, Any] = {
    "model": "gpt-4",
    "messages": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "<system-reminder>…</system-reminder>"}, {"type": "text", "text": "Hello", **CACHED}],
        },
        {"role": "system", "content": [{"type": "text", "text": "Plan mode is on.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
    ],
    "diagnostics": {"previous_message_id": None},
    "speed": "fast",
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0; cc_entrypoint=cli;"},
        {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude.", **CACHED},
    ],
    "tools": [
        {
            "name": "Bash",
            "description": "Executes a given bash command.",
            "input_schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}},
                "required": ["command"],
                "additionalProperties": False,
            },
            "eager_input_streaming": True,
        }
    ],
    "metadata": {"user_id": "user_1_account__session_1"},
    "max_tokens": 32_000,
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "medium"},
    "stream": True,
}


async def test_claude_code_runs_its_tool_and_counts_its_tokens(workspace: Workspace) -> None:
    """Claude Code's requests with all fields get a tool call, the answer after its result, and a token count."""
    asked = Reply(calls(("toolu_1", "Bash", '{"command":"ls"}')))
    async with provider(asked, HI) as fake, serving(workspace.write("routes.yaml", declared(fake.base)).build()) as client:
        first = frames(await posted(client, "/v1/messages?beta=true", OF_CLAUDE_CODE, CLAUDE_CODE))
        used = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "README.md", "is_error": False, **CACHED}
        turns = [{"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
        again = {**OF_CLAUDE_CODE, "messages": [*OF_CLAUDE_CODE["messages"], *turns]}
        second = frames(await posted(client, "/v1/messages?beta=true", again, CLAUDE_CODE))
        counted = {name: OF_CLAUDE_CODE[name] for name in ("model", "messages", "tools")}
        count = await posted(client, "/v1/messages/count_tokens?beta=true", counted, CLAUDE_CODE)
    (begun,) = [one["content_block"] for one in first if one["type"] == "content_block_start"]
    assert "Plan mode is on." in str(fake.requests[0]["messages"])
    assert (begun["type"], begun["name"], first[-2]["delta"]["stop_reason"]) == ("tool_use", "Bash", "tool_use")
    assert "".join(one["delta"].get("text", "") for one in second if one["type"] == "content_block_delta") == "Hi there."
    assert (count.status, count.json["input_tokens"] > 20) == (200, True)


async def test_context_management_that_drops_content_is_refused_by_name(workspace: Workspace) -> None:
    """A Messages request whose `context_management` would drop tool uses is a 400 that names the field."""
    edits = [{"type": "clear_tool_uses_20250919"}]
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client:
        refused = await posted(client, "/v1/messages", {**OF_CLAUDE_CODE, "context_management": {"edits": edits}}, CLAUDE_CODE)
    assert (refused.status, refused.json["error"]["type"]) == (400, "invalid_request_error")
    assert refused.json["error"]["message"] == "context_management: this is not served here."


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}
FORMS: dict[str, dict[str, Any]] = {
    "the seed's code artifact, by an OpenAI-compatible provider": {"response_format": {"type": "json_object"}, "temperature": 0},
    "llm --schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": SCHEMA}},
        "stream_options": {"include_usage": True},
    },
}


@pytest.mark.parametrize("form", FORMS)
async def test_response_format_returns_bare_json_from_a_fenced_answer(workspace: Workspace, form: str) -> None:
    """With a `response_format`, the client gets only the JSON of an answer that the model wrote in a code fence."""
    messages = [{"role": "system", "content": "You are a code generator. Reply in JSON."}, {"role": "user", "content": "Hello in Python"}]
    body = {"model": "gpt-4", "messages": messages, "stream": True, **FORMS[form]}
    fenced = Reply(text("```json\n", '{"code": "print()"}', "\n```"))
    async with provider(fenced) as fake, serving(workspace.write("routes.yaml", declared(fake.base)).build()) as client:
        answer = await posted(client, "/v1/chat/completions", body)
    heard = READERS["openai"](answer.body)
    assert (answer.status, json.loads(heard.text), heard.finish) == (200, {"code": "print()"}, "stop")


async def test_assistant_ui_request_with_tools_and_system_text_is_served(workspace: Workspace) -> None:
    """The system text and tools of an assistant-ui request reach the model, and the router leaves the call of its tool to the page."""
    body: dict[str, Any] = {
        "callSettings": {},
        "system": "Answer as a pirate.",
        "tools": {"pick_colour": {"description": "Picks.", "parameters": {"type": "object", "properties": {"name": {"type": "string"}}}}},
        "config": {},
        "id": "chat-5",
        "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Blue!"}], "metadata": {"custom": {}}}],
        "trigger": "submit-message",
        "metadata": {},
    }
    asked = Reply(calls(("c1", "pick_colour", '{"name":"blue"}')))
    async with provider(asked) as fake, serving(workspace.write("routes.yaml", declared(fake.base)).build()) as client:
        answer = await posted(client, "/api/chat", body)
    heard = READERS["ui-message-stream"](answer.body)
    assert heard.calls == [("c1", "pick_colour", {"name": "blue"})]
    assert heard.results == []
    sent = fake.requests[0]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["pick_colour"]
    assert {"role": "system", "content": "Answer as a pirate."} in sent["messages"]


async def test_photo_of_2_mb_reaches_the_model_and_one_of_9_mb_is_a_413(workspace: Workspace) -> None:
    """A photo of 2 MB as a data: URL reaches the model; one of 9 MB is a 413 with the code and message that chat pages show."""

    def body(size: int) -> dict[str, Any]:
        photo = {"type": "file", "mediaType": "image/png", "filename": "a.png", "url": f"data:image/png;base64,{'A' * size}"}
        return {"id": "c7", "messages": [{"id": "m1", "role": "user", "parts": [photo, {"type": "text", "text": "What is this?"}]}]}

    async with provider(HI) as fake, serving(workspace.write("routes.yaml", declared(fake.base)).build()) as client:
        taken, refused = await posted(client, "/api/chat", body(2_000_000)), await posted(client, "/api/chat", body(9_000_000))
    assert (taken.status, READERS["ui-message-stream"](taken.body).text) == (200, "Hi there.")
    assert fake.requests[0]["messages"][-1]["content"][0]["type"] == "image_url"
    assert (refused.status, refused.json["code"]) == (413, "bad_request:api")
    assert refused.json["message"]


async def test_preflight_of_another_port_is_refused_and_logged(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A CORS preflight from an undeclared port is a 400, and the log names the origin and the setting `server.cors.origins`."""
    more = "server: {cors: {origins: ['http://localhost:3000']}}\n"
    asked = {"origin": "http://localhost:3002", "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    with caplog.at_level(logging.INFO):
        async with (
            serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", more=more)).build()) as client,
            client.session.options(f"{client.base}/api/chat", headers=asked) as response,
        ):
            assert response.status == 400
    (logged,) = [record for record in caplog.records if "3002" in str(record.__dict__.get("fields"))]
    assert "server.cors.origins" in str(logged.__dict__["fields"])


async def test_legacy_completions_and_model_addresses_are_served(workspace: Workspace) -> None:
    """POST /v1/completions, GET /v1/models/{id} and the list of models are answered as LlamaIndex asks; the list has no unlisted route."""
    body = {"model": "gpt-4", "prompt": "Say hello", "temperature": 0.1, "stream": False}
    listed = "  title: {pipeline: chat, targets: [a], listed: false}\n"
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", more=listed)).build()) as client:
        completed = await posted(client, "/v1/completions", body)
        one, all_models = await client.get("/v1/models/gpt-4"), await client.get("/v1/models")
    assert (completed.status, completed.json["choices"][0]["text"]) == (200, "Hi")
    assert (one.status, one.json["id"]) == (200, "gpt-4")
    assert [each["id"] for each in all_models.json["data"]] == ["chat-model", "gpt-4"]


async def test_sdk_with_retries_does_not_repeat_a_request_that_the_router_retried(workspace: Workspace) -> None:
    """OpenAI's client with `max_retries=2` does not retry a failed request: the provider gets only the router's two attempts."""
    async with provider(Reply(status=500, body=b"{}")) as fake:
        made = routes(direct_target(fake.base), "targets: [a]\n    retry: {attempts: 2, backoff: 0s..0s, budget: 100%}")
        async with (
            serving(workspace.write("routes.yaml", made).build()) as client,
            openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none", max_retries=2) as sdk,
        ):
            with pytest.raises(openai.InternalServerError):
                await sdk.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hi"}])
    assert len(fake.requests) == 2


async def test_plain_route_sends_only_the_messages_of_the_client(workspace: Workspace) -> None:
    """A route with the shipped pipeline `plain` adds neither prompt nor tools to the client's messages."""
    async with provider(HI) as fake:
        shipped = f"targets:\n  {direct_target(fake.base)}routes:\n  plain: {{pipeline: plain, targets: [a]}}\n"
        workspace.write("routes.yaml", shipped).write("pipelines/plain.yaml", (ROOT / "pipelines/plain.yaml").read_text(encoding="utf-8"))
        async with serving(workspace.build()) as client:
            await posted(client, "/v1/chat/completions", {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]})
    assert fake.requests[0]["messages"] == [{"role": "user", "content": "Hi"}]
    assert "tools" not in fake.requests[0]


FORECAST = '''
async def getWeather(latitude: float, longitude: float) -> dict[str, object]:  # noqa: N802
    """Current weather at a place."""
    return {"latitude": latitude, "current": {"temperature_2m": 25.0}}
'''


async def test_object_returned_by_a_tool_is_streamed_as_an_object(workspace: Workspace) -> None:
    """A tool's returned object reaches the page as an object in the tool's part, not as text."""
    asked = Reply(calls(("c1", "getWeather", '{"latitude":48.1,"longitude":11.6}')))
    async with provider(asked, HI) as fake:
        workspace.write("tools/forecast.py", FORECAST).write("routes.yaml", declared(fake.base, "\n    tools: [forecast]"))
        async with serving(workspace.build()) as client:
            body = {"id": "c12", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Weather?"}]}]}
            answer = await posted(client, "/api/chat", body)
    heard = READERS["ui-message-stream"](answer.body)
    assert [name for _, name, _ in heard.calls] == ["getWeather"]
    assert heard.results == [("c1", {"latitude": 48.1, "current": {"temperature_2m": 25.0}}, False)]


async def test_page_gets_an_error_code_before_the_stream_and_an_error_part_within_it(workspace: Workspace) -> None:
    """A failure before the first event is a 502 with code `offline:chat`; a later one is an `error` part after the text."""
    targets = "a: {script: [{fail: down}]}\nb: {script: [{text: Half}, {fail: down}]}"
    more = "  breaks: {pipeline: chat, targets: [b], rescue: fail}\n"
    body = {"id": "c13", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]}
    async with serving(workspace.write("routes.yaml", routes(targets, more=more)).build()) as client:
        before, within = await posted(client, "/api/chat", body), await posted(client, "/api/chat/breaks", body)
    assert (before.status, before.json["code"]) == (502, "offline:chat")
    heard = READERS["ui-message-stream"](within.body)
    assert (heard.text, heard.error is not None) == ("Half", True)


async def test_reloaded_page_resumes_the_running_answer_of_its_chat(workspace: Workspace) -> None:
    """GET /api/chat/{id}/stream repeats a running answer from its start, and is a 204 for a chat without one."""
    body = {"id": "c14", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]}
    async with provider(Reply(text("Half ")[:2], hold=True)) as fake:
        patient = declared(fake.base, server="server: {resume: {grace: 60s}}\n")
        async with serving(workspace.write("routes.yaml", patient).build()) as client:
            async with client.session.post(f"{client.base}/api/chat", json=body) as first:
                begun = await first.content.readuntil(b'"Half "}\n\n')
                first.close()
            async with client.session.get(f"{client.base}/api/chat/c14/stream") as again:
                found = await again.content.readuntil(b'"Half "}\n\n')
                again.close()
            nothing = await client.get("/api/chat/other/stream")
            await client.post("/api/chat/c14/stop")
    assert found == begun
    assert (nothing.status, nothing.body) == (204, b"")


REFUSED: dict[str, Any] = {
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
    "web_search_options": {"search_context_size": "low"},
    "audio": {"voice": "alloy", "format": "wav"},
}


@pytest.mark.parametrize("name", REFUSED)
async def test_unsupported_field_is_refused_by_its_name(workspace: Workspace, name: str) -> None:
    """A chat completion with an unsupported field, such as `n: 2`, is a 400 that names the field."""
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client:
        refused = await posted(client, "/v1/chat/completions", {**body, name: REFUSED[name]})
    assert (refused.status, refused.json["error"]["message"]) == (400, f"{name}: this is not served here.")


JAVA = (
    b"POST /v1/chat/completions HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings, close\r\nContent-Length: %d\r\nHost: localhost\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/17.0.9\r\n"
    b"Content-Type: application/json\r\n\r\n%s"
)


async def test_java_client_that_offers_http_2_is_answered(workspace: Workspace) -> None:
    """A request of the JDK's HttpClient that offers h2c is answered over HTTP/1.1, and its body is read."""
    body = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hello}]}")).build()) as client:
        answer = await response_to(client.base, JAVA % (len(body), body))
    assert answer.status == 200
    assert b'"content":"Hello"' in answer.rest
