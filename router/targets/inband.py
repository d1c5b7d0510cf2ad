"""Errors inside a stream, or in place of an answer, under status 200, in each form that providers use.

    {"error": {…}} · {"error": "…"}                  OpenAI, and nearly all others
    [{"error": {…}}]                                 Google, at its OpenAI address
    event: error                                     the event name of server-sent events, with any data
    error: {…}                                       llama.cpp, as a field of the event
    {"object": "error", "message", "code"}           vLLM
    {"code", "message", "request_id"}                DashScope
    {"base_resp": {"status_code", "status_msg"}}     MiniMax
    {"choices": [{"error": {…}}]}                    OpenRouter, within a choice
    {"__type": "…Exception", "message"}              AWS
    {"Error": {…}} · {"fault": {…}}                  Tencent, Apigee
    {"success": false} · {"status": "failed"}        gateways
    {"detail": …}                                    servers built with FastAPI
    {"type": "error", …} · {"errors": […]}           Anthropic's form without its `error`; gateways
    a text with the words of an error                proxies

The texts of valid chunks are not examined, because they are the model's.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import cast

from router.errors import TargetError
from router.targets.verdict import inside

SPOKEN = re.compile(
    rb"\berror\b|\bexception\b|\bfail(ed|ure)\b|\bunavailable\b|\boverloaded\b|\btimed? ?out\b|\bbad gateway\b", re.IGNORECASE
)
"""Words by which a text in place of a chunk is an error; a text without them is ignored."""
FAILED = ("error", "exception", "failure")
"""Endings of the type of an error, and of the name of its event, in lower case."""
ERRORS = (*FAILED, "errors", "fault")
"""Fields with an error. Names of fields are compared in lower case, without underscores."""
NUMBERED = ("code", "status", "statuscode", "errorcode")
WORDED = ("message", "msg", "statusmsg", "errormsg", "errormessage")
BARE = frozenset({*NUMBERED, *WORDED, "requestid", "id"})
ERROR_STATUS = re.compile(r"[45]\d\d")
WELL = frozenset({"", "0", "200", "ok", "success", "succeeded", "completed", "processing", "in_progress", "queued", "pending", "running"})
"""Codes and statuses of a frame that is not an error."""
ILL = frozenset({"failed", "failure", "error", "aborted", "cancelled", "timeout"})
"""Statuses of an error that may have no message."""
CONTENT = frozenset({"choices", "candidates", "content", "delta", "output"})
"""Fields of a chunk: beside them an empty `error` is not an error."""
AROUND = ("response", "header", "baseresp", "data", "result", "body", "payload")
"""Fields in whose object an error may be."""
NESTED = 4
"""Levels of a frame that are examined."""


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
        held: object = json.loads(data.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        spoken = not data.lstrip().startswith(b"{") and SPOKEN.search(data[:1000])
        return data.decode("utf-8", "replace") if spoken else None
    if isinstance(held, str):
        return held if SPOKEN.search(held[:1000].encode("utf-8", "surrogatepass")) else None
    if isinstance(held, list):
        errors = (_error_object(cast("Mapping[str, object]", one)) for one in cast("list[object]", held) if isinstance(one, dict))
        return next((error for error in errors if error is not None), None)
    return _error_object(cast("Mapping[str, object]", held)) if isinstance(held, dict) else None


def _error_object(held: Mapping[str, object], levels: int = NESTED) -> object:
    """Return the object with an error in `held`, or `held` if it has the form of an error; else None. `levels`: how deep to search."""
    named = {name.replace("_", "").lower(): value for name, value in held.items()}
    chunk = not CONTENT.isdisjoint(named)
    for name in ERRORS:
        error = named.get(name)
        if _says(error, levels) if chunk or name != "error" else error is not None:
            return cast("object", error) if isinstance(error, dict) and error else held
    if _is_error(named):
        return held
    choices = cast("list[object]", listed) if isinstance(listed := named.get("choices"), list) else []
    errors = [cast("Mapping[str, object]", one).get("error") for one in choices if isinstance(one, dict)]
    within = [*(named.get(name) for name in AROUND), *({"error": error} for error in errors if _says(error, levels))]
    found = (_error_object(cast("Mapping[str, object]", one), levels - 1) for one in within if levels > 1 and isinstance(one, dict))
    return next((one for one in found if one is not None), None)


def _is_error(named: Mapping[str, object]) -> bool:
    """Return whether an object without a field of ERRORS has the form of an error. `named`: its values, by names in lower case."""
    kind = named.get("type")
    if named.get("object") == "error" or (isinstance(kind, str) and kind.lower().endswith(FAILED)):
        return True
    stated = [str(value).lower() for name in NUMBERED if isinstance(value := named.get(name), str | int)]
    unsuccessful = named.get("detail") or named.get("success") is False or named.get("ok") is False
    if unsuccessful or any(one in ILL or ERROR_STATUS.fullmatch(one) for one in stated):
        return True
    if not any(isinstance(named.get(name), str) for name in WORDED) or (stated and WELL.issuperset(stated)):
        return False
    return bool(stated or named.get("requestid") or "param" in named) or named.keys() <= BARE


def _says(value: object, levels: int) -> bool:
    """Return whether a value is set, and has a value that is set within it: `{"message": ""}` has none."""
    if levels and isinstance(value, dict | list):
        inner = cast("Iterable[object]", value.values() if isinstance(value, dict) else value)
        return any(_says(one, levels - 1) for one in inner)
    return bool(value)
