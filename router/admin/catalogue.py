"""The lists of models: each route that a caller may ask, in our form and in those of OpenAI, Anthropic and the AI SDK's gateway.

A model's name, context window, prices and input types are those of the first target of its route.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from router.callers import Caller
from router.errors import UnknownModel
from router.generation import Compiled, Generation
from router.intake.gateway_api import VERSION
from router.value import to_builtins


def listed(generation: Generation, caller: Caller) -> list[dict[str, object]]:
    """Return the chat routes that a caller may ask and that are not hidden, in the form of /api/models."""
    return [
        {
            "id": name,
            "aliases": [str(alias) for alias in route.declared.aliases],
            "tools": [spec.name for spec in route.toolbox.specs],
            "reasoning": route.declared.reasoning,
            "scripted": route.scripted,
            "targets": [target.name for target in route.targets],
            **_first(route),
        }
        for name, route in _routes(generation, caller)
        if route.declared.kind == "chat"  # a front end lists models to chat with
    ]


def openai_list(generation: Generation, caller: Caller, created: int) -> dict[str, object]:
    """Return the listed models that a caller may ask in OpenAI's form: each id and alias, chat and embeddings. `created`: Unix time."""
    return {"object": "list", "data": [_openai(one, route, created) for one, route in _ids(generation, caller)]}


def openai_model(generation: Generation, caller: Caller, model: str, created: int) -> dict[str, object]:
    """Return one model in OpenAI's form. Raises UnknownModel if it does not exist, or the caller may not ask it."""
    return _openai(model, _route(generation, caller, model), created)


def anthropic_list(generation: Generation, caller: Caller, created: int) -> dict[str, object]:
    """Return, in Anthropic's form and on one page, the ids and aliases of the chat routes that are listed and that the caller may ask."""
    data = [_anthropic(one, created) for one, route in _ids(generation, caller) if route.declared.kind == "chat"]
    ids = [one["id"] for one in data] or [None]
    return {"data": data, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}


def anthropic_model(generation: Generation, caller: Caller, model: str, created: int) -> dict[str, object]:
    """Return one chat model in Anthropic's form. Raises UnknownModel if there is no such chat model, or the caller may not ask it."""
    if _route(generation, caller, model).declared.kind != "chat":
        raise UnknownModel
    return _anthropic(model, created)


def gateway_list(generation: Generation, caller: Caller) -> dict[str, object]:
    """Return the listed models that a caller may ask as `getAvailableModels` of @ai-sdk/gateway reads them: each id and each alias."""
    return {"models": [_gateway(one, route) for one, route in _ids(generation, caller)]}


def _routes(generation: Generation, caller: Caller) -> Iterator[tuple[str, Compiled]]:
    return ((name, route) for name, route in generation.routes.items() if route.declared.listed and caller.may_ask(name))


def _ids(generation: Generation, caller: Caller) -> Iterator[tuple[str, Compiled]]:
    """Yield (id, route) for each listed route that the caller may ask, and (alias, route) for each alias."""
    for name, route in _routes(generation, caller):
        yield name, route
        yield from ((str(alias), route) for alias in route.declared.aliases)


def _route(generation: Generation, caller: Caller, model: str) -> Compiled:
    route = generation.route(model)
    if not caller.may_ask(route.name):
        raise UnknownModel  # as the list does, this says nothing of routes that are others'
    return route


def _openai(model: str, route: Compiled, created: int) -> dict[str, object]:
    own = {"id": model, "kind": route.declared.kind, "object": "model", "created": created, "owned_by": "router"}
    return {**own, "tools": [spec.name for spec in route.toolbox.specs], **_first(route)}


def _anthropic(model: str, created: int) -> dict[str, object]:
    return {"type": "model", "id": model, "display_name": model, "created_at": datetime.fromtimestamp(created, UTC).isoformat()}


def _gateway(model: str, route: Compiled) -> dict[str, object]:
    """Return one model in the form of the AI SDK's gateway. Prices: US dollars for one token, as texts; `pricing` is None if unknown."""
    price = route.targets[0].facts.price
    pricing: dict[str, str] = {}
    if price is not None:
        counts = {"input": price.input, "output": price.output, "input_cache_read": price.cached, "input_cache_write": price.cache_write}
        pricing = {name: f"{value / 1_000_000:.12f}".rstrip("0").rstrip(".") for name, value in counts.items() if value is not None}
    return {
        "id": model,
        "name": route.models.get(route.targets[0].name, route.name),
        "pricing": pricing or None,
        "specification": {"specificationVersion": f"v{VERSION}", "provider": "router", "modelId": model},
        "modelType": "embedding" if route.declared.kind == "embeddings" else "language",
    }


def _first(route: Compiled) -> dict[str, object]:
    """Return facts of the first target's model, None if unknown: name, context window, output limit, inputs, price of a million tokens."""
    facts = route.targets[0].facts
    price = None if facts.price is None else {name: value for name, value in to_builtins(facts.price).items() if value is not None}
    known = {"text": True, "image": facts.images, "document": facts.documents, "audio": facts.audio}
    return {
        "name": route.models.get(route.targets[0].name, route.name),
        "context_window": facts.window,
        "max_output_tokens": facts.max_output,
        "input_modalities": [name for name, reads in known.items() if reads],
        "price": price,
    }
