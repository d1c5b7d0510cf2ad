"""The authenticated caller of a request."""

import hashlib
from typing import Literal

from router.chat import Json, JsonObject, owner
from router.config.limits import Limit
from router.config.users import UserSource
from router.errors import NotAllowed
from router.value import PartlyCompared, field


class Caller(PartlyCompared, frozen=True):
    """A caller: who asks. It is made before a body is read; what is kept for one caller, or for one of its end users, is kept under its `owner`.

    kind: anonymous where nobody has to say who asks
    name: of the key, or the token's `sub`; empty where nobody said
    id: another for every two callers, the same while a key is rotated; letters, digits and `. _ - : / @` only
    routes: the only ones it may ask; None for all
    limit: how much it may use, over all routes; None for as much as the routes let it
    users: where its requests name the end user for whom they ask; None where what they say of users is not believed
    user: the end user for whom it asks just now; empty where none is named
    claims: what its token claims, proved by the issuer's signature; nothing where it bears none
    """

    BESIDE = frozenset({"claims"})
    kind: Literal["anonymous", "key", "jwt"]
    name: str
    id: str
    routes: frozenset[str] | None = None
    limit: Limit | None = None
    users: UserSource | None = None
    user: str = ""
    claims: JsonObject = field(default_factory=dict[str, Json])

    @property
    def owner(self) -> str:
        """A name for the caller and its end user: different for every two pairs of them."""
        return owner(self.id, self.user)

    @property
    def user_in_body(self) -> bool:
        """Return whether the body names the end user, who is unknown before it is read."""
        return self.users is not None and self.users.field is not None

    def may_ask(self, route: str) -> bool:
        """Return whether the caller may use this route."""
        return self.routes is None or route in self.routes

    def asks(self, route: str) -> None:
        """Raise NotAllowed if the caller may not use the route."""
        if not self.may_ask(route):
            raise NotAllowed


def digest(*parts: str | bytes) -> str:
    """Return a digest for use in an id: the parts cannot be recovered from it, nor others found with the same digest."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:32]
