"""What one model is sent of a question's parameters."""

from typing import Any

import pytest

from router.chat import Effort, Params
from router.targets.facts import PENALTIES, SAMPLING, Facts
from router.targets.fit import Fitted, fit
from router.targets.speech import UNBOUND, Bounds

ALL = SAMPLING | PENALTIES | {"seed", "stop", "reasoning_effort"}
THINKING = Facts(efforts=("low", "medium", "high"), always_thinks=True)


def fitted(facts: Facts, **params: Any) -> Fitted:
    """The parameters, fitted."""
    return fit(facts, Params(**params))


def test_model_of_no_facts_is_sent_everything() -> None:
    """And nothing is omitted."""
    made = fitted(Facts(), temperature=2, top_p=0.5, seed=1, presence_penalty=1, frequency_penalty=-1, stop=("x",), max_tokens=5)
    assert made.hints == {"temperature": 2, "top_p": 0.5, "seed": 1, "presence_penalty": 1, "frequency_penalty": -1}
    assert (made.stop, made.cut, made.max_tokens, made.omitted) == (("x",), (), 5, ())


def test_refused_hints_are_left_out_and_named() -> None:
    """In the order of the parameters."""
    made = fitted(Facts(refuses=ALL), temperature=0, top_p=0.5, seed=0, presence_penalty=1, reasoning_effort="low")
    assert made.hints == {}
    assert set(made.omitted) == {"temperature", "top_p", "seed", "presence_penalty", "reasoning_effort"}


def test_refused_hint_at_its_default_is_left_out_without_a_word() -> None:
    """It asks for what the model does anyway."""
    made = fitted(Facts(refuses=ALL), temperature=1, top_p=1, presence_penalty=0, frequency_penalty=0)
    assert (made.hints, made.omitted) == ({}, ())


def test_hints_refused_while_thinking_are_sent_where_it_does_not_think() -> None:
    """A model that can be told not to think takes a temperature then."""
    facts = Facts(refuses_thinking=SAMPLING, efforts=("none", "low", "high"), default_effort="none")
    assert fitted(facts, temperature=0.5).hints == {"temperature": 0.5}
    assert fitted(facts, temperature=0.5, reasoning_effort="high").omitted == ("temperature",)
    assert fitted(facts, temperature=0.5, reasoning_effort="none").hints == {"temperature": 0.5}


def test_temperature_above_the_warmest_is_the_warmest() -> None:
    """Anthropic's ends at 1; of temperature and top_p it takes one."""
    made = fitted(Facts(warmest=1.0, one_of_sampling=True), temperature=1.8, top_p=0.5)
    assert made.hints == {"temperature": 1.0}
    assert made.omitted == ("top_p",)
    assert fitted(Facts(one_of_sampling=True), top_p=0.5).hints == {"top_p": 0.5}


EFFORTS: list[tuple[Facts, Effort, Effort | None, tuple[str, ...]]] = [
    (Facts(), "max", "max", ()),
    (THINKING, "medium", "medium", ()),
    (THINKING, "minimal", "low", ()),
    (THINKING, "max", "high", ()),
    (Facts(efforts=("none", "high")), "minimal", "high", ()),
    (Facts(efforts=("low", "high", "max")), "medium", "low", ()),
    (THINKING, "none", "low", ("reasoning_effort",)),
    (Facts(always_thinks=True), "none", None, ("reasoning_effort",)),
    (Facts(thinking="none"), "high", None, ("reasoning_effort",)),
    (Facts(thinking="none"), "none", None, ()),
    (Facts(refuses=frozenset({"reasoning_effort"})), "none", None, ("reasoning_effort",)),
    (Facts(thinking="adaptive", efforts=("low", "high")), "none", "none", ()),
    (Facts(thinking="budget"), "none", "none", ()),
]


@pytest.mark.parametrize(("facts", "wanted", "sent", "omitted"), EFFORTS)
def test_effort_is_the_nearest_that_the_model_takes(facts: Facts, wanted: Effort, sent: Effort | None, omitted: tuple[str, ...]) -> None:
    """Of two as near the lower; a model that always thinks is not told to stop, and that is named."""
    made = fitted(facts, reasoning_effort=wanted)
    assert made.effort == sent
    assert made.omitted == omitted


def test_refused_stop_is_kept_by_cutting() -> None:
    """It is neither sent nor omitted."""
    facts = Facts(refuses=frozenset({"stop"}))
    made = fitted(facts, stop=("END",))
    assert (made.stop, made.cut, made.omitted) == ((), ("END",), ())
    assert made.bounds(facts) == Bounds(("END",), None)
    assert fitted(facts).bounds(facts) is UNBOUND


def test_limit_without_a_name_is_enforced_here() -> None:
    """And a limit above what the model writes is what it writes."""
    facts = Facts(limit="none", max_output=100)
    assert fitted(facts, max_tokens=500).bounds(facts) == Bounds((), 100)
    assert fitted(facts).bounds(facts) == Bounds((), None)
    assert fitted(Facts(max_output=100), max_tokens=500).max_tokens == 100
    assert fitted(Facts(max_output=100)).max_tokens is None
