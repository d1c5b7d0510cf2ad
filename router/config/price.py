"""Prices of models: as a target declares them, or as LiteLLM's table has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from router.bounds import Bounds
from router.usage import Usage

MILLION = 1_000_000
Dollars = Annotated[float, Bounds(0, 1_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a model, in US dollars for a million tokens.

    input: of tokens that it reads
    output: of tokens that it writes
    cached: of tokens read from the provider's prompt cache; unless given, as input
    cache_write: of tokens written to that cache; unless given, as input
    cache_write_1h: of tokens written to it for an hour; unless given, as cache_write
    reasoning: of reasoning tokens; unless given, as output
    """

    input: Dollars
    output: Dollars
    cached: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    reasoning: Dollars | None = None

    def of(self, usage: Usage) -> float:
        """Return the cost of one model call with this usage, in dollars."""
        cached = self.input if self.cached is None else self.cached
        stored = self.input if self.cache_write is None else self.cache_write
        stored_1h = stored if self.cache_write_1h is None else self.cache_write_1h
        reasoning = self.output if self.reasoning is None else self.reasoning
        read = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
        parts = read * self.input + usage.cached_tokens * cached
        parts += (usage.cache_write_tokens - usage.cache_write_1h_tokens) * stored + usage.cache_write_1h_tokens * stored_1h
        parts += (usage.output_tokens - usage.reasoning_tokens) * self.output + usage.reasoning_tokens * reasoning
        return parts / MILLION

    def saved(self, usage: Usage) -> float:
        """Return the dollars that the provider's prompt cache saved in one model call; negative where writing to it cost more."""
        if not usage.cached_tokens and not usage.cache_write_tokens:
            return 0.0
        return self.of(usage.uncached) - self.of(usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class TieredPrice(Price):
    """A price with tiers for long prompts.

    tiers: (tokens, price): with more input tokens than these, all tokens of the call cost this price; the largest first
    """

    tiers: Sequence[tuple[int, Price]] = ()

    def of(self, usage: Usage) -> float:
        """Return the cost of one model call with this usage, in dollars."""
        for above, price in self.tiers:
            if usage.input_tokens > above:
                return price.of(usage)
        return Price.of(self, usage)
