"""The parameters that one model is sent for a question, by the model's facts.

A sampling parameter that the model refuses is left out and listed as omitted. If it refuses `stop`, the router cuts the answer. A limit
on length is sent under the model's own name, or the router cuts the answer. A refused parameter at its default is not listed.
"""

from operator import attrgetter
from typing import Self, cast

from router.chat import Ask, File, Json
from router.errors import ParameterMissed, TargetRefused
from router.params import Effort, Params
from router.targets.completions import SPEAKER
from router.targets.facts import EFFORTS, PENALTIES, Facts
from router.targets.providers import EXTRAS
from router.targets.text_filters import UNBOUND, AnswerLimits
from router.value import Value, field, replace

HINTS = (
    *("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty"),
    *("top_k", "min_p", "repetition_penalty", "verbosity", "service_tier", "prediction"),
)
DEFAULTS: dict[str, tuple[Json, ...]] = {
    "temperature": (1,),
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "top_k": (0,),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "verbosity": ("medium",),
    "service_tier": ("auto", "default"),
}
"""Values at which a parameter has no effect."""
NEEDS: dict[str, tuple[Json, ...]] = {"parallel_tool_calls": (True,), "logit_bias": ({},)}
"""Parameters that may not be left out → their values without effect. A target that does not take such a parameter is skipped."""
needed = attrgetter(*NEEDS)
NOT_GIVEN = (None,) * len(NEEDS)
"""The values of `needed` in a question that has none of these parameters, as nearly all."""
USUAL_TIERS = ("default", "standard", "standard_only", "on_demand")
"""Providers' names for the standard service tier."""


class Fitted(Value, frozen=True):
    """The parameters that one model is sent.

    hints: sampling and other optional parameters, by OpenAI's names
    effort: the thinking effort; None if none is sent
    thinks: whether it will think, as far as is known
    max_tokens: the limit of the answer's length in tokens, at most the model's maximum; None if the question sets none
    stop: texts that end the answer, sent to the provider
    cut: texts at which the router ends the answer, because the model refuses `stop`
    omitted: names of the parameters that are left out, except those at a value without effect
    """

    hints: dict[str, Json] = field(default_factory=dict[str, Json])
    effort: Effort | None = None
    thinks: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()

    def beside(self, *, tools: bool) -> Self:
        """Return these parameters; beside `tools`, `prediction` is moved to `omitted`, because OpenAI refuses both together."""
        if not tools or "prediction" not in self.hints:
            return self
        hints = {name: value for name, value in self.hints.items() if name != "prediction"}
        return replace(self, hints=hints, omitted=(*self.omitted, "prediction"))

    def without_blank_stops(self) -> Self:
        """Return these parameters for Claude, which refuses `stop` texts of white space alone: at those the router ends the answer."""
        if all(map(str.strip, self.stop)):
            return self
        sent = tuple(filter(str.strip, self.stop))
        return replace(self, stop=sent, cut=(*self.cut, *(stop for stop in self.stop if stop and stop not in sent)))

    def bounds(self, facts: Facts) -> AnswerLimits:
        """Return the limits at which the router ends the answer itself, because the model is not sent them; UNBOUND if there are none."""
        return AnswerLimits(self.cut, self.max_tokens if facts.limit == "none" else None) if self.cut or facts.limit == "none" else UNBOUND


def fit(facts: Facts, params: Params) -> Fitted:
    """Return a question's parameters as a model takes them: refused ones are left out, and values reduced to its limits.
    Parameters that may not be left out (NEEDS) are checked by `check_answerable`, not here.
    """
    omitted: list[str] = []
    effort = None if params.reasoning_effort is None else _effort(facts, params.reasoning_effort, omitted)
    thinks = facts.thinking != "none" and (effort or facts.default_effort) != "none"
    refused = facts.refuses | facts.refuses_thinking if thinks else facts.refuses
    hints: dict[str, Json] = {}
    for name in HINTS:
        if (value := getattr(params, name)) is None:
            continue
        taken = name not in refused and (name not in EXTRAS or name in facts.takes)
        if name == "service_tier" and facts.tiers:
            if value in USUAL_TIERS and value not in facts.tiers:
                value = next((one for one in USUAL_TIERS if one in facts.tiers), value)
            taken = taken and value in facts.tiers
        if taken and not (name == "top_p" and facts.one_of_sampling and "temperature" in hints):
            hints[name] = min(cast("float", value), facts.warmest) if name == "temperature" else value
        elif value not in DEFAULTS.get(name, ()):
            omitted.append(name)
    if "prediction" in hints and (params.max_tokens is not None or any(hints.get(one) for one in PENALTIES)):
        del hints["prediction"]  # OpenAI refuses `prediction` beside these
        omitted.append("prediction")
    for name in NEEDS:
        if (value := getattr(params, name)) is not None and name in facts.takes:
            hints[name] = value
    limit = params.max_tokens
    if limit is not None and facts.max_output is not None:
        limit = min(limit, facts.max_output)  # some models refuse more than they can write
    stop = params.stop or ()
    ours = "stop" in facts.refuses
    return Fitted(hints, effort, thinks, limit, () if ours else stop, stop if ours else (), tuple(omitted))


def _effort(facts: Facts, wanted: Effort, omitted: list[str]) -> Effort | None:
    """Return the model's effort that is nearest to the wanted one; None if none is to be sent.
    `reasoning_effort` is added to `omitted` if the model takes no effort, or cannot turn thinking off as wanted.
    """
    if facts.thinking == "none" or "reasoning_effort" in facts.refuses:
        if wanted != "none" or facts.thinking != "none" or facts.always_thinks:
            omitted.append("reasoning_effort")
        return None
    known = facts.efforts
    if wanted == "none" and facts.always_thinks:
        omitted.append("reasoning_effort")  # its thinking cannot be turned off: the lowest known effort is sent
        if not known:
            return None
    translated = wanted == "none" and not facts.always_thinks and facts.thinking in ("budget", "adaptive")  # by the lane
    if not known or wanted in known or translated:
        return wanted
    thinking: list[Effort] = [one for one in known if one != "none"] or [*known]
    return min(thinking, key=lambda one: (abs(EFFORTS.index(one) - EFFORTS.index(wanted)), EFFORTS.index(one)))


def check_answerable(target: str, facts: Facts, ask: Ask, params: Params) -> None:
    """Raise TargetRefused if the question has tools and the model takes none, ParameterMissed if it misses a parameter of NEEDS.
    A parameter at a value without effect is not missed, nor is `parallel_tool_calls` without tools.
    """
    if ask.tools and not facts.tools:
        raise TargetRefused(target, "no_tools")
    if needed(params) == NOT_GIVEN:
        return
    for name, harmless in NEEDS.items():
        if (value := getattr(params, name)) is None or value in harmless or name in facts.takes:
            continue
        if name != "parallel_tool_calls" or ask.tools:
            raise ParameterMissed(target, name)


def uncarried(facts: Facts, ask: Ask) -> tuple[str, ...]:
    """Return the names of optional fields that the question has and this model is not sent, such as `messages.name`, and `ask.unsent`."""
    carries = facts.carries
    lost: list[str] = []
    for message in ask.messages:
        if message.name and ("messages.name" not in carries or not SPEAKER.fullmatch(message.name)):
            lost.append("messages.name")
            break
    if "image_url.detail" not in carries and not ask.text_alone:
        files = (part for message in ask.messages for part in message.parts if isinstance(part, File))
        lost += ["image_url.detail"] if any(file.detail for file in files) else []
    if ask.tools and "function.strict" not in carries and any(tool.strict for tool in ask.tools):
        lost.append("function.strict")
    return (*lost, *ask.unsent) if lost else ask.unsent
