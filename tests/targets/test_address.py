"""The request URL of a target, for the forms of `api_base` that an operator may write."""

from typing import Any

import pytest

from router.config.declaration import TargetConfig
from router.config.values import Name, Secret
from router.errors import Misfit
from router.targets import Connections, address, anthropic, openai
from router.targets.connections import Endpoint

HOST = "https://host.example"
VERSION = f"?api-version={address.AZURE_VERSION}"
DEPLOYED = "/openai/deployments/my-gpt/chat/completions"

ASKED: dict[tuple[str, str], str] = {
    ("openai/m", "/v1"): "/v1/chat/completions",
    ("openai/m", "/v1/"): "/v1/chat/completions",
    ("openai/m", ""): "/chat/completions",
    ("openai/m", "/v1?api-version=2025-01-01"): "/v1/chat/completions?api-version=2025-01-01",
    ("openai/m", "/v1/?a=1&b=%20"): "/v1/chat/completions?a=1&b=%20",
    ("openai/m", "/v1/chat/completions"): "/v1/chat/completions",
    ("openai/m", "/v1/chat/completions?a=1"): "/v1/chat/completions?a=1",
    ("openai/m", "/v1/responses?a=1"): "/v1/chat/completions?a=1",
    ("ollama_chat/m", ""): "/v1/chat/completions",
    ("ollama_chat/m", "/v1"): "/v1/chat/completions",
    ("ollama_chat/m", "?a=1"): "/v1/chat/completions?a=1",
    ("anthropic/m", ""): "/v1/messages",
    ("anthropic/m", "/v1"): "/v1/messages",
    ("anthropic/m", "/v1/messages"): "/v1/messages",
    ("anthropic/m", "/proxy?beta=1"): "/proxy/v1/messages?beta=1",
    ("anthropic/m", "/v1/messages?beta=1"): "/v1/messages?beta=1",
    ("azure/my-gpt", ""): DEPLOYED + VERSION,
    ("azure/my-gpt", "/openai"): DEPLOYED + VERSION,
    ("azure/my-gpt", "/openai/deployments/other"): "/openai/deployments/other/chat/completions" + VERSION,
    ("azure/my-gpt", f"{DEPLOYED}?api-version=2025-01-01"): f"{DEPLOYED}?api-version=2025-01-01",
    ("azure/my-gpt", "?api-version=2025-01-01&x=1"): f"{DEPLOYED}?api-version=2025-01-01&x=1",
    ("azure/my-gpt", "/openai/v1"): "/openai/v1/chat/completions",
    ("azure/my-gpt", "/openai/v1/chat/completions?api-version=preview"): "/openai/v1/chat/completions?api-version=preview",
}


class Noted(Connections):
    """Connections that record the URL of each endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def endpoint(self, url: str, *arguments: Any, **more: Any) -> Endpoint:
        """Record the URL, and return the endpoint as usual."""
        self.urls.append(url)
        return super().endpoint(url, *arguments, **more)


def url_of(model: str, base: str) -> str:
    """Return the URL that a target of this model and `api_base` would send requests to."""
    connections = Noted()
    lane = anthropic if model.startswith("anthropic/") else openai
    lane.answer("a", TargetConfig(model=Name(model), api_base=base, api_key=Secret("sk-a")), 3, connections)
    return connections.urls[0]


@pytest.mark.parametrize("given", ASKED, ids=" ".join)
def test_request_url_gets_the_missing_path_before_its_query(given: tuple[str, str]) -> None:
    """A request URL is `api_base` plus the part of the endpoint's path that it lacks, inserted before any query string (RFC 3986)."""
    model, base = given
    assert url_of(model, HOST + base) == HOST + ASKED[given]


@pytest.mark.parametrize(
    ("model", "base", "path"),
    [
        ("openai/responses/m", "/v1", "/v1/responses"),
        ("openai/responses/m", "/v1/responses", "/v1/responses"),
        ("openai/responses/m", "/v1/chat/completions?a=1", "/v1/responses?a=1"),
        ("azure/responses/my-gpt", "/openai/v1/responses", "/openai/v1/responses"),
        ("azure/responses/my-gpt", "", "/openai/v1/responses"),
    ],
)
def test_responses_url_does_not_repeat_the_endpoint(model: str, base: str, path: str) -> None:
    """The URL of the Responses API comes from the base, the address of chat completions, or its own address."""
    declared = TargetConfig(model=Name(model), api_base=HOST + base, api_key=Secret("sk-a"))
    assert address.responding_at(url_of(model, HOST + base), declared) == HOST + path


@pytest.mark.parametrize("model", ["openai/m", "anthropic/m", "azure/m"])
def test_api_base_with_a_fragment_is_refused(model: str) -> None:
    """An `api_base` with a `#fragment`, which HTTP never sends, raises Misfit (an invalid target) for the field `api_base`."""
    with pytest.raises(Misfit, match="fragment") as caught:
        url_of(model, f"{HOST}/v1#part")
    assert caught.value.field == "api_base"
