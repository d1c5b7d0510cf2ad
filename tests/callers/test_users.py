"""End users of a caller: how a request names one, and that no two users or callers share stored data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.answering.replica import _name  # pyright: ignore[reportPrivateUsage]
from router.cache import conversation_hash
from router.cache.key import key
from router.callers import Caller, from_body, from_headers
from router.callers.users import MAX_USER, well_formed
from router.chat import Ask, Message, owner
from router.config.keys import UserSource
from router.errors import BadAsk
from router.value import replace

HEADER = "X-OpenWebUI-User-Id"
FRONT_END = Caller("key", "webui", "key:webui", users=UserSource(header=HEADER))
WRONG = [
    "\x1b[31m",
    "a\x7f",
    "a\tb",
    "a\r\nb",
    "a\0",
    "a\u200bb",
    "\u202ea",
    "a\u00a0b",
    "\u2028",
    "\ue000",
    "{{USER_ID}}",
    "x" * (MAX_USER + 1),
]
"""Texts that are not the id of a user."""
CALLERS = st.from_regex(r"(key:[A-Za-z0-9][A-Za-z0-9._:/@-]{0,20}|jwt:[0-9a-f]{4}|anonymous:[0-9a-f]{4})", fullmatch=True)
"""Ids of callers, in the forms that `Caller.id` has."""
USERS = st.just("") | st.text(max_size=20).filter(well_formed)
CHATS = st.text(max_size=20)
"""Ids of chats: any text, as a client may choose it."""


def named(value: bytes | str) -> str:
    """Return the end user of a request with this value in the user header."""
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return from_headers(FRONT_END, [(b"host", b"x"), (HEADER.lower().encode(), data)]).user


@given(st.text(min_size=1, max_size=MAX_USER).filter(well_formed))
def test_printable_user_id_is_accepted_unchanged(user: str) -> None:
    """Any printable id, from the header or from a field of the body, is the user's id without a change."""
    assert named(user) == user
    by_field = Caller("key", "litellm", "key:litellm", users=UserSource(field="user"))
    assert from_body(by_field, {"user": user}).user == user


@pytest.mark.parametrize("text", WRONG)
def test_user_id_that_is_invisible_too_long_or_a_placeholder_is_refused(text: str) -> None:
    """An id with control or invisible characters, over MAX_USER, or `{{USER_ID}}` is BadAsk; the error names the header and not the id."""
    with pytest.raises(BadAsk) as refused:
        named(text)
    assert str(refused.value.public).startswith(f"{HEADER}: ")
    assert text not in refused.value.public


@given(st.binary(max_size=300))
def test_user_header_of_any_bytes_is_a_valid_id_or_refused(data: bytes) -> None:
    """Random bytes in the user header give a well-formed id or BadAsk, and no other exception."""
    try:
        user = named(data)
    except BadAsk:
        return
    assert well_formed(user)


@given(st.text(), st.text())
def test_user_is_ignored_for_a_caller_that_declares_no_user_source(header: str, field: str) -> None:
    """A caller without a declared `user` source is returned unchanged, whatever user header or field a request has."""
    caller = Caller("key", "other", "key:other")
    assert from_headers(caller, [(HEADER.lower().encode(), header.encode("utf-8", "replace"))]) is caller
    assert from_body(caller, {"user": field, "safety_identifier": field}) is caller


@given(st.text(), st.text(), st.text(), st.text())
def test_owner_is_equal_only_for_the_same_caller_and_user(one: str, his: str, other: str, hers: str) -> None:
    """Two pairs of caller and user have the same owner only if the pairs are equal, even if their texts contain the separator."""
    for caller, user in ((other, hers), (f"{one} {his}", ""), (f"{one} {his}", hers), (one, f"{his} {hers}")):
        assert (owner(one, his) == owner(caller, user)) == ((one, his) == (caller, user))


def test_stored_data_without_a_user_belongs_to_the_caller() -> None:
    """The owner of a request without a user is the caller's id, and differs from that of any caller with a user."""
    assert Caller("key", "a", "key:team-a/alice@example.com").owner == "key:team-a/alice@example.com"
    assert owner("key:a", "b") != owner("key:a:b", "")


def test_caller_with_a_user_has_the_owner_of_both() -> None:
    """The owner of a caller has its user, whether the caller was made with it or the request names it; it does not count in comparisons."""
    made = Caller("key", "a", "key:a", users=UserSource(field="user"), user="ann")
    named = from_body(Caller("key", "a", "key:a", users=UserSource(field="user")), {"user": "ann"})
    assert made.owner == named.owner == owner("key:a", "ann")
    assert made == named
    assert made == replace(made, owner="")


@given(st.lists(st.tuples(CALLERS, USERS, CHATS), min_size=2, max_size=8, unique=True))
def test_stored_data_has_a_distinct_key_for_each_caller_user_and_chat(triples: list[tuple[str, str, str]]) -> None:
    """A recording's name is distinct for each caller, user and chat; the key of an answer or reasoning state for each caller and user."""
    keys = [(owner(caller, user), chat) for caller, user, chat in triples]
    assert len(set(keys)) == len({_name(one) for one in keys}) == len(triples)
    pairs = {(caller, user) for caller, user, _ in triples}
    asks = [Ask(model="m", messages=(Message("user", ("Hi",)),), caller=caller, user=user) for caller, user in pairs]
    assert len({key(ask, "", ask.owner) for ask in asks}) == len(pairs)
    assert len({conversation_hash(ask.owner).called([]) for ask in asks}) == len(pairs)
