"""The Anthropic lane: the requests that it sends, and the events that it makes of responses."""

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest

from router.chat import Ask, Call, Choice, File, Json, Message, Result, ToolSpec
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import Misfit, TargetError
from router.events import Event, Finish, Order, Start, Text, Thought, ToolCall, ToolInput, Usage
from router.params import Params
from router.targets import Connections, anthropic, facts_of
from router.value import replace
from tests.support.provider import Reply, error, joined, provider

HI = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
START = Start("a", "anthropic/claude-haiku-4-5")
MODEL = Declared(model=Name("anthropic/claude-haiku-4-5"), api_key=Secret("sk-a"))


def declared(base: str) -> Declared:
    """Return a Claude target at this address."""
    return Declared(model=Name("anthropic/claude-haiku-4-5"), api_base=base, api_key=Secret("sk-a"))


async def heard(target: Declared, ask: Ask = HI) -> list[Event]:
    """Return all events of one answer, their order checked; close the connections."""
    order, connections = Order(), Connections()
    try:
        async with asyncio.timeout(240), aclosing(anthropic.answer("a", target, 0.5, connections)(ask)) as events:
            return [order.see(event) async for event in events]
    finally:
        await connections.close()


def said(*frames: dict[str, Any]) -> tuple[bytes, ...]:
    """Return these frames as SSE events of Anthropic's stream."""
    return tuple(f"event: {frame['type']}\ndata: {json.dumps(frame)}\n\n".encode() for frame in frames)


BEGIN: dict[str, Any] = {
    "type": "message_start",
    "message": {"usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1}},
}
END: tuple[dict[str, Any], ...] = (
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
)


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the frames of one content block: its start, its deltas and its stop."""
    pieces = ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
    return (
        {"type": "content_block_start", "index": index, "content_block": start},
        *pieces,
        {"type": "content_block_stop", "index": index},
    )


async def test_anthropic_request_has_alternating_turns_and_anthropics_headers() -> None:
    """An Anthropic request has alternating turns, system messages joined in `system`, and `max_tokens` even if the client gave no limit.

    Tool results stand in a user turn. The key goes in `x-api-key`, beside `anthropic-version`; no `authorization` header is sent.
    """
    spec = ToolSpec("get_time", "The time.", {"type": "object", "properties": {}})
    conversation = (
        Message("system", ("Be brief.",)),
        Message("user", ("Time?",)),
        Message("user", ("In two places.",)),
        Message("assistant", ("Let me see.", Call("call:1", "get_time", {"place": "UTC"}), Call("c2", "get_time", {}))),
        Message("tool", (Result("call:1", "get_time", {"hour": 12}), Result("c2", "get_time", "No such place.", is_error=True))),
        Message("system", ("And kind.",)),
    )
    ask = Ask(model="m", messages=conversation, tools=(spec,), params=Params(temperature=1.5, top_p=0.5, stop=("END",)))
    async with provider(Reply(said(BEGIN, *block(0, {"type": "text", "text": "Noon."}), *END))) as fake:
        await heard(declared(fake.base), ask)
    assert fake.headers[0]["x-api-key"] == "sk-a"
    assert fake.headers[0]["anthropic-version"] == "2023-06-01"
    assert "authorization" not in fake.headers[0]
    assert fake.requests == [
        {
            "model": "claude-haiku-4-5",
            "stream": True,
            "max_tokens": 8192,
            "system": "Be brief.\n\nAnd kind.",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Time?"}, {"type": "text", "text": "In two places."}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "Let me see."},
                        {"type": "tool_use", "id": "call_1", "name": "get_time", "input": {"place": "UTC"}},
                        {"type": "tool_use", "id": "c2", "name": "get_time", "input": {}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "call_1", "content": '{"hour":12}'},
                        {"type": "tool_result", "tool_use_id": "c2", "content": "No such place.", "is_error": True},
                    ],
                },
            ],
            "tools": [{"name": "get_time", "description": "The time.", "input_schema": spec.parameters}],
            "stop_sequences": ["END"],
            "temperature": 1.0,
        },
    ]


def asked(ask: Ask) -> dict[str, Json]:
    """Return the request body that Claude gets for this question."""
    made, _ = anthropic.request(ask, ask.params, facts_of(MODEL), "claude-haiku-4-5")
    return made


def test_thinking_is_not_requested_after_tool_calls_without_their_thoughts() -> None:
    """Effort `low` requests thinking: a budget of 1,024 tokens, added to `max_tokens`, and no temperature.

    After a tool call whose thought is missing, thinking is not requested.
    """
    thinking = Ask(model="m", messages=HI.messages, params=Params(reasoning_effort="low", temperature=0, max_tokens=100))
    made = asked(thinking)
    assert made["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert (made["max_tokens"], "temperature" in made) == (1124, False)
    called = thinking.with_messages(*HI.messages, Message("assistant", (Call("c", "t", {}),)), Message("tool", (Result("c", "t", 1),)))
    assert "thinking" not in asked(called)


async def test_finish_names_the_model_that_anthropic_reports() -> None:
    """Finish carries the model name of the response, streamed or not; a missing name, or one with a space, becomes an empty text."""
    for named, told in (("claude-haiku-4-5-20251001", "claude-haiku-4-5-20251001"), ("two words", ""), (None, "")):
        begin = {"type": "message_start", "message": {"model": named}}
        whole = {"model": named, "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
        stream = Reply(said(begin, *block(0, {"type": "text", "text": "Hi"}), *END))
        for reply in (stream, Reply(body=json.dumps(whole).encode())):
            async with provider(reply) as fake:
                end = (await heard(declared(fake.base)))[-1]
            assert isinstance(end, Finish)
            assert end.model == told


HEARD: dict[str, tuple[tuple[dict[str, Any], ...], list[Event]]] = {
    "text": (
        (BEGIN, {"type": "ping"}, *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"}), *END),
        [START, Text("Hi"), Finish("stop", Usage(7, 9, 2))],
    ),
    "a thought, its signature, and text": (
        (
            BEGIN,
            *block(
                0,
                {"type": "thinking", "thinking": ""},
                {"type": "thinking_delta", "thinking": "Hm."},
                {"type": "signature_delta", "signature": "x"},
            ),
            *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"}),
            *END,
        ),
        [START, Thought("Hm."), Text("Hi"), Finish("stop", Usage(7, 9, 2))],
    ),
    "calls, one without arguments": (
        (
            BEGIN,
            *block(
                0,
                {"type": "tool_use", "id": "c1", "name": "get_time", "input": {}},
                {"type": "input_json_delta", "partial_json": ""},
                {"type": "input_json_delta", "partial_json": '{"place":"北'},
                {"type": "input_json_delta", "partial_json": '京"}'},
            ),
            *block(1, {"type": "tool_use", "id": "c2", "name": "now", "input": {}}),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
            {"type": "message_stop"},
        ),
        [START, ToolCall("c1", "get_time", {"place": "北京"}), ToolCall("c2", "now", {}), Finish("tool-calls", Usage(7, 9, 2))],
    ),
    "a tool that Anthropic runs itself": (
        (
            BEGIN,
            *block(
                0,
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
                {"type": "input_json_delta", "partial_json": "{}"},
            ),
            *block(1, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}),
            *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Found."}),
            *END,
        ),
        [START, Text("Found."), Finish("stop", Usage(7, 9, 2))],
    ),
    "side fields of other types": (
        (
            {"type": "message_start", "message": {"content": 5, "usage": {"input_tokens": "5", "cache_read_input_tokens": 2}}},
            {"type": "content_block_start", "index": "0", "content_block": {"type": "text", "text": "H", "id": None, "name": None}},
            {"type": "content_block_delta", "index": None, "delta": {"type": "text_delta", "text": "i", "partial_json": 0}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "!"}, "usage": []},
            *END,
        ),
        [START, Text("Hi!"), Finish("stop", Usage(7, 9, 2))],
    ),
    "half a pair": (
        (
            BEGIN,
            *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a\ud83d"}, {"type": "text_delta", "text": "\ude00"}),
            *END,
        ),
        [START, Text("a"), Text("😀"), Finish("stop", Usage(7, 9, 2))],
    ),
}


@pytest.mark.parametrize("what", HEARD)
async def test_anthropic_stream_becomes_events(what: str) -> None:
    """Blocks of a stream become thoughts, text and tool calls, then Finish with usage; tools that Anthropic runs itself are skipped."""
    frames, expected = HEARD[what]
    async with provider(Reply(said(*frames))) as fake:
        seen = await heard(declared(fake.base))
    assert joined(event for event in seen if not isinstance(event, ToolInput)) == joined(expected)


LATER: dict[str, dict[str, Any]] = {
    "the input alone, without what came from the cache": {"input_tokens": 10, "output_tokens": 5},
    "nothing but the output": {"output_tokens": 5},
    "zeros": {"input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 5},
    "nulls": {"input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 5},
    "all of it": {"input_tokens": 10, "cache_read_input_tokens": 1000, "output_tokens": 5},
}


@pytest.mark.parametrize("what", LATER)
async def test_later_usage_count_does_not_lower_an_earlier_one(what: str) -> None:
    """Counts that `message_delta` omits, or gives as null or all zero, do not lower those of `message_start`.

    Reported as api7/aisix#712 and envoyproxy/ai-gateway#2290.
    """
    begin = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "cache_read_input_tokens": 1000, "output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": LATER[what]}
    frames = (begin, *block(0, {"type": "text", "text": "Hi"}), end, {"type": "message_stop"})
    async with provider(Reply(said(*frames))) as fake:
        seen = await heard(declared(fake.base))
    assert seen[-1] == Finish("stop", Usage(1010, 5, 1000))


ANSWERED = b'{"content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}'


async def test_unstreamed_message_gives_the_events_of_a_stream() -> None:
    """A complete JSON message in place of a stream becomes Start, Text and Finish with its token counts."""
    async with provider(Reply(body=ANSWERED)) as fake:
        assert await heard(declared(fake.base)) == [START, Text("Hi"), Finish("stop", Usage(1, 2))]


async def test_error_frame_after_the_stop_reason_is_ignored() -> None:
    """An error frame that follows the frame with the stop reason does not change the answer, which ends normally."""
    told = said(BEGIN, *TEXT, END[0], {"type": "error", "error": {"type": "overloaded_error"}})
    async with provider(Reply(told)) as fake:
        seen = await heard(declared(fake.base))
    assert joined(seen) == [START, Text("Hi"), Finish("stop", Usage(7, 9, 2))]


TEXT = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})
WRONG: dict[str, tuple[Reply, str, str]] = {
    "401": (error(401), "TargetDenied", "status_401"),
    "529": (error(529), "TargetDown", "status_529"),
    "too long": (error(400, "prompt is too long: 210000 tokens > 200000 maximum"), "ContextTooLong", "context_too_long"),
    "overloaded in the stream": (
        Reply(said(BEGIN, *TEXT, {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}})),
        "TargetDown",
        "status_529",
    ),
    "an error of no kind": (Reply(said(BEGIN, {"type": "error", "error": "boom"})), "TargetDown", "status_500"),
    "an error under 200": (Reply(body=b'{"type":"error","error":{"type":"rate_limit_error"}}'), "TargetDown", "status_429"),
    "a refusal before the first word": (
        Reply(said(BEGIN, {"type": "message_delta", "delta": {"stop_reason": "refusal"}}, {"type": "message_stop"})),
        "ContentFiltered",
        "content_filter",
    ),
    "an end without a reason": (Reply(said(BEGIN, *TEXT)), "TargetDown", "cut"),
    "a broken connection": (Reply(said(BEGIN, *TEXT), drop=True), "TargetDown", "cut"),
    "a page": (Reply(body=b"<html>", headers={"content-type": "text/html"}), "TargetDown", "malformed"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_failure_at_anthropic_raises_the_matching_target_error(what: str) -> None:
    """An error status or frame, an early refusal, a cut stream or an HTML page raises its TargetError, without the provider's message."""
    reply, kind, outcome = WRONG[what]
    async with provider(reply) as fake:
        with pytest.raises(TargetError) as caught:
            await heard(declared(fake.base))
    assert (type(caught.value).__name__, caught.value.outcome) == (kind, outcome)
    assert "boom" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_connection_closes_when_the_reader_of_events_stops() -> None:
    """Closing an answer's event iterator before its end closes the connection to the provider."""
    connections = Connections()
    async with provider(Reply(said(BEGIN, *TEXT), hold=True)) as fake:
        async with aclosing(anthropic.answer("a", declared(fake.base), 3, connections)(HI)) as events:
            async for event in events:
                if isinstance(event, Text):
                    break
        await fake.until(lambda: fake.closed == 1)
        await connections.close()


def test_anthropic_target_without_a_key_is_refused_at_load() -> None:
    """Opening an Anthropic target with neither `api_key` nor `api_base` raises Misfit with the line to write."""
    with pytest.raises(Misfit) as caught:
        anthropic.answer("a", Declared(model=Name("anthropic/claude-haiku-4-5")), 3, Connections())
    assert caught.value.message == "anthropic/ needs a key: write `api_key: ${ANTHROPIC_API_KEY}`"


def test_files_become_anthropic_image_and_document_blocks() -> None:
    """A file becomes an image or document block, with base64 data for a data: URL, and with the URL itself for an https address."""
    parts = (
        "look",
        File("image/png", "data:image/png;base64,iVBORw0KGgo="),
        File("image/svg+xml", "data:image/svg+xml,%3Csvg/%3E"),
        File("application/pdf", "https://x.example/a.pdf", "a.pdf"),
    )
    (turn,) = anthropic.turns(Ask(model="m", messages=(Message("user", parts),)))
    assert turn == {
        "role": "user",
        "content": [
            {"type": "text", "text": "look"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/svg+xml", "data": "PHN2Zy8+"}},
            {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
        ],
    }


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(), None),
        (Choice("none"), {"type": "none"}),
        (Choice("required"), {"type": "any"}),
        (Choice("named", "look"), {"type": "tool", "name": "look"}),
    ],
    ids=str,
)
def test_tool_choice_is_translated_for_anthropic(choice: Choice, said: dict[str, str] | None) -> None:
    """Tool choice auto is not sent; none, required and named become `none`, `any` and `tool`. The last two turn thinking off."""
    ask = replace(HI, tools=(ToolSpec("look", "", {"type": "object"}),), choice=choice, params=Params(reasoning_effort="low"))
    made = asked(ask)
    assert made.get("tool_choice") == said
    assert ("thinking" in made) == (choice.kind in ("auto", "none"))


async def test_cut_anthropic_stream_reports_the_usage_so_far() -> None:
    """A connection that drops in the middle of an answer raises TargetError `cut` with the token counts received so far."""
    frames = said(BEGIN, *block(0, {"type": "text"}, {"type": "text_delta", "text": "Half"})[:2])
    async with provider(Reply(frames, drop=True)) as fake:
        with pytest.raises(TargetError) as caught:
            await heard(declared(fake.base))
    assert (caught.value.outcome, caught.value.used) == ("cut", Usage(7, 1, 2))


@pytest.mark.parametrize("stop", [("\n",), ("\n", "END")])
async def test_answer_is_cut_at_a_blank_stop_text_that_claude_refuses(stop: tuple[str, ...]) -> None:
    """Claude takes no stop text of white space: it is not sent, and the router ends the answer there itself."""
    reply = Reply(said(BEGIN, *block(0, {"type": "text", "text": "one\ntwo"}), *END))
    async with provider(reply) as fake:
        seen = await heard(declared(fake.base), Ask(model="m", messages=HI.messages, params=Params(stop=stop)))
    assert "".join(event.text for event in seen if isinstance(event, Text)) == "one"
    assert isinstance(seen[-1], Finish)
    assert seen[-1].reason == "stop"
    assert fake.requests[0].get("stop_sequences", []) == [one for one in stop if one.strip()]


async def test_stop_that_a_model_refuses_is_learned_and_cut() -> None:
    """A Claude model that refuses `stop_sequences` is asked again without them, and the router ends the answer at the text."""
    refused = {"type": "error", "error": {"type": "invalid_request_error", "message": "stop_sequences: Extra inputs are not permitted"}}
    replies = (
        Reply(status=400, body=json.dumps(refused).encode()),
        Reply(said(BEGIN, *block(0, {"type": "text", "text": "one END two"}), *END)),
    )
    async with provider(*replies) as fake:
        seen = await heard(declared(fake.base), Ask(model="m", messages=HI.messages, params=Params(stop=("END",))))
    assert "".join(event.text for event in seen if isinstance(event, Text)) == "one "
    assert ["stop_sequences" in one for one in fake.requests] == [True, False]
