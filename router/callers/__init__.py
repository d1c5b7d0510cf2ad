"""Authentication: the caller of a request, from its `Authorization` header, before its body is read."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from router.callers.caller import Caller, digest
from router.callers.jwks import Fetch, Fixed, Jwks
from router.callers.keys import Keys
from router.callers.users import from_body, from_headers
from router.config.keys import KEY
from router.config.network import Egress
from router.config.server import Auth, Jwt
from router.errors import Unauthorized

__all__ = ["ANYBODY", "Anybody", "Caller", "Callers", "Jwks", "Known", "Sources", "callers", "from_body", "from_headers"]

BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]+)[ \t]*")
"""The value of `Authorization`. White space at its end is allowed: not every ASGI server removes it (RFC 9110, 5.5)."""


class Callers(Protocol):
    """The interface of authentication: returns the caller of a request."""

    def caller(self, authorization: Sequence[bytes]) -> Caller | Awaitable[Caller]:
        """Return the caller with these `Authorization` headers, or an awaitable of it if that takes time.

        Unauthorized if they are invalid, Unverifiable if that cannot be checked; either may be raised when the awaitable is awaited.
        """
        ...


class Anybody:
    """Callers while authentication is off: all requests with the same `Authorization` header are one anonymous caller."""

    def caller(self, authorization: Sequence[bytes]) -> Caller:
        """Return the anonymous caller of these `Authorization` headers; requests without any share one caller."""
        return Caller("anonymous", "", f"anonymous:{digest(*authorization)}") if authorization else NAMELESS


NAMELESS = Caller("anonymous", "", f"anonymous:{digest()}")
"""The caller of every request without an `Authorization` header, while authentication is off."""
ANYBODY = Anybody()


ByToken = Callable[[str], Awaitable[Caller]]
"""Returns the caller that a token names. Unauthorized if it is not valid, Unverifiable if that cannot be checked."""


class Known:
    """Authentication by an API key of this server or a token of an issuer; the prefix of a key tells the two apart."""

    def __init__(self, keys: Keys | None, by_token: ByToken | None) -> None:
        self._keys = keys
        self._by_token = by_token

    def caller(self, authorization: Sequence[bytes]) -> Caller | Awaitable[Caller]:
        """Return the caller of the key in the one `Authorization` header, or an awaitable of the caller of the token.

        The awaitable raises Unverifiable if the token cannot be checked now.
        Unauthorized if the header is missing, repeated or malformed, and if the key or token is invalid.
        """
        if not authorization:
            raise Unauthorized
        borne = BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None  # of two headers, a proxy may have checked either
        if borne is None:
            raise Unauthorized("Say who asks in one header: Authorization: Bearer …")
        credential = borne[1].decode()
        if self._keys is not None and (credential.startswith(KEY) or self._by_token is None):
            return self._keys.caller(credential)
        if self._by_token is None or credential.startswith(KEY):
            raise Unauthorized("This is no key and no token of this server.")
        return self._by_token(credential)


Sources = dict[tuple[str, Egress], Jwks]
"""Address of a key set, and the proxy and CA that it is fetched through → the key set."""


def callers(declared: Auth | Literal["none"] | None, fetch: Callable[[Egress], Fetch], before: Sources, kept: Sources) -> Callers:
    """Return the authentication that `server.auth` declares: ANYBODY for `none` or None, else a Known.
    Misfit if none of an issuer's keys given in a file can be used.
    fetch: returns the function that fetches through a given proxy and CA
    before: key sets of an earlier generation, which are taken over. kept: receives the key sets in use
    """
    if not isinstance(declared, Auth):
        return ANYBODY
    keys = Keys({str(name): key for name, key in declared.keys.items()}) if declared.keys is not None else None
    return Known(keys, None if declared.jwt is None else _tokens(declared.jwt, fetch, before, kept))


def _tokens(declared: Jwt, fetch: Callable[[Egress], Fetch], before: Sources, kept: Sources) -> ByToken:
    from router.callers import tokens  # noqa: PLC0415 - a slow import, for those who declare tokens

    source = declared.jwks
    if source is None:
        return tokens.Tokens(declared, None).caller
    if not source.url:
        tokens.check(source.keys)
        return tokens.Tokens(declared, Fixed(source.keys)).caller
    key = (source.url, declared.egress)
    if (known := before.get(key)) is None:
        # Keys known from another proxy or CA are taken over: such an edit must not lock callers out.
        other = next((one for one in before.values() if one.url == source.url), None)
        known = other.over(fetch(declared.egress)) if other else Jwks(source.url, fetch(declared.egress))
    kept[key] = known
    return tokens.Tokens(declared, known).caller
