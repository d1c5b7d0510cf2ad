"""Reading a request of Anthropic's Messages API into a question.

    {model, max_tokens, system, messages: [{role, content: text or blocks}], tools, tool_choice, thinking, output_config, stop_sequences, …}

Each kind of content block is read by one function, in one table for each role. An unsupported field is refused, naming it: an answer
that ignores it would look right. Source: Anthropic's reference of the Messages API.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast, get_args

from router.chat import Call, Choice, File, Json, Message, OutputFormat, Part, ReasoningState, Result, ToolSpec, mended, repaired
from router.errors import BadAsk
from router.intake import reasoning
from router.intake.client_tools import SCHEMA, Harmless, refuse_unserved, tool_name, tools, typed_choice
from router.intake.fields import Fields, filled, listing, mapping, needed, text, text_of
from router.intake.files import file, held
from router.intake.messages import listed_parts, result
from router.intake.output import text_format
from router.params import Effort

SAMPLED = ("temperature", "top_p", "top_k", "max_tokens")
"""Sampling parameters that chat completions have by the same name."""
EFFORTS: frozenset[str] = frozenset(get_args(Effort))
BUDGETS: list[tuple[float, Effort]] = [(2_048, "low"), (10_000, "medium"), (24_000, "high"), (math.inf, "xhigh")]
"""(largest thinking budget in tokens, the effort that a budget up to it is converted to), in rising order."""
CHARACTERS = 4
"""Characters of a token, on average."""
FILE_TOKENS = 1_600
"""The most tokens of an image (Anthropic's guide to vision); for a document, of about one page."""


def messages(fields: Fields, most: int) -> tuple[Message, ...]:
    """Return the conversation, the system prompt first. BadAsk names what cannot be read; TooLarge for more than `most` messages."""
    listed = filled(fields.get("messages"), "messages", most)
    prompt = _joined_text(fields.get("system"), "system")
    made = [Message("system", (prompt,))] if prompt else []
    names: dict[str, str] = {}
    for index, one in enumerate(listed):
        for message in _message(one, f"messages[{index}]", names):
            names |= {call.call_id: call.name for call in message.calls}
            made.append(message)
    return tuple(made)


def _joined_text(value: Json, path: str) -> str:
    """Return a text, or the texts of a list of text blocks, joined by blank lines; an empty text for null. BadAsk for other blocks."""
    if value is None or isinstance(value, str):
        return repaired(value or "")
    return "\n\n".join(text_of(block, place) for block, _, place in _blocks(value, path, ("text",)))


def _message(value: Json, path: str, names: Mapping[str, str]) -> Iterator[Message]:
    fields = mapping(value) or {}
    content, place = fields.get("content"), f"{path}.content"
    match fields.get("role"):
        case "user":
            yield from _asked(content, place, names)
        case "assistant":
            if parts := _answered(content, place):
                yield Message("assistant", tuple(parts))
        case "system":
            yield Message("system", (_joined_text(content, place),))
        case _:
            raise BadAsk(f"{path}.role: one of user, assistant, system is needed.")


def _blocks(value: Json, path: str, kinds: Sequence[str]) -> Iterator[tuple[Fields, str, str]]:
    """Yield the blocks of a content: (block, its type, its path). A plain text is one block. BadAsk for a type that is not in `kinds`."""
    if isinstance(value, str):
        yield {"type": "text", "text": value}, "text", path
    else:
        yield from listed_parts(value, path, kinds, "blocks")


def _asked(value: Json, path: str, names: Mapping[str, str]) -> Iterator[Message]:
    """Yield the user's message, after a message of the tool results in it, if there are any. `names`: id of a call → its tool."""
    said: list[Part] = []
    results: list[Part] = []
    for block, kind, place in _blocks(value, path, (*SAID, "tool_result")):
        if kind == "tool_result":
            results.append(_result(block, place, names))
        elif part := SAID[kind](block, place):
            said.append(part)
    if results:
        yield Message("tool", tuple(results))
    if said or not results:
        yield Message("user", tuple(said))


def _result(block: Fields, path: str, names: Mapping[str, str]) -> Result:
    call_id, content = text(block.get("tool_use_id"), f"{path}.tool_use_id"), block.get("content")
    given = _blocks([] if content is None else content, f"{path}.content", tuple(SAID))
    parts = (SAID[kind](inner, place) for inner, kind, place in given)
    return result(call_id, names.get(call_id, ""), parts, is_error=block.get("is_error") is True)


def _answered(value: Json, path: str) -> list[Part]:
    """Return the parts of an assistant's message, without empty text and unsigned thinking; without a call, also without thinking."""
    parts: list[Part] = []
    for block, kind, place in _blocks(value, path, ("text", "thinking", "redacted_thinking", "tool_use")):
        match kind:
            case "text":
                if said := text_of(block, place):
                    parts.append(said)
            case "tool_use":
                name, call_id = text(block.get("name"), f"{place}.name"), text(block.get("id"), f"{place}.id")
                given = mended(needed(block.get("input"), f"{place}.input"))
                parts.append(Call(call_id, name, cast("Fields", given)))
            case "thinking":  # without a signature it is the router's own
                parts += reasoning.signed(block.get("thinking"), block.get("signature"))
            case _:
                parts += reasoning.redacted(block.get("data"))
    if not any(isinstance(part, Call) for part in parts):
        return [part for part in parts if not isinstance(part, ReasoningState)]
    return parts


def _file(block: Fields, path: str) -> Part:
    """Return an image or a document as a part: what `file` returns, or the text of a source of text or blocks. BadAsk for other sources."""
    source = mapping(block.get("source")) or {}
    name, place = block.get("title"), f"{path}.source"
    match source.get("type"):
        case "base64":
            kind, data = text(source.get("media_type"), f"{place}.media_type"), text(source.get("data"), f"{place}.data")
            return held(kind, data, name, place)
        case "url":
            return file(source.get("url"), "application/pdf" if block.get("type") == "document" else None, name, place)
        case "text":
            joined = text(source.get("data"), f"{place}.data")
            return f"{repaired(name)}:\n{joined}\n" if isinstance(name, str) and name else joined
        case "content":
            return _joined_text(source.get("content"), f"{place}.content")
        case _:
            raise BadAsk(f"{place}.type: one of base64, url, text, content is needed; files kept by a provider are not served here.")


def _search_result(block: Fields, path: str) -> Part:
    title, source = text(block.get("title"), f"{path}.title"), text(block.get("source"), f"{path}.source")
    return f"{title} ({source}):\n{_joined_text(block.get('content'), f'{path}.content')}\n"


SAID: dict[str, Callable[[Fields, str], Part]] = {"text": text_of, "image": _file, "document": _file, "search_result": _search_result}
"""Type of a block in a user's message or tool result → its reader."""


def sampling(fields: Fields) -> dict[str, Json]:
    """Return the sampling parameters that are given, by OpenAI's names. BadAsk for invalid stop sequences, effort or thinking."""
    given: dict[str, Json] = {name: fields[name] for name in SAMPLED if fields.get(name) is not None}
    if (stop := fields.get("stop_sequences")) is not None:
        listed = listing(stop)
        if listed is None or not all(isinstance(one, str) for one in listed):
            raise BadAsk("stop_sequences: a list of texts is needed.")
        if listed:
            given["stop"] = listed
    if (effort := _effort(fields)) is not None:
        given["reasoning_effort"] = effort
    if (tier := fields.get("service_tier")) is not None:
        given["service_tier"] = "default" if tier == "standard_only" else tier
    if (mapping(fields.get("tool_choice")) or {}).get("disable_parallel_tool_use") is True:
        given["parallel_tool_calls"] = False
    return given


def _effort(fields: Fields) -> Effort | None:
    """Return the reasoning effort: `none` if thinking is disabled, else the stated effort, else the one of the budget, else None.

    BadAsk for an unknown effort or kind of thinking, or a budget that is no number.
    """
    thinking, config = mapping(fields.get("thinking")) or {}, mapping(fields.get("output_config")) or {}
    if thinking.get("type") == "disabled":
        return "none"
    if (effort := config.get("effort")) is not None:
        if not isinstance(effort, str) or effort not in EFFORTS:
            raise BadAsk(f"output_config.effort: one of {', '.join(sorted(EFFORTS))} is needed.")
        return cast("Effort", effort)
    if not thinking or thinking.get("type") == "adaptive":
        return None
    if thinking.get("type") != "enabled":
        raise BadAsk("thinking.type: one of enabled, adaptive, disabled is needed.")
    if not isinstance(budget := thinking.get("budget_tokens"), int):
        raise BadAsk("thinking.budget_tokens: a number of tokens is needed.")
    return next(effort for most, effort in BUDGETS if budget <= most)


def output(fields: Fields) -> OutputFormat | None:
    """Return the format in `output_config.format`, or `output_format` (beta); None without one. BadAsk if it is not a JSON schema."""
    name, value = "output_config.format", (mapping(fields.get("output_config")) or {}).get("format")
    if value is None:
        name, value = "output_format", fields.get("output_format")
    if value is not None and (mapping(value) or {}).get("type") != "json_schema":
        raise BadAsk(f"{name}.type: json_schema is needed.")
    return text_format(value, name)


MEANT: Harmless = {
    "container": (),
    "mcp_servers": ([],),
    "context_management": ({}, {"edits": []}, {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}),
    "compaction": (),
    "thread": (),
    "inference_geo": (),
    "billing_policy": ({"type": "billing_policy", "bill_to": "self"},),
}
"""Fields that change the answer and are not served → their harmless values. Claude Code sends the last one of `context_management`."""
UNSENT: Harmless = {
    "metadata": ({},),
    "speed": ("standard",),
    **dict.fromkeys(("cache_control", "diagnostics", "fallbacks", "fallback_credit_token"), ()),
}
"""Fields about the operator's account at the provider, or hints to it: not sent, and listed as omitted → their harmless values."""


def brought(fields: Fields) -> tuple[tuple[ToolSpec, ...], Choice]:
    """Return the tools that the client brings and runs itself, and its tool choice. BadAsk if invalid, or for an unserved field."""
    refuse_unserved(fields, MEANT)
    own = tools(fields.get("tools"), _tool)
    return own, typed_choice(fields.get("tool_choice"), own, "tool_choice", "any", "name")


def _tool(value: Json, path: str) -> ToolSpec:
    fields = mapping(value) or {}
    if fields.get("type") not in (None, "custom"):
        raise BadAsk(f"{path}.type: tools that a provider runs are not served here; custom ones are.")
    name = tool_name(fields.get("name"), f"{path}.name")
    schema = needed(fields.get("input_schema"), f"{path}.input_schema", SCHEMA)
    return ToolSpec(name, text(fields.get("description") or "", f"{path}.description"), schema)


def estimate(conversation: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
    """Return a rough number of input tokens of a question: one for every four characters, and FILE_TOKENS for each file.

    Messages, tool calls, results and the tools' declarations are counted; at least 1.
    """
    parts = [part for message in conversation for part in message.parts]
    files = sum(isinstance(part, File) for part in parts) + sum(len(part.files) for part in parts if isinstance(part, Result))
    written = sum(len(part) if isinstance(part, str) else len(repr(part)) for part in parts if not isinstance(part, File))
    declared = sum(len(tool.name) + len(tool.description) + len(repr(tool.parameters)) for tool in tools)
    return max(1, -(-(written + declared) // CHARACTERS)) + FILE_TOKENS * files
