"""Who may see the operator's pages: this machine, or who has the admin key.

Without a key that is declared they answer on loopback alone, and there neither to what a proxy passes on (everybody comes from
loopback then) nor to what a web page sends (it may have talked a browser of this machine into it).
"""

import hmac
import ipaddress

from starlette.types import Scope

from router.config.values import Secret
from router.errors import NotAllowed, Unauthorized
from router.server.sites import from_another_site

PAGES = ("/metrics", "/docs", "/openapi.json")
FORWARDED = (b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"forwarded", b"via", b"origin")


def guarded(path: str) -> bool:
    """Whether this is an operator's page."""
    return path in PAGES or path.startswith(("/admin", "/docs/"))


def enter(scope: Scope, key: Secret | None) -> None:
    """Let an operator in; Unauthorized or NotAllowed for everybody else."""
    if from_another_site(scope):
        raise NotAllowed("Operators' pages are not for pages of other sites: enter the address yourself, or ask from a program.")
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if key is not None:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), key.value.encode()):
            raise Unauthorized("This page takes the admin key: Authorization: Bearer …")
        return
    peer = scope.get("client")
    alone = peer is not None and _loopback(peer[0]) and _own_name(headers.get(b"host", b"").decode("latin-1"))
    if not alone or any(name in headers for name in FORWARDED):
        raise NotAllowed("Operators' pages answer on this machine's loopback alone, unless server.admin.key is declared.")


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _own_name(host: str) -> bool:
    """Whether the request was meant for this machine by name: a page of another host may have been given our address."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _loopback(name)
