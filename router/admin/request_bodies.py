"""The bodies of requests, as models for /openapi.json: the documented form. `intake/` reads the bodies, and accepts more."""

# ruff: noqa: UP013 - a small object is one line of a table

from typing import Annotated, Any, Literal, NotRequired, Required

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from router.embed import MAX_DIMENSIONS
from router.intake.embeddings_api import MAX_INPUTS
from router.intake.messages import STATES, UNSAID
from router.params import Params
from router.signature import record_of, schema

PARAMS: Any = schema(record_of(Params))["properties"]

Object = dict[str, Any]
AtLeastOne = Annotated[int, Field(ge=1)]
ToolName = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]
Link = Annotated[str, Field(pattern="^(data:|https?://)", description="A `data:` URL or an address.")]
ToolState = Annotated[str, WithJsonSchema({"enum": [*STATES]})]
UnsaidKind = Annotated[
    str,
    WithJsonSchema({"anyOf": [{"enum": sorted(UNSAID - {"file", "image_url", "input_audio"})}, {"type": "string", "pattern": "^data-"}]}),
]
Temperature = Annotated[float | None, WithJsonSchema(PARAMS["temperature"])]
TopP = Annotated[float | None, WithJsonSchema(PARAMS["top_p"])]
RouteId = Annotated[str, Field(description="A route's id or alias.")]
OnWish = Annotated[bool | None, Field(json_schema_extra={"default": False})]
ByDefault = Annotated[bool | None, Field(json_schema_extra={"default": True})]
Dimensions = Annotated[int, Field(ge=1, le=MAX_DIMENSIONS)] | None


def _with_params(*names: str, **more: Any) -> ConfigDict:
    """Return a model's configuration that adds these fields of Params (all if none is named). `more`: further keywords of its schema."""

    def extend(made: dict[str, Any]) -> None:
        made["properties"] |= {name: PARAMS[name] for name in names or PARAMS}
        made |= more

    return ConfigDict(use_attribute_docstrings=True, json_schema_extra=extend)


class ToolInvocation(TypedDict, total=False):
    """A call of a tool as AI SDK 4 has it."""

    toolCallId: Required[str]
    toolName: Required[str]
    state: Literal["partial-call", "call", "result"]
    step: int
    args: Object
    result: Any
    isError: bool


_TextPart = TypedDict("_TextPart", {"type": Literal["text"], "text": str})
_ImageLink = TypedDict("_ImageLink", {"url": Link})
_Audio = TypedDict("_Audio", {"data": str, "format": Annotated[str, Field(pattern="^[a-z0-9]{1,16}$")]})
_AudioPart = TypedDict("_AudioPart", {"type": Literal["input_audio"], "input_audio": _Audio})
_ImagePart = TypedDict("_ImagePart", {"type": Literal["image_url"], "image_url": _ImageLink | Link})
_LinkedFilePart = TypedDict("_LinkedFilePart", {"type": Literal["file"], "url": Link, "mediaType": str, "filename": NotRequired[str]})
_InlineFilePart = TypedDict("_InlineFilePart", {"type": Literal["file"], "data": str, "mimeType": str})
_FileData = TypedDict("_FileData", {"file_data": Link, "filename": NotRequired[str]})
_FilePart = TypedDict("_FilePart", {"type": Literal["file"], "file": _FileData})
_RefusalPart = TypedDict("_RefusalPart", {"type": Literal["refusal"], "refusal": str})
_ApprovalAnswer = TypedDict("_ApprovalAnswer", {"approved": bool, "reason": str}, total=False)
_ToolInvocationPart = TypedDict("_ToolInvocationPart", {"type": Literal["tool-invocation"], "toolInvocation": ToolInvocation})
_SteeringPart = TypedDict("_SteeringPart", {"type": Literal["steering-message"], "parts": list[_TextPart]})
_Attachment = TypedDict("_Attachment", {"url": Link, "contentType": NotRequired[str], "name": NotRequired[str]})
_CalledFunction = TypedDict("_CalledFunction", {"name": str, "arguments": str})
_FunctionCall = TypedDict("_FunctionCall", {"id": str, "type": NotRequired[Literal["function"]], "function": _CalledFunction})
_StreamOptions = TypedDict("_StreamOptions", {"include_usage": bool}, total=False)
_Function = TypedDict("_Function", {"name": ToolName, "description": NotRequired[str], "parameters": NotRequired[Object]})
_FunctionTool = TypedDict("_FunctionTool", {"type": Literal["function"], "function": _Function})
_FunctionName = TypedDict("_FunctionName", {"name": ToolName})
_FunctionChoice = TypedDict("_FunctionChoice", {"type": Literal["function"], "function": _FunctionName})
_Block = TypedDict("_Block", {"type": str})
_Blocks = str | list[_Block]
_MessagesTurn = TypedDict("_MessagesTurn", {"role": Literal["user", "assistant", "system"], "content": _Blocks})
_Thinking = TypedDict("_Thinking", {"type": Literal["enabled", "adaptive", "disabled"], "budget_tokens": NotRequired[int]})
_OutputOptions = TypedDict("_OutputOptions", {"effort": str}, total=False)
_ToolWish = TypedDict("_ToolWish", {"type": Literal["auto", "any", "tool", "none"], "name": NotRequired[ToolName]})
_ReasoningWish = TypedDict("_ReasoningWish", {"effort": str, "summary": Literal["auto", "concise", "detailed"]}, total=False)
_TextOptions = TypedDict("_TextOptions", {"verbosity": str}, total=False)
_ResponsesChoice = TypedDict("_ResponsesChoice", {"type": Literal["function"], "name": ToolName})
_AgentContext = TypedDict("_AgentContext", {"description": str, "value": str})
_PromptMessage = TypedDict("_PromptMessage", {"role": Literal["system", "user", "assistant", "tool"], "content": _Blocks})
_CallTool = TypedDict("_CallTool", {"type": Literal["function"], "name": ToolName, "description": NotRequired[str], "inputSchema": Object})
_CallChoice = TypedDict("_CallChoice", {"type": Literal["auto", "none", "required", "tool"], "toolName": NotRequired[ToolName]})
_CallFormat = TypedDict("_CallFormat", {"type": Literal["text", "json"], "schema": NotRequired[Object]})


class _ReasoningPart(TypedDict):
    type: Literal["reasoning"]
    text: NotRequired[str]
    providerMetadata: NotRequired[Object]


class _CalledTool(TypedDict, total=False):
    toolCallId: Required[str]
    state: Required[ToolState]
    input: Any
    output: Any
    errorText: str
    approval: _ApprovalAnswer
    providerExecuted: bool


class _ToolPart(_CalledTool):
    type: Annotated[str, Field(pattern="^tool-[A-Za-z0-9_-]{1,64}$")]


class _DynamicToolPart(_CalledTool):
    type: Literal["dynamic-tool"]
    toolName: str


class _UnsaidPart(TypedDict):
    """A part that is not sent to any model. Files and images in a message of the assistant are not sent either."""

    type: UnsaidKind


_Part = (
    _TextPart | _ImagePart | _AudioPart | _LinkedFilePart | _InlineFilePart | _FilePart | _RefusalPart | _ReasoningPart | _ToolPart
    | _DynamicToolPart | _ToolInvocationPart | _SteeringPart | _UnsaidPart
)  # fmt: skip
"""The parts of a message, of every client that is known here."""


class _MessageBody(TypedDict, total=False):
    """A message with its content in `parts`, or in `content` if `parts` is empty. An assistant's message may have neither."""

    role: Required[Literal["system", "developer", "user", "assistant", "tool"]]
    content: str | list[_Part] | None
    parts: list[_Part]
    id: str
    experimental_attachments: list[_Attachment]
    toolInvocations: list[ToolInvocation]
    tool_calls: list[_FunctionCall]
    tool_call_id: str
    refusal: str | None


@with_config(
    _with_params(
        anyOf=[{"required": ["messages"]}, {"required": ["message"]}],
        example={"messages": [{"role": "user", "content": "你好"}], "model": "gpt-4", "temperature": 0.7, "stream": True},
    )
)
class ChatRequest(TypedDict, total=False):
    """A question in the router's own form, or in that of OpenAI's Chat Completions API, or of AI SDK 4 and later."""

    messages: Annotated[list[_MessageBody], Field(min_length=1)]
    message: _MessageBody
    """The only message of the question, in place of `messages`."""
    model: str | None
    """A route's id or alias. Not needed where the path names it."""
    selectedChatModel: str
    """A route's id or alias, in place of `model`."""
    id: str
    """The chat's id, by which the answer can be found again."""
    stream: ByDefault
    stream_options: _StreamOptions
    params: Object
    """Values for the route's prompt template, e.g. `kind`."""
    tools: list[_FunctionTool]
    """The client's own tools: their calls are returned to the client, which runs them."""
    tool_choice: Literal["auto", "none", "required"] | _FunctionChoice
    response_format: Object | None
    """The form of the answer, as in OpenAI's API: `{type: json_object}`, or `{type: json_schema, json_schema: …}`."""
    max_completion_tokens: int | None
    """Another name of `max_tokens`."""


@with_config(_with_params("max_tokens", "temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty"))
class CompletionsRequest(TypedDict, total=False):
    """A question of OpenAI's legacy completions API."""

    model: Required[RouteId]
    prompt: Required[str | Annotated[list[str], Field(min_length=1, max_length=20)]]
    """A text, or a list of texts, each of which is answered in a choice of its own."""
    echo: OnWish
    """Begin each answer with its prompt."""
    stream: OnWish
    stream_options: _StreamOptions


class _CustomTool(TypedDict):
    name: ToolName
    description: NotRequired[str]
    input_schema: Object
    type: NotRequired[Literal["custom"]]


class MessagesRequest(TypedDict, total=False):
    """A question of Anthropic's Messages API."""

    model: Required[RouteId]
    messages: Required[Annotated[list[_MessagesTurn], Field(min_length=1)]]
    system: _Blocks
    max_tokens: Required[AtLeastOne]
    """The most tokens the answer may have. Not needed to count tokens."""
    temperature: Temperature
    top_p: TopP
    stop_sequences: list[str]
    stream: OnWish
    thinking: _Thinking
    output_config: _OutputOptions
    """Options of the answer. `format` may be its required form: `{type: json_schema, schema: …}`."""
    tools: list[_CustomTool]
    tool_choice: _ToolWish


class EmbeddingsRequest(TypedDict, total=False):
    """Texts for embeddings, as in OpenAI's API."""

    model: Required[Annotated[str, Field(description="The id or alias of a route of kind embeddings.")]]
    input: Required[
        Annotated[
            str | list[str] | list[int] | list[list[int]],
            Field(description=f"A text, or up to {MAX_INPUTS} of them; or lists of tokens, where the target takes them."),
        ]
    ]
    encoding_format: Annotated[Literal["float", "base64"] | None, Field(json_schema_extra={"default": "float"})]
    """The form of a vector: numbers, or base64 of little-endian float32."""
    dimensions: Dimensions
    user: str | None


class EmbeddingValues(TypedDict):
    """Texts for embeddings, as clients of the AI SDK's gateway send them."""

    values: list[str]
    dimensions: NotRequired[Dimensions]


class _ResponsesTool(_Function):
    type: Literal["function"]


class ResponsesRequest(TypedDict, total=False):
    """A question of OpenAI's Responses API."""

    model: Required[RouteId]
    input: Required[str | Annotated[list[Object], Field(min_length=1)]]
    """A text, or a list of items."""
    instructions: str | None
    max_output_tokens: AtLeastOne | None
    temperature: Temperature
    top_p: TopP
    stream: OnWish
    reasoning: _ReasoningWish
    text: _TextOptions
    tools: list[_ResponsesTool]
    tool_choice: Literal["auto", "none", "required"] | _ResponsesChoice
    metadata: Object
    store: ByDefault
    background: OnWish
    previous_response_id: str | None
    """The id of the stored response that this question continues."""


class _AgentMessage(TypedDict, total=False):
    id: str
    role: Required[Literal["developer", "system", "user", "assistant", "tool", "reasoning", "activity"]]
    content: str | list[_Block] | Object
    toolCalls: list[_FunctionCall]
    toolCallId: str


class AgentRun(TypedDict, total=False):
    """The input of an agent's run: RunAgentInput of AG-UI."""

    threadId: Required[str]
    """The thread's id, by which the answer can be found again, like that of a chat."""
    runId: Required[str]
    parentRunId: str
    messages: Required[Annotated[list[_AgentMessage], Field(min_length=1)]]
    tools: list[_Function]
    context: list[_AgentContext]
    state: Any
    forwardedProps: Object
    """`model`, sampling parameters, and values for the route's template."""


class LanguageModelCall(TypedDict, total=False):
    """A question in the protocol of the AI SDK's gateway, which this router serves: LanguageModelV4CallOptions."""

    prompt: Required[Annotated[list[_PromptMessage], Field(min_length=1)]]
    maxOutputTokens: AtLeastOne | None
    temperature: Temperature
    topP: TopP
    stopSequences: list[str]
    tools: list[_CallTool]
    toolChoice: _CallChoice
    responseFormat: _CallFormat
    providerOptions: Object
    """Only `router` is read: further fields of the question, such as values for the route's prompt template."""
