"""The wire `line`, the router's line protocol. Each line is a code, a colon, one JSON object and an LF.

    0:{"type":"text-delta","textDelta":"Let me check."}
    9:{"type":"tool-call","toolCallId":"call_1","toolName":"get_weather","args":{"location":"Beijing"}}
    a:{"type":"tool-result","toolCallId":"call_1","toolName":"get_weather","result":"25°C"}
    g:{"type":"reasoning","textDelta":"…"}        only if the route declares `reasoning: show`
    h:{"type":"source","sourceType":"url","id":"s1","url":"https://…","title":"…"}
    k:{"type":"file","mimeType":"image/png","data":"…"}
    3:{"type":"error","error":"… (request req_1)"}
    d:{"type":"finish","finishReason":"stop","usage":{"promptTokens":11,"completionTokens":3}}

Exactly one `d` line, the last. Compact JSON, raw UTF-8. The content type is text/event-stream, but there is no `data:`.
"""

from itertools import count
from json.encoder import encode_basestring

from router.chat import Json, repaired
from router.events import Event, Failure, Finish, Produced, Source, Start, Text, Thought, ToolCall, ToolResult, Usage
from router.jsontext import quoted
from router.wire.frames import unwritten
from router.wire.shape import Answered, Encode, Heading, Wire, body, broken_off, compact, encoded, utf8


def encoder(heading: Heading) -> Encode:
    """Return the encoder of one answer: event → protocol lines; b"" for an event that is not written."""
    sources = count(1)

    def encode(event: Event) -> bytes:
        # Text comes first: it is a hundred times as frequent as the others. Encoding only the text inside a literal
        # line costs 0.2 µs, a dict through json.dumps 2.8.
        match event:
            case Text(text):
                try:
                    return b'0:{"type":"text-delta","textDelta":' + quoted(text) + b"}\n"
                except UnicodeEncodeError:
                    return b'0:{"type":"text-delta","textDelta":' + quoted(repaired(text)) + b"}\n"  # not by itself: that makes a cycle
            case Thought(text):
                return utf8(f'g:{{"type":"reasoning","textDelta":{encode_basestring(text)}}}\n')
            case Start():
                return b""
            case Finish(reason, usage):
                return line_of("d", {"type": "finish", "finishReason": reason, **counted(usage)})
            case ToolCall():
                return line_of("9", call(event))
            case ToolResult():
                return line_of("a", result(event))
            case Source():
                return line_of("h", {"type": "source", **cited(event, next(sources))})
            case Produced():
                return line_of("k", {"type": "file", **file(event)})
            case Failure():
                error = line_of("3", {"type": "error", "error": broken_off(heading, event).sentence})
                return error + line_of("d", {"type": "finish", "finishReason": "error"})
            case _:
                return unwritten(event)

    return encode


def call(event: ToolCall) -> dict[str, Json]:
    """Return the JSON object that shows a tool call, with `type` tool-call."""
    return {"type": "tool-call", "toolCallId": event.call_id, "toolName": event.name, "args": event.arguments}


def result(event: ToolResult) -> dict[str, Json]:
    """Return the JSON object that shows a tool's result, with `type` tool-result. `isError` is written only if true."""
    made: dict[str, Json] = {"type": "tool-result", "toolCallId": event.call_id, "toolName": event.name, "result": event.result}
    return {**made, "isError": True} if event.is_error else made


def cited(event: Source, number: int) -> dict[str, Json]:
    """Return a source as AI SDK 4 has it, with the id `s<number>`: a page with its URL, or a document with its media type."""
    titled: dict[str, Json] = {"title": event.title} if event.title else {}
    if event.url:
        return {"sourceType": "url", "id": f"s{number}", "url": event.url, **titled}
    return {"sourceType": "document", "id": f"s{number}", "mediaType": event.media_type, **titled}


def file(event: Produced) -> dict[str, Json]:
    """Return the JSON object of a file as AI SDK 4 has it: {mimeType, data}."""
    return {"mimeType": event.media_type, "data": event.data}


def counted(usage: Usage | None) -> dict[str, Json]:
    """Return {"usage": {promptTokens, completionTokens}} to be merged into a line; an empty object if no provider reported usage."""
    return {"usage": {"promptTokens": usage.input_tokens, "completionTokens": usage.output_tokens}} if usage else {}


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: one JSON object with text, reasoning, sources, files, calls, results and end."""
    head = answer.heading
    made: dict[str, Json] = {"id": head.message_id, "model": head.model, "role": "assistant", "content": answer.text}
    end: dict[str, Json] = {"finishReason": answer.reason, **counted(answer.usage)}
    if not (answer.thoughts or answer.sources or answer.files or answer.calls or answer.results):
        return encoded(made | end)
    fields: dict[str, Json] = {
        "reasoning": answer.thoughts,
        "sources": [cited(one, number) for number, one in enumerate(answer.sources, 1)],
        "files": [file(one) for one in answer.files],
        "toolCalls": [call(one) for one in answer.calls],
        "toolResults": [result(one) for one in answer.results],
    }
    return body(made | {name: value for name, value in fields.items() if value} | end)  # arguments and results may have floats


def line_of(code: str, value: Json) -> bytes:
    """Return one protocol line in UTF-8: the code, a colon, the value as JSON and a line feed."""
    return utf8(f"{code}:{compact(value)}\n")


WIRE = Wire(
    name="line",
    content_type="text/event-stream; charset=utf-8",
    encoder=encoder,
    complete=complete,
    refusal=lambda why: body({"type": "error", "error": why.sentence, "code": why.code, "requestId": why.request_id}),
)
