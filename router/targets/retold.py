"""Normalizers of event streams for LiteLLM: they rewrite a provider's stream to the one form that all of LiteLLM's readers understand.

Comments, other fields than `data`, a byte-order mark, or an event that is not an object break one reader or another, or cost it text.
No I/O: `feed` each piece, and pass on the result.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, cast

import msgspec

from router.errors import TargetError
from router.events import Text, Thought
from router.targets import anthropic_reader, chat_chunks, decoding, http, openai, sse
from router.targets.counts import ChatUsage
from router.targets.gemini_reader import CHUNK, GeminiReader
from router.targets.inband import ErrorData, fault
from router.targets.speech import Speech

APART = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
"""Characters within a text at which LiteLLM's client would end a line."""
CONTROLS = re.compile(rb"[\x00-\x09\x0b-\x1f]")
"""Pattern of a control character other than a line feed, which JSON does not allow within a text."""


class SseNormalizer:
    """A normalizer of one stream on OpenAI's wire: after it, each event up to the end mark is a JSON object on one line."""

    cut = False
    """True if the body ends too soon here, and LiteLLM would not notice. Only Gemini's normalizer sets it: True until a finish reason
    came."""
    reason = ""
    """The provider's own finish reason, empty before it came: LiteLLM reports `stop` for those that it does not know."""

    KIND: ClassVar[Callable[[str, Speech], http.AnswerReader]] = openai.ChatReader

    def __init__(self) -> None:
        self._frames = sse.Events()
        self.heard = Speech("")
        """The content of the stream, assembled to learn its end and usage."""
        self.reader = type(self).KIND("", self.heard)
        self.late: asyncio.Future[None] | None = None
        """Future that is done once token counts that came after the answer were read in the background; None if there is no such read."""
        self.failure: TargetError | None = None
        """The error that came within the stream; None if there was none, or if it came after the complete answer."""

    def feed(self, piece: bytes) -> bytes:
        """Return the normalized events that this piece completes; an empty piece means the end of the body."""
        events = self._frames.feed(piece) if piece else self._frames.end()
        return b"".join(map(_event, (made for data in events for made in self._normalized(data))))

    def _normalized(self, data: bytes) -> Iterator[bytes]:
        """Yield the normalized data of an event that is kept; before `[DONE]` a finish reason (END), if neither one nor an error came."""
        if data == openai.DONE and not self.heard.finished and self.failure is None:
            self.reader.frame(data)
            self.reason = "unknown"
            yield END
        if (made := self._normalized_event(data)) is not None:
            yield made

    def complete(self, body: bytes) -> bytes:
        """Return a complete answer or an error, sent in place of a stream, as the events of a stream; any other body unchanged."""
        held = _object(body)
        if held is None or not held.get("choices"):
            return body if fault(body) is None else self.feed(_event(body))
        for choice in _objects(held["choices"]):
            message: dict[str, Any] = choice.pop("message", None) or {}
            message["tool_calls"] = [{**call, "index": index} for index, call in enumerate(_objects(message.get("tool_calls")))]
            choice["delta"] = message
        return self.feed(_event(json.dumps(held).encode()) + _event(openai.DONE)) + self.feed(b"")

    def _normalized_event(self, data: bytes) -> bytes | None:
        """Feed an event to the reader, and return its normalized data; None if it is unreadable, or an error after the complete answer.
        `[DONE]` is returned unread.
        """
        if data == openai.DONE:
            return data
        chunk = decoding.decoded(data, chat_chunks.DECODE)
        try:
            self.reader.frame(data)
        except TargetError as error:
            if self.heard.answered:
                return None  # an error after the complete answer is ignored
            self.failure = error
            return data if chunk is not None and chunk.error is not None else _error(data)
        self.heard.take()
        if chunk is None:
            return None
        for choice in chunk.choices or ():
            if not choice.index and choice.finish_reason:
                self.reason = choice.finish_reason
        return _plain(data) if _is_odd(chunk) else data

    def _record(self, data: bytes) -> None:
        """Feed an event to the reader for its finish reason and token counts alone. After an error, no further event is fed."""
        if self.failure is None:
            try:
                self.reader.frame(data)
            except TargetError as error:
                self.failure = error
            self.heard.take()


END = b'{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'
"""Event that is inserted if a server ends without a finish reason: LiteLLM would take that for a broken connection."""


def _is_odd(chunk: chat_chunks.Chunk) -> bool:
    """Return whether LiteLLM would misread a chunk, so that `_plain` has to rewrite it.
    LiteLLM reads a second candidate as the first, and xAI's count without its reasoning. It ignores text in parts or in a refusal, and
    Groq's field for token counts.
    """
    odd = (one.index or (one.delta and (one.delta.refusal or isinstance(one.delta.content, list))) for one in chunk.choices or ())
    return chunk.x_groq is not None or (chunk.usage is not None and chunk.usage.output != chunk.usage.completion_tokens) or any(odd)


def _plain(data: bytes) -> bytes:
    """Return a chunk rewritten for LiteLLM: one candidate, its content or refusal as one text, and output tokens that include reasoning."""
    held = _object(data) or {}
    held["choices"] = [choice for choice in _objects(held.get("choices")) if not choice.get("index")]
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
        counted = msgspec.convert(usage, ChatUsage, strict=False)
        held["usage"] = {**cast("dict[str, Any]", usage), "completion_tokens": counted.output}
    return json.dumps(held).encode()


def _parts(parts: list[Any]) -> tuple[str, str]:
    """Return the thoughts and the text in content that is a list of parts, each joined."""
    speech = Speech("")
    openai.said_in_parts(parts, speech)
    events = speech.take()
    return tuple("".join(one.text for one in events if isinstance(one, kind)) for kind in (Thought, Text))  # type: ignore[return-value]


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        held: object = json.loads(data.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", held) if isinstance(held, dict) else None


def _objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list; none in place of any other value."""
    return [cast("dict[str, Any]", one) for one in cast("list[object]", value) if isinstance(one, dict)] if isinstance(value, list) else []


def _error(data: bytes) -> bytes:
    """Return an error in the one form that LiteLLM recognises: {"error": {…}}, an object with the message if it was a text."""
    said = fault(data)
    return json.dumps({"error": said if isinstance(said, dict) else {"message": said}}).encode()


def _event(data: bytes) -> bytes:
    if not data.isascii():
        data = data.decode("utf-8", "replace").encode()
    if CONTROLS.search(data) and (held := _object(data)) is not None:
        data = json.dumps(held).encode()  # LiteLLM refuses a text with an unescaped tab
    for character, escaped in APART:
        data = data.replace(character, escaped)
    return b"data: " + data.replace(b"\n", b" ") + b"\n\n"


class Anthropic(SseNormalizer):
    """A normalizer of one stream on Anthropic's wire: removes `iterations`, whose counts LiteLLM adds up, and records the stop reason."""

    KIND = anthropic_reader.MessageReader

    def _normalized_event(self, data: bytes) -> bytes | None:
        self._record(data)
        frame = decoding.decoded(data, anthropic_reader.FRAME)
        if frame is None or frame.error is not None or frame.type not in anthropic_reader.EVENTS or isinstance(data, ErrorData):
            if fault(data) is None:
                return None if frame is None else data
            return data if frame is not None and frame.error is not None else _error(data)
        if frame.delta is not None and frame.delta.stop_reason:
            self.reason = frame.delta.stop_reason
        held = _object(data) if b'"iterations"' in data else None
        if held is not None and isinstance(usage := held.get("usage"), dict):
            cast("dict[str, Any]", usage).pop("iterations", None)
            return json.dumps(held).encode()
        return data

    def complete(self, body: bytes) -> bytes:
        """Return a complete message or an error as the events of a stream; return any other body unchanged."""
        held = _object(body)
        if held is None or not isinstance(held.get("content"), list):
            return body if fault(body) is None else self.feed(_event(body))
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {**held, "content": [], "stop_reason": None}}]
        for index, block in enumerate(_objects(held["content"])):
            begin, deltas = _begun(block)
            events.append({"type": "content_block_start", "index": index, "content_block": begin})
            events.extend({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
            events.append({"type": "content_block_stop", "index": index})
        usage: dict[str, Any] = held.get("usage") or {}
        events.append({"type": "message_delta", "delta": {"stop_reason": held.get("stop_reason")}, "usage": usage})
        return self.feed(b"".join(_event(json.dumps(event).encode()) for event in [*events, {"type": "message_stop"}])) + self.feed(b"")


def _begun(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the start and the deltas in which a stream sends a complete block of Anthropic's. A block of another sort has no delta."""
    match block:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": text}]
        case {"type": "thinking", "thinking": str(text)}:
            signed = [{"type": "signature_delta", "signature": block["signature"]}] if block.get("signature") else []
            return {"type": "thinking", "thinking": ""}, [{"type": "thinking_delta", "thinking": text}, *signed]
        case {"type": "tool_use", "input": given}:
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(given)}]
        case _:
            return block, []


class Google(SseNormalizer):
    """A normalizer of one stream on Gemini's wire: drops all candidates but the first, and records whether a finish reason came.
    There is no end mark, and LiteLLM always reports `stop`. Some models send a finish reason with each event.
    """

    cut = True
    KIND = GeminiReader

    def _normalized_event(self, data: bytes) -> bytes | None:
        self._record(data)
        chunk = decoding.decoded(data, CHUNK)
        if chunk is None:
            return None
        reasons = [candidate.finish_reason for candidate in chunk.candidates or () if not candidate.index]
        self.reason = next(filter(None, reasons), self.reason)
        if any(reasons) or (chunk.prompt_feedback and chunk.prompt_feedback.block_reason):
            self.cut = False
        if any(candidate.index for candidate in chunk.candidates or ()):
            held = _object(data) or {}
            held["candidates"] = [one for one in _objects(held.get("candidates")) if not one.get("index")]
            return json.dumps(held).encode()
        return data

    def complete(self, body: bytes) -> bytes:
        """Return the body unchanged: Gemini's API always streams if asked to."""
        return body
