"""The chat addresses in /openapi.json. Imported at its first request: nothing else needs these models."""

from collections.abc import Collection, Mapping
from functools import partial
from types import GenericAlias
from typing import Any, cast, get_args

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from router.admin import request_bodies as requests
from router.admin import response_bodies as responses
from router.admin.guarded import BORNE
from router.chat import InducedFault
from router.config.server import MinClient
from router.intake.gateway_api import VERSIONS
from router.value import Value, field
from router.wire import WIRES

STREAMS = sorted({wire.content_type.partition(";")[0] for wire in WIRES.values()})
STREAM_OR_OBJECT = (
    "The answer: a stream in the dialect that was chosen, or one object where `stream` is false. "
    "The object shown is that of the dialect `line`."
)
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

Parameter = dict[str, Any]
TEXT: dict[str, Any] = {"type": "string"}
DIALECTS: dict[str, Any] = {"type": "string", "enum": list(WIRES)}
FLAG: dict[str, Any] = {"enum": ["true", "false"]}
SPECIFIED: tuple[dict[str, Any], str] = ({"enum": [*VERSIONS]}, "The version of the protocol.")


def _parameter(place: str, name: str, shape: Mapping[str, Any], words: str = "", *, required: bool = False) -> Parameter:
    return {"name": name, "in": place, "required": required, "schema": shape, **({"description": words} if words else {})}


_path, _query, _header = partial(_parameter, "path", required=True), partial(_parameter, "query"), partial(_parameter, "header")
ROUTE = _path("route", TEXT, "A route's id or alias.")
CHAT = _path("chat", {**TEXT, "minLength": 1}, "The chat's id.")
RESPONSE = _path("response", {**TEXT, "pattern": "^[^/]+$"})
PROTOCOL = (_query("protocol", DIALECTS, "The dialect of the answer."), _header("X-Stream-Protocol", DIALECTS, "The same, as a header."))
MIN_CLIENT = _header(
    "X-Router-Min-Client",
    {**TEXT, "enum": [*get_args(MinClient)]},
    "The release of the AI SDK that this client reads, in place of `server.ui.min_client`.",
)
FAULT = (
    _header(
        "X-Router-Fault",
        {**TEXT, "enum": [*get_args(InducedFault)]},
        "Break the provider of this request: on a route of scripts alone, or with `X-Router-Admin-Key`.",
    ),
    _header("X-Router-Admin-Key", TEXT, "The admin key, beside the caller's own: for `X-Router-Fault` alone."),
)
FOLLOWING = (
    _query("stream", FLAG, "Follow its events."),
    _query(
        "starting_after",
        {"type": "integer", "minimum": 0, "maximum": 999_999_999},
        "With `stream=true`: leave out the events up to this number.",
    ),
)
PAGING = (
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}, "Items of a page."),
    _query("order", {**TEXT, "enum": ["asc", "desc"], "default": "desc"}, "The order of the conversation, or the last item first."),
    _query("after", TEXT, "The id of the item after which the page begins."),
)


class Operation(Value, frozen=True):
    """An operation of a chat address, as OpenAPI describes it.

    body, answer: models of the request's JSON and of the answer's; None without one
    words: description of the answer
    streams: content types of a streamed answer
    others: further statuses → their description; those from 400 on have the body of an error
    refusals: statuses of errors, described in ERRORS
    """

    summary: str
    body: object = None
    answer: object = None
    parameters: Collection[Parameter] = FAULT
    words: str = STREAM_OR_OBJECT
    streams: Collection[str] = ()
    others: Mapping[int, str] = field(default_factory=dict[int, str])
    refusals: Collection[int] = tuple(ERRORS)
    tag: str = "chat"

    def as_json(self, name: str, schemas: Mapping[object, object]) -> dict[str, Any]:
        """Return the operation as an OpenAPI object. `schemas`: model → its schema."""
        refused = {"application/json": {"schema": schemas[responses.Refusal]}, "text/plain": {"schema": TEXT}}
        object_of = {"application/json": {"schema": schemas[self.answer]}} if self.answer else {}
        content = {**{kind: {} if self.answer else {"schema": TEXT} for kind in self.streams}, **object_of}
        answers: dict[str, Any] = {"200": {"description": self.words, "content": content}} if content else {}
        for status, words in self.others.items():
            answers[str(status)] = {"description": words, **({"content": refused} if status >= 400 else {})}
        answers |= {
            str(status): {"description": ERRORS[status], "content": refused} for status in self.refusals if status not in self.others
        }
        asked = {"requestBody": {"required": True, "content": {"application/json": {"schema": schemas[self.body]}}}} if self.body else {}
        own = {"tags": [self.tag], "security": BORNE, "operationId": name, "summary": self.summary, "parameters": [*self.parameters]}
        return {**own, **asked, "responses": answers}


def _asking(summary: str, body: object, answer: object, *parameters: Parameter) -> Operation:
    return Operation(summary, body, answer, (*parameters, *FAULT), streams=STREAMS)


def _finding(summary: str, chat: Parameter) -> Operation:
    return Operation(
        summary,
        parameters=(chat, *PROTOCOL),
        words="The answer, from its start and going on",
        streams=STREAMS,
        others={204: "There is none"},
        refusals=(400, 401, 409, 502, 503),
    )


def _embedding(summary: str, body: object, answer: object, each: str, *parameters: Parameter) -> Operation:
    words = f"A vector for each {each}, in the same order, all of one model."
    return Operation(summary, body, answer, parameters, words, tag="embeddings")


def _keeping(summary: str, answer: object, *parameters: Parameter, streams: Collection[str] = ()) -> Operation:
    missing = {404: "No such response is kept for this caller"}
    return Operation(summary, None, answer, (RESPONSE, *parameters), "The response", streams, missing, (400, 401, 502, 503))


def _counting(body: object, answer: object) -> Operation:
    words = "A token for every four characters, and for each file what an image costs at most."
    return Operation("Estimate the input tokens of such a question, without asking it.", body, answer, (), words)


OPERATIONS = {
    "chat": _asking("Ask the model that the body names.", requests.ChatRequest, responses.Answer, *PROTOCOL, MIN_CLIENT),
    "chat_with_route": _asking("Ask the model that the path names.", requests.ChatRequest, responses.Answer, ROUTE, *PROTOCOL, MIN_CLIENT),
    "stream_of_chat_id": _finding(
        "Find the answer of a chat again, as AI SDK 4 does: an empty answer where there is none.",
        _query("chatId", CHAT["schema"], "The chat's id.", required=True),
    ),
    "stream_of_chat": _finding("Find the answer of a chat again.", CHAT),
    "stop_chat": Operation(
        "Stop the answer of a chat.",
        parameters=(CHAT, *PROTOCOL),
        others={204: "It is stopped, or there was none"},
        refusals=(400, 401, 409, 502, 503),
    ),
    "completions": _asking("Ask as clients of the OpenAI API do. `stream` is false by default.", requests.ChatRequest, responses.Answer),
    "text_completion": _asking(
        "Ask as clients of OpenAI's legacy completions API do.", requests.CompletionsRequest, responses.TextCompletion
    ),
    "messages": _asking("Ask as clients of Anthropic's Messages API do.", requests.MessagesRequest, responses.MessagesAnswer),
    "count_tokens": _counting(requests.MessagesRequest, responses.InputTokens),
    "responses": _asking("Ask as clients of OpenAI's Responses API do.", requests.ResponsesRequest, responses.ResponsesAnswer),
    "response": _keeping("Retrieve or follow a response.", responses.KeptResponse, *FOLLOWING, streams=["text/event-stream"]),
    "delete_response": _keeping("Stop and forget a response.", responses.DeletedResponse),
    "input_items": _keeping("List the items that a response answers.", responses.InputItems, *PAGING),
    "count_input_tokens": _counting(requests.ResponsesRequest, responses.ResponseInputTokens),
    "cancel_response": _keeping("Stop a response that is being made.", responses.KeptResponse),
    "run_agent": _asking("Run an agent as clients of AG-UI do.", requests.AgentRun, list[responses.AgentEvent]),
    "run_agent_with_route": _asking("Run an agent: the model that the path names.", requests.AgentRun, list[responses.AgentEvent], ROUTE),
    "language_model": _asking(
        "Ask as clients of the AI SDK's gateway do.",
        requests.LanguageModelCall,
        responses.LanguageModelResult,
        _header("ai-language-model-id", TEXT, "A route's id or alias.", required=True),
        _header("ai-language-model-streaming", FLAG),
        _header("ai-language-model-specification-version", *SPECIFIED, required=True),
    ),
    "embeddings": _embedding("Make embeddings, as the OpenAI API does.", requests.EmbeddingsRequest, responses.EmbeddingsAnswer, "input"),
    "embedding_model": _embedding(
        "Make embeddings, as the AI SDK's gateway does.",
        requests.EmbeddingValues,
        responses.EmbeddingVectors,
        "value",
        _header("ai-model-id", TEXT, "The id or alias of such a route.", required=True),
        _header("ai-embedding-model-specification-version", *SPECIFIED, required=True),
    ),
}
"""Operation id → operation; `server/edge.py` has their addresses."""
PAGES: dict[str, object] = {
    "/api/models": responses.ModelList,
    "/v1/models": responses.OpenAIModelList | responses.AnthropicModelList,
    "/v1/models/{model}": responses.OpenAIModel | responses.AnthropicModel,
    "/v4/ai/config": responses.GatewayModelList,
}
"""Page → model of its JSON. A page writes it itself, so FastAPI does not know it."""


class _Components(GenerateJsonSchema):
    """JSON schemas whose names are those of the models, without an underscore at the start or `Body` at the end."""

    def normalize_name(self, name: str) -> str:
        return super().normalize_name(name).removeprefix("_").removesuffix("Body")

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's own signature
        return False


def schemas() -> tuple[dict[object, Any], dict[str, Any]]:
    """Return (model → its schema, name → component): of all models, and the components to which their schemas refer."""
    used = {one for each in OPERATIONS.values() for one in (each.body, each.answer) if one is not None}
    listed = sorted({responses.Refusal, *PAGES.values(), *used}, key=str)
    # One type of all: so they share components.
    together: TypeAdapter[object] = TypeAdapter(
        cast("Any", GenericAlias(tuple, tuple(listed))), config=ConfigDict(use_attribute_docstrings=True)
    )
    made = together.json_schema(ref_template="#/components/schemas/{model}", schema_generator=_Components)
    return dict(zip(listed, made["prefixItems"], strict=True)), made["$defs"]


def complete(document: dict[str, Any], addresses: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return FastAPI's OpenAPI document with the chat addresses and models added. `addresses`: path → method → name of its operation."""
    made, components = schemas()
    answers = {
        path: {method: OPERATIONS[name].as_json(name, made) for method, name in methods.items()} for path, methods in addresses.items()
    }
    for path, model in PAGES.items():
        document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = made[model]
    own = document.get("components", {})
    own |= {"schemas": own.get("schemas", {}) | components, "securitySchemes": SECURITY}
    return {**document, "paths": {**answers, **document["paths"]}, "components": own}
