"""The rules by which Google's API refuses a `streamGenerateContent` request, with its error texts, for fake models.

The texts are from user reports (googleapis/js-genai#1040, google-gemini/gemini-cli#3814, BerriAI/litellm#16893,
anomalyco/opencode#12911, pizza-bot-app/pizza-bot#62, pipecat-ai/pipecat#5821, microsoft/vscode#258088).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

Body = Mapping[str, Any]
UNSIGNED = "skip_thought_signature_validator"

SHAPES: dict[str, dict[str, Any]] = {
    "": {
        "contents": "content",
        "systemInstruction": "content",
        "tools": "tool",
        "toolConfig": "toolConfig",
        "generationConfig": "config",
        "safetySettings": list,
        "cachedContent": str,
        "serviceTier": str,
    },
    "content": {"role": str, "parts": "part"},
    "part": {
        "text": str,
        "thought": bool,
        "thoughtSignature": str,
        "inlineData": "blob",
        "fileData": "file",
        "functionCall": "call",
        "functionResponse": "response",
    },
    "blob": {"mimeType": str, "data": str},
    "file": {"mimeType": str, "fileUri": str},
    "call": {"id": str, "name": str, "args": dict},
    "response": {"id": str, "name": str, "response": dict, "parts": list},
    "tool": {"functionDeclarations": "declaration"},
    "declaration": {"name": str, "description": str, "parameters": "schema", "parametersJsonSchema": dict},
    "toolConfig": {"functionCallingConfig": "calling"},
    "calling": {"mode": str, "allowedFunctionNames": list},
    "config": {
        "temperature": (int, float),
        "topP": (int, float),
        "topK": int,
        "seed": int,
        "candidateCount": int,
        "maxOutputTokens": int,
        "stopSequences": list,
        "presencePenalty": (int, float),
        "frequencyPenalty": (int, float),
        "thinkingConfig": "thinking",
        "responseMimeType": str,
        "responseSchema": "schema",
        "responseJsonSchema": dict,
    },
    "thinking": {"includeThoughts": bool, "thinkingBudget": int, "thinkingLevel": str},
    "schema": {
        "type": str,
        "format": str,
        "title": str,
        "description": str,
        "nullable": bool,
        "enum": list,
        "default": object,
        "maxItems": object,
        "minItems": object,
        "minProperties": object,
        "maxProperties": object,
        "minLength": object,
        "maxLength": object,
        "pattern": str,
        "example": object,
        "anyOf": "schema",
        "propertyOrdering": list,
        "items": "schema",
        "minimum": (int, float),
        "maximum": (int, float),
        "required": list,
        "properties": "schemas",
    },
}
"""Message type → its fields, each a Python type or another message type."""


def objection(headers: Body, path: str, body: Body, *, signs: bool = False, thinks: str = "") -> tuple[int, str] | None:
    """Return the status and error text with which Google refuses this request; None if it is accepted.

    signs: whether the model requires signatures on the calls of the current turn
    thinks: how the model thinks: `budget`, `level`, `none`, or empty for no check
    """
    if not headers.get("x-goog-api-key"):
        return 403, "Method doesn't allow unregistered callers. Please use API Key or other form of API consumer identity to call this API."
    if not path.endswith(":streamGenerateContent?alt=sse"):
        return 404, "Requested entity was not found."
    for rule in (_unknown(body, ""), _conversation(body), _parts(body), _signatures(body) if signs else iter(()), _tools(body)):
        if (words := next(rule, None)) is not None:
            return 400, words
    return next(((400, words) for words in _config(body, thinks)), None)


def error(status: int, message: str) -> dict[str, Any]:
    """Return an error body in Google's shape."""
    names = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
    return {"error": {"code": status, "message": message, "status": names.get(status, "UNAVAILABLE" if status >= 500 else "UNKNOWN")}}


def _unknown(value: Any, shape: str, place: str = "") -> Iterator[str]:
    """Yield an error text for each unknown field and each field of a wrong type."""
    for name, inner in cast("Body", value).items():
        kind = SHAPES[shape].get(name)
        here = f"{place}.{name}" if place else name
        at = f" at '{place}'" if place else ""
        if kind is None:
            yield f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
        elif kind == "schemas":
            for key, one in cast("Body", inner).items():
                yield from _unknown(one, "schema", f"{here}.{key}")
        elif isinstance(kind, str):
            for one in cast("list[Any]", inner if isinstance(inner, list) else [inner]):
                yield from _unknown(one, kind, here)
        elif not isinstance(inner, kind) or (isinstance(inner, bool) and kind not in (bool, object)):
            yield f"Invalid value at '{here}' ({type(inner).__name__}), {inner!r}"


def _kinds(content: Body) -> set[str]:
    return {name for part in content["parts"] for name in ("functionCall", "functionResponse", "text") if name in part}


def _conversation(body: Body) -> Iterator[str]:
    """Yield an error text for each violation of the order of roles, or of calls and their responses."""
    contents: Sequence[Body] = body["contents"]
    if not contents or contents[0]["role"] != "user":
        yield "Please ensure that multiturn requests begin with a user role."
        return
    before: Sequence[str] = ()
    for at, content in enumerate(contents):
        if content["role"] not in ("user", "model"):
            yield "Please use a valid role: user, model."
        if at and content["role"] == contents[at - 1]["role"]:
            yield "Please ensure that multiturn requests alternate between user and model."
        if not content["parts"]:
            yield f"GenerateContentRequest.contents[{at}].parts: contents.parts must not be empty."
        called = [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part]
        given = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        if called and content["role"] != "model":
            yield "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
        if given != list(before):
            yield (
                "Please ensure that the number of function response parts is equal to the number of function call parts of the "
                "function call turn."
            )
        if given and len(_kinds(content)) > 1:
            yield "Please ensure that function response turn comes immediately after a function call turn."
        before = called
    if contents[-1]["role"] == "model":
        yield "Requests ending with a model turn are not supported."


def _parts(body: Body) -> Iterator[str]:
    for at, content in enumerate(body["contents"]):
        for place, part in enumerate(content["parts"]):
            data = [name for name in part if name not in ("thought", "thoughtSignature")]
            if len(data) != 1 or (part.get("text") == "" and "thoughtSignature" not in part):
                yield f"GenerateContentRequest.contents[{at}].parts[{place}].data: required oneof field 'data' must have one initialized field"
            if part.get("inlineData", {}).get("mimeType") in ("image/jpg", "image/*"):
                yield "Unsupported MIME type: image/jpg"


def turn_of(contents: Sequence[Body]) -> Sequence[Body]:
    """Return the contents after the last one that is a text of the user."""
    asked = max((at for at, one in enumerate(contents) if one["role"] == "user" and "functionResponse" not in _kinds(one)), default=0)
    return contents[asked + 1 :]


def _signatures(body: Body) -> Iterator[str]:
    for at, content in enumerate(turn_of(body["contents"])):
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            name = calls[0]["functionCall"]["name"]
            yield (
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and "
                f"missing thought_signature may lead to degraded model performance. Additional data, function call `{name}`, position {at}."
            )


def _tools(body: Body) -> Iterator[str]:
    declared = [one for tool in body.get("tools", ()) for one in tool["functionDeclarations"]]
    for at, one in enumerate(declared):
        if "parameters" in one:
            yield from _schema(one["parameters"], f"GenerateContentRequest.tools[0].function_declarations[{at}].parameters")
            if one["parameters"].get("type", "").lower() != "object":
                yield f"GenerateContentRequest.tools[0].function_declarations[{at}].parameters.type: only allowed for OBJECT type"
    allowed = body.get("toolConfig", {}).get("functionCallingConfig", {}).get("allowedFunctionNames", ())
    if set(allowed) - {one["name"] for one in declared}:
        yield "allowed_function_names must be a subset of the declared function names."


def _schema(schema: Body, place: str) -> Iterator[str]:
    """Yield an error text for each violation in a schema of a tool's parameters."""
    kind = str(schema.get("type", "")).lower()
    if "anyOf" in schema:
        if len(schema) > 1:
            yield f"{place}: when using any_of, it must be the only field set"
        for one in schema["anyOf"]:
            yield from _schema(one, f"{place}.any_of")
        return
    if kind not in ("string", "number", "integer", "boolean", "array", "object"):
        yield f"{place}: schema didn't specify the schema type field"
    if "enum" in schema and kind != "string":
        yield f"{place}.enum: only allowed for STRING type"
    if "" in schema.get("enum", ()):
        yield f"{place}.enum[0]: cannot be empty"
    if kind == "string" and schema.get("format", "enum") not in ("enum", "date-time"):
        yield f"{place}.format: only 'enum' and 'date-time' are supported for STRING type"
    if kind == "array":
        if "items" not in schema:
            yield f"{place}.items: missing field"
        else:
            yield from _schema(schema["items"], f"{place}.items")
    if "properties" in schema and not schema["properties"]:
        yield f"{place}.properties: should be non-empty for OBJECT type"
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            yield f"{place}.required[0]: property is not defined"
    for name, one in schema.get("properties", {}).items():
        yield from _schema(one, f"{place}.properties[{name}]")


def _config(body: Body, thinks: str) -> Iterator[str]:
    config: Body = body.get("generationConfig", {})
    thinking: Body = config.get("thinkingConfig", {})
    if "presencePenalty" in config or "frequencyPenalty" in config:
        yield "Penalty is not enabled for this model"
    if len(config.get("stopSequences", ())) > 5 or "" in config.get("stopSequences", ()):
        yield "GenerateContentRequest.generation_config.stop_sequences: at most 5, none of them empty"
    if not -(2**31) <= config.get("seed", 0) < 2**31:
        yield "Invalid value at 'generation_config.seed' (TYPE_INT32)"
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        yield "You can only set one of thinking budget and thinking level."
    if "thinkingLevel" in thinking and (thinks == "budget" or str(thinking["thinkingLevel"]).lower() not in LEVELS):
        yield "Thinking level is not supported for this model."
    if thinking and thinks == "none":
        yield "Thinking is not supported by this model."


LEVELS = ("minimal", "low", "medium", "high")
