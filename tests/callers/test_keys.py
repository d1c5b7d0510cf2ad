"""API keys: how they are generated, recognised, stored and expired."""

import hmac
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.callers.caller import Caller
from router.callers.keys import Keys, hashed, new, shown
from router.config.keys import ApiKey
from router.config.values import Name
from router.errors import NotAllowed, Unauthorized

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)


def test_api_key_has_256_random_bits_and_a_checksum() -> None:
    """A thousand new keys are all different, long enough for 256 random bits, and valid; `shown` returns 11 characters of each."""
    made = {new() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"pm_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", key) for key in made)
    assert all(shown(key) == key[:11] for key in made)
    assert 62**43 > 2**256


@given(st.integers(0, 60), st.sampled_from("0aZ_ é"))
def test_api_key_with_one_wrong_letter_fails_its_checksum(place: int, letter: str) -> None:
    """A key with one character replaced fails its checksum, so that `shown` returns an empty text instead of its beginning."""
    key = new()
    slipped = key[:place] + letter + key[place + 1 :]
    assert shown(slipped) == (key[:11] if slipped == key else "")


def test_key_is_kept_as_its_hash_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store holds SHA-256 hashes and no key, and compares all 32 bytes with `hmac.compare_digest`."""
    key, other = new(), new()
    keys = Keys({"alice": ApiKey(hash=hashed(key)), "bob": ApiKey(hash=hashed(other))})
    held = repr(vars(keys))
    assert key not in held
    assert key[12:40] not in held
    compared: list[tuple[int, int]] = []

    def noted(one: bytes, two: bytes) -> bool:
        compared.append((len(one), len(two)))
        return one == two

    monkeypatch.setattr(hmac, "compare_digest", noted)
    assert keys.caller(key) == Caller("key", "alice", "key:alice")
    assert (32, 32) in compared


def test_api_key_identifies_its_caller_and_allowed_routes() -> None:
    """A known API key gives its caller and allowed routes; an unknown one raises Unauthorized with its first characters for the log."""
    key = new()
    keys = Keys({"alice": ApiKey(hash=hashed(key), routes=(Name("title-model"),))})
    alice = keys.caller(key)
    alice.asks("title-model")
    with pytest.raises(NotAllowed):
        alice.asks("chat-model")
    stranger = new()
    with pytest.raises(Unauthorized) as refused:
        keys.caller(stranger)
    assert refused.value.caller == stranger[:11]
    assert stranger[:11] not in refused.value.public
    for text in ("", "pm_", "sk-" + "a" * 40, key[:-1], key + "a", key.swapcase()):
        with pytest.raises(Unauthorized) as refused:
            keys.caller(text)
        assert refused.value.caller == ""


def test_api_key_is_refused_from_its_expiry_on() -> None:
    """An API key is valid a second before its expiry, and raises Unauthorized with its owner's name for the log from then on."""
    key = new()
    clock = [NOON - timedelta(seconds=1)]
    keys = Keys({"alice": ApiKey(hash=hashed(key), expires=NOON)}, lambda: clock[0])
    assert keys.caller(key).name == "alice"
    clock[0] = NOON
    with pytest.raises(Unauthorized, match="expired") as refused:
        keys.caller(key)
    assert refused.value.caller == "alice"


def test_rotated_key_keeps_the_id_of_its_caller() -> None:
    """Two keys declared one after the other under the same name give the same caller id."""
    first, second = new(), new()
    before = Keys({"alice": ApiKey(hash=hashed(first))}).caller(first)
    after = Keys({"alice": ApiKey(hash=hashed(second))}).caller(second)
    assert before.id == after.id == "key:alice"
