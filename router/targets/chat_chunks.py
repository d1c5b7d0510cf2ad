"""The chunks of an answer on the chat-completions wire, and complete answers: the fields of them that are used.

A frame of text alone, as most frames are, has structs of its own, which refuse every other frame.
"""

from typing import Any, Literal

import msgspec

from router.targets.counts import ChatUsage
from router.targets.text_frames import NoList, NoText


class Function(msgspec.Struct, gc=False):
    """The name and arguments of a call, or a piece of them. Some servers send the arguments as an object."""

    name: str | None = None
    arguments: Any = None


class CallPiece(msgspec.Struct, gc=False):
    """A tool call, or a piece of one. Some servers use numbers as ids."""

    index: int | None = None
    id: str | int | None = None
    function: Function | None = None
    extra_content: dict[str, Any] | None = None


class Delta(msgspec.Struct, gc=False):
    """The content of a choice: a piece in a stream, or all of it in a message. `content` may be a list of parts."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: list[dict[str, Any]] | None = None
    refusal: Any = None
    tool_calls: list[CallPiece] | None = None
    annotations: list[Any] | None = None
    images: list[Any] | None = None


class ChunkChoice(msgspec.Struct, gc=False):
    """A candidate answer (choice), or a piece of one; only index 0 is read."""

    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    error: Any = None


class Groq(msgspec.Struct, gc=False):
    """Groq's extra field `x_groq`, which has the token counts of a stream."""

    usage: ChatUsage | None = None


class Chunk(msgspec.Struct, gc=False):
    """An event of the stream, or a complete answer. `citations` (URLs) and `search_results` are Perplexity's and xAI's."""

    choices: list[ChunkChoice] | None = None
    usage: ChatUsage | None = None
    x_groq: Groq | None = None
    service_tier: Any = None
    model: Any = None
    error: Any = None
    citations: list[Any] | None = None
    search_results: list[Any] | None = None


DECODE = msgspec.json.Decoder(Chunk)
SILENT = Delta()
"""A Delta that says nothing."""


class TextDelta(msgspec.Struct, gc=False):
    """A Delta with text alone. The struct, like the three below, refuses what makes its frame another one."""

    content: str
    reasoning_content: NoText = None
    reasoning: NoText = None
    reasoning_details: NoList = None
    refusal: NoText = None
    tool_calls: NoList = None
    annotations: NoList = None
    images: NoList = None


class TextChoice(msgspec.Struct, gc=False):
    """The choice of a frame of text alone."""

    delta: TextDelta
    index: Literal[0] | None = None
    finish_reason: NoText = None
    error: None = None


class TextChoices(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The list of the one choice of a frame of text alone."""

    only: TextChoice


class TextChunk(msgspec.Struct, gc=False):
    """A Chunk of text alone."""

    choices: TextChoices
    usage: None = None
    x_groq: None = None
    error: None = None
    citations: NoList = None
    search_results: NoList = None


class NamedTextChunk(TextChunk, gc=False):
    """A Chunk of text alone, read for the model's name. A name of another type could be a document of any size: Chunk reads it."""

    model: str | None = None
