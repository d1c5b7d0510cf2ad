"""The operators' HTTP API below /admin: state, costs and requests of a running server, and changes to it, over all its workers."""

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
from router.journal.budgets import fullest
from router.reload import PendingEdit

REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"description": "No admin key came along, or it is another"},
    403: {"description": "There is no admin key, and the request is a change or not this machine's"},
}
"""OpenAPI descriptions of the refusals of an operator's page: see gate.py."""

log = logging.getLogger("router.server")


class Placed(BaseModel):
    """The state in which an operator puts a target.

    drain: the target gets no new request
    open: the same; back in `auto`, one probe goes first
    auto: its breaker decides
    """

    model_config = ConfigDict(extra="forbid")
    state: Position


def _acted(request: Request, action: str, **what: str) -> None:
    """Log an operator's action, with the client's network and the kind of admin key that it used: `declared` or `of this run`."""
    log.info("operator acts", extra={"fields": {"action": action, **what, **request.state.operator}})


def pages(admin: Operations, route: type[APIRoute]) -> APIRouter:
    """Return a router with the operators' pages, as routes of this class, which checks access to them."""
    router = APIRouter(prefix="/admin", tags=["admin"], responses=REFUSED, route_class=route)
    for add in (_states, _records, _edits, _actions):
        add(admin, router)
    return router


def _states(admin: Operations, router: APIRouter) -> None:
    @router.get("/config", response_model=dict[str, Any])
    async def config() -> Response:  # pyright: ignore[reportUnusedFunction]
        """The live configuration; the one on disk, if it cannot be loaded, and why; and the generation of each worker.

        `replica`: the name of this host if a Redis is declared: operators' pages show the workers of this replica alone.
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
        """The last hour over all workers, in slots of half a minute, the newest last, and the attempts at each target."""
        reports, now = await admin.ask_all({"ask": "hour"}), time.time()
        return await admin.page(lambda: summed_hour(reports, now))

    @router.get("/spend", response_model=dict[str, Any])
    async def spend() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Costs since the running workers began, by route, by target and by caller, and what prompt caches saved."""
        reports = await admin.ask_all({"ask": "spend"})
        return await admin.page(lambda: summed(reports))

    @router.get("/budgets", response_model=dict[str, Any])
    async def budgets_used() -> Response:  # pyright: ignore[reportUnusedFunction]
        """The used share of each limit on tokens or money, of the routes and of the callers' keys.

        `used` is null where each user, address or caller is counted by itself. Of several workers without a shared Redis the largest share
        is shown.
        """
        answers = await admin.ask_all({"ask": "budgets"})
        return await admin.page(lambda: {"budgets": fullest([one.get("budgets", []) for one in answers])})


def _records(admin: Operations, router: APIRouter) -> None:
    @router.get("/targets", response_model=dict[str, Any])
    async def targets() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Health and load of each target, over all workers."""
        reports = await admin.reports()
        return await admin.page(lambda: {"targets": report.merged(reports)})

    @router.post("/targets/{name:path}", responses={404: {"description": "No such target"}})
    async def placed(request: Request, name: str, wanted: Placed) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Drain a target, open its breaker, or restore it, without an edit.

        The state lasts over edits, also those that remove the target and bring it back, until it is changed or the server ends.
        """
        generation = admin.live.generation
        if name not in generation.kept.loads and name not in generation.kept.switches.positions:
            guess = await admin.turns.take(lambda: did_you_mean(name, generation.kept.loads), "page")
            raise HTTPException(404, f"no route asks a target of this name{guess}")
        _acted(request, "target", target=name, state=wanted.state)
        await admin.place(name, wanted.state)
        return {"name": name, "state": wanted.state}

    @router.get("/requests", response_model=dict[str, Any])
    async def requests(  # pyright: ignore[reportUnusedFunction]
        *, last: Annotated[int, Query(ge=1, le=1000)] = 50, running: Annotated[bool, Query()] = False
    ) -> Response:
        """The latest finished requests, newest first, of the last 1,000 of each worker. `running`: before them those in progress."""
        found = await admin.requests(last, running=running)
        return await admin.page(lambda: {"requests": found})

    @router.get("/requests/{request_id}", responses={404: {"description": "Not remembered"}})
    async def request(request_id: str, *, running: Annotated[bool, Query()] = False) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """The record of a request: its attempts, and why each failed or was skipped. `running`: also of a request in progress."""
        found = await admin.request(request_id, running=running)
        if found is None:
            raise HTTPException(404, "no such request is remembered: each worker keeps its last 1,000")
        return dict(found)


def _edits(admin: Operations, router: APIRouter) -> None:
    @router.post("/reload", responses={409: {"description": "Nothing to read"}, 422: {"description": "It cannot be served"}})
    async def reload(request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Reload the files now, whether edits are loaded automatically or not. 422 with every complaint if they are invalid.

        `workers`: the generation of each worker afterwards; `silent`: workers that did not answer within a minute.
        """
        if admin.reload is None:
            raise HTTPException(409, "this server was not started from files")
        _acted(request, "reload")
        outcome = await admin.refresh(admin.reload)
        if admin.reload.failed is not None:
            raise HTTPException(422, [one.as_json() for one in admin.reload.failed.error.complaints])
        return outcome

    @router.get("/edit", response_model=dict[str, Any])
    async def edit() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Compare the files with the live configuration.

        `changes`: what a reload would change, in sentences; `complaints`: the mistakes, each with its line and a caret; `files`: whether
        this server was started from files; `previous`: the configuration before the newest edit, to which the server can return.
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


def _actions(admin: Operations, router: APIRouter) -> None:
    @router.post("/return", responses={409: {"description": "Nothing served before"}, 422: {"description": "It cannot be served any more"}})
    async def returned(request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Roll back to the configuration before the newest edit.

        The files stay as they are: their next edit, or a reload, loads them as usual.
        """
        if admin.reload is None or admin.reload.previous is None:
            raise HTTPException(409, "nothing served here before")
        digest = admin.reload.previous.digest
        _acted(request, "return", to=digest)
        try:
            return await admin.go_back(admin.reload, digest)
        except ConfigError as error:
            raise HTTPException(422, [one.as_json() for one in error.complaints]) from None

    @router.post("/drills", response_model=dict[str, Any])
    async def drills(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Run the drills of the live configuration. No provider is asked, and no request in progress is affected.

        `faults`: the expectations that were not met.
        """
        _acted(request, "drills")
        declaration = admin.live.generation.declaration
        results = await admin.turns.take(lambda: drilled(declaration), "drills")
        return await admin.page(
            lambda: {"drills": [{"name": one.name, "faults": one.faults, "tried": one.tried, "seconds": one.seconds} for one in results]}
        )
