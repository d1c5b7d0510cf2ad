"""The chat endpoints, as OpenAPI says it."""

from typing import Any

from router.chat import Params
from router.signature import record_of, schema
from router.wire import WIRES

PARAMS: Any = schema(record_of(Params))["properties"]
DIALECTS: dict[str, Any] = {"type": "string", "enum": list(WIRES)}
TYPES = sorted({wire.content_type.partition(";")[0] for wire in WIRES.values()})

SCHEMAS: dict[str, Any] = {
    "Message": {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"type": "string", "enum": ["system", "developer", "user", "assistant", "tool"]},
            "content": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["type", "text"],
                            "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                        },
                    },
                ],
            },
        },
    },
    "ChatRequest": {
        "type": "object",
        "required": ["messages"],
        "properties": {
            "messages": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Message"}},
            "model": {"type": "string", "description": "A route's id or alias. Not needed where the path names it."},
            "stream": {"type": "boolean", "default": True},
            "params": {"type": "object", "description": "Values for the route's prompt template, e.g. `kind`."},
            **PARAMS,
        },
        "example": {"messages": [{"role": "user", "content": "你好"}], "model": "gpt-4", "temperature": 0.7, "stream": True},
    },
    "ChatAnswer": {
        "type": "object",
        "required": ["id", "model", "role", "content", "finishReason"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "model": {"type": "string"},
            "role": {"const": "assistant"},
            "content": {"type": "string"},
            "reasoning": {"type": "string"},
            "toolCalls": {"type": "array", "items": {"type": "object"}},
            "toolResults": {"type": "array", "items": {"type": "object"}},
            "finishReason": {"type": "string", "enum": ["stop", "length", "content-filter", "tool-calls", "other", "unknown"]},
            "usage": {
                "type": "object",
                "properties": {"promptTokens": {"type": "integer"}, "completionTokens": {"type": "integer"}},
            },
        },
    },
    "Completion": {
        "type": "object",
        "required": ["id", "object", "created", "model", "choices", "usage"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "chat.completion"},
            "created": {"type": "integer"},
            "model": {"type": "string"},
            "choices": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": 1},
            "usage": {
                "type": "object",
                "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
                "properties": {name: {"type": "integer"} for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
            },
        },
    },
    "SurfaceError": {
        "type": "object",
        "required": ["code", "message", "cause"],
        "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "cause": {"type": "string"}},
    },
    "OpenAIError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    },
    "Error": {
        "type": "object",
        "required": ["type", "error", "code", "requestId"],
        "properties": {
            "type": {"const": "error"},
            "error": {"type": "string"},
            "code": {"type": "string"},
            "requestId": {"type": "string"},
        },
    },
}

ERRORS = {
    400: "The request is malformed, or no model will take it",
    401: "No key or token came along, or it is not good here",
    403: "This caller may not ask this route",
    404: "No such model",
    408: "The body came too slowly",
    409: "The answer was stopped before its first word",
    413: "Too large",
    429: "This caller has used as much as it may; `Retry-After` says when there is more",
    431: "The headers are too large",
    500: "Something went wrong here",
    502: "No target answered",
    503: "Every target is overloaded",
    504: "No target answered in time",
}


SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A caller's key or token, where the server has callers."}
}
BORNE: list[dict[str, list[str]]] = [{"bearer": []}, {}]
"""What an operation wants to be sent: that, or nothing where nobody has to say who asks."""

UNKNOWN: dict[int | str, dict[str, Any]] = {
    401: {"description": "No key or token came along, or it is not good here"},
    503: {"description": "Who asks cannot be told just now"},
}
"""How a page says that it is not told who asks."""


def _schemas(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/components/schemas/{name}"} for name in names]


REFUSED: dict[str, Any] = {
    "application/json": {"schema": {"anyOf": _schemas("Error", "SurfaceError", "OpenAIError")}},
    "text/plain": {"schema": {"type": "string"}},
}
"""An error before the first event: in the shape of the dialect that was chosen."""


def _operation(name: str, summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "post": {
            "tags": ["chat"],
            "security": BORNE,
            "operationId": name,
            "summary": summary,
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ChatRequest"}}},
            },
            "responses": {
                "200": {
                    "description": "The answer: a stream in the dialect that was chosen, or one object where `stream` is false. "
                    "The object shown is that of the dialect `line`.",
                    "content": {
                        **{kind: {} for kind in TYPES},
                        "application/json": {"schema": {"anyOf": _schemas("ChatAnswer", "Completion")}},
                    },
                },
                **{str(status): {"description": words, "content": REFUSED} for status, words in ERRORS.items()},
            },
        },
    }


def _found(method: str, name: str, summary: str) -> dict[str, Any]:
    parameters = [CHAT, PROTOCOL, STREAM_PROTOCOL]
    streamed = {
        "description": "The answer, from its start and going on",
        "content": {kind: {"schema": {"type": "string"}} for kind in TYPES},
    }
    answered: dict[str, Any] = {"200": streamed} if method == "get" else {}
    nothing = {"204": {"description": "There is none" if method == "get" else "It is stopped, or there was none"}}
    refused = {str(status): {"description": ERRORS[status], "content": REFUSED} for status in (400, 401, 409, 502, 503)}
    operation = {"tags": ["chat"], "security": BORNE, "operationId": name, "summary": summary, "parameters": parameters}
    return {method: {**operation, "responses": {**answered, **nothing, **refused}}}


ROUTE = {"name": "route", "in": "path", "required": True, "schema": {"type": "string"}, "description": "A route's id or alias."}
PROTOCOL = {"name": "protocol", "in": "query", "schema": DIALECTS, "description": "The dialect of the answer."}
STREAM_PROTOCOL = {"name": "X-Stream-Protocol", "in": "header", "schema": DIALECTS, "description": "The same, as a header."}

CHAT = {"name": "chat", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}, "description": "The chat's id."}

PATHS: dict[str, Any] = {
    "/api/chat": _operation("chat", "Ask the model that the body names.", [PROTOCOL, STREAM_PROTOCOL]),
    "/api/chat/{route}": _operation("chat_with_route", "Ask the model that the path names.", [ROUTE, PROTOCOL, STREAM_PROTOCOL]),
    "/api/chat/{chat}/stream": _found("get", "stream_of_chat", "Find the answer of a chat again."),
    "/api/chat/{chat}/stop": _found("post", "stop_chat", "Stop the answer of a chat."),
    "/v1/chat/completions": _operation("completions", "Ask as clients of the OpenAI API do. `stream` is false by default.", []),
}
