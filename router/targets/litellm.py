"""The LiteLLM lane: a question as the arguments of LiteLLM's call, and its chunks as events."""

from collections.abc import Mapping
from contextlib import aclosing
from copy import deepcopy

from router.chat import Ask, issued_by
from router.config.declaration import TargetConfig
from router.config.network import DIRECT
from router.errors import Misfit, ParameterMissed, TargetError, TargetRefused
from router.events import Answer, Events, Start
from router.params import Params
from router.targets import completions, responses
from router.targets.anthropic import BUDGETS
from router.targets.connections import Connections, trusting
from router.targets.conversation import fitted
from router.targets.facts import Facts
from router.targets.files import FILE_ADDRESS, has_address
from router.targets.fit import NEEDS, check_answerable, fit, uncarried
from router.targets.learned import Learned, Pupil
from router.targets.litellm_chunks import ChunkParser, call_events, raised, status_and_text
from router.targets.litellm_library import CONNECT, SHARED, library_for
from router.targets.litellm_providers import ASKED, OWN_CLIENT
from router.targets.options import Options, options_of
from router.targets.passage import PASSAGE, Passage
from router.targets.prompt_cache import CONTROL, is_long, mark_messages, session_key
from router.targets.providers import CACHE_KEY, rules_through_litellm
from router.targets.reasoning import INTERLEAVED, NOTHING, Returns, beside, is_claude, keeps_thinking, returned_through_litellm
from router.targets.resolved_facts import facts_of
from router.targets.speech import Speech
from router.targets.structured import structured, subset_of
from router.targets.text_filters import AnswerLimits
from router.value import Value, replace

TEXTUAL = frozenset((
    "anthropic_text", "bedrock", "nlp_cloud", "ollama", "petals", "predibase", "sagemaker", "triton", "watsonx_text",
    "text-completion-codestral", "text-completion-inception", "text-completion-openai",
))  # fmt: skip
"""Providers whose models may take no tools. A question with tools is refused if LiteLLM would drop them, which it does without an error."""
KEYED = frozenset({"azure", "openai"})
"""Providers to which LiteLLM forwards a session key."""
AS_ARGUMENTS = ("anthropic/", "anthropic_text/", "bedrock/")
"""Prefixes of models for which LiteLLM sends unknown arguments as fields. For these it would send `extra_body` as a field of that name."""
ITS_OWN = frozenset((
    "api_key", "api_base", "base_url", "api_version", "timeout", "num_retries", "max_retries", "fallbacks", "headers", "user", "ssl_verify",
    "extra_headers", "extra_body", "mock_response", "mock_tool_calls", "custom_llm_provider", "drop_params", "caching", "cache", "verbose",
    "allowed_openai_params", "additional_drop_params", "logger_fn", "model_list", "base_model", "model_info",
))  # fmt: skip
"""Arguments of LiteLLM's call that are not request fields."""
EMPTY = "(empty)"
"""Text of a tool's result without text."""


class Arguments(Value, frozen=True):
    """A question as arguments of LiteLLM's call.

    arguments: the keyword arguments
    omitted: names of the question's parameters that are not sent
    bounds: limits at which the router ends the answer itself
    takes: the form in which the provider takes its reasoning back
    within: names deeper in the arguments that may be left out if the provider refuses them
    """

    arguments: dict[str, object]
    omitted: tuple[str, ...]
    bounds: AnswerLimits
    takes: Returns
    within: tuple[str, ...]


def answer(
    name: str, declared: TargetConfig, connect: float, learned: Learned | None = None, connections: Connections | None = None
) -> Answer:
    """Return the function that asks a declared target. Raises Misfit if LiteLLM would ask another provider, or cannot use the declaration.
    LiteLLM is imported at the first question, if not before. It makes its own connections: `connections` only run the background reads of
    late token counts, and limit the wait for them. `connect`: seconds a connection may take. `learned`: lessons from earlier refusals.
    """
    model = str(declared.model)
    provider = model.partition("/")[0]
    fixed = _fixed(declared, options := options_of(declared, "litellm"))
    facts, learned, connections = facts_of(declared), learned or Learned(), connections or Connections()
    issuer, rules, tls = issued_by(name, model), rules_through_litellm(model), trusting(declared.egress.ca)

    async def spoken(ask: Ask) -> Events:
        ask = fitted(ask, rules, name)
        if has_address(ask):
            raise TargetRefused(name, FILE_ADDRESS)  # for some providers LiteLLM would fetch the file itself, from the router's network
        lane = await library_for(name)
        if ask.tools and not lane.takes_tools(model):
            if provider in TEXTUAL:
                raise TargetRefused(name, "no_tools")
            # The provider itself refuses tools that its model does not take.
            fixed["allowed_openai_params"] = [*options.body, "tools", "tool_choice"]
        if provider in ASKED:
            lane.make_known(model)
        # This limit is for connecting only. Reading has none: failover watches for events, and bytes are not events.
        fixed["timeout"] = lane.timeout(None, connect=connect)
        CONNECT.set(connect)
        SHARED.set(connections)
        PASSAGE.set(passage := Passage(declared.egress, tls))
        pupil = Pupil(name, learned.over(facts), learned)
        begun = False
        while not begun:
            params = ask.params.over(declared.params)
            check_answerable(name, pupil.facts, ask, params)
            wanted = structured(ask, lane.formed(pupil.facts, ask, model), subset_of(provider), beside_tools=False)
            form = _form({**fixed, **deepcopy(wanted.chat)}, wanted.ask, params, pupil.facts, issuer)
            dropped = lane.dropped(model, form.arguments)
            if missed := [one for one in dropped if one in NEEDS]:
                raise ParameterMissed(name, missed[0])
            parser = ChunkParser(Speech(name, issuer), form.bounds, form.takes)
            try:
                async with aclosing(call_events(lane, form.arguments, parser)) as events:
                    async for event in events:
                        if not begun:
                            begun = True
                            omitted = tuple(dict.fromkeys((*form.omitted, *dropped, *options.over(params), *pupil.learned)))
                            pupil.answered()
                            yield Start(name, model, omitted=omitted, output=wanted.way, meter=parser.speech.meter)
                        yield event
            except (*lane.errors, TargetError) as error:
                if passage.failed is not None and not begun:
                    raise parser.with_usage(passage.failed.of(name)) from None
                # Some providers are asked at the first read of their stream: their refusal comes then, before any event.
                sent = {*form.arguments, *form.within, *wanted.sent}.difference(options.names)
                if begun or not pupil.refused(*(parser.stated or status_and_text(error)), sent, options.names):
                    raise parser.with_usage(raised(name, provider, error, parser)) from None

    return spoken


def _fixed(declared: TargetConfig, options: Options) -> dict[str, object]:
    """Return the arguments that all calls of a target have.
    Raises Misfit if LiteLLM would ask another provider, ignore the declared proxy and CA, or not send the target's `body`.
    """
    provider, _, called = str(declared.model).partition("/")
    if "replicate" in called and provider != "replicate":
        raise Misfit(
            f"LiteLLM sends every model with `replicate` in its name to Replicate, not to {provider}: give it another name", "model"
        )
    if provider == OWN_CLIENT and declared.egress != DIRECT:
        raise Misfit(f"`{OWN_CLIENT}/` takes no proxy and no CA: write `openai/{called}`", "model")
    fixed: dict[str, object] = {
        "model": str(declared.model),
        "stream": True,
        "stream_options": {"include_usage": True},
        "num_retries": 0,
        "max_retries": 0,
        # With tools LiteLLM would look for its MCP gateway: that imports its whole proxy, and fails if `mcp` is not installed.
        "_skip_mcp_handler": True,
    }
    fixed |= {name: value for name in ("api_base", "api_version") if (value := getattr(declared, name))}
    if any(value is None for value in options.body.values()):
        raise Misfit("through LiteLLM null removes nothing: it writes its fields itself", "body")
    if options.body and str(declared.model).startswith(AS_ARGUMENTS):
        if taken := ITS_OWN.intersection(options.body):
            raise Misfit(f"LiteLLM takes `{min(taken)}` for itself: it cannot be sent through it", "body")
        fixed |= {**options.body, "allowed_openai_params": list(options.body)}
    elif options.body:
        fixed["extra_body"] = options.body
    if headers := options.beside({"anthropic-beta": INTERLEAVED} if provider == "anthropic" else {}):
        fixed["extra_headers"] = headers
    if declared.api_key:
        fixed["api_key"] = declared.api_key.value
    elif declared.api_base:
        # A self-hosted server needs no key, but the OpenAI client requires one. The environment's key is for another server.
        fixed["api_key"] = "none"
    return fixed


def _form(fixed: Mapping[str, object], ask: Ask, params: Params, facts: Facts, issuer: str = "") -> Arguments:
    model = str(fixed["model"])
    if is_claude(model) and facts.thinking != "adaptive" and not keeps_thinking(ask, issuer):
        facts = replace(facts, thinking="none", always_thinks=False)  # LiteLLM turns an effort into a budget
    fitted = fit(facts, params).beside(tools=bool(ask.tools))
    if is_claude(model):
        fitted = fitted.without_blank_stops()
    takes = returned_through_litellm(facts, fitted, model) if facts.recalls else NOTHING
    messages = completions.messages(ask, beside(ask, issuer, takes), facts.carries)
    for one in messages if model.startswith("mistral/") else ():
        if one["role"] == "tool" and not one["content"]:
            one["content"] = EMPTY  # LiteLLM would leave the message out, and Mistral refuse the call without its result
    keeps = facts.marks_from > 0 and is_long(ask, facts.marks_from)
    hints = {name: completions.parameter(name, value) for name, value in fitted.hints.items()}
    if not ask.tools:
        hints.pop("parallel_tool_calls", None)
    arguments: dict[str, object] = {**hints, **fixed, "messages": mark_messages(messages) if keeps else messages}
    responding = responses.needed(ask, facts, fitted)
    effort = fitted.effort
    if responding and effort is None:  # without an effort LiteLLM would not ask the Responses API, where alone some models take tools
        effort = facts.default_effort or next((one for one in ("medium", "high", "low") if one in facts.efforts), None)
    if effort is not None:
        arguments["reasoning_effort"] = effort
    if fitted.max_tokens is not None and facts.limit != "none":
        arguments["max_tokens"] = fitted.max_tokens  # LiteLLM translates the name
    if is_claude(model) and facts.thinking == "budget" and (budget := BUDGETS.get(fitted.effort or "")):
        # LiteLLM turns an effort into a budget that may exceed the limit, which includes it: Claude refuses that.
        arguments["thinking"] = {"type": "enabled", "budget_tokens": budget}
        del arguments["reasoning_effort"]
        if fitted.max_tokens is not None:
            arguments["max_tokens"] = fitted.max_tokens + budget
    if fitted.stop:
        arguments["stop"] = list(fitted.stop)
    if ask.tools:
        # A copy: LiteLLM removes keywords unknown to Gemini from the schema itself, which other targets share.
        arguments |= deepcopy(completions.tools(ask, facts))
    if facts.session_key == CACHE_KEY and model.partition("/")[0] in KEYED and (session := ask.session()):
        arguments[CACHE_KEY] = session_key(session, str(fixed.get("api_key", "")))
    if responding:
        arguments["store"] = False  # LiteLLM then asks the Responses API, which stores conversations by default
    return Arguments(arguments, (*fitted.omitted, *uncarried(facts, ask)), fitted.bounds(facts), takes, (CONTROL,) if keeps else ())
