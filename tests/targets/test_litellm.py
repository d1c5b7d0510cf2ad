"""The LiteLLM lane: its requests, the events that it makes of responses, and its errors."""

import asyncio
import gzip
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from httpx import Response

from router.chat import Ask, Call, Message, Result, ToolSpec
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import Misfit, RouterError, TargetDown, TargetError, TargetSilent
from router.events import Event, Finish, Order, Start, Text, Thought, ToolCall, ToolInput, Usage
from router.params import Effort, Params
from router.targets import litellm, litellm_library, litellm_providers, providers
from router.value import replace
from tests.conftest import ROOT
from tests.support.provider import DONE, Reply, calls, chunk, error, frame, joined, provider, text, usage
from tests.support.upstream import upstreams
from tests.targets import test_anthropic, test_responses

HI = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))


@pytest.fixture(autouse=True)
async def _imported() -> None:  # pyright: ignore[reportUnusedFunction]
    """Import LiteLLM as the lane does, without network access."""
    await litellm_library.library()


async def heard(declared: Declared, ask: Ask = HI) -> list[Event]:
    order = Order()
    async with aclosing(litellm.answer("a", declared, 3)(ask)) as events:
        return [order.see(event) async for event in events]


def declared(base: str, **more: Any) -> Declared:
    return Declared(model=Name("openai/fake"), api_base=base, api_key=Secret("sk-test"), **more)


async def test_litellm_request_has_the_openai_form() -> None:
    """A request has OpenAI's messages, tools and parameters, the target's defaults, and the lower of two `max_tokens`."""
    spec = ToolSpec("get_time", "The time.", {"type": "object", "properties": {}})
    conversation = (
        Message("system", ("Be brief.",)),
        Message("user", ("Time?",)),
        Message("assistant", ("Let me see.", Call("c1", "get_time", {"place": "北京"}))),
        Message("tool", (Result("c1", "get_time", {"hour": 12}),)),
    )
    ask = Ask(model="chat-model", messages=conversation, tools=(spec,), params=Params(temperature=0.5, max_tokens=900))
    async with provider(Reply(text("Noon."))) as fake:
        await heard(declared(fake.base, params=Params(max_tokens=500, top_p=0.9)), ask)
    (sent,) = fake.requests
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Time?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": '{"place": "北京"}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"hour":12}'},
    ]
    assert sent["tools"][0]["function"] == {"name": "get_time", "description": "The time.", "parameters": spec.parameters}
    assert (sent["temperature"], sent["max_tokens"], sent["top_p"]) == (0.5, 500, 0.9)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})


@pytest.mark.parametrize("effort", [None, "high"])
async def test_litellm_asks_the_responses_api_if_tools_need_it(effort: Effort | None) -> None:
    """Tools for a model that takes them only there are sent to /v1/responses, with effort `medium` by default and `store: false`."""
    spec = ToolSpec("get_time", "The time.", {"type": "object", "properties": {}})
    ask = Ask(model="m", messages=HI.messages, tools=(spec,), params=Params(reasoning_effort=effort))
    usage = {**test_responses.COUNTS, "input_tokens_details": {"cached_tokens": 0}, "total_tokens": 12}
    async with provider(Reply((test_responses.word("Hi"), test_responses.over(usage=usage)))) as fake:
        target = Declared(model=Name("openai/gpt-6-astra"), api_base=fake.base, api_key=Secret("k"), via="litellm")
        assert Text("Hi") in await heard(target, ask)
    (sent,) = fake.requests
    assert fake.headers[0][":path"] == "/v1/responses"
    assert (sent["reasoning"], sent["store"]) == ({"effort": effort or "medium"}, False)


async def test_parameter_that_litellm_drops_is_listed_as_omitted() -> None:
    """Penalties, `top_k` and `verbosity`, which LiteLLM does not send to Mistral, are omitted in Start and absent from the request."""
    params = Params(presence_penalty=0.5, frequency_penalty=0.5, top_k=3, verbosity="low")
    async with provider(Reply(text("Hi"))) as fake:
        target = Declared(model=Name("mistral/mistral-small-latest"), api_base=fake.base, api_key=Secret("k"), via="litellm")
        start, *_ = await heard(target, Ask(model="m", messages=HI.messages, params=params))
    assert isinstance(start, Start)
    assert set(start.omitted) == {"presence_penalty", "frequency_penalty", "top_k", "verbosity"}
    assert not {"presence_penalty", "frequency_penalty", "top_k", "verbosity"} & set(fake.requests[0])


START = Start("a", "openai/fake")
HEARD: dict[str, tuple[tuple[bytes, ...], list[Event]]] = {
    "text": (text("Hel", "lo"), [START, Text("Hel"), Text("lo"), Finish("stop", Usage(11, 3))]),
    "a thought": (
        (chunk({"reasoning_content": "Hm."}), *text("Yes")),
        [START, Thought("Hm."), Text("Yes"), Finish("stop", Usage(11, 3))],
    ),
    "a length": (text("Hel", finish="length"), [START, Text("Hel"), Finish("length", Usage(11, 3))]),
    "null and empty deltas": (
        (chunk({"content": None}), chunk({"content": ""}), chunk({}), *text("Hi")),
        [START, Text("Hi"), Finish("stop", Usage(11, 3))],
    ),
    "an error after the end": (
        (*text("Hi")[:-1], frame({"error": {"code": 500}}), DONE),
        [START, Text("Hi"), Finish("stop", Usage(11, 3))],
    ),
    "no end marker": ((chunk({"content": "Hi"}), chunk({}, "stop"), usage(5, 1)), [START, Text("Hi"), Finish("stop", Usage(5, 1))]),
}


@pytest.mark.parametrize("what", HEARD)
async def test_litellm_stream_becomes_events(what: str) -> None:
    """A stream becomes Start, its thoughts and non-empty texts, and one Finish with usage; an error after the end is ignored."""
    frames, expected = HEARD[what]
    async with provider(Reply(frames)) as fake:
        assert await heard(declared(fake.base)) == expected


async def test_malformed_frames_do_not_reach_litellm() -> None:
    """A byte-order mark, comments, ids and invalid JSON between chunks cost no text; the stream is requested without compression."""
    odd = b"\xef\xbb\xbf: hello\n\n", b"id: 5\n\n", b"data: []\n\n", b'data: {"choices": [{"del\n\n', b": x\n\n"
    frames = [piece for pair in zip(odd, text("Hel", "lo")[:-1], strict=True) for piece in pair]
    async with provider(Reply(frames)) as fake:
        assert await heard(declared(fake.base)) == [START, Text("Hel"), Text("lo"), Finish("stop", Usage(11, 3))]
    assert fake.headers[0]["accept-encoding"] == "identity"


async def test_interleaved_tool_calls_are_assembled_through_litellm() -> None:
    """Two calls with interleaved arguments give pieces while they stream, then two complete calls in order."""
    wanted = calls(("c1", "get_weather", '{"location":"北京"}'), ("c2", "get_time", '{"place":"Tokyo"}'))
    async with provider(Reply(wanted)) as fake:
        seen = await heard(declared(fake.base))
    assert [event for event in seen if isinstance(event, ToolCall)] == [
        ToolCall("c1", "get_weather", {"location": "北京"}),
        ToolCall("c2", "get_time", {"place": "Tokyo"}),
    ]
    assert "".join(event.part for event in seen if isinstance(event, ToolInput) and event.call_id == "c1") == '{"location":"北京"}'
    assert seen[-1] == Finish("tool-calls", Usage(11, 3))


ERRORS = {
    "400": (error(400), "TargetRefused", "status_400"),
    "context length": (error(400, "maximum context length is 8192", "context_length_exceeded"), "ContextTooLong", "context_too_long"),
    "401": (error(401), "TargetDenied", "status_401"),
    "403": (error(403), "TargetDenied", "status_403"),
    "404": (error(404), "TargetDenied", "status_404"),
    "422": (error(422), "TargetRefused", "status_400"),
    "408": (error(408), "TargetDown", "status_408"),
    "504": (error(504, retry_after="7"), "TargetDown", "status_504"),
    "429": (error(429, retry_after="7"), "TargetDown", "status_429"),
    "500": (error(500), "TargetDown", "status_500"),
    "503": (error(503), "TargetDown", "status_503"),
    "an error in the stream": (Reply((frame({"error": {"message": "boom", "code": 500}}),)), "TargetDown", None),
    "a broken connection": (Reply((), drop=True), "TargetDown", None),
}


@pytest.mark.parametrize("what", ERRORS)
async def test_failure_through_litellm_raises_the_matching_target_error(what: str) -> None:
    """An error status, an error frame or a broken connection raises its TargetError after a single request, with the Retry-After."""
    reply, kind, outcome = ERRORS[what]
    async with provider(reply) as fake:
        with pytest.raises(TargetError) as caught:
            await heard(declared(fake.base))
    assert type(caught.value).__name__ == kind
    assert outcome in (None, caught.value.outcome)
    assert len(fake.requests) == 1
    if what in ("429", "504"):
        assert caught.value.retry_after == 7


async def test_connect_timeout_applies_to_each_client_of_litellm(tmp_path: Path) -> None:
    """A server that accepts no connection raises TargetSilent `timeout_connect` after the target's limit, for five providers."""
    async with upstreams(tmp_path) as there:
        for name in ("openai", "gemini", "anthropic", "mistral", "ollama_chat"):
            target = Declared(model=Name(f"{name}/fake"), api_base=there.addresses["hole"], api_key=Secret("sk-test"))
            async with asyncio.timeout(240), aclosing(litellm.answer("a", target, 0.2)(HI)) as events:
                with pytest.raises(TargetSilent) as caught:
                    _ = [event async for event in events]
            assert caught.value.outcome == "timeout_connect"


async def test_closed_port_raises_target_down_through_litellm() -> None:
    """A port on which no server listens raises TargetDown with the outcome `connection`."""
    async with provider(Reply()) as fake:
        base = fake.base
    with pytest.raises(TargetDown) as caught:
        await heard(declared(base))
    assert caught.value.outcome == "connection"


async def test_litellm_error_does_not_contain_the_providers_message() -> None:
    """An error of the router contains no word of the provider's error message, and hides the exception that it was raised from."""
    async with provider(error(401, "Incorrect API key provided: sk-canary")) as fake:
        with pytest.raises(RouterError) as caught:
            await heard(declared(fake.base))
    told = f"{caught.value} {caught.value.public} {caught.value!r} {caught.value.__dict__}"
    assert "canary" not in told
    assert "Incorrect" not in told
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("drop", [True, False], ids=["broken", "ended"])
async def test_cut_litellm_stream_reports_the_usage_so_far(drop: bool) -> None:
    """A stream that breaks off or ends without a finish reason raises TargetDown with the token counts received so far."""
    counts = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    async with provider(Reply((chunk({"content": "Half"}, usage=counts),), drop=drop)) as fake:
        with pytest.raises(TargetDown) as caught:
            await heard(declared(fake.base))
    assert caught.value.used == Usage(5, 1)


async def test_litellm_connection_closes_when_the_reader_of_events_stops() -> None:
    """Closing an answer's event iterator before its end closes LiteLLM's connection to the provider."""
    async with provider(Reply((chunk({"content": "Hi"}),), hold=True)) as fake:
        async with aclosing(litellm.answer("a", declared(fake.base), 3)(HI)) as events:
            async for event in events:
                if isinstance(event, Text):
                    break
        await fake.until(lambda: fake.closed == 1)


async def test_usage_that_litellm_estimates_is_not_reported() -> None:
    """Finish has no usage if the provider sent no token counts, although LiteLLM estimates them."""
    async with provider(Reply((chunk({"content": "Hi"}), chunk({}, "stop")))) as fake:
        assert (await heard(declared(fake.base)))[-1] == Finish("stop", None)


@pytest.mark.parametrize("frames", [(), (chunk({"content": "Hi"}),)], ids=["none", "cut"])
async def test_stream_without_an_end_is_cut_though_litellm_reports_stop(frames: tuple[bytes, ...]) -> None:
    """A stream that ends without a finish reason and `[DONE]` raises TargetDown `cut`, although LiteLLM reports `stop`."""
    async with provider(Reply(frames)) as fake:
        with pytest.raises(TargetDown) as caught:
            await heard(declared(fake.base))
    assert caught.value.outcome == "cut"


async def test_done_without_a_finish_reason_ends_a_litellm_answer() -> None:
    """A stream that ends with `[DONE]` but gave no finish reason ends with Finish `unknown`."""
    async with provider(Reply((chunk({"content": "Hi"}), DONE))) as fake:
        assert (await heard(declared(fake.base)))[1:] == [Text("Hi"), Finish("unknown", None)]


SPOKEN: dict[str, tuple[Reply, list[Event]]] = {
    "a refusal": (
        Reply((chunk({"refusal": "I can"}), chunk({"refusal": "not."}), chunk({}, "stop"), DONE)),
        [Text("I cannot."), Finish("stop")],
    ),
    "another candidate": (
        Reply((frame({"choices": [{"index": 1, "delta": {"content": "No"}}]}), chunk({"content": "Yes"}), chunk({}, "stop"), DONE)),
        [Text("Yes"), Finish("stop")],
    ),
    "two candidates in one event": (
        Reply(
            (
                frame({"choices": [{"index": at, "delta": {"content": word}} for at, word in enumerate(("Yes", "No"))]}),
                chunk({}, "stop"),
                DONE,
            )
        ),
        [Text("Yes"), Finish("stop")],
    ),
    "a reason that LiteLLM does not know": (
        Reply((chunk({"content": "Hi"}), chunk({}, "pause_turn"), DONE)),
        [Text("Hi"), Finish("other")],
    ),
    "a filter by another name": (Reply((chunk({"content": "Hi"}), chunk({}, "sensitive"), DONE)), [Text("Hi"), Finish("content-filter")]),
    "a count at Groq's place": (
        Reply((chunk({"content": "Hi"}), chunk({}, "stop", x_groq={"usage": {"prompt_tokens": 5, "completion_tokens": 2}}), DONE)),
        [Text("Hi"), Finish("stop", Usage(5, 2))],
    ),
    "a call cut at the limit": (
        Reply(
            (
                chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look", "arguments": '{"q": "a'}}]}),
                chunk({}, "length"),
                DONE,
            )
        ),
        [ToolCall("a", "look", {}, '{"q": "a'), Finish("length")],
    ),
    "an answer that is no stream": (
        Reply(body=json.dumps({"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}).encode()),
        [Text("Hi"), Finish("stop")],
    ),
}


@pytest.mark.parametrize("what", SPOKEN)
async def test_litellm_lane_corrects_what_litellm_reads_otherwise(what: str) -> None:
    """Refusals, second candidates, unknown finish reasons, Groq's counts, cut calls and unstreamed answers give the right events."""
    reply, expected = SPOKEN[what]
    async with provider(reply) as fake:
        seen = await heard(declared(fake.base))
    assert joined(event for event in seen if not isinstance(event, Start | ToolInput)) == expected


async def test_gzip_stream_without_a_finish_reason_is_cut_through_litellm() -> None:
    """An unrequested gzip stream is read, and raises TargetDown `cut` if it ends without a finish reason."""
    packed = gzip.compress(chunk({"content": "Hi"}))
    async with provider(Reply((packed,), headers={"content-encoding": "gzip"})) as fake:
        with pytest.raises(TargetDown) as caught:
            await heard(declared(fake.base))
    assert caught.value.outcome == "cut"
    packed = gzip.compress(chunk({"content": "Hi"}) + chunk({}, "stop"))
    async with provider(Reply((packed[:9], packed[9:]), headers={"content-encoding": "gzip"})) as fake:
        assert (await heard(declared(fake.base)))[1:] == [Text("Hi"), Finish("stop", None)]


PAUSED = b"".join(
    test_anthropic.said(
        test_anthropic.BEGIN,
        *test_anthropic.block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"}),
        {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    )
)


async def test_anthropic_pause_turn_finishes_as_other_through_litellm() -> None:
    """Anthropic's stop reason `pause_turn` becomes Finish `other`, although LiteLLM reports `length`."""
    async with provider(Reply((PAUSED,))) as fake:
        seen = await heard(replace(declared(fake.base.removesuffix("/v1")), model=Name("anthropic/claude-x")))
    assert isinstance(seen[-1], Finish)
    assert seen[-1].reason == "other"


@pytest.mark.parametrize("reason", ["abort", "insufficient_system_resource", "error"])
async def test_finish_reason_of_a_failure_is_cut_through_litellm(reason: str) -> None:
    """A finish reason that reports a failure, such as `abort`, raises TargetDown `cut`, whatever LiteLLM makes of it."""
    async with provider(Reply((chunk({"content": "Hi"}), chunk({}, reason), DONE))) as fake:
        with pytest.raises(TargetDown) as caught:
            await heard(declared(fake.base))
    assert caught.value.outcome == "cut"


OLLAMAS = (
    b'{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}\n'
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":1}\n'
)


async def test_litellm_answer_ends_without_waiting_for_done() -> None:
    """An answer ends after its finish reason, although `[DONE]` does not come and the connection stays open or sends comments."""
    for reply in (Reply(text("Hi")[:-1], hold=True), Reply(text("Hi")[:-2], again=b": alive\n\n")):
        async with asyncio.timeout(240), provider(reply) as fake:
            assert [type(event) for event in await heard(declared(fake.base))] == [Start, Text, Finish]


async def test_ollama_gets_a_single_request_through_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Ollama server gets one request per question: LiteLLM does not ask it about the model, and does not log the answer."""
    logged: list[object] = []

    async def log(*_: object, **__: object) -> None:
        logged.append(True)

    logging: Any = importlib.import_module("litellm.litellm_core_utils.litellm_logging")
    monkeypatch.setattr(logging.Logging, "dispatch_success_handlers", log)
    async with provider(Reply((OLLAMAS,))) as fake:
        base = fake.base.removesuffix("/v1")
        seen = await heard(Declared(model=Name("ollama_chat/m"), api_base=base))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=0.01)
        library: Any = sys.modules["litellm"]
        await asyncio.to_thread(library.get_model_info, "m", custom_llm_provider="ollama_chat", api_base=base)
    assert seen == [Start("a", "ollama_chat/m"), Text("Hi"), Finish("stop", Usage(5, 1))]
    assert len(fake.requests) == 1
    assert not logged


@pytest.fixture
async def _on_httpx() -> AsyncIterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Let LiteLLM use httpx, which respx can mock, in place of its aiohttp transport."""
    await litellm_library.library()
    library: Any = sys.modules["litellm"]
    library.disable_aiohttp_transport = True
    library.in_memory_llm_clients_cache.flush_cache()
    yield
    library.disable_aiohttp_transport = False
    library.in_memory_llm_clients_cache.flush_cache()


@pytest.mark.usefixtures("_on_httpx")
@respx.mock
async def test_litellm_asks_anthropic_in_its_own_form() -> None:
    """LiteLLM asks an Anthropic target at /v1/messages (mocked) with `x-api-key` and the target's `max_tokens`.

    Anthropic's stream becomes Start, Text and Finish.
    """

    async def stream() -> AsyncIterator[bytes]:
        for kind, data in (
            ("message_start", {"message": {"id": "m", "role": "assistant", "usage": {"input_tokens": 5, "output_tokens": 1}}}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Hi"}}),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
            ("message_stop", {}),
        ):
            yield b"event: " + kind.encode() + b"\n" + frame({"type": kind, **data})

    asked = respx.post("http://127.0.0.1:1/v1/messages").mock(
        return_value=Response(200, headers={"content-type": "text/event-stream"}, content=stream()),
    )
    target = Declared(model=Name("anthropic/claude-x"), api_base="http://127.0.0.1:1", api_key=Secret("sk-a"), params=Params(max_tokens=99))
    seen = await heard(target, HI.with_messages(Message("system", ("Be brief.",)), *HI.messages))
    assert seen == [Start("a", "anthropic/claude-x"), Text("Hi"), Finish("stop", Usage(5, 2))]
    request = asked.calls.last.request
    assert request.headers["x-api-key"] == "sk-a"
    assert b'"max_tokens":99' in request.content.replace(b": ", b":")


def test_accepted_providers_are_known_to_litellm() -> None:
    """Each provider that the router accepts is one of LiteLLM's, and the common ones are among them."""
    from litellm.types.utils import LlmProviders  # noqa: PLC0415

    known = {provider.value for provider in LlmProviders}
    assert known >= litellm_providers.PROVIDERS
    assert {
        "openai",
        "azure",
        "anthropic",
        "gemini",
        "bedrock",
        "mistral",
        "ollama_chat",
        "groq",
        "openrouter",
    } <= litellm_providers.PROVIDERS


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("opena/gpt-4o", "no provider is named `opena`; did you mean `openai/gpt-4o`?"),
        ("cohere_chat/command-r", "`cohere_chat/` via LiteLLM is refused: LiteLLM cannot stream"),
        ("openai/responses/gpt-5-pro", "`openai/responses/` via LiteLLM is refused: leave `via` out, or write `openai/gpt-5-pro`"),
        ("qqqqqqqq/x", "no provider is named `qqqqqqqq`"),
    ],
)
def test_unknown_or_unsupported_provider_is_refused_at_load(model: str, said: str) -> None:
    """A model with an unknown or unsupported provider raises Misfit, with the likely name or what to write instead where there is one."""
    with pytest.raises(Misfit) as caught:
        litellm_providers.check_model(model)
    assert caught.value.message.startswith(said)


ELSEWHERE = {"deepseek": "https://api.deepseek.com/beta", "together_ai": "https://api.together.ai/v1"}
"""Addresses of LiteLLM for providers that the router asks at another address: a beta, and a newer name of the same host."""
ITS_OWN = {"azure", "cohere", "cohere_chat", "hosted_vllm", "lm_studio", "llamafile", "ollama_chat", "openai", "openrouter"}
"""Providers for which LiteLLM has no address, one on this machine, or one of another API."""


LACKS = {
    "cerebras": frozenset({"reasoning_effort"}),
    "featherless_ai": frozenset({"seed"}),
    "perplexity": frozenset({"reasoning_effort"}),
    "sambanova": frozenset({"reasoning_effort", "seed"}),
}
"""Parameters that LiteLLM says a provider lacks, though it takes them by its own documents (providers.py) or for some models (facts.py)."""


@pytest.mark.parametrize("prefix", sorted(set(providers.PROVIDERS) - ITS_OWN))
def test_provider_table_agrees_with_litellm(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address and key variable of each direct provider agree with LiteLLM, apart from the listed exceptions.

    The missing parameters are compared too for providers that the table says lack some.
    """
    provider = providers.PROVIDERS[prefix]
    library: Any = importlib.import_module("litellm")
    monkeypatch.setenv(provider.key or f"{prefix.upper().removesuffix('_AI')}_API_KEY", "canary")
    _, found, key, base = library.get_llm_provider(model=f"{prefix}/some-model")
    assert (found, key) == (prefix, "canary")
    assert base.rstrip("/") == ELSEWHERE.get(prefix, provider.base)
    if provider.lacks:
        known = library.get_supported_openai_params("some-model", custom_llm_provider=prefix)
        ours = {"reasoning_effort", "seed", "presence_penalty", "frequency_penalty", "temperature", "top_p", "max_tokens", "stop"}
        assert ours - set(known) == provider.lacks | LACKS.get(prefix, frozenset())
        assert prefix in LACKS or ("stream_options" in known) == provider.counts


def test_check_model_refuses_vertex_without_googles_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """check_model raises Misfit for a `vertex_ai/` model, with what to write instead, and accepts it once `google.auth` is found."""
    found: dict[str, object] = {}
    monkeypatch.setattr(litellm_providers, "find_spec", found.get)
    with pytest.raises(Misfit, match=r"needs the package google-cloud-aiplatform; with a key, write `gemini/gemini-2.5-pro`"):
        litellm_providers.check_model("vertex_ai/gemini-2.5-pro")
    found["google.auth"] = "a spec"
    litellm_providers.check_model("vertex_ai/gemini-2.5-pro")


async def test_litellm_is_imported_without_its_proxy_server() -> None:
    """Once the lane has imported LiteLLM in the test's own process, no module `litellm.proxy.proxy_server` is imported."""
    await litellm_library.library()
    assert "litellm" in sys.modules
    assert not [name for name in sys.modules if name.startswith("litellm.proxy.proxy_server")]


async def test_litellm_library_is_prepared_once() -> None:
    """Two calls of `library()` return the same object, so that LiteLLM is patched once."""
    assert await litellm_library.library() is await litellm_library.library()


ALSO = {
    "gigachat": {"ngw.devices.sberbank.ru"},
    "huggingface": {"huggingface.co"},
    "replicate": {"api.replicate.com"},
    "sagemaker": {"169.254.169.254"},
    "sagemaker_chat": {"169.254.169.254"},
    "sagemaker_nova": {"169.254.169.254"},
    "watsonx": {"iam.cloud.ibm.com"},
    "watsonx_text": {"iam.cloud.ibm.com"},
}
"""Provider → hosts of its own that are asked beside `api_base`: for a token, to find a model's server, or as its only address."""


@pytest.fixture(scope="module")
def outgoing() -> dict[str, Any]:
    """Return what each provider's requests reach, as tests/targets/reached.py prints it. The environment's proxy variables name a closed port.

    A separate process asks, because LiteLLM leaves connections and threads open.
    """
    companies = sorted(litellm_providers.PROVIDERS - set(litellm_providers.REFUSED))
    proxied = [company for company in companies if company != litellm_providers.OWN_CLIENT]
    command = [sys.executable, "-m", "tests.targets.reached", *companies, "--proxy", *proxied]
    trap = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    made = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=1200, env={**os.environ, **trap})
    reached: dict[str, Any] = json.loads(made.stdout)
    assert (sorted(reached["direct"]), sorted(reached["proxied"])) == (companies, proxied)
    return reached


@pytest.mark.timeout(1200)  # every provider of LiteLLM, twice
def test_litellm_request_reaches_no_host_but_its_target(outgoing: dict[str, Any]) -> None:
    """A question to any provider looks up and reaches only the target's host, apart from the addresses listed in ALSO."""
    assert outgoing["import"] == []
    beyond = {company: set(hosts) - ALSO.get(company, set()) for company, hosts in outgoing["direct"].items()}
    assert {company: hosts for company, hosts in beyond.items() if hosts} == {}


def test_litellm_request_goes_only_through_the_declared_proxy(outgoing: dict[str, Any]) -> None:
    """A question to any provider uses the declared proxy, no other connection and no proxy of the environment.

    Exceptions: SageMaker asks the metadata address for a role; a provider with a client of its own is refused beside a proxy.
    """
    reached, asked = outgoing["proxied"], outgoing["asked"]
    assert {company: hosts for company, hosts in reached.items() if hosts and not company.startswith("sagemaker")} == {}
    assert {one for company, hosts in reached.items() if company.startswith("sagemaker") for one in hosts} <= {"169.254.169.254"}
    assert {"openai", "anthropic", "azure", "gemini", "text-completion-openai", "ollama_chat", "cerebras", "databricks"} <= set(asked)
    with pytest.raises(Misfit, match="write `openai/x`"):
        litellm.answer("a", Declared(model=Name(f"{litellm_providers.OWN_CLIENT}/x"), proxy=Secret("http://proxy.test:3128")), 3)


def test_model_that_litellm_would_send_to_replicate_is_refused() -> None:
    """A model `databricks/replicate/…` raises Misfit, because LiteLLM would send it and its key to Replicate."""
    with pytest.raises(Misfit, match="not to databricks"):
        litellm.answer("a", Declared(model=Name("databricks/replicate/llama-3")), 3)
    litellm.answer("a", Declared(model=Name("replicate/meta/llama-3")), 3)


async def test_blocking_get_of_litellm_raises_without_connecting() -> None:
    """LiteLLM's blocking GETs, which would hold up the event loop, raise ConnectError at once; tokenizer downloads are disabled."""
    library: Any = importlib.import_module("litellm")
    templates: Any = importlib.import_module("litellm.litellm_core_utils.prompt_templates.huggingface_template_handler")
    for asks in (library.module_level_client.get, templates.get_tokenizer_config):
        with pytest.raises(httpx.ConnectError):
            asks("http://127.0.0.1:9/model")
    assert library.disable_hf_tokenizer_download is True


async def test_litellm_is_imported_once_for_concurrent_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two concurrent calls of `library()` import LiteLLM once, so that its transport is patched once."""
    entered: list[int] = []
    both = threading.Barrier(2)

    def imported() -> litellm_library.Library:
        entered.append(1)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # for another that imports it as well
        return known

    known = await litellm_library.library()
    litellm_library._import.cache_clear()  # pyright: ignore[reportPrivateUsage]
    with monkeypatch.context() as patch:
        patch.setattr(litellm_library, "_imported", imported)
        assert await asyncio.gather(litellm_library.library(), litellm_library.library()) == [known, known]
    assert len(entered) == 1


async def test_litellm_client_that_was_closed_is_replaced() -> None:
    """Questions are answered after LiteLLM's shared clients were closed, and after its cleanup was cancelled half-way."""
    async with provider(Reply(text("Hello"))) as fake:
        first = await heard(declared(fake.base), HI)
        library: Any = sys.modules["litellm"]
        for client in list(library.in_memory_llm_clients_cache.cache_dict.values()):
            await client.close()
        assert await heard(declared(fake.base), HI) == first
        closing = asyncio.create_task(litellm_library.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert await heard(declared(fake.base), HI) == first


async def test_empty_result_is_kept_for_mistral_through_litellm() -> None:
    """A tool's empty result reaches Mistral as a text: LiteLLM leaves out a message without one, and Mistral refuses a call without it."""
    turn = (Message("assistant", (Call("abcdefghi", "get_time", {}),)), Message("tool", (Result("abcdefghi", "get_time", ""),)))
    async with provider(Reply(text("Noon."))) as fake:
        target = Declared(model=Name("mistral/mistral-large-latest"), api_base=fake.base, api_key=Secret("sk-test"))
        await heard(target, Ask(model="m", messages=(Message("user", ("Time?",)), *turn)))
    last = fake.requests[0]["messages"][-1]
    assert (last["role"], last["tool_call_id"], last["content"]) == ("tool", "abcdefghi", "(empty)")
