"""The wire `ag-ui`: the events of one AG-UI run, as server-sent events.

    data: {"type":"RUN_STARTED","threadId":"…","runId":"…"}

    data: {"type":"TEXT_MESSAGE_START","messageId":"…-1","role":"assistant"}

    data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"…-1","delta":"Hello"}

    data: {"type":"RUN_FINISHED","threadId":"…","runId":"…","outcome":{"type":"success"},"usage":[{"inputTokens":1,"outputTokens":2,…}],…}

A client adds the events up to messages: the text and the calls of one model call are one message of the assistant, its reasoning is
messages of role `reasoning`, each result is one of role `tool`. Calls of the router's tools are shown with their results; calls without a
result are the client's, and `pendingToolCallIds` lists them. A call is written when it is complete: a client cannot take back a part
of its arguments, or a call that was cut off. Sources and files are CUSTOM events, `source` and `file`: the protocol has no other form for
them. An error within the run is RUN_ERROR, and the last event.

Source: the specification of AG-UI 1.0 (its schema), and `verifyEvents` of @ag-ui/client.
"""

from collections.abc import Collection
from itertools import count
from json.encoder import encode_basestring

from router.chat import Json, JsonObject
from router.events import Event, Failure, Finish, Produced, Reason, Source, Start, ToolCall, ToolResult, Usage
from router.wire.frames import FRAME, KEEP_ALIVE, PartEncoder, data_of, frame
from router.wire.shape import Heading, Wire, arguments_of, body, broken_off, compact


class _Run(PartEncoder):
    """An encoder of one run. It holds the assistant's message of this model call, and calls without a result."""

    def __init__(self, heading: Heading) -> None:
        super().__init__(heading)
        self._numbers = count(1)
        """The numbers in the ids of messages."""
        self._message = ""
        """The id of the assistant's message of this model call; empty before its first text or call."""
        self._models: dict[str, None] = {}
        """Models of the targets that answered, in order."""
        self._calls: dict[str, None] = {}
        """Ids of the calls without a result yet, in order."""

    def _written(self, event: Event) -> str:
        match event:
            case ToolCall():
                return self._closed() + self._called(event)
            case ToolResult():
                return self._closed() + self._ran(event)
            case Source(url, title, media_type):
                about = {"url": url, "title": title, "mediaType": media_type}
                return frame({"type": "CUSTOM", "name": "source", "value": {name: one for name, one in about.items() if one}})
            case Produced(media_type, data):
                return frame({"type": "CUSTOM", "name": "file", "value": {"mediaType": media_type, "data": data}})
            case Start(model=model):
                self._message = ""
                self._models[model] = None
                return self._closed() + self._started()
            case Finish(reason, usage):
                return self._closed() + self._finished(reason, usage)
            case Failure(code):
                error = {"type": "RUN_ERROR", "message": broken_off(self._heading, event).sentence, "code": code}
                return self._started() + self._closed() + frame(error)
            case _:
                return self._unwritten(event)

    def _started(self) -> str:
        if self._begun:
            return ""
        self._begun = True
        parent = self._heading.asked.get("parentRunId")
        more: JsonObject = {} if parent is None else {"parentRunId": parent}
        return frame({"type": "RUN_STARTED", **_run(self._heading), **more})

    def _new_id(self) -> str:
        return f"{self._heading.message_id}-{next(self._numbers)}"

    def _opened(self, part: str) -> str:
        """Begin a message of reasoning, or begin or continue the text of this model call; return the frames for that."""
        closed = self._closed()
        if part == "text":
            self._id = self._message = self._message or self._new_id()
            begun = frame({"type": "TEXT_MESSAGE_START", "messageId": self._id, "role": "assistant"})
        else:
            self._id = self._new_id()
            begun = frame({"type": "REASONING_START", "messageId": self._id})
            begun += frame({"type": "REASONING_MESSAGE_START", "messageId": self._id, "role": "reasoning"})
        self._open = part
        self._delta = f'{FRAME}{{"type":"{part.upper()}_MESSAGE_CONTENT","messageId":{encode_basestring(self._id)},"delta":'.encode()
        return closed + begun

    def _closed(self) -> str:
        """End the open message, and return the frames for that; an empty text without one."""
        if not self._open:
            return ""
        part, self._open = self._open, ""
        ended = frame({"type": f"{part.upper()}_MESSAGE_END", "messageId": self._id})
        return ended if part == "text" else ended + frame({"type": "REASONING_END", "messageId": self._id})

    def _called(self, call: ToolCall) -> str:
        """Record a tool call as one without a result; return all its frames: start, arguments and end."""
        self._message = self._message or self._new_id()
        self._calls[call.call_id] = None
        named: JsonObject = {"toolCallId": call.call_id, "toolCallName": call.name, "parentMessageId": self._message}
        return (
            frame({"type": "TOOL_CALL_START", **named})
            + frame({"type": "TOOL_CALL_ARGS", "toolCallId": call.call_id, "delta": arguments_of(call)})
            + frame({"type": "TOOL_CALL_END", "toolCallId": call.call_id})
        )

    def _ran(self, result: ToolResult) -> str:
        """Record that a call has its result; return the result's frame. An error is marked in its metadata: there is no field for it."""
        self._calls.pop(result.call_id, None)
        content = result.result if isinstance(result.result, str) else compact(result.result)
        made: JsonObject = {"messageId": self._new_id(), "toolCallId": result.call_id, "content": content, "role": "tool"}
        more: JsonObject = {"metadata": {"isError": True}} if result.is_error else {}
        return frame({"type": "TOOL_CALL_RESULT", **made, **more})

    def _finished(self, reason: Reason, usage: Usage | None) -> str:
        outcome: dict[str, Json] = {"type": "cancelled" if self._heading.ending.stopped else "success"}
        if self._calls and not self._heading.ending.stopped:
            outcome["pendingToolCallIds"] = [*self._calls]
        counts: JsonObject = {"usage": [counted(usage, self._models)]} if usage else {}
        about: JsonObject = {"finishReason": reason, "model": self._heading.model}
        return frame({"type": "RUN_FINISHED", **_run(self._heading), "outcome": outcome, **counts, "metadata": about})


def counted(usage: Usage, models: Collection[str]) -> dict[str, Json]:
    """Return an answer's usage as an entry of `usage` in RUN_FINISHED. Counts of reasoning and cache are left out if zero.
    models: models of the targets that answered; the entry names the model if there was only one
    """
    parts = {
        "reasoningTokens": usage.reasoning_tokens,
        "cachedInputTokens": usage.cached_tokens,
        "cacheWriteInputTokens": usage.cache_write_tokens,
    }
    return {
        **({"model": next(iter(models))} if len(models) == 1 else {}),
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        **{name: number for name, number in parts.items() if number},
    }


def _run(heading: Heading) -> dict[str, Json]:
    """Return {threadId, runId} of an AG-UI request; for any other request both are the message's id."""
    return {name: heading.asked.get(name, heading.message_id) for name in ("threadId", "runId")}


WIRE = Wire(
    name="ag-ui",
    encoder=lambda heading: _Run(heading).encode,
    complete=lambda answer: f"[{','.join(data_of(_Run(answer.heading).encode, answer))}]".encode(),
    refusal=lambda why: body({"type": "RUN_ERROR", "message": why.sentence, "code": why.code, "requestId": why.request_id}),
    keep_alive=KEEP_ALIVE,
)
