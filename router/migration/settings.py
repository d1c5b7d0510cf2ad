"""LiteLLM's settings about routing, retries, timeouts and the cache, as typed values."""

from collections.abc import Mapping

from router.config.foreign import Located
from router.migration.source import SourceConfig
from router.value import Value

FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
BY_USAGE = ("usage-based-routing", "usage-based-routing-v2")
STORES = ("local", "redis", "redis-cluster")
"""Kinds of LiteLLM's cache that this router has, too."""
Chains = Mapping[str, tuple[Located, ...]]
"""Group → the groups that it falls back to; `*` for every other group."""


class Settings(Value, frozen=True):
    """LiteLLM's router_settings (`router`), litellm_settings (`library`) and general_settings. `router` takes precedence over `library`."""

    source: SourceConfig
    router: Mapping[str, Located]
    library: Mapping[str, Located]
    general: Mapping[str, Located]

    def said(self, name: str) -> Located | None:
        """Return a setting of `router`, else of `library`, with its place; None if neither has it with a value that is not empty."""
        found = (self.router.get(name), self.library.get(name))
        return next((said for said in found if said is not None and said.value not in (None, (), {})), None)

    def number(self, name: str) -> float | None:
        """Return a setting as a number; None if it is missing, in the environment, or wrong (then a complaint is added)."""
        return self.source.number(self.said(name), name)

    def carry(self, *names: str) -> None:
        """Record the effective values of these settings as carried over. Missing settings are ignored."""
        self.source.account.carry(*(self.said(name) for name in names))

    @property
    def strategy(self) -> str:
        """Return the name of LiteLLM's strategy for choosing among deployments; `simple-shuffle` by default."""
        said = self.said("routing_strategy")
        return str(said.value) if said else "simple-shuffle"

    @property
    def holds_limits(self) -> bool:
        """Return whether LiteLLM enforces rpm and tpm as limits, not only as weights."""
        checks = self.said("optional_pre_call_checks")
        named = {str(one.value) for one in checks.items} if checks else set[str]()
        before = self.source.truth(self.said("enable_pre_call_checks")) or "enforce_model_rate_limits" in named
        return before or self.strategy in BY_USAGE

    @property
    def first(self) -> str:
        """Return the model for requests that name none (`completion_model`); empty if LiteLLM has none."""
        said = self.general.get("completion_model")
        return str(said.value) if said is not None and isinstance(said.value, str) else ""

    def chains(self, name: str) -> Chains:
        """Return group → its fallbacks, for the kind of fallback `name`; `*` is all other groups. A malformed entry adds a complaint."""
        made: dict[str, tuple[Located, ...]] = {}
        if name == "fallbacks" and (default := self.source.texts(self.said("default_fallbacks"), "default_fallbacks")):
            made["*"] = default
        if (said := self.said(name)) is None:
            return made
        add = self.source.complaints.add
        if not isinstance(said.value, tuple):
            add(said.place, f"`{name}` takes a list, e.g. [{{gpt-4o: [claude]}}]")
        for entry in said.items:
            if isinstance(entry.value, str):
                made["*"] = (*made.get("*", ()), entry)  # a plain list of names is for every group
            elif len(entry.table) != 1:
                add(entry.place, f"an entry of `{name}` is one group and a list, e.g. {{gpt-4o: [claude]}}")
            for group, others in entry.table.items():
                made[group] = self.source.texts(others, name)
        return made

    @property
    def cache(self) -> Mapping[str, Located]:
        """Return the parameters of LiteLLM's cache (`cache_params`); empty without any."""
        said = self.library.get("cache_params")
        return said.table if said else {}

    @property
    def keeps_answers(self) -> bool:
        """Return whether LiteLLM caches chat answers for all callers, in a store that this router has, too."""
        kind, mode, calls = (self.cache.get(name) for name in ("type", "mode", "supported_call_types"))
        if not self.source.truth(self.library.get("cache")) or (kind and kind.value not in STORES):
            return False
        chats = calls is None or bool({"acompletion", "completion"} & {str(one.value) for one in calls.items})
        return chats and not (mode and mode.value == "default_off")
