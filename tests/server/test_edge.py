"""Chat addresses that are found without a search: the application and its parameters are those of the table of routes."""

import itertools
from collections.abc import Awaitable
from typing import Any, cast

import pytest
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from router.config import declare, read
from router.generation import build
from router.server import Edge, application
from tests.conftest import Workspace, routes

HOSTED = [(b"host", b"localhost")]
PATHS = [
    "/api/chat", "/api/chat/", "/api/chat/a", "/api/chat/a b", "/api/chat/a/b", "/api/chat//", "/api/chat//a", "/api/chat/a/",
    "/api/chat/stream", "/api/chat/a/stream", "/api/chat//stream", "/api/chat/stop", "/api/chat/a/stop", "/api/chatter", "/api/agui",
    "/api/agui/", "/api/agui/a", "/api/agui/a/b", "/v1/responses", "/v1/responses/", "/v1/responses/a", "/v1/responses/input_tokens",
    "/v1/messages", "/v1/messages/a", "/v1/messages/count_tokens", "/v4/ai/language-model", "/v1/chat", "/", "",
]  # fmt: skip


@pytest.fixture
def edge(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> tuple[Edge, list[tuple[str, object]]]:
    """An application whose chat addresses answer nothing, and a list of (path of the route, its parameters) of the requests to them."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}"))
    made = application(build(declare(read(workspace.root / "routes.yaml"), {})))
    reached: list[tuple[str, object]] = []
    known = cast("Any", made)

    def noted(path: str) -> Any:
        async def app(scope: Scope, _: Receive, send: Send) -> None:
            reached.append((path, scope.get("path_params") or {}))

        return app

    for route in known._answers:
        stand_in = noted(route.path)
        for found in (known._exact, known._named):
            for path in [path for path, app in found.items() if app is route.app]:
                monkeypatch.setitem(found, path, stand_in)
        monkeypatch.setattr(route, "app", stand_in)
    monkeypatch.setattr(known._router, "default", noted("none"))
    return made, reached


def test_chat_address_reaches_the_route_that_the_table_has_for_it(edge: tuple[Edge, list[tuple[str, object]]]) -> None:
    """Every path and method reaches the same route with the same parameters, found at once or by a search through the table."""
    made, reached = edge
    known = cast("Any", made)
    for path, method in itertools.product(PATHS, ["GET", "POST", "HEAD", "DELETE", "OPTIONS"]):
        scope = {"type": "http", "method": method, "path": path, "headers": HOSTED, "root_path": "", "query_string": b"", "client": None}
        reached.clear()
        _driven(made.serve_request(dict(scope), _received, _sent))
        matches = [(route, *route.matches(dict(scope))) for route in known._answers]
        wanted = [(route.path, more["path_params"]) for route, match, more in matches if match == Match.FULL][:1]
        refused = [route for route, match, _ in matches if match == Match.PARTIAL] and not wanted
        assert reached == ([] if refused else wanted or [("none", {})]), (path, method)


def _driven(work: Awaitable[None]) -> None:
    """Run a coroutine that never waits."""
    with pytest.raises(StopIteration):
        work.__await__().send(None)


async def _received() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _sent(_: Message) -> None: ...
