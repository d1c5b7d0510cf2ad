"""What an operator knows of a model better than any table: a target's `facts`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from router.bounds import Bounds
from router.chat import Effort

Hint = Literal["temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "stop", "reasoning_effort"]
"""Parameters without which a question is still the same question: a model that refuses one is asked without it."""


Extra = Literal["top_k", "min_p", "repetition_penalty", "verbosity", "service_tier", "prediction", "parallel_tool_calls", "logit_bias"]
"""Parameters that not every provider knows: a model is sent those that it is known to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsConfig:
    """What a target's model accepts, where the table is wrong or does not know it. What is not given is as the table says.

    refuses: parameters that it refuses; they are left out, `stop` is kept by cutting the answer
    takes: parameters beyond those that most models take, that it takes as well; the others of them are left out
    limit: what it calls the limit of an answer's length; none: it takes no limit, the answer is cut
    thinking: how it is told to think: by effort, by a budget of tokens, adaptive, or none where it does not think
    efforts: the efforts that it takes
    tools: false where it takes no tools: a question with tools goes to the next target
    forced_tools: false where it may not be made to call a tool
    wire: the API that it is asked through: chat, or responses (openai/ and azure/)
    returns: the field without which it refuses a call in a conversation: its reasoning before that call
    prefill: whether it goes on from the assistant's last words
    images: whether it reads images
    documents: whether it reads PDF documents
    schemas: whether its provider keeps its answers to a JSON schema: they are streamed; otherwise they are held back and checked
    json_mode: whether its provider keeps its answers to JSON, without a schema
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
    schemas: bool | None = None
    json_mode: bool | None = None
    max_output: Annotated[int, Bounds(1, 10_000_000)] | None = None
