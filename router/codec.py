"""Events as bytes, for storage outside of this process: JSON with a version number, validated when it is read.

    [5, "Hello ", "there.", ["result", "c1", "get_weather", {"celsius": 25}, false], ["finish", "stop", null, [], ""]]

The version comes first, then the events in order: a Text as a bare string, any other event as a list of its word and its fields.
Replicas of two releases may read the same Redis: bytes of another version raise UnreadableEvents, and readers treat them as absent.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any, TypeVar, cast, get_args

from router import events as kinds
from router.attempt import Attempt
from router.chat import Json, ReasoningState
from router.events import Event, Text
from router.jsontext import writer
from router.usage import Tier, Usage
from router.value import names

VERSION = 5
TIER_NAMES: tuple[str, ...] = get_args(Tier)
Check = Callable[[Json], object]
"""A function from the JSON of a field to its value. Raises UnreadableEvents if the JSON has another form."""
T = TypeVar("T")


class UnreadableEvents(ValueError):
    """The error of stored bytes that are not what this release writes: another release may have written them."""


def typed(*types: type, among: Sequence[object] = ()) -> Check:
    """Return a check that a field is of one of these types, and `among` these values if there are any."""

    def held(value: Json) -> Json:
        if not isinstance(value, types) or (among and value not in among):
            raise UnreadableEvents
        return value

    return held


def each(check: Check) -> Check:
    """Return a check of a list whose items each pass a check; its value is the tuple of their values."""

    def held(value: Json) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise UnreadableEvents
        return tuple([check(one) for one in value])

    return held


def _usage(value: Json) -> Usage | None:
    match value:
        case None:
            return None
        case [*counts, str(tier)] if len(counts) == len(COUNTS) - 1 and all(type(one) is int for one in counts) and tier in TIER_NAMES:
            return Usage(*cast("list[int]", counts), service_tier=cast("Tier", tier))
        case _:
            raise UnreadableEvents


def made(kind: Callable[..., T], checks: Mapping[str, Check], values: Json) -> T:
    """Return the value of this type with these fields. Raises UnreadableEvents unless `values` is a list of as many that pass the checks."""
    if not isinstance(values, list) or len(values) != len(checks):
        raise UnreadableEvents
    return kind(**{name: check(value) for (name, check), value in zip(checks.items(), values, strict=True)})


TEXT, FLAG, OBJECT, NUMBER, MAYBE = typed(str), typed(bool), typed(dict), typed(int, float), typed(int, float, NoneType)
STATE: dict[str, Check] = {"issuer": TEXT, "value": OBJECT, "call_id": TEXT, "after": typed(int, among=range(sys.maxsize))}
ANY, CALL = typed(object), {"call_id": TEXT, "name": TEXT}
COUNTS = names(Usage)
"""Names of a Usage's fields, in order: the counts first, then the tier."""
ATTEMPT: dict[str, Check] = {
    "target": TEXT,
    "outcome": TEXT,
    "seconds": NUMBER,
    "first": MAYBE,
    "wait": MAYBE,
    "began": NUMBER,
    "omitted": each(TEXT),
    "usage": _usage,
    "estimate": _usage,
    "route": TEXT,
}
ATTEMPTS, CACHED = each(lambda value: made(Attempt, ATTEMPT, value)), typed(str, among=get_args(kinds.Cached))
EVENTS: dict[str, tuple[type[Event], dict[str, Check]]] = {
    "thought": (kinds.Thought, {"text": TEXT}),
    "source": (kinds.Source, {"url": TEXT, "title": TEXT, "media_type": TEXT}),
    "file": (kinds.Produced, {"media_type": TEXT, "data": TEXT}),
    "input": (kinds.ToolInput, {**CALL, "part": TEXT}),
    "call": (kinds.ToolCall, {**CALL, "arguments": OBJECT, "malformed": typed(str, NoneType)}),
    "progress": (kinds.ToolProgress, {**CALL, "output": ANY, "part": TEXT}),
    "result": (kinds.ToolResult, {**CALL, "result": ANY, "is_error": FLAG}),
    "approval": (kinds.Approval, {**CALL, "approval_id": TEXT}),
    "late": (kinds.LateResult, {**CALL, "arguments": OBJECT, "result": ANY, "is_error": FLAG, "seconds": NUMBER}),
    "state": (ReasoningState, STATE),
    "start": (
        kinds.Start,
        {"target": TEXT, "model": TEXT, "attempts": ATTEMPTS, "used": _usage, "cache": CACHED, "age": MAYBE, "omitted": each(TEXT)},
    ),
    "finish": (kinds.Finish, {"reason": typed(str, among=get_args(kinds.Reason)), "usage": _usage, "attempts": ATTEMPTS, "cache": CACHED}),
    "failure": (kinds.Failure, {"code": TEXT, "public": TEXT, "attempts": ATTEMPTS}),
}
"""Word of an event → its type, and the checks of its fields in the order in which they are written."""
LISTS: dict[type, tuple[tuple[str, ...], Sequence[str]]] = {
    Usage: ((), COUNTS),
    Attempt: ((), tuple(ATTEMPT)),
    **{kind: ((word,), tuple(checks)) for word, (kind, checks) in EVENTS.items()},
}
"""Type that is written as a list → what the list begins with, and the names of the fields that follow."""


def _plain(value: Any) -> object:
    """Return an event, an attempt or a usage as a list, and a mapping of any other type as a dict."""
    if (form := LISTS.get(value.__class__)) is None:
        return dict(value)
    if isinstance(value, Attempt):
        value = value.settled
    return [*form[0], *(getattr(value, name) for name in form[1])]


_dumps = writer(_plain, ascii_only=False, separators=(",", ":"))
_dumps_ascii = writer(_plain, separators=(",", ":"))


def packed(value: object) -> bytes:
    """Return a JSON value as UTF-8; with a lone surrogate in it, as ASCII with escapes."""
    try:
        return _dumps(value).encode()
    except UnicodeEncodeError:
        return _dumps_ascii(value).encode()


def encode(events: Sequence[Event]) -> bytes:
    """Return events as bytes, without the fields for this process alone (`BESIDE` of Start, Attempt and Finish)."""
    return packed([VERSION, *(event.text if isinstance(event, Text) else event for event in events)])


def decode(data: bytes) -> list[Event]:
    """Return the events in these bytes. Raises UnreadableEvents if they are malformed or of another version."""
    try:
        found = cast("Json", json.loads(data))
    except (ValueError, RecursionError) as error:
        raise UnreadableEvents from error
    match found:
        case [int(version), *values] if version == VERSION:
            # A hundred texts come for each of the others.
            return [Text(value) if isinstance(value, str) else _event(value) for value in values]
        case _:
            raise UnreadableEvents


def _event(value: Json) -> Event:
    match value:
        case [str(word), *fields] if word in EVENTS:
            return made(*EVENTS[word], fields)
        case _:
            raise UnreadableEvents
