"""Token counts of the last call of each chat at a target, from which calls without a count (left or broken off) are estimated.
Most of a chat's prompt is that of its last call, which the target may keep in a prompt cache. The count of that call is a better guess
than the text alone, and cached tokens cost a tenth to a half.
"""

import math
from collections import OrderedDict

from router.chat import Ask
from router.failover.breaker import Clock
from router.usage import Usage
from router.value import Value

MAX_SESSIONS = 10_000
"""Chats whose last count is kept for a target, some 2 MB; beyond it the one that was counted longest ago is dropped."""
KEPT_S = 300.0
"""Seconds after which a count is not used any more: the shortest time for which a provider keeps a prompt."""
LEAST_KEPT = 1024
"""Tokens of the shortest prompt that a provider caches without being asked to."""
PIECE = 128
"""Tokens of one piece of a prompt in a provider's cache: only whole pieces are cached."""
CHARACTERS = 4
"""Characters of one token, as a rule."""
AROUND = 10
"""Tokens around each text, call and result, roughly: the role, the name of a tool, brackets."""


class PromptCount(Value, frozen=True):
    """The token count of one call.
    at: when, by the clock of the breakers
    size, parts: those of the conversation, as `Ask.extent`
    """

    at: float
    size: int
    parts: int
    usage: Usage

    @property
    def kept(self) -> int:
        """Tokens of the prompt that the provider has probably cached since that call."""
        usage = self.usage
        pieces = usage.input_tokens // PIECE * PIECE if usage.input_tokens >= LEAST_KEPT else 0
        return usage.cached_tokens + usage.cache_write_tokens if usage.cache_write_tokens else pieces


class Prefixes:
    """The last token count of each session at one target."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: OrderedDict[int, PromptCount] = OrderedDict()
        self._keeps = False
        """True once the target was seen to read a prompt from its cache."""

    def counted(self, ask: Ask, usage: Usage, now: float) -> None:
        """Store the usage that the provider counted for a call as the last count of its session. A call without a session is not stored.
        now: the time by the clock of the breakers
        """
        if usage.cached_tokens:
            self._keeps = True
        if not (chat := ask.chat_hash):
            return
        size, parts = ask.extent
        known = self._last.pop(chat, None)  # stored again, it is the newest
        self._last[chat] = PromptCount(now, size, parts, usage)
        if known is None and len(self._last) > MAX_SESSIONS:
            self._last.popitem(last=False)

    def guess(self, ask: Ask) -> Usage | None:
        """Return the estimated input tokens of a call without a count, with 0 output tokens.
        None without a count of its session in the last KEPT_S seconds, or if the conversation is shorter than at that count.
        """
        last = self._last.get(ask.chat_hash)
        size, parts = ask.extent
        if last is None or size < last.size or self._clock() - last.at > KEPT_S:
            return None
        more = math.ceil((size - last.size) / CHARACTERS) + AROUND * max(0, parts - last.parts)
        read = last.usage.input_tokens + more
        written = read - last.kept if last.usage.cache_write_tokens else 0
        return Usage(read, cached_tokens=last.kept if self._keeps else 0, cache_write_tokens=written)
