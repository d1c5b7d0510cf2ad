"""Errors inside a stream or in place of an answer: each form, on the direct lanes and on the LiteLLM lane."""

import json
from collections.abc import Callable

import pytest

from router.errors import ContentFiltered, TargetDenied, TargetDown, TargetError
from router.events import Event, Finish, Start, Text
from router.targets import anthropic_reader, http, openai, responses
from router.targets.retold import SseNormalizer
from router.targets.speech import Speech
from tests.support.provider import DONE, Reply, chunk, frame, provider
from tests.targets.test_openai import declared, heard

OVERLOADED = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
SHAPES: dict[str, tuple[bytes, type[TargetError], str]] = {
    "an object": (frame({"error": OVERLOADED}), TargetDown, "status_503"),
    "a text in an object": (frame({"error": "boom"}), TargetDown, "status_500"),
    "a text beside a code": (frame({"error": "Content Exists Risk", "code": 400}), ContentFiltered, "content_filter"),
    "a list (Google)": (frame([{"error": OVERLOADED}]), TargetDown, "status_503"),
    "a bare document (Google)": (json.dumps([{"error": OVERLOADED}]).encode() + b"\n\n", TargetDown, "status_503"),
    "an event with an object": (b"event: error\n" + frame({"message": "boom"}), TargetDown, "status_500"),
    "an event with a text": (b"event: error\ndata: no more room\n\n", TargetDown, "status_500"),
    "an event whose name comes last": (b"data: no more room\nevent: error\n\n", TargetDown, "status_500"),
    "a field (llama.cpp)": (b'error: {"code": 429, "message": "slow down"}\n\n', TargetDown, "status_429"),
    "an object that is called one (vLLM)": (
        frame({"object": "error", "message": "no such key", "type": "AuthenticationError", "code": 401}),
        TargetDenied,
        "status_401",
    ),
    "a code and a message (DashScope)": (frame({"code": "Throttling", "message": "later", "request_id": "r"}), TargetDown, "status_500"),
    "a message alone": (frame({"message": "Internal server error"}), TargetDown, "status_500"),
    "a detail (FastAPI)": (frame({"detail": "Internal server error"}), TargetDown, "status_500"),
    "a detail of parts": (frame({"detail": [{"msg": "boom", "type": "value_error"}]}), TargetDown, "status_500"),
    "a type (Anthropic)": (frame({"type": "error", "message": "boom"}), TargetDown, "status_500"),
    "several": (frame({"errors": [{"message": "boom", "code": 7}]}), TargetDown, "status_500"),
    "a choice (OpenRouter)": (
        frame({"choices": [{"index": 0, "delta": {"content": ""}, "error": {"code": 429, "message": "slow down"}}]}),
        TargetDown,
        "status_429",
    ),
    "a base_resp (MiniMax)": (
        frame({"choices": None, "usage": {"total_tokens": 0}, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}),
        TargetDown,
        "status_500",
    ),
    "a type with underscores (AWS)": (frame({"__type": "ThrottlingException", "message": "later"}), TargetDown, "status_500"),
    "capitals": (frame({"Error": {"Code": "InternalFailure", "Message": "boom"}}), TargetDown, "status_500"),
    "capitals within a response (Tencent)": (
        frame({"Response": {"Error": {"Code": "InternalError", "Message": "boom"}, "RequestId": "r"}}),
        TargetDown,
        "status_500",
    ),
    "a header with a code (iFlytek)": (frame({"header": {"code": 10013, "message": "boom", "status": 2}}), TargetDown, "status_500"),
    "a fault (Apigee)": (frame({"fault": {"faultstring": "boom", "detail": {"errorcode": "x"}}}), TargetDown, "status_500"),
    "no success": (frame({"success": False, "message": "boom"}), TargetDown, "status_500"),
    "a status that is a word": (frame({"status": "failed", "reason": "boom"}), TargetDown, "status_500"),
    "a problem document": (frame({"type": "about:blank", "title": "Service Unavailable", "status": 503}), TargetDown, "status_503"),
    "an exception": (frame({"exception": "boom"}), TargetDown, "status_500"),
    "error and data": (frame({"data": {"error": {"message": "boom"}}}), TargetDown, "status_500"),
    "an error without its object": (
        frame({"message": "boom", "type": "overloaded", "param": None, "code": None}),
        TargetDown,
        "status_500",
    ),
    "an event with another name of an error": (b"event: Exception\ndata: no more room\n\n", TargetDown, "status_500"),
    "a text as JSON": (frame("Internal server error"), TargetDown, "status_500"),
    "a text with half a surrogate pair": (b'data: "Internal server error \\ud800"\n\n', TargetDown, "status_500"),
    "an object with half a surrogate pair": (b'data: {"error": "boom \\udc00"}\n\n', TargetDown, "status_500"),
    "a text": (b"data: upstream connect error or disconnect\n\n", TargetDown, "status_500"),
    "a text in brackets": (b"data: [ERROR] out of memory\n\n", TargetDown, "status_500"),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_error_in_a_stream_raises_though_done_follows(shape: str) -> None:
    """An error frame of any form raises its TargetError, although `[DONE]` follows."""
    told, kind, outcome = SHAPES[shape]
    async with provider(Reply((chunk({"content": "Half an "}), told, DONE))) as fake:
        with pytest.raises(TargetError) as caught:
            await heard(declared(fake.base))
    assert (type(caught.value), caught.value.outcome) == (kind, outcome)


BEGUN = b'event: message_start\ndata: {"type": "message_start", "message": {"usage": {"input_tokens": 1}}}\n\n'
STOP = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'


def read(lane: Callable[[str, Speech], http.AnswerReader], body: bytes, size: int) -> list[Event]:
    """Return the events that a lane's reader makes of a body fed in pieces of `size` bytes."""
    speech, seen = Speech("a"), list[Event]()
    feed = http.Feed(speech)
    feed.reader = lane("a", speech)
    for at in range(0, len(body) + size, size):
        seen += feed.read(body[at : at + size])
        if feed.failure is not None:
            raise feed.failure
        if not feed.more:
            break
    return [*seen, *speech.end()]


@pytest.mark.parametrize("size", [1, 9, 10_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_error_in_a_stream_does_not_depend_on_read_boundaries(shape: str, size: int) -> None:
    """An error in a provider's stream raises the same TargetError for reads of 1, 9 or 10,000 bytes, in three stream formats."""
    told, kind, outcome = SHAPES[shape]
    half = frame({"type": "response.output_text.delta", "output_index": 0, "delta": "Half"})
    lanes = (
        (openai.ChatReader, chunk({"content": "Half"}) + told + DONE),
        (anthropic_reader.MessageReader, BEGUN + told + STOP),
        (responses.ResponseReader, half + told + DONE),
    )
    for lane, body in lanes:
        for bytes_ in (body, body.replace(b"\n", b"\r\n")):
            with pytest.raises(TargetError) as caught:
                read(lane, bytes_, size)
            assert (type(caught.value), caught.value.outcome) == (kind, outcome)


@pytest.mark.parametrize("shape", SHAPES)
def test_error_frame_is_rewritten_for_litellm(shape: str) -> None:
    """An error frame of any form is rewritten to an object with `error`, the one form at which LiteLLM raises."""
    told = SseNormalizer().feed(chunk({"content": "Half"}) + SHAPES[shape][0] + DONE)
    events = [json.loads(line[6:]) for line in told.split(b"\n\n") if line and b"[DONE]" not in line]
    assert [bool(event.get("error")) for event in events] == [False, True]


WELL = {
    "a sign of life": frame({"type": "ping"}),
    "a text": b"data: keep-alive\n\n",
    "a comment": b": error\n\n",
    "another name": b"event: progress\n" + frame({"object": "chat.completion.chunk", "choices": []}),
    "a name without data": b"event: error\n\n",
    "no error": frame({"error": None, "choices": [], "detail": None}),
    "no code": frame({"code": 0, "message": "success"}),
    "progress": frame({"status": "processing", "message": "one more moment"}),
    "an empty error": frame({"choices": [{"index": 0, "delta": {"content": ""}}], "error": ""}),
    "an error of empty values": frame(
        {"choices": [{"index": 0, "delta": {"content": ""}, "error": {}}], "error": {"message": "", "type": "", "code": None}}
    ),
    "success": frame({"choices": [], "base_resp": {"status_code": 0, "status_msg": "success"}}),
    "status": frame({"type": "status", "message": "queued", "step": 3}),
    "filters": frame({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
}


@pytest.mark.parametrize("what", WELL)
async def test_frame_that_is_not_an_error_does_not_end_the_answer(what: str) -> None:
    """Pings, status frames, comments and frames with a null error between two texts do not interrupt the answer."""
    async with provider(Reply((chunk({"content": "He"}), WELL[what], chunk({"content": "llo"}), chunk({}, "stop"), DONE))) as fake:
        seen = await heard(declared(fake.base))
    assert "".join(event.text for event in seen if isinstance(event, Text)) == "Hello"
    assert isinstance(seen[-1], Finish)


@pytest.mark.parametrize("shape", [name for name, (told, *_) in SHAPES.items() if told.startswith((b"data: {", b"data: ["))])
async def test_error_as_a_complete_200_body_raises(shape: str) -> None:
    """On the `openai` lane, each form of error document raises the TargetError of its kind if it is the whole body of a 200."""
    told, kind, _ = SHAPES[shape]
    async with provider(Reply(body=told[6:].strip())) as fake:
        with pytest.raises(TargetError) as caught:
            await heard(declared(fake.base))
    assert type(caught.value) is kind


@pytest.mark.parametrize("shape", SHAPES)
async def test_error_after_the_finish_reason_is_ignored(shape: str) -> None:
    """An error frame after the finish reason does not change the answer."""
    async with provider(Reply((chunk({"content": "Hi"}, "stop"), SHAPES[shape][0], DONE))) as fake:
        seen = await heard(declared(fake.base))
    assert [type(event) for event in seen] == [Start, Text, Finish]


async def test_invalid_utf8_byte_becomes_one_replacement_character() -> None:
    """An invalid byte becomes U+FFFD, and the rest of its frame is read, also in the stream for LiteLLM (WHATWG HTML, 9.2.6)."""
    bad = chunk({"content": "before ? after "}).replace(b"?", b"\xff")
    async with provider(Reply((bad, chunk({"content": "end"}, "stop"), DONE))) as fake:
        seen = await heard(declared(fake.base))
    assert "".join(event.text for event in seen if isinstance(event, Text)) == "before \ufffd after end"
    assert SseNormalizer().feed(bad) == chunk({"content": "before ? after "}).replace(b"?", "\ufffd".encode())


async def test_control_character_within_a_text_does_not_cost_the_frame() -> None:
    """An unescaped tab within a text is read as it is."""
    async with provider(Reply((chunk({"content": "a?b"}).replace(b"?", b"\t"), chunk({}, "stop"), DONE))) as fake:
        seen = await heard(declared(fake.base))
    assert "".join(event.text for event in seen if isinstance(event, Text)) == "a\tb"


async def test_end_mark_with_a_blank_ends_the_answer() -> None:
    """`[DONE]` with white space around it ends an answer without a finish reason."""
    async with provider(Reply((chunk({"content": "Hi"}), b"data: [DONE] \n\n"))) as fake:
        seen = await heard(declared(fake.base))
    assert [type(event) for event in seen] == [Start, Text, Finish]


@pytest.mark.parametrize("status", [201, 203])
async def test_answer_under_another_status_of_success_is_read(status: int) -> None:
    """An answer under 201, as some gateways send for each POST, or 203, as proxies that changed it, is read."""
    async with provider(Reply((chunk({"content": "Hi"}, "stop"), DONE), status)) as fake:
        seen = await heard(declared(fake.base))
    assert [type(event) for event in seen] == [Start, Text, Finish]
