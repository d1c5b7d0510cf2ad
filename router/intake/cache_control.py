"""A request's wishes to caches: its Cache-Control header (RFC 9111, 5.2.1), and a front end's request for a new answer."""

import math
import re
from collections.abc import Mapping

from router.chat import CacheControl, Json

REGENERATE = "regenerate-message"
"""The `trigger` of AI SDK 5 and later when the user asks for a new answer."""
SECONDS = re.compile(r'"?(\d{1,10})"?', re.ASCII)


def cache_control(header: bytes, fields: Mapping[str, Json]) -> CacheControl:
    """Return what a request allows a cache to do, by its header and by a `regenerate-message` trigger in its body.

    header: the values of Cache-Control, joined by commas
    fields: the body's

    `no-cache` and the trigger count as a max-age of 0; without them and without max-age, any age is allowed. `no-store` forbids to store.
    Other directives are ignored; a max-age that is not a number of seconds counts as 0.
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
