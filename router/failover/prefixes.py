"""How much of a prompt a provider's cache probably holds: for the estimate of a call that was cut off before its provider counted.

A prompt cache holds the prompt of the chat's last call for some minutes. Without this, a long chat's cut call would be estimated at ten
times what it costs. Nothing but estimates is made of it.
"""

from collections import OrderedDict
from collections.abc import Hashable

from router.chat import Ask
from router.failover.breaker import Clock
from router.usage import Usage

LASTS = 300.0
"""Seconds that a provider keeps a prompt, as a rule."""
LEAST = 1024
"""Tokens of the shortest prompt that is cached, as a rule."""
MAX_CHATS = 10_000
"""Chats that are remembered."""


class Prefixes:
    """What one target was asked last in each chat: tokens of the prompt, and when that ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._caches = False
        """Whether this target was ever seen to read from a cache."""
        self._last: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def counted(self, ask: Ask, usage: Usage) -> None:
        """Remember what a call of this chat took."""
        self._caches = self._caches or usage.cached_tokens > 0
        if self._caches and usage.input_tokens >= LEAST:
            key = _chat(ask)
            self._last[key] = (self._clock(), usage.input_tokens)
            self._last.move_to_end(key)
            if len(self._last) > MAX_CHATS:
                self._last.popitem(last=False)

    def cached(self, ask: Ask, tokens: int) -> int:
        """Of so many tokens of a prompt, those that probably came from the cache."""
        ended, prompt = self._last.get(_chat(ask), (0.0, 0)) if self._last else (0.0, 0)
        return min(prompt, tokens) if prompt and self._clock() - ended <= LASTS else 0


def _chat(ask: Ask) -> Hashable:
    """What tells a chat from others: its id, or else its messages up to the first of the user."""
    if ask.chat:
        return hash((ask.caller, ask.user, ask.chat))
    first = next((at for at, message in enumerate(ask.messages) if message.role == "user"), 0)
    return hash((ask.caller, ask.user, *((message.role, message.text) for message in ask.messages[: first + 1])))
