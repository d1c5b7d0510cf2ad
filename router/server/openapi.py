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
    413: "Too large",
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


def _operation(name: str, summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
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
                        **{kind: {"schema": {"type": "string"}} for kind in TYPES},
                        "application/json": {"schema": {"$ref": "#/components/schemas/ChatAnswer"}},
                    },
                },
                **{str(status): {"description": words, "content": error} for status, words in ERRORS.items()},
            },
        },
    }


ROUTE = {"name": "route", "in": "path", "required": True, "schema": {"type": "string"}, "description": "A route's id or alias."}
PROTOCOL = {"name": "protocol", "in": "query", "schema": DIALECTS, "description": "The dialect of the answer."}
STREAM_PROTOCOL = {"name": "X-Stream-Protocol", "in": "header", "schema": DIALECTS, "description": "The same, as a header."}

PATHS: dict[str, Any] = {
    "/api/chat": _operation("chat", "Ask the model that the body names.", [PROTOCOL, STREAM_PROTOCOL]),
    "/api/chat/{route}": _operation("chat_with_route", "Ask the model that the path names.", [ROUTE, PROTOCOL, STREAM_PROTOCOL]),
    "/v1/chat/completions": _operation("completions", "Ask as clients of the OpenAI API do. `stream` is false by default.", []),
}
