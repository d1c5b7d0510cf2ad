"""The Gemini lane: requests to the Gemini API, and to Vertex AI with an API key (express mode).

A question is one `streamGenerateContent` request, with the fields of Google's API reference. gemini_contents.py converts the
conversation, gemini_schema.py the schemas of tools; gemini_reader.py reads the answer.

Source: https://ai.google.dev/api/generate-content; https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode.
"""

import re
from functools import partial
from typing import cast
from urllib.parse import quote, urlsplit

from router.chat import AUTO, Ask, Json, JsonObject, issued_by
from router.config.declaration import TargetConfig
from router.errors import Misfit
from router.events import Answer, Events, Start
from router.targets import http
from router.targets.address import endpoint_of
from router.targets.connections import Connections
from router.targets.conversation import fitted
from router.targets.facts import Facts
from router.targets.fit import Fitted, check_answerable, fit, uncarried
from router.targets.gemini_contents import contents
from router.targets.gemini_reader import GeminiReader
from router.targets.gemini_schema import Converter, parameters
from router.targets.http import Prepared
from router.targets.learned import Learned, Pupil
from router.targets.options import options_of
from router.targets.providers import rules_of_google
from router.targets.resolved_facts import facts_of
from router.targets.structured import structured
from router.targets.subset import GEMINI as GEMINI_SCHEMAS

BASE = "https://generativelanguage.googleapis.com/v1beta"
VERTEX = "https://aiplatform.googleapis.com/v1/publishers/google"
PUBLISHER = "/publishers/google"
METHOD = ":streamGenerateContent"
VERSION = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?$")
"""Pattern of an API version at the end of a path."""
MODEL = re.compile(rf"/models/[^/]+?(?:{METHOD})?")
"""Pattern of a model at the end of a path."""
NAMES = {"top_p": "topP", "top_k": "topK", "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}
"""Parameters that Google names differently."""
BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
"""reasoning_effort → thinking budget in tokens, for models before Gemini 3, as in Google's OpenAI-compatible API
(https://ai.google.dev/gemini-api/docs/openai)."""
LEVELS = {"none": "minimal", "xhigh": "high", "max": "high"}
"""reasoning_effort → thinking level, where the name differs. An unknown model is also sent levels."""
SEEDS = 2**31
"""Modulus that makes any seed a positive int32."""


def serves(declared: TargetConfig) -> bool:
    """Return whether this lane serves a target: `gemini/`, or `vertex_ai/gemini-…` with an API key, if `via` is not set."""
    model, vertex = str(declared.model), declared.api_key is not None and str(declared.model).startswith("vertex_ai/gemini-")
    return declared.via is None and (vertex or model.startswith("gemini/"))


def answer(
    name: str, declared: TargetConfig, connect: float, pool: Connections, learned: Learned | None = None, *, facts: Facts | None = None
) -> Answer:
    """Return the function that asks a declared target. Raises Misfit if it has neither a key nor an `api_base`, or an invalid address.
    `connect`: seconds a connection may take. `learned`: lessons from earlier refusals. `facts`: looked up if None.
    """
    prefix, _, model = str(declared.model).partition("/")
    model = model.removeprefix("models/")  # as Google's list of models spells it
    if declared.api_key is None and declared.api_base is None:
        raise Misfit("gemini/ needs a key: write `api_key: ${GEMINI_API_KEY}`", "model")
    options = options_of(declared, "gemini")
    headers = options.beside({"x-goog-api-key": declared.api_key.value} if declared.api_key else {})
    vertex = prefix == "vertex_ai"
    base = str(declared.api_base or (VERTEX if vertex else BASE))
    endpoint = pool.endpoint(_address(base, model, vertex=vertex), headers, connect)
    facts, learned = facts or facts_of(declared), learned or Learned()
    start, issuer = Start(name, str(declared.model)), issued_by(name, str(declared.model))
    rules, reader = rules_of_google(model), partial(GeminiReader, name)

    def spoken(ask: Ask) -> Events:
        params = ask.params.over(declared.params)
        ask = fitted(ask, rules, name)

        def prepare(known: Facts) -> Prepared:
            check_answerable(name, known, ask, params)
            fits = fit(known, params)
            form = structured(ask, known, GEMINI_SCHEMAS, beside_tools=known.insists)
            body = request(form.ask, fits, known, issuer, ids=not vertex)
            if form.mode or form.schema is not None:
                config: dict[str, Json] = {**cast("JsonObject", body.get("generationConfig", {})), "responseMimeType": "application/json"}
                if form.schema is not None and known.thinking != "none":
                    config["responseJsonSchema"] = form.schema
                elif form.schema is not None:  # models before Gemini 2.5 take a schema only in the form of function declarations
                    config["responseSchema"] = Converter(form.schema).converted(form.schema)
                body["generationConfig"] = config
            omitted, bounds = (*fits.omitted, *uncarried(known, ask), *options.over(params)), fits.bounds(known)
            return Prepared(
                endpoint, body, reader, omitted, bounds, "gemini", options, config="generationConfig", within=form.sent, output=form.way
            )

        return http.answered(start, issuer, pool, Pupil(name, learned.over(facts), learned), prepare)

    return spoken


def _address(base: str, model: str, *, vertex: bool) -> str:
    """Return the request URL of a model; `base` may end with a host, a version, a publisher or a model. `vertex`: true for Vertex AI."""
    path = urlsplit(base).path.rstrip("/")
    if MODEL.search(path) and path.rpartition("/")[0].endswith("/models"):
        return endpoint_of(base, METHOD, query="alt=sse")
    version = "" if VERSION.search(path) else "/v1" if vertex else "/v1beta"
    within = "" if path.endswith(PUBLISHER) else version + PUBLISHER if vertex else version
    return endpoint_of(base, f"/models/{quote(model, safe='')}{METHOD}", within=within, query="alt=sse")


def request(ask: Ask, fits: Fitted, facts: Facts, issuer: str = "", *, ids: bool = True) -> dict[str, Json]:
    """Return the request body, without the form of JSON output.
    fits: the parameters as the model takes them
    issuer: the target whose reasoning states are sent back
    ids: true if calls and results have ids; Vertex AI takes none
    """
    made: dict[str, Json] = {"contents": contents(ask, issuer, signs=facts.insists, ids=ids)}
    if system := "\n\n".join(message.text for message in ask.messages if message.role == "system" and message.text.strip()):
        made["systemInstruction"] = {"parts": [{"text": system}]}
    if ask.tools:
        declared = [{"name": one.name, "description": one.description, **parameters(one.parameters)} for one in ask.tools]
        made["tools"] = [{"functionDeclarations": declared}]
        if ask.choice != AUTO and (facts.forced_tools or ask.choice.kind == "none"):
            mode, named = "NONE" if ask.choice.kind == "none" else "ANY", ask.choice.kind == "named"
            made["toolConfig"] = {"functionCallingConfig": {"mode": mode, **({"allowedFunctionNames": [ask.choice.name]} if named else {})}}
    if (tier := fits.hints.get("service_tier")) is not None:
        made["serviceTier"] = tier
    if config := _config(fits, facts):
        made["generationConfig"] = config
    return made


def _config(fits: Fitted, facts: Facts) -> dict[str, Json]:
    """Return the `generationConfig` of sampling, thinking and limits; empty if nothing is to be set.
    A thinking budget is added to the client's limit, because Google counts thoughts in it, up to the model's maximum.
    """
    made: dict[str, Json] = {NAMES.get(name, name): value for name, value in fits.hints.items() if name != "service_tier"}
    if isinstance(seed := made.get("seed"), int):
        made["seed"] = seed % SEEDS
    if stops := [stop for stop in fits.stop if stop]:
        made["stopSequences"] = stops
    thinking = _thinking(fits, facts)
    if fits.max_tokens is not None and facts.limit != "none":
        budget = thinking.get("thinkingBudget")
        limit = fits.max_tokens + (budget if isinstance(budget, int) else 0)
        made["maxOutputTokens"] = min(limit, facts.max_output or limit)
    if thinking:
        made["thinkingConfig"] = thinking
    return made


def _thinking(fits: Fitted, facts: Facts) -> dict[str, Json]:
    """Return the `thinkingConfig`, perhaps empty: whether thoughts are sent, and the effort as a budget (before Gemini 3) or a level."""
    if facts.thinking == "none":
        return {}
    made: dict[str, Json] = {"includeThoughts": True} if fits.thinks and facts.summaries else {}
    if fits.effort is not None and facts.thinking == "budget":
        made["thinkingBudget"] = BUDGETS[fits.effort]
    elif fits.effort is not None:
        made["thinkingLevel"] = LEVELS.get(fits.effort, fits.effort)
    return made
