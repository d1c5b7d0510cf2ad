"""Tokens of an issuer (JWT, RFC 7519): the caller of a valid token.

The declaration decides, never the token itself: the algorithms, the keys and the issuer. A `kid` selects one of the issuer's keys and can
name nothing else; `jku`, `x5u` and `jwk` are ignored.
"""

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError, UnsupportedAlgorithmError
from joserfc.jwk import JWKRegistry, KeySet, OctKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry, decode

from router.callers.caller import Caller, digest
from router.callers.jwks import Listed, Source
from router.callers.users import well_formed
from router.config.server import Jwt
from router.errors import Misfit, Unauthorized, Unverifiable

MAX_TOKEN_CHARACTERS = 8 * 1024
"""Characters of a token at most; a longer one is refused before it is parsed."""
MAX_HEADER_CHARACTERS = 2 * 1024
MAX_NAME_CHARACTERS = 255
"""Characters of a `sub`, as OpenID Connect has it."""
LEEWAY = 30
"""Seconds that the issuer's clock and ours may differ."""
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
"""Bits of an RSA key, at least and at most. Shorter keys can be broken; longer ones take long to verify with."""


class _Rules(JWSRegistry):
    """joserfc's rules for signatures, with the declared algorithms only. Unknown header fields are ignored (RFC 7515), `crit` refused."""

    max_header_length = MAX_HEADER_CHARACTERS
    max_payload_length = MAX_TOKEN_CHARACTERS

    def __init__(self, algorithms: Sequence[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)
        self._declared = algorithms

    def check(self, token: str) -> None:
        """Raise ValueError if the token's header is malformed or too long, has an undeclared algorithm, or has a `crit`."""
        head = token.partition(".")[0]
        read: object = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))) if len(head) <= MAX_HEADER_CHARACTERS else None
        header = cast("dict[str, object]", read) if isinstance(read, dict) else {}
        if header.get("alg") not in self._declared or "crit" in header:
            raise ValueError

    def get_alg(self, name: str) -> Any:
        """Return the declared algorithm of this name, without joserfc's warning if it is weak. UnsupportedAlgorithmError for any other."""
        if name not in self._declared:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


class Tokens:
    """The checker of an issuer's tokens. `source`: its public keys; None with a shared secret. `now`: the wall clock."""

    def __init__(self, declared: Jwt, source: Source | None, now: Callable[[], float] = time.time) -> None:
        self._declared = declared
        self._source = source
        self._rules = _Rules(declared.algorithms)
        self._claims = JWTClaimsRegistry(
            now=lambda: int(now()),
            leeway=LEEWAY,
            iss={"essential": True, "value": declared.issuer},
            aud={"essential": True, "value": declared.audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._listed: Listed = ()
        self._keys: KeySet | None = None
        self._secret = OctKey.import_key(declared.secret.value) if declared.secret is not None else None

    async def caller(self, token: str) -> Caller:
        """Return the caller that the token names. Unauthorized if the token is not valid, Unverifiable if that cannot be checked now."""
        if len(token) > MAX_TOKEN_CHARACTERS or token.count(".") != 2:
            raise Unauthorized("This is no key and no token of this server.")
        claims = await self._claimed(token)
        name: str = claims["sub"]
        if len(name) > MAX_NAME_CHARACTERS:
            raise Unauthorized("This token is not good here.")
        routes = None if self._declared.routes_claim is None else _routes(claims.get(self._declared.routes_claim))
        user = "" if self._declared.user_claim is None else _user(claims.get(self._declared.user_claim))
        return Caller("jwt", name, f"jwt:{digest(self._declared.issuer, name)}", routes, user=user, claims=claims)

    async def _claimed(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token with valid signature, issuer, audience, time. Raises Unauthorized; Unverifiable without keys."""
        came = 0.0 if self._source is None else self._source.now()
        try:
            self._rules.check(token)
            try:
                claims = decode(token, await self._key(), registry=self._rules).claims
            except InvalidKeyIdError:
                claims = await self._by_newer_key(token, came)
            self._claims.validate(claims)
        except ExpiredTokenError:
            raise Unauthorized("This token has expired.") from None
        except (JoseError, ValueError, RecursionError):
            raise Unauthorized("This token is not good here.") from None
        return claims

    async def _key(self) -> KeySet | OctKey:
        if self._secret is not None:
            return self._secret
        assert self._source is not None
        return self._read(await self._source.listed())

    async def _by_newer_key(self, token: str, came: float) -> dict[str, Any]:
        """Fetch newer keys for a token whose key id is unknown, and return its claims.

        If they lack its key as well: InvalidKeyIdError if they were fetched since the token came, else Unverifiable.
        """
        assert self._source is not None
        listed, again = await self._source.newer(self._listed, came)
        try:
            return decode(token, self._read(listed), registry=self._rules).claims
        except InvalidKeyIdError:
            if again:
                raise Unverifiable(again) from None
            raise

    def _read(self, listed: Listed) -> KeySet:
        if listed is not self._listed or self._keys is None:
            self._keys, self._listed = usable(listed), listed
        if not self._keys:
            raise Unverifiable
        return self._keys


def usable(listed: Listed) -> KeySet:
    """Return those of an issuer's keys that can verify a signature, perhaps none. Other keys are left out (RFC 7517)."""
    found: list[Any] = []
    for one in listed:
        if one.get("kty") not in ("RSA", "EC", "OKP") or one.get("use", "sig") != "sig" or not _strong(one):
            continue
        try:
            found.append(JWKRegistry.import_key({name: value for name, value in one.items() if name in PUBLIC}))  # type: ignore[misc]
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return KeySet(found)


PUBLIC = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")
"""Fields of a public key. A private key's own fields are left out."""


def check(listed: Listed) -> None:
    """Raise Misfit if none of the declared keys can verify a token."""
    if not usable(listed):
        raise Misfit(f"`jwks` has no key that a token can be held against: an RSA key of {MIN_RSA_BITS} bits or more, EC or OKP, public")


def _strong(key: Mapping[str, object]) -> bool:
    if key["kty"] != "RSA":
        return True
    modulus = key.get("n")
    try:
        number = base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4)) if isinstance(modulus, str) else b""
    except (binascii.Error, ValueError):
        return False
    return MIN_RSA_BITS <= int.from_bytes(number, "big").bit_length() <= MAX_RSA_BITS


def _user(claim: object) -> str:
    """Return the end user in a claim, a text or a whole number. Unauthorized for any other value or a malformed name."""
    user = str(claim) if isinstance(claim, int) and not isinstance(claim, bool) else claim
    if not isinstance(user, str) or not well_formed(user):
        raise Unauthorized("This token does not name the user for whom it asks.")
    return user


def _routes(claim: object) -> frozenset[str]:
    """Return the routes in a claim: of a list, or of a text with spaces between them, like scopes; none of any other value."""
    match claim:
        case str():
            return frozenset(claim.split())
        case list():
            return frozenset(one for one in claim if isinstance(one, str))  # pyright: ignore[reportUnknownVariableType]
        case _:
            return frozenset()
