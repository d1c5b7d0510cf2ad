"""The maximum number of calls, tokens and dollars of a rehearsal, computed before it begins."""

from router.chat import Ask, File
from router.params import Params
from router.rehearsal.questions import QUESTIONS
from router.targets import Facts, anthropic, gemini
from router.usage import Usage
from router.value import Value

MAX_CALLS = 19
"""Maximum calls to the provider in all: the questions, and their repetitions."""
ROOM = 128
"""The token limit of an answer by a model that does not think."""
THINKING_ROOM = 1_024
"""The token limit of an answer by a model that may think: its thoughts count, and an answer without room beside them shows nothing."""
UNLIMITED = 8_192
"""Tokens of an answer by a model that takes no limit and whose length is unknown: the provider decides how many it writes until the cut."""
IMAGE = 10_000
"""Tokens that are assumed for a small image: providers count 85 to 8,500."""
OVERHEAD = 1_000
"""Tokens that are assumed for what a provider adds to a question: its templates and the tools."""


class Estimate(Value, frozen=True):
    """The upper bounds of a rehearsal: calls to the provider, tokens read and written, and dollars (None without a price)."""

    questions: int
    calls: int
    read: int
    written: int
    dollars: float | None


def room(facts: Facts) -> int:
    """Return the token limit for questions that set none: ROOM, or THINKING_ROOM for a model that may think."""
    return ROOM if facts.thinking == "none" else THINKING_ROOM


def estimate(facts: Facts, own: Params) -> Estimate:
    """Return the most calls, tokens and dollars that a rehearsal of a model with these facts can take. `own`: the target's parameters."""
    tokens = zip(*((_read(one.ask), _written(one.ask, facts, own)) for one in QUESTIONS), strict=True)
    read, written = (sum(each) + (MAX_CALLS - len(QUESTIONS)) * max(each) for each in tokens)
    return Estimate(len(QUESTIONS), MAX_CALLS, read, written, facts.price.of(Usage(read, written)) if facts.price else None)


def _read(ask: Ask) -> int:
    images = sum(isinstance(part, File) for message in ask.messages for part in message.parts)
    return ask.extent[0] + OVERHEAD + IMAGE * images  # no tokenizer makes more tokens than there are characters here


def _written(ask: Ask, facts: Facts, own: Params) -> int:
    if facts.limit == "none":
        return facts.max_output or UNLIMITED
    params = ask.params.over(own)
    budgets = gemini.BUDGETS if "gemini" in facts.model else anthropic.BUDGETS
    thoughts = budgets.get(params.reasoning_effort or "", 0) if facts.thinking in ("budget", "adaptive") else 0
    return (ask.params.max_tokens or room(facts)) + thoughts
