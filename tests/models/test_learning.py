"""A model of no known family refuses parameters by name: the router asks again without the parameter and does not send it again."""

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from router.config import declare, read
from router.generation import build
from tests.conftest import Client, Workspace, serving
from tests.models.dialects import ANSWER
from tests.models.fakes import PLAIN, Flagship, Refusal, Rule, fakes
from tests.models.flagships import ONLY_DEFAULT, PENALTIES, UNSUPPORTED, refuses
from tests.support.provider import DONE, Reply, chunk, frame, provider

FULL: dict[str, Any] = {"temperature": 0.7, "max_tokens": 300, "reasoning_effort": "high"}
EACH_IN_TURN: tuple[Rule, ...] = (
    refuses("temperature", ONLY_DEFAULT, param="temperature"),
    refuses("max_tokens", UNSUPPORTED + " Use 'max_completion_tokens' instead.", param="max_tokens"),
    refuses("reasoning_effort", UNSUPPORTED, param="reasoning_effort"),
)
HINTS: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9, "seed": 7, "presence_penalty": 0.5, "frequency_penalty": 0.5}
WARNING = "a model refused a parameter: it is not sent again"


def model(*rules: Rule) -> Flagship:
    """Return a fake model of no known family with these rules."""
    return Flagship("nova", "openai/nova-9", ((PLAIN, rules),))


def routes(target: str, more: str = "") -> str:
    """Return a routes.yaml whose route asks the target first and a scripted answer last. `more`: further keys of the route."""
    script = '{script: [{text: "A script."}]}'
    return f"targets:\n  nova: {target}\n  script: {script}\nroutes:\n  chat-model: {{pipeline: chat, targets: [nova, script]{more}}}\n"


async def said(client: Client, **params: Any) -> str:
    """Ask once and return the text of the answer."""
    answer = await client.post("/v1/chat/completions", model="chat-model", messages=[{"role": "user", "content": "Hi"}], **params)
    assert answer.status == 200
    return str(answer.json["choices"][0]["message"]["content"])


def warned(caplog: pytest.LogCaptureFixture) -> Sequence[tuple[str, str | None]]:
    """Return the learned parameters by the log's warnings: (parameter, name to send instead or None)."""
    fields: list[dict[str, Any]] = [vars(one)["fields"] for one in caplog.records if one.message == WARNING]
    return [(one["parameter"], one["instead"]) for one in fields]


async def test_unknown_model_answers_its_first_request_after_refusing_parameters(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that refuses three parameters in turn answers the first request at the fourth call, the second at the first call."""
    caplog.set_level(logging.WARNING, "router.targets")
    async with fakes(model(*EACH_IN_TURN)) as models:
        generation = workspace.write("routes.yaml", routes(model().target(models.address))).build()
        async with serving(generation) as client:
            assert await said(client, **FULL) == ANSWER
            assert len(models.asked) == 4
            assert await said(client, **FULL) == ANSWER
            assert len(models.asked) == 5
    body = models.asked[-1].body
    assert body["max_completion_tokens"] == 300
    assert not {"temperature", "max_tokens", "reasoning_effort"} & set(body)
    assert warned(caplog) == [("temperature", None), ("max_tokens", "max_completion_tokens"), ("reasoning_effort", None)]
    assert list(generation.kept.learned["nova"][1].sentences) == ["temperature", "max_tokens:max_completion_tokens", "reasoning_effort"]


async def test_attempts_header_lists_the_parameters_left_out(workspace: Workspace) -> None:
    """The attempts headers of two requests list `temperature` and `reasoning_effort`, which the model refuses, as omitted."""
    async with fakes(model(*EACH_IN_TURN)) as models:
        generation = workspace.write("routes.yaml", routes(model().target(models.address))).build()
        async with serving(generation) as client:
            for _ in range(2):
                answer = await client.post(
                    "/v1/chat/completions", model="chat-model", messages=[{"role": "user", "content": "Hi"}], stream=True, **FULL
                )
                omitted = answer.headers["x-router-attempts"].partition('omitted="')[2].partition('"')[0].split()
                assert {"temperature", "reasoning_effort"} <= set(omitted) <= {"temperature", "reasoning_effort", "max_tokens"}


async def test_learned_refusals_survive_edits_that_leave_the_target_unchanged(workspace: Workspace) -> None:
    """After an edit of the route, the model answers at the first call; after an edit of its target, it refuses three parameters again."""
    async with fakes(model(*EACH_IN_TURN)) as models:
        target = model().target(models.address)
        edits = (
            (routes(target), 4),
            (routes(target, ", timeout: {first_token: 7s}"), 1),
            (routes(target.replace("}", ", context_window: 9000}")), 4),
            (routes(target), 4),
        )
        kept = None
        for text, calls in edits:
            generation = build(declare(read(workspace.write("routes.yaml", text).root / "routes.yaml"), {}), kept)
            kept = generation.kept
            before = len(models.asked)
            async with serving(generation) as client:
                assert await said(client, **FULL) == ANSWER
            assert len(models.asked) - before == calls


async def test_request_is_sent_to_a_refusing_model_at_most_five_times(workspace: Workspace) -> None:
    """A model that refuses five parameters one by one is called five times before a script answers instead.
    The next request gets the model's answer at the second call, and the one after it at the first.
    """
    rules = [refuses(name, UNSUPPORTED, param=name) for name in HINTS]
    async with fakes(model(*rules)) as models:
        generation = workspace.write("routes.yaml", routes(model().target(models.address))).build()
        async with serving(generation) as client:
            assert await said(client, **HINTS) == "A script."
            assert len(models.asked) == 5
            assert await said(client, **HINTS) == ANSWER
            assert len(models.asked) == 7
            assert await said(client, **HINTS) == ANSWER
            assert len(models.asked) == 8


TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
FOR_GOOD: dict[str, Rule] = {
    "tools": refuses("tools", UNSUPPORTED, param="tools"),
    "messages": lambda _: Refusal("Invalid 'messages[0].content': unsupported.", "messages[0].content"),
    "another reason": lambda _: Refusal("The picture could not be decoded.", "messages[0].content"),
    "too long": lambda _: Refusal(
        "This model's maximum context length is 8 tokens; you asked for max_tokens 300.", code="context_length_exceeded"
    ),
    "too busy": lambda _: Refusal("temperature is not supported just now", "temperature", 429),
}


@pytest.mark.parametrize("name", FOR_GOOD)
async def test_refusal_of_tools_or_messages_falls_back_without_omitting_a_parameter(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """After a refusal of tools, messages, length or rate, the next target answers at once, and no parameter is learned as refused."""
    caplog.set_level(logging.WARNING, "router.targets")
    async with fakes(model(FOR_GOOD[name])) as models:
        text = routes(model().target(models.address), ", retry: {attempts: 1}")
        generation = workspace.write("routes.yaml", text).build()
        async with serving(generation) as client:
            assert await said(client, tools=[TOOL], **FULL) == "A script."
        assert len(models.asked) == 1
        assert all(one.body.get("tools") and one.body["messages"] for one in models.asked)
        assert not warned(caplog)
        assert not generation.kept.learned["nova"][1].sentences


async def test_refused_stop_parameter_is_emulated_by_cutting_the_answer(workspace: Workspace) -> None:
    """After a model refuses `stop`, the router omits it and cuts the answer at the stop sequence, in this request and the next."""
    async with fakes(model(*(refuses(name, UNSUPPORTED, param=name) for name in ("stop", *PENALTIES)))) as models:
        generation = workspace.write("routes.yaml", routes(model().target(models.address))).build()
        async with serving(generation) as client:
            for calls in (2, 3):
                assert await said(client, stop=[" and the dog"]) == ANSWER.partition(" and the dog")[0]
                assert len(models.asked) == calls


REFUSED = {"error": {"message": "Unsupported parameter: 'temperature'.", "type": "invalid_request_error", "param": "temperature"}}
WITHIN: dict[str, Reply] = {
    "an event": Reply((b": one moment\n\n", frame(REFUSED), DONE)),
    "an event after the role": Reply((chunk({"role": "assistant", "content": ""}), frame(REFUSED), DONE)),
    "an event that is named an error": Reply((b"event: error\n" + frame(REFUSED),)),
    "a document": Reply(body=json.dumps(REFUSED).encode()),
}


@pytest.mark.parametrize("via", ["", ", via: litellm"])
@pytest.mark.parametrize("how", WITHIN)
async def test_refusal_within_an_answer_is_learned(workspace: Workspace, how: str, via: str) -> None:
    """A refusal under status 200, as gateways send it, is learned like one under 400: the question is asked again without the parameter."""
    answer = Reply((chunk({"content": ANSWER}), chunk({}, "stop"), DONE))
    async with provider(WITHIN[how], answer) as fake:
        target = f"{{model: openai/nova-9, api_base: '{fake.base}', api_key: sk-test{via}}}"
        async with serving(workspace.write("routes.yaml", routes(target)).build()) as client:
            assert await said(client, temperature=0.7) == ANSWER
            assert await said(client, temperature=0.7) == ANSWER
        assert ["temperature" in one for one in fake.requests] == [True, False, False]


async def test_refusal_after_the_first_words_is_not_learned(workspace: Workspace) -> None:
    """An error that names a parameter after words of the answer breaks the answer off: the same target is not asked again for it."""
    async with provider(Reply((chunk({"content": "Half"}), frame(REFUSED), DONE))) as fake:
        target = f"{{model: openai/nova-9, api_base: '{fake.base}', api_key: sk-test}}"
        async with serving(workspace.write("routes.yaml", routes(target)).build()) as client:
            await said(client, temperature=0.7)
        assert all("temperature" in one for one in fake.requests)


async def test_refusals_within_answers_are_asked_again_four_times_at_most(workspace: Workspace) -> None:
    """A target that refuses another parameter within each answer is asked five times for one question."""
    refusals = [Reply((frame({"error": {**REFUSED["error"], "param": name}}), DONE)) for name in HINTS]
    async with provider(*refusals) as fake:
        target = f"{{model: openai/nova-9, api_base: '{fake.base}', api_key: sk-test}}"
        async with serving(workspace.write("routes.yaml", routes(target)).build()) as client:
            assert await said(client, **HINTS) == "A script."
        assert len(fake.requests) == 5
