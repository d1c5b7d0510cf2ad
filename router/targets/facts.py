"""Facts of a model: its parameters, thinking, API, context window, output limit and price."""

from typing import Literal, get_args

from router.config.declaration import TargetConfig
from router.config.price import Price
from router.params import Effort
from router.targets.providers import CARRIED, EXTRAS
from router.value import Value

EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""Thinking efforts, from the least to the most."""
SAMPLING = frozenset({"temperature", "top_p"})
PENALTIES = frozenset({"presence_penalty", "frequency_penalty"})
GATEWAYS = frozenset({"openrouter", "vercel_ai_gateway"})
"""Gateways that themselves drop parameters which the model behind them does not take."""


class Facts(Value, frozen=True, kw_only=True):
    """The parameters, abilities and price of one model. None means unknown.

    model: the model's name in the table from which the facts come; empty if it is not in the table
    source: where the facts come from: the model itself, a sibling of its family, or no table entry
    refuses: parameters that it always refuses
    refuses_thinking: parameters that it refuses while it thinks
    warmest: the highest temperature that it takes
    one_of_sampling: true if it takes temperature or top_p, but not both
    limit: the name of its parameter for the length of an answer; `none` if it has no such parameter
    thinking: how thinking is requested: by effort, by a budget of tokens, or adaptively; `none` if it does not think
    always_thinks: true if thinking cannot be turned off
    efforts: the efforts that it takes; empty if unknown
    default_effort: its effort if the question names none; empty if unknown
    tools: false if it takes no tools
    forced_tools: false if it cannot be made to call a tool
    returns: the field in which it wants its reasoning back beside tool calls; empty if it does not want it
    insists: true if it refuses tool calls that come back without their reasoning or, at Google, their signatures
    recalls: true if its reasoning may be sent back; False for a retry after the model refused it
    responses: which questions need the Responses API
    summaries: true if it summarises its reasoning on request, on the Responses API or at Google
    stream_options: true if it takes the request to count tokens in a stream
    takes: those of EXTRAS that it takes: parameters that not every provider knows
    tiers: the values of `service_tier` that it takes; empty if unknown
    carries: those optional fields of messages and tools (CARRIED) that it takes
    session_key: the body field or header that takes a key for the chat, for prompt caching; empty if there is none
    marks_from: tokens from which it caches a prompt marked with `cache_control`; 0 if it takes no marks
    prefill: true if it continues an assistant's last words
    images, documents, audio: whether it reads such files
    schemas: true if its provider enforces a JSON schema
    json_mode: true if its provider enforces JSON without a schema
    window: its context window in tokens
    max_output: the most tokens that it writes in one answer
    """

    model: str = ""
    source: Literal["itself", "family", "unknown"] = "unknown"
    refuses: frozenset[str] = frozenset()
    refuses_thinking: frozenset[str] = frozenset()
    warmest: float = 2.0
    one_of_sampling: bool = False
    limit: Literal["max_tokens", "max_completion_tokens", "none"] = "max_tokens"
    thinking: Literal["none", "effort", "budget", "adaptive"] = "effort"
    always_thinks: bool = False
    efforts: tuple[Effort, ...] = ()
    default_effort: Effort | Literal[""] = ""
    tools: bool = True
    forced_tools: bool = True
    returns: Literal["", "reasoning_content", "reasoning", "reasoning_details"] = ""
    insists: bool = False
    recalls: bool = True
    responses: Literal["never", "tools_while_thinking", "always"] = "never"
    summaries: bool = True
    stream_options: bool = True
    takes: frozenset[str] = EXTRAS
    tiers: frozenset[str] = frozenset()
    carries: frozenset[str] = CARRIED
    session_key: str = ""
    marks_from: int = 0
    prefill: bool = False
    images: bool | None = None
    documents: bool | None = None
    audio: bool | None = None
    schemas: bool | None = None
    json_mode: bool | None = None
    window: int | None = None
    max_output: int | None = None
    price: Price | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return the facts as phrases for pages and the command line, such as `takes no tools`."""
        if self == Facts(**{name: getattr(self, name) for name in SERVED}):
            return ("not in the table, nor is its family: it is sent everything, and what it refuses is learned", self.output)
        while_thinking = sorted(self.refuses_thinking - self.refuses)
        refused = ", ".join(sorted(self.refuses)) or "nothing"
        said = [f"refuses {refused}" + (f"; while it thinks also {', '.join(while_thinking)}" if while_thinking else "")]
        said += [f"takes {', '.join(sorted(self.takes))} too"] if self.takes else []
        how = {"none": "does not think", "effort": "thinks by effort", "budget": "thinks with a budget of tokens"}
        said.append(how.get(self.thinking, "thinks adaptively") + (f": {', '.join(self.efforts)}" if self.efforts else ""))
        said.append(f"{'no' if self.limit == 'none' else self.limit} limits its answers")
        sometimes = "" if self.responses == "always" else " if it thinks and the question has tools"
        said += [f"is asked through the Responses API{sometimes}"] if self.responses != "never" else []
        said += ["takes no tools"] if not self.tools else [] if self.forced_tools else ["cannot be made to call a tool"]
        files = (("images", self.images), ("PDF documents", self.documents), ("audio", self.audio))
        reads = [word for word, flag in files if flag]
        said += [f"reads {' and '.join(reads)}"] if reads else []
        lacks = [word for word, flag in files[:2] if flag is False]  # hardly any model reads audio
        said += [f"reads no {' and no '.join(lacks)}"] if lacks else []
        said += [f"reads {self.window:,} tokens"] if self.window else []
        said += [f"writes at most {self.max_output:,}"] if self.max_output else []
        said += [f"keeps the beginning of a prompt that is marked, from {self.marks_from:,} tokens on"] if self.marks_from else []
        said += [f"is told which questions belong to one chat: {self.session_key}"] if self.session_key else []
        said += [self.output]
        said += [f"costs ${self.price.input:g} in and ${self.price.output:g} out for a million tokens"] if self.price else []
        return tuple(said)

    @property
    def output(self) -> str:
        """Return a phrase for pages: the model keeps to a JSON schema by itself, or the router emulates that."""
        if self.schemas:
            return "keeps to a JSON schema by itself"
        return f"is emulated where a JSON schema is asked for: {self.stand_in} stands in, answers are held back and checked"

    @property
    def stand_in(self) -> str:
        """Return the substitute for a JSON schema in words: `JSON mode`, `an instruction`, or `JSON mode, if it has one,`."""
        return {True: "JSON mode", None: "JSON mode, if it has one,", False: "an instruction"}[self.json_mode]


SERVED = ("limit", "stream_options", "takes", "tiers", "carries", "session_key", "marks_from", "schemas", "json_mode")
"""Names of the facts that depend on the provider alone."""
NAMES = Facts.__struct_fields__
"""Names of all facts."""


def provider_of(declared: TargetConfig) -> str:
    """Return the provider of a target: the part of its `model` before the first `/`."""
    return str(declared.model).partition("/")[0]


def known_flag(value: object) -> bool | None:
    """Return a value of the table if it is a boolean; otherwise None."""
    return value if isinstance(value, bool) else None
