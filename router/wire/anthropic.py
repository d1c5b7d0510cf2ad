"""The wire `anthropic`: Anthropic's Messages API, as named server-sent events.

    event: message_start
    data: {"type":"message_start","message":{"id":"msg_…","type":"message","role":"assistant","content":[],…}}

    event: content_block_delta
    data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}

    event: message_stop
    data: {"type":"message_stop"}

The content is a sequence of blocks, one open at a time: thinking, text, and tool_use for the client's calls. As in the `openai` wire,
a client runs every call that it gets. So calls of the router's tools are not sent; which calls these are is known at the end. A thinking
block ends with an empty signature: the real one is kept here for its target, and no client returns it. `model` is the configured model of
the target that answered first. A cited page is a citation of the text before it. Files and documents are not sent: the API has no form
for files, and requires values for documents that are unknown here. Source: Anthropic's reference of the Messages API and of its streaming.
"""

from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring

from router.chat import Json, JsonObject
from router.events import Event, Failure, Finish, Produced, Reason, Source, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.wire.frames import unwritten
from router.wire.shape import Answered, Encode, Heading, Refusal, Wire, arguments_of, compact, utf8

REASONS: dict[Reason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content-filter": "refusal",
    "tool-calls": "max_tokens",
    "other": "end_turn",
    "unknown": "end_turn",
}
"""Internal reason → stop reason, if no call is left to the client. `tool-calls` then means that `max_steps` cut the answer off."""
TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Status → `type` of an error; invalid_request_error for other 4xx, api_error for other 5xx."""


def encoder(heading: Heading) -> Encode:
    """Return the encoder of one answer: event → frames of Anthropic's Messages API; b"" for an event that is not written."""
    return _MessageFrames(heading).encode


class _MessageFrames:
    """An encoder of one answer. It holds the open block, sources to cite, and the calls without a result yet."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._model = ""
        self._begun = False
        self._open = ""
        """The type of the open block; empty without one."""
        self._index = -1
        self._calls: dict[str, ToolCall] = {}
        self._cited: list[Source] = []
        """Sources that came before any text and are not written yet."""

    def encode(self, event: Event) -> bytes:
        match event:
            case Text(text):
                opening = "" if self._open == "text" else self._text()
                return utf8(f"{opening}{self._delta('text_delta', 'text', text)}")
            case Thought(text):
                opening = "" if self._open == "thinking" else self._opened("thinking", _block(Thought, "", []))
                return utf8(f"{opening}{self._delta('thinking_delta', 'thinking', text)}")
            case Source(url):
                self._cited += [event] if url else []
                return utf8(self._citations() if self._open == "text" else self._started())  # others stand in the next text
            case ToolInput():
                return utf8(self._started())  # the calls may be hidden: the headers go out, and a tool that runs for long has its pings
            case ToolCall():
                self._calls[event.call_id] = event
                return utf8(self._started())
            case ToolResult(call_id):
                self._calls.pop(call_id, None)
                return b""
            case Start(model=model):
                self._model = self._model or model
                return b""
            case Produced():
                return b""
            case Finish(reason, usage):
                return utf8(self._finished(reason, usage))
            case Failure(code, public):
                sentence = f"{public} (request {self._heading.request_id})"
                cited = self._text() if self._cited else ""
                return utf8(cited + _frame("error", error(Refusal(500, code, sentence, self._heading.request_id))))
            case _:
                return unwritten(event)

    def _started(self) -> str:
        if self._begun:
            return ""
        self._begun = True
        message = _message(self._heading, self._model, [], None, counted(None))
        return _frame("message_start", {"type": "message_start", "message": message})

    def _delta(self, kind: str, key: str, text: str) -> str:
        """Return the frame that adds text to the open block; it is the most frequent frame of an answer."""
        return (
            f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{self._index},'
            f'"delta":{{"type":"{kind}","{key}":{encode_basestring(text)}}}}}\n\n'
        )

    def _text(self) -> str:
        """Return the frames that open a text block and cite the sources that came before it."""
        return self._opened("text", _block(Text, "", [])) + self._citations()

    def _citations(self) -> str:
        """Return the frames that cite, in the open text block, the sources not cited yet; an empty text if there are none."""
        cited, self._cited = self._cited, []
        deltas: list[JsonObject] = [{"type": "citations_delta", "citation": citation(one)} for one in cited]
        name = "content_block_delta"
        return "".join(_frame(name, {"type": name, "index": self._index, "delta": one}) for one in deltas)

    def _opened(self, kind: str, block: JsonObject) -> str:
        before = self._started() + self._closed()
        self._open = kind
        self._index += 1
        return before + _frame("content_block_start", {"type": "content_block_start", "index": self._index, "content_block": block})

    def _closed(self) -> str:
        """End the open block, and return the frames for that; an empty text without one."""
        if not self._open:
            return ""
        signed = self._delta("signature_delta", "signature", "") if self._open == "thinking" else ""
        self._open = ""
        return signed + _frame("content_block_stop", {"type": "content_block_stop", "index": self._index})

    def _finished(self, reason: Reason, usage: Usage | None) -> str:
        made = [self._started(), self._text() if self._cited else ""]
        for call in self._calls.values():
            made.append(self._opened("tool_use", {**_call(call), "input": {}}))
            made.append(self._delta("input_json_delta", "partial_json", arguments_of(call)))
        made.append(self._closed())
        ended: JsonObject = {"stop_reason": "tool_use" if self._calls else REASONS[reason], "stop_sequence": None}
        made.append(_frame("message_delta", {"type": "message_delta", "delta": ended, "usage": counted(usage)}))
        made.append(_frame("message_stop", {"type": "message_stop"}))
        return "".join(made)


def _frame(name: str, data: JsonObject) -> str:
    return f"event: {name}\ndata: {compact(data)}\n\n"


def _message(heading: Heading, model: str, content: list[Json], stop_reason: str | None, usage: Json) -> dict[str, Json]:
    return {
        "id": f"msg_{heading.message_id}",
        "type": "message",
        "role": "assistant",
        "model": model or heading.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": usage,
    }


def counted(usage: Usage | None) -> dict[str, Json]:
    """Return the usage object of the API. `input_tokens` excludes tokens read from a prompt cache or written to it.

    Counts are zero if no provider reported usage. Fields that the API's schema requires and that are unknown here are null.
    """
    usage = usage or Usage()
    lasting = usage.cache_write_1h_tokens
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_write_tokens - lasting, "ephemeral_1h_input_tokens": lasting},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "server_tool_use": None,
        "service_tier": None,
        "inference_geo": None,
    }


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: a JSON message. Only the calls that the client has to run are in it."""
    end = answer.end
    calls = answer.client_calls
    content: list[Json] = [*_blocks(answer.events)]
    content += [{**_call(call), "input": call.arguments} for call in calls]
    reason = "tool_use" if calls else REASONS[end.reason] if isinstance(end, Finish) else "end_turn"
    return utf8(compact(_message(answer.heading, answer.model, content, reason, counted(end.usage if isinstance(end, Finish) else None))))


def _blocks(events: Iterable[Event]) -> Iterator[Json]:
    """Yield the answer's text and reasoning as content blocks; adjacent pieces of one kind are one block.

    A page is cited in the open text block; without one, in the next, or in an empty one at the end.
    """
    kind: type[Text | Thought] = Thought
    said: list[str] = []
    cited: list[Json] = []
    for event in events:
        if isinstance(event, Source) and event.url:
            cited.append(citation(event))
        elif isinstance(event, Text | Thought):
            if said and not isinstance(event, kind):
                yield _block(kind, "".join(said), cited)
                said, cited = [], [] if kind is Text else cited
            kind = type(event)
            said.append(event.text)
    if said:
        yield _block(kind, "".join(said), cited)
    if cited and kind is Thought:
        yield _block(Text, "", cited)


def _block(kind: type[Text | Thought], text: str, cited: list[Json]) -> JsonObject:
    if kind is Text:
        return {"type": "text", "text": text, "citations": cited or None}
    return {"type": "thinking", "thinking": text, "signature": ""}


def citation(source: Source) -> JsonObject:
    """Return the citation of a page. The cited text and the provider's index are unknown, and left empty."""
    return {"type": "web_search_result_location", "url": source.url, "title": source.title or None, "cited_text": "", "encrypted_index": ""}


def error(why: Refusal) -> dict[str, Json]:
    """Return an error as an object of Anthropic's API: type, sentence, the router's code and the request's id."""
    kind = TYPES.get(why.status, "api_error" if why.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": why.sentence, "code": why.code}, "request_id": why.request_id}


def refusal(why: Refusal) -> bytes:
    """Return the body for an error before the first event, in Anthropic's form."""
    return utf8(compact(error(why)))


def _call(call: ToolCall) -> dict[str, Json]:
    return {"type": "tool_use", "id": call.call_id, "name": call.name, "caller": {"type": "direct"}}


WIRE = Wire(
    name="anthropic",
    content_type="text/event-stream",
    encoder=encoder,
    complete=complete,
    refusal=refusal,
    id_header=b"request-id",
    keep_alive=b'event: ping\ndata: {"type":"ping"}\n\n',
)
