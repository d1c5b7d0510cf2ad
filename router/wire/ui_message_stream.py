"""The wire `ui-message-stream`: AI SDK 5 and later, as server-sent events of one JSON object each.

    data: {"type":"start","messageId":"0b6c5e5e-…"}
    data: {"type":"start-step"}
    data: {"type":"text-start","id":"t1"}
    data: {"type":"text-delta","id":"t1","delta":"Let me check."}
    data: {"type":"text-end","id":"t1"}
    data: {"type":"tool-input-available","toolCallId":"call_1","toolName":"get_weather","input":{"location":"Beijing"}}
    data: {"type":"tool-output-available","toolCallId":"call_1","output":"25°C"}
    data: {"type":"finish-step"}
    …
    data: {"type":"finish","messageMetadata":{"finishReason":"stop","usage":{…},"model":"chat-model"}}
    data: [DONE]

Clients of 5.0 to 7.0 refuse a whole answer because of one unknown key or type. So the frames have only what every release
since 5.0.0 accepts: no `tool-input-error`, no nulls. `server.ui.min_client: "6.0"` adds `finishReason` to `finish`, and sends the
progress of a tool as a preliminary output of its part instead of a transient `data-tool-progress`. A data part of a tool is transient,
too, and its `id` is that of the call.
A part is closed before anything else begins, except for a source, which may come within a text; part ids are unique in the message.
"""

from itertools import count
from typing import assert_never

from router import events
from router.chat import Json, ReasoningState
from router.events import Event, Failure, Finish, Produced, Source, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.wire.data_stream import refusal
from router.wire.frames import DONE, KEEP_ALIVE, SdkPartEncoder, frame
from router.wire.shape import Answered, Heading, Wire, body, broken_off, compact


class _UiFrames(SdkPartEncoder):
    """An encoder of one answer. It holds whether a step is open, the open part, and the counts from which part ids are made."""

    def __init__(self, heading: Heading) -> None:
        super().__init__(heading)
        self._numbers = {"text": count(1), "reasoning": count(1)}
        self._streaming: set[str] = set()

    def _written(self, event: Event) -> str:
        match event:
            case Source():
                return frame(_cited(event, next(self._sources)))
            case Produced():
                return self._closed() + frame(_file(event))
            case ToolInput():
                return self._closed() + self._input(event)
            case ToolCall():
                return self._closed() + frame(_called(event))
            case events.ToolProgress():
                return self._closed() + frame(self._progress(event))
            case ToolResult() | events.LateResult():
                return self._closed() + frame(_given(event))
            case events.Approval(call_id, _, approval_id) if self._heading.min_client != "5.0":
                return self._closed() + frame({"type": "tool-approval-request", "approvalId": approval_id, "toolCallId": call_id})
            case Start():
                return self._start()
            case Finish(reason, usage):
                return self._closed() + self._end(_reason(reason), usage)
            case Failure():
                # The SDK's own client reads nothing after an error, so the open part is closed before it.
                error = frame({"type": "error", "errorText": broken_off(self._heading, event).sentence})
                return self._closed() + error + self._end("error", None)
            case _:
                return self._unwritten(event)  # such as an Approval: older clients know no such thing, and are not asked

    def _start(self) -> str:
        step = frame({"type": "start-step"})
        if self._begun:
            return self._closed() + frame({"type": "finish-step"}) + step
        self._begun = True
        return frame({"type": "start", "messageId": self._heading.message_id}) + step

    def _input(self, event: ToolInput) -> str:
        delta = frame({"type": "tool-input-delta", "toolCallId": event.call_id, "inputTextDelta": event.part})
        if event.call_id in self._streaming:
            return delta
        self._streaming.add(event.call_id)
        return frame({"type": "tool-input-start", "toolCallId": event.call_id, "toolName": event.name}) + delta

    def _progress(self, event: events.ToolProgress) -> dict[str, Json]:
        if event.part:
            return {"type": f"data-{event.part}", "id": event.call_id, "data": event.output, "transient": True}
        held: dict[str, Json] = {"toolCallId": event.call_id, "output": event.output}
        if self._heading.min_client == "5.0":  # its first releases refuse an answer with the key `preliminary`
            return {"type": "data-tool-progress", "data": held, "transient": True}
        return {"type": "tool-output-available", **held, "preliminary": True}

    def _end(self, reason: str, usage: Usage | None) -> str:
        if not self._begun:
            return DONE
        new: dict[str, Json] = {} if self._heading.min_client == "5.0" else {"finishReason": reason}
        about = metadata(reason, usage, self._heading.model)
        return frame({"type": "finish-step"}) + frame({"type": "finish", **new, "messageMetadata": about}) + DONE


def metadata(reason: str, usage: Usage | None, model: str) -> dict[str, Json]:
    """Return {finishReason, usage, model}, without unreported usage; counts of reasoning and cached tokens are left out if zero."""
    if usage is None:
        return {"finishReason": reason, "model": model}
    counts: dict[str, Json] = {"inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens, "totalTokens": usage.total_tokens}
    counts |= {"reasoningTokens": usage.reasoning_tokens} if usage.reasoning_tokens else {}
    counts |= {"cachedInputTokens": usage.cached_tokens} if usage.cached_tokens else {}
    return {"finishReason": reason, "usage": counts, "model": model}


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: a JSON UIMessage, its parts in the order of the events.
    A source that comes within a text stands after the whole text.
    """
    parts: list[dict[str, Json]] = []
    tools: dict[str, dict[str, Json]] = {}
    spoken: list[tuple[dict[str, Json], list[str]]] = []
    open_part: dict[str, Json] = {}
    sources = 0
    for event in answer.events:
        match event:
            case Start():
                parts.append({"type": "step-start"})
            case Text(text) | Thought(text):
                kind = "text" if isinstance(event, Text) else "reasoning"
                if open_part.get("type") != kind:
                    open_part = {"type": kind, "text": "", "state": "done"}
                    parts.append(open_part)
                    spoken.append((open_part, []))
                spoken[-1][1].append(text)
                continue
            case Source():
                sources += 1
                parts.append(_cited(event, sources))
                continue
            case Produced():
                parts.append(_file(event))
            case ToolCall(call_id, name):
                tools[call_id] = {"type": f"tool-{name}", "toolCallId": call_id, "state": "input-available", "input": _asked(event)}
                parts.append(tools[call_id])
            case ToolResult(call_id):
                outcome = _given(event)
                del outcome["type"]
                tools[call_id].update(outcome, state="output-error" if event.is_error else "output-available")
            case events.Approval(call_id, _, approval_id):
                tools[call_id].update(state="approval-requested", approval={"id": approval_id})
            case events.LateResult(call_id, name, arguments):
                state = "output-error" if event.is_error else "output-available"
                parts.append({**_given(event), "type": f"tool-{name}", "toolCallId": call_id, "state": state, "input": arguments})
            case ToolInput() | events.ToolProgress() | ReasoningState() | Finish() | Failure():
                pass
            case _:
                assert_never(event)
        open_part = {}
    for part, pieces in spoken:
        part["text"] = "".join(pieces)
    about = metadata(_reason(answer.reason), answer.usage, answer.heading.model)
    return body({"id": answer.heading.message_id, "role": "assistant", "metadata": about, "parts": parts})


def _cited(event: Source, number: int) -> dict[str, Json]:
    """Return the part of a source, with the id `s<number>`: a page with its URL, or a document with its media type and title."""
    titled: dict[str, Json] = {"title": event.title} if event.title else {}
    if event.url:
        return {"type": "source-url", "sourceId": f"s{number}", "url": event.url, **titled}
    return {"type": "source-document", "sourceId": f"s{number}", "mediaType": event.media_type, "title": event.title}


def _file(event: Produced) -> dict[str, Json]:
    return {"type": "file", "mediaType": event.media_type, "url": f"data:{event.media_type};base64,{event.data}"}


def _called(event: ToolCall) -> dict[str, Json]:
    return {"type": "tool-input-available", "toolCallId": event.call_id, "toolName": event.name, "input": _asked(event)}


def _asked(event: ToolCall) -> Json:
    """Return a call's arguments; if they were malformed, the text that the model wrote, to which the tool's error output refers."""
    return event.arguments if event.malformed is None else event.malformed


def _given(event: ToolResult | events.LateResult) -> dict[str, Json]:
    if event.is_error:
        words = event.result if isinstance(event.result, str) else compact(event.result)
        return {"type": "tool-output-error", "toolCallId": event.call_id, "errorText": words}
    return {"type": "tool-output-available", "toolCallId": event.call_id, "output": event.result}


def _reason(reason: str) -> str:
    """Return the finish reason, with `other` for `unknown`: clients since AI SDK 5 would refuse the whole answer for `unknown`."""
    return "other" if reason == "unknown" else reason


WIRE = Wire(
    name="ui-message-stream",
    headers="x-vercel-ai-ui-message-stream: v1\r\n",
    encoder=lambda heading: _UiFrames(heading).encode,
    complete=complete,
    refusal=refusal,
    keep_alive=KEEP_ALIVE,
    approvals=True,
)
