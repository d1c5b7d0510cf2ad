"""Token usage of a model call, reported by the provider or estimated here.

Each lane converts its provider's report to one form. A report may come in parts, the last of them after the answer's end: a `Meter` holds
the latest. Without a report, `tokens_in` estimates the tokens from the text.
"""

import asyncio
import math
import re
from bisect import bisect
from collections.abc import Callable, Sequence
from operator import add, attrgetter
from typing import Literal, Self

from router.value import Mutable, Value, names, replace

Tier = Literal["", "flex", "priority"]
"""Service tiers with a price of their own; empty for the usual tier."""


class Usage(Value, frozen=True, gc=False):
    """Tokens of a model call, as the provider reported them; every provider's report is converted to this form.

    input_tokens: all that the model read, those of the two caches below included
    output_tokens: all that it wrote, its reasoning included
    cached_tokens: of the input, what was read from the provider's prompt cache
    cache_write_tokens: of the input, what was written to that cache
    reasoning_tokens: of the output, the model's reasoning
    cache_write_1h_tokens: of those written to the cache, what is kept for an hour, for which some providers charge more
    audio_input_tokens: of the input, audio
    audio_output_tokens: of the output, audio
    image_output_tokens: of the output, images
    searches: web searches by the provider, which charges for each
    service_tier: the tier that served the call, if its price is not the usual one; empty for a sum over several tiers
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    searches: int = 0
    service_tier: Tier = ""

    def __add__(self, other: Self) -> "Usage":
        tier: Tier = self.service_tier if self.service_tier == other.service_tier else ""
        return Usage(*map(add, _counts(self), _counts(other)), service_tier=tier)

    @property
    def total_tokens(self) -> int:
        """The sum of input and output tokens."""
        return self.input_tokens + self.output_tokens

    @property
    def uncached(self) -> "Usage":
        """A copy with the counts of the prompt cache set to 0, so that all input has the usual price."""
        return replace(self, cached_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0)


_counts: Callable[[Usage], tuple[int, ...]] = attrgetter(*names(Usage)[:-1])


class Meter(Mutable):
    """The usage of one model call so far. `usage`: the latest report; None without one; `final`: True once it is of the complete answer."""

    usage: Usage | None = None
    final: bool = False
    _late: asyncio.Future[None] | None = None

    @property
    def pending(self) -> bool:
        """True while the answer has ended and its usage is still awaited."""
        return self._late is not None and not self._late.done()

    def wait(self) -> None:
        """Record that a usage report may come after the end of the answer: `pending` becomes true. Returns at once."""
        self._late = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """Record that no usage report will come any more: `pending` becomes false, and `closed` returns."""
        if self._late is not None and not self._late.done():
            self._late.set_result(None)

    async def closed(self) -> None:
        """Wait until no more usage reports are expected; return at once if none was awaited."""
        if self._late is not None:
            await asyncio.shield(self._late)


WORDS = re.compile(r"[A-Za-z]+|[0-9]+|[!-/:-@\\[-`{-~]+|\n+|[^\x00-\x7f]+")
"""Runs that tokens rarely cross: letters, digits, signs, line ends, non-ASCII. A space belongs to the word after it."""

MAX_READ = 64 * 1024
"""Characters of a text that are read, which takes 10 ms; a longer text is judged by samples."""
MAX_READ_IN_ALL = 4 * MAX_READ
"""Characters of a conversation that are read, which takes 40 ms; a longer one is judged by samples."""
SAMPLES = 16
SAMPLES_IN_ALL = 256
CODES, BEYOND_ASCII = (0x250, 0x1100, 0x10000), (0.6, 0.4, 0.75, 1.5)
"""Estimated tokens of a character: Latin with an accent, which breaks its word; other alphabets; Chinese, Japanese, Korean; emoji."""
LONGEST_WORD = 16
"""Letters of the longest run that counts as a word; longer runs are keys or base64."""


def tokens_in(text: str) -> int:
    """Return the estimated tokens of a text: within 20 % of OpenAI's and Anthropic's tokenizers for prose and code in most languages."""
    return _estimate(text, MAX_READ, SAMPLES)


def tokens_in_all(texts: Sequence[str]) -> int:
    """Return the estimated tokens of several texts. Of more than 256 Ki characters in all, only samples are read."""
    if sum(map(len, texts)) <= MAX_READ_IN_ALL:
        return sum(map(tokens_in, texts))
    return _estimate("\n".join(texts), MAX_READ_IN_ALL, SAMPLES_IN_ALL)


def _estimate(text: str, most: int, samples: int) -> int:
    """Return the estimated tokens of a text, of which at most `most` characters are read, in `samples` evenly spaced pieces."""
    if len(text) <= most:
        return math.ceil(sum(map(_tokens, WORDS.findall(text))))
    size = most // samples
    starts = range(0, len(text) - size + 1, (len(text) - size) // (samples - 1))
    sample = "".join(text[start : start + size] for start in starts)[:most]
    return math.ceil(sum(map(_tokens, WORDS.findall(sample))) * len(text) / len(sample))


def _tokens(run: str) -> float:
    """Return the estimated tokens of a match of WORDS: fitted to the tokenizers o200k, cl100k and Claude's."""
    size, first = len(run), run[0]
    if not first.isascii():
        return sum([BEYOND_ASCII[bisect(CODES, ord(character))] for character in run])
    if first.isalpha():
        return 1.05 + max(0, size - 7) / 5 if size <= LONGEST_WORD else size / 4
    if first.isdigit():
        return math.ceil(size / 3)
    return 0.7 if first == "\n" else 0.6 + size / 5
