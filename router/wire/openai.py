"""The wire `openai`: OpenAI's chat completions, as server-sent events of one chunk each, then [DONE].

    data: {"id":"chatcmpl-…","object":"chat.completion.chunk",…,"choices":[{"index":0,"delta":{"role":"assistant","content":""},…}]}
    data: {…,"choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}]}
    data: {…,"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}
    data: [DONE]

`model` is the configured model of the target that answered first, the same in every chunk; the requested id is in the header
`x-router-model`. A client runs every tool call that it gets. So calls of the router's tools are not sent. A call without
a result is the client's, which is known at the end. Reasoning is `reasoning_content`, as many servers write it. A cited page is
an annotation; an image is one of `images`, as OpenRouter writes it. There is no form for documents and other files.
"""

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
from router.wire.shape import Answered, Encode, Heading, Refusal, Wire, arguments_of, compact, utf8

DONE = b"data: [DONE]\n\n"
ID = "chatcmpl-"
"""Beginning of an answer's id; the id of its message follows."""
REASONS = {
    "stop": "stop",
    "length": "length",
    "content-filter": "content_filter",
    "tool-calls": "length",
    "other": "stop",
    "unknown": "stop",
}
"""Internal reason → finish reason, if no call is left to the client. `tool-calls` then means that `max_steps` cut the answer off."""


def encoder(heading: Heading) -> Encode:
    """Return the encoder of one answer: event → chat.completion chunks; b"" for an event that is not written."""
    return _Chunks(heading).encode


class _Chunks:
    """An encoder of one answer. It holds the fixed parts of each chunk, and the calls without a result yet."""

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
        """Set the model that the next chunks name: the requested id at first, then the model of the first target that answered."""
        heading = self._heading
        common = {"id": f"{ID}{heading.message_id}", "object": "chat.completion.chunk", "created": heading.created, "model": model}
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
        """Return the chunk with this delta (a source or an image), after the opening chunk if that is not written yet."""
        opening = "" if self._begun else self._opened({"role": "assistant", "content": ""})
        return utf8(opening + self._chunk(delta))

    def _chunk(self, delta: Json) -> str:
        return f"{self._before}{compact(delta)}{self._after}"

    def _finish(self, reason: str, usage: Usage | None) -> bytes:
        made = [] if self._begun else [self._opened({"role": "assistant", "content": ""})]
        for index, call in enumerate(self._calls.values()):
            first: Json = {"index": index, "id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": ""}}
            made.append(self._chunk({"tool_calls": [first]}))
            made.append(self._chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments_of(call)}}]}))
        theirs = "tool_calls" if self._calls else REASONS[reason]
        made.append(f'{self._before}{{}},"logprobs":null,"finish_reason":"{theirs}"}}]{self._usage}}}\n\n')
        if self._heading.wants_usage:
            made.append(f'{self._head}],"usage":{compact(counted(usage))}}}\n\n')
        return utf8("".join(made)) + DONE


def counted(usage: Usage | None) -> dict[str, Json]:
    """Return OpenAI's usage object. Counts are zero if no provider reported usage, because clients read them unchecked.

    Details (cached, cache writes, reasoning) are written only if not zero; `cache_write_tokens` is OpenRouter's name.
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
    """Return the body of an answer that is not streamed: a JSON chat.completion. Only calls that the client has to run are in it."""
    head, end = answer.heading, answer.end
    calls = answer.client_calls if answer.calls else ()
    message: dict[str, Json] = {"role": "assistant", "content": answer.text or (None if calls else ""), "refusal": None}
    if answer.thoughts:
        message["reasoning_content"] = answer.thoughts
    message |= _beside(answer)
    if calls:
        message["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": arguments_of(call)}} for call in calls
        ]
    reason = REASONS[end.reason] if isinstance(end, Finish) else "stop"
    choice: Json = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else reason}
    made: dict[str, Json] = {
        "id": f"{ID}{head.message_id}",
        "object": "chat.completion",
        "created": head.created,
        "model": answer.model,
        "choices": [choice],
        "usage": counted(end.usage if isinstance(end, Finish) else None),
    }
    return utf8(compact(made))


def annotation(source: Source) -> JsonObject:
    """Return the annotation of a cited page. The span of the text that cites it is unknown, and written as 0 to 0."""
    cited: JsonObject = {"start_index": 0, "end_index": 0, "url": source.url, "title": source.title or source.url}
    return {"type": "url_citation", "url_citation": cited}


def image(made: Produced, index: int) -> JsonObject:
    """Return an image as an entry of `images`. `index`: its position among the images of the answer, from 0."""
    return {"type": "image_url", "image_url": {"url": f"data:{made.media_type};base64,{made.data}"}, "index": index}


def _beside(answer: Answered) -> dict[str, Json]:
    """Return the fields `annotations` (cited pages) and `images` of a complete message; an empty one is left out."""
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
"""The field with the question in chat completions; other APIs of OpenAI have another."""
CODES: dict[str, tuple[str, str | None]] = {
    "unauthorized": ("invalid_api_key", None),
    "rate_limited": ("rate_limit_exceeded", None),
    "unknown_model": ("model_not_found", "model"),
    "context_too_long": ("context_length_exceeded", QUESTION),
}
"""Error code of the router → (OpenAI's code, the parameter at fault)."""


def code_and_parameter(code: str, question: str = QUESTION) -> tuple[str, str | None]:
    """Return (OpenAI's code for a router's error code, the parameter at fault or None). A code without an equivalent is unchanged.

    question: this API's field with the question, named if the question is too long
    """
    theirs, parameter = CODES.get(code, (code, None))
    return theirs, question if parameter == QUESTION else parameter


def error(why: Refusal, question: str = QUESTION) -> dict[str, Json]:
    """Return an error as OpenAI's object {"error": {message, type, param, code}}. `question`: see `code_and_parameter`."""
    kind = TYPES.get(why.status, "server_error" if why.status >= 500 else "invalid_request_error")
    code, parameter = code_and_parameter(why.code, question)
    return {"error": {"message": why.sentence, "type": kind, "param": parameter, "code": code}}


def refusal(why: Refusal) -> bytes:
    """Return the body for an error before the first event, in OpenAI's form."""
    return utf8(compact(error(why)))


WIRE = Wire(
    name="openai",
    content_type="text/event-stream",
    encoder=encoder,
    complete=complete,
    refusal=refusal,
    keep_alive=b": keep-alive\n\n",
)
