"""The dialect of an answer: the one that the client names, the address, routes.yaml, or the body, in this order."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from urllib.parse import parse_qs

from router.chat import Json
from router.errors import BadAsk
from router.intake.fields import listing, mapping
from router.intake.messages import conversation
from router.wire import WIRES, Refusal, Wire, compact

OPENAI = "/v1/"
"""Addresses below this are OpenAI's: who asks there speaks its dialect, whatever the chat front end speaks."""
MESSAGES = f"{OPENAI}messages"
"""The address of Anthropic's Messages API, and what is below it."""
COMPLETIONS = f"{OPENAI}completions"
"""The address of OpenAI's legacy completions API."""
RESPONSES = f"{OPENAI}responses"
"""The address of OpenAI's Responses API."""
AG_UI = "/api/agui"
"""The address of AG-UI; below it stand the routes."""
GATEWAY = "/v4/ai"
"""The base address of the AI SDK's gateway protocol."""
OF_AI_SDK_4 = frozenset({"parts", "toolInvocations", "experimental_attachments"})
OF_AI_SDK = re.compile(rb'[\s{,]"(?:parts|trigger|toolInvocations|experimental_attachments)"\s*:')
"""A key of the AI SDK's bodies in JSON that is not read to its end. Inside a text a quotation mark follows a backslash."""


def _refusal(why: Refusal) -> bytes:
    """An error as `line` has it, with its sentence as `message` too, where clients of the AI SDK look."""
    own: dict[str, Json] = {"type": "error", "error": why.sentence, "message": why.sentence, "code": why.code}
    return compact({**own, "requestId": why.request_id}).encode()


UNDECIDED = replace(WIRES["line"], refusal=_refusal)
"""The dialect of a refusal while nothing says which one the client reads."""


def requested(query: bytes, header: bytes) -> str | None:
    """The dialect that a request names, in `?protocol=` or else in X-Stream-Protocol; None where it names none.

    BadAsk where there is no such dialect: what was asked for is not repeated.
    """
    if not query and not header:
        return None
    given = parse_qs(query.decode("latin-1")).get("protocol", [header.decode("latin-1").strip()])[0]
    if given and given not in WIRES:
        raise BadAsk(f"protocol: one of {', '.join(WIRES)} is needed.")
    return given or None


def chosen(named: str | None, path: str, declared: str, fields: Mapping[str, Json] | None = None) -> Wire:
    """The dialect of an answer. `declared`: `server.protocol`; `fields`: the body's, None while it is not read."""
    if named is not None:
        return WIRES[named]
    if (addressed := _addressed(path)) is not None:
        return addressed
    if declared != "auto":
        return WIRES[declared]
    return UNDECIDED if fields is None else WIRES[spoken(fields)]


@lru_cache(maxsize=64)
def _addressed(path: str) -> Wire | None:
    """The dialect of an address; None where it is open. Asked for each request more than once, and there are a dozen addresses."""
    if path == MESSAGES or path.startswith(f"{MESSAGES}/"):
        return WIRES["anthropic"]
    if path == RESPONSES or path.startswith(f"{RESPONSES}/"):
        return WIRES["responses"]
    if path == COMPLETIONS:
        return WIRES["text-completion"]
    if path == AG_UI or path.startswith(f"{AG_UI}/"):
        return WIRES["ag-ui"]
    if below_gateway(path):
        return WIRES["ai-gateway"]
    return WIRES["openai"] if below_openai(path) else None


def below_openai(path: str) -> bool:
    """Return whether an address is one of OpenAI's, or would be."""
    return f"{path}/".startswith(OPENAI)


def below_gateway(path: str) -> bool:
    """Return whether an address is one of the AI SDK's gateway protocol, or would be."""
    return f"{path}/".startswith(f"{GATEWAY}/")


def guessed(beginning: bytes) -> Wire:
    """The dialect of a refusal by the beginning of a body that is not read to its end, or is not JSON."""
    return WIRES["ui-message-stream"] if OF_AI_SDK.search(beginning) else UNDECIDED


def spoken(fields: Mapping[str, Json]) -> str:
    """The dialect that a body gives away. Clients that know several forms of a message send only one."""
    if "trigger" in fields:
        return "ui-message-stream"
    of_ai_sdk_4 = False
    for message in listing(conversation(fields)) or ():
        one = mapping(message)
        if one is None:
            continue
        if one.get("content") is None:
            if "parts" in one:
                return "ui-message-stream"
        elif not of_ai_sdk_4:
            of_ai_sdk_4 = not OF_AI_SDK_4.isdisjoint(one)
    return "data-stream" if of_ai_sdk_4 else "line"
