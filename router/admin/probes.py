"""Health and metrics: pages that machines request every few seconds.

They are answered without FastAPI, which is imported at the first request of another page.
"""

from collections.abc import Awaitable, Callable

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from router.access.gate import Gate
from router.admin.operations import Operations
from router.admin.routed import DialectErrors, Enter
from router.errors import RouterError
from router.intake.scope import path_below
from router.journal.metrics import CONTENT_TYPE

Probe = Callable[[], Awaitable[Response]]


class Probes:
    """The health and metrics pages of a process, without FastAPI. `pages.py` adds them to FastAPI too, for methods other than GET."""

    def __init__(self, admin: Operations, gate: Gate, refusals: DialectErrors) -> None:
        self._admin = admin
        self._refusals = refusals
        self._probes: dict[str, tuple[Probe, Enter | None]] = {
            "/healthz": (self.healthz, None),
            "/readyz": (self.readyz, None),
            "/metrics": (self.metrics, gate.enter_operator),
        }

    async def healthz(self) -> Response:
        """Return status 200 while the process runs."""
        return JSONResponse({"status": "ok"})

    async def readyz(self) -> Response:
        """Return 200 while the server is warmed up and not shutting down, else 503; the body has `ready` and `generation`."""
        live = self._admin.live
        ready = live.ready and not self._admin.chat.stopping
        return JSONResponse({"ready": ready, "generation": live.generation.digest}, 200 if ready else 503)

    async def metrics(self) -> Response:
        """Return the metrics of all workers, in Prometheus text format."""
        reports = await self._admin.reports()
        return Response(await self._admin.turns.take(lambda: self._admin.metrics.text(reports), "page"), media_type=CONTENT_TYPE)

    async def answered(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer a GET of one of these pages and return True; for any other request return False, and leave it unanswered."""
        probe, enter = self._probes.get(path_below(scope), (None, None))
        if probe is None or scope["method"] != "GET":
            return False
        try:
            if enter is not None:
                await enter(scope)
            await (await probe())(scope, receive, send)
        except RouterError as error:
            await self._refusals.send(error, scope, receive, send)
        return True
