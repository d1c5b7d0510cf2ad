"""Reading a request of the AI SDK's gateway protocol into a question.

    {prompt: [{role, content}], tools, toolChoice, responseFormat, reasoning, maxOutputTokens, temperature, …}

Headers have the model, the version of the protocol and whether the answer is streamed. `providerOptions` are for the providers behind a
gateway: they are dropped, but for those named `router`, which are values for the route's template. An unsupported field is refused, naming
it. Source: LanguageModelV2CallOptions to LanguageModelV4CallOptions of @ai-sdk/provider 2 to 4, and what @ai-sdk/gateway sends.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from router.chat import Call, Choice, Json, JsonObject, Message, OutputFormat, Part, Result, ToolSpec, mended
from router.errors import BadAsk
from router.intake import client_tools, reasoning
from router.intake.fields import Fields, filled, mapping, needed, text, text_of
from router.intake.files import file, held
from router.intake.messages import DENIED, RAW, AssistantBlock, listed_parts, result
from router.intake.output import text_format

VERSION = "4"
"""The newest supported version of the specification: that of AI SDK 7."""
VERSIONS = ("2", "3", VERSION)
"""All supported versions: those of AI SDK 5, 6 and 7. They have the same paths and the same errors."""
STREAMED = "ai-language-model-streaming"
MODELS = {"ai-language-model-id": "ai-language-model-specification-version", "ai-model-id": "ai-embedding-model-specification-version"}
"""Header with the model id → header with the version of the specification: of language models, then of embeddings."""
HEADERS = frozenset({STREAMED, *MODELS, *MODELS.values()})
OPTIONS = "router"
"""Key in `providerOptions` of the options for this router."""
SAMPLED = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "stopSequences": "stop",
    "seed": "seed",
    "reasoning": "reasoning_effort",
}
"""Sampling parameter of the protocol → its name in chat completions."""
READ = frozenset({"prompt", "tools", "toolChoice", "responseFormat", "providerOptions", "headers", "includeRawChunks", *SAMPLED})
"""Fields that are read here and therefore not kept in `ask.fields`."""


def stated(headers: Mapping[str, Sequence[str]]) -> JsonObject:
    """Return the fields of the question that headers contain: `model`, `specificationVersion`, `stream`, each if its header is sent.

    A streaming header other than true or false gives "" as `stream`, which is refused later.
    """
    made: dict[str, Json] = {}
    for name, version in MODELS.items():
        if name in headers:
            made["model"] = headers[name][-1]
        if version in headers:
            made["specificationVersion"] = headers[version][-1]
    if STREAMED in headers:
        made["stream"] = {"true": True, "false": False}.get(headers[STREAMED][-1], "")
    return made


def flat(fields: Fields) -> Fields:
    """Return the fields, merged over those of `providerOptions.router`. BadAsk for an unsupported version of the protocol."""
    if (version := fields.get("specificationVersion")) not in VERSIONS:
        given = f", not {version}" if isinstance(version, str) and version.isdigit() and len(version) < 3 else ""
        raise BadAsk(
            f"ai-language-model-specification-version: {', '.join(VERSIONS)} are served here{given}. AI SDK 5, 6 and 7 speak them."
        )
    own = {name: value for name, value in fields.items() if name != "specificationVersion"}
    return {**(mapping((mapping(fields.get("providerOptions")) or {}).get(OPTIONS)) or {}), **own}


def unsent(fields: Fields) -> tuple[str, ...]:
    """Return ("providerOptions",) if it has options of other providers, which are not sent to any target; else an empty tuple."""
    given = mapping(fields.get("providerOptions")) or {}
    return ("providerOptions",) if any(name != OPTIONS and value for name, value in given.items()) else ()


def messages(fields: Fields, most: int) -> tuple[Message, ...]:
    """Return the conversation. BadAsk names the message and part that cannot be read; TooLarge for more than `most` messages."""
    listed = filled(fields.get("prompt"), "prompt", most, of=" messages")
    return tuple(message for index, one in enumerate(listed) for message in _message(mapping(one) or {}, f"prompt[{index}]"))


def _message(fields: Fields, path: str) -> Iterator[Message]:
    content, place = fields.get("content"), f"{path}.content"
    match fields.get("role"):
        case "system":
            yield Message("system", (text(content, place),))
        case "user":
            parts = (SAID[kind](part, at) for part, kind, at in listed_parts(content, place, tuple(SAID), "parts"))
            yield Message("user", tuple(part for part in parts if part))
        case "assistant":
            yield from _answer(content, place)
        case "tool":
            results = listed_parts(content, place, ("tool-result", "tool-approval-response"), "parts")
            if given := tuple(_result(part, at) for part, kind, at in results if kind == "tool-result"):
                yield Message("tool", given)
        case _:
            raise BadAsk(f"{path}.role: one of system, user, assistant, tool is needed.")


def _answer(content: Json, path: str) -> Iterator[Message]:
    """Yield the messages in an assistant's content: what follows the results of tools that the router ran is of the next model call."""
    block = AssistantBlock()
    for part, kind, place in listed_parts(content, path, None, "parts"):
        if kind not in ("tool-result", "file") and block.results:
            yield from block.messages()
            block = AssistantBlock()
        options = part.get("providerOptions")
        match kind:
            case "text":
                if said := text_of(part, place):
                    block.spoken.append(said)
            case "reasoning":
                block.spoken += reasoning.of_part({**part, "providerMetadata": options})
            case "tool-call":
                call_id, name = text(part.get("toolCallId"), f"{place}.toolCallId"), text(part.get("toolName"), f"{place}.toolName")
                given = mended(part.get("input"))
                block.spoken += reasoning.of_tool({"callProviderMetadata": options}, call_id)
                block.spoken.append(Call(call_id, name, given if isinstance(given, Mapping) else {RAW: given}))
            case "tool-result":
                block.results.append(_result(part, place))
            case "file" | "reasoning-file" | "custom":
                pass  # what a model made is not said to a model again
            case _:
                raise BadAsk(f"{place}.type: this kind of part is not known here.")
    yield from block.messages()


def _result(part: Fields, path: str) -> Result:
    call_id, name = text(part.get("toolCallId"), f"{path}.toolCallId"), text(part.get("toolName"), f"{path}.toolName")
    output, place = mapping(part.get("output")) or {}, f"{path}.output"
    value = output.get("value")
    match output.get("type"):
        case "text" | "error-text" as kind:
            return Result(call_id, name, text(value, f"{place}.value"), is_error=kind == "error-text")
        case "json" | "error-json" as kind:
            return Result(call_id, name, mended(value), is_error=kind == "error-json")
        case "execution-denied":
            reason = output.get("reason")
            return Result(call_id, name, f"{DENIED} {text(reason, f'{place}.reason')}" if reason else DENIED, is_error=True)
        case "content":
            parts = (SHOWN[kind](one, at) for one, kind, at in listed_parts(value, f"{place}.value", tuple(SHOWN), "parts"))
            return result(call_id, name, parts)
        case _:
            kinds = "text, json, error-text, error-json, execution-denied, content"
            raise BadAsk(f"{place}.type: one of {kinds} is needed.")


def _file(part: Fields, path: str) -> Part:
    """Return the part that a file becomes: what `file` returns, or the name and text of a text. BadAsk for files kept by a provider."""
    data, place = part.get("data"), f"{path}.data"
    kind, name = text(part.get("mediaType"), f"{path}.mediaType"), part.get("filename")
    if isinstance(data, str):  # before version 4: an address, or base64
        return file(data if ADDRESS.match(data) else f"data:{kind};base64,{data}", kind, name, place)
    data = mapping(data) or {}
    match data.get("type"):
        case "data":
            return held(kind, text(data.get("data"), f"{place}.data"), name, place)
        case "url":
            return file(data.get("url"), kind, name, f"{place}.url")
        case "text":
            joined = text(data.get("text"), f"{place}.text")
            return f"{text(name, f'{path}.filename')}:\n{joined}\n" if name else joined
        case _:
            raise BadAsk(f"{place}.type: one of data, url, text is needed; files kept by a provider are not served here.")


def _file_at(part: Fields, path: str) -> Part:
    return file(part.get("url"), part.get("mediaType"), part.get("filename"), f"{path}.url")


SAID: dict[str, Callable[[Fields, str], Part]] = {"text": text_of, "file": _file}
"""Type of a part in a user's message → its reader."""
SHOWN = {**SAID, **dict.fromkeys(("media", "file-data", "image-data"), _file), **dict.fromkeys(("file-url", "image-url"), _file_at)}
"""Type of a part in a tool's result → its reader, with those of versions before 4."""
ADDRESS = re.compile(r"(data|https?):", re.IGNORECASE)


def sampling(fields: Fields) -> dict[str, Json]:
    """Return the given sampling parameters by the names of chat completions, without `provider-default` and an empty `stop`."""
    given = {ours: fields[name] for name, ours in SAMPLED.items() if fields.get(name) is not None}
    if given.get("reasoning_effort") == "provider-default":
        del given["reasoning_effort"]
    if given.get("stop") == []:
        del given["stop"]
    return given


def output(fields: Fields) -> OutputFormat | None:
    """Return the requested output format: any JSON object, or JSON of a schema; None for any text. BadAsk if it is invalid."""
    given = mapping(fields.get("responseFormat")) or {}
    if given.get("type") != "json":
        return text_format(fields.get("responseFormat"), "responseFormat")
    kind = "json_object" if given.get("schema") is None else "json_schema"
    return text_format({**given, "type": kind}, "responseFormat")


def brought(fields: Fields) -> tuple[tuple[ToolSpec, ...], Choice]:
    """Return the tools that the client brings and runs itself, and its tool choice. BadAsk if one is invalid."""
    own = client_tools.tools(fields.get("tools"), _tool)
    return own, client_tools.typed_choice(fields.get("toolChoice"), own, "toolChoice", "required", "toolName")


def _tool(value: Json, path: str) -> ToolSpec:
    fields = mapping(value) or {}
    if fields.get("type") == "function":
        fields = {**fields, "parameters": needed(fields.get("inputSchema"), f"{path}.inputSchema", client_tools.SCHEMA)}
    return client_tools.served_function(fields, path)
