"""Tools that ask other routes: their answers are streamed, charged to the request, limited to one level, and closed with the call."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.callers.keys import new
from router.chat import Ask
from router.errors import ConfigError
from router.events import Events, Failure, Finish, Start, Text
from router.toolbox import AskableRoute, Routes
from router.toolbox.routes import MAX_ANSWER, MAX_ASKED
from tests.conftest import Client, Workspace, serving
from tests.support.provider import Provider, Reply, calls, chunk, provider, text

WRITER = '''
"""A writer."""
from router.toolbox import DataPart, Fields, Routes


async def write(title: str, routes: Routes, fields: Fields):
    """Writes about something.

    title: its title
    """
    yield DataPart("title", title)
    answer = routes.ask("paper", title, system="Be brief.", fields={"kind": fields["kind"]})
    size = 0
    async for piece in answer:
        size += len(piece)
        yield DataPart("delta", piece)
    yield {"size": size, "tokens": answer.usage.output_tokens}
'''
DECLARED = """
targets:
  talker: {{model: openai/fake, api_base: '{talker}', api_key: sk-test, price: {{input: 1.0, output: 1.0}}}}
  author: {{model: openai/fake, api_base: '{author}', api_key: sk-test, price: {{input: 100.0, output: 100.0}}}}
routes:
  chat-model:
    pipeline: chat
    targets: [talker]
    tools: [writer]
    timeout: {{tool: {seconds}}}
  paper: {{pipeline: paper, targets: [author], aliases: [sheet]{more}}}
"""
PAPER = "steps:\n  - prompt: paper.j2\n"


def write(workspace: Workspace, talker: str, author: str, *, more: str = "", seconds: str = "60s") -> Workspace:
    """Write a route `chat-model` with the tool `write`, and the route `paper` that the tool asks; return the workspace."""
    workspace.write("tools/writer.py", WRITER).write("pipelines/paper.yaml", PAPER).write("pipelines/paper.j2", "Write {{ ask.kind }}.")
    return workspace.write("routes.yaml", DECLARED.format(talker=talker, author=author, more=more, seconds=seconds))


WISH = Reply(calls(("c1", "write", '{"title": "Rain"}')))


@asynccontextmanager
async def asking(
    workspace: Workspace, author: Reply, more: str = "", seconds: str = "60s"
) -> AsyncGenerator[tuple[Client, Provider, Provider], None]:
    """A client of a router, the fake provider of the route `chat-model` and that of `paper`."""
    async with (
        provider(WISH, Reply(text("Done."))) as talker,
        provider(author) as asked,
        serving(write(workspace, talker.base, asked.base, more=more, seconds=seconds).build()) as client,
    ):
        yield client, talker, asked


def parts(body: bytes) -> list[dict[str, Any]]:
    """Return the JSON parts of a UI message stream."""
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]


async def ask(client: Client, **more: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Ask one question; return the parts of the answer, and the record of the request."""
    messages = [{"role": "user", "content": "Write."}]
    came = await client.post("/api/chat?protocol=ui-message-stream", model="chat-model", messages=messages, kind="verse", **more)
    told = await record(client, came.headers["x-request-id"])
    assert came.headers.get("x-router-cost") in (None, str(told["cost_usd"]))
    return parts(came.body), told


async def record(client: Client, request_id: str) -> dict[str, Any]:
    """Return the record of a request, once it has ended."""
    async with asyncio.timeout(240):
        while (found := await client.get(f"/admin/requests/{request_id}")).status != 200:
            await asyncio.sleep(0.005)
    return found.json


async def test_tool_streams_the_answer_of_another_route(workspace: Workspace) -> None:
    """A tool streams another route's answer to the client as data parts before its result; that route uses its own pipeline, no tools."""
    async with asking(workspace, Reply(text("Drip, ", "drop."))) as (client, talker, author):
        seen, _ = await ask(client)
    data = [part for part in seen if part["type"].startswith("data-") and part["type"] != "data-tool-progress"]
    assert data[0] == {"type": "data-title", "id": "c1", "data": "Rain", "transient": True}
    assert "".join(part["data"] for part in data[1:]) == "Drip, drop."
    outputs = [part for part in seen if part["type"] == "tool-output-available"]
    assert outputs == [{"type": "tool-output-available", "toolCallId": "c1", "output": {"size": 11, "tokens": 3}}]
    assert seen.index(data[-1]) < seen.index(outputs[0])
    assert [(one["role"], one["content"]) for one in author.requests[0]["messages"]] == [
        ("system", "Write verse.\n\nBe brief."),
        ("user", "Rain"),
    ]
    assert "tools" not in author.requests[0]
    shown = talker.requests[0]["tools"][0]["function"]["parameters"]
    assert list(shown["properties"]) == ["title"]


@pytest.mark.parametrize("stream", [True, False])
async def test_attempts_tokens_and_cost_of_an_asked_route_are_in_the_requests_record(workspace: Workspace, stream: bool) -> None:
    """The record of a request has the attempts of a route that its tool asked, and the sum of tokens and cost of all calls."""
    async with asking(workspace, Reply(text("Drip."))) as (client, _, _):
        _, told = await ask(client, stream=stream)
    assert [(one["target"], one.get("route"), one["outcome"]) for one in told["attempts"]] == [
        ("talker", None, "ok"),
        ("author", "paper", "ok"),
        ("talker", None, "ok"),
    ]
    assert (told["target"], told["steps"], told["rescues"]) == ("talker", 2, 0)
    assert (told["input_tokens"], told["output_tokens"]) == (33, 9)
    assert told["cost_usd"] == pytest.approx((2 * 14 * 1 + 14 * 100) / 1e6)


async def test_tokens_of_an_asked_route_count_against_the_limit_of_the_requests_route(workspace: Workspace) -> None:
    """The tokens that a tool's route uses count against the limit of the client's route: the next question gets 429."""
    async with provider(WISH, Reply(text("Done."))) as talker, provider(Reply(text("Drip."))) as author:
        write(workspace, talker.base, author.base)
        declared = (
            (workspace.root / "routes.yaml")
            .read_text()
            .replace("tools: [writer]", "tools: [writer]\n    limit: {tokens: 40/hour, per: route}")
        )
        async with serving(workspace.write("routes.yaml", declared).build()) as client:
            _, told = await ask(client)
            assert told["input_tokens"] + told["output_tokens"] == 42  # 28 without the asked route
            assert (await client.ask("More.")).status == 429


async def test_failure_of_an_asked_route_becomes_an_error_result_of_the_tool(workspace: Workspace) -> None:
    """A route that fails for a tool gives the tool an error result; the model continues, and the failed attempts are recorded."""
    async with asking(workspace, Reply(status=500, body=b"{}")) as (client, _, _):
        seen, told = await ask(client)
    errors = [part["errorText"] for part in seen if part["type"] == "tool-output-error"]
    assert errors == ["No model could answer just now. Please try again."]
    assert {one["outcome"] for one in told["attempts"] if one.get("route") == "paper"} == {"status_500"}
    assert told["outcome"] == "stop"


async def test_answer_of_an_asked_route_ends_at_the_time_limit_of_the_tool(workspace: Workspace) -> None:
    """The time limit of a tool closes the upstream stream of the route that it asked; the attempt is recorded as abandoned."""
    silent = Reply((chunk({"content": "Drip"}),), hold=True)
    async with asking(workspace, silent, seconds="1s") as (client, _, author):
        seen, told = await ask(client)
        await author.until(lambda: author.closed == 1)
    assert [part["errorText"] for part in seen if part["type"] == "tool-output-error"] == [
        "The tool took longer than 1 seconds and was stopped."
    ]
    (attempt,) = [one for one in told["attempts"] if one.get("route") == "paper"]
    assert (attempt["outcome"], attempt["estimated"]) == ("abandoned", True)


async def test_attempt_that_a_tool_let_go_is_abandoned_in_the_header_too(workspace: Workspace) -> None:
    """The header with the attempts has the outcome `abandoned` for a route whose answer the tool did not read to its end."""
    silent = Reply((chunk({"content": "Drip"}),), hold=True)
    async with asking(workspace, silent, seconds="1s") as (client, _, _):
        messages = [{"role": "user", "content": "Write."}]
        came = await client.post("/v1/chat/completions", model="chat-model", messages=messages, kind="verse", stream=False)
    assert came.headers["x-router-attempts"].count("outcome=ok;") == 2
    assert '"author";outcome=abandoned;' in came.headers["x-router-attempts"]


async def test_client_disconnect_closes_the_upstream_stream_of_an_asked_route(workspace: Workspace) -> None:
    """A disconnect of the client closes the upstream stream of a route that a tool asked, and the record has both attempts."""
    silent = Reply((chunk({"content": "Drip"}),), hold=True)
    async with asking(workspace, silent) as (client, _, author):
        body = {"messages": [{"role": "user", "content": "Write."}], "model": "chat-model", "kind": "verse"}
        async with client.session.post(f"{client.base}/api/chat", json=body) as response:
            request_id = response.headers["x-request-id"]
            await author.until(lambda: author.open == 1)
            response.close()
        await author.until(lambda: author.closed == 1)
        told = await record(client, request_id)
    assert told["outcome"] == "client_left"
    assert [(one["target"], one["outcome"]) for one in told["attempts"]] == [("talker", "ok"), ("author", "client_left")]


async def test_tool_cannot_ask_a_route_whose_tools_ask_routes(workspace: Workspace) -> None:
    """A tool that asks a route whose own tools may ask routes gets an error result, and that route's provider gets no request."""
    async with asking(workspace, Reply(text("Drip.")), more=", tools: [writer]") as (client, _, author):
        seen, _ = await ask(client)
        assert author.requests == []
    (error,) = [part["errorText"] for part in seen if part["type"] == "tool-output-error"]
    assert error == "A tool cannot ask paper: its own tools ask routes (write), and only one level may."


QUESTION = Ask(model="chat-model", messages=(), until=5.0, caller="alice", user="ann")


async def test_question_of_a_tool_has_caller_user_and_deadline_of_the_request(workspace: Workspace) -> None:
    """A tool's question to a route has the request's caller, end user and deadline, but not its chat id."""
    del workspace
    asked: list[Ask] = []

    async def answer(ask: Ask) -> Events:
        asked.append(ask)
        yield Start("a", "m")
        yield Text("Yes.")
        yield Finish("stop")

    routes = Routes({"paper": AskableRoute(answer)}, QUESTION)
    assert await routes.ask("paper", "Is it?", schema={"type": "object"}).text() == "Yes."
    (ask,) = asked
    assert (ask.caller, ask.user, ask.until, ask.chat, ask.model) == ("alice", "ann", 5.0, "", "paper")
    assert ask.output is not None
    assert ask.output.schema == {"type": "object"}


async def test_conditions_of_an_asked_route_test_the_request_of_the_tool(workspace: Workspace) -> None:
    """A route without conditions passes the caller on to those of a route that its tool asks."""
    key = new()
    workspace.write("tools/writer.py", WRITER).write("pipelines/paper.yaml", "steps: []\n")
    async with provider(WISH, Reply(text("Done.")), WISH, Reply(text("Done."))) as talker:
        configured = DECLARED.format(talker=talker.base, author=talker.base, more="", seconds="60s").replace(
            "targets: [author]", "targets: [{use: short, when: {caller: ci}}, long]"
        )
        scripts = "\n  short: {script: [{text: Drip}]}\n  long: {script: [{text: 'Drip, drop'}]}\nroutes:"
        digest = hashlib.sha256(key.encode()).hexdigest()
        auth = f"server: {{auth: {{keys: {{ci: {{hash: 'sha256:{digest}'}}}}}}}}\n"
        workspace.write("routes.yaml", configured.replace("\nroutes:", scripts) + auth)
        async with serving(workspace.build()) as client:
            body = {"model": "chat-model", "messages": [{"role": "user", "content": "Write."}], "kind": "verse"}
            url, headers = f"{client.base}/api/chat?protocol=ui-message-stream", {"authorization": f"Bearer {key}"}
            async with client.session.post(url, json=body, headers=headers) as response:
                seen = parts(await response.read())
    assert [part["output"]["size"] for part in seen if part["type"] == "tool-output-available"] == [4]


async def long_answer(ask: Ask) -> Events:
    """Yield an answer without an end."""
    del ask
    yield Start("a", "m")
    while True:
        yield Text("x" * 1024)


async def broken_answer(ask: Ask) -> Events:
    """Yield an answer that fails after its first text."""
    del ask
    yield Start("a", "m")
    yield Text("Half")
    yield Failure("cut", "The answer was cut off.")


async def test_answer_of_an_asked_route_above_max_answer_raises() -> None:
    """An answer longer than MAX_ANSWER characters raises an error in the tool that asked for it."""
    with pytest.raises(Exception, match=f"longer than {MAX_ANSWER:,} characters"):
        await Routes({"paper": AskableRoute(long_answer)}, QUESTION).ask("paper", "?").text()


async def test_asked_routes_answer_that_fails_midway_raises_its_error_in_the_tool() -> None:
    """An answer that fails after its first text raises an error with the failure's sentence in the tool that reads it."""
    pieces: list[str] = []

    async def take() -> None:
        pieces.extend([piece async for piece in Routes({"paper": AskableRoute(broken_answer)}, QUESTION).ask("paper", "?")])

    with pytest.raises(Exception, match=r"The answer was cut off\."):
        await take()


async def test_tool_call_may_ask_routes_at_most_max_asked_times() -> None:
    """One tool call can ask routes MAX_ASKED times; the next question raises an error."""
    routes = Routes({"paper": AskableRoute(broken_answer)}, QUESTION)
    for _ in range(MAX_ASKED):
        routes.ask("paper", "?")
    with pytest.raises(Exception, match=f"{MAX_ASKED} answers at most"):
        routes.ask("paper", "?")
    await routes.aclose()


async def test_tool_that_asks_an_unknown_route_gets_an_error_with_its_name() -> None:
    """A question to a route that does not exist raises an error that names it."""
    with pytest.raises(Exception, match="no route papre"):
        Routes({}, QUESTION).ask("papre", "?")


async def test_answer_that_a_tool_reads_only_partly_is_closed_with_the_call() -> None:
    """An answer that a tool has read only in part is closed when the tool call ends."""
    closed: list[bool] = []

    async def answer(ask: Ask) -> Events:
        del ask
        try:
            yield Start("a", "m")
            yield Text("Half")
            yield Text("more")
        finally:
            closed.append(True)

    routes = Routes({"paper": AskableRoute(answer)}, QUESTION)
    assert await anext(aiter(routes.ask("paper", "?"))) == "Half"
    assert not closed
    await routes.aclose()
    assert closed


async def test_background_task_of_a_tool_gets_no_more_text_after_the_call() -> None:
    """A task that still reads an answer after its tool call has ended gets no further text, and the answer is closed."""
    goes_on, read, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(ask: Ask) -> Events:
        del ask
        try:
            yield Start("a", "m")
            read.set()
            await goes_on.wait()
            yield Text("late")
        finally:
            closed.set()

    routes = Routes({"paper": AskableRoute(answer)}, QUESTION)
    left = asyncio.create_task(routes.ask("paper", "?").text())
    await read.wait()
    await routes.aclose()
    assert not closed.is_set()
    goes_on.set()
    assert await left == ""
    assert closed.is_set()


PLAIN = '"""A writer."""\nfrom router.toolbox import Routes\n\n\ndef write(title: str, routes: Routes) -> str:\n    """Writes."""\n    return title\n'
MISTAKES = {
    "a plain function": (
        PLAIN,
        "tools: [writer]",
        "tools/writer.py:5:23: `write` takes Routes, and a route is asked on the event loop: write `async def write`",
    ),
    "a process of its own": (
        WRITER,
        "tools: [{use: writer, isolate: process}]",
        (
            "tools/writer.py:6:29: `write` takes Routes, which a tool set in a process of its own does not get: leave out `isolate: process`, "
            "or move the tool into another file"
        ),
    ),
    "a cache": (
        WRITER,
        "tools: [writer]\n    cache: {ttl: 1h}",
        (
            "routes.yaml:9:13: `chat-model` has a `cache`, and its tool `write` takes Fields: what that says is not in the question that the "
            "cache compares. Leave out `cache`, or the tool set"
        ),
    ),
}


@pytest.mark.parametrize("how", MISTAKES)
def test_tool_that_cannot_get_routes_or_fields_is_refused_at_load_with_its_place(workspace: Workspace, how: str) -> None:
    """A plain function or isolated tool that takes Routes, or one that takes Fields on a cached route, gives one complaint."""
    code, tools, complaint = MISTAKES[how]
    write(workspace, "http://127.0.0.1:1", "http://127.0.0.1:1").write("tools/writer.py", code)
    declared = (workspace.root / "routes.yaml").read_text().replace("tools: [writer]", tools)
    with pytest.raises(ConfigError) as caught:
        workspace.write("routes.yaml", declared).build()
    assert [str(one).splitlines()[0] for one in caught.value.complaints] == [complaint]
