"""The public chat clients against the router, checked with the same table of cases as the replayed streams."""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from router.targets.embeddings import demo_vector, words_of
from tests.clients.cases import CASES, DOT, HI, NAMED, NO_ORDER, Case, differences, played
from tests.clients.harness import CHATS, CLIENTS, NEWEST, OPENAI, UI, Client, Workers, cuts
from tests.clients.replay import PATIENCE, Replay
from tests.clients.router_cases import CITED, DRAWN, PERSON, Running, plays
from tests.clients.test_replayed_streams import as_text

PLAYED = [pytest.param(client, case, id=f"{case}-{client}") for client, case in played(*CASES) if plays(client, case)]


@pytest.mark.parametrize(("client", "case"), PLAYED)
def test_client_shows_the_expected_messages_for_each_case_of_the_router(
    client: Client, case: Case, workers: Workers, router: Running, patient_router: Running
) -> None:
    """Each client shows the messages, status and callbacks of the case table for the router's answer."""
    # An answer whose reader leaves and comes back needs a router that waits for it; in all other cases it ends when they leave.
    base = patient_router.base if case.name == "resume" else router.base
    saw = workers.saw(client, base, case.asks(client, case.name))
    assert differences(client, case.sees[client.wire], saw) == {}


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_client_reads_the_routers_stream_byte_by_byte(client: Client, workers: Workers, replay: Replay, router: Running) -> None:
    """Each client shows the expected messages of every uninterrupted case when each byte of the router's answer arrives alone."""
    cases = [case for reader, case in played(*CASES) if reader == client and plays(client, case) and not case.interrupted]
    asked = [workers.ask(client, replay.through(router.base, "bytes").base, case.asks(client, case.name)) for case in cases]
    seen = zip(cases, workers.all(asked), strict=True)
    assert {case.name: found for case, saw in seen if (found := differences(client, case.sees[client.wire], saw))} == {}
    assert len(cases) > 10


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_client_reads_the_routers_stream_split_at_any_byte(client: Client, workers: Workers, replay: Replay, router: Running) -> None:
    """Each client shows the expected answer when the router's stream arrives in two pieces, even if it is split within a character."""
    case = NAMED["unicode"]
    through = replay.through(router.base)
    workers.saw(client, through.base, case.asks(client, case.name))
    (reply,) = through.replies
    stages = [replay.stage(reply, cut=place) for place in cuts(client, len(reply.body))]
    all_saw = workers.all([workers.ask(client, stage.base, case.asks(client, case.name)) for stage in stages])
    wrong = {
        stage.cut: found for stage, saw in zip(stages, all_saw, strict=True) if (found := differences(client, case.sees[client.wire], saw))
    }
    assert wrong == {}


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_message_id_of_each_answer_is_a_new_uuid(client: Client, workers: Workers, router: Running) -> None:
    """Two answers have different message ids, each a valid UUID."""
    ids = [workers.saw(client, router.base, NAMED["text"].asks(client, "text"))["ids"][1] for _ in range(2)]
    assert len({uuid.UUID(one) for one in ids}) == 2


@pytest.mark.parametrize("client", CHATS, ids=str)
@pytest.mark.parametrize("name", ["text", "unicode", "stop"])
def test_text_protocol_of_the_router_is_shown_as_plain_text(client: Client, name: str, workers: Workers, router: Running) -> None:
    """With `?protocol=text`, a chat client shows the text of the answer and nothing else."""
    case = NAMED[name]
    asked = {**case.asks(client, name), "protocol": "text", "path": "/api/chat?protocol=text"}
    assert differences(client, as_text(client, case), workers.saw(client, router.base, asked)) == {}


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_stop_in_a_client_closes_the_stream_to_the_provider(client: Client, workers: Workers, router: Running) -> None:
    """When the user stops an answer in a client, the router closes the connection to the provider."""
    router.provider.left.clear()
    workers.saw(client, router.base, NAMED["stop"].asks(client, "stop"))
    assert router.provider.left.wait(PATIENCE)


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_stop_request_ends_the_provider_call_and_finishes_the_stream(client: Client, workers: Workers, patient_router: Running) -> None:
    """`POST …/stop` closes the provider's stream despite `resume.grace`, and the client keeps the partial text with a proper finish."""
    patient_router.provider.left.clear()
    saw = workers.saw(client, patient_router.base, {"chat": "chat-ended", "model": "stop", "deeds": [{**HI, "end": "Before"}]})
    assert patient_router.provider.left.wait(PATIENCE)
    wanted = replace(NAMED["stop"].sees[client.wire], finish="other", hears=frozenset({"finish"}))
    assert differences(client, wanted, saw) == {}


def provider_messages(router: Running) -> list[dict[str, Any]]:
    """Return the messages of the last request to the provider."""
    return router.provider.requests[-1].json["messages"]


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_tool_call_and_result_of_the_last_turn_reach_the_provider(client: Client, workers: Workers, router: Running) -> None:
    """A chat client's second turn brings the provider the tool call and result of the first, in the form of the provider's API."""
    workers.saw(client, router.base, NAMED["two-turns"].asks(client, "two-turns"))
    messages = provider_messages(router)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant", "user"]
    (call,) = messages[1]["tool_calls"]
    assert (call["function"]["name"], messages[1]["content"]) == ("get_weather", "Let me check.")
    assert (messages[2]["tool_call_id"], messages[2]["content"]) == (call["id"], "Beijing: 25°C")
    assert (messages[3]["content"], messages[4]["content"]) == ("It is sunny.", "Thanks")


@pytest.mark.parametrize("client", CHATS, ids=str)
@pytest.mark.parametrize("name", ["after-error", "after-stop", "after-thought", "after-stopped-tool", "after-tool-error"])
def test_conversation_after_an_interrupted_answer_is_valid_for_the_provider(
    client: Client, name: str, workers: Workers, router: Running
) -> None:
    """The request after an interrupted answer or a failed tool has a result for each tool call and no empty message."""
    workers.saw(client, router.base, NAMED[name].asks(client, name))
    messages = provider_messages(router)
    # A thought alone is not repeated: what the user said before and after it is then one message.
    assert "\n\n".join(message["content"] for message in messages if message["role"] == "user") == "Hi\n\nThanks"
    asked = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    assert asked == [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert all(message["content"] or message.get("tool_calls") for message in messages)
    if name == "after-tool-error":
        assert [NO_ORDER in message["content"] for message in messages if message["role"] == "tool"] == [True]


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_image_attached_in_a_client_reaches_the_provider(client: Client, workers: Workers, router: Running) -> None:
    """An image that the user attaches reaches the provider as an image part beside the text."""
    workers.saw(client, router.base, NAMED["file"].asks(client, "file"))
    (message,) = provider_messages(router)
    pictures = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
    texts = [part["text"] for part in message["content"] if part["type"] == "text"]
    assert (pictures, texts) == ([DOT], ["What is this?"])


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_openai_client_raises_not_found_error_for_an_unknown_model(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """An OpenAI client raises NotFoundError (404) with a request id and a code for an unknown model."""
    saw = workers.saw(client, router.base, {"model": "nope", "deeds": [{"do": deed, "text": "Hi"}]})
    error = saw["error"]
    assert (error["kind"], error["status"]) == ("NotFoundError", 404)
    assert error["request"]
    assert error["code"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete", "models"])
def test_openai_client_with_an_unknown_key_raises_authentication_error(
    client: Client, deed: str, workers: Workers, keyed_router: Running
) -> None:
    """An OpenAI client with an unknown API key raises AuthenticationError (401) with code `invalid_api_key` for every request."""
    error = workers.saw(client, keyed_router.base, {"model": "text", "deeds": [{"do": deed, "text": "Hi"}]})["error"]
    assert (error["kind"], error["status"], error["code"]) == ("AuthenticationError", 401, "invalid_api_key")
    assert error["request"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}], ids=["default", "float"])
def test_openai_client_reads_embeddings(client: Client, encoding: dict[str, str], workers: Workers, router: Running) -> None:
    """An OpenAI client gets embeddings as numbers in input order with the requested dimensions, from base64 (its default) or float."""
    texts = ["the weather in Berlin", "Bücher: 书, 📚", "soup"]
    saw = workers.saw(client, router.base, {"model": "embed", "deeds": [{"do": "embed", "texts": texts, "dimensions": 48, **encoding}]})
    assert saw["error"] is None
    assert saw["vectors"] == [pytest.approx(demo_vector(words_of(text), 48), abs=1e-6) for text in texts]
    assert saw["usage"]["total"] == saw["usage"]["input"] > 0


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "embed"])
def test_openai_client_raises_bad_request_error_for_a_model_of_another_kind(
    client: Client, deed: str, workers: Workers, router: Running
) -> None:
    """Each OpenAI client (Node and Python) raises BadRequestError (400) for a chat with an embeddings model, and for the reverse.
    The error names the right endpoint.
    """
    model, where = ("embed", "/v1/embeddings") if deed == "send" else ("text", "/v1/chat/completions")
    error = workers.saw(client, router.base, {"model": model, "deeds": [{"do": deed, "text": "Hi", "texts": ["Hi"]}]})["error"]
    assert (error["kind"], error["status"]) == ("BadRequestError", 400)
    assert where in error["message"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_openai_client_over_its_limit_raises_rate_limit_error(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """An OpenAI client over its route's limit raises RateLimitError (429) with code `rate_limit_exceeded` and a request id."""
    asked = {"model": "limited", "deeds": [{"do": deed, "text": "Hi"}]}
    workers.saw(client, router.base, asked)  # the one that it may
    error = workers.saw(client, router.base, asked)["error"]
    assert (error["kind"], error["status"], error["code"]) == ("RateLimitError", 429, "rate_limit_exceeded")
    assert error["request"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_openai_client_raises_internal_server_error_for_a_router_bug(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """An unexpected exception in the router reaches an OpenAI client as InternalServerError with status 500 and the request id."""
    error = workers.saw(client, router.base, {"model": "faulty", "deeds": [{"do": deed, "text": "Hi"}]})["error"]
    assert (error["kind"], error["status"], error["code"]) == ("InternalServerError", 500, "internal")
    assert error["request"] in error["message"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_openai_client_raises_internal_server_error_if_no_answer_starts(
    client: Client, deed: str, workers: Workers, router: Running
) -> None:
    """An answer that fails before its first word reaches an OpenAI client as InternalServerError (5xx), streamed or not."""
    error = workers.saw(client, router.base, {"model": "error-before", "deeds": [{"do": deed, "text": "Hi"}]})["error"]
    assert (error["kind"], error["status"] >= 500) == ("InternalServerError", True)
    assert error["request"] in error["message"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
def test_openai_client_raises_api_error_if_an_answer_breaks_off(client: Client, workers: Workers, router: Running) -> None:
    """OpenAI's clients, for Node and Python, raise APIError with a code if an answer fails in the middle of its stream."""
    saw = workers.saw(client, router.base, NAMED["error-after"].asks(client, "error-after"))
    assert saw["error"]["kind"] == "APIError"
    assert saw["error"]["code"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_openai_client_reports_usage_that_adds_up(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """The input and output tokens that an OpenAI client reports are above zero and add up to its total, streamed or not."""
    saw = workers.saw(client, router.base, {"model": "text", "deeds": [{"do": deed, "text": "Hi", "usage": True}]})
    usage = saw["usage"]
    assert saw["error"] is None
    assert usage["input"] > 0
    assert usage["output"] > 0
    assert usage["total"] == usage["input"] + usage["output"]


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_chat_client_gets_the_usage_in_its_on_finish_callback(client: Client, workers: Workers, router: Running) -> None:
    """The `onFinish` callback of a chat client gets the finish reason and the tokens of both model calls."""
    finish = workers.saw(client, router.base, NAMED["tool"].asks(client, "tool"))["finish"]
    assert finish == {"reason": "stop", "usage": {"input": 22, "output": 6}}


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("name", ["text", "unicode", "thought", "tool", "tools"])
def test_stream_helper_of_the_openai_library_builds_the_routers_answer(
    client: Client, name: str, workers: Workers, router: Running
) -> None:
    """The OpenAI library's `.stream()` helper builds the expected message from the router's chunks; reasoning is not compared."""
    saw = workers.saw(client, router.base, {"model": name, "deeds": [{"do": "stream", "text": "Hi"}]})
    texts = [[part for part in message["parts"] if part[0] != "thought"] for message in saw["messages"]]
    wanted = [[part for part in message["parts"] if part[0] != "thought"] for message in NAMED[name].sees["openai"].messages]
    assert (saw["error"], texts, saw["finish"]) == (None, wanted, "stop")


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("client", [client for client in UI if client in NEWEST], ids=str)
def test_use_object_reads_structured_output_and_reports_an_answer_that_is_not_json(
    client: Client, workers: Workers, router: Running
) -> None:
    """`useObject` returns the object of its schema, and an error with the request id if the answer is not such JSON."""
    made = workers.saw(client, router.base, {"model": "person", "schema": SCHEMA})
    failed = workers.saw(client, router.base, {"model": "tool", "schema": SCHEMA})
    assert made == {"object": PERSON, "final": PERSON, "error": None}
    assert (failed["object"], failed["final"]) == (None, None)
    assert "(request " in failed["error"]


@pytest.mark.parametrize("client", [client for client in UI if client.name.startswith(("ai6", "ai7"))], ids=str)
@pytest.mark.parametrize("name", ["text", "thought", "tool", "tools", "tool-error", "error-after", "length"])
def test_ai_sdk_6_and_7_read_the_stream_of_min_client_6(client: Client, name: str, workers: Workers, newer_router: Running) -> None:
    """Every release of AI SDK 6 and 7 shows the expected messages when the router is set to `ui: {min_client: 6.0}`."""
    case = NAMED[name]
    assert differences(client, case.sees[client.wire], workers.saw(client, newer_router.base, case.asks(client, name))) == {}


@pytest.mark.parametrize("client", [client for client in UI if client.name.startswith(("ai6", "ai7"))], ids=str)
@pytest.mark.parametrize("model", ["approval", "cautious"])
def test_tool_call_runs_after_the_user_approves_it_in_the_client(
    client: Client, model: str, workers: Workers, newer_router: Running
) -> None:
    """A tool call that needs approval runs after the client sends the user's consent, and its result appears in the same message part."""
    case = replace(NAMED["tool"], deeds=(HI, {"do": "decide", "approved": True}))
    assert differences(client, case.sees[client.wire], workers.saw(client, newer_router.base, case.asks(client, model))) == {}


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_tool_progress_does_not_change_the_final_message_of_any_client(
    client: Client, workers: Workers, router: Running, newer_router: Running
) -> None:
    """A tool that reports progress leaves the same final message as a tool without progress, in every client."""
    case = NAMED["tool"]
    for base in (router.base, *((newer_router.base,) if client.name.startswith(("ai6", "ai7")) else ())):
        assert differences(client, case.sees[client.wire], workers.saw(client, base, case.asks(client, "progress"))) == {}


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_source_and_image_of_a_model_are_parts_of_the_message(client: Client, workers: Workers, router: Running) -> None:
    """A chat client shows an answer with a source and an image as one text part, one source part and one file part."""
    saw = workers.saw(client, router.base, {"chat": "chat-shown", "model": "shown", "deeds": [HI]})
    image = ["file", "image/png", DRAWN if client.wire == "data-stream" else f"data:image/png;base64,{DRAWN}"]
    shown = [["text", "Rome it is."], ["source", *CITED], image]
    assert (saw["error"], saw["status"]) == (None, "ready")
    assert sorted(part for part in saw["messages"][-1]["parts"] if part != ["step"]) == sorted(shown)
