"""A body's messages, in the form of any client we know → our own.

    {role, content}                            the seed's, and whoever writes a body by hand
    content parts, tool_calls, role: tool      OpenAI's
    parts, toolInvocations, attachments        AI SDK 4's
    parts with tool-<name>, file, step-start   AI SDK 5, 6 and 7's UI messages

A part's kind says how it is read, in one table for each side; what is not said to a model is passed over, what we cannot
read is refused with its place.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from router.chat import (
    ESCAPED,
    Call,
    File,
    Json,
    JsonObject,
    Message,
    Part,
    Result,
    Role,
    crowded,
    deeper,
    finite,
    mended,
    no_constant,
    repaired,
)
from router.errors import BadAsk, TooLarge
from router.intake import reasoning
from router.intake.fields import Fields, listing, mapping, text
from router.intake.files import audio, document, file, image
from router.value import replace

MAX_PARTS = 1000
"""Parts of one message."""
MAX_CALLS = 128
"""Tool calls of one message."""
MAX_DEPTH = 64
"""Levels of nesting in a call's arguments: they are a text to the body's own bound."""
RAW = "raw"
"""The name under which arguments that are no object are told to a model again."""
APPROVAL = re.compile(r"apr_[A-Za-z0-9._-]{1,200}")
"""The id of an approval that a route asked for; `cache/approvals.py` checks it."""
MAX_NAME = 64
"""Characters of a speaker's name."""
MAX_VALUES = 50_000
"""JSON values in a call's arguments: as a text they are one value of the body."""
PLAIN: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Role of a message in a body → role of ours."""
DENIED = "The user did not allow this tool to run."


def conversation(fields: Fields) -> Json:
    """A body's messages, not yet read; a chatbot whose server keeps the history sends just the last one, as `message`."""
    alone = fields.get("message")
    return [alone] if fields.get("messages") is None and alone is not None else fields.get("messages")


def messages(value: Json, most: int) -> tuple[Message, ...]:
    """The conversation. BadAsk says which message, and which part of it."""
    listed = listing(value)
    if not listed:
        raise BadAsk("messages: a list with at least one message is needed.")
    if len(listed) > most:
        raise TooLarge(f"messages: {most} at most.")
    made: list[Message] = []
    alike = True
    for index, one in enumerate(listed):
        if (plain := _plain(one)) is not None:
            made.append(plain)
        else:
            alike = False
            made += _called_so(one, f"messages[{index}]")
    if not made:
        raise BadAsk("messages: there is nothing in them that can be said to a model.")
    return tuple(made if alike else _with_names(made))


def _plain(value: Json) -> Message | None:
    """A message of a speaker and a text alone, as most are; None for all others, and for what is to be refused or left out."""
    if not isinstance(value, dict) or len(value) != 2:
        return None
    said, content = value.get("role"), value.get("content")
    if not content or not isinstance(content, str) or not isinstance(said, str) or (role := PLAIN.get(said)) is None:
        return None
    return Message(role, (content if content.isascii() else repaired(content),))


def _with_names(found: Sequence[Message]) -> Iterator[Message]:
    """The messages with the tool's name in each result: OpenAI's results bear only the id of their call."""
    names = {call.call_id: call.name for message in found for call in message.calls}
    for message in found:
        if any(not result.name for result in message.results):
            parts = [replace(one, name=one.name or names.get(one.call_id, "")) if isinstance(one, Result) else one for one in message.parts]
            yield Message(message.role, tuple(parts))
        else:
            yield message


def _called_so(value: Json, path: str) -> Iterator[Message]:
    """A message with the name of its speaker, where it has one."""
    name = (mapping(value) or {}).get("name")
    called = repaired(name)[:MAX_NAME] if isinstance(name, str) else ""
    for made in _message(value, path):
        yield replace(made, name=called) if called and made.role != "tool" else made


def _message(value: Json, path: str) -> Iterator[Message]:
    fields = mapping(value)
    if fields is None:
        raise BadAsk(f"{path}: an object is needed.")
    match fields.get("role"):
        case "system" | "developer":
            parts = list(_read(fields, path, SAID))
            if not all(isinstance(part, str) for part in parts):
                raise BadAsk(f"{path}: a system message is text; files stand in messages of the user and of tools.")
            joined = "".join(part for part in parts if isinstance(part, str))
            yield Message("system", (joined,) if joined else ())
        case "user":
            attached = _attachments(fields.get("experimental_attachments"), f"{path}.experimental_attachments")
            yield Message("user", (*_read(fields, path, SAID), *attached))
        case "assistant":
            yield from _answer(fields, path)
        case "tool":
            parts = list(_read(fields, path, SAID))
            joined = "".join(part for part in parts if isinstance(part, str))
            files = tuple(part for part in parts if isinstance(part, File))
            yield Message("tool", (Result(text(fields.get("tool_call_id"), f"{path}.tool_call_id"), "", joined, files=files),))
        case _:
            raise BadAsk(f"{path}.role: one of system, developer, user, assistant, tool is needed.")


def _parts(fields: Fields, path: str) -> Iterator[tuple[Fields, str, str]]:
    """The parts of a message: (part, its kind, its place). A plain text is one part."""
    name = "parts" if fields.get("parts") else "content"
    held = fields.get(name)
    if isinstance(held, str):
        yield {"text": held}, "text", f"{path}.{name}"
        return
    if held is None and (fields.get("role") in ("assistant", "tool") or fields.get("parts") == []):
        return  # an assistant that only called, or said nothing; a tool that gave nothing
    yield from listed_parts(held, f"{path}.{name}", None, "parts")


def listed_parts(value: Json, path: str, kinds: Collection[str] | None, noun: str) -> Iterator[tuple[Fields, str, str]]:
    """Yield the objects of a list of parts: (part, its type, its place). `kinds`: the types that are served; None leaves that to the caller.

    BadAsk if it is not a list of objects of these types, TooLarge if it is too long.
    """
    listed = listing(value)
    if listed is None:
        raise BadAsk(f"{path}: a text or a list of {noun} is needed.")
    if len(listed) > MAX_PARTS:
        raise TooLarge(f"{path}: {MAX_PARTS} {noun} at most.")
    for index, one in enumerate(listed):
        part, place = mapping(one) or {}, f"{path}[{index}]"
        kind = part.get("type")
        if not isinstance(kind, str) or (kinds is not None and kind not in kinds):
            wanted = "an object with a type" if kinds is None else f"one of {', '.join(kinds)}"
            raise BadAsk(f"{place}{'' if kinds is None else '.type'}: {wanted} is needed.")
        yield part, kind, place


Reader = Callable[[Fields, str], Part | None]
"""A part and its place → the content for the model; None where there is none."""


def _read(fields: Fields, path: str, readers: Mapping[str, Reader]) -> Iterator[Part]:
    """Return the contents of a message's parts, without empty ones."""
    for part, kind, place in _parts(fields, path):
        reader = readers.get(kind) or (_unsaid if kind.startswith("data-") else None)
        if reader is None:
            raise BadAsk(f"{place}.type: one of {', '.join(readers)} is needed.")
        if read := reader(part, place):
            yield read


def _text(part: Fields, path: str) -> str:
    return text(part.get("text"), f"{path}.text")


def _refusal(part: Fields, path: str) -> str:
    return text(part.get("refusal"), f"{path}.refusal")


def _unsaid(_: Fields, __: str) -> None:
    """A part that is for the page, not for a model."""


def _attachments(value: Json, path: str) -> list[Part]:
    """AI SDK 4's attachments of a user's message."""
    if value is None:
        return []
    found = [mapping(one) or {} for one in _bounded(value, MAX_PARTS, f"{path}: a list of attachments")]
    return [file(one.get("url"), one.get("contentType"), one.get("name"), f"{path}[{index}]") for index, one in enumerate(found)]


def _bounded(value: Json, most: int, what: str) -> Sequence[Json]:
    """A list, no longer than that."""
    listed = listing(value)
    if listed is None or len(listed) > most:
        raise BadAsk(f"{what} is needed, {most} at most.")
    return listed


SAID: dict[str, Reader] = {
    "text": _text,
    "image_url": image,
    "file": document,
    "input_audio": audio,
    "refusal": _refusal,
    "step-start": _unsaid,
}
"""Parts of what a user, a system or a tool says."""


@dataclass(slots=True)
class AssistantBlock:
    """A model call in an assistant's message: its text, its calls and their results."""

    spoken: list[Part] = field(default_factory=list[Part])
    results: list[Part] = field(default_factory=list[Part])

    def messages(self) -> Iterator[Message]:
        """The assistant's turn, and the results'. Nothing where nothing was said."""
        if spoken := reasoning.settled(self.spoken):
            yield Message("assistant", tuple(spoken))
        if self.results:
            yield Message("tool", tuple(self.results))


def _answer(fields: Fields, path: str) -> Iterator[Message]:
    """An assistant's message, split where a model call began (`step-start`)."""
    block = AssistantBlock()
    if not fields.get("parts"):
        yield from _invocations(fields.get("toolInvocations"), f"{path}.toolInvocations")
    for part, kind, place in _parts(fields, path):
        if kind == "step-start" or (kind in ("text", "reasoning") and block.results):
            # What follows a result was said by the next model call, whether its beginning was kept or not.
            yield from block.messages()
            block = AssistantBlock()
        if kind == "steering-message":
            yield from block.messages()
            block = AssistantBlock()
            yield from _message({"role": "user", "parts": part.get("parts")}, place)
        elif kind == "reasoning":
            block.spoken += reasoning.of_part(part)
        elif kind in ("text", "refusal"):
            if said := SAID[kind](part, place):
                block.spoken.append(said)
        elif kind == "tool-invocation":
            _invocation(part.get("toolInvocation"), block, f"{place}.toolInvocation")
        elif kind == "dynamic-tool" or kind.startswith("tool-"):
            name = text(part.get("toolName"), f"{place}.toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
            _tool(part, name, block, place)
        elif kind not in UNSAID and not kind.startswith("data-"):
            raise BadAsk(f"{place}.type: this kind of part is not known here.")
    if fields.get("refusal") is not None and (said := _refusal(fields, path)):
        block.spoken.append(said)
    if fields.get("tool_calls"):
        block.spoken += reasoning.of_message(fields, path)
    block.spoken += _calls(fields.get("tool_calls"), f"{path}.tool_calls")
    yield from block.messages()


UNSAID = frozenset(
    {"step-start", "reasoning-file", "source", "source-url", "source-document", "file", "image_url", "input_audio", "custom"}
)
"""Parts of an assistant's message that are not said to a model again."""


STATES = (
    *("input-streaming", "input-available", "output-available", "output-error"),
    *("approval-requested", "approval-responded", "output-denied"),
)
"""States of a tool part of a UI message: the last three since AI SDK 6."""


def _tool(part: Fields, name: str, block: AssistantBlock, path: str) -> None:
    """A tool part of a UI message: the call and its result. A call that nobody answered is left out."""
    call_id = text(part.get("toolCallId"), f"{path}.toolCallId")
    if part.get("providerExecuted") is True:
        return
    approved = mapping(part.get("approval")) or {}
    match part.get("state"):
        case "output-available" if part.get("preliminary") is True:
            return  # the tool still ran when the page lost the answer
        case "output-available":
            result = Result(call_id, name, part.get("output"))
        case "output-error":
            result = Result(call_id, name, text(part.get("errorText"), f"{path}.errorText"), is_error=True)
        case "output-denied":
            result = _denied(call_id, name, approved)
        case "approval-responded" if approved.get("approved") is not True:
            result = _denied(call_id, name, approved)
        case "approval-responded" if isinstance(allowed := approved.get("id"), str) and APPROVAL.fullmatch(allowed):
            result = None  # the tool loop runs it, if it was asked about, and else says that it did not
        case "input-streaming" | "input-available" | "approval-requested" | "approval-responded":
            return  # nobody answered it, or the page's own server asked: the model calls it again, and it runs here
        case _:
            raise BadAsk(f"{path}.state: this state is not known here.")
    block.spoken += reasoning.of_tool(part, call_id)
    approval = cast("str", approved["id"]) if result is None else ""
    block.spoken.append(Call(call_id, name, mapping(part.get("input", part.get("rawInput"))) or {}, approval))
    if result is not None:
        block.results.append(result)


def _denied(call_id: str, name: str, approval: Fields) -> Result:
    reason = approval.get("reason")
    return Result(call_id, name, f"{DENIED} {repaired(reason)}" if isinstance(reason, str) and reason else DENIED, is_error=True)


def _invocations(value: Json, path: str) -> Iterator[Message]:
    """AI SDK 4's tool invocations beside a message without parts: a block for each step."""
    if value is None:
        return
    blocks: dict[int, AssistantBlock] = {}
    for index, one in enumerate(_bounded(value, MAX_CALLS, f"{path}: a list of invocations")):
        step = (mapping(one) or {}).get("step")
        _invocation(one, blocks.setdefault(step if isinstance(step, int) else 0, AssistantBlock()), f"{path}[{index}]")
    for block in blocks.values():
        yield from block.messages()


def _invocation(value: Json, block: AssistantBlock, path: str) -> None:
    """Read a tool invocation of AI SDK 4. Without a result it is left out; its client keeps our `isError` beside the result."""
    fields = mapping(value) or {}
    call_id, name = text(fields.get("toolCallId"), f"{path}.toolCallId"), text(fields.get("toolName"), f"{path}.toolName")
    if fields.get("state") != "result":
        return
    block.spoken.append(Call(call_id, name, mapping(fields.get("args")) or {}))
    block.results.append(Result(call_id, name, fields.get("result"), is_error=fields.get("isError") is True))


def _calls(value: Json, path: str) -> list[Part]:
    """OpenAI's tool calls."""
    if value is None:
        return []
    listed = enumerate(_bounded(value, MAX_CALLS, f"{path}: a list of calls"))
    return [part for index, one in listed for part in _call(one, f"{path}[{index}]")]


def _call(value: Json, path: str) -> Iterator[Part]:
    fields = mapping(value) or {}
    made = call(fields, path)
    yield from reasoning.of_call(fields, path, made)
    yield made


def call(fields: Fields, path: str) -> Call:
    """A call, as OpenAI's chat completions and AG-UI write it: {id, function: {name, arguments}}."""
    function = mapping(fields.get("function"))
    if function is None:
        raise BadAsk(f"{path}.function: an object is needed.")
    given = called(text(function.get("arguments"), f"{path}.function.arguments"))
    return Call(text(fields.get("id"), f"{path}.id"), text(function.get("name"), f"{path}.function.name"), given)


def called(written: str) -> JsonObject:
    """The arguments of a call, as OpenAI's APIs write them: a JSON text."""
    try:
        crowd = crowded(written.encode("utf-8", "surrogatepass"), MAX_VALUES)
        given: object = None if crowd else json.loads(written or "{}", parse_float=finite, parse_constant=no_constant)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or deeper(cast("object", given), MAX_DEPTH):
        # Some model wrote this, and was given to the client as it is. Providers that want an object get one; the result beside it says
        # what was wrong.
        given = {RAW: written}
    if ESCAPED.search(written):
        given = mended(cast("Json", given))
    return cast("JsonObject", given)
