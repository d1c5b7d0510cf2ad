"""The Anthropic lane: questions as requests to the Messages API, which a MessageReader answers."""

import base64
from functools import partial
from typing import cast
from urllib.parse import unquote_to_bytes

from router.chat import AUTO, Ask, Call, File, Json, JsonObject, Message, ReasoningState, Result, issued_by
from router.config.declaration import TargetConfig
from router.errors import Misfit
from router.events import Answer, Events, Start
from router.params import Params
from router.targets import http
from router.targets.address import endpoint_of
from router.targets.anthropic_reader import MessageReader
from router.targets.connections import Connections
from router.targets.conversation import fitted
from router.targets.facts import Facts
from router.targets.fit import NEEDS, Fitted, check_answerable, fit, uncarried
from router.targets.http import Prepared
from router.targets.learned import Learned, Pupil
from router.targets.options import options_of
from router.targets.prompt_cache import CONTROL, is_long, mark_turns, marked
from router.targets.providers import CLAUDE
from router.targets.reasoning import INTERLEAVED, blocks, keeps_thinking
from router.targets.resolved_facts import facts_of
from router.targets.structured import structured
from router.targets.subset import CLAUDE as CLAUDE_SCHEMAS
from router.targets.text_filters import UNBOUND
from router.value import replace

BASE = "https://api.anthropic.com"
VERSION = "2023-06-01"
MAX_TOKENS = 8192
"""Default limit of an answer in tokens, or the model's maximum if that is lower: Anthropic requires a limit."""
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16_384, "xhigh": 32_768, "max": 32_768}
"""reasoning_effort → thinking budget in tokens; `none` has no budget."""
CHOICES: dict[str, Json] = {"none": {"type": "none"}, "required": {"type": "any"}}


def serves(declared: TargetConfig) -> bool:
    """Return whether this lane serves a target: its model begins with `anthropic/`, and `via` is not set."""
    return declared.via is None and str(declared.model).startswith("anthropic/")


def answer(
    name: str, declared: TargetConfig, connect: float, pool: Connections, learned: Learned | None = None, *, facts: Facts | None = None
) -> Answer:
    """Return the function that asks a declared target. Raises Misfit if it has neither a key nor an `api_base`, or an invalid address.
    `connect`: seconds a connection may take. `learned`: lessons from earlier refusals. `facts`: looked up if None.
    """
    if declared.api_key is None and declared.api_base is None:
        raise Misfit("anthropic/ needs a key: write `api_key: ${ANTHROPIC_API_KEY}`", "model")
    key = {"x-api-key": declared.api_key.value} if declared.api_key else {}
    options = options_of(declared, "messages")
    headers = options.beside({"anthropic-version": VERSION, "anthropic-beta": INTERLEAVED, **key})
    endpoint = pool.endpoint(endpoint_of(str(declared.api_base or BASE), "/messages", within="/v1"), headers, connect)
    facts, learned = facts or facts_of(declared), learned or Learned()
    model = str(declared.model).partition("/")[2]
    start, issuer = Start(name, str(declared.model)), issued_by(name, str(declared.model))
    reader = partial(MessageReader, name)

    def spoken(ask: Ask) -> Events:
        params = ask.params.over(declared.params)
        ask = fitted(ask, CLAUDE, name)

        def prepare(known: Facts) -> Prepared:
            check_answerable(name, known, ask, params)
            form = structured(ask, known, CLAUDE_SCHEMAS)
            body, omitted = request(form.ask, params, known, model, issuer)
            if form.schema is not None:
                config = cast("JsonObject", body.get("output_config", {}))
                body["output_config"] = {**config, "format": {"type": "json_schema", "schema": form.schema}}
            within = (*((CONTROL,) if known.marks_from else ()), *form.sent)
            omitted = (*omitted, *uncarried(known, ask), *options.over(params))
            bounds = fit(known, params).without_blank_stops().bounds(known) if params.stop else UNBOUND
            return Prepared(endpoint, body, reader, omitted, bounds, "messages", options, within=within, output=form.way)

        return http.answered(start, issuer, pool, Pupil(name, learned.over(facts), learned), prepare)

    return spoken


def request(ask: Ask, params: Params, facts: Facts, model: str, issuer: str = "") -> tuple[dict[str, Json], tuple[str, ...]]:
    """Return the request body for a question, and the names of the omitted parameters.
    params: the question's parameters, those of the target included
    model: the model's name without its provider
    issuer: the target whose reasoning states are sent back, unless the model is not to think
    """
    thinks = may_think(ask, facts, issuer)
    fitted = fit(facts if thinks else replace(facts, thinking="none", always_thinks=False), params)
    limit = fitted.max_tokens or min(MAX_TOKENS, facts.max_output or MAX_TOKENS)
    made: dict[str, Json] = {"model": model, "stream": True, "max_tokens": limit}
    keeps = facts.marks_from > 0 and is_long(ask, facts.marks_from)
    if system := "\n\n".join(message.text for message in ask.messages if message.role == "system" and message.text):
        made["system"] = [marked({"type": "text", "text": system})] if keeps else system
    if ask.tools:
        tools: list[Json] = [{"name": one.name, "description": one.description, "input_schema": one.parameters} for one in ask.tools]
        made["tools"] = [*tools[:-1], marked(tools[-1])] if keeps else tools
        if ask.choice != AUTO and (facts.forced_tools or ask.choice.kind == "none"):
            made["tool_choice"] = CHOICES.get(ask.choice.kind, {"type": "tool", "name": ask.choice.name})
    if stops := [stop for stop in fitted.stop if stop.strip()]:
        made["stop_sequences"] = stops  # it refuses those of white space only (BerriAI/litellm#3286)
    made |= {name: value for name, value in fitted.hints.items() if name not in NEEDS}
    if ask.tools and fitted.hints.get("parallel_tool_calls") is False and ask.choice.kind != "none":
        choice = cast("dict[str, Json]", made.get("tool_choice", {"type": "auto"}))
        made["tool_choice"] = {**choice, "disable_parallel_tool_use": True}
    if thinks:
        made |= _thinking(facts, fitted, limit)
    thinking_asked = made.get("thinking")
    # A model that is not to think refuses its own thoughts.
    recalls = facts.thinking == "adaptive" if thinking_asked is None else thinking_asked != {"type": "disabled"}
    conversation = turns(ask, issuer if recalls and facts.recalls else None)
    made["messages"] = mark_turns(conversation) if keeps else conversation
    return made, fitted.omitted


def may_think(ask: Ask, facts: Facts, issuer: str) -> bool:
    """Return whether the model may think: it can, and the question forces no tool call that it takes.
    With a budget, thoughts must also be allowed back and be there before the last tool calls, and the last message must not be its own.
    """
    if facts.thinking == "none" or (ask.choice.kind not in ("auto", "none") and facts.forced_tools):
        return False
    return facts.thinking == "adaptive" or (facts.recalls and keeps_thinking(ask, issuer))


def _thinking(facts: Facts, fitted: Fitted, limit: int) -> dict[str, Json]:
    """Return the body's fields for thinking, perhaps none; with a budget also `max_tokens`: the answer's `limit` plus the budget."""
    effort = fitted.effort
    if facts.thinking == "adaptive":
        if effort == "none":
            return {"thinking": {"type": "disabled"}}
        if effort is None and not facts.always_thinks:
            return {}
        adaptive: dict[str, Json] = {"thinking": {"type": "adaptive", "display": "summarized"}}
        return {**adaptive, "output_config": {"effort": effort}} if effort and facts.efforts else adaptive
    budget = BUDGETS.get(effort or "")
    return {"thinking": {"type": "enabled", "budget_tokens": budget}, "max_tokens": limit + budget} if budget else {}


def turns(ask: Ask, issuer: str | None = None) -> list[Json]:
    """Return the user and assistant messages by turns, neighbours of one role joined. Tool results are user turns.
    System and empty messages are left out. `issuer`: the target whose thoughts are sent back in messages with calls; None to send none.
    """
    made: list[tuple[str, list[Json]]] = []
    for message in ask.messages:
        side = "assistant" if message.role == "assistant" else "user"
        content = [] if message.role == "system" else _blocks(message, issuer)
        if content and made and made[-1][0] == side:
            made[-1][1].extend(content)
        elif content:
            made.append((side, content))
    return [{"role": side, "content": content} for side, content in made]


def _blocks(message: Message, issuer: str | None) -> list[Json]:
    thoughts = blocks(message, issuer) if message.calls and issuer is not None else []
    made: list[Json] = []
    left = len(message.text)
    """Characters of the message's text from here on."""
    for part in message.parts:
        if isinstance(part, str):
            while part and thoughts and not thoughts[0].call_id and left - len(part) < thoughts[0].after:
                before = max(0, left - thoughts[0].after)
                made += _text(part[:before])
                part, left = part[before:], left - before  # noqa: PLW2901 - what is left of it
                made.append(dict(thoughts.pop(0).value))
            made += _text(part)
            left -= len(part)
        elif not isinstance(part, ReasoningState):
            while isinstance(part, Call) and thoughts and thoughts[0].call_id in ("", part.call_id):
                made.append(dict(thoughts.pop(0).value))
            made.append(_block(part))
    return made


def _text(part: str) -> list[Json]:
    """Return a list of one text block; empty for blank text, which Anthropic refuses."""
    return [{"type": "text", "text": part}] if part.strip() else []


def _block(part: File | Call | Result) -> Json:
    match part:
        case File(kind):
            return {"type": "image" if kind.startswith("image/") else "document", "source": _source(part)}
        case Call(call_id, name, arguments):
            return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
        case Result(call_id, _, _, is_error, files):
            content: Json = [*_text(part.text), *map(_block, files)] if files else part.text
            made: dict[str, Json] = {"type": "tool_result", "tool_use_id": call_id, "content": content}
            return {**made, "is_error": True} if is_error else made


def _source(file: File) -> Json:
    """Return a file's `source` in a content block: base64 data, or the URL that the provider fetches."""
    if file.remote:
        return {"type": "url", "url": file.url}
    head, _, data = file.url.partition(",")
    if not head.lower().endswith(";base64"):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return {"type": "base64", "media_type": file.kind, "data": data}
