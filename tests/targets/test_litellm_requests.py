"""The request that each provider of the LiteLLM lane gets for one question, and the answer that is read from its own format.

The question has a system prompt, a history, a tool, a temperature, a limit and an effort. A row holds the expected request.
"""

import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
import respx
from httpx import AsyncClient, Response

from router.chat import Ask, Json, Message, ToolSpec
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import TargetRefused
from router.events import Finish, Start, Text, Usage
from router.params import Params
from router.targets import lane_of, litellm, litellm_library
from router.value import replace
from tests.support.provider import frame, text

SCHEMA: dict[str, Json] = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
ASK = Ask(
    model="chat-model",
    messages=(
        Message("system", ("Be brief.",)),
        Message("user", ("Hi",)),
        Message("assistant", ("Hello.",)),
        Message("user", ("Time?",)),
    ),
    tools=(ToolSpec("get_time", "The time.", SCHEMA),),
    params=Params(temperature=0.5, max_tokens=2000, reasoning_effort="low"),
)
SAID = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello."), ("user", "Time?"))


def plain(model: str, **more: object) -> dict[str, object]:
    """Return the question as a chat-completions body."""
    function = {"name": "get_time", "description": "The time.", "parameters": SCHEMA}
    messages = [{"role": role, "content": content} for role, content in SAID]
    made = {"model": model, "messages": messages, "tools": [{"type": "function", "function": function}], "stream": True}
    return made | {"temperature": 0.5, "max_tokens": 2000} | more


def claude(model: str, **more: object) -> dict[str, object]:
    """Return the question as an Anthropic body, for a model that takes no temperature and thinks adaptively."""
    messages = [{"role": role, "content": [{"type": "text", "text": content}]} for role, content in SAID[1:]]
    tool = {"type": "custom", "name": "get_time", "description": "The time.", "input_schema": SCHEMA}
    made = {"model": model, "system": [{"type": "text", "text": "Be brief."}], "messages": messages, "tools": [tool], "stream": True}
    thinks = {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}}
    return made | {"max_tokens": 2000} | thinks | more


def thoughtful(body: dict[str, object]) -> dict[str, object]:
    """Return the body for a model that thinks with a budget: no temperature, and a limit with room for the budget."""
    return without(body, "temperature") | BUDGET | {"max_tokens": 3024}


def without(body: Mapping[str, object], *names: str) -> dict[str, object]:
    """Return the body without these fields."""
    return {name: value for name, value in body.items() if name not in names}


BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


def converse(**more: object) -> dict[str, object]:
    """Return the question as a body of Bedrock's Converse API."""
    messages = [{"role": role, "content": [{"text": content}]} for role, content in SAID[1:]]
    tool = {"toolSpec": {"name": "get_time", "description": "The time.", "inputSchema": {"json": SCHEMA}}}
    return {"system": [{"text": "Be brief."}], "messages": messages, "toolConfig": {"tools": [tool]}, **more}


def gemini(**generation: object) -> dict[str, object]:
    """Return the question as a Gemini body."""
    return {
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": {"assistant": "model"}.get(role, role), "parts": [{"text": content}]} for role, content in SAID[1:]],
        "tools": [{"function_declarations": [{"name": "get_time", "description": "The time.", "parameters": SCHEMA}]}],
        "generationConfig": {
            **generation,
            "max_output_tokens": 2000,
            "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True},
        },
    }


def respond(said: Sequence[tuple[str, str]], **more: object) -> dict[str, object]:
    """Return the question as a body of OpenAI's Responses API, with these messages as its input."""
    return {
        "model": "gpt-5.6",
        "input": [
            {"type": "message", "role": role, "content": [{"type": f"{'out' if role == 'assistant' else 'in'}put_text", "text": content}]}
            for role, content in said
        ],
        "tools": [{"type": "function", "name": "get_time", "description": "The time.", "parameters": SCHEMA, "strict": None}],
        "max_output_tokens": 2000,
        "reasoning": {"effort": "low"},
        "store": False,
        "stream": True,
        **more,
    }


def events(*said: Mapping[str, object]) -> bytes:
    """Return these frames as named SSE events, in Anthropic's form."""
    return b"".join(b"event: " + str(one["type"]).encode() + b"\n" + frame(one) for one in said)


def packed(*said: tuple[str, Mapping[str, object]]) -> bytes:
    """Return these events in AWS's binary event stream: lengths, headers, JSON and checksums."""
    made = b""
    for kind, value in said:
        headers = b""
        for name, word in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
            headers += bytes([len(name)]) + name.encode() + b"\x07" + len(word).to_bytes(2, "big") + word.encode()
        body = json.dumps(value).encode()
        prelude = (16 + len(headers) + len(body)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
        prelude += zlib.crc32(prelude).to_bytes(4, "big")
        message = prelude + headers + body
        made += message + zlib.crc32(message).to_bytes(4, "big")
    return made


def streamed(body: bytes, kind: str = "text/event-stream") -> Response:
    """Return a 200 response whose streamed body comes in one piece."""
    return Response(200, headers={"content-type": kind}, content=body)


OPENAI = streamed(b"".join(text("No", "on.")))
ANTHROPIC = streamed(
    events(
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "usage": {"input_tokens": 11, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "No"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "on."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    )
)
GOOGLE = streamed(
    frame({"candidates": [{"content": {"role": "model", "parts": [{"text": "No"}]}, "index": 0}]})
    + frame(
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": "on."}]}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 3, "totalTokenCount": 14},
        }
    )
)
BEDROCK = streamed(
    packed(
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "No"}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "on."}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 11, "outputTokens": 3, "totalTokens": 14}, "metrics": {"latencyMs": 12}}),
    ),
    "application/vnd.amazon.eventstream",
)
OLLAMA = streamed(
    b"".join(
        json.dumps({"model": "gpt-oss:20b", "created_at": "2026-11-28T00:00:00Z", **one}).encode() + b"\n"
        for one in (
            {"message": {"role": "assistant", "content": "No"}, "done": False},
            {"message": {"role": "assistant", "content": "on."}, "done": False},
            {
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": 11,
                "eval_count": 3,
            },
        )
    ),
    "application/x-ndjson",
)
WATSONX = streamed(
    b"".join(
        b"id: 1\nevent: message\n" + frame({"id": "c1", "model": "m", "choices": choices, **more})
        for choices, more in (
            ([{"index": 0, "delta": {"role": "assistant", "content": "No"}, "finish_reason": None}], {}),
            ([{"index": 0, "delta": {"content": "on."}, "finish_reason": "stop"}], {}),
            ([], {"usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}}),
        )
    )
)
LLAMA = (
    "<|begin_of_text|>"
    + "".join(f"<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>" for role, content in SAID)
    + "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
"""The conversation in Llama 3's chat template, because Replicate takes one text."""
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Noon.", "annotations": list[Json]()}],
}
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5.6", "status": "completed", "output": [MESSAGE]}
RESPONSES = streamed(
    events(
        {"type": "response.created", "sequence_number": 0, "response": RESPONSE | {"status": "in_progress", "output": list[Json]()}},
        {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": MESSAGE | {"content": list[Json]()}},
        {
            "type": "response.output_text.delta",
            "sequence_number": 2,
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": "No",
        },
        {
            "type": "response.output_text.delta",
            "sequence_number": 3,
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": "on.",
        },
        {"type": "response.output_item.done", "sequence_number": 4, "output_index": 0, "item": MESSAGE},
        {
            "type": "response.completed",
            "sequence_number": 5,
            "response": RESPONSE | {"usage": {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14}},
        },
    )
)
PREDICTION = "https://api.replicate.com/v1/predictions/p1"
"""Address at which Replicate's answer is fetched."""


@dataclass(frozen=True)
class Row:
    """A provider: its declaration, the expected request, and its answer. `beside`: responses of other addresses needed for the answer."""

    model: str
    url: str
    headers: Mapping[str, str]
    body: Mapping[str, object]
    answer: Response = OPENAI
    declared: Mapping[str, str] = field(default_factory=dict[str, str])
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    beside: Mapping[str, Response] = field(default_factory=dict[str, Response])
    usage: Usage | None = field(default_factory=lambda: Usage(11, 3))
    """Expected usage; None if the provider reports none, or LiteLLM does not read it."""
    tools: bool = True
    """True if the provider's models take tools."""
    newer: Mapping[str, object] | None = None
    """The expected body of the newest supported LiteLLM, if it differs."""


NO_PICTURES: list[Json] = []
PICTURED = [{"role": role, "content": content, "images": NO_PICTURES} for role, content in SAID]
"""Messages in Ollama's form, with a list of pictures beside each text."""
COUNTED = {"stream_options": {"include_usage": True}}
BEARER = {"authorization": "Bearer sk-x"}
ROWS: Sequence[Row] = (
    Row(
        "gemini/gemini-3.8-flash",
        "https://generativelanguage.googleapis.com/v1alpha/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
        {"x-goog-api-key": "sk-x"},
        gemini(temperature=1.0),
        GOOGLE,
        declared={"via": "litellm"},
        newer=gemini(),  # 1.0 is what Gemini takes anyway,
    ),
    Row(
        "bedrock/anthropic.claude-sonnet-5",
        "https://bedrock-runtime.eu-central-1.amazonaws.com/model/anthropic.claude-sonnet-5/converse-stream",
        BEARER,
        converse(
            inferenceConfig={"maxTokens": 2000},
            additionalModelRequestFields={"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
            additionalModelResponseFieldPaths=["/usage/output_tokens_details"],
        ),
        BEDROCK,
        variables={"AWS_REGION": "eu-central-1"},
    ),
    Row(
        "bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        "https://bedrock-runtime.eu-central-1.amazonaws.com/model/eu.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse-stream",
        BEARER,
        converse(
            inferenceConfig={"maxTokens": 3024},
            additionalModelRequestFields=BUDGET,
            additionalModelResponseFieldPaths=["/usage/output_tokens_details"],
        ),
        BEDROCK,
        variables={"AWS_REGION": "eu-central-1"},
    ),
    Row(
        "bedrock/openai.gpt-oss-120b-1:0",
        "https://bedrock-runtime.eu-central-1.amazonaws.com/model/openai.gpt-oss-120b-1%3A0/converse-stream",
        BEARER,
        converse(
            inferenceConfig={"maxTokens": 2000, "temperature": 0.5},
            additionalModelRequestFields={"reasoning_effort": "low"},
        ),
        BEDROCK,
        variables={"AWS_REGION": "eu-central-1"},
    ),
    Row(
        "databricks/databricks-gpt-oss-120b",
        "https://adb-1.azuredatabricks.net/serving-endpoints/chat/completions",
        BEARER,
        plain("databricks-gpt-oss-120b"),
        declared={"api_base": "https://adb-1.azuredatabricks.net/serving-endpoints"},
    ),
    Row(
        "databricks/databricks-claude-sonnet-4-5",
        "https://adb-1.azuredatabricks.net/serving-endpoints/chat/completions",
        BEARER,
        thoughtful(plain("databricks-claude-sonnet-4-5")),
        declared={"api_base": "https://adb-1.azuredatabricks.net/serving-endpoints"},
    ),
    Row(
        "watsonx/ibm/granite-3-3-8b-instruct",
        "https://us-south.ml.cloud.ibm.com/ml/v1/text/chat_stream?version=2024-03-13",
        {"authorization": "Bearer token"},
        plain("ibm/granite-3-3-8b-instruct", model_id="ibm/granite-3-3-8b-instruct", project_id="p1"),
        WATSONX,
        declared={"api_base": "https://us-south.ml.cloud.ibm.com"},
        variables={"WATSONX_PROJECT_ID": "p1"},
        usage=None,
        beside={"https://iam.cloud.ibm.com/identity/token": Response(200, json={"access_token": "token", "expires_in": 3600})},
    ),
    Row(
        "replicate/meta/meta-llama-3-8b-instruct",
        "https://api.replicate.com/v1/models/meta/meta-llama-3-8b-instruct/predictions",
        {"authorization": "Token sk-x"},
        {"input": {"prompt": LLAMA, "temperature": 0.5, "max_new_tokens": 2000, "stream": True}},
        Response(201, json={"id": "p1", "status": "starting", "urls": {"get": PREDICTION}}),
        beside={PREDICTION: Response(200, json={"id": "p1", "status": "succeeded", "output": ["No", "on."]})},
        usage=None,
        tools=False,
    ),
    Row(
        "huggingface/tgi",
        "https://abc.endpoints.huggingface.cloud/v1/chat/completions",
        BEARER,
        plain("tgi", max_retries=0, **COUNTED),
        declared={"api_base": "https://abc.endpoints.huggingface.cloud/v1"},
    ),
    Row(
        "azure_ai/gpt-oss-120b",
        "https://abc.services.ai.azure.com/models/chat/completions",
        {"api-key": "sk-x"},
        plain("gpt-oss-120b", **COUNTED),
        declared={"api_base": "https://abc.services.ai.azure.com"},
    ),
    Row(
        "azure_ai/claude-sonnet-5",
        "https://abc.services.ai.azure.com/anthropic/v1/messages",
        {"x-api-key": "sk-x", "anthropic-version": "2023-06-01"},
        claude("claude-sonnet-5"),
        ANTHROPIC,
        declared={"api_base": "https://abc.services.ai.azure.com/anthropic"},
    ),
    Row(
        "snowflake/mistral-large2",
        "https://acc.snowflakecomputing.com/api/v2/cortex/v1/chat/completions",
        BEARER,
        without(plain("mistral-large2", max_completion_tokens=2000), "max_tokens"),
        variables={"SNOWFLAKE_ACCOUNT_ID": "acc"},
        usage=None,
    ),
    Row(
        "cloudflare/@cf/meta/llama-3.3-70b-instruct",
        "https://api.cloudflare.com/client/v4/accounts/acc/ai/v1/chat/completions",
        BEARER,
        plain("@cf/meta/llama-3.3-70b-instruct", **COUNTED),
        variables={"CLOUDFLARE_ACCOUNT_ID": "acc"},
    ),
    Row("github/gpt-4o", "https://models.inference.ai.azure.com/chat/completions", BEARER, plain("gpt-4o", **COUNTED)),
    Row("poe/some-model", "https://api.poe.com/v1/chat/completions", BEARER, plain("some-model", **COUNTED)),
    Row("ai21/jamba-large-1.7", "https://api.ai21.com/studio/v1/chat/completions", BEARER, plain("jamba-large-1.7")),
    Row(
        "anthropic/claude-sonnet-5",
        "https://api.anthropic.com/v1/messages",
        {"x-api-key": "sk-x", "anthropic-version": "2023-06-01", "anthropic-beta": "interleaved-thinking-2025-05-14"},
        claude("claude-sonnet-5"),
        ANTHROPIC,
        declared={"via": "litellm"},
    ),
    Row(
        "openai/gpt-4o",
        "https://api.openai.com/v1/chat/completions",
        BEARER,
        plain("gpt-4o", **COUNTED),
        declared={"via": "litellm"},
    ),
    Row(
        "openai/gpt-5.6",  # with tools it thinks through the Responses API alone
        "https://api.openai.com/v1/responses",
        BEARER,
        respond(SAID[1:], instructions="Be brief."),
        RESPONSES,
        declared={"via": "litellm"},
        newer=respond(SAID),
    ),
    Row(
        "mistral/mistral-large-4",
        "https://api.mistral.ai/v1/chat/completions",
        BEARER,
        plain("mistral-large-4", reasoning_effort="high"),
        declared={"via": "litellm"},
    ),
    Row(
        "openrouter/anthropic/claude-sonnet-5",
        "https://openrouter.ai/api/v1/chat/completions",
        BEARER,
        plain("anthropic/claude-sonnet-5", reasoning_effort="low", usage={"include": True}, **COUNTED),
        declared={"via": "litellm"},
    ),
    Row(
        "ollama_chat/gpt-oss:20b",
        "http://127.0.0.1:11434/api/chat",
        BEARER,
        without(
            plain("gpt-oss:20b", think="low", options={"temperature": 0.5, "num_predict": 2000}, messages=PICTURED),
            *("temperature", "max_tokens"),
        ),
        OLLAMA,
        declared={"via": "litellm", "api_base": "http://127.0.0.1:11434"},
    ),
)


@pytest.fixture(autouse=True)
async def _on_httpx(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Let LiteLLM use httpx, which respx can mock, in place of its aiohttp transport; polls of Replicate do not pause."""
    await litellm_library.library()
    library: Any = sys.modules["litellm"]
    monkeypatch.setattr(library, "module_level_aclient", None)  # it is made when it is first wanted: here, before the transport is another
    monkeypatch.setattr(library, "disable_aiohttp_transport", True)
    library.module_level_aclient = library.AsyncHTTPHandler()
    monkeypatch.setattr(library, "aclient_session", AsyncClient())
    monkeypatch.setattr("litellm.llms.replicate.chat.handler.REPLICATE_POLLING_DELAY_SECONDS", 0)
    library.in_memory_llm_clients_cache.flush_cache()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.model)
async def test_litellm_request_has_the_form_of_its_provider(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address, headers and body of a request are those of its row; the answer gives the text, Finish `stop` and the usage."""
    for name, value in row.variables.items():
        monkeypatch.setenv(name, value)
    declared = Declared(model=Name(row.model), api_key=Secret("sk-x"), **row.declared)  # type: ignore[arg-type]
    assert lane_of(declared)[0] == "litellm"
    ask = ASK if row.tools else replace(ASK, tools=())
    with respx.mock as mock:
        asked = mock.post(row.url).mock(return_value=row.answer)
        for address, answer in row.beside.items():
            mock.route(url=address).mock(return_value=answer)
        async with aclosing(litellm.answer("a", declared, 3)(ask)) as said:
            heard = [event async for event in said]
    assert asked.call_count == 1
    request = asked.calls.last.request
    assert json.loads(request.content) in (row.body, row.newer)
    assert {name: request.headers.get(name) for name in row.headers} == dict(row.headers)
    assert isinstance(heard[0], Start)
    assert heard[-1] == Finish("stop", row.usage)
    assert "".join(event.text for event in heard if isinstance(event, Text)) == "Noon."


@pytest.mark.parametrize("model", ["replicate/meta/meta-llama-3-8b-instruct", "predibase/llama-3-8b", "bedrock/us.deepseek.r1-v1:0"])
async def test_tools_that_litellm_would_drop_are_refused(model: str) -> None:
    """A question with tools raises TargetRefused `no_tools`, without a request, at a provider for which LiteLLM drops tools silently."""
    declared = Declared(model=Name(model), api_key=Secret("sk-x"))
    with respx.mock as mock, pytest.raises(TargetRefused) as caught:
        async with aclosing(litellm.answer("a", declared, 3)(ASK)) as said:
            await anext(said)
    assert caught.value.outcome == "no_tools"
    assert not mock.calls
