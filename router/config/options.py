"""A target's `body` and `headers`: fields and headers of its requests beside the router's own (its fields: router/targets/options.py)."""

import re
from collections.abc import Mapping
from typing import Annotated

from router.config.secrecy import secret_in_name
from router.config.values import Name, Secret, checked
from router.errors import Misfit
from router.signature import Spelled

NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
"""A header's name (RFC 9110, 5.6.2)."""
VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""A header's value that all servers read alike: visible ASCII, blanks only inside (RFC 9110, 5.5)."""
MAX_NAME = 256
MAX_VALUE = 8 * 1024
"""Most characters of a header's value: servers refuse more than some KiB for all headers together."""
KEYS = "the key is written as `api_key`, and sent as its provider wants it"
FRAMING = "the router writes it for each request"
RESERVED: Mapping[str, str] = {
    **dict.fromkeys(("authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key"), KEYS),
    **dict.fromkeys(("host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive"), FRAMING),
    **dict.fromkeys(("upgrade", "te", "trailer", "expect", "proxy-connection", "http2-settings"), FRAMING),
    **dict.fromkeys(
        ("accept", "accept-encoding", "content-encoding"), "the router reads what it asks for: an event stream, not compressed"
    ),
    "anthropic-version": "the router reads the version that it asks for",
}
"""Header that a target may not set, in lower case → the reason."""


def header_name(text: str) -> Name:
    """Return a header's name as a Name. Raise Misfit if it is not one, or is reserved for keys and for the router's own headers."""
    if not re.fullmatch(NAME, text, re.ASCII) or len(text) > MAX_NAME:
        raise Misfit("this is no header's name: use letters, digits and -, as in anthropic-beta")
    if (why := RESERVED.get(text.lower())) is not None:
        raise Misfit(f"`{text}` cannot be set: {why}")
    return Name(text)


# Nothing of the text is repeated: it may be a secret.
header_value = checked(
    Secret,
    lambda text: VALUE.fullmatch(text) and len(text) <= MAX_VALUE,
    "a header's value is one line of visible ASCII characters, with blanks only between them",
)
"""Returns a header's value as a Secret. Raises Misfit if it is longer than 8 KiB, or not one line of visible ASCII."""
_field_name = checked(Name, lambda text: text and text.isprintable(), "a field's name is visible characters")
BodyField = Annotated[Name, Spelled("field", _field_name, "", "top_k")]
HeaderName = Annotated[Name, Spelled("header's name", header_name, f"^{NAME}$", "anthropic-beta")]
HeaderValue = Annotated[Secret, Spelled("header's value", header_value, "", "${TEAM}")]


def check_headers(headers: Mapping[Name, Secret]) -> None:
    """Raise Misfit if two names differ at most in case, or if a header with a secret's name has a value without `${…}`."""
    seen: set[str] = set()
    for name, value in headers.items():
        if name.lower() in seen:
            raise Misfit(f"`{name}` is there twice: a header's name has no case", "headers", place=name.place)
        seen.add(name.lower())
        if secret_in_name(name) is not None and "$" not in value.source:
            why = f"`{name}` holds a secret: write ${{NAME}}, and set that variable where the router is started"
            raise Misfit(why, "headers", place=name.place)


def public_headers(headers: Mapping[Name, Secret]) -> dict[str, str]:
    """Return name in lower case → value of the headers whose names mark no secret: an answer may depend on them."""
    return {name.lower(): value.value for name, value in headers.items() if secret_in_name(name) is None}
