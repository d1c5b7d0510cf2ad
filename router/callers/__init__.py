"""Who asks: told by what the request bears, before its body is read and before anything is looked up for it."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from router.callers.caller import Caller, digest
from router.callers.jwks import Fetch, Fixed, Jwks
from router.callers.keys import Keys
from router.callers.users import from_body, from_headers
from router.config.declaration import Auth, Jwt
from router.config.keys import KEY
from router.config.network import Egress
from router.errors import Unauthorized

__all__ = ["ANYBODY", "Anybody", "Caller", "Callers", "Jwks", "Known", "Sources", "callers", "from_body", "from_headers"]

BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]+)[ \t]*")
"""White space after a value is not part of it; not every server that runs this application takes it off (RFC 9110, 5.5)."""


class Callers(Protocol):
    """Tells who asks."""

    async def caller(self, authorization: Sequence[bytes]) -> Caller:
        """Who bears these `Authorization` headers. Unauthorized where nobody does whom this server knows."""
        ...


class Anybody:
    """Nobody has to say who asks. Who says something all the same is told from those who say something else."""

    async def caller(self, authorization: Sequence[bytes]) -> Caller:
        """The anonymous caller with these headers."""
        return Caller("anonymous", "", f"anonymous:{digest(*authorization)}")


ANYBODY = Anybody()


class Tokens(Protocol):
    """What is asked of router/callers/tokens.py, which is imported where there are tokens: it takes longer than all else."""

    async def caller(self, token: str) -> Caller:
        """Whose token it is."""
        ...


class Known:
    """Callers who bear a key of ours or a token of an issuer's. What begins like a key is one: no token begins so."""

    def __init__(self, keys: Keys | None, tokens: Tokens | None) -> None:
        self._keys = keys
        self._tokens = tokens

    async def caller(self, authorization: Sequence[bytes]) -> Caller:
        """Whose key or token it is."""
        if not authorization:
            raise Unauthorized
        borne = BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None  # of two, who knows which a proxy looked at
        if borne is None:
            raise Unauthorized("Say who asks in one header: Authorization: Bearer …")
        credential = borne[1].decode()
        if self._keys is not None and (credential.startswith(KEY) or self._tokens is None):
            return self._keys.caller(credential)
        if self._tokens is None or credential.startswith(KEY):
            raise Unauthorized("This is no key and no token of this server.")
        return await self._tokens.caller(credential)


Sources = dict[tuple[str, Egress], Jwks]
"""An issuer's address, and the way to it → its keys."""


def callers(declared: Auth | Literal["none"] | None, fetch: Callable[[Egress], Fetch], before: Sources, kept: Sources) -> Callers:
    """The callers that are declared. An issuer's keys that were fetched `before` are taken over, and noted in `kept`. Misfit where
    none of the keys in a file can be used. `fetch`: how something is fetched in a given way.
    """
    if not isinstance(declared, Auth):
        return ANYBODY
    keys = Keys({str(name): key for name, key in declared.keys.items()}) if declared.keys is not None else None
    return Known(keys, None if declared.jwt is None else _tokens(declared.jwt, fetch, before, kept))


def _tokens(declared: Jwt, fetch: Callable[[Egress], Fetch], before: Sources, kept: Sources) -> Tokens:
    from router.callers import tokens  # noqa: PLC0415 - see Tokens

    source = declared.jwks
    if source is None:
        return tokens.Tokens(declared, None)
    if source.url:
        key = (source.url, declared.egress)
        kept[key] = before.get(key) or _jwks(source.url, fetch(declared.egress), before)
        return tokens.Tokens(declared, kept[key])
    tokens.check(source.keys)
    return tokens.Tokens(declared, Fixed(source.keys))


def _jwks(url: str, fetch: Fetch, before: Sources) -> Jwks:
    """The keys at an address. What was fetched in another way is known still: an edit of the proxy must not lock callers out."""
    known = next((one for one in before.values() if one.url == url), None)
    return Jwks(url, fetch) if known is None else known.over(fetch)
