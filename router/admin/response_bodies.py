"""The bodies of answers and errors, as models for /openapi.json. `wire/` writes them, one module for each dialect."""

# ruff: noqa: UP013 - a small object is one line of a table

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from router.admin.request_bodies import Object, ToolInvocation

Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]


_Tokens = TypedDict("_Tokens", {"promptTokens": int, "completionTokens": int}, total=False)
_Usage = TypedDict("_Usage", {"prompt_tokens": int, "completion_tokens": int, "total_tokens": int})
_MessageTokens = TypedDict("_MessageTokens", {"input_tokens": int, "output_tokens": int})
_Embedding = TypedDict("_Embedding", {"object": Literal["embedding"], "index": int, "embedding": list[float] | str})
_InputUsage = TypedDict("_InputUsage", {"prompt_tokens": int, "total_tokens": int})
_EmbeddingTokens = TypedDict("_EmbeddingTokens", {"tokens": int})
_Response = TypedDict("_Response", {"id": str, "object": Literal["response"], "created_at": int, "model": str, "output": list[Object]})
_Content = TypedDict("_Content", {"type": str})
_FinishReason = TypedDict("_FinishReason", {"unified": Literal["stop", "length", "content-filter", "tool-calls", "other"]})
_CallTokens = TypedDict("_CallTokens", {"inputTokens": Object, "outputTokens": Object})
_Specification = TypedDict("_Specification", {"specificationVersion": str, "provider": Literal["router"], "modelId": str})
_SurfaceError = TypedDict("_SurfaceError", {"code": str, "message": str, "cause": str})
_OpenAIFault = TypedDict("_OpenAIFault", {"message": str, "type": str, "param": str | None, "code": str | None})
_OpenAIError = TypedDict("_OpenAIError", {"error": _OpenAIFault})
_Fault = TypedDict("_Fault", {"type": str, "message": str, "code": NotRequired[str]})
_MessagesError = TypedDict("_MessagesError", {"type": Literal["error"], "error": _Fault, "request_id": str})
_AgentError = TypedDict("_AgentError", {"type": Literal["RUN_ERROR"], "message": str, "code": str, "requestId": str})
_GatewayFault = TypedDict("_GatewayFault", {"message": str, "type": str, "code": str})
_GatewayError = TypedDict("_GatewayError", {"error": _GatewayFault, "generationId": str})


class ChatAnswer(TypedDict):
    """A complete answer in the router's own dialect, `line`."""

    id: Uuid
    model: str
    role: Literal["assistant"]
    content: str
    reasoning: NotRequired[str]
    toolCalls: NotRequired[list[Object]]
    toolResults: NotRequired[list[Object]]
    finishReason: Literal["stop", "length", "content-filter", "tool-calls", "other", "unknown"]
    usage: NotRequired[_Tokens]


class DataMessage(TypedDict):
    """The body of a complete answer in the dialect `data-stream`: a message of AI SDK 4."""

    id: str
    role: Literal["assistant"]
    content: str
    reasoning: NotRequired[str]
    toolInvocations: NotRequired[list[ToolInvocation]]
    finishReason: str


class UIMessage(TypedDict):
    """The body of a complete answer in the dialect `ui-message-stream`: a message of AI SDK 5 and later."""

    id: str
    role: Literal["assistant"]
    metadata: Object
    parts: list[Object]


class _CompletionBody(TypedDict):
    """The body of a complete answer in OpenAI's dialect: a chat.completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: Annotated[list[Object], Field(min_length=1, max_length=1)]
    usage: _Usage


class _TextChoice(TypedDict):
    text: str
    index: Annotated[int, Field(ge=0)]
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter"]


class TextCompletion(TypedDict):
    """The body of a complete answer of OpenAI's legacy completions API (`text_completion`), as the OpenAPI document describes it."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: Annotated[list[_TextChoice], Field(min_length=1, max_length=20)]
    usage: _Usage


class MessagesAnswer(TypedDict):
    """The body of a complete answer in Anthropic's dialect: a message."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Object]
    stop_reason: Literal["end_turn", "max_tokens", "tool_use", "refusal"]
    stop_sequence: NotRequired[None]
    usage: _MessageTokens


class InputTokens(TypedDict):
    """The estimated input tokens of a question."""

    input_tokens: int


class EmbeddingsAnswer(TypedDict):
    """The body of an answer with embeddings, as OpenAI's API has it."""

    object: Literal["list"]
    data: list[_Embedding]
    model: str
    usage: _InputUsage


class EmbeddingVectors(TypedDict):
    """The body of an answer with embeddings, as the AI SDK's gateway has it."""

    embeddings: list[list[float]]
    usage: _EmbeddingTokens
    warnings: list[Object]


class _ResponseTokens(_MessageTokens):
    total_tokens: int


class ResponsesAnswer(_Response):
    """The answer to a question in OpenAI's Responses API; for a background response it is `queued`, with null usage."""

    status: Literal["completed", "incomplete", "queued"]
    usage: _ResponseTokens | None


class _KeptResponseBody(_Response):
    """The body of a stored response that is retrieved or cancelled."""

    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class InputItems(TypedDict):
    """A page of the input items that a response answers."""

    object: Literal["list"]
    data: list[Object]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ResponseInputTokens(TypedDict):
    """The estimated input tokens of a question of OpenAI's Responses API."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class DeletedResponse(TypedDict):
    """The confirmation that a response was deleted."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class AgentEvent(TypedDict):
    """An event of an AG-UI run in /openapi.json: only its type is described, and its other fields depend on the type."""

    type: str


class LanguageModelResult(TypedDict):
    """A complete answer in the protocol of the AI SDK's gateway, which this router serves."""

    content: list[_Content]
    finishReason: _FinishReason
    usage: _CallTokens
    warnings: list[Object]


class _Facts(TypedDict):
    name: str
    context_window: int | None
    max_output_tokens: int | None
    input_modalities: list[Literal["text", "image", "document", "audio"]]
    price: dict[str, Any] | None
    """Kind of token → US dollars for a million of them."""


class _ListedModel(_Facts):
    id: str
    aliases: list[str]
    tools: list[str]
    reasoning: str
    scripted: bool
    targets: list[str]


class ModelList(TypedDict):
    """The chat models that the caller may ask, each described by its first target's model; unknown values are null."""

    models: list[_ListedModel]


class OpenAIModel(_Facts):
    """A model, as OpenAI's API has it, with its tools, context window, prices and input types."""

    id: str
    kind: Literal["chat", "embeddings"]
    object: Literal["model"]
    created: int
    owned_by: Literal["router"]
    tools: list[str]


class OpenAIModelList(TypedDict):
    """The models, as OpenAI's API lists them."""

    object: Literal["list"]
    data: list[OpenAIModel]


class AnthropicModel(TypedDict):
    """A model, as Anthropic's API has it."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: str


class AnthropicModelList(TypedDict):
    """The models, as Anthropic's API lists them: on one page."""

    data: list[AnthropicModel]
    has_more: Literal[False]
    first_id: str | None
    last_id: str | None


class _GatewayModel(TypedDict):
    id: str
    name: str
    pricing: dict[str, str] | None
    """Kind of token → US dollars for one of them, as a decimal number in a text."""
    specification: _Specification
    modelType: Literal["language", "embedding"]


class GatewayModelList(TypedDict):
    """The models, as the AI SDK's gateway lists them."""

    models: list[_GatewayModel]


class _ErrorBody(TypedDict):
    type: Literal["error"]
    error: str
    message: NotRequired[str]
    """The sentence of `error` once more, while the dialect of the client is not known."""
    code: str
    requestId: str


Answer = ChatAnswer | DataMessage | UIMessage | _CompletionBody
"""An answer in a dialect that the client chose."""
KeptResponse = _KeptResponseBody
Refusal = _ErrorBody | _SurfaceError | _OpenAIError | _MessagesError | _AgentError | _GatewayError
"""An error before the first event: in the shape of the dialect that was chosen."""
