"""Facts of a model: its parameters, thinking, API, context window, output limit and price.

    facts_of(declared) → Facts

Facts come from LiteLLM's table, then from the rules below for what the table lacks. The operator's declaration overrides both.
A model missing from the table has the facts of the newest known one of its family and generation. A model of an unknown family is
sent everything; what it refuses is learned when it does (learned.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

from router.chat import Effort
from router.config.declaration import TargetConfig
from router.config.price import Price
from router.targets.family import Family, parsed
from router.targets.providers import CACHE_KEY, CARRIED, CLAUDES, EXTRAS, OPEN, PROVIDERS, TIER, TIERS, Provider
from router.targets.table import ModelRow, entries, nearest

EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""Efforts, from the least to the most."""
SAMPLING = frozenset({"temperature", "top_p"})
PENALTIES = frozenset({"presence_penalty", "frequency_penalty"})
GATEWAYS = frozenset({"openrouter", "vercel_ai_gateway"})
"""Providers that leave out by themselves what a model behind them does not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The parameters, abilities and costs of one model. None where unknown.

    model: whose facts these are, by the table's name; empty where nothing is known
    source: how they were found: the model itself, a sibling of the same family, or nobody knows it
    refuses: parameters that it refuses always
    refuses_thinking: parameters that it refuses while it thinks
    warmest: the highest temperature that it takes
    one_of_sampling: whether it takes either temperature or top_p, and not both
    limit: what it calls the limit of an answer's length
    thinking: how it is told to think
    always_thinks: whether it cannot be told not to
    efforts: those it takes; empty where that is not known
    default_effort: the effort of a question that names none
    returns: the field in which it wants its reasoning back with the calls that followed it; empty where it wants none
    insists: whether it refuses a call without that
    recalls: whether it may be sent its reasoning back; False for one question whose conversation was changed since then
    responses: which questions only the Responses API answers
    summaries: whether it summarises its reasoning, where it is asked through the Responses API
    stream_options: whether it takes the wish to count tokens in a stream
    takes: parameters that not every model knows, and that it takes
    tiers: the values of `service_tier` that it knows; empty where that is not known
    carries: what it reads of messages and tools beside their words and schemas
    session_key: where it is told which questions belong to one chat: a field of the body, or a header; empty where it is not told
    marks_from: tokens from which on it keeps the beginning of a prompt that is marked (`cache_control`); 0 where it knows no marks
    schemas: whether its provider keeps its answers to a JSON schema
    json_mode: whether its provider keeps its answers to JSON, without a schema
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
        """Return the facts that differ from a model which takes everything, for pages and the command line."""
        refused = sorted(self.refuses) or ["nothing"]
        same = {name: getattr(self, name) for name in SERVED}
        if self == Facts(**same):
            return ("not in the table, nor is its family: it is sent everything, and what it refuses is learned", self.output)
        while_thinking = sorted(self.refuses_thinking - self.refuses)
        said = [f"refuses {', '.join(refused)}" + (f"; while it thinks also {', '.join(while_thinking)}" if while_thinking else "")]
        said += [f"takes {', '.join(sorted(self.takes))} too"] if self.takes else []
        how = {
            "none": "does not think",
            "effort": "thinks by effort",
            "budget": "thinks with a budget of tokens",
            "adaptive": "thinks adaptively",
        }
        said.append(how[self.thinking] + (f": {', '.join(self.efforts)}" if self.efforts else ""))
        said.append(
            {"max_tokens": "max_tokens", "max_completion_tokens": "max_completion_tokens", "none": "no"}[self.limit] + " limits its answers"
        )
        wires = {
            "always": "is asked through the Responses API",
            "tools_while_thinking": "takes tools while it thinks through the Responses API alone",
        }
        said += [wires[self.responses]] if self.responses in wires else []
        said += ["takes no tools"] if not self.tools else [] if self.forced_tools else ["cannot be made to call a tool"]
        files = (("images", self.images), ("PDF documents", self.documents), ("audio", self.audio))
        reads = [word for word, flag in files if flag]
        said += [f"reads {' and '.join(reads)}"] if reads else []
        lacks = [word for word, flag in files[:2] if flag is False]  # hardly any model listens to audio
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
        """Return a sentence on how the model is asked for JSON of a schema."""
        if self.schemas:
            return "keeps to a JSON schema by itself"
        return f"is emulated where a JSON schema is asked for: {self.stand_in} stands in, answers are held back and checked"

    @property
    def stand_in(self) -> str:
        """Return the substitute for a JSON schema that the provider does not enforce, in words."""
        return {True: "JSON mode", None: "JSON mode, if it has one,", False: "an instruction"}[self.json_mode]


SERVED = ("limit", "stream_options", "takes", "tiers", "carries", "session_key", "marks_from", "schemas", "json_mode")
"""Facts that are known of a provider, whatever its model."""
NAMES = tuple(one.name for one in fields(Facts))
"""Names of all facts."""
_values = attrgetter(*NAMES)


def _with(made: Facts, **changes: Any) -> Facts:
    """Return the facts with these changes; `dataclasses.replace` takes twice as long, and ten thousand targets are no rare case."""
    return Facts(**{**dict(zip(NAMES, _values(made), strict=True)), **changes})


Rule = Callable[[Facts, Family, ModelRow, TargetConfig], Facts]
"""A rule adds facts that a provider's models share and the table lacks."""


def facts_of(declared: TargetConfig) -> Facts:
    """Return the facts of a declared target. Blocks for 10 ms when the table is first read."""
    provider = _provider(declared)
    named = declared.base_model or str(declared.model).replace("/responses/", "/", 1)
    model = named if "/" in named else f"{provider}/{named}"
    known = entries()
    found: str | None = next((one for one in _names(model) if one in known), None)
    source: Literal["itself", "family", "unknown"] = "itself" if found else "family"
    found = found or next((near for one in _names(model) if (near := nearest(one))), None)
    entry = known[found] if found else ModelRow()
    made = _listed(found or "", source if found else "unknown", entry)
    if source == "family" and found and set(parsed(found).words) != set(parsed(model).words):
        made = _with(made, window=None, max_output=None, price=None)  # another size: it behaves alike, and costs what it costs
    served = PROVIDERS.get(provider, ELSEWHERE)
    own = provider == "openai" and declared.api_base is not None
    if not own:  # behind `openai/` at another address anything may stand
        schemas = made.schemas if served.schemas is None else served.schemas
        made = _with(made, takes=served.takes, tiers=served.tiers, carries=served.carries, schemas=schemas, json_mode=served.json_mode)
    if source == "family":  # a newer model may read what its sibling does not
        made = _with(made, images=made.images or None, documents=made.documents or None, audio=made.audio or None)
    elif source == "itself" and not own and made.audio is None and provider in AUDIO_LISTED:
        made = _with(made, audio=False)
    if provider in CLAUDES and "claude" in model:
        made = _with(made, audio=False)  # no Claude does
    made = RULES.get(provider, _unruled)(made, parsed(model), entry, declared)
    theirs = provider in PROVIDERS
    made = _with(
        made,
        refuses=made.refuses | served.lacks if theirs else made.refuses,
        stream_options=served.counts if theirs else made.stream_options,
        session_key=_session_key(made, declared),
        marks_from=_marks_from(entry, declared),
        window=declared.context_window or made.window,
        price=declared.price or made.price,
        responses="always" if "/responses/" in str(declared.model) else made.responses,
    )
    return _declared(made, declared)


AUDIO_LISTED = frozenset({"azure", "gemini", "mistral", "openai", "vertex_ai"})
"""Providers of which the table names every model that listens to audio: the others of them do not."""
USUAL_MARKS_FROM = 1024
"""Tokens from which on a Claude keeps a prompt of which the table does not say; below its own limit a mark does nothing, and is no mistake.

Source: Anthropic's guide to prompt caching.
"""


def _session_key(made: Facts, declared: TargetConfig) -> str:
    """Return the field or header that names a request's chat to the provider; empty if none is sent.

    OpenAI's field is sent to OpenAI, and to Azure for models known to be OpenAI's. Other servers of this wire, and other models of
    Azure's, may refuse it (zed-industries/zed#52000).
    """
    provider = _provider(declared)
    known = PROVIDERS[provider].session if provider in PROVIDERS else ""
    if declared.prompt_cache == "off":
        return ""
    if declared.prompt_cache == "on":
        return known or (CACHE_KEY if provider in PROVIDERS else "")
    if provider == "openai" and declared.api_base is not None:
        host = urlsplit(str(declared.api_base)).hostname or ""
        return known if host.endswith(".openai.com") else ""
    return "" if provider == "azure" and parsed(made.model).words[:1] not in (("o",), ("gpt",)) else known


def _marks_from(entry: ModelRow, declared: TargetConfig) -> int:
    """Return the prompt tokens from which marks are worth it: for Claude at any provider and for Anthropic's own address; else 0."""
    provider, _, name = str(declared.model).partition("/")
    claude = "claude" in (declared.base_model or name)
    takes = (provider in CLAUDES and claude) or (provider == "anthropic" and declared.api_base is None)
    takes = takes or (provider == "openrouter" and name.startswith("anthropic/"))
    if (
        declared.prompt_cache == "off"
        or "cache_control" in (declared.body or {})
        or not (takes or (provider in CLAUDES and declared.prompt_cache == "on"))
    ):
        return 0
    stated = entry.prompt_cache_min_tokens
    return int(stated) if isinstance(stated, int | float) else USUAL_MARKS_FROM


ELSEWHERE = Provider("", takes=EXTRAS - OPEN, carries=CARRIED)
"""Providers that LiteLLM alone asks: it knows which of OpenAI's parameters each takes, and says what it leaves out."""


def _provider(declared: TargetConfig) -> str:
    return str(declared.model).partition("/")[0]


def _names(model: str) -> tuple[str, ...]:
    """Return a model's names in the table.

    Azure deployments are OpenAI's models. A Bedrock name may contain the API that is asked. LiteLLM has two words for Cohere.
    """
    provider, _, name = model.partition("/")
    if provider == "bedrock":
        return (f"bedrock/{name.removeprefix('converse/').removeprefix('invoke/')}",)
    other = {"azure": "openai", "cohere": "cohere_chat"}.get(provider)
    return (model, f"{other}/{name}") if other else (model,)


def _listed(model: str, source: Literal["itself", "family", "unknown"], entry: ModelRow) -> Facts:
    """Return the facts that the table states of a model."""
    levels = entry.reasoning_effort_levels
    efforts: tuple[Effort, ...] = tuple(one for one in EFFORTS if one in cast("list[object]", levels)) if isinstance(levels, list) else ()
    default = entry.default_reasoning_effort
    effort: Effort | Literal[""] = default if default in EFFORTS else ""
    return Facts(
        model=model,
        source=source,
        refuses=SAMPLING if entry.supports_sampling_params is False else frozenset[str](),
        efforts=efforts,
        default_effort=effort,
        forced_tools=entry.supports_forced_tool_use is not False,
        prefill=entry.supports_assistant_prefill is True,
        images=_flag(entry.supports_vision),
        documents=_flag(entry.supports_pdf_input),
        audio=_flag(entry.supports_audio_input),
        schemas=_flag(entry.supports_response_schema),
        window=entry.window,
        max_output=entry.output,
        price=entry.price,
    )


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _levels(entry: ModelRow, *usual: Effort) -> tuple[Effort, ...]:
    """Return the efforts that the table's flags allow, besides the usual ones."""
    flags: dict[Effort, object] = {
        "none": entry.supports_none_reasoning_effort,
        "minimal": entry.supports_minimal_reasoning_effort,
        "xhigh": entry.supports_xhigh_reasoning_effort,
        "max": entry.supports_max_reasoning_effort,
    }
    return tuple(one for one in EFFORTS if one in usual or flags.get(one) is True)


def _unruled(made: Facts, _: Family, entry: ModelRow, __: TargetConfig) -> Facts:
    """Send no effort to a model that is known not to think."""
    known = made.source != "unknown"
    return _with(made, thinking="none") if known and entry.supports_reasoning is not True else made


def _openai(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Apply the rules of OpenAI's models.

    Thinking models take neither sampling parameters nor `stop`, and call the limit max_completion_tokens. From gpt-5.4 on they take
    tools on chat completions only while they do not think. The gpt-5-chat models do not think.

    Source: openai/openai-openapi#541; BerriAI/litellm#13714 and #34569; OpenAI's guide to reasoning models.
    """
    azure = _provider(declared) == "azure"
    own = declared.api_base is not None and not azure
    made = _with(made, limit="max_tokens" if own else "max_completion_tokens")
    words, version = family.words, family.version
    theirs = words[:1] in (("o",), ("gpt",)) and "oss" not in words and made.source != "unknown"
    thinks = theirs and "chat" not in words and (words[0] == "o" or version[:1] >= (5,))
    if not theirs:
        return _open(made, family, entry, declared)
    made = _with(made, takes=EXTRAS - OPEN - {"verbosity"}, tiers=TIERS, carries=CARRIED, json_mode=True)
    if not thinks:
        predicts = version >= (4, 1) or words[:2] == ("gpt", "o") or "4o" in str(declared.model)
        return _with(made, thinking="none", takes=made.takes - (frozenset[str]() if predicts else {"prediction"}))
    endpoints = entry.supported_endpoints
    only_responses = entry.mode == "responses" or (isinstance(endpoints, list) and "/v1/chat/completions" not in endpoints)
    efforts = made.efforts or _levels(entry, "low", "medium", "high")
    refused = {"stop", *PENALTIES}
    sampling_while_idle = "none" in efforts
    return _with(
        made,
        limit="max_completion_tokens",
        efforts=efforts,
        always_thinks="none" not in efforts,
        refuses=made.refuses | refused | (frozenset[str]() if sampling_while_idle else SAMPLING),
        refuses_thinking=SAMPLING,
        takes=frozenset({"verbosity", "service_tier", "parallel_tool_calls"} if words[0] == "gpt" else {"service_tier"}),
        responses="always" if only_responses else "tools_while_thinking" if words[0] == "gpt" and version >= (5, 4) else "never",
    )


CLAUDE_TAKES = frozenset({"top_k", "service_tier", "parallel_tool_calls"})


def _anthropic(made: Facts, family: Family, entry: ModelRow, _: TargetConfig) -> Facts:
    """Apply the rules of Claude.

    Thinking: up to 4.5 with a budget of tokens, from 4.6 on adaptively and by effort. Sampling: from 4.1 on either temperature or top_p,
    from Opus 4.7 on neither. While it thinks with a budget, it refuses both. It keeps to schemas from 4.1 on, and has no JSON mode.
    LiteLLM emulates the table's response schema with a tool.

    Source: Anthropic's guides to migration, to adaptive thinking and to effort.
    """
    thinks = entry.supports_reasoning is True or made.source == "unknown"
    adaptive = entry.supports_adaptive_thinking is True
    efforts = _levels(entry, "low", "medium", "high") if entry.supports_output_config is True else ()
    return _with(
        made,
        refuses=made.refuses | PENALTIES | {"seed"},
        refuses_thinking=SAMPLING | {"top_k"},
        takes=CLAUDE_TAKES - ({"top_k"} if made.refuses >= SAMPLING else frozenset[str]()),
        tiers=frozenset({"auto", "standard_only"}),
        carries=frozenset(),
        schemas=_flag(entry.supports_native_structured_output) if family.version >= (4, 1) else False,
        json_mode=False,
        warmest=1.0,
        one_of_sampling=family.version >= (4, 1) or made.source == "unknown",
        thinking="adaptive" if adaptive else "budget" if thinks else "none",
        always_thinks=entry.thinking_always_on is True,
        efforts=tuple(one for one in efforts if one not in ("none", "minimal")),
        default_effort="" if entry.thinking_always_on is True else "none",
        prefill=made.prefill or made.source == "unknown",
    )


def _hosting(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Apply Claude's rules to Claude at another provider: with a thinking budget it refuses a temperature there, too."""
    if "claude" not in family.words:
        return (_google if _provider(declared) == "vertex_ai" else _unruled)(made, family, entry, declared)
    return _with(_anthropic(made, family, entry, declared), prefill=made.prefill)


def _xai(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Apply the rules of Grok: its thinking models refuse the penalties and `stop`; Grok 4 and 4.20 refuse an effort, too.

    Source: xAI's guide to reasoning models.
    """
    if entry.mode == "responses":
        made = _with(made, responses="always")
    thinks = entry.supports_reasoning is True and "non-reasoning" not in str(declared.model)
    if not thinks:
        # From Grok 4 on those that do not think refuse the penalties, too (lobehub/lobehub#13332).
        return _with(made, thinking="none", refuses=made.refuses | (PENALTIES if family.version >= (4,) else frozenset[str]()))
    refused = PENALTIES | {"stop"}
    willful = family.version in ((4,), (4, 1), (4, 20)) or "code" in family.words
    return _with(made, refuses=made.refuses | refused | ({"reasoning_effort"} if willful else set()), always_thinks=True)


def _moonshot(made: Facts, family: Family, _: ModelRow, __: TargetConfig) -> Facts:
    """Apply the rules of Kimi.

    From K2.5 on, and in K2 Thinking, temperature, top_p and penalties are fixed. K3 takes an effort, earlier models none.

    Source: Moonshot's API reference; NousResearch/hermes-agent#12566.
    """
    kimi = family.words[:1] == ("kimi",)
    fixed = kimi and (family.version >= (2, 5) or "thinking" in family.words)
    refused = (SAMPLING | PENALTIES if fixed else frozenset[str]()) | (frozenset[str]() if made.efforts else {"reasoning_effort"})
    return _with(made, refuses=made.refuses | refused, returns="reasoning_content" if fixed else "", insists=fixed)


def _deepseek(made: Facts, family: Family, _: ModelRow, __: TargetConfig) -> Facts:
    """Apply the rules of DeepSeek: it refuses the calls of a turn without their reasoning.

    Prefill works only where the assistant's words are marked, and only at the beta address: the table claims it everywhere.

    Source: DeepSeek's guides to thinking mode and to chat prefix completion; NousResearch/hermes-agent#16388.
    """
    return _with(made, prefill=False, returns="reasoning_content", insists=family.words[-1:] != ("chat",))


def _returning(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Send reasoning back to GLM and Qwen as `reasoning_content`, and to the providers that serve such models.

    Source: the guides to thinking models of Z.ai, Alibaba, Fireworks, Novita and Volcengine.
    """
    return _with(_unruled(made, family, entry, declared), returns="reasoning_content")


def _parsing(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Send reasoning back as `reasoning`: Groq and Cerebras refuse the other name (their API references; OpenMinis/OpenMinis#361)."""
    return _with(_unruled(made, family, entry, declared), returns="reasoning")


def _mistral(made: Facts, _: Family, __: ModelRow, ___: TargetConfig) -> Facts:
    """Apply the rules of Mistral: a 422 for unknown parameters, and for an effort unless the model takes one.

    Source: mistralai/platform-docs-public#7; Mistral's API reference.
    """
    knows = bool(made.efforts) or made.source == "unknown"
    return made if knows else _with(made, refuses=made.refuses | {"reasoning_effort"}, thinking="none")


def _google(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Apply the rules of Google's models.

    Gemini refuses the penalties: `Penalty is not enabled for models/gemini-…` (PublicAffairs/openai-gemini#63). Before Gemini 3 it
    thinks with a budget of tokens, then by level, and refuses calls without their signature. In 2.5 only Flash can be told not to
    think; Flash-Lite thinks only if it is told to. Gemma 3 takes no tools there.

    Source: https://ai.google.dev/gemini-api/docs/thinking; https://ai.google.dev/gemini-api/docs/thought-signatures;
    https://ai.google.dev/gemini-api/docs/optimization (service tiers).
    """
    made = _with(_unruled(made, family, entry, declared), carries=frozenset())
    made = _with(made, takes=frozenset({"top_k"} if _provider(declared) != "openai" else ()))
    if _provider(declared) == "gemini":  # at Vertex AI a header says it, which a target declares in `headers`
        made = _with(made, takes=made.takes | TIER, tiers=frozenset({"standard", "flex", "priority"}))
    if "gemini" not in family.words:
        made = _with(made, schemas=False, json_mode=False)  # `JSON mode is not enabled for models/gemma-3-…`
        return _with(made, tools=made.tools and not ("gemma" in family.words and family.version < (4,)))
    made = _with(made, refuses=made.refuses | PENALTIES, json_mode=True)
    newest = not family.version  # gemini-flash-latest
    if newest or family.version >= (3,):
        thinks = entry.supports_reasoning is True or made.source == "unknown"
        return _with(
            made, insists=True, thinking="effort" if thinks else "none", always_thinks=thinks, efforts=_gemini_levels(family, entry)
        )
    if made.thinking == "none" or family.version < (2, 5):
        return _with(made, thinking="none")
    efforts: tuple[Effort, ...] = ("minimal", "low", "medium", "high")
    idle = "lite" in family.words
    return _with(made, thinking="budget", efforts=efforts, always_thinks="pro" in family.words, default_effort="none" if idle else "")


def _gemini_levels(family: Family, entry: ModelRow) -> tuple[Effort, ...]:
    """Return the levels of thinking: 3 Pro knows two; `minimal` is Flash-Lite's, and Flash's up to 3.6.

    Source: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thinking, where the newest Flash begins with `low`.
    """
    if "pro" in family.words and family.version == (3,):
        return ("low", "high")
    small = "lite" in family.words or (bool(family.version) and family.version[:2] < (3, 7))
    minimal = "flash" in family.words and small and entry.supports_minimal_reasoning_effort is not False
    return ("minimal", "low", "medium", "high") if minimal else ("low", "medium", "high")


def _cohere(made: Facts, family: Family, entry: ModelRow, _: TargetConfig) -> Facts:
    """Apply the rules of Cohere's OpenAI-compatible API: the efforts `none` and `high` turn thinking off and on.

    Source: docs.cohere.com/docs/compatibility-api.
    """
    thinks = made.source == "unknown" or entry.supports_reasoning is True or "reasoning" in family.words
    return _with(made, thinking="effort", efforts=("none", "high")) if thinks else _with(made, thinking="none")


def _toolless(made: Facts, _: Family, __: ModelRow, ___: TargetConfig) -> Facts:
    """Send no tools: Sonar takes none (Perplexity's API reference), and for Replicate LiteLLM leaves them out of its text."""
    return _with(made, tools=False)


def _ollama(made: Facts, _: Family, __: ModelRow, ___: TargetConfig) -> Facts:
    """Apply Ollama's rules: it refuses efforts other than none, low, medium and high (Ollama's API reference)."""
    return _with(made, efforts=("none", "low", "medium", "high"))


def _open(made: Facts, family: Family, entry: ModelRow, declared: TargetConfig) -> Facts:
    """Leave a self-hosted server's facts as they are; models that think over several calls get their reasoning back."""
    if "gemini" in family.words:
        return _google(made, family, entry, declared)
    if not RETURNING & set(family.words):
        return made
    return _with(made, returns="reasoning_content", insists=str(declared.model).startswith(MAKERS))


MAKERS = ("openai/deepseek-", "openai/kimi-")
"""Prefixes of models at their makers' own addresses, which insist."""
RETURNING = frozenset({"deepseek", "glm", "kimi", "minimax", "qwen"})
"""Open models that go on from their own reasoning, whoever serves them."""


def _gateway(made: Facts, _: Family, __: ModelRow, ___: TargetConfig) -> Facts:
    """Send everything: a gateway leaves out parameters that the model does not take."""
    return _with(made, refuses=frozenset(), returns="reasoning_details")


RULES: dict[str, Rule] = {
    "openai": _openai,
    "azure": _openai,
    "anthropic": _anthropic,
    "xai": _xai,
    "gemini": _google,
    **dict.fromkeys(("azure_ai", "bedrock", "databricks", "vertex_ai"), _hosting),
    "moonshot": _moonshot,
    "mistral": _mistral,
    "perplexity": _toolless,
    "replicate": _toolless,
    "deepseek": _deepseek,
    "zai": _returning,
    "dashscope": _returning,
    "fireworks_ai": _returning,
    "novita": _returning,
    "volcengine": _returning,
    "cerebras": _parsing,
    "cohere": _cohere,
    "cohere_chat": _cohere,
    "groq": _parsing,
    "hosted_vllm": _open,
    "llamafile": _open,
    "lm_studio": _open,
    "ollama_chat": _ollama,
    **dict.fromkeys(GATEWAYS, _gateway),
}


def _declared(made: Facts, declared: TargetConfig) -> Facts:
    """Override facts with the operator's declaration."""
    stated = declared.facts
    if stated is None:
        return made
    given = {one.name: value for one in fields(stated) if (value := getattr(stated, one.name)) is not None}
    if "refuses" in given:
        given |= {
            "refuses": frozenset(cast("tuple[str, ...]", given["refuses"])),
            "refuses_thinking": frozenset[str](),
            "one_of_sampling": False,
        }
    if "takes" in given:
        given["takes"] = frozenset(cast("tuple[str, ...]", given["takes"]))
    if stated.returns is not None:
        given["insists"] = True
    match given.pop("wire", None):
        case "responses":
            given["responses"] = "always"
        case "chat":
            given["responses"] = "never"
        case _:
            pass
    return _with(made, **given)
