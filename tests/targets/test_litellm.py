"""The LiteLLM lane: what it sends, how it hears, and what of its errors goes further."""

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
from dataclasses import replace
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
from tests.conftest import ROOT
from tests.support.provider import DONE, Reply, calls, chunk, error, frame, joined, provider, text, usage
from tests.support.upstream import upstreams
from tests.targets import test_anthropic, test_responses

HI = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))


@pytest.fixture(autouse=True)
async def _imported() -> None:  # pyright: ignore[reportUnusedFunction]
    """The library is imported as the lane does it, without a look at the network."""
    await litellm_library.library()


async def heard(declared: Declared, ask: Ask = HI) -> list[Event]:
    order = Order()
    async with aclosing(litellm.answer("a", declared, 3)(ask)) as events:
        return [order.see(event) async for event in events]


def declared(base: str, **more: Any) -> Declared:
    return Declared(model=Name("openai/fake"), api_base=base, api_key=Secret("sk-test"), **more)


async def test_a_question_as_the_provider_gets_it() -> None:
    """Messages, tools and parameters arrive in the OpenAI form; the target's parameters lie under the request's own."""
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
async def test_tools_of_a_model_that_takes_them_through_the_responses_api_alone(effort: Effort | None) -> None:
    """LiteLLM goes there only where an effort is said: so its usual one is. Nothing is kept at the provider."""
    spec = ToolSpec("get_time", "The time.", {"type": "object", "properties": {}})
    ask = Ask(model="m", messages=HI.messages, tools=(spec,), params=Params(reasoning_effort=effort))
    usage = {**test_responses.COUNTS, "input_tokens_details": {"cached_tokens": 0}, "total_tokens": 12}
    async with provider(Reply((test_responses.word("Hi"), test_responses.over(usage=usage)))) as fake:
        target = Declared(model=Name("openai/gpt-6-astra"), api_base=fake.base, api_key=Secret("k"), via="litellm")
        assert Text("Hi") in await heard(target, ask)
    (sent,) = fake.requests
    assert fake.headers[0][":path"] == "/v1/responses"
    assert (sent["reasoning"], sent["store"]) == ({"effort": effort or "medium"}, False)


async def test_parameter_that_litellm_drops_is_named() -> None:
    """It knows no penalties of Mistral's."""
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
async def test_a_stream_as_events(what: str) -> None:
    """Each stream gives its events, nothing empty, one Finish."""
    frames, expected = HEARD[what]
    async with provider(Reply(frames)) as fake:
        assert await heard(declared(fake.base)) == expected


async def test_a_stream_is_read_through_what_is_odd_in_it() -> None:
    """What would end it for LiteLLM, or cost it words, never reaches it; it is asked for as it is, not compressed."""
    odd = b"\xef\xbb\xbf: hello\n\n", b"id: 5\n\n", b"data: []\n\n", b'data: {"choices": [{"del\n\n', b": x\n\n"
    frames = [piece for pair in zip(odd, text("Hel", "lo")[:-1], strict=True) for piece in pair]
    async with provider(Reply(frames)) as fake:
        assert await heard(declared(fake.base)) == [START, Text("Hel"), Text("lo"), Finish("stop", Usage(11, 3))]
    assert fake.headers[0]["accept-encoding"] == "identity"


async def test_calls_are_put_together() -> None:
    """Two calls whose arguments come interleaved: their pieces as they stream, then each whole, in order."""
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
async def test_an_error_is_one_of_ours(what: str) -> None:
    """Each failure is told by its type; one request was sent, whatever the libraries would like to retry."""
    reply, kind, outcome = ERRORS[what]
    async with provider(reply) as fake:
        with pytest.raises(TargetError) as caught:
            await heard(declared(fake.base))
    assert type(caught.value).__name__ == kind
    assert outcome in (None, caught.value.outcome)
    assert len(fake.requests) == 1
    if what in ("429", "504"):
        assert caught.value.retry_after == 7


async def test_a_connection_has_its_limit(tmp_path: Path) -> None:
    """With every provider, though LiteLLM tells some of them another one: minutes."""
    async with upstreams(tmp_path) as there:
        for name in ("openai", "gemini", "anthropic", "mistral", "ollama_chat"):
            target = Declared(model=Name(f"{name}/fake"), api_base=there.addresses["hole"], api_key=Secret("sk-test"))
            async with asyncio.timeout(240), aclosing(litellm.answer("a", target, 0.2)(HI)) as events:
                with pytest.raises(TargetSilent) as caught:
                    _ = [event async for event in events]
            assert caught.value.outcome == "timeout_connect"


async def test_refused_connection_is_a_failed_connection() -> None:
    """A port where nobody listens."""
    async with provider(Reply()) as fake:
        base = fake.base
    with pytest.raises(TargetDown) as caught:
        await heard(declared(base))
    assert caught.value.outcome == "connection"


async def test_a_providers_words_stay_here() -> None:
    """Nothing the provider said is in the error, nor in what it was raised from."""
    async with provider(error(401, "Incorrect API key provided: sk-canary")) as fake:
        with pytest.raises(RouterError) as caught:
            await heard(declared(fake.base))
    told = f"{caught.value} {caught.value.public} {caught.value!r} {caught.value.__dict__}"
    assert "canary" not in told
    assert "Incorrect" not in told
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("drop", [True, False], ids=["broken", "ended"])
async def test_a_cut_says_what_was_used(drop: bool) -> None:
    """A provider that counts as it goes: what it had told is not lost with the answer."""
    counts = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    async with provider(Reply((chunk({"content": "Half"}, usage=counts),), drop=drop)) as fake:
        with pytest.raises(TargetDown) as caught:
            await heard(declared(fake.base))
    assert caught.value.used == Usage(5, 1)


async def test_closing_early_closes_the_connection() -> None:
    """Whoever stops reading closes the provider's stream."""
    async with provider(Reply((chunk({"content": "Hi"}),), hold=True)) as fake:
        async with aclosing(litellm.answer("a", declared(fake.base), 3)(HI)) as events:
            async for event in events:
                if isinstance(event, Text):
                    break
        await fake.until(lambda: fake.closed == 1)


async def test_a_count_that_nobody_sent_is_not_told() -> None:
    """LiteLLM counts for itself where the provider does not; its guess is no usage."""
    async with provider(Reply((chunk({"content": "Hi"}), chunk({}, "stop")))) as fake:
        assert (await heard(declared(fake.base)))[-1] == Finish("stop", None)


@pytest.mark.parametrize("frames", [(), (chunk({"content": "Hi"}),)], ids=["none", "cut"])
async def test_an_end_that_nobody_said_is_none(frames: tuple[bytes, ...]) -> None:
    """LiteLLM says stop where the provider said nothing: it may as well have been cut off."""
    async with provider(Reply(frames)) as fake:
        with pytest.raises(TargetDown) as caught:
            await heard(declared(fake.base))
    assert caught.value.outcome == "cut"


async def test_mark_of_the_end_without_a_reason_is_an_end() -> None:
    """Some servers never say why; LiteLLM takes that for a failure."""
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
    """Though LiteLLM reads it otherwise."""
    reply, expected = SPOKEN[what]
    async with provider(reply) as fake:
        seen = await heard(declared(fake.base))
    assert joined(event for event in seen if not isinstance(event, Start | ToolInput)) == expected


async def test_packed_stream_that_ends_too_soon_is_cut() -> None:
    """A server may pack what nobody asked it to: the end that was not said is missed all the same."""
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


async def test_pause_of_anthropics_is_no_limit() -> None:
    """LiteLLM says length, at which a client would ask for the rest."""
    async with provider(Reply((PAUSED,))) as fake:
        seen = await heard(replace(declared(fake.base.removesuffix("/v1")), model=Name("anthropic/claude-x")))
    assert isinstance(seen[-1], Finish)
    assert seen[-1].reason == "other"


@pytest.mark.parametrize("reason", ["abort", "insufficient_system_resource", "error"])
async def test_an_end_that_is_an_error_is_none(reason: str) -> None:
    """LiteLLM says stop where the provider says that it broke off, or raises an error of its own: which of them depends on its version."""
    async with provider(Reply((chunk({"content": "Hi"}), chunk({}, reason), DONE))) as fake:
        with pytest.raises(TargetDown) as caught:
            await heard(declared(fake.base))
    assert caught.value.outcome == "cut"


OLLAMAS = (
    b'{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}\n'
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":1}\n'
)


async def test_the_mark_of_the_end_is_not_waited_for() -> None:
    """The reason is told: signs of life, or silence, make no other answer of it."""
    for reply in (Reply(text("Hi")[:-1], hold=True), Reply(text("Hi")[:-2], again=b": alive\n\n")):
        async with asyncio.timeout(240), provider(reply) as fake:
            assert [type(event) for event in await heard(declared(fake.base))] == [Start, Text, Finish]


async def test_an_ollama_server_is_asked_nothing_but_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM would ask it about the model when it logs the answer, on the loop, and block every other answer meanwhile: there is
    nothing to ask, and nothing is logged.
    """
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
    """LiteLLM over httpx, where respx can see it: its own transport is aiohttp's."""
    await litellm_library.library()
    library: Any = sys.modules["litellm"]
    library.disable_aiohttp_transport = True
    library.in_memory_llm_clients_cache.flush_cache()
    yield
    library.disable_aiohttp_transport = False
    library.in_memory_llm_clients_cache.flush_cache()


@pytest.mark.usefixtures("_on_httpx")
@respx.mock
async def test_anthropic_goes_out_in_its_own_form() -> None:
    """A target of another provider is translated: system prompt, key header and events are Anthropic's."""

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


def test_the_list_of_providers_is_the_librarys_own() -> None:
    """A provider we accept is one that LiteLLM knows; the usual ones are there."""
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
def test_a_provider_that_is_none_is_refused_at_load(model: str, said: str) -> None:
    """Told before anybody asks it, with the name that was meant."""
    with pytest.raises(Misfit) as caught:
        litellm_providers.check_model(model)
    assert caught.value.message.startswith(said)


ELSEWHERE = {"deepseek": "https://api.deepseek.com/beta", "together_ai": "https://api.together.ai/v1"}
"""Where LiteLLM looks for a provider that we ask at another of its addresses: the beta, and the newer name of the same host."""
ITS_OWN = {"azure", "cohere", "cohere_chat", "hosted_vllm", "lm_studio", "llamafile", "ollama_chat", "openai", "openrouter"}
"""Providers for which LiteLLM's list of addresses has none, one on this machine, or one of another API."""


LACKS = {
    "cerebras": frozenset({"reasoning_effort"}),
    "featherless_ai": frozenset({"seed"}),
    "perplexity": frozenset({"reasoning_effort"}),
    "sambanova": frozenset({"reasoning_effort", "seed"}),
}
"""What LiteLLM says that a provider lacks, and it takes: its own documents say so (providers.py), or of some models (facts.py)."""


@pytest.mark.parametrize("prefix", sorted(set(providers.PROVIDERS) - ITS_OWN))
def test_the_table_of_providers_is_the_librarys_own(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address, the variable of the key and what a provider does not know are what LiteLLM says of it."""
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


def test_vertex_is_refused_where_googles_libraries_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """At load, with what to write instead; where they are installed it is not."""
    found: dict[str, object] = {}
    monkeypatch.setattr(litellm_providers, "find_spec", found.get)
    with pytest.raises(Misfit, match=r"needs the package google-cloud-aiplatform; with a key, write `gemini/gemini-2.5-pro`"):
        litellm_providers.check_model("vertex_ai/gemini-2.5-pro")
    found["google.auth"] = "a spec"
    litellm_providers.check_model("vertex_ai/gemini-2.5-pro")


async def test_litellms_proxy_is_never_imported() -> None:
    """The library's own gateway stays where it is."""
    await litellm_library.library()
    assert "litellm" in sys.modules
    assert not [name for name in sys.modules if name.startswith("litellm.proxy.proxy_server")]


async def test_the_library_is_made_ready_once() -> None:
    """What is changed in it is changed once, not for each question."""
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
"""Providers of which an address of their own is asked as well, whatever `api_base` says: for a token, for which of their servers has a model,
or because they have no other address.
"""


def test_question_reaches_nothing_but_its_target() -> None:
    """No tokenizer, template, table of prices or description of a model is fetched, for any provider, whatever its model is called. In a
    process of its own: what LiteLLM leaves open is not this test's concern.
    """
    companies = sorted(litellm_providers.PROVIDERS - set(litellm_providers.REFUSED))
    command = [sys.executable, "-m", "tests.targets.reached", *companies]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=600)
    reached: dict[str, list[str]] = json.loads(made.stdout)
    assert sorted(reached) == companies
    beyond = {company: set(hosts) - ALSO.get(company, set()) for company, hosts in reached.items()}
    assert {company: hosts for company, hosts in beyond.items() if hosts} == {}


def test_question_reaches_nothing_past_a_declared_proxy() -> None:
    """Nor past it to a proxy of the environment: for any provider, with whichever client it is asked. What signs in at AWS asks this machine's
    own network for the credentials of its role.
    """
    companies = sorted(litellm_providers.PROVIDERS - {*litellm_providers.REFUSED, litellm_providers.OWN_CLIENT})
    command = [sys.executable, "-m", "tests.targets.reached", "--proxy", *companies]
    trap = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    made = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=600, env={**os.environ, **trap})
    reached: dict[str, list[str]] = json.loads(made.stdout)
    asked = reached.pop("asked")
    assert sorted(reached) == companies
    assert {company: hosts for company, hosts in reached.items() if hosts and not company.startswith("sagemaker")} == {}
    assert {one for company, hosts in reached.items() if company.startswith("sagemaker") for one in hosts} <= {"169.254.169.254"}
    assert {"openai", "anthropic", "azure", "gemini", "text-completion-openai", "ollama_chat", "cerebras", "databricks"} <= set(asked)
    with pytest.raises(Misfit, match="write `openai/x`"):
        litellm.answer("a", Declared(model=Name(f"{litellm_providers.OWN_CLIENT}/x"), proxy=Secret("http://proxy.test:3128")), 3)


def test_model_that_litellm_would_send_to_replicate_is_refused() -> None:
    """It goes by the name alone, wherever the target's address is, and would take the target's key along."""
    with pytest.raises(Misfit, match="not to databricks"):
        litellm.answer("a", Declared(model=Name("databricks/replicate/llama-3")), 3)
    litellm.answer("a", Declared(model=Name("replicate/meta/llama-3")), 3)


async def test_get_by_litellms_synchronous_client_raises_without_connecting() -> None:
    """It would hold up the loop, or one of the few threads of lookups, for as long as a server likes."""
    library: Any = importlib.import_module("litellm")
    templates: Any = importlib.import_module("litellm.litellm_core_utils.prompt_templates.huggingface_template_handler")
    for asks in (library.module_level_client.get, templates.get_tokenizer_config):
        with pytest.raises(httpx.ConnectError):
            asks("http://127.0.0.1:9/model")
    assert library.disable_hf_tokenizer_download is True


async def test_library_is_imported_once_for_targets_that_want_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second import would mend its transport twice: every stream would be told again twice, without the reasons of its end."""
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


async def test_connections_that_were_closed_for_everybody_are_opened_again() -> None:
    """LiteLLM's own cleanup closes the one client that its users share, and may be cut short before it is forgotten."""
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
