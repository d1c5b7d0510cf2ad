"""The report: a table of medians, the ratios compared with their goals, and marks for noisy values."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Numbers = Mapping[str, Mapping[str, Sequence[float]]]
"""Subject → measure → the value of each round."""
NOISY = 0.25
"""The range of the rounds, relative to their median, above which a value counts as noisy."""


@dataclass(frozen=True)
class Measure:
    """A column of the table: the measure's name, the title, the format of a value, and the explanation for the legend."""

    name: str
    title: str
    form: str
    about: str


MEASURES: Sequence[Measure] = (
    Measure("burst", "burst /s", ",.1f", "answers a second at saturation, 200 chunks each, unpaced"),
    Measure("burst_cpu", "ms CPU", ".3f", "CPU of the subject for one of those"),
    Measure("nons", "nons /s", ",.0f", "answers of 10 words a second, without `stream`"),
    Measure("nons_cpu", "ms CPU", ".3f", "CPU of the subject for one of those"),
    Measure("nons_long", "nons 200 /s", ",.0f", "the same of 200 words"),
    Measure("first", "first ms", ".2f", "to the first byte of the body, one client alone"),
    Measure("paced", "paced µs", ".0f", "CPU for each relayed chunk of streams of 25 a second"),
    Measure("lag", "p99 ms", ".1f", "how late those chunks come"),
    Measure("start", "start s", ".2f", "from the command to ready"),
    Measure("rest", "rest MB", ".0f", "resident memory when ready, before any question"),
    Measure("open", "KB/stream", ".0f", "resident memory for each open stream"),
    Measure("held", "held", ",.0f", "paced streams one worker holds with a p99 lag under 50 ms"),
    Measure("grown", "grown MB", ".1f", "resident memory after 10,000 more streams"),
)


@dataclass(frozen=True)
class Goal:
    """A goal for `value`, which is computed from the medians: at least `least` or at most `most`."""

    words: str
    value: Callable[[Callable[[str, str], float]], float]
    least: float | None = None
    most: float | None = None
    needs: tuple[tuple[str, str], ...] = ()


def _ratio(measure: str, subject: str, over: str, words: str, *, least: float | None = None, most: float | None = None) -> Goal:
    needs = ((subject, measure), (over, measure))
    return Goal(words, lambda of: of(subject, measure) / of(over, measure), least, most, needs)


def _plain(measure: str, words: str, most: float) -> Goal:
    return Goal(words, lambda of: of("pointsman", measure), None, most, (("pointsman", measure),))


GOALS: Sequence[Goal] = (
    _ratio("burst", "pointsman", "litellm", "burst / LiteLLM proxy", least=100),
    _ratio("burst", "pointsman", "tensorzero", "burst / TensorZero", least=3),
    _ratio("burst", "pointsman", "relay", "burst / raw ASGI relay", least=1 / 5),
    _ratio("burst_cpu", "pointsman", "litellm", "the same by CPU: LiteLLM proxy", most=1 / 100),
    _ratio("burst_cpu", "pointsman", "relay", "the same by CPU: raw ASGI relay", most=5),
    _ratio("nons", "pointsman", "litellm", "non-streaming / LiteLLM proxy", least=25),
    _ratio("nons", "pointsman", "relay", "non-streaming / raw ASGI relay", least=1 / 2),
    _ratio("nons_cpu", "pointsman", "relay", "the same by CPU: raw ASGI relay", most=5),
    _ratio("nons_cpu", "pointsman", "tensorzero", "the same by CPU: TensorZero", most=2),
    _ratio("paced", "pointsman", "relay", "CPU per paced chunk / raw ASGI relay", most=1.4),
    _ratio("paced", "pointsman", "tensorzero", "CPU per paced chunk / TensorZero", most=1),
    _ratio("paced", "pointsman", "litellm", "CPU per paced chunk / LiteLLM proxy", most=1 / 7),
    Goal(
        "first byte, ms over the raw ASGI relay",
        lambda of: of("pointsman", "first") - of("relay", "first"),
        None,
        1.0,
        (("pointsman", "first"), ("relay", "first")),
    ),
    _ratio("held", "pointsman", "relay", "held / raw ASGI relay", least=0.7),
    _ratio("held", "pointsman", "tensorzero", "held / TensorZero", least=1),
    _ratio("held", "pointsman", "portkey", "held / Portkey", least=2),
    _ratio("held", "pointsman", "litellm", "held / LiteLLM proxy", least=15),
    _plain("start", "cold start, s", 0.6),
    _plain("rest", "memory at rest, MB", 60),
    _plain("open", "memory for each open stream, KB", 60),
    _plain("grown", "memory after 10,000 streams, MB", 5),
    _ratio("burst_cpu", "pointsman-line", "relay", "line protocol: CPU of a burst answer / raw ASGI relay", most=5),
    _ratio("nons_cpu", "pointsman-line", "relay", "line protocol: CPU of a short whole answer / raw ASGI relay", most=5),
    _ratio("paced", "pointsman-gemini", "pointsman", "Gemini lane / OpenAI lane: CPU of a paced chunk", most=1.2),
    _ratio("burst_cpu", "pointsman-litellm", "bare", "litellm lane / bare acompletion: CPU of a burst answer", most=1.05),
    _ratio("paced", "pointsman-litellm", "bare", "litellm lane / bare acompletion: CPU of a paced chunk", most=1.05),
)


def noisy(values: Sequence[float]) -> bool:
    """Return whether the rounds differ by more than a quarter of their median."""
    return len(values) > 1 and (max(values) - min(values)) > NOISY * abs(statistics.median(values))


YARDSTICK, UNEVEN = "relay", 0.15
"""The baseline subject, and the range of its rounds, relative to the least, above which a ratio to it means little."""


def uneven(values: Sequence[float]) -> bool:
    """Return whether the baseline's rounds differ by more than UNEVEN."""
    return max(values) > (1 + UNEVEN) * min(values)


def table(numbers: Numbers) -> list[str]:
    """Return the table of medians; `~` marks noisy values."""
    shown = [measure for measure in MEASURES if any(measure.name in found for found in numbers.values())]
    lines = ["| | " + " | ".join(measure.title for measure in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for subject, found in numbers.items():
        cells = [_cell(found.get(measure.name, ()), measure.form) for measure in shown]
        lines.append(f"| {subject} | " + " | ".join(cells) + " |")
    return lines


def _cell(values: Sequence[float], form: str) -> str:
    return f"{'~' if noisy(values) else ''}{statistics.median(values):{form}}" if values else "–"


def goals(numbers: Numbers) -> list[str]:
    """Return a table of the goals with the values reached; goals without measured values are left out."""
    lines = ["| | goal | reached | |", "|---|---|---|---|"]
    for goal in GOALS:
        if not all(numbers.get(subject, {}).get(measure) for subject, measure in goal.needs):
            continue
        value = goal.value(lambda subject, measure: statistics.median(numbers[subject][measure]))
        met = value >= goal.least if goal.least is not None else goal.most is not None and value <= goal.most
        rough = any(
            noisy(values) or (subject == YARDSTICK and uneven(values))
            for subject, measure in goal.needs
            for values in (numbers[subject][measure],)
        )
        asked = f"≥ {goal.least:.3g}" if goal.least is not None else f"≤ {goal.most:.3g}"
        lines.append(f"| {goal.words} | {asked} | {value:.3g} | {'met' if met else 'MISSED'}{', but too noisy to tell' if rough else ''} |")
    return lines


def yardstick(numbers: Numbers) -> list[str]:
    """Return the baseline's CPU values of all rounds, empty without any. If they differ by over 15 %, this run's ratios mean little."""
    found = numbers.get(YARDSTICK, {})
    lines: list[str] = []
    for measure in MEASURES:
        if measure.name in ("burst_cpu", "nons_cpu", "paced") and (values := found.get(measure.name)):
            said = ", ".join(f"{value:{measure.form}}" for value in values)
            lines.append(f"* {measure.name}: {said}: {max(values) / min(values) - 1:.0%} apart{', too noisy' if uneven(values) else ''}")
    return [f"The rounds of the {YARDSTICK}, by CPU:", "", *lines, ""] if lines else []


def legend(numbers: Numbers) -> list[str]:
    """Return a list that explains the columns."""
    shown = [measure for measure in MEASURES if any(measure.name in found for found in numbers.values())]
    return [f"* *{measure.title}*: {measure.about}." for measure in shown]
