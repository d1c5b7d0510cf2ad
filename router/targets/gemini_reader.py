"""Reading of Gemini's answers: a stream of GenerateContentResponses, one of them, or a list.

Each has a candidate with parts: texts, thoughts, calls. Parts of tools that Google runs itself (code, searches) are skipped.
A call comes complete, or as pieces of its arguments, each with a JSONPath.

Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec

from router.chat import Json
from router.errors import TargetDown
from router.targets import decoding, shown
from router.targets.counts import Apart, Counts, tokens
from router.targets.gemini_contents import SIGNATURE
from router.targets.inband import ErrorData, error_in
from router.targets.open_call import MAX_DEPTH
from router.targets.speech import MAX_ARGUMENTS, Speech

UNSPECIFIED = "_UNSPECIFIED"
"""Ending of a finish or block reason that stands for no reason."""
STOP = "STOP"


class FunctionCall(msgspec.Struct, rename="camel"):
    """A function call, or a piece of one."""

    id: str | None = None
    name: str | None = None
    args: Any = None
    partial_args: list[Any] | None = None
    will_continue: bool | None = None


class Blob(msgspec.Struct, rename="camel"):
    """A file. `data`: its bytes, in base64."""

    mime_type: str = ""
    data: str = ""


class Part(msgspec.Struct, rename="camel"):
    """A part of the content: a text, a thought, a call or a file. `thought`: true if the text or file is a thought."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: Blob | None = None


class Content(msgspec.Struct):
    """The parts of a candidate."""

    parts: list[Part] | None = None


class Grounding(msgspec.Struct, rename="camel"):
    """The sources that Google's tools found for an answer."""

    grounding_chunks: list[Any] | None = None


class GeminiCandidate(msgspec.Struct, rename="camel"):
    """A candidate answer, or a piece of one; only index 0 is read."""

    index: int | None = None
    content: Content | None = None
    finish_reason: str | None = None
    grounding_metadata: Grounding | None = None


class Feedback(msgspec.Struct, rename="camel"):
    """The provider's verdict on the question: why it was blocked, if it was."""

    block_reason: str | None = None


class Counted(msgspec.Struct, rename="camel"):
    """Token counts as Google reports them: the prompt with cached tokens but not those of tools, the candidates without thoughts."""

    prompt_token_count: int | float | None = None
    tool_use_prompt_token_count: int | float | None = None
    cached_content_token_count: int | float | None = None
    candidates_token_count: int | float | None = None
    thoughts_token_count: int | float | None = None
    prompt_tokens_details: msgspec.Raw = msgspec.Raw()
    candidates_tokens_details: msgspec.Raw = msgspec.Raw()
    service_tier: Any = None

    @property
    def apart(self) -> Apart | None:
        """Return the counts of audio and image tokens, and the service tier; None if there is none of the three."""
        read, made = bytes(self.prompt_tokens_details), bytes(self.candidates_tokens_details)
        if not self.service_tier and read.find(b"AUDIO") < 0 and made.find(b"AUDIO") < 0 and made.find(b"IMAGE") < 0:
            return None
        return Apart(_modality(read, "AUDIO"), _modality(made, "AUDIO"), _modality(made, "IMAGE"), tier=self.service_tier)


class Modality(msgspec.Struct, rename="camel"):
    """The tokens of one kind, such as TEXT, AUDIO or IMAGE."""

    modality: str = ""
    token_count: int | float | None = None


MODALITIES = msgspec.json.Decoder(list[Modality])


def _modality(details: bytes, kind: str) -> float:
    """Return the tokens of one kind in the details of a count; 0 if it is absent or the details are unreadable."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        return sum(tokens(one.token_count) for one in MODALITIES.decode(details) if one.modality == kind)
    return 0


class Chunk(msgspec.Struct, rename="camel"):
    """A GenerateContentResponse: one event of a stream, or an answer that is not streamed."""

    candidates: list[GeminiCandidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Counted | None = None
    model_version: Any = None
    error: Any = None


CHUNK = msgspec.json.Decoder(Chunk)
CHUNKS = msgspec.json.Decoder(list[Chunk])


class GeminiReader:
    """Parser of one Gemini answer, streamed or complete, which feeds a Speech (the assembler of the answer's events)."""

    def __init__(self, name: str, speech: Speech) -> None:
        self._name = name
        self._speech = speech
        self._calls = 0
        """Number of calls so far."""
        self._open: Partial | None = None
        """The call whose arguments are incomplete."""
        self._signed: set[tuple[str, str, str]] = set()
        """Name, arguments and signature of each signed call so far: a repeated one is skipped."""
        self._counted = Counted()
        """The last token counts."""
        self._reason = ""
        self._last = b""
        """The last document that was read once the answer had finished: a repeat of it is skipped."""

    def words(self, found: Sequence[bytes]) -> None:
        """Return None: in this form nothing tells a frame of text alone."""

    def frames(self, found: Sequence[bytes]) -> bool:
        """Read the data of frames, and return True: the stream has no mark of its last frame. Raises TargetError for an error."""
        return all(map(self.frame, found))

    def frame(self, data: bytes) -> bool:
        """Read the data of one frame, and return True. Raises TargetError for an error; skips an unreadable frame."""
        self._hear(data)
        return True

    def complete(self, body: bytes) -> None:
        """Read a body that is not a stream: one response, or a list as without `alt=sse`. Raises TargetError for any other body."""
        if not body.lstrip().startswith(b"["):
            if not self._hear(body):
                raise TargetDown(self._name, "malformed")
            return
        chunks = decoding.decoded(body, CHUNKS)
        if not chunks or any(chunk.error is not None for chunk in chunks):
            raise error_in(self._name, body) or TargetDown(self._name, "malformed")
        for chunk in chunks:
            self._see(chunk)

    def _hear(self, data: bytes) -> bool:
        """Read a document unless it repeats the last of a finished answer; return whether it is readable. Raises TargetError for an error."""
        chunk = decoding.decoded(data, CHUNK)
        odd = chunk is None or chunk.error is not None or not (chunk.candidates or chunk.usage_metadata or chunk.prompt_feedback)
        if (odd or data.__class__ is ErrorData) and (error := error_in(self._name, data)) is not None:
            raise error
        if chunk is not None and data != self._last:
            self._see(chunk)
            if self._speech.finished:
                self._last = data
        return chunk is not None

    def _see(self, chunk: Chunk) -> None:
        speech = self._speech
        if speech.model is None and chunk.model_version:
            speech.called(chunk.model_version)
        if (counted := chunk.usage_metadata) is not None and counted != self._counted:
            self._counted = counted
            thought = tokens(counted.thoughts_token_count)
            read = tokens(counted.prompt_token_count) + tokens(counted.tool_use_prompt_token_count)
            written = tokens(counted.candidates_token_count) + thought
            speech.usage(Counts(read, written, cached=counted.cached_content_token_count, reasoning=thought, apart=counted.apart))
        for candidate in chunk.candidates or ():
            if not candidate.index:
                self._candidate(candidate)
        if (feedback := chunk.prompt_feedback) is not None and (reason := feedback.block_reason) and not reason.endswith(UNSPECIFIED):
            speech.finish("content_filter")

    def _candidate(self, candidate: GeminiCandidate) -> None:
        """Read the candidate of one response: its parts, sources and finish reason.
        After a finish reason, further parts are read only if that was STOP and this response has a reason too; otherwise only sources.
        """
        speech = self._speech
        stated = candidate.finish_reason
        reason = "" if stated is None or stated.endswith(UNSPECIFIED) else stated
        over = speech.finished and (not reason or self._reason != STOP or speech.cut)
        if speech.finished and not over:
            speech.resume()
        if candidate.content is not None and not over:
            for part in candidate.content.parts or ():
                self._part(part)
        if candidate.grounding_metadata is not None:
            self._ground(candidate.grounding_metadata)
        if reason and not over:
            self._reason = reason
            self._close(complete=reason == STOP)
            speech.finish(reason)

    def _ground(self, found: Grounding) -> None:
        """Pass the web pages, places and documents that a candidate cites to the Speech, as sources."""
        for one in found.grounding_chunks or ():
            match one:
                case {"web": {"uri": url, **more}} | {"maps": {"uri": url, **more}}:
                    self._speech.source(shown.page(url, more.get("title")))
                case {"retrievedContext": {"title": title, **more}}:
                    self._speech.source(shown.page(more.get("uri"), title) or shown.document(title))
                case _:
                    pass

    def _part(self, part: Part) -> None:
        speech, text, signature = self._speech, part.text, part.thought_signature
        if part.function_call is not None:
            self._call(part.function_call, signature)
        elif (blob := part.inline_data) is not None:
            if not part.thought:  # drafts of an image come as thoughts: no wire can show them
                speech.file(shown.produced(blob.mime_type, blob.data))
            if signature:
                speech.state({SIGNATURE: signature})
        elif part.thought:
            if text:
                speech.thought(text)
            if signature:
                speech.state({"text": text or "", "thought": True, SIGNATURE: signature})
        elif text is not None:
            if text:
                speech.text(text)
            if signature:
                speech.state({SIGNATURE: signature})

    def _call(self, call: FunctionCall, signature: str | None) -> None:
        """Read a complete call, the start of one, or further arguments of the open one (without a name). Skips a repeated signed call."""
        if call.name:
            self._close(complete=True)
            written = decoding.arguments_text(call.args)
            if signature and (call.name, written, signature) in self._signed:
                return
            self._calls += 1
            self._open = Partial(call.args) if call.will_continue or call.partial_args else None
            self._speech.call(self._calls, call.id or "", call.name, "" if self._open else written)
            if signature:
                self._signed.add((call.name, written, signature))
                self._speech.state({SIGNATURE: signature}, self._calls)
        if self._open is not None:
            self._open.add(self._name, call.partial_args or ())
            if not call.will_continue:
                self._close(complete=True)

    def _close(self, *, complete: bool) -> None:
        """End the open call, if any. Unless `complete`, its arguments are written as unfinished JSON, so that it counts as malformed."""
        if self._open is not None:
            written = json.dumps(self._open.arguments(), ensure_ascii=False)
            self._speech.call(self._calls, "", "", written if complete else written[:-1])
        self._open = None


STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
"""A step of a JSONPath (RFC 9535): a name or an index."""
VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


class Partial:
    """A call's arguments, assembled from values at JSONPaths; texts at one path are appended."""

    def __init__(self, args: object) -> None:
        self._args = cast("dict[str, Json]", args) if isinstance(args, dict) else {}
        self._pieces: dict[str, list[Json]] = {}
        self._size = 0

    def add(self, target: str, pieces: Sequence[Any]) -> None:
        """Add pieces; skip unreadable ones. Raises TargetDown for `target` if all together exceed MAX_ARGUMENTS characters."""
        for piece in (cast("dict[str, Any]", one) for one in pieces if isinstance(one, dict)):
            path, name = piece.get("jsonPath"), next((one for one in VALUES if one in piece), None)
            if isinstance(path, str) and name is not None:
                value = None if name == "nullValue" else piece[name]
                self._size += len(path) + (len(value) if isinstance(value, str) else 8)
                self._pieces.setdefault(path, []).append(value)
        if self._size > MAX_ARGUMENTS:
            raise TargetDown(target, "malformed")

    def arguments(self) -> dict[str, Json]:
        """Return the arguments as assembled so far."""
        for path, values in self._pieces.items():
            texts = [one for one in values if isinstance(one, str)]
            found = STEP.findall(path.removeprefix("$"))
            steps = [int(place) if place else name or single or double for name, place, single, double in found]
            _put(self._args, steps, "".join(texts) if texts else values[-1])
        return self._args


def _put(root: dict[str, Json], steps: list[str | int], value: Json) -> None:
    """Put a value at its path in `root` if that fits the values so far. Beyond MAX_DEPTH steps, only the containers are made."""
    at: Any = root
    for step, after in zip(steps[:MAX_DEPTH], [*steps[1:], None], strict=False):
        new: Any = value if after is None else [] if isinstance(after, int) else {}
        if isinstance(at, dict) and isinstance(step, str):
            table = cast("dict[str, Any]", at)
            table[step] = new if after is None else table.get(step, new)
            at = table[step]
        elif isinstance(at, list) and isinstance(step, int) and step <= len(rows := cast("list[Any]", at)):
            if step == len(rows):
                rows.append(new)
            elif after is None:
                rows[step] = new
            at = rows[step]
        else:
            return
