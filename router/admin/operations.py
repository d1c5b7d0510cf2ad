"""The operators' HTTP API below /admin: state, spending and requests of a running server, and changes to it, over all its workers.

GET  /admin/config             the configuration that serves, and the one that cannot
POST /admin/reload             read the files now
GET  /admin/targets            how each target fares
POST /admin/targets/{name}     take one out, and back
GET  /admin/spend              what answers have cost
GET  /admin/budgets            how much of each limit on tokens or money is used
GET  /admin/hour               the last hour in slots, and how each target fared in it
GET  /admin/edit               what the files hold that is not served, and what it means
POST /admin/return             serve again what served before the newest edit
POST /admin/drills             play the faults that the configuration declares
GET  /admin/requests           what was asked last
GET  /admin/requests/{id}      how one request went
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, cast, get_args

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

from router.admin.hour import Hour
from router.admin.hour import summed as summed_hour
from router.admin.siblings import Siblings, Told
from router.admin.watchdog import Watchdog
from router.answering.chat import Chat
from router.codec import packed
from router.config.binding import did_you_mean
from router.description import describe
from router.drill import drilled
from router.errors import ConfigError
from router.failover import Position
from router.generation import Generation
from router.journal import report
from router.journal.bill import Bill, Totals, summed
from router.journal.budgets import Budget, budgets, fullest
from router.journal.metrics import Metrics
from router.journal.report import Report
from router.journal.ring import Ring
from router.journal.traces import Traces
from router.reload import Live, PendingEdit, Reload
from router.threads import Turns

MAX_SAME_ID = 20
"""Requests of one id that are shown: clients may choose ids."""
POSITIONS: tuple[Position, ...] = get_args(Position)
REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"description": "No admin key came along, or it is another"},
    403: {"description": "There is no admin key, and the request is a change or not this machine's"},
}
"""Refusals of an operators' page: see gate.py."""


log = logging.getLogger("router.server")


class Placed(BaseModel):
    """State in which an operator puts a target: drain gives it no new question, open does as if its breaker were open, auto leaves it to itself."""

    model_config = ConfigDict(extra="forbid")
    state: Position


@dataclass(slots=True)
class Operations:
    """The operator's actions and pages of a process. `folder`: where the workers of one server meet; None for a single process."""

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
    """Queue of the work on long pages, which is done beside the loop."""
    watchdog: Watchdog = field(default_factory=Watchdog)

    async def answer(self, question: Told) -> Told:
        """Return this worker's answer to a question of another worker."""
        match question:
            case {"ask": "report"}:
                return cast("Told", await self.report())
            case {"ask": "request", "id": str(request_id), "owner": None | str() as owner, "running": bool(running)}:
                return {"request": self.ring.find(request_id, owner, running=running)[:MAX_SAME_ID]}
            case {"ask": "spend"}:
                return cast("Told", self.bill.totals())
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
                return cast("Told", await self.report()) if await self._goes_back(self.reload, digest) else {}
            case {"ask": "reload"} if self.reload is not None:
                await self.reload.refresh()
                return cast("Told", await self.report())
            case _:
                return {}

    async def report(self) -> Report:
        """Return the report of this worker."""
        return await report.report(self.live, self.reload, self.chat.running, stopping=self.chat.stopping, stalls=self.watchdog.stalls)

    async def reports(self) -> list[Report]:
        """Return the report of each worker, this one first."""
        others = await self._ask({"ask": "report"})
        return [await self.report(), *(cast("Report", one) for one in others if one)]

    async def join(self) -> None:
        """Take over the drains and opened breakers that an operator has set in the running workers."""
        for said in await self._ask({"ask": "positions"}):
            for name, state in said.items():
                place(self.live.generation, name, state)

    async def place(self, name: str, state: Position) -> None:
        """Set the operator's state of a target (drain, open or auto) in every worker."""
        place(self.live.generation, name, state)
        await self._ask({"ask": "place", "target": name, "state": state})

    async def refresh(self, reload: Reload) -> tuple[list[Report], list[int]]:
        """Have every worker reload the files. Return the reports, this one's first, and the process ids of those that sent none in time."""
        _, others = await asyncio.gather(reload.refresh(), self._others_refresh())
        reports = [await self.report(), *(cast("Report", one) for one in others.values() if one)]
        return reports, [process for process, one in others.items() if not one]

    async def go_back(self, reload: Reload, digest: str) -> tuple[list[Report], list[int]]:
        """Have every worker serve again what served before: how each that does so stands then, and those that do not.

        ConfigError where it cannot be served any more.
        """
        await reload.go_back(digest)
        others = (
            await self.siblings.ask_each({"ask": "return", "to": digest}, self.siblings.timing.rebuild) if self.siblings is not None else {}
        )
        reports = [await self.report(), *(cast("Report", one) for one in others.values() if one)]
        return reports, [process for process, one in others.items() if not one]

    @staticmethod
    async def _goes_back(reload: Reload, digest: str) -> bool:
        with suppress(ConfigError):
            return await reload.go_back(digest)
        return False

    async def _others_refresh(self) -> dict[int, Told | None]:
        return await self.siblings.ask_each({"ask": "reload"}, self.siblings.timing.rebuild) if self.siblings is not None else {}

    async def request(self, request_id: str, owner: str | None = None, *, running: bool = False) -> dict[str, object] | None:
        """Return the record of a request, whichever worker answered it. Of several that bear the same id, the first; `later` has the others. `owner`:
        among those of this caller and user alone; `running`: also among those that are not over.
        """
        found = self.ring.find(request_id, owner, running=running)
        for one in await self._ask({"ask": "request", "id": request_id, "owner": owner, "running": running}):
            found += one.get("request", [])
        first, *later = sorted(found, key=lambda one: cast("float", one["at"]))[:MAX_SAME_ID] or [None]
        return first and {**first, **({"later": later} if later else {})}

    async def requests(self, last: int, *, running: bool = False) -> list[dict[str, Any]]:
        """The newest requests of all workers, newest first; `running`: those that are not over before all others."""
        found: list[dict[str, Any]] = list(self.ring.latest(last, running=running))
        for one in await self._ask({"ask": "requests", "last": last, "running": running}):
            found += one.get("requests", [])
        return sorted(found, key=lambda entry: (entry["running"], entry["at"]), reverse=True)[:last]

    async def spend(self) -> list[Totals]:
        """Return the cost totals of each worker, this one first."""
        others = await self._ask({"ask": "spend"})
        return [self.bill.totals(), *(cast("Totals", one) for one in others if one)]

    async def budgets(self) -> list[Budget]:
        """Return the budgets, over all workers."""
        others = await self._ask({"ask": "budgets"})
        return fullest([await budgets(self.live.generation), *(one.get("budgets", []) for one in others)])

    async def hours(self) -> list[dict[str, Any]]:
        """Return the last hour's counts of each worker, this one's first."""
        others = await self._ask({"ask": "hour"})
        return [await self.turns.take(self.hour.report, "page"), *(one for one in others if one)]

    async def page(self, content: Callable[[], object]) -> Response:
        """Return an answer with JSON, which is made in a thread: with 3,000 targets that takes a second."""
        return Response(await self.turns.take(lambda: packed(content()), "page"), media_type="application/json")

    async def _ask(self, question: Told) -> list[Told]:
        return await self.siblings.ask(question) if self.siblings is not None else []


def place(generation: Generation, name: str, state: Position) -> None:
    """Set the operator's state of a target in this process, also of one that an edit has yet to bring here.

    One that comes back from `open` is tried by one request first.
    """
    if state not in POSITIONS:
        return
    switches = generation.kept.switches
    if switches.of(name) == "open" and state == "auto":
        for (target, *_), (_, health) in generation.kept.health.items():
            if target == name:
                health.breaker.half_open()
    switches.put(name, state)


def _acted(request: Request, action: str, **what: str) -> None:
    """Log an action of an operator with the client's network and the key that it was sent with."""
    log.info("operator acts", extra={"fields": {"action": action, **what, **request.state.operator}})


def pages(admin: Operations, route: type[APIRoute]) -> APIRouter:
    """Return the operators' pages as routes of this class, which checks access to them."""
    router = APIRouter(prefix="/admin", tags=["admin"], responses=REFUSED, route_class=route)
    for add in (_states, _targets, _requests, _edits, _returns, _drills):
        add(admin, router)
    return router


def _states(admin: Operations, router: APIRouter) -> None:
    """Add the pages that show what serves, how the last hour went, and what it has cost."""

    @router.get("/config", response_model=dict[str, Any])
    async def config() -> Response:  # pyright: ignore[reportUnusedFunction]
        """The configuration that serves; what is on disk now, where that cannot be served, and why; who runs what."""
        live, failed = admin.live, admin.reload.failed if admin.reload else None
        reports = await admin.reports()
        generation, since = live.generation, live.since
        return await admin.page(
            lambda: {
                "live": {
                    "digest": generation.digest,
                    "since": since,
                    "skipped": dict(generation.skipped),
                    "declared": describe(generation.declaration).as_json(),
                },
                "failed": failed
                and {"digest": failed.digest, "at": failed.at, "errors": [one.as_json() for one in failed.error.complaints]},
                "workers": [{"pid": one["pid"], "generation": one["generation"], "stopping": one["stopping"]} for one in reports],
            }
        )

    @router.get("/hour", response_model=dict[str, Any])
    async def hour() -> Response:  # pyright: ignore[reportUnusedFunction]
        """The last hour, over all workers, in slots of half a minute, the newest last; and how each target fared in it."""
        reports, now = await admin.hours(), time.time()
        return await admin.page(lambda: summed_hour(reports, now))

    @router.get("/spend", response_model=dict[str, Any])
    async def spend() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Cost of answers since the workers that run began, by route, by target and by caller, and what prompt caches saved."""
        reports = await admin.spend()
        return await admin.page(lambda: summed(reports))

    @router.get("/budgets", response_model=dict[str, Any])
    async def budgets_used() -> Response:  # pyright: ignore[reportUnusedFunction]
        """The used share of each limit on tokens or money: of the routes, and of the callers' keys.

        `used` is null where each user or address counts alone. Of several workers that share no Redis, the one that has used most.
        """
        found = await admin.budgets()
        return await admin.page(lambda: {"budgets": found})


def _targets(admin: Operations, router: APIRouter) -> None:
    """Add the pages of the targets: how each fares, and where an operator puts it."""

    @router.get("/targets", response_model=dict[str, Any])
    async def targets() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Health of each target, over all workers."""
        reports = await admin.reports()
        return await admin.page(lambda: {"targets": report.merged(reports)})

    @router.post("/targets/{name:path}", responses={404: {"description": "No such target"}})
    async def placed(request: Request, name: str, wanted: Placed) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Take a target out, and back, without an edit.

        It stays so over edits, also those that take it away and bring it back, until it is put back or the server ends.
        """
        generation = admin.live.generation
        if name not in generation.kept.loads and name not in generation.kept.switches.positions:
            guess = await admin.turns.take(lambda: did_you_mean(name, generation.kept.loads), "page")
            raise HTTPException(404, f"no route asks a target of this name{guess}")
        _acted(request, "target", target=name, state=wanted.state)
        await admin.place(name, wanted.state)
        return {"name": name, "state": wanted.state}


def _requests(admin: Operations, router: APIRouter) -> None:
    """Add the pages of the requests that were asked last."""

    @router.get("/requests", response_model=dict[str, Any])
    async def requests(  # pyright: ignore[reportUnusedFunction]
        *, last: Annotated[int, Query(ge=1, le=1000)] = 50, running: Annotated[bool, Query()] = False
    ) -> Response:
        """The requests that were over last, newest first. A worker remembers 1,000. `running`: with those that are not over, before all others."""
        found = await admin.requests(last, running=running)
        return await admin.page(lambda: {"requests": found})

    @router.get("/requests/{request_id}", responses={404: {"description": "Not remembered"}})
    async def request(request_id: str, *, running: Annotated[bool, Query()] = False) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Record of a request: the attempts, and why each failed or was skipped. `running`: also of a request that is not over."""
        found = await admin.request(request_id, running=running)
        if found is None:
            raise HTTPException(404, "no such request is remembered: each worker keeps its last 1,000")
        return dict(found)


def _edits(admin: Operations, router: APIRouter) -> None:
    """Add the pages about edits of the files: what they mean, and that they are read now."""

    @router.post("/reload", responses={409: {"description": "Nothing to read"}, 422: {"description": "It cannot be served"}})
    async def reload(request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Read the files now, whether edits go live by themselves or not. 422 with every complaint where they cannot be served. `workers`:
        what each serves then; `silent`: those that did not say so within a minute.
        """
        if admin.reload is None:
            raise HTTPException(409, "this server was not started from files")
        _acted(request, "reload")
        reports, silent = await admin.refresh(admin.reload)
        if admin.reload.failed is not None:
            raise HTTPException(422, [one.as_json() for one in admin.reload.failed.error.complaints])
        workers = {str(one["pid"]): one["generation"] for one in reports}
        return {"generation": admin.live.generation.digest, "workers": workers, "silent": silent}

    @router.get("/edit", response_model=dict[str, Any])
    async def edit() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Compare the files with the configuration that serves.

        `changes` are what going live would mean, in sentences; or `complaints`, each with its line and a caret. `files`: whether this server was started from files; `previous`: what served before the newest edit, and can be returned to.
        """
        reload, live = admin.reload, admin.live.generation.digest
        pending = await reload.pending() if reload is not None else PendingEdit(None)
        before = reload.previous if reload is not None else None
        return await admin.page(
            lambda: {
                "files": reload is not None,
                "digest": pending.digest,
                "live": live,
                "previous": before and before.digest,
                "changes": pending.changes,
                "complaints": [{**one.as_json(), "text": str(one)} for one in pending.complaints],
            }
        )


def _returns(admin: Operations, router: APIRouter) -> None:
    """Add the way back to what served before an edit."""

    @router.post("/return", responses={409: {"description": "Nothing served before"}, 422: {"description": "It cannot be served any more"}})
    async def returned(request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Serve again what served before the newest edit.

        The files stay as they are: the next edit of them goes live as ever, and a reload has them read.
        """
        if admin.reload is None or admin.reload.previous is None:
            raise HTTPException(409, "nothing served here before")
        digest = admin.reload.previous.digest
        _acted(request, "return", to=digest)
        try:
            reports, silent = await admin.go_back(admin.reload, digest)
        except ConfigError as error:
            raise HTTPException(422, [one.as_json() for one in error.complaints]) from None
        workers = {str(one["pid"]): one["generation"] for one in reports}
        return {"generation": admin.live.generation.digest, "workers": workers, "silent": silent}


def _drills(admin: Operations, router: APIRouter) -> None:
    """Add the page that plays drills."""

    @router.post("/drills", response_model=dict[str, Any])
    async def drills(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Play the drills of the configuration that serves: no provider is asked, and no answer under way notices.

        `faults`: what came otherwise than expected.
        """
        _acted(request, "drills")
        declaration = admin.live.generation.declaration
        results = await admin.turns.take(lambda: drilled(declaration), "drills")
        return await admin.page(
            lambda: {"drills": [{"name": one.name, "faults": one.faults, "tried": one.tried, "seconds": one.seconds} for one in results]}
        )
