"""OpenAI's Responses API: the requests to it, and the events of its streams and bodies."""

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest

from router.chat import Ask, Call, Choice, File, Message, ReasoningState, Result, ToolSpec, issued_by
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import ContentFiltered, ContextTooLong, TargetDown, TargetError, TargetRefused
from router.events import Event, Finish, Order, Text, Thought, ToolCall, Usage
from router.params import Params
from router.targets import Connections, openai
from tests.support.provider import Provider, Reply, frame, provider

MODEL = "openai/responses/gpt-6-astra"
SPEC = ToolSpec("get_time", "The time.", {"type": "object", "properties": {}})
HI = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
ISSUER = issued_by("a", MODEL)
ITEM: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
COUNTS = {"input_tokens": 7, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}


def event(kind: str, **more: Any) -> bytes:
    """Return the event `response.<kind>` of the stream."""
    return f"event: response.{kind}\n".encode() + frame({"type": f"response.{kind}", **more})


def over(status: str = "completed", **more: Any) -> bytes:
    """Return the last event of the stream, of this status and with token counts."""
    return event(status, response={"model": "gpt-6-astra", "status": status, "usage": COUNTS, **more})


def word(text: str) -> bytes:
    """Return an event with a piece of text."""
    return event("output_text.delta", output_index=0, delta=text)


async def heard(fake: Provider, ask: Ask = HI) -> list[Event]:
    """Return all events of one answer, their order checked."""
    declared = Declared(model=Name(MODEL), api_base=fake.base, api_key=Secret("sk-test"))
    order, connections = Order(), Connections()
    try:
        async with asyncio.timeout(240), aclosing(openai.answer("a", declared, 0.5, connections)(ask)) as events:
            return [order.see(one) async for one in events]
    finally:
        await connections.close()


async def answered(*frames: bytes, ask: Ask = HI) -> list[Event]:
    """Return the events of a stream, without its Start."""
    async with provider(Reply(frames)) as fake:
        events = await heard(fake, ask)
    assert fake.headers[0][":path"] == "/v1/responses"
    return events[1:]


def said(events: list[Event]) -> str:
    """Return the text of the events."""
    return "".join(one.text for one in events if isinstance(one, Text))


async def test_responses_request_has_items_in_order_and_stores_nothing() -> None:
    """A request has messages, files, reasoning, calls and results as input items, `store: false`, and no parameter that the API lacks."""
    conversation = (
        Message("system", ("Be brief.",)),
        Message(
            "user", ("What is this?", File("image/png", "data:image/png;base64,AAAA"), File("application/pdf", "https://example.com/a.pdf"))
        ),
        Message("assistant", ("One moment.", ReasoningState(ISSUER, ITEM, "c1"), Call("c1", "get_time", {"place": "北京"}))),
        Message("tool", (Result("c1", "get_time", {"hour": 12}),)),
    )
    params = Params(temperature=0.5, seed=1, stop=("END",), presence_penalty=1, max_tokens=5, reasoning_effort="high")
    ask = Ask(model="chat-model", messages=conversation, tools=(SPEC,), choice=Choice("named", "get_time"), params=params)
    async with provider(Reply((word("Noon."), over()))) as fake:
        await heard(fake, ask)
    assert fake.requests == [
        {
            "model": "gpt-6-astra",
            "stream": True,
            "store": False,
            "max_output_tokens": 16,
            "reasoning": {"effort": "high", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "input": [
                {"role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is this?"},
                        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
                        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "output_text", "text": "One moment."}]},
                ITEM,
                {"type": "function_call", "call_id": "c1", "name": "get_time", "arguments": '{"place": "北京"}'},
                {"type": "function_call_output", "call_id": "c1", "output": '{"hour":12}'},
            ],
            "tools": [{"type": "function", "name": "get_time", "description": "The time.", "parameters": SPEC.parameters, "strict": False}],
            "tool_choice": {"type": "function", "name": "get_time"},
        }
    ]


async def test_reasoning_of_another_target_or_api_is_not_sent_to_responses() -> None:
    """A reasoning state of another target, or one from a client of another API, is left out of the input items."""
    states = (ReasoningState("b=other", ITEM), ReasoningState("", {"reasoning_content": "Hm."}))
    conversation = (
        Message("user", ("Time?",)),
        Message("assistant", (*states, Call("c1", "get_time", {}))),
        Message("tool", (Result("c1", "get_time", 12),)),
    )
    async with provider(Reply((word("Noon."), over()))) as fake:
        await heard(fake, Ask(model="chat-model", messages=conversation, tools=(SPEC,)))
    assert [one.get("type", one.get("role")) for one in fake.requests[0]["input"]] == ["user", "function_call", "function_call_output"]


async def test_responses_stream_becomes_events() -> None:
    """Reasoning summaries become thoughts with a blank line between two; then come the text, and Finish with usage and model."""
    events = await answered(
        event("created", response={"model": "gpt-6-astra", "status": "in_progress"}),
        event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="Hm."),
        event("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="So."),
        word("No"),
        word("on."),
        over(),
    )
    assert "".join(one.text for one in events if isinstance(one, Thought)) == "Hm.\n\nSo."
    assert said(events) == "Noon."
    assert events[-1] == Finish("stop", Usage(7, 5, reasoning_tokens=2), model="gpt-6-astra")


async def test_responses_call_bears_the_reasoning_before_it() -> None:
    """A reasoning item belongs to the call after it; arguments come in pieces or complete; calls of the provider's tools are ignored."""
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "get_time"}
    whole = {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "get_time", "arguments": '{"place": "Lima"}'}
    events = await answered(
        event("output_item.added", output_index=0, item={"type": "reasoning", "id": "rs_1", "summary": []}),
        event("output_item.done", output_index=0, item=ITEM),
        event("output_item.added", output_index=1, item={"type": "web_search_call", "id": "ws_1"}),
        event("output_item.added", output_index=2, item={**call, "arguments": ""}),
        event("function_call_arguments.delta", output_index=2, delta='{"pla'),
        event("function_call_arguments.delta", output_index=2, delta='ce": "Oslo"}'),
        event("output_item.done", output_index=2, item={**call, "arguments": '{"place": "Oslo"}'}),
        event("output_item.done", output_index=3, item=whole),
        over(),
        ask=Ask(model="chat-model", messages=HI.messages, tools=(SPEC,)),
    )
    assert [one for one in events if isinstance(one, ReasoningState)] == [ReasoningState(ISSUER, ITEM, "c1")]
    calls = [one for one in events if isinstance(one, ToolCall)]
    assert calls == [ToolCall("c1", "get_time", {"place": "Oslo"}), ToolCall("c2", "get_time", {"place": "Lima"})]
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "tool-calls"


@pytest.mark.parametrize(("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content-filter"), ("", "length")])
async def test_incomplete_response_becomes_its_finish_reason(reason: str, finish: str) -> None:
    """An incomplete response keeps its text, and ends with Finish `length` or `content-filter` by its reason."""
    events = await answered(word("Half"), over("incomplete", incomplete_details={"reason": reason}))
    assert said(events) == "Half"
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == finish


async def test_refusal_on_the_responses_api_is_text() -> None:
    """The words with which a model refuses become the answer's text."""
    events = await answered(event("refusal.delta", output_index=0, delta="I will not."), over())
    assert said(events) == "I will not."


FAILED: dict[str, tuple[bytes, type[TargetError]]] = {
    "failed": (over("failed", error={"code": "server_error", "message": "x"}), TargetDown),
    "failed without a word": (over("failed"), TargetDown),
    "too long": (
        over("failed", error={"code": "context_length_exceeded", "message": "Your input exceeds the context window"}),
        ContextTooLong,
    ),
    "an error event": (frame({"type": "error", "code": "server_error", "message": "x"}), TargetDown),
    "an error object": (frame({"error": {"type": "server_error", "message": "x"}}), TargetDown),
    "nothing more": (b"", TargetDown),
    "done too early": (b"data: [DONE]\n\n", TargetDown),
}


@pytest.mark.parametrize("name", FAILED)
async def test_failure_in_a_responses_stream_raises_its_target_error(name: str) -> None:
    """A failed response, an error event or a stream that ends early raises its TargetError, although text came before."""
    last, kind = FAILED[name]
    with pytest.raises(kind):
        await answered(word("Half"), last)


async def test_response_filtered_before_any_text_raises_content_filtered() -> None:
    """An incomplete response with the reason `content_filter` and no text raises ContentFiltered."""
    with pytest.raises(ContentFiltered):
        await answered(over("incomplete", incomplete_details={"reason": "content_filter"}))


async def test_400_of_the_responses_api_raises_target_refused() -> None:
    """A 400 that names no parameter raises TargetRefused after one request."""
    body = json.dumps({"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}).encode()
    async with provider(Reply(status=400, body=body)) as fake:
        with pytest.raises(TargetRefused):
            await heard(fake)
        assert len(fake.requests) == 1


async def test_unstreamed_response_is_read() -> None:
    """A complete JSON response in place of a stream becomes thoughts, text and Finish with usage."""
    output: list[dict[str, Any]] = [
        {**ITEM, "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Noon."}]},
    ]
    body = json.dumps({"object": "response", "status": "completed", "model": "gpt-6-astra", "output": output, "usage": COUNTS}).encode()
    async with provider(Reply(body=body)) as fake:
        events = await heard(fake)
    assert said(events) == "Noon."
    assert [one.text for one in events if isinstance(one, Thought)] == ["Hm."]
    assert events[-1] == Finish("stop", Usage(7, 5, reasoning_tokens=2), model="gpt-6-astra")


async def test_stop_and_low_limit_are_enforced_by_the_router_on_responses() -> None:
    """The router cuts the answer at a stop text, and at a limit below the API's minimum of 16 tokens, estimated at 4 bytes each."""
    cut = await answered(word("One END"), word(" two"), over(), ask=Ask(model="m", messages=HI.messages, params=Params(stop=("END",))))
    assert said(cut) == "One "
    assert isinstance(cut[-1], Finish)
    assert cut[-1].reason == "stop"
    short = await answered(word("Twelve bytes and more"), over(), ask=Ask(model="m", messages=HI.messages, params=Params(max_tokens=3)))
    assert said(short) == "Twelve bytes"
    assert isinstance(short[-1], Finish)
    assert short[-1].reason == "length"


CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "get_time"}
NOON = {"type": "message", "content": [{"type": "output_text", "text": "Noon."}]}
SPARSE: dict[str, tuple[bytes, ...]] = {
    "arguments that are an object": (event("output_item.done", output_index=0, item={**CALL, "arguments": {"place": "Lima"}}), over()),
    "arguments without an item that is done": (
        event("output_item.added", output_index=0, item={**CALL, "arguments": ""}),
        event("function_call_arguments.done", output_index=0, arguments='{"place": "Lima"}'),
        over(),
    ),
    "one item at two places": (
        *(event("output_item.done", output_index=at, item={**CALL, "arguments": '{"place": "Lima"}'}) for at in (0, 1)),
        over(),
    ),
    "the response at its end alone": (
        event("completed", response={"status": "completed", "output": [{**CALL, "arguments": '{"place": "Lima"}'}]}),
    ),
}


@pytest.mark.parametrize("how", SPARSE)
async def test_call_without_deltas_is_read_once(how: str) -> None:
    """A call is read once with its arguments, whichever event has them, and however often it comes."""
    events = await answered(*SPARSE[how])
    assert [one for one in events if isinstance(one, ToolCall)] == [ToolCall("c1", "get_time", {"place": "Lima"})]


@pytest.mark.parametrize(
    "frames",
    [
        (event("output_item.done", output_index=0, item=NOON), over()),
        (event("completed", response={"status": "completed", "output": [NOON]}),),
        (event("output_item.done", output_index=0, item=NOON), event("completed", response={"status": "completed", "output": [NOON]})),
        (word("Noon."), event("output_item.done", output_index=0, item=NOON), event("completed", response={"output": [NOON]})),
    ],
)
async def test_text_without_deltas_is_read_once(frames: tuple[bytes, ...]) -> None:
    """A text is read once from its deltas, else from its item, else from the response at the end."""
    events = await answered(*frames)
    assert said(events) == "Noon."
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "stop"


async def test_response_that_is_incomplete_ends_with_length_though_its_event_is_completed() -> None:
    """LiteLLM's proxy ends a cut response with `response.completed`: its own status counts, and the call is malformed."""
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    events = await answered(
        event("output_item.added", output_index=0, item={**CALL, "arguments": ""}),
        event("function_call_arguments.delta", output_index=0, delta='{"place": "Li'),
        event("completed", response=cut),
    )
    (call,) = (one for one in events if isinstance(one, ToolCall))
    assert call.malformed == '{"place": "Li'
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "length"


async def test_conversation_of_blank_text_alone_is_not_sent_as_an_empty_input() -> None:
    """A user's message without text becomes a short one: the API refuses an empty `input`."""
    async with provider(Reply((word("Noon."), over()))) as fake:
        await heard(fake, Ask(model="chat-model", messages=(Message("user", ("",)),)))
    assert fake.requests[0]["input"] == [{"role": "user", "content": "(start)"}]
