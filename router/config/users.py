"""Source of end users' ids in the requests of a front end, as a caller's key declares it."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from router.config.options import MAX_NAME, NAME
from router.config.secrecy import secret_in_name
from router.errors import Misfit
from router.signature import Spelled


def user_header(text: str) -> str:
    """Return the name of a header as it is written. Raise Misfit if it is not one, or if its last word marks a secret (`X-Api-Key`)."""
    if not re.fullmatch(NAME, text, re.ASCII) or len(text) > MAX_NAME:
        raise Misfit(f"`{text[:40]}` is not the name of a header: write e.g. X-OpenWebUI-User-Id")
    if secret_in_name(text.rpartition("-")[2]) is not None:  # the last word alone: X-Auth-Request-User holds a user
        raise Misfit(f"the header {text} holds a secret, and the id of a user is logged: name the header that holds the id alone")
    return text


UserHeader = Annotated[str, Spelled("header's name", user_header, f"^{NAME}$", "X-OpenWebUI-User-Id")]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSource:
    """The place in a caller's requests that names the end user: a header or a field. It is trusted only for this caller.

    header: the name of the header, e.g. X-OpenWebUI-User-Id
    field: the name of the field of the body
    optional: true accepts a request that names no end user, and counts it for the caller itself; false refuses it
    """

    header: UserHeader | None = None
    field: Literal["user", "safety_identifier"] | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if (self.header is None) == (self.field is None):
            raise Misfit("a user is named either in a `header` or in a `field` of the body", "field" if self.header else None)


def user_source(text: str) -> UserSource:
    """Parse the `user=` option of a key file, `header:NAME` or `field:NAME`, into a UserSource. Raise Misfit for any other text."""
    kind, _, name = text.partition(":")
    if kind == "header":
        return UserSource(header=user_header(name))
    if kind == "field" and name in ("user", "safety_identifier"):
        return UserSource(field=name)
    raise Misfit("write user=header:NAME, e.g. user=header:X-OpenWebUI-User-Id; or user=field:user, or user=field:safety_identifier")
