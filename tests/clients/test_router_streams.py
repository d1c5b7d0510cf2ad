"""The public clients before the router: the same table that the replayed streams are held to."""

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
def test_an_answer_is_shown_as_it_was_meant(client: Client, case: Case, workers: Workers, router: Running, patient_router: Running) -> None:
    """Each client makes of the router's answer to each case the messages, the status and the callbacks that the table says."""
    # An answer whose reader leaves and comes back needs a router that waits for it; in all other cases it ends when they leave.
    base = patient_router.base if case.name == "resume" else router.base
    saw = workers.saw(client, base, case.asks(client, case.name))
    assert differences(client, case.sees[client.wire], saw) == {}


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_the_routers_bytes_may_come_one_by_one(client: Client, workers: Workers, replay: Replay, router: Running) -> None:
    """Whatever the router says, in every case in which the user waits for it, means the same where every byte comes alone."""
    cases = [case for reader, case in played(*CASES) if reader == client and plays(client, case) and not case.interrupted]
    asked = [workers.ask(client, replay.through(router.base, "bytes").base, case.asks(client, case.name)) for case in cases]
    seen = zip(cases, workers.all(asked), strict=True)
    assert {case.name: found for case, saw in seen if (found := differences(client, case.sees[client.wire], saw))} == {}
    assert len(cases) > 10


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_the_routers_bytes_may_be_cut_anywhere(client: Client, workers: Workers, replay: Replay, router: Running) -> None:
    """An answer in two pieces, cut anywhere, in the middle of a character too, is read the same."""
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
def test_messages_have_ids_that_a_database_takes(client: Client, workers: Workers, router: Running) -> None:
    """An answer's id is a UUID, another one for each answer: front ends store messages under it."""
    ids = [workers.saw(client, router.base, NAMED["text"].asks(client, "text"))["ids"][1] for _ in range(2)]
    assert len({uuid.UUID(one) for one in ids}) == 2


@pytest.mark.parametrize("client", CHATS, ids=str)
@pytest.mark.parametrize("name", ["text", "unicode", "stop"])
def test_raw_text_is_shown_as_it_is(client: Client, name: str, workers: Workers, router: Running) -> None:
    """Who asks for `?protocol=text` reads the text and nothing else."""
    case = NAMED[name]
    asked = {**case.asks(client, name), "protocol": "text", "path": "/api/chat?protocol=text"}
    assert differences(client, as_text(client, case), workers.saw(client, router.base, asked)) == {}


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_a_stop_reaches_the_provider(client: Client, workers: Workers, router: Running) -> None:
    """Who stops an answer stops the model."""
    router.provider.left.clear()
    workers.saw(client, router.base, NAMED["stop"].asks(client, "stop"))
    assert router.provider.left.wait(PATIENCE)


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_a_page_may_end_an_answer_and_read_on(client: Client, workers: Workers, patient_router: Running) -> None:
    """`POST …/stop` stops the model, though the router would go on without a reader; what was said stays, and ends properly."""
    patient_router.provider.left.clear()
    saw = workers.saw(client, patient_router.base, {"chat": "chat-ended", "model": "stop", "deeds": [{**HI, "end": "Before"}]})
    assert patient_router.provider.left.wait(PATIENCE)
    wanted = replace(NAMED["stop"].sees[client.wire], finish="other", hears=frozenset({"finish"}))
    assert differences(client, wanted, saw) == {}


def told(router: Running) -> list[dict[str, Any]]:
    """The messages that the provider was asked with last."""
    return router.provider.requests[-1].json["messages"]


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_the_model_is_told_what_its_tool_said_in_the_turn_before(client: Client, workers: Workers, router: Running) -> None:
    """A tool's call and result come back with the conversation, in the client's form, and reach the model in its own."""
    workers.saw(client, router.base, NAMED["two-turns"].asks(client, "two-turns"))
    messages = told(router)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant", "user"]
    (call,) = messages[1]["tool_calls"]
    assert (call["function"]["name"], messages[1]["content"]) == ("get_weather", "Let me check.")
    assert (messages[2]["tool_call_id"], messages[2]["content"]) == (call["id"], "Beijing: 25°C")
    assert (messages[3]["content"], messages[4]["content"]) == ("It is sunny.", "Thanks")


@pytest.mark.parametrize("client", CHATS, ids=str)
@pytest.mark.parametrize("name", ["after-error", "after-stop", "after-thought", "after-stopped-tool", "after-tool-error"])
def test_broken_off_answer_leaves_a_conversation_the_model_takes(client: Client, name: str, workers: Workers, router: Running) -> None:
    """After an error, a stop, a tool that was not waited for or one that failed, the model gets a conversation it can take."""
    workers.saw(client, router.base, NAMED[name].asks(client, name))
    messages = told(router)
    # A thought alone is not repeated: what the user said before and after it is then one message.
    assert "\n\n".join(message["content"] for message in messages if message["role"] == "user") == "Hi\n\nThanks"
    asked = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    assert asked == [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert all(message["content"] or message.get("tool_calls") for message in messages)
    if name == "after-tool-error":
        assert [NO_ORDER in message["content"] for message in messages if message["role"] == "tool"] == [True]


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_the_model_is_shown_the_users_picture(client: Client, workers: Workers, router: Running) -> None:
    """A file of the user's reaches the provider, as the picture it is."""
    workers.saw(client, router.base, NAMED["file"].asks(client, "file"))
    (message,) = told(router)
    pictures = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
    texts = [part["text"] for part in message["content"] if part["type"] == "text"]
    assert (pictures, texts) == ([DOT], ["What is this?"])


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_an_unknown_model_is_not_found(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """An OpenAI client raises NotFoundError, with the request's id."""
    saw = workers.saw(client, router.base, {"model": "nope", "deeds": [{"do": deed, "text": "Hi"}]})
    error = saw["error"]
    assert (error["kind"], error["status"]) == ("NotFoundError", 404)
    assert error["request"]
    assert error["code"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete", "models"])
def test_client_without_a_known_key_gets_401_as_authentication_error(
    client: Client, deed: str, workers: Workers, keyed_router: Running
) -> None:
    """An OpenAI client raises AuthenticationError, with the code that OpenAI's own has, whatever it asks for."""
    error = workers.saw(client, keyed_router.base, {"model": "text", "deeds": [{"do": deed, "text": "Hi"}]})["error"]
    assert (error["kind"], error["status"], error["code"]) == ("AuthenticationError", 401, "invalid_api_key")
    assert error["request"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}], ids=["default", "float"])
def test_openai_client_reads_embeddings(client: Client, encoding: dict[str, str], workers: Workers, router: Running) -> None:
    """As numbers, in the order of the texts, of the length that was asked for: by default it asks for base64 and decodes it."""
    texts = ["the weather in Berlin", "Bücher: 书, 📚", "soup"]
    saw = workers.saw(client, router.base, {"model": "embed", "deeds": [{"do": "embed", "texts": texts, "dimensions": 48, **encoding}]})
    assert saw["error"] is None
    assert saw["vectors"] == [pytest.approx(demo_vector(words_of(text), 48), abs=1e-6) for text in texts]
    assert saw["usage"]["total"] == saw["usage"]["input"] > 0


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "embed"])
def test_openai_client_is_told_of_a_model_of_another_kind(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """A BadRequestError that says where to ask."""
    model, where = ("embed", "/v1/embeddings") if deed == "send" else ("text", "/v1/chat/completions")
    error = workers.saw(client, router.base, {"model": model, "deeds": [{"do": deed, "text": "Hi", "texts": ["Hi"]}]})["error"]
    assert (error["kind"], error["status"]) == ("BadRequestError", 400)
    assert where in error["message"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_client_over_its_limit_is_told_when_to_retry(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """An OpenAI client raises RateLimitError, with the code that OpenAI's own has."""
    asked = {"model": "limited", "deeds": [{"do": deed, "text": "Hi"}]}
    workers.saw(client, router.base, asked)  # the one that it may
    error = workers.saw(client, router.base, asked)["error"]
    assert (error["kind"], error["status"], error["code"]) == ("RateLimitError", 429, "rate_limit_exceeded")
    assert error["request"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_a_fault_of_the_routers_is_a_server_error(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """An OpenAI client raises InternalServerError, and knows by which id the router's log has it."""
    error = workers.saw(client, router.base, {"model": "faulty", "deeds": [{"do": deed, "text": "Hi"}]})["error"]
    assert (error["kind"], error["status"], error["code"]) == ("InternalServerError", 500, "internal")
    assert error["request"] in error["message"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_an_answer_that_never_began_is_a_server_error(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """It is raised as an HTTP error, streamed or not: there were no headers yet."""
    error = workers.saw(client, router.base, {"model": "error-before", "deeds": [{"do": deed, "text": "Hi"}]})["error"]
    assert (error["kind"], error["status"] >= 500) == ("InternalServerError", True)
    assert error["request"] in error["message"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
def test_an_answer_that_breaks_off_raises(client: Client, workers: Workers, router: Running) -> None:
    """An OpenAI client raises APIError, after what was said before."""
    saw = workers.saw(client, router.base, NAMED["error-after"].asks(client, "error-after"))
    assert saw["error"]["kind"] == "APIError"
    assert saw["error"]["code"]


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("deed", ["send", "stream", "complete"])
def test_usage_adds_up(client: Client, deed: str, workers: Workers, router: Running) -> None:
    """The tokens are counted for who asks, in a stream as in a whole answer."""
    saw = workers.saw(client, router.base, {"model": "text", "deeds": [{"do": deed, "text": "Hi", "usage": True}]})
    usage = saw["usage"]
    assert saw["error"] is None
    assert usage["input"] > 0
    assert usage["output"] > 0
    assert usage["total"] == usage["input"] + usage["output"]


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_usage_reaches_on_finish(client: Client, workers: Workers, router: Running) -> None:
    """A chat hears the tokens of the whole answer: in AI SDK 4's own place, later as metadata of the message."""
    finish = workers.saw(client, router.base, NAMED["tool"].asks(client, "tool"))["finish"]
    assert finish == {"reason": "stop", "usage": {"input": 22, "output": 6}}


@pytest.mark.parametrize("client", OPENAI, ids=str)
@pytest.mark.parametrize("name", ["text", "unicode", "thought", "tool", "tools"])
def test_the_library_puts_the_stream_together_itself(client: Client, name: str, workers: Workers, router: Running) -> None:
    """`.stream()` ends with the message that the loop by hand reads; its thoughts are no part of what is held to."""
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
def test_page_shows_an_object_while_it_comes(client: Client, workers: Workers, router: Running) -> None:
    """`useObject` asks with a schema and reads text; an answer that is not JSON of the schema is an error."""
    made = workers.saw(client, router.base, {"model": "person", "schema": SCHEMA})
    failed = workers.saw(client, router.base, {"model": "tool", "schema": SCHEMA})
    assert made == {"object": PERSON, "final": PERSON, "error": None}
    assert (failed["object"], failed["final"]) == (None, None)
    assert "(request " in failed["error"]


@pytest.mark.parametrize("client", [client for client in UI if client.name.startswith(("ai6", "ai7"))], ids=str)
@pytest.mark.parametrize("name", ["text", "thought", "tool", "tools", "tool-error", "error-after", "length"])
def test_the_form_for_newer_clients_is_read_by_them(client: Client, name: str, workers: Workers, newer_router: Running) -> None:
    """What `ui: {min_client: 6.0}` adds, every release of AI SDK 6 and 7 takes, the strict ones too."""
    case = NAMED[name]
    assert differences(client, case.sees[client.wire], workers.saw(client, newer_router.base, case.asks(client, name))) == {}


@pytest.mark.parametrize("client", [client for client in UI if client.name.startswith(("ai6", "ai7"))], ids=str)
@pytest.mark.parametrize("model", ["approval", "cautious"])
def test_call_runs_when_the_user_of_a_client_has_allowed_it(client: Client, model: str, workers: Workers, newer_router: Running) -> None:
    """Each release that knows approvals asks its user, sends the decision, and shows the result in the part that asked. The question is the tool
    set's, or the tool's own.
    """
    case = replace(NAMED["tool"], deeds=(HI, {"do": "decide", "approved": True}))
    assert differences(client, case.sees[client.wire], workers.saw(client, newer_router.base, case.asks(client, model))) == {}


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_progress_of_a_tool_is_read_by_every_client(client: Client, workers: Workers, router: Running, newer_router: Running) -> None:
    """In the end the message is that of a tool without progress. Clients of 6 and 7 read the preliminary form, too."""
    case = NAMED["tool"]
    for base in (router.base, *((newer_router.base,) if client.name.startswith(("ai6", "ai7")) else ())):
        assert differences(client, case.sees[client.wire], workers.saw(client, base, case.asks(client, "progress"))) == {}


@pytest.mark.parametrize("client", CHATS, ids=str)
def test_source_and_image_of_a_model_are_parts_of_the_message(client: Client, workers: Workers, router: Running) -> None:
    """A source within a text does not cut the text in two, except for AI SDK 4, which puts its parts in the order of their kinds."""
    saw = workers.saw(client, router.base, {"chat": "chat-shown", "model": "shown", "deeds": [HI]})
    image = ["file", "image/png", DRAWN if client.wire == "data-stream" else f"data:image/png;base64,{DRAWN}"]
    shown = [["text", "Rome it is."], ["source", *CITED], image]
    assert (saw["error"], saw["status"]) == (None, "ready")
    assert sorted(part for part in saw["messages"][-1]["parts"] if part != ["step"]) == sorted(shown)
