"""The checks of Open Responses' compliance suite: responses and stream events against its JSON schemas."""

import json
from typing import Any

import jsonschema
import pytest

from tests.conftest import ROOT, Client, Workspace, direct_target, routes, serving
from tests.support.obedient import Obedient
from tests.support.provider import running

SPECIFICATION: dict[str, Any] = json.loads((ROOT / "tests/wire/open_responses.json").read_text())
SCHEMAS: dict[str, Any] = SPECIFICATION["components"]["schemas"]
EVENTS: dict[str, str] = {
    schema["properties"]["type"]["enum"][0]: name for name, schema in SCHEMAS.items() if name.endswith("StreamingEvent")
}
"""Type of a stream event → the name of its schema."""
LAST = {"response.completed", "response.incomplete", "response.failed"}


def misfits(value: Any, schema: str) -> list[str]:
    """Return the errors of validating a value against a schema of the specification."""
    validator: Any = jsonschema.Draft202012Validator({**SPECIFICATION, "$ref": f"#/components/schemas/{schema}"})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def user(content: Any) -> dict[str, Any]:
    """Return a user message item with this content."""
    return {"type": "message", "role": "user", "content": content}


PIXEL = "data:image/png;base64,iVBORw0KGgo="
FUNCTION: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "Get current weather for a location.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
CHECKS: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "basic text response": ({"input": [user("Say hello in exactly 3 words.")]}, "completed", ["message"]),
    "system prompt": (
        {"input": [{"type": "message", "role": "developer", "content": "Answer in one word."}, user("Say hello.")]},
        "completed",
        ["message"],
    ),
    "multi-turn conversation": (
        {"input": [user("My name is Alice."), {"type": "message", "role": "assistant", "content": "Hello Alice!"}, user("My name?")]},
        "completed",
        ["message"],
    ),
    "tool calling": ({"input": [user("The weather?")], "tools": [FUNCTION], "tool_choice": "required"}, "completed", ["function_call"]),
    "image input": (
        {"input": [user([{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PIXEL}])]},
        "completed",
        ["message"],
    ),
    "assistant phase": (
        {
            "input": [
                {"type": "message", "role": "assistant", "phase": "commentary", "content": "I should answer with the saved number."},
                {"type": "message", "role": "assistant", "phase": "final_answer", "content": "The number is four."},
                user("Repeat only the number."),
            ]
        },
        "completed",
        ["message"],
    ),
    "reasoning summary": (
        {"input": [user("What is 15 * 37?")], "reasoning": {"effort": "low", "summary": "auto"}},
        "completed",
        ["reasoning", "message"],
    ),
    "incomplete": ({"input": "Hello", "max_output_tokens": 16}, "incomplete", ["message"]),
    "every field": (
        {
            "input": "Hello",
            "instructions": "Be brief.",
            "metadata": {"a": "b"},
            "temperature": 0.5,
            "top_p": 0.5,
            "presence_penalty": 0.5,
            "frequency_penalty": 0.5,
            "parallel_tool_calls": False,
            "max_output_tokens": 100,
            "service_tier": "auto",
            "text": {"format": {"type": "text"}, "verbosity": "low"},
            "safety_identifier": "s",
            "prompt_cache_key": "p",
            "tools": [{**FUNCTION, "strict": True}],
            "tool_choice": {"type": "function", "name": "get_weather"},
            "store": False,
            "include": ["reasoning.encrypted_content"],
        },
        "completed",
        ["message"],
    ),
}
"""Name of a check → request body, status of the response, and types of its output items."""


async def streamed(client: Client, **body: Any) -> list[dict[str, Any]]:
    """Ask for a stream and return its events, each checked for its name, schema and sequence number."""
    answer = await client.post("/v1/responses", model="chat-model", stream=True, **body)
    assert answer.headers["content-type"] == "text/event-stream"
    events: list[dict[str, Any]] = []
    for frame in answer.body.decode().split("\n\n")[:-1]:
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert misfits(event, EVENTS[event["type"]]) == []
        assert event["sequence_number"] == len(events)
        events.append(event)
    return events


@pytest.mark.parametrize("name", CHECKS)
async def test_response_and_its_stream_are_valid_open_responses(workspace: Workspace, name: str) -> None:
    """Each request of Open Responses' compliance suite gets a valid response and stream with the expected status, item types and usage."""
    body, status, types = CHECKS[name]
    async with running(Obedient([])) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), "targets: [a]\n    reasoning: show"))
        async with serving(workspace.build()) as client:
            whole = (await client.post("/v1/responses", model="chat-model", **body)).json
            events = await streamed(client, **body)
    *before, last = events
    assert [one["type"] for one in before[:2]] == ["response.created", "response.in_progress"]
    assert LAST.isdisjoint(one["type"] for one in before)
    for response in (whole, last["response"]):
        assert misfits(response, "ResponseResource") == []
        assert (response["status"], [item["type"] for item in response["output"]]) == (status, types)
        assert response["usage"]["total_tokens"] == response["usage"]["input_tokens"] + response["usage"]["output_tokens"] > 0
    assert last["type"] == f"response.{status}"
    repeated = {field: body[field] for field in body.keys() & whole.keys() - {"tools", "reasoning"}}
    assert {field: whole[field] for field in repeated} == repeated
    assert whole["reasoning"]["summary"] == body.get("reasoning", {}).get("summary")


async def test_open_responses_stream_items_equal_those_of_the_final_response(workspace: Workspace) -> None:
    """The items added and done in a stream are those of its final response, and the text deltas add up to its text."""
    async with running(Obedient([])) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), "targets: [a]\n    reasoning: show"))
        async with serving(workspace.build()) as client:
            events = await streamed(client, input="Hello", reasoning={"effort": "low", "summary": "auto"})
    output = events[-1]["response"]["output"]
    assert [one["item"] for one in events if one["type"] == "response.output_item.done"] == output
    added = [one["item"] for one in events if one["type"] == "response.output_item.added"]
    assert [(one["id"], one["type"]) for one in added] == [(one["id"], one["type"]) for one in output]
    said = "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta")
    thought = "".join(one["delta"] for one in events if one["type"] == "response.reasoning_summary_text.delta")
    assert (thought, said) == (output[0]["summary"][0]["text"], output[1]["content"][0]["text"]) == ("Hm.", "Hello there.")


async def test_open_responses_stream_that_breaks_ends_with_error_and_failed(workspace: Workspace) -> None:
    """A stream that breaks off ends with a valid `error` event and `response.failed`, both with the same message."""
    async with running(Obedient([])) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), "targets: [a]\n    rescue: fail"))
        async with serving(workspace.build()) as client:
            events = await streamed(client, input="break")
    assert [one["type"] for one in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["message"] == events[-2]["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/compact"])
async def test_open_responses_request_without_model_or_for_compact_is_refused(workspace: Workspace, path: str) -> None:
    """A Responses request without a model gets a 400, and `/v1/responses/compact` a 404, both in OpenAI's error form."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hello}]}"))
    async with serving(workspace.build()) as client:
        refused = await client.post(path, input=[user("test")])
    assert refused.status == (400 if path == "/v1/responses" else 404)
    assert isinstance(refused.json["error"]["message"], str)
    assert refused.json["error"]["type"] == "invalid_request_error"
