"""Prices of models: as a target declares them, or as LiteLLM's table has them."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from router.bounds import Bounds
from router.usage import Usage
from router.value import Value, field, replace

MILLION = 1_000_000
Dollars = Annotated[float, Bounds(0, 1_000_000)]


class Price(Value, frozen=True, kw_only=True):
    """The price of a model, in US dollars for a million tokens.

    input: tokens that the model reads
    output: tokens that the model writes
    cached: tokens that are read from the provider's prompt cache; by default the price of `input`
    cache_write: tokens that are written to that cache; by default the price of `input`
    cache_write_1h: tokens that are written to that cache for an hour; by default the price of `cache_write`
    reasoning: reasoning tokens; by default the price of `output`
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
        """Return the dollars that the provider's prompt cache saved in one model call; negative if writing to it cost more."""
        return self.of(usage.uncached) - self.of(usage) if usage.cached_tokens or usage.cache_write_tokens else 0.0


class TieredPrice(Price, frozen=True, kw_only=True):
    """A price with all that a table says: tiers for long prompts, service tiers, audio, images and searches of the web.

    tiers: (tokens, price): with more input tokens than these, all tokens of the call cost this price; the largest first
    services: service tier → price of a call that it served
    audio_input: of audio that it reads; unless given, as input. Audio that comes from the cache costs as `cached`: providers do not count it apart
    audio_output: of audio that it writes; unless given, as output
    image_output: of images that it writes; unless given, as output
    search: dollars for one search of the web
    """

    tiers: Sequence[tuple[int, Price]] = ()
    services: Mapping[str, "TieredPrice"] = field(default_factory=dict[str, "TieredPrice"])
    audio_input: Dollars | None = None
    audio_output: Dollars | None = None
    image_output: Dollars | None = None
    search: Dollars = 0.0

    def of(self, usage: Usage) -> float:
        """Return the cost of one model call with this usage, in dollars."""
        if (served := self.services.get(usage.service_tier)) is not None:
            return served.of(replace(usage, service_tier=""))
        usual: Price = next((price for above, price in self.tiers if usage.input_tokens > above), self)
        # The cost of audio and images beyond the price of text, in millionths of a dollar; negative if they are cheaper.
        heard = min(usage.audio_input_tokens, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
        parts = 0.0 if self.audio_input is None else max(0, heard) * (self.audio_input - usual.input)
        parts += 0.0 if self.audio_output is None else usage.audio_output_tokens * (self.audio_output - usual.output)
        parts += 0.0 if self.image_output is None else usage.image_output_tokens * (self.image_output - usual.output)
        return Price.of(usual, usage) + parts / MILLION + usage.searches * self.search
