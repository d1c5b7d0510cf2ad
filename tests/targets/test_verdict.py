"""Refusals: what a status, its headers and its body mean."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetDown, TargetError, TargetRefused
from router.targets.verdict import retry_after, verdict

VERDICTS: dict[tuple[int, str], tuple[type[TargetError], str]] = {
    (400, ""): (TargetRefused, "status_400"),
    (422, "unknown field"): (TargetRefused, "status_422"),
    (400, '{"error":{"code":"context_length_exceeded"}}'): (ContextTooLong, "context_too_long"),
    (400, "This model's maximum context length is 8192 tokens"): (ContextTooLong, "context_too_long"),
    (400, "prompt is too long: 210000 tokens > 200000 maximum"): (ContextTooLong, "context_too_long"),
    (400, "Input is too long for requested model."): (ContextTooLong, "context_too_long"),
    (413, "Please reduce the length of the messages"): (ContextTooLong, "context_too_long"),
    (400, "the request exceeds the available context size"): (ContextTooLong, "context_too_long"),
    (400, "The response was filtered due to Azure OpenAI's content management policy"): (ContentFiltered, "content_filter"),
    (401, ""): (TargetDenied, "status_401"),
    (402, ""): (TargetDenied, "status_402"),
    (403, ""): (TargetDenied, "status_403"),
    (404, "model not found"): (TargetDenied, "status_404"),
    (400, "Incorrect API key provided: xai-***"): (TargetDenied, "status_400"),
    (400, "API key not valid. Please pass a valid API key."): (TargetDenied, "status_400"),
    (408, ""): (TargetDown, "status_408"),
    (429, "slow down"): (TargetDown, "status_429"),
    (500, ""): (TargetDown, "status_500"),
    (529, "Overloaded"): (TargetDown, "status_529"),
    (418, ""): (TargetRefused, "status_418"),
}


@pytest.mark.parametrize("refusal", VERDICTS)
def test_what_a_refusal_means(refusal: tuple[int, str]) -> None:
    """By its status, and by its body where providers disagree about statuses."""
    error = verdict("a", *refusal)
    assert (type(error), error.outcome) == VERDICTS[refusal]
    assert refusal[1] not in str(error) or not refusal[1]


WAITS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"Retry-After": "7"}, 7),
    "a fraction": ({"retry-after": "1.5"}, 1.5),
    "milliseconds go first": ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
    "no milliseconds": ({"retry-after": "7", "retry-after-ms": "0"}, 7),
    "milliseconds that are nonsense": ({"retry-after": "7", "retry-after-ms": "soon"}, 7),
    "milliseconds that are negative": ({"retry-after": "7", "retry-after-ms": "-1"}, 7),
    "milliseconds alone, any case": ({"Retry-After-Ms": "1500"}, 1.5),
    "far too many milliseconds": ({"retry-after-ms": "999999999999"}, 86400),
    "blanks around": ({"retry-after": " 7 "}, 7),
    "infinite": ({"retry-after": "inf"}, None),
    "hexadecimal": ({"retry-after": "0x10"}, None),
    "a date that is none": ({"retry-after": "Wed, 99 Foo 2015 07:28:00 GMT"}, None),
    "a date without an end": ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 86400),
    "zero": ({"retry-after": "0"}, None),
    "negative": ({"retry-after": "-3"}, None),
    "nonsense": ({"retry-after": "soon"}, None),
    "far too long": ({"retry-after": "276480"}, 86400),
    "absurd": ({"retry-after": "9" * 400}, None),
    "a date gone by": ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize("what", WAITS)
def test_how_long_to_wait(what: str) -> None:
    """In any of the forms, or not at all where it makes no sense."""
    headers, expected = WAITS[what]
    assert retry_after(headers) == expected


def test_a_date_is_a_number_of_seconds_from_now() -> None:
    """Half a minute from now."""
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 <= (retry_after({"retry-after": when}) or 0) <= 30
