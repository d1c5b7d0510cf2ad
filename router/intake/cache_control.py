"""A request's wishes to caches: its Cache-Control (RFC 9111, 5.2.1), and a front end's wish for another answer."""

import math
import re
from collections.abc import Mapping

from router.chat import CacheControl, Json

REGENERATE = "regenerate-message"
"""Trigger of AI SDK 5 and later when the user wants another answer than the one before."""
SECONDS = re.compile(r'"?(\d{1,10})"?', re.ASCII)


def cache_control(header: bytes, fields: Mapping[str, Json]) -> CacheControl:
    """Return what a request asks of a cache: by its header, and by its body where that wants a new answer.

    `header`: the values, joined by commas; `fields`: the body's. Directives that are not known say nothing; a max-age that is no number
    of seconds takes nothing that was kept.
    """
    max_age, store = math.inf, True
    for directive in header.decode("latin-1").lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name == "no-cache":
            max_age = 0.0
        elif name == "no-store":
            store = False
        elif name == "max-age":
            hit = SECONDS.fullmatch(value)
            max_age = min(max_age, float(hit[1]) if hit else 0.0)
    return CacheControl(0.0 if fields.get("trigger") == REGENERATE else max_age, store)
