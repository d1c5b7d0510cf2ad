"""Token counts of OpenAI's two APIs, as different providers report them, normalised to one form.

    prompt_tokens_details.cached_tokens              OpenAI, Azure, xAI, Groq, Mistral, Z.ai, Alibaba, OpenRouter and nearly all others
    cached_tokens                                    Moonshot, Together
    prompt_cache_hit_tokens                          DeepSeek; a miss costs nothing to write
    prompt_tokens_details.cache_write_tokens         OpenRouter
    prompt_tokens_details.cache_creation_tokens      LiteLLM's proxy; `cache_creation_input_tokens` at Alibaba
    cache_read_input_tokens, cache_creation_…        gateways to Anthropic, by Anthropic's names
    completion_tokens_details.reasoning_tokens       all that report it; xAI's are not in completion_tokens, as its total shows
    reasoning_tokens                                 GitHub Copilot, Perplexity
    …_tokens_details.audio_tokens, image_tokens      OpenAI, Azure, OpenRouter: they have prices of their own
    server_tool_use.web_search_requests              OpenRouter, LiteLLM for Anthropic: each search has a price

Sources: the API references of those providers, and the recorded streams in the tests.
"""

from collections.abc import Mapping

import msgspec

from router.usage import Tier, Usage
from router.value import Value, replace

Number = int | float | None
MAX_TOKENS = 1_000_000_000
"""Upper bound of a credible token count: more than any model reads or writes in one call."""
NO_USAGE = Usage()
"""Usage without any tokens."""


def tokens(count: float | None) -> int:
    """Return a provider's count; 0 if it is not a number of tokens (infinite, negative, absent, above MAX_TOKENS)."""
    return int(count) if count is not None and 0 <= count <= MAX_TOKENS else 0


class Apart(Value, frozen=True, gc=False):
    """Counts with prices of their own: audio tokens, image tokens, web searches. `tier`: the provider's word for the service tier."""

    audio_input: float | None = 0
    audio_output: float | None = 0
    image_output: float | None = 0
    searches: float | None = 0
    tier: object = ""

    def over(self, usage: Usage) -> Usage:
        """Return the usage with these counts and tier. A count of zero, or no tier, leaves the usage's own.
        A tier without a price of its own becomes empty. Audio and image tokens are limited to the usage's input and output tokens.
        """
        return replace(
            usage,
            audio_input_tokens=min(tokens(self.audio_input) or usage.audio_input_tokens, usage.input_tokens),
            audio_output_tokens=min(tokens(self.audio_output) or usage.audio_output_tokens, usage.output_tokens),
            image_output_tokens=min(tokens(self.image_output) or usage.image_output_tokens, usage.output_tokens),
            searches=tokens(self.searches) or usage.searches,
            service_tier=PRICED_TIERS.get(str(self.tier).lower(), "") if self.tier else usage.service_tier,
        )


PRICED_TIERS: Mapping[str, Tier] = {"flex": "flex", "priority": "priority"}
"""Service tiers that have a price of their own: those of OpenAI, Google, xAI, Groq, Fireworks and DeepInfra have the same names."""


class Counts(Value, frozen=True, gc=False):
    """A provider's token counts in the terms of Usage. They are not checked yet: each may be missing, or no number of tokens.

    input_tokens: all input, cache tokens included
    output_tokens: all output, reasoning included
    cached, cache_write: tokens read from the prompt cache, and written to it
    reasoning: part of the output
    cache_write_1h: those of `cache_write` that are kept for an hour
    apart: counts with prices of their own, such as audio; None if there are none
    """

    input_tokens: Number = None
    output_tokens: Number = None
    cached: Number = None
    cache_write: Number = None
    reasoning: Number = None
    cache_write_1h: Number = None
    apart: Apart | None = None

    def over(self, before: Usage) -> Usage:
        """Return the usage after an earlier count `before`, which it replaces: some servers count as they stream.
        If input and cache tokens are all zero, those of `before` stay; so do output and reasoning, each by itself. Cache tokens that
        together exceed the input were counted apart from it, and are added to it.
        """
        some, more = self.input_tokens, self.output_tokens
        others = self.cached or self.cache_write or self.reasoning or self.apart  # `cache_write_1h` is part of `cache_write`
        if some and more and 0 < some <= MAX_TOKENS and 0 < more <= MAX_TOKENS and not others and before is NO_USAGE:
            return Usage(int(some), int(more))  # the usual case: nothing else was counted, and nothing before
        counts = (some, more, self.cached, self.cache_write, self.cache_write_1h, self.reasoning)
        read, written, hit, stored, lasting, thought = map(tokens, counts)
        if not read + hit + stored:
            read, hit, stored = before.input_tokens, before.cached_tokens, before.cache_write_tokens
            lasting = before.cache_write_1h_tokens
        elif hit + stored > read:
            read += hit + stored
        written, thought = written or before.output_tokens, thought or before.reasoning_tokens
        kept = (before.audio_input_tokens, before.audio_output_tokens, before.image_output_tokens, before.searches, before.service_tier)
        counted = Usage(read, written, hit, stored, min(thought, written), min(lasting, stored), *kept)
        return counted if self.apart is None else self.apart.over(counted)


class Lasting(msgspec.Struct, gc=False):
    """Tokens written to a prompt cache, by how long they are kept; only those of an hour are read."""

    ephemeral_1h_input_tokens: Number = None


class Read(msgspec.Struct, gc=False):
    """Parts of the input tokens, from `prompt_tokens_details` or `input_tokens_details`: cached, audio, cache writes."""

    cached_tokens: Number = None
    audio_tokens: Number = None
    cache_write_tokens: Number = None
    cache_creation_tokens: Number = None
    cache_creation_input_tokens: Number = None
    cache_creation: Lasting | None = None
    cache_creation_token_details: Lasting | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """Parts of the output tokens, from `completion_tokens_details` or `output_tokens_details`. `thinking_tokens`: Anthropic's reasoning."""

    reasoning_tokens: Number = None
    thinking_tokens: Number = None
    audio_tokens: Number = None
    image_tokens: Number = None


READ, COMPLETED = Read(), CompletionDetails()
"""Empty details, for counts without any."""


class ServerTools(msgspec.Struct, gc=False):
    """The provider's counts of its own tools' calls; only web searches are read."""

    web_search_requests: Number = None


class ChatUsage(msgspec.Struct, gc=False):
    """Usage of a chat completion. xAI's completion_tokens lack the reasoning, as its total shows; all others include it."""

    prompt_tokens: Number = None
    completion_tokens: Number = None
    total_tokens: Number = None
    prompt_tokens_details: Read | None = None
    completion_tokens_details: CompletionDetails | None = None
    cached_tokens: Number = None
    prompt_cache_hit_tokens: Number = None
    cache_read_input_tokens: Number = None
    cache_creation_input_tokens: Number = None
    cache_creation: Lasting | None = None
    reasoning_tokens: Number = None
    server_tool_use: ServerTools | None = None

    @property
    def output(self) -> int:
        """Return the output tokens, reasoning included."""
        return tokens(self._written()[0])

    def _written(self) -> tuple[Number, int]:
        """Return the output tokens, reasoning included, and the reasoning tokens. An invalid count of reasoning is 0."""
        details = self.completion_tokens_details or COMPLETED
        if not (details.reasoning_tokens or self.reasoning_tokens):
            return self.completion_tokens, 0
        thought = tokens(details.reasoning_tokens) or tokens(self.reasoning_tokens)
        asked, answered, total = map(tokens, (self.prompt_tokens, self.completion_tokens, self.total_tokens))
        return answered + (thought if total == asked + answered + thought else 0), thought

    def counts(self, tier: object = None) -> Counts:
        """Return these counts in the terms of Usage. `tier`: the service tier that the answer names."""
        others = tier or self.prompt_tokens_details or self.completion_tokens_details or self.reasoning_tokens or self.server_tool_use
        cached = self.cached_tokens or self.prompt_cache_hit_tokens or self.cache_read_input_tokens or self.cache_creation_input_tokens
        if not others and not cached:
            return Counts(self.prompt_tokens, self.completion_tokens)  # the usual case: nothing else was counted
        read, made = self.prompt_tokens_details or READ, self.completion_tokens_details or COMPLETED
        searches = self.server_tool_use.web_search_requests if self.server_tool_use else None
        apart = tier or searches or read.audio_tokens or made.audio_tokens or made.image_tokens
        stored = (
            read.cache_write_tokens or read.cache_creation_tokens or read.cache_creation_input_tokens or self.cache_creation_input_tokens
        )
        lasting = (self.cache_creation or read.cache_creation or read.cache_creation_token_details) if stored else None
        output, thought = self._written()
        return Counts(
            self.prompt_tokens,
            output,
            cached=read.cached_tokens or self.prompt_cache_hit_tokens or self.cached_tokens or self.cache_read_input_tokens,
            cache_write=stored,
            reasoning=thought,
            cache_write_1h=lasting.ephemeral_1h_input_tokens if lasting else None,
            apart=Apart(read.audio_tokens, made.audio_tokens, made.image_tokens, searches, tier) if apart else None,
        )


class ResponseUsage(msgspec.Struct, gc=False):
    """Usage of an answer of the Responses API. The output includes the reasoning."""

    input_tokens: Number = None
    output_tokens: Number = None
    input_tokens_details: Read | None = None
    output_tokens_details: CompletionDetails | None = None

    def counts(self, tier: object = None) -> Counts:
        """Return these counts in the terms of Usage. `tier`: the service tier that the answer names."""
        return ChatUsage(self.input_tokens, self.output_tokens, None, self.input_tokens_details, self.output_tokens_details).counts(tier)
