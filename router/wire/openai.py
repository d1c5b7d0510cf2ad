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

from router.chat import Json, JsonObject, repaired
from router.events import Event, Failure, Finish, Produced, Reason, Source, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.jsontext import quoted, written
from router.wire.frames import DONE, KEEP_ALIVE, frame, unwritten
from router.wire.shape import Answered, Heading, Refusal, Wire, arguments_of, body, broken_off, encoded, utf8

REASONS: dict[Reason, str] = {
    "stop": "stop",
    "length": "length",
    "content-filter": "content_filter",
    "tool-calls": "length",
    "other": "stop",
    "unknown": "stop",
}
"""Internal reason → finish reason, if no call is left to the client. `tool-calls` then means: `max_steps` cut it off."""
NO_USAGE = Usage()
OPENING = b'{"role":"assistant","content":""}'
"""The delta of an answer's first chunk if the answer begins with its text."""


NULL_USAGE = b',"usage":null'
AFTER = b',"logprobs":null,"finish_reason":null}]%b}\n\n'
WITHOUT_USAGE, WITH_USAGE = ((usage, AFTER % usage, b"}" + AFTER % usage) for usage in (b"", NULL_USAGE))
"""The parts of a chunk after its delta: the usage, all of them, and these with the end of the delta. Only a client that asks has usage."""
END = DONE.encode()
TEXT_COMPLETION = (
    b'{"id":%b,"object":"chat.completion","created":%d,"model":%b,"choices":[{"index":0,"message":'
    b'{"role":"assistant","content":%b,"refusal":null},"logprobs":null,"finish_reason":"%b"}],"usage":%b}'
)
"""A complete answer that is text alone, as `complete` encodes any: half of the time is saved."""


class Chunks:
    """An encoder of one answer. It holds the fixed parts of each chunk, and the calls without a result yet."""

    _kind, _prefix = "chat.completion.chunk", "chatcmpl-"
    """The `object` of a chunk, and the beginning of an answer's id, before that of its message."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._usage, self._after, self._end = WITH_USAGE if heading.wants_usage else WITHOUT_USAGE
        self._begun = self._named = False
        self._calls: dict[str, ToolCall] = {}
        self._images = 0

    def _name(self, model: str) -> None:
        """Set the model that the chunks name: that of the first target that answered, or the requested id if there was none."""
        heading = self._heading
        fields = {"id": f"{self._prefix}{heading.message_id}", "object": self._kind, "created": heading.created, "model": model}
        self._head = b'data: %b,"choices":[' % encoded(fields)[:-1]
        self._before = self._head + b'{"index":0,"delta":'
        self._content = self._before + b'{"content":'

    def encode(self, event: Event) -> bytes:
        """Return the chunks of an event; b"" for an event that is not written."""
        match event:
            case Text(text):
                if not self._begun:
                    return self._opening() + self.encode(event)
                try:
                    return self._content + quoted(text) + self._end
                except UnicodeEncodeError:
                    return self.encode(Text(repaired(text)))
            case Thought(text):
                if not self._begun:
                    return self._opening(content=None, reasoning_content=text)
                return b'%b{"reasoning_content":%b%b' % (self._before, encoded(text), self._end)
            case Start(model=model):
                if not self._named:
                    self._named = True
                    self._name(model)
                return b""
            case Finish(reason, usage):
                return self._finish(reason) + self._last(usage)
            case Source(url) if url:
                return self._opening() + self._chunk({"annotations": [annotation(event)]})
            case Produced(media_type) if media_type.startswith("image/"):
                self._images += 1
                return self._opening() + self._chunk({"images": [image(event, self._images - 1)]})
            case ToolInput():
                # Sent although the call may be hidden: the headers go out with it, and a tool that runs for long has its keep-alive.
                return self._opening(content=None)
            case ToolCall():
                self._calls[event.call_id] = event
                return self._opening(content=None)
            case ToolResult(call_id):
                self._calls.pop(call_id, None)
                return b""
            case Source() | Produced():
                return b""
            case Failure():
                return utf8(frame(error(broken_off(self._heading, event))) + DONE)
            case _:
                return unwritten(event)

    def _opening(self, **delta: Json) -> bytes:
        """Return the first chunk, which has the role and this delta (an empty content without one); b"" if it is written."""
        if self._begun:
            return b""
        self._begun = True
        if not self._named:
            self._name(self._heading.model)
        return self._before + (encoded({"role": "assistant", **delta}) if delta else OPENING) + self._after

    def _chunk(self, delta: Json) -> bytes:
        return self._before + encoded(delta) + self._after

    def _finish(self, reason: Reason) -> bytes:
        made = self._opening()
        for index, call in enumerate(self._calls.values()):
            first: Json = {"index": index, "id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": ""}}
            made += self._chunk({"tool_calls": [first]})
            made += self._chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments_of(call)}}]})
        theirs = "tool_calls" if self._calls else REASONS[reason]
        return b'%b%b{},"logprobs":null,"finish_reason":"%b"}]%b}\n\n' % (made, self._before, theirs.encode(), self._usage)

    def _last(self, usage: Usage | None) -> bytes:
        """Return the end of the stream: the usage if the client wants it, then [DONE]."""
        return (b'%b],"usage":%b}\n\n' % (self._head, encoded(counted(usage))) if self._heading.wants_usage else b"") + END


def counted(usage: Usage | None) -> dict[str, Json]:
    """Return OpenAI's usage object. Counts are zero if no provider reported usage, because clients read them unchecked.
    Details (cached, cache writes, reasoning) are written only if not zero; `cache_write_tokens` is OpenRouter's name.
    """
    usage = usage or NO_USAGE
    asked, said = usage.input_tokens, usage.output_tokens
    made: dict[str, Json] = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    if usage.cached_tokens or usage.cache_write_tokens:
        written: dict[str, Json] = {"cache_write_tokens": usage.cache_write_tokens} if usage.cache_write_tokens else {}
        made["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens, **written}
    if usage.reasoning_tokens:
        made["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return made


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: a JSON chat.completion. Only calls that the client has to run are in it."""
    calls = answer.client_calls if answer.calls else ()
    heading, reason = answer.heading, "tool_calls" if calls else REASONS[answer.reason]
    name, usage = f"chatcmpl-{heading.message_id}", counted(answer.usage)
    if not (calls or answer.thoughts or answer.sources or answer.files):
        try:
            text, model = written(answer.text), written(answer.model)
            return TEXT_COMPLETION % (written(name), heading.created, model, text, reason.encode(), written(usage))
        except UnicodeEncodeError:
            pass  # a lone surrogate, which `encoded` replaces
    message: dict[str, Json] = {"role": "assistant", "content": answer.text or (None if calls else ""), "refusal": None}
    if answer.thoughts:
        message["reasoning_content"] = answer.thoughts
    if answer.sources or answer.files:
        message |= _shown(answer)
    if calls:
        message["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": arguments_of(call)}} for call in calls
        ]
    made: JsonObject = {
        "id": name,
        "object": "chat.completion",
        "created": heading.created,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": usage,
    }
    return encoded(made)


def annotation(source: Source) -> JsonObject:
    """Return the annotation of a cited page. The span of the text that cites it is unknown, and written as 0 to 0."""
    cited: JsonObject = {"start_index": 0, "end_index": 0, "url": source.url, "title": source.title or source.url}
    return {"type": "url_citation", "url_citation": cited}


def image(made: Produced, index: int) -> JsonObject:
    """Return an image as an entry of `images`. `index`: its position among the images of the answer, from 0."""
    return {"type": "image_url", "image_url": {"url": f"data:{made.media_type};base64,{made.data}"}, "index": index}


def _shown(answer: Answered) -> dict[str, Json]:
    """Return the fields `annotations` (cited pages) and `images` of a complete message; an empty one is left out."""
    images = [one for one in answer.files if one.media_type.startswith("image/")]
    fields: dict[str, list[Json]] = {
        "annotations": [annotation(one) for one in answer.sources if one.url],
        "images": [image(one, index) for index, one in enumerate(images)],
    }
    return {name: some for name, some in fields.items() if some}


TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""Status → `type`; invalid_request_error for other 4xx, server_error for 5xx."""
CODES = {
    "unauthorized": "invalid_api_key",
    "rate_limited": "rate_limit_exceeded",
    "unknown_model": "model_not_found",
    "context_too_long": "context_length_exceeded",
}
"""Error code of the router → OpenAI's code."""


def code_and_parameter(code: str, question: str) -> tuple[str, str | None]:
    """Return (OpenAI's code, or the router's own, the parameter at fault or None). `question`: the field at fault if it is too long."""
    return CODES.get(code, code), {"unknown_model": "model", "context_too_long": question}.get(code)


def error(why: Refusal, question: str = "messages") -> dict[str, Json]:
    """Return an error as OpenAI's object {"error": {message, type, param, code}}. `question`: see `code_and_parameter`."""
    kind = TYPES.get(why.status, "server_error" if why.status >= 500 else "invalid_request_error")
    code, parameter = code_and_parameter(why.code, question)
    return {"error": {"message": why.sentence, "type": kind, "param": parameter, "code": code}}


WIRE = Wire(
    name="openai",
    encoder=lambda heading: Chunks(heading).encode,
    complete=complete,
    refusal=lambda why: body(error(why)),
    keep_alive=KEEP_ALIVE,
)
