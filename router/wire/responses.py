"""The wire `responses`: OpenAI's Responses API, as named and numbered server-sent events.

    event: response.created
    data: {"type":"response.created","response":{"id":"resp_…","status":"in_progress","output":[],…},"sequence_number":0}

    event: response.output_text.delta
    data: {"type":"response.output_text.delta","item_id":"msg_…","output_index":0,"content_index":0,"delta":"Hello",…}

    event: response.completed
    data: {"type":"response.completed","response":{"id":"resp_…","status":"completed",…},"sequence_number":9}

The output is a sequence of items, one open at a time: reasoning (as its summary), messages, calls. A client runs each
`function_call` that it gets, whatever its status: openai-agents fails without a tool of that name, @ai-sdk/openai ends the step for it.
So a router tool's call is an `mcp_call`, with its output, which both take for a call that the server ran. Whether a call is the router's
is known when its result comes, or at the end. A cited page is an annotation of its text, an image an `image_generation_call` with its
result. Other files and documents are not sent. An error within the stream is an `error` event, then `response.failed`. The event
has its fields both where OpenAI's reference has them and where its servers write them.

Source: OpenAI's reference of the Responses API and of its streaming events; the specification of Open Responses.
"""

import re
from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring

from router.chat import Json, JsonObject
from router.events import Event, Failure, Finish, Produced, Reason, Source, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.wire import openai
from router.wire.frames import KEEP_ALIVE, unwritten
from router.wire.shape import Heading, Wire, arguments_of, body, broken_off, compact, utf8

QUESTION = "input"
"""The field with the question in this API."""
SERVER = "router"
"""The `server_label` of a router tool's call."""
ITEM = re.compile(r"(?:msg|rs|fc|mcp|ig)_([0-9a-f]{32})_\d{1,6}")
INCOMPLETE: dict[Reason, str] = {"length": "max_output_tokens", "content-filter": "content_filter", "tool-calls": "max_output_tokens"}
"""Internal reason → cause of an incomplete response. `tool-calls` without a call for the client means that `max_steps` cut it off."""
USUAL: JsonObject = {
    "instructions": None,
    "previous_response_id": None,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": None, "summary": None},
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "truncation": "disabled",
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": False,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
"""Request fields that a response repeats → their default values."""


class _ResponseFrames:
    """An encoder of one answer. It leaves out frames with numbers up to `heading.after`: the client already has them."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._model = ""
        self._background = heading.asked.get("background") is True
        self._number = 0
        self._begun = False
        self._open = ""
        """The type of the open item; empty without one."""
        self._item = ""
        """The id of the open item."""
        self._pieces: list[str] = []
        self._cited: list[Source] = []
        """Sources that came before any text and are not written yet."""
        self._annotated: list[Json] = []
        """Annotations of the open text."""
        self.output: list[Json] = []
        """The output items that have ended."""
        self._calls: dict[str, ToolCall] = {}
        self.response: JsonObject = {}
        """The complete response, once it has ended."""

    @property
    def standing(self) -> JsonObject:
        """Return the response object with the items that have ended: `queued`, if in the background, until its first target answers."""
        return self.response or self._response("queued" if self._background and not self._model else "in_progress")

    def encode(self, event: Event) -> bytes:
        match event:
            case Text(text):
                opening = "" if self._open == "message" else self._message()
                return utf8(f"{opening}{self._delta('response.output_text.delta', 'content_index', text)}")
            case Thought(text):
                opening = "" if self._open == "reasoning" else self._reasoning()
                return utf8(f"{opening}{self._delta('response.reasoning_summary_text.delta', 'summary_index', text)}")
            case Source(url):
                self._cited += [event] if url else []
                return utf8(self._annotations() if self._open == "message" else self._started())  # others stand in the next text
            case Produced(media_type) if media_type.startswith("image/"):
                return utf8(self._image(event))
            case ToolInput():
                return utf8(self._started())  # the call may be run here: the headers go out, and a tool that runs for long has its pings
            case ToolCall():
                self._calls[event.call_id] = event
                return utf8(self._started())
            case ToolResult():
                return utf8(self._ran(event))
            case Start(model=model):
                self._model = self._model or model
                return utf8(self._started()) if self._background else b""
            case Produced():
                return b""
            case Finish(reason, usage):
                return utf8(self._finished(reason, usage))
            case Failure(code):
                return utf8(self._failed(code, broken_off(self._heading, event).sentence))
            case _:
                return unwritten(event)

    def _frame(self, name: str, data: JsonObject) -> str:
        self._number += 1
        if self._number - 1 <= self._heading.after:
            return ""
        made = compact({"type": name, **data, "sequence_number": self._number - 1})
        return f"event: {name}\ndata: {made}\n\n"

    def _delta(self, name: str, index: str, text: str) -> str:
        """Add text to the open item, and return the frame of that delta; empty if the client already has that frame."""
        self._pieces.append(text)
        self._number += 1
        if self._number - 1 <= self._heading.after:
            return ""
        logprobs = '"logprobs":[],' if index == "content_index" else ""
        return (
            f'event: {name}\ndata: {{"type":"{name}","item_id":{encode_basestring(self._item)},"output_index":{len(self.output)},"{index}":0,'
            f'"delta":{encode_basestring(text)},{logprobs}"sequence_number":{self._number - 1}}}\n\n'
        )

    def _started(self) -> str:
        if self._begun:
            return ""
        self._begun = True
        frames = [("created", "queued"), ("queued", "queued")] if self._background else [("created", "in_progress")]
        frames.append(("in_progress", "in_progress"))
        return "".join([self._frame(f"response.{name}", {"response": self._response(status)}) for name, status in frames])

    def _added(self, kind: str, prefix: str, item: JsonObject) -> str:
        """End the open item and begin another; return the frames for both.
        The item's id contains the response's id, by which the response of an `item_reference` is found.
        """
        before = self._started() + self._closed()
        self._open, self._item = kind, f"{prefix}_{self._heading.message_id.replace('-', '')}_{len(self.output)}"
        self._pieces.clear()
        self._annotated = []
        return before + self._of_output("response.output_item.added", {"id": self._item, "type": kind, **item})

    def _done(self, item: JsonObject) -> str:
        """End the open item with this content, add it to the output, and return its frame."""
        made: JsonObject = {"id": self._item, "type": self._open, **item}
        said = self._of_output("response.output_item.done", made)
        self.output.append(made)
        self._open = ""
        return said

    def _of_output(self, name: str, item: JsonObject) -> str:
        return self._frame(name, {"output_index": len(self.output), "item": item})

    def _of_item(self, name: str, data: JsonObject) -> str:
        return self._frame(name, {"item_id": self._item, "output_index": len(self.output), **data})

    def _message(self) -> str:
        added = self._added("message", "msg", {"status": "in_progress", "role": "assistant", "content": []})
        return added + self._of_item("response.content_part.added", {"content_index": 0, "part": _said("", ())}) + self._annotations()

    def _annotations(self) -> str:
        """Return the frames that cite, in the open text, the sources not cited yet; an empty text if there are none."""
        made: list[str] = []
        for source in self._cited:
            cited = annotation(source)
            place: JsonObject = {"content_index": 0, "annotation_index": len(self._annotated), "annotation": cited}
            made.append(self._of_item("response.output_text.annotation.added", place))
            self._annotated.append(cited)
        self._cited = []
        return "".join(made)

    def _image(self, image: Produced) -> str:
        """End the open item, add an image as an item of its own, and return the frames for both."""
        made = self._added("image_generation_call", "ig", {"status": "in_progress", "result": None})
        made += self._of_item("response.image_generation_call.completed", {})
        form = image.media_type.removeprefix("image/")
        return made + self._done({"status": "completed", "result": image.data, "output_format": form})

    def _reasoning(self) -> str:
        added = self._added("reasoning", "rs", {"summary": []})
        return added + self._of_item("response.reasoning_summary_part.added", {"summary_index": 0, "part": _thought("")})

    def _closed(self, status: str = "completed") -> str:
        """End the open item, and return the frames for that; an empty text without one. `status`: that of an open message."""
        text = "".join(self._pieces)
        match self._open:
            case "message":
                return (
                    self._of_item("response.output_text.done", {"content_index": 0, "text": text, "logprobs": []})
                    + self._of_item("response.content_part.done", {"content_index": 0, "part": _said(text, self._annotated)})
                    + self._done({"status": status, "role": "assistant", "content": [_said(text, self._annotated)]})
                )
            case "reasoning":
                return (
                    self._of_item("response.reasoning_summary_text.done", {"summary_index": 0, "text": text})
                    + self._of_item("response.reasoning_summary_part.done", {"summary_index": 0, "part": _thought(text)})
                    + self._done({"summary": [_thought(text)]})
                )
            case _:
                return ""

    def _ran(self, result: ToolResult) -> str:
        """Add a call that the router ran, with its result, to the output; return all its frames, or an empty text for an unknown call."""
        call = self._calls.pop(result.call_id, None)
        if call is None:
            return ""
        status, field = ("failed", "error") if result.is_error else ("completed", "output")
        output = result.result if isinstance(result.result, str) else compact(result.result)
        return (
            self._added("mcp_call", "mcp", {"status": "in_progress", **_ran(call, "")})
            + self._of_item("response.mcp_call.in_progress", {})
            + self._of_item("response.mcp_call_arguments.done", {"arguments": arguments_of(call)})
            + self._of_item(f"response.mcp_call.{status}", {})
            + self._done({"status": status, **_ran(call, arguments_of(call)), field: output})
        )

    def _called(self, call: ToolCall) -> str:
        """Add a tool call that the client has to run to the output, and return all its frames."""
        named: JsonObject = {"call_id": call.call_id, "name": call.name}
        arguments = arguments_of(call)
        return (
            self._added("function_call", "fc", {"status": "in_progress", **named, "arguments": ""})
            + self._of_item("response.function_call_arguments.delta", {"delta": arguments})
            + self._of_item("response.function_call_arguments.done", {"name": call.name, "arguments": arguments})
            + self._done({"status": "completed", **named, "arguments": arguments})
        )

    def _finished(self, reason: Reason, usage: Usage | None) -> str:
        if self._heading.ending.stopped:  # calls that have no result yet are left out
            return self._closing() + self._ended("incomplete", "cancelled", {"usage": counted(usage)})
        calls = tuple(self._calls.values())
        why = None if calls and reason == "tool-calls" else INCOMPLETE.get(reason)
        status = "completed" if why is None else "incomplete"
        empty = not (self.output or self._open or calls)
        made = [self._closing(status, empty=empty), *map(self._called, calls)]
        ended: JsonObject = {"incomplete_details": {"reason": why}} if why else {"completed_at": self._heading.ending.noted()}
        return "".join(made) + self._ended(status, status, {**ended, "usage": counted(usage)})

    def _closing(self, status: str = "incomplete", *, empty: bool = False) -> str:
        """Cite the sources not cited yet, and end the open item; return the frames. `status`: that of an open message. `empty`: add one."""
        return self._started() + (self._message() if self._cited or empty else "") + self._closed(status)

    def _ended(self, event: str, status: str, fields: JsonObject) -> str:
        """Complete the response with this status and these fields, and return its last frame, of this event."""
        self.response = {**self._response(status), **fields}
        return self._frame(f"response.{event}", {"response": self.response})

    def _failed(self, code: str, sentence: str) -> str:
        code, parameter = openai.code_and_parameter(code, QUESTION)
        error: JsonObject = {"code": code, "message": sentence, "param": parameter}
        made = self._closing() + self._frame("error", {**error, "error": {"type": "server_error", **error}})
        return made + self._ended("failed", "failed", {"error": {"code": code, "message": sentence}})

    def _response(self, status: str) -> dict[str, Json]:
        heading = self._heading
        return {
            "id": response_id(heading),
            "object": "response",
            "created_at": heading.created,
            "completed_at": None,
            "status": status,
            "incomplete_details": None,
            "error": None,
            "model": self._model or heading.model,
            "output": [*self.output],
            "usage": None,
            **{name: heading.asked.get(name, usual) for name, usual in USUAL.items()},
        }


def _said(text: str, annotations: Sequence[Json]) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [*annotations], "logprobs": []}


def annotation(source: Source) -> JsonObject:
    """Return the annotation of a cited page. The span of the text that cites it is unknown, and written as 0 to 0."""
    return {"type": "url_citation", "start_index": 0, "end_index": 0, "url": source.url, "title": source.title or source.url}


def _thought(text: str) -> JsonObject:
    return {"type": "summary_text", "text": text}


def _ran(call: ToolCall, arguments: str) -> JsonObject:
    return {"server_label": SERVER, "name": call.name, "arguments": arguments, "output": None, "error": None, "approval_request_id": None}


def counted(usage: Usage | None) -> JsonObject:
    """Return the usage object of a response. Counts are zero if no provider reported usage, because clients read them unchecked."""
    usage = usage or Usage()
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def response_id(heading: Heading) -> str:
    """Return the id of a response: `resp_` and the id of its message without the dashes."""
    return f"resp_{heading.message_id.replace('-', '')}"


def response_of(item: str) -> str | None:
    """Return the id of the response that an item belongs to, read from the item's id; None for an id that this router does not make."""
    found = ITEM.fullmatch(item)
    return f"resp_{found[1]}" if found else None


def output(heading: Heading, events: Iterable[Event]) -> Sequence[Json]:
    """Return the output items that have ended after these events. An item that is still open is left out."""
    return _seen(heading, events).output


def standing(heading: Heading, events: Iterable[Event]) -> bytes:
    """Return the response object after these events, as JSON; it is complete if the last of them is a Finish or Failure."""
    return body(_seen(heading, events).standing)


def _seen(heading: Heading, events: Iterable[Event]) -> _ResponseFrames:
    frames = _ResponseFrames(heading)
    for event in events:
        frames.encode(event)
    return frames


WIRE = Wire(
    name="responses",
    encoder=lambda heading: _ResponseFrames(heading).encode,
    complete=lambda answer: standing(answer.heading, answer.events),
    refusal=lambda why: body(openai.error(why, QUESTION)),
    keep_alive=KEEP_ALIVE,
)
