"""What a provider's refusal means: status, headers and body → one of our errors. For every lane.

Providers disagree on statuses (a wrong key is a 400 at xAI, a conversation too long a plain 400 at most), so the body
is looked at too, here and nowhere else; what it said goes no further than this file.
"""

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetDown, TargetError, TargetRefused

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
DENIED = frozenset({401, 402, 403, 404, 407})

TOO_LONG = re.compile(
    r"(?i)context[_ ]length|context[_ ]window|maximum context|context size|prompt is too long|input is too long|too many (input )?tokens"
    r"|exceeds? (the )?(max|limit|available context|model'?s)[\w ]*(token|context)|input token count|input tokens exceeded|reduce the length",
)
WRONG_KEY = re.compile(
    r"(?i)(incorrect|invalid|missing|expired|wrong)[\w ]*api[ _-]?key|api[ _-]?key[\w ]*(invalid|not valid|expired|incorrect)"
)
MODERATED = re.compile(r"(?i)(input|prompt|message|content|text)[\w ]{0,20}\bflagged|flagged[_ ]input|requires moderation")
"""How a 403 says that it is about the question. An account may be flagged too: that is everybody's trouble."""
FILTERED = re.compile(r"(?i)content[_ ](filter|management|policy)|responsible[_ ]?ai|safety system|data_inspection_failed|flagged")
QUOTED = 8 * 1024
"""Characters of a body that are looked at."""


def verdict(target: str, status: int, body: str = "", headers: Mapping[str, str] | None = None) -> TargetError:
    """The error that a refusal with this status is."""
    body = body[:QUOTED]
    outcome = f"status_{status}"
    wait = retry_after(headers or {})
    if status in (400, 413, 422, 500) and TOO_LONG.search(body):
        return ContextTooLong(target, "context_too_long")
    if (status in (400, 422) and FILTERED.search(body)) or (status == 403 and MODERATED.search(body)):
        return ContentFiltered(target, "content_filter")
    if status in DENIED or (status == 400 and WRONG_KEY.search(body)):
        return TargetDenied(target, outcome)
    if status in AGAIN or status >= 500:
        if wait is None and status == 429:
            wait = _told_delay(body) or limits_reset(headers or {})
        return TargetDown(target, outcome, retry_after=wait)
    return TargetRefused(target, outcome)


NAMED = {
    "content_filter": 400,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "BadRequestError": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "request_too_large": 413,
    "insufficient_quota": 429,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""An error's code or type inside a 200 → the status it would have had before it. Of two, the larger is the more exact: many name
everything an invalid request.
"""


def inside(target: str, error: Any) -> TargetError:
    """The error that came inside a 200: by its number, else by its name; one that has neither is the provider's."""
    known: dict[str, Any] = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    told = [known.get(name) for name in ("code", "status", "status_code", "type")]
    numbers = [int(one) for one in told if isinstance(one, int) or (isinstance(one, str) and re.fullmatch("[45][0-9]{2}", one))]
    status = next((number for number in numbers if 400 <= number < 600), 0) or max(
        (NAMED[one] for one in told if isinstance(one, str) and one in NAMED), default=500
    )
    return verdict(target, status, json.dumps(error))


MOST_WAIT = 86_400.0
"""Seconds. A provider once asked for three days; nobody waits that long, but it says that this target is out."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the headers say: `retry-after-ms`, or `retry-after` in seconds or as a date. Nonsense is None."""
    known = {name.lower(): value for name, value in headers.items()}
    milliseconds = _number(known.get("retry-after-ms"))
    if milliseconds:
        return min(milliseconds / 1000, MOST_WAIT)
    told = known.get("retry-after")
    seconds = _number(told)
    if seconds is None and told:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(seconds, MOST_WAIT) if seconds and seconds > 0 else None


DELAY = re.compile(r'"retryDelay"\s*:\s*"([^"]{1,40})"')
DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,12}(?:\.\d{1,9})?)ms)?", re.ASCII
)
SECONDS = (86_400, 3_600, 60, 1, 0.001)
LIMIT = re.compile(r"(x-ratelimit)-reset-([a-z-]{1,40})|(anthropic-ratelimit)-([a-z-]{1,40})-reset")


def limits_reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until every limit that is used up lets requests through again: as durations (`6m0s`, `20ms`), seconds or dates.

    A limit of which something remains is none that refused; one that does not say what remains may be. None where none is told.
    """
    known = {name.lower(): value for name, value in headers.items()}
    waits: list[float] = []
    for name, told in known.items():
        if (limit := LIMIT.fullmatch(name)) is None:
            continue
        openai, what, anthropic, which = limit.groups()
        remaining = known.get(f"{openai}-remaining-{what}" if openai else f"{anthropic}-{which}-remaining")
        if not _number(remaining) and (wait := _duration(told)) is not None:
            waits.append(wait)
    return min(max(waits, default=0), MOST_WAIT) or None


def _told_delay(body: str) -> float | None:
    """What Google asks to wait, which stands in the body alone."""
    found = DELAY.search(body)
    wait = _duration(found[1]) if found else None
    return min(wait, MOST_WAIT) if wait else None


def _duration(text: str) -> float | None:
    """Seconds, of a number of them, of a duration with units, or until a date with its zone. Nonsense and times gone by are None."""
    if (seconds := _number(text)) is not None:
        return seconds
    text = text.strip()
    if text and (parts := DURATION.fullmatch(text)):
        return sum(float(part) * each for part, each in zip(parts.groups(), SECONDS, strict=True) if part)
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return max(date.timestamp() - time.time(), 0) if date.tzinfo else None


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\s*\d{1,40}(\.\d{1,9})?\s*", text) else None
