"""Parameters of a question, fitted to what a model takes: sent, changed, left out and named, or enforced by the router."""

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
    """Return these parameters as fitted to a model with these facts."""
    return fit(facts, Params(**params))


def test_parameters_are_sent_unchanged_to_a_model_without_facts() -> None:
    """A model of which nothing is known is sent all parameters, and none is listed as omitted."""
    made = fitted(Facts(), temperature=2, top_p=0.5, seed=1, presence_penalty=1, frequency_penalty=-1, stop=("x",), max_tokens=5)
    assert made.hints == {"temperature": 2, "top_p": 0.5, "seed": 1, "presence_penalty": 1, "frequency_penalty": -1}
    assert (made.stop, made.cut, made.max_tokens, made.omitted) == (("x",), (), 5, ())


def test_refused_parameters_are_left_out_and_listed_as_omitted() -> None:
    """Sampling parameters, seed, penalties and effort that a model refuses are not sent, and are listed as omitted."""
    made = fitted(Facts(refuses=ALL), temperature=0, top_p=0.5, seed=0, presence_penalty=1, reasoning_effort="low")
    assert made.hints == {}
    assert set(made.omitted) == {"temperature", "top_p", "seed", "presence_penalty", "reasoning_effort"}


def test_refused_parameter_at_its_default_is_not_listed_as_omitted() -> None:
    """A refused parameter at its default value (temperature 1, penalty 0) is not sent, and is not listed as omitted."""
    made = fitted(Facts(refuses=ALL), temperature=1, top_p=1, presence_penalty=0, frequency_penalty=0)
    assert (made.hints, made.omitted) == ({}, ())


def test_temperature_refused_while_thinking_is_sent_with_effort_none() -> None:
    """A model that refuses a temperature while thinking gets it with effort `none`, its default; with effort `high` it is omitted."""
    facts = Facts(refuses_thinking=SAMPLING, efforts=("none", "low", "high"), default_effort="none")
    assert fitted(facts, temperature=0.5).hints == {"temperature": 0.5}
    assert fitted(facts, temperature=0.5, reasoning_effort="high").omitted == ("temperature",)
    assert fitted(facts, temperature=0.5, reasoning_effort="none").hints == {"temperature": 0.5}


def test_temperature_is_capped_and_only_one_sampling_parameter_is_sent() -> None:
    """A temperature above the model's maximum is lowered to it; a model that takes one sampling parameter gets no `top_p` beside it."""
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
def test_effort_is_the_nearest_level_that_the_model_takes(
    facts: Facts, wanted: Effort, sent: Effort | None, omitted: tuple[str, ...]
) -> None:
    """An effort becomes the nearest level of the model, the lower of two; `none` for a model that always thinks is listed as omitted."""
    made = fitted(facts, reasoning_effort=wanted)
    assert made.effort == sent
    assert made.omitted == omitted


def test_refused_stop_is_fitted_as_a_text_at_which_the_router_cuts() -> None:
    """A stop text that the model refuses is neither sent nor listed as omitted: it is one at which the router cuts the answer."""
    facts = Facts(refuses=frozenset({"stop"}))
    made = fitted(facts, stop=("END",))
    assert (made.stop, made.cut, made.omitted) == ((), ("END",), ())
    assert made.bounds(facts) == AnswerLimits(("END",), None)
    assert fitted(facts).bounds(facts) is UNBOUND


def test_token_limit_that_the_model_lacks_is_enforced_by_the_router() -> None:
    """For a model without a limit parameter, the router cuts the answer; a limit above the model's maximum output becomes that maximum."""
    facts = Facts(limit="none", max_output=100)
    assert fitted(facts, max_tokens=500).bounds(facts) == AnswerLimits((), 100)
    assert fitted(facts).bounds(facts) == AnswerLimits((), None)
    assert fitted(Facts(max_output=100), max_tokens=500).max_tokens == 100
    assert fitted(Facts(max_output=100)).max_tokens is None


def test_optional_parameters_are_sent_only_to_models_that_take_them() -> None:
    """Parameters such as `top_k` go to models that take them, and are listed as omitted for others, unless at their default."""
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
def test_service_tier_is_translated_for_anthropic(wanted: Any, sent: str | None) -> None:
    """Service tier `default` becomes Anthropic's `standard_only`; `flex` and `priority`, which it lacks, are listed as omitted."""
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
def test_service_tier_is_sent_to_providers_that_have_it(model: str, sent: dict[Any, str | None]) -> None:
    """A service tier is sent by the provider's own name for it, and listed as omitted where the provider does not have it."""
    facts = facts_of(TargetConfig(model=Name(model)))
    made = {wanted: fit(facts, Params(service_tier=wanted)) for wanted in sent}
    assert {wanted: one.hints.get("service_tier") for wanted, one in made.items()} == sent
    assert {wanted for wanted, one in made.items() if "service_tier" in one.omitted} == {
        wanted for wanted, one in sent.items() if one is None
    }


@pytest.mark.parametrize("beside", [{"max_tokens": 5}, {"presence_penalty": 0.5}, {"frequency_penalty": -0.5}])
def test_prediction_is_omitted_beside_parameters_it_excludes(beside: dict[str, Any]) -> None:
    """`prediction` is listed as omitted beside a token limit, a penalty other than 0, or tools, with which OpenAI refuses it."""
    assert fitted(Facts(), prediction="x", **beside).omitted == ("prediction",)
    assert fitted(Facts(), prediction="x", presence_penalty=0).hints["prediction"] == "x"
    made = fitted(Facts(), prediction="x").beside(tools=True)
    assert (made.hints, made.omitted) == ({}, ("prediction",))
    assert fitted(Facts(), prediction="x").beside(tools=False).hints["prediction"] == "x"


def test_target_that_lacks_a_required_parameter_raises_parameter_missed() -> None:
    """`parallel_tool_calls: false` beside tools, or a `logit_bias`, raises ParameterMissed for a model that does not take it."""
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


def test_message_fields_that_are_not_sent_are_listed_as_omitted() -> None:
    """A speaker's name, an image's `detail` and a tool's `strict` are listed where the provider lacks them, or OpenAI refuses the name."""
    message = Message("user", (File("image/png", "data:image/png;base64,AAAA", detail="low"),), "Ada")
    strict = ToolSpec("t", "", {"type": "object", "properties": {}}, strict=True)
    ask = Ask(model="m", messages=(message,), tools=(strict,), unsent=("metadata",))
    assert uncarried(Facts(), ask) == ("metadata",)
    assert set(uncarried(Facts(carries=frozenset()), ask)) == {"messages.name", "image_url.detail", "function.strict", "metadata"}
    assert uncarried(Facts(), ask.with_messages(Message("user", ("Hi",), "Ada L.\n"))) == ("messages.name", "metadata")
