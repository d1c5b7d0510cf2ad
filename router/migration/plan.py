"""Routes made from the model groups and fallbacks of a LiteLLM config.

A route asks its own group first: the deployments of one order after the other. Then come the groups it falls back to, depth first as
LiteLLM goes through them, and last those for conversations that are too long.
"""

import math
from collections.abc import Sequence
from itertools import chain, count

from router.config.foreign import Located
from router.migration import verdicts
from router.migration.models import Deployment, Group, Models, names, prefixed, slug
from router.migration.page import Page, Section, YamlValue
from router.migration.policy import Policy
from router.migration.settings import FALLBACKS, Settings
from router.migration.targets import Workshop
from router.targets import table

PIPELINE = "plain"
_, TOO_LONG, FILTERED = FALLBACKS
WINDOW = 1_000_000
"""Tokens of the context window declared for a target that gets too long conversations, if its own is unknown."""
HEAVIEST = 1_000_000
"""The greatest weight that routes.yaml takes."""
LIGHTEST = 1e-6
"""The least weight; a smaller one counts as none."""
DEEPEST = 5
"""LiteLLM's default of `max_fallbacks`: the depth to which it follows fallbacks of fallbacks."""
Share = tuple[str, float | None]
"""A target in a pool, and its weight if it has one."""


class Plan:
    """The conversion of LiteLLM's model groups and fallbacks to targets and routes in a Page."""

    def __init__(self, models: Models, settings: Settings, page: Page, workshop: Workshop) -> None:
        self.models, self.settings, self.page, self.workshop = models, settings, page, workshop
        self.policy = Policy(settings)
        self.chains = {kind: settings.chains(kind) for kind in FALLBACKS}  # kind of fallback → its chains
        self.followed: set[tuple[str, str]] = set()  # (kind of fallback, group) of each chain that a route uses
        self.called: dict[int, str] = {}  # identity of a deployment → its target

    def draw(self) -> None:
        """Write targets, defaults, routes and comments into `page`; no file is written."""
        aliases = self._aliases()
        self._add_from_wildcards()
        groups = self.models.groups
        for group in list(groups.values()):
            for place, name in sorted(names(group).items()):
                called = next(one for one in chain([name], (f"{name}-{number}" for number in count(2))) if one not in self.page.targets)
                self.page.targets[called] = self.workshop.target(called, group.deployments[place])
                self.called[id(group.deployments[place])] = called
        self.policy.defaults(self.page.defaults)
        own = {alias: group for alias, group in aliases.items() if alias in groups or any(alias in known for known in self.chains.values())}
        """Aliases that are a route by themselves: they have fallbacks of their own, or hide the group of their name."""
        for name in sorted([*groups, *(alias for alias in own if alias not in groups)], key=lambda name: name != self.settings.first):
            meant = groups[own.get(name, name)]
            self._route(name, meant, [alias for alias, group in aliases.items() if group == name and alias not in own])
        self._unfollowed()
        for group in groups.values():
            for one in group.deployments:
                self.workshop.leave(one, self._target(one))
        self._unserved()

    def _aliases(self) -> dict[str, str]:
        """Return alias → model group, from LiteLLM's alias settings. An alias that names no model gets a comment."""
        made: dict[str, str] = {}
        for section, name in ((self.settings.router, "model_group_alias"), (self.settings.library, "model_alias_map")):
            self.settings.source.account.carry(said := section.get(name))
            for alias, meant in said.table.items() if said else ():
                target = meant.table.get("model", meant)
                if isinstance(target.value, str) and self.models.group(target.value):
                    made[alias] = target.value
                else:
                    self.page.unrouted.lose(f"{name} {alias}: it means no model of this file")
        return made

    def _add_from_wildcards(self) -> None:
        """Create the groups that only fallbacks or the default model name, from the wildcards that match them."""
        chains = [entry for chains in self.chains.values() for entry in chains.items()]
        for one in (self.settings.first, *(one for name, others in chains for one in (name, *(str(other.value) for other in others)))):
            if one not in ("", "*") and self.models.deployment(one) is None:
                self.models.group(one)

    def _target(self, one: Deployment) -> Section:
        return self.page.targets[self.called[id(one)]]

    def _served(self, group: Group) -> list[Deployment]:
        return [one for one in group.deployments if not self._target(one).dropped]

    def _route(self, name: str, group: Group, aliases: Sequence[str]) -> None:
        """Write a route into `page`: the pools of this group, those of its fallbacks, and these aliases; without a target only comments."""
        made = self.page.routes[slug(name)] = Section()
        if slug(name) != name:
            made.lose(f"the name {name}: clients ask for {slug(name)}")
        if name != group.name:
            made.note(f"in the original an alias of {group.name}, with fallbacks of its own")
        for alias in aliases:
            if slug(alias) != alias:
                made.lose(f"the alias {alias}: clients ask for {slug(alias)}")
        pools = self._pools(group, made)
        if not pools:
            made.lose(f"{slug(name)}: none of its own targets can be served")
        first = len(pools[0]) if pools else 1
        behind = self._chain(name, "fallbacks", made)
        pools += [pool for other in behind for pool in self._pools(other)]
        pools += self._too_long(name, group, behind, pools, made)
        if others := self._fallbacks(name, FILTERED) or self.chains[FILTERED].get("*", ()):
            made.lose(f"{FILTERED} to {', '.join(str(other.value) for other in others)}: {verdicts.LIBRARY[FILTERED]}")
            self.settings.source.account.mention(self.settings.said(FILTERED))
        listed = _without_repeats(pools)
        if not listed:
            return
        if aliases:
            made.keys["aliases"] = list(dict.fromkeys(map(slug, aliases)))
        made.keys["pipeline"] = PIPELINE
        made.keys["targets"] = [_entry(pool) for pool in listed]
        self.policy.route(group.name, self._served(group) or group.deployments, first, sum(map(len, listed)), made)

    def _pools(self, group: Group, remarks: Section | None = None) -> list[list[Share]]:
        """Return the pools of a group by LiteLLM's `order`, the lowest first; deployments without an order come last.
        remarks: a section that gets a comment if that differs from LiteLLM; None for no comment
        """
        number = self.settings.source.number
        orders: dict[float, list[Deployment]] = {}
        for one in self._served(group):
            said = one.params.get("order") or one.info.get("order")
            order = number(said, "order", -1e9)
            self.settings.source.account.carry(None if order is None else said)
            orders.setdefault(math.inf if order is None else order, []).append(one)
        if len(orders) > 1 and math.inf in orders and remarks is not None:
            remarks.note("those without an order come last; the original does not ask them at all")
        return [pool for order in sorted(orders) for pool in self._shares(orders[order])]

    def _shares(self, members: Sequence[Deployment]) -> list[list[Share]]:
        """Return a pool of these deployments, weighted as in LiteLLM, and a second pool of those without a weight if some have one."""
        called = [self.called[id(one)] for one in members]
        if self.settings.strategy != "simple-shuffle":
            return [[(name, None) for name in called]]
        metric = self.policy.weighed(members)
        weights = [self.settings.source.number(one.params.get(metric), metric) or 0.0 for one in members]
        self.settings.source.account.carry(*(one.params.get(metric) for one in members if len(members) > 1))
        if not any(weights):
            return [[(name, 1) for name in called]]
        while max(weights) > HEAVIEST:
            weights = [weight / 1000 for weight in weights]
        shared: list[Share] = [(name, weight) for name, weight in zip(called, weights, strict=True) if weight >= LIGHTEST]
        spare: list[Share] = [(name, None) for name, weight in zip(called, weights, strict=True) if weight < LIGHTEST]
        return [pool for pool in (shared, spare) if pool]

    def _chain(self, name: str, kind: str, made: Section | None = None) -> list[Group]:
        """Return the groups that this one falls back to, and their fallbacks, each once, in LiteLLM's order.
        kind: the kind of fallback. made: a section that gets a comment for each unknown name; None for no comment
        """
        found: dict[str, Group] = {}
        deepest = self.settings.number("max_fallbacks")

        def follow(asking: str, others: Sequence[Located], depth: int) -> None:
            # Counted as LiteLLM does: an attempt counts for the fallbacks of all later ones.
            for tried, other in enumerate(others if depth < (DEEPEST if deepest is None else deepest) else (), depth + 1):
                known = self.models.groups.get(str(other.value))
                one = self.models.deployment(str(other.value)) if known is None else None
                group = Group(str(other.value), (one,)) if one else known
                if group is None:
                    if made is not None:
                        made.lose(f"{kind}: {other.value}, which is no model of this file")
                elif group.name not in (*found, asking, name):
                    found[group.name] = group
                    follow(group.name, self._fallbacks(group.name, kind), tried)

        follow(name, self._fallbacks(name, kind) or self.chains[kind].get("*", ()), 0)
        return list(found.values())

    def _fallbacks(self, name: str, kind: str) -> tuple[Located, ...]:
        """Return a group's fallbacks of this kind, looked up with or without its provider, and record their use; empty if none."""
        chains = self.chains[kind]
        known = next((one for one in (name, prefixed(name), name.partition("/")[2]) if one in chains), None)
        if known is None:
            return ()
        self.followed.add((kind, known))
        return chains[known]

    def _too_long(self, name: str, group: Group, behind: Sequence[Group], pools: list[list[Share]], made: Section) -> list[list[Share]]:
        """Return the pools to add to a route for conversations that are too long (LiteLLM's `context_window_fallbacks`).

        The list is empty if they add no target. Targets in them get a large context window if theirs is unknown.
        `behind`: the groups that the route falls back to.
        """
        asking = (name, *(other.name for other in behind))
        larger = {one.name: one for asked in asking for one in self._chain(asked, TOO_LONG) if one.name != name}
        before = {target for pool in pools for target, _ in pool}
        more = [pool for other in larger.values() for pool in self._pools(other)]
        new = dict.fromkeys(target for pool in more for target, _ in pool if target not in before)
        if not new:
            return []
        own = self._window(group)
        for one in (one for other in larger.values() for one in other.deployments if self._reads(one) == 0):
            target = self._target(one)
            target.keys["context_window"] = max(WINDOW, own + 1)
            target.notes["context_window"] = "assumed, for the original goes here with what is too long: write how much it reads"
        made.note(f"{', '.join(new)}: for conversations too long for the others; where all others fail, asked too")
        nearer = self._chain(name, TOO_LONG) and next(
            (other.name for other in behind if other.name not in larger and self._window(other) > own > 0), ""
        )
        if nearer:
            made.lose(f"{next(iter(new))} first for a conversation that is too long: {nearer} stands before it, and reads more too")
        return more

    def _window(self, group: Group) -> int:
        return max((self._reads(one) for one in group.deployments), default=0)

    def _reads(self, one: Deployment) -> int:
        """Return the context window of a deployment in tokens; 0 if unknown."""
        declared = self._target(one).keys.get("context_window")
        return declared if isinstance(declared, int) else table.about(one.model).window or 0

    def _unfollowed(self) -> None:
        """Add a comment for fallbacks of groups that have no route, and record the outcome of the fallback settings."""
        account = self.settings.source.account
        for kind, chains in self.chains.items():
            for name in chains:
                if name != "*" and (kind, name) not in self.followed:
                    self.page.unrouted.lose(f"{kind} of {name}: no route here has this name")
            if kind != FILTERED:
                account.carry(self.settings.said(kind))
        account.carry(self.settings.said("default_fallbacks"))
        if self.settings.number("max_fallbacks") is not None:
            self.settings.carry("max_fallbacks")

    def _unserved(self) -> None:
        """Add a comment for each wildcard, and for each model that no client can ask here."""
        made, account = self.page.unrouted, self.settings.source.account
        patterns = (one for group in self.models.wildcards.values() for one in group.deployments)
        for one in (*patterns, *(one for one, _ in self.models.others)):
            account.mention(*one.params.values(), *one.info.values())
        for pattern, group in self.models.wildcards.items():
            model = group.deployments[0].model
            made.lose(f"{pattern}: a route has a name, not a pattern: each model that is asked for wants a target ({model}) and a route")
        for one, why in self.models.others:
            made.lose(f"{one.group} ({one.model}): {why}")


def _without_repeats(pools: Sequence[Sequence[Share]]) -> list[list[Share]]:
    """Return the pools with each target only where it comes first; pools that become empty are left out."""
    seen: set[str] = set()
    made: list[list[Share]] = []
    for pool in pools:
        if left := [share for share in pool if share[0] not in seen]:
            seen |= {name for name, _ in left}
            made.append(left)
    return made


def _entry(pool: Sequence[Share]) -> YamlValue:
    return pool[0][0] if len(pool) == 1 else [name if weight is None else {"use": name, "weight": weight} for name, weight in pool]
