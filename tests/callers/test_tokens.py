"""Tokens (JWT): the declared issuer, audience, algorithms and keys decide, and no header of the token can change them."""

import base64
import json
import warnings
from functools import cache
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from router.callers.jwks import AGAIN, Fixed, Jwks, Listed
from router.callers.tokens import MAX_TOKEN_CHARACTERS, Tokens, usable
from router.config.server import Jwt
from router.config.values import KeySet, Secret
from router.errors import Misfit, Unauthorized, Unverifiable

NOW = 1_800_000_000
ISSUER, AUDIENCE = "https://login.example.com/", "pointsman"
SECRET = "0123456789abcdef0123456789abcdef"
GOOD: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": NOW + 600}


@cache
def rsa() -> RSAKey:
    """Return the issuer's key, made at its first use."""
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}, auto_kid=False)


@cache
def other_rsa() -> RSAKey:
    """Return another key of that kind."""
    return RSAKey.generate_key(2048, {"kid": "two"})


def public(*keys: Key) -> Listed:
    """Return the public keys as an issuer's key set lists them."""
    return tuple(cast("dict[str, object]", key.as_dict(private=False)) for key in keys)


def issuer(*keys: Key, algorithms: tuple[str, ...] = ("RS256",), **more: Any) -> Tokens:
    """Return a verifier of tokens signed with one of these keys."""
    declared = Jwt(issuer=ISSUER, audience=AUDIENCE, algorithms=cast("Any", algorithms), jwks=KeySet(keys=public(*keys)), **more)
    return Tokens(declared, Fixed(public(*keys)), lambda: NOW)


def secret(algorithm: str = "HS256", text: str = SECRET) -> Tokens:
    """Return a verifier of tokens signed with this shared secret."""
    return Tokens(Jwt(issuer=ISSUER, audience=AUDIENCE, algorithms=cast("Any", (algorithm,)), secret=Secret(text)), None, lambda: NOW)


def signed(claims: dict[str, Any], key: Key | None = None, algorithm: str = "RS256", **header: Any) -> str:
    """Return a signed token with these claims and further headers."""
    key = key or rsa()
    rules = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode(
            {"alg": algorithm, "kid": key.kid, **header} if key.kid else {"alg": algorithm, **header}, claims, key, registry=rules
        )


def segment(value: object) -> str:
    """Return a value as an unpadded base64url segment of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_valid_token_identifies_its_caller_by_sub() -> None:
    """A caller's name is the token's `sub`; the caller's id differs for each `sub` and does not contain it."""
    caller = await issuer(rsa()).caller(signed(GOOD))
    assert (caller.kind, caller.name, caller.routes) == ("jwt", "user-1", None)
    assert caller.id.startswith("jwt:")
    assert "user-1" not in caller.id
    other = await issuer(rsa()).caller(signed({**GOOD, "sub": "user-2"}))
    assert other.id != caller.id


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "EdDSA", "Ed25519"])
async def test_token_is_accepted_with_every_kind_of_signing_key(algorithm: str) -> None:
    """Tokens signed with RSA (PKCS #1 and PSS), an elliptic curve or an Edwards curve are accepted where that algorithm is declared."""
    key = {"E": lambda: ECKey.generate_key("P-256"), "R": rsa, "P": rsa}[algorithm[0]]()
    if algorithm.startswith("Ed"):
        key = OKPKey.generate_key("Ed25519")
    assert (await issuer(key, algorithms=(algorithm,)).caller(signed(GOOD, key, algorithm))).name == "user-1"


async def test_token_signed_with_a_shared_secret_is_accepted_where_hs256_is_declared() -> None:
    """A token signed with the declared secret and HS256 is accepted."""
    assert (await secret().caller(signed(GOOD, OctKey.import_key(SECRET), "HS256"))).name == "user-1"


CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {**GOOD, "iss": "https://login.example.com"},
    "no issuer": {name: value for name, value in GOOD.items() if name != "iss"},
    "another audience": {**GOOD, "aud": "somebody-else"},
    "other audiences": {**GOOD, "aud": ["a", "b"]},
    "an audience that is no text": {**GOOD, "aud": {"pointsman": 1}},
    "no audience": {name: value for name, value in GOOD.items() if name != "aud"},
    "expired": {**GOOD, "exp": NOW - 31},
    "no expiry": {name: value for name, value in GOOD.items() if name != "exp"},
    "an expiry that is a text": {**GOOD, "exp": str(NOW + 600)},
    "an expiry that is a truth": {**GOOD, "exp": True},
    "an expiry that is no number": {**GOOD, "exp": float("nan")},
    "not yet": {**GOOD, "nbf": NOW + 31},
    "a beginning that is a text": {**GOOD, "nbf": "0"},
    "made in the future": {**GOOD, "iat": NOW + 3600},
    "nobody": {name: value for name, value in GOOD.items() if name != "sub"},
    "an empty name": {**GOOD, "sub": ""},
    "a name that is a number": {**GOOD, "sub": 1},
    "a name that is too long": {**GOOD, "sub": "x" * 256},
}


@pytest.mark.parametrize("case", CLAIMS)
async def test_token_with_a_wrong_or_missing_claim_is_refused(case: str) -> None:
    """A token is Unauthorized if `iss`, `aud`, `exp` or `sub` is missing or wrong, or if `nbf` or `iat` is in the future."""
    with pytest.raises(Unauthorized):
        await issuer(rsa()).caller(signed(CLAIMS[case]))


@pytest.mark.parametrize("claims", [{"aud": ["x", AUDIENCE]}, {"exp": NOW - 29}, {"nbf": NOW + 29}, {"iat": NOW - 60}])
async def test_token_is_accepted_within_leeway_and_for_one_of_several_audiences(claims: dict[str, Any]) -> None:
    """A token is accepted if one of its audiences is the declared one, and with `exp` or `nbf` wrong by less than 30 s."""
    assert (await issuer(rsa()).caller(signed({**GOOD, **claims}))).name == "user-1"


def forged() -> dict[str, str]:
    """Return case → forged token: with headers that choose the algorithm or the key, changed, or malformed."""
    head, payload, mark = signed(GOOD).split(".")
    pem = rsa().as_pem(private=False)
    as_secret = OctKey(pem, pem)  # what a verifier that goes by the token's own `alg` would hold it against
    own = RSAKey.generate_key(2048, {"kid": "one"})
    return {
        "no algorithm": f"{segment({'alg': 'none', 'kid': 'one'})}.{payload}.",
        "no algorithm, in other letters": f"{segment({'alg': 'nOnE', 'kid': 'one'})}.{payload}.",
        "no algorithm, and a signature": f"{segment({'alg': 'none'})}.{payload}.{mark}",
        "no signature": f"{head}.{payload}.",
        "a header without an algorithm": f"{segment({'kid': 'one'})}.{payload}.{mark}",
        "an algorithm that is a list": f"{segment({'alg': ['RS256'], 'kid': 'one'})}.{payload}.{mark}",
        "an algorithm that is not declared": signed(GOOD, rsa(), "RS512"),
        "the public key as a secret": signed(GOOD, as_secret, "HS256", kid="one"),
        "another's key under a known id": signed(GOOD, own),
        "a key that it brings along": signed(GOOD, own, jwk=own.as_dict(private=False)),
        "an address of keys that it brings along": signed(GOOD, own, jku="https://evil.example/jwks.json"),
        "a certificate that it brings along": signed(GOOD, own, x5u="https://evil.example/cert.pem"),
        "an id that is a path": signed(GOOD, own, kid="../../../../dev/null"),
        "an id that is a query": signed(GOOD, own, kid="one' UNION SELECT 'key"),
        "an id that is no text": f"{segment({'alg': 'RS256', 'kid': {'$ne': ''}})}.{payload}.{mark}",
        "an id that nobody knows": signed(GOOD, other_rsa()),
        "something critical": f"{segment({'alg': 'RS256', 'kid': 'one', 'crit': ['exp'], 'exp': 1})}.{payload}.{mark}",
        "a payload that is not encoded": f"{segment({'alg': 'RS256', 'kid': 'one', 'b64': False, 'crit': ['b64']})}.{payload}.{mark}",
        "another payload": f"{head}.{segment({**GOOD, 'sub': 'admin'})}.{mark}",
        "a header that is a list": f"{segment(['alg'])}.{payload}.{mark}",
        "a header that is a text": f"{segment('alg and kid')}.{payload}.{mark}",
        "a header that is a number": f"{segment(5)}.{payload}.{mark}",
        "a deep header": f"{segment(b'[' * 900)}.{payload}.{mark}",
        "a header that is too long": signed(GOOD, rsa(), more="x" * 4000),
        "encrypted": f"{segment({'alg': 'dir', 'enc': 'A128GCM'})}..{payload}.{mark}.{mark}",
        "two tokens": f"{head}.{payload}.{mark}.{head}",
        "nothing": "..",
        "no base64": f"{head}.{payload}.!!!",
    }


FORGED = forged()


@pytest.mark.parametrize("case", FORGED)
async def test_forged_token_is_refused(case: str) -> None:
    """Each forged token is Unauthorized, and a good one is accepted afterwards by the same verifier."""
    tokens = issuer(rsa())
    with pytest.raises(Unauthorized):
        await tokens.caller(FORGED[case])
    assert (await tokens.caller(signed(GOOD))).name == "user-1"


async def test_token_signed_by_a_curve_under_the_id_of_an_rsa_key_is_refused() -> None:
    """A token signed with ES256 under the key id of an RSA key is Unauthorized, although both algorithms are declared."""
    curve = ECKey.generate_key("P-256", {"kid": "one"})
    with pytest.raises(Unauthorized):
        await issuer(rsa(), algorithms=("RS256", "ES256")).caller(signed(GOOD, curve, "ES256"))


async def test_token_over_the_length_limit_is_refused_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token longer than MAX_TOKEN_CHARACTERS is Unauthorized before anything of it is decoded."""
    tokens = issuer(rsa())
    monkeypatch.setattr("router.callers.tokens.decode", None)
    with pytest.raises(Unauthorized):
        await tokens.caller(signed({**GOOD, "more": "x" * MAX_TOKEN_CHARACTERS}))


def test_weak_or_mismatched_signing_keys_are_refused_at_declaration() -> None:
    """A JWT declaration with a short secret, or HS256 beside public keys, raises Misfit; weak or malformed public keys are unusable."""
    for text, algorithm in (("short", "HS256"), ("x" * 31, "HS256"), ("x" * 47, "HS384"), ("x" * 63, "HS512")):
        with pytest.raises(Misfit, match="can be guessed"):
            secret(algorithm, text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        weak = RSAKey.generate_key(1024, {"kid": "weak"})
    symmetric = {"kty": "oct", "k": segment(SECRET.encode()), "kid": "one"}
    assert not usable((*public(weak), symmetric, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}, {"kty": "new"}, {}))
    with pytest.raises(Misfit, match="goes with a `secret`"):
        issuer(rsa(), algorithms=("RS256", "HS256"))
    with pytest.raises(Misfit, match="only HS256"):
        Jwt(issuer=ISSUER, audience=AUDIENCE, algorithms=("HS256", "RS256"), secret=Secret(SECRET))


async def test_unusable_keys_of_a_jwks_are_skipped() -> None:
    """Keys of unknown kinds, for encryption or malformed are skipped, and a token of a usable key in the same set is accepted."""
    listed: Listed = ({"kty": "AKP", "alg": "ML-DSA-44"}, {**public(other_rsa())[0], "use": "enc"}, {"kty": "RSA", "n": 5}, *public(rsa()))
    declared = Jwt(issuer=ISSUER, audience=AUDIENCE, algorithms=("RS256",), jwks=KeySet(keys=listed))
    assert (await Tokens(declared, Fixed(listed), lambda: NOW).caller(signed(GOOD))).name == "user-1"


async def test_token_is_unverifiable_while_no_key_of_its_issuer_is_known() -> None:
    """With an empty key set, a token raises Unverifiable (status 503), not Unauthorized."""
    with pytest.raises(Unverifiable):
        await issuer().caller(signed(GOOD))


async def test_token_of_an_unknown_key_is_unverifiable_while_keys_cannot_be_fetched() -> None:
    """A token with an unknown key is Unauthorized if a new key set lacks it, and Unverifiable, with a wait, if none can be fetched."""
    now, says = [1000.0], [public(other_rsa())]

    async def fetch(_: str, most: int) -> bytes:
        if not says:
            raise OSError
        return json.dumps({"keys": list(says[0])}).encode()

    declared = Jwt(issuer=ISSUER, audience=AUDIENCE, algorithms=("RS256",), jwks=KeySet("https://login.example.com/jwks.json"))
    tokens = Tokens(declared, Jwks("https://login.example.com/jwks.json", fetch, lambda: now[0]), lambda: NOW)
    with pytest.raises(Unauthorized):  # fetched for it, and without it
        await tokens.caller(signed(GOOD))
    now[0] += 1
    with pytest.raises(Unverifiable) as caught:  # fetched a moment before it came
        await tokens.caller(signed(GOOD))
    assert caught.value.retry_after == AGAIN - 1
    now[0] += AGAIN
    with pytest.raises(Unauthorized):  # fetched for it, and still without it
        await tokens.caller(signed(GOOD))
    kept = says.pop()
    now[0] += AGAIN
    with pytest.raises(Unverifiable) as caught:  # the issuer is away
        await tokens.caller(signed(GOOD))
    assert caught.value.retry_after == AGAIN
    says.append((*kept, *public(rsa())))
    now[0] += AGAIN
    assert (await tokens.caller(signed(GOOD))).name == "user-1"


CLAIMED: list[tuple[object, set[str]]] = [
    (["chat-model", "title-model"], {"chat-model", "title-model"}),
    ("chat-model title-model", {"chat-model", "title-model"}),
    ("", set()),
    ([], set()),
    (["chat-model", 5, None], {"chat-model"}),
    ({"chat-model": True}, set()),
    (True, set()),
    (None, set()),
]


@pytest.mark.parametrize(("claim", "routes"), CLAIMED)
async def test_routes_claim_limits_the_routes_of_a_token(claim: object, routes: set[str]) -> None:
    """With a declared routes claim, a token has the routes that its list or text names; any other value, or no claim, gives none."""
    tokens = issuer(rsa(), routes_claim="https://pointsman/routes")
    claims = GOOD if claim is None else {**GOOD, "https://pointsman/routes": claim}
    assert (await tokens.caller(signed(claims))).routes == routes


PART = st.one_of(
    st.text("eyJ-_ABC09.", max_size=60),
    st.binary(max_size=60).map(segment),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(st.sampled_from(["alg", "kid", "b64", "crit", "typ", "x5c", "jwk", "exp", "iss"]), x, max_size=4)
        ),
        max_leaves=8,
    ).map(segment),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(PART, PART, PART).map(".".join))
async def test_arbitrary_token_is_refused_without_an_error(token: str) -> None:
    """Every random token of three segments raises Unauthorized and no other exception."""
    for tokens in (issuer(rsa()), secret()):
        with pytest.raises(Unauthorized):
            await tokens.caller(token)
