"""The wire `data-stream`: AI SDK 4's data stream, version 1. Each line is a code, a colon, one JSON value and an LF.

    f:{"messageId":"0b6c5e5e-…"}
    0:"Let me check."
    9:{"toolCallId":"call_1","toolName":"get_weather","args":{"location":"Beijing"}}
    a:{"toolCallId":"call_1","result":"25°C"}
    e:{"finishReason":"tool-calls","usage":{"promptTokens":50,"completionTokens":17},"isContinued":false}
    f:{"messageId":"0b6c5e5e-…"}
    0:"It is 25°C."
    e:{"finishReason":"stop","usage":{"promptTokens":80,"completionTokens":6},"isContinued":false}
    d:{"finishReason":"stop","usage":{"promptTokens":130,"completionTokens":23}}

Each model call is enclosed by `f` and `e`: without them a client joins the text after a tool to the text before it.
`b` and `c` carry a call's arguments while they stream, `g` reasoning, `h` a cited page, `k` a file, `3` an error. A failed tool is an `a`
with `isError`, which clients ignore as an unknown key: the SDK's own server would end the answer.
"""

from itertools import count
from json.encoder import encode_basestring

from router.chat import Json, repaired
from router.events import Event, Failure, Finish, Produced, Source, Start, Text, Thought, ToolCall, ToolInput, ToolResult, Usage
from router.jsontext import quoted
from router.wire import line
from router.wire.frames import unwritten
from router.wire.shape import Answered, Heading, Refusal, Wire, body, broken_off, utf8


class _Lines:
    """An encoder of one answer. It holds whether a step is open and called tools, and the usage of the steps before it."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._opening = line.line_of("f", {"messageId": heading.message_id})
        self._open = False
        self._called = False
        self._streaming: set[str] = set()
        self._used = Usage()
        self._sources = count(1)

    def encode(self, event: Event) -> bytes:
        match event:
            case Text(text):
                try:
                    return b"0:" + quoted(text) + b"\n"
                except UnicodeEncodeError:
                    return self.encode(Text(repaired(text)))
            case Thought(text):
                return utf8(f"g:{encode_basestring(text)}\n")
            case Start(used=used):
                return self._start(used)
            case Finish(reason, usage):
                before = self._used
                last = usage and Usage(usage.input_tokens - before.input_tokens, usage.output_tokens - before.output_tokens)
                return self._ended(reason, last, usage)
            case ToolInput():
                return self._input(event)
            case ToolCall(call_id, name, arguments):
                self._called = True
                return line.line_of("9", {"toolCallId": call_id, "toolName": name, "args": arguments})
            case ToolResult(call_id, _, result, is_error):
                made: dict[str, Json] = {"toolCallId": call_id, "result": result}
                return line.line_of("a", {**made, "isError": True} if is_error else made)
            case Source(url):
                cited = line.cited(event, next(self._sources))
                return line.line_of("h", cited) if url else b""  # its client takes no document
            case Produced():
                return line.line_of("k", line.file(event))
            case Failure():
                # The usage of the broken call is unknown; zeros are what this dialect's own server writes.
                return line.line_of("3", broken_off(self._heading, event).sentence) + self._ended("error", Usage(), self._used)
            case _:
                return unwritten(event)

    def _start(self, used: Usage | None) -> bytes:
        # This dialect has no reason for a step that called no tool and is not the last.
        ended = _step_end("tool-calls" if self._called else "other", used) if self._open else b""
        self._open, self._called = True, False
        self._used += used or Usage()
        return ended + self._opening

    def _input(self, event: ToolInput) -> bytes:
        delta = line.line_of("c", {"toolCallId": event.call_id, "argsTextDelta": event.part})
        if event.call_id in self._streaming:
            return delta
        self._streaming.add(event.call_id)
        return line.line_of("b", {"toolCallId": event.call_id, "toolName": event.name}) + delta

    def _ended(self, reason: str, last: Usage | None, total: Usage | None) -> bytes:
        step = _step_end(reason, last) if self._open else b""
        return step + line.line_of("d", {"finishReason": reason, **line.counted(total)})


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: a JSON message of AI SDK 4, with its tool calls as `toolInvocations`."""
    results = {result.call_id: result for result in answer.results}
    made: dict[str, Json] = {"id": answer.heading.message_id, "role": "assistant", "content": answer.text}
    if answer.thoughts:
        made["reasoning"] = answer.thoughts
    if answer.calls:
        made["toolInvocations"] = [_invocation(call, results) for call in answer.calls]
    if shown := _shown(answer):
        made["parts"] = [*([{"type": "text", "text": answer.text}] if answer.text else []), *shown]
    return body({**made, "finishReason": answer.reason, **line.counted(answer.usage)})


def _shown(answer: Answered) -> list[Json]:
    """Return an answer's files, then its cited pages, as parts of a message. Documents without a URL are left out."""
    pages = [one for one in answer.sources if one.url]
    return [
        *({"type": "file", **line.file(one)} for one in answer.files),
        *({"type": "source", "source": line.cited(one, number)} for number, one in enumerate(pages, 1)),
    ]


def _invocation(call: ToolCall, results: dict[str, ToolResult]) -> dict[str, Json]:
    made: dict[str, Json] = {"toolCallId": call.call_id, "toolName": call.name, "args": call.arguments}
    result = results.get(call.call_id)
    if result is None:
        return {"state": "call", **made}
    answered: dict[str, Json] = {"state": "result", **made, "result": result.result}
    return {**answered, "isError": True} if result.is_error else answered


SURFACES = {401: "unauthorized:chat", 403: "forbidden:chat", 429: "rate_limit:chat"}
"""Status → `code` of an error body, as chat front ends of this SDK know it; bad_request:api for other 4xx, offline:chat for 5xx."""


def refusal(why: Refusal) -> bytes:
    """Return the body for an error before the first event. `code` is one that the SDK's front ends know, `cause` the router's own code."""
    code = SURFACES.get(why.status, "offline:chat" if why.status >= 500 else "bad_request:api")
    return body({"code": code, "message": why.sentence, "cause": why.code})


def _step_end(reason: str, used: Usage | None) -> bytes:
    return line.line_of("e", {"finishReason": reason, **line.counted(used), "isContinued": False})


WIRE = Wire(
    name="data-stream",
    content_type="text/plain; charset=utf-8",
    headers="x-vercel-ai-data-stream: v1\r\n",
    encoder=lambda heading: _Lines(heading).encode,
    complete=complete,
    refusal=refusal,
    keep_alive=b"\n",
)
