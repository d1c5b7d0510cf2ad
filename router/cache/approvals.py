"""Approvals of tool calls: the ids under which a user is asked, and the check whether an id allows a call.

    apr_<until>.<nonce>.<MAC>     until: seconds since 1970, in hex

The MAC is an HMAC-SHA256 of the time, the nonce, the caller and its end user, the route, and the call with its arguments. A client can
thus allow only a call that was asked about, for an hour, and once: the nonce of a used id is kept until then, in this process and in the
declared Redis.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar, Self

from router.cache.key import dumps
from router.chat import Call, plain
from router.shared import RedisStore
from router.value import PartlyShown, field, replace

LASTS = 3600.0
"""Seconds for which an approval id is valid."""
MAX_USED = 100_000
"""Used ids that are remembered in this process; beyond it the oldest are forgotten."""
ID = re.compile(r"apr_([0-9a-f]{1,10})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{43})")


class Approvals(PartlyShown, frozen=True):
    """Issues and checks the ids of tool-call approvals, signed with the declared key, or else with a random one of this process."""

    HIDDEN: ClassVar = frozenset({"_own", "_declared"})

    shared: RedisStore | None = None
    clock: Callable[[], float] = time.time
    _own: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _declared: bytes | None = None
    _used: OrderedDict[str, float] = field(default_factory=OrderedDict[str, float])

    def under(self, key: str | None, shared: RedisStore | None) -> Self:
        """Return a copy that signs with this key (None: the process's own) and marks used ids in `shared` too. Used ids stay used."""
        declared = None if key is None else hashlib.sha256(f"pointsman approvals\n{key}".encode()).digest()
        return replace(self, shared=shared, _declared=declared)

    def request(self, owner: str, route: str, call: Call) -> str:
        """Return a new signed id under which the user is asked to allow this call. `owner`: `Ask.owner`."""
        until, nonce = f"{int(self.clock() + LASTS):x}", secrets.token_urlsafe(12)
        return f"apr_{until}.{nonce}.{self._mac(until, nonce, owner, route, call)}"

    async def take(self, owner: str, route: str, call: Call) -> bool:
        """Return whether the approval id in the call is valid for it, unexpired and unused; such an id is used up by this.
        While Redis is away, only the ids used in this process are known.
        """
        if (found := ID.fullmatch(call.approval)) is None:
            return False
        until, nonce, mac = found.groups()
        unsigned = not hmac.compare_digest(mac, self._mac(until, nonce, owner, route, call))
        if int(until, 16) <= self.clock() or unsigned or nonce in self._used:
            return False
        self._used[nonce] = float(int(until, 16))
        while self._used and (len(self._used) > MAX_USED or next(iter(self._used.values())) <= self.clock()):
            self._used.popitem(last=False)
        return self.shared is None or await self.shared.claim(hashlib.sha256(nonce.encode()).hexdigest(), LASTS)

    def _mac(self, until: str, nonce: str, owner: str, route: str, call: Call) -> str:
        said = dumps([until, nonce, owner, route, call.call_id, call.name, plain(call.arguments)]).encode()
        digest = hmac.digest(self._declared or self._own, said, "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
