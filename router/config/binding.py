"""Binding of nodes to shapes: a value, and a complaint for each part that does not fit."""

import re
from collections.abc import Callable, Collection, Container, Mapping
from typing import Any

from router.config.complaints import Complaints
from router.config.document import TRUTHS, Listing, Node, Scalar, Table, is_null, pairs_of, values_in
from router.config.meant import closest, did_you_mean
from router.config.remedies import example
from router.config.scalars import UNFIT, chosen, plain_scalar, plain_value, spelled_value, truth_meant, wanted
from router.config.values import Name
from router.errors import Misfit
from router.signature import Anything, Either, ListOf, MapOf, OneOf, Plain, Record, Shape, Spelled
from router.value import replace


def bind(node: Node, shape: Shape, complaints: Complaints, what: str = "this") -> object:
    """Return the value of a YAML node bound to a shape; UNFIT if it does not fit. Each mistake in it is recorded as a complaint.

    A scalar whose variable is missing gets a stand-in value. Its absence is recorded, unless the scalar is `forgiven`.
    Entries of a list or mapping that do not fit are left out of the value. `what`: the name of the node in complaints.
    """
    if type(node) is Scalar and (node.unset or node.forgiven):
        return _unknown(node, shape, complaints)
    return BINDERS[type(shape)](node, shape, complaints, what)


def _unknown(node: Scalar, shape: Shape, complaints: Complaints) -> object:
    """Return a stand-in for a scalar whose variable is missing; UNFIT for a malformed one, which was complained of."""
    if not node.forgiven:
        hit = re.fullmatch(r"the environment variable (\w+) is not set", node.unset)
        advice = f": set it where the router is started or in .env, or give it a default, ${{{hit[1]}:-…}}" if hit else ""
        complaints.lack(node.place, node.unset + advice)
    return _stand_in(shape) if node.unset else UNFIT


def _stand_in(shape: Shape) -> object:
    """Return some value of this shape, for a scalar whose own value is unknown; UNFIT for shapes without one, such as lists and keys."""
    match shape:
        case OneOf(values):
            return values[0]
        case Spelled():
            try:
                return shape.read(shape.example)
            except Misfit:  # the example of a secret names a variable
                return UNFIT
        case Plain(kind):
            return {"string": "unset", "boolean": False, "integer": 1, "number": 1.0, "null": None}[kind]  # within all bounds there are
        case Either(options):
            return _stand_in(options[0])
        case _:
            return UNFIT


def _listing(node: Node, shape: ListOf, complaints: Complaints, what: str) -> object:
    if not isinstance(node, Listing):
        complaints.add(node.place, f"{what} takes a list{_as_list(node, shape.item)}")
        return UNFIT
    each = f"an entry of {what}"
    values = [value for entry in node.items if (value := bind(entry, shape.item, complaints, each)) is not UNFIT]
    return tuple(values) if values or not node.items else UNFIT


def _as_list(node: Node, item: Shape) -> str:
    if is_null(node):
        return f", and has no value: write [{example(item)}], or indent what belongs to it"
    if isinstance(node, Scalar):
        entry = node.source.removeprefix("-").lstrip()
        dash = "; an entry's dash has a space behind it" if node.plain and node.text.startswith("-") else ""
        return f"; write [{example(item) if node.text in TRUTHS else entry}]{dash}"
    names = ", ".join(key.text for key, _ in node.pairs) if isinstance(node, Table) else ""
    return f", not a mapping; write [{names}]" if names else f"; write [{example(item)}]"


def _as_table(node: Node, item: Shape) -> str:
    shown = f"NAME: {example(item)}"
    if is_null(node):
        return f", and has no value: indent what belongs to it, e.g. `{shown}`, by two spaces"
    return f", not {'a list' if isinstance(node, Listing) else 'a text'}: write `{shown}`"


def _table(node: Node, table: MapOf, complaints: Complaints, what: str) -> object:
    if not isinstance(node, Table):
        complaints.add(node.place, f"{what} takes a mapping of names{_as_table(node, table.item)}")
        return UNFIT
    values: dict[Name, object] = {}
    item, form = table.item, table.key
    below: Container[str] = item.named if isinstance(item, Record) else ()
    for key, entry in node.pairs:
        if key.text in below and not isinstance(entry, Table):
            complaints.add(key.place, f"`{key.text}` stands among the names of {what}: indent it by two spaces more, below its name")
            continue
        name = bind(key, form, complaints, "a name") if form else Name(key.text)
        value = bind(entry, item, complaints, f"`{key.text}`")
        if value is not UNFIT and isinstance(name, Name):
            values[name] = value
    return values


def _record(node: Node, record: Record, complaints: Complaints, what: str) -> object:
    values, fits = bind_fields(node, record, complaints, what)
    if fits:
        return built(node, record, values, complaints)
    if record.required <= values.keys():
        # The result is not used. The record's rules still check the other fields now, not after the first mistake is mended.
        built(node, record, values, complaints, among=values)
    return UNFIT


def _hint(pair: tuple[Scalar, Node], node: Table, record: Record, before: tuple[Scalar, Node] | None, complaints: Complaints) -> str:
    """Return the hint for an unknown key of a mapping, as `; …`; empty if none is known. `before`: the pair of the known key before it."""
    key, entry = pair
    known = [one.name for one in record.fields]
    word = re.split("[:=：]", key.text, maxsplit=1)[0]
    if word in known:
        return f"; did you mean `{word}`, with a space after its colon?"
    if before is not None and before[0].text and is_null(before[1]):
        return f"; indent it by two spaces more where it belongs to `{before[0].text}`, which has no value"
    if close := closest(word, known, 0.8):
        return close
    if advice := complaints.advice.of(record, node, replace(key, text=word), entry):
        return f"; {advice}"
    return did_you_mean(word, known)


def _as_record(node: Node, record: Record) -> str:
    known = [item.name for item in record.fields]
    if isinstance(node, Scalar) and (hit := re.match(r"(\w+)\s*[:=：]", node.text)) and hit[1] in known:
        return f", each key with a colon and a space: write `{hit[1]}: …`"
    names = f" with {', '.join(known)}" if len(known) < 8 else ""
    empty = ", and has no value: indent its keys by two spaces more" if is_null(node) else ""
    return f"{names}{empty}, e.g. {example(record)}"


def _lifted(node: Table, record: Record, complaints: Complaints) -> Table:
    """Return the mapping with keys that are indented too far moved up into it, to check the rest as meant. Complain of each such key."""
    pairs: list[tuple[Scalar, Node]] = []
    lifted: list[tuple[Scalar, Node]] = []
    for key, entry in node.pairs:
        shape = item.shape if (item := record.named.get(key.text)) else None
        below = shape.item.named if isinstance(shape, MapOf) and isinstance(shape.item, Record) else ()
        strays = [pair for pair in pairs_of(entry) if pair[0].text in record.named and _strayed(pair, below, node)] if below else []
        for stray, _ in strays:
            wide = stray.place.column > key.place.column and stray.place.line > key.place.line
            where = f"begin it in column {key.place.column}" if wide else f"close the bracket of `{key.text}` before it"
            complaints.add(stray.place, f"`{stray.text}` is part of `{key.text}` here, for it is indented too far: {where}")
        if strays and isinstance(entry, Table):
            lifted += strays
            entry = replace(entry, pairs=tuple(pair for pair in entry.pairs if pair not in strays))  # noqa: PLW2901
        pairs.append((key, entry))
    return replace(node, pairs=(*pairs, *lifted)) if lifted else node


def _strayed(pair: tuple[Scalar, Node], below: Container[str], above: Table) -> bool:
    """Return True for a key that was indented too far: `above` lacks it, and its value has keys, but none of those `below`."""
    key, entry = pair
    inner = pairs_of(entry)
    return above.get(key.text) is None and bool(inner) and not any(one.text in below for one, _ in inner)


def bind_fields(node: Node, record: Record, complaints: Complaints, what: str) -> tuple[dict[str, object], bool]:
    """Return (values of fields that could be bound, by name; True if no key is unknown, unfit or missing). Mistakes become complaints."""
    if not isinstance(node, Table):
        complaints.add(node.place, f"{what} takes a mapping{_as_record(node, record)}")
        return {}, False
    if record.nests:
        node = _lifted(node, record, complaints)
    values: dict[str, object] = {}
    hints = ""
    before: tuple[Scalar, Node] | None = None
    for pair in node.pairs:
        key, entry = pair
        if (item := record.named.get(key.text)) is None:
            word = re.split("[:=：]", key.text, maxsplit=1)[0]  # the text behind the colon may be a secret
            hint = _hint(pair, node, record, before, complaints)
            hints += hint
            complaints.add(key.place, f"unknown key `{word}` in {what}{hint}")
            continue
        before = pair
        shape = item.usual
        if shape is None or NODES.get(type(shape)) is not type(entry):
            shape = item.shape  # it complains of another node
        if (value := bind(entry, shape, complaints, item.label)) is not UNFIT:
            values[item.name] = value
    if record.required <= values.keys():
        return values, len(values) == len(node.pairs)
    missing = [one.name for one in record.fields if one.required and node.get(one.name) is None]
    if untold := [name for name in missing if f"did you mean `{name}`" not in hints]:  # a slip in a key is one mistake, not two
        complaints.add(node.place, f"{what} lacks {' and '.join(f'`{name}`' for name in untold)}")
    return values, False


def built(node: Node, record: Record, values: Mapping[str, object], complaints: Complaints, among: Collection[str] | None = None) -> object:
    """Return the record built from the values; UNFIT if that raises Misfit: a complaint, unless its field is guessed or not in `among`."""
    try:
        return record.build(**values)
    except Misfit as misfit:
        if among is not None and misfit.field not in among:
            return UNFIT
        culprit = node.get(misfit.field) if misfit.field and isinstance(node, Table) else None
        held = values_in(culprit) if culprit else ()
        if not any(isinstance(one, Scalar) and (one.forgiven or one.unset) for one in held):  # else it objects to a stand-in
            complaints.add(misfit.place or (culprit or node).place, misfit.message)
        return UNFIT


def _either(node: Node, either: Either, complaints: Complaints, what: str) -> object:
    options = either.options
    meant = [option for option in options if type(node) in (KINDS.get(type(option)) or kinds(option))]
    if not meant:
        complaints.add(node.place, f"{what} takes {wanted(either)}{_pooled(node, options)}")
        return UNFIT
    if isinstance(node, Scalar) and len(meant) == 1 and not isinstance(meant[0], OneOf):
        return bind(node, meant[0], complaints, what)
    if all(isinstance(option, Record) for option in meant) and (hint := _pooled(node, options)):
        items = [option.item for option in options if isinstance(option, ListOf)]
        inside = [option for item in items for option in (item.options if isinstance(item, Either) else (item,))]
        if max(_known_keys(node, option) for option in inside) > max(_known_keys(node, option) for option in meant):
            complaints.add(node.place, f"{what} takes {wanted(Either(tuple(one for one in options if one not in meant)))}{hint}")
            return UNFIT
    if isinstance(node, Scalar) and not node.unset and isinstance(only := meant[0], OneOf) and len(meant) == 1:
        others = [f" or {wanted(option)}" for option in options if isinstance(option, Record)]
        if node.text not in only.values and not is_null(node) and others:
            hint = closest(node.text, only.values) or truth_meant(node.text, only.values)
            complaints.add(node.place, f"`{node.source}` is not one of {', '.join(only.values)}{''.join(others)}{hint}")
            return UNFIT
    for option in meant[:-1]:
        trial = replace(complaints, found={})  # a mistake found in it is none of the load's
        value = bind(node, option, trial, what)
        if not trial.found:
            return value
    likely = max(reversed(meant), key=lambda option: _known_keys(node, option))
    return bind(node, likely, complaints, what)


def _known_keys(node: Node, shape: Shape) -> int:
    return sum(key.text in shape.named for key, _ in pairs_of(node)) if isinstance(shape, Record) else 0


def _pooled(node: Node, options: tuple[Shape, ...]) -> str:
    """Return the hint for a mapping that belongs in a list but stands alone, as `; …`; empty for any other node."""
    if not isinstance(node, Table) or not any(isinstance(one, ListOf) and Table in kinds(one.item) for one in options):
        return ""
    shown = ", ".join(f"{key.text}: {value.source if isinstance(value, Scalar) else '…'}" for key, value in node.pairs)
    return f"; a mapping stands in a list of its own, a pool: write [{{{shown}}}]"


KINDS: Mapping[type, tuple[type[Node]]] = {OneOf: (Scalar,), Spelled: (Scalar,), ListOf: (Listing,), Record: (Table,), MapOf: (Table,)}
"""Shape → the only node class that may be meant as its value."""
NODES: Mapping[type, type[Node]] = {Plain: Scalar, **{shape: kind for shape, (kind,) in KINDS.items()}}


def kinds(shape: Shape) -> tuple[type, ...]:
    """Return the node classes (Scalar, Listing, Table) that may be meant as a value of this shape; none for null."""
    match shape:
        case Plain(kind):
            return () if kind == "null" else (Scalar,)  # an unwanted key is left out: an empty value is a slip
        case Either(options):
            return tuple(kind for option in options for kind in kinds(option))
        case Anything():
            return (Scalar, Listing, Table)
        case _:
            return KINDS[type(shape)]


def _anything(node: Node, shape: Anything, complaints: Complaints, what: str) -> object:  # noqa: ARG001 - as BINDERS have it
    match node:
        case Listing():
            return [bind(item, shape, complaints) for item in node.items]
        case Table():
            return {key.text: bind(value, shape, complaints) for key, value in node.pairs}
        case Scalar():
            return plain_value(node, complaints)


BINDERS: Mapping[type, Callable[[Node, Any, Complaints, str], object]] = {
    Spelled: spelled_value,
    Plain: plain_scalar,
    OneOf: chosen,
    ListOf: _listing,
    MapOf: _table,
    Record: _record,
    Either: _either,
    Anything: _anything,
}
"""Kind of shape → the function that binds a node to such a shape, with `bind`'s parameters."""
