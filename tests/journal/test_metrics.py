"""/metrics, read by Prometheus' own parser, with one worker and with several."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import AS_OPERATOR, OPERATOR, ROOT, Workspace, direct_target, routes, serving
from tests.support.process import Process, process
from tests.support.provider import Reply, error, provider, text

TARGETS = """
a: {script: [{text: Hello}, {pause: 20ms}, {text: ' you'}]}
b: {script: [{fail: down}]}
"""
ROUTES = """
  broken: {pipeline: chat, targets: [b], retry: {attempts: 1}, breaker: {failures: 1000}}
  rescued: {pipeline: chat, targets: [b, a], retry: {attempts: 1}, breaker: {failures: 1000}}
"""
STALLS = "a: {script: [{call: sleepy, arguments: {}}]}"
SLEEPY = '''
import time


async def sleepy() -> str:
    """Hold the loop."""
    time.sleep(2)
    return "awake"
'''

COUNTED = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from router.journal.entry import Entry
from router.journal.metrics import Metrics

made = Metrics()
for _ in range(2):
    made.count(Entry("id", "generation", began=1.0, route="chat-model", outcome="stop", ended=2.5))
files = CollectorRegistry()
MultiProcessCollector(files)
print(generate_latest(files).decode())
"""


def read(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return all samples of a page: name and labels → value. Assert that no family and no sample comes twice."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    families: set[str] = set()
    for family in text_string_to_metric_families(page):
        assert family.name not in families
        families.add(family.name)
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


async def samples(router: Process) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the current samples of this router."""
    return read((await router.get("/metrics", **AS_OPERATOR))[1])


async def serving_pids(router: Process) -> list[int]:
    """Return the process ids of the workers; an empty list while the worker that is asked is ending."""
    try:
        return [one["pid"] for one in (await router.get("/admin/config", **AS_OPERATOR))[1]["workers"]]
    except aiohttp.ClientError:
        return []


@pytest.mark.parametrize("workers", [1, 4])
async def test_metric_totals_are_the_same_with_one_worker_and_with_four(workspace: Workspace, workers: int) -> None:
    """Requests, attempts, tokens and times have the same totals with one worker and with four, from any worker.
    With four, the first three stay the same after one worker was killed and replaced.
    """
    workspace.write("routes.yaml", routes(TARGETS) + ROUTES)
    async with process(workspace.root, "--workers", str(workers)) as router:
        async with asyncio.timeout(240):
            while (await samples(router))["router_workers", ()] != workers:
                await asyncio.sleep(0.05)
        asked = ["chat-model"] * 12 + ["broken"] * 4 + ["rescued"] * 8
        await asyncio.gather(*(router.ask("Hi", model) for model in asked))
        told = await samples(router)
        for _ in range(workers):
            told = await samples(router)
            assert told["router_requests_total", (("outcome", "stop"), ("route", "chat-model"))] == 12
            assert told["router_requests_total", (("outcome", "no_answer"), ("route", "broken"))] == 4
            assert told["router_requests_total", (("outcome", "stop"), ("route", "rescued"))] == 8
            assert told["router_attempts_total", (("outcome", "status_503"), ("target", "b"))] == 12
            assert told["router_attempts_total", (("outcome", "ok"), ("target", "a"))] == 20
            assert told["router_tokens_total", (("direction", "output"), ("route", "chat-model"))] == 24
            assert told["router_time_to_first_token_seconds_count", (("route", "chat-model"),)] == 12
            assert told["router_time_between_tokens_seconds_count", (("route", "chat-model"),)] == 12
            assert told["router_overhead_seconds_count", ()] == 12
            assert told["router_open_streams", ()] == 0
            generations = [value for (name, _), value in told.items() if name == "router_generation_info"]
            assert generations == [workers]
        if workers > 1:
            died = (await router.get("/admin/config"))[1]["workers"][0]["pid"]
            os.kill(died, signal.SIGKILL)
            async with asyncio.timeout(240):
                while died in (pids := await serving_pids(router)) or len(pids) < workers:
                    await asyncio.sleep(0.1)
            again = await samples(router)
            for name in ("router_requests_total", "router_attempts_total", "router_tokens_total"):
                assert {key: value for key, value in again.items() if key[0] == name} == {
                    key: value for key, value in told.items() if key[0] == name
                }


async def test_counters_keep_the_counts_of_a_dead_worker(workspace: Workspace) -> None:
    """Counters of reloads, failed reloads, event loop stalls and requests stay the same after every worker was killed and replaced."""
    workspace.write("tools/sleepy.py", SLEEPY)
    route = "targets: [a]\n    tools: [sleepy]\n    max_steps: 1"
    workspace.write("routes.yaml", routes(STALLS, route, f"server: {{reload: off, admin: {{key: {OPERATOR}}}}}\n"))
    names = ("router_reloads_total", "router_reload_failures_total", "router_loop_stalls_total", "router_requests_total")

    def counters(told: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> dict[str, float]:
        return {name: sum(value for (one, _), value in told.items() if one == name) for name in names}

    async with process(workspace.root, "--workers", "2") as router:
        async with asyncio.timeout(240):
            while len(await serving_pids(router)) < 2:
                await asyncio.sleep(0.05)
        for written in (
            routes(STALLS, "targets: [nobody]"),
            routes(STALLS, route, f"server: {{reload: off, keep_alive: 9s, admin: {{key: {OPERATOR}}}}}\n"),
        ):
            workspace.write("routes.yaml", written)
            await router.post("/admin/reload", **AS_OPERATOR)
        await router.ask()
        told = counters(await samples(router))
        assert told == {names[0]: 2, names[1]: 2, names[2]: 1, names[3]: 1}
        for died in await serving_pids(router):
            os.kill(died, signal.SIGKILL)
            async with asyncio.timeout(240):
                while died in (pids := await serving_pids(router)) or len(pids) < 2:
                    await asyncio.sleep(0.1)
        assert counters(await samples(router)) == told


def test_requests_are_counted_at_once_in_the_metrics_folder_of_a_host_application(tmp_path: Path) -> None:
    """With PROMETHEUS_MULTIPROC_DIR of the host application, each request is counted in its folder before any metrics page is read."""
    asked = subprocess.run(
        [sys.executable, "-c", COUNTED],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    told = read(asked.stdout)
    assert told["router_requests_total", (("outcome", "stop"), ("route", "chat-model"))] == 2
    assert told["router_request_seconds_sum", (("route", "chat-model"),)] == 3
    assert told["router_request_seconds_bucket", (("le", "1.0"), ("route", "chat-model"))] == 0
    assert told["router_request_seconds_bucket", (("le", "2.5"), ("route", "chat-model"))] == 2


async def test_replacement_worker_serves_the_configuration_of_the_others(workspace: Workspace) -> None:
    """A worker that replaces a killed one serves the live configuration, while the files hold an invalid or a newer one."""
    workspace.write("routes.yaml", routes(TARGETS, more="server: {reload: off}\n"))
    async with process(workspace.root, "--workers", "2") as router:
        async with asyncio.timeout(240):
            while len(await serving_pids(router)) < 2:
                await asyncio.sleep(0.05)
        live = (await router.get("/admin/config"))[1]["live"]["digest"]
        for written in (routes(TARGETS, "targets: [nobody]"), routes(TARGETS, more="server: {reload: off, keep_alive: 9s}\n")):
            workspace.write("routes.yaml", written)
            died = (await serving_pids(router))[0]
            os.kill(died, signal.SIGKILL)
            async with asyncio.timeout(240):
                while died in (pids := await serving_pids(router)) or len(pids) < 2:
                    await asyncio.sleep(0.1)
            assert {one["generation"] for one in (await router.get("/admin/config"))[1]["workers"]} == {live}
            assert (await router.ask())[0] == 200


async def test_gauges_show_streams_targets_breakers_and_drains(workspace: Workspace) -> None:
    """Gauges show an open stream, a target in flight, an open and a closed breaker, and a drained target."""
    async with provider(error(401)) as denied, provider(Reply((*text("a")[:2],), hold=True)) as holding:
        targets = direct_target(denied.base) + direct_target(holding.base, "b")
        workspace.write("routes.yaml", routes(targets, "targets: [a, b]"))
        async with serving(workspace.build()) as client:
            asked = asyncio.create_task(client.ask())
            await holding.until(lambda: holding.open)
            async with client.session.post(f"{client.base}/admin/targets/a", headers=AS_OPERATOR, json={"state": "drain"}) as response:
                assert response.status == 200
            told = read((await client.get("/metrics")).body.decode())
            assert told["router_open_streams", ()] == 1
            assert told["router_target_busy", (("target", "b"),)] == 1
            assert told["router_breaker_state", (("target", "a"),)] == 2
            assert told["router_breaker_state", (("target", "b"),)] == 0
            assert told["router_target_drained", (("target", "a"),)] == 1
            asked.cancel()


async def test_metric_labels_take_no_value_that_a_client_or_model_made_up(workspace: Workspace) -> None:
    """Unknown models, chat ids and ungranted tool names are in no label: the route is empty for the first, and the tool `other`."""
    workspace.write(
        "routes.yaml", routes("a: {script: [{call: made-up, arguments: {}}]}", "targets: [a]\n    tools: [weather]\n    max_steps: 1")
    )
    async with serving(workspace.build()) as client:
        counted: dict[str, set[str]] = defaultdict(set)
        for number in range(20):
            await client.ask(model=f"unknown-{number}")
            await client.ask(id=f"chat-{number}")
        for name, labels in read((await client.get("/metrics")).body.decode()):
            for label, value in labels:
                counted[label].add(value)
            assert "unknown-" not in str(labels)
            assert "made-up" not in str(labels)
            assert name.startswith("router_")
        assert counted["route"] == {"", "chat-model"}
        assert counted["tool"] == {"other"}


async def test_every_metric_is_documented(workspace: Workspace) -> None:
    """The metrics in docs/observability.md are exactly those that /metrics serves."""
    served = routes(
        "a: {script: [{text: Hello}]}", "targets: [a]\n    tools: [{mcp: [no-such-command]}]", "server: {redis: 'redis://127.0.0.1:1/0'}\n"
    )
    async with serving(workspace.write("routes.yaml", served).build()) as client:
        page = (await client.get("/metrics")).body.decode()
    there = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
    documented = set(re.findall(r"`(router_[a-z_]+)`", (ROOT / "docs/observability.md").read_text(encoding="utf-8")))
    assert there == documented
