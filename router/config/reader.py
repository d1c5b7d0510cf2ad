"""Reading of a snapshot of files into a Declaration that has every complaint about them. Without complaints it is consistent."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Literal

from router.config.binding import bind_fields
from router.config.checks import check_across
from router.config.complaints import Complaints
from router.config.declaration import Declaration, RoutesFile, StepLine
from router.config.document import Listing, Node, Scalar, Table, UnreadableYaml, at, is_null, items_of, pairs_of, parse
from router.config.environment import ENV_FILE, EnvFile, Environment
from router.config.inheritance import through, with_defaults, with_optional_targets
from router.config.meant import step_meant
from router.config.remedies import Advice, Spot, spots
from router.config.snapshot import DRILLS, Snapshot
from router.config.values import Name
from router.errors import Place
from router.garbage import uncollected
from router.signature import record_of
from router.value import replace


@cache
def _places() -> Mapping[str, tuple[Spot, ...]]:
    """Return key → the places where it may stand, for every key of routes.yaml outside lists, except `drills`."""
    found: dict[str, tuple[Spot, ...]] = {}
    for word, spot in spots(record_of(RoutesFile)):
        if spot.path[0] != "drills":
            found[word] = (*found.get(word, ()), spot)
    return found


FORM = f"{DRILLS} is `drills:` and a list under it, e.g. `- {{name: a title, ask: {{model: a route}}, expect: {{served_by: a target}}}}`"
ADVICE = Advice(_places)


@uncollected()
def declare(
    snapshot: Snapshot,
    variables: Mapping[str, str] | None,
    host: str = "127.0.0.1",
    *,
    lacking: Literal["mistakes", "noted"] = "mistakes",
    beside: EnvFile | None = None,
) -> Declaration:
    """Return the declaration of a snapshot. One with `complaints` must not be served.

    variables: the environment; None leaves `${…}` unresolved: the declaration is to be described, not to be built
    host: the address it is to be served at
    lacking: `mistakes` complains of missing variables and secret files; `noted` lists them and puts in any value of the right kind
    beside: the `.env` in the folder; None to leave it out
    """
    complaints = Complaints(snapshot.texts, without_environment=lacking == "noted", advice=ADVICE)
    env_file = beside or EnvFile()
    environment = Environment(variables, snapshot.root, complaints.add, env_file.variables)
    complaints.warnings.update(dict.fromkeys(env_file.warnings))
    tree = _tree(snapshot.routes, snapshot, environment, complaints)
    if DRILLS in snapshot.texts and snapshot.routes != DRILLS and (drills := _tree(DRILLS, snapshot, environment, complaints)) is not None:
        tree = _joined(tree, drills, complaints) if isinstance(tree, Table) else tree
    skipped: dict[str, str] = {}
    routes = RoutesFile(targets={}, routes={})
    written = tree if isinstance(tree, Table) else Table(Place(snapshot.routes, 1, 1), ())
    if isinstance(tree, Table):
        tree = with_defaults(with_optional_targets(tree, skipped))
    if tree is not None:
        pieces, _ = bind_fields(tree, record_of(RoutesFile), complaints, f"`{snapshot.routes}`")
        routes = through(replace(routes, **pieces))
    used = check_across(tree, written, routes, host, complaints)
    pipelines = {name: _pipeline(node, snapshot, environment, complaints) for name, node in used["pipeline"].items()}
    digest = snapshot.digest(environment.used)
    files = environment.files if beside is None else {ENV_FILE: beside.text, **environment.files}
    return Declaration(routes, pipelines, used["tools"], skipped, snapshot, digest, files, complaints, env_file, written)


def _joined(routes: Table, beside: Node, complaints: Complaints) -> Table:
    """Return the routes file with the drills of drills.yaml (`beside`) after its own; unchanged, after a complaint, for another form."""
    for key, _ in pairs_of(beside):
        if key.text != "drills":
            word = re.split("[:=：]", key.text, maxsplit=1)[0]  # the text behind the colon may be a secret
            complaints.add(key.place, f"unknown key `{word}` in {DRILLS}, which has `drills` alone: write the others in the routes file")
    drills, own = at(beside, "drills"), routes.get("drills")
    if not isinstance(drills, Listing):
        complaints.add((drills or beside).place, FORM)
        return routes
    if own is None:
        key = Scalar(drills.place, "drills", plain=True, source="drills")
        return replace(routes, pairs=(*routes.pairs, (key, drills)))
    if not isinstance(own, Listing):
        return routes  # a mistake, complained of elsewhere
    return routes.having("drills", replace(own, items=(*own.items, *drills.items)))


def _tree(file: str, snapshot: Snapshot, environment: Environment, complaints: Complaints) -> Node | None:
    try:
        node = parse(snapshot.texts[file], file, complaints.add)
    except UnreadableYaml as unreadable:
        complaints.add(unreadable.complaint.place, unreadable.complaint.message)
        return None
    if node is None or is_null(node):
        complaints.add(Place(file, 1, 1), "the file is empty")
        return None
    # Without a `$`, and without an escape that may stand for one, there is no reference.
    return environment.resolve(node) if "$" in snapshot.texts[file] or "\\" in snapshot.texts[file] else node


def _pipeline(named: Scalar, snapshot: Snapshot, environment: Environment, complaints: Complaints) -> tuple[StepLine, ...]:
    file = f"pipelines/{named.text}.yaml"
    if file not in snapshot.texts:
        hint = complaints.file_meant(named.text, "pipelines/", ".yaml")
        complaints.add(named.place, f"there is no pipelines/{named.source}.yaml{hint}")
        return ()
    tree = _tree(file, snapshot, environment, complaints)
    if tree is None:
        return ()
    steps = at(tree, "steps")
    for key, _ in pairs_of(tree):
        if key.text != "steps":
            complaints.add(key.place, f"unknown key `{key.text}` in a pipeline{step_meant(key.text, ['steps'])}")
    if not isinstance(steps, Listing):
        complaints.add((steps or tree).place, "a pipeline is `steps:` and a list under it, e.g. `- prompt: chat.j2`")
    lines: list[StepLine] = []
    for node in items_of(steps):
        if isinstance(node, Table) and len(node.pairs) == 1:
            key, options = node.pairs[0]
            lines.append(StepLine(Name(key.text), options))
            lines[-1].name.place = key.place
        else:
            complaints.add(node.place, "a step is one word and its options, e.g. `- history: {keep: 40}`")
    return tuple(lines)
