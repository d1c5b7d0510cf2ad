"""Conditions on an entry of a route's targets: the keys of `when`, the test for one question, the test for any question at all.

    - {use: cheap, when: {budget_used: 80%}}

All conditions of one `when` must hold; of a list of values any one is enough. There is no `not`: a range has two ends, and an entry
for all others stands behind the one for some.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated

from router.chat import Circumstances, Json
from router.config.values import Name
from router.errors import Misfit
from router.signature import Spelled
from router.value import Value, names

CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "x-goog-api-key", "x-auth-token"})
"""Headers that hold secrets: a condition may not name them, because their values would stand in a file."""
MAX_HELD = 100_000
"""Conditions that are tested at most to find a question that reaches an entry: their number may be a product of all lists of values."""
MAX_DIGITS = 9
MAX_VALUE = 256
"""Most characters of a value that a caller, a claim or a header is compared with."""


class Range(Value, frozen=True):
    """A range of numbers: at least `least` and less than `below`."""

    least: float = 0.0
    below: float = math.inf

    def __contains__(self, number: float) -> bool:
        return self.least <= number < self.below

    @property
    def ends(self) -> tuple[float, ...]:
        """The lower end, and the upper end if there is one."""
        return (self.least,) if self.below == math.inf else (self.least, self.below)


def _tokens(text: str) -> Range:
    hit = re.fullmatch(rf"(\d{{1,{MAX_DIGITS}}})?\.\.(\d{{1,{MAX_DIGITS}}})?", text, re.ASCII)
    if hit is None or not (hit[1] or hit[2]):
        raise Misfit(f"`{text}` is not a range of tokens: write 8000.. for 8000 and more, ..8000 for fewer, or 2000..8000")
    made = Range(float(hit[1] or 0), float(hit[2] or math.inf))
    if made.least >= made.below:
        raise Misfit(f"`{text}` is empty: no conversation has so many tokens; the smaller number comes first")
    if made == Range():
        raise Misfit(f"`{text}` holds for every conversation: leave `tokens` out, or write 8000.. or ..8000")
    return made


def _written(made: Range, ends: str, factor: int = 1) -> str:
    """Return a range as the file has it. `ends`: the format of its ends, each times `factor`; an end that is none is left out."""
    least, below = (ends.format(end * factor) if end not in (0, math.inf) else "" for end in (made.least, made.below))
    return f"{least}..{below}"


SHARE = r"\d{1,3}(?:\.\d{1,4})?%"


def _used(text: str) -> Range:
    hit = re.fullmatch(rf"({SHARE})?(\.\.)?({SHARE})?", text, re.ASCII)
    if hit is None or not (hit[1] or hit[3]) or (hit[1] and hit[3] and not hit[2]):
        raise Misfit(f"`{text}` is not a share of a budget: write 80% for that much and more, ..80% for less, or 50%..80%")
    least, below = float((hit[1] or "0%")[:-1]) / 100, float((hit[3] or "100%")[:-1]) / 100
    if least >= 1:
        raise Misfit(f"`{text}` never holds: once all of a limit is used, questions are refused; write less than 100%")
    if below > 1 or least >= below:
        raise Misfit(f"`{text}` is empty: write the smaller share first, and 100% at most")
    made = Range(least, below if below < 1 else math.inf)
    if made == Range():
        raise Misfit(f"`{text}` holds for every question: leave `budget_used` out, or write e.g. 80%")
    return made


def _word(text: str) -> str:
    if not text or len(text) > MAX_VALUE or text != text.strip():
        raise Misfit(f"a value to compare with has 1 to {MAX_VALUE} characters, and no blank at its ends")
    return text


def _header(text: str) -> Name:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text, re.ASCII):
        raise Misfit(f"`{text[:40]}` is not the name of a header: letters, digits and -, e.g. X-Tier")
    if text.lower() in CREDENTIALS:
        why = "name the caller with `caller`, or a claim of its token with `claim`"
        raise Misfit(f"`{text}` holds a secret, and none is written here: {why}")
    return Name(text.lower())


Word = Annotated[str, Spelled("text", _word, "", "gold")]
RequestHeader = Annotated[Name, Spelled("header", _header, "^[A-Za-z0-9-]{1,64}$", "X-Tier")]
ClaimName = Annotated[Name, Spelled("claim", lambda text: Name(_word(text)), "", "plan")]
Tokens = Annotated[Range, Spelled("range of tokens", _tokens, r"^(\d+\.\.\d*|\.\.\d+)$", "8000..", lambda made: _written(made, "{:.0f}"))]
BUDGET = r"^\d[\d.]*%(\.\.(\d[\d.]*%)?)?$|^\.\.\d[\d.]*%$"
BudgetUsed = Annotated[Range, Spelled("share of a budget", _used, BUDGET, "80%", lambda made: _written(made, "{:.10g}%", 100))]


class When(Value, frozen=True, kw_only=True):
    """The condition of a target in a route. All keys must hold; of several values of a key, one must hold.

    caller: the name of the caller: that of its key, or the token's `sub`
    claim: claim of the caller's token → its value
    header: header of the request → its value, exactly. Clients choose their headers: this is no access control
    has_image: true: the conversation has an image; false: it has none
    tokens: estimated tokens of the conversation: 8000.. for 8000 and more, ..8000 for fewer than 8000
    budget_used: used share of the tightest limit on money or tokens for the question: 80% for that much and more, ..80% for less
    """

    caller: Word | tuple[Word, ...] | None = None
    claim: dict[ClaimName, Word | tuple[Word, ...]] | None = None
    header: dict[RequestHeader, Word | tuple[Word, ...]] | None = None
    has_image: bool | None = None
    tokens: Tokens | None = None
    budget_used: BudgetUsed | None = None

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in names(type(self))):
            raise Misfit("`when` says nothing: write caller, claim, header, has_image, tokens or budget_used, e.g. {budget_used: 80%}")
        for name, values in self._values:
            if values == ():
                raise Misfit(f"`{name}` has no value: none would ever do", name)

    @property
    def _values(self) -> Iterator[tuple[str, "Values"]]:
        """Yield (name of the condition, value or values) for the caller, each claim and each header that the condition compares."""
        if self.caller is not None:
            yield "caller", self.caller
        for name, named in (("claim", self.claim), ("header", self.header)):
            yield from ((name, values) for values in (named or {}).values())

    @property
    def callers(self) -> frozenset[str]:
        """The callers that the condition names; empty if it names none."""
        return frozenset(() if self.caller is None else listed(self.caller))

    def holds(self, here: Circumstances, tokens: int, *, has_image: bool) -> bool:
        """Return True if the whole condition holds for a question with these circumstances, so many tokens, and an image or none."""
        return (
            (self.caller is None or here.caller in listed(self.caller))
            and all(_has(here.claims.get(name), listed(values)) for name, values in (self.claim or {}).items())
            and all(not set(listed(values)).isdisjoint(here.headers.get(name, ())) for name, values in (self.header or {}).items())
            and (self.has_image is None or self.has_image == has_image)
            and (self.tokens is None or tokens in self.tokens)
            and (self.budget_used is None or here.budget_used in self.budget_used)
        )


Values = str | tuple[str, ...]


def listed(values: Values) -> tuple[str, ...]:
    """Return one value or several as a tuple."""
    return (values,) if isinstance(values, str) else values


def _has(claimed: Json, values: tuple[str, ...]) -> bool:
    """Return True if a token's claim is one of these values, or a list that contains one of them."""
    several = claimed if isinstance(claimed, Sequence) and not isinstance(claimed, str) else (claimed,)
    return any(_text(one) in values for one in several)


def _text(value: Json) -> str | None:
    """Return a claim's value as it would stand in the file: a text, a whole number, true or false; None for any other value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


def reachable(entry: When | None, earlier: Sequence[When | None], most: int = MAX_HELD) -> bool:
    """Return True if some question exists for which `entry` holds and none of `earlier` does. None is an entry without a condition.

    It is enough to check questions with just the caller, claims and headers that `entry` asks for, and the numbers at the ends of ranges.
    Return True also where these are too many: no more than `most` conditions are tested.
    """
    if None in earlier:
        return False
    others = [one for one in earlier if one is not None]
    for number, (here, tokens, has_image) in enumerate(_questions(entry, others)):
        if number * len(others) >= most:
            return True
        taken = any(one.holds(here, tokens, has_image=has_image) for one in others)
        if not taken and (entry is None or entry.holds(here, tokens, has_image=has_image)):
            return True
    return False


def _questions(entry: When | None, others: Sequence[When]) -> Iterator[tuple[Circumstances, int, bool]]:
    """Yield (circumstances, tokens, whether it has an image) of each question that is enough to check."""
    known = [*others, *([entry] if entry else [])]
    tokens = sorted({0, *(int(end) for one in known if one.tokens for end in one.tokens.ends)})
    shares = sorted({0.0, *(end for one in known if one.budget_used for end in one.budget_used.ends)})
    callers, claim, header = (entry.callers, entry.claim, entry.header) if entry else (frozenset[str](), None, None)
    for caller in sorted(callers) or [""]:
        for claims in _choices(claim or {}):
            for headers in _choices(header or {}):
                for count, share, image in product(tokens, shares, (False, True)):
                    yield Circumstances(caller, claims, {name: (value,) for name, value in headers.items()}, share), count, image


def _choices(wanted: Mapping[Name, Values]) -> Iterator[dict[str, str]]:
    """Yield every mapping that gives each name one of its values."""
    return (dict(zip(map(str, wanted), chosen, strict=True)) for chosen in product(*map(listed, wanted.values())))
