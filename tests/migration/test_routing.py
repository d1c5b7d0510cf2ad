"""An imported config routes as LiteLLM does: both routers get the same questions with the same deployments failing.

Both ask the same model groups in the same order, and share requests in the same proportions.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path

import pytest

from router.chat import Ask, Message
from router.config import declare, read
from router.config.values import Span
from router.errors import Unanswered
from router.events import Text
from router.generation import Generation, build
from router.migration import from_litellm
from router.value import replace
from tests.conftest import ROOT
from tests.migration.cast import cast, question
from tests.migration.reading import with_includes
from tests.migration.test_import import stand_in

CONFIGS = Path(__file__).parent / "configs"
Faults = Mapping[str, int | str]
TIMES = 200
"""Number of questions by which the shares are measured."""


@dataclass(frozen=True)
class Case:
    """A LiteLLM config and how it routes.

    `targets`: our targets in the order of its model_list. `invited`: targets made of a wildcard entry → that entry's index.
    """

    targets: Sequence[str]
    chains: Mapping[str, Sequence[str]]
    """Requested model → the groups that LiteLLM asks in order, each after all before it have failed."""
    too_long: Mapping[str, str]
    """Model → the group that answers questions that are too long for all others."""
    invited: Mapping[str, int]
    shares: Mapping[str, Mapping[str, float]]
    """Model → target → its share of the questions, from 0 to 1."""
    last: Mapping[str, Sequence[str]]
    """Model → the group for too long questions, which our router asks last if the whole chain fails."""


CASES = {
    "team": Case(
        ["gpt-4o-azure-eu", "gpt-4o-azure-team-us", "gpt-4o-openai", "gpt-4o-mini"],
        {"gpt-4o": ["gpt-4o", "gpt-4o-mini"], "gpt-4o-mini": ["gpt-4o-mini"]},
        {},
        {},
        {"gpt-4o": {"gpt-4o-azure-eu": 0.6, "gpt-4o-azure-team-us": 0.3, "gpt-4o-openai": 0.1}},
        {},
    ),
    "product": Case(
        ["smart", "claude", "fast-openai", "fast-groq", "house", "long", "archive", ""],
        {
            "smart": ["smart", "claude", "house", "fast"],
            "claude": ["claude", "house"],
            "fast": ["fast", "house"],
            "house": ["house", "fast"],
            "long": ["long", "fast", "house"],
        },
        {"fast": "long"},
        {},
        {},
        {"smart": ["archive"], "claude": ["archive"], "fast": ["long"], "house": ["archive"]},
    ),
    "enterprise": Case(
        ["ptu", "paygo-a", "paygo-b", "spare", "", "chat-mistral", "chat-deepseek", "claude-haiku"],
        {
            "gpt-4o": ["ptu", "paygo", "anthropic/*"],
            "chat": ["chat", "ptu", "paygo", "anthropic/*", "claude-haiku"],
            "claude-haiku": ["claude-haiku"],
        },
        {},
        {"openai/gpt-4.1": 4, "anthropic/claude-sonnet-4-5": 8},
        {"chat": {"chat-mistral": 0.9, "chat-deepseek": 0.1}},
        {"gpt-4o": ["openai/*"], "chat": ["openai/*"]},
    ),
}


def labels(case: Case) -> dict[str, str]:
    """Return our target → the label of its deployment."""
    return {name: f"d{place}" for place, name in enumerate(case.targets) if name} | {name: f"d{at}" for name, at in case.invited.items()}


def groups(name: str) -> dict[str, str]:
    """Return label → the model group of its deployment; deployments with an `order` are in a group for each order."""
    made: dict[str, str] = {}
    for place, entry in enumerate(with_includes(CONFIGS / f"{name}.yaml")["model_list"]):
        order = entry["litellm_params"].get("order")
        made[f"d{place}"] = {1: "ptu", 2: "paygo"}[order] if order else entry["model_name"]
    return made


def ours(name: str, base: str, folder: Path) -> Generation:
    """Return the generation of an imported config, with its targets moved to the fake server at `base` and short retry waits."""
    imported = from_litellm(CONFIGS / f"{name}.yaml")
    for path, text in {"routes.yaml": imported.text, **imported.files}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    variables = {one: stand_in(one) for one in imported.variables}
    declaration = declare(read(folder / "routes.yaml"), variables)
    at = labels(CASES[name])
    moved = {
        one: replace(target, api_base=f"{base}/{at[one]}" + ("" if str(target.model).startswith("anthropic/") else "/v1"))
        for one, target in declaration.routes.targets.items()
        if one in at
    }
    quick = {
        one: replace(route, retry=replace(route.retry, backoff=Span(0.001, 0.002)), rescue="fail")
        for one, route in declaration.routes.routes.items()
    }
    targets = {**declaration.routes.targets, **moved}
    return build(replace(declaration, routes=replace(declaration.routes, targets=targets, routes=quick)))


@dataclass(frozen=True)
class Scenario:
    """One question, asked `times` times. `expected`: the model groups that it reaches, in order."""

    number: int
    model: str
    faults: Faults
    expected: Sequence[str]
    times: int = 1

    @property
    def text(self) -> str:
        """The text of the question."""
        return question(self.number, self.faults)


def scenarios(name: str) -> list[Scenario]:
    """Return the scenarios of a config: the first 0, 1, 2 … groups fail; the question is too long; or many questions, none failing."""
    case, known, number = CASES[name], groups(name), count()
    made: list[Scenario] = []
    for model, chain in case.chains.items():
        for failing in range(len(chain) + 1):
            down: Faults = {label: 500 for label, group in known.items() if group in chain[:failing]}
            made.append(Scenario(next(number), model, down, chain[: failing + 1]))
    for model, last in case.too_long.items():
        long: Faults = {label: "long" for label, group in known.items() if group != last}
        made.append(Scenario(next(number), model, long, [model, last]))
    return [*made, *(Scenario(next(number), model, {}, [model], TIMES) for model in case.shares)]


@dataclass(frozen=True)
class Result:
    """The result of a scenario: the labels of the asked deployments by first arrival, and the label of each answer."""

    order: Sequence[str]
    answers: Sequence[str | None]


async def theirs() -> dict[str, list[Result]]:
    """Return LiteLLM's result of every scenario, from a single process, because it takes seconds to start."""
    async with AsyncExitStack() as stack:
        casts = {name: await stack.enter_async_context(cast()) for name in CASES}
        jobs = [
            {
                "config": str(CONFIGS / f"{name}.yaml"),
                "base": casts[name].base,
                "questions": [{"model": one.model, "text": one.text, "times": one.times} for one in scenarios(name)],
            }
            for name in CASES
        ]
        command = [sys.executable, "-W", "ignore", "-m", "tests.migration.original"]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdin=-1, stdout=-1, stderr=-1)
        said, complained = await process.communicate(json.dumps(jobs).encode())
        assert process.returncode == 0, complained.decode()[-2000:]
        answers = dict(zip(CASES, json.loads(said.decode().splitlines()[-1]), strict=True))
        return {
            name: [Result(casts[name].order(one.number), said) for one, said in zip(scenarios(name), answers[name], strict=True)]
            for name in CASES
        }


@pytest.fixture(scope="module")
def original() -> dict[str, list[Result]]:
    """Config → LiteLLM's result of each of its scenarios."""
    return asyncio.run(theirs())


async def answered(generation: Generation, model: str, text: str) -> str | None:
    """Return the answer of our router; None if no target answers."""
    ask = Ask(model=model, messages=(Message("user", (text,)),))
    try:
        async with aclosing(generation.route(model).answer(ask)) as events:
            return "".join([event.text async for event in events if isinstance(event, Text)])
    except Unanswered:
        return None


@pytest.mark.parametrize("name", CASES)
async def test_imported_routes_ask_model_groups_in_litellms_order(
    name: str, original: Mapping[str, Sequence[Result]], tmp_path: Path
) -> None:
    """In each scenario, both routers ask the expected model groups in order and get the answer of the same group.
    If all fail, Pointsman may ask one more group, that for questions that are too long.
    """
    known = groups(name)
    async with cast() as server:
        for scenario, their in zip(scenarios(name), original[name], strict=True):
            if scenario.times > 1:
                continue
            generation = ours(name, server.base, tmp_path)  # another each time: a breaker remembers who failed
            said = await answered(generation, scenario.model, scenario.text)
            our = Result(server.order(scenario.number), [said])
            await generation.close()
            last: Sequence[str] = CASES[name].last.get(scenario.model, ()) if their.answers == [None] else ()
            for who, told, more in (("LiteLLM", their, ()), ("Pointsman", our, last)):
                asked = [group for group, _ in groupby(known[label] for label in told.order)]
                assert asked == [*scenario.expected, *more], (who, scenario)
            assert known.get(our.answers[0] or "") == (last[0] if last else known.get(their.answers[0] or ""))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.shares])
async def test_imported_targets_share_requests_in_litellms_proportions(
    name: str, original: Mapping[str, Sequence[Result]], tmp_path: Path
) -> None:
    """LiteLLM and this router, with the imported config, each share 200 questions by weights (or rpm), within five standard deviations."""
    at = labels(CASES[name])
    async with cast() as server:
        generation = ours(name, server.base, tmp_path)
        for scenario, their in zip(scenarios(name), original[name], strict=True):
            if scenario.times == 1:
                continue
            our = [await answered(generation, scenario.model, scenario.text) for _ in range(scenario.times)]
            for target, share in CASES[name].shares[scenario.model].items():
                away = 5 * (TIMES * share * (1 - share)) ** 0.5
                for answers in (their.answers, our):
                    assert abs(answers.count(at[target]) - TIMES * share) < away, (scenario.model, target)
        await generation.close()
