"""OpenAI's chat.completions: server-sent events, each one chunk, then [DONE].

    data: {"id":"chatcmpl-…","object":"chat.completion.chunk",…,"choices":[{"index":0,"delta":{"role":"assistant","content":""},…}]}
    data: {…,"choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}]}
    data: {…,"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}
    data: [DONE]

`model` is the configured model of the target that answered first, the same in every chunk; the requested id is in the header
`x-router-model`. A client of this dialect runs every tool call it is shown. So calls of tools that ran here are not shown. A call without
a result is the client's, which is known at the end. Thoughts are `reasoning_content`, as many servers write it. A page that is cited is
an annotation; an image is one of `images`, as OpenRouter writes it. There is no form for documents and other files.
"""

from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import assert_never

from router.chat import Json, JsonObject, ReasoningState
from router.events import (
    Approval,
    Event,
    Failure,
    Finish,
    LateResult,
    Produced,
    Source,
    Start,
    Text,
    Thought,
    ToolCall,
    ToolInput,
    ToolProgress,
    ToolResult,
    Usage,
)
from router.wire.shape import Answered, Encode, Heading, Refusal, Wire, compact, utf8

DONE = b"data: [DONE]\n\n"
REASONS = {
    "stop": "stop",
    "length": "length",
    "content-filter": "content_filter",
    "tool-calls": "length",
    "other": "stop",
    "unknown": "stop",
}
"""Our reason → theirs, if no call is left to the client. `tool-calls` is then the route's max_steps: cut off by a limit."""


def encoder(heading: Heading) -> Encode:
    """Return an encoder of events as chat.completion chunks."""
    return _Chunks(heading).encode


class _Chunks:
    """The chunks of one answer: its beginning, and the calls without a result yet."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._usage = ',"usage":null' if heading.wants_usage else ""
        self._after = f',"logprobs":null,"finish_reason":null}}]{self._usage}}}\n\n'
        self._end = f"}}{self._after}"
        self._begun = self._named = False
        self._name(heading.model)
        self._calls: dict[str, ToolCall] = {}
        self._images = 0

    def _name(self, model: str) -> None:
        """Set the model that every chunk names: the first target's that answered."""
        heading = self._heading
        common = {"id": _id(heading), "object": "chat.completion.chunk", "created": heading.created, "model": model}
        self._head = f'data: {compact(common)[:-1]},"choices":['
        self._before = f'{self._head}{{"index":0,"delta":'
        self._content = f'{self._before}{{"content":'
        self._thought = f'{self._before}{{"reasoning_content":'

    def encode(self, event: Event) -> bytes:
        match event:
            case Text(text):
                opening = "" if self._begun else self._opened({"role": "assistant", "content": ""})
                return utf8(f"{opening}{self._content}{encode_basestring(text)}{self._end}")
            case Thought(text):
                if not self._begun:
                    return utf8(self._opened({"role": "assistant", "content": None, "reasoning_content": text}))
                return utf8(f"{self._thought}{encode_basestring(text)}{self._end}")
            case Source(url) if url:
                return self._showed({"annotations": [annotation(event)]})
            case Produced(media_type) if media_type.startswith("image/"):
                self._images += 1
                return self._showed({"images": [image(event, self._images - 1)]})
            case ToolInput():
                return self._asked()
            case ToolCall():
                self._calls[event.call_id] = event
                return self._asked()
            case ToolResult(call_id):
                self._calls.pop(call_id, None)
                return b""
            case Start(model=model):
                if not self._named:
                    self._named = True
                    self._name(model)
                return b""
            case ToolProgress() | Approval() | LateResult() | ReasoningState() | Source() | Produced():
                return b""
            case Finish(reason, usage):
                return self._finish(reason, usage)
            case Failure(code, public):
                sentence = f"{public} (request {self._heading.request_id})"
                return utf8(f"data: {compact(error(Refusal(500, code, sentence, self._heading.request_id)))}\n\n") + DONE
            case _:
                assert_never(event)

    def _opened(self, delta: Json) -> str:
        self._begun = True
        return self._chunk(delta)

    def _asked(self) -> bytes:
        # Sent although the call may be hidden: the headers go out with it, and a tool that runs for long has its keep-alive.
        return b"" if self._begun else utf8(self._opened({"role": "assistant", "content": None}))

    def _showed(self, delta: Json) -> bytes:
        """Return what stands beside the text."""
        opening = "" if self._begun else self._opened({"role": "assistant", "content": ""})
        return utf8(opening + self._chunk(delta))

    def _chunk(self, delta: Json) -> str:
        return f"{self._before}{compact(delta)}{self._after}"

    def _finish(self, reason: str, usage: Usage | None) -> bytes:
        made = [] if self._begun else [self._opened({"role": "assistant", "content": ""})]
        for index, call in enumerate(self._calls.values()):
            first: Json = {"index": index, "id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": ""}}
            made.append(self._chunk({"tool_calls": [first]}))
            made.append(self._chunk({"tool_calls": [{"index": index, "function": {"arguments": _arguments(call)}}]}))
        theirs = "tool_calls" if self._calls else REASONS[reason]
        made.append(f'{self._before}{{}},"logprobs":null,"finish_reason":"{theirs}"}}]{self._usage}}}\n\n')
        if self._heading.wants_usage:
            made.append(f'{self._head}],"usage":{compact(counted(usage))}}}\n\n')
        return utf8("".join(made)) + DONE


def counted(usage: Usage | None) -> dict[str, Json]:
    """Return the usage object. Counts are zero if no provider counted: a client of this dialect reads them unchecked.

    Details are written if they are not zero; `cache_write_tokens` is OpenRouter's name.
    """
    usage = usage or Usage()
    total = usage.input_tokens + usage.output_tokens
    made: dict[str, Json] = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens, "total_tokens": total}
    if usage.cached_tokens or usage.cache_write_tokens:
        written: dict[str, Json] = {"cache_write_tokens": usage.cache_write_tokens} if usage.cache_write_tokens else {}
        made["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens, **written}
    if usage.reasoning_tokens:
        made["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return made


def complete(answer: Answered) -> bytes:
    """Return the answer as a chat.completion."""
    head, end = answer.heading, answer.end
    calls: Sequence[ToolCall] = answer.calls
    if calls:
        done = {result.call_id for result in answer.results}
        calls = [call for call in calls if call.call_id not in done]
    message: dict[str, Json] = {"role": "assistant", "content": answer.text or (None if calls else ""), "refusal": None}
    if answer.thoughts:
        message["reasoning_content"] = answer.thoughts
    message |= _beside(answer)
    if calls:
        message["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}} for call in calls
        ]
    reason = REASONS[end.reason] if isinstance(end, Finish) else "stop"
    choice: Json = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else reason}
    made: dict[str, Json] = {
        "id": _id(head),
        "object": "chat.completion",
        "created": head.created,
        "model": answer.model or head.model,
        "choices": [choice],
        "usage": counted(end.usage if isinstance(end, Finish) else None),
    }
    return utf8(compact(made))


def annotation(source: Source) -> JsonObject:
    """Return a page that is cited. The span of the text that it is cited for is not known, and empty."""
    cited: JsonObject = {"start_index": 0, "end_index": 0, "url": source.url, "title": source.title or source.url}
    return {"type": "url_citation", "url_citation": cited}


def image(made: Produced, index: int) -> JsonObject:
    """Return an image."""
    return {"type": "image_url", "image_url": {"url": f"data:{made.media_type};base64,{made.data}"}, "index": index}


def _beside(answer: Answered) -> dict[str, Json]:
    """Return what stands beside the text of a whole answer; fields without content are left out."""
    annotations: list[Json] = []
    images: list[Json] = []
    for event in answer.events:
        match event:
            case Source(url) if url:
                annotations.append(annotation(event))
            case Produced(media_type) if media_type.startswith("image/"):
                images.append(image(event, len(images)))
            case _:
                pass
    return {**({"annotations": annotations} if annotations else {}), **({"images": images} if images else {})}


TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""Status → `type`; invalid_request_error for other 4xx, server_error for 5xx."""
QUESTION = "messages"
"""The field that holds the question. OpenAI's other APIs call it otherwise."""
CODES: dict[str, tuple[str, str | None]] = {
    "unauthorized": ("invalid_api_key", None),
    "rate_limited": ("rate_limit_exceeded", None),
    "unknown_model": ("model_not_found", "model"),
    "context_too_long": ("context_length_exceeded", QUESTION),
}
"""Our code → theirs, and the parameter at fault, if this dialect has its own words."""


def code_and_parameter(code: str, question: str = QUESTION) -> tuple[str, str | None]:
    """Return an error's code in OpenAI's form, and the parameter at fault. `question`: the field that holds the question in this API."""
    theirs, parameter = CODES.get(code, (code, None))
    return theirs, question if parameter == QUESTION else parameter


def error(why: Refusal, question: str = QUESTION) -> dict[str, Json]:
    """Return an error in this dialect. `question`: the field that holds the question, in the API that was asked."""
    kind = TYPES.get(why.status, "server_error" if why.status >= 500 else "invalid_request_error")
    code, parameter = code_and_parameter(why.code, question)
    return {"error": {"message": why.sentence, "type": kind, "param": parameter, "code": code}}


def refusal(why: Refusal) -> bytes:
    """Return the body of an error before the first event."""
    return utf8(compact(error(why)))


def _arguments(call: ToolCall) -> str:
    return compact(call.arguments) if call.malformed is None else call.malformed


def _id(heading: Heading) -> str:
    return f"chatcmpl-{heading.message_id}"


WIRE = Wire(
    name="openai",
    content_type="text/event-stream",
    encoder=encoder,
    complete=complete,
    refusal=refusal,
    keep_alive=b": keep-alive\n\n",
)
