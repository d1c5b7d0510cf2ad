"""Tools that run only when the user has allowed it, as a page on the AI SDK meets them."""

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
    """A page on AI SDK 6: it keeps the parts of the answers, and its user decides."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.messages: list[dict[str, Any]] = [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Delete it"}]}]

    async def submit(self) -> list[dict[str, Any]]:
        """Send the conversation; returns the frames of the answer, put together as the SDK does."""
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
        """The part of the call that waits, or did."""
        return next(one for one in self.messages[-1]["parts"] if one["type"] == "tool-delete_order")

    def decide(self, *, approved: bool, **more: Any) -> None:
        """The user's decision on the call that waits."""
        assert self.call["state"] == "approval-requested"
        self.call.update(state="approval-responded", approval={**self.call["approval"], "approved": approved, **more})


def results(request: dict[str, Any]) -> dict[str, str]:
    """Call → its result, as the provider was told."""
    return {one["tool_call_id"]: one["content"] for one in request["messages"] if one["role"] == "tool"}


def prepare(workspace: Workspace, base: str, more: str = NEWER) -> Workspace:
    """A route whose orders may be deleted only if the user says so."""
    workspace.write("tools/orders.py", ORDERS)
    return workspace.write("routes.yaml", routes(direct_target(base), ROUTE, more))


async def test_call_runs_after_the_user_has_allowed_it(workspace: Workspace) -> None:
    """The user is asked before the tool beside it has run. The second request brings the approval: the result reaches the page and the model."""
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


async def test_request_that_names_its_client_is_asked_whatever_the_server_declares(workspace: Workspace) -> None:
    """`X-Router-Min-Client` stands over `server.ui.min_client`, in both directions; a release that is not distinguished is refused."""
    said: dict[str, tuple[int, str]] = {}
    for declared, named in (("", "6.0"), (NEWER, "5.0"), (NEWER, "9.0")):
        async with provider(WISH, Reply(text("No."))) as fake, serving(prepare(workspace, fake.base, declared).build()) as client:
            page, headers = Page(client), {"x-router-min-client": named}
            body = {"messages": page.messages, "trigger": "submit-message"}
            async with client.session.post(f"{client.base}/api/chat", json=body, headers=headers) as answered:
                said[named] = (answered.status, await answered.text())
    assert [status for status, _ in said.values()] == [200, 200, 400]
    assert '"type":"tool-approval-request"' in said["6.0"][1]
    assert "tool-approval-request" not in said["5.0"][1]
    assert "X-Router-Min-Client: one of 5.0, 6.0 is needed." in said["9.0"][1]


async def test_call_that_the_user_denies_does_not_run(workspace: Workspace) -> None:
    """The model is told, with the user's reason."""
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


async def test_approval_of_another_server_runs_nothing(workspace: Workspace) -> None:
    """A front end's own server makes ids, too: the model may call again, and the user is asked here."""
    async with provider(WISH, Reply(text("Sorry."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        await page.submit()
        page.decide(approved=True)
        page.call["approval"]["id"] = "aitxt-abcdefgh"
        await page.submit()
    assert results(fake.requests[1]) == {"c2": "Oslo: 25°C"}


@pytest.mark.parametrize("how", FORGED)
async def test_client_cannot_allow_what_was_not_asked(workspace: Workspace, how: str) -> None:
    """The call does not run; the page and the model read why."""
    async with provider(WISH, Reply(text("Sorry."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        await page.submit()
        page.decide(approved=True)
        FORGED[how](page)
        await page.submit()
        assert page.call["state"] == "output-error"
        assert page.call["errorText"].startswith("Not run: nobody asked about this call")
    assert all("deleted" not in told for told in results(fake.requests[1]).values())


async def test_approval_that_is_sent_twice_runs_its_call_once(workspace: Workspace) -> None:
    """A page that repeats its request, because it lost the answer, deletes nothing twice."""
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
async def test_client_that_cannot_ask_has_the_call_refused(workspace: Workspace, where: str) -> None:
    """The model reads why, and goes on: nothing runs unasked."""
    path, more, server = ELSEWHERE[where]
    async with provider(WISH, Reply(text("I cannot."))) as fake, serving(prepare(workspace, fake.base, server).build()) as client:
        answered = await client.post(path, messages=[{"role": "user", "content": "Delete it"}], **more)
    assert answered.status == 200
    assert b"I cannot." in answered.body
    assert results(fake.requests[1]) == {
        "c1": "Not run: the user has to allow this call, and this client cannot ask for it.",
        "c2": "Oslo: 25°C",
    }


async def test_whole_answer_has_the_question_and_the_late_result(workspace: Workspace) -> None:
    """`stream: false`: the parts say both."""
    async with provider(WISH, Reply(text("Done."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        asked = (await client.post(messages=page.messages, stream=False)).json
        part = next(one for one in asked["parts"] if one["type"] == "tool-delete_order")
        assert part["state"] == "approval-requested"
        part |= {"state": "approval-responded", "approval": {**part["approval"], "approved": True}}
        done = (await client.post(messages=[*page.messages, asked], stream=False)).json
    kinds = [(one["type"], one.get("state"), one.get("output")) for one in done["parts"]]
    assert kinds[:2] == [("step-start", None, None), ("tool-delete_order", "output-available", DELETED)]


async def test_log_names_a_call_that_ran_late(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """Operators see it among the tools of the request that allowed it."""
    async with provider(WISH, Reply(text("Done."))) as fake, serving(prepare(workspace, fake.base).build()) as client:
        page = Page(client)
        await page.submit()
        page.decide(approved=True)
        with caplog.at_level("INFO", "router.access"):
            await page.submit()
    fields: list[Any] = [vars(one).get("fields", {}) for one in caplog.records]
    assert [[run["tool"] for run in one["tools"]] for one in fields if "tools" in one] == [["delete_order"]]


def test_key_that_could_be_guessed_is_refused(workspace: Workspace) -> None:
    """As an admin key is."""
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
async def test_call_waits_for_the_user_only_where_the_tools_own_rule_says_so(workspace: Workspace, granted: str) -> None:
    """The small sum is paid at once. The large one waits for the user, and is paid once; in a process of its own, too."""
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


async def test_other_arguments_than_those_that_were_asked_about_do_not_run(workspace: Workspace) -> None:
    """The question is signed as that of a tool set with `approve: always`."""
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


async def test_tool_whose_condition_fails_asks(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in the condition does not let a call run; a client that cannot ask has it refused, and the log says where it was."""
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
def test_condition_that_cannot_be_asked_is_refused_at_load(workspace: Workspace, condition: str, sentence: str) -> None:
    """`router check` shows its tool."""
    source = CAUTIOUS.replace('lambda amount, to: amount > 100 or to == "nobody" and 1 / 0', condition)
    later = "\n\nasync def _later(amount: float, to: str) -> bool:\n    return True\n"
    workspace.write("tools/till.py", source.replace("needs_approval\n", f"needs_approval\n{later}", 1))
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", "targets: [a]\n    tools: [till]"))
    with pytest.raises(ConfigError) as caught:
        workspace.build()
    (complaint,) = caught.value.complaints
    assert complaint.message.startswith(sentence)
    assert complaint.place.file == "tools/till.py"
