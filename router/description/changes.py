"""Effects of the change from one configuration to another, each as a sentence. Values are compared, not lines."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from router.chat import Json, JsonObject
from router.description.canonical import listing, table
from router.description.described import DEFAULTS, Description, conditions, entries, names, policy, pools, tool_files, tool_sets
from router.description.order import reordered
from router.description.sentences import Change, listed, worded

MAX_SENTENCE_CHARS = 200
"""Most characters of a sentence with the old and the new value; instead of a longer one it is `KEY changed`."""
MAX_OPTIONS_CHARS = 60
"""Most characters of a step's options in a sentence; longer ones are left out."""
BECOMES = {
    "cache": ("cached from now on: {}", "no longer cached"),
    "balance": ("pools are balanced by {} from now on", "there is no pool to balance any more"),
    "hedge": ("hedged from now on: {}", "no longer hedged"),
    "limit": ("limited from now on: {}", "no longer limited"),
    "limits": ("limited from now on: {}", "no longer limited"),
    "otel": ("traces are sent from now on: {}", "traces are no longer sent"),
}
"""Key → the sentences for a value where none was, with `{}` in place of it, and for its removal."""
ELSEWHERE = frozenset({"aliases", "targets", "tools", "own"})
"""Keys of a route that are not compared as values: other functions make their sentences, and `own` needs none."""


def changes(before: Description, after: Description) -> list[Change]:
    """Return the differences between two configurations, ordered by what they concern; empty if there are none.
    Ids that went, came or moved; each remaining route; the parts that routes share; last the routes whose prompt caches go cold.
    """
    return [
        *_ids(before, after),
        *(change for name in after.routes if name in before.routes for change in _route(name, before, after)),
        *_targets(before, after),
        *_pipelines(before, after),
        *_tools(before, after),
        *(Change("server", "", path, was, now, _becomes(path, was, now)) for path, was, now in leaves(before.server, after.server)),
        *_network(before, after),
        *_drills(before, after),
        *_cold(before, after),
    ]


def leaves(before: Json, after: Json, path: str = "") -> Iterator[tuple[str, Json, Json]]:
    """Yield (key with dots, old value, new value) for each value that differs; None for a missing key. Lists are compared as a whole."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            yield from leaves(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif before != after:
        yield path, before, after


def _becomes(path: str, was: Json, now: Json) -> str:
    """Return the change of the value under a key in words; `KEY changed` if the values cannot be shown in a short line."""
    there, gone = BECOMES.get(path, ("", ""))
    if gone and (was is None or now is None):
        return there.format(worded(now)) if was is None else gone
    if _texts(was) and _texts(now):
        return _lists(path, listing(was), listing(now))
    before, after = worded(was, path), worded(now, path)
    sentence = f"{path} {before} → {after}"
    sayable = before != after and len(sentence) <= MAX_SENTENCE_CHARS and sentence.isprintable()
    return sentence if sayable and not any(listing(one) for one in (was, now)) else f"{path} changed"


def _texts(value: Json) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value)


def _lists(what: str, was: Sequence[Json], now: Sequence[Json]) -> str:
    old, new = set(map(str, was)), set(map(str, now))
    came = [one for one in map(str, now) if one not in old]
    went = [one for one in map(str, was) if one not in new]
    said = [f"gets {what}: {', '.join(came)}"] * bool(came) + [f"loses {what}: {', '.join(went)}"] * bool(went)
    return "; ".join(said) or f"{what} in another order: {', '.join(map(str, now))}"


def _ids(before: Description, after: Description) -> Iterator[Change]:
    """Yield the changes of ids: routes and aliases that are new or gone, moved aliases, another route for requests without a model."""
    was, now = before.ids, after.ids
    came = _by_value({name: _as_declared(route) for name, route in after.routes.items() if name not in before.routes})
    yield from (_route_gone(name, before, after, came) for name in before.routes if name not in after.routes)
    for name, route in after.routes.items():
        if name not in before.routes:
            earlier = f"; it was an alias of {was[name]}" if name in was else ""
            sentence = f"route {name} is new: pipeline {route.get('pipeline')}, targets {', '.join(names(entries(route)))}{earlier}"
            yield Change("route", name, "", None, {key: one for key, one in route.items() if key != "own"}, sentence)
    for alias, owner in was.items():
        if alias in before.routes or alias in after.routes:
            continue
        if alias not in now and owner in after.routes:
            yield Change("alias", alias, "", owner, None, f"alias {alias} of {owner} is gone: its clients get 404")
        elif alias in now and now[alias] != owner:
            yield Change("alias", alias, "", owner, now[alias], f"alias {alias} moves from {owner} to {now[alias]}")
    for alias, owner in now.items():
        if alias not in was and alias not in after.routes:
            yield Change("alias", alias, "", None, owner, f"alias {alias} is new: it asks {owner}")
    if before.first != after.first:
        sentence = f"a request that names no model is answered by {after.first}, no longer by {before.first}"
        yield Change("route", after.first, "", before.first, after.first, sentence)


def _by_value(parts: Mapping[str, JsonObject]) -> dict[str, str]:
    """Return the JSON of each part, without its keys that are None → the name of the first part that has it."""
    found: dict[str, str] = {}
    for name, part in parts.items():
        found.setdefault(_value(part), name)
    return found


def _value(part: JsonObject) -> str:
    return json.dumps({key: one for key, one in part.items() if one is not None}, sort_keys=True)


def _as_declared(route: JsonObject) -> JsonObject:
    """Return a route without its aliases, and without `own`: whether it sets a key itself makes no difference."""
    return {key: one for key, one in route.items() if key not in ("aliases", "own")}


def _route_gone(name: str, before: Description, after: Description, came: Mapping[str, str]) -> Change:
    """Return the change of a route that is gone. `came`: value of a new route (`_as_declared`) → its id."""
    now = after.ids
    aliases = map(str, listing(before.routes[name].get("aliases")))
    orphans = [alias for alias in aliases if before.ids[alias] == name != alias and alias not in now]
    if name in now:
        others = f"; clients of its aliases {listed(orphans)} get 404" if orphans else ""
        sentence = f"route {name} is gone: it is an alias of {now[name]} now{others}"
    else:
        others = f", and so do those of its alias{'es' * (len(orphans) > 1)} {listed(orphans)}" if orphans else ""
        twin = came.get(_value(_as_declared(before.routes[name])))
        sentence = f"route {name} is gone: its clients get 404{others}{f' ({twin} is declared as it was)' if twin else ''}"
    return Change("route", name, "", {key: one for key, one in before.routes[name].items() if key != "own"}, None, sentence)


def _route(name: str, before: Description, after: Description) -> Iterator[Change]:
    was, now = before.routes[name], after.routes[name]
    for words in reordered(entries(was), entries(now)):
        yield Change("route", name, "targets", was.get("targets"), now.get("targets"), words)
    if was.get("tools") != now.get("tools"):
        old_sets, new_sets = tool_sets(was), tool_sets(now)
        words = _lists("tools", old_sets, new_sets) if old_sets != new_sets else "a tool server is asked otherwise"
        yield Change("route", name, "tools", was.get("tools"), now.get("tools"), words)
    rest = [leaf for key in {**was, **now} if key not in ELSEWHERE for leaf in leaves(was.get(key), now.get(key), key)]
    policies = [path for path, _, _ in rest if path.startswith(("breaker", "retry"))]
    last = policies[-1] if policies and _asked_anew(name, before, after) else None
    for path, old, new in rest:
        then = "the breakers of its targets start anew" if path == last else ""
        yield Change("route", name, path, old, new, _becomes(path, old, new) + _inherited(path, was, now), then)


def _asked_anew(name: str, before: Description, after: Description) -> bool:
    """Return True if a route now asks one of its old targets under breaker and retry settings that no route used for it before."""
    kept = {*names(pools(after.routes[name]))} & {*names(pools(before.routes[name]))}
    return any(policy(after.routes[name]) not in before.policies(target) for target in kept)


def _inherited(path: str, was: JsonObject, now: JsonObject) -> str:
    """Return the remark to append if the new value comes from `defaults`: ` (from defaults)` or the like; else an empty text."""
    if path.partition(".")[0] not in DEFAULTS or path in listing(now.get("own")):
        return ""
    return " (from defaults from now on)" if path in listing(was.get("own")) else " (from defaults)"


def _targets(before: Description, after: Description) -> Iterator[Change]:
    gone = {name: target for name, target in before.targets.items() if name not in after.targets}
    came = {name: target for name, target in after.targets.items() if name not in before.targets}
    alike = _by_value(came)
    called = {old: alike.get(_value(target)) for old, target in gone.items()}
    new_names = set(called.values())
    for name, target in gone.items():
        now = called[name]
        sentence = f"target {name} is called {now} now: what is known of it is forgotten" if now else f"target {name} is gone"
        yield Change("target", name, "", target, None, sentence)
    for name, target in came.items():
        if name not in new_names:
            what = "a script" if target.get("model") is None else worded(target["model"])
            yield Change("target", name, "", None, target, f"target {name} is new: {what}{_asked(name, after)}")
    yield from (change for name in before.targets if name in after.targets for change in _target(name, before, after))


def _target(name: str, before: Description, after: Description) -> Iterator[Change]:
    was, now = before.targets[name], after.targets[name]
    known = before.asking(name) and after.asking(name)
    found = list(leaves(was, now))
    for count, (path, old, new) in enumerate(found, 1):
        then = "its breaker and its load start anew" if known and count == len(found) else ""
        yield Change("target", name, path, old, new, _becomes(path, old, new) + _asked(name, after), then)
    if before.asking(name) and not after.asking(name):
        yield Change("target", name, "", list(before.asking(name)), [], f"no route asks target {name} any more")


def _asked(target: str, after: Description) -> str:
    asking = after.asking(target)
    return f" (asked by {listed(asking)})" if asking else " (no route asks it)"


def _pipelines(before: Description, after: Description) -> Iterator[Change]:
    for name, now in after.pipelines.items():
        if (was := before.pipelines.get(name)) is None:
            continue
        used = f" (used by {listed(after.using(name))})"
        texts = leaves(table(was.get("texts")), table(now.get("texts")))
        templates = ((path, old, new, f"{path} changed") for path, old, new in texts if old is not None and new is not None)
        for path, old, new, words in (*_steps(was, now), *templates):
            yield Change("pipeline", name, path, old, new, f"{words}{used}")


Steps = dict[tuple[str, int], Json]
"""The steps of a pipeline in order: (word, count of earlier steps with that word) → options."""


def _steps(was: JsonObject, now: JsonObject) -> Iterator[tuple[str, Json, Json, str]]:
    old, new = _numbered(was), _numbered(now)
    for (word, count), options in old.items():
        if (word, count) not in new:
            yield "steps", {word: options}, None, f"loses the step {_step(word, options)}"
    for step, options in new.items():
        if step in old:
            yield from ((path, one, other, _becomes(path, one, other)) for path, one, other in leaves(old[step], options, step[0]))
    place = "as its first"
    for (word, count), options in new.items():
        if (word, count) not in old:
            yield "steps", None, {word: options}, f"gets the step {_step(word, options)} {place}"
        place = f"after {word}"
    if [step for step in old if step in new] != [step for step in new if step in old]:
        yield "steps", [word for word, _ in old], [word for word, _ in new], f"steps in order now: {', '.join(word for word, _ in new)}"


def _numbered(pipeline: JsonObject) -> Steps:
    found: Steps = {}
    earlier = Counter[str]()
    for one in listing(pipeline.get("steps")):
        word = str(table(one).get("step"))
        found[word, earlier[word]] = table(one).get("options")
        earlier[word] += 1
    return found


def _step(word: str, options: Json) -> str:
    sentence = worded(options)
    return f"{word} ({sentence})" if sentence and len(sentence) <= MAX_OPTIONS_CHARS and sentence.isprintable() else word


def _tools(before: Description, after: Description) -> Iterator[Change]:
    for name, now in after.tools.items():
        if name in before.tools and before.tools[name] != now:
            words = f"tools/{name}.py changed (used by {listed(after.granting(name))})"
            yield Change("tools", name, "file", before.tools[name], now, words)


def _network(before: Description, after: Description) -> Iterator[Change]:
    found = list(leaves(before.network, after.network))
    for count, (path, was, now) in enumerate(found, 1):
        then = "the breakers of the targets that it leads to start anew" if count == len(found) else ""
        yield Change("network", "", path, was, now, _becomes(path, was, now), then)


def _drills(before: Description, after: Description) -> Iterator[Change]:
    for name, drill in before.drills.items():
        if name not in after.drills:
            yield Change("drill", name, "", drill, None, f"drill {name} is gone")
    for name, now in after.drills.items():
        if name not in before.drills:
            yield Change("drill", name, "", None, now, f"drill {name} is new")
        for path, was, is_now in leaves(before.drills.get(name, now), now):
            yield Change("drill", name, path, was, is_now, _becomes(path, was, is_now))


ADDRESS = ("model", "api_base", "api_version", "api_key")
"""Keys of a target that decide which of the providers' prompt caches its chats use."""
FRONT = ("prompt", "history")
"""Steps of a pipeline that make the beginning of the prompt."""


def _cold(before: Description, after: Description) -> Iterator[Change]:
    """Yield a change for each route whose chats miss the providers' prompt caches at their next question, and so pay for it in full."""
    for name, now in after.routes.items():
        was = before.routes.get(name)
        if was is None or now.get("prompt_cache") == "off":
            continue
        first, earlier = _first_asked(now), _first_asked(was)
        asked = {one for one in first if table(after.targets.get(one)).get("model") is not None}
        if not asked:
            continue
        why = ["another system prompt or history"] * (_front(was, before) != _front(now, after))
        why += ["other tools, or in another order"] * (_tooling(was, before) != _tooling(now, after))
        why += ["other targets come first"] * (first != earlier)
        moved = [one for one in sorted(asked & earlier) if _account(before.targets.get(one)) != _account(after.targets.get(one))]
        why += [f"{listed(moved)} is another model or account"] * bool(moved)
        if why:
            words = f"providers' prompt caches are cold for the next question of each chat: {'; '.join(why)}"
            yield Change("route", name, "prompt caches", None, [*why], words)


def _first_asked(route: JsonObject) -> set[str]:
    """Return the names of the targets that may be asked first: those of the pools up to the first that has an unconditional one."""
    found: set[str] = set()
    for pool, words in zip(pools(route), conditions(route), strict=True):
        found.update(names((pool,)))
        if not all(words):
            break
    return found


def _front(route: JsonObject, described: Description) -> Json:
    """Return the steps and templates of a route's pipeline that make the beginning of the prompt."""
    pipeline = table(described.pipelines.get(str(route.get("pipeline"))))
    steps = [one for one in listing(pipeline.get("steps")) if table(one).get("step") in FRONT]
    return [steps, pipeline.get("texts")]


def _tooling(route: JsonObject, described: Description) -> Json:
    """Return the tools that a route declares, and the digests of their files: if equal, the model is offered the same tools."""
    return [route.get("tools"), [described.tools.get(name) for name in tool_files(route)]]


def _account(target: JsonObject | None) -> Json:
    return [table(target).get(key) for key in ADDRESS]
