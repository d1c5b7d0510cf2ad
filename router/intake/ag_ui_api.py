"""Reading an AG-UI request (RunAgentInput) into a question.

    {threadId, runId, messages, tools, context, state, forwardedProps: {model, temperature, …}}

The protocol has no field for a model or for sampling parameters: they are read from `forwardedProps`, by the names of chat completions, and
so are values for the route's template. `context` becomes a system message before the others; `state` is for the template
only. An unsupported field is refused, naming it. Source: the schema of AG-UI 1.0, and @ag-ui/client for what older clients send.
"""

from collections.abc import Callable, Iterator

from router.chat import Choice, Json, JsonObject, Message, Part, ReasoningState, Result, ToolSpec
from router.errors import BadAsk
from router.intake import client_tools, reasoning
from router.intake.client_tools import Harmless, refuse_unserved
from router.intake.fields import Fields, filled, listing, mapping, text, text_of
from router.intake.files import file, held
from router.intake.messages import MAX_CALLS, MAX_PARTS, call, contents, of_speaker, result
from router.value import replace

OF_RUN = ("threadId", "runId", "parentRunId")
"""Fields that identify the run; the answer repeats them."""
READ = frozenset({*OF_RUN, "tools", "tool_choice", "context", "protocolVersion", "resume"})
"""Fields that are read here and therefore not kept in `ask.fields`."""
ROLES = "developer, system, user, assistant, tool, reasoning, activity"
INTERRUPTS: Harmless = {"resume": ([],)}
"""Answers to interrupts of an earlier run, which are not served → the harmless values."""


def flat(fields: Fields) -> Fields:
    """Return the fields merged with those of `forwardedProps`; the protocol's own fields override those."""
    properties = mapping(fields.get("forwardedProps")) or {}
    return {**properties, **{name: value for name, value in fields.items() if name != "forwardedProps"}}


def run(fields: Fields) -> JsonObject:
    """Return the fields that identify the run: `threadId`, `runId` and, if given, `parentRunId`. BadAsk if one is missing or no text."""
    return {name: text(fields.get(name), name) for name in OF_RUN if name != "parentRunId" or fields.get(name) is not None}


def messages(fields: Fields, most: int) -> tuple[Message, ...]:
    """Return the conversation, after a system message with the context. BadAsk names what cannot be read; TooLarge for more than `most`."""
    listed = filled(fields.get("messages"), "messages", most)
    made = list(_context(fields.get("context")))
    conversation = _Conversation()
    for index, one in enumerate(listed):
        made += conversation.take(mapping(one) or {}, f"messages[{index}]")
    return tuple(made)


def _context(value: Json) -> Iterator[Message]:
    """Yield the application's `context` as one system message; nothing if it is empty. BadAsk if it is malformed or too long."""
    listed = listing(value or [])
    if listed is None or len(listed) > MAX_PARTS:
        raise BadAsk(f"context: a list of at most {MAX_PARTS} entries is needed.")
    joined: list[str] = []
    for index, one in enumerate(listed):
        entry, path = mapping(one) or {}, f"context[{index}]"
        joined.append(f"{text(entry.get('description'), f'{path}.description')}:\n{text(entry.get('value'), f'{path}.value')}")
    if joined:
        yield Message("system", ("\n\n".join(joined),))


class _Conversation:
    """The state while messages are read: names of tools by call id, and reasoning that belongs to the next assistant message."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._thoughts: list[Part] = []

    def take(self, fields: Fields, path: str) -> Iterator[Message]:
        """Read one message and yield it with its speaker's name. Reasoning is held for the answer after it; activity yields nothing."""
        if (made := self._read(fields, path)) is not None:
            yield of_speaker(fields.get("name"), made)

    def _read(self, fields: Fields, path: str) -> Message | None:
        match fields.get("role"):
            case "developer" | "system":
                return Message("system", (text(fields.get("content"), f"{path}.content"),))
            case "user":
                self._thoughts = []  # no answer followed them
                return Message("user", tuple(contents(fields.get("content"), f"{path}.content", SAID)))
            case "assistant":
                return self._answer(fields, path)
            case "tool":
                return Message("tool", (self._result(fields, path),))
            case "reasoning":
                if thought := text(fields.get("content"), f"{path}.content"):
                    self._thoughts.append(ReasoningState("", {"reasoning_content": thought}))
                return None
            case "activity":
                return None
            case _:
                raise BadAsk(f"{path}.role: one of {ROLES} is needed.")

    def _answer(self, fields: Fields, path: str) -> Message | None:
        spoken, self._thoughts = self._thoughts, []
        if said := text(fields.get("content") or "", f"{path}.content"):
            spoken.append(said)
        calls = listing(fields.get("toolCalls") or [])
        if calls is None or len(calls) > MAX_CALLS:
            raise BadAsk(f"{path}.toolCalls: a list of at most {MAX_CALLS} calls is needed.")
        for index, one in enumerate(calls):
            made = call(mapping(one) or {}, f"{path}.toolCalls[{index}]")
            self._names[made.call_id] = made.name
            spoken.append(made)
        parts = reasoning.settled(spoken)
        return Message("assistant", tuple(parts)) if parts else None

    def _result(self, fields: Fields, path: str) -> Result:
        """Return a tool's result. It is an error if it has a text in `error`, or `isError` in its metadata, where this router puts it."""
        call_id = text(fields.get("toolCallId"), f"{path}.toolCallId")
        made = result(call_id, self._names.get(call_id, ""), contents(fields.get("content"), f"{path}.content", SAID))
        error = text(fields.get("error") or "", f"{path}.error")
        failed = bool(error) or (mapping(fields.get("metadata")) or {}).get("isError") is True
        return replace(made, value=made.value or error, is_error=failed)


def _media(part: Fields, path: str) -> Part:
    """Return an image, a document or audio as a part, from its data or URL. BadAsk for any other source."""
    source, place = mapping(part.get("source")) or {}, f"{path}.source"
    name = (mapping(part.get("metadata")) or {}).get("filename")
    value = text(source.get("value"), f"{place}.value")
    match source.get("type"):
        case "data":
            return held(text(source.get("mimeType"), f"{place}.mimeType"), value, name, place)
        case "url":
            usual = {"document": "application/pdf", "audio": "audio/*"}.get(str(part.get("type")))
            return file(value, source.get("mimeType") or usual, name, place)
        case _:
            raise BadAsk(f"{place}.type: one of data, url is needed; files kept by a provider are not served here.")


def _binary(part: Fields, path: str) -> Part:
    """Return a file of the type `binary`, which clients before AG-UI 1.0 send."""
    kind, name = text(part.get("mimeType"), f"{path}.mimeType"), part.get("filename")
    if part.get("data") is not None:
        return held(kind, text(part.get("data"), f"{path}.data"), name, path)
    return file(part.get("url"), kind, name, f"{path}.url")


SAID: dict[str, Callable[[Fields, str], Part]] = {
    "text": text_of,
    **dict.fromkeys(("image", "document", "audio"), _media),
    "binary": _binary,
}
"""Type of a part in a user's or tool's message → its reader. Video is not supported."""


def brought(fields: Fields) -> tuple[tuple[ToolSpec, ...], Choice]:
    """Return the tools that the client brings and runs itself, and its tool choice. BadAsk if one is invalid or `resume` is not empty."""
    refuse_unserved(fields, INTERRUPTS)
    own = client_tools.tools(fields.get("tools"), lambda one, path: client_tools.function(mapping(one) or {}, path))
    return own, client_tools.choice(fields.get("tool_choice"), own, nested=True)
