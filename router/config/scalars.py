"""Binding of scalars: a text, a truth value, a number, or a value that is written in a form of its own."""

from collections.abc import Sequence

from router.config import remedies
from router.config.complaints import Complaints
from router.config.document import DOUBTFUL, INTEGER, NULLS, NUMBER, TRUTHS, VARIABLE, Listing, Node, Scalar, is_null
from router.config.meant import closest
from router.config.remedies import example
from router.config.values import Name, Secret
from router.errors import Misfit
from router.signature import Anything, Either, ListOf, MapOf, OneOf, Plain, Record, Shape, Spelled

UNFIT = object()
"""The result for a node that could not be bound. Its complaint, if it is a mistake, has been recorded."""


def chosen(node: Node, shape: OneOf, complaints: Complaints, what: str) -> object:
    """Return the text of a node if it is one of a few; UNFIT, with a complaint, if it is not. `what`: the node's name in complaints."""
    if type(node) is not Scalar or (node.plain and node.text in NULLS):
        return _no_value(node, shape, complaints, what)
    if node.text in shape.values:
        return node.text
    hint = closest(node.text, shape.values) or truth_meant(node.text, shape.values)
    complaints.add(node.place, f"`{node.source}` is not one of {', '.join(shape.values)}{hint}")
    return UNFIT


def plain_scalar(node: Node, shape: Plain, complaints: Complaints, what: str) -> object:
    """Return the text, number or truth value of a node; UNFIT, with a complaint, if it does not fit. `what`: its name in complaints."""
    if type(node) is not Scalar or (node.plain and node.text in NULLS):
        return _no_value(node, shape, complaints, what)
    value, bounds = _scalar(node, shape.kind, complaints, what), shape.bounds
    if bounds is not None and isinstance(value, int | float) and not bounds.hold(value):
        complaints.add(node.place, f"{what.strip('`')} must be {bounds}")
        return UNFIT
    return value


def _no_value(node: Node, shape: Plain | OneOf | Spelled, complaints: Complaints, what: str) -> object:
    """Complain of a node that is no scalar, or has no value, where a scalar is needed."""
    if isinstance(node, Scalar):
        complaints.add(node.place, f"{what} has no value: {wanted(shape)} is needed")
    else:
        complaints.add(node.place, f"{what} takes {wanted(shape)}, not a {'list' if isinstance(node, Listing) else 'mapping'}")
    return UNFIT


def truth_meant(word: str, values: Sequence[str]) -> str:
    """Return the hint `; did you mean …?` for a truth value such as `yes` where one of `values` is needed; empty if none fits."""
    meant = HINTS.get(("boolean", word.lower()), f"`{word.lower()}`")
    words = ("none", "off", "hide", "skip") if "`false`" in meant else ("on", "show", "keep") if "`true`" in meant else ()
    return next((f"; did you mean `{one}`?" for one in words if one in values), "")


def spelled_value(node: Node, shape: Spelled, complaints: Complaints, what: str) -> object:
    """Return the value of a node with a form of its own; UNFIT, with a complaint, if it does not fit. `what`: its name in complaints."""
    if type(node) is not Scalar or (node.plain and node.text in NULLS):
        return _no_value(node, shape, complaints, what)
    text, secret = node.text, shape.kind is Secret
    # Few texts have one of these, so few are looked at for a slip.
    odd = secret or (not text.isalnum() and ("$" in text or "%" in text or "{" in text or not text.isascii() or "env" in text.lower()))
    if odd and (slip := _slip(node, secret=secret)):
        complaints.add(node.place, slip)
        return UNFIT
    try:
        value = shape.read(text)
    except ValueError as error:  # urlsplit has objections of its own
        complaints.add(node.place, _objection(node, shape, error))
        return UNFIT
    if isinstance(value, Name):
        value.place, value.source = node.place, node.source
    elif isinstance(value, Secret):
        named = node.source != text and ":-" not in node.source  # a default is a key written out
        return Secret(value.value, node.source if named else value.source, node.place)
    return value


def _slip(node: Scalar, *, secret: bool) -> str:
    """Return the complaint of a variable in another program's spelling, or of a typographic quote; empty without a slip."""
    text = node.text
    bare = text if secret and VARIABLE.fullmatch(text) else ""
    if node.source == text and (name := remedies.variable(text) or bare):
        quotes = ", in quotes where it stands between brackets" if node.plain else ""
        return f"this is the text `{text.strip()}`, not what the variable holds: write ${{{name}}}{quotes}"
    if node.plain and text[:1] in TYPOGRAPHIC:
        return f"`{text[:1]}` is no quote in YAML, but part of the text: write \" or '"
    return ""


def _objection(node: Scalar, shape: Spelled, error: ValueError) -> str:
    """Return the complaint of a text that its reader refused. What a variable holds is never shown, not a piece of it."""
    misfit = error if isinstance(error, Misfit) else Misfit(f"this is no {shape.name} such as {shape.example}")
    quoted = node.source != node.text and misfit.message.startswith("`")  # such a message quotes the text
    return f"what `{node.source}` holds is no {shape.name} such as {shape.example}" if quoted else misfit.message


TYPOGRAPHIC = tuple("“”„‘’«»")
"""Quotes that word processors and web pages make."""


def _scalar(node: Scalar, kind: str, complaints: Complaints, what: str) -> object:
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


def wanted(shape: Shape) -> str:
    """Return in words what a value of this shape looks like, e.g. `a duration, e.g. 10s`."""
    match shape:
        case OneOf(values):
            return "one of " + ", ".join(values)
        case Spelled(name, _, _, shown):
            return f"a {name}, e.g. {shown}"
        case Plain(kind):
            return WANTED[kind]
        case ListOf(item):
            return f"a list, e.g. [{item.example if isinstance(item, Spelled) else '…'}]"
        case Record():
            return f"a mapping, e.g. {example(shape)}"
        case MapOf():
            return f"a mapping of names, e.g. {example(shape)}"
        case Either(options):
            return " or ".join(wanted(option) for option in options if option != Plain("null"))
        case Anything():
            return "a value"


def plain_value(node: Scalar, complaints: Complaints) -> object:
    """Return the value of a scalar of any type, as YAML 1.2 reads it; UNFIT, with a complaint, for `yes`, `012` and the like."""
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
        why = "means different things to different readers: put it in quotes, or write true, false or a plain number"
        complaints.add(node.place, f"`{node.source}` {why}")
        return UNFIT
    return node.text
