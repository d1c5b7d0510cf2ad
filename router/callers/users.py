"""End users of a caller: a front end with many users names the user of each request.

The name is accepted only from callers whose key declares where it stands; it is ignored from all others.
"""

from collections.abc import Iterable, Mapping

from router.callers.caller import Caller
from router.chat import Json, owner
from router.errors import BadAsk
from router.value import replace

MAX_USER = 255
"""Characters of a user's id; OpenID Connect has as many for a `sub`."""
PLACEHOLDER = ("{{", "}}")
"""Beginning and end of a front end's placeholder; an unfilled one would be the same id for all users."""


def well_formed(user: str) -> bool:
    """Return whether a text may be a user's id: 1 to 255 printable characters, no space at its ends, no `{{` or `}}`."""
    return 0 < len(user) <= MAX_USER and user.isprintable() and user == user.strip() and not any(sign in user for sign in PLACEHOLDER)


def from_headers(caller: Caller, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
    """Return the caller with the end user in the header that its key declares; unchanged if none is declared.

    A missing header: unchanged if it is optional, else BadAsk. A repeated or malformed one: BadAsk. Names of headers are in lower case.
    """
    source = caller.users
    if source is None or source.header is None:
        return caller
    wanted = source.header.lower().encode()
    given = [value for name, value in headers if name == wanted]
    if len(given) > 1:
        raise BadAsk(f"{source.header}: one such header is needed, not several.")
    try:
        user = given[0].decode().strip(" \t") if given else ""
    except UnicodeDecodeError:
        raise BadAsk(_malformed(source.header)) from None
    return _asking_for(caller, source.header, user, optional=source.optional)


def from_body(caller: Caller, fields: Mapping[str, Json]) -> Caller:
    """Return the caller as `from_headers` does, with the end user in the body field that its key declares."""
    source = caller.users
    if source is None or source.field is None:
        return caller
    given = fields.get(source.field)
    if not isinstance(given, str | None):
        raise BadAsk(_malformed(source.field))
    return _asking_for(caller, source.field, given or "", optional=source.optional)


def _asking_for(caller: Caller, where: str, user: str, *, optional: bool) -> Caller:
    if not user:
        if optional:
            return caller
        raise BadAsk(f"{where}: this must name the end user for whom this key asks, and it is missing.")
    if not well_formed(user):
        raise BadAsk(_malformed(where))
    return replace(caller, user=user, owner=owner(caller.id, user))  # not every msgspec calls `__post_init__` for a copy


def _malformed(where: str) -> str:
    return f"{where}: the id of a user is needed, of {MAX_USER} printable characters at most and no placeholder."
