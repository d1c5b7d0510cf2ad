"""Files given by URL: sent on to known providers, and to a self-hosted server only if its target sets `fetch_files`."""

import json
from typing import Any

import pytest

from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import ConfigError, Misfit
from router.targets import Connections, open_target
from router.targets.files import fetches
from tests.conftest import Workspace, direct_target, routes, serving
from tests.support.provider import Reply, provider, text

METADATA = "http://169.254.169.254/latest/meta-data/"
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def target(model: str, api_base: str | None = None, fetch_files: bool | None = None) -> Declared:
    """Return a declared target."""
    return Declared(model=Name(model), api_base=api_base, api_key=Secret("sk-test"), fetch_files=fetch_files)


KNOWN = [
    ("openai/gpt-4o", None),
    ("openai/gpt-4o", "https://api.openai.com/v1"),
    ("openai/x", "https://openrouter.ai/api/v1"),
    ("anthropic/claude", None),
    ("anthropic/claude", "https://API.anthropic.com"),
    ("mistral/x", None),
    ("azure/deployment", "https://mine.openai.azure.com"),
    ("azure/deployment", "https://mine.services.ai.azure.com/openai/v1"),
]
OWN = [
    ("hosted_vllm/x", "http://10.0.0.7:8000/v1"),
    ("hosted_vllm/x", "https://vllm.example.com/v1"),
    ("openai/x", "http://localhost:8000/v1"),
    ("openai/x", "http://[::1]:8000/v1"),
    ("openai/x", "http://vllm:8000/v1"),
    ("openai/x", "https://models.example.com/v1"),
    ("openai/x", "https://api.openai.com.evil.example/v1"),
    ("openai/x", "https://notazure.com/v1"),
    ("azure/deployment", "https://azure.com.example/"),
    ("anthropic/claude", "http://127.0.0.1:4000"),
    ("ollama_chat/llama", None),
    ("lm_studio/x", None),
    ("llamafile/x", None),
    ("mistral/x", "http://mistral.internal/v1"),
]


@pytest.mark.parametrize(("model", "api_base"), KNOWN)
def test_file_urls_are_sent_on_to_a_known_provider(model: str, api_base: str | None) -> None:
    """A known provider gets URLs of files, unless the target sets `fetch_files: false`."""
    assert fetches(target(model, api_base))
    assert not fetches(target(model, api_base, fetch_files=False))


@pytest.mark.parametrize(("model", "api_base"), OWN)
def test_file_urls_are_not_sent_on_to_a_self_hosted_server(model: str, api_base: str | None) -> None:
    """A self-hosted server gets no URL of a file, unless its target sets `fetch_files: true`."""
    assert not fetches(target(model, api_base))
    assert fetches(target(model, api_base, fetch_files=True))


def asked(*parts: dict[str, Any]) -> dict[str, Any]:
    """Return a chat-completions request whose user message has a text and these parts."""
    return {
        "model": "chat-model",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}],
        "stream": False,
    }


def image(url: str) -> dict[str, Any]:
    """Return an image part with this URL."""
    return {"type": "image_url", "image_url": {"url": url}}


QUESTIONS = {
    "an image": ("/v1/chat/completions", asked(image(METADATA))),
    "an image among others": ("/v1/chat/completions", asked(image(PICTURE), image("HTTPS://internal/x.png"))),
    "a document": (
        "/api/chat",
        {"messages": [{"role": "user", "parts": [{"type": "file", "url": METADATA, "mediaType": "application/pdf"}]}], "stream": False},
    ),
    "an attachment": (
        "/api/chat",
        {
            "messages": [{"role": "user", "content": "Hi", "experimental_attachments": [{"url": METADATA, "contentType": "image/png"}]}],
            "stream": False,
        },
    ),
    "an earlier message": (
        "/api/chat",
        {
            "messages": [
                *asked(image(METADATA))["messages"],
                {"role": "assistant", "content": "A cat."},
                {"role": "user", "content": "And now?"},
            ],
            "stream": False,
        },
    ),
}


@pytest.mark.parametrize("case", QUESTIONS)
async def test_request_with_a_file_url_is_refused_for_a_self_hosted_server(workspace: Workspace, case: str) -> None:
    """A request with a file's URL is refused with 400 `file_address` and the advice to send a data: URL; the server gets no request."""
    path, body = QUESTIONS[case]
    async with provider(Reply(text("Hi"))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base)))
        async with serving(workspace.build()) as client:
            answer = await client.post(path, **body)
            assert answer.status == 400
            assert "file_address" in answer.body.decode()
            assert "send the file itself, as a data: URL" in answer.body.decode()
            assert '"a";outcome=file_address' in answer.headers["x-router-attempts"]
            assert fake.requests == []
            assert (await client.post(path, **asked(image(PICTURE)))).status == 200
        assert len(fake.requests) == 1


async def test_file_url_goes_to_the_target_that_sets_fetch_files(workspace: Workspace) -> None:
    """Each of ten requests with a file's URL skips a target for the one with `fetch_files: true`; the first still answers text."""
    async with provider(Reply(text("Hi"))) as shy, provider(Reply(text("A cat."))) as bold:
        open_to_all = direct_target(bold.base, "b").replace("api_key", "fetch_files: true, api_key")
        workspace.write("routes.yaml", routes(direct_target(shy.base) + open_to_all, "targets: [a, b]"))
        async with serving(workspace.build()) as client:
            for _ in range(10):
                answer = await client.post("/v1/chat/completions", **asked(image(METADATA)))
                assert answer.json["choices"][0]["message"]["content"] == "A cat."
            assert (await client.post("/v1/chat/completions", **asked())).json["choices"][0]["message"]["content"] == "Hi"
        assert len(shy.requests) == 1
        assert METADATA in json.dumps(bold.requests[0])


def test_fetch_files_is_refused_for_a_litellm_target() -> None:
    """`fetch_files: true` on a target of the LiteLLM lane raises Misfit: LiteLLM might fetch the file itself."""
    for declared in (target("bedrock/x", fetch_files=True), Declared(model=Name("openai/x"), via="litellm", fetch_files=True)):
        with pytest.raises(Misfit, match="via LiteLLM no address of a file is handed on"):
            open_target("a", declared, 1, Connections())


def test_fetch_files_is_refused_for_a_scripted_target(workspace: Workspace) -> None:
    """`fetch_files` on a scripted target is a configuration error."""
    with pytest.raises(ConfigError, match="a scripted target has no use for `fetch_files`"):
        workspace.write("routes.yaml", routes("a: {script: demo, fetch_files: true}")).build()
