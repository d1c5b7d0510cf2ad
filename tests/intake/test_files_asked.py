"""Questions with images and documents: routed to targets that read them, in every wire, and refusals that are remembered."""

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
    """Return the body of a question with these files, in the form of the AI SDK."""
    parts = [{"type": "file", "url": url, "mediaType": url[5:].partition(";")[0]} for url in urls]
    return {
        "model": "chat-model",
        "messages": [{"role": "user", "parts": [{"type": "text", "text": "What is this?"}, *parts]}],
        "stream": False,
    }


@asynccontextmanager
async def models(*replies: Sequence[Reply]) -> AsyncGenerator[list[Provider]]:
    """Run a fake provider for each list of replies, and yield them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(provider(*one)) for one in replies]


def target(name: str, fake: Provider, facts: str = "", more: str = "") -> str:
    """Return the declaration of a target with an unknown model and these facts."""
    return (
        f"{name}: {{model: openai/{name}, api_base: '{fake.base}', api_key: sk-test{', facts: {' + facts + '}' if facts else ''}{more}}}\n"
    )


HI, SEEN = (Reply(text("Hi")),), (Reply(text("A cat.")),)


def tried(headers: dict[str, str]) -> list[str]:
    """Return the attempts of an answer, each as its target and outcome."""
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
async def test_file_is_sent_to_a_target_that_reads_it(workspace: Workspace, url: str, facts: tuple[str, str], outcome: str) -> None:
    """A question with an image or PDF skips a target known not to read it; the same target gets the question without a file."""
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


async def test_target_with_unknown_image_support_is_asked_last(workspace: Workspace) -> None:
    """A question with an image goes to a target known to read images first, and to one with unknown support if that one fails."""
    async with models(HI, (Reply(text("A cat.")), Reply(status=503))) as (unknown, seeing):
        text_ = routes(
            target("unknown", unknown) + target("seeing", seeing, "images: true"), "targets: [unknown, seeing]\n    retry: {attempts: 1}"
        )
        async with serving(workspace.write("routes.yaml", text_).build()) as client:
            assert tried((await client.post("/v1/chat/completions", **shown(PICTURE))).headers) == ["seeing ok"]
            assert tried((await client.post("/v1/chat/completions", **shown(PICTURE))).headers) == ["seeing status_503", "unknown ok"]


DIALECTS = (
    "/v1/chat/completions",
    *(f"/api/chat?protocol={name}" for name in ("line", "data-stream", "ui-message-stream", "openai", "anthropic", "responses", "text")),
)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_image_that_no_target_reads_gets_a_400_in_every_wire(workspace: Workspace, path: str, stream: bool) -> None:
    """A question with an image that no target reads gets a 400 in its wire's form, without a call to a model or the demo."""
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
async def test_refusal_names_the_kinds_of_files_that_no_target_reads(
    workspace: Workspace, facts: str, urls: tuple[str, ...], said: str
) -> None:
    """The 400 with code `unread_file` names only those kinds of files in the question that no target reads."""
    async with models(HI) as (one,):
        workspace.write("routes.yaml", routes(target("a", one, facts)))
        async with serving(workspace.build()) as client:
            answer = await client.post("/api/chat?protocol=line", **shown(*urls))
            assert (answer.status, answer.json["code"]) == (400, "unread_file")
            assert answer.json["error"].startswith(said)


async def test_image_and_pdf_that_no_single_target_reads_get_a_400(workspace: Workspace) -> None:
    """A question with an image and a PDF gets a 400 that names both, if one target reads only images and another only PDFs."""
    async with models(HI, HI) as (one, other):
        listed = target("one", one, "images: true, documents: false") + target("other", other, "images: false, documents: true")
        async with serving(workspace.write("routes.yaml", routes(listed, "targets: [one, other]")).build()) as client:
            answer = await client.post(**shown(PICTURE, PAPER))
            assert (answer.status, "both images and PDF documents" in answer.body.decode()) == (400, True)


@pytest.mark.parametrize("lane", ["", ", via: litellm"])
async def test_target_that_refused_an_image_is_skipped_for_later_images(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, lane: str
) -> None:
    """A target whose 404 says that it takes no images is skipped for later images, logged once, and still gets plain questions."""
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


async def test_demo_does_not_answer_an_image_that_every_model_refused(workspace: Workspace) -> None:
    """A question whose image the only model refuses gets a 400, now and the next time, although a demo script follows.
    A 400 that does not mention images gives a 502; if the model is down (503), the demo answers with a 200.
    """
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


async def test_demo_answers_an_image_if_no_model_is_configured(workspace: Workspace) -> None:
    """The demo answers a question with an image if the only model before it is left out for want of its API key."""
    listed = "a: {model: openai/gpt-4o, api_key: '${NONE}', optional: true}\ndemo: {script: demo}"
    async with serving(workspace.write("routes.yaml", routes(listed, "targets: [a, demo]")).build()) as client:
        answer = await client.post("/v1/chat/completions", **shown(PICTURE))
        assert (answer.status, "no model reads your words" in answer.body.decode()) == (200, True)


async def test_refused_image_is_not_remembered_for_a_target_declared_to_read_images(workspace: Workspace) -> None:
    """A target with `images: true` that refuses one image (400 to the client) gets the next image all the same, and answers it."""
    async with models((REFUSES, Reply(text("A cat.")))) as (only,):
        generation = workspace.write("routes.yaml", routes(target("a", only, "images: true"))).build()
        async with serving(generation) as client:
            assert (await client.post("/v1/chat/completions", **shown(PICTURE))).status == 400
            assert (await client.post("/v1/chat/completions", **shown(PICTURE))).status == 200
        assert not generation.kept.learned["a"][1].sentences


async def test_image_in_a_tool_result_skips_targets_that_read_no_images(workspace: Workspace) -> None:
    """A question with an image in the result of a client tool skips a target that reads no images."""
    called = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}
    result = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}
    async with models(HI, SEEN) as (blind, seeing):
        listed = target("blind", blind, "images: false") + target("seeing", seeing, "images: true")
        async with serving(workspace.write("routes.yaml", routes(listed, "targets: [blind, seeing]")).build()) as client:
            body = {"model": "chat-model", "messages": [{"role": "user", "content": "Look."}, called, result], "stream": False}
            assert tried((await client.post("/v1/chat/completions", **body)).headers) == ["blind skipped_vision", "seeing ok"]


async def test_cut_answer_about_an_image_is_not_continued_by_a_target_without_images(workspace: Workspace) -> None:
    """An answer about an image that breaks off is continued by the same target, not by a fallback that reads no images."""
    cut = (Reply(text("Half a cat")[:2], drop=True),)
    async with models(cut, HI) as (seeing, blind):
        listed = target("seeing", seeing, "images: true") + target("blind", blind, "images: false")
        async with serving(workspace.write("routes.yaml", routes(listed, "targets: [seeing, blind]")).build()) as client:
            await client.post("/v1/chat/completions", **shown(PICTURE))
        assert not blind.requests
        assert len(seeing.requests) > 1


async def test_hedge_of_a_question_with_an_image_skips_targets_without_images(workspace: Workspace) -> None:
    """On a route with a hedge after 1 ms, a question with an image that no target reads gets a 400 without a call to any target."""
    async with models(HI, HI) as (one, other):
        listed = target("one", one, "images: false") + target("other", other, "images: false")
        workspace.write("routes.yaml", routes(listed, "targets: [one, other]\n    hedge: {after: 1ms, at_most: 100%}"))
        async with serving(workspace.build()) as client:
            assert (await client.post(**shown(PICTURE))).status == 400
        assert not one.requests + other.requests


def test_drill_skips_targets_by_their_facts(workspace: Workspace) -> None:
    """A drill with an image skips a target with `images: false`, also one whose API key is not set."""
    listed = "a: {model: openai/gpt-4o, api_key: '${NONE}', optional: true, facts: {images: false}}\nb: {model: openai/b, api_key: k, facts: {images: true}}"
    drill = "drills:\n  - {name: x, ask: {model: chat-model, image: true}, expect: {tried: [a skipped_vision, b ok]}}\n"
    workspace.write("routes.yaml", routes(listed, "targets: [a, b]", drill))
    (result,) = drilled(workspace.build().declaration)
    assert not result.faults
