"""`/docs`: Swagger UI for `/openapi.json`, from files of this server.

FastAPI's own page loads its scripts from a public server, and they would run with the reader's access to this one.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.routing import APIRoute

POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; object-src 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of the page. Swagger UI's style sheet contains `data:` images; inline code and `eval` are blocked."""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pointsman</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<script src="docs/swagger-ui-bundle.js" defer></script>
<script src="docs/start.js" defer></script>
</head>
<body><div id="page"></div></body>
</html>
"""
START = """const place = document.getElementById("page");

function show(spec) {
  SwaggerUIBundle({ spec, dom_id: "#page", validatorUrl: null, queryConfigEnabled: false });
}

function wish(sentence) {
  const form = document.createElement("form");
  const label = document.createElement("label");
  const field = Object.assign(document.createElement("input"), { type: "password", autocomplete: "off" });
  const button = Object.assign(document.createElement("button"), { textContent: "Open" });
  label.append(sentence + " ", field);
  form.append(label, " ", button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    load(field.value.trim());
  });
  place.replaceChildren(form);
  field.focus();
}

async function load(key) {
  const headers = key ? { Authorization: "Bearer " + key } : {};
  const response = await fetch("openapi.json", { headers, credentials: "same-origin", cache: "no-store" });
  if (response.ok) show(await response.json());
  else wish(key ? "This is not the admin key. Admin key:" : "Admin key:");
}

load("");
"""
"""The page's script. It keeps the admin key in memory, and sends it to `openapi.json` alone."""
FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
"""Files of Swagger UI → their content type."""


def docs(route: type[APIRoute]) -> APIRouter:
    """Return a router with `/docs` and its files, as routes of this class. They hold no data: the page loads the guarded `openapi.json`."""
    router = APIRouter(prefix="/docs", include_in_schema=False, route_class=route)
    found = find_spec("fastapi_offline")  # Swagger UI's files are inside of this package; its code is not run
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "static"

    @router.get("")
    def page() -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        return HTMLResponse(PAGE, headers={"content-security-policy": POLICY, "referrer-policy": "no-referrer"})

    @router.get("/start.js")
    def start() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(START, media_type="text/javascript")

    for name, kind in FILES.items():
        router.add_api_route(f"/{name}", _file(folder / name, kind), methods=["GET"])
    return router


def _file(path: Path, kind: str) -> Callable[[], FileResponse]:
    return lambda: FileResponse(path, media_type=kind)
