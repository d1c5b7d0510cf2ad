"""Canonical JSON of YAML nodes, with secrets masked: nodes of one meaning have equal JSON."""

import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import cast

from router.chat import Json, JsonObject
from router.config import document
from router.config.binding import bind, kinds
from router.config.complaints import LITERAL_SECRET, Complaints
from router.config.document import NUMBER, TRUTHS, Node
from router.config.scalars import UNFIT
from router.config.secrecy import secret_in_name
from router.config.values import Secret
from router.signature import Anything, Either, ListOf, MapOf, Plain, Record, Shape, Spelled

STARS = "***"
MARKED = re.compile(r"\*\*\* \([0-9a-f]{8}\)")
"""The text in place of a secret: stars, and a mark that tells two secrets apart. See decision 56."""
DEFAULT = re.compile(r"(\$\{\w+:-)([^{}]*)")


def canonical(node: Node | None, shape: Shape, default: object = None) -> Json:
    """Return the canonical JSON of a YAML node, with defaults filled in and secrets masked; that of `default` if there is no node."""
    if node is None:
        return of_value(default, shape)
    match shape:
        case Record():
            pairs = {item.name: (node.get(item.name) if isinstance(node, document.Table) else None, item) for item in shape.fields}
            return {name: canonical(value, item.shape, item.default) for name, (value, item) in pairs.items()}
        case MapOf(item):
            return {key.text: canonical(value, item) for key, value in node.pairs} if isinstance(node, document.Table) else {}
        case ListOf(item):
            return [canonical(one, item) for one in node.items] if isinstance(node, document.Listing) else []
        case Either(options):
            return canonical(node, _meant(node, options))
        case Anything():
            return _anything(node)
        case _:
            return _scalar(node, shape) if isinstance(node, document.Scalar) else None


def of_value(value: object, shape: Shape) -> Json:
    """Return the canonical JSON of a typed value: a default, or what a scalar of the file was read as."""
    if value is None:
        return None
    match shape:
        case Record(fields=fields):
            return {item.name: of_value(getattr(value, item.name), item.shape) for item in fields}
        case Either(options):
            return of_value(value, next((option for option in options if _holds(option, value)), Anything()))
        case ListOf(item):
            return [of_value(one, item) for one in cast("Sequence[object]", value)]
        case MapOf(item):
            return {key: of_value(one, item) for key, one in cast("Mapping[str, object]", value).items()}
        case Spelled(write=write) if write is not None:
            return write(value)
        case _:
            return value if isinstance(value, int | float) else str(value)


def shown(value: Json) -> Json:
    """Return a value of a description for publication: each masked secret as `***`, without the mark that tells two secrets apart."""
    if isinstance(value, str):
        return MARKED.sub(STARS, value)
    if isinstance(value, Mapping):
        return {key: shown(one) for key, one in value.items()}
    return [shown(one) for one in value] if isinstance(value, Sequence) else value


def table(value: Json) -> JsonObject:
    """Return the value if it is a mapping, else an empty mapping."""
    return value if isinstance(value, Mapping) else {}


def listing(value: Json) -> Sequence[Json]:
    """Return the value if it is a list, else an empty tuple."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def digest(text: str) -> str:
    """Return the hash of a text: 12 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _scalar(node: document.Scalar, shape: Shape) -> Json:
    secret = isinstance(shape, Spelled) and inspect.isclass(shape.kind) and issubclass(shape.kind, Secret)
    if node.forgiven or node.unset or node.source != node.text:
        return _reference(node.source, secret=secret)
    if secret:
        return _starred(node.text)
    value = bind(node, shape, Complaints({}))
    return node.text if value is UNFIT or (isinstance(shape, Spelled) and shape.write is None) else of_value(value, shape)


def _reference(source: str, *, secret: bool) -> str:
    """Return a text with `${…}` as it is written, but masked: of a secret the defaults, or the whole text if it has other parts.
    Any other text is masked as a whole if a default in it looks like a secret.
    """
    if secret:
        outside = re.sub(r"\$\{[^{}]*\}", "", source)
        return _starred(source) if outside else DEFAULT.sub(lambda hit: hit[1] + (_starred(hit[2]) if hit[2] else ""), source)
    masked = LITERAL_SECRET.sub(rf"\1{STARS}", source) if ":-" in source else source
    return source if masked == source else _starred(source)


def _starred(secret: str) -> str:
    mark = hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=4, person=b"pointsman").hexdigest()
    return f"{STARS} ({mark})"


def _meant(node: Node, options: Sequence[Shape]) -> Shape:
    """Return the shape that a node was meant for: of those for its kind of node the first that it fits, else the last."""
    near = [one for one in options if isinstance(node, kinds(one))]
    for option in near[:-1]:
        bind(node, option, trial := Complaints({}))
        if not trial.found:
            return option
    return near[-1] if near else Anything()


def _holds(shape: Shape, value: object) -> bool:
    """Return whether a default value may be of this shape. Every value passes for a scalar shape."""
    match shape:
        case Record(build=build):
            return type(value) is build
        case ListOf():
            return isinstance(value, tuple | list)
        case MapOf():
            return isinstance(value, Mapping)
        case Plain("null"):
            return False
        case _:
            return True


def _held(name: str, node: Node) -> Json:
    """Return the JSON of the node under a name, masked if the name marks it as a secret."""
    if (
        isinstance(node, document.Scalar)
        and not NUMBER.fullmatch(node.text)
        and node.text not in TRUTHS
        and secret_in_name(name) is not None
    ):
        return _reference(node.source, secret=True) if node.source != node.text else _starred(node.text)
    return _anything(node)


def _anything(node: Node) -> Json:
    match node:
        case document.Table(pairs=pairs):
            return {key.text: _held(key.text, value) for key, value in pairs}
        case document.Listing(items=items):
            return [_anything(item) for item in items]
        case document.Scalar():
            return _scalar(node, Anything())
