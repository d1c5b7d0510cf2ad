"""The pages beside the chat addresses: which models there are, health, and the OpenAPI documentation of all of it."""

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse

from router import __version__
from router.access.gate import Gate
from router.admin import openapi
from router.admin import operations as operators
from router.admin.docs import docs
from router.admin.operations import Admin
from router.admin.routed import AnswerRoute, Refusals
from router.answering.chat import Request as Asked
from router.callers import Caller
from router.generation import Generation
from router.journal.metrics import CONTENT_TYPE


def pages(admin: Admin, gate: Gate, answers: Sequence[AnswerRoute]) -> FastAPI:
    """The FastAPI application: the `answers`, for their documentation, and all other pages, each with its guard."""
    refusals = Refusals(admin.live)
    of_callers, of_operators = refusals.guarded(gate.enter_caller), refusals.guarded(gate.enter_operator)
    app = FastAPI(
        title="Pointsman",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # No redirects to an address with or without its last slash: they would be written with whatever host a request names.
        redirect_slashes=False,
    )
    app.router.routes += answers
    for router in (
        _models(admin, APIRouter(route_class=of_callers)),
        _health(admin),
        _metrics(admin, APIRouter(route_class=of_operators)),
        operators.pages(admin, of_operators),
        docs(of_operators),
        _documented(app, answers, APIRouter(route_class=of_operators)),
    ):
        app.router.routes += router.routes  # not included: their guards are the routes' own
    app.router.default = refusals.nothing(gate.enter_caller)
    return app


def _models(admin: Admin, router: APIRouter) -> APIRouter:
    live, began = admin.live, int(time.time())

    @router.get(
        "/api/models",
        response_model=dict[str, list[dict[str, Any]]],
        tags=["models"],
        responses=openapi.UNKNOWN,
        openapi_extra={"security": openapi.BORNE},
    )
    async def models(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The model ids that the caller may ask, and their aliases."""
        generation, caller = live.generation, _caller(request)
        return await admin.page(lambda: {"models": _listed(generation, caller)})

    @router.get(
        "/v1/models", response_model=dict[str, Any], tags=["models"], responses=openapi.UNKNOWN, openapi_extra={"security": openapi.BORNE}
    )
    async def models_as_openai_lists_them(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The same ids, as clients of the OpenAI API list them. `created` is when this process began."""
        names, caller = live.generation.routes, _caller(request)
        shape = {"object": "model", "created": began, "owned_by": "router"}
        page = await admin.page(lambda: {"object": "list", "data": [{"id": one, **shape} for one in names if caller.may_ask(one)]})
        page.headers["x-request-id"] = Asked(request.scope, request.receive).id  # OpenAI's clients look for it
        return page

    return router


def _health(admin: Admin) -> APIRouter:
    """Pages that say nothing of anybody: nobody has to say who asks for them."""
    router = APIRouter()

    @router.get("/healthz", tags=["health"])
    def healthz() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        """Whether the process runs."""
        return {"status": "ok"}

    @router.get("/readyz", tags=["health"], responses={503: {"description": "Still warming up, or about to end"}})
    def readyz(response: Response) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Whether new questions are welcome: every target answers as quickly as it ever will, and the server is not about to end."""
        ready = admin.live.ready and not admin.chat.stopping
        response.status_code = 200 if ready else 503
        return {"ready": ready, "generation": admin.live.generation.digest}

    return router


def _metrics(admin: Admin, router: APIRouter) -> APIRouter:
    @router.get("/metrics", tags=["admin"], response_class=PlainTextResponse, responses=operators.REFUSED)
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        """What was counted, and how all workers stand: Prometheus text format."""
        reports = await admin.reports()
        return Response(await admin.turns.take(lambda: admin.metrics.text(reports), "page"), media_type=CONTENT_TYPE)

    return router


def _listed(generation: Generation, caller: Caller) -> list[dict[str, object]]:
    """The routes that a caller may ask."""
    aliases: dict[str, list[str]] = {name: [] for name in generation.routes}
    for alias, name in generation.aliases.items():
        aliases[name].append(alias)
    return [
        {
            "id": name,
            "aliases": aliases[name],
            "tools": [spec.name for spec in route.toolbox.specs],
            "reasoning": route.declared.reasoning,
        }
        for name, route in generation.routes.items()
        if caller.may_ask(name)
    ]


def _caller(request: Request) -> Caller:
    """Who asks, as the route's guard has found."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


def _documented(app: FastAPI, answers: Sequence[AnswerRoute], router: APIRouter) -> APIRouter:
    """The schema of all routes: FastAPI's of the pages, and the answers' own."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes)
            made["paths"] = {**{one.path_format: one.described for one in answers if one.described}, **made["paths"]}
            components = made.setdefault("components", {})
            components.setdefault("schemas", {}).update(openapi.SCHEMAS)
            components["securitySchemes"] = openapi.SECURITY
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document

    @router.get("/openapi.json", include_in_schema=False)
    def schema(request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """The schema, with the root path that it was asked for below."""
        root = str(request.scope.get("root_path", ""))
        return {**document(), **({"servers": [{"url": root}]} if root else {})}

    return router
