"""Token counts of a chat's last call, from which the tokens of calls without a count are estimated."""

import pytest

from router.chat import Ask, Call, Message, Result
from router.failover.prefixes import KEPT_S, MAX_SESSIONS, Prefixes
from router.usage import Usage
from tests.failover.test_breaker import Clock

QUESTION = Message("user", ("What is the weather like? " * 200,))
ASK = Ask(model="m", messages=(QUESTION,), chat_hash=1)
LATER = ASK.with_messages(
    QUESTION,
    Message("assistant", (Call("c", "get_weather", {"location": "Paris"}),)),
    Message("tool", (Result("c", "get_weather", "Paris: 25 degrees"),)),
)


def test_estimate_of_a_chats_next_call_starts_from_its_last_count() -> None:
    """The estimate is the last count plus the new text; it includes cached tokens, in pieces of 128, once the target has reported some."""
    prompts = Prefixes(Clock())
    prompts.counted(ASK, Usage(1500, 20), 100.0)
    guess = prompts.guess(LATER)
    assert guess is not None
    assert 1510 < guess.input_tokens < 1550
    assert guess.cached_tokens == 0
    prompts.counted(ASK, Usage(1500, 20, cached_tokens=1024), 100.0)
    guess = prompts.guess(LATER)
    assert guess is not None
    assert (guess.cached_tokens, guess.cache_write_tokens) == (1408, 0)


def test_estimate_counts_the_last_prompt_as_cached_where_cache_writes_are_counted() -> None:
    """With a provider that counts cache writes, the estimate has the last prompt as a cache read and the rest as a cache write."""
    prompts = Prefixes(Clock())
    prompts.counted(ASK, Usage(1500, 20, cached_tokens=1200, cache_write_tokens=300), 100.0)
    guess = prompts.guess(LATER)
    assert guess is not None
    assert guess.cached_tokens == 1500
    assert guess.cache_write_tokens == guess.input_tokens - 1500


@pytest.mark.parametrize("what", ["another chat", "no chat", "a shorter conversation", "too late"])
def test_estimate_is_none_without_a_recent_count_of_the_conversation(what: str) -> None:
    """No estimate is made for another session, no session, a shorter conversation, or a count older than `KEPT_S` seconds."""
    clock = Clock()
    prompts = Prefixes(clock)
    prompts.counted(LATER, Usage(1500, 20, cached_tokens=1024), 100.0)
    clock.now += KEPT_S + 1 if what == "too late" else KEPT_S
    other = {"another chat": Ask(model="m", messages=LATER.messages, chat_hash=2), "a shorter conversation": ASK}
    assert prompts.guess(other.get(what, Ask(model="m", messages=LATER.messages, chat_hash=0 if what == "no chat" else 1))) is None
    assert (prompts.guess(LATER) is None) == (what == "too late")


def test_counts_beyond_max_sessions_evict_the_oldest_session() -> None:
    """After counts of MAX_SESSIONS + 10 sessions, the ten that were counted longest ago have no estimate."""
    prompts = Prefixes(Clock())
    for number in range(MAX_SESSIONS + 10):
        prompts.counted(Ask(model="m", messages=(QUESTION,), chat_hash=number + 1), Usage(1500, 20), 100.0)
    assert [prompts.guess(Ask(model="m", messages=(QUESTION,), chat_hash=number + 1)) is None for number in (0, 9, 10, 11)] == [
        True,
        True,
        False,
        False,
    ]


def test_session_counted_again_is_evicted_after_those_counted_before() -> None:
    """Once the oldest of MAX_SESSIONS sessions is counted again, the next new session evicts the second oldest instead."""
    prompts = Prefixes(Clock())
    asks = [Ask(model="m", messages=(QUESTION,), chat_hash=number + 1) for number in range(MAX_SESSIONS + 1)]
    for ask in [*asks[:-1], asks[0], asks[-1]]:
        prompts.counted(ask, Usage(1500, 20), 100.0)
    assert [prompts.guess(ask) is None for ask in (asks[0], asks[1], asks[2], asks[-1])] == [False, True, False, False]
