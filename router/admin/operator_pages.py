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

import logging
import socket
import time
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

from router.admin.hour import summed as summed_hour
from router.admin.operations import Operations
from router.config.meant import did_you_mean
from router.description import describe
from router.drill import drilled
from router.errors import ConfigError
from router.failover import Position
from router.journal import report
from router.journal.bill import summed
from router.reload import PendingEdit

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
        """The configuration that serves; what is on disk now, where that cannot be served, and why; who runs what.

        `replica`: the name of this host, where others may share its Redis: what operators' pages show is of its workers alone.
        """
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
                "replica": None if generation.server.redis is None else socket.gethostname(),
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
