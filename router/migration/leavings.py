"""LiteLLM's settings that belong to no single route: written under `server`, or mentioned in a comment."""

import re
from collections.abc import Mapping

from router.config.foreign import Located
from router.config.limits import MAX_CONCURRENT
from router.migration import verdicts
from router.migration.account import Account
from router.migration.models import Models
from router.migration.page import Page, Section
from router.migration.settings import STORES, Settings
from router.migration.source import SETTINGS, in_environment
from router.migration.targets import losses
from router.migration.variables import Variables

CALLBACKS = ("callbacks", "success_callback", "failure_callback")
SERVER = frozenset({"max_parallel_requests", "max_request_size_mb", "allowed_ips", "allowed_routes", "custom_auth"})
"""Keys of general_settings that belong under `server`."""
SETTLED = frozenset({"model_list", "credential_list", *SETTINGS})
"""Sections whose values have an outcome each, recorded elsewhere."""
REDIS = frozenset({"host", "port", "password", "url", "db", "ssl", "username"})


def leavings(page: Page, settings: Settings, models: Models, variables: Variables) -> None:
    """Write LiteLLM's settings that belong to no route under `server`, and add a comment for every value that has no outcome yet.
    A false value gets none, unless its key is in SWITCHED_OFF.
    """
    source = settings.source
    account = source.account
    _callbacks(settings.library, page.rest, account)
    _cache(page, settings, variables)
    _general(page, settings, models)
    losses(page.defaults, settings.router, verdicts.ROUTER, account, "router_settings.")
    losses(page.rest, settings.library, verdicts.LIBRARY, account, "litellm_settings.")
    if names := ", ".join(variables.values):
        advice = "set those that are needed where the router runs; their values are not repeated here"
        page.rest.lose(f"environment_variables ({names}): {advice}")
        account.mention(source.sections["environment_variables"])
    account.carry(source.sections.get("include"))
    losses(page.rest, {name: said for name, said in source.sections.items() if name not in SETTLED}, verdicts.SECTIONS, account)
    for path, said in list(account.open()):
        if said.value is False and path.rpartition(".")[2] not in verdicts.SWITCHED_OFF:
            account.agree(said)
        else:
            page.rest.lose(f"{path}: {verdicts.OTHERWISE}")
            account.mention(said)


def _callbacks(library: Mapping[str, Located], made: Section, account: Account) -> None:
    for key in CALLBACKS:
        said = library.get(key)
        account.mention(said)
        for one in (said.items or (said,)) if said and said.value else ():
            name = str(one.value) if isinstance(one.value, str) and re.fullmatch(r"[\w.-]+", one.value) else "one"
            why = verdicts.CALLBACKS.get(name, "nothing is sent there; the log has one line for each request")
            made.lose(f"litellm_settings.{key} {name}: {why}")


def _cache(page: Page, settings: Settings, variables: Variables) -> None:
    """Record the outcome of LiteLLM's cache settings; write `server.redis` if they name a Redis. Routes have their `cache` already."""
    params, account = settings.cache, settings.source.account
    said = settings.library.get("cache")
    on = settings.source.truth(said)
    store = str(params["type"].value) if "type" in params else "redis"
    if settings.keeps_answers:
        account.carry(said, *(params.get(name) for name in ("type", "mode", "supported_call_types")))
        if "ttl" not in params:
            page.rest.note("cache: the original says no time to live; an hour is assumed")
    elif on and store not in STORES:
        page.rest.lose(f"litellm_settings.cache_params.type {store}: answers are kept in memory or in Redis")
        account.mention(said, params.get("type"))
    elif on:
        advice = "a route keeps its answers or does not: write `cache` where it should"
        page.rest.lose(f"litellm_settings.cache: it is not for every chat; {advice}")
        account.mention(said, params.get("mode"), params.get("supported_call_types"))
    elif not in_environment(said):
        account.agree(said, *params.values())  # it is switched off
    named = {key: one for key, one in settings.router.items() if key.startswith("redis_")}
    if (on and store.startswith("redis")) or named:
        page.server.keys["redis"] = variables.variable("REDIS_URL", "redis://:PASSWORD@HOST:PORT")
        page.server.note("redis: the original's host, port and password are one address here: in REDIS_URL")
        if on and store.startswith("redis"):
            account.carry(params.get("type"))
            account.mention(*(params.get(key) for key in REDIS))
    losses(page.rest, params, {}, account, "litellm_settings.cache_params.")


def _general(page: Page, settings: Settings, models: Models) -> None:
    general, account = settings.general, settings.source.account
    most = settings.source.number(general.get("global_max_parallel_requests"), "global_max_parallel_requests")
    if most and most >= 1:
        page.server.keys["max_streams"] = int(min(most, MAX_CONCURRENT))
        account.carry(general.get("global_max_parallel_requests"))
    if settings.first in models.groups:
        account.carry(general.get("completion_model"))
    if general.get("master_key") is not None:
        page.server.lose("general_settings.master_key: callers' keys are declared under `server.auth`; `router keys new NAME` makes one")
        account.mention(general.get("master_key"))
    served = {**verdicts.GENERAL, "max_parallel_requests": "write `limit: {concurrent: …}` on the routes"}
    losses(page.server, {key: one for key, one in general.items() if key in SERVER}, served, account, "general_settings.")
    losses(page.rest, general, verdicts.GENERAL, account, "general_settings.")
