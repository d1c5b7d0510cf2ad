"""All pages beside the chat addresses: web page, models, records, health, metrics, admin and documentation."""

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse

from router import __version__
from router.access.gate import Gate
from router.admin import catalogue
from router.admin import operator_pages as operators
from router.admin.docs import docs
from router.admin.guarded import BORNE, guarded, nothing
from router.admin.operations import Operations
from router.admin.probes import Probes
from router.admin.routed import AnswerRoute, DialectErrors, of_anthropic
from router.admin.webpage import webpage
from router.callers import Caller
from router.intake.protocol import GATEWAY
from router.intake.request import Request as Asked

Pages = FastAPI
"""The FastAPI application of all pages."""


def pages(admin: Operations, gate: Gate, answers: Sequence[AnswerRoute], probes: Probes) -> Pages:
    """Return the FastAPI application of all pages, each but the health pages with its access check, and of the chat routes in `answers`."""
    refusals = DialectErrors(admin.live)
    of_callers, of_operators = guarded(refusals, gate.enter_caller), guarded(refusals, gate.enter_operator)
    # No redirects to an address with or without its last slash: they would be written with whatever host a request names.
    app = FastAPI(title="Pointsman", version=__version__, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    health, metrics = APIRouter(tags=["health"]), APIRouter(tags=["admin"], route_class=of_operators)
    health.get("/healthz", response_model=dict[str, str])(probes.healthz)
    unready = {503: {"description": "Still warming up, or about to end"}}
    health.get("/readyz", response_model=dict[str, Any], responses={**unready})(probes.readyz)
    metrics.get("/metrics", response_class=PlainTextResponse, responses=operators.REFUSED)(probes.metrics)
    app.router.routes += answers
    for router in (
        *_for_callers(admin, APIRouter(route_class=of_callers), APIRouter(route_class=guarded(refusals, gate.enter_user))),
        health,
        metrics,
        operators.pages(admin, of_operators),
        docs(guarded(refusals, gate.enter_shell)),
        webpage(guarded(refusals, gate.enter_reader), admin.live),
        _documented(app, answers, APIRouter(route_class=of_operators)),
    ):
        app.router.routes += router.routes  # not included: their guards are the routes' own
    app.router.default = nothing(refusals, gate.enter_caller)
    return app


def _of_callers(missing: str = "") -> dict[str, Any]:
    """Return the keyword arguments for the routes of callers' pages: their OpenAPI description. `missing`: the meaning of a 404, if any."""
    said = {401: "No key or token came along, or it is not good here", 404: missing, 503: "The credentials cannot be verified just now"}
    return {"responses": {status: {"description": words} for status, words in said.items() if words}, "openapi_extra": {"security": BORNE}}


def _for_callers(admin: Operations, router: APIRouter, own: APIRouter) -> tuple[APIRouter, APIRouter]:
    """Add the lists of models to `router`, and the record of a caller's own request to `own`. Return both."""
    live, began = admin.live, int(time.time())

    @router.get("/api/models", tags=["models"], **_of_callers())
    async def models(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The listed chat models that the caller may ask: ids, aliases, and what is known of their first target's model, such as prices."""
        generation, caller = live.generation, _caller(request)
        return await admin.page(lambda: {"models": catalogue.listed(generation, caller)})

    @router.get("/v1/models", tags=["models"], **_of_callers())
    async def models_as_openai_lists_them(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The ids and aliases of models in the form of the OpenAI API, or of Anthropic's if the header `anthropic-version` is sent.

        `created` is the time at which this process began.
        """
        generation, caller = live.generation, _caller(request)
        of = catalogue.anthropic_list if of_anthropic(request.scope) else catalogue.openai_list
        return _identified(request, await admin.page(lambda: of(generation, caller, began)))

    @router.get("/v1/models/{model:path}", tags=["models"], **_of_callers("There is no such model, or the caller may not ask it"))
    async def model_as_openai_describes_it(request: Request, model: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """A model by its id or alias, in the form of the list, also if it is not listed."""
        generation, caller = live.generation, _caller(request)
        of = catalogue.anthropic_model if of_anthropic(request.scope) else catalogue.openai_model
        found = of(generation, caller, model, began)
        return _identified(request, await admin.page(lambda: found))

    @router.get(f"{GATEWAY}/config", tags=["models"], **_of_callers())
    async def models_as_the_ai_sdk_lists_them(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The ids and aliases of the listed models that the caller may ask, in the form of the AI SDK's gateway."""
        generation, caller = live.generation, _caller(request)
        return _identified(request, await admin.page(lambda: catalogue.gateway_list(generation, caller)))

    @own.get(
        "/api/requests/{request_id}", response_model=dict[str, Any], tags=["chat"], **_of_callers("Not remembered, not over, or another's")
    )
    async def request_of_the_caller(request: Request, request_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The record of one of the caller's own requests, once it is over: attempts with times, tools, rescues, cost.

        No text of the conversation is in it.
        """
        found = await admin.request(request_id, _caller(request).owner)
        if found is None:
            raise HTTPException(404, "no such request of yours is remembered: each worker keeps its last 1,000")
        return await admin.page(lambda: found)

    return router, own


def _identified(request: Request, page: Response) -> Response:
    """Return the page with the request's id added, in the header that clients of OpenAI or Anthropic read."""
    page.headers["request-id" if of_anthropic(request.scope) else "x-request-id"] = Asked(request.scope, request.receive).id
    return page


def _caller(request: Request) -> Caller:
    """Return the caller that the route's access check has stored in the request."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


def _documented(app: FastAPI, answers: Sequence[AnswerRoute], router: APIRouter) -> APIRouter:
    """Add /openapi.json to the router: FastAPI's description of the pages, completed by the chat addresses. Return the router."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            from router.admin import openapi  # noqa: PLC0415 - its models cost time and memory that only a reader of the page pays

            addresses = {one.path_format: one.operations for one in answers}
            app.openapi_schema = openapi.complete(get_openapi(title=app.title, version=app.version, routes=app.routes), addresses)
        return app.openapi_schema

    app.openapi = document

    @router.get("/openapi.json", include_in_schema=False)
    def schema(request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Return the OpenAPI document, with the root path of the request as its server."""
        root = str(request.scope.get("root_path", ""))
        return {**document(), **({"servers": [{"url": root}]} if root else {})}

    return router
