"""Questions with images and documents go to targets that read them: over HTTP, in every dialect, with what a refusal taught."""

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from router.drill import drilled
from tests.conftest import Workspace, routes, serving
from tests.support.provider import Provider, Reply, provider, text

PICTURE = "data:image/png;base64,iVBORw0KGgo="
PAPER = "data:application/pdf;base64,JVBERi0xLjQK"
OPENROUTER = json.dumps({"error": {"message": "No endpoints found that support image input", "code": 404}}).encode()
REFUSES = Reply(status=404, body=OPENROUTER)


def shown(*urls: str) -> dict[str, Any]:
    """A question that shows these files, in the form of the AI SDK."""
    parts = [{"type": "file", "url": url, "mediaType": url[5:].partition(";")[0]} for url in urls]
    return {
        "model": "chat-model",
        "messages": [{"role": "user", "parts": [{"type": "text", "text": "What is this?"}, *parts]}],
        "stream": False,
    }


@asynccontextmanager
async def models(*replies: Sequence[Reply]) -> AsyncGenerator[list[Provider]]:
    """A provider for each list of replies."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(provider(*one)) for one in replies]


def target(name: str, fake: Provider, facts: str = "", more: str = "") -> str:
    """A target whose model nobody knows, with these facts."""
    return (
        f"{name}: {{model: openai/{name}, api_base: '{fake.base}', api_key: sk-test{', facts: {' + facts + '}' if facts else ''}{more}}}\n"
    )


HI, SEEN = (Reply(text("Hi")),), (Reply(text("A cat.")),)


def tried(headers: dict[str, str]) -> list[str]:
    """Each try: target and outcome."""
    found: list[str] = []
    for one in headers["x-router-attempts"].split(", "):
        name, *rest = one.split(";")
        outcome = next(part for part in rest if part.startswith("outcome="))
        found.append(name.strip('"') + " " + outcome.removeprefix("outcome="))
    return found


@pytest.mark.parametrize(
    ("url", "facts", "outcome"),
    [(PICTURE, ("images: false", "images: true"), "skipped_vision"), (PAPER, ("documents: false", "documents: true"), "skipped_documents")],
)
async def test_file_goes_to_the_target_that_reads_it(workspace: Workspace, url: str, facts: tuple[str, str], outcome: str) -> None:
    """One that is known not to is passed over, and gets every other question."""
    async with models(HI, SEEN) as (blind, seeing):
        workspace.write(
            "routes.yaml", routes(target("blind", blind, facts[0]) + target("seeing", seeing, facts[1]), "targets: [blind, seeing]")
        )
        async with serving(workspace.build()) as client:
            answer = await client.post("/v1/chat/completions", **shown(url))
            assert answer.json["choices"][0]["message"]["content"] == "A cat."
            assert tried(answer.headers) == [f"blind {outcome}", "seeing ok"]
            assert (await client.post("/v1/chat/completions", **shown())).json["choices"][0]["message"]["content"] == "Hi"
        assert (len(blind.requests), len(seeing.requests)) == (1, 1)


async def test_target_of_which_nobody_knows_is_asked_after_those_that_read_images(workspace: Workspace) -> None:
    """It may read them all the same: it is asked where the others fail."""
    async with models(HI, (Reply(text("A cat.")), Reply(status=503))) as (unknown, seeing):
        text_ = routes(
            target("unknown", unknown) + target("seeing", seeing, "images: true"), "targets: [unknown, seeing]\n    retry: {attempts: 1}"
        )
        async with serving(workspace.write("routes.yaml", text_).build()) as client:
            assert tried((await client.post("/v1/chat/completions", **shown(PICTURE))).headers) == ["seeing ok"]
            assert tried((await client.post("/v1/chat/completions", **shown(PICTURE))).headers) == ["seeing status_503", "unknown ok"]


DIALECTS = (
    "/v1/chat/completions",
    *(f"/api/chat?protocol={name}" for name in ("line", "data-stream", "ui-message-stream", "openai", "anthropic", "text")),
)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_file_that_no_target_reads_is_refused_in_plain_words(workspace: Workspace, path: str, stream: bool) -> None:
    """400 in each dialect, with which sort of file it is; no model is asked, and no script behind them."""
    async with models(HI, HI) as (one, other):
        listed = target("one", one, "images: false, documents: false") + target("other", other, "images: false, documents: true")
        workspace.write("routes.yaml", routes(listed + "demo: {script: demo}", "targets: [one, other, demo]"))
        async with serving(workspace.build()) as client:
            answer = await client.post(path, **shown(PICTURE) | {"stream": stream})
            assert (answer.status, tried(answer.headers)) == (400, ["one skipped_vision", "other skipped_vision", "demo skipped_vision"])
            assert "No model of this route reads images." in answer.body.decode()
        assert not one.requests + other.requests


@pytest.mark.parametrize(
    ("facts", "urls", "said"),
    [
        ("images: false, documents: false", (PAPER,), "No model of this route reads PDF documents."),
        ("images: true, documents: false", (PICTURE, PAPER), "No model of this route reads PDF documents."),
        ("images: false, documents: false", (PICTURE, PAPER), "No model of this route reads images or PDF documents."),
    ],
)
async def test_refusal_names_the_files_that_nobody_reads(workspace: Workspace, facts: str, urls: tuple[str, ...], said: str) -> None:
    """Those alone."""
    async with models(HI) as (one,):
        workspace.write("routes.yaml", routes(target("a", one, facts)))
        async with serving(workspace.build()) as client:
            answer = await client.post("/api/chat?protocol=line", **shown(*urls))
            assert (answer.status, answer.json["code"]) == (400, "unread_file")
            assert answer.json["error"].startswith(said)


async def test_two_targets_that_read_one_sort_each_read_no_question_with_both(workspace: Workspace) -> None:
    """The refusal says that it is both."""
    async with models(HI, HI) as (one, other):
        listed = target("one", one, "images: true, documents: false") + target("other", other, "images: false, documents: true")
        async with serving(workspace.write("routes.yaml", routes(listed, "targets: [one, other]")).build()) as client:
            answer = await client.post(**shown(PICTURE, PAPER))
            assert (answer.status, "both images and PDF documents" in answer.body.decode()) == (400, True)


@pytest.mark.parametrize("lane", ["", ", via: litellm"])
async def test_refused_image_teaches_that_the_model_reads_none(workspace: Workspace, caplog: pytest.LogCaptureFixture, lane: str) -> None:
    """OpenRouter's 404: the question goes on to another target, and the next one with an image goes there at once."""
    caplog.set_level(logging.WARNING, "router.targets")
    async with models((REFUSES, Reply(text("Hi"))), SEEN) as (first, second):
        workspace.write("routes.yaml", routes(target("first", first, more=lane) + target("second", second), "targets: [first, second]"))
        generation = workspace.build()
        async with serving(generation) as client:
            assert tried((await client.post("/v1/chat/completions", **shown(PICTURE))).headers) == ["first status_404", "second ok"]
            assert tried((await client.post("/v1/chat/completions", **shown(PICTURE))).headers) == ["first skipped_vision", "second ok"]
            assert tried((await client.post("/v1/chat/completions", **shown())).headers) == ["first ok"]
        assert list(generation.kept.learned["first"][1].sentences) == ["images"]
        assert [record.message for record in caplog.records if record.name == "router.targets"] == [
            "a model refused files of this sort: they are not sent again"
        ]


async def test_image_that_every_model_refuses_is_no_answer_of_the_script(workspace: Workspace) -> None:
    """The script behind them would answer as if a model had seen it; for a model that is only down it still stands in."""
    async with models((REFUSES, Reply(text("Hi")))) as (only,):
        workspace.write("routes.yaml", routes(target("a", only) + "demo: {script: demo}", "targets: [a, demo]"))
        async with serving(workspace.build()) as client:
            for outcome in ("status_404", "skipped_vision"):
                answer = await client.post("/v1/chat/completions", **shown(PICTURE))
                assert (answer.status, tried(answer.headers)) == (400, [f"a {outcome}", "demo skipped_vision"])
                assert "No model of this route reads images." in answer.body.decode()
    for reply, status in ((Reply(status=400), 502), (Reply(status=503), 200)):
        async with models((reply,)) as (only,):
            more = "targets: [a, demo]\n    retry: {attempts: 1}"
            workspace.write("routes.yaml", routes(target("a", only) + "demo: {script: demo}", more))
            async with serving(workspace.build()) as client:
                assert (await client.post("/v1/chat/completions", **shown(PICTURE))).status == status


async def test_script_before_which_no_model_is_asked_answers_about_files(workspace: Workspace) -> None:
    """Offline, the demo says of itself that no model reads the question."""
    listed = "a: {model: openai/gpt-4o, api_key: '${NONE}', optional: true}\ndemo: {script: demo}"
    async with serving(workspace.write("routes.yaml", routes(listed, "targets: [a, demo]")).build()) as client:
        answer = await client.post("/v1/chat/completions", **shown(PICTURE))
        assert (answer.status, "no model reads your words" in answer.body.decode()) == (200, True)


async def test_refusal_of_an_image_by_a_model_that_is_known_to_read_them_teaches_nothing(workspace: Workspace) -> None:
    """A gateway may have no server for it just now."""
    async with models((REFUSES, Reply(text("A cat.")))) as (only,):
        generation = workspace.write("routes.yaml", routes(target("a", only, "images: true"))).build()
        async with serving(generation) as client:
            assert (await client.post("/v1/chat/completions", **shown(PICTURE))).status == 400
            assert (await client.post("/v1/chat/completions", **shown(PICTURE))).status == 200
        assert not generation.kept.learned["a"][1].sentences


async def test_image_in_a_tools_result_counts(workspace: Workspace) -> None:
    """One that the client's own tool showed."""
    called = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}
    result = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}
    async with models(HI, SEEN) as (blind, seeing):
        listed = target("blind", blind, "images: false") + target("seeing", seeing, "images: true")
        async with serving(workspace.write("routes.yaml", routes(listed, "targets: [blind, seeing]")).build()) as client:
            body = {"model": "chat-model", "messages": [{"role": "user", "content": "Look."}, called, result], "stream": False}
            assert tried((await client.post("/v1/chat/completions", **body)).headers) == ["blind skipped_vision", "seeing ok"]


async def test_answer_that_broke_off_is_not_rescued_by_a_target_that_reads_no_images(workspace: Workspace) -> None:
    """It would go on with what it has not seen."""
    cut = (Reply(text("Half a cat")[:2], drop=True),)
    async with models(cut, HI) as (seeing, blind):
        listed = target("seeing", seeing, "images: true") + target("blind", blind, "images: false")
        async with serving(workspace.write("routes.yaml", routes(listed, "targets: [seeing, blind]")).build()) as client:
            await client.post("/v1/chat/completions", **shown(PICTURE))
        assert not blind.requests
        assert len(seeing.requests) > 1


async def test_hedge_of_a_question_with_an_image_asks_no_blind_target(workspace: Workspace) -> None:
    """And none is asked where nobody reads it."""
    async with models(HI, HI) as (one, other):
        listed = target("one", one, "images: false") + target("other", other, "images: false")
        workspace.write("routes.yaml", routes(listed, "targets: [one, other]\n    hedge: {after: 1ms, at_most: 100%}"))
        async with serving(workspace.build()) as client:
            assert (await client.post(**shown(PICTURE))).status == 400
        assert not one.requests + other.requests


def test_drill_plays_targets_with_the_facts_that_they_have(workspace: Workspace) -> None:
    """Also one that lacks a variable."""
    listed = "a: {model: openai/gpt-4o, api_key: '${NONE}', optional: true, facts: {images: false}}\nb: {model: openai/b, api_key: k, facts: {images: true}}"
    drill = "drills:\n  - {name: x, ask: {model: chat-model, image: true}, expect: {tried: [a skipped_vision, b ok]}}\n"
    workspace.write("routes.yaml", routes(listed, "targets: [a, b]", drill))
    (result,) = drilled(workspace.build().declaration)
    assert not result.faults
