"""Reading a request of OpenAI's Responses API into a question.

    {model, input: a text or items, instructions, tools, tool_choice, reasoning, text, max_output_tokens, metadata, …}

Items are grouped into messages: reasoning, text and calls of the assistant until a result form one message, and the results the
next. An unsupported field is refused, naming it: an answer that ignores it would look right. Source: OpenAI's reference of the
Responses API.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from router.chat import Call, Choice, Json, JsonObject, Message, Part, ReasoningState, Result, ToolSpec, mended, repaired
from router.errors import BadAsk, UnknownResponse
from router.events import Event
from router.intake import client_tools, reasoning
from router.intake.client_tools import Harmless, refuse_unserved
from router.intake.fields import Fields, filled, flag, listing, mapping, needed, refusal_of, text, text_of
from router.intake.files import audio, detailed, file
from router.intake.messages import MAX_PARTS, called, contents, result, texts
from router.value import Value, replace
from router.wire import Heading, compact
from router.wire.responses import output, response_of

MEANT: Harmless = {
    "conversation": (),
    "prompt": (),
    "max_tool_calls": (),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
    "context_management": ([],),
    "moderation": (),
}
"""Fields that change the answer and are not served → their harmless values."""
UNSENT: Harmless = dict.fromkeys(("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"), ())
"""Fields about the operator's account at the provider: not sent, and listed as omitted."""
READ = frozenset({"input", "instructions", "tools", "tool_choice", "reasoning", "text", "max_output_tokens"})
"""Fields that are read here and therefore not kept in `ask.fields`."""
SAMPLED = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "service_tier", "parallel_tool_calls")
REPEATED = (
    *("instructions", "previous_response_id", "max_output_tokens", "metadata", "safety_identifier", "prompt_cache_key", "tool_choice"),
    *SAMPLED,
)
"""Fields that the response repeats unchanged."""
SUMMARIES = (None, "auto", "concise", "detailed")


class KeptResponse(Value, frozen=True):
    """A stored response: its input items as JSON (`asked`; an empty list if they were not asked for), its heading and its events."""

    asked: bytes
    heading: Heading
    events: Sequence[Event]


def stored(fields: Fields) -> bool:
    """Return whether the response is to be stored (`store`, true by default). BadAsk if `store` is neither true nor false."""
    return flag(fields.get("store"), "store", usual=True)


def in_background(fields: Fields) -> bool:
    """Return whether the response is a background one, false by default. BadAsk for a background response that is not stored."""
    background = flag(fields.get("background"), "background")
    if background and not stored(fields):
        raise BadAsk("background: this needs store: true, which is the default: nobody could fetch the response.")
    return background


def referred(fields: Fields) -> frozenset[str]:
    """Return the ids of stored responses that a question continues or takes items from. UnknownResponse for an item of another origin."""
    found = set[str]()
    if (before := fields.get("previous_response_id")) is not None:
        found.add(text(before, "previous_response_id"))
    for index, one in enumerate(listing(fields.get("input")) or ()):
        item = mapping(one) or {}
        if item.get("type") == "item_reference":
            if (named := response_of(text(item.get("id"), f"input[{index}].id"))) is None:
                raise UnknownResponse
            found.add(named)
    return frozenset(found)


def continued(fields: Fields, kept: Mapping[str, KeptResponse]) -> Fields:
    """Return the fields with the complete conversation in `input`. `kept`: id → stored response, for all that `referred` returns.

    The previous response's input and output come first. An item replaces the first reference to it; further references, and references to
    items of the previous response, are dropped. UnknownResponse if there is no such item.
    """
    if not kept:
        return fields
    outputs = {name: output(one.heading, one.events) for name, one in kept.items()}
    items = {str(found["id"]): one for made in outputs.values() for one in made if (found := mapping(one)) is not None}
    given = fields.get("input")
    made: list[Json] = [{"role": "user", "content": given}] if isinstance(given, str) else []
    seen = set[str]()
    if isinstance(before := fields.get("previous_response_id"), str):
        said = outputs[before]
        made = [*json.loads(kept[before].asked), *said, *made]
        seen = {str((mapping(one) or {}).get("id")) for one in said}
    for one in listing(given) or ():
        item = mapping(one) or {}
        if item.get("type") != "item_reference":
            made.append(one)
        elif (named := str(item.get("id"))) not in items:
            raise UnknownResponse
        elif named not in seen:
            seen.add(named)
            made.append(items[named])
    return {**fields, "input": made}


def conversation(fields: Fields) -> bytes:
    """Return the input items of a question, as JSON, to be stored with its response. A plain text becomes one user message."""
    given = fields.get("input")
    items: Json = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return compact(items).encode()


def messages(fields: Fields, most: int) -> tuple[Message, ...]:
    """Return the conversation, the instructions first. BadAsk names what cannot be read; TooLarge for more than `most` items."""
    prompt, given = text(fields.get("instructions") or "", "instructions"), fields.get("input")
    made = [Message("system", (prompt,))] if prompt else []
    if isinstance(given, str):
        return (*made, Message("user", (repaired(given),)))
    turn = _Turn()
    for index, one in enumerate(filled(given, "input", most, "a text or a list with at least one item", " items")):
        made += turn.take(mapping(one) or {}, f"input[{index}]")
    return (*made, *turn.over())


class _Turn:
    """The assistant's turn that is being assembled from items: its texts, calls and results so far.

    `take` adds an item and yields the messages that are complete with it; `over` yields those of the turn so far.
    """

    def __init__(self) -> None:
        self._spoken: list[Part] = []
        self._results: list[Part] = []
        self._names: dict[str, str] = {}

    def take(self, item: Fields, path: str) -> Iterator[Message]:
        """Add an item. Yield the messages that are complete with it, which may be none. BadAsk if it cannot be read."""
        kind = item.get("type") or ("message" if "role" in item else None)
        match kind:
            case "message":
                yield from self._message(item, path)
            case "function_call":
                yield from self._before_call()
                self._call(item, "call_id", path)
            case "function_call_output":
                call_id = text(item.get("call_id"), f"{path}.call_id")
                self._results.append(result(call_id, self._names.get(call_id, ""), contents(item.get("output"), f"{path}.output", SAID)))
            case "mcp_call":
                yield from self._before_call()
                call_id = self._call(item, "id", path)
                failed = item.get("error") is not None
                stated = text(item.get("error" if failed else "output") or "", f"{path}.output")
                self._results.append(Result(call_id, self._names[call_id], stated, is_error=failed))
            case "reasoning":
                yield from self._before_call()
                self._spoken += _reasoned(item)
            case "image_generation_call" | "web_search_call" | "file_search_call":
                pass  # what a provider made and found: its text stands in the message after it
            case _:
                known = "message, function_call, function_call_output, mcp_call, reasoning, item_reference"
                raise BadAsk(f"{path}.type: one of {known} is needed.")

    def over(self) -> Iterator[Message]:
        """Yield the messages of the turn so far, and begin a new one."""
        if spoken := reasoning.settled(list(_placed(self._spoken))):
            yield Message("assistant", tuple(spoken))
        if self._results:
            yield Message("tool", tuple(self._results))
        self._spoken, self._results = [], []

    def _before_call(self) -> Iterator[Message]:
        if self._results:
            yield from self.over()

    def _message(self, item: Fields, path: str) -> Iterator[Message]:
        parts = list(contents(item.get("content"), f"{path}.content", SAID))
        match item.get("role"):
            case "assistant":
                asks = any(isinstance(part, Call) for part in self._spoken)
                if self._results or (not asks and any(isinstance(part, str) for part in self._spoken)):
                    yield from self.over()
                self._spoken += [part for part in parts if isinstance(part, str)]
            case "user":
                yield from self.over()
                yield Message("user", tuple(parts))
            case "system" | "developer":
                yield from self.over()
                yield Message("system", tuple(texts(parts, path)))
            case _:
                raise BadAsk(f"{path}.role: one of system, developer, user, assistant is needed.")

    def _call(self, item: Fields, key: str, path: str) -> str:
        call_id, name = text(item.get(key), f"{path}.{key}"), text(item.get("name"), f"{path}.name")
        self._spoken.append(Call(call_id, name, called(text(item.get("arguments"), f"{path}.arguments"))))
        self._names[call_id] = name
        return call_id


def _placed(spoken: list[Part]) -> Iterator[Part]:
    """Yield the parts, each encrypted reasoning item with the id of the call that follows it, if one does."""
    for index, part in enumerate(spoken):
        after = next((one for one in spoken[index + 1 :] if not isinstance(one, ReasoningState)), None)
        if isinstance(part, ReasoningState) and isinstance(after, Call) and part.value.get("type") == "reasoning":
            yield replace(part, call_id=after.call_id)
        else:
            yield part


def _reasoned(item: Fields) -> Iterator[ReasoningState]:
    """Yield the state in a reasoning item: the item if it has encrypted content, else the text of its summary, if it has one."""
    held = item.get("encrypted_content")
    summary = [one for one in map(mapping, (listing(item.get("summary")) or ())[:MAX_PARTS]) if one is not None]
    said = [repaired(one["text"]) for one in summary if isinstance(one.get("text"), str)]  # type: ignore[arg-type]
    if isinstance(held, str) and held:
        listed: list[Json] = [{"type": "summary_text", "text": one} for one in said]
        called: dict[str, Json] = {"id": repaired(named)} if isinstance(named := item.get("id"), str) else {}
        yield ReasoningState("", {"type": "reasoning", **called, "summary": listed, "encrypted_content": repaired(held)})
    elif stated := "\n\n".join(said):
        yield ReasoningState("", {"reasoning_content": stated})


def _image(part: Fields, path: str) -> Part:
    _here(part, "image_url", path)
    return detailed(part.get("image_url"), part.get("detail"), f"{path}.image_url", path)


def _file(part: Fields, path: str) -> Part:
    _here(part, "file_data or file_url", path)
    if (address := part.get("file_url")) is not None:
        return file(address, "application/pdf", part.get("filename"), f"{path}.file_url")
    return file(part.get("file_data"), None, part.get("filename"), f"{path}.file_data")


def _here(part: Fields, instead: str, path: str) -> None:
    if part.get("file_id") is not None:
        raise BadAsk(f"{path}.file_id: files kept by a provider are not served here; send {instead}.")


SAID: dict[str, Callable[[Fields, str], Part]] = {
    "input_text": text_of,
    "output_text": text_of,
    "refusal": refusal_of,
    "input_image": _image,
    "input_file": _file,
    "input_audio": audio,
}
"""Type of a part in a message or a tool's output → its reader."""


def sampling(fields: Fields) -> dict[str, Json]:
    """Return the sampling parameters that are given, by the names of chat completions. BadAsk for invalid `reasoning` or `text`."""
    given: dict[str, Json] = {name: fields[name] for name in SAMPLED if fields.get(name) is not None}
    if (most := fields.get("max_output_tokens")) is not None:
        given["max_tokens"] = most
    thinking, stated = _options(fields, "reasoning"), _options(fields, "text")
    if thinking.get("summary") not in SUMMARIES:
        raise BadAsk("reasoning.summary: one of auto, concise, detailed is needed.")
    if (effort := thinking.get("effort")) is not None:
        given["reasoning_effort"] = effort
    if (verbosity := stated.get("verbosity")) is not None:
        given["verbosity"] = verbosity
    return given


def _options(fields: Fields, name: str) -> Fields:
    return {} if fields.get(name) is None else needed(fields[name], name)


def brought(fields: Fields) -> tuple[tuple[ToolSpec, ...], Choice]:
    """Return the tools that the client brings and runs itself, and its tool choice. BadAsk if invalid, or for an unserved field."""
    refuse_unserved(fields, MEANT)
    if "message.output_text.logprobs" in (listing(fields.get("include")) or ()):
        raise BadAsk("include: message.output_text.logprobs is not served here.")
    own = client_tools.tools(fields.get("tools"), client_tools.served_function)
    return own, client_tools.choice(fields.get("tool_choice"), own, nested=False)


def repeated(fields: Fields, tools: tuple[ToolSpec, ...]) -> JsonObject:
    """Return the fields of the request that its response repeats, by their names in the response. BadAsk if one is invalid.

    `store`, `background`, `tools`, `reasoning` and `text` are always there, with defaults if not given. The wire fills in the others.
    """
    made = {name: mended(fields[name]) for name in REPEATED if fields.get(name) is not None}
    _options(fields, "metadata")
    thinking, stated = _options(fields, "reasoning"), _options(fields, "text")
    shown: list[Json] = [
        {"type": "function", "name": one.name, "description": one.description or None, "parameters": one.parameters, "strict": one.strict}
        for one in tools
    ]
    verbosity: JsonObject = {"verbosity": stated["verbosity"]} if stated.get("verbosity") else {}
    return {
        **made,
        "store": stored(fields),
        "background": in_background(fields),
        "tools": shown,
        "reasoning": {"effort": thinking.get("effort"), "summary": thinking.get("summary")},
        "text": {"format": stated.get("format") or {"type": "text"}, **verbosity},
    }
