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
from router.wire.frames import END, PartEncoder
from router.wire.shape import Answered, Heading, Refusal, Wire, arguments_of, body, broken_off, compact

REASONS: dict[Reason, str] = {"length": "max_tokens", "content-filter": "refusal", "tool-calls": "max_tokens"}
"""Internal reason → stop reason, if no call is left to the client, if not `end_turn`. `tool-calls` then means: `max_steps` cut it off."""
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
AFTER = f"}}}}{END}"
"""The rest of the frame of a piece, after its text."""


class _MessageFrames(PartEncoder):
    """An encoder of one answer. It holds the open block, sources to cite, and the calls without a result yet."""

    def __init__(self, heading: Heading) -> None:
        super().__init__(heading)
        self._after = AFTER.encode()
        self._model = ""
        self._index = -1
        self._calls: dict[str, ToolCall] = {}
        self._cited: list[Source] = []
        """Sources that came before any text and are not written yet."""

    def _written(self, event: Event) -> str:
        match event:
            case Source(url):
                self._cited += [event] if url else []
                return self._citations() if self._open == "text" else self._started()  # others stand in the next text
            case ToolInput():
                return self._started()  # the calls may be hidden: the headers go out, and a tool that runs for long has its pings
            case ToolCall():
                self._calls[event.call_id] = event
                return self._started()
            case ToolResult(call_id):
                self._calls.pop(call_id, None)
                return ""
            case Start(model=model):
                self._model = self._model or model
                return ""
            case Produced():
                return ""
            case Finish(reason, usage):
                return self._finished(reason, usage)
            case Failure():
                cited = self._opened("text") if self._cited else ""
                return cited + _frame("error", error(broken_off(self._heading, event)))
            case _:
                return self._unwritten(event)

    def _started(self) -> str:
        if self._begun:
            return ""
        self._begun = True
        message = _message(self._heading, self._model, [], None, counted(None))
        return _frame("message_start", {"type": "message_start", "message": message})

    def _opened(self, part: str) -> str:
        if part == "text":  # it cites the sources that came before it
            return self._block("text", _block(Text, "", []), "text_delta", "text") + self._citations()
        return self._block("reasoning", _block(Thought, "", []), "thinking_delta", "thinking")

    def _block(self, part: str, block: JsonObject, kind: str, key: str) -> str:
        """End the open block and begin another; return the frames for both. `kind`, `key`: type and text field of its deltas."""
        before = self._started() + self._closed()
        self._open = part
        self._index += 1
        self._delta = self._piece(kind, key).encode()
        return before + _frame("content_block_start", {"type": "content_block_start", "index": self._index, "content_block": block})

    def _piece(self, kind: str, key: str) -> str:
        return f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{self._index},"delta":{{"type":"{kind}","{key}":'

    def _citations(self) -> str:
        """Return the frames that cite, in the open text block, the sources not cited yet; an empty text if there are none."""
        cited, self._cited = self._cited, []
        deltas: list[JsonObject] = [{"type": "citations_delta", "citation": citation(one)} for one in cited]
        name = "content_block_delta"
        return "".join(_frame(name, {"type": name, "index": self._index, "delta": one}) for one in deltas)

    def _closed(self) -> str:
        """End the open block, and return the frames for that; an empty text without one."""
        if not self._open:
            return ""
        signed = f'{self._piece("signature_delta", "signature")}""{AFTER}' if self._open == "reasoning" else ""
        self._open = ""
        return signed + _frame("content_block_stop", {"type": "content_block_stop", "index": self._index})

    def _finished(self, reason: Reason, usage: Usage | None) -> str:
        made = [self._started(), self._opened("text") if self._cited else ""]
        for call in self._calls.values():
            made.append(self._block("tool_use", {**_call(call), "input": {}}, "input_json_delta", "partial_json"))
            made.append(f"{self._piece('input_json_delta', 'partial_json')}{encode_basestring(arguments_of(call))}{AFTER}")
        made.append(self._closed())
        ended: JsonObject = {"stop_reason": "tool_use" if self._calls else REASONS.get(reason, "end_turn"), "stop_sequence": None}
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
    calls = answer.client_calls
    content: list[Json] = [*_blocks(answer.events), *({**_call(call), "input": call.arguments} for call in calls)]
    reason = "tool_use" if calls else REASONS.get(answer.reason, "end_turn")
    return body(_message(answer.heading, answer.model, content, reason, counted(answer.usage)))


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


def _call(call: ToolCall) -> dict[str, Json]:
    return {"type": "tool_use", "id": call.call_id, "name": call.name, "caller": {"type": "direct"}}


WIRE = Wire(
    name="anthropic",
    encoder=lambda heading: _MessageFrames(heading).encode,
    complete=complete,
    refusal=lambda why: body(error(why)),
    id_header="request-id",
    keep_alive=b'event: ping\ndata: {"type":"ping"}\n\n',
)
