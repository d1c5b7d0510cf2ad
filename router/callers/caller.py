"""The authenticated caller of a request."""

import hashlib
from typing import Literal

from router.chat import Json, JsonObject, owner
from router.config.keys import UserSource
from router.config.limits import Limit
from router.errors import NotAllowed
from router.value import PartlyCompared, field, force_setattr


class Caller(PartlyCompared, frozen=True):
    """The caller of a request: the holder of an API key or a token, with the rights and the limit of that key or token.

    kind: anonymous where no authentication is declared
    name: of the key, or the token's `sub`; empty for an anonymous caller
    id: different for every two callers, the same while a key is rotated; letters, digits and `. _ - : / @` only
    routes: the only routes that it may ask; None for all
    limit: how much it may use, over all routes; None without a limit of its own
    users: where its requests name the end user; None where they name none that is accepted
    user: the end user of this request; empty without one
    claims: the claims of its token, proved by the issuer's signature; empty without a token
    """

    BESIDE = frozenset({"claims", "owner", "free"})
    kind: Literal["anonymous", "key", "jwt"]
    name: str
    id: str
    routes: frozenset[str] | None = None
    limit: Limit | None = None
    users: UserSource | None = None
    user: str = ""
    claims: JsonObject = field(default_factory=dict[str, Json])
    owner: str = ""
    """The caller's id and end user as one text, different for every two pairs; cached answers and counts are kept under it."""
    free: bool = False
    """True if its requests have no limit of its own and name no end user."""

    def __post_init__(self) -> None:
        force_setattr(self, "owner", owner(self.id, self.user))
        force_setattr(self, "free", self.limit is None and self.users is None)

    def may_ask(self, route: str) -> bool:
        """Return whether the caller may use this route."""
        return self.routes is None or route in self.routes

    def asks(self, route: str) -> None:
        """Raise NotAllowed if the caller may not use this route."""
        if not self.may_ask(route):
            raise NotAllowed


def digest(*parts: str | bytes) -> str:
    """Return 32 hex digits of a SHA-256 over the parts, for use in an id. The same text split into other parts gives another digest."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:32]
