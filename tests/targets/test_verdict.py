"""Meaning of a refusal: its status, headers and body become a TargetError with the seconds to wait."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetDown, TargetError, TargetRefused
from router.targets.delays import limits_reset, retry_after
from router.targets.verdict import inside, verdict

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
    (403, "Your chosen model requires moderation and your input was flagged"): (ContentFiltered, "content_filter"),
    (403, '{"error":{"code":403,"metadata":{"reasons":["violence"],"flagged_input":"..."}}}'): (ContentFiltered, "content_filter"),
    (403, "Your account was flagged"): (TargetDenied, "status_403"),
    (403, "Blocked by the content filter of this network"): (TargetDenied, "status_403"),
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
def test_refusal_is_classified_by_status_and_body(refusal: tuple[int, str]) -> None:
    """A status, and where needed the words of its body, give the TargetError and its outcome, without the body's text."""
    error = verdict("a", *refusal)
    assert (type(error), error.outcome) == VERDICTS[refusal]
    assert refusal[1] not in str(error) or not refusal[1]


INSIDE: dict[str, tuple[object, type[TargetError], str]] = {
    "a number": ({"code": 429, "type": "invalid_request_error"}, TargetDown, "status_429"),
    "a number in quotes": ({"code": "429"}, TargetDown, "status_429"),
    "a number elsewhere": ({"code": None, "status_code": 401}, TargetDenied, "status_401"),
    "a number that is no status": ({"code": 7, "type": "rate_limit_error"}, TargetDown, "status_429"),
    "a type": ({"type": "invalid_request_error", "code": None}, TargetRefused, "status_400"),
    "a code, the type being general": ({"type": "invalid_request_error", "code": "model_not_found"}, TargetDenied, "status_404"),
    "a type, the code being general": ({"type": "authentication_error", "code": "invalid_request_error"}, TargetDenied, "status_401"),
    "a conversation too long": ({"code": "context_length_exceeded", "type": "invalid_request_error"}, ContextTooLong, "context_too_long"),
    "a filter": ({"code": "content_filter", "type": None}, ContentFiltered, "content_filter"),
    "Anthropic's": ({"type": "overloaded_error"}, TargetDown, "status_529"),
    "another word": ({"type": "server_error", "code": "oops"}, TargetDown, "status_500"),
    "of other types": ({"type": ["x"], "code": {}, "status": True}, TargetDown, "status_500"),
    "no object": ("boom", TargetDown, "status_500"),
    "a list": ([1], TargetDown, "status_500"),
}


@pytest.mark.parametrize("what", INSIDE)
def test_error_inside_a_200_is_classified_by_number_or_name(what: str) -> None:
    """An error inside a 200 is classified by its number, else by its type or code, else as a 500."""
    told, kind, outcome = INSIDE[what]
    error = inside("a", told)
    assert (type(error), error.outcome) == (kind, outcome)


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
def test_retry_after_is_read_in_any_form(what: str) -> None:
    """Retry-After is read as seconds, a date or milliseconds, at most one day; zero, negative or invalid values give None."""
    headers, expected = WAITS[what]
    assert retry_after(headers) == expected


def test_retry_after_date_becomes_seconds_from_now() -> None:
    """A Retry-After date 30 seconds ahead gives 28 to 30 seconds."""
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 <= (retry_after({"retry-after": when}) or 0) <= 30


RESETS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"x-ratelimit-reset-requests": "1s"}, 1),
    "minutes": ({"x-ratelimit-reset-tokens": "6m0s"}, 360),
    "a fraction": ({"x-ratelimit-reset-tokens": "2m59.56s"}, 179.56),
    "milliseconds": ({"x-ratelimit-reset-requests": "20ms"}, 0.02),
    "all of the units": ({"x-ratelimit-reset-requests": "1d1h1m1s500ms"}, 86400),
    "hours": ({"x-ratelimit-reset-requests": "1h0m0s"}, 3600),
    "plain seconds": ({"X-RateLimit-Reset-Tokens-Minute": "12.5"}, 12.5),
    "the larger": ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "20ms"}, 1),
    "what is used up": (
        {
            "x-ratelimit-reset-requests": "6m0s",
            "x-ratelimit-remaining-requests": "4999",
            "x-ratelimit-reset-tokens": "2s",
            "x-ratelimit-remaining-tokens": "0",
        },
        2,
    ),
    "nothing is used up": ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "1"}, None),
    "what remains is nonsense": ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-remaining-requests": "some"}, 2),
    "a date gone by": ({"anthropic-ratelimit-tokens-reset": "2024-01-01T00:00:00Z"}, None),
    "a date without a zone": ({"anthropic-ratelimit-tokens-reset": "2999-01-01T00:00:00"}, None),
    "a date far ahead": ({"anthropic-ratelimit-input-tokens-reset": "2999-01-01T00:00:00Z"}, 86400),
    "a date of what is not used up": (
        {"anthropic-ratelimit-requests-reset": "2999-01-01T00:00:00Z", "anthropic-ratelimit-requests-remaining": "3"},
        None,
    ),
    "zero": ({"x-ratelimit-reset-requests": "0s"}, None),
    "zero is no hindrance": ({"x-ratelimit-reset-requests": "0s", "x-ratelimit-reset-tokens": "3s"}, 3),
    "too long": ({"x-ratelimit-reset-requests": "72h"}, 86400),
    "units in a wrong order": ({"x-ratelimit-reset-requests": "1s6m"}, None),
    "negative": ({"x-ratelimit-reset-requests": "-1s"}, None),
    "nonsense": ({"x-ratelimit-reset-requests": "soon"}, None),
    "empty": ({"x-ratelimit-reset-requests": ""}, None),
    "absurd": ({"x-ratelimit-reset-requests": "9" * 400 + "s"}, None),
    "another header": ({"x-ratelimit-limit-requests": "60"}, None),
}


@pytest.mark.parametrize("what", RESETS)
def test_reset_header_of_rate_limits_is_read_in_any_form(what: str) -> None:
    """The longest valid reset of the limits not known to have some left is returned in seconds, at most a day; without one, None."""
    headers, expected = RESETS[what]
    assert limits_reset(headers) == (expected if expected is None else pytest.approx(expected))


def test_reset_date_of_anthropic_limits_becomes_seconds_from_now() -> None:
    """An Anthropic limit that is used up and has a reset date 30 seconds ahead gives a wait of 28 to 30 seconds."""
    when = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    wait = limits_reset({"anthropic-ratelimit-output-tokens-reset": when, "anthropic-ratelimit-output-tokens-remaining": "0"})
    assert 28 <= (wait or 0) <= 30


GOOGLES = '{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay": "%s"}]}}'
TOLD: dict[str, tuple[int, str, dict[str, str], float | None]] = {
    "in the body": (429, GOOGLES % "48s", {}, 48),
    "in the body, with a fraction": (429, GOOGLES % "48.25s", {}, 48.25),
    "in the body, too long": (429, GOOGLES % "276480s", {}, 86400),
    "in the body, nothing": (429, GOOGLES % "0s", {}, None),
    "in the body, nonsense": (429, GOOGLES % "soon", {}, None),
    "in the headers": (429, "", {"x-ratelimit-reset-requests": "2s"}, 2),
    "the body goes first": (429, GOOGLES % "48s", {"x-ratelimit-reset-requests": "2s"}, 48),
    "its own header goes first": (429, GOOGLES % "48s", {"x-ratelimit-reset-requests": "2s", "retry-after": "7"}, 7),
    "not of another status": (503, GOOGLES % "48s", {"x-ratelimit-reset-requests": "2s"}, None),
}


@pytest.mark.parametrize("what", TOLD)
def test_wait_of_a_refusal_prefers_retry_after(what: str) -> None:
    """The seconds to wait are those of Retry-After, else of Google's error, else of the limits' reset; the last two only for a 429."""
    status, body, headers, expected = TOLD[what]
    error = verdict("a", status, body, headers)
    assert isinstance(error, TargetDown)
    assert error.retry_after == expected
