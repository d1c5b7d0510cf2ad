"""A node and a shape → a value, and a complaint for each thing that does not fit."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.config import document
from router.config.document import DOUBTFUL, INTEGER, NUMBER, TRUTHS, Node, is_null
from router.config.secrecy import without_secret_queries
from router.config.values import Name, Secret
from router.errors import Complaint, Misfit, Place
from router.signature import Anything, Choice, Either, Listing, Record, Scalar, Shape, Spelled, Table

LITERAL_SECRET = re.compile(
    r"""(?i)((?:(?<![a-z0-9])keys?|(?<!first_)token|secret|password|authorization|api_?k\w*)["']?\s*[:=：]\s*|://(?=[^\s/]*@))(?!["']?\$\{(?!\w+:-)|\d{1,3}(?:ms|s|m|h)?\s*[,}\n]|\d{1,3}(?:ms|s|m|h)?\s*$)[^\s,}].*""",
)
"""A key written out in a file, in an address or as a default too: the line is quoted without it. A time or a number is none."""
SECRET_BELOW = re.compile(
    r"""(?i)(?:(?<![a-z0-9])keys?|(?<!first_)token|secret|password|authorization|api_?k\w*)["']?\s*:\s*[|>]?[-+]?\s*(?:#.*)?$"""
)
"""A line whose key stands on the next one: that one is not quoted at all."""


@dataclass(frozen=True, slots=True)
class Complaints:
    """What is wrong so far, over every file of a load."""

    texts: Mapping[str, str]
    """File name → its text: the complaints quote the line."""
    found: list[Complaint] = field(default_factory=list[Complaint])

    def add(self, place: Place, message: str) -> None:
        """Note one, once."""
        lines = self.texts.get(place.file, "").splitlines()
        line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
        above = next((one for one in reversed(lines[: place.line - 1]) if not re.match(r"\s*(#|$)", one)), "")
        line = "" if SECRET_BELOW.search(above) else without_secret_queries(LITERAL_SECRET.sub(r"\1***", line))
        complaint = Complaint(place, message, line)
        if complaint not in self.found:
            self.found.append(complaint)

    def in_order(self) -> tuple[Complaint, ...]:
        """All of them, file by file, from top to bottom."""
        files = list(self.texts)
        order = {name: index for index, name in enumerate(files)}
        return tuple(
            sorted(self.found, key=lambda one: (order.get(one.place.file, len(files)), one.place.file, one.place.line, one.place.column)),
        )


def _close(word: str, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(word.lower(), [one.lower() for one in words], 1, 0.6)
    return f"; did you mean `{next(one for one in words if one.lower() == close[0])}`?" if close else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or the words there are where they are few, or nothing."""
    words = list(known)
    if close := _close(word, words):
        return close
    return f"; there is {', '.join(f'`{one}`' for one in words)}" if 0 < len(words) <= 12 else ""


class Unfit:
    """What a node is worth that could not be bound. Its complaint has been made."""


UNFIT = Unfit()


def bind(node: Node, shape: Shape, complaints: Complaints, what: str = "this") -> object:
    """The value, or UNFIT."""
    if isinstance(node, document.Scalar) and (node.unset or node.forgiven):
        if node.forgiven:
            return _stand_in(shape) if node.unset else UNFIT  # malformed: that has been told already
        complaints.add(node.place, node.unset)
        return UNFIT
    match shape:
        case Either(options):
            return _either(node, options, complaints, what)
        case Record():
            return _record(node, shape, complaints, what)
        case Table():
            return _table(node, shape, complaints, what)
        case Listing(item):
            return _listing(node, item, complaints, what)
        case Anything():
            return _anything(node, complaints)
        case Scalar() | Choice() | Spelled():
            return _text(node, shape, complaints, what)


def _stand_in(shape: Shape) -> object:
    """Some value of this shape, for a scalar whose own is not known and not needed."""
    match shape:
        case Choice(values):
            return values[0]
        case Spelled():
            return _example(shape)
        case Scalar(kind):
            return {"string": "unset", "boolean": False, "integer": 1, "number": 1.0, "null": None}[kind]
        case Either(options):
            return _stand_in(options[0])
        case _:
            return UNFIT


def _example(shape: Spelled) -> object:
    try:
        return shape.read(shape.example)
    except Misfit:  # the example of a secret names a variable
        return UNFIT


def _text(node: Node, shape: Scalar | Choice | Spelled, complaints: Complaints, what: str) -> object:
    if not isinstance(node, document.Scalar):
        complaints.add(node.place, f"{what} takes {_wanted(shape)}, not a {'list' if isinstance(node, document.Listing) else 'mapping'}")
        return UNFIT
    if is_null(node):
        complaints.add(node.place, f"{what} has no value: {_wanted(shape)} is needed")
        return UNFIT
    match shape:
        case Choice(values):
            if node.text in values:
                return node.text
            complaints.add(node.place, f"`{node.source}` is not one of {', '.join(values)}{_close(node.text, values)}")
            return UNFIT
        case Spelled():
            return _spelled(node, shape, complaints)
        case Scalar(kind):
            return _scalar(node, kind, complaints, what)


def _spelled(node: document.Scalar, shape: Spelled, complaints: Complaints) -> object:
    try:
        value = shape.read(node.text)
    except ValueError as error:  # urlsplit has objections of its own
        misfit = error if isinstance(error, Misfit) else Misfit(f"this is no {shape.name} such as {shape.example}")
        # A message that begins with a backtick quotes the text: what a variable holds is never shown, not a piece of it.
        quoted = node.source != node.text and misfit.message.startswith("`")
        told = f"what `{node.source}` holds is no {shape.name} such as {shape.example}" if quoted else misfit.message
        complaints.add(node.place, told)
        return UNFIT
    if isinstance(value, Name):
        value.place, value.source = node.place, node.source
    if isinstance(value, Secret):
        named = node.source != node.text and ":-" not in node.source  # a default is a key written out
        return Secret(value.value, node.source if named else value.source, node.place)
    return value


def _scalar(node: document.Scalar, kind: str, complaints: Complaints, what: str) -> object:
    text = node.text
    resolved = node.source != text  # what a variable holds counts as plain, whatever quotes the reference bore
    bare = node.plain or resolved
    match kind:
        case "string":
            return text
        case "boolean" if bare and text in TRUTHS:
            return TRUTHS[text]
        case "integer" if bare and INTEGER.fullmatch(text):
            return int(text)
        case "number" if bare and NUMBER.fullmatch(text):
            return float(text)
        case _:
            shown = node.source if bare else f"'{node.source}'"
            complaints.add(node.place, f"{what} takes {WANTED[kind]}, not `{shown}`{HINTS.get((kind, text.lower()), '')}")
            return UNFIT


WANTED = {"string": "a text", "boolean": "true or false", "integer": "a whole number", "number": "a number", "null": "nothing"}
HINTS = {
    ("boolean", word): f"; did you mean `{truth}`?"
    for truth, words in {"true": ("yes", "on", "y", "true", "1"), "false": ("no", "off", "n", "false", "0")}.items()
    for word in words
}


def _wanted(shape: Shape) -> str:
    match shape:
        case Choice(values):
            return "one of " + ", ".join(values)
        case Spelled(name, _, _, example):
            return f"a {name}, e.g. {example}"
        case Scalar(kind):
            return WANTED[kind]
        case Listing(item):
            return f"a list, e.g. [{item.example if isinstance(item, Spelled) else '…'}]"
        case Record() | Table():
            return "a mapping"
        case Either(options):
            return " or ".join(_wanted(option) for option in options if option != Scalar("null"))
        case Anything():
            return "a value"


def _listing(node: Node, item: Shape, complaints: Complaints, what: str) -> object:
    if not isinstance(node, document.Listing):
        shown = f"; write [{node.source}]" if isinstance(node, document.Scalar) and node.text else ""
        complaints.add(node.place, f"{what} takes a list{shown}")
        return UNFIT
    values = [bind(entry, item, complaints, f"an entry of {what}") for entry in node.items]
    fit = tuple(value for value in values if value is not UNFIT)
    return fit if fit or not values else UNFIT


def _table(node: Node, table: Table, complaints: Complaints, what: str) -> object:
    if not isinstance(node, document.Table):
        complaints.add(node.place, f"{what} takes a mapping")
        return UNFIT
    values: dict[Name, object] = {}
    for key, entry in node.pairs:
        name = bind(key, table.key, complaints, "a name") if table.key else Name(key.text)
        value = bind(entry, table.item, complaints, f"`{key.text}`")
        if value is not UNFIT and isinstance(name, Name):
            values[name] = value
    return values


def _record(node: Node, record: Record, complaints: Complaints, what: str) -> object:
    values, fits = bind_fields(node, record, complaints, what)
    if fits:
        return built(node, record, values, complaints)
    if all(item.name in values for item in record.fields if item.required):
        # Not to be used; but what its rules object to in the other fields is told now, not after the first mistake is mended.
        built(node, record, values, complaints, among=values)
    return UNFIT


def bind_fields(node: Node, record: Record, complaints: Complaints, what: str) -> tuple[dict[str, object], bool]:
    """The values of a record's fields that could be bound, and whether they are all there is."""
    if not isinstance(node, document.Table):
        names = f" with {', '.join(one.name for one in record.fields)}" if len(record.fields) < 8 else ""
        complaints.add(node.place, f"{what} takes a mapping{names}")
        return {}, False
    known = [one.name for one in record.fields]
    bound: dict[str, object] = {}
    meant = ""
    for key, entry in node.pairs:
        item = record.field(key.text)
        if item is None:
            word = re.split("[:=：]", key.text, maxsplit=1)[0]  # what stands behind it may be a secret
            hint = f"; did you mean `{word}`, with a space after its colon?" if word in known else did_you_mean(word, known)
            meant += hint
            complaints.add(key.place, f"unknown key `{word}` in {what}{hint}")
        else:
            bound[item.name] = bind(entry, item.shape, complaints, f"`{key.text}`")
    missing = [item.name for item in record.fields if item.required and node.get(item.name) is None]
    untold = [name for name in missing if f"did you mean `{name}`" not in meant]  # a slip in a key is one mistake, not two
    if untold:
        complaints.add(node.place, f"{what} lacks {' and '.join(f'`{name}`' for name in untold)}")
    values = {name: value for name, value in bound.items() if value is not UNFIT}
    return values, not missing and len(values) == len(node.pairs)


def built(
    node: Node,
    record: Record,
    values: Mapping[str, object],
    complaints: Complaints,
    among: Collection[str] | None = None,
) -> object:
    """What the record's function makes of the values; its own objection becomes a complaint at the field it names.

    `among`: only an objection to one of these fields counts.
    """
    try:
        return record.build(**values)
    except Misfit as misfit:
        if among is not None and misfit.field not in among:
            return UNFIT
        culprit = node.get(misfit.field) if misfit.field and isinstance(node, document.Table) else None
        if culprit is not None and _is_guessed(culprit):
            return UNFIT  # what stands in for a value that nobody knows may be objected to
        complaints.add(misfit.place or (culprit or node).place, misfit.message)
        return UNFIT


def _is_guessed(node: Node) -> bool:
    """Whether something in it stands for a value that nobody knows."""
    match node:
        case document.Scalar():
            return node.forgiven
        case document.Listing():
            return any(_is_guessed(item) for item in node.items)
        case document.Table():
            return any(_is_guessed(value) for _, value in node.pairs)


def _either(node: Node, options: tuple[Shape, ...], complaints: Complaints, what: str) -> object:
    meant = [option for option in options if isinstance(node, kinds(option))]
    if not meant:
        complaints.add(node.place, f"{what} takes {_wanted(Either(options))}")
        return UNFIT
    for option in meant[:-1]:
        trial = replace(complaints, found=[])
        value = bind(node, option, trial, what)
        if not trial.found:
            return value
    likely = max(reversed(meant), key=lambda option: _known_keys(node, option))
    return bind(node, likely, complaints, what)


def _known_keys(node: Node, shape: Shape) -> int:
    """How many keys of a mapping a record has: of several records the one that has most was meant."""
    if not isinstance(node, document.Table) or not isinstance(shape, Record):
        return 0
    return sum(shape.field(key.text) is not None for key, _ in node.pairs)


def kinds(shape: Shape) -> tuple[type, ...]:
    """The nodes that may be meant as a value of this shape."""
    match shape:
        case Scalar("null"):
            return ()  # a key that is not wanted is left out: an empty value is a slip
        case Scalar() | Choice() | Spelled():
            return (document.Scalar,)
        case Listing():
            return (document.Listing,)
        case Record() | Table():
            return (document.Table,)
        case Either(options):
            return tuple(kind for option in options for kind in kinds(option))
        case Anything():
            return (document.Scalar, document.Listing, document.Table)


def _anything(node: Node, complaints: Complaints) -> object:
    match node:
        case document.Listing():
            return [bind(item, Anything(), complaints) for item in node.items]
        case document.Table():
            return {key.text: bind(value, Anything(), complaints) for key, value in node.pairs}
        case document.Scalar():
            return _plain(node, complaints)


def _plain(node: document.Scalar, complaints: Complaints) -> object:
    """A scalar where any would do: YAML 1.2's reading, and a complaint where readers differ."""
    if not node.plain:
        return node.text
    if is_null(node):
        return None
    if node.text in TRUTHS:
        return TRUTHS[node.text]
    if INTEGER.fullmatch(node.text):
        return int(node.text)
    if NUMBER.fullmatch(node.text):
        return float(node.text)
    if DOUBTFUL.fullmatch(node.text):
        complaints.add(
            node.place,
            f"`{node.source}` means different things to different readers: put it in quotes, or write true, false or a plain number",
        )
        return UNFIT
    return node.text
