"""Strict readers, one for each wire: they parse an answer's bytes and assert what the oldest client of the wire requires."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from router.wire import Heading
from tests.conftest import parsed_lines

HEADING = Heading(request_id="req_1", message_id="msg-1", model="chat-model", created=1700000000)


@dataclass
class Heard:
    """A parsed answer. A call is (id, name, arguments); a result is (id, value, is_error)."""

    text: str = ""
    thoughts: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list[tuple[str, str, Any]])
    results: list[tuple[str, Any, bool]] = field(default_factory=list[tuple[str, Any, bool]])
    finish: str | None = None
    usage: tuple[int, int] | None = None
    error: str | None = None
    sources: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """(URL, title) of each source; the URL is empty for a document."""
    files: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """(media type, base64 data) of each file."""


def line(body: bytes) -> Heard:
    """Parse an answer in the line protocol."""
    heard = Heard()
    for code, value in parsed_lines(body):
        match code:
            case "0":
                heard.text += value["textDelta"]
            case "g":
                heard.thoughts += value["textDelta"]
            case "9":
                heard.calls.append((value["toolCallId"], value["toolName"], value["args"]))
            case "a":
                heard.results.append((value["toolCallId"], value["result"], value.get("isError", False)))
            case "3":
                heard.error = value["error"]
            case "h":
                assert value["id"] == f"s{len(heard.sources) + 1}"
                heard.sources.append((value.get("url", ""), value.get("title", "")))
            case "k":
                heard.files.append((value["mimeType"], value["data"]))
            case _:
                heard.finish, heard.usage = value["finishReason"], _counts(value.get("usage"))
    return heard


def _counts(usage: dict[str, int] | None) -> tuple[int, int] | None:
    if usage is None:
        return None
    assert set(usage) == {"promptTokens", "completionTokens"}
    return usage["promptTokens"], usage["completionTokens"]


def _keys(value: dict[str, Any], needed: str, allowed: str = "") -> None:
    """Assert that an object has the needed keys, no others than the allowed, and no null outside `result`, `output` and `input`."""
    assert set(needed.split()) <= set(value) <= {*needed.split(), *allowed.split()}, value
    assert None not in [one for key, one in value.items() if key not in ("result", "output", "input")], value


class _DataStream:
    """The state of a client of AI SDK 4 that reads a data stream line by line."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.step = self.ended = False
        self.begun: set[str] = set()
        self.called: set[str] = set()
        self.ids: set[str] = set()
        self.used: list[tuple[int, int]] = []

    def see(self, code: str, value: Any) -> None:
        """Check one line and add what it says."""
        assert not self.ended
        assert self.step or code in "fd3", f"{code} outside a step"
        match code:
            case "0" | "g" | "3":
                assert isinstance(value, str)
                assert value
                self.heard.text += value if code == "0" else ""
                self.heard.thoughts += value if code == "g" else ""
                self.heard.error = value if code == "3" else self.heard.error
            case "h":
                _keys(value, "sourceType id url", "title")
                assert value["sourceType"] == "url"
                self.heard.sources.append((value["url"], value.get("title", "")))
            case "k":
                _keys(value, "data mimeType")
                self.heard.files.append((value["mimeType"], value["data"]))
            case "f":
                _keys(value, "messageId")
                assert not self.step
                self.step = True
                self.ids.add(value["messageId"])
            case "e":
                _keys(value, "finishReason isContinued", "usage")
                self.step = False
                self.heard.finish = value["finishReason"]
                self.used += [counts] if (counts := _counts(value.get("usage"))) else []
            case "d":
                _keys(value, "finishReason", "usage")
                assert not self.step
                assert self.heard.finish in (None, value["finishReason"])
                self.heard.finish, self.heard.usage, self.ended = value["finishReason"], _counts(value.get("usage")), True
            case _:
                self.tool(code, value)

    def tool(self, code: str, value: Any) -> None:
        """Check one line about a tool call and add what it says."""
        call_id = value["toolCallId"]
        match code:
            case "b":
                _keys(value, "toolCallId toolName")
                assert call_id not in self.begun
                self.begun.add(call_id)
            case "c":
                _keys(value, "toolCallId argsTextDelta")
                assert call_id in self.begun
            case "9":
                _keys(value, "toolCallId toolName args")
                assert isinstance(value["args"], dict)
                self.called.add(call_id)
                self.heard.calls.append((call_id, value["toolName"], value["args"]))
            case "a":
                _keys(value, "toolCallId result", "isError")
                assert call_id in self.called
                self.heard.results.append((call_id, value["result"], value.get("isError", False)))
            case _:
                raise AssertionError(code)


def data_stream(body: bytes) -> Heard:
    """Parse an answer in AI SDK 4's data stream, and assert that its usage is the sum over its steps."""
    text = body.decode("utf-8", "strict")
    assert text.endswith("\n")
    reader = _DataStream()
    for one in text[:-1].split("\n"):
        code, colon, rest = one.partition(":")
        if one:  # an empty line is a sign of life
            assert colon
            reader.see(code, json.loads(rest))
    assert reader.ended
    assert len(reader.ids) <= 1
    if reader.heard.usage and reader.used:
        assert reader.heard.usage == (sum(one for one, _ in reader.used), sum(one for _, one in reader.used))
    return reader.heard


def _events(body: bytes) -> list[str]:
    """Return the data of all server-sent events before the one `[DONE]`, without comments, and assert that all frames are complete."""
    text = body.decode("utf-8", "strict")
    assert text.endswith("\n\n")
    frames = [frame for frame in text[:-2].split("\n\n") if not frame.startswith(": ")]
    assert all(frame.startswith("data: ") and "\n" not in frame and "\r" not in frame for frame in frames)
    assert frames[-1] == "data: [DONE]"
    return [frame.removeprefix("data: ") for frame in frames[:-1]]


PORTABLE = {
    "start": ("messageId", ""),
    "start-step": ("", ""),
    "finish-step": ("", ""),
    "text-start": ("id", ""),
    "text-delta": ("id delta", ""),
    "text-end": ("id", ""),
    "reasoning-start": ("id", ""),
    "reasoning-delta": ("id delta", ""),
    "reasoning-end": ("id", ""),
    "tool-input-start": ("toolCallId toolName", ""),
    "tool-input-delta": ("toolCallId inputTextDelta", ""),
    "tool-input-available": ("toolCallId toolName input", ""),
    "tool-output-available": ("toolCallId output", ""),
    "tool-output-error": ("toolCallId errorText", ""),
    "data-tool-progress": ("data transient", ""),
    "source-url": ("sourceId url", "title"),
    "source-document": ("sourceId mediaType title", ""),
    "file": ("url mediaType", ""),
    "error": ("errorText", ""),
    "finish": ("", "messageMetadata"),
}
"""Types of chunks that AI SDK 5.0.0 accepts → (required keys, optional keys), separated by spaces."""
REASONS = {"stop", "length", "content-filter", "tool-calls", "error", "other"}


class _UiMessageStream:
    """The state of a client of AI SDK 5.0.0, which refuses unknown types and keys and parts that are not opened or closed."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.seen: list[str] = []
        self.step = False
        self.part: tuple[str, str] | None = None
        self.ids: set[str] = set()
        self.begun: set[str] = set()
        self.called: set[str] = set()

    def see(self, kind: str, value: dict[str, Any]) -> None:
        """Check one chunk and add what it says."""
        _keys(value, *PORTABLE[kind])
        assert "finish" not in self.seen
        assert self.seen or kind in ("start", "error")
        assert self.heard.error is None or kind in ("finish-step", "finish")
        assert self.step or kind in ("start", "start-step", "finish", "error")
        match kind:
            case "start":
                assert not self.seen
            case "start-step":
                assert not self.step
                self.step = True
            case "finish-step":
                assert self.part is None
                self.step = False
            case "error":
                assert self.part is None
                self.heard.error = value["errorText"]
            case "finish":
                self.finish(value["messageMetadata"])
            case "data-tool-progress":
                assert self.part is None
                assert value["transient"] is True
                _keys(value["data"], "toolCallId output", "")
                assert value["data"]["toolCallId"] in self.called
            case "source-url" | "source-document":
                assert value["sourceId"] not in self.ids
                self.ids.add(value["sourceId"])
                self.heard.sources.append((value.get("url", ""), value.get("title", "")))
            case "file":
                assert self.part is None
                head, _, data = value["url"].partition(";base64,")
                assert head == f"data:{value['mediaType']}"
                self.heard.files.append((value["mediaType"], data))
            case _ if kind.startswith("tool-"):
                self.tool(kind, value)
            case _:
                part, deed = kind.split("-")
                self.spoken(part, deed, value)
        self.seen.append(kind)

    def spoken(self, part: str, deed: str, value: dict[str, Any]) -> None:
        """Check one chunk of a text or reasoning part and add its text."""
        if deed == "start":
            assert self.part is None
            assert value["id"] not in self.ids
            self.ids.add(value["id"])
            self.part = (part, value["id"])
            return
        assert self.part == (part, value["id"])
        if deed == "end":
            self.part = None
            return
        assert value["delta"]
        self.heard.text += value["delta"] if part == "text" else ""
        self.heard.thoughts += value["delta"] if part == "reasoning" else ""

    def tool(self, kind: str, value: dict[str, Any]) -> None:
        """Check one chunk about a tool call and add what it says."""
        call_id = value["toolCallId"]
        assert self.part is None
        if call_id.startswith("earlier_"):  # its call stands in the message that the answer goes on with
            self.called.add(call_id)
        match kind:
            case "tool-input-start":
                assert call_id not in self.begun
                self.begun.add(call_id)
            case "tool-input-delta":
                assert call_id in self.begun
            case "tool-input-available":
                self.called.add(call_id)
                self.heard.calls.append((call_id, value["toolName"], value["input"]))
            case "tool-output-available":
                assert call_id in self.called
                self.heard.results.append((call_id, value["output"], False))
            case _:
                assert call_id in self.called
                assert isinstance(value["errorText"], str)
                self.heard.results.append((call_id, value["errorText"], True))

    def finish(self, told: dict[str, Any]) -> None:
        """Check the metadata of the finish chunk and add finish reason and usage."""
        _keys(told, "finishReason model", "usage")
        assert told["finishReason"] in REASONS
        self.heard.finish = told["finishReason"]
        if usage := told.get("usage"):
            assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
            self.heard.usage = (usage["inputTokens"], usage["outputTokens"])


def ui_message_stream(body: bytes) -> Heard:
    """Parse an answer in the UI message stream, by the rules of the strictest of AI SDK 5, 6 and 7."""
    reader = _UiMessageStream()
    for data in _events(body):
        value: dict[str, Any] = json.loads(data)
        reader.see(value.pop("type"), value)
    assert not reader.step
    assert reader.part is None
    assert reader.seen[-1] == "finish" or reader.seen == ["error"]
    return reader.heard


def openai(body: bytes) -> Heard:
    """Parse a streamed answer of chat completions; the arguments of a call stay a JSON text."""
    heard = Heard()
    calls: dict[int, dict[str, str]] = {}
    common: set[tuple[str, int, str]] = set()
    begun = False
    for data in _events(body):
        value: dict[str, Any] = json.loads(data)
        assert heard.error is None
        if "error" in value:
            assert set(value["error"]) == {"message", "type", "param", "code"}
            heard.error = value["error"]["message"]
            continue
        assert {"id", "object", "created", "model", "choices"} <= set(value) <= {"id", "object", "created", "model", "choices", "usage"}
        assert value["object"] == "chat.completion.chunk"
        common.add((value["id"], value["created"], value["model"]))
        if not value["choices"]:
            assert heard.finish
            assert heard.usage is None
            usage = value["usage"]
            assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
            heard.usage = (usage["prompt_tokens"], usage["completion_tokens"])
            continue
        assert value.get("usage") is None
        (choice,) = value["choices"]
        assert set(choice) == {"index", "delta", "logprobs", "finish_reason"}
        delta = choice["delta"]
        assert heard.finish is None
        assert ("role" in delta) is not begun
        begun = True
        heard.text += delta.get("content") or ""
        heard.thoughts += delta.get("reasoning_content") or ""
        for cited in (one["url_citation"] for one in delta.get("annotations", ())):
            assert (cited["start_index"], cited["end_index"]) == (0, 0)
            heard.sources.append((cited["url"], cited["title"]))
        for image in delta.get("images", ()):
            assert (image["type"], image["index"]) == ("image_url", len(heard.files))
            heard.files.append(_data_url(image["image_url"]["url"]))
        for call in delta.get("tool_calls", ()):
            assert isinstance(call["index"], int)
            if call["index"] not in calls:
                assert call["type"] == "function"
                calls[call["index"]] = {"id": call["id"], "name": call["function"]["name"], "arguments": ""}
            calls[call["index"]]["arguments"] += call["function"]["arguments"]
        if choice["finish_reason"] is not None:
            assert delta == {}
            heard.finish = choice["finish_reason"]
    assert len(common) <= 1
    assert (heard.finish is None) is (heard.error is not None)
    assert (heard.finish == "tool_calls") is bool(calls)
    heard.calls = [(call["id"], call["name"], call["arguments"]) for _, call in sorted(calls.items())]
    return heard


def _data_url(url: str) -> tuple[str, str]:
    """Return the media type and the base64 of a data: URL."""
    head, _, data = url.partition(";base64,")
    return head.removeprefix("data:"), data


def text_completion(body: bytes) -> Heard:
    """Parse a streamed answer of OpenAI's legacy completions."""
    heard = Heard()
    common: set[tuple[str, int, str]] = set()
    for data in _events(body):
        value: dict[str, Any] = json.loads(data)
        assert heard.error is None
        if "error" in value:
            assert set(value["error"]) == {"message", "type", "param", "code"}
            heard.error = value["error"]["message"]
            continue
        assert {"id", "object", "created", "model", "choices"} <= set(value) <= {"id", "object", "created", "model", "choices", "usage"}
        assert value["object"] == "text_completion"
        common.add((value["id"], value["created"], value["model"]))
        if not value["choices"]:
            assert heard.finish
            assert heard.usage is None
            usage = value["usage"]
            assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
            heard.usage = (usage["prompt_tokens"], usage["completion_tokens"])
            continue
        assert value.get("usage") is None
        (choice,) = value["choices"]
        assert set(choice) == {"text", "index", "logprobs", "finish_reason"}
        assert (choice["index"], choice["logprobs"], heard.finish) == (0, None, None)
        heard.text += choice["text"]
        heard.finish = choice["finish_reason"]
    assert len(common) <= 1
    assert (heard.finish is None) is (heard.error is not None)
    return heard


class _Messages:
    """The state of a client of Anthropic's Messages API: one content block open at a time, each event after the one it needs."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.kinds: list[str] = []
        self.block: tuple[str, int] | None = None
        self.arguments: list[str] = []
        self.message: dict[str, Any] = {}

    def see(self, kind: str, value: dict[str, Any]) -> None:
        """Check one event and add what it says."""
        assert "message_stop" not in self.kinds
        assert self.heard.error is None
        assert (kind in ("message_start", "error")) or self.kinds
        match kind:
            case "message_start":
                assert not self.kinds
                self.message = value["message"]
                assert (self.message["content"], self.message["stop_reason"], self.message["type"]) == ([], None, "message")
            case "content_block_start":
                assert self.block is None
                self.block = (value["content_block"]["type"], value["index"])
                if self.block[0] == "tool_use":
                    _keys(value["content_block"], "type id name input caller")
                    assert value["content_block"]["input"] == {}
                    self.heard.calls.append((value["content_block"]["id"], value["content_block"]["name"], ""))
            case "content_block_delta":
                assert self.block is not None
                assert value["index"] == self.block[1]
                self.delta(self.block[0], value["delta"])
            case "content_block_stop":
                assert self.block is not None
                assert value["index"] == self.block[1]
                self.block = None
            case "message_delta":
                assert self.block is None
                _keys(value, "delta usage")
                self.heard.finish = value["delta"]["stop_reason"]
                used = value["usage"]
                read = used["input_tokens"] + used["cache_read_input_tokens"] + used["cache_creation_input_tokens"]
                self.heard.usage = (read, used["output_tokens"])
            case "message_stop":
                assert self.heard.finish
            case _:
                assert kind == "error"
                _keys(value["error"], "type message", "code")
                self.heard.error = value["error"]["message"]
        self.kinds.append(kind)

    def delta(self, block: str, delta: dict[str, Any]) -> None:
        """Check one delta of the open content block, and add what it says."""
        match block, delta["type"]:
            case "text", "text_delta":
                self.heard.text += delta["text"]
            case "text", "citations_delta":
                cited = delta["citation"]
                assert cited["type"] == "web_search_result_location"
                self.heard.sources.append((cited["url"], cited["title"] or ""))
            case "thinking", "thinking_delta":
                self.heard.thoughts += delta["thinking"]
            case "thinking", "signature_delta":
                assert isinstance(delta["signature"], str)
            case _:
                assert (block, delta["type"]) == ("tool_use", "input_json_delta")
                call_id, name, before = self.heard.calls[-1]
                self.heard.calls[-1] = (call_id, name, before + delta["partial_json"])


def anthropic(body: bytes) -> Heard:
    """Parse a streamed answer of Anthropic's Messages API."""
    written = body.decode("utf-8", "strict")
    assert written.endswith("\n\n")
    reader = _Messages()
    for frame in written[:-2].split("\n\n"):
        named, data = frame.split("\n")
        value: dict[str, Any] = json.loads(data.removeprefix("data: "))
        kind = value.pop("type")
        assert named == f"event: {kind}"
        if kind != "ping":
            reader.see(kind, value)
    assert reader.heard.error is not None or reader.kinds[-1] == "message_stop"
    assert (reader.heard.finish == "tool_use") is bool(reader.heard.calls)
    return reader.heard


class _Responses:
    """The state of a client of OpenAI's Responses API: numbered events, one output item open at a time."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.kinds: list[str] = []
        self.output: list[Any] = []
        self.item: dict[str, Any] | None = None
        self.pieces = ""
        self.annotations: list[Any] = []

    def see(self, kind: str, value: dict[str, Any]) -> None:
        """Check one event and add what it says."""
        assert value.pop("sequence_number") == len(self.kinds)
        assert self.kinds[:2] == ["response.created", "response.in_progress"][: len(self.kinds)]
        self.kinds.append(kind)
        if kind == "error":
            assert value["error"]["message"] == value["message"]
            self.heard.error = value["message"]
        elif "response" in value:
            self.response(value["response"])
        elif kind.startswith("response.output_item."):
            assert value["output_index"] == len(self.output)
            self.turned(kind, value["item"])
        else:
            assert self.item is not None
            assert (value["item_id"], value["output_index"]) == (self.item["id"], len(self.output))
            self.pieces += value.get("delta", "")
            if kind == "response.output_text.annotation.added":
                assert value["annotation_index"] == len(self.annotations)
                self.annotations.append(value["annotation"])
            if kind.endswith(("text.done", "function_call_arguments.done")):
                assert self.pieces == value.get("text", value.get("arguments"))

    def turned(self, kind: str, item: dict[str, Any]) -> None:
        """Open an output item, or close it and add its content."""
        if kind.endswith("added"):
            assert self.item is None
            self.item, self.pieces, self.annotations = item, "", []
            return
        assert self.item is not None
        assert (item["id"], item["type"]) == (self.item["id"], self.item["type"])
        self.item = None
        self.output.append(item)
        match item["type"]:
            case "message":
                assert item["content"][0]["text"] == self.pieces
                assert item["content"][0]["annotations"] == self.annotations
                self.heard.text += self.pieces
                self.heard.sources += [(one["url"], one["title"]) for one in self.annotations]
            case "image_generation_call":
                self.heard.files.append((f"image/{item['output_format']}", item["result"]))
            case "reasoning":
                assert item["summary"][0]["text"] == self.pieces
                self.heard.thoughts += self.pieces
            case "function_call":
                assert item["arguments"] == self.pieces
                self.heard.calls.append((item["call_id"], item["name"], item["arguments"]))
            case _:
                failed = item["status"] == "failed"
                assert item["type"] == "mcp_call"
                self.heard.results.append((item["name"], item["error" if failed else "output"], failed))

    def response(self, response: dict[str, Any]) -> None:
        """Check a response object against the items so far, and add finish reason and usage."""
        assert self.item is None
        assert response["output"] == self.output
        if response["status"] in ("completed", "incomplete"):
            why = response["incomplete_details"]
            used = response["usage"]
            self.heard.finish = why["reason"] if why else "completed"
            self.heard.usage = (used["input_tokens"], used["output_tokens"])


def responses(body: bytes) -> Heard:
    """Parse a streamed answer of OpenAI's Responses API."""
    written = body.decode("utf-8", "strict")
    assert written.endswith("\n\n")
    reader = _Responses()
    for frame in written[:-2].split("\n\n"):
        if frame.startswith(": "):
            continue
        named, data = frame.split("\n")
        value: dict[str, Any] = json.loads(data.removeprefix("data: "))
        kind = value.pop("type")
        assert named == f"event: {kind}"
        reader.see(kind, value)
    assert reader.kinds[-1] in ("response.completed", "response.incomplete", "response.failed")
    assert (reader.kinds[-1] == "response.failed") is (reader.heard.error is not None)
    return reader.heard


class _AgentRun:
    """The state of an AG-UI client: an event continues only what is open."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.kinds: list[str] = []
        self.open: set[tuple[str, str]] = set()
        self.ids: set[str] = set()
        self.calls: dict[str, tuple[str, list[str]]] = {}

    def see(self, kind: str, value: dict[str, Any]) -> None:
        """Check one event and add what it says."""
        assert None not in value.values()
        assert (kind == "RUN_STARTED") is (self.kinds == [])
        assert not {"RUN_FINISHED", "RUN_ERROR"} & set(self.kinds)
        self.kinds.append(kind)
        entity, _, phase = kind.rpartition("_")
        if entity == "RUN":
            self.ended(phase, value)
        elif kind == "CUSTOM":
            self.custom(**value)
        elif kind == "TOOL_CALL_RESULT":
            self.result(**value)
        elif entity == "TOOL_CALL":
            self.call(phase, value)
        else:
            self.spoken(entity, phase, value)

    def spoken(self, entity: str, phase: str, value: dict[str, Any]) -> None:
        """Check one event of a text or reasoning message and add its text."""
        key = (entity, value["messageId"])
        if phase == "START":
            assert key not in self.open
            assert value.get("role") == {"TEXT_MESSAGE": "assistant", "REASONING_MESSAGE": "reasoning", "REASONING": None}[entity]
            self.open.add(key)
            return
        assert key in self.open
        if phase == "END":
            self.open.remove(key)
        elif entity == "TEXT_MESSAGE":
            self.heard.text += value["delta"]
        else:
            self.heard.thoughts += value["delta"]

    def call(self, phase: str, value: dict[str, Any]) -> None:
        """Check one event of a tool call, and add the call at its end."""
        call_id = value["toolCallId"]
        key = ("TOOL_CALL", call_id)
        if phase == "START":
            assert call_id not in self.calls
            assert ("TEXT_MESSAGE", value["parentMessageId"]) not in self.open
            self.calls[call_id] = (value["toolCallName"], [])
            self.open.add(key)
        elif phase == "ARGS":
            assert key in self.open
            self.calls[call_id][1].append(value["delta"])
        else:
            self.open.remove(key)
            name, pieces = self.calls[call_id]
            self.heard.calls.append((call_id, name, "".join(pieces)))

    def custom(self, name: str, value: dict[str, str]) -> None:
        """Add the source or file of a CUSTOM event."""
        if name == "source":
            self.heard.sources.append((value.get("url", ""), value.get("title", "")))
        else:
            assert name == "file"
            self.heard.files.append((value["mediaType"], value["data"]))

    def result(self, messageId: str, toolCallId: str, content: str, role: str, metadata: dict[str, Any] | None = None) -> None:  # noqa: N803 - the dialect's names
        """Check and add the result of a tool call."""
        assert messageId not in self.ids
        assert ("TOOL_CALL", toolCallId) not in self.open
        assert (toolCallId in self.calls, role) == (True, "tool")
        assert metadata in (None, {"isError": True})
        self.ids.add(messageId)
        self.heard.results.append((toolCallId, content, metadata is not None))

    def ended(self, phase: str, value: dict[str, Any]) -> None:
        """Check the start, end or error of a run, and add finish reason, usage or error."""
        if phase == "ERROR":
            self.heard.error, self.heard.finish = value["message"], "error"
            return
        assert value["threadId"]
        assert value["runId"]
        if phase == "FINISHED":
            done = {call_id for call_id, _, _ in self.heard.results}
            assert value["outcome"].get("pendingToolCallIds", []) == [one for one in self.calls if one not in done]
            self.heard.finish = value["metadata"]["finishReason"]
            for counts in value.get("usage", ()):
                assert counts["totalTokens"] == counts["inputTokens"] + counts["outputTokens"]
                self.heard.usage = (counts["inputTokens"], counts["outputTokens"])


def ag_ui(body: bytes) -> Heard:
    """Parse an AG-UI event stream, and assert that nothing is open at its end."""
    written = body.decode("utf-8", "strict")
    assert written.endswith("\n\n")
    run = _AgentRun()
    for frame in written[:-2].split("\n\n"):
        if not frame.startswith(": "):
            value: dict[str, Any] = json.loads(frame.removeprefix("data: "))
            run.see(value.pop("type"), value)
    assert run.kinds[-1] in ("RUN_FINISHED", "RUN_ERROR")
    assert not run.open
    return run.heard


class _LanguageModel:
    """The state of the AI SDK's language model client (specification 4): one text or reasoning open at a time, no nulls."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.kinds: list[str] = []
        self.open: tuple[str, str] | None = None
        self.ids: set[str] = set()
        self.called: dict[str, tuple[str, Any]] = {}

    def see(self, kind: str, value: dict[str, Any]) -> None:
        """Check one stream part and add what it says."""
        assert None not in value.values()
        assert "finish" not in self.kinds
        self.kinds.append(kind)
        part, _, phase = kind.rpartition("-")
        if part in ("text", "reasoning"):
            self.spoken(part, phase, value)
        elif part == "tool":
            self.tool(phase, **value)
        elif kind == "source":
            assert value["id"] not in self.ids
            self.ids.add(value["id"])
            self.heard.sources.append((value.get("url", ""), value.get("title", "")))
        elif kind == "file":
            assert (self.open, value["data"]["type"]) == (None, "data")
            self.heard.files.append((value["mediaType"], value["data"]["data"]))
        elif kind == "error":
            self.heard.error = value["error"]["message"]
        elif kind == "finish":
            self.ended(value["finishReason"]["unified"], value["usage"])
        else:
            assert len(self.kinds) == {"stream-start": 1, "response-metadata": 2}[kind]

    def spoken(self, part: str, phase: str, value: dict[str, Any]) -> None:
        """Check one part of a text or reasoning and add its text."""
        key = (part, value["id"])
        if phase == "start":
            assert self.open is None
            assert value["id"] not in self.ids
            self.ids.add(value["id"])
            self.open = key
            return
        assert self.open == key
        if phase == "end":
            self.open = None
        elif part == "text":
            self.heard.text += value["delta"]
        else:
            self.heard.thoughts += value["delta"]

    def tool(self, phase: str, toolCallId: str, toolName: str, **more: Any) -> None:  # noqa: N803 - the dialect's names
        """Check a tool call or result, and add a client's call or any result.

        A call that the router ran is marked, and directly followed by its result.
        """
        assert self.open is None
        if phase == "call":
            assert toolCallId not in self.called
            self.called[toolCallId] = (toolName, more.pop("input"))
            if more:
                assert more == {"providerExecuted": True, "dynamic": True}
            else:
                self.heard.calls.append((toolCallId, *self.called[toolCallId]))
            return
        assert (self.kinds[-2], self.called[toolCallId][0]) == ("tool-call", toolName)
        assert (more["providerExecuted"], more["dynamic"]) == (True, True)
        self.heard.results.append((toolName, more["result"], more["isError"]))

    def ended(self, reason: str, usage: dict[str, Any]) -> None:
        """Add the finish reason, and the usage after checking its sums."""
        read, written = usage["inputTokens"], usage["outputTokens"]
        self.heard.finish = reason
        if read or written:
            assert read["total"] == read["noCache"] + read["cacheRead"] + read["cacheWrite"]
            assert written["total"] == written["text"] + written["reasoning"]
            self.heard.usage = (read["total"], written["total"])


def ai_gateway(body: bytes) -> Heard:
    """Parse a stream of the AI SDK's gateway protocol."""
    written = body.decode("utf-8", "strict")
    assert written.endswith("\n\n")
    model = _LanguageModel()
    for frame in written[:-2].split("\n\n"):
        if not frame.startswith(": "):
            value: dict[str, Any] = json.loads(frame.removeprefix("data: "))
            model.see(value.pop("type"), value)
    assert model.kinds[-1] == "finish"
    assert model.open is None
    return model.heard


def text(body: bytes) -> Heard:
    """Parse a plain text answer."""
    return Heard(text=body.decode("utf-8", "strict"))


READERS: dict[str, Callable[[bytes], Heard]] = {
    "line": line,
    "data-stream": data_stream,
    "ui-message-stream": ui_message_stream,
    "openai": openai,
    "anthropic": anthropic,
    "responses": responses,
    "text-completion": text_completion,
    "ag-ui": ag_ui,
    "ai-gateway": ai_gateway,
    "text": text,
}
