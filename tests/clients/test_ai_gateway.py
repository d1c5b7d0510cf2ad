"""@ai-sdk/gateway before the router, with the AI SDK around it: what an application that names its models as texts has in hand."""

from typing import Any

import pytest

from router.targets.embeddings import DEMO_DIMENSIONS, demo_vector, words_of
from tests.clients.cases import DOT, NO_ORDER
from tests.clients.harness import AI_GATEWAY, Saw, Workers
from tests.clients.replay import PATIENCE, Replay, Stage
from tests.clients.router_cases import CITED, DRAWN, Running
from tests.clients.streams import UNICODE

WAYS = ("stream", "generate")
BEIJING = {"location": "Beijing"}


def asks(model: str, *deeds: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A case as the worker takes it."""
    return {"model": model, "deeds": list(deeds), **more}


def saw(workers: Workers, running: Running | Stage, model: str, way: str = "stream", **more: Any) -> Saw:
    """What the client has of an answer to `Hi`."""
    return workers.saw(AI_GATEWAY, running.base, asks(model, {"do": way, "text": "Hi"}, **more))


SAID = {
    "text": ("Hello, world!", "", "stop"),
    "unicode": (UNICODE, "", "stop"),
    "thought": ("Hi there.", "The user greets me. I greet back.", "stop"),
    "length": ("cut o", "", "length"),
    "slow": ("slowly", "", "stop"),
}
"""A model id → the text, the thoughts and the reason."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", SAID)
def test_answer_comes_streamed_or_whole(model: str, way: str, workers: Workers, router: Running) -> None:
    """The text, the thoughts and the reason are the same."""
    made = saw(workers, router, model, way)
    assert made["error"] is None
    assert (made["text"], made["thoughts"], made["finish"]) == SAID[model]


@pytest.mark.parametrize("way", WAYS)
def test_tools_that_ran_here_are_shown_with_their_results(way: str, workers: Workers, router: Running) -> None:
    """The SDK runs none of them, and needs no tool of their name; the answer is one step to it."""
    made = saw(workers, router, "tools", way)
    calls = [["call", "get_weather", {"location": city}, True] for city in ("Beijing", "Shanghai", "Paris")]
    results = [["result", "get_weather", f"{city}: 25°C"] for city in ("Beijing", "Shanghai", "Paris")]
    assert made["error"] is None
    assert [part for part in made["parts"] if part[0] == "call"] == calls
    assert [part for part in made["parts"] if part[0] == "result"] == results
    assert (made["text"], made["steps"], made["finish"]) == ("All are sunny.", 1, "stop")


@pytest.mark.parametrize("way", WAYS)
def test_tool_that_failed_here_is_no_error_of_the_answer(way: str, workers: Workers, router: Running) -> None:
    """The SDK has it as an error of that tool, and the text goes on."""
    made = saw(workers, router, "tool-error", way)
    assert (made["error"], made["text"]) == (None, "I cannot find it.")
    assert ["error", "lost_orders", NO_ORDER] in made["parts"]


@pytest.mark.parametrize("way", WAYS)
def test_tool_of_the_application_is_run_by_the_sdk(way: str, workers: Workers, router: Running) -> None:
    """It asks again with the result, which reaches the provider beside the call."""
    made = saw(workers, router, "client-tool", way, tools={"get_weather": "25°C"})
    assert (made["error"], made["text"], made["steps"]) == (None, "Then it is done.", 2)
    assert ["ran", "get_weather", BEIJING] in made["parts"]
    sent = router.provider.requests[-1].json
    assert [one["role"] for one in sent["messages"]] == ["user", "assistant", "tool"]
    assert (sent["messages"][2]["content"], sent["tools"][0]["function"]["name"]) == ("25°C", "get_weather")


@pytest.mark.parametrize("way", WAYS)
def test_usage_counts_all_model_calls(way: str, workers: Workers, router: Running) -> None:
    """Both model calls of an answer with a tool are counted, with their details."""
    usage = saw(workers, router, "tool", way)["usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (22, 6, 28)
    assert usage["inputTokenDetails"] == {"noCacheTokens": 22, "cacheReadTokens": 0, "cacheWriteTokens": 0}


def test_conversation_goes_on_with_calls_that_ran_here(workers: Workers, router: Running) -> None:
    """The SDK sends the call and its result back in the assistant's message; the provider gets them in its own form."""
    deeds = ({"do": "stream", "text": "Hi"}, {"do": "generate", "text": "Thanks"})
    made = workers.saw(AI_GATEWAY, router.base, asks("two-turns", *deeds))
    assert (made["error"], made["text"]) == (None, "Let me check.It is sunny.You are welcome.")
    messages = router.provider.requests[-1].json["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[2]["content"] == "Beijing: 25°C"


def test_image_and_parameters_reach_the_model(workers: Workers, router: Running) -> None:
    """A file is an image; the parameters have the names of the provider's API."""
    content = [{"type": "text", "text": "What is this?"}, {"type": "file", "data": DOT.partition(",")[2], "mediaType": "image/png"}]
    options = {"temperature": 0.5, "maxOutputTokens": 100, "stopSequences": ["END"], "system": "Be brief."}
    made = workers.saw(AI_GATEWAY, router.base, asks("file", {"do": "generate", "text": "", "content": content, "options": options}))
    assert (made["error"], made["text"]) == (None, "A red dot.")
    sent = router.provider.requests[-1].json
    assert (sent["temperature"], sent["max_tokens"], sent["stop"]) == (0.5, 100, ["END"])
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["messages"][1]["content"][1]["image_url"]["url"] == DOT


@pytest.mark.parametrize("way", WAYS)
def test_error_before_the_answer_is_one_of_the_gateways(way: str, workers: Workers, router: Running) -> None:
    """By status and type: the client has classes for them."""
    wanted = {
        "no-such": ("GatewayModelNotFoundError", 404, "model_not_found"),
        "error-before": ("GatewayInternalServerError", 502, "internal_server_error"),
        "embed": ("GatewayInvalidRequestError", 400, "invalid_request_error"),
    }
    for model, error in wanted.items():
        made = saw(workers, router, model, way)["error"]
        assert (made["name"], made["status"], made["type"]) == error


def test_stranger_is_not_authenticated(workers: Workers, keyed_router: Running) -> None:
    """A key that is not known here is the gateway's authentication error, also where models are listed."""
    for deed in ({"do": "models"}, {"do": "embed", "model": "embed", "values": ["Hi"]}):
        made = workers.saw(AI_GATEWAY, keyed_router.base, asks("text", deed))["error"]
        assert (made["name"], made["status"]) == ("GatewayAuthenticationError", 401)
    # For a text the SDK puts an error of its own in its place.
    assert saw(workers, keyed_router, "text", "generate")["error"]["message"].startswith("Unauthenticated.")


def test_error_in_the_answer_ends_it(workers: Workers, router: Running) -> None:
    """What was said before stays; whole, it is an error alone."""
    made = saw(workers, router, "error-after")
    assert (made["text"], made["error"]["code"]) == ("Partial", "no_answer")
    assert saw(workers, router, "error-after", "generate")["error"]["status"] == 502


def test_aborted_answer_stops_the_model(workers: Workers, router: Running) -> None:
    """An abort signal leaves the answer, and nothing goes on without its reader."""
    router.provider.left.clear()
    workers.saw(AI_GATEWAY, router.base, asks("stop", {"do": "stream", "text": "Hi", "stop": "Before"}))
    assert router.provider.left.wait(PATIENCE)


def test_parts_may_come_byte_by_byte(workers: Workers, replay: Replay, router: Running) -> None:
    """No part depends on how the network cuts the stream."""
    through = replay.through(router.base, "bytes")
    for model, wanted in SAID.items():
        made = saw(workers, through, model)
        assert (made["text"], made["thoughts"], made["finish"]) == wanted


def test_models_are_listed(workers: Workers, router: Running) -> None:
    """Each route is one, with the specification that the client knows."""
    models = {one["id"]: one for one in workers.saw(AI_GATEWAY, router.base, asks("", {"do": "models"}))["models"]}
    assert models["text"]["specification"] == {"specificationVersion": "v4", "provider": "router", "modelId": "text"}
    assert (models["text"]["modelType"], models["embed"]["modelType"]) == ("language", "embedding")


def test_embeddings_are_made(workers: Workers, router: Running) -> None:
    """A vector for each value, in the size that is asked for, and the tokens."""
    deed = {"do": "embed", "model": "embed", "values": ["one", "two words"], "options": {"dimensions": 64}}
    made = workers.saw(AI_GATEWAY, router.base, asks("", deed))
    assert (made["error"], made["warnings"]) == (None, [])
    assert made["vectors"] == [pytest.approx(demo_vector(words_of(one), 64), abs=1e-6) for one in ("one", "two words")]
    assert made["usage"]["tokens"] > 0


def test_object_keeps_to_its_schema(workers: Workers, router: Running) -> None:
    """`Output.object` asks for JSON of a schema, which the provider is sent."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    for way in WAYS:
        made = workers.saw(AI_GATEWAY, router.base, asks("object", {"do": way, "text": "Hi", "schema": schema}))
        assert (made["error"], made.get("output")) == (None, {"a": 1})


@pytest.mark.parametrize("way", WAYS)
def test_source_and_image_of_a_model_are_parts(way: str, workers: Workers, router: Running) -> None:
    """Streamed or whole."""
    made = saw(workers, router, "shown", way)
    assert (made["error"], made["text"]) == (None, "Rome it is.")
    assert made["parts"] == [["source", *CITED], ["file", "image/png", DRAWN]]


OLDER = {"ai5.0.0": False, "ai5": False, "ai6.0.37": True, "ai6": True}
"""Release of the AI SDK, with the gateway that it was made with → whether its specification has a form for tools that ran here. The gateway of 6.0.1 names version 2 and reads 3."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("release", OLDER)
def test_older_release_reads_an_answer(release: str, way: str, workers: Workers, router: Running) -> None:
    """The text, the thoughts, the reason and the usage, by the version of the specification that it speaks; an error, too."""
    for model in ("text", "thought", "length"):
        made = saw(workers, router, model, way, release=release)
        assert made["error"] is None
        assert (made["text"], made["thoughts"], made["finish"]) == SAID[model]
    counted = saw(workers, router, "shown", way, release=release)
    assert (counted["usage"]["inputTokens"], counted["usage"]["outputTokens"]) == (11, 3)
    assert counted["parts"] == [["source", *CITED], ["file", "image/png", DRAWN]]
    failed = saw(workers, router, "error-before", way, release=release)
    assert failed["error"]["message"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("release", OLDER)
def test_older_release_runs_its_own_tool(release: str, way: str, workers: Workers, router: Running) -> None:
    """The application's tool runs there, and its result reaches the model. One that ran here is shown where the specification has a form for it."""
    made = saw(workers, router, "client-tool", way, tools={"get_weather": "25°C"}, release=release)
    assert (made["error"], made["text"]) == (None, "Then it is done.")
    assert ["ran", "get_weather", BEIJING] in made["parts"]
    ours = saw(workers, router, "tool", way, release=release)
    assert (ours["error"], ours["text"]) == (None, "Let me check.It is sunny.")
    assert [part[:2] for part in ours["parts"]] == ([["call", "get_weather"], ["result", "get_weather"]] if OLDER[release] else [])


@pytest.mark.parametrize("release", OLDER)
def test_picture_of_an_older_release_reaches_the_model(release: str, workers: Workers, router: Running) -> None:
    """A file stands as base64 or as an address in its specification."""
    content = [{"type": "text", "text": "What is this?"}, {"type": "file", "mediaType": "image/png", "data": DOT.partition(",")[2]}]
    asked = asks("file", {"do": "stream", "text": "What is this?", "content": content}, release=release)
    made = workers.saw(AI_GATEWAY, router.base, asked)
    assert (made["error"], made["text"]) == (None, "A red dot.")
    assert router.provider.requests[-1].json["messages"][-1]["content"][-1]["image_url"]["url"] == DOT


@pytest.mark.parametrize("release", OLDER)
@pytest.mark.parametrize("values", [["soup"], ["soup", "a book"]])
def test_older_release_reads_embeddings(release: str, values: list[str], workers: Workers, router: Running) -> None:
    """One value stands alone in version 2."""
    made = workers.saw(AI_GATEWAY, router.base, asks("text", {"do": "embed", "model": "embed", "values": values}, release=release))
    assert made["error"] is None
    assert [len(one) for one in made["vectors"]] == [len(demo_vector(words_of(text), DEMO_DIMENSIONS)) for text in values]
