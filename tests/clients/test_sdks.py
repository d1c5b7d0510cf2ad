"""Libraries for programs against the router: OpenAI's and Anthropic's own, the AI SDK's providers, openai-agents, LangChain."""

import re
from typing import Any

import pytest

from router.targets.embeddings import DEMO_DIMENSIONS, demo_vector, words_of
from tests.clients.harness import SDKS, Saw, Sdk, Workers
from tests.clients.replay import PATIENCE
from tests.clients.router_cases import Running
from tests.clients.sdk_cases import PLAYS, SdkCase, played_by_sdks

PLAYED = [pytest.param(client, case, id=f"{case}-{client}") for client, case in played_by_sdks()]
NAMED = {client.name: client for client in SDKS}


def wrong(case: SdkCase, saw: Saw) -> dict[str, Any]:
    """Return the fields of a client's report that differ from the case, empty if none does; the whole report if the client was late."""
    if "late" in saw:
        return saw
    found = {name: saw[name] for name in ("text", "thoughts") if case.made is None and saw[name] != getattr(case, name)}
    if sorted(map(str, saw["calls"])) != sorted(map(str, case.calls)):
        found["calls"] = saw["calls"]
    if case.made is not None and saw["object"] != case.made:
        found["object"] = saw["object"]
    if case.stop is not None:
        return found if "aborted" in saw["events"] else {**found, "events": saw["events"]}
    error: dict[str, Any] = saw["error"] or {"message": "", "status": None}
    if not re.search(case.error or "^$", error["message"]) or case.status not in (None, error["status"]):
        found["error"] = error
    return found


@pytest.mark.parametrize(("client", "case"), PLAYED)
def test_sdk_returns_the_expected_answer_for_each_case(client: Sdk, case: SdkCase, workers: Workers, router: Running) -> None:
    """Each library returns the text, thoughts, tool calls, structured output or error that the case table lists."""
    assert wrong(case, workers.saw(client, router.base, case.asked)) == {}


@pytest.mark.parametrize("name", [name for name, cases in PLAYS.items() if "text" in cases])
def test_sdk_reports_the_token_usage_of_a_stream(name: str, workers: Workers, router: Running) -> None:
    """Each library that can report usage reports input and output tokens above zero for a stream."""
    saw = workers.saw(NAMED[name], router.base, {"model": "text", "deed": "stream"})
    if name != "langchain-completions":  # its stream has none
        assert saw["usage"]["input"] > 0
        assert saw["usage"]["output"] > 0


@pytest.mark.parametrize("name", [name for name, cases in PLAYS.items() if "stop" in cases])
def test_sdk_that_stops_a_stream_closes_the_connection_to_the_provider(name: str, workers: Workers, router: Running) -> None:
    """When a library stops reading a stream, the router closes the connection to the provider."""
    router.provider.left.clear()
    workers.saw(NAMED[name], router.base, {"model": "stop", "deed": "stream", "stop": "Before"})
    assert router.provider.left.wait(PATIENCE)


@pytest.mark.parametrize("name", ["ai-sdk-openai", "ai-sdk-openai-chat", "langchain"])
def test_sdk_reads_embeddings(name: str, workers: Workers, router: Running) -> None:
    """Each library gets the embeddings of two texts as numbers, in input order."""
    saw = workers.saw(NAMED[name], router.base, {"model": "embed", "deed": "embed"})
    assert saw["error"] is None
    assert saw["object"] == [pytest.approx(demo_vector(words_of(text), DEMO_DIMENSIONS), abs=1e-6) for text in ("soup", "a book")]


@pytest.mark.parametrize("name", ["ai-sdk-openai", "ai-sdk-openai-chat"])
def test_sdk_gets_a_partial_object_before_the_answer_is_complete(name: str, workers: Workers, router: Running) -> None:
    """The AI SDK gets the first field of an object before the second was sent, if the provider enforces the schema."""
    saw = workers.saw(NAMED[name], router.base, {"model": "half-person", "deed": "grow"})
    assert (saw["object"], saw["error"]) == ({"name": "Ada"}, None)


@pytest.mark.parametrize("name", [name for name, cases in PLAYS.items() if "three-tools" in cases])
def test_results_of_three_parallel_tools_reach_the_provider_beside_their_calls(name: str, workers: Workers, router: Running) -> None:
    """The results of three parallel tool calls reach the provider with the ids of their calls, whichever API the library uses."""
    workers.saw(NAMED[name], router.base, {"model": "three", "deed": "tools"})
    messages = router.provider.requests[-1].json["messages"]
    results = [(message["tool_call_id"], message["content"]) for message in messages if message["role"] == "tool"]
    (asked,) = [message["tool_calls"] for message in messages if message.get("tool_calls")]
    cities = [call["function"]["arguments"].split('"')[3] for call in asked]
    assert results == [(call["id"], f"{city}: 25°C") for call, city in zip(asked, cities, strict=True)]
    assert sorted(cities) == ["Beijing", "Paris", "Shanghai"]
