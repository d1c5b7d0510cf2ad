"""The AI SDK gateway endpoints `/v4/ai/…`: bodies, headers and answers. `@ai-sdk/gateway` is tested in tests/clients."""

import json
from typing import Any

import pytest

from router.chat import Call, Choice, File, Json, Message, OutputFormat, ReasoningState, Result
from router.config.server import RequestBounds
from router.errors import BadAsk
from router.intake import question
from router.intake.gateway_api import flat, stated
from router.intake.messages import DENIED
from tests.conftest import Answered, Client, Workspace, direct_target, routes, serving
from tests.support.apis import MORE, TARGETS
from tests.support.provider import Reply, provider, text
from tests.wire.readers import READERS

HELLO: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
MODEL = "ai-language-model-specification-version"
BOUNDS = RequestBounds()


def asked(**fields: Any) -> question.Asked:
    """Return the parsed gateway request whose body and header fields are these, with defaults for the rest."""
    given = {"prompt": HELLO, "specificationVersion": "4", "model": "gpt-4", "stream": False, **fields}
    return question.asked(given, None, "gateway", "chat-model", BOUNDS)


async def post(client: Client, body: dict[str, Any], path: str = "language-model", **headers: str) -> Answered:
    """POST one body below /v4/ai and return the whole answer. `headers`: `_` in a name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.session.post(f"{client.base}/v4/ai/{path}", json=body, headers=named) as response:
        return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())


CALLED = {"ai_language_model_id": "gpt-4", "ai_language_model_specification_version": "4"}


async def test_gateway_streaming_header_selects_stream_or_json(workspace: Workspace) -> None:
    """The header `ai-language-model-streaming` selects an event stream or one JSON result; both have the same content and usage."""
    workspace.write("routes.yaml", routes(TARGETS, "targets: [a]\n    reasoning: show", more=MORE))
    async with serving(workspace.build()) as client:
        made = await post(client, {"prompt": HELLO}, **CALLED, ai_language_model_streaming="true")
        whole = await post(client, {"prompt": HELLO}, **CALLED, ai_language_model_streaming="false")
    heard = READERS["ai-gateway"](made.body)
    assert (heard.text, heard.thoughts, heard.finish, heard.usage) == ("Hello", "Hm", "stop", (1, 2))
    assert made.headers["content-type"] == "text/event-stream"
    assert whole.json["content"] == [{"type": "reasoning", "text": "Hm"}, {"type": "text", "text": "Hello"}]
    assert (whole.json["finishReason"], whole.json["warnings"]) == ({"unified": "stop"}, [])
    assert whole.json["usage"]["inputTokens"] == {"total": 1, "noCache": 1, "cacheRead": 0, "cacheWrite": 0}
    assert whole.json["response"]["modelId"] == "script/lines"


async def test_gateway_json_result_has_router_tool_calls_with_results(workspace: Workspace) -> None:
    """A tool call that the router ran is in the JSON result as `providerExecuted` with its result; a client's call has no result."""
    script = "[{text: Wait.}, {call: get_weather, arguments: {location: Rome}}]"
    workspace.write("routes.yaml", routes(f"a: {{script: {script}}}", "targets: [a]\n    tools: [weather]\n    max_steps: 1"))
    async with serving(workspace.build()) as client:
        ours = (await post(client, {"prompt": HELLO}, **CALLED)).json
    workspace.write("routes.yaml", routes(f"a: {{script: {script}}}", "targets: [a]"))
    async with serving(workspace.build()) as client:
        theirs = (await post(client, {"prompt": HELLO}, **CALLED)).json
    said, call, result = ours["content"]
    assert (said["text"], call["providerExecuted"], call["dynamic"]) == ("Wait.", True, True)
    assert (result["toolCallId"], result["result"], result["isError"]) == (call["toolCallId"], "Rome: 25°C", False)
    assert ours["finishReason"] == {"unified": "length"}
    assert set(theirs["content"][1]) == {"type", "toolCallId", "toolName", "input"}
    assert json.loads(theirs["content"][1]["input"]) == {"location": "Rome"}
    assert theirs["finishReason"] == {"unified": "tool-calls"}


async def test_gateway_router_provider_options_reach_the_template(workspace: Workspace) -> None:
    """Fields of `providerOptions.router` reach the template; options of other providers are not sent and are listed as omitted."""
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n")
    workspace.write("pipelines/chat.j2", "{{ ask.tone }}")
    options = {"router": {"tone": "brief"}, "openai": {"store": True}}
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client:
            answer = await post(client, {"prompt": HELLO, "providerOptions": options, "headers": {"x": "y"}}, **CALLED)
        (sent,) = fake.requests
    assert sent["messages"][0]["content"] == "brief"
    assert not {"providerOptions", "headers", "store"} & set(sent)
    assert "omitted=providerOptions" in answer.headers["x-router-attempts"].replace('"', "")


async def test_gateway_refusal_has_status_and_type_of_the_gateway(workspace: Workspace) -> None:
    """A refused gateway request has the gateway's error type and status; the 404 of an unknown path lists the served ones."""
    workspace.write("routes.yaml", routes(TARGETS, "targets: [a]", more=MORE))
    async with serving(workspace.build()) as client:
        no_model = await post(client, {"prompt": HELLO}, ai_language_model_specification_version="4")
        unknown = await post(client, {"prompt": HELLO}, **{**CALLED, "ai_language_model_id": "no-such"})
        down = await post(client, {"prompt": HELLO}, **{**CALLED, "ai_language_model_id": "down"})
        older = await post(client, {"prompt": HELLO}, **{**CALLED, "ai_language_model_specification_version": "1"})
        image = await post(client, {}, "image-model")
        method = await client.get("/v4/ai/language-model")
        values = await post(client, {}, "embedding-model", ai_model_id="gpt-4", ai_embedding_model_specification_version="4")
        unversioned = await post(client, {"input": "Hi"}, "embedding-model")
    kinds = [(one.status, one.json["error"]["type"]) for one in (no_model, unknown, down, older, image, method, values, unversioned)]
    assert kinds == [
        (400, "invalid_request_error"),
        (404, "model_not_found"),
        (502, "internal_server_error"),
        (400, "invalid_request_error"),
        (404, "not_found"),
        (405, "invalid_request_error"),
        (400, "invalid_request_error"),
        (400, "invalid_request_error"),
    ]
    assert older.json["error"]["message"].startswith(f"{MODEL}: 2, 3, 4 are served here, not 1.")
    assert "POST /v4/ai/language-model, POST /v4/ai/embedding-model, GET /v4/ai/config" in image.json["error"]["message"]
    assert "/api/chat" not in image.json["error"]["message"]
    assert values.json["error"]["message"].startswith("values: ")
    assert down.json["generationId"] == down.headers["x-request-id"]


async def test_gateway_config_lists_models_with_prices_per_token(workspace: Workspace) -> None:
    """`GET /v4/ai/config` lists the models with prices in USD per token as decimal strings, without an exponent."""
    priced = "a: {model: openai/fake, api_base: 'http://127.0.0.1:1', api_key: k, price: {input: 0.15, output: 2, cached: 0.075}}\nb: {script: [{text: Hi}]}"
    workspace.write("routes.yaml", routes(priced, more="  free: {pipeline: chat, targets: [b]}\n"))
    async with serving(workspace.build()) as client:
        models = {one["id"]: one for one in (await client.get("/v4/ai/config")).json["models"]}
    assert set(models) == {"chat-model", "gpt-4", "free"}
    assert models["gpt-4"]["pricing"] == {"input": "0.00000015", "output": "0.000002", "input_cache_read": "0.000000075"}
    assert models["gpt-4"]["name"] == "openai/fake"


PNG = File("image/png", "data:image/png;base64,iVBORw0KGgo=", "a.png")
IMAGE: dict[str, Any] = {
    "type": "file",
    "mediaType": "image/png",
    "filename": "a.png",
    "data": {"type": "data", "data": "iVBORw0KGgo="},
}
CALL: dict[str, Any] = {"type": "tool-call", "toolCallId": "c1", "toolName": "look", "input": {"a": 1}}
LOOKED = Call("c1", "look", {"a": 1})


def result(output: Json) -> dict[str, Any]:
    """Return a `tool-result` part with this output for the tool call `c1`."""
    return {"type": "tool-result", "toolCallId": "c1", "toolName": "look", "output": output}


READ: dict[str, tuple[list[Any], tuple[Message, ...]]] = {
    "system": ([{"role": "system", "content": "Be brief."}], (Message("system", ("Be brief.",)),)),
    "file": ([{"role": "user", "content": [IMAGE]}], (Message("user", (PNG,)),)),
    "file at an address": (
        [{"role": "user", "content": [{"type": "file", "mediaType": "image/*", "data": {"type": "url", "url": "https://x.test/a"}}]}],
        (Message("user", (File("image/*", "https://x.test/a"),)),),
    ),
    "text file": (
        [{"role": "user", "content": [{"type": "file", "mediaType": "text/plain", "data": {"type": "text", "text": "words"}}]}],
        (Message("user", ("words",)),),
    ),
    "call that ran here": (
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Wait."},
                    {**CALL, "providerExecuted": True},
                    result({"type": "json", "value": [1]}),
                    {"type": "text", "text": "It is 1."},
                ],
            }
        ],
        (Message("assistant", ("Wait.", LOOKED)), Message("tool", (Result("c1", "look", [1]),)), Message("assistant", ("It is 1.",))),
    ),
    "call of the client's": (
        [
            {"role": "assistant", "content": [{"type": "reasoning", "text": "Hm"}, CALL]},
            {"role": "tool", "content": [result({"type": "text", "value": "found"})]},
        ],
        (
            Message("assistant", (ReasoningState("", {"reasoning_content": "Hm"}), LOOKED)),
            Message("tool", (Result("c1", "look", "found"),)),
        ),
    ),
    "error": (
        [{"role": "tool", "content": [result({"type": "error-text", "value": "It broke."})]}],
        (Message("tool", (Result("c1", "look", "It broke.", is_error=True),)),),
    ),
    "denied": (
        [{"role": "tool", "content": [result({"type": "execution-denied", "reason": "Not now."})]}],
        (Message("tool", (Result("c1", "look", f"{DENIED} Not now.", is_error=True),)),),
    ),
    "result with an image": (
        [{"role": "tool", "content": [result({"type": "content", "value": [{"type": "text", "text": "see"}, IMAGE]})]}],
        (Message("tool", (Result("c1", "look", "see", files=(PNG,)),)),),
    ),
    "input that is no object": (
        [{"role": "assistant", "content": [{**CALL, "input": "{"}]}],
        (Message("assistant", (Call("c1", "look", {"raw": "{"}),)),),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_gateway_prompt_is_converted_with_all_its_parts(name: str) -> None:
    """Each kind of gateway message, content part and tool result becomes the matching internal messages."""
    given, wanted = READ[name]
    assert asked(prompt=given).ask.messages == wanted


def test_gateway_parameters_are_converted_to_internal_names() -> None:
    """Sampling parameters, tools, tool choice and response format of the gateway become `params`, `tools`, `choice` and `output`."""
    schema: dict[str, Any] = {"type": "object"}
    ask = asked(
        maxOutputTokens=9,
        topK=3,
        reasoning="high",
        stopSequences=["END"],
        tools=[{"type": "function", "name": "look", "inputSchema": schema}],
        toolChoice={"type": "tool", "toolName": "look"},
        responseFormat={"type": "json", "schema": schema, "name": "thing"},
    ).ask
    assert ask.params.given == {"max_tokens": 9, "top_k": 3, "reasoning_effort": "high", "stop": ("END",)}
    assert (ask.tools[0].parameters, ask.choice, ask.output) == (schema, Choice("named", "look"), OutputFormat(schema, "thing"))
    assert asked(reasoning="provider-default", stopSequences=[]).ask.params.given == {}
    assert asked(responseFormat={"type": "json"}).ask.output == OutputFormat()
    assert dict(asked().ask.fields) == {}


UNSERVED: dict[str, tuple[dict[str, Any], str]] = {
    "no prompt": ({"prompt": []}, "prompt: a list with at least one message is needed."),
    "unknown role": ({"prompt": [{"role": "robot"}]}, "prompt[0].role: one of system, user, assistant, tool is needed."),
    "file of a provider": (
        {"prompt": [{"role": "user", "content": [{"type": "file", "mediaType": "image/png", "data": {"type": "reference"}}]}]},
        "prompt[0].content[0].data.type: one of data, url, text is needed; files kept by a provider are not served here.",
    ),
    "unknown part": (
        {"prompt": [{"role": "assistant", "content": [{"type": "dance"}]}]},
        "prompt[0].content[0].type: this kind of part is not known here.",
    ),
    "unknown output": (
        {"prompt": [{"role": "tool", "content": [result({"type": "x"})]}]},
        "prompt[0].content[0].output.type: one of text, json, error-text, error-json, execution-denied, content is needed.",
    ),
    "tool of a provider": (
        {"tools": [{"type": "provider", "id": "gateway.search", "name": "search", "args": {}}]},
        "tools[0].type: tools that a provider runs are not served here; functions are.",
    ),
    "choice": (
        {"toolChoice": {"type": "tool", "toolName": "other"}},
        "toolChoice.type: auto, none, required, or tool with the name of one of the tools is needed.",
    ),
    "stream": ({"stream": ""}, "stream: true or false is needed."),
}


@pytest.mark.parametrize("name", UNSERVED)
def test_gateway_body_with_invalid_field_is_refused_naming_the_field(name: str) -> None:
    """A body with a missing or unsupported field raises BadAsk, and its message names the path of that field."""
    fields, sentence = UNSERVED[name]
    with pytest.raises(BadAsk) as error:
        asked(**fields)
    assert error.value.public == sentence


def test_gateway_model_header_overrides_provider_options() -> None:
    """The model id of the header overrides `model` in `providerOptions.router`; its other fields are kept."""
    fields = {**stated({"ai-language-model-id": ("a",), MODEL: ("4",)}), "providerOptions": {"router": {"model": "b", "tone": "c"}}}
    assert (flat(fields)["model"], flat(fields)["tone"]) == ("a", "c")
