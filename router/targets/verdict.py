"""What a provider's refusal means: status, headers and body → one of our errors. For every lane.

Providers disagree on statuses (a wrong key is a 400 at xAI, a conversation too long a plain 400 at most), so the body
is looked at too, here and nowhere else; what it said goes no further than this file.
"""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

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
    if status in (400, 422) and FILTERED.search(body):
        return ContentFiltered(target, "content_filter")
    if status in DENIED or (status == 400 and WRONG_KEY.search(body)):
        return TargetDenied(target, outcome)
    if status in AGAIN or status >= 500:
        return TargetDown(target, outcome, retry_after=wait)
    return TargetRefused(target, outcome)


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


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\s*\d{1,12}(\.\d{1,9})?\s*", text) else None
