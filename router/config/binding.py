"""Binding of nodes to shapes: a value, and a complaint for each part that does not fit."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.config import document, remedies
from router.config.document import DOUBTFUL, INTEGER, NUMBER, TRUTHS, VARIABLE, Node, is_null
from router.config.remedies import Advice, example
from router.config.secrecy import without_secret_queries
from router.config.values import Name, Secret
from router.errors import Complaint, Misfit, Place
from router.signature import Anything, Either, ListOf, MapOf, OneOf, Plain, Record, Shape, Spelled

LITERAL_SECRET = re.compile(
    r"""(?i)((?:(?<![a-z0-9])keys?|(?<!first_)token|secret|password|authorization|api_?k\w*|cookie|(?<=\w-)(?:auth|bearer|code|credential|jwt|passwd|pwd|sas|sig|signature|subscription))["']?\s*[:=：]\s*|://(?=[^\s/]*@))(?!["']?\$\{(?!\w+:-)|\d{1,3}(?:ms|s|m|h)?\s*[,}\n]|\d{1,3}(?:ms|s|m|h)?\s*$)[^\s,}].*""",
)
"""A secret written out in a file, also in an address or as a default: the line is quoted without it. Times and numbers are not secrets."""
SECRET_BELOW = re.compile(
    r"""(?i)(?:(?<![a-z0-9])keys?|(?<!first_)token|secret|password|authorization|api_?k\w*|cookie|(?<=\w-)(?:auth|bearer|code|credential|jwt|passwd|pwd|sas|sig|signature|subscription))["']?\s*:\s*[|>]?[-+]?\s*(?:#.*)?$"""
)
"""A line whose secret stands on the next line: that next line is not quoted at all."""


@dataclass(frozen=True, slots=True)
class Complaints:
    """The mistakes found so far, over every file of a load."""

    texts: Mapping[str, str]
    """File name → its text: complaints quote the line."""
    found: list[Complaint] = field(default_factory=list[Complaint])
    warnings: list[Complaint] = field(default_factory=list[Complaint])
    """Warnings: not a mistake by itself, but seldom meant."""
    lacking: list[Complaint] = field(default_factory=list[Complaint])
    """Variables and secret files that are missing, where that is not a mistake: see `without_environment`."""
    without_environment: bool = False
    noted: set[tuple[int, Complaint]] = field(default_factory=set[tuple[int, Complaint]])
    """All of these, with the number of their list: each is recorded once."""
    lines: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """File name → its lines, once one of them is quoted."""
    advice: Advice = field(default_factory=lambda: Advice({}))

    def trial(self) -> "Complaints":
        """Return complaints that record mistakes of their own: whether a shape fits is tried."""
        return Complaints(self.texts, [], self.warnings, self.lacking, self.without_environment, set(), self.lines, self.advice)

    def add(self, place: Place, message: str) -> None:
        """Record a mistake, once."""
        self._note(0, self.found, place, message)

    def warn(self, place: Place, message: str) -> None:
        """Record a warning, once."""
        self._note(1, self.warnings, place, message)

    def lack(self, place: Place, message: str) -> None:
        """Record a variable or secret file that is missing."""
        if self.without_environment:
            self._note(2, self.lacking, place, message)
        else:
            self._note(0, self.found, place, message)

    def _note(self, number: int, found: list[Complaint], place: Place, message: str) -> None:
        lines = self._lines_of(place.file)
        line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
        before = (lines[index] for index in range(min(place.line - 1, len(lines)) - 1, -1, -1))
        above = next((one for one in before if not re.match(r"\s*(#|$)", one)), "")
        line = "" if SECRET_BELOW.search(above) else without_secret_queries(LITERAL_SECRET.sub(r"\1***", line))
        complaint = Complaint(place, message, line)
        if (number, complaint) not in self.noted:
            self.noted.add((number, complaint))
            found.append(complaint)

    def _lines_of(self, file: str) -> list[str]:
        if file not in self.lines:
            self.lines[file] = self.texts.get(file, "").splitlines()
        return self.lines[file]

    def in_order(self) -> tuple[Complaint, ...]:
        """Return all mistakes, file by file, from top to bottom."""
        return self.sorted(self.found)

    def sorted(self, found: Iterable[Complaint]) -> tuple[Complaint, ...]:
        """Return these complaints, file by file, from top to bottom."""
        files = list(self.texts)
        order = {name: index for index, name in enumerate(files)}
        return tuple(
            sorted(found, key=lambda one: (order.get(one.place.file, len(files)), one.place.file, one.place.line, one.place.column)),
        )


def _close(word: str, words: Sequence[str], cutoff: float = 0.6) -> str:
    close = difflib.get_close_matches(word.lower(), [one.lower() for one in words], 1, cutoff)
    return f"; did you mean `{next(one for one in words if one.lower() == close[0])}`?" if close else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?`, else the known words where they are few, else nothing."""
    words = list(known)
    if close := _close(word, words):
        return close
    return f"; there is {', '.join(f'`{one}`' for one in words)}" if 0 < len(words) <= 12 else ""


def file_meant(word: str, known: Sequence[str], ending: str) -> str:
    """Return the hint for the name of a file, which is written without its folder and its ending."""
    bare = word.removesuffix(ending).rpartition("/")[2]
    if bare != word and bare in known:
        return f"; did you mean `{bare}`, without its folder and `{ending}`?"
    return did_you_mean(word, known)


def step_meant(word: str, known: Iterable[str]) -> str:
    """Return the hint for a word of a pipeline."""
    words = list(known)
    advice = remedies.STEPS.get(word.lower())
    return _close(word, words, 0.8) or (f"; {advice}" if advice else did_you_mean(word, words))


class Unfit:
    """The value of a node that could not be bound. Its complaint has been recorded."""


UNFIT = Unfit()


def bind(node: Node, shape: Shape, complaints: Complaints, what: str = "this") -> object:
    """Return the value of a node, or UNFIT."""
    if isinstance(node, document.Scalar) and (node.unset or node.forgiven):
        if not node.forgiven:
            complaints.lack(node.place, node.unset + _to_set(node.unset))
        return _stand_in(shape) if node.unset else UNFIT  # malformed: complained of already
    match shape:
        case Spelled() | Plain() | OneOf():  # most are
            return _text(node, shape, complaints, what)
        case Either(options):
            return _either(node, options, complaints, what)
        case Record():
            return _record(node, shape, complaints, what)
        case MapOf():
            return _table(node, shape, complaints, what)
        case ListOf(item):
            return _listing(node, item, complaints, what)
        case Anything():
            return _anything(node, complaints)


def _to_set(unset: str) -> str:
    """Return the advice for a variable that is not set; `${NAME:?message}` has its own."""
    hit = re.fullmatch(r"the environment variable (\w+) is not set", unset)
    return f": set it where the router is started or in .env, or give it a default, ${{{hit[1]}:-…}}" if hit else ""


def _stand_in(shape: Shape) -> object:
    """Return some value of this shape, for a scalar whose own value is unknown and not needed."""
    match shape:
        case OneOf(values):
            return values[0]
        case Spelled():
            return _example(shape)
        case Plain(kind):
            return {"string": "unset", "boolean": False, "integer": 1, "number": 1.0, "null": None}[kind]  # within all bounds there are
        case Either(options):
            return _stand_in(options[0])
        case _:
            return UNFIT


def _example(shape: Spelled) -> object:
    try:
        return shape.read(shape.example)
    except Misfit:  # the example of a secret names a variable
        return UNFIT


def _text(node: Node, shape: Plain | OneOf | Spelled, complaints: Complaints, what: str) -> object:
    if not isinstance(node, document.Scalar):
        complaints.add(node.place, f"{what} takes {_wanted(shape)}, not a {'list' if isinstance(node, document.Listing) else 'mapping'}")
        return UNFIT
    if is_null(node):
        complaints.add(node.place, f"{what} has no value: {_wanted(shape)} is needed")
        return UNFIT
    match shape:
        case OneOf(values):
            if node.text in values:
                return node.text
            complaints.add(
                node.place, f"`{node.source}` is not one of {', '.join(values)}{_close(node.text, values) or _switch(node.text, values)}"
            )
            return UNFIT
        case Spelled():
            return _spelled(node, shape, complaints)
        case Plain(kind, bounds):
            value = _scalar(node, kind, complaints, what)
            if bounds is not None and isinstance(value, int | float) and not bounds.hold(value):
                complaints.add(node.place, f"{what.strip('`')} must be {bounds}")
                return UNFIT
            return value


def _switch(word: str, values: Sequence[str]) -> str:
    """Return the hint where a truth value stands for a word, such as `false` or `yes`."""
    meant = HINTS.get(("boolean", word.lower()), f"`{word.lower()}`")
    words = ("none", "off", "hide", "skip") if "`false`" in meant else ("on", "show", "keep") if "`true`" in meant else ()
    return next((f"; did you mean `{one}`?" for one in words if one in values), "")


def _spelled(node: document.Scalar, shape: Spelled, complaints: Complaints) -> object:
    if node.source == node.text and (name := remedies.variable(node.text) or _bare_variable(node, shape)):
        complaints.add(
            node.place, f"this is the text `{node.text.strip()}`, not what the variable holds: write ${{{name}}}{_in_flow(node)}"
        )
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


def _bare_variable(node: document.Scalar, shape: Spelled) -> str:
    """Return the name of a variable that stands in place of a secret."""
    return node.text if shape.kind is Secret and VARIABLE.fullmatch(node.text) else ""


def _in_flow(node: document.Scalar) -> str:
    """Return the remark where a reference may need quotes: a plain scalar may stand between brackets."""
    return ", in quotes where it stands between brackets" if node.plain else ""


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
            return " or ".join(_wanted(option) for option in options if option != Plain("null"))
        case Anything():
            return "a value"


def _listing(node: Node, item: Shape, complaints: Complaints, what: str) -> object:
    if not isinstance(node, document.Listing):
        complaints.add(node.place, f"{what} takes a list{_as_list(node, item)}")
        return UNFIT
    values = [bind(entry, item, complaints, f"an entry of {what}") for entry in node.items]
    fit = tuple(value for value in values if value is not UNFIT)
    return fit if fit or not values else UNFIT


def _as_list(node: Node, item: Shape) -> str:
    """Return the advice where another kind of node stands in place of a list."""
    if is_null(node):
        return f", and has no value: write [{example(item)}], or indent what belongs to it"
    if isinstance(node, document.Scalar):
        entry = node.source.removeprefix("-").lstrip()
        dash = "; an entry's dash has a space behind it" if node.plain and node.text.startswith("-") else ""
        return f"; write [{example(item) if node.text in TRUTHS else entry}]{dash}"
    names = ", ".join(key.text for key, _ in node.pairs) if isinstance(node, document.Table) else ""
    return f", not a mapping; write [{names}]" if names else f"; write [{example(item)}]"


def _as_table(node: Node, item: Shape) -> str:
    """Return the advice where another kind of node stands in place of a mapping of names."""
    shown = f"NAME: {example(item)}"
    if is_null(node):
        return f", and has no value: indent what belongs to it, e.g. `{shown}`, by two spaces"
    return f", not {'a list' if isinstance(node, document.Listing) else 'a text'}: write `{shown}`"


def _table(node: Node, table: MapOf, complaints: Complaints, what: str) -> object:
    if not isinstance(node, document.Table):
        complaints.add(node.place, f"{what} takes a mapping of names{_as_table(node, table.item)}")
        return UNFIT
    values: dict[Name, object] = {}
    for key, entry in node.pairs:
        if isinstance(table.item, Record) and table.item.field(key.text) is not None and not isinstance(entry, document.Table):
            complaints.add(key.place, f"`{key.text}` stands among the names of {what}: indent it by two spaces more, below its name")
            continue
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
        # The result is not used. The record's rules still check the other fields now, not after the first mistake is mended.
        built(node, record, values, complaints, among=values)
    return UNFIT


def _hint(pair: tuple[document.Scalar, Node], node: document.Table, record: Record, empty: str, complaints: Complaints) -> str:
    """Return the hint for a key that its mapping does not have. `empty`: the key before it, if that has no value."""
    key, entry = pair
    known = [one.name for one in record.fields]
    word = re.split("[:=：]", key.text, maxsplit=1)[0]
    if word in known:
        return f"; did you mean `{word}`, with a space after its colon?"
    if empty:
        return f"; indent it by two spaces more where it belongs to `{empty}`, which has no value"
    if close := _close(word, known, 0.8):
        return close
    if advice := complaints.advice.of(record, node, replace(key, text=word), entry):
        return f"; {advice}"
    return did_you_mean(word, known)


def _as_record(node: Node, record: Record) -> str:
    """Return the advice where another kind of node stands in place of a mapping with known keys."""
    known = [item.name for item in record.fields]
    if isinstance(node, document.Scalar) and (hit := re.match(r"(\w+)\s*[:=：]", node.text)) and hit[1] in known:
        return f", each key with a colon and a space: write `{hit[1]}: …`"
    names = f" with {', '.join(known)}" if len(known) < 8 else ""
    empty = ", and has no value: indent its keys by two spaces more" if is_null(node) else ""
    return f"{names}{empty}, e.g. {example(record)}"


def _lifted(node: document.Table, record: Record, complaints: Complaints) -> document.Table:
    """Return the mapping with keys that are indented too far moved up to it, so that the rest is checked as meant."""
    pairs: list[tuple[document.Scalar, Node]] = []
    lifted: list[tuple[document.Scalar, Node]] = []
    for key, entry in node.pairs:
        item = record.field(key.text)
        inner = list(entry.pairs) if item is not None and isinstance(entry, document.Table) else []
        strays = [pair for pair in inner if item is not None and _strayed(pair, item.shape, node, record)]
        for stray, _ in strays:
            wide = stray.place.column > key.place.column and stray.place.line > key.place.line
            where = f"begin it in column {key.place.column}" if wide else f"close the bracket of `{key.text}` before it"
            complaints.add(stray.place, f"`{stray.text}` is part of `{key.text}` here, for it is indented too far: {where}")
        lifted += strays
        kept = tuple(pair for pair in inner if pair not in strays)
        pairs.append((key, replace(entry, pairs=kept) if strays and isinstance(entry, document.Table) else entry))
    return replace(node, pairs=(*pairs, *lifted)) if lifted else node


def _strayed(pair: tuple[document.Scalar, Node], shape: Shape, above: document.Table, record: Record) -> bool:
    """Return True if a key among names belongs to the mapping above, and nothing in it is what the names take."""
    key, entry = pair
    if not isinstance(shape, MapOf) or not isinstance(shape.item, Record) or not isinstance(entry, document.Table):
        return False
    fits = any(shape.item.field(inner.text) is not None for inner, _ in entry.pairs)
    return record.field(key.text) is not None and above.get(key.text) is None and not fits and bool(entry.pairs)


def bind_fields(node: Node, record: Record, complaints: Complaints, what: str) -> tuple[dict[str, object], bool]:
    """Return the values of a record's fields that could be bound, and True if that is all of them."""
    if not isinstance(node, document.Table):
        complaints.add(node.place, f"{what} takes a mapping{_as_record(node, record)}")
        return {}, False
    node = _lifted(node, record, complaints)
    bound: dict[str, object] = {}
    meant = ""
    empty = ""
    for key, entry in node.pairs:
        item = record.field(key.text)
        if item is None:
            word = re.split("[:=：]", key.text, maxsplit=1)[0]  # the text behind the colon may be a secret
            hint = _hint((key, entry), node, record, empty, complaints)
            meant += hint
            complaints.add(key.place, f"unknown key `{word}` in {what}{hint}")
        else:
            bound[item.name] = bind(entry, item.shape, complaints, f"`{key.text}`")
            empty = key.text if is_null(entry) else ""
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
    """Build the record from the values. Its own objection becomes a complaint at the field that it names.

    `among`: only an objection to one of these fields counts.
    """
    try:
        return record.build(**values)
    except Misfit as misfit:
        if among is not None and misfit.field not in among:
            return UNFIT
        culprit = node.get(misfit.field) if misfit.field and isinstance(node, document.Table) else None
        if culprit is not None and _is_guessed(culprit):
            return UNFIT  # the objection is to a stand-in for an unknown value
        complaints.add(misfit.place or (culprit or node).place, misfit.message)
        return UNFIT


def _is_guessed(node: Node) -> bool:
    """Return True if a node holds a stand-in for an unknown value."""
    match node:
        case document.Scalar():
            return node.forgiven or bool(node.unset)
        case document.Listing():
            return any(_is_guessed(item) for item in node.items)
        case document.Table():
            return any(_is_guessed(value) for _, value in node.pairs)


def _either(node: Node, options: tuple[Shape, ...], complaints: Complaints, what: str) -> object:
    meant = [option for option in options if isinstance(node, kinds(option))]
    if not meant:
        complaints.add(node.place, f"{what} takes {_wanted(Either(options))}{_pooled(node, options)}")
        return UNFIT
    lists = [option for option in options if isinstance(option, ListOf)]
    if all(isinstance(option, Record) for option in meant) and (hint := _pooled(node, options)) and _better_inside(node, meant, lists):
        complaints.add(node.place, f"{what} takes {_wanted(Either(tuple(one for one in options if one not in meant)))}{hint}")
        return UNFIT
    if isinstance(node, document.Scalar) and not node.unset and isinstance(only := meant[0], OneOf) and len(meant) == 1:
        others = [f" or {_wanted(option)}" for option in options if isinstance(option, Record)]
        if node.text not in only.values and not is_null(node) and others:
            hint = _close(node.text, only.values) or _switch(node.text, only.values)
            complaints.add(node.place, f"`{node.source}` is not one of {', '.join(only.values)}{''.join(others)}{hint}")
            return UNFIT
    for option in meant[:-1]:
        trial = complaints.trial()
        value = bind(node, option, trial, what)
        if not trial.found:
            return value
    likely = max(reversed(meant), key=lambda option: _known_keys(node, option))
    return bind(node, likely, complaints, what)


def _known_keys(node: Node, shape: Shape) -> int:
    """Count the keys of a mapping that a record has: of several records the one with the most was meant."""
    if not isinstance(node, document.Table) or not isinstance(shape, Record):
        return 0
    return sum(shape.field(key.text) is not None for key, _ in node.pairs)


def _better_inside(node: Node, meant: Sequence[Shape], lists: Sequence[ListOf]) -> bool:
    """Return True if an entry of a list shape has more of the mapping's keys than the records that may stand there."""
    inside = [option for one in lists for option in (one.item.options if isinstance(one.item, Either) else (one.item,))]
    most = max((_known_keys(node, option) for option in inside), default=0)
    return most > max(_known_keys(node, option) for option in meant)


def _pooled(node: Node, options: tuple[Shape, ...]) -> str:
    """Return the hint where a mapping stands alone that belongs in a list."""
    takes = any(isinstance(one, ListOf) and isinstance(node, kinds(one.item)) for one in options)
    if not takes or not isinstance(node, document.Table):
        return ""
    shown = ", ".join(f"{key.text}: {value.source if isinstance(value, document.Scalar) else '…'}" for key, value in node.pairs)
    return f"; a mapping stands in a list of its own, a pool: write [{{{shown}}}]"


def kinds(shape: Shape) -> tuple[type, ...]:
    """Return the kinds of nodes that may be meant as a value of this shape."""
    match shape:
        case Plain("null"):
            return ()  # an unwanted key is left out: an empty value is a slip
        case Plain() | OneOf() | Spelled():
            return (document.Scalar,)
        case ListOf():
            return (document.Listing,)
        case Record() | MapOf():
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
    """Return a scalar of any type as YAML 1.2 reads it, with a complaint where readers differ."""
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
