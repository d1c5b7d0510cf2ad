"""Running of the cases: those of one lane and kind, side by side through one router."""

import asyncio
import gc
import json
import logging
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

from router.chat import Ask
from router.journal.log import JsonLines
from tests.conftest import CHAT, Answered, Client, Workspace, serving
from tests.support.upstream import WORDS, Upstream, Upstreams, upstreams, well
from tests.system.faults.case import COMPANY, KINDS, LANES, Case, Kind, Lane, Outcome
from tests.system.faults.models import KEY, TOOLS, flood
from tests.system.faults.rows import rows

SLACK = 240.0
"""Seconds that a loaded machine may take beyond a case's own time. Less than the timeouts of a case that does not test them."""
AT_ONCE: dict[Lane, dict[str, int]] = {
    "openai": {"waits": 24, "works": 3},
    "anthropic": {"waits": 24, "works": 3},
    "gemini": {"waits": 24, "works": 3},
    "litellm": {"waits": 6, "works": 3},
}
"""Lane → most cases side by side: `waits` are those that mostly wait, `works` those that compute and must not delay others."""
CASES = [
    Case(row, lane, kind, company)
    for lane in LANES
    for kind in KINDS
    for row in rows()
    for company, check in zip(COMPANY, (row.spare, row.alone), strict=True)
    if check is not None and kind in row.kinds and lane in row.lanes
]


def declared(cases: list[Case], there: Upstreams) -> str:
    """Return the routes.yaml of these cases as JSON, with a route and targets for each, and register their upstreams."""
    targets: dict[str, object] = {}
    routes: dict[str, object] = {}
    for case in cases:
        wire, provider, fixed = LANES[case.lane]
        for index, target in enumerate(case.targets()):
            name = f"{case.name}/{target}"
            place = case.row.fault if isinstance(case.row.fault, str) and target == "a" else "open"
            windows = {"context_window": case.row.windows[index]} if case.row.windows else {}
            targets[name] = {"model": f"{provider}/{name}", "api_base": f"{there.addresses[place]}/v1", "api_key": KEY, **fixed, **windows}
            fault = well if isinstance(case.row.fault, str) else case.row.fault
            there.known[name] = Upstream(wire, fault if target == "a" else case.row.behind, case.row.said, trap=case.name)
        there.known[case.name] = Upstream(wire, well, case.row.said)
        routes[case.name] = {
            "pipeline": "chat",
            "targets": [f"{case.name}/{target}" for target in case.targets()],
            "tools": ["trials"] if case.kind == "tools" else [],
            "timeout": case.row.timeout,
            "retry": {"attempts": 2, "backoff": "1ms..200ms"},
            **case.row.route,
        }
    return json.dumps({"targets": targets, "routes": routes})


class Log(logging.Handler):
    """A log handler that keeps all lines, and by route the attempts of its request and unexpected errors."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.attempts: dict[str, list[str]] = {}
        self.unforeseen: dict[str, list[str]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line of a record, and by route the attempts of an access record and an unexpected error."""
        line = JsonLines().format(record)
        self.lines.append(line)
        fields: dict[str, Any] = getattr(record, "fields", {})
        if record.name == "router.access":
            self.attempts[fields["route"]] = [f"{one['target'].rpartition('/')[2]}:{one['outcome']}" for one in fields["attempts"]]
        elif record.name == "router.problems" or record.levelno >= logging.ERROR:
            self.unforeseen[fields.get("request_id") or _asked(record)].append(line)

    def loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep an error that the event loop reports."""
        self.unforeseen[""].append(f"{context.get('message')} {context.get('exception')!r}")


def _asked(record: logging.LogRecord) -> str:
    """Return the route of the request whose code raised the logged exception; empty if no frame of its traceback shows it."""
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None:
        ask = trace.tb_frame.f_locals.get("ask")
        if isinstance(ask, Ask):
            return ask.model
        trace = trace.tb_next
    return ""


@dataclass
class Run:
    """Outcomes of the cases of one lane and kind. `unforeseen`: unexpected errors and leaks that belong to none of them."""

    outcomes: dict[Case, Outcome]
    unforeseen: list[str]


def run(cases: list[Case], folder: Path) -> Run:
    """Run these cases side by side through one router."""
    log = Log()
    quiet = [logging.getLogger(name) for name in ("httpx", "httpcore", "openai", "LiteLLM", "asyncio")]
    levels = [(one, one.level) for one in (*quiet, logging.getLogger())]
    logging.getLogger().setLevel(logging.INFO)
    for one in quiet:
        one.setLevel(logging.WARNING)  # as `router serve` has it
    logging.getLogger().addHandler(log)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", _looked_up(socket.getaddrinfo))
            return asyncio.run(_run(cases, folder, log))
    finally:
        logging.getLogger().removeHandler(log)
        for one, level in levels:
            one.setLevel(level)


def _looked_up(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Return a resolver that refuses names under `.invalid` without a query, and passes others on."""

    def getaddrinfo(host: Any, *args: Any, **more: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, f"{WORDS}: no such name")
        return inner(host, *args, **more)

    return getaddrinfo


async def _run(cases: list[Case], folder: Path, log: Log) -> Run:
    asyncio.get_running_loop().set_exception_handler(log.loop)
    workspace = Workspace(folder).write("pipelines/chat.yaml", CHAT).write("tools/trials.py", TOOLS)
    outcomes: dict[Case, Outcome] = {}
    room = {pace: asyncio.Semaphore(count) for pace, count in AT_ONCE[cases[0].lane].items()}
    async with upstreams(folder) as there:
        workspace.write("routes.yaml", declared(cases, there))
        async with serving(workspace.build()) as client:
            while not (await client.get("/readyz")).json["ready"]:
                await asyncio.sleep(0)

            async def one(case: Case) -> None:
                async with room["waits" if case.row.seconds else "works"]:
                    outcomes[case] = await ask(client, case, there)

            await asyncio.gather(*(one(case) for case in cases if not case.row.heavy))
            for case in cases:
                if case.row.heavy:
                    async with Lag() as lag:
                        await one(case)
                    outcomes[case].lag, outcomes[case].turns = lag.most, lag.turns
    gc.collect()  # a task whose exception nobody fetched complains when it is let go
    for case, outcome in outcomes.items():
        outcome.attempts = log.attempts.get(case.name, [])
        outcome.unforeseen = log.unforeseen.pop(case.name, [])
    rest = [line for lines in log.unforeseen.values() for line in lines]
    return Run(outcomes, rest + [line for line in log.lines if KEY in line or WORDS in line] + there.objections)


class Lag:
    """A context that measures the event loop. `most`: its longest block in seconds; `turns`: its turns, fifty a second at most."""

    most = 0.0
    turns = 0

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticking.cancel()

    async def _tick(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.02)
            self.turns += 1
            self.most = max(self.most, time.monotonic() - began - 0.02)


async def ask(client: Client, case: Case, there: Upstreams) -> Outcome:
    """Send the request of a case, and return its outcome."""
    mine = {target: there.known[f"{case.name}/{target}"] for target in case.targets()} | {"trap": there.known[case.name]}
    question = {"messages": [{"role": "user", "content": "How does it work?"}], "model": case.name}
    timeout = aiohttp.ClientTimeout(total=case.row.seconds + 4 * SLACK)
    began, ahead, heard = time.monotonic(), 0, bytearray()
    headers = {"x-request-id": case.name[:64]}
    async with client.session.post(f"{client.base}/api/chat", json=question, headers=headers, timeout=timeout) as response:
        if case.row.said is flood:
            ahead = await _stalled(mine["a"])
        async for data in response.content.iter_any():
            heard += data
            if heard.startswith(b"0:") or b"\n0:" in heard:
                for upstream in mine.values():
                    upstream.heard.set()
        answered = Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(heard))
    outcome = Outcome(answered, time.monotonic() - began, {name: one.progress.asked for name, one in mine.items()}, ahead=ahead)
    seen = f"{answered.headers} {answered.body.decode('utf-8', 'replace')}"
    outcome.leaks = [word for word in (KEY, WORDS) if word in seen]
    return outcome


async def _stalled(upstream: Upstream) -> int:
    """Return the bytes that the upstream has sent once it can send no more, because the client does not read."""
    still, sent = 0, -1
    while still < 200:
        await asyncio.sleep(0.001)
        still, sent = (still + 1, sent) if upstream.progress.sent == sent else (0, upstream.progress.sent)
    return sent


class Table:
    """The runs of all lanes and kinds, each made when it is first asked for, and their summary."""

    def __init__(self, cases: list[Case], folder: Callable[[], Path]) -> None:
        self._cases = cases
        self._folder = folder
        self._runs: dict[tuple[Lane, Kind], Run] = {}

    def run(self, lane: Lane, kind: Kind) -> Run:
        """Return the run of a lane and kind."""
        if (lane, kind) not in self._runs:
            cases = [case for case in self._cases if (case.lane, case.kind) == (lane, kind)]
            self._runs[lane, kind] = run(cases, self._folder()) if cases else Run({}, [])
        return self._runs[lane, kind]

    def lines(self) -> Iterator[str]:
        """Yield the lines of the summary: for each row and company, how and after how many seconds it ended in each lane and kind."""
        columns = [(lane, kind) for lane in LANES for kind in KINDS]
        done = {case: outcome for one in self._runs.values() for case, outcome in one.outcomes.items()}
        cells: dict[tuple[int, str, str], dict[tuple[str, str], str]] = defaultdict(dict)
        for case, outcome in done.items():
            mark = "!" if case.known else " "
            end = "NOT WHOLE" if outcome.truncated(case.row.text) else str(outcome)
            cells[case.row.number, case.row.name, case.company][case.lane, case.kind] = f"{end:19}{outcome.seconds:6.2f}{mark}"
        yield f"{'fault':47}{'':7}" + "".join(f"{f'{lane}, {kind}':28}" for lane, kind in columns)
        for (number, name, company), found in sorted(cells.items(), key=lambda item: item[0][0]):
            yield f"{number:2} {name:44.44}{company:7}" + "".join(f"{found.get(column, ''):28}" for column in columns)
        for case, outcome in done.items():
            if outcome.lag or outcome.ahead:
                yield f"{case}: the loop stood still for {outcome.lag * 1000:.0f} ms at most, {outcome.ahead / 1e6:.1f} MB ahead"
        known = [case for case in done if case.known]
        crashed = {case for case, outcome in done.items() if outcome.unforeseen}
        cut = {case for case, outcome in done.items() if outcome.truncated(case.row.text)}
        if known:
            ill = f"{len(crashed.intersection(known))} unhandled, {len(cut.intersection(known))} silent truncations"
            yield f"!: known faults, {len(known)} cases: {ill}"
        stray = sum(len(one.unforeseen) for one in self._runs.values())
        yield f"faults: {len(done)} cases, {len(crashed - set(known)) + stray} unhandled, {len(cut - set(known))} silent truncations"
