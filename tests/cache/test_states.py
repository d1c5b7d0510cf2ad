"""Reasoning state kept for clients that run tools: bounds, eviction, serialization, and the names of model calls."""

import logging
from typing import Any

import pytest

from router.cache import LocalStates, Memory, ModelCall, conversation_hash
from router.cache.states import ENTRY, LASTS, MAX_VALUE, MAX_VALUES, read, written
from router.chat import Call, Message, ReasoningState, Result
from router.codec import UnreadableEvents

STATE = ReasoningState("a=m", {"reasoning_content": "Hm. \ud83d"}, "c1", 3)
KEPT = ModelCall((STATE,))


class Clock:
    """A clock that only the test advances."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


class Shared:
    """A store shared by two replicas, in place of Redis, which counts its reads."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.gets = 0

    async def get(self, name: str) -> bytes | None:
        """Return the value under this name, or None, and count the read."""
        self.gets += 1
        return self.held.get(name)

    async def put(self, name: str, value: bytes, ttl: float) -> None:
        """Store a value, and assert that its lifetime is LASTS."""
        assert ttl == LASTS
        self.held[name] = value


def test_caller_with_most_states_has_its_oldest_evicted_first() -> None:
    """A caller that fills the memory loses its own oldest states, another caller loses none, and the total stays within the bound."""
    room = 10 * (ENTRY + 100)
    store = LocalStates(room)
    store.put("quiet", "q", b"x" * 100)
    for count in range(50):
        store.put("loud", f"l{count}", b"x" * 100)
        assert store.taken <= room
    assert store.get("quiet", "q") is not None
    assert [store.get("loud", f"l{count}") is not None for count in (40, 41, 49)] == [False, True, True]


def test_caller_cannot_read_the_reasoning_state_of_another() -> None:
    """A state stored by one caller is a miss for another caller under the same name."""
    store = LocalStates()
    store.put("one", "n", b"x")
    assert store.get("two", "n") is None


def test_reasoning_state_expires_after_its_time() -> None:
    """After LASTS seconds a state is a miss, and its room is freed when the next one is stored."""
    clock = Clock()
    store = LocalStates(clock=clock)
    store.put("a", "n", b"x")
    clock.now = LASTS
    assert store.get("a", "n") is None
    store.put("a", "m", b"x")
    assert store.taken == ENTRY + 1


def test_reasoning_state_larger_than_the_store_is_not_kept() -> None:
    """A state larger than the whole store is not stored, and evicts no other."""
    store = LocalStates(4 * ENTRY)
    store.put("a", "n", b"x")
    store.put("a", "m", b"x" * 4 * ENTRY)
    assert (store.get("a", "n"), store.get("a", "m")) == (b"x", None)


def test_state_kept_twice_under_a_name_is_counted_once() -> None:
    """A second value under a name replaces the first, and only its size counts."""
    store = LocalStates()
    for value in (b"first", b"last"):
        store.put("a", "n", value)
    assert (store.get("a", "n"), store.taken) == (b"last", ENTRY + 4)


def test_reasoning_states_survive_serialization() -> None:
    """Model calls with states, calls and results are equal after `written` and `read`, also with half a surrogate pair in a text."""
    ran = ModelCall(
        (STATE,),
        (Call("c1", "look", {"at": 1.5}), CALL),
        (Result("c1", "look", {"found": [1, "\ud83d"]}), Result("c2", "look", "x", is_error=True)),
    )
    held = {"n": [ran, ModelCall((STATE,))], "m": []}
    assert read(written(held)) == held


def nested(depth: int, before: bytes = b"[", after: bytes = b"]") -> bytes:
    """Return the bytes of a stored state whose value is nested `depth` levels deep."""
    return b'[2,["n",[[[["a=m",{"reasoning_details":' + before * depth + b"1" + after * depth + b'},"c1",0]],[],[]]]]]'


def entry(states: bytes = b"[]", calls: bytes = b"[]", results: bytes = b"[]") -> bytes:
    """Return the bytes of a stored entry with one model call of these parts."""
    return b'[2,["n",[[' + b",".join((states, calls, results)) + b"]]]]"


OTHERS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"[",
    "no UTF-8": b'[2,["\xff",[]]]',
    "no list": b'{"n": 1}',
    "a text": b'"[2]"',
    "another release": b'[1,["n",[["a",{},"c",0]]]]',
    "an entry without model calls": b'[2,["n"]]',
    "model calls that are no list": b'[2,["n",{"a":1}]]',
    "a model call cut short": b'[2,["n",[[[],[]]]]]',
    "a state cut short": entry(b'[["a"]]'),
    "a state whose value is a list": entry(b'[["a",[1],"c",0]]'),
    "a place before the beginning": entry(b'[["a",{},"c",-1]]'),
    "no number": entry(b'[["a",{"x":NaN},"c",0]]'),
    "an infinite number": entry(b'[["a",{"x":1e999},"c",0]]'),
    "a call whose arguments are a text": entry(calls=b'[["c","look","{}"]]'),
    "a result without its mark": entry(results=b'[["c","look","x"]]'),
    "deeper than can be read": nested(9999),
    "deeper than can be written": nested(300),
    "objects deeper than can be written": nested(300, b'{"a":', b"}"),
    "too many values": entry(b'[["a",{"x":[' + b"1," * 300_000 + b'1]},"c",0]]'),
    "too many bytes": entry(b'[["a",{"x":"' + b"x" * MAX_VALUE + b'"},"c",0]]'),
}


@pytest.mark.parametrize("what", OTHERS)
async def test_bytes_in_redis_that_are_no_states_are_a_miss(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """Stored bytes that are malformed, too deep, too large or of another release are a miss, with a warning in the log."""
    with pytest.raises(UnreadableEvents):
        read(OTHERS[what])
    shared: Any = Shared()
    await shared.put("two", OTHERS[what], LASTS)
    with caplog.at_level(logging.WARNING, "router.cache"):
        assert await Memory(shared=shared).get("a", ["one", "two"]) == {}
    assert [one.message for one in caplog.records if "cannot be read" in one.message]


def test_state_too_deep_to_be_read_again_is_not_kept() -> None:
    """`written` leaves out a state that is nested too deep, empties such arguments, writes such results as text, and keeps the rest."""
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    held = {
        "n": [
            ModelCall(
                (ReasoningState("a=m", {"reasoning_details": deep}), STATE), (Call("c", "f", {"x": deep}),), (Result("c", "f", deep),)
            )
        ]
    }
    (kept,) = read(written(held))["n"]
    assert (kept.states, kept.calls) == ((STATE,), (Call("c", "f", {}),))
    assert kept.results[0].value == "[" * 200 + "1" + "]" * 200
    assert read(nested(100))["n"]


def test_reasoning_states_of_the_first_rounds_are_dropped_over_the_size_limit() -> None:
    """If three rounds exceed MAX_VALUE bytes together, the first is dropped and the last two are stored."""
    big = ModelCall((ReasoningState("a=m", {"reasoning_content": "x" * (MAX_VALUE // 2)}),))
    assert list(read(written({"one": [big], "two": [big], "three": [KEPT]}))) == ["two", "three"]


def test_reasoning_state_of_a_round_over_the_size_limit_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A single round with too many bytes or too many JSON values is not stored, and logged once."""
    values: Any = [1] * (MAX_VALUES // 2)
    crowd = ModelCall((), (), (Result("c1", "f", values), Result("c2", "f", values), Result("c3", "f", values)))
    for large in (crowd, ModelCall((), (), (Result("c1", "f", "x" * MAX_VALUE),))):
        caplog.clear()
        assert read(written({"one": [large]})) == {}
        assert [one.message for one in caplog.records] == ["a tool round is too large to be kept: the model goes on without it"]


async def test_other_replica_finds_the_states_of_all_rounds_with_one_redis_lookup() -> None:
    """A replica reads the states of all rounds from Redis with one lookup, and the replica that stored them with none."""
    shared: Any = Shared()
    here, there = Memory(shared=shared), Memory(shared=shared)
    await here.put("a", "two", {"one": [KEPT], "two": [KEPT]})
    assert await there.get("a", ["one", "two"]) == {"one": [KEPT], "two": [KEPT]}
    assert shared.gets == 1
    await here.get("a", ["one", "two"])
    assert shared.gets == 1


async def test_conversation_without_calls_costs_no_lookup_in_redis() -> None:
    """For a conversation without model calls, the result is empty and Redis is not read."""
    shared: Any = Shared()
    assert await Memory(shared=shared).get("a", []) == {}
    assert shared.gets == 0


CALL = Call("c1", "look", {"at": 1.0, "of": [2, "x"]})
ASKED = Message("user", ("Where?",))


def names(*messages: Message, caller: str = "a") -> list[str]:
    """Return the names under which the reasoning states of a conversation's model calls are stored for this caller, in order."""
    return list(conversation_hash(caller).follow(messages).values())


def test_state_name_is_the_same_however_a_client_sends_the_conversation() -> None:
    """A model call's storage name is equal without the system prompt, with text in another message, results reordered, and 1 for 1.0."""
    two = Call("c2", "look", {})
    told = names(
        Message("system", ("Be brief.",)),
        ASKED,
        Message("assistant", ("Let me see.", CALL, two)),
        Message("tool", (Result("c1", "look", {"b": 1.0, "a": 2}),)),
        Message("tool", (Result("c2", "look", "x"),)),
        Message("assistant", (Call("c3", "look", {}),)),
    )
    again = names(
        ASKED,
        Message("assistant", (Call("c1", "look", {"of": [2, "x"], "at": 1}), two)),
        Message("tool", (Result("c2", "look", "x"), Result("c1", "look", {"a": 2, "b": 1}))),
        Message("assistant", ("Let me see.",)),
        Message("assistant", (Call("c3", "look", {}),)),
    )
    assert told == again
    assert len(set(told)) == 2


def test_state_name_differs_by_caller_conversation_call_and_result() -> None:
    """A model call's name for its reasoning state differs for another caller, question, earlier answer or result, even if call ids repeat."""
    once = (ASKED, Message("assistant", (CALL,)), Message("tool", (Result("c1", "look", "x"),)), Message("assistant", (CALL,)))
    other = (*once[:2], Message("tool", (Result("c1", "look", "y"),)), once[3])
    before = (ASKED, Message("assistant", ("So.",)), Message("user", ("And?",)), *once[1:])
    after = (ASKED, Message("assistant", ("No.",)), Message("user", ("And?",)), *once[1:])
    found = [names(*told, caller=caller)[-1] for told in (once, other, before, after) for caller in ("a", "b")]
    found.append(names(*once)[0])
    found.append(names(Message("user", ("Who?",)), *once[1:])[-1])
    assert len(set(found)) == len(found)


def test_states_of_the_user_with_most_are_evicted_before_those_of_others() -> None:
    """The user with most states loses its oldest first; a user of the same caller with one state, and another caller, lose none."""
    room = 20 * (ENTRY + 100)
    store = LocalStates(room)
    store.put("quiet", "q", b"x" * (3 * ENTRY))
    store.put("loud", "n", b"x" * 100, "modest")
    for count in range(100):
        store.put("loud", f"l{count}", b"x" * 100, "greedy")
        assert store.taken <= room
    for count in range(100):
        store.put("loud", "n", b"x" * 100, f"user-{count}")
        assert store.taken <= room
    assert store.get("quiet", "q") is not None
    store = LocalStates(room)
    store.put("loud", "n", b"x" * 100, "modest")
    for count in range(100):
        store.put("loud", f"l{count}", b"x" * 100, "greedy")
    assert store.get("loud", "n", "modest") is not None
    assert (store.get("loud", "l99", "greedy") is not None, store.get("loud", "l0", "greedy")) == (True, None)


def test_user_cannot_read_the_state_of_another_user_of_its_caller() -> None:
    """A state stored for one user of a caller is a miss for another user and for the caller without a user."""
    store = LocalStates()
    store.put("one", "n", b"x", "ann")
    assert [store.get("one", "n", user) for user in ("ann", "ben", "")] == [b"x", None, None]
