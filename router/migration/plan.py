"""What the original's groups, fallbacks and settings are as routes.

A route asks its own group first, the deployments of one order after the other, then the groups it falls back to, depth first as
LiteLLM goes through them, then those for conversations that are too long.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from router.config.foreign import Said
from router.migration import verdicts
from router.migration.models import Deployment, Group, Models, names, prefixed, slug
from router.migration.page import Page, Section, Value, spelled
from router.migration.source import Source
from router.migration.targets import Workshop
from router.targets import windows

PIPELINE = "plain"
WINDOW = 1_000_000
"""Tokens that a target is said to read, to which the original goes with what is too long, where nobody knows."""
RETRIED = ("RateLimitErrorRetries", "InternalServerErrorRetries", "ServiceUnavailableErrorRetries", "DefaultRetries")
"""Errors after which a target of ours is asked again, as LiteLLM names them."""
HEAVIEST = 1_000_000
"""The greatest weight that routes.yaml takes."""
FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
STRATEGIES = {"simple-shuffle": "", "least-busy": "least_busy", "latency-based-routing": "latency"}
BY_USAGE = ("usage-based-routing", "usage-based-routing-v2")
Chains = Mapping[str, tuple[Said, ...]]


@dataclass(frozen=True, slots=True)
class Settings:
    """router_settings over litellm_settings: what both may say, the router's holds."""

    source: Source
    router: Mapping[str, Said]
    library: Mapping[str, Said]

    def said(self, name: str) -> Said | None:
        """What holds; None where neither says it, or says nothing."""
        for section in (self.router, self.library):
            said = section.get(name)
            if said is not None and said.value not in (None, (), {}):
                return said
        return None

    def number(self, name: str) -> float | None:
        """A number; None where there is none."""
        return self.source.number(self.said(name), name)

    def chains(self, name: str) -> Chains:
        """Group → those it falls back to; `*` for every other."""
        said = self.said(name)
        if said is None:
            return {}
        add = self.source.complaints.add
        if not isinstance(said.value, tuple):
            add(said.place, f"`{name}` takes a list, e.g. [{{gpt-4o: [claude]}}]")
            return {}
        made: dict[str, tuple[Said, ...]] = {}
        for entry in said.value:
            if isinstance(entry.value, str):
                made["*"] = (*made.get("*", ()), entry)  # a plain list of names is for every group
            elif len(entry.table) != 1:
                add(entry.place, f"an entry of `{name}` is one group and a list, e.g. {{gpt-4o: [claude]}}")
            for group, others in entry.table.items():
                made.setdefault(group, self.source.texts(others, name))
        return made


@dataclass(slots=True)
class Plan:
    """The way from the original's models to a page."""

    source: Source
    models: Models
    settings: Settings
    general: Mapping[str, Said]
    page: Page
    workshop: Workshop
    called: dict[int, str] = field(default_factory=dict[int, str])
    """Deployment, by its identity → the target that it is."""
    chains: dict[str, Chains] = field(default_factory=dict[str, Chains])
    strategy: str = "simple-shuffle"

    def draw(self) -> None:
        """Fill the page."""
        self.chains = {name: self.settings.chains(name) for name in FALLBACKS}
        default = self.source.texts(self.settings.said("default_fallbacks"), "default_fallbacks")
        if default:
            self.chains["fallbacks"] = {"*": default, **self.chains["fallbacks"]}
        strategy = self.settings.said("routing_strategy")
        self.strategy = str(strategy.value) if strategy else "simple-shuffle"
        aliases = self._aliases()
        self._invite()
        for group in list(self.models.groups.values()):
            self._make_targets(group)
        self._defaults()
        for group in self._in_order():
            shadow = aliases.get(group.name)
            self._route(group, self.models.groups.get(shadow or "", group), [one for one, name in aliases.items() if name == group.name])
        self._unserved()

    def _aliases(self) -> dict[str, str]:
        """Alias → group. One that names no model is told of."""
        made: dict[str, str] = {}
        for section, name in ((self.settings.router, "model_group_alias"), (self.settings.library, "model_alias_map")):
            said = section.get(name)
            for alias, meant in said.table.items() if said else ():
                target = meant.table.get("model", meant) if isinstance(meant.value, Mapping) else meant
                if isinstance(target.value, str) and self.models.group(target.value):
                    made[alias] = target.value
                else:
                    self.page.rest.lose(f"{name} {alias}: it means no model of this file")
        return made

    def _invite(self) -> None:
        """Groups that are only named elsewhere, and served by a wildcard, are made: it is enough to look them up."""
        first = self.general.get("completion_model")
        named = [str(first.value)] if first else []
        for chains in self.chains.values():
            named += [one for name, others in chains.items() for one in (name, *(str(other.value) for other in others))]
        for one in named:
            if one != "*" and self.models.deployment(one) is None:
                self.models.group(one)

    def _in_order(self) -> list[Group]:
        """The groups; the one for requests that name no model first."""
        said = self.general.get("completion_model")
        groups = list(self.models.groups.values())
        return sorted(groups, key=lambda group: said is None or group.name != said.value)

    def _make_targets(self, group: Group) -> None:
        for place, name in names(group).items():
            one = group.deployments[place]
            unique = name
            for number in range(2, len(self.page.targets) + 3):
                if unique not in self.page.targets:
                    break
                unique = f"{name}-{number}"
            self.page.targets[unique] = self.workshop.target(unique, one)
            self.called[id(one)] = unique

    def _served(self, one: Deployment) -> bool:
        return not self.page.targets[self.called[id(one)]].dropped

    # Policy: how long, how often, and when somebody is left alone.

    def _defaults(self) -> None:
        keys = self.page.defaults.keys
        told = self._silence({})
        if told is None:
            self.page.defaults.note(
                "the original waits for as long as it takes; here the defaults hold: 10s for the first word, 15s for the next"
            )
        else:
            keys["timeout"] = {"first_token": spelled(told), "idle": spelled(told)}
        keys["retry"] = self._retry(self._tries({}, None))
        if breaker := self._breaker():
            keys["breaker"] = breaker
        balance = STRATEGIES.get(self.strategy, "least_busy")
        if balance == "latency":
            keys["balance"] = balance
        if self.strategy not in STRATEGIES:
            self.page.defaults.lose(f"routing_strategy {self.strategy}: the least busy of a pool is asked first")

    def _silence(self, params: Mapping[str, Said]) -> float | None:
        """How long the original waits for a word in a stream, in seconds; None where it does not say."""
        router, library = self.settings.router, self.settings.library
        request = library.get("request_timeout")
        order = (
            (params.get("stream_timeout"), "stream_timeout"),
            (router.get("stream_timeout"), "stream_timeout"),
            (request if self.source.number(router.get("timeout"), "timeout") else None, "request_timeout"),
            (params.get("timeout"), "timeout"),
            (router.get("timeout"), "timeout"),
            (request, "request_timeout"),
        )
        return next((seconds for said, name in order if (seconds := self.source.number(said, name)) and seconds >= 0.001), None)

    def _tries(self, params: Mapping[str, Said], group: str | None) -> int:
        """How many calls the original makes of a group's deployments, the first included."""
        number = self.source.number
        policies = self.settings.router.get("model_group_retry_policy")
        policy = policies.table.get(group) if policies and group else None
        policy = policy or self.settings.router.get("retry_policy")
        told = [number(policy.table.get(name), name) for name in RETRIED] if policy else []
        retries = max((one for one in told if one is not None), default=None)
        if retries is None:
            retries = number(params.get("num_retries"), "num_retries")
        if retries is None:
            retries = self.settings.number("num_retries")
        again = number(params.get("max_retries"), "max_retries") or 0
        return int((1 + min(2 if retries is None else retries, 100)) * (1 + min(again, 100)))

    def _retry(self, calls: int, members: int = 1) -> dict[str, Value]:
        """The calls, shared among the members of the pool that is asked first."""
        made: dict[str, Value] = {"attempts": max(1, min(10, math.ceil(calls / members)))}
        wait = self.settings.number("retry_after")
        if wait and wait >= 0.001:
            made["backoff"] = f"{spelled(wait)}..{spelled(max(4.0, wait))}"
        return made

    def _breaker(self) -> dict[str, Value]:
        made: dict[str, Value] = {}
        if self.source.truth(self.settings.said("disable_cooldowns")):
            self.page.defaults.note(
                "disable_cooldowns: a thousand failures in a row within a second are never; a wrong key is still left alone"
            )
            return {"failures": 1000, "within": "1s"}
        fails, cool = self.settings.number("allowed_fails"), self.settings.number("cooldown_time")
        if fails is not None:
            made |= {"failures": int(min(1000, fails + 1)), "within": "1m"}
        if cool and cool >= 0.001:
            made["open"] = spelled(cool)
        return made

    # Routes.

    def _route(self, group: Group, asked: Group, aliases: list[str]) -> None:
        name = slug(group.name)
        made = self.page.routes[name] = Section()
        if name != group.name:
            made.lose(f"the name {group.name}: clients ask for {name}")
        if asked is not group:
            made.note(f"model_group_alias: {group.name} means {asked.name}")
        pools = self._pools(asked, made)
        orphaned = not pools
        behind = self._chain(asked.name, "fallbacks", made)
        for other in behind:
            pools += self._pools(other)
        self._too_long(asked, behind, pools, made)
        self._filtered(asked, made)
        listed = _once(pools)
        for alias in aliases:
            if slug(alias) != alias:
                made.lose(f"the alias {alias}: clients ask for {slug(alias)}")
        if taken := [slug(one) for one in aliases if slug(one) not in self.models.groups]:
            made.keys["aliases"] = list(dict.fromkeys(taken))
        made.keys["pipeline"] = PIPELINE
        made.keys["targets"] = [pool if len(pool) > 1 else _name(pool[0]) for pool in listed]
        if orphaned:
            made.lose(f"{name}: none of its own targets can be served")
            if not listed:
                made.keys.clear()
                return
        self._policy(asked, made, sum(len(pool) for pool in listed))
        self._cache(made)
        self._limit(asked, made)

    def _pools(self, group: Group, remarks: Section | None = None) -> list[list[Value]]:
        """The deployments of a group: those of the lowest order first. Where some have weights, the others come after them."""
        served = [one for one in group.deployments if self._served(one)]
        orders: dict[float, list[Deployment]] = {}
        for one in served:
            said = one.params.get("order") or one.info.get("order")
            order = self.source.number(said, "order", -1e9)
            orders.setdefault(math.inf if order is None else order, []).append(one)
        if len(orders) > 1 and math.inf in orders and remarks is not None:
            remarks.note("those without an order come last; the original does not ask them at all")
        return [pool for order in sorted(orders) for pool in self._shares(orders[order])]

    def _shares(self, members: list[Deployment]) -> list[list[Value]]:
        called = [self.called[id(one)] for one in members]
        if self.strategy != "simple-shuffle":
            return [[*called]]
        for metric in ("weight", "rpm", "tpm"):
            weights = [self.source.number(one.params.get(metric), metric) or 0.0 for one in members]
            if any(weights):
                while max(weights) > HEAVIEST:
                    weights = [weight / 1000 for weight in weights]
                shared: list[Value] = [{"use": name, "weight": weight} for name, weight in zip(called, weights, strict=True) if weight > 0]
                spare: list[Value] = [name for name, weight in zip(called, weights, strict=True) if weight <= 0]
                return [pool for pool in (shared, spare) if pool]
        return [[{"use": name, "weight": 1} for name in called]]

    def _chain(self, name: str, kind: str, made: Section | None = None) -> list[Group]:
        """The groups that this one falls back to, and those that they fall back to, each once, as LiteLLM would come to them."""
        found: dict[str, Group] = {}

        def follow(name: str, depth: int) -> None:
            for other in self._told(name, kind, generic=depth == 0):
                asked = self._meant(str(other.value))
                if asked is None:
                    if made is not None:
                        made.lose(f"{kind}: {other.value}, which is no model of this file")
                elif asked.name not in found and asked.name != root:
                    found[asked.name] = asked
                    follow(asked.name, depth + 1)

        root = name
        follow(name, 0)
        return list(found.values())

    def _told(self, name: str, kind: str, *, generic: bool) -> tuple[Said, ...]:
        """What is said of this group; by its name without a provider, too."""
        chains = self.chains[kind]
        for asked in (name, prefixed(name), name.partition("/")[2]):
            if asked and asked in chains:
                return chains[asked]
        return chains.get("*", ()) if generic else ()

    def _meant(self, name: str) -> Group | None:
        """The group of a name, or the one deployment of an id."""
        if (group := self.models.groups.get(name)) is not None:
            return group
        one = self.models.deployment(name)
        return Group(name, (one,)) if one else None

    def _too_long(self, group: Group, behind: list[Group], pools: list[list[Value]], made: Section) -> None:
        """Those for conversations that are too long stand at the end, and are said to read more."""
        larger = self._chain(group.name, "context_window_fallbacks", made)
        for other in behind:
            larger += [one for one in self._chain(other.name, "context_window_fallbacks") if one not in larger and one.name != group.name]
        if not larger:
            return
        self._widen(group, larger)
        before = {name for pool in pools for name in map(_name, pool)}
        more = [pool for other in larger for pool in self._pools(other)]
        new = sorted({str(name) for pool in more for name in map(_name, pool)} - before)
        pools += more
        if new:
            made.note(f"{', '.join(new)}: for conversations too long for the others; where all others fail, they are asked too")
        first = {self.called[id(one)] for one in larger[0].deployments}
        own = self._window(group)
        for other in behind:
            if other not in larger and self._window(other) > own > 0 and first - before:
                told = f"{larger[0].name} first for a conversation that is too long: {other.name} stands before it, and reads more too"
                made.lose(told)
                break

    def _widen(self, group: Group, larger: list[Group]) -> None:
        """The windows of those that the original goes to with what is too long, where nobody knows them."""
        own = self._window(group)
        for other in larger:
            for one in other.deployments:
                target = self.page.targets[self.called[id(one)]]
                if self._reads(one) == 0:
                    target.keys["context_window"] = max(WINDOW, own + 1)
                    target.notes["context_window"] = "assumed, for the original goes here with what is too long: write how much it reads"

    def _window(self, group: Group) -> int:
        return max((self._reads(one) for one in group.deployments), default=0)

    def _reads(self, one: Deployment) -> int:
        """Tokens that a deployment reads; 0 where nobody knows."""
        declared = self.page.targets[self.called[id(one)]].keys.get("context_window")
        return declared if isinstance(declared, int) else windows.about(one.model).window or 0

    def _filtered(self, group: Group, made: Section) -> None:
        others = self._told(group.name, "content_policy_fallbacks", generic=True)
        if others:
            told = ", ".join(str(other.value) for other in others)
            made.lose(f"content_policy_fallbacks to {told}: {verdicts.LIBRARY['content_policy_fallbacks']}")

    def _policy(self, group: Group, made: Section, count: int) -> None:
        """What this route says otherwise than the defaults."""
        served = [one for one in group.deployments if self._served(one)] or list(group.deployments)
        silences = [seconds for one in served if (seconds := self._silence(one.params)) is not None]
        timeout: dict[str, Value] = {}
        general = self._silence({})
        if silences and max(silences) != general:
            timeout = {"first_token": spelled(max(silences)), "idle": spelled(max(silences))}
        if len(set(silences)) > 1:
            told = ", ".join(spelled(seconds) for seconds in sorted(set(silences)))
            made.lose(f"a timeout for each deployment ({told}): a route has one, the longest")
        longest = max(silences, default=general or 0)
        if longest * (count + 1) > 300:
            timeout["total"] = spelled(float(math.ceil(longest * (count + 1))))
        if timeout:
            made.keys["timeout"] = timeout
        tries = max((self._tries(one.params, group.name) for one in served), default=1)
        level = self._pools(group)
        retry = self._retry(tries, max(1, len(level[0]) if level else 1))
        if retry != self.page.defaults.keys["retry"]:
            made.keys["retry"] = {"attempts": retry["attempts"]}

    def _cache(self, made: Section) -> None:
        """LiteLLM keeps the answers of every model alike."""
        library = self.settings.library
        said = library.get("cache_params")
        params: Mapping[str, Said] = said.table if said else {}
        kind = params.get("type")
        if not self.source.truth(library.get("cache")) or (kind and kind.value not in ("local", "redis", "redis-cluster")):
            return
        mode, calls = params.get("mode"), params.get("supported_call_types")
        if (mode and mode.value == "default_off") or (
            calls and not {"acompletion", "completion"} & {str(one.value) for one in calls.items}
        ):
            return
        ttl = self.source.number(params.get("ttl"), "ttl")
        made.keys["cache"] = {"ttl": spelled(ttl) if ttl and ttl >= 0.001 else "1h"}

    def _limit(self, group: Group, made: Section) -> None:
        """What the original lets through to a group, where it holds its deployments to it, as a limit of the route."""
        served = [one for one in group.deployments if self._served(one)]
        limit: dict[str, Value] = {}
        if self._holds() and (requests := self._sum(served, "rpm")):
            limit["requests"] = f"{requests}/minute"
        if self._holds() and (tokens := self._sum(served, "tpm")):
            limit["tokens"] = f"{tokens}/minute"
        if concurrent := self._sum(served, "max_parallel_requests"):
            limit["concurrent"] = concurrent
        if limit:
            made.keys["limit"] = {**limit, "per": "route"}
            made.note("limit: beyond it the original goes on to the fallbacks; here the caller is told to wait")
        unused = [
            name
            for name in ("rpm", "tpm")
            if any(name in one.params for one in served) and not self._holds() and not self._weighs(served, name)
        ]
        if unused:
            made.note(f"{', '.join(unused)}: the original does not hold deployments to it, nor do they share by it")

    def _holds(self) -> bool:
        """Whether rpm and tpm are limits in the original, and not weights alone."""
        checks = self.settings.said("optional_pre_call_checks")
        named = {str(one.value) for one in checks.items} if checks else set[str]()
        return (
            self.strategy in BY_USAGE
            or self.source.truth(self.settings.said("enable_pre_call_checks"))
            or "enforce_model_rate_limits" in named
        )

    def _weighs(self, members: list[Deployment], metric: str) -> bool:
        if self.strategy != "simple-shuffle" or len(members) < 2:
            return False
        used = next(
            (name for name in ("weight", "rpm", "tpm") if any(self.source.number(one.params.get(name), name) for one in members)), ""
        )
        return metric == used

    def _sum(self, members: list[Deployment], name: str) -> int:
        """What all have of it together; 0 where one has none, for then there is no bound."""
        told = [self.source.number(one.params.get(name), name) or 0 for one in members]
        return int(sum(told)) if told and all(told) else 0

    def _unserved(self) -> None:
        """Patterns, and models that answer no chats."""
        made = self.page.unrouted
        for pattern, group in self.models.wildcards.items():
            model = group.deployments[0].model
            made.lose(
                f"{pattern}: a route has a name, not a pattern. For each model that is asked for, a target ({model}) and a route as above"
            )
        for name, mode in {one.group: mode for one, mode in self.models.others}.items():
            made.lose(f"{name}: only chats are answered here, and this is for {mode}")


def _name(one: Value) -> Value:
    return one["use"] if isinstance(one, Mapping) else one


def _once(pools: list[list[Value]]) -> list[list[Value]]:
    """Each target where it stands first. A pool of one needs no weight."""
    seen: set[Value] = set()
    made: list[list[Value]] = []
    for pool in pools:
        left = [one for one in pool if _name(one) not in seen]
        seen |= {_name(one) for one in left}
        if left:
            made.append(left)
    return made
