"""Streams told again for LiteLLM: what is left of them."""

import json

import pytest

from router.targets.retold import END, Google, Retold
from tests.support.provider import DONE, chunk, error, frame, usage

UNSAID = b"data: " + END + b"\n\n"
HI, STOP = chunk({"content": "Hi"}), chunk({}, "stop")
TOLD: dict[str, tuple[bytes, bytes]] = {
    "as it should be": (HI + STOP + usage() + DONE, HI + STOP + usage() + DONE),
    "comments and other fields": (b": hello\n\nid: 5\nretry: 10\n\n: x\nevent: y\n" + HI + DONE, HI + UNSAID + DONE),
    "a byte-order mark, other line ends": (b"\xef\xbb\xbf" + (HI + DONE).replace(b"\n", b"\r\n"), HI + UNSAID + DONE),
    "what is no object": (b'data: 5\n\ndata: []\n\ndata: {"choices": [{"del\n\n' + HI + b"data: null\n\n", HI),
    "an event of two lines": (HI.replace(b'", ', b'",\ndata: '), HI.replace(b'", ', b'", ')),
    "an error": (HI + frame({"error": {"code": 500}}), HI + frame({"error": {"code": 500}})),
    "an error after the answer": (HI + STOP + frame({"error": {"code": 500}}) + DONE, HI + STOP + DONE),
    "characters that end a line elsewhere": (
        'data: {"a": "1\u2028 2\u2029 3\x85"}\n\n'.encode(),
        b'data: {"a": "1\\u2028 2\\u2029 3\\u0085"}\n\n',
    ),
    "an end without a blank line": (HI.rstrip(), HI),
}


@pytest.mark.parametrize("what", TOLD)
def test_retold_stream_has_each_event_on_one_line(what: str) -> None:
    """Each event that is an object, on one line; the same however the body is cut."""
    body, told = TOLD[what]
    for size in (1, 7, len(body)):
        retold = Retold()
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert b"".join([*(retold.feed(piece) for piece in pieces), retold.feed(b"")]) == told


def test_retold_stream_knows_its_end_and_usage() -> None:
    """And the count: who reads it need not wait for more."""
    retold = Retold()
    retold.feed(HI)
    assert not retold.heard.finished
    retold.feed(STOP + usage())
    assert retold.heard.counted


def googles(text: str, **more: object) -> bytes:
    """A chunk of Google's."""
    return frame({"candidates": [{"content": {"parts": [{"text": text}]}, **more}]})


ENDS: dict[str, tuple[bytes, bool]] = {
    "a reason": (googles("Hi") + googles("", finishReason="MAX_TOKENS"), False),
    "a reason with each chunk": (googles("Hi", finishReason="STOP") * 2, False),
    "no reason": (googles("Hi") * 2, True),
    "a blocked question": (frame({"promptFeedback": {"blockReason": "SAFETY"}}), False),
    "a question that was not": (frame({"promptFeedback": {}}) + googles("Hi", finishReason=None), True),
    "fields of other types": (frame({"candidates": [5, {"finishReason": 7}], "promptFeedback": "x"}), True),
    "nothing": (b"", True),
}


@pytest.mark.parametrize("what", ENDS)
def test_a_stream_of_googles_without_a_reason_is_cut(what: str) -> None:
    """LiteLLM says stop, whatever was said."""
    body, cut = ENDS[what]
    retold = Google()
    assert retold.feed(body) + retold.feed(b"") == body
    assert retold.cut is cut


def test_googles_error_is_told_though_it_is_no_event() -> None:
    """It comes as a bare document, over several lines."""
    document = error(503).body or b""
    retold = Google()
    told = retold.feed(googles("Hi") + json.dumps(json.loads(document), indent=1).encode()) + retold.feed(b"")
    head, _, last = told.rstrip().rpartition(b"\n\ndata: ")
    assert head + b"\n\n" == googles("Hi")
    assert json.loads(last) == json.loads(document)
