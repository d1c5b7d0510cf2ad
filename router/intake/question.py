"""Turning a body's fields into an Ask and the wanted form of its answer. All checks are here, so that later code can rely on them.

Unknown fields are kept for the templates (`ask.<field>`) and not forwarded to a provider.
"""

import re
from collections.abc import Collection, Mapping
from typing import Literal, cast

from router.chat import ANY_AGE, AUTO, Ask, CacheControl, Choice, Json, JsonObject, Message, OutputFormat, ToolSpec, repaired
from router.config.server import RequestBounds
from router.errors import BadAsk, Misfit
from router.intake import ag_ui_api, anthropic_api, client_tools, completions_api, gateway_api, responses_api
from router.intake.cache_control import cache_control
from router.intake.client_tools import Harmless, meant, refuse_unserved
from router.intake.fields import listing, mapping, needed, text
from router.intake.messages import conversation, messages
from router.intake.output import response_format, text_format
from router.params import NO_PARAMS, Params
from router.signature import arguments, record_of
from router.value import Value, field
from router.wire import WIRES, Wire

PARAMS = record_of(Params)
SAMPLING = frozenset(item.name for item in PARAMS.fields)
SAMPLED = SAMPLING | {"max_completion_tokens"}
"""Fields that set a sampling parameter."""
OWN = frozenset({"messages", "model", "stream", "params", *SAMPLING})
"""Fields that are read here and therefore not kept in `ask.fields`."""
READ: dict[str, frozenset[str]] = {
    "responses": OWN | responses_api.READ,
    "text_completion": OWN | completions_api.READ,
    "ag_ui": OWN | ag_ui_api.READ,
    "gateway": OWN | gateway_api.READ,
}
"""API → its fields that are read and therefore not kept in `ask.fields`; OWN for all others."""
STREAMING = frozenset({"chat", "ag_ui"})
"""APIs that stream by default and do not need a model id: the default route answers then."""
ID = re.compile(r"[A-Za-z0-9._:@-]{1,128}")

Surface = Literal["chat", "completions", "text_completion", "messages", "count_tokens", "responses", "ag_ui", "gateway"]
"""The API of a request: the router's own below /api/chat, OpenAI's chat completions and legacy completions, Anthropic's messages and
`count_tokens`, OpenAI's responses, AG-UI, or the language models of the AI SDK's gateway.
"""


class Asked(Value, frozen=True):
    """The question of a request, and the wanted form of its answer. `ask.model` is as the client wrote it, or the default route."""

    ask: Ask
    stream: bool
    wire: Wire
    """The wire of the answer."""
    cache: CacheControl
    chat_id: str | None = None
    """The chat's id, by which the answer can be resumed; None without one."""
    continues: str | None = None
    """The id of the assistant's message that the answer continues; None for a new message."""
    wants_usage: bool = False
    repeated: JsonObject = field(default_factory=dict[str, Json])
    """Fields of the request that the answer repeats."""
    conversation: bytes | None = None
    """Input items (JSON) stored with the answer, so that another question can continue it; None if it is not stored."""
    background: bool = False
    """True for a background response, which its client retrieves later."""
    prompts: tuple[Message, ...] = ()
    """Several prompts, each answered in a choice of its own; empty for a single question."""


def asked(
    fields: Mapping[str, Json],
    model: str | None,
    surface: Surface,
    usual: str,
    bounds: RequestBounds,
    *,
    wire: Wire = WIRES["line"],
    cache: bytes = b"",
) -> Asked:
    """Return the question in a body's fields. BadAsk names a field that is invalid or not served, TooLarge for too many messages.
    model: the route named in the path, which overrides the body's
    usual: the route that answers if none is named; only APIs in STREAMING may leave it out
    cache: the values of the Cache-Control header
    """
    repeated: JsonObject = {}
    if surface == "ag_ui":
        fields = ag_ui_api.flat(fields)
    elif surface == "gateway":
        # The form of the answer depends on the version of the protocol.
        repeated, fields = {"specification": fields.get("specificationVersion")}, gateway_api.flat(fields)
    stream = fields.get("stream")
    if stream is None:
        stream = surface in STREAMING
    elif type(stream) is not bool:
        raise BadAsk("stream: true or false is needed.")
    extra: JsonObject = needed(fields["params"], "params") if "params" in fields else {}
    if surface == "messages" and fields.get("max_tokens") is None:
        raise BadAsk("max_tokens: the most tokens the answer may have are needed.")
    (tools, choice), said, params, output = _read(fields, surface, bounds.messages)
    own = READ.get(surface, OWN)
    wants_usage = "stream_options" in fields and (mapping(fields["stream_options"]) or {}).get("include_usage") is True
    if surface == "ag_ui":
        repeated, wants_usage = ag_ui_api.run(fields), False
    chat_id = _id(repeated["threadId"]) if surface == "ag_ui" else _id(fields.get("id")) if surface == "chat" else None
    ask = Ask(
        model=_model(fields, model, usual if surface in STREAMING else None),
        messages=said,
        params=params,
        fields={} if own.issuperset(fields) else {name: value for name, value in fields.items() if name not in own},
        extra=extra,
        tools=tools,
        choice=choice,
        output=output,
        unsent=gateway_api.unsent(fields) if surface == "gateway" else meant(fields, UNSENT[surface]) if surface in UNSENT else (),
        chat=chat_id or "",
    )
    wishes = cache_control(cache, ask.fields) if cache or "trigger" in fields else ANY_AGE
    if surface == "responses":
        kept = responses_api.conversation(fields) if responses_api.stored(fields) else None
        background, repeated = responses_api.in_background(fields), responses_api.repeated(fields, tools)
        return Asked(ask, stream, wire, wishes, repeated=repeated, conversation=kept, background=background)
    if surface == "text_completion":
        repeated, prompts = completions_api.repeated(fields), completions_api.prompts(fields)
        return Asked(ask, stream, wire, wishes, wants_usage=wants_usage, repeated=repeated, prompts=prompts)
    continues = _continued(conversation(fields)) if surface == "chat" else None
    return Asked(ask, stream, wire, wishes, chat_id, continues, wants_usage, repeated)


_Read = tuple[tuple[tuple[ToolSpec, ...], Choice], tuple[Message, ...], Params, OutputFormat | None]


def _read(fields: Mapping[str, Json], surface: Surface, most: int) -> _Read:
    """Return ((tools, tool choice) of the client, conversation, sampling parameters, output format) of a body.

    The tools are read first: an unserved field is refused by its name. `most`: how many messages a conversation may have.
    """
    match surface:
        case "completions":
            tools, said = brought(fields), messages(conversation(fields), most)
            return tools, said, sampling(fields), response_format(fields["response_format"]) if "response_format" in fields else None
        case "chat":
            tools, said, form = of_page(fields), messages(conversation(fields), most), fields.get("response_format")
            if (system := fields.get("system")) is not None and (words := text(system, "system")):
                said = (Message("system", (words,)), *said)
            # A format that is no object is a field for the template.
            return tools, said, sampling(fields), response_format(form) if isinstance(form, Mapping) else None
        case "messages" | "count_tokens":
            api = anthropic_api
            return api.brought(fields), api.messages(fields, most), parameters(api.sampling(fields)), api.output(fields)
        case "responses":
            api, form = responses_api, (mapping(fields.get("text")) or {}).get("format")
            return api.brought(fields), api.messages(fields, most), parameters(api.sampling(fields)), text_format(form, "text.format")
        case "text_completion":
            return ((), AUTO), completions_api.messages(fields), sampling(fields), response_format(fields.get("response_format"))
        case "ag_ui":
            tools = ag_ui_api.brought(fields)
            return tools, ag_ui_api.messages(fields, most), sampling(fields), response_format(fields.get("response_format"))
        case "gateway":
            api = gateway_api
            return api.brought(fields), api.messages(fields, most), parameters(api.sampling(fields)), api.output(fields)


def _model(fields: Mapping[str, Json], model: str | None, usual: str | None) -> str:
    """Return the model id: of the path, the body, or else `usual`. BadAsk if it is empty or no text, or missing and `usual` is None."""
    named = fields.get("model") if model is None else model
    if named is None:
        named = fields.get("selectedChatModel")
        if named is None and usual is not None:
            return usual
    if type(named) is not str or not named:
        raise BadAsk("model: a model id is needed, here or in the path. GET /api/models lists them.")
    return named


def _id(given: Json) -> str | None:
    """Return the value if it is a valid chat or message id; else None, which is not an error."""
    return given if isinstance(given, str) and ID.fullmatch(given) else None


def _continued(listed: Json) -> str | None:
    """Return the id of the last message if it is the assistant's; else None. The client expects the answer to continue that message."""
    last = mapping((listing(listed) or [None])[-1]) or {}
    return _id(last.get("id")) if last.get("role") == "assistant" else None


def sampling(fields: Mapping[str, Json]) -> Params:
    """Return the sampling parameters among the fields; null counts as missing. BadAsk names an invalid one.

    `max_completion_tokens` counts as `max_tokens` if that is missing; a single `stop` text becomes a list.
    """
    if SAMPLED.isdisjoint(fields):
        return NO_PARAMS
    given: dict[str, object] = {name: value for name, value in fields.items() if name in SAMPLING and value is not None}
    newer = fields.get("max_completion_tokens")
    if newer is not None and "max_tokens" not in given:
        given["max_tokens"] = newer
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    if "prediction" in given:
        given["prediction"] = _predicted(given["prediction"])
    return parameters(given)


def parameters(given: Mapping[str, object]) -> Params:
    """Return the sampling parameters with these values. BadAsk names an invalid one."""
    if not given:
        return NO_PARAMS
    try:
        values = arguments(PARAMS, dict(given))
        if "stop" in values:
            values["stop"] = tuple(repaired(one) for one in cast("list[str]", values["stop"]))
        return Params(**values)  # type: ignore[arg-type]
    except Misfit as misfit:
        raise BadAsk(f"{misfit.message}.") from None


def _predicted(value: object) -> str:
    """Return the text of OpenAI's `prediction` object, whose content is a text or a list of text parts. BadAsk for any other."""
    given = mapping(cast("Json", value)) or {}
    content = given.get("content")
    if given.get("type") != "content" or not isinstance(content, str | list):
        raise BadAsk("prediction: an object with `type: content` and its content is needed.")
    if isinstance(content, str):
        return repaired(content)
    return "".join(text((mapping(one) or {}).get("text"), "prediction.content") for one in content)


MEANT: Harmless = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "modalities": (["text"],),
    "audio": (),
    "functions": ([],),
    "function_call": ("auto", "none"),
    "web_search_options": (),
    "moderation": (),
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"), ()),
}
"""Fields of OpenAI's API and of compatible servers that change the answer and are not served → their harmless values."""
ACCOUNT: Harmless = {
    "metadata": ({},),
    "store": (False,),
    **dict.fromkeys(("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"), ()),
    **dict.fromkeys(("thinking", "enable_thinking", "reasoning", "include_reasoning", "chat_template_kwargs", "extra_body"), ()),
    **dict.fromkeys(("provider", "models", "route", "transforms", "plugins", "typical_p", "top_a", "min_tokens", "ignore_eos"), ()),
}
"""Fields of OpenAI's API and of compatible servers that only the operator may set, in a target's `body`: they concern the account at the
provider or a single provider. They are not sent, and listed as omitted → their harmless values.
"""
UNSENT: dict[str, Harmless] = {
    **dict.fromkeys(("completions", "text_completion"), ACCOUNT),
    "responses": responses_api.UNSENT,
    "messages": anthropic_api.UNSENT,
}
"""API → its fields that are not sent to a target, as in ACCOUNT."""


def brought(fields: Mapping[str, Json]) -> tuple[tuple[ToolSpec, ...], Choice]:
    """Return the tools that a client of OpenAI's API brings, and its tool choice. BadAsk if invalid, or for an unserved field."""
    if not MEANT.keys().isdisjoint(fields):
        refuse_unserved(fields, MEANT)
    if "tools" not in fields and "tool_choice" not in fields:
        return (), AUTO
    own = client_tools.tools(fields.get("tools"), _tool)
    return own, client_tools.choice(fields.get("tool_choice"), own, nested=True)


def of_page(fields: Mapping[str, Json]) -> tuple[tuple[ToolSpec, ...], Choice]:
    """Return the tools that a request to /api/chat brings, and its tool choice; no tools and `auto` if `tools` holds no objects.

    Both the forms of OpenAI and of the AI SDK are read. BadAsk if one is invalid.
    """
    given = fields.get("tools")
    if mapping(given) is not None:
        own = client_tools.named(given)
    elif any(mapping(one) is not None for one in listing(given) or ()):
        own = client_tools.tools(given, _tool)
    else:
        return (), AUTO
    if (wanted := fields.get("toolChoice")) is not None:
        chosen = mapping(wanted) or {}
        if chosen.get("type") == "tool":  # as the AI SDK names one
            wanted = {"type": "function", "name": chosen.get("toolName")}
        return own, client_tools.choice(wanted, own, nested=False)
    return own, client_tools.choice(fields.get("tool_choice"), own, nested=True)


def permitted(ask: Ask, refused: Collection[str]) -> Ask:
    """Return the question unchanged. BadAsk if it has tools or system messages that its route refuses. `refused`: `Route.refuse`."""
    if "tools" in refused and ask.tools:
        raise BadAsk("tools: this model takes no tools of its clients.")
    if "system" in refused and any(message.role == "system" for message in ask.messages):
        raise BadAsk("system: this model takes no system messages or instructions of its clients.")
    return ask


def _tool(value: Json, path: str) -> ToolSpec:
    fields = mapping(value) or {}
    function = mapping(fields.get("function"))
    if fields.get("type") != "function" or function is None:
        raise BadAsk(f"{path}: a function is needed; tools of other kinds are not served here.")
    return client_tools.function(function, f"{path}.function")
