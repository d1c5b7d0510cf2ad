"""Rewriting of provider streams before LiteLLM reads them."""

import json

import pytest

from router.targets.retold import END, Anthropic, Google, SseNormalizer
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
def test_rewritten_stream_has_each_event_on_one_line(what: str) -> None:
    """A rewritten stream has each JSON object on one `data:` line, without comments, other fields or anything after the answer's end."""
    body, told = TOLD[what]
    for size in (1, 7, len(body)):
        retold = SseNormalizer()
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert b"".join([*(retold.feed(piece) for piece in pieces), retold.feed(b"")]) == told


def test_rewritten_stream_records_finish_and_usage() -> None:
    """`SseNormalizer.heard` is not finished before a finish reason came, and is counted once the token counts came."""
    retold = SseNormalizer()
    retold.feed(HI)
    assert not retold.heard.finished
    retold.feed(STOP + usage())
    assert retold.heard.counted


def googles(text: str, **more: object) -> bytes:
    """Return a chunk of Gemini's stream."""
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
def test_rewritten_gemini_stream_without_a_finish_reason_is_cut(what: str) -> None:
    """A Gemini stream passes unchanged, and is marked as cut if it has neither a finish reason nor a block reason."""
    body, cut = ENDS[what]
    retold = Google()
    assert retold.feed(body) + retold.feed(b"") == body
    assert retold.cut is cut


def test_bare_google_error_is_rewritten_as_an_event() -> None:
    """An error of Google's that comes as a bare JSON document over several lines becomes one SSE event."""
    document = error(503).body or b""
    retold = Google()
    told = retold.feed(googles("Hi") + json.dumps(json.loads(document), indent=1).encode()) + retold.feed(b"")
    head, _, last = told.rstrip().rpartition(b"\n\ndata: ")
    assert head + b"\n\n" == googles("Hi")
    assert json.loads(last) == json.loads(document)


def test_complete_claude_message_keeps_the_signature_of_its_thinking() -> None:
    """A complete message of Anthropic's becomes a stream whose deltas have its thinking, the signature of that, and its text."""
    content = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, {"type": "text", "text": "Hi"}]
    message = {"type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"}
    stream = Anthropic().complete(json.dumps(message).encode())
    deltas = [event["delta"] for line in stream.splitlines() if line.startswith(b"data: ") and "delta" in (event := json.loads(line[6:]))]
    assert deltas == [
        {"type": "thinking_delta", "thinking": "Hm."},
        {"type": "signature_delta", "signature": "c2ln"},
        {"type": "text_delta", "text": "Hi"},
        {"stop_reason": "end_turn"},
    ]


def test_control_character_within_a_text_is_escaped() -> None:
    """An unescaped tab within a text, which LiteLLM's reader refuses, is escaped; the text stays as it is."""
    stream = SseNormalizer().feed(chunk({"content": "before ? after"}).replace(b"?", b"\t"))
    assert json.loads(stream[6:])["choices"][0]["delta"] == {"content": "before \t after"}
