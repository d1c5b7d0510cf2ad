"""OpenAI's Responses API, which some models need for tools, and others for all questions.

A response is a list of items: messages, reasoning, tool calls, and calls of tools that the provider runs itself, which are skipped.
Nothing is stored at the provider (`store: false`): reasoning comes back encrypted, and is sent back with the calls that followed it.

Source: OpenAI's API reference, `POST /v1/responses`.
"""

import json
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Literal, cast

import msgspec

from router.chat import Ask, File, Json, JsonObject, Message
from router.errors import TargetDown
from router.targets import counts, decoding, shown
from router.targets.conversation import BEGUN
from router.targets.facts import PENALTIES, Facts
from router.targets.fit import Fitted
from router.targets.inband import ErrorData, error_in
from router.targets.speech import Speech
from router.targets.text_filters import AnswerLimits
from router.targets.text_frames import TextFrames
from router.targets.verdict import inside
from router.value import replace

LACKS = PENALTIES | {"seed", "stop", "top_k", "min_p", "repetition_penalty", "prediction"}
"""Parameters that this API does not take for any model; for `stop` the router cuts the answer."""
LEAST = 16
"""The lowest output limit that this API takes, in tokens. A lower one is raised to it, and the router cuts the answer."""


class Item(msgspec.Struct):
    """An item of a response's output: a message, reasoning, a call or an image. Some gateways send the arguments as an object."""

    type: str = ""
    id: str = ""
    call_id: str = ""
    name: str = ""
    arguments: Any = None
    content: list[Any] | None = None
    summary: list[Any] | None = None
    encrypted_content: str | None = None
    result: str | None = None
    output_format: str | None = None


class Response(msgspec.Struct):
    """A response of the provider, complete or in progress, with its output so far."""

    model: Any = None
    status: str | None = None
    output: list[Item] | None = None
    usage: counts.ResponseUsage | None = None
    service_tier: Any = None
    error: Any = None
    incomplete_details: dict[str, Any] | None = None
    """The `reason` in it says why the response ended early, such as max_output_tokens or content_filter."""


class Frame(msgspec.Struct):
    """The decoded data of one event of a Responses stream."""

    type: str = ""
    output_index: int = 0
    summary_index: int = 0
    delta: str | None = None
    arguments: Any = None
    annotation: Any = None
    item: Item | None = None
    response: Response | None = None
    error: Any = None
    code: Any = None
    message: Any = None


class OutputTextFrame(msgspec.Struct, gc=False):
    """A Frame of text alone: the struct refuses each other frame."""

    type: Literal["response.output_text.delta"]
    delta: str


FRAME = msgspec.json.Decoder(Frame)
BODY = msgspec.json.Decoder(Response)


def needed(ask: Ask, facts: Facts, fitted: Fitted) -> bool:
    """Return whether a question needs this API: always for some models; for others if it has tools and the model will think."""
    return facts.responses == "always" or (facts.responses == "tools_while_thinking" and bool(ask.tools) and fitted.thinks)


def lacking(facts: Facts) -> Facts:
    """Return the facts with the limits of this API: no parameter in LACKS, no `logit_bias`, no `name` of a message."""
    return replace(facts, refuses=facts.refuses | LACKS, takes=facts.takes - {"logit_bias"}, carries=facts.carries - {"messages.name"})


def request(ask: Ask, fitted: Fitted, facts: Facts, model: str, issuer: str, *, form: JsonObject | None = None) -> dict[str, Json]:
    """Return the body of a Responses API request, which asks for a stream. `model`: its name without the provider.
    `issuer`: the target, whose own reasoning is sent back. `form`: the body's `text.format`; None if none is sent.
    """
    hints = {name: value for name, value in fitted.hints.items() if name != "verbosity" and (name != "parallel_tool_calls" or ask.tools)}
    made: dict[str, Json] = {"model": model, "stream": True, "store": False, **hints}
    text: dict[str, Json] = {"verbosity": fitted.hints["verbosity"]} if "verbosity" in fitted.hints else {}
    if form is not None:
        text["format"] = form
    if text:
        made["text"] = text
    if fitted.max_tokens is not None and facts.limit != "none":
        made["max_output_tokens"] = max(LEAST, fitted.max_tokens)
    if facts.thinking != "none":
        reasoning: dict[str, Json] = {} if fitted.effort is None else {"effort": fitted.effort}
        if facts.summaries and fitted.thinks:
            reasoning["summary"] = "auto"
        if reasoning:
            made["reasoning"] = reasoning
        if fitted.thinks:
            made["include"] = ["reasoning.encrypted_content"]
    made["input"] = [item for message in ask.messages for item in _items(message, issuer)] or [{"role": "user", "content": BEGUN}]
    if ask.tools:
        made["tools"] = [
            {"type": "function", "name": one.name, "description": one.description, "parameters": one.parameters, "strict": one.strict}
            for one in ask.tools
        ]
        if (kind := ask.choice.kind) != "auto" and (facts.forced_tools or kind == "none"):
            made["tool_choice"] = {"type": "function", "name": ask.choice.name} if kind == "named" else kind
    return made


def bounds(fitted: Fitted, facts: Facts) -> AnswerLimits:
    """Return the limits at which the router ends the answer: stop texts, and an output limit that is below LEAST or refused."""
    low = fitted.max_tokens is not None and fitted.max_tokens < LEAST
    return AnswerLimits(fitted.cut, fitted.max_tokens if low or facts.limit == "none" else None)


def _items(message: Message, issuer: str) -> Iterator[Json]:
    """Yield the input items of a message. Reasoning comes before its call, or before the text; state of another form is left out."""
    if message.role == "tool":
        yield from ({"type": "function_call_output", "call_id": one.call_id, "output": one.text} for one in message.results)
        return
    states = [state for state in message.states(issuer) if state.value.get("type") == "reasoning"]
    yield from (state.value for state in states if not state.call_id)
    content = [_content(part, message.role) for part in message.parts if isinstance(part, File) or (isinstance(part, str) and part)]
    if content:
        yield {"role": message.role, "content": content}
    for call in message.calls:
        yield from (state.value for state in states if state.call_id == call.call_id)
        written = json.dumps(call.arguments, ensure_ascii=False)
        yield {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": written}


def _content(part: str | File, role: str) -> Json:
    match part:
        case str():
            return {"type": "output_text" if role == "assistant" else "input_text", "text": part}
        case File(kind, url) if kind.startswith("image/"):
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        case File() if part.sort == "audio":
            return {"type": "input_audio", "input_audio": {"data": part.encoded, "format": part.audio_format}}
        case File(_, url) if part.remote:
            return {"type": "input_file", "file_url": url}
        case File(_, url, name):
            return {"type": "input_file", "file_data": url, "filename": name or "document.pdf"}


class ResponseReader(TextFrames):
    """Parser of one response of the Responses API, streamed or complete, which feeds a Speech (the assembler of the answer's events)."""

    decode = msgspec.json.Decoder(OutputTextFrame).decode
    text_of = attrgetter("delta")
    ends = b"response.completed"

    def __init__(self, name: str, speech: Speech) -> None:
        self.name = name
        self.speech = speech
        self._own: set[int] = set()
        """Indexes of the items that are function calls; calls of the provider's own tools are not among them."""
        self._written: set[int] = set()
        """Indexes of the calls whose arguments have been read, at least in part."""
        self._reasoned: list[JsonObject] = []
        """Reasoning items not in the Speech yet: they belong to the next call or text."""
        self._summary: tuple[int, int] | None = None

    def frame(self, data: bytes) -> bool:
        """Read the data of one event. Return False if the response is complete or incomplete, and for `[DONE]`; otherwise True.
        Raises TargetError for an error or a failed response; skips unreadable data.
        """
        if data == b"[DONE]":
            return False
        frame = decoding.decoded(data, FRAME)
        odd = frame is None or not (frame.type == "error" or frame.type.startswith("response.")) or data.__class__ is ErrorData
        if odd and (error := error_in(self.name, data)) is not None:
            raise error
        if frame is None:
            return True
        speech = self.speech
        if frame.delta is not None and not speech.finished:
            self._heard(frame, frame.delta)
        elif frame.annotation is not None and not speech.finished:
            speech.source(shown.annotation(frame.annotation))
        elif frame.item is not None and not speech.finished:
            self._item(frame.output_index, frame.item, over=frame.type == "response.output_item.done")
        elif frame.arguments is not None and not speech.finished:
            self._complete_arguments(frame.output_index, frame.arguments)
        elif frame.type == "error" or frame.error is not None:
            raise inside(self.name, frame.error or {"code": frame.code, "message": frame.message})
        elif frame.response is not None:
            return self._response(frame.type.removeprefix("response."), frame.response)
        return True

    def complete(self, body: bytes) -> None:
        """Read a response that is not a stream. Raises TargetError if it is an error, has failed, or cannot be read."""
        complete = decoding.decoded(body, BODY)
        if complete is None or (complete.output is None and complete.error is None):
            raise error_in(self.name, body) or TargetDown(self.name, "malformed")
        self._complete_items(complete.output)
        self._response(complete.status or "failed", complete)

    def _heard(self, frame: Frame, delta: str) -> None:
        speech = self.speech
        if frame.type in ("response.output_text.delta", "response.refusal.delta"):
            self.worded = True
            speech.text(delta)
        elif frame.type in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            place = (frame.output_index, frame.summary_index)
            if self._summary not in (None, place):
                speech.thought("\n\n")
            self._summary = place
            speech.thought(delta)
        elif frame.type == "response.function_call_arguments.delta" and frame.output_index in self._own:
            self._written.add(frame.output_index)
            speech.call(frame.output_index, "", "", delta)

    def _item(self, index: int, item: Item, *, over: bool) -> None:
        speech = self.speech
        match item.type:
            case "function_call" if index not in self._own:
                self._own.add(index)
                if written := decoding.arguments_text(item.arguments) if over else "":
                    self._written.add(index)
                speech.call(index, item.call_id or item.id, item.name, written)
                self._state(index)
            case "function_call" if over:
                self._complete_arguments(index, item.arguments)
            case "message" if over and not self.worded and item.content:
                self.worded = True
                self._spoken(item)
            case "message" if not over:
                self._state(None)
            case "image_generation_call" if over and item.result:
                speech.file(shown.produced(f"image/{item.output_format or 'png'}", item.result))
            case "reasoning" if over and item.encrypted_content:
                stated: JsonObject = {"summary": item.summary or [], "encrypted_content": item.encrypted_content}
                self._reasoned.append({"type": "reasoning", "id": item.id, **stated})
            case _:
                pass

    def _complete_arguments(self, index: int, arguments: object) -> None:
        """Add the complete arguments of a call, unless it is not the question's own, or pieces of them came before."""
        if index in self._own and index not in self._written and (complete := decoding.arguments_text(arguments)):
            self._written.add(index)
            self.speech.call(index, "", "", complete)

    def _complete_items(self, items: list[Item] | None) -> None:
        """Read items of which nothing came before: their texts, sources, thoughts, calls and files."""
        for index, item in enumerate(items or ()):
            self.worded = True
            self._spoken(item)
            self._item(index, item, over=True)

    def _state(self, call: int | None) -> None:
        """Move the pending reasoning items to the Speech, as states of the call with this index, or of no call (None)."""
        for value in self._reasoned:
            self.speech.state(value, call)
        self._reasoned.clear()

    def _spoken(self, item: Item) -> None:
        """Read the text, sources and thoughts of one item of a complete response; calls and files are read by `_item`."""
        for part in (*(item.summary or ()), *(item.content or ())):
            match part:
                case {"type": "output_text", "text": str(text)} | {"type": "refusal", "refusal": str(text)} if item.type == "message":
                    self.speech.text(text)
                    if isinstance(annotated := part.get("annotations"), list):
                        for one in cast("list[object]", annotated):
                            self.speech.source(shown.annotation(one))
                case {"text": str(text)} if item.type == "reasoning":
                    self.speech.thought(text)
                case _:
                    pass

    def _response(self, status: str, response: Response) -> bool:
        """Read a response's model, usage and status; return whether it is in progress. Raises TargetError if it failed or was cancelled."""
        speech = self.speech
        if speech.model is None and response.model:
            speech.called(response.model)
        if response.usage is not None and response.usage.input_tokens is not None:
            speech.usage(response.usage.counts(response.service_tier))
        if status == "completed" and response.status in ("incomplete", "failed", "cancelled"):
            status = response.status  # LiteLLM's proxy ends each stream with `response.completed`
        if status in ("completed", "incomplete") and not (self.worded or self._own or speech.finished):
            self._complete_items(response.output)  # some gateways send no pieces
        match status:
            case "completed":
                speech.finish("stop")
            case "incomplete":
                why = (response.incomplete_details or {}).get("reason")
                speech.finish("content_filter" if why == "content_filter" else "length")
            case "failed" | "cancelled":
                raise inside(self.name, response.error or {"code": "server_error"})
            case _:
                return True
        return False
