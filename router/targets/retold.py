"""A stream of events, told again in the one form in which LiteLLM's readers all read it.

A comment, another field than `data`, a byte-order mark, an event that is no object: each is the end of one reader or another, or costs
it words. No I/O: `feed` what came, send on what that makes.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from router.errors import TargetError
from router.events import Text, Thought
from router.targets import anthropic, http, openai, sse
from router.targets.counts import Counted
from router.targets.inband import Failed, fault
from router.targets.speech import Speech

APART = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
"""Characters at which its client ends a line, in the middle of somebody's words."""


class Retold:
    """The teller of one body: OpenAI's wire, where each event is an object, until the mark of the end."""

    cut = False
    """Whether the body ended too soon, and LiteLLM would not know."""
    reason = ""
    """Why the provider ended, in its own word: LiteLLM has fewer, and makes a `stop` of those it does not know."""

    def __init__(self) -> None:
        self._frames = sse.Events()
        self.heard = Speech("")
        """What it says."""
        self._reader = openai.Reader("", self.heard)
        self._failed = False

    def feed(self, piece: bytes) -> bytes:
        """What there is to be told of a piece; nothing as the piece is the end of the body."""
        events = self._frames.feed(piece) if piece else self._frames.end()
        return b"".join(map(_event, (told for data in events for told in self._told(data))))

    def _told(self, data: bytes) -> Iterator[bytes]:
        """The data of an event as it is to be told, if it is."""
        if data == openai.DONE and not self.heard.finished and not self._failed:
            self._reader.frame(data)
            self.reason = "unknown"
            yield END
        if (told := self._hear(data)) is not None:
            yield told

    def whole(self, body: bytes) -> bytes:
        """A body that is no stream, where one was asked for, as a stream; as it is where it is no answer."""
        held = _object(body)
        choices: list[Any] = (held or {}).get("choices") or []
        if held is None or not choices:
            return body
        for choice in filter(_is_object, choices):
            message: dict[str, Any] = choice.pop("message", None) or {}
            called: list[Any] = message.get("tool_calls") or []
            message["tool_calls"] = [{**call, "index": index} for index, call in enumerate(filter(_is_object, called))]
            choice["delta"] = message
        return self.feed(_event(json.dumps(held).encode()) + _event(openai.DONE)) + self.feed(b"")

    def _hear(self, data: bytes) -> bytes | None:
        """The data of an event as it is to be told; None where it is not."""
        if data == openai.DONE:
            return data
        chunk = http.decoded(data, openai.DECODE)
        try:
            self._reader.frame(data)
        except TargetError:
            if self.heard.answered:
                return None  # after the answer it comes too late to matter
            self._failed = True
            return data if chunk is not None and chunk.error is not None else _error(data)
        self.heard.take()
        if chunk is None:
            return None
        for choice in chunk.choices or ():
            if not choice.index and choice.finish_reason:
                self.reason = choice.finish_reason
        return _plain(data) if _is_odd(chunk) else data


END = b'{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'
"""What is told where a server never says why it ends, and LiteLLM would take that for a cut."""


def _is_odd(chunk: openai.Chunk) -> bool:
    """Whether LiteLLM would read a chunk otherwise than we do: a second candidate as the first, words in parts or in a refusal not at
    all, nor the count where Groq puts it; and xAI's without its reasoning.
    """
    if chunk.x_groq is not None or (chunk.usage is not None and chunk.usage.output != chunk.usage.completion_tokens):
        return True
    return any(
        one.index or (one.delta is not None and (one.delta.refusal or isinstance(one.delta.content, list))) for one in chunk.choices or ()
    )


def _plain(data: bytes) -> bytes:
    """A chunk without what is odd in it."""
    held = _object(data) or {}
    choices: list[Any] = held.get("choices") or []
    held["choices"] = [choice for choice in filter(_is_object, choices) if not choice.get("index")]
    for choice in held["choices"]:
        delta: dict[str, Any] = choice.get("delta") or {}
        if isinstance(content := delta.get("content"), list):
            thought, delta["content"] = _parts(cast("list[Any]", content))
            if thought:
                delta["reasoning_content"] = thought
        if isinstance(refusal := delta.pop("refusal", None), str):
            delta["content"] = f"{delta.get('content') or ''}{refusal}"
    groq: dict[str, Any] = held.get("x_groq") or {}
    if isinstance(usage := held.get("usage") or groq.get("usage"), dict):
        counted = msgspec.convert(usage, Counted, strict=False)
        held["usage"] = {**cast("dict[str, Any]", usage), "completion_tokens": counted.output}
    return json.dumps(held).encode()


def _parts(parts: list[Any]) -> tuple[str, str]:
    """The thought and the text of content in parts, as the direct lane reads them."""
    speech = Speech("")
    openai.said_in_parts(parts, speech)
    events = speech.take()
    return tuple("".join(one.text for one in events if isinstance(one, kind)) for kind in (Thought, Text))  # type: ignore[return-value]


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        held: object = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", held) if isinstance(held, dict) else None


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _error(data: bytes) -> bytes:
    """An error in the one shape that LiteLLM knows."""
    said = fault(data)
    return json.dumps({"error": said if isinstance(said, dict) else {"message": said}}).encode()


def _event(data: bytes) -> bytes:
    if not data.isascii():
        data = data.decode("utf-8", "replace").encode()
    for character, escaped in APART:
        data = data.replace(character, escaped)
    return b"data: " + data.replace(b"\n", b" ") + b"\n\n"


class Anthropic(Retold):
    """The same of Anthropic's wire. LiteLLM adds up counts of calls that were made on the way (`iterations`), and calls a pause a limit."""

    def _hear(self, data: bytes) -> bytes | None:
        frame = http.decoded(data, anthropic.FRAME)
        if frame is None or frame.error is not None or frame.type.lower().endswith("error") or isinstance(data, Failed):
            if fault(data) is None:
                return None
            return data if frame is not None and frame.error is not None else _error(data)
        if frame.delta is not None and frame.delta.stop_reason:
            self.reason = frame.delta.stop_reason
        held = _object(data) if b'"iterations"' in data else None
        if held is not None and isinstance(usage := held.get("usage"), dict):
            cast("dict[str, Any]", usage).pop("iterations", None)
            return json.dumps(held).encode()
        return data

    def whole(self, body: bytes) -> bytes:
        """A message as the events of one."""
        held = _object(body)
        if held is None or not isinstance(content := held.get("content"), list):
            return body
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {**held, "content": [], "stop_reason": None}}]
        for index, block in enumerate(filter(_is_object, cast("list[Any]", content))):
            begin, delta = _begun(block)
            events.append({"type": "content_block_start", "index": index, "content_block": begin})
            if delta:
                events.append({"type": "content_block_delta", "index": index, "delta": delta})
            events.append({"type": "content_block_stop", "index": index})
        usage: dict[str, Any] = held.get("usage") or {}
        events.append({"type": "message_delta", "delta": {"stop_reason": held.get("stop_reason")}, "usage": usage})
        return self.feed(b"".join(_event(json.dumps(event).encode()) for event in [*events, {"type": "message_stop"}])) + self.feed(b"")


def _begun(block: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A block of a whole message as it would have begun, and what would have followed."""
    match block:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": ""}, {"type": "text_delta", "text": text}
        case {"type": "thinking", "thinking": str(text)}:
            return {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": text}
        case {"type": "tool_use", "input": given}:
            return {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(given)}
        case _:
            return block, {}


class Candidate(msgspec.Struct, rename="camel"):
    """One candidate of Google's."""

    index: int | None = None
    finish_reason: str | None = None


class Blocked(msgspec.Struct, rename="camel"):
    """What became of the question."""

    block_reason: str | None = None


class Chunk(msgspec.Struct, rename="camel"):
    """One event of Google's."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Blocked | None = None


GOOGLES = msgspec.json.Decoder(Chunk)


class Google(Retold):
    """The same of Google's wire, which marks no end: LiteLLM makes up a `stop` for every event. Some models give a reason with each,
    so that nothing can be said of what comes after one.
    """

    cut = True

    def _hear(self, data: bytes) -> bytes | None:
        chunk = http.decoded(data, GOOGLES)
        if chunk is None:
            return None
        reasons = [candidate.finish_reason for candidate in chunk.candidates or () if not candidate.index]
        self.reason = next(filter(None, reasons), self.reason)
        if any(reasons) or (chunk.prompt_feedback and chunk.prompt_feedback.block_reason):
            self.cut = False
        if any(candidate.index for candidate in chunk.candidates or ()):
            held = _object(data) or {}
            candidates: list[Any] = held.get("candidates") or []
            held["candidates"] = [one for one in filter(_is_object, candidates) if not one.get("index")]
            return json.dumps(held).encode()
        return data

    def whole(self, body: bytes) -> bytes:
        """As it is: this API streams wherever it is asked to."""
        return body
