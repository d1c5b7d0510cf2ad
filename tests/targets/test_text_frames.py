"""Frames of text alone, read together with one call of a decoder each (router/targets/text_frames.py)."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import TargetError
from router.events import Event, Text
from router.targets import anthropic_reader, openai, responses
from router.targets.decoding import MAX_VALUES
from router.targets.inband import ErrorData
from router.targets.speech import Speech
from router.targets.text_filters import UNBOUND, AnswerLimits
from router.targets.text_frames import TextFrames

Reader = Callable[[str, Speech], TextFrames]
READERS: dict[str, Reader] = {
    "openai": openai.ChatReader,
    "anthropic": anthropic_reader.MessageReader,
    "responses": responses.ResponseReader,
}


def chat(delta: Any, choice: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk of a chat completion with one choice. `choice`: further fields of the choice; `fields`: of the chunk."""
    return {"id": "c", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, **(choice or {})}], **fields}


def block(text: Any, delta: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a text delta of a message. `delta`: further fields of the delta; `fields`: of the frame."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text, **(delta or {})}, **fields}


def output(delta: Any, **fields: Any) -> dict[str, Any]:
    """Return a text delta of a response. `fields`: further fields of the frame."""
    return {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": delta, **fields}


OF_TEXT: dict[str, tuple[str, Any]] = {
    "OpenAI": (
        "openai",
        chat({"content": "a"}, {"logprobs": None, "finish_reason": None}, usage=None, obfuscation="x8", service_tier="default"),
    ),
    "vLLM": ("openai", chat({"content": "a", "reasoning_content": None}, {"logprobs": None, "finish_reason": None, "token_ids": None})),
    "Mistral": ("openai", chat({"content": "a"}, {"finish_reason": None}, p="abcdef")),
    "Groq": ("openai", chat({"content": "a"}, {"logprobs": None, "finish_reason": None}, system_fingerprint="fp")),
    "DeepSeek": ("openai", chat({"content": "a", "reasoning_content": None}, {"logprobs": None, "finish_reason": None}, usage=None)),
    "OpenRouter": (
        "openai",
        chat({"role": "assistant", "content": "a", "reasoning": None, "reasoning_details": []}, {"finish_reason": None}),
    ),
    "empty fields": (
        "openai",
        chat({"content": "a", "refusal": "", "tool_calls": [], "annotations": [], "images": []}, {"finish_reason": ""}),
    ),
    "Perplexity": ("openai", chat({"content": "a"}, citations=[], search_results=None)),
    "Anthropic": ("anthropic", block("a")),
    "Responses": ("responses", output("a", sequence_number=4, logprobs=[], obfuscation="x8")),
}
"""Provider → the lane and a frame of text alone, as it sends nearly all."""


@pytest.mark.parametrize("provider", OF_TEXT)
def test_frames_of_text_alone_are_read_without_the_general_reader(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once an answer's model is known, frames of text alone become one piece of text without a call of the lane's `frame`."""
    lane, frame = OF_TEXT[provider]
    speech = Speech("a")
    reader = READERS[lane]("a", speech)
    speech.called("m")
    speech.text("Begun. ")
    monkeypatch.setattr(reader, "frame", None)
    assert reader.frames([json.dumps(frame).encode()] * 3)
    assert "".join(str(getattr(event, "text", "")) for event in speech.take()) == "Begun. aaa"


def test_first_frame_of_text_alone_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of text alone that names the model is read without the general reader, even if it is the first one of an answer."""
    reader = openai.ChatReader("a", Speech("a"))
    monkeypatch.setattr(reader, "frame", None)
    assert reader.frames([json.dumps(chat({"role": "assistant", "content": text})).encode() for text in ("", "a")])
    assert (reader.speech.model, reader.speech.take()) == ("m", [Text("a")])


@pytest.mark.parametrize("named", [{"model": None}, {"model": ""}, {"model": 5}, {"model": "n o"}, {"error": {"message": "overloaded"}}])
def test_first_frame_without_a_valid_name_is_what_the_general_reader_makes_of_it(named: dict[str, Any]) -> None:
    """A first chunk without a name, with a wrong one, or with an error gives what the general reader makes of it."""
    same("openai", [json.dumps(chat({"content": "a"}, **one)).encode() for one in (named, {"model": "later"})])


def test_first_frame_with_a_document_as_name_is_bounded_by_the_general_reader() -> None:
    """A first chunk of text alone whose `model` has more values than a document may have is not parsed, as any such chunk."""
    frame = json.dumps(chat({"content": "a"}, model=[0] * MAX_VALUES)).encode()
    reader = openai.ChatReader("a", Speech("a"))
    assert reader.frames([frame])
    assert (reader.speech.model, reader.speech.take()) == (None, [])
    same("openai", [frame])


OTHERS: dict[str, list[Any]] = {
    "openai": [
        chat({"role": "assistant"}),
        chat({"content": None, "reasoning_content": "hm"}),
        chat({"content": "b", "reasoning": "hm"}),
        chat({"content": "b", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        chat({"content": "b", "refusal": "no"}),
        chat({"content": "b", "tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a": 1}'}}]}),
        chat({"content": "b", "tool_calls": ""}),
        chat({"content": [{"type": "text", "text": "b"}]}),
        chat({"content": "b", "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}]}),
        chat({"content": "b"}, {"index": 1}),
        chat({"content": "b"}, {"index": None}),
        chat({"content": "b"}, {"finish_reason": "stop"}),
        chat({"content": "b"}, usage={"prompt_tokens": 3, "completion_tokens": 4}),
        chat({"content": "b"}, x_groq={"usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
        chat({"content": "b"}, citations=["https://b.example"]),
        chat({"content": "b"}, model="n"),
        chat({"content": "b"}, error={"message": "overloaded"}),
        {"choices": []},
        {"choices": [chat({"content": "b"})["choices"][0], chat({"content": "c"}, {"index": 1})["choices"][0]]},
        {"choices": [*chat({"content": "b"})["choices"], *chat({"content": "c"})["choices"]]},
        {"choices": [{"index": 0, "message": {"content": "b"}}]},
        {"usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    ],
    "anthropic": [
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "c1", "name": "f"}},
        block("", {"type": "thinking_delta", "thinking": "hm"}),
        block("", {"type": "input_json_delta", "partial_json": '{"a": 1}'}, index=1),
        block("b", {"stop_reason": "end_turn"}),
        block("b", usage={"output_tokens": 4}),
        block(None),
        block("b", error={"message": "overloaded"}),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
        {"type": "ping"},
    ],
    "responses": [
        {"type": "response.created", "response": {"model": "m"}},
        {"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "call_id": "c1", "name": "f"}},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"a": 1}'},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"},
        {"type": "response.refusal.delta", "delta": "no"},
        output(None),
        output("b", annotation={"type": "url_citation", "url": "https://a.example"}),
        {"type": "response.completed", "response": {"model": "m", "output": [], "usage": {"input_tokens": 3, "output_tokens": 4}}},
        {"type": "error", "message": "overloaded"},
    ],
}
"""Lane → frames of other kinds, many of them with text, too."""
ODD = (
    b"[DONE]",
    b"{",
    b"",
    b"null",
    b'{"choices": [{"delta": {"content": "\xff"}}]}',
    b'{"type": "ping"}',
    ErrorData(b'{"message": "overloaded"}'),
)
TEXTS = ("a", "", '"', "\\", "\n", "é", "\ud83d\ude00", "<think>", "</think>", "\ud83d")
"""Pieces of text; the last one is half a surrogate pair."""
TEXT_OF: dict[str, Callable[[str], Any]] = {"openai": lambda text: chat({"content": text}), "anthropic": block, "responses": output}


NAMED = {"openai": chat({"content": "a"}), "anthropic": OTHERS["anthropic"][0], "responses": OTHERS["responses"][0]}
"""Lane → a frame that names the model."""


def heard(reader: TextFrames, read: Callable[[], bool]) -> tuple[object, list[Event]]:
    """Return what `read` returned or the outcome of its error, and the events of the answer so far."""
    try:
        ended: object = read()
    except TargetError as error:
        ended = (type(error), error.outcome)
    return ended, reader.speech.take()


def one_by_one(reader: TextFrames, found: list[bytes]) -> bool:
    """Read each frame by itself, up to the end of the answer, with the general reader."""
    return all(map(reader.frame, found))


def same(lane: str, found: list[bytes]) -> None:
    """Check that frames read together give what the general reader makes of each by itself: events, end or error, usage and model."""
    together, apart = (READERS[lane]("a", Speech("a")) for _ in range(2))
    assert heard(together, lambda: together.frames(found)) == heard(apart, lambda: one_by_one(apart, found))
    assert (together.speech.used, together.speech.model) == (apart.speech.used, apart.speech.model)


@pytest.mark.parametrize("lane", READERS)
def test_frame_of_any_other_kind_is_left_to_the_general_reader(lane: str) -> None:
    """Each frame that is not of text alone gives, between frames of text in one read, what the general reader makes of it."""
    text = json.dumps(TEXT_OF[lane]("a")).encode()
    named = json.dumps(NAMED[lane]).encode()
    for odd in [*(json.dumps(other).encode() for other in OTHERS[lane]), *ODD]:
        same(lane, [named, text, odd, text])


@pytest.mark.parametrize("lane", READERS)
@given(data=st.data())
def test_frames_read_together_are_what_each_is_by_itself(lane: str, data: st.DataObject) -> None:
    """A read of any frames gives the events, the end or the error, the usage and the model of the general reader, which reads each by itself."""
    texts = st.sampled_from(TEXTS).map(TEXT_OF[lane]).map(json.dumps).map(str.encode)
    others = st.sampled_from(OTHERS[lane]).map(json.dumps).map(str.encode)
    named = st.just(json.dumps(NAMED[lane]).encode())
    found = data.draw(st.lists(st.one_of(named, texts, texts, others, st.sampled_from(ODD)), max_size=12))
    same(lane, found)


def test_frame_after_the_finish_reason_is_left_to_the_general_reader() -> None:
    """Text after a finish reason is no text of the answer, although its frame has text alone."""
    speech = Speech("a")
    reader = openai.ChatReader("a", speech)
    found = [chat({"content": "a"}), chat({}, {"finish_reason": "stop"}), chat({"content": "late"})]
    reader.frames([json.dumps(one).encode() for one in found])
    assert "late" not in repr(speech.take())


@pytest.mark.parametrize("name", READERS)
def test_read_without_a_frame_is_no_text(name: str) -> None:
    """No frames, as in a read of a comment, are empty text, and do not count as text that was read."""
    speech = Speech("a")
    speech.model = "m"
    reader = READERS[name]("a", speech)
    assert reader.words([]) is None
    assert reader.frames([])
    speech.text("Begun.")
    assert speech.take()
    assert reader.words([]) == ()
    assert not reader.worded


def reads(reader: TextFrames, found: list[list[bytes]]) -> tuple[object, list[Event]]:
    """Return the end or the error of an answer in several reads, each read by `words` if it can, and its events, neighbouring texts joined."""
    events, ended = list[Event](), object()
    for read in found:
        if (words := reader.words(read)) is None:
            ended, words = heard(reader, partial(reader.frames, read))
        for event in words:
            before = events[-1] if events else None
            if isinstance(event, Text) and isinstance(before, Text):
                events[-1] = Text(before.text + event.text)
            else:
                events.append(event)
        if ended is not True or reader.speech.finished:
            break
    return ended, events


@pytest.mark.parametrize("lane", READERS)
@given(data=st.data())
def test_reads_of_text_alone_are_what_the_general_reader_makes_of_them(lane: str, data: st.DataObject) -> None:
    """Any frames in any reads give the same events, end, usage and count of characters, whether or not `words` reads those of text alone."""
    texts = st.sampled_from(TEXTS).map(TEXT_OF[lane]).map(json.dumps).map(str.encode)
    others = st.sampled_from(OTHERS[lane]).map(json.dumps).map(str.encode)
    frames = st.one_of(texts, texts, texts, others, st.sampled_from(ODD))
    found = [[json.dumps(NAMED[lane]).encode()], *data.draw(st.lists(st.lists(frames, max_size=3), max_size=8))]
    fast, slow = (READERS[lane]("a", Speech("a")) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow, "words", lambda _: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        assert reads(fast, found) == reads(slow, found)
    assert (fast.speech.used, fast.speech.written, fast.speech.said) == (slow.speech.used, slow.speech.written, slow.speech.said)


def flowing(bounds: AnswerLimits = UNBOUND) -> openai.ChatReader:
    """Return the reader of an answer whose model is known and whose first text was taken."""
    reader = openai.ChatReader("a", Speech("a"))
    reader.speech.bound(bounds)
    reader.frames([json.dumps(chat({"content": "Begun."})).encode()])
    assert reader.speech.take()
    return reader


WORD = json.dumps(chat({"content": "a"})).encode()


def test_text_after_text_is_read_at_once() -> None:
    """While an answer flows, frames of text alone give their text, which counts as written; an ErrorData never does."""
    reader = flowing()
    assert reader.words([WORD, WORD]) == (Text("aa"),)
    assert reader.speech.written == len("Begun.aa")
    assert reader.words([WORD, ErrorData(WORD)]) is None


@pytest.mark.parametrize(
    "other", [{"reasoning_content": "hm"}, {"refusal": "no"}, {"content": "\ud83d"}, {"content": [{"type": "image_url"}]}]
)
def test_text_after_another_frame_waits_until_that_was_taken(other: dict[str, Any]) -> None:
    """After a frame of another kind no text is read at once, so that it does not come before what that frame brought."""
    reader = flowing()
    reader.frames([json.dumps(chat(other)).encode()])
    assert reader.words([WORD]) is None


@pytest.mark.parametrize("bounds", [AnswerLimits(("stop",)), AnswerLimits((), 100)])
def test_text_of_an_answer_with_limits_is_not_read_at_once(bounds: AnswerLimits) -> None:
    """Text that the router may have to cut is left to the general path."""
    assert flowing(bounds).words([WORD]) is None


@pytest.mark.parametrize("size", [MAX_VALUES, 2])
def test_long_list_in_a_frame_makes_no_values(size: int) -> None:
    """A frame with a list that a frame of text leaves out is refused at the list's first item, however long it is."""
    data = b'{"choices": [{"delta": {"content": "a", "tool_calls": [' + b"[]," * size + b"[]]}}]}"
    with pytest.raises(msgspec.ValidationError, match="at most length 0"):
        openai.ChatReader.decode(data)
