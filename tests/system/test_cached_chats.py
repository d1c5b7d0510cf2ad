"""Twenty chats of fifteen turns with tools, over three simulated providers with prompt caches and two replicas.

Their prompts are found in the providers' caches, and the logged costs are what the providers bill. One client disconnects during an answer,
one answer is continued by another provider, one is hedged, and the configuration is edited once.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pytest

from router.journal.bill import Totals, summed
from router.targets.table import entries
from tests.conftest import AS_OPERATOR, Client, Workspace, parsed_lines, routes, serving
from tests.support.prompt_caches import Caches, Served, caches

CHATS, TURNS = 20, 15
SECONDS = 45.0
"""Time from turn to turn on the providers' clock: a whole chat lasts longer than an unread prompt stays cached."""
PROMPT = "You are a weather assistant. " + "Answer in one sentence, and name the city and the day that you speak of. " * 150
LONG = "What will it be like tomorrow, and the day after, in the places that we spoke of? " * 12
"""Some 250 tokens: a cache hit on prompt and tools alone, without the chat, is visible in the counts."""
MODELS = {"anthropic": "anthropic/claude-sonnet-4-5", "openai": "openai/gpt-4o", "gemini": "gemini/gemini-2.5-flash"}
CUT, RESCUED, HEDGED = ("chat-3", 5), ("chat-8", 6), ("chat-11", 10)
"""(Chat, turn) at which the client disconnects, the answer breaks off, or the answer is hedged."""
HEDGE = "{after: 3s, at_most: 100%}"
"""The hedge of the route that one turn asks; on a busy machine a call may take a second."""


SPARE = "  spare: {script: [{text: The weather is fine.}]}\n"


def bill(served: Served) -> float:
    """Return the dollars that a provider charges for one request at the table's prices, with cache reads and writes at their own."""
    price = entries()[MODELS[served.kind]].stated
    fresh = served.prompt - served.read - served.written
    cost = fresh * price["input_cost_per_token"] + served.read * price["cache_read_input_token_cost"]
    return cost + served.written * price.get("cache_creation_input_token_cost", 0) + served.output * price["output_cost_per_token"]


@dataclass
class Chat:
    """A chat and the messages that its page holds. `whole`: whether the page also sends tool calls and results back."""

    name: str
    """The chat's id at the front end."""
    whole: bool
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def ask(self, client: Client, turn: int, fake: Caches) -> None:
        """Take one turn: send the next message, and keep the answer; at the turn CUT, disconnect instead."""
        self.messages.append({"role": "user", "content": f"{self.name} turn {turn}: {LONG} tools {1 + len(self.name) % 3}"})
        model = "hedged" if (self.name, turn) == HEDGED else "chat-model"
        body = {"id": self.name, "messages": self.messages, "model": model}
        if (self.name, turn) == CUT:
            await self._leave(client, body, fake)
            return
        async with client.session.post(f"{client.base}/api/chat", json=body) as response:
            assert response.status == 200
            self._keep(parsed_lines(await response.read()))

    async def _leave(self, client: Client, body: dict[str, Any], fake: Caches) -> None:
        """Send a request, and disconnect when the answer has begun."""
        async with client.session.post(f"{client.base}/api/chat", json=body) as response:
            async with asyncio.timeout(240):
                await fake.held.wait()
                while b"0:" not in await response.content.readline():
                    pass
            response.close()

    def _keep(self, lines: Sequence[tuple[str, dict[str, Any]]]) -> None:
        calls = [one for code, one in lines if code == "9"]
        words = "".join(one["textDelta"] for code, one in lines if code == "0")
        if self.whole and calls:
            called = [
                {"id": one["toolCallId"], "type": "function", "function": {"name": one["toolName"], "arguments": json.dumps(one["args"])}}
                for one in calls
            ]
            self.messages.append({"role": "assistant", "content": None, "tool_calls": called})
            self.messages += [
                {"role": "tool", "tool_call_id": one["toolCallId"], "content": one["result"]} for code, one in lines if code == "a"
            ]
        self.messages.append({"role": "assistant", "content": words})


def written(workspace: Workspace, fake: Caches, idle: str = "15s") -> Workspace:
    """Write the configuration. `idle`: its idle timeout, which the edit changes."""
    targets = "\n".join(
        f"{kind}: {{model: {model}, api_base: '{fake.base(kind)}', api_key: sk-{kind}{', prompt_cache: on' if kind == 'openai' else ''}}}"
        for kind, model in MODELS.items()
    )
    route = f"targets: [[{', '.join(MODELS)}]]\n    tools: [weather]\n    timeout: {{idle: {idle}}}"
    hedged = f"  hedged:\n    pipeline: chat\n    {route}\n    hedge: {HEDGE}\n"
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n  - history: {keep: 60}\n").write("pipelines/chat.j2", PROMPT)
    return workspace.write("routes.yaml", routes(targets, route, hedged))


async def test_chats_find_their_prompts_cached_and_cost_what_is_billed(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """At least 95 % of the prompts that could be read from a provider's cache are, and `cost_usd` minus estimates equals the bill."""
    caplog.set_level(logging.INFO, "router.access")
    chats = [Chat(f"chat-{number}", whole=bool(number % 2)) for number in range(CHATS)]
    async with caches() as fake:
        fake.faults = {(CUT[0], 2 * CUT[1] + 2): "hold", (RESCUED[0], 2 * RESCUED[1] + 2): "break", (HEDGED[0], 2 * HEDGED[1] + 2): "late"}
        path = written(workspace, fake).root / "routes.yaml"
        async with serving(workspace.build(), path) as one, serving(workspace.build(), path) as other:
            for replica in (one, other):  # who imports a library meanwhile may wait too long for a connection
                async with asyncio.timeout(120):
                    while (await replica.get("/readyz")).status != 200:
                        await asyncio.sleep(0.05)
            for turn in range(TURNS):
                if turn == 8:
                    written(workspace, fake, "16s")
                    for replica in (one, other):
                        async with replica.session.post(f"{replica.base}/admin/reload", headers=AS_OPERATOR) as response:
                            assert response.status == 200
                replicas = [(one, other)[(number + turn) % 2] for number in range(CHATS)]
                await asyncio.gather(*(chat.ask(replica, turn, fake) for chat, replica in zip(chats, replicas, strict=True)))
                fake.now += SECONDS
            async with asyncio.timeout(240):
                while one.edge.admin.chat.running or other.edge.admin.chat.running:
                    await asyncio.sleep(0.01)
            spent = summed([cast("Totals", (await replica.get("/admin/spend")).json) for replica in (one, other)])
    assert fake.refused == []
    assert {served.kind for served in fake.served} == set(MODELS)
    eligible = [served for served in fake.served if served.eligible]
    assert len(eligible) > 0.9 * 2 * CHATS * TURNS
    assert sum(served.hit for served in eligible) >= 0.95 * len(eligible)
    check_the_bill(fake, [cast("Any", record).fields for record in caplog.records if record.name == "router.access"], spent)


def check_the_bill(fake: Caches, logged: Sequence[dict[str, Any]], spent: Totals) -> None:
    """Check that each logged cost is its providers' bill, and that only the disconnected, the broken and the hedged call are estimated."""
    answers: dict[tuple[str, int], list[Served]] = {}
    for served in fake.served:
        answers.setdefault((served.chat, served.turn), []).append(served)
    counted = sorted(sum(bill(call) for call in calls if call.reported) for calls in answers.values())
    uncounted = {key: calls for key, calls in answers.items() if not all(call.reported for call in calls)}
    assert len(answers) == len(logged) == CHATS * TURNS
    assert set(uncounted) == {CUT, RESCUED, HEDGED}
    estimated = [one for one in logged if one["estimated"]]
    assert sorted((one["route"], one["outcome"]) for one in estimated) == [
        ("chat-model", "client_left"),
        ("chat-model", "stop"),
        ("hedged", "stop"),
    ]
    assert sorted(one["cost_usd"] - (one["estimated_cost_usd"] or 0) for one in logged) == pytest.approx(counted, abs=1e-6)
    assert sum(one["cached_tokens"] for one in logged if not one["estimated"]) == sum(
        call.read for key, calls in answers.items() if key not in uncounted for call in calls
    )
    guessed = sorted(one["estimated_cost_usd"] for one in estimated)
    assert guessed == [
        pytest.approx(one, rel=0.2) for one in sorted(sum(bill(one) for one in calls if not one.reported) for calls in uncounted.values())
    ]
    for table in (spent["routes"], spent["targets"], spent["callers"]):
        assert sum(row["estimated_cost_usd"] for row in table.values()) == pytest.approx(sum(guessed), abs=1e-6)
        assert sum(row["cost_usd"] for row in table.values()) == pytest.approx(sum(one["cost_usd"] for one in logged), abs=1e-6)


@pytest.mark.parametrize("fault", ["hold", "break", "late"])
@pytest.mark.parametrize("kind", MODELS)
async def test_cost_of_an_uncounted_call_is_estimated_from_the_chat_before_it(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, kind: str, fault: Literal["hold", "break", "late"]
) -> None:
    """The estimated cost of a call without reported usage (disconnect, break or hedge) is within 20 % of the provider's bill."""
    caplog.set_level(logging.INFO, "router.access")
    chat = Chat(CUT[0] if fault == "hold" else "chat-9", whole=False)
    async with caches() as fake:
        fake.faults = {(chat.name, 2 * CUT[1] + 2): fault}
        written(workspace, fake)
        text = (workspace.root / "routes.yaml").read_text().replace(f"[[{', '.join(MODELS)}]]", f"[{kind}, spare]")
        more = "\n    hedge: {after: 1s, at_most: 100%}" if fault == "late" else ""
        workspace.write(
            "routes.yaml", text.replace("tools: [weather]", f"tools: [weather]{more}", 1).replace("targets:\n", f"targets:\n{SPARE}", 1)
        )
        async with serving(workspace.build()) as client:
            async with asyncio.timeout(120):
                while (await client.get("/readyz")).status != 200:
                    await asyncio.sleep(0.05)
            for turn in range(CUT[1] + 1):
                await chat.ask(client, turn, fake)
            async with asyncio.timeout(240):
                while client.edge.admin.chat.running:
                    await asyncio.sleep(0.01)
    (last,) = [
        one for one in (cast("Any", record).fields for record in caplog.records if record.name == "router.access") if one["estimated"]
    ]
    (untold,) = [one for one in fake.served if not one.reported]
    assert untold.kind == kind
    assert untold.read > 0.9 * untold.prompt
    assert last["estimated_cost_usd"] == pytest.approx(bill(untold), rel=0.2)
