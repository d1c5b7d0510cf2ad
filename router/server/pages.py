"""The pages beside the chat endpoints: which models there are, health, and the OpenAPI documentation of all of it."""

import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse

from router import __version__
from router.callers import Caller
from router.generation import Generation
from router.server import admin as operators
from router.server import openapi
from router.server.admin import Admin
from router.server.docs import docs
from router.server.metrics import CONTENT_TYPE


def pages(admin: Admin) -> FastAPI:
    """The FastAPI application."""
    live, chat = admin.live, admin.chat
    # No redirects to an address with or without its last slash: they would be written with whatever host a request names.
    app = FastAPI(title="Pointsman", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    began = int(time.time())

    @app.get(
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

    @app.get(
        "/v1/models", response_model=dict[str, Any], tags=["models"], responses=openapi.UNKNOWN, openapi_extra={"security": openapi.BORNE}
    )
    async def models_as_openai_lists_them(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The same ids, as clients of the OpenAI API list them. `created` is when this process began."""
        names, caller = live.generation.routes, _caller(request)
        shape = {"object": "model", "created": began, "owned_by": "router"}
        return await admin.page(lambda: {"object": "list", "data": [{"id": one, **shape} for one in names if caller.may_ask(one)]})

    @app.get("/healthz", tags=["health"])
    def healthz() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        """Whether the process runs."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "Still warming up, or about to end"}})
    def readyz(response: Response) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Whether new questions are welcome: every target answers as quickly as it ever will, and the server is not about to end."""
        ready = live.ready and not chat.stopping
        response.status_code = 200 if ready else 503
        return {"ready": ready, "generation": live.generation.digest}

    @app.get("/metrics", tags=["admin"], response_class=PlainTextResponse, responses=operators.REFUSED)
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        """What was counted, and how all workers stand: Prometheus text format."""
        reports = await admin.reports()
        return Response(await admin.turns.take(lambda: admin.metrics.text(reports), "page"), media_type=CONTENT_TYPE)

    app.include_router(operators.pages(admin))
    app.include_router(docs())
    app.openapi = _documented(app)
    return app


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
    """Who asks, as the edge has found."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


def _documented(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The schema of the pages, and of the chat endpoints, which FastAPI does not serve."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes)
            made["paths"] = {**openapi.PATHS, **made["paths"]}
            components = made.setdefault("components", {})
            components.setdefault("schemas", {}).update(openapi.SCHEMAS)
            components["securitySchemes"] = openapi.SECURITY
            app.openapi_schema = made
        return app.openapi_schema

    return document
