"""The sampling parameters of a question, and their bounds."""

from typing import Annotated, Literal, Self

from router.bounds import Bounds
from router.errors import Misfit
from router.value import Value, names, replace

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""The amount of thinking that a reasoning model may do, in the words of OpenAI's API and Anthropic's."""
Tier = Literal["auto", "default", "flex", "priority", "scale", "standard_only", "on_demand", "performance"]
"""The treatment of a request by its provider: the words of OpenAI, Anthropic and Groq."""

LIMITS = {
    "temperature": Bounds(0, 2),
    "top_p": Bounds(0, 1),
    "max_tokens": Bounds(1, 10_000_000),
    "presence_penalty": Bounds(-2, 2),
    "frequency_penalty": Bounds(-2, 2),
    "top_k": Bounds(0, 1_000_000),
    "min_p": Bounds(0, 1),
    "repetition_penalty": Bounds(above=0, most=2),
}
"""Sampling parameter → the range that it may have."""
BIAS = Bounds(-100, 100)
"""The range of one entry of `logit_bias`."""


class Params(Value, frozen=True, kw_only=True):
    """Sampling parameters, by the names of the OpenAI API. For a parameter that is not set, the provider's default applies.

    temperature: randomness of the choice of tokens; 0 for the least
    top_p: sample only among the likeliest tokens whose probabilities together reach this value
    max_tokens: maximum number of tokens of the answer
    stop: texts that end the answer, at most four
    seed: with the same seed, the provider tries to give the same answer
    presence_penalty: above 0: tokens that already occur in the text become less likely
    frequency_penalty: above 0: the more often a token occurs in the text, the less likely it becomes
    reasoning_effort: how long a reasoning model may think
    top_k: sample only among this number of the likeliest tokens; 0 for all
    min_p: leave out tokens that are less likely than this share of the likeliest token's probability
    repetition_penalty: above 1 makes repetitions less likely; 1 for no penalty
    verbosity: how detailed the answer should be
    service_tier: the provider's service tier for the request
    prediction: a text that the answer is expected to repeat for the most part
    parallel_tool_calls: false if one model call may make at most one tool call
    logit_bias: token id of the model → a change of its likelihood
    """

    temperature: Annotated[float, LIMITS["temperature"]] | None = None
    top_p: Annotated[float, LIMITS["top_p"]] | None = None
    max_tokens: Annotated[int, LIMITS["max_tokens"]] | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    presence_penalty: Annotated[float, LIMITS["presence_penalty"]] | None = None
    frequency_penalty: Annotated[float, LIMITS["frequency_penalty"]] | None = None
    reasoning_effort: Effort | None = None
    top_k: Annotated[int, LIMITS["top_k"]] | None = None
    min_p: Annotated[float, LIMITS["min_p"]] | None = None
    repetition_penalty: Annotated[float, LIMITS["repetition_penalty"]] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    service_tier: Tier | None = None
    prediction: str | None = None
    parallel_tool_calls: bool | None = None
    logit_bias: dict[str, Annotated[float, BIAS]] | None = None

    def __post_init__(self) -> None:
        for name, bounds in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not bounds.hold(value):
                raise Misfit(f"{name} must be {bounds}", name)
        if self.stop is not None and len(self.stop) > 4:
            raise Misfit("stop takes four texts at most", "stop")
        if not all(BIAS.hold(one) for one in (self.logit_bias or {}).values()):
            raise Misfit(f"logit_bias: each value must be {BIAS}", "logit_bias")

    def over(self, under: Self) -> Self:
        """Return the union of two sets of parameters. Those of `self` replace those of `under`; of two `max_tokens` the smaller counts."""
        if self is NO_PARAMS or not (given := self.given):
            return under
        if self.max_tokens is not None and under.max_tokens is not None:
            given["max_tokens"] = min(self.max_tokens, under.max_tokens)
        return replace(under, **given)

    @property
    def given(self) -> dict[str, float | str | tuple[str, ...] | dict[str, float]]:
        """The parameters that are set, by name."""
        return {name: value for name in PARAMETERS if (value := getattr(self, name)) is not None}


PARAMETERS = names(Params)
NO_PARAMS = Params()
"""The parameters of a question that sets none, as most do."""
