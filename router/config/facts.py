"""A target's `facts`: properties of a model that an operator knows better than any table."""

from dataclasses import dataclass
from typing import Annotated, Literal

from router.bounds import Bounds
from router.params import Effort

Hint = Literal["temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "stop", "reasoning_effort"]
"""Parameters that may be left out: a model that refuses one is asked without it."""

Extra = Literal["top_k", "min_p", "repetition_penalty", "verbosity", "service_tier", "prediction", "parallel_tool_calls", "logit_bias"]
"""Parameters that some providers do not know: a model is sent those that it is known to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsConfig:
    """Properties of a target's model, where the table is wrong or does not know it. All others are as the table says.

    refuses: parameters that it refuses; they are left out, `stop` is kept by cutting the answer
    takes: parameters that only some models take, and this one does; the rest of these parameters are left out
    limit: its name for the limit of an answer's length; none: it takes no limit, the answer is cut
    thinking: its setting for reasoning: effort, a budget of tokens, adaptive, or none where it does not think
    efforts: the efforts that it takes
    tools: false where it takes no tools: a question with tools goes to the next target
    forced_tools: false where it cannot be forced to call a tool
    wire: the API that it is asked through: chat, or responses (openai/ and azure/)
    returns: the field that returns its own reasoning with each earlier tool call; it refuses a conversation without it
    prefill: true where it continues the assistant's last words
    images: true where it reads images
    documents: true where it reads PDF documents
    audio: true where it listens to audio
    schemas: true where its provider enforces a JSON schema: such answers are streamed; otherwise they are held back and checked
    json_mode: true where its provider enforces JSON without a schema
    max_output: tokens that it writes at most
    """

    refuses: tuple[Hint, ...] | None = None
    takes: tuple[Extra, ...] | None = None
    limit: Literal["max_tokens", "max_completion_tokens", "none"] | None = None
    thinking: Literal["none", "effort", "budget", "adaptive"] | None = None
    efforts: tuple[Effort, ...] | None = None
    tools: bool | None = None
    forced_tools: bool | None = None
    wire: Literal["chat", "responses"] | None = None
    returns: Literal["reasoning_content", "reasoning_details"] | None = None
    prefill: bool | None = None
    images: bool | None = None
    documents: bool | None = None
    audio: bool | None = None
    schemas: bool | None = None
    json_mode: bool | None = None
    max_output: Annotated[int, Bounds(1, 10_000_000)] | None = None
