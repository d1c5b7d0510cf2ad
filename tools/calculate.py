"""Arithmetic, exactly. The expression is read by the small parser below; nothing of it is ever run as code."""

import math
import re
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

from router.errors import ToolError

MAX_LENGTH = 500
MAX_DEPTH = 50
MAX_BITS = 4_096
"""Of a numerator or denominator: no step can make a number that takes long to multiply or to print."""
MAX_DIGITS = 40
"""Significant digits of a result that has no end."""

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:[eE](?P<exponent>[+-]?\d{1,4}))?|(?P<word>[a-zA-Z_πτ]+)|(?P<sign>\*\*|//|[-+*/%^(),×÷·−]))"
)
SAME = {"^": "**", "×": "*", "·": "*", "÷": "/", "−": "-"}
CONSTANTS = {"pi": Fraction(math.pi), "π": Fraction(math.pi), "e": Fraction(math.e), "tau": Fraction(math.tau), "τ": Fraction(math.tau)}
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2}


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, exactly: + - * / // % ** ( ), sqrt, abs, round, min, max, sin, cos, tan, log, ln, exp, pi, e.

    expression: e.g. (3 + 4) * 12 / 5
    """
    if not expression.strip():
        raise ToolError("There is nothing to calculate.")
    if len(expression) > MAX_LENGTH:
        raise ToolError(f"An expression may have {MAX_LENGTH} characters at most.")
    return _shown(_Parser(_tokens(expression)).whole())


def _tokens(expression: str) -> list[str | Fraction]:
    made: list[str | Fraction] = []
    at = 0
    while expression[at:].strip():
        hit = TOKEN.match(expression, at)
        if hit is None:
            rest = expression[at:].lstrip()
            raise ToolError(f"This cannot be read as arithmetic: `{rest[:20]}`, at character {len(expression) - len(rest) + 1}.")
        at = hit.end()
        if hit["number"]:
            value = Fraction(hit["number"].replace(",", ""))
            if hit["exponent"]:
                value *= _power(Fraction(10), Fraction(int(hit["exponent"])))
            made.append(_bounded(value))
        else:
            word = hit["word"] or hit["sign"]
            made.append(SAME.get(word, word))
    return made


class _Parser:
    """Precedence climbing over the tokens."""

    def __init__(self, tokens: list[str | Fraction]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def whole(self) -> Fraction:
        value = self._sum(1)
        if self._at < len(self._tokens):
            raise ToolError(f"`{_word(self._tokens[self._at])}` does not belong there.")
        return value

    def _sum(self, least: int) -> Fraction:
        left = self._signed()
        while isinstance(sign := self._peek(), str) and PRECEDENCE.get(sign, 0) >= least:
            self._at += 1
            left = _bounded(_applied(sign, left, self._sum(PRECEDENCE[sign] + 1)))
        return left

    def _signed(self) -> Fraction:
        """A sign binds weaker than a power: -2 ** 2 is -4, as in mathematics."""
        self._deeper()
        sign = self._peek()
        if sign in ("+", "-"):
            self._at += 1
            value = self._signed()
            value = -value if sign == "-" else value
        else:
            value = self._atom()
            if self._peek() == "**":
                self._at += 1
                value = _power(value, self._signed())  # from the right: 2 ** 3 ** 2 is 2 ** 9
        self._depth -= 1
        return value

    def _atom(self) -> Fraction:
        token = self._next()
        if isinstance(token, Fraction):
            return token
        if token == "(":  # noqa: S105 - no secret
            value = self._sum(1)
            self._expect(")")
            return value
        if token in FUNCTIONS:
            self._expect("(")
            values = [self._sum(1)]
            while self._peek() == ",":
                self._at += 1
                values.append(self._sum(1))
            self._expect(")")
            return _called(token, values)
        if token in CONSTANTS:
            return CONSTANTS[token]
        raise ToolError(f"`{token}` is not known here, or does not belong there.")

    def _peek(self) -> str | Fraction | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> str | Fraction:
        token = self._peek()
        if token is None:
            raise ToolError("The expression ends too early.")
        self._at += 1
        return token

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            raise ToolError(f"`{sign}` is missing.")
        self._at += 1

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError(f"The expression is nested deeper than {MAX_DEPTH} levels.")


def _word(token: str | Fraction) -> str:
    return token if isinstance(token, str) else _shown(token)


def _applied(sign: str, left: Fraction, right: Fraction) -> Fraction:
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    if right == 0:
        raise ToolError("That divides by zero.")
    return {"/": lambda: left / right, "//": lambda: Fraction(left // right), "%": lambda: left % right}[sign]()


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if base == 0 and exponent < 0:
        raise ToolError("That divides by zero.")
    if exponent.denominator != 1:
        if base < 0:
            raise ToolError("That power is not a real number.")
        return _real(lambda: float(base) ** float(exponent))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base not in (0, 1, -1) and bits * abs(exponent.numerator) > 2 * MAX_BITS:
        raise ToolError("That number is too large.")
    # With a base of 1, 0 or -1 only the exponent's parity matters; it may itself be huge.
    whole = exponent.numerator if base not in (0, 1, -1) else (exponent.numerator % 2 or (2 if exponent else 0))
    return _bounded(base**whole)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise ToolError("That number is too large.")
    return value


def _real(make: Callable[[], float]) -> Fraction:
    """A value that floating point has to do for."""
    try:
        return _bounded(Fraction(make()))
    except OverflowError:
        raise ToolError("That number is too large.") from None
    except ValueError:
        raise ToolError("That has no real value.") from None


def _floating(function: Callable[[float], float]) -> Callable[[Fraction], Fraction]:
    return lambda value: _real(lambda: function(float(value)))


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise ToolError("A negative number has no real root.")
    above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
    exact = above * above == value.numerator and below * below == value.denominator
    return Fraction(above, below) if exact else _real(lambda: math.sqrt(value))


def _log(value: Fraction, base: Fraction = Fraction(10)) -> Fraction:
    if value <= 0 or base <= 0 or base == 1:
        raise ToolError("That logarithm has no real value.")
    return _real(lambda: math.log10(value) if base == 10 else math.log(value) / math.log(base))


def _rounded(value: Fraction, digits: Fraction = Fraction(0)) -> Fraction:
    if digits.denominator != 1 or abs(digits) > 100:
        raise ToolError("round takes a whole number of digits, 100 at most.")
    return Fraction(round(value, int(digits)))


FUNCTIONS: dict[str, tuple[int, int, Callable[..., Fraction]]] = {
    "sqrt": (1, 1, _root),
    "abs": (1, 1, Fraction.__abs__),
    "round": (1, 2, _rounded),
    "min": (1, 50, min),
    "max": (1, 50, max),
    "sin": (1, 1, _floating(math.sin)),
    "cos": (1, 1, _floating(math.cos)),
    "tan": (1, 1, _floating(math.tan)),
    "log": (1, 2, _log),
    "ln": (1, 1, _floating(math.log)),
    "exp": (1, 1, _floating(math.exp)),
}
"""Name → how many values it takes, at least and at most, and what it makes of them."""


def _called(name: str, values: list[Fraction]) -> Fraction:
    least, most, function = FUNCTIONS[name]
    if not least <= len(values) <= most:
        raise ToolError(f"{name} takes {least if least == most else f'{least} to {most}'} value{'s' if most > 1 else ''}.")
    # min and max of one value would look into it.
    return values[0] if name in ("min", "max") and len(values) == 1 else _bounded(function(*values))


def _shown(value: Fraction) -> str:
    """A whole number or a decimal that ends, exactly; any other to so many digits, and said to be about that."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest == 1 and places <= MAX_DIGITS:
        return _decimal(value, places)
    with localcontext(prec=15):
        return f"about {Decimal(value.numerator) / Decimal(value.denominator):.15g}"


def _decimal(value: Fraction, places: int) -> str:
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
