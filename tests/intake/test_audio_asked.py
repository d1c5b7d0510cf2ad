"""Questions with audio: read in each wire, sent in each provider's form, and routed past targets that take no audio."""

import json
from typing import Any

import pytest

from router.chat import Ask, File, Message
from router.config.declaration import TargetConfig
from router.config.facts import FactsConfig
from router.config.values import Name, Secret
from router.errors import TargetRefused
from router.targets import Connections, facts_of, open_target
from tests.conftest import Workspace, routes, serving
from tests.intake.test_files_asked import HI, PICTURE, models, shown, target, tried
from tests.support.provider import Provider, Reply, provider, text
from tests.targets.test_proxy import GEMINI, RESPONDED

WAV, MP3 = "data:audio/wav;base64,UklGRg==", "data:audio/mpeg;base64,SUQz"
HEARD = (Reply(text("A dog.")),)
INPUT = {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat completions": ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Listen:"}, INPUT]}]}),
    "Responses": ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Listen:"}, INPUT]}]}),
    "AI SDK 5": (
        "/api/chat?protocol=ui-message-stream",
        {
            "messages": [
                {"role": "user", "parts": [{"type": "text", "text": "Listen:"}, {"type": "file", "mediaType": "audio/mp3", "url": MP3}]}
            ]
        },
    ),
    "AI SDK 4": (
        "/api/chat?protocol=data-stream",
        {
            "messages": [
                {
                    "role": "user",
                    "content": "Listen:",
                    "experimental_attachments": [{"contentType": "audio/mpeg", "name": "a.mp3", "url": MP3}],
                }
            ]
        },
    ),
    "AG-UI": (
        "/api/agui/chat-model",
        {
            "threadId": "t",
            "runId": "r",
            "tools": [],
            "context": [],
            "messages": [
                {
                    "id": "m",
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Listen:"},
                        {"type": "audio", "source": {"type": "data", "value": "SUQz", "mimeType": "audio/mpeg"}},
                    ],
                }
            ],
        },
    ),
}


@pytest.mark.parametrize("dialect", ASKED)
async def test_audio_of_five_client_apis_reaches_a_target_that_takes_audio(workspace: Workspace, dialect: str) -> None:
    """Audio in the form of chat completions, Responses, AI SDK 4 and 5 and AG-UI skips a target with `audio: false`.
    The next one, with `audio: true`, gets it as `input_audio`.
    """
    path, body = ASKED[dialect]
    async with models(HI, HEARD) as (deaf, hearing):
        listed = target("deaf", deaf, "audio: false, images: true") + target("hearing", hearing, "audio: true")
        workspace.write("routes.yaml", routes(listed, "targets: [deaf, hearing]"))
        async with serving(workspace.build()) as client:
            answer = await client.post(path, **{"model": "chat-model", "stream": False, **body})
            assert (answer.status, tried(answer.headers)) == (200, ["deaf skipped_audio", "hearing ok"])
        assert deaf.requests == []
        assert hearing.requests[0]["messages"][-1]["content"] == [{"type": "text", "text": "Listen:"}, INPUT]


@pytest.mark.parametrize(
    ("facts", "urls", "said"),
    [
        (("audio: false", "audio: false"), (MP3,), "No model of this route listens to audio."),
        (("audio: false, images: false",) * 2, (MP3, PICTURE), "No model of this route reads images or audio."),
        (("audio: true, images: false", "audio: false, images: true"), (MP3, PICTURE), "reads all of these kinds of files."),
    ],
)
async def test_audio_that_no_target_takes_gets_a_400(
    workspace: Workspace, facts: tuple[str, str], urls: tuple[str, ...], said: str
) -> None:
    """A question with audio, or audio and an image, that no target takes whole gets a 400 `unread_file` naming the kinds of files."""
    async with models(HI, HI) as (one, other):
        listed = target("one", one, facts[0]) + target("other", other, facts[1])
        workspace.write("routes.yaml", routes(listed + "demo: {script: demo}", "targets: [one, other, demo]"))
        async with serving(workspace.build()) as client:
            answer = await client.post("/api/chat?protocol=line", **shown(*urls))
            assert (answer.status, answer.json["code"], said in answer.json["error"]) == (400, "unread_file", True)
        assert one.requests + other.requests == []


REFUSALS = (
    (400, "content blocks are expected to be either text or image_url type"),
    (500, "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj"),
)


@pytest.mark.parametrize(("status", "words"), REFUSALS)
async def test_target_that_refused_audio_is_skipped_for_later_audio(workspace: Workspace, status: int, words: str) -> None:
    """A target whose 400 or 500 says that it takes no audio is skipped for the next audio, and still answers a question without a file."""
    refuses = Reply(status=status, body=json.dumps({"error": {"message": words, "code": status}}).encode())
    async with models((refuses, *HI), HEARD) as (unknown, other):
        workspace.write("routes.yaml", routes(target("unknown", unknown) + target("other", other), "targets: [unknown, other]"))
        async with serving(workspace.build()) as client:
            assert tried((await client.post(**shown(MP3))).headers) == [f"unknown status_{status}", "other ok"]
            assert tried((await client.post(**shown(MP3))).headers) == ["unknown skipped_audio", "other ok"]
            assert (await client.post(**shown())).headers["x-router-target"] == "unknown"


async def test_invalid_audio_format_gets_a_400_naming_the_field(workspace: Workspace) -> None:
    """An `input_audio.format` that is not a plain name gets a 400 that names the field."""
    workspace.write("routes.yaml", routes("a: {script: demo}"))
    odd = {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3;x"}}
    async with serving(workspace.build()) as client:
        answer = await client.post(model="chat-model", messages=[{"role": "user", "content": [odd]}])
        assert (answer.status, "input_audio.format: the name of a format is needed" in answer.body.decode()) == (400, True)


def asking(url: str) -> Ask:
    """Return a question with audio at this URL."""
    kind = url[5:].partition(";")[0] if url.startswith("data:") else "audio/mpeg"
    return Ask(model="m", messages=(Message("user", ("Listen:", File(kind, url))),))


async def sent(fake: Provider, model: str, url: str, **declared: Any) -> dict[str, Any]:
    """Ask a target of this model about audio, and return the request body that the provider got."""
    base = fake.base.removesuffix("/v1") if model.startswith("gemini/") else fake.base
    config = TargetConfig(model=Name(model), api_base=base, api_key=Secret("sk-a"), facts=FactsConfig(audio=True), **declared)
    connections = Connections()
    try:
        async for _ in open_target("a", config, 60, connections).answer(asking(url)):
            pass
    finally:
        await connections.close()
    return fake.requests[-1]


FORMS: dict[str, tuple[str, dict[str, Any], Reply, Any]] = {
    "openai": ("openai/gpt-audio", {}, HI[0], {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
    "openai, litellm": (
        "openai/gpt-audio",
        {"via": "litellm"},
        HI[0],
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    ),
    "mistral": ("mistral/voxtral-small-latest", {}, HI[0], {"type": "input_audio", "input_audio": "UklGRg=="}),
    "gemini": ("gemini/gemini-2.5-flash", {}, GEMINI, {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}}),
}


@pytest.mark.parametrize("lane", FORMS)
async def test_audio_is_sent_in_the_form_of_the_provider(lane: str) -> None:
    """Audio is `input_audio` with its format for OpenAI, also through LiteLLM, bare base64 for Mistral, and inline data for Gemini."""
    model, declared, reply, form = FORMS[lane]
    async with provider(reply) as fake:
        body = await sent(fake, model, "data:audio/x-wav;base64,UklGRg==", **declared)
    parts = body["contents"][-1]["parts"] if "contents" in body else body["messages"][-1]["content"]
    assert parts[-1] == form


async def test_audio_is_sent_through_litellm_to_gemini() -> None:
    """Audio sent to Gemini through LiteLLM is inline data with an audio media type."""
    async with provider(GEMINI) as fake:
        body = await sent(fake, "gemini/gemini-2.5-flash", MP3, via="litellm")
    data = body["contents"][-1]["parts"][-1]["inline_data"]
    assert (data["data"], data["mime_type"]) in [("SUQz", "audio/mp3"), ("SUQz", "audio/mpeg")]


async def test_audio_is_sent_to_models_of_the_responses_api() -> None:
    """A model asked through OpenAI's Responses API gets audio as `input_audio` if the operator declares `audio: true`."""
    async with provider(RESPONDED) as fake:
        body = await sent(fake, "openai/o3-pro", WAV)
    assert body["input"][-1]["content"][-1] == {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


async def test_audio_url_is_sent_to_gemini_and_refused_for_openai() -> None:
    """The http(s) URL of an audio file is sent to Gemini; for OpenAI it fails with outcome `file_address`."""
    async with provider(GEMINI) as fake:
        body = await sent(fake, "gemini/gemini-2.5-flash", "https://files.test/a.mp3", fetch_files=True)
        assert body["contents"][-1]["parts"][-1] == {"fileData": {"mimeType": "audio/mpeg", "fileUri": "https://files.test/a.mp3"}}
        with pytest.raises(TargetRefused) as caught:
            await sent(fake, "openai/gpt-audio", "https://files.test/a.mp3", fetch_files=True)
        assert caught.value.outcome == "file_address"


def audio_of(model: str, **declared: Any) -> bool | None:
    """Return whether a model takes audio: True, False, or None for unknown."""
    return facts_of(TargetConfig(model=Name(model), api_key=Secret("k"), **declared)).audio


def test_audio_support_comes_from_the_model_table_or_the_operator() -> None:
    """Audio support is True or False for models of the table, None for OpenRouter and an own server, and as `facts` says if declared."""
    known = ["gemini/gemini-2.5-flash", "openai/gpt-audio", "mistral/voxtral-small-latest"]
    assert [audio_of(one) for one in known] == [True] * 3
    deaf = ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "anthropic/claude-nothing-9", "azure/gpt-4o"]
    assert [audio_of(one) for one in deaf] == [False] * 4
    assert [audio_of("openrouter/google/gemini-2.5-flash"), audio_of("openai/own", api_base="http://localhost:1/v1")] == [None, None]
    assert audio_of("openai/gpt-4o", facts=FactsConfig(audio=True)) is True
