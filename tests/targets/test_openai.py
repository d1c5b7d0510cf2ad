"""The OpenAI lane: its requests, and the events and errors that it makes of responses."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from router.chat import Ask, Call, File, Message, ReasoningState, Result, ToolSpec
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import Misfit, TargetDown, TargetError, TargetSilent
from router.events import Event, Finish, Order, Start, Text, Thought, ToolCall, ToolInput, Usage
from router.params import Params
from router.targets import Connections, http, openai
from router.value import replace as changed
from tests.support.provider import DONE, Reply, chunk, error, frame, joined, provider, text, usage

HI = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
START = Start("a", "openai/fake")
NOTHING: dict[str, Any] = {}


def declared(base: str, model: str = "openai/fake", **more: Any) -> Declared:
    """Return a target at this address."""
    return Declared(model=Name(model), api_base=base, api_key=Secret("sk-test"), **more)


async def heard(target: Declared, ask: Ask = HI) -> list[Event]:
    """Return all events of one answer, their order checked; close the connections."""
    order, connections = Order(), Connections()
    try:
        async with asyncio.timeout(240), aclosing(openai.answer("a", target, 0.5, connections)(ask)) as events:
            return [order.see(event) async for event in events]
    finally:
        await connections.close()


async def test_openai_request_has_messages_tools_and_parameters() -> None:
    """A request has the messages, tools and parameters in OpenAI's form, the lower of two `max_tokens`, and the key as a bearer token."""
    conversation = (
        Message("system", ("Be brief.",)),
        Message("user", ("Time?",)),
        Message("assistant", (Call("c1", "get_time", {"place": "北京"}),)),
        Message("tool", (Result("c1", "get_time", {"hour": 12}),)),
    )
    ask = Ask(model="chat-model", messages=conversation, tools=(TOOL,), params=Params(temperature=0.5, max_tokens=900))
    async with provider(Reply(text("Noon."))) as fake:
        await heard(declared(fake.base, params=Params(max_tokens=500)), ask)
    assert fake.headers[0]["authorization"] == "Bearer sk-test"
    assert fake.requests == [
        {
            "model": "fake",
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.5,
            "max_tokens": 500,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Time?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": '{"place": "北京"}'}}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": '{"hour":12}'},
            ],
            "tools": [{"type": "function", "function": {"name": "get_time", "description": "The time.", "parameters": TOOL.parameters}}],
        },
    ]


TOOL = ToolSpec("get_time", "The time.", {"type": "object", "properties": {}})


@pytest.mark.parametrize("given", ["target", "question"])
async def test_parameters_follow_the_tools_of_each_question(given: str) -> None:
    """`parallel_tool_calls` is sent only beside tools, `prediction` only without them, be they the target's own or the question's."""
    params = Params(parallel_tool_calls=False, prediction="Noon.", temperature=0.5)
    ask = changed(HI, params=params) if given == "question" else HI
    connections, omitted = Connections(), list[tuple[str, ...]]()
    async with provider(Reply(text("Hi"))) as fake:
        spoken = openai.answer("a", declared(fake.base, params=params if given == "target" else Params()), 0.5, connections)
        for one in (ask, changed(ask, tools=(TOOL,)), ask):
            omitted += [event.omitted async for event in spoken(one) if isinstance(event, Start)]
    await connections.close()
    assert ["parallel_tool_calls" in sent for sent in fake.requests] == [False, True, False]
    assert ["prediction" in sent for sent in fake.requests] == [True, False, True]
    assert omitted == [(), ("prediction",), ()]


NOT_PLAIN: dict[str, tuple[Message, Any]] = {
    "a name": (Message("user", ("Hi",), "ada"), {"role": "user", "content": "Hi", "name": "ada"}),
    "two texts": (Message("user", ("Hi, ", "you")), {"role": "user", "content": "Hi, you"}),
    "a file": (
        Message("user", ("Look", File("image/png", "data:image/png;base64,aGk="))),
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}],
        },
    ),
}


@pytest.mark.parametrize("what", NOT_PLAIN)
async def test_question_that_is_not_plain_is_written_in_full(what: str) -> None:
    """A message with a name, several texts or a file is sent with all of them, after plain ones too."""
    message, sent = NOT_PLAIN[what]
    before = (Message("user", ("Hello",)), Message("assistant", ("Yes?",)))
    async with provider(Reply(text("Hi"))) as fake:
        await heard(declared(fake.base), changed(HI, messages=(*before, message)))
    assert fake.requests[0]["messages"] == [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes?"}, sent]


async def test_plain_question_with_fields_that_no_target_gets_reports_them_as_omitted() -> None:
    """Fields that concern the operator's account are omitted from a plain question, and from none after it; the request is the same."""
    connections, omitted = Connections(), list[tuple[str, ...]]()
    async with provider(Reply(text("Hi"))) as fake:
        spoken = openai.answer("a", declared(fake.base), 0.5, connections)
        for ask in (HI, changed(HI, unsent=("metadata",)), HI):
            omitted += [event.omitted async for event in spoken(ask) if isinstance(event, Start)]
    await connections.close()
    assert omitted == [(), ("metadata",), ()]
    assert fake.requests[0] == fake.requests[1] == fake.requests[2]


async def test_thinking_model_gets_max_completion_tokens_and_no_temperature() -> None:
    """o4-mini gets `max_completion_tokens` and an effort, but no temperature; Mistral gets `max_tokens` and temperature 0."""
    async with provider(Reply(text("Hi"))) as fake:
        ask = Ask(model="m", messages=HI.messages, params=Params(temperature=0, max_tokens=40, reasoning_effort="low"))
        await heard(declared(fake.base, "openai/o4-mini"), ask)
        await heard(declared(fake.base, "mistral/small"), ask)
    first, second = fake.requests
    assert {"max_completion_tokens": 40, "reasoning_effort": "low"}.items() <= first.items()
    assert not {"temperature", "max_tokens"} & set(first)
    assert (second["temperature"], second["max_tokens"], "stream_options" in second) == (0, 40, False)


def whole(message: dict[str, Any], **more: Any) -> Reply:
    """Return a complete JSON answer in place of a stream."""
    return Reply(body=json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more}).encode())


HEARD: dict[str, tuple[Reply, list[Event]]] = {
    "an invalid frame, passed over": (
        Reply((chunk({"content": "Hel"}), b'data: {"choices": [{"del\n\n', *text("lo"))),
        [START, Text("Hel"), Text("lo"), Finish("stop", Usage(11, 3))],
    ),
    "frames of another kind": (
        Reply((frame([1]), frame({"type": "ping"}), frame(None), frame({"choices": [{"delta": 5}]}), b"event: x\n: hi\n\n", *text("Hi"))),
        [START, Text("Hi"), Finish("stop", Usage(11, 3))],
    ),
    "content after the finish, ignored": (
        Reply((chunk({"content": "Hi"}, "stop"), chunk({"content": " there"}), usage(), DONE)),
        [START, Text("Hi"), Finish("stop", Usage(11, 3))],
    ),
    "another candidate, ignored": (
        Reply((frame({"choices": [{"index": 1, "delta": {"content": "No"}}]}), *text("Yes"))),
        [START, Text("Yes"), Finish("stop", Usage(11, 3))],
    ),
    "side fields of other types": (
        Reply(
            (
                frame({"choices": [{"index": "0", "delta": {"content": "Hel", "tool_calls": NOTHING}}], "usage": 0}),
                frame({"choices": [5, {"index": 0.5, "delta": {"content": "lo", "tool_calls": "no"}}], "x_groq": "no"}),
                frame({"choices": [{"delta": {"content": "!"}, "finish_reason": False}], "usage": {"prompt_tokens": "soon"}}),
                frame({"choices": [{"delta": "", "finish_reason": "stop"}]}),
                frame({"choices": None, "usage": {"prompt_tokens": "3", "completion_tokens": 4, "completion_tokens_details": 0}}),
                DONE,
            )
        ),
        [START, Text("Hello!"), Finish("stop", Usage(3, 4))],
    ),
    "ids that are numbers": (
        Reply(
            (
                chunk({"tool_calls": [{"index": 0, "id": 7, "function": {"name": "t", "arguments": '{"a":'}}]}),
                chunk({"tool_calls": [{"index": "0", "id": 7, "function": {"name": 1, "arguments": "1}"}}]}),
                chunk({}, "tool_calls"),
                DONE,
            )
        ),
        [START, ToolCall("7", "t", {"a": 1}), Finish("tool-calls")],
    ),
    "reasoning under its other name": (
        Reply((chunk({"reasoning": "Hm."}), *text("Yes"))),
        [START, Thought("Hm."), Text("Yes"), Finish("stop", Usage(11, 3))],
    ),
    "half a pair": (
        Reply((chunk({"content": "a\ud83d"}), chunk({"content": "\ude00"}), chunk({}, "stop"))),
        [START, Text("a"), Text("😀"), Finish("stop")],
    ),
    "arguments as an object": (
        Reply((chunk({"tool_calls": [{"id": "c", "function": {"name": "t", "arguments": {"a": 1}}}]}), chunk({}, "tool_calls"), DONE)),
        [START, ToolCall("c", "t", {"a": 1}), Finish("tool-calls")],
    ),
    "no stream at all": (
        whole({"content": "Hi", "reasoning_content": "Hm."}, usage={"prompt_tokens": 1, "completion_tokens": 2}),
        [START, Thought("Hm."), Text("Hi"), Finish("stop", Usage(1, 2))],
    ),
    "an end without a reason": (Reply((chunk({"content": "Hi"}), DONE)), [START, Text("Hi"), Finish("unknown")]),
    "a reason, and then nothing more": (
        Reply((chunk({"content": "Hi"}), chunk({}, "stop"), usage(5, 1)), hold=True),
        [START, Text("Hi"), Finish("stop", Usage(5, 1))],
    ),
    "a reason, and then signs of life for ever": (
        Reply((chunk({"content": "Hi"}), chunk({}, "stop")), again=b": alive\n\n"),
        [START, Text("Hi"), Finish("stop")],
    ),
    "a reason, the count, and then words for ever": (
        Reply((chunk({"content": "Hi"}), chunk({}, "stop"), usage(5, 1)), again=chunk({"content": "."})),
        [START, Text("Hi"), Finish("stop", Usage(5, 1))],
    ),
    "a reason, and then an error": (
        Reply((chunk({"content": "Hi"}), chunk({}, "stop"), frame({"error": {"code": 500}}))),
        [START, Text("Hi"), Finish("stop")],
    ),
    "a reason, and an error in the same read": (
        Reply((chunk({"content": "Hi"}) + chunk({}, "stop") + usage(5, 1) + frame({"error": "boom"}),)),
        [START, Text("Hi"), Finish("stop", Usage(5, 1))],
    ),
    "a reason, and then a frame without end": (
        Reply((chunk({"content": "Hi"}), chunk({}, "stop"), b"data: " + b"x" * 6_000_000, b"x" * 6_000_000)),
        [START, Text("Hi"), Finish("stop")],
    ),
    "a count that ends with zeros": (
        Reply((chunk({"content": "Hi"}), chunk({}, "stop"), usage(5, 1), usage(0, 0), DONE)),
        [START, Text("Hi"), Finish("stop", Usage(5, 1))],
    ),
    "a reason, and then a broken connection": (
        Reply((chunk({"content": "Hi"}), chunk({}, "stop"), usage(5, 1)), drop=True),
        [START, Text("Hi"), Finish("stop", Usage(5, 1))],
    ),
}


@pytest.mark.parametrize("what", HEARD)
async def test_unusual_openai_stream_gives_the_complete_answer(what: str) -> None:
    """Invalid frames, odd types, JSON instead of a stream, or anything after the finish reason leave text, calls and usage complete."""
    reply, expected = HEARD[what]
    async with provider(reply) as fake:
        seen = await heard(declared(fake.base))
    assert joined(event for event in seen if type(event).__name__ != "ToolInput") == joined(expected)


async def test_texts_of_one_read_become_one_event() -> None:
    """Neighbouring texts of one read become one event, as do thoughts; a call between two texts keeps its place."""
    thought = chunk({"reasoning_content": "Hm"}), chunk({"reasoning_content": "."})
    called = chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"at":1}'}}]})
    frames = [*thought, chunk({"content": "Hel"}), chunk({"content": "lo"}), called, chunk({"content": "!"}), chunk({}, "stop"), DONE]
    async with provider(Reply((b"".join(frames),))) as fake:
        seen = await heard(declared(fake.base))
    made: list[Event] = [Thought("Hm."), Text("Hello"), ToolInput("c1", "look", '{"at":1}'), Text("!")]
    made += [ReasoningState("a=openai/fake", {"reasoning_content": "Hm."})]
    made += [ToolCall("c1", "look", {"at": 1}), Finish("tool-calls")]
    assert seen == [START, *made]


@pytest.mark.parametrize("kind", ["", "application/json", "text/html; charset=utf-8"])
async def test_stream_with_a_wrong_content_type_is_read_as_it_arrives(kind: str) -> None:
    """A stream with a missing or wrong content type gives its first text before the rest arrives."""
    gate = asyncio.Event()
    connections = Connections()
    odd = b"\xef\xbb\xbf\n: hello\n\n"
    for first in (b"", odd):
        gate.clear()
        frames = (first + chunk({"content": "Hel"}), *text("lo"))
        async with asyncio.timeout(240), provider(Reply(frames, headers={"content-type": kind}, gate=gate)) as fake:
            events = openai.answer("a", declared(fake.base), 0.5, connections)(HI)
            assert [await anext(events), await anext(events)] == [START, Text("Hel")]
            gate.set()
            assert joined([event async for event in events]) == [Text("lo"), Finish("stop", Usage(11, 3))]
            await connections.close()


async def test_mislabelled_body_is_recognised_when_it_arrives_byte_by_byte() -> None:
    """An event stream or a JSON answer, labelled application/json, gives its text when it arrives a byte at a time."""
    body = whole({"content": "Hi"}).body or b""
    for said in (b"".join(text("Hi")), b"  " + body):
        pieces = [said[at : at + 1] for at in range(len(said))]
        async with provider(Reply(pieces, headers={"content-type": "application/json"})) as fake:
            assert joined(await heard(declared(fake.base)))[:2] == [START, Text("Hi")]


async def test_text_before_an_error_in_the_same_read_is_yielded() -> None:
    """Text that arrives in one read with an error frame is yielded before TargetDown is raised."""
    broken = b"".join([chunk({"content": "Hel"}), chunk({"content": "lo"}), frame({"error": {"code": 500}})])
    connections = Connections()
    async with provider(Reply((broken,))) as fake:
        events = openai.answer("a", declared(fake.base), 0.5, connections)(HI)
        assert [await anext(events), await anext(events)] == [START, Text("Hello")]
        with pytest.raises(TargetDown):
            await anext(events)
        await connections.close()


WRONG: dict[str, tuple[Reply, str, str]] = {
    "400": (error(400), "TargetRefused", "status_400"),
    "too long": (error(400, "maximum context length is 8192"), "ContextTooLong", "context_too_long"),
    "filtered": (error(400, "flagged by our content_filter"), "ContentFiltered", "content_filter"),
    "401": (error(401), "TargetDenied", "status_401"),
    "408": (error(408), "TargetDown", "status_408"),
    "422": (error(422), "TargetRefused", "status_422"),
    "429": (error(429, retry_after="7"), "TargetDown", "status_429"),
    "500": (error(500), "TargetDown", "status_500"),
    "a redirect": (Reply(status=302, body=b"", headers={"location": "http://127.0.0.1:1/"}), "TargetRefused", "redirect"),
    "a page": (Reply(body=b"<html>502</html>", headers={"content-type": "text/html"}), "TargetDown", "malformed"),
    "an error under 200": (Reply(body=b'{"error":{"message":"no","code":503}}'), "TargetDown", "status_503"),
    "an error in the stream": (Reply((frame({"error": {"message": "boom", "code": 529}}),)), "TargetDown", "status_529"),
    "an error without a code": (Reply((chunk({"content": "Hi"}), frame({"error": "boom"}))), "TargetDown", "status_500"),
    "an error after the end of nothing": (Reply((chunk({}, "length"), frame({"error": {"code": 503}}))), "TargetDown", "status_503"),
    "a broken connection": (Reply((chunk({"content": "Hi"}),), drop=True), "TargetDown", "cut"),
    "an end without a finish": (Reply((chunk({"content": "Hi"}),)), "TargetDown", "cut"),
    "an end that is an error": (Reply((chunk({"content": "Hi"}), chunk({}, "error"), DONE)), "TargetDown", "cut"),
    "an empty body": (Reply(()), "TargetDown", "cut"),
    "a frame without end": (Reply((b"data: " + b"x" * 6_000_000, b"x" * 6_000_000)), "TargetDown", "malformed"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_failure_on_the_openai_wire_raises_the_matching_target_error(what: str) -> None:
    """A failure raises its TargetError after a single request, without the provider's message, and with its Retry-After."""
    reply, kind, outcome = WRONG[what]
    async with provider(reply) as fake:
        with pytest.raises(TargetError) as caught:
            await heard(declared(fake.base))
    assert (type(caught.value).__name__, caught.value.outcome) == (kind, outcome)
    assert len(fake.requests) == 1
    assert "boom" not in f"{caught.value!r} {caught.value.__cause__!r}"
    if what == "429":
        assert caught.value.retry_after == 7


@pytest.mark.parametrize("how", ["hold", "drop"])
async def test_error_status_counts_though_its_body_hangs_or_breaks_off(how: str) -> None:
    """A 429 whose body hangs or breaks off raises TargetDown `status_429` with its Retry-After.
    A hanging body is waited for until EXPLAIN seconds have passed.
    """
    begun = replace(error(429, retry_after="7"), hold=how == "hold", drop=how == "drop")
    begun = replace(begun, headers={**begun.headers, "content-length": "9999"})
    async with provider(begun) as fake:
        with pytest.raises(TargetDown) as caught:
            await heard(declared(fake.base))
    assert (caught.value.outcome, caught.value.retry_after) == ("status_429", 7)


async def test_deeply_nested_error_document_raises_target_down() -> None:
    """An error document of 900 to 999 nested objects raises TargetDown."""
    deep = [b'{"error":' * depth + b"1" + b"}" * depth for depth in range(900, 1_000)]
    async with provider(*(Reply(body=one) for one in deep)) as fake:
        for _ in deep:
            with pytest.raises(TargetDown):
                await heard(declared(fake.base))


async def test_closed_port_raises_target_down() -> None:
    """A port on which no server listens raises TargetDown with the outcome `connection`."""
    async with provider(Reply()) as fake:
        base = fake.base
    with pytest.raises(TargetDown) as down:
        await heard(declared(base))
    assert down.value.outcome == "connection"


async def test_openai_connection_closes_when_the_reader_of_events_stops() -> None:
    """Closing an answer's event iterator before its end closes the connection to the provider."""
    connections = Connections()
    async with provider(Reply((chunk({"content": "Hi"}),), hold=True)) as fake:
        async with aclosing(openai.answer("a", declared(fake.base), 3, connections)(HI)) as events:
            async for event in events:
                if isinstance(event, Text):
                    break
        await fake.until(lambda: fake.closed == 1)
        await connections.close()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Declared(model=Name("groq/x")), "groq/ needs a key: write `api_key: ${GROQ_API_KEY}`"),
        (Declared(model=Name("together_ai/x")), "together_ai/ needs a key: write `api_key: ${TOGETHER_API_KEY}`"),
        (Declared(model=Name("hosted_vllm/x")), "hosted_vllm/ needs an address: write `api_base: http://host:port/v1`"),
    ],
)
async def test_missing_key_or_address_is_refused_at_load(target: Declared, said: str) -> None:
    """A target without its provider's key or address raises Misfit with the line to write."""
    with pytest.raises(Misfit) as caught:
        openai.answer("a", target, 3, Connections())
    assert caught.value.message == said


async def test_ollama_is_asked_on_the_openai_wire() -> None:
    """An `ollama_chat/` target is asked on the OpenAI wire, whether or not its `api_base` ends with /v1."""
    for cut in ("/v1", ""):
        async with provider(Reply(text("Hi"))) as fake:
            seen = await heard(declared(fake.base.removesuffix(cut), "ollama_chat/llama3.2"))
        assert seen[1] == Text("Hi")
        assert fake.requests[0]["model"] == "llama3.2"


def test_connect_timeout_becomes_target_silent() -> None:
    """A TimeoutError of a connection attempt is translated to TargetSilent, the error of a target that did not answer in time."""
    assert isinstance(http.translated("a", TimeoutError()), TargetSilent)


def ollamas(call_id: str, name: str, arguments: str) -> bytes:
    """Return a chunk with a complete call and index 0, as Ollama sends it."""
    function = {"name": name, "arguments": arguments}
    return chunk(
        {"role": "assistant", "content": "", "tool_calls": [{"id": call_id, "index": 0, "type": "function", "function": function}]}
    )


@pytest.mark.parametrize("ids", [("call_1", "call_2"), ("call_1", "call_1"), ("", "")])
async def test_parallel_tool_calls_of_ollama_get_distinct_ids(ids: tuple[str, str]) -> None:
    """Two calls with index 0, and with different, equal or no ids, become two calls with distinct ids."""
    said = (chunk({"role": "assistant", "content": "", "reasoning": "Hm."}), ollamas(ids[0], "get_time", "{}"))
    said += (ollamas(ids[1], "get_weather", '{"city":"北京"}'), chunk({"content": ""}, "tool_calls"), usage(9, 4), DONE)
    async with provider(Reply(said)) as fake:
        seen = await heard(declared(fake.base, "ollama_chat/qwen3"))
    made = [event for event in seen if isinstance(event, ToolCall)]
    assert [(call.name, call.arguments) for call in made] == [("get_time", {}), ("get_weather", {"city": "北京"})]
    assert len({call.call_id for call in made}) == 2
    assert seen[1] == Thought("Hm.")
    assert seen[-1] == Finish("tool-calls", Usage(9, 4))


async def test_effort_minimal_becomes_low_for_ollama() -> None:
    """Effort `minimal`, which Ollama refuses, is sent as `low`."""
    ask = Ask(model="m", messages=HI.messages, params=Params(reasoning_effort="minimal"))
    async with provider(Reply(text("Hi"))) as fake:
        await heard(declared(fake.base, "ollama_chat/qwen3"), ask)
    assert fake.requests[0]["reasoning_effort"] == "low"


async def test_parameter_that_a_provider_refuses_is_left_out() -> None:
    """Z.ai and Nscale are sent no `seed` and no effort, and Nscale no `stream_options`."""
    ask = Ask(model="m", messages=HI.messages, params=Params(temperature=0, seed=1, reasoning_effort="low"))
    async with provider(Reply(text("Hi"))) as fake:
        await heard(declared(fake.base, "zai/glm-4.6"), ask)
        await heard(declared(fake.base, "nscale/x"), ask)
    first, second = fake.requests
    assert first["temperature"] == 0
    assert not {"seed", "reasoning_effort"} & {*first, *second}
    assert "stream_options" in first
    assert "stream_options" not in second


AZURE = {
    "a deployment": ("", None, "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"),
    "with a slash": ("/", None, "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"),
    "with openai": ("/openai", None, "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"),
    "another version": ("", "2025-04-01-preview", "/openai/deployments/my-gpt/chat/completions?api-version=2025-04-01-preview"),
    "the newer surface": ("/openai/v1/", None, "/openai/v1/chat/completions"),
    "the newer surface, a preview": ("/openai/v1", "preview", "/openai/v1/chat/completions?api-version=preview"),
}


@pytest.mark.parametrize("what", AZURE)
async def test_azure_request_has_azures_path_version_and_key_header(what: str) -> None:
    """An Azure request has the deployment's path with a version, or /openai/v1; the key in `api-key`; the deployment as model."""
    path, version, wanted = AZURE[what]
    async with provider(Reply(text("Hi"))) as fake:
        base = fake.base.removesuffix("/v1") + path
        seen = await heard(declared(base, "azure/my-gpt", api_version=version))
    assert seen[1] == Text("Hi")
    assert fake.headers[0][":path"] == wanted
    assert fake.headers[0]["api-key"] == "sk-test"
    assert "authorization" not in fake.headers[0]
    assert fake.requests[0]["model"] == "my-gpt"


@pytest.mark.parametrize(("given", "said"), [({"api_base": None}, "needs an address"), ({"api_key": None}, "needs a key")])
def test_azure_target_without_address_or_key_is_refused_at_load(given: dict[str, Any], said: str) -> None:
    """An Azure target without `api_base` or `api_key` raises Misfit."""
    target: dict[str, Any] = {"api_base": "http://127.0.0.1:1", "api_key": Secret("sk-test"), **given}
    with pytest.raises(Misfit, match=said):
        openai.answer("a", Declared(model=Name("azure/my-gpt"), **target), 3, Connections())


async def test_azure_filter_on_the_prompt_raises_content_filtered() -> None:
    """An Azure 400 with the code `content_filter` raises ContentFiltered."""
    told = {"message": "The response was filtered", "type": None, "param": "prompt", "code": "content_filter", "status": 400}
    body = json.dumps({"error": {**told, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}).encode()
    async with provider(Reply(body=body, status=400)) as fake:
        with pytest.raises(TargetError) as caught:
            await heard(declared(fake.base.removesuffix("/v1"), "azure/my-gpt"))
    assert type(caught.value).__name__ == "ContentFiltered"


AZURES = (
    frame({"choices": [], "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": NOTHING}]}),
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Half"}),
    frame({"choices": [{"index": 0, "finish_reason": None, "content_filter_results": NOTHING, "content_filter_offsets": NOTHING}]}),
)


async def test_azure_filter_on_the_answer_finishes_it() -> None:
    """An answer that Azure's filter stops keeps its text and ends with Finish `content-filter`; filter results give no events."""
    async with provider(Reply((*AZURES, chunk({}, "content_filter"), DONE))) as fake:
        seen = await heard(declared(fake.base.removesuffix("/v1"), "azure/my-gpt"))
    assert seen == [Start("a", "azure/my-gpt"), Text("Half"), Finish("content-filter", None)]


async def test_azure_filter_error_in_a_stream_raises_content_filtered() -> None:
    """An error frame with the code `content_filter` and no status raises ContentFiltered."""
    async with provider(Reply((*AZURES, frame({"error": {"code": "content_filter", "message": "filtered"}})))) as fake:
        with pytest.raises(TargetError) as caught:
            await heard(declared(fake.base.removesuffix("/v1"), "azure/my-gpt"))
    assert type(caught.value).__name__ == "ContentFiltered"
