"""The admin API behind the cockpit: the last hour, the pending edit, rollback and drills, and the log line of each operator action."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from router.admin.hour import MAX_TARGETS, SLOT_SECONDS, SLOTS, Hour, percentile, summed
from router.attempt import Attempt
from router.journal.entry import Entry
from router.journal.metrics import Metrics
from router.journal.ring import Ring
from router.journal.rows import BOUNDS, bucket
from tests.conftest import AS_OPERATOR, KEYED, Client, Workspace, routes, serving
from tests.support.process import process
from tests.support.services import PATIENCE

HI = "a: {script: [{text: Hello}]}\nb: {script: [{text: Hello}]}"


async def post(client: Client, path: str, body: object = None) -> tuple[int, Any]:
    """POST as an operator; return the status and the JSON body."""
    async with client.session.post(client.base + path, headers=AS_OPERATOR, json=body) as response:
        return response.status, await response.json()


async def test_hour_counts_answers_cache_hits_tokens_and_each_targets_failures(workspace: Workspace) -> None:
    """Of three questions, one of them a cache hit, the hour counts answers, tokens, and the attempts and failure rate of each target."""
    targets = "a: {script: [{fail: down}]}\nb: {script: [{text: Hello}]}"
    workspace.write("routes.yaml", routes(targets, "targets: [a, b]\n    retry: {attempts: 1}\n    cache: {ttl: 1h}"))
    async with serving(workspace.build()) as client:
        for text in ("One", "Two", "Two"):
            await client.ask(text, stream=False)
        found = (await client.get("/admin/hour")).json
    assert (len(found["slots"]), found["slot_seconds"]) == (SLOTS, SLOT_SECONDS)
    sums = {
        name: sum(slot[name] for slot in found["slots"]) for name in ("answers", "failures", "cache_asked", "cache_hits", "output_tokens")
    }
    assert sums == {"answers": 3, "failures": 0, "cache_asked": 3, "cache_hits": 1, "output_tokens": 2}
    assert (found["targets"]["a"]["tries"], found["targets"]["a"]["failure_rate"]) == (2, 1.0)
    assert (found["targets"]["b"]["failure_rate"], found["targets"]["a"]["first_token_p95"]) == (0.0, None)
    assert found["targets"]["b"]["first_token_p50"] > 0


async def test_injected_fault_counts_for_no_target_in_the_hour(workspace: Workspace) -> None:
    """A request with X-Router-Fault counts as one rescue in the hour, and as no attempt of any target."""
    async with serving(workspace.write("routes.yaml", routes(HI, "targets: [a, b]")).build()) as client:
        body = {"messages": [{"role": "user", "content": "Hi"}], "stream": False}
        async with client.session.post(f"{client.base}/api/chat", json=body, headers={"x-router-fault": "cut"}) as response:
            assert response.status == 200
            await response.read()
        found = (await client.get("/admin/hour")).json
    assert sum(slot["rescues"] for slot in found["slots"]) == 1
    assert found["targets"] == {}


def made_hour(clock: Callable[[], float]) -> tuple[Hour, Metrics, Ring]:
    """Return an hour with this clock, the metrics that count for it, and the ring that has its running requests."""
    metrics, ring = Metrics(clock=clock), Ring()
    return Hour(metrics.rows, ring.running, clock), metrics, ring


def over(hour: Hour, metrics: Metrics, ring: Ring, outcome: str = "stop") -> None:
    """Count one request in this hour, begun and ended now with this outcome."""
    entry = Entry("r", "g")
    hour.begin(entry)
    entry.route, entry.outcome = "chat-model", outcome
    metrics.count(entry)
    ring.keep(entry)


def test_hour_drops_slots_older_than_an_hour() -> None:
    """After three hours of requests, the report has one hour of slots at most; after ten hours without requests, all slots are zero."""
    now = [1_000_000.0]
    hour, metrics, ring = made_hour(lambda: now[0])
    for _ in range(3 * SLOTS):
        over(hour, metrics, ring)
        now[0] += SLOT_SECONDS
    metrics.rows.settle()
    report = hour.report()
    assert len(report["slots"]) <= SLOTS
    found = summed([report], now[0])["slots"]
    assert sum(slot["answers"] for slot in found) == SLOTS - 1
    assert found[-1] == {**dict.fromkeys(found[-1], 0), "at": now[0] // SLOT_SECONDS * SLOT_SECONDS}
    now[0] += 10 * 3600
    assert sum(slot["answers"] for slot in summed([hour.report()], now[0])["slots"]) == 0


def test_hours_of_workers_are_added_slot_by_slot() -> None:
    """The sum of two workers' hours adds answers, failures and open requests of each slot, also of a slot that one of them lacks."""
    now = [2_000_000.0]
    one, other = made_hour(lambda: now[0]), made_hour(lambda: now[0])
    over(*one)
    over(*other, "no_answer")
    now[0] += SLOT_SECONDS
    over(*other)
    for _, metrics, _ in (one, other):
        metrics.rows.settle()
    *_, before, last = summed([one[0].report(), other[0].report()], now[0])["slots"]
    assert (before["answers"], before["failures"], before["open"], last["answers"]) == (2, 1, 2, 1)


def test_slot_counts_attempts_at_a_bounded_number_of_targets() -> None:
    """A slot of the hour counts attempts at its first MAX_TARGETS targets; those at further ones are in no count but the request's."""
    hour, metrics, ring = made_hour(lambda: 3_000_000.0)
    names = [str(number) for number in range(MAX_TARGETS + 1)]
    for name in (*names, "0"):
        attempt = Attempt(name, "status_503" if name == "1" else "ok", 0.1, first=0.1)
        entry = Entry("r", "g", route="chat-model", outcome="stop", attempts=(attempt,), observers=(metrics.count, ring.keep))
        hour.begin(entry)
        entry.close()
    metrics.rows.settle()
    told = summed([hour.report()], 3_000_000.0)
    found = {name: (target["tries"], target["failure_rate"]) for name, target in told["targets"].items()}
    assert found == {**dict.fromkeys(names[:-1], (1, 0.0)), "0": (2, 0.0), "1": (1, 1.0)}
    assert (told["slots"][-1]["answers"], told["slots"][-1]["open"]) == (MAX_TARGETS + 2, 1)


@pytest.mark.parametrize("seconds", [0.0, 0.0004, 0.00115, 1e9])
def test_bucket_of_any_time_is_one_of_the_table(seconds: float) -> None:
    """Times below a millisecond are in bucket 0, those at a bound in the bucket that begins there, and the longest in the last one."""
    assert bucket(seconds) == {0.00115: 1, 1e9: len(BOUNDS)}.get(seconds, 0)


def test_percentile_is_exact_to_eight_percent() -> None:
    """A percentile of the hour's histogram differs by 8 % at most from the seconds recorded, from 1 ms to 160 s; it is None without any."""
    for seconds in (0.001, 0.02, 0.4, 8.0, 160.0):
        found = percentile({bucket(seconds): 1}, 0.95)
        assert found == pytest.approx(seconds, rel=0.08)
    assert percentile({bucket(0.1): 90, bucket(5.0): 10}, 0.5) == pytest.approx(0.1, rel=0.08)
    assert percentile({bucket(0.1): 90, bucket(5.0): 10}, 0.95) == pytest.approx(5, rel=0.08)
    assert percentile({}, 0.5) is None


async def test_pending_edit_is_described_and_not_served(workspace: Workspace) -> None:
    """The page /admin/edit describes a valid edit in sentences and an invalid one by its mistakes; the old configuration still serves."""
    file = workspace.write("routes.yaml", routes(HI, "targets: [a, b]", "server: {reload: off}\n")).root / "routes.yaml"
    async with serving(workspace.build(), follows=file) as client:
        assert (await client.get("/admin/edit")).json["changes"] == []
        workspace.write("routes.yaml", routes(HI, "targets: [b, a]", "server: {reload: off}\n"))
        edit = (await client.get("/admin/edit")).json
        assert edit["changes"] == ["chat-model: first target a → b"]
        assert edit["digest"] != edit["live"]
        workspace.write("routes.yaml", routes(HI, "targets: []"))
        assert (await client.get("/admin/edit")).json["complaints"]
        workspace.write("routes.yaml", routes(HI, "targets: [c]"))
        (complaint,) = (await client.get("/admin/edit")).json["complaints"]
        assert complaint["text"].endswith("^")
        assert "no target is named `c`" in complaint["text"]
        assert (await client.ask()).headers["x-router-target"] == "a"


async def test_rollback_serves_the_previous_configuration_until_the_next_reload(workspace: Workspace) -> None:
    """A rollback serves the previous generation without changing the files, so that the next reload serves the edit again."""
    off = "server: {reload: off}\n"
    file = workspace.write("routes.yaml", routes(HI, "targets: [a, b]", off)).root / "routes.yaml"
    async with serving(workspace.build(), follows=file) as client:
        assert (await post(client, "/admin/return"))[0] == 409
        first = (await client.ask()).headers["x-router-generation"]
        workspace.write("routes.yaml", routes(HI, "targets: [b, a]", off))
        assert (await post(client, "/admin/reload"))[0] == 200
        assert (await client.ask()).headers["x-router-target"] == "b"
        status, said = await post(client, "/admin/return")
        assert (status, said["generation"], said["silent"]) == (200, first, [])
        assert (await client.ask()).headers["x-router-target"] == "a"
        assert (await client.get("/admin/edit")).json["changes"] == ["chat-model: first target a → b"]
        assert (await post(client, "/admin/reload"))[0] == 200
        assert (await client.ask()).headers["x-router-target"] == "b"


async def test_drills_endpoint_returns_the_attempts_and_faults_of_each_drill(workspace: Workspace) -> None:
    """POST /admin/drills returns each drill's attempts, and a sentence for each expectation that failed."""
    more = (
        "drills:\n  - {name: good, given: {a: cut}, ask: {model: chat-model}, expect: {tried: [a cut, b ok]}}\n"
        "  - {name: bad, ask: {model: chat-model}, expect: {served_by: b}}\n"
    )
    async with serving(workspace.write("routes.yaml", routes(HI, "targets: [a, b]", more)).build()) as client:
        status, said = await post(client, "/admin/drills")
    assert status == 200
    good, bad = said["drills"]
    assert (good["name"], good["faults"], good["tried"]) == ("good", [], ["a cut", "b ok"])
    assert "served by b was expected" in bad["faults"][0]


@pytest.mark.parametrize("path", ["/admin/return", "/admin/drills", "/admin/reload", "/admin/targets/b"])
async def test_each_action_needs_the_key_and_is_logged_with_its_author(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Each action is 401 without the admin key; with it, the log line `operator acts` has the client's address and the kind of key."""
    file = workspace.write("routes.yaml", routes(HI, "targets: [a]", "server: {reload: off}\n")).root / "routes.yaml"
    async with serving(workspace.build(), follows=file) as client:
        async with client.session.post(client.base + path, json={"state": "drain"}) as response:
            assert response.status == 401
        workspace.write("routes.yaml", routes(HI, "targets: [b]", "server: {reload: off}\n"))
        await post(client, "/admin/reload")
        with caplog.at_level(logging.INFO, "router.server"):
            status, _ = await post(client, path, {"state": "drain"} if "targets" in path else None)
        assert status == 200
    acts = [record.fields for record in caplog.records if record.message == "operator acts"]  # type: ignore[attr-defined]
    assert (acts[-1]["peer"], acts[-1]["key"]) == ("127.0.0.1", "of this run")


async def test_hour_records_and_rollback_cover_all_workers(workspace: Workspace) -> None:
    """With two workers, either one returns the last hour's counts of both, finds each request's record, and rolls both back a generation."""
    workspace.write("routes.yaml", routes(HI, "targets: [a, b]", f"server: {{reload: off, {KEYED}}}\n"))
    async with process(workspace.root, "--workers", "2") as router:
        async with asyncio.timeout(PATIENCE):
            while len((await router.get("/admin/config", **AS_OPERATOR))[1]["workers"]) < 2:
                await asyncio.sleep(0.05)
        answers = await asyncio.gather(*(router.ask() for _ in range(12)))
        first = {headers["x-router-generation"] for _, headers, _ in answers}
        async with asyncio.timeout(PATIENCE):  # a request is counted once its last byte has left
            while (found := (await router.get("/admin/hour", **AS_OPERATOR))[1])["targets"].get("a", {}).get("tries") != 12:
                await asyncio.sleep(0.05)
        assert sum(slot["answers"] for slot in found["slots"]) == 12
        for _, headers, _ in answers:
            status, record = await router.get(f"/api/requests/{headers['x-request-id']}")
            assert (status, record["target"]) == (200, "a")
        workspace.write("routes.yaml", routes(HI, "targets: [b, a]", f"server: {{reload: off, {KEYED}}}\n"))
        assert (await router.post("/admin/reload", **AS_OPERATOR))[0] == 200
        _, returned = await router.post("/admin/return", **AS_OPERATOR)
        assert set(returned["workers"].values()) == first
        assert (len(returned["workers"]), returned["silent"]) == (2, [])
        answers = await asyncio.gather(*(router.ask() for _ in range(12)))
        assert {headers["x-router-generation"] for _, headers, _ in answers} == first
        assert await router.ended() == 0
