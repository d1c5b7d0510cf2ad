"""Binding of scalars: a text, a truth value, a number, or a value that is written in a form of its own."""

from collections.abc import Sequence

from router.config import remedies
from router.config.complaints import Complaints
from router.config.document import DOUBTFUL, INTEGER, NUMBER, TRUTHS, VARIABLE, Listing, Node, Scalar, is_null
from router.config.meant import closest
from router.config.remedies import example
from router.config.values import Name, Secret
from router.errors import Misfit
from router.signature import Anything, Either, ListOf, MapOf, OneOf, Plain, Record, Shape, Spelled

UNFIT = object()
"""The result for a node that could not be bound. Its complaint, if it is a mistake, has been recorded."""


def scalar_value(node: Node, shape: Plain | OneOf | Spelled, complaints: Complaints, what: str) -> object:
    """Return the value of a node that has to be a scalar; UNFIT, with a complaint, if it does not fit. `what`: its name in complaints."""
    if not isinstance(node, Scalar):
        complaints.add(node.place, f"{what} takes {wanted(shape)}, not a {'list' if isinstance(node, Listing) else 'mapping'}")
        return UNFIT
    if is_null(node):
        complaints.add(node.place, f"{what} has no value: {wanted(shape)} is needed")
        return UNFIT
    match shape:
        case OneOf(values):
            if node.text in values:
                return node.text
            hint = closest(node.text, values) or truth_meant(node.text, values)
            complaints.add(node.place, f"`{node.source}` is not one of {', '.join(values)}{hint}")
            return UNFIT
        case Spelled():
            return _spelled(node, shape, complaints)
        case Plain(kind, bounds):
            value = _scalar(node, kind, complaints, what)
            if bounds is not None and isinstance(value, int | float) and not bounds.hold(value):
                complaints.add(node.place, f"{what.strip('`')} must be {bounds}")
                return UNFIT
            return value


def truth_meant(word: str, values: Sequence[str]) -> str:
    """Return the hint `; did you mean …?` for a truth value such as `yes` where one of `values` is needed; empty if none fits."""
    meant = HINTS.get(("boolean", word.lower()), f"`{word.lower()}`")
    words = ("none", "off", "hide", "skip") if "`false`" in meant else ("on", "show", "keep") if "`true`" in meant else ()
    return next((f"; did you mean `{one}`?" for one in words if one in values), "")


def _spelled(node: Scalar, shape: Spelled, complaints: Complaints) -> object:
    bare = node.text if shape.kind is Secret and VARIABLE.fullmatch(node.text) else ""
    if node.source == node.text and (name := remedies.variable(node.text) or bare):
        quotes = ", in quotes where it stands between brackets" if node.plain else ""
        complaints.add(node.place, f"this is the text `{node.text.strip()}`, not what the variable holds: write ${{{name}}}{quotes}")
        return UNFIT
    if node.plain and node.text[:1] in TYPOGRAPHIC:
        complaints.add(node.place, f"`{node.text[:1]}` is no quote in YAML, but part of the text: write \" or '")
        return UNFIT
    try:
        value = shape.read(node.text)
    except ValueError as error:  # urlsplit has objections of its own
        misfit = error if isinstance(error, Misfit) else Misfit(f"this is no {shape.name} such as {shape.example}")
        # A message that begins with a backtick quotes the text: what a variable holds is never shown, not a piece of it.
        quoted = node.source != node.text and misfit.message.startswith("`")
        mistake = f"what `{node.source}` holds is no {shape.name} such as {shape.example}" if quoted else misfit.message
        complaints.add(node.place, mistake)
        return UNFIT
    if isinstance(value, Name):
        value.place, value.source = node.place, node.source
    if isinstance(value, Secret):
        named = node.source != node.text and ":-" not in node.source  # a default is a key written out
        return Secret(value.value, node.source if named else value.source, node.place)
    return value


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
