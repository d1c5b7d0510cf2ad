"""Bursts of frames that differ in their text alone (router/targets/template.py)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.errors import TargetError
from router.events import Event, Text, Thought
from router.targets import template
from router.targets.anthropic_reader import MessageReader
from router.targets.http import Feed
from router.targets.inband import ErrorData
from router.targets.openai import ChatReader
from router.targets.responses import ResponseReader
from router.targets.speech import Speech
from router.targets.template import FEW, alike
from router.targets.text_frames import TextFrames

Reader = Callable[[str, Speech], TextFrames]
LEAST = FEW + 1
WORDS = [b"word %d" % index for index in range(LEAST)]
AROUND: dict[Reader, tuple[bytes, bytes]] = {
    ChatReader: (b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"', b'"},"logprobs":null,"finish_reason":null}]}'),
    MessageReader: (b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "', b'"}}'),
    ResponseReader: (b'{"type":"response.output_text.delta","delta":"', b'","output_index":0}'),
}
"""Lane → the bytes around the text of a frame."""
BEFORE, AFTER = AROUND[ChatReader]
ROLE = b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}'
THOUGHT = b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}'
FINISH = b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}'
USAGE = b'{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
CALL = b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{}"}}]}}]}'
ERROR = b'{"error":{"message":"overloaded","code":503}}'
DONE = b"[DONE]"


def framed(contents: list[bytes], reader: Reader = ChatReader) -> list[bytes]:
    """Return frames with these bytes between the quotes of their text."""
    before, after = AROUND[reader]
    return [before + content + after for content in contents]


def texts_of(found: list[bytes], reader: Reader = ChatReader) -> tuple[int, int, str] | None:
    """Return what `alike` finds among frames of a lane, without the decoded frame."""
    made = reader("a", Speech("a"))
    burst = alike(found, made.decode, made.text_of)
    return None if burst is None else burst[:3]


def heard(reader: TextFrames, read: Callable[[list[bytes]], bool], found: list[bytes]) -> tuple[object, list[Event]]:
    """Return what `read` returned or the outcome of its error, and the events, neighbouring texts joined."""
    try:
        ended: object = read(found)
    except TargetError as error:
        ended = (type(error), error.outcome)
    return ended, joined(reader.speech.take())


def joined(events: list[Event]) -> list[Event]:
    """Return the events with neighbouring texts, and neighbouring thoughts, as one."""
    made = list[Event]()
    for event in events:
        if made and isinstance(event, Text | Thought) and type(made[-1]) is type(event):
            made[-1] = type(event)(f"{getattr(made[-1], 'text', '')}{event.text}")
        else:
            made.append(event)
    return made


def same(found: list[bytes], reader: Reader = ChatReader) -> None:
    """Check that frames read together give what the general reader makes of each by itself."""
    together, apart = (reader("a", Speech("a")) for _ in range(2))
    assert heard(together, together.frames, found) == heard(apart, lambda each: all(map(apart.frame, each)), found)
    assert (together.speech.used, together.speech.model) == (apart.speech.used, apart.speech.model)


@pytest.mark.parametrize("reader", AROUND)
def test_texts_of_frames_that_differ_in_their_text_alone_are_found(reader: Reader) -> None:
    """The texts of a burst are those between the quotes, with escape sequences and characters beyond ASCII, whatever the lane."""
    contents = [*WORDS, b"", b"a\\nb", "é😀".encode(), b'\\"', b"\\u00e9\\ud83d\\ude00", b"data: \\u2028"]
    expected = "".join(json.loads(b'"' + content + b'"') for content in contents)
    assert texts_of(framed(contents, reader), reader) == (0, len(contents), expected)


def test_frames_of_another_kind_at_both_ends_are_left_out() -> None:
    """A few frames of other kinds before and after the frames of text have no text; more of them are not searched."""
    burst = framed(WORDS)
    assert texts_of([ROLE, THOUGHT, *burst, FINISH, USAGE, DONE]) == (2, 2 + LEAST, b"".join(WORDS).decode())
    assert texts_of([ROLE] * (template.OTHERS + 1) + burst * 2) is None
    assert texts_of(burst * 2 + [USAGE] * (template.OTHERS + 1)) is None


ODD: dict[str, list[bytes]] = {
    "a quote": [b'"'],
    "a quote beside an escaped one": [b'a","b', b"\\"],
    "an escaped quote, then a quote": [b"x\\", b'y"z'],
    "backslash at the end": [b"a\\"],
    "escaped backslash at the end": [b"a\\\\"],
    "half a surrogate pair": [b"\\ud83d", b"\\ude00"],
    "half a character": [b"\xc3", b"\xa9"],
    "no UTF-8": [b"\xff"],
    "surrogate in UTF-8": [b"\xed\xa0\xbd"],
    "control character": [b"a\nb"],
    "tabulator": [b"a\tb"],
    "wrong escape sequence": [b"\\x"],
    "another field": [b'a","role":"assistant'],
    "another frame": [b"a" + AFTER + b"\n\ndata: " + BEFORE + b"b"],
    "the string's end": [b'","'],
    "frame around a frame": [AFTER + BEFORE],
}
"""Contents of a few frames of a burst for which its texts are not read together."""


@pytest.mark.parametrize("odd", ODD)
def test_content_that_is_no_plain_string_is_left_to_the_decoder(odd: str) -> None:
    """Bytes that are no whole JSON string, or a string of which that cannot be seen, are read frame by frame as before."""
    for contents in ([*WORDS, *ODD[odd]], [*ODD[odd], *WORDS * 2], [*WORDS, *ODD[odd], *WORDS]):
        found = framed(contents)
        assert texts_of(found) is None
        same([ROLE, *found, FINISH, USAGE, DONE])


BROKEN: dict[str, list[bytes]] = {
    "each frame has another field": [ROLE, *(frame[:-1] + b',"obfuscation":"%d"}' % index for index, frame in enumerate(framed(WORDS)))],
    "another time": [*framed(WORDS), framed([b"a"])[0].replace(b'"c"', b'"d"'), *framed(WORDS)],
    "another candidate": [*framed(WORDS), framed([b"a"])[0].replace(b'"index":0', b'"index":1'), *framed(WORDS)],
    "a thought": [*framed(WORDS), THOUGHT, *framed(WORDS)],
    "a call": [*framed(WORDS), CALL, *framed(WORDS)],
    "an error": [*framed(WORDS), ERROR, *framed(WORDS)],
    "an early end": [*framed(WORDS), FINISH, *framed(WORDS), DONE],
    "a frame without its end": [*framed(WORDS), BEFORE, *framed(WORDS)],
    "a frame within two": [*framed(WORDS), BEFORE[:-1] + AFTER, AFTER, *framed(WORDS)],
    "all calls": [CALL] * LEAST,
    "all empty": framed([b""] * LEAST),
    "the name of a field": framed([b"content"] * LEAST),
    "a mark": framed([template.MARK.encode()] * LEAST),
    "a mark beside the text": [frame[:-1] + b',"x":"' + template.MARK.encode() + b'"}' for frame in framed(WORDS)],
    "a field in the place of the text": framed([b'(one)","%b":"con\\u0074ent' % name for name in [b"x"] * LEAST + [b"content"] * LEAST]),
    "a text of an error": [ErrorData(frame) for frame in framed(WORDS)],
    "an error among them": [*framed(WORDS), ErrorData(ERROR), *framed(WORDS)],
    "nothing": [b""] * LEAST,
    "a name that is none": [frame.replace(b'"m"', b"5") for frame in framed(WORDS)],
}
"""Bursts that are not, or not all, equal frames of text."""


@pytest.mark.parametrize("broken", BROKEN)
def test_burst_of_other_frames_is_what_each_of_them_is(broken: str) -> None:
    """Frames that are not all alike give what the general reader makes of each."""
    for ends in ([], [ROLE], [FINISH], [DONE], [THOUGHT]):
        same([*ends, *BROKEN[broken], FINISH, USAGE, DONE])
        same([*BROKEN[broken], *ends])


def test_burst_too_large_is_left_to_the_decoder() -> None:
    """Frames beyond the limit of bytes are read one by one, so that a JSON list cannot have too many values."""
    burst = framed([*WORDS, *WORDS])
    burst[0] = framed([b"a" * (template.MAX_BYTES - len(b"".join(burst[1:])) - len(BEFORE + AFTER))])[0]
    assert texts_of(burst) is not None
    burst[1] = framed([WORDS[1] + b"0"])[0]
    assert texts_of(burst) is None
    same(burst)


def test_burst_takes_a_few_calls_of_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many frames of text a read has, few of them are decoded as a whole, and none is read by the general reader but the ends."""
    calls = list[bytes]()
    reader = ChatReader("a", Speech("a"))
    decode = ChatReader.decode
    monkeypatch.setattr(reader, "decode", lambda frame: calls.append(frame) or decode(frame))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    frame = reader.frame
    monkeypatch.setattr(reader, "frame", lambda data: calls.append(data) or frame(data))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    assert not reader.frames([ROLE, *framed(WORDS * 20), FINISH, USAGE, DONE])
    assert "".join(getattr(event, "text", "") for event in reader.speech.take()) == (b"".join(WORDS) * 20).decode()
    assert len(calls) < LEAST


CONTENTS = st.one_of(
    st.sampled_from([b"a", b"word ", b"", b"\\n", '\\"é'.encode(), b"\\\\ ", b"<think>", b"</think>"]),
    st.sampled_from([content for contents in ODD.values() for content in contents]),
)
PLAIN = st.sampled_from([b"a", b"word ", b"\\n"])
OTHERS = st.sampled_from([ROLE, THOUGHT, FINISH, USAGE, CALL, ERROR, DONE, ErrorData(ERROR), b"", b"{"])


@given(
    head=st.lists(OTHERS, max_size=3),
    contents=st.lists(st.one_of(PLAIN, PLAIN, PLAIN, PLAIN, CONTENTS), min_size=LEAST, max_size=2 * LEAST),
    tail=st.lists(OTHERS, max_size=3),
)
@example(head=[], contents=[b"a\\", b',"b', *WORDS], tail=[])
def test_burst_of_any_contents_is_what_each_frame_is(head: list[bytes], contents: list[bytes], tail: list[bytes]) -> None:
    """Any bytes in place of the texts of a burst, with any frames around it, give what the general reader makes of each frame."""
    same([*head, *framed(contents), *tail])


def fed(pieces: list[bytes]) -> tuple[list[Event], list[object]]:
    """Return the events of a stream in these reads, and how it ended. The text of its fast path is among them."""
    speech = Speech("a")
    feed = Feed(speech)
    feed.reader = ChatReader("a", speech)
    events = list[Event]()
    for piece in pieces:
        if feed.fast() is None:
            events += feed.read(piece)
        elif (words := feed.take(piece)) is not None:
            events += words
        else:
            events += feed.events
            feed.events.clear()
        if not feed.more:
            break
    return joined(events), [feed.more, feed.failure and feed.failure.outcome, speech.used, speech.written, speech.finished]


@given(data=st.data(), end=st.sampled_from([b"\n\n", b"\n\n", b"\r\n\r\n", b"\r\r"]))
def test_burst_does_not_depend_on_the_size_of_reads(data: st.DataObject, end: bytes) -> None:
    """A stream of a burst with any frames around and within it gives the same events and end in any reads."""
    drawn = data.draw(st.lists(st.one_of(*[PLAIN.map(lambda one: framed([one])[0])] * 9, OTHERS), min_size=LEAST, max_size=3 * LEAST))
    frames: list[Any] = [ROLE, *drawn, FINISH, USAGE, DONE]
    parts = [(b"event: error\n" if isinstance(frame, ErrorData) else b"") + b"data: " + frame + end for frame in frames]
    body = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    pieces = [body[begin:stop] for begin, stop in zip([0, *cuts], [*cuts, len(body)], strict=True) if begin < stop]
    assert fed(pieces) == fed(parts)
