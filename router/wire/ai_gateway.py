"""The wire `ai-gateway`: the parts of the AI SDK's language model stream (specification 4, 3 or 2), as server-sent events.

    data: {"type":"stream-start","warnings":[]}

    data: {"type":"text-start","id":"t1"}

    data: {"type":"text-delta","id":"t1","delta":"Hello"}

    data: {"type":"finish","finishReason":{"unified":"stop"},"usage":{"inputTokens":{"total":1,…},"outputTokens":{"total":2,…}}}

The client (`createGateway` of @ai-sdk/gateway) hands the parts to the AI SDK unchanged. The SDK runs each call that it gets, unless it
is `providerExecuted`; `dynamic` means that the application need not know the tool. So a router tool's call is sent as such a call, with its
result. Whether a call is the router's is known when its result comes, or at the end. Unknown values are left out, since a null would count
as a value. An error within the stream is an `error` part, then `finish`. Specification 2 has other forms of the reason and of the usage,
and no `dynamic`: its client does not get calls of router tools.

Source: the types of @ai-sdk/provider 4 (LanguageModelV4StreamPart, LanguageModelV4GenerateResult), and @ai-sdk/gateway 4 for its errors.
"""

import json
from datetime import UTC, datetime
from typing import Any, cast

from router.chat import Json, JsonObject
from router.events import Event, Failure, Finish, Produced, Reason, Source, Start, ToolCall, ToolResult, Usage
from router.wire.frames import KEEP_ALIVE, SdkPartEncoder, data_of, frame
from router.wire.shape import Answered, Heading, Refusal, Wire, arguments_of, body, broken_off

REASONS: dict[Reason, str] = {"tool-calls": "length", "unknown": "other"}
"""Internal reason → reason of this wire, if they differ. `tool-calls` without a call for the client means that `max_steps` cut it off."""
TYPES = {401: "authentication_error", 403: "forbidden", 429: "rate_limit_exceeded"}
"""Status → `type` of an error; invalid_request_error for other 4xx, internal_server_error for 5xx."""


class _Parts(SdkPartEncoder):
    """An encoder of one answer. It holds the open part, the numbers of parts and sources, and the calls without a result yet."""

    def __init__(self, heading: Heading) -> None:
        super().__init__(heading)
        self._version = heading.asked.get("specification", "4")
        self._calls: dict[str, ToolCall] = {}

    def _written(self, event: Event) -> str:
        match event:
            case Source():
                return frame(_cited(event, next(self._sources)))
            case Produced(media_type, data):
                made: Json = {"type": "data", "data": data} if self._version == "4" else data
                return self._closed() + frame({"type": "file", "mediaType": media_type, "data": made})
            case ToolCall():
                self._calls[event.call_id] = event
                return ""
            case ToolResult():
                return self._closed() + self._ran(event)
            case Start(model=model):
                return self._closed() + self._started(model)
            case Finish(reason, usage):
                return self._closed() + self._finished(reason, usage)
            case Failure(code):
                error = {"message": broken_off(self._heading, event).sentence, "type": "internal_server_error", "code": code}
                return self._closed() + frame({"type": "error", "error": error}) + self._end("error", None)
            case _:
                return self._unwritten(event)

    def _started(self, model: str) -> str:
        if self._begun:
            return ""
        self._begun = True
        about: JsonObject = {"type": "response-metadata", **metadata(self._heading, model)}
        return frame({"type": "stream-start", "warnings": []}) + frame(about)

    def _ran(self, result: ToolResult) -> str:
        """Return the frames of a call that the router ran, with its result; an empty text in specification 2, or if the call is unknown."""
        call = self._calls.pop(result.call_id, None)
        if call is None or self._version == "2":
            return ""
        given = "null" if result.result is None else result.result  # the SDK wants a value
        made: JsonObject = {"type": "tool-result", "toolCallId": result.call_id, "toolName": call.name, "result": given}
        here: JsonObject = {"isError": result.is_error, "providerExecuted": True, "dynamic": True}
        return frame({**_called(call), "providerExecuted": True, "dynamic": True}) + frame({**made, **here})

    def _finished(self, reason: Reason, usage: Usage | None) -> str:
        calls = "".join(frame(_called(call)) for call in self._calls.values())
        return calls + self._end("tool-calls" if calls else REASONS.get(reason, reason), usage)

    def _end(self, reason: str, usage: Usage | None) -> str:
        if self._version == "2":
            return frame({"type": "finish", "finishReason": reason, "usage": flat(usage)})
        return frame({"type": "finish", "finishReason": {"unified": reason}, "usage": counted(usage)})


def metadata(heading: Heading, model: str) -> dict[str, Json]:
    """Return {id, timestamp, modelId} of the response; the model is the answering target's, or the requested one if that is empty."""
    created = datetime.fromtimestamp(heading.created, UTC).isoformat()
    return {"id": heading.message_id, "timestamp": created, "modelId": model or heading.model}


def _cited(source: Source, number: int) -> dict[str, Json]:
    """Return the part of a source, with the id `s<number>`: a page with its URL, or a document with its media type and title."""
    made: dict[str, Json] = {"type": "source", "id": f"s{number}"}
    if source.url:
        return {**made, "sourceType": "url", "url": source.url, **({"title": source.title} if source.title else {})}
    return {**made, "sourceType": "document", "mediaType": source.media_type, "title": source.title}


def _called(call: ToolCall) -> dict[str, Json]:
    return {"type": "tool-call", "toolCallId": call.call_id, "toolName": call.name, "input": arguments_of(call)}


def flat(usage: Usage | None) -> dict[str, Json]:
    """Return the usage object of specification 2: five counts; empty if no provider reported usage."""
    if usage is None:
        return {}
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "reasoningTokens": usage.reasoning_tokens,
        "cachedInputTokens": usage.cached_tokens,
    }


def counted(usage: Usage | None) -> dict[str, Json]:
    """Return the usage object of specifications 3 and 4: input and output counts; both empty if no provider reported usage."""
    if usage is None:
        return {"inputTokens": {}, "outputTokens": {}}
    uncached = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    return {
        "inputTokens": {
            "total": usage.input_tokens,
            "noCache": max(0, uncached),
            "cacheRead": usage.cached_tokens,
            "cacheWrite": usage.cache_write_tokens,
        },
        "outputTokens": {
            "total": usage.output_tokens,
            "text": max(0, usage.output_tokens - usage.reasoning_tokens),
            "reasoning": usage.reasoning_tokens,
        },
    }


def complete(answer: Answered) -> bytes:
    """Return the body of an answer that is not streamed: the JSON result of `doGenerate`, adjacent pieces of text or reasoning joined."""
    parts: list[dict[str, Any]] = [json.loads(data) for data in data_of(_Parts(answer.heading).encode, answer)]
    content: list[Json] = []
    made: dict[str, Json] = {"content": content, "warnings": []}
    for part in parts:
        kind, _, phase = cast("str", part["type"]).rpartition("-")
        if phase == "delta":
            content.append({"type": kind, "text": part["delta"]})
        elif part["type"] in ("tool-call", "tool-result", "source", "file"):
            content.append(part)
        elif part["type"] == "response-metadata":
            made["response"] = {name: value for name, value in part.items() if name != "type"}
        elif part["type"] == "finish":
            made |= {"finishReason": part["finishReason"], "usage": part["usage"]}
    return body(made)


def refusal(why: Refusal) -> bytes:
    """Return the body for an error before the first event: OpenAI's form, with the request's id as `generationId`."""
    kind = TYPES.get(why.status, "internal_server_error" if why.status >= 500 else "invalid_request_error")
    if why.status == 404:
        kind = "model_not_found" if why.code == "unknown_model" else "not_found"
    error = {"message": why.sentence, "type": kind, "param": None, "code": why.code}
    return body({"error": error, "generationId": why.request_id})


WIRE = Wire(name="ai-gateway", encoder=lambda heading: _Parts(heading).encode, complete=complete, refusal=refusal, keep_alive=KEEP_ALIVE)
