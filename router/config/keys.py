"""Callers' API keys as hashes: in routes.yaml, or one to a line in a file of their own.

    # name  hash               options
    alice   sha256:9b74c9897…  expires=2027-01-31  routes=chat-model,title-model
    webui   sha256:4e1243bd2…  user=header:X-OpenWebUI-User-Id
    ci      sha256:1c8bfe8f8…

A key cannot be derived from its hash, so neither file is a secret. Write access to them must be restricted.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Literal

from router.config.limits import Limit
from router.config.options import MAX_NAME, NAME
from router.config.secrecy import secret_in_name
from router.config.values import Name, Reference, name_of
from router.errors import Misfit
from router.signature import Spelled
from router.value import Value

HASH = r"sha256:[0-9a-f]{64}"
DAY = r"\d{4}-\d\d-\d\d"
MOMENT = rf"{DAY}(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?"
KEY = "pm_"
"""Prefix of every key that `router keys new` makes: a key written in place of its hash is recognised by it."""


def _hash(text: str) -> str:
    if KEY in text:
        raise Misfit("this is a key, and everybody who reads this can use it now: make another, and write its hash")
    if not re.fullmatch(HASH, text):
        raise Misfit("a key's hash is `sha256:` and 64 hexadecimal digits, as `router keys new NAME` prints it")
    return text


def moment(text: str) -> datetime:
    """Parse a moment with its time zone, or a day, which becomes its first second in UTC. Raise Misfit if it is neither."""
    with suppress(ValueError):
        if re.fullmatch(MOMENT, text, re.ASCII):
            made = datetime.fromisoformat(text)
            return made if made.tzinfo else made.replace(tzinfo=UTC)
    raise Misfit(f"`{text}` is no day and no moment: write e.g. 2027-01-31, or 2027-01-31T18:00:00Z")


def user_header(text: str) -> str:
    """Return the name of a header as it is written. Raise Misfit if it is not one, or if its last word marks a secret (`X-Api-Key`)."""
    if not re.fullmatch(NAME, text, re.ASCII) or len(text) > MAX_NAME:
        raise Misfit(f"`{text[:40]}` is not the name of a header: write e.g. X-OpenWebUI-User-Id")
    if secret_in_name(text.rpartition("-")[2]) is not None:  # the last word alone: X-Auth-Request-User holds a user
        raise Misfit(f"the header {text} holds a secret, and the id of a user is logged: name the header that holds the id alone")
    return text


KeyHash = Annotated[str, Spelled("key's hash", _hash, f"^{HASH}$", f"sha256:{'0' * 64}")]
Moment = Annotated[datetime, Spelled("moment", moment, f"^{MOMENT}$", "2027-01-31")]
UserHeader = Annotated[str, Spelled("header's name", user_header, f"^{NAME}$", "X-OpenWebUI-User-Id")]


class UserSource(Value, frozen=True, kw_only=True):
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


class ApiKey(Value, frozen=True, kw_only=True):
    """A caller's key. `router keys new NAME` makes one, and prints the lines to write.

    hash: the hash of the key; the key itself is not written here
    expires: the day or moment from which the key is refused, e.g. 2027-01-31; a day begins in UTC
    routes: the routes that the caller may ask; by default all
    limit: how much the caller may use, over all routes
    user: for the key of a front end: where its requests name the end user; by default they name none
    """

    hash: KeyHash
    expires: Moment | None = None
    routes: tuple[Reference, ...] | None = None
    limit: Limit | None = None
    user: UserSource | None = None

    def __post_init__(self) -> None:
        if self.routes == ():
            raise Misfit("it could ask nothing: name the routes, or leave `routes` out for all of them", "routes")
        if self.limit is not None and self.limit.per == "user" and self.user is None:
            raise Misfit(
                "`per: user` counts each end user, and requests with this key name none: write `user: {header: X-OpenWebUI-User-Id}` "
                "beside the limit, with the header of the front end that has the key, or leave `per` out",
                "limit",
            )


OPTIONS: Mapping[str, Callable[[str], object]] = {
    "expires": moment,
    "routes": lambda text: tuple(name_of(one) for one in text.split(",")),
    "user": user_source,
}
"""Option that a line may give a key beside its hash → the function that reads its value."""


def lines(text: str) -> dict[Name, ApiKey]:
    """Parse a file of keys, one to a line: name → key. Raise Misfit at the first wrong line, with its number and no text of it."""
    found: dict[Name, ApiKey] = {}
    hashes: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if words := line.partition("#")[0].split():
                _add(words, found, hashes)
        except Misfit as misfit:
            why = "write NAME HASH [expires=…] [routes=…] [user=…]" if misfit.message.startswith("`") else misfit.message
            raise Misfit(f"line {number} of the keys: {why}") from None
    return found


def _add(words: list[str], keys: dict[Name, ApiKey], hashes: set[str]) -> None:
    """Add the key in a line with these words to `keys`, and its hash to `hashes`.

    Raise Misfit if it, or its name, is there already, or the line is wrong.
    """
    if words[0].startswith(KEY):
        raise Misfit("it begins with a key; write NAME HASH, and make another key: this one was shown")
    if words[0] in keys:
        raise Misfit("this name stands in an earlier line")
    if len(words) == 1:
        raise Misfit("there is no hash: write NAME HASH [expires=…] [routes=…] [user=…]")
    given: dict[str, object] = {}
    for word in words[2:]:
        name, equals, value = word.partition("=")
        if not equals or name not in OPTIONS or name in given:
            raise Misfit(f"write NAME HASH, then {', '.join(f'{one}=…' for one in OPTIONS)}, each at most once")
        given[name] = OPTIONS[name](value)
    made, owner = ApiKey(hash=_hash(words[1]), **given), name_of(words[0])  # type: ignore[arg-type]
    if made.hash in hashes:
        raise Misfit("this key stands in an earlier line")
    hashes.add(made.hash)
    keys[owner] = made


KeyLines = Annotated[dict[Name, ApiKey], Spelled("list of keys", lines, "", f"alice sha256:{'0' * 64}")]
