"""Errors inside a stream, or in place of an answer, under status 200, in each form that providers use.

    {"error": {…}} · {"error": "…"}                  OpenAI, and nearly all others
    [{"error": {…}}]                                 Google, at its OpenAI address
    event: error                                     the event name of server-sent events, with any data
    error: {…}                                       llama.cpp, as a field of the event
    {"object": "error", "message", "code"}           vLLM
    {"code", "message", "request_id"}                DashScope
    {"detail": …}                                    servers built with FastAPI
    {"type": "error", …} · {"errors": […]}           Anthropic's form without its `error`; gateways
    a text with the words of an error                proxies

Frames that are valid chunks are not examined, because their texts are the model's.
"""

import json
import re
from collections.abc import Mapping
from typing import cast

from router.errors import TargetError
from router.targets.verdict import inside

SPOKEN = re.compile(
    rb"\berror\b|\bexception\b|\bfail(ed|ure)\b|\bunavailable\b|\boverloaded\b|\btimed? ?out\b|\bbad gateway\b", re.IGNORECASE
)
"""Words by which a text in place of a chunk is an error; a text without them is ignored."""
NUMBERED = ("code", "status", "status_code", "error_code", "statusCode", "request_id")
WORDED = ("message", "msg", "error_msg", "error_message", "errorMessage")
BARE = frozenset({*NUMBERED, *WORDED, "id"})


class ErrorData(bytes):
    """Bytes of a server-sent event whose event or field name marks an error: `fault` takes any text in them as an error."""


def error_in(target: str, data: bytes) -> TargetError | None:
    """Return the TargetError for the error in a frame that is not a chunk; None if the frame has none."""
    found = fault(data)
    return None if found is None else inside(target, found)


def fault(data: bytes) -> object:
    """Return the error in a frame that is not a chunk: the object in `error`, else the object around it, else the text; None without one.

    A text is an error if it has a word such as `failed` or `unavailable`, or is ErrorData.
    """
    return _found(data) or (data.decode("utf-8", "replace") if isinstance(data, ErrorData) else None)


def _found(data: bytes) -> object:
    try:
        held: object = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        spoken = not data.lstrip().startswith(b"{") and SPOKEN.search(data[:1000])
        return data.decode("utf-8", "replace") if spoken else None
    if isinstance(held, str):
        return held if SPOKEN.search(held[:1000].encode("utf-8", "surrogatepass")) else None
    if isinstance(held, list):
        errors = (_error_object(cast("Mapping[str, object]", one)) for one in cast("list[object]", held) if isinstance(one, dict))
        return next((error for error in errors if error is not None), None)
    return _error_object(cast("Mapping[str, object]", held)) if isinstance(held, dict) else None


def _error_object(held: Mapping[str, object]) -> object:
    """Return the object in `error`, or else `held` itself if it has the form of an error; None if it has not."""
    error = held.get("error")
    if isinstance(error, dict) and error:
        return cast("object", error)
    if error is not None or held.get("errors"):
        return held
    kind = held.get("type")
    named = held.get("object") == "error" or (isinstance(kind, str) and kind.lower().endswith("error"))
    worded = any(isinstance(held.get(name), str) for name in WORDED)
    numbered = any(held.get(name) for name in NUMBERED)
    if named or held.get("detail") or (worded and (numbered or held.keys() <= BARE)):
        return held
    return None
