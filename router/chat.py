"""The question: an `Ask` and its parts, as frozen values. A change makes a new value."""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import unquote_to_bytes

from router.attempt import Trail
from router.params import Params
from router.usage import tokens_in_all
from router.value import PartlyCompared, Value, field, replace

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
"""Any value that JSON can hold."""
JsonObject = Mapping[str, Json]
SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")
"""A pattern: the escape of a surrogate in JSON text. UTF-8 cannot represent a surrogate that is not in a pair."""


def repaired(text: str) -> str:
    """Return the text with its surrogate pairs joined and lone halves replaced by U+FFFD: it can be written as UTF-8."""
    if text.isascii() or not SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def mended(value: Json) -> Json:
    """Return a JSON value with `repaired` applied to every text and key in it."""
    match value:
        case str():
            return repaired(value)
        case Mapping():
            return {repaired(name): mended(inner) for name, inner in value.items()}
        case Sequence():
            return [mended(inner) for inner in value]
        case _:
            return value


def finite(text: str) -> float:
    """Return the float of a JSON number, as `parse_float` of `json.loads`. Raises ValueError if it is infinite (`1e999`)."""
    if math.isinf(number := float(text)):
        raise ValueError(text)
    return number


def no_constant(word: str) -> None:
    """Raise ValueError, as `parse_constant` of `json.loads`, which calls it for `NaN` and `Infinity`."""
    raise ValueError(word)


def plain(value: Json) -> Json:
    """Return a JSON value with whole numbers as int (1.0 → 1), as JavaScript writes them: equal values then have equal texts."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {name: plain(inner) for name, inner in value.items()}
        case Sequence() if not isinstance(value, str):
            return [plain(inner) for inner in value]
        case _:
            return value


def deeper(value: Any, depth: int) -> bool:
    """Return whether nested lists and dicts have more than `depth` levels, the outermost included. Does not recurse."""
    level: list[dict[str, Any] | list[Any]] = [value]
    for _ in range(depth):
        inner: list[dict[str, Any] | list[Any]] = []
        for outer in level:
            for one in outer.values() if isinstance(outer, dict) else outer:
                if isinstance(one, (dict, list)):
                    inner.append(one)  # noqa: PERF401 # pyright: ignore[reportUnknownArgumentType]
        if not inner:
            return False
        level = inner
    return True


def unescaped(data: bytes) -> bytes:
    """Return JSON text without escaped backslashes and quotation marks: each quotation mark that is left begins or ends a text."""
    # Outside of texts there is no backslash, and inside them each quotation mark has one.
    return data.replace(rb"\\", b"").replace(rb"\"", b"")


def separators(data: bytes) -> int:
    """Return the number of commas and opening brackets in JSON text, inside of strings too. The number of values is at most one more."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def crowded(data: bytes, most: int) -> bool:
    """Return whether JSON text holds more than `most` values; an empty list or object counts as two.

    The JSON is not parsed: a parser holds the interpreter's lock until it is done (0.4 s for 1 MiB of lists); these passes release it.
    Invalid JSON is counted to its end: the count is at least the number of values before its first mistake.
    """
    if separators(data) < most:
        return False
    bare = unescaped(data)
    # Each text is a value, or the key of one.
    return bare.count(b'"') // 2 > 2 * most or separators(b"".join(bare.split(b'"')[::2])) >= most


def _text(part: "Part") -> str:
    """Return the text that a model reads of a part; empty for a file."""
    match part:
        case str():
            return part
        case Result():
            return part.text
        case File():
            return ""
        case Call(arguments=value) | ReasoningState(value=value):
            return json.dumps(value, ensure_ascii=False)


Role = Literal["system", "user", "assistant", "tool"]


class Call(Value, frozen=True):
    """A tool call of the model. `approval`: the id of the approval that the client sent with it, not verified yet; empty without one."""

    call_id: str
    name: str
    arguments: JsonObject
    approval: str = ""


class Result(Value, frozen=True):
    """The result of the tool call with this id. `files`: the files that the tool returned with it."""

    call_id: str
    name: str
    value: Json
    is_error: bool = False
    files: "tuple[File, ...]" = ()

    @property
    def text(self) -> str:
        """The result as the text that a model reads: a str as it is, any other value as JSON."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False, separators=(",", ":"))


Detail = Literal["low", "high", "original"]
"""The detail with which a model looks at an image, in the words of OpenAI's API."""
FileSort = Literal["image", "document", "audio"]
"""The sort of files that a model must be able to read."""
NO_FILES = frozenset[FileSort]()
AUDIO_FORMATS = {"wave": "wav", "mpeg": "mp3", "mpga": "mp3", "mp4": "m4a"}
"""Subtype of an audio media type → its format, if that has another name."""


class File(Value, frozen=True):
    """An image, a document or audio for the model, from the user or from a tool's result.

    kind: its media type (`image/*` if only that is known)
    url: a data: URL, or an address that the provider fetches
    name: its file name, if the client sent one
    detail: how closely an image is looked at, if the client sets it
    """

    kind: str
    url: str
    name: str = ""
    detail: Detail | Literal[""] = ""

    @property
    def remote(self) -> bool:
        """True if the provider has to fetch it."""
        return self.url[:5].lower() != "data:"

    @property
    def sort(self) -> FileSort:
        """The sort of the file, by its media type: image, audio, or document for all others."""
        return "image" if self.kind.startswith("image/") else "audio" if self.kind.startswith("audio/") else "document"

    @property
    def audio_format(self) -> str:
        """The audio format, as OpenAI's APIs name it: wav, mp3, m4a, or the subtype of the media type."""
        subtype = self.kind.partition("/")[2].removeprefix("x-").removeprefix("vnd.")
        return AUDIO_FORMATS.get(subtype, subtype)

    @property
    def encoded(self) -> str:
        """The content of a data: URL in base64. Only for files that are not `remote`."""
        head, _, data = self.url.partition(",")
        return data if head.lower().endswith(";base64") else base64.b64encode(unquote_to_bytes(data)).decode()


class ReasoningState(Value, frozen=True):
    """Opaque state of a model's reasoning, which its provider needs back with the tool results of the same turn.

    It is sent back to the target that issued it alone, and no wire writes it to a client. It is both an event of the answer and a part of
    the assistant message that the next request repeats.

    issuer: see `issued_by`; empty for state read from the client's own messages: every target that takes this form may receive it
    value: in the provider's own form: {"reasoning_content": …}, {"reasoning_details": […]}, a thinking block, a reasoning item
    call_id: the call that it belongs to, if any (Gemini's thought signatures)
    after: characters of the message's text that the model wrote after it
    """

    issuer: str
    value: JsonObject
    call_id: str = ""
    after: int = 0


def issued_by(target: str, model: str) -> str:
    """Return the `issuer` of reasoning state: target and model, since a target's next model cannot use the state of its last."""
    return f"{target}={model}"


Part = str | File | Call | Result | ReasoningState
"""A piece of a message. A plain `str` is text; Files stand in `user` messages, ReasoningStates in `assistant` messages."""


class Message(Value, frozen=True):
    """A message; `name`: the participant's. Messages of the role `tool` hold only Results; Calls occur only in `assistant` messages."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""

    @property
    def text(self) -> str:
        """The text parts of the message, joined without a separator; other parts are left out."""
        return "".join([part for part in self.parts if isinstance(part, str)])

    @property
    def calls(self) -> tuple[Call, ...]:
        """The tool calls in this message."""
        return tuple([part for part in self.parts if isinstance(part, Call)])

    @property
    def results(self) -> tuple[Result, ...]:
        """The tool results in this message."""
        return tuple([part for part in self.parts if isinstance(part, Result)])

    def states(self, issuer: str) -> tuple[ReasoningState, ...]:
        """Return the message's reasoning state for this issuer: that which it issued; if there is none, that which the client sent back."""
        states = [part for part in self.parts if isinstance(part, ReasoningState)]
        return tuple(one for one in states if one.issuer == issuer) or tuple(one for one in states if not one.issuer)


class TextMessages(tuple[Message, ...]):
    """Messages of the system, the user and the assistant that are each one text, not empty, and have no name, as in most questions.

    The type saves a search for calls, files and the like. Steps that change the conversation may lose it: other messages may be such, too.
    """

    __slots__ = ()


class ToolSpec(Value, frozen=True):
    """A tool as the model sees it. `parameters`: a JSON schema of type object. `strict`: true if its calls must match it exactly."""

    name: str
    description: str
    parameters: JsonObject
    strict: bool = False


class Choice(Value, frozen=True):
    """The model's freedom to call tools: as it decides (`auto`), not at all (`none`), at least one (`required`), or `name` (`named`)."""

    kind: Literal["auto", "none", "required", "named"] = "auto"
    name: str = ""


AUTO = Choice()


class OutputFormat(Value, frozen=True):
    """The required form of an answer: its text is JSON.

    schema: the JSON schema that the JSON must match, checked by `router.output`; None allows any JSON object
    name: the name of the schema, as OpenAI's API takes one: letters, digits, _ and -, 64 at most
    description: the purpose of the schema, for the model
    """

    schema: JsonObject | None = None
    name: str = "answer"
    description: str = ""


class CacheControl(Value, frozen=True):
    """The request's limits on the cache (RFC 9111). `max_age`: seconds up to which a cached answer is used; `store`: it may be cached."""

    max_age: float = math.inf
    store: bool = True


ANY_AGE = CacheControl()


def owner(caller: str, user: str) -> str:
    """Return the name under which the data of a caller and end user is stored and counted; without a user, the caller's id, escaped.

    Two pairs never have the same name: a space ends the caller's id, in which a space is written as `%20`, and `%` as `%25`.
    """
    escaped = caller.replace("%", "%25").replace(" ", "%20") if "%" in caller or " " in caller else caller
    return f"{escaped} {user}" if user else escaped


class Circumstances(Value, frozen=True):
    """Facts about the request that a route's conditions may test besides the conversation.

    caller: the name of the caller's key, or its token's `sub`; empty if unknown
    claims: the claims of the caller's token
    headers: the request's headers that a condition names, in lower case, each with its values
    budget_used: the used share, 0 to below 1, of the request's most used money or token limit; 0 without one
    """

    caller: str = ""
    claims: JsonObject = field(default_factory=dict[str, Json])
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    budget_used: float = 0.0


NOWHERE = Circumstances()

InducedFault = Literal["cut", "stall", "429", "garbage"]
"""The way in which the provider of one request is made to fail, for tests of failover; see failover/fault.py."""


class Ask(PartlyCompared, frozen=True, kw_only=True):
    """A question: its route, the conversation, the granted tools and the sampling parameters."""

    BESIDE = frozenset({"circumstances", "session", "trail"})
    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    """Tools that the client runs itself, as the question comes in; the route's own tools are added later."""
    choice: Choice = AUTO
    params: Params = field(default_factory=Params)
    fields: JsonObject = field(default_factory=dict[str, Json])
    """Top-level fields of the request body that the router does not use itself: a template sees them as `ask.<field>`."""
    until: float = math.inf
    """Time after which no client waits for the answer any more, by `time.monotonic`."""
    caller: str = ""
    """The caller, as `Caller.id`. No template sees it."""
    user: str = ""
    """The end user of the caller, as a declared front end or the caller's token names them; else empty. No template sees it."""
    chat: str = ""
    """The chat that the question belongs to, as the front end names it; empty where it names none."""
    session: Callable[[], str] = str
    """Returns a digest that all questions of one chat of one caller share (`steps/session.py`); an empty text where a route set none."""
    chat_hash: int = 0
    """A number that all those questions share, in this process alone; 0 where a route set none."""
    extra: JsonObject = field(default_factory=dict[str, Json])
    """The body's `params` object: a template sees it as `params.<name>`. Never forwarded."""
    approvable: bool = False
    """True if the client can ask its user to allow a tool call."""
    output: OutputFormat | None = None
    """The form that the answer's text must have; None where it may have any."""
    unsent: tuple[str, ...] = ()
    """Names of fields of the body that concern the operator's account at a provider: no target is sent these fields."""
    cache: CacheControl = ANY_AGE
    circumstances: Circumstances = NOWHERE
    """The facts that the route's conditions look at. No template sees it."""
    held: frozenset[int] | None = None
    """Indexes, from 0, of the entries in the route's `targets` whose condition holds; None where the route has no conditions."""
    fault: InducedFault | None = None
    """The induced fault of the target that is asked first; None without one. No template sees it."""
    trail: Trail = field(default_factory=Trail)
    """Collects the attempts at targets. All copies of a question share it."""

    @property
    def owner(self) -> str:
        """The name under which the data of this caller and end user is stored and counted; see the function `owner`."""
        return owner(self.caller, self.user)

    @property
    def has_calls(self) -> bool:
        """True if a message of the conversation contains tool calls."""
        for message in self.messages:  # a long chat is gone through at 0.1 µs a message
            for part in message.parts:
                if part.__class__ is Call:
                    return True
        return False

    @property
    def text_alone(self) -> bool:
        """True if every part of the conversation is text, and no message has the role `tool`."""
        for message in self.messages:
            if message.role == "tool":
                return False
            for part in message.parts:
                if part.__class__ is not str and not isinstance(part, str):
                    return False
        return True

    @property
    def extent(self) -> tuple[int, int]:
        """The characters of the conversation, without its files, and the number of its texts, calls, results and files."""
        size = count = 0
        if self.messages.__class__ is TextMessages:  # for each model call
            for message in self.messages:
                count += 1
                size += len(message.parts[0])  # pyright: ignore[reportArgumentType] - its text
            return size, count
        sizes = [len(part if type(part) is str else _text(part)) for message in self.messages for part in message.parts]
        return sum(sizes), len(sizes)

    @property
    def tokens(self) -> int:
        """The estimated tokens of the conversation (without files), the tools' definitions and the answer's schema."""
        texts = (_text(part) for message in self.messages for part in message.parts)
        tools = (f"{spec.name} {spec.description} {json.dumps(spec.parameters, default=dict)}" for spec in self.tools)
        schema = self.output and self.output.schema
        return tokens_in_all((*texts, *tools, *((json.dumps(schema, default=dict),) if schema else ())))

    @property
    def shows(self) -> frozenset[FileSort]:
        """The sorts of files in the conversation, tool results included: the answering model must read each of them."""
        if self.messages.__class__ is TextMessages:
            return NO_FILES
        files: list[File] = []
        for message in self.messages:  # 0.2 µs a message, for each model call
            for part in message.parts:
                if part.__class__ is str:
                    continue
                if isinstance(part, File):
                    files.append(part)
                elif isinstance(part, Result):
                    files += part.files
        return frozenset([file.sort for file in files]) if files else NO_FILES

    @property
    def holder(self) -> str:
        """The name of the target that issued the reasoning state of this turn's last tool calls; empty without such state."""
        for message in reversed(self.messages):
            if message.role == "user":
                return ""
            if message.calls:
                return next((part.issuer.partition("=")[0] for part in message.parts if isinstance(part, ReasoningState)), "")
        return ""

    def with_system(self, text: str) -> Self:
        """Return a copy of the question with this system message before its messages."""
        messages = (Message("system", (text,)), *self.messages)
        return replace(self, messages=TextMessages(messages) if text and self.messages.__class__ is TextMessages else messages)

    def with_messages(self, *messages: Message) -> Self:
        """Return a copy of the question with these messages in place of its own."""
        return replace(self, messages=messages)
