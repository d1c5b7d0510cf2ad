"""API keys: their form, their creation, and the caller of a given key.

    pm_3kWn8fQz_<43 characters: 256 random bits><6 characters: a checksum>

The prefix tells a leaked key from any other text. The part between the two `_` may be shown, and identifies the key. The checksum detects a
mistyped key without a look-up.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from router.callers.caller import Caller
from router.config.keys import KEY, ApiKey
from router.errors import Unauthorized

LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
SHOWN, HIDDEN, CHECK = 8, 43, 6
"""Characters of the shown part, the secret part and the checksum of a key; 62 to the 43rd is more than 2 to the 256th."""
SHAPE = re.compile(rf"(?P<shown>{KEY}[0-9A-Za-z]{{{SHOWN}}})_[0-9A-Za-z]{{{HIDDEN}}}(?P<check>[0-9A-Za-z]{{{CHECK}}})")


def new() -> str:
    """Return a new random API key."""
    key = f"{KEY}{''.join(secrets.choice(LETTERS) for _ in range(SHOWN))}_{_spelled(secrets.randbits(256), HIDDEN)}"
    return key + _checksum(key)


def hashed(key: str) -> str:
    """Return the hash of a key as a configuration holds it, `sha256:<hex>`. One round is enough for 256 random bits."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def shown(key: str) -> str:
    """Return the first 11 characters of an API key, which may be logged; empty if the text is not a well-formed key."""
    hit = SHAPE.fullmatch(key)
    return hit["shown"] if hit and hmac.compare_digest(hit["check"], _checksum(key[:-CHECK])) else ""


def _checksum(text: str) -> str:
    return _spelled(zlib.crc32(text.encode()), CHECK)


def _spelled(number: int, width: int) -> str:
    found: list[str] = []
    for _ in range(width):
        number, rest = divmod(number, len(LETTERS))
        found.append(LETTERS[rest])
    return "".join(reversed(found))


class Keys:
    """The declared API keys by their hashes, each with its caller and expiry. `now`: the clock by which keys expire."""

    def __init__(self, declared: Mapping[str, ApiKey], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        # A hash's beginning finds it, all of it is compared in constant time: so the time it takes reveals nothing.
        self._known: dict[bytes, list[tuple[bytes, Caller, datetime | None]]] = {}
        for name, key in declared.items():
            full_hash = bytes.fromhex(key.hash.removeprefix("sha256:"))
            routes = None if key.routes is None else frozenset(str(route) for route in key.routes)
            caller = Caller("key", str(name), f"key:{name}", routes, key.limit, key.user)
            self._known.setdefault(full_hash[:8], []).append((full_hash, caller, key.expires))

    def caller(self, key: str) -> Caller:
        """Return the caller of a key. Unauthorized if the key is unknown or has expired."""
        if not (beginning := shown(key)):
            raise Unauthorized("This is no key of this server.")
        given = hashlib.sha256(key.encode()).digest()
        for full_hash, caller, expires in self._known.get(given[:8], ()):
            if hmac.compare_digest(full_hash, given):
                if expires is not None and self._now() >= expires:
                    raise Unauthorized("This key has expired.", caller=caller.name)
                return caller
        raise Unauthorized("This is no key of this server.", caller=beginning)
