"""Which dialect an answer is written in: what the client asked for, the address, routes.yaml, or the body, in this order."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from router.chat import Json
from router.errors import BadAsk
from router.intake.fields import listing, mapping
from router.intake.messages import conversation
from router.wire import WIRES, Wire

OPENAI = "/v1/"
"""Addresses below this are OpenAI's: who asks there speaks its dialect, whatever the chat front end speaks."""
MESSAGES = f"{OPENAI}messages"
"""The address of Anthropic's Messages API, and what is below it."""
OF_AI_SDK_4 = ("parts", "toolInvocations", "experimental_attachments")


def requested(query: bytes, header: bytes) -> str | None:
    """The dialect that a request names, in `?protocol=` or else in X-Stream-Protocol; None where it names none.

    BadAsk where there is no such dialect: what was asked for is not repeated.
    """
    given = parse_qs(query.decode("latin-1")).get("protocol", [header.decode("latin-1").strip()])[0]
    if given and given not in WIRES:
        raise BadAsk(f"protocol: one of {', '.join(WIRES)} is needed.")
    return given or None


def chosen(named: str | None, path: str, declared: str, fields: Mapping[str, Json]) -> Wire:
    """The dialect of an answer. `declared`: `server.protocol`; `fields`: the body's, empty while it is not read."""
    if named is not None:
        return WIRES[named]
    if path == MESSAGES or path.startswith(f"{MESSAGES}/"):
        return WIRES["anthropic"]
    if path.startswith(OPENAI):
        return WIRES["openai"]
    return WIRES[spoken(fields) if declared == "auto" else declared]


def spoken(fields: Mapping[str, Json]) -> str:
    """The dialect that a body gives away. Clients that know several forms of a message send only one."""
    messages = [one for one in map(mapping, listing(conversation(fields)) or ()) if one is not None]
    if "trigger" in fields or any("parts" in one and one.get("content") is None for one in messages):
        return "ui-message-stream"
    if any(one.get("content") is not None and any(key in one for key in OF_AI_SDK_4) for one in messages):
        return "data-stream"
    return "line"
