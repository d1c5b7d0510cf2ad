"""Every method of the real SDKs' resources that exist here is answered, or refused in the error form that the SDK reads.

The methods are found in the SDKs themselves. A release that adds one is noticed: it is refused with a sentence, or SERVED has to list it.
"""

import inspect
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.provider import Reply, provider, text

HELLO: list[dict[str, str]] = [{"role": "user", "content": "Hi"}]
GIVEN: Mapping[str, Any] = {"model": "chat-model", "messages": HELLO, "input": "Hi", "prompt": "Hi", "max_tokens": 16}
"""Parameter → its argument, for methods that have it."""
RESOURCES: dict[str, tuple[str, ...]] = {
    "openai": ("responses", "chat.completions", "completions", "embeddings", "models"),
    "anthropic": ("messages", "models", "beta.messages", "beta.models"),
}
SERVED: dict[str, set[str]] = {
    "openai": {
        "responses.create",
        "responses.parse",
        "responses.stream",
        "responses.input_tokens.count",
        "chat.completions.create",
        "chat.completions.parse",
        "chat.completions.stream",
        "completions.create",
        "models.list",
        "models.retrieve",
    },
    "anthropic": {
        *(f"{beta}messages.{name}" for beta in ("", "beta.") for name in ("create", "parse", "stream", "count_tokens")),
        "models.list",
        "beta.models.list",
    },
}
"""SDK → methods that are answered when this test calls them. Methods in KEPT are served too, but find nothing under their id."""
KEPT = {
    "responses.retrieve",
    "responses.cancel",
    "responses.delete",
    "responses.input_items.list",
    "models.retrieve",
    "beta.models.retrieve",
}
"""Methods that are served and find nothing under the id that this test gives them."""
ELSEWHERE = {
    "responses.connect": "a WebSocket",
    "beta.messages.tool_runner": "calls `create` and `stream` by itself",
    "beta.messages.thread": "the same",
}
"""Method → the reason that it sends no HTTP request of its own."""


def methods(resource: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, method) of a resource and its sub-resources."""
    kind: Any = resource.__class__
    for word in sorted(word for word in dir(kind) if not word.startswith(("_", "with_"))):
        found = inspect.getattr_static(kind, word)
        path = f"{name}.{word}"
        if inspect.isfunction(found):
            if path not in ELSEWHERE:
                yield path, getattr(resource, word)
        else:
            yield from methods(getattr(resource, word), path)


def arguments(method: Any) -> dict[str, Any]:
    """Return arguments for a call: known values by their names, and an id for every other parameter without a default."""
    taken = inspect.signature(method).parameters
    known = {
        name: GIVEN[name] for name in taken.keys() & GIVEN.keys() if (name, "input" in taken) != ("prompt", True)
    }  # there it is a stored one
    missing = {name for name, one in taken.items() if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    special: dict[str, Any] = {
        "requests": [{"custom_id": "1", "params": {"model": "chat-model", "max_tokens": 16, "messages": HELLO}}],
        "metadata": {},
    }
    return {**known, **{name: special.get(name, "resp_1") for name in missing - known.keys()}}


async def outcome(method: Any) -> Any:
    """Return the API error that a call of this method raises, or None if it is answered."""
    try:
        made = method(**arguments(method))
        if hasattr(made, "__aenter__"):
            async with made as stream:
                async for _ in stream:
                    pass
        else:
            await made
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return error
    return None


@pytest.fixture
async def client(workspace: Workspace) -> AsyncGenerator[Client, None]:
    """Yield a client of a router that asks a fake provider."""
    async with (
        provider(Reply(text("Hello"))) as fake,
        serving(workspace.write("routes.yaml", routes(direct_target(fake.base))).build()) as made,
    ):
        yield made


def sdk_of(name: str, base: str) -> Any:
    """Return the client of the SDK `openai` or `anthropic` for this address, without retries."""
    if name == "openai":
        return openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
    return anthropic.AsyncAnthropic(base_url=base, api_key="none", max_retries=0)


@pytest.mark.parametrize("name", RESOURCES)
async def test_method_of_an_sdk_is_served_or_refused_in_its_own_form(client: Client, name: str) -> None:
    """The SDK methods in SERVED are answered, and all others get a 400, 404 or 405 whose type and message the SDK finds."""
    async with sdk_of(name, client.base) as sdk:
        found: dict[str, Any] = {}
        for path in RESOURCES[name]:
            resource = sdk
            for word in path.split("."):
                resource = getattr(resource, word)
            for method, call in methods(resource, path):
                found[method] = await outcome(call)
    assert {method for method, error in found.items() if error is None} == SERVED[name]
    wrong: dict[str, Any] = {}
    for method, error in ((method, error) for method, error in found.items() if error is not None):
        said: dict[str, str] = error.response.json().get("error", {})
        if not said.get("type") or not said.get("message"):
            wrong[method] = error.response.text
        elif method not in KEPT and error.status_code == 404 and "POST /v1/" not in said["message"]:
            wrong[method] = said["message"]
        elif error.status_code not in (400, 404, 405):
            wrong[method] = error.status_code
    assert wrong == {}


EVERYWHERE = {"extra_headers", "extra_query", "extra_body", "timeout", "betas"}
"""Parameters of the SDK itself; `betas` become a header, which the router ignores."""
HEADERS = {"user_profile_id", "workspace_id"}
"""Parameters that the SDK sends as headers about the account at the provider."""
READ: dict[str, set[str]] = {
    "responses": {
        *("background", "include", "input", "instructions", "max_output_tokens", "metadata", "model", "parallel_tool_calls", "reasoning"),
        *(
            "previous_response_id",
            "service_tier",
            "store",
            "stream",
            "stream_options",
            "temperature",
            "text",
            "tool_choice",
            "tools",
            "top_p",
        ),
        "user",
    },
    "chat.completions": {
        *(
            "frequency_penalty",
            "logit_bias",
            "max_completion_tokens",
            "max_tokens",
            "messages",
            "model",
            "parallel_tool_calls",
            "prediction",
        ),
        *("presence_penalty", "reasoning_effort", "response_format", "seed", "service_tier", "stop", "stream", "stream_options"),
        *("temperature", "tool_choice", "tools", "top_p", "user", "verbosity"),
    },
    "beta.messages": {
        *("max_tokens", "messages", "model", "output_config", "service_tier", "stop_sequences", "stream", "system", "thinking"),
        *("tool_choice", "tools"),
    },
}
"""Resource → parameters of its `create` that the router reads; other tests check their effect."""
SCORED = {"model": "omni-moderation-latest"}
REFUSED: dict[str, dict[str, Any]] = {
    "responses": {
        "context_management": [{"type": "compaction", "compact_threshold": 1000}],
        "conversation": "conv_1",
        "max_tool_calls": 1,
        "moderation": SCORED,
        "prompt": {"id": "pmpt_1"},
        "top_logprobs": 2,
        "truncation": "auto",
    },
    "chat.completions": {
        "audio": {"voice": "alloy", "format": "wav"},
        "function_call": {"name": "f"},
        "functions": [{"name": "f"}],
        "logprobs": True,
        "modalities": ["text", "audio"],
        "moderation": SCORED,
        "n": 2,
        "top_logprobs": 2,
        "web_search_options": {"search_context_size": "low"},
    },
    "beta.messages": {
        "billing_policy": {"type": "billing_policy", "bill_to": "user_profile"},
        "compaction": {"type": "enabled"},
        "container": "container_1",
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "inference_geo": "us",
        "mcp_servers": [{"type": "url", "name": "a", "url": "https://mcp.test"}],
        "thread": {"type": "create"},
    },
}
"""Resource → parameters that change the answer, or where it is made, and are refused by name."""
KEYED: dict[str, Any] = {
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
}
OMITTED: dict[str, dict[str, Any]] = {
    "responses": KEYED,
    "chat.completions": {**KEYED, "metadata": {"a": "b"}, "store": True},
    "beta.messages": {
        "cache_control": {"type": "ephemeral"},
        "diagnostics": {"previous_message_id": None},
        "fallback_credit_token": "t",
        "fallbacks": "default",
        "metadata": {"user_id": "u"},
        "speed": "fast",
    },
}
"""Resource → parameters that are left out, and named in X-Router-Attempts."""


@pytest.mark.parametrize("path", READ)
async def test_parameter_of_an_sdk_is_listed_refused_or_reported_as_omitted(client: Client, path: str) -> None:
    """The tables here have every parameter of `create`. A refused one gets a 400 that names it.
    `x-router-attempts` names the omitted ones. Parameters listed as read are not sent here.
    """
    async with sdk_of("anthropic" if "messages" in path else "openai", client.base) as sdk:
        create = sdk
        for word in (*path.split("."), "create"):
            create = getattr(create, word)
        known = READ[path] | REFUSED[path].keys() | OMITTED[path].keys() | EVERYWHERE | HEADERS
        assert inspect.signature(create).parameters.keys() - known == set()
        usual = arguments(create)
        for name, value in REFUSED[path].items():
            with pytest.raises((openai.BadRequestError, anthropic.BadRequestError), match=f"{name}: "):
                await create(**{**usual, name: value})
        answer = await client.post(f"/v1/{path.removeprefix('beta.').replace('.', '/')}", **usual, **OMITTED[path])
        attempts = answer.headers["x-router-attempts"]
    assert {name for name in OMITTED[path] if name not in attempts} == set()
