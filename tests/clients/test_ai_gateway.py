"""@ai-sdk/gateway against the router, used through the AI SDK by an application that names its models as strings."""

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
    """Return a case for the worker process: model and user actions."""
    return {"model": model, "deeds": list(deeds), **more}


def saw(workers: Workers, running: Running | Stage, model: str, way: str = "stream", **more: Any) -> Saw:
    """Return what the client received for the question `Hi`. `way`: `stream` or `generate`."""
    return workers.saw(AI_GATEWAY, running.base, asks(model, {"do": way, "text": "Hi"}, **more))


SAID = {
    "text": ("Hello, world!", "", "stop"),
    "unicode": (UNICODE, "", "stop"),
    "thought": ("Hi there.", "The user greets me. I greet back.", "stop"),
    "length": ("cut o", "", "length"),
    "slow": ("slowly", "", "stop"),
}
"""Model id → text, reasoning and finish reason of its answer."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", SAID)
def test_gateway_client_reads_the_same_answer_streamed_or_whole(model: str, way: str, workers: Workers, router: Running) -> None:
    """The gateway client receives the same text, reasoning and finish reason whether the answer is streamed or not."""
    made = saw(workers, router, model, way)
    assert made["error"] is None
    assert (made["text"], made["thoughts"], made["finish"]) == SAID[model]


@pytest.mark.parametrize("way", WAYS)
def test_gateway_client_shows_tool_calls_that_the_router_ran(way: str, workers: Workers, router: Running) -> None:
    """Tool calls that the router ran reach the gateway client with their results, and the SDK runs none of them itself."""
    made = saw(workers, router, "tools", way)
    calls = [["call", "get_weather", {"location": city}, True] for city in ("Beijing", "Shanghai", "Paris")]
    results = [["result", "get_weather", f"{city}: 25°C"] for city in ("Beijing", "Shanghai", "Paris")]
    assert made["error"] is None
    assert [part for part in made["parts"] if part[0] == "call"] == calls
    assert [part for part in made["parts"] if part[0] == "result"] == results
    assert (made["text"], made["steps"], made["finish"]) == ("All are sunny.", 1, "stop")


@pytest.mark.parametrize("way", WAYS)
def test_gateway_client_reports_a_failed_router_tool_as_a_tool_error(way: str, workers: Workers, router: Running) -> None:
    """A tool that failed in the router reaches the gateway client as that tool's error, and the answer continues without an error."""
    made = saw(workers, router, "tool-error", way)
    assert (made["error"], made["text"]) == (None, "I cannot find it.")
    assert ["error", "lost_orders", NO_ORDER] in made["parts"]


@pytest.mark.parametrize("way", WAYS)
def test_sdk_runs_the_applications_tool_and_asks_the_gateway_again(way: str, workers: Workers, router: Running) -> None:
    """The AI SDK runs the application's tool and asks again; the provider receives the call and its result."""
    made = saw(workers, router, "client-tool", way, tools={"get_weather": "25°C"})
    assert (made["error"], made["text"], made["steps"]) == (None, "Then it is done.", 2)
    assert ["ran", "get_weather", BEIJING] in made["parts"]
    sent = router.provider.requests[-1].json
    assert [one["role"] for one in sent["messages"]] == ["user", "assistant", "tool"]
    assert (sent["messages"][2]["content"], sent["tools"][0]["function"]["name"]) == ("25°C", "get_weather")


@pytest.mark.parametrize("way", WAYS)
def test_gateway_client_reports_the_usage_of_all_model_calls(way: str, workers: Workers, router: Running) -> None:
    """The usage of an answer with one tool call is the sum of both model calls; none of its input tokens count as cached."""
    usage = saw(workers, router, "tool", way)["usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (22, 6, 28)
    assert usage["inputTokenDetails"] == {"noCacheTokens": 22, "cacheReadTokens": 0, "cacheWriteTokens": 0}


def test_gateway_conversation_sends_earlier_calls_and_results_to_the_provider(workers: Workers, router: Running) -> None:
    """The call and result that the SDK sends back in the assistant's message reach the provider in the provider's form."""
    deeds = ({"do": "stream", "text": "Hi"}, {"do": "generate", "text": "Thanks"})
    made = workers.saw(AI_GATEWAY, router.base, asks("two-turns", *deeds))
    assert (made["error"], made["text"]) == (None, "Let me check.It is sunny.You are welcome.")
    messages = router.provider.requests[-1].json["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[2]["content"] == "Beijing: 25°C"


def test_gateway_image_and_parameters_reach_the_provider(workers: Workers, router: Running) -> None:
    """A file part becomes an image part, and the AI SDK's parameters get the names of the provider's API."""
    content = [{"type": "text", "text": "What is this?"}, {"type": "file", "data": DOT.partition(",")[2], "mediaType": "image/png"}]
    options = {"temperature": 0.5, "maxOutputTokens": 100, "stopSequences": ["END"], "system": "Be brief."}
    made = workers.saw(AI_GATEWAY, router.base, asks("file", {"do": "generate", "text": "", "content": content, "options": options}))
    assert (made["error"], made["text"]) == (None, "A red dot.")
    sent = router.provider.requests[-1].json
    assert (sent["temperature"], sent["max_tokens"], sent["stop"]) == (0.5, 100, ["END"])
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["messages"][1]["content"][1]["image_url"]["url"] == DOT


@pytest.mark.parametrize("way", WAYS)
def test_gateway_client_raises_its_error_class_by_status_and_type(way: str, workers: Workers, router: Running) -> None:
    """The gateway client raises its error class for an unknown model (404), a failing target (502) and a chat with an embedder (400)."""
    wanted = {
        "no-such": ("GatewayModelNotFoundError", 404, "model_not_found"),
        "error-before": ("GatewayInternalServerError", 502, "internal_server_error"),
        "embed": ("GatewayInvalidRequestError", 400, "invalid_request_error"),
    }
    for model, error in wanted.items():
        made = saw(workers, router, model, way)["error"]
        assert (made["name"], made["status"], made["type"]) == error


def test_gateway_client_with_an_unknown_key_gets_an_authentication_error(workers: Workers, keyed_router: Running) -> None:
    """The gateway client raises its error for an unknown key at the model list and embeddings; for text the SDK raises its own."""
    for deed in ({"do": "models"}, {"do": "embed", "model": "embed", "values": ["Hi"]}):
        made = workers.saw(AI_GATEWAY, keyed_router.base, asks("text", deed))["error"]
        assert (made["name"], made["status"]) == ("GatewayAuthenticationError", 401)
    # For a text the SDK puts an error of its own in its place.
    assert saw(workers, keyed_router, "text", "generate")["error"]["message"].startswith("Unauthenticated.")


def test_gateway_client_reads_an_error_in_the_middle_of_an_answer(workers: Workers, router: Running) -> None:
    """An answer that fails midway reaches the gateway client as an error with code `no_answer` after the text, or as a 502 unstreamed."""
    made = saw(workers, router, "error-after")
    assert (made["text"], made["error"]["code"]) == ("Partial", "no_answer")
    assert saw(workers, router, "error-after", "generate")["error"]["status"] == 502


def test_gateway_abort_closes_the_stream_to_the_provider(workers: Workers, router: Running) -> None:
    """When the gateway client's abort signal fires, the router closes the connection to the provider."""
    router.provider.left.clear()
    workers.saw(AI_GATEWAY, router.base, asks("stop", {"do": "stream", "text": "Hi", "stop": "Before"}))
    assert router.provider.left.wait(PATIENCE)


def test_gateway_client_reads_a_stream_that_arrives_byte_by_byte(workers: Workers, replay: Replay, router: Running) -> None:
    """The gateway client receives the same answer when the stream arrives in chunks of one byte."""
    through = replay.through(router.base, "bytes")
    for model, wanted in SAID.items():
        made = saw(workers, through, model)
        assert (made["text"], made["thoughts"], made["finish"]) == wanted


def test_gateway_client_lists_a_chat_and_an_embeddings_route(workers: Workers, router: Running) -> None:
    """The gateway client lists a chat route of type `language`, with specification `v4`, and an embeddings route of type `embedding`."""
    models = {one["id"]: one for one in workers.saw(AI_GATEWAY, router.base, asks("", {"do": "models"}))["models"]}
    assert models["text"]["specification"] == {"specificationVersion": "v4", "provider": "router", "modelId": "text"}
    assert (models["text"]["modelType"], models["embed"]["modelType"]) == ("language", "embedding")


def test_gateway_client_gets_one_embedding_per_value(workers: Workers, router: Running) -> None:
    """The gateway client gets one vector per value, with the requested number of dimensions, and the token count."""
    deed = {"do": "embed", "model": "embed", "values": ["one", "two words"], "options": {"dimensions": 64}}
    made = workers.saw(AI_GATEWAY, router.base, asks("", deed))
    assert (made["error"], made["warnings"]) == (None, [])
    assert made["vectors"] == [pytest.approx(demo_vector(words_of(one), 64), abs=1e-6) for one in ("one", "two words")]
    assert made["usage"]["tokens"] > 0


def test_gateway_structured_output_is_an_object_of_the_schema(workers: Workers, router: Running) -> None:
    """`Output.object` with a JSON schema yields an object of that schema, streamed and not streamed."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    for way in WAYS:
        made = workers.saw(AI_GATEWAY, router.base, asks("object", {"do": way, "text": "Hi", "schema": schema}))
        assert (made["error"], made.get("output")) == (None, {"a": 1})


@pytest.mark.parametrize("way", WAYS)
def test_gateway_client_reads_a_source_and_an_image_as_parts(way: str, workers: Workers, router: Running) -> None:
    """A source and an image in an answer reach the gateway client as a source part and a file part, streamed and not streamed."""
    made = saw(workers, router, "shown", way)
    assert (made["error"], made["text"]) == (None, "Rome it is.")
    assert made["parts"] == [["source", *CITED], ["file", "image/png", DRAWN]]


OLDER = {"ai5.0.0": False, "ai5": False, "ai6.0.37": True, "ai6": True}
"""AI SDK release → whether its gateway client can show tool calls that the router ran. The gateway of 6.0.1 announces version 2."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("release", OLDER)
def test_older_ai_sdk_release_reads_answers_and_errors(release: str, way: str, workers: Workers, router: Running) -> None:
    """Each older AI SDK release with its gateway client reads text, reasoning, finish reason, usage, source, image and error."""
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
def test_older_ai_sdk_release_runs_the_applications_tool(release: str, way: str, workers: Workers, router: Running) -> None:
    """Each older AI SDK release runs the application's tool, and shows calls that the router ran if it has a form for them."""
    made = saw(workers, router, "client-tool", way, tools={"get_weather": "25°C"}, release=release)
    assert (made["error"], made["text"]) == (None, "Then it is done.")
    assert ["ran", "get_weather", BEIJING] in made["parts"]
    ours = saw(workers, router, "tool", way, release=release)
    assert (ours["error"], ours["text"]) == (None, "Let me check.It is sunny.")
    assert [part[:2] for part in ours["parts"]] == ([["call", "get_weather"], ["result", "get_weather"]] if OLDER[release] else [])


@pytest.mark.parametrize("release", OLDER)
def test_image_sent_by_an_older_ai_sdk_release_reaches_the_provider(release: str, workers: Workers, router: Running) -> None:
    """An image from an older AI SDK release reaches the provider as a data URL."""
    content = [{"type": "text", "text": "What is this?"}, {"type": "file", "mediaType": "image/png", "data": DOT.partition(",")[2]}]
    asked = asks("file", {"do": "stream", "text": "What is this?", "content": content}, release=release)
    made = workers.saw(AI_GATEWAY, router.base, asked)
    assert (made["error"], made["text"]) == (None, "A red dot.")
    assert router.provider.requests[-1].json["messages"][-1]["content"][-1]["image_url"]["url"] == DOT


@pytest.mark.parametrize("release", OLDER)
@pytest.mark.parametrize("values", [["soup"], ["soup", "a book"]])
def test_older_ai_sdk_release_reads_embeddings(release: str, values: list[str], workers: Workers, router: Running) -> None:
    """Each older AI SDK release gets one vector per value, for one value and for two."""
    made = workers.saw(AI_GATEWAY, router.base, asks("text", {"do": "embed", "model": "embed", "values": values}, release=release))
    assert made["error"] is None
    assert [len(one) for one in made["vectors"]] == [len(demo_vector(words_of(text), DEMO_DIMENSIONS)) for text in values]
