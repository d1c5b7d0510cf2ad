"""An operator's actions on all workers of a server, and the reports of all. `operator_pages.py` has the addresses."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast, get_args

from starlette.responses import Response

from router.admin.hour import Hour
from router.admin.siblings import SiblingJson, Siblings
from router.admin.watchdog import Watchdog
from router.answering.chat import Chat
from router.codec import packed
from router.errors import ConfigError
from router.failover import Position
from router.generation import Generation
from router.journal import report
from router.journal.bill import Bill
from router.journal.budgets import budgets
from router.journal.metrics import Metrics
from router.journal.report import Report
from router.journal.ring import Ring
from router.journal.traces import Traces
from router.reload import Live, Reload
from router.threads import Turns
from router.value import Mutable, field

MAX_SAME_ID = 20
"""Requests with the same id that are shown at most: clients may choose ids."""
POSITIONS: tuple[Position, ...] = get_args(Position)


class Operations(Mutable):
    """The operator's actions and reports of one process. `siblings`: the other workers; None for a single process."""

    live: Live
    reload: Reload | None
    chat: Chat
    ring: Ring
    metrics: Metrics
    traces: Traces
    bill: Bill
    hour: Hour
    siblings: Siblings | None = None
    turns: Turns = field(default_factory=Turns)
    """The queue of pages that are built in a thread, one at a time."""
    watchdog: Watchdog = field(default_factory=Watchdog)

    async def answer(self, question: SiblingJson) -> SiblingJson:
        """Do what another worker asks of this one, and return the answer. `place`, `return` and `reload` change this worker.

        The answer is empty after `place`, for a failed `return`, and for a question that this worker does not know.
        """
        self.metrics.rows.settle()  # pages show every request that has ended
        match question:
            case {"ask": "report"}:
                return cast("SiblingJson", await self.report())
            case {"ask": "request", "id": str(request_id), "owner": None | str() as owner, "running": bool(running)}:
                return {"request": self.ring.find(request_id, owner, running=running)[:MAX_SAME_ID]}
            case {"ask": "spend"}:
                return cast("SiblingJson", self.bill.totals())
            case {"ask": "budgets"}:
                return {"budgets": await budgets(self.live.generation)}
            case {"ask": "requests", "last": int(last), "running": bool(running)}:
                return {"requests": self.ring.latest(last, running=running)}
            case {"ask": "place", "target": str(name), "state": state}:
                place(self.live.generation, name, state)
                return {}
            case {"ask": "positions"}:
                return dict(self.live.generation.kept.switches.positions)
            case {"ask": "hour"}:
                return await self.turns.take(self.hour.report, "page")
            case {"ask": "return", "to": str(digest)} if self.reload is not None:
                with suppress(ConfigError):
                    return cast("SiblingJson", await self.report()) if await self.reload.go_back(digest) else {}
                return {}
            case {"ask": "reload"} if self.reload is not None:
                await self.reload.refresh()
                return cast("SiblingJson", await self.report())
            case _:
                return {}

    async def report(self) -> Report:
        """Return this worker's report: its generation, load, targets and stalls."""
        return await report.report(self.live, self.reload, self.chat.running, stopping=self.chat.stopping, stalls=self.watchdog.stalls)

    async def reports(self) -> list[Report]:
        """Return the report of each worker, as `ask_all` does."""
        return await self.ask_all({"ask": "report"})

    async def join(self) -> None:
        """Copy into this worker the states of targets (drain, open) that an operator has set in the running workers."""
        for said in await self._ask({"ask": "positions"}):
            for name, state in said.items():
                place(self.live.generation, name, state)

    async def place(self, name: str, state: Position) -> None:
        """Set the operator's state of a target (drain, open or auto) in every worker."""
        place(self.live.generation, name, state)
        await self._ask({"ask": "place", "target": name, "state": state})

    async def refresh(self, reload: Reload) -> dict[str, Any]:
        """Reload the files in every worker. Return the `_outcome`."""
        _, others = await asyncio.gather(reload.refresh(), self._ask_each({"ask": "reload"}))
        return await self._outcome(others)

    async def go_back(self, reload: Reload, digest: str) -> dict[str, Any]:
        """Roll back to the generation `digest` in every worker. Return the `_outcome`. ConfigError if this worker cannot serve it."""
        await reload.go_back(digest)
        return await self._outcome(await self._ask_each({"ask": "return", "to": digest}))

    async def _outcome(self, others: dict[int, SiblingJson | None]) -> dict[str, Any]:
        """Return this worker's `generation`, those of all `workers` by process id, and `silent`, the ids of the others without a report.
        `others`: process id → report, None if it did not come in time.
        """
        reports = [await self.report(), *(one for one in others.values() if one)]
        workers = {str(one["pid"]): one["generation"] for one in reports}
        silent = [process for process, one in others.items() if not one]
        return {"generation": self.live.generation.digest, "workers": workers, "silent": silent}

    async def _ask_each(self, question: SiblingJson) -> dict[int, SiblingJson | None]:
        return await self.siblings.ask_each(question, self.siblings.timing.rebuild) if self.siblings is not None else {}

    async def request(self, request_id: str, owner: str | None = None, *, running: bool = False) -> dict[str, object] | None:
        """Return the record of a request of any worker; None without one. Of several with this id the oldest, the others in its `later`.

        owner: limits the search to the requests of this caller and end user; None for all
        running: True to include requests that are not over
        """
        found = self.ring.find(request_id, owner, running=running)
        for one in await self._ask({"ask": "request", "id": request_id, "owner": owner, "running": running}):
            found += one.get("request", [])
        first, *later = sorted(found, key=lambda one: cast("float", one["at"]))[:MAX_SAME_ID] or [None]
        return first and {**first, **({"later": later} if later else {})}

    async def requests(self, last: int, *, running: bool = False) -> list[dict[str, Any]]:
        """Return the records of the `last` newest requests of all workers, newest first. With `running`, those in progress come first."""
        answers = await self.ask_all({"ask": "requests", "last": last, "running": running})
        found: list[dict[str, Any]] = [entry for one in answers for entry in one.get("requests", [])]
        return sorted(found, key=lambda entry: (entry["running"], entry["at"]), reverse=True)[:last]

    async def page(self, content: Callable[[], object]) -> Response:
        """Return a response with the content as JSON, built in a thread: with 3,000 targets that takes a second."""
        return Response(await self.turns.take(lambda: packed(content()), "page"), media_type="application/json")

    async def _ask(self, question: SiblingJson) -> list[SiblingJson]:
        return await self.siblings.ask(question) if self.siblings is not None else []

    async def ask_all(self, question: SiblingJson) -> list[Any]:
        """Return the answer (see `answer`) of each worker, this one's first. Workers that do not answer in time are left out."""
        others = await self._ask(question)
        return [await self.answer(question), *(one for one in others if one)]


def place(generation: Generation, name: str, state: Position) -> None:
    """Set the operator's state of a target in this process, if it is a known one. From `open` to `auto`, its breaker becomes half-open."""
    if state not in POSITIONS:
        return
    switches = generation.kept.switches
    if switches.of(name) == "open" and state == "auto":
        for (target, *_), (_, health) in generation.kept.health.items():
            if target == name:
                health.breaker.half_open()
    switches.put(name, state)
