"""drills.yaml: drills in a file of their own, beside the routes file. Its drills follow those of the routes file."""

import re

from router.config import document
from router.config.complaints import Complaints
from router.config.document import Node, Table
from router.config.snapshot import DRILLS
from router.errors import Place
from router.value import replace

FORM = f"{DRILLS} is `drills:` and a list under it, e.g. `- {{name: a title, ask: {{model: a route}}, expect: {{served_by: a target}}}}`"


def joined(routes: Table, beside: Node, complaints: Complaints) -> Table:
    """Return the tree of the routes file with the drills of drills.yaml (`beside`) after its own. Each drill keeps its place in its file.

    If drills.yaml has another form, complaints are added and `routes` is returned unchanged.
    """
    drills = _listed(beside, complaints)
    own = routes.get("drills")
    if drills is None:
        return routes
    if own is None:
        key = document.Scalar(drills.place, "drills", plain=True, source="drills")
        return replace(routes, pairs=(*routes.pairs, (key, drills)))
    if not isinstance(own, document.Listing):
        return routes  # a mistake, complained of elsewhere
    return routes.having("drills", replace(own, items=(*own.items, *drills.items)))


def check_names(drills: Node | None, complaints: Complaints) -> None:
    """Complain of a drill in drills.yaml with the name of an earlier drill; warn of one in the routes file, where it was valid before."""
    first: dict[str, Place] = {}
    names = (document.at(drill, "name") for drill in document.items_of(drills))
    for name in (one for one in names if isinstance(one, document.Scalar)):
        known = first.setdefault(name.text, name.place)
        if known != name.place:
            say = complaints.add if name.place.file == DRILLS else complaints.warn
            say(name.place, f"line {known.line} of {known.file} has a drill of this name: give one of them another name")


def _listed(beside: Node, complaints: Complaints) -> document.Listing | None:
    """Return the list of drills in drills.yaml; None, with a complaint, if there is none. Complain of keys beside `drills`."""
    if not isinstance(beside, Table):
        complaints.add(beside.place, FORM)
        return None
    drills = beside.get("drills")
    for key, _ in beside.pairs:
        if key.text != "drills":
            word = re.split("[:=：]", key.text, maxsplit=1)[0]  # the text behind the colon may be a secret
            complaints.add(key.place, f"unknown key `{word}` in {DRILLS}, which has `drills` alone: write the others in the routes file")
    if not isinstance(drills, document.Listing):
        complaints.add(beside.place if drills is None else drills.place, FORM)
        return None
    return drills
