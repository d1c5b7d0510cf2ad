"""The facts of a declared target's model (Facts): the parameters and files that it takes, how it thinks, its window and its prices.

Facts come from LiteLLM's table, then from the rules of the provider for what the table lacks. The operator's declaration overrides both.
A model missing from the table gets the facts of the known model most like it (`nearest`); its window and prices only if the names have
the same words. A model of an unknown family is sent all parameters; those that it refuses are learned (learned.py).
"""

from functools import lru_cache
from typing import Literal, cast

from router.config.declaration import TargetConfig
from router.params import Effort
from router.targets.address import host_of
from router.targets.facts import EFFORTS, SAMPLING, Facts, known_flag, provider_of
from router.targets.family import parsed
from router.targets.provider_rules import RULES, unruled
from router.targets.providers import CACHE_KEY, CARRIED, CLAUDES, EXTRAS, OPEN, PROVIDERS, Provider
from router.targets.table import ModelRow, entries, nearest
from router.value import names, replace


def facts_of(declared: TargetConfig) -> Facts:
    """Return the facts of a declared target's model: from the table, corrected by provider rules and by the operator's declaration.
    The first call reads the table, and blocks the event loop meanwhile.
    """
    provider = provider_of(declared)
    named = declared.base_model or str(declared.model).replace("/responses/", "/", 1)
    model = named if "/" in named else f"{provider}/{named}"
    entry, made = known_facts(model)
    served = PROVIDERS.get(provider, ELSEWHERE)
    own = provider == "openai" and declared.api_base is not None
    if not own:  # `openai/` at another address may be any server
        schemas = made.schemas if served.schemas is None else served.schemas
        made = replace(made, takes=served.takes, tiers=served.tiers, carries=served.carries, schemas=schemas, json_mode=served.json_mode)
        if made.source == "itself" and made.audio is None and provider in AUDIO_LISTED:
            made = replace(made, audio=False)
    if provider in CLAUDES and "claude" in model:
        made = replace(made, audio=False)  # no Claude reads audio
    made = RULES.get(provider, unruled)(made, parsed(model), entry, declared)
    made = replace(
        made,
        refuses=made.refuses | served.lacks if served.lacks else made.refuses,  # a union makes a new set
        stream_options=served.counts,
        session_key=_session_key(provider, made, declared),
        marks_from=_marks_from(entry, declared),
        window=declared.context_window or made.window,
        price=declared.price or made.price,
        responses="always" if "/responses/" in str(declared.model) else made.responses,
    )
    return _declared(made, declared)


AUDIO_LISTED = frozenset({"azure", "gemini", "mistral", "openai", "vertex_ai"})
"""Providers for which the table marks each model that takes audio, so that an unmarked model takes none."""
USUAL_MARKS_FROM = 1024
"""Minimum of cached tokens for a Claude model for which the table has none; a mark below the model's real minimum has no effect.

Source: Anthropic's guide to prompt caching."""


def _session_key(provider: str, made: Facts, declared: TargetConfig) -> str:
    """Return the name of the body field or header that takes the session key; empty if the key is not sent.
    By the target's `prompt_cache`: `off` sends none, `on` sends it to each provider on the OpenAI wire, `auto` to those known to take it.
    OpenAI's field is then sent to OpenAI, and to Azure for models known to be OpenAI's: others may refuse it (zed-industries/zed#52000).
    """
    known = PROVIDERS[provider].session if provider in PROVIDERS else ""
    if declared.prompt_cache == "off":
        return ""
    if declared.prompt_cache == "on":
        return known or (CACHE_KEY if provider in PROVIDERS else "")
    if provider == "openai" and declared.api_base is not None:
        return known if host_of(declared.api_base).endswith(".openai.com") else ""
    return "" if provider == "azure" and parsed(made.model).words[:1] not in (("o",), ("gpt",)) else known


def _marks_from(entry: ModelRow, declared: TargetConfig) -> int:
    """Return the number of prompt tokens from which cache marks are sent; 0 if none are sent.

    They are sent for Claude at the providers of CLAUDES, for `anthropic/` models at OpenRouter, and for all models at Anthropic's own
    address; with `prompt_cache: on` for all models at the providers of CLAUDES.
    `prompt_cache: off` prevents them, and so does a `cache_control` in the target's `body`.
    """
    provider, _, name = str(declared.model).partition("/")
    takes = provider in CLAUDES and ("claude" in (declared.base_model or name) or declared.prompt_cache == "on")
    takes = takes or (provider == "anthropic" and declared.api_base is None) or (provider == "openrouter" and name.startswith("anthropic/"))
    if declared.prompt_cache == "off" or "cache_control" in (declared.body or {}) or not takes:
        return 0
    stated = entry.prompt_cache_min_tokens
    return int(stated) if isinstance(stated, int | float) else USUAL_MARKS_FROM


ELSEWHERE = Provider("", takes=EXTRAS - OPEN, carries=CARRIED)
"""Default for providers that only LiteLLM asks: it knows which of OpenAI's parameters each takes, and reports those that it drops."""


def _names(model: str) -> tuple[str, ...]:
    """Return the names under which the table may list a model (provider/model), the first to be tried first.
    Azure deployments are OpenAI's models. A Bedrock name may contain the API that is asked. LiteLLM has two names for Cohere.
    """
    provider, _, name = model.partition("/")
    if provider == "bedrock":
        return (f"bedrock/{name.removeprefix('converse/').removeprefix('invoke/')}",)
    other = {"azure": "openai", "cohere": "cohere_chat"}.get(provider)
    return (model, f"{other}/{name}") if other else (model,)


@lru_cache(maxsize=1024)  # many targets have one model
def known_facts(model: str) -> tuple[ModelRow, Facts]:
    """Return the table's entry for a model (provider/model), or for the known model most like it, and the facts that it states.
    Of a sibling, window and prices only if the names have the same words.
    """
    named = _names(model)
    known = entries()
    for one in named:
        if one in known:
            entry = known[one]
            return entry, _listed(one, "itself", entry)
    for one in named:
        if near := nearest(one):
            entry = known[near]
            made = _listed(near, "family", entry)
            if set(parsed(near).words) != set(parsed(model).words):  # another size: the same behaviour, but other prices and limits
                made = replace(made, window=None, max_output=None, price=None)
            # A newer model may read files that its sibling refuses.
            return entry, replace(made, images=made.images or None, documents=made.documents or None, audio=made.audio or None)
    return UNLISTED


def _listed(model: str, source: Literal["itself", "family", "unknown"], entry: ModelRow) -> Facts:
    """Return the facts that a table entry states, without the rules of the provider. `model`: name of the entry; empty if there is none."""
    levels = entry.reasoning_effort_levels
    efforts: tuple[Effort, ...] = tuple(one for one in EFFORTS if one in cast("list[object]", levels)) if isinstance(levels, list) else ()
    default = entry.default_reasoning_effort
    return Facts(
        model=model,
        source=source,
        refuses=SAMPLING if entry.supports_sampling_params is False else frozenset[str](),
        efforts=efforts,
        default_effort=default if default in EFFORTS else "",
        forced_tools=entry.supports_forced_tool_use is not False,
        prefill=entry.supports_assistant_prefill is True,
        images=known_flag(entry.supports_vision),
        documents=known_flag(entry.supports_pdf_input),
        audio=known_flag(entry.supports_audio_input),
        schemas=known_flag(entry.supports_response_schema),
        window=entry.window,
        max_output=entry.output,
        price=entry.price,
    )


UNLISTED = (ModelRow(), _listed("", "unknown", ModelRow()))
"""The entry, an empty one, and the facts of a model whose family is not in the table."""


def _declared(made: Facts, declared: TargetConfig) -> Facts:
    """Return the facts, overridden by the operator's `facts` of the target; the same object if there are none.
    A declared `refuses` also clears `refuses_thinking` and `one_of_sampling`; a declared `returns` sets `insists`.
    """
    stated = declared.facts
    if stated is None:
        return made
    given = {name: value for name in names(type(stated)) if (value := getattr(stated, name)) is not None}
    for name in {"refuses", "takes"} & given.keys():
        given[name] = frozenset(cast("tuple[str, ...]", given[name]))
    if "refuses" in given:
        given |= {"refuses_thinking": frozenset[str](), "one_of_sampling": False}
    if stated.returns is not None:
        given["insists"] = True
    if (wire := given.pop("wire", None)) is not None:
        given["responses"] = "always" if wire == "responses" else "never"
    return replace(made, **given)
