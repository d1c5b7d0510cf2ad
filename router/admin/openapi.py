"""The chat endpoints, as OpenAPI says it."""

from typing import Any, get_args

from router.answering.embeddings import MAX_INPUTS
from router.chat import InducedFault, Params
from router.embed import MAX_DIMENSIONS
from router.intake.gateway_api import VERSION
from router.intake.messages import STATES, UNSAID
from router.signature import record_of, schema
from router.wire import WIRES

PARAMS: Any = schema(record_of(Params))["properties"]
DIALECTS: dict[str, Any] = {"type": "string", "enum": list(WIRES)}
TYPES = sorted({wire.content_type.partition(";")[0] for wire in WIRES.values()})

TEXT: dict[str, Any] = {"type": "string"}
NAME: dict[str, Any] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
LINK: dict[str, Any] = {"type": "string", "pattern": "^(data:|https?://)", "description": "A `data:` URL or an address."}
OBJECT: dict[str, Any] = {"type": "object"}


def _object(required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _part(kind: dict[str, Any], required: str = "", **properties: dict[str, Any]) -> dict[str, Any]:
    return _object(f"type {required}", type=kind, **properties)


def _schema(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


INVOCATION = _object(
    "toolCallId toolName",
    state={"enum": ["partial-call", "call", "result"]},
    step={"type": "integer"},
    toolCallId=TEXT,
    toolName=TEXT,
    args=OBJECT,
    result={},
    isError={"type": "boolean"},
)
TOOL: dict[str, dict[str, Any]] = {
    "toolCallId": TEXT,
    "state": {"enum": [*STATES]},
    "input": {},
    "output": {},
    "errorText": TEXT,
    "approval": _object("", approved={"type": "boolean"}, reason=TEXT),
    "providerExecuted": {"type": "boolean"},
}
PARTS: dict[str, dict[str, Any]] = {
    "TextPart": _part({"const": "text"}, "text", text=TEXT),
    "ImagePart": _part({"const": "image_url"}, "image_url", image_url={"anyOf": [_object("url", url=LINK), LINK]}),
    "FilePart": {
        "anyOf": [
            _part({"const": "file"}, "url mediaType", url=LINK, mediaType=TEXT, filename=TEXT),
            _part({"const": "file"}, "data mimeType", data=TEXT, mimeType=TEXT),
            _part({"const": "file"}, "file", file=_object("file_data", file_data=LINK, filename=TEXT)),
        ]
    },
    "RefusalPart": _part({"const": "refusal"}, "refusal", refusal=TEXT),
    "ReasoningPart": _part({"const": "reasoning"}, text=TEXT, providerMetadata=OBJECT),
    "ToolPart": _part({"type": "string", "pattern": "^tool-[A-Za-z0-9_-]{1,64}$"}, "toolCallId state", **TOOL),
    "DynamicToolPart": _part({"const": "dynamic-tool"}, "toolName toolCallId state", toolName=TEXT, **TOOL),
    "ToolInvocationPart": _part({"const": "tool-invocation"}, "toolInvocation", toolInvocation=INVOCATION),
    "SteeringPart": _part({"const": "steering-message"}, "parts", parts=_list(_part({"const": "text"}, "text", text=TEXT))),
    "UnsaidPart": {
        "description": "What is not said to a model. A file or an image is one in a message of the assistant's.",
        **_part({"anyOf": [{"enum": sorted(UNSAID - {"file", "image_url"})}, {"type": "string", "pattern": "^data-"}]}),
    },
}
"""The parts of a message, of every client that is known here."""
BLOCKS: dict[str, Any] = {"anyOf": [TEXT, _list(_object("type", type=TEXT))]}
"""Content of a message of Anthropic's: a text, or a list of blocks."""
CALL = _object("id function", id=TEXT, type={"const": "function"}, function=_object("name arguments", name=TEXT, arguments=TEXT))
BROUGHT = _object("type function", type={"const": "function"}, function=_object("name", name=NAME, description=TEXT, parameters=OBJECT))

SCHEMAS: dict[str, Any] = {
    **PARTS,
    "Message": {
        **_object(
            "role",
            role={"type": "string", "enum": ["system", "developer", "user", "assistant", "tool"]},
            content={"anyOf": [TEXT, _list(_schema("Part")), {"type": "null"}]},
            parts=_list(_schema("Part")),
            id=TEXT,
            experimental_attachments=_list(_object("url", url=LINK, contentType=TEXT, name=TEXT)),
            toolInvocations=_list(INVOCATION),
            tool_calls=_list(CALL),
            tool_call_id=TEXT,
            refusal={"type": ["string", "null"]},
        ),
        "description": "What it says stands in `content` or in `parts`, which stands over it. An assistant may have said nothing.",
    },
    "Part": {"anyOf": [_schema(name) for name in PARTS]},
    "ChatRequest": {
        "type": "object",
        "anyOf": [{"required": ["messages"]}, {"required": ["message"]}],
        "properties": {
            "messages": {"type": "array", "minItems": 1, "items": _schema("Message")},
            "message": {**_schema("Message"), "description": "The only message, where `messages` is left out."},
            "model": {"type": ["string", "null"], "description": "A route's id or alias. Not needed where the path names it."},
            "selectedChatModel": {"type": "string", "description": "The same, where `model` is left out."},
            "id": {"type": "string", "description": "The chat's id, by which the answer can be found again."},
            "stream": {"type": ["boolean", "null"], "default": True},
            "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
            "params": {"type": "object", "description": "Values for the route's prompt template, e.g. `kind`."},
            "tools": {**_list(BROUGHT), "description": "Below `/v1/`: the client's own tools."},
            "tool_choice": {
                "anyOf": [
                    {"enum": ["auto", "none", "required"]},
                    _object("type function", type={"const": "function"}, function=_object("name", name=NAME)),
                ]
            },
            "response_format": {
                "type": ["object", "null"],
                "description": "The form of the answer, as in OpenAI's API: `{type: json_object}`, or `{type: json_schema, json_schema: …}`.",
            },
            "max_completion_tokens": {"type": ["integer", "null"], "description": "The same as `max_tokens`."},
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
    "DataMessage": {
        **_object(
            "id role content finishReason",
            id=TEXT,
            role={"const": "assistant"},
            content=TEXT,
            reasoning=TEXT,
            toolInvocations=_list(INVOCATION),
            finishReason=TEXT,
        ),
        "description": "A message of AI SDK 4: the dialect `data-stream`.",
    },
    "UIMessage": {
        **_object("id role metadata parts", id=TEXT, role={"const": "assistant"}, metadata=OBJECT, parts=_list(OBJECT)),
        "description": "A message of AI SDK 5 and later: the dialect `ui-message-stream`.",
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
    "CompletionsRequest": {
        **_object(
            "model prompt",
            model={"type": "string", "description": "A route's id or alias."},
            prompt={"anyOf": [TEXT, {**_list(TEXT), "minItems": 1, "maxItems": 1}], "description": "A text, or a list with one text."},
            echo={"type": ["boolean", "null"], "default": False, "description": "Begin the answer with the prompt."},
            stream={"type": ["boolean", "null"], "default": False},
            stream_options=_object("", include_usage={"type": "boolean"}),
            **{
                name: PARAMS[name]
                for name in ("max_tokens", "temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty")
            },
        ),
        "description": "A question of OpenAI's legacy completions API.",
    },
    "TextCompletion": _object(
        "id object created model choices usage",
        id=TEXT,
        object={"const": "text_completion"},
        created={"type": "integer"},
        model=TEXT,
        choices={
            **_list(
                _object(
                    "text index logprobs finish_reason",
                    text=TEXT,
                    index={"const": 0},
                    logprobs={"type": "null"},
                    finish_reason={"enum": ["stop", "length", "content_filter"]},
                )
            ),
            "minItems": 1,
            "maxItems": 1,
        },
        usage=_object(
            "prompt_tokens completion_tokens total_tokens",
            **{name: {"type": "integer"} for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
        ),
    ),
    "MessagesRequest": {
        **_object(
            "model messages max_tokens",
            model={"type": "string", "description": "A route's id or alias."},
            messages={
                "type": "array",
                "minItems": 1,
                "items": _object("role content", role={"enum": ["user", "assistant", "system"]}, content=BLOCKS),
            },
            system=BLOCKS,
            max_tokens={"type": "integer", "minimum": 1, "description": "Not needed to count tokens."},
            temperature=PARAMS["temperature"],
            top_p=PARAMS["top_p"],
            stop_sequences=_list(TEXT),
            stream={"type": ["boolean", "null"], "default": False},
            thinking=_object("type", type={"enum": ["enabled", "adaptive", "disabled"]}, budget_tokens={"type": "integer"}),
            output_config={**_object("", effort=TEXT), "description": "`format`, too: `{type: json_schema, schema: …}`."},
            tools=_list(_object("name input_schema", name=NAME, description=TEXT, input_schema=OBJECT, type={"const": "custom"})),
            tool_choice=_object("type", type={"enum": ["auto", "any", "tool", "none"]}, name=NAME),
        ),
        "description": "A question of Anthropic's Messages API.",
    },
    "MessagesAnswer": _object(
        "id type role model content stop_reason usage",
        id=TEXT,
        type={"const": "message"},
        role={"const": "assistant"},
        model=TEXT,
        content=_list(OBJECT),
        stop_reason={"enum": ["end_turn", "max_tokens", "tool_use", "refusal"]},
        stop_sequence={"type": "null"},
        usage=_object("input_tokens output_tokens", input_tokens={"type": "integer"}, output_tokens={"type": "integer"}),
    ),
    "MessagesError": _object(
        "type error request_id",
        type={"const": "error"},
        error=_object("type message", type=TEXT, message=TEXT, code=TEXT),
        request_id=TEXT,
    ),
    "EmbeddingsRequest": _object(
        "model input",
        model={"type": "string", "description": "The id or alias of a route of kind embeddings."},
        input={
            "anyOf": [TEXT, _list(TEXT), _list({"type": "integer"}), _list(_list({"type": "integer"}))],
            "description": f"A text, or up to {MAX_INPUTS} of them; or lists of tokens, where the target takes them.",
        },
        encoding_format={"enum": ["float", "base64", None], "default": "float", "description": "base64 is of float32, little-endian."},
        dimensions={"type": ["integer", "null"], "minimum": 1, "maximum": MAX_DIMENSIONS},
        user={"type": ["string", "null"]},
    ),
    "EmbeddingsAnswer": _object(
        "object data model usage",
        object={"const": "list"},
        data=_list(
            _object(
                "object index embedding",
                object={"const": "embedding"},
                index={"type": "integer"},
                embedding={"anyOf": [_list({"type": "number"}), TEXT]},
            )
        ),
        model=TEXT,
        usage=_object("prompt_tokens total_tokens", prompt_tokens={"type": "integer"}, total_tokens={"type": "integer"}),
    ),
    "ResponsesRequest": {
        **_object(
            "model input",
            model={"type": "string", "description": "A route's id or alias."},
            input={"anyOf": [TEXT, {"type": "array", "minItems": 1, "items": OBJECT}], "description": "A text, or a list of items."},
            instructions={"type": ["string", "null"]},
            max_output_tokens={"type": ["integer", "null"], "minimum": 1},
            temperature=PARAMS["temperature"],
            top_p=PARAMS["top_p"],
            stream={"type": ["boolean", "null"], "default": False},
            reasoning=_object("", effort=TEXT, summary={"enum": ["auto", "concise", "detailed"]}),
            text=_object("", verbosity=TEXT),
            tools=_list(_object("type name", type={"const": "function"}, name=NAME, description=TEXT, parameters=OBJECT)),
            tool_choice={"anyOf": [{"enum": ["auto", "none", "required"]}, _object("type name", type={"const": "function"}, name=NAME)]},
            metadata=OBJECT,
            store={"type": ["boolean", "null"], "default": True},
            previous_response_id={"type": ["string", "null"], "description": "The response from which it goes on."},
        ),
        "description": "A question of OpenAI's Responses API.",
    },
    "ResponsesAnswer": _object(
        "id object created_at status model output usage",
        id=TEXT,
        object={"const": "response"},
        created_at={"type": "integer"},
        status={"enum": ["completed", "incomplete"]},
        model=TEXT,
        output=_list(OBJECT),
        usage=_object("input_tokens output_tokens total_tokens", total_tokens={"type": "integer"}),
    ),
    "KeptResponse": _object(
        "id object created_at status model output",
        id=TEXT,
        object={"const": "response"},
        created_at={"type": "integer"},
        status={"enum": ["in_progress", "completed", "incomplete", "failed", "cancelled"]},
        model=TEXT,
        output=_list(OBJECT),
    ),
    "AgentRun": {
        **_object(
            "threadId runId messages",
            threadId={"type": "string", "description": "The thread: by it the answer can be found again, as that of a chat."},
            runId=TEXT,
            parentRunId=TEXT,
            messages={
                "type": "array",
                "minItems": 1,
                "items": _object(
                    "role",
                    id=TEXT,
                    role={"enum": ["developer", "system", "user", "assistant", "tool", "reasoning", "activity"]},
                    content={"anyOf": [TEXT, _list(_object("type", type=TEXT)), OBJECT]},
                    toolCalls=_list(CALL),
                    toolCallId=TEXT,
                ),
            },
            tools=_list(_object("name", name=NAME, description=TEXT, parameters=OBJECT)),
            context=_list(_object("description value", description=TEXT, value=TEXT)),
            state={},
            forwardedProps={**OBJECT, "description": "`model`, sampling parameters, and values for the route's template."},
        ),
        "description": "A RunAgentInput of AG-UI.",
    },
    "AgentEvents": {**_list(_object("type", type=TEXT)), "description": "The events of a run of AG-UI."},
    "AgentError": _object("type message code requestId", type={"const": "RUN_ERROR"}, message=TEXT, code=TEXT, requestId=TEXT),
    "LanguageModelCall": {
        **_object(
            "prompt",
            prompt={
                "type": "array",
                "minItems": 1,
                "items": _object("role content", role={"enum": ["system", "user", "assistant", "tool"]}, content=BLOCKS),
            },
            maxOutputTokens={"type": ["integer", "null"], "minimum": 1},
            temperature=PARAMS["temperature"],
            topP=PARAMS["top_p"],
            stopSequences=_list(TEXT),
            tools=_list(_object("type name inputSchema", type={"const": "function"}, name=NAME, description=TEXT, inputSchema=OBJECT)),
            toolChoice=_object("type", type={"enum": ["auto", "none", "required", "tool"]}, toolName=NAME),
            responseFormat=_object("type", type={"enum": ["text", "json"]}, schema=OBJECT),
            providerOptions={**OBJECT, "description": "`router` has values for the route's template."},
        ),
        "description": "A question of the AI SDK's gateway: LanguageModelV4CallOptions.",
    },
    "LanguageModelResult": _object(
        "content finishReason usage warnings",
        content=_list(_object("type", type=TEXT)),
        finishReason=_object("unified", unified={"enum": ["stop", "length", "content-filter", "tool-calls", "other"]}),
        usage=_object("inputTokens outputTokens", inputTokens=OBJECT, outputTokens=OBJECT),
        warnings=_list(OBJECT),
    ),
    "GatewayError": _object(
        "error generationId", error=_object("message type code", message=TEXT, type=TEXT, code=TEXT), generationId=TEXT
    ),
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
            "message": {"type": "string", "description": "The same sentence, where nothing says which dialect the client reads."},
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
    "bearer": {"type": "http", "scheme": "bearer", "description": "A caller's key or token, where the server has callers."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "The same, as clients of Anthropic's send it."},
}
BORNE: list[dict[str, list[str]]] = [{"bearer": []}, {"x-api-key": []}, {}]
"""Security requirement of an operation: the key, or nothing where no caller is declared."""

UNKNOWN: dict[int | str, dict[str, Any]] = {
    401: {"description": "No key or token came along, or it is not good here"},
    503: {"description": "The credentials cannot be verified just now"},
}
"""Answer of a page to a request without a valid key."""


def _schemas(*names: str) -> list[dict[str, str]]:
    return [_schema(name) for name in names]


REFUSED: dict[str, Any] = {
    "application/json": {
        "schema": {"anyOf": _schemas("Error", "SurfaceError", "OpenAIError", "MessagesError", "AgentError", "GatewayError")}
    },
    "text/plain": {"schema": {"type": "string"}},
}
"""An error before the first event: in the shape of the dialect that was chosen."""


ANSWERS = {
    "CompletionsRequest": ("TextCompletion",),
    "MessagesRequest": ("MessagesAnswer",),
    "ResponsesRequest": ("ResponsesAnswer",),
    "AgentRun": ("AgentEvents",),
    "LanguageModelCall": ("LanguageModelResult",),
}
"""Request → its answers, where those are not the ones of /api/chat."""


def _operation(name: str, summary: str, parameters: list[dict[str, Any]], asked: str = "ChatRequest") -> dict[str, Any]:
    answers = ANSWERS.get(asked, ("ChatAnswer", "DataMessage", "UIMessage", "Completion"))
    return {
        "post": {
            "tags": ["chat"],
            "security": BORNE,
            "operationId": name,
            "summary": summary,
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _schema(asked)}},
            },
            "responses": {
                "200": {
                    "description": "The answer: a stream in the dialect that was chosen, or one object where `stream` is false. "
                    "The object shown is that of the dialect `line`.",
                    "content": {
                        **{kind: {} for kind in TYPES},
                        "application/json": {"schema": {"anyOf": _schemas(*answers)}},
                    },
                },
                **{str(status): {"description": words, "content": REFUSED} for status, words in ERRORS.items()},
            },
        },
    }


def _found(method: str, name: str, summary: str, chat: dict[str, Any]) -> dict[str, Any]:
    parameters = [chat, PROTOCOL, STREAM_PROTOCOL]
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

FAULT: dict[str, Any] = {
    "name": "X-Router-Fault",
    "in": "header",
    "schema": {"type": "string", "enum": [*get_args(InducedFault)]},
    "description": "Break the provider of this request: on a route of scripts alone, or with `X-Router-Admin-Key`.",
}
FAULT_KEY: dict[str, Any] = {
    "name": "X-Router-Admin-Key",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The admin key, beside the caller's own: for `X-Router-Fault` alone.",
}
FAULTED = [FAULT, FAULT_KEY]

CHAT: dict[str, Any] = {
    "name": "chat",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
    "description": "The chat's id.",
}

CHAT_ID: dict[str, Any] = {**CHAT, "name": "chatId", "in": "query"}

ASK: dict[str, Any] = {
    **_operation("chat", "Ask the model that the body names.", [PROTOCOL, STREAM_PROTOCOL, *FAULTED]),
    **_found(
        "get", "stream_of_chat_id", "Find the answer of a chat again, as AI SDK 4 does: an empty answer where there is none.", CHAT_ID
    ),
}
ASK_ROUTE: dict[str, Any] = _operation(
    "chat_with_route", "Ask the model that the path names.", [ROUTE, PROTOCOL, STREAM_PROTOCOL, *FAULTED]
)
RESUME: dict[str, Any] = _found("get", "stream_of_chat", "Find the answer of a chat again.", CHAT)
STOP: dict[str, Any] = _found("post", "stop_chat", "Stop the answer of a chat.", CHAT)
COMPLETIONS: dict[str, Any] = _operation("completions", "Ask as clients of the OpenAI API do. `stream` is false by default.", FAULTED)
TEXT_COMPLETION: dict[str, Any] = _operation(
    "text_completion", "Ask as clients of OpenAI's legacy completions API do.", FAULTED, "CompletionsRequest"
)
MESSAGES: dict[str, Any] = _operation("messages", "Ask as clients of Anthropic's Messages API do.", FAULTED, "MessagesRequest")
EMBEDDINGS: dict[str, Any] = {
    "post": {
        **COMPLETIONS["post"],
        "tags": ["embeddings"],
        "operationId": "embeddings",
        "parameters": [],
        "summary": "Make embeddings, as the OpenAI API does.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _schema("EmbeddingsRequest")}}},
        "responses": {
            **COMPLETIONS["post"]["responses"],
            "200": {
                "description": "A vector for each input, in the same order, all of one model.",
                "content": {"application/json": {"schema": _schema("EmbeddingsAnswer")}},
            },
        },
    }
}
AG_UI: dict[str, Any] = _operation("run_agent", "Run an agent as clients of AG-UI do.", FAULTED, "AgentRun")
AG_UI_ROUTE: dict[str, Any] = _operation(
    "run_agent_with_route", "Run an agent: the model that the path names.", [ROUTE, *FAULTED], "AgentRun"
)
SPECIFIED: dict[str, Any] = {"in": "header", "required": True, "schema": {"const": VERSION}, "description": "The version of the protocol."}
LANGUAGE_MODEL: dict[str, Any] = _operation(
    "language_model",
    "Ask as clients of the AI SDK's gateway do.",
    [
        {"name": "ai-language-model-id", "in": "header", "required": True, "schema": TEXT, "description": "A route's id or alias."},
        {"name": "ai-language-model-streaming", "in": "header", "schema": {"enum": ["true", "false"]}},
        {"name": "ai-language-model-specification-version", **SPECIFIED},
        *FAULTED,
    ],
    "LanguageModelCall",
)
EMBEDDING_MODEL: dict[str, Any] = {
    "post": {
        **EMBEDDINGS["post"],
        "operationId": "embedding_model",
        "summary": "Make embeddings, as the AI SDK's gateway does.",
        "parameters": [
            {"name": "ai-model-id", "in": "header", "required": True, "schema": TEXT, "description": "The id or alias of such a route."},
            {"name": "ai-embedding-model-specification-version", **SPECIFIED},
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _object("values", values=_list(TEXT), dimensions=SCHEMAS["EmbeddingsRequest"]["properties"]["dimensions"])
                }
            },
        },
        "responses": {
            **EMBEDDINGS["post"]["responses"],
            "200": {
                "description": "A vector for each value, in the same order, all of one model.",
                "content": {
                    "application/json": {
                        "schema": _object(
                            "embeddings usage warnings",
                            embeddings=_list(_list({"type": "number"})),
                            usage=_object("tokens", tokens={"type": "integer"}),
                            warnings=_list(OBJECT),
                        )
                    }
                },
            },
        },
    }
}
RESPONSES: dict[str, Any] = _operation("responses", "Ask as clients of OpenAI's Responses API do.", FAULTED, "ResponsesRequest")


def _kept(name: str, summary: str, answer: dict[str, Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    """An operation on a response that is kept."""
    refused = {
        str(status): {"description": words, "content": REFUSED} for status, words in ERRORS.items() if status in (400, 401, 502, 503)
    }
    return {
        "tags": ["chat"],
        "security": BORNE,
        "operationId": name,
        "summary": summary,
        "parameters": [KEPT, *parameters],
        "responses": {
            "200": {"description": "The response", "content": answer},
            "404": {"description": "No such response is kept for this caller", "content": REFUSED},
            **refused,
        },
    }


KEPT: dict[str, Any] = {"name": "response", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/]+$"}}
STREAMED: dict[str, Any] = {"name": "stream", "in": "query", "schema": {"enum": ["true", "false"]}, "description": "Follow its events."}
AFTER: dict[str, Any] = {
    "name": "starting_after",
    "in": "query",
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    "description": "With `stream=true`: leave out the events up to this number.",
}
KEPT_ANSWER: dict[str, Any] = {"application/json": {"schema": _schema("KeptResponse")}}
DELETED = _object("id object deleted", id=TEXT, object={"const": "response"}, deleted={"const": True})
RESPONSE: dict[str, Any] = {
    "get": _kept("response", "Retrieve or follow a response.", {**KEPT_ANSWER, "text/event-stream": {}}, STREAMED, AFTER),
    "delete": _kept("delete_response", "Stop and forget a response.", {"application/json": {"schema": DELETED}}),
}
CANCEL_RESPONSE: dict[str, Any] = {"post": _kept("cancel_response", "Stop a response that is being made.", KEPT_ANSWER)}
COUNT_TOKENS: dict[str, Any] = {
    "post": {
        **MESSAGES["post"],
        "parameters": [],
        "operationId": "count_tokens",
        "summary": "Estimate the input tokens of such a question, without asking it.",
        "responses": {
            **MESSAGES["post"]["responses"],
            "200": {
                "description": "A token for every four characters, and for each file what an image costs at most.",
                "content": {"application/json": {"schema": _object("input_tokens", input_tokens={"type": "integer"})}},
            },
        },
    }
}
"""Descriptions of the chat addresses: see edge.py for where they are."""
