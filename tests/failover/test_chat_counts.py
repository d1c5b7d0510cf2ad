"""What a target counted last of each chat, by which calls are estimated that nobody counted."""

import pytest

from router.chat import Ask, Call, Message, Result
from router.failover.prefixes import KEPT_S, MAX_SESSIONS, Prefixes
from router.usage import Usage
from tests.failover.test_breaker import Clock

QUESTION = Message("user", ("What is the weather like? " * 200,))
ASK = Ask(model="m", messages=(QUESTION,), session="s")
LATER = ASK.with_messages(
    QUESTION,
    Message("assistant", (Call("c", "get_weather", {"location": "Paris"}),)),
    Message("tool", (Result("c", "get_weather", "Paris: 25 degrees"),)),
)


def test_a_later_call_of_a_chat_is_guessed_from_the_count_before_it() -> None:
    """What was counted, and what came since; the pieces that a cache keeps, once the target was seen to read one."""
    prompts = Prefixes(Clock())
    prompts.counted(ASK, Usage(1500, 20))
    guess = prompts.guess(LATER)
    assert guess is not None
    assert 1510 < guess.input_tokens < 1550
    assert guess.cached_tokens == 0
    prompts.counted(ASK, Usage(1500, 20, cached_tokens=1024))
    guess = prompts.guess(LATER)
    assert guess is not None
    assert (guess.cached_tokens, guess.cache_write_tokens) == (1408, 0)


def test_cached_prefix_of_a_chat_is_read_and_the_rest_written() -> None:
    """As Anthropic counts: a chat's next prompt reads all of the one before."""
    prompts = Prefixes(Clock())
    prompts.counted(ASK, Usage(1500, 20, cached_tokens=1200, cache_write_tokens=300))
    guess = prompts.guess(LATER)
    assert guess is not None
    assert guess.cached_tokens == 1500
    assert guess.cache_write_tokens == guess.input_tokens - 1500


@pytest.mark.parametrize("what", ["another chat", "no chat", "a shorter conversation", "too late"])
def test_nothing_is_guessed_of(what: str) -> None:
    """A conversation that was not counted before, or so long ago that no cache keeps it."""
    clock = Clock()
    prompts = Prefixes(clock)
    prompts.counted(LATER, Usage(1500, 20, cached_tokens=1024))
    clock.now += KEPT_S + 1 if what == "too late" else KEPT_S
    other = {"another chat": Ask(model="m", messages=LATER.messages, session="t"), "a shorter conversation": ASK}
    assert prompts.guess(other.get(what, Ask(model="m", messages=LATER.messages, session="" if what == "no chat" else "s"))) is None
    assert (prompts.guess(LATER) is None) == (what == "too late")


def test_the_chats_that_are_known_are_bounded() -> None:
    """Those that were asked longest ago go first."""
    prompts = Prefixes(Clock())
    for number in range(MAX_SESSIONS + 10):
        prompts.counted(Ask(model="m", messages=(QUESTION,), session=f"s{number}"), Usage(1500, 20))
    assert [prompts.guess(Ask(model="m", messages=(QUESTION,), session=f"s{number}")) is None for number in (0, 9, 10, 11)] == [
        True,
        True,
        False,
        False,
    ]
