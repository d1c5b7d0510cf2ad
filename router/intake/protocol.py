"""The wire (client protocol) of an answer: chosen by the request's parameter, its path, routes.yaml, or the body, in this order."""

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import parse_qs

from router.chat import Json
from router.errors import BadAsk
from router.intake.fields import listing, mapping
from router.intake.messages import conversation
from router.value import replace
from router.wire import WIRES, Refusal, Wire, compact

OPENAI = "/v1/"
"""Base path of OpenAI's APIs, and of Anthropic's. Below it the path decides the wire, whatever `server.protocol` is."""
MESSAGES = f"{OPENAI}messages"
"""Path of Anthropic's Messages API."""
COMPLETIONS = f"{OPENAI}completions"
"""Path of OpenAI's legacy completions API."""
RESPONSES = f"{OPENAI}responses"
"""Path of OpenAI's Responses API."""
AG_UI = "/api/agui"
"""Path of AG-UI; a route's id may follow it."""
GATEWAY = "/v4/ai"
"""Base path of the AI SDK's gateway protocol."""
ADDRESSED = {MESSAGES: "anthropic", RESPONSES: "responses", AG_UI: "ag-ui", GATEWAY: "ai-gateway", OPENAI.rstrip("/"): "openai"}
"""Base path → the wire of it and of all paths below it; the first that fits counts."""
OF_AI_SDK_4 = frozenset({"parts", "toolInvocations", "experimental_attachments"})
OF_AI_SDK = re.compile(rb'[\s{,]"(?:parts|trigger|toolInvocations|experimental_attachments)"\s*:')
"""A key of the AI SDK's bodies, in unparsed JSON. Within a text, its quotation mark would follow a backslash."""


def _refusal(why: Refusal) -> bytes:
    """Return the body of an error in the form of the wire `line`, with its sentence also as `message`, where AI SDK clients look."""
    sentence, code, request_id = why.sentence, why.code, why.request_id
    return compact({"type": "error", "error": sentence, "message": sentence, "code": code, "requestId": request_id}).encode()


UNDECIDED = replace(WIRES["line"], refusal=_refusal)
"""The wire of a refusal while the client's wire is unknown."""


def requested(query: bytes, header: bytes) -> str | None:
    """Return the name of the wire in `?protocol=`, or else in the header X-Stream-Protocol; None if neither names one.

    BadAsk if there is no such wire. The error does not repeat the name.
    """
    given = parse_qs(query.decode("latin-1")).get("protocol", [header.decode("latin-1").strip()])[0]
    if given and given not in WIRES:
        raise BadAsk(f"protocol: one of {', '.join(WIRES)} is needed.")
    return given or None


@lru_cache(maxsize=64)
def chosen(named: str | None, path: str, declared: str) -> Wire:
    """Return the wire of an answer: the named one, else that of the path, else the declared one; UNDECIDED where the body decides.

    named: name of the wire that the request names, if any
    declared: `server.protocol`; `auto` to go by the body
    """
    if named is not None:
        return WIRES[named]
    if path == COMPLETIONS:
        return WIRES["text-completion"]
    addressed = next((name for base, name in ADDRESSED.items() if f"{path}/".startswith(f"{base}/")), None)
    return UNDECIDED if addressed is None and declared == "auto" else WIRES[addressed or declared]


def below_openai(path: str) -> bool:
    """Return whether a path is /v1 or below it."""
    return f"{path}/".startswith(OPENAI)


def below_gateway(path: str) -> bool:
    """Return whether a path is /v4/ai or below it."""
    return f"{path}/".startswith(f"{GATEWAY}/")


def guessed(beginning: bytes) -> Wire:
    """Return the wire for the refusal of a body that is not read: `ui-message-stream` if it has a key of the AI SDK, else UNDECIDED."""
    return WIRES["ui-message-stream"] if OF_AI_SDK.search(beginning) else UNDECIDED


def spoken(fields: Mapping[str, Json]) -> Wire:
    """Return the wire that matches the form of a body.

    `ui-message-stream` (AI SDK 5 and later): the body has `trigger`, or one of its messages has `parts` and no `content`.
    `data-stream` (AI SDK 4): a message with `content` also has `parts`, `toolInvocations` or `experimental_attachments`.
    `line`: any other body.
    """
    if "trigger" in fields:
        return WIRES["ui-message-stream"]
    of_ai_sdk_4 = False
    for message in listing(conversation(fields)) or ():
        one = mapping(message) or {}
        if one.get("content") is None:
            if "parts" in one:
                return WIRES["ui-message-stream"]
        elif not of_ai_sdk_4:
            of_ai_sdk_4 = not OF_AI_SDK_4.isdisjoint(one)
    return WIRES["data-stream" if of_ai_sdk_4 else "line"]
