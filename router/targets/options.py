"""A target's own `body` and `headers`, which are added to each of its requests.

The body is merged into the request as a JSON Merge Patch (RFC 7396): objects are merged, other values are replaced, null removes. It
overrides what the router writes, and so `params` and the question. It may not contain what the router needs to ask, to read and to
limit an answer: the conversation, tools, the stream, length limits, and sampling parameters that `params` has.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, cast

import msgspec

from router.chat import Json, JsonObject, deeper
from router.config.declaration import TargetConfig
from router.config.values import Name
from router.errors import Misfit, Place
from router.params import Params
from router.value import Value, field

Api = Literal["chat", "responses", "messages", "gemini", "litellm"]
"""The API whose form a request has: OpenAI's chat completions, its Responses API, Anthropic's messages, Gemini's API, LiteLLM's call."""
MAX_DEPTH = 32
"""Limit of nesting in a target's own `body`."""
SAID = "the question says it, and a pipeline what is said before it"
READ = "every answer is read as one stream of text"
GRANTED = "`tools` of the route and the client's own are sent"
ONCE = "one answer is read"
STATELESS = "nothing is kept at the provider: each request holds its whole conversation"
MODEL = "`model` of the target says it"


def _param(name: str) -> str:
    return f"write `params: {{{name}: …}}`"


EFFORT = _param("reasoning_effort")
SAMPLING = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "stop")
CHAT: dict[str, str] = {
    "model": MODEL,
    "messages": SAID,
    **dict.fromkeys(("stream", "stream_options", "modalities", "audio"), READ),
    **dict.fromkeys(("tools", "tool_choice", "functions", "function_call"), GRANTED),
    "n": ONCE,
    **{name: _param(name) for name in SAMPLING},
    "random_seed": _param("seed"),
    **dict.fromkeys(("max_tokens", "max_completion_tokens"), _param("max_tokens")),
    **dict.fromkeys(("reasoning_effort", "reasoning.effort"), EFFORT),
}
RESPONSES: dict[str, str] = {
    "model": MODEL,
    **dict.fromkeys(("input", "instructions", "prompt"), SAID),
    **dict.fromkeys(("stream", "stream_options", "modalities", "audio"), READ),
    **dict.fromkeys(("tools", "tool_choice"), GRANTED),
    **dict.fromkeys(("store", "background", "conversation", "previous_response_id"), STATELESS),
    "include": "reasoning comes back encrypted, and goes back with the calls that followed it",
    "max_output_tokens": _param("max_tokens"),
    **{name: _param(name) for name in ("temperature", "top_p")},
    "reasoning.effort": EFFORT,
}
MESSAGES: dict[str, str] = {
    "model": MODEL,
    **dict.fromkeys(("messages", "system"), SAID),
    "stream": READ,
    **dict.fromkeys(("tools", "tool_choice"), GRANTED),
    "max_tokens": _param("max_tokens"),
    "stop_sequences": _param("stop"),
    **{name: _param(name) for name in ("temperature", "top_p")},
    **dict.fromkeys(("thinking", "output_config.effort"), EFFORT),
}
GEMINI: dict[str, str] = {
    "model": MODEL,
    **dict.fromkeys(("contents", "systemInstruction", "system_instruction"), SAID),
    **dict.fromkeys(("tools", "toolConfig", "tool_config"), GRANTED),
    **dict.fromkeys(("cachedContent", "cached_content"), STATELESS),
    "generation_config": "write `generationConfig`",
    "generationConfig.candidateCount": ONCE,
    "generationConfig.responseModalities": READ,
    "generationConfig.temperature": _param("temperature"),
    "generationConfig.topP": _param("top_p"),
    "generationConfig.seed": _param("seed"),
    "generationConfig.presencePenalty": _param("presence_penalty"),
    "generationConfig.frequencyPenalty": _param("frequency_penalty"),
    "generationConfig.stopSequences": _param("stop"),
    "generationConfig.maxOutputTokens": _param("max_tokens"),
    "generationConfig.thinkingConfig": EFFORT,
}
OURS: Mapping[Api, Mapping[str, str]] = {
    "chat": CHAT,
    "responses": RESPONSES,
    "messages": MESSAGES,
    "gemini": GEMINI,
    "litellm": {**GEMINI, **MESSAGES, **CHAT},
}
"""API → the fields that the router writes itself, with dots between levels → the reason or advice in the error."""
PLACES = {"generationConfig.topK": "top_k", "text.verbosity": "verbosity", "serviceTier": "service_tier"}
"""Dotted path in a target's `body` → the question's parameter that is sent there under that other name."""
JOINED = frozenset({"anthropic-beta"})
"""Headers whose value is a list: the target's values are appended to the router's, without duplicates."""


class Options(Value, frozen=True):
    """A target's own fields and headers, which are added to its requests. `headers`: by name in lower case."""

    body: JsonObject = field(default_factory=dict[str, Json])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def onto(self, request: JsonObject, api: Api) -> JsonObject:
        """Return the request with the target's own fields merged in, except those that the router writes for this API."""
        return merged(request, _without(self.body, OURS[api])) if self.body else request

    def over(self, params: Params) -> tuple[str, ...]:
        """Return the names of those of the given parameters that the target's own `body` sets as well, and so overrides."""
        if not self.body:
            return ()
        fixed = {PLACES.get(path, path) for _, path in _paths(self.body)}
        return tuple(name for name in params.given if name in fixed)

    @property
    def names(self) -> Collection[str]:
        """Return the names by which a refusal may refer to the target's own fields: dotted paths of two levels, and their last parts."""
        return {part for _, path in _paths(self.body) for part in (path, path.rpartition(".")[2])}

    def beside(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the router's headers with the target's added or in their place. A header of JOINED has the values of both."""
        made = dict(headers)
        for name, value in self.headers.items():
            joined = [one.strip() for one in f"{made[name]},{value}".split(",")] if name in JOINED and name in made else [value]
            made[name] = ",".join(dict.fromkeys(filter(None, joined)))
        return made


NO_OPTIONS = Options()


def options_of(declared: TargetConfig, *apis: Api) -> Options:
    """Return the options of a declared target that is asked through these APIs.
    Raises Misfit if its `body` is not JSON, nested more than MAX_DEPTH levels, or has a field that the router writes.
    """
    body, headers = declared.body or {}, declared.headers or {}
    if not body and not headers:
        return NO_OPTIONS
    if deeper(dict(body), MAX_DEPTH):
        raise Misfit(f"a body has {MAX_DEPTH} levels of nesting at most", "body")
    for name, value in body.items():
        try:
            json.dumps(value, allow_nan=False)
            msgspec.json.encode(value)
        except (ValueError, TypeError, OverflowError):
            raise Misfit(f"`{name}` cannot be written as JSON: numbers are finite, texts are Unicode", "body", place=_place(name)) from None
    for api in apis:
        for name, path in _paths(cast("Mapping[str, object]", body)):
            if (why := OURS[api].get(path)) is not None:
                raise Misfit(f"`{path}` is written by the router: {why}", "body", place=_place(name))
    # A copy as plain JSON, without the positions in the configuration file that its names carry.
    plain = msgspec.json.decode(msgspec.json.encode({str(name): value for name, value in body.items()}), type=dict[str, Any])
    return Options(plain, {name.lower(): value.value for name, value in headers.items()})


def merged(request: JsonObject, patch: JsonObject) -> dict[str, Json]:
    """Return a request with a JSON Merge Patch (RFC 7396) applied to it, in which null removes a field; neither argument is changed."""
    made = dict(request)
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, Mapping):
            below = made.get(name)
            made[name] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            made[name] = value
    return made


def _without(body: JsonObject, ours: Mapping[str, str], path: str = "") -> dict[str, Json]:
    """Return a body without the fields whose dotted paths are in `ours`, at any depth. `path`: where `body` is, with a dot at the end."""
    made: dict[str, Json] = {}
    for name, value in body.items():
        here = f"{path}{name}"
        if here not in ours:
            made[name] = _without(value, ours, f"{here}.") if isinstance(value, Mapping) else value
    return made


def _paths(body: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (name of the top-level field, dotted path) for each field of a body, two levels deep."""
    for name, value in body.items():
        yield name, str(name)
        if isinstance(value, Mapping):
            yield from ((name, f"{name}.{inner}") for inner in cast("Mapping[str, object]", value))


def _place(name: str) -> Place | None:
    return name.place if isinstance(name, Name) else None
