"""Each of today's models, asked each kind of question through the whole router, streamed and not.

The first target answers every question. A parameter is omitted only if the model refuses it: each omitted parameter is put back into the
answered request, and the model's rules must refuse that. `pytest -s` prints a line for each combination.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import Client, Workspace, parsed_lines, serving
from tests.models.dialects import ANSWER
from tests.models.fakes import Asked, Fakes, Flagship, fakes
from tests.models.flagships import FLAGSHIPS, GPT_4O, THROUGH_LITELLM

ROUTES = """
defaults: {{timeout: {{connect: 60s, first_token: 60s, idle: 60s}}}}
targets:
  first: {first}
  cut: {cut}
  control: {control}
  script: {{script: [{{text: "A script."}}]}}
routes:
  plain: {{pipeline: chat, targets: [first, script]}}
  tools: {{pipeline: chat, tools: [weather], targets: [first, script]}}
  title: {{pipeline: title, targets: [first, script]}}
  rescued: {{pipeline: chat, targets: [cut, control, script]}}
  rescuing: {{pipeline: chat, targets: [cut-control, first, script]}}
  shown: {{pipeline: chat, targets: [first, script], reasoning: show}}
"""
CONTROL = "control"
DEFAULTS: Mapping[str, Any] = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}


@dataclass(frozen=True)
class Cell:
    """One kind of question: route, text, parameters, and the expected answer."""

    name: str
    route: str = "plain"
    question: str = "How is the dog?"
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sent: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The parameters that the model should receive, if they differ from `params`."""
    calls: int = 0
    """The number of model calls of one answer; 0 stands for 1."""
    text: str = ANSWER

    @property
    def wanted(self) -> Mapping[str, Any]:
        """The parameters that the model should receive."""
        return self.sent or self.params


CELLS = (
    Cell("plain"),
    Cell("temperature and seed", params={"temperature": 0.7, "seed": 7}),
    Cell("top_p and penalties", params={"top_p": 0.9, "presence_penalty": 0.5, "frequency_penalty": 0.25}),
    Cell("defaults", params=DEFAULTS),
    Cell("stop", params={"stop": [" and the dog", "zebra"]}, text=ANSWER.partition(" and the dog")[0]),
    Cell("limit", params={"max_tokens": 500}),
    Cell("tool over two rounds", "tools", "rounds 2 calls 1", {"temperature": 0.7}, calls=3),
    Cell("parallel tools", "tools", "rounds 2 calls 3", {"temperature": 0.7}, calls=3),
    Cell("effort", params={"reasoning_effort": "high"}),
    Cell("no effort", params={"reasoning_effort": "none"}),
    Cell("tools with effort", "tools", "rounds 2 calls 2", {"reasoning_effort": "high"}, calls=3),
    Cell("thoughts shown", "shown", params={"reasoning_effort": "high"}),
    Cell("title", "title", sent={"temperature": 0, "max_tokens": 40}),
    Cell("rescue by another target", "rescued", params={"temperature": 0.7}),
    Cell("rescue of another target", "rescuing", params={"temperature": 0.7}),
)


@dataclass(frozen=True)
class Answer:
    """One answer as the client reads it. `attempts`: the value of the attempts header."""

    text: str
    thought: str
    finish: str
    attempts: str

    @property
    def omitted(self) -> set[str]:
        """The parameters that the attempts header lists as omitted."""
        return {name for listed in re.findall(r'omitted="([^"]*)"', self.attempts) for name in listed.split()}


async def asked(client: Client, how: str, cell: Cell) -> Answer:
    """Ask one question in one of the ways (`streamed`, `whole`, `lines`) and return the answer."""
    messages = [{"role": "user", "content": cell.question}]
    path = "/api/chat" if how == "lines" else "/v1/chat/completions"
    answer = await client.post(path, model=cell.route, messages=messages, stream=how != "whole", **cell.params)
    assert answer.status == 200, answer.body
    attempts = answer.headers.get("x-router-attempts", "")
    if how == "lines":
        lines = parsed_lines(answer.body)
        said = {code: "".join(value["textDelta"] for one, value in lines if one == code) for code in "0g"}
        return Answer(said["0"], said["g"], lines[-1][1]["finishReason"], attempts)
    if how == "whole":
        choice = answer.json["choices"][0]
        message = choice["message"]
        return Answer(message["content"] or "", message.get("reasoning_content") or "", choice["finish_reason"], attempts)
    chunks = [json.loads(one[6:]) for one in answer.body.decode().split("\n\n") if one.startswith("data: {")]
    choices = [one["choices"][0] for one in chunks if one["choices"]]
    text = "".join(one["delta"].get("content") or "" for one in choices)
    thought = "".join(one["delta"].get("reasoning_content") or "" for one in choices)
    return Answer(text, thought, next(one["finish_reason"] for one in reversed(choices) if one["finish_reason"]), attempts)


def left_out(one: Asked, wanted: Mapping[str, Any]) -> list[str]:
    """Return the parameters that an answered request lacks; raise AssertionError if the model would have accepted one of them."""
    missing: list[str] = []
    for name, value in wanted.items():
        if one.dialect.given(one.body, name) is not None or DEFAULTS.get(name) == value:
            continue
        if name == "reasoning_effort" and value == "none" and not one.flagship.thinks(one.body):
            continue
        assert one.refused_with(name, value), f"{name} was left out, which {one.flagship.name} takes"
        missing.append(name)
    return missing


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name.replace(" ", "_"))
@pytest.mark.parametrize("flagship", FLAGSHIPS + THROUGH_LITELLM, ids=lambda one: one.name)
async def test_first_target_answers_with_all_that_it_accepts(workspace: Workspace, flagship: Flagship, cell: Cell) -> None:
    """Each model answers each question, alone but for rescues, with every parameter that it accepts; no parameter is refused twice."""
    workspace.write("pipelines/title.yaml", "steps:\n  - params: {temperature: 0, max_tokens: 40}\n")
    async with fakes(flagship, GPT_4O) as models:
        targets = {
            "first": flagship.target(models.address),
            "cut": flagship.target(models.address, "cut0"),
            CONTROL: GPT_4O.target(models.address),
        }
        text = ROUTES.format(**targets).replace("cut-control", "broken")
        text = text.replace("targets:\n", f"targets:\n  broken: {GPT_4O.target(models.address, 'cut0')}\n", 1)
        generation = workspace.write("routes.yaml", text).build()
        async with serving(generation) as client:
            for how in ("streamed", "whole", "lines"):
                before = len(models.asked)
                answer = await asked(client, how, cell)
                assert not models.wrong
                assert answer.text == cell.text
                assert answer.finish == "stop"
                checked(models, flagship, cell, answer, models.asked[before:])
            learned = [one for name in ("first", "cut") for one in generation.kept.learned[name][1].sentences]
    refusals = models.refused(flagship.name)
    assert len(refusals) <= len(learned), refusals
    omitted = sorted({name for one in models.of(flagship.name) if one.refusal is None for name in left_out(one, cell.wanted)})
    print(f"\n{flagship.name:24} {cell.name:26} extra calls {len(refusals)}  left out: {', '.join(omitted) or '-'}", end="")  # noqa: T201
    for one in refusals:
        print(f"\n{'':24} {'':26}   learned from: {one.message}", end="")  # noqa: T201


def checked(models: Fakes, flagship: Flagship, cell: Cell, answer: Answer, requests: Sequence[Asked]) -> None:
    """Check how many model calls one answer took, which parameters they lacked, what the header lists, and whether reasoning is shown."""
    answered = [one for one in requests if one.flagship is flagship and one.refusal is None]
    if cell.route in ("rescued", "rescuing") and flagship is not GPT_4O:
        assert answered
        assert any(one.flagship is GPT_4O for one in requests)
    elif cell.route not in ("rescued", "rescuing"):
        assert len(answered) == max(1, cell.calls)
    for one in answered:
        missing = left_out(one, cell.wanted)
        if cell.calls or cell.route in ("rescued", "rescuing"):
            continue  # the header leaves with the first words
        named = set(missing) - {"stop", "max_tokens"}
        assert named <= answer.omitted
        assert answer.omitted <= {*named, "reasoning_effort"}
    if flagship is GPT_4O:
        assert all(set(left_out(one, cell.wanted)) <= {"reasoning_effort"} for one in answered)
    if cell.route == "shown":
        thinking = flagship.thinks(answered[-1].body) and flagship.shows(answered[-1].body) and not hides(answered[-1])
        assert bool(answer.thought) == thinking


def hides(one: Asked) -> bool:
    """Return whether this API never shows the model's reasoning: chat completions of OpenAI and of Google."""
    return getattr(one.dialect, "thoughts", "reasoning_content") in ("", "extra_content")
