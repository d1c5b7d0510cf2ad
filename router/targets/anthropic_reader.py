"""Reading of Anthropic's answers, for the Anthropic lane: a MessageReader feeds a Speech with a message, streamed or complete.

An answer is a list of blocks: text, thinking and tool_use. Of tools that Anthropic runs itself, only search results are read.
"""

from operator import attrgetter
from typing import Any, Literal

import msgspec

from router.errors import TargetDown
from router.targets import decoding, shown
from router.targets.counts import Apart, CompletionDetails, Counts, Lasting, ServerTools
from router.targets.inband import ErrorData, error_in
from router.targets.reasoning import BLOCKS, Blocks
from router.targets.speech import Speech
from router.targets.text_frames import NoText, TextFrames

EVENTS = frozenset({"ping", *(f"{of}_{at}" for of in ("message", "content_block") for at in ("start", "delta", "stop"))})
"""Types of the events of a stream. One of another type may be an error."""


class Delta(msgspec.Struct):
    """The `delta` of a stream's event: a piece of a content block, or the stop reason of the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    citation: Any = None


class Block(msgspec.Struct):
    """A content block: its start in a stream, or all of it in a complete message."""

    type: str = ""
    id: str = ""
    name: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    input: Any = None
    citations: list[Any] | None = None
    content: Any = None


class Counted(msgspec.Struct):
    """Token counts of a message so far, some of them perhaps missing. `input_tokens` has no tokens of the prompt cache."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation: Lasting | None = None
    output_tokens_details: CompletionDetails | None = None
    server_tool_use: ServerTools | None = None

    def asked(self) -> int:
        """Return all input tokens, cached ones included."""
        return (self.input_tokens or 0) + (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)

    def over(self, before: "Counted") -> "Counted":
        """Return these counts, with missing ones filled in from the earlier counts `before`.
        Zero output tokens, or zeros for all input, count as missing: relays, vLLM and Z.ai send them.
        If the input tokens are unchanged or missing, the larger count of each cache stays. Otherwise a new cache count holds, even 0.
        """
        again = not self.asked() or self.input_tokens in (None, before.input_tokens)

        def newest(now: int | None, then: int | None) -> int | None:
            return max(now or 0, then or 0) if again else then if now is None else now

        return Counted(
            before.input_tokens if self.input_tokens is None or not self.asked() else self.input_tokens,
            newest(self.cache_creation_input_tokens, before.cache_creation_input_tokens),
            newest(self.cache_read_input_tokens, before.cache_read_input_tokens),
            self.output_tokens or before.output_tokens,
            self.cache_creation or before.cache_creation,
            self.output_tokens_details or before.output_tokens_details,
            self.server_tool_use or before.server_tool_use,
        )

    def counts(self) -> Counts:
        """Return these counts in the terms of Usage: cache tokens are part of the input."""
        return Counts(
            self.asked(),
            self.output_tokens,
            cached=self.cache_read_input_tokens,
            cache_write=self.cache_creation_input_tokens,
            reasoning=self.output_tokens_details.thinking_tokens if self.output_tokens_details else None,
            cache_write_1h=self.cache_creation.ephemeral_1h_input_tokens if self.cache_creation else None,
            apart=Apart(searches=self.server_tool_use.web_search_requests) if self.server_tool_use else None,
        )


class Whole(msgspec.Struct):
    """A message with its blocks, stop reason and counts: complete, or as far as they are known at the start of a stream."""

    content: list[Block] | None = None
    stop_reason: str | None = None
    usage: Counted | None = None
    model: Any = None


class Frame(msgspec.Struct):
    """The decoded data of one event of a Messages stream."""

    type: str = ""
    index: int = 0
    message: Whole | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Counted | None = None
    error: Any = None


class TextBlockDelta(msgspec.Struct, gc=False):
    """A Delta of text."""

    type: Literal["text_delta"]
    text: str
    stop_reason: NoText = None


class TextBlockFrame(msgspec.Struct, gc=False):
    """A Frame of text alone: the struct refuses what makes a frame another one."""

    type: Literal["content_block_delta"]
    delta: TextBlockDelta
    message: None = None
    usage: None = None
    error: None = None


FRAME = msgspec.json.Decoder(Frame)
WHOLE = msgspec.json.Decoder(Whole)


class MessageReader(TextFrames):
    """Parser of one message, streamed or complete, which feeds a Speech (the assembler of the answer's events)."""

    decode = msgspec.json.Decoder(TextBlockFrame).decode
    text_of = attrgetter("delta.text")
    ends = b"message_stop"

    def __init__(self, name: str, speech: Speech) -> None:
        self.name = name
        self.speech = speech
        self._own: set[int] = set()
        """Indexes of the blocks that are calls of the question's tools, not of tools that Anthropic runs itself."""
        self._counted = Counted()
        self._thoughts = Blocks(speech)

    def frame(self, data: bytes) -> bool:
        """Read the data of one frame; return False if it ends the answer. Raises TargetError for an error; skips an unreadable frame."""
        frame = decoding.decoded(data, FRAME)
        odd = frame is None or frame.type not in EVENTS or frame.error is not None
        if (odd or data.__class__ is ErrorData) and (error := error_in(self.name, data)) is not None:
            raise error
        if frame is None:
            return True
        if frame.type == "message_stop":
            self.speech.finish()
            return False
        if frame.message is not None:
            self.speech.called(frame.message.model)
        counted = frame.usage or (frame.message.usage if frame.message else None)
        if counted is not None:
            self._counted = counted.over(self._counted)
            self.speech.usage(self._counted.counts())
        if not self.speech.finished:
            self._see(frame)
        return True

    def _see(self, frame: Frame) -> None:
        block, delta, speech = frame.content_block, frame.delta, self.speech
        if block is not None and frame.type == "content_block_start":
            if block.type == "tool_use":
                self._own.add(frame.index)
            self._begun(frame.index, block)
        elif delta is not None:
            if delta.stop_reason:
                self._thoughts.close()
                speech.finish(delta.stop_reason)
            elif delta.type == "text_delta" and delta.text:
                speech.text(delta.text)
            elif delta.type == "thinking_delta" and delta.thinking:
                self._thoughts.thinking(delta.thinking)
                speech.thought(delta.thinking)
            elif delta.type == "signature_delta" and delta.signature:
                self._thoughts.thinking(signature=delta.signature)
            elif delta.type == "input_json_delta" and delta.partial_json and frame.index in self._own:
                speech.call(frame.index, "", "", delta.partial_json)
            elif delta.type == "citations_delta":
                speech.source(shown.citation(delta.citation))

    def complete(self, body: bytes) -> None:
        """Read a complete message that came instead of a stream. Raises TargetError if the body is an error or not a message."""
        complete = decoding.decoded(body, WHOLE)
        if complete is None or complete.content is None:
            raise error_in(self.name, body) or TargetDown(self.name, "malformed")
        self.speech.called(complete.model)
        for index, block in enumerate(complete.content):
            self._begun(index, block)
        self._thoughts.close()
        if complete.usage is not None:
            self.speech.usage(complete.usage.counts())
        if complete.stop_reason:
            self.speech.finish(complete.stop_reason)

    def _begun(self, index: int, block: Block) -> None:
        """Read a content block, complete or its start, and end the thinking block before it. Blocks of unknown types are skipped."""
        speech = self.speech
        self._thoughts.close()
        if block.type == BLOCKS[0]:
            self._thoughts.thinking(block.thinking or "", block.signature)
            if block.thinking:
                speech.thought(block.thinking)
        elif block.type == BLOCKS[1] and block.data:
            self._thoughts.redacted(block.data)
        elif block.type == "text" and block.text:
            speech.text(block.text)
            for one in block.citations or ():
                speech.source(shown.citation(one))
        elif block.type == "web_search_tool_result":
            for one in shown.searched({"type": block.type, "content": block.content}):
                speech.source(one)
        elif block.type == "tool_use":
            speech.call(index, block.id, block.name, decoding.arguments_text(block.input))
