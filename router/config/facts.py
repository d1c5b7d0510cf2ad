"""A target's `facts`: properties of a model that an operator knows better than any table."""

from typing import Annotated, Literal

from router.bounds import Bounds
from router.params import Effort
from router.value import Value

Hint = Literal["temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "stop", "reasoning_effort"]
"""Parameters that may be left out: a model that refuses one is asked without it."""

Extra = Literal["top_k", "min_p", "repetition_penalty", "verbosity", "service_tier", "prediction", "parallel_tool_calls", "logit_bias"]
"""Parameters that some providers do not know: a model is sent those that it is known to take."""


class FactsConfig(Value, frozen=True, kw_only=True):
    """Properties of a target's model that differ from the table of models. Properties that are left out are as in the table.

    refuses: parameters that the model refuses. The router does not send them; instead of sending `stop`, it cuts the answer
    takes: those of the parameters listed here that the model accepts; the router does not send the others
    limit: the model's name for the limit on an answer's length; none: it accepts no limit, and the router cuts the answer
    thinking: how its reasoning is set: by an effort, by a budget of tokens, or adaptive; none: the model does not reason
    efforts: the efforts that the model accepts
    tools: false if the model accepts no tools; a question with tools goes to the next target
    forced_tools: false if a request cannot force the model to call a tool
    wire: the API through which it is asked: chat, or responses (only openai/ and azure/)
    returns: the field in which the model wants its own reasoning back with each earlier tool call; it refuses a conversation without it
    prefill: true if the model continues the assistant's last message
    images: true if the model reads images
    documents: true if the model reads PDF documents
    audio: true if the model listens to audio
    schemas: true if the provider enforces a JSON schema: the answer is streamed. Otherwise the router holds it back and checks it
    json_mode: true if the provider enforces JSON without a schema
    max_output: maximum number of tokens that the model writes
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
