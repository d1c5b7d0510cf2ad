"""Tools that need the user's approval, with a front end on the AI SDK and with clients that cannot ask for approval."""

import json
from typing import Any

import pytest

from router.errors import ConfigError
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.provider import Reply, calls, provider, text

ORDERS = '''
_deleted: list[str] = []


async def delete_order(number: str) -> str:
    """Delete an order.

    number: its number
    """
    _deleted.append(number)
    return f"{number} is deleted, {len(_deleted)} in all"
'''
ROUTE = "targets: [a]\n    tools: [weather, {use: orders, approve: always}]"
NEWER = 'server: {ui: {min_client: "6.0"}}\n'
WISH = Reply(calls(("c1", "delete_order", '{"number":"A-1"}'), ("c2", "get_weather", '{"location":"Oslo"}')))
DELETED = "A-1 is deleted, 1 in all"


class Page:
    """A front end on AI SDK 6: it assembles the parts of the answers, and its user approves or denies tool calls."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.messages: list[dict[str, Any]] = [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Delete it"}]}]

    async def submit(self) -> list[dict[str, Any]]:
        """Send the conversation, add the answer's parts to it as the SDK does, and return the frames of the answer."""
        answered = await self.client.post(id="chat-1", messages=self.messages, trigger="submit-message")
        assert answered.status == 200, answered.body
        frames = [json.loads(line[6:]) for line in answered.body.decode().split("\n\n") if line.startswith("data: {")]
        if self.messages[-1]["id"] != frames[0]["messageId"]:
            self.messages.append({"id": frames[0]["messageId"], "role": "assistant", "parts": []})
        parts = self.messages[-1]["parts"]
        for frame in frames:
            part: dict[str, Any] = next((one for one in parts if one.get("toolCallId", "") == frame.get("toolCallId")), dict[str, Any]())
            match frame["type"]:
                case "start-step":
                    parts.append({"type": "step-start"})
                case "tool-input-available":
                    made = {"type": f"tool-{frame['toolName']}", "toolCallId": frame["toolCallId"], "input": frame["input"]}
                    parts.append({**made, "state": "input-available"})
                case "tool-output-available":
                    part |= {"state": "output-available", "output": frame["output"]}
                case "tool-output-error":
                    part |= {"state": "output-error", "errorText": frame["errorText"]}
                case "tool-approval-request":
                    part |= {"state": "approval-requested", "approval": {"id": frame["approvalId"]}}
                case _:
                    pass
        return frames

    @property
    def call(self) -> dict[str, Any]:
        """The `delete_order` part of the last message."""
        return next(one for one in self.messages[-1]["parts"] if one["type"] == "tool-delete_order")

    def decide(self, *, approved: bool, **more: Any) -> None:
        """Approve or deny the pending `delete_order` call as the user. `more`: further fields of the approval."""
        assert self.call["state"] == "approval-requested"
        self.call.update(state="approval-responded", approval={**self.call["approval"], "approved": approved, **more})


def results(request: dict[str, Any]) -> dict[str, str]:
    """Return the tool results that a request sent to the provider, by tool call id."""
    return {one["tool_call_id"]: one["content"] for one in request["messages"] if one["role"] == "tool"}


def prepare(workspace: Workspace, base: str, more: str = NEWER) -> Workspace:
    """Write a route with a `weather` tool and a `delete_order` tool that needs the user's approval. `more`: the `server` section."""
    workspace.write("tools/orders.py", ORDERS)
    return workspace.write("routes.yaml", routes(direct_target(base), ROUTE, more))


async def test_tool_call_runs_only_after_the_user_has_approved_it(workspace: Workspace) -> None:
    """A tool with `approve: always` runs in the request that carries the approval, and its result reaches client and model."""
    async with provider(WISH, Reply(text("Done."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        frames = await page.submit()
        assert [one["type"] for one in frames if "toolCallId" in one and "input" not in one["type"]] == [
            "tool-approval-request",
            "tool-output-available",
        ]
        assert frames[-1]["finishReason"] == "tool-calls"
        assert len(fake.requests) == 1
        page.decide(approved=True)
        again = await page.submit()
        assert again[0]["messageId"] == frames[0]["messageId"]
        assert [one["type"] for one in again][:3] == ["start", "start-step", "tool-output-available"]
        assert (page.call["state"], page.call["output"]) == ("output-available", DELETED)
        page.messages.append({"id": "m2", "role": "user", "parts": [{"type": "text", "text": "Thanks"}]})
        await page.submit()
    assert results(fake.requests[1]) == {"c1": DELETED, "c2": "Oslo: 25°C"}
    assert results(fake.requests[2]) == results(fake.requests[1])


async def test_min_client_header_overrides_the_configured_min_client(workspace: Workspace) -> None:
    """The header `X-Router-Min-Client` overrides `server.ui.min_client`: with 6.0 an approval is requested, with 5.0 it is not.
    An unknown version gets a 400, which names the requested model.
    """
    said: dict[str, tuple[int, str]] = {}
    models: list[str] = []
    for declared, named in (("", "6.0"), (NEWER, "5.0"), (NEWER, "9.0")):
        async with provider(WISH, Reply(text("No."))) as fake, serving(prepare(workspace, fake.base, declared).build()) as client:
            page, headers = Page(client), {"x-router-min-client": named}
            body = {"messages": page.messages, "trigger": "submit-message"}
            async with client.session.post(f"{client.base}/api/chat", json=body, headers=headers) as answered:
                said[named] = (answered.status, await answered.text())
                models.append(answered.headers["x-router-model"])
    assert [status for status, _ in said.values()] == [200, 200, 400]
    assert len(set(models)) == 1
    assert '"type":"tool-approval-request"' in said["6.0"][1]
    assert "tool-approval-request" not in said["5.0"][1]
    assert "X-Router-Min-Client: one of 5.0, 6.0 is needed." in said["9.0"][1]


async def test_tool_call_that_the_user_denies_does_not_run(workspace: Workspace) -> None:
    """A tool call that the user denies does not run, and the model gets a result that says so with the user's reason."""
    async with provider(WISH, Reply(text("I leave it."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        await page.submit()
        page.decide(approved=False, reason="Not that one.")
        await page.submit()
    assert results(fake.requests[1])["c1"] == "The user did not allow this tool to run. Not that one."


def _other_arguments(page: Page) -> None:
    page.call["input"] = {"number": "A-2"}


def _other_tool(page: Page) -> None:
    page.call["toolCallId"] = "c9"


def _own_id(page: Page) -> None:
    page.call["approval"]["id"] = "apr_ffffffff.abcdefghijklmnop." + 43 * "a"


FORGED = {"other arguments": _other_arguments, "another call": _other_tool, "an id of its own": _own_id}


async def test_approval_with_an_id_of_another_server_runs_no_tool(workspace: Workspace) -> None:
    """A call approved under an id that the router did not issue does not run, and the call is dropped from what the model is sent."""
    async with provider(WISH, Reply(text("Sorry."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        await page.submit()
        page.decide(approved=True)
        page.call["approval"]["id"] = "aitxt-abcdefgh"
        await page.submit()
    assert results(fake.requests[1]) == {"c2": "Oslo: 25°C"}


@pytest.mark.parametrize("how", FORGED)
async def test_forged_approval_does_not_run_the_tool(workspace: Workspace, how: str) -> None:
    """An approval with changed arguments, another call id or a made-up approval id gives an error result instead of running the tool."""
    async with provider(WISH, Reply(text("Sorry."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        await page.submit()
        page.decide(approved=True)
        FORGED[how](page)
        await page.submit()
        assert page.call["state"] == "output-error"
        assert page.call["errorText"].startswith("Not run: nobody asked about this call")
    assert all("deleted" not in told for told in results(fake.requests[1]).values())


async def test_repeated_approval_runs_its_tool_call_once(workspace: Workspace) -> None:
    """A request with the same approval sent again does not run the tool again; the model gets a result that starts with "Not run"."""
    async with provider(WISH, Reply(text("Done."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        await page.submit()
        page.decide(approved=True)
        before = json.dumps(page.messages)
        await page.submit()
        page.messages = json.loads(before)
        await page.submit()
    assert results(fake.requests[1])["c1"] == DELETED
    assert results(fake.requests[2])["c1"].startswith("Not run: ")


ELSEWHERE: dict[str, tuple[str, dict[str, Any], str]] = {
    "a page on AI SDK 5": ("/api/chat?protocol=ui-message-stream", {}, ""),
    "the line protocol": ("/api/chat?protocol=line", {}, NEWER),
    "chat completions": ("/v1/chat/completions", {"model": "chat-model"}, NEWER),
}


@pytest.mark.parametrize("where", ELSEWHERE)
async def test_tool_call_is_refused_if_the_client_cannot_ask_for_approval(workspace: Workspace, where: str) -> None:
    """A tool call that needs approval is refused for a client that cannot show the question; the model reads why and goes on."""
    path, more, server = ELSEWHERE[where]
    async with provider(WISH, Reply(text("I cannot."))) as fake, serving(prepare(workspace, fake.base, server).build()) as client:
        answered = await client.post(path, messages=[{"role": "user", "content": "Delete it"}], **more)
    assert answered.status == 200
    assert b"I cannot." in answered.body
    assert results(fake.requests[1]) == {
        "c1": "Not run: the user has to allow this call, and this client cannot ask for it.",
        "c2": "Oslo: 25°C",
    }


async def test_unstreamed_answer_has_approval_request_and_later_result(workspace: Workspace) -> None:
    """With `stream: false`, a tool part is `approval-requested` in the first answer, `output-available` after the approval."""
    async with provider(WISH, Reply(text("Done."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        asked = (await client.post(messages=page.messages, stream=False)).json
        part = next(one for one in asked["parts"] if one["type"] == "tool-delete_order")
        assert part["state"] == "approval-requested"
        part |= {"state": "approval-responded", "approval": {**part["approval"], "approved": True}}
        done = (await client.post(messages=[*page.messages, asked], stream=False)).json
    kinds = [(one["type"], one.get("state"), one.get("output")) for one in done["parts"]]
    assert kinds[:2] == [("step-start", None, None), ("tool-delete_order", "output-available", DELETED)]


async def test_access_log_lists_the_approved_tool_call(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """The access log line of the request that brings the approval lists the tool that ran because of it."""
    async with provider(WISH, Reply(text("Done."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        await page.submit()
        page.decide(approved=True)
        with caplog.at_level("INFO", "router.access"):
            await page.submit()
    fields: list[Any] = [vars(one).get("fields", {}) for one in caplog.records]
    assert [[run["tool"] for run in one["tools"]] for one in fields if "tools" in one] == [["delete_order"]]


def test_short_approval_key_is_refused_at_load(workspace: Workspace) -> None:
    """A `server.approval_key` of fewer than 20 characters is a configuration error."""
    prepare(workspace, "http://127.0.0.1:1/v1", "server: {approval_key: short}\n")
    with pytest.raises(Exception, match="an approval key of fewer than 20 characters can be guessed"):
        workspace.build()


CAUTIOUS = '''
from router.toolbox import needs_approval

_paid: list[float] = []


@needs_approval(lambda amount, to: amount > 100 or to == "nobody" and 1 / 0)
async def pay(amount: float, to: str) -> str:
    """Pay."""
    _paid.append(amount)
    return f"{to} has {amount:g}, {len(_paid)} in all"
'''
TWO = Reply(calls(("c1", "pay", '{"amount":5,"to":"Ann"}'), ("c2", "pay", '{"amount":500,"to":"Bob"}')))


@pytest.mark.parametrize("granted", ["till", "{use: till, isolate: process}"])
async def test_needs_approval_condition_decides_which_calls_need_the_user(workspace: Workspace, granted: str) -> None:
    """A call for which the condition of `needs_approval` is false runs at once; one for which it is true waits for approval."""
    workspace.write("tools/till.py", CAUTIOUS)
    async with provider(TWO, Reply(text("Done."))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), f"targets: [a]\n    tools: [{granted}]", NEWER))
        async with serving(workspace.build()) as client:
            page = Page(client)
            await page.submit()
            small, large = [one for one in page.messages[-1]["parts"] if one["type"] == "tool-pay"]
            assert (small["state"], small["output"]) == ("output-available", "Ann has 5, 1 in all")
            assert large["state"] == "approval-requested"
            large.update(state="approval-responded", approval={**large["approval"], "approved": True})
            await page.submit()
            assert (large["state"], large["output"]) == ("output-available", "Bob has 500, 2 in all")
    assert results(fake.requests[1]) == {"c1": "Ann has 5, 1 in all", "c2": "Bob has 500, 2 in all"}


async def test_conditional_approval_does_not_cover_changed_arguments(workspace: Workspace) -> None:
    """A tool call that `needs_approval` held back does not run if the client approves it with other arguments."""
    workspace.write("tools/till.py", CAUTIOUS)
    async with provider(TWO, Reply(text("Done."))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), "targets: [a]\n    tools: [till]", NEWER))
        async with serving(workspace.build()) as client:
            page = Page(client)
            await page.submit()
            large = [one for one in page.messages[-1]["parts"] if one["type"] == "tool-pay"][1]
            large.update(input={"amount": 5000, "to": "Bob"}, state="approval-responded", approval={**large["approval"], "approved": True})
            await page.submit()
    assert results(fake.requests[1])["c2"].startswith("Not run: nobody asked about this call")


async def test_needs_approval_condition_that_raises_requires_approval(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A call whose `needs_approval` condition raises an exception needs approval, and the log names tool, exception and line."""
    workspace.write("tools/till.py", CAUTIOUS)
    wish = Reply(calls(("c1", "pay", '{"amount":5,"to":"nobody"}'), ("c2", "pay", '{"amount":"much","to":"Bob"}')))
    async with provider(wish, Reply(text("Done."))) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), "targets: [a]\n    tools: [till]"))
        async with serving(workspace.build()) as client:
            await client.ask()
    told = results(fake.requests[1])
    assert told["c1"].startswith("Not run: the user has to allow this call")
    assert told["c2"].startswith("Invalid arguments:")
    (logged,) = [record for record in caplog.records if record.getMessage() == "the condition of an approval failed"]
    assert logged.__dict__["fields"] == {"tool": "pay", "error": "ZeroDivisionError", "at": "till.py:7"}


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("lambda amount: True", "the condition of `needs_approval` does not take the tool's arguments"),
        ("_later", "the condition of `needs_approval` is not `async`"),
    ],
)
def test_needs_approval_condition_with_wrong_signature_is_refused_at_load(workspace: Workspace, condition: str, sentence: str) -> None:
    """A `needs_approval` condition that is async or takes other arguments than its tool is a configuration error naming the tool's file."""
    source = CAUTIOUS.replace('lambda amount, to: amount > 100 or to == "nobody" and 1 / 0', condition)
    later = "\n\nasync def _later(amount: float, to: str) -> bool:\n    return True\n"
    workspace.write("tools/till.py", source.replace("needs_approval\n", f"needs_approval\n{later}", 1))
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", "targets: [a]\n    tools: [till]"))
    with pytest.raises(ConfigError) as caught:
        workspace.build()
    (complaint,) = caught.value.complaints
    assert complaint.message.startswith(sentence)
    assert complaint.place.file == "tools/till.py"
