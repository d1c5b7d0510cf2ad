"""What of the original belongs to no route: its settings, key by key, each told of where it would stand here."""

import re
from collections.abc import Mapping

from router.config.foreign import Said
from router.migration import verdicts
from router.migration.models import Models
from router.migration.page import UNSPOKEN, Page, Section
from router.migration.settings import FALLBACKS, STORES, Settings
from router.migration.targets import losses
from router.migration.variables import Variables

SHARED = frozenset(
    {
        *FALLBACKS,
        *("num_retries", "timeout", "stream_timeout", "retry_after", "allowed_fails", "cooldown_time", "disable_cooldowns"),
        *("routing_strategy", "model_group_alias", "model_alias_map", "default_fallbacks"),
    }
)
"""Settings that the plan takes up."""
CALLBACKS = ("callbacks", "success_callback", "failure_callback")
SERVER = frozenset(
    {"global_max_parallel_requests", "max_parallel_requests", "max_request_size_mb", "allowed_ips", "allowed_routes", "custom_auth"}
)
"""general_settings that would stand under `server`."""
KNOWN = frozenset(
    {"model_list", "router_settings", "litellm_settings", "general_settings", "environment_variables", "credential_list", "include"}
)
REDIS = frozenset({"host", "port", "password", "url", "db", "ssl", "username"})


def leavings(page: Page, settings: Settings, models: Models, variables: Variables) -> None:
    """Tell of them."""
    losses(page.defaults, settings.router, SHARED, verdicts.ROUTER, "router_settings.")
    losses(page.rest, settings.library, SHARED | {"cache", "cache_params", *CALLBACKS}, verdicts.LIBRARY, "litellm_settings.")
    _callbacks(settings.library, page.rest)
    _cache(page, settings, variables)
    _general(page, settings, models)
    if variables.values:
        told = ", ".join(variables.values)
        page.rest.lose(
            f"environment_variables ({told}): set those that are needed where the router runs; their values are not repeated here"
        )
    losses(page.rest, settings.source.sections, KNOWN, verdicts.SECTIONS)
    _unspoken(page)


def _callbacks(library: Mapping[str, Said], made: Section) -> None:
    for key in CALLBACKS:
        said = library.get(key)
        for one in (said.items or (said,)) if said and said.value else ():
            name = str(one.value) if isinstance(one.value, str) and re.fullmatch(r"[\w.-]+", one.value) else "one"
            made.lose(
                f"litellm_settings.{key} {name}: {verdicts.CALLBACKS.get(name, 'nothing is sent there; the log has one line for each request')}"
            )


def _cache(page: Page, settings: Settings, variables: Variables) -> None:
    """The routes have it already, where it is one of ours."""
    params = settings.cache
    on = settings.source.truth(settings.library.get("cache"))
    store = str(params["type"].value) if "type" in params else "redis"
    if settings.keeps_answers:
        others = {key: one for key, one in params.items() if key not in REDIS}
        losses(page.rest, others, frozenset({"type", "ttl", "mode", "supported_call_types"}), {}, "litellm_settings.cache_params.")
        if "ttl" not in params:
            page.rest.note("cache: the original says no time to live; an hour is assumed")
    elif on and store not in STORES:
        page.rest.lose(f"litellm_settings.cache_params.type {store}: answers are kept in memory or in Redis")
    elif on:
        page.rest.lose(
            "litellm_settings.cache: it is not for every chat; a route keeps its answers or does not: write `cache` where it should"
        )
    if (on and store.startswith("redis")) or any(key.startswith("redis_") for key in settings.router):
        page.server.keys["redis"] = "${REDIS_URL}"
        page.server.note("redis: the original's host, port and password are one address here: set REDIS_URL to redis://:PASSWORD@HOST:PORT")
        if "redis" not in UNSPOKEN:
            variables.variable("REDIS_URL")


def _general(page: Page, settings: Settings, models: Models) -> None:
    general = settings.general
    carried = {"master_key"} | ({"completion_model"} if settings.first in models.groups else set[str]())
    if general.get("master_key") is not None:
        page.server.lose("general_settings.master_key: callers' keys are declared under `server.auth`; `router keys new NAME` makes one")
    losses(page.server, {key: one for key, one in general.items() if key in SERVER}, frozenset(), SERVED, "general_settings.")
    losses(page.rest, general, frozenset(carried) | SERVER, verdicts.GENERAL, "general_settings.")


SERVED = {
    **verdicts.GENERAL,
    "global_max_parallel_requests": "write `limit: {concurrent: …}` on the routes",
    "max_parallel_requests": "write `limit: {concurrent: …}` on the routes",
}


def _unspoken(page: Page) -> None:
    sections = [*page.routes.values(), page.server]
    if written := sorted({key for section in sections for key in section.keys if key in UNSPOKEN}):
        page.rest.lose(f"{', '.join(written)}: routes.yaml does not know this yet; the lines are there, as comments")
