"""Conversion of LiteLLM's chunks into events, with the token counts that the provider really sent, and of its errors into TargetErrors."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetDown, TargetError, TargetRefused, TargetSilent
from router.events import Events
from router.targets import shown
from router.targets.counts import ChatUsage, Counts
from router.targets.finish_reasons import BROKEN, REASONS
from router.targets.litellm_library import STREAMS, Library, Stream
from router.targets.litellm_providers import ASKED
from router.targets.passage import chain, kinds_of
from router.targets.reasoning import Blocks, Reasoning, Returns
from router.targets.retold import SseNormalizer
from router.targets.speech import Speech
from router.targets.text_filters import AnswerLimits
from router.targets.verdict import verdict

THEIRS = ("srvtoolu_", "mcptoolu_")
"""Prefixes of the ids of calls to tools that Anthropic runs itself."""
SIGNATURE = "__thought__"
"""Separator in a call id, after which LiteLLM puts Gemini's signature."""


def _read_thinking(delta: Any, thoughts: Blocks) -> None:
    """Pass the pieces of Claude's thinking blocks in a delta to `thoughts`. Text or a call without such pieces closes the open block."""
    pieces: list[Any] = list(getattr(delta, "thinking_blocks", None) or ())
    for piece in pieces:
        match piece:
            case {"type": "redacted_thinking", "data": str(data)}:
                thoughts.redacted(data)
            case {"type": "thinking"}:
                if thoughts.signed:
                    thoughts.close()
                thought, signature = piece.get("thinking"), piece.get("signature")
                thoughts.thinking(thought if isinstance(thought, str) else "", signature if isinstance(signature, str) else None)
            case _:
                pass
    if not pieces and (delta.content or delta.tool_calls):
        thoughts.close()


class ChunkParser:
    """Parser of the chunks of one LiteLLM call, which feeds a Speech (the assembler of the answer's events).
    It drops token counts and finish reasons that LiteLLM invents, and calls of tools that the provider runs itself.
    """

    def __init__(self, speech: Speech, bounds: AnswerLimits, takes: Returns) -> None:
        self.speech = speech
        speech.bound(bounds)
        self._reasoning = Reasoning(takes)
        speech.states_at_end = self._reasoning.states
        self._blocks = Blocks(speech) if takes.blocks else None
        self.streams: list[SseNormalizer] = []
        """Normalizers of the streams that the call reads."""
        self.stream: Stream | None = None
        """The stream of LiteLLM's call; None until the provider was asked."""
        self._foreign: set[int] = set()

    def __call__(self, chunk: Any) -> None:
        """Add the content of one chunk to the Speech; after the finish reason, only its token counts."""
        speech = self.speech
        if (usage := getattr(chunk, "usage", None)) and (sent := self._sent):
            _read_usage(usage, speech, sent)
        for choice in chunk.choices[:1]:
            delta = choice.delta
            if speech.finished:
                break
            if thought := getattr(delta, "reasoning_content", None):
                speech.thought(thought)
                self._reasoning.text("reasoning_content", thought)
            if self._blocks is not None:
                _read_thinking(delta, self._blocks)
            if delta.content:
                speech.text(delta.content)
            _read_sources(delta, speech)
            for call in delta.tool_calls or ():
                self._call(call)
            if choice.finish_reason:
                if self._blocks is not None:
                    self._blocks.close()
                self._finish(choice.finish_reason)

    def with_usage(self, error: TargetError) -> TargetError:
        """Set the answer's usage so far on an error, if the provider sent any, and return the error."""
        if sent := self._sent:
            _read_usage(sent[-1], self.speech, sent)
            error.used = self.speech.used
        return error

    def expect_count(self) -> None:
        """Keep the meter open while the answer's stream is read in the background; the end of that read sets late counts and closes it."""
        heard, late = next(((one.heard, one.late) for one in self.streams if one.late is not None), (None, None))
        if heard is None or late is None or self.speech.counted or self.speech.cut:
            return
        meter = self.speech.meter
        meter.wait()

        def count(_: object) -> None:
            if heard.counted:
                meter.usage, meter.final = heard.used, True
            meter.close()

        late.add_done_callback(count)

    @property
    def stated(self) -> tuple[int, str] | None:
        """Return the status and text of the error that the provider sent within its stream; None if it sent none."""
        return next((one.failure.stated for one in reversed(self.streams) if one.failure is not None), None)

    @property
    def own_reason(self) -> str:
        """Return the provider's own word for the finish reason, which LiteLLM may change, as the normalizers read it; empty without one."""
        return next((one.reason for one in reversed(self.streams) if one.reason), "")

    @property
    def _sent(self) -> Sequence[Any]:
        """Return the token counts that the provider sent so far, in order; empty if there are none."""
        chunks = self.stream.chunks if self.stream is not None else ()
        return [usage for one in chunks if (usage := getattr(one, "usage", None))]

    def _call(self, call: Any) -> None:
        index = call.index or 0
        if call.id:
            (self._foreign.add if call.id.startswith(THEIRS) else self._foreign.discard)(index)
        if index not in self._foreign:
            # LiteLLM writes Gemini's signature into the id as well, which goes to clients and other targets.
            call_id = (call.id or "").partition(SIGNATURE)[0]
            self.speech.call(index, call_id, call.function.name or "", call.function.arguments or "")
            match getattr(call, "provider_specific_fields", None):
                case {"thought_signature": str(signature)}:
                    self.speech.state({"provider_specific_fields": {"thought_signature": signature}}, index)
                case _:
                    pass

    def _finish(self, reason: str) -> None:
        assert self.stream is not None
        stated = self.stream.received_finish_reason or self.stream.intermittent_finish_reason
        if stated and (own := self.own_reason) and REASONS.get(own.lower()) not in ("stop", "tool-calls"):
            self.speech.finish(own)  # LiteLLM reports it as `stop` or `length`
        elif stated and stated.lower() in BROKEN:
            self.speech.finish(stated)
        elif stated:
            # LiteLLM reports `tool_calls` for the provider's own tools too; Speech corrects `stop` if there are calls.
            self.speech.finish("stop" if reason == "tool_calls" else reason)


async def call_events(lane: Library, arguments: Mapping[str, object], parser: ChunkParser) -> Events:
    """Call LiteLLM, and stream the events of the answer. Raises LiteLLM's errors, and TargetError for a cut or filtered answer."""
    STREAMS.set(parser.streams)
    parser.stream = stream = await lane.acompletion(**arguments)
    speech = parser.speech
    try:
        async for chunk in stream:
            parser(chunk)
            for event in speech.take():
                yield event
            if speech.cut or (getattr(chunk, "usage", None) and speech.finished):
                break  # the last one: LiteLLM would only log after it
        parser.expect_count()
        for event in speech.end():
            yield event
    finally:
        # Without this, a cancelled reader leaves the provider's connection open.
        await stream.aclose()


def _read_sources(delta: Any, speech: Speech) -> None:
    """Pass the sources and images of a delta to the Speech, in OpenAI's form, or in Anthropic's where LiteLLM leaves it unchanged."""
    for one in getattr(delta, "annotations", None) or ():
        speech.source(shown.annotation(one if isinstance(one, dict) else one.model_dump()))
    for one in getattr(delta, "images", None) or ():
        speech.file(shown.image(one if isinstance(one, dict) else one.model_dump()))
    match getattr(delta, "provider_specific_fields", None):
        case {"citation": given}:
            speech.source(shown.citation(given))
        case {"web_search_results": [*blocks]}:
            for one in blocks:
                for found in shown.searched(one):
                    speech.source(found)
        case _:
            pass


def _read_usage(usage: Any, speech: Speech, sent: Sequence[Any]) -> None:
    """Pass LiteLLM's token counts to the Speech, without reasoning tokens that none of the provider's counts (`sent`) has."""
    counted = _plain(usage)
    if not any(_plain(one).get("completion_tokens_details") for one in sent):
        counted.pop("completion_tokens_details", None)
    try:
        speech.usage(msgspec.convert(counted, ChatUsage, strict=False).counts())
    except msgspec.ValidationError:
        speech.usage(Counts(usage.prompt_tokens, usage.completion_tokens))  # its details have a wrong type


def _plain(usage: Any) -> dict[str, Any]:
    return {**cast("dict[str, Any]", usage.model_dump() if hasattr(usage, "model_dump") else vars(usage))}


CERTIFICATE = frozenset({"SSLError", "ClientSSLError"})
ANSWERED = frozenset({"APIStatusError", "HTTPStatusError"})
"""Class names of errors for which a response came: LiteLLM raises one error class for a provider's 408 or 504 and for its own timeout."""
CONNECTION = frozenset({"APIConnectionError", "TransportError", "ClientError", "OSError"})


def raised(target: str, provider: str, error: BaseException, parser: ChunkParser) -> TargetError:
    """Return the TargetError for a failed call of LiteLLM; `error` itself if it is one, `malformed` for an error of no known kind.

    An error within the stream is judged by its own words, as on the direct lanes. A stream that ended without a finish reason, or with one
    that means a failure, is `cut`, whichever error LiteLLM raises for it.
    LiteLLM's message is left out, because it may contain the provider's body and the key.
    """
    unfinished = not parser.speech.finished
    if parser.stated is not None and unfinished:
        return verdict(target, *parser.stated)
    if isinstance(error, TargetError):
        return error
    error = getattr(error, "original_exception", None) or error
    kinds, causes = kinds_of(error), set[str]().union(*map(kinds_of, chain(error)[1:]))
    if parser.stream is not None and unfinished and (parser.own_reason.lower() in BROKEN or "StopAsyncIteration" in causes):
        return TargetDown(target, "cut")
    if "ContextWindowExceededError" in kinds:
        return ContextTooLong(target, "context_too_long")
    if "ContentPolicyViolationError" in kinds:
        return ContentFiltered(target, "content_filter")
    if kinds & {"Timeout", "APITimeoutError", "TimeoutError"} and not causes & ANSWERED:
        return TargetSilent(target, "timeout_connect")
    if (kinds | causes) & CERTIFICATE:
        return TargetDenied(target, "tls")
    if (kinds | causes) & CONNECTION and not causes & ANSWERED:
        return TargetDown(target, "connection")  # OpenAI's arrives as an InternalServerError that was caused by it
    status = status_and_text(error)[0]
    made: TargetError = TargetDown(target, "malformed")
    if 300 <= status < 400:
        made = TargetRefused(target, "redirect")
    elif 400 <= status < 600:
        headers = getattr(error, "litellm_response_headers", None) or getattr(getattr(error, "response", None), "headers", None)
        made = verdict(target, status, str(error), dict(headers or {}))
    if provider in ASKED and type(made) is TargetRefused and parser.stream is not None:
        return TargetDown(target, "status_500")  # LiteLLM reports any error inside Ollama's stream as a 400
    return made


def status_and_text(error: BaseException) -> tuple[int, str]:
    """Return the HTTP status and the text of LiteLLM's error; status 0 if the error has none."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else 0, str(error)
