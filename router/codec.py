"""Events as bytes, for storage outside of this process: JSON with a version number, validated when it is read.

    [5, "Hello ", "there.", ["result", "c1", "get_weather", {"celsius": 25}, false], ["finish", "stop", null, [], ""]]

The version comes first, then the events in order: a Text as a bare string, any other event as a list of its word and its fields.
Replicas of two releases may read the same Redis: bytes of another version raise UnreadableEvents, and readers treat them as absent.
"""

import json
from collections.abc import Sequence
from typing import assert_never, cast, get_args

from router.attempt import Attempt
from router.chat import Json, ReasoningState
from router.events import (
    Approval,
    Cached,
    Event,
    Failure,
    Finish,
    LateResult,
    Produced,
    Reason,
    Source,
    Start,
    Text,
    Thought,
    ToolCall,
    ToolInput,
    ToolProgress,
    ToolResult,
    Usage,
)
from router.jsontext import writer
from router.usage import Tier
from router.value import names

VERSION = 5
REASONS: tuple[str, ...] = get_args(Reason)
CACHED: tuple[str, ...] = get_args(Cached)
COUNTS = names(Usage)
"""Names of a Usage's fields, in order: the counts first, then the tier."""
TIER_NAMES: tuple[str, ...] = get_args(Tier)


class UnreadableEvents(ValueError):
    """The error of bytes that are not events, or that another release wrote."""


_dumps = writer(dict, ascii_only=False, separators=(",", ":"))
_dumps_ascii = writer(dict, separators=(",", ":"))


def packed(value: object) -> bytes:
    """Return a JSON value as UTF-8; with a lone surrogate in it, as ASCII with escapes."""
    try:
        return _dumps(value).encode()
    except UnicodeEncodeError:
        return _dumps_ascii(value).encode()


def encode(events: Sequence[Event]) -> bytes:
    """Return events as bytes, without the fields for this process alone (`BESIDE` of Start, Attempt and Finish)."""
    return packed([VERSION, *(_plain(event) for event in events)])


def decode(data: bytes) -> list[Event]:
    """Return the events in these bytes. Raises UnreadableEvents if they are malformed or of another version."""
    try:
        found = cast("Json", json.loads(data))
    except (ValueError, RecursionError) as error:
        raise UnreadableEvents from error
    match found:
        case [int(version), *values] if version == VERSION:
            # A hundred texts come for each of the others: they are not sent through the match below.
            return [Text(value) if isinstance(value, str) else _event(value) for value in values]
        case _:
            raise UnreadableEvents


def _plain(event: Event) -> object:
    match event:
        case Text(text):
            return text
        case Thought(text):
            return ["thought", text]
        case Source(url, title, media_type):
            return ["source", url, title, media_type]
        case Produced(media_type, data):
            return ["file", media_type, data]
        case ToolInput(call_id, name, part):
            return ["input", call_id, name, part]
        case ToolCall(call_id, name, arguments, malformed):
            return ["call", call_id, name, arguments, malformed]
        case ToolProgress(call_id, name, output, part):
            return ["progress", call_id, name, output, part]
        case ToolResult(call_id, name, result, is_error):
            return ["result", call_id, name, result, is_error]
        case Approval(call_id, name, approval_id):
            return ["approval", call_id, name, approval_id]
        case LateResult(call_id, name, arguments, result, is_error, seconds):
            return ["late", call_id, name, arguments, result, is_error, seconds]
        case ReasoningState(issuer, state, call_id, after):
            return ["state", issuer, state, call_id, after]
        case Start(target, model, attempts, used, cache, age, omitted):
            return ["start", target, model, _tries(attempts), _counts(used), cache, age, omitted]
        case Finish(reason, usage, attempts, cache):
            return ["finish", reason, _counts(usage), _tries(attempts), cache]
        case Failure(code, public, attempts):
            return ["failure", code, public, _tries(attempts)]
        case _:
            assert_never(event)


def _tries(attempts: Sequence[Attempt]) -> object:
    return [
        [
            one.target,
            one.outcome,
            one.seconds,
            one.first,
            one.wait,
            one.began,
            one.omitted,
            _counts(one.usage),
            _counts(one.estimate),
            one.route,
        ]
        for one in (each.settled for each in attempts)
    ]


def _counts(usage: Usage | None) -> object:
    return None if usage is None else [getattr(usage, name) for name in COUNTS]


def _event(value: Json) -> Event:
    match value:
        case ["thought", str(text)]:
            return Thought(text)
        case ["source", str(url), str(title), str(media_type)]:
            return Source(url, title, media_type)
        case ["file", str(media_type), str(data)]:
            return Produced(media_type, data)
        case ["input", str(call_id), str(name), str(part)]:
            return ToolInput(call_id, name, part)
        case ["call", str(call_id), str(name), dict(arguments), None | str() as malformed]:
            return ToolCall(call_id, name, arguments, malformed)
        case ["progress", str(call_id), str(name), output, str(part)]:
            return ToolProgress(call_id, name, output, part)
        case ["result", str(call_id), str(name), result, bool(is_error)]:
            return ToolResult(call_id, name, result, is_error)
        case ["approval", str(call_id), str(name), str(approval_id)]:
            return Approval(call_id, name, approval_id)
        case ["late", str(call_id), str(name), dict(arguments), result, bool(is_error), int() | float() as seconds]:
            return LateResult(call_id, name, arguments, result, is_error, seconds)
        case ["state", str(issuer), dict(state), str(call_id), int(after)]:
            return ReasoningState(issuer, state, call_id, after)
        case ["start", str(target), str(model), [*attempts], used, str(cache), None | int() | float() as age, [*omitted]] if (
            cache in CACHED
        ):
            return Start(target, model, _attempts(attempts), _usage(used), cast("Cached", cache), age, _names(omitted))
        case ["finish", str(reason), usage, [*attempts], str(cache)] if reason in REASONS and cache in CACHED:
            return Finish(cast("Reason", reason), _usage(usage), _attempts(attempts), cast("Cached", cache))
        case ["failure", str(code), str(public), [*attempts]]:
            return Failure(code, public, _attempts(attempts))
        case _:
            raise UnreadableEvents


def _attempts(values: Sequence[Json]) -> tuple[Attempt, ...]:
    return tuple(_attempt(value) for value in values)


def _attempt(value: Json) -> Attempt:
    match value:
        case [
            str(target),
            str(outcome),
            int() | float() as seconds,
            None | int() | float() as first,
            None | int() | float() as wait,
            int() | float() as began,
            [*omitted],
            usage,
            estimate,
            str(route),
        ]:
            used, guessed = _usage(usage), _usage(estimate)
            return Attempt(target, outcome, seconds, first, wait, began, _names(omitted), usage=used, estimate=guessed, route=route)
        case _:
            raise UnreadableEvents


def _names(values: Sequence[Json]) -> tuple[str, ...]:
    names = tuple(value for value in values if isinstance(value, str))
    if len(names) < len(values):
        raise UnreadableEvents
    return names


def _usage(value: Json) -> Usage | None:
    match value:
        case None:
            return None
        case [*counts, str(tier)] if len(counts) == len(COUNTS) - 1 and all(type(one) is int for one in counts) and tier in TIER_NAMES:
            return Usage(*cast("list[int]", counts), service_tier=cast("Tier", tier))
        case _:
            raise UnreadableEvents
