"""Seconds to wait after a refusal, as a provider states them: Retry-After, resets of rate limits, Google's delays and quotas."""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 86_400.0
"""Upper bound of a wait in seconds: longer ones (a provider once asked for three days) count as this."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in `retry-after-ms` or `retry-after` (number or date), at most MAX_WAIT_S; None if absent, 0, past or invalid."""
    known = {name.lower(): value for name, value in headers.items()}
    if milliseconds := _number(known.get("retry-after-ms")):
        return min(milliseconds / 1000, MAX_WAIT_S)
    stated = known.get("retry-after")
    seconds = _number(stated)
    if seconds is None and stated:
        with suppress(ValueError, OverflowError):
            seconds = parsedate_to_datetime(stated).timestamp() - time.time()
    return min(seconds, MAX_WAIT_S) if seconds and seconds > 0 else None


DELAY = re.compile(r'"retryDelay"\s*:\s*"([^"]{1,40})"')
DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,12}(?:\.\d{1,9})?)ms)?", re.ASCII
)
SECONDS = (86_400, 3_600, 60, 1, 0.001)
LIMIT = re.compile(r"(x-ratelimit)-reset-([a-z-]{1,40})|(anthropic-ratelimit)-([a-z-]{1,40})-reset")


def limits_reset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the last exhausted rate limit resets, at most MAX_WAIT_S; None if no header states a time to come.
    Read from `x-ratelimit-reset-…` and `anthropic-ratelimit-…-reset`, as durations (`6m0s`, `20ms`), seconds or dates.
    Limits with something remaining are ignored; a limit without a `remaining` header counts as exhausted.
    """
    known = {name.lower(): value for name, value in headers.items()}
    longest = 0.0
    for name, stated in known.items():
        if limit := LIMIT.fullmatch(name):
            openai, what, anthropic, which = limit.groups()
            remaining = known.get(f"{openai}-remaining-{what}" if openai else f"{anthropic}-{which}-remaining")
            if not _number(remaining):
                longest = max(longest, _duration(stated) or 0)
    return min(longest, MAX_WAIT_S) or None


def delay_asked_for(body: str) -> float | None:
    """Return the seconds of `retryDelay` in an error body of Google's, at most MAX_WAIT_S; None if absent, zero or invalid."""
    wait = _duration(found[1]) if (found := DELAY.search(body)) else None
    return min(wait, MAX_WAIT_S) if wait else None


QUOTA = re.compile(r'"(?:quotaId|quota_limit)"\s*:\s*"[^"]{0,100}?Per(Minute|Day)')
PACIFIC = 8 * 3600
"""Seconds after midnight UTC at which Google's quota day begins (Pacific time without daylight saving)."""


def quota_reset(body: str) -> float | None:
    """Return the seconds until an exhausted quota that Google names resets; None if the body names none.
    A quota per minute gives 60; a quota per day gives the time until midnight on the Pacific coast, in winter time.
    Source: https://ai.google.dev/gemini-api/docs/rate-limits.
    """
    spans = set(QUOTA.findall(body))
    if "Day" in spans:
        return 86_400 - (time.time() - PACIFIC) % 86_400
    return 60.0 if spans else None


def _duration(text: str) -> float | None:
    """Return the seconds of a number, of a duration with units, or until a date with its zone (0 if past); None if invalid."""
    if (seconds := _number(text)) is not None:
        return seconds
    if (text := text.strip()) and (parts := DURATION.fullmatch(text)):
        return sum(float(part) * each for part, each in zip(parts.groups(), SECONDS, strict=True) if part)
    with suppress(ValueError):
        date = datetime.fromisoformat(text)
        return max(date.timestamp() - time.time(), 0) if date.tzinfo else None
    return None


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\s*\d{1,40}(\.\d{1,9})?\s*", text) else None
