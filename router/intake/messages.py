"""Reading the messages of a chat request, in the form of any supported client, into internal messages.

    {role, content}                            the plain form, and bodies written by hand
    content parts, tool_calls, role: tool      OpenAI's
    parts, toolInvocations, attachments        AI SDK 4's
    parts with tool-<name>, file, step-start   AI SDK 5, 6 and 7's UI messages

The type of a part selects its reader, in one table for each role. Parts that are not meant for a model are skipped, an
unknown part is refused, naming its path.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import cast

from router import chat
from router.chat import ESCAPED, Call, File, Json, Message, Part, Result, Role, crowded, deeper, finite, mended, no_constant, repaired
from router.errors import BadAsk, TooLarge
from router.intake import reasoning
from router.intake.fields import Fields, filled, listing, mapping, needed, refusal_of, text, text_of
from router.intake.files import audio, document, file, image
from router.value import Mutable, field, replace

MAX_PARTS = 1000
"""The most parts of one message."""
MAX_CALLS = 128
"""The most tool calls of one message."""
MAX_DEPTH = 64
"""The most levels of nesting in a call's arguments, which the body's own bound sees as one text."""
RAW = "raw"
"""Key of arguments that are not a JSON object: they are sent to the model as `{"raw": text}`."""
APPROVAL = re.compile(r"apr_[A-Za-z0-9._-]{1,200}")
"""Form of an approval id that this router issued; `cache/approvals.py` verifies the id."""
MAX_NAME = 64
"""The most characters of a speaker's name."""
MAX_VALUES = 50_000
"""The most JSON values in a call's arguments, which the body's own bound counts as one text."""
PLAIN: dict[object, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Role of a message in a body → internal role."""
DENIED = "The user did not allow this tool to run."


def conversation(fields: Fields) -> Json:
    """Return a body's messages, unchecked: `messages`, else a list of the `message` of a chatbot that keeps the history, else None."""
    said = fields.get("messages")
    return [alone] if said is None and (alone := fields.get("message")) is not None else said


def messages(value: Json, most: int) -> tuple[Message, ...]:
    """Return the conversation in a list of messages, which may be in OpenAI's form or in that of any AI SDK from 4 on.

    BadAsk names the message and part that cannot be read. An empty list is a BadAsk, too, and one that leaves nothing for a model to read.
    TooLarge for more than `most` messages.
    """
    given = filled(value, "messages", most)
    plain = tuple(map(_plain, given))
    if all(plain):
        return chat.TextMessages(cast("tuple[Message, ...]", plain))
    made: list[Message] = []
    for index, (one, alone) in enumerate(zip(given, plain, strict=True)):
        name = (mapping(one) or {}).get("name")
        made += (alone,) if alone else [of_speaker(name, said) for said in _message(one, f"messages[{index}]")]
    if not made:
        raise BadAsk("messages: there is nothing in them that can be said to a model.")
    return tuple(_with_names(made))


def _plain(value: Json) -> Message | None:
    """Return a message that has only a role and a non-empty text, as most do; None for every other."""
    if not isinstance(value, dict) or len(value) != 2:
        return None
    try:
        role, content = PLAIN[value["role"]], value["content"]
    except (KeyError, TypeError):  # another role, or none that is a text
        return None
    if type(content) is not str or not content:
        return None
    return Message(role, (content if content.isascii() else repaired(content),))


def _with_names(found: Sequence[Message]) -> Iterator[Message]:
    """Yield the messages with the tool's name in each result, if its call is there: OpenAI's results have only the id of the call."""
    names = {call.call_id: call.name for message in found for call in message.calls}
    for message in found:
        if any(not result.name for result in message.results):
            parts = [replace(one, name=one.name or names.get(one.call_id, "")) if isinstance(one, Result) else one for one in message.parts]
            yield Message(message.role, tuple(parts))
        else:
            yield message


def of_speaker(name: Json, message: Message) -> Message:
    """Return the message with the name of its speaker, if that is a text; a tool's message unchanged."""
    return replace(message, name=repaired(name)[:MAX_NAME]) if isinstance(name, str) and name and message.role != "tool" else message


def _message(value: Json, path: str) -> Iterator[Message]:
    fields = needed(value, path)
    match fields.get("role"):
        case "system" | "developer":
            joined = "".join(texts(_read(fields, path), path))
            yield Message("system", (joined,) if joined else ())
        case "user":
            attached = _attachments(fields.get("experimental_attachments"), f"{path}.experimental_attachments")
            yield Message("user", (*_read(fields, path), *attached))
        case "assistant":
            yield from _answer(fields, path)
        case "tool":
            parts = list(_read(fields, path))
            yield Message("tool", (result(text(fields.get("tool_call_id"), f"{path}.tool_call_id"), "", parts),))
        case _:
            raise BadAsk(f"{path}.role: one of system, developer, user, assistant, tool is needed.")


def texts(parts: Iterable[Part], path: str) -> Iterator[str]:
    """Yield the parts of a system message, which are texts. BadAsk for a file."""
    for part in parts:
        if not isinstance(part, str):
            raise BadAsk(f"{path}: a system message is text; files stand in messages of the user and of tools.")
        yield part


def result(call_id: str, name: str, parts: Iterable[Part], *, is_error: bool = False) -> Result:
    """Return a tool's result of these parts: their texts, joined, and their files."""
    given = list(parts)
    joined = "".join(part for part in given if isinstance(part, str))
    return Result(call_id, name, joined, is_error=is_error, files=tuple(part for part in given if isinstance(part, File)))


def _parts(fields: Fields, path: str) -> Iterator[tuple[Fields, str, str]]:
    """Yield the parts of a message: (part, its type, its path). A plain text is one part; an answer or a result may have none."""
    name = "parts" if fields.get("parts") else "content"
    held = fields.get(name)
    if isinstance(held, str):
        yield {"text": held}, "text", f"{path}.{name}"
    elif held is not None or (fields.get("role") not in ("assistant", "tool") and fields.get("parts") != []):
        yield from listed_parts(held, f"{path}.{name}", None, "parts")


def listed_parts(value: Json, path: str, kinds: Collection[str] | None, noun: str) -> Iterator[tuple[Fields, str, str]]:
    """Yield the objects of a list of parts: (part, its type, its path). `noun`: the word for parts in the sentences of errors.

    BadAsk if it is not a list of objects whose type is one of `kinds` (None for any), TooLarge if it has more than MAX_PARTS.
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


def contents(value: Json, path: str, readers: Mapping[str, Callable[[Fields, str], Part]]) -> Iterator[Part]:
    """Yield the parts of a content, without empty ones, as `readers` read each type. A plain text is one part. BadAsk for other types."""
    if isinstance(value, str):
        if value:
            yield repaired(value)
        return
    for part, kind, place in listed_parts(value, path, readers, "parts"):
        if said := readers[kind](part, place):
            yield said


def _read(fields: Fields, path: str) -> Iterator[Part]:
    """Yield the contents of a message's parts, without empty ones and those of a type `data-…`. BadAsk for a type that is not in SAID."""
    for part, kind, place in _parts(fields, path):
        if kind in SAID:
            if read := SAID[kind](part, place):
                yield read
        elif not kind.startswith("data-"):
            raise BadAsk(f"{place}.type: one of {', '.join(SAID)} is needed.")


def _attachments(value: Json, path: str) -> list[Part]:
    """Return the attachments of a user's message of AI SDK 4 as parts; an empty list if there are none. BadAsk for an invalid one."""
    found = [mapping(one) or {} for one in _bounded(value, MAX_PARTS, f"{path}: a list of attachments")]
    return [file(one.get("url"), one.get("contentType"), one.get("name"), f"{path}[{index}]") for index, one in enumerate(found)]


def _bounded(value: Json, most: int, what: str) -> Sequence[Json]:
    """Return the value if it is a list of at most `most` values, an empty list for null; else raise BadAsk. `what`: it, in a sentence."""
    listed = listing([] if value is None else value)
    if listed is None or len(listed) > most:
        raise BadAsk(f"{what} is needed, {most} at most.")
    return listed


SAID: dict[str, Callable[[Fields, str], Part]] = {
    "text": text_of,
    "image_url": image,
    "file": document,
    "input_audio": audio,
    "refusal": refusal_of,
    "step-start": lambda _, __: "",  # for the front end, not for a model
}
"""Type of a part in a user, system or tool message → its reader."""


class AssistantBlock(Mutable):
    """The part of an assistant's message that one model call produced: its text, its tool calls and their results."""

    spoken: list[Part] = field(default_factory=list[Part])
    results: list[Part] = field(default_factory=list[Part])

    def messages(self) -> Iterator[Message]:
        """Yield the assistant message and the tool message of the block, each only if it has content."""
        if spoken := reasoning.settled(self.spoken):
            yield Message("assistant", tuple(spoken))
        if self.results:
            yield Message("tool", tuple(self.results))


def _answer(fields: Fields, path: str) -> Iterator[Message]:
    """Yield the messages of an assistant's message, split wherever a new model call began.

    That is at each `step-start`, and at text or reasoning after a tool result. A `steering-message` part becomes a user's message.
    """
    block = AssistantBlock()
    if not fields.get("parts"):
        yield from _invocations(fields.get("toolInvocations"), f"{path}.toolInvocations")
    for part, kind, place in _parts(fields, path):
        if kind in ("step-start", "steering-message") or (kind in ("text", "reasoning") and block.results):
            # What follows a result was said by the next model call, whether its beginning was kept or not.
            yield from block.messages()
            block = AssistantBlock()
        if kind == "steering-message":
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
    if fields.get("refusal") is not None and (said := refusal_of(fields, path)):
        block.spoken.append(said)
    if fields.get("tool_calls"):
        block.spoken += reasoning.of_message(fields, path)
    block.spoken += _calls(fields.get("tool_calls"), f"{path}.tool_calls")
    yield from block.messages()


APPROVALS = ("approval-requested", "approval-responded", "output-denied")
"""States of a tool part of a UI message since AI SDK 6."""
UNSAID = frozenset(
    {"step-start", "reasoning-file", "source", "source-url", "source-document", "file", "image_url", "input_audio", "custom"}
)
"""Types of parts in an assistant's message that are not sent to a model again."""
STATES = ("input-streaming", "input-available", "output-available", "output-error", *APPROVALS)
"""States of a tool part of a UI message."""


def _tool(part: Fields, name: str, block: AssistantBlock, path: str) -> None:
    """Add the tool part of a UI message to its block: the call with its result, or the call alone if the user approved it.

    A call with neither result nor decision is left out, and so is one that a provider ran, or one with an approval of another server.
    A denied call has an error as its result.
    """
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
    """Yield the messages of AI SDK 4's tool invocations beside a message without parts: a block for each step."""
    blocks: dict[int, AssistantBlock] = {}
    for index, one in enumerate(_bounded(value, MAX_CALLS, f"{path}: a list of invocations")):
        step = (mapping(one) or {}).get("step")
        _invocation(one, blocks.setdefault(step if isinstance(step, int) else 0, AssistantBlock()), f"{path}[{index}]")
    for block in blocks.values():
        yield from block.messages()


def _invocation(value: Json, block: AssistantBlock, path: str) -> None:
    """Add a call of AI SDK 4 with its result to its block; nothing without a result. `isError` in it is this router's own key."""
    fields = mapping(value) or {}
    call_id, name = text(fields.get("toolCallId"), f"{path}.toolCallId"), text(fields.get("toolName"), f"{path}.toolName")
    if fields.get("state") != "result":
        return
    block.spoken.append(Call(call_id, name, mapping(fields.get("args")) or {}))
    block.results.append(Result(call_id, name, fields.get("result"), is_error=fields.get("isError") is True))


def _calls(value: Json, path: str) -> list[Part]:
    """Return OpenAI's tool calls of a message, each after its reasoning state if it has any; an empty list if there are none."""
    parts: list[Part] = []
    for index, one in enumerate(_bounded(value, MAX_CALLS, f"{path}: a list of calls")):
        fields, place = mapping(one) or {}, f"{path}[{index}]"
        made = call(fields, place)
        parts += (*reasoning.of_call(fields, place, made), made)
    return parts


def call(fields: Fields, path: str) -> Call:
    """Return a tool call of OpenAI's chat completions or of AG-UI: {id, function: {name, arguments}}. BadAsk if a field is missing."""
    function = needed(fields.get("function"), f"{path}.function")
    given = called(text(function.get("arguments"), f"{path}.function.arguments"))
    return Call(text(fields.get("id"), f"{path}.id"), text(function.get("name"), f"{path}.function.name"), given)


def called(written: str) -> Fields:
    """Return the arguments in a JSON text; `{}` if it is empty, `{"raw": text}` if it is no object within MAX_VALUES and MAX_DEPTH."""
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
    return cast("Fields", given)
