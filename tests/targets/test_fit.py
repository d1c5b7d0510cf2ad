"""What one model is sent of a question's parameters."""

from typing import Any

import pytest

from router.chat import Ask, File, Message, ToolSpec
from router.config.declaration import TargetConfig
from router.config.values import Name
from router.errors import ParameterMissed
from router.params import Effort, Params
from router.targets.facts import PENALTIES, SAMPLING, Facts
from router.targets.fit import Fitted, check_answerable, fit, uncarried
from router.targets.resolved_facts import facts_of
from router.targets.text_filters import UNBOUND, AnswerLimits
from router.value import replace

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
    assert made.bounds(facts) == AnswerLimits(("END",), None)
    assert fitted(facts).bounds(facts) is UNBOUND


def test_limit_without_a_name_is_enforced_here() -> None:
    """And a limit above what the model writes is what it writes."""
    facts = Facts(limit="none", max_output=100)
    assert fitted(facts, max_tokens=500).bounds(facts) == AnswerLimits((), 100)
    assert fitted(facts).bounds(facts) == AnswerLimits((), None)
    assert fitted(Facts(max_output=100), max_tokens=500).max_tokens == 100
    assert fitted(Facts(max_output=100)).max_tokens is None


def test_parameters_that_not_every_model_knows_are_sent_to_those_that_do() -> None:
    """All others have them named; at their defaults they ask for nothing."""
    asked: dict[str, Any] = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "verbosity": "low", "prediction": "x"}
    assert fitted(Facts(), **asked).hints == asked
    made = fitted(Facts(takes=frozenset({"top_k"})), **asked)
    assert made.hints == {"top_k": 5}
    assert set(made.omitted) == set(asked) - {"top_k"}
    usual: dict[str, Any] = {"top_k": 0, "min_p": 0, "repetition_penalty": 1, "verbosity": "medium", "service_tier": "auto"}
    assert fitted(Facts(takes=frozenset()), **usual) == Fitted(thinks=True)


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [("auto", "auto"), ("default", "standard_only"), ("standard_only", "standard_only"), ("flex", None), ("priority", None)],
)
def test_tier_is_said_in_a_word_that_the_provider_knows(wanted: Any, sent: str | None) -> None:
    """Anthropic's usual one is called otherwise; one that it does not have is named."""
    made = fitted(Facts(tiers=frozenset({"auto", "standard_only"})), service_tier=wanted)
    assert (made.hints.get("service_tier"), made.omitted) == (sent, () if sent else ("service_tier",))


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gemini/gemini-2.5-flash", {"default": "standard", "flex": "flex", "priority": "priority", "scale": None}),
        ("vertex_ai/gemini-2.5-flash", {"priority": None}),
        ("groq/openai/gpt-oss-120b", {"default": "on_demand", "flex": "flex", "priority": None}),
        ("xai/grok-4.7", {"default": "default", "priority": "priority", "flex": None}),
        ("fireworks_ai/accounts/fireworks/models/kimi-k2p6", {"priority": "priority", "flex": None}),
        ("vercel_ai_gateway/openai/gpt-5.5", {"flex": "flex", "priority": "priority"}),
        ("cerebras/gpt-oss-120b", {"priority": None}),
    ],
)
def test_tier_is_sent_to_providers_that_have_it(model: str, sent: dict[Any, str | None]) -> None:
    """In the word of each; one that a provider does not have is named as left out."""
    facts = facts_of(TargetConfig(model=Name(model)))
    made = {wanted: fit(facts, Params(service_tier=wanted)) for wanted in sent}
    assert {wanted: one.hints.get("service_tier") for wanted, one in made.items()} == sent
    assert {wanted for wanted, one in made.items() if "service_tier" in one.omitted} == {
        wanted for wanted, one in sent.items() if one is None
    }


@pytest.mark.parametrize("beside", [{"max_tokens": 5}, {"presence_penalty": 0.5}, {"frequency_penalty": -0.5}])
def test_prediction_is_left_out_beside_what_it_does_not_go_with(beside: dict[str, Any]) -> None:
    """OpenAI refuses both together, and what it refuses would be learned for every question."""
    assert fitted(Facts(), prediction="x", **beside).omitted == ("prediction",)
    assert fitted(Facts(), prediction="x", presence_penalty=0).hints["prediction"] == "x"
    tool = ToolSpec("t", "", {"type": "object", "properties": {}})
    ask = Ask(model="m", messages=(Message("user", ("Hi",)),), tools=(tool,))
    made = fitted(Facts(), prediction="x").beside(ask)
    assert (made.hints, made.omitted) == ({}, ("prediction",))


def test_target_is_passed_over_where_a_parameter_would_be_missed() -> None:
    """Not where it asks for nothing: one call at a time needs tools."""
    tool = ToolSpec("t", "", {"type": "object", "properties": {}})
    plain = Ask(model="m", messages=(Message("user", ("Hi",)),))
    none = Facts(takes=frozenset())
    for params, ask in ((Params(parallel_tool_calls=False), replace(plain, tools=(tool,))), (Params(logit_bias={"1": 5}), plain)):
        check_answerable("a", Facts(), ask, params)
        with pytest.raises(ParameterMissed) as caught:
            check_answerable("a", none, ask, params)
        assert caught.value.parameter in params.given
    check_answerable("a", none, plain, Params(parallel_tool_calls=False, logit_bias={}))
    check_answerable("a", none, replace(plain, tools=(tool,)), Params(parallel_tool_calls=True))


def test_detail_beside_the_words_is_named_where_it_is_not_sent() -> None:
    """A speaker's name that OpenAI would refuse is not sent, either."""
    message = Message("user", (File("image/png", "data:image/png;base64,AAAA", detail="low"),), "Ada")
    strict = ToolSpec("t", "", {"type": "object", "properties": {}}, strict=True)
    ask = Ask(model="m", messages=(message,), tools=(strict,), unsent=("metadata",))
    assert uncarried(Facts(), ask) == ("metadata",)
    assert set(uncarried(Facts(carries=frozenset()), ask)) == {"messages.name", "image_url.detail", "function.strict", "metadata"}
    assert uncarried(Facts(), ask.with_messages(Message("user", ("Hi",), "Ada L.\n"))) == ("messages.name", "metadata")
