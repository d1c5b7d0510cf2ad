"""The bytes of the fake provider's answers and of the requests to it, built once.

The model's name selects the answer:

    long     200 chunks at once
    short    10 chunks at once
    first    one chunk at once, the other nine 5 ms later
    paced    25 chunks a second for 3 seconds; each contains the time it was sent
    quiet    one chunk, then the end after 3 seconds
    slow     a chunk a second for ten minutes; clients close its streams
    steady   25 chunks a second for three minutes; clients close its streams

Without `stream` each is one JSON body with the same words.
"""

import json

LONG, SHORT, PACED = 200, 10, 75
INTERVAL = 0.04
"""Seconds between the chunks of a paced answer."""
SLOW, SLOW_INTERVAL = 600, 1.0
"""Chunks of the answer of the model `slow`, and seconds between them."""
STEADY = 4500
"""Chunks of the answer of the model `steady`, 0.04 s apart."""
QUIET = 3.0
"""Seconds of silence in the answer of the model `quiet`."""
MODELS = {"slow": SLOW, "steady": STEADY, "long": LONG, "short": SHORT, "first": SHORT, "paced": PACED, "quiet": 1}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
_ABOUT = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-bench"}
_COUNTED = {
    "promptTokenCount": 9,
    "candidatesTokenCount": 200,
    "totalTokenCount": 237,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
    "thoughtsTokenCount": 28,
    "serviceTier": "standard",
}
_GEMINI = {"usageMetadata": _COUNTED, "modelVersion": "gemini-bench", "responseId": "J3dHapyWENS3g8UPyrefuAE"}
_USAGE = {"prompt_tokens": 9, "completion_tokens": 200, "total_tokens": 209}


def chunk(content: str) -> bytes:
    """Return a piece of text as a server-sent event in an HTTP chunk of its own."""
    return _framed({"choices": [{"index": 0, "delta": {"content": content}, "logprobs": None, "finish_reason": None}]})


def timed(now: float) -> bytes:
    """Return a piece of text that contains this time."""
    return _TIMED % now


def called(name: str, part: str) -> bytes:
    """Return a piece of a tool call's arguments."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": part}}
    return _framed({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]})


def tail(reason: str = "stop") -> bytes:
    """Return the finish reason, the token usage and the end of the stream."""
    finish = _framed({"choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}]})
    done = b"data: [DONE]\n\n"
    return finish + _framed({"choices": [], "usage": _USAGE}) + b"%x\r\n%s\r\n" % (len(done), done) + END


def gemini_chunk(content: str, **more: object) -> bytes:
    """Return a piece of text in Gemini's format, with the token usage so far."""
    part = {"content": {"parts": [{"text": content}], "role": "model"}, "index": 0, **more}
    data = b"data: " + json.dumps({"candidates": [part], **_GEMINI}).encode() + b"\r\n\r\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def gemini_timed(now: float) -> bytes:
    """Return a piece of text in Gemini's format that contains this time."""
    return _GEMINI_TIMED % now


def gemini_tail() -> bytes:
    """Return the finish reason and the end of the stream in Gemini's format."""
    return gemini_chunk("", finishReason="STOP") + END


def words(count: int) -> list[str]:
    """Return this many different words."""
    return [f"word{index} " for index in range(count)]


def whole(count: int) -> bytes:
    """Return the complete response to a request without `stream`."""
    message = {"role": "assistant", "content": "".join(words(count))}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = json.dumps({**_ABOUT, "object": "chat.completion", "choices": [choice], "usage": _USAGE}, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def request(path: str, fields: dict[str, object], headers: dict[str, str]) -> bytes:
    """Return a chat request as HTTP bytes."""
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], **fields}, separators=(",", ":"))
    told = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n{body}".encode()


def _framed(fields: dict[str, object]) -> bytes:
    data = b"data: " + json.dumps({**_ABOUT, **fields}, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


# A time always has as many characters as this one, so the frame's length stands.
_TIMED = chunk("t=0000000.000000 ").replace(b"0000000.000000", b"%014.6f")
_GEMINI_TIMED = gemini_chunk("t=0000000.000000 ").replace(b"0000000.000000", b"%014.6f")
