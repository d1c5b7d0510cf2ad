"""The page at `/`: a playground in a browser, made of the files in router/web.

The page holds no secret and no data. Its scripts ask the same addresses as every other client, with the key that the reader types in.
"""

import gzip
import hashlib
from functools import cached_property
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from router.reload import Live
from router.value import Value

FOLDER = Path(__file__).parent.parent / "web"
INDEX = "index.html"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Suffix of a file → its content type. Files with other suffixes (licences, the manifest) are not served."""
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; object-src 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
"""Images of a question are `data:` addresses. Only DOMPurify's output may become HTML; nothing inline runs, and nothing is evaluated."""
HEADERS = {"content-security-policy": POLICY, "referrer-policy": "no-referrer", "vary": "Accept-Encoding"}
FOREVER, EACH_TIME = "public, max-age=31536000, immutable", "no-cache"
"""Cache-Control of files under the current digest, which never change, and of the page itself, which is revalidated (mostly 304)."""
PLACE = "{{files}}"
"""The placeholder in the page for the folder of its files."""


class PageFile(Value, frozen=True, dict=True):
    """A file of the web page: its bytes and its content type."""

    body: bytes
    kind: str

    @cached_property
    def tag(self) -> str:
        """The entity tag: a hash of the bytes."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'

    @cached_property
    def packed(self) -> bytes:
        """The bytes, gzipped; the same in every process."""
        return gzip.compress(self.body, mtime=0)


class Site:
    """All files of the web page, read once. `digest`: a hash of all of them, which is a folder in their addresses."""

    def __init__(self, folder: Path = FOLDER) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix in KINDS and path.is_file())
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        hashed = hashlib.sha256()
        for name, data in found.items():
            hashed.update(f"{name}\0{len(data)}\0".encode() + data)
        self.digest = hashed.hexdigest()[:16]
        index = found.pop(INDEX).replace(PLACE.encode(), f"web/{self.digest}".encode())
        self.index = PageFile(index, KINDS[".html"])
        self.files = {name: PageFile(data, KINDS[Path(name).suffix]) for name, data in found.items()}


def webpage(route: type[APIRoute], live: Live) -> APIRouter:
    """Return a router with the page and its files, as routes of this class; all 404 while the live generation has `server.page: off`.

    Addresses in them are relative, so that the page works behind any prefix.
    """
    site, router = Site(), APIRouter(include_in_schema=False, route_class=route)

    @router.get("/")
    def page(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        _check_shown(live)
        return _sent(site.index, request, EACH_TIME)

    @router.get("/web/{digest}/{name:path}")
    def file(request: Request, digest: str, name: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Return a file of the page, or 404. Under another version's digest it is this version's file, to be revalidated each time."""
        _check_shown(live)
        if name not in site.files:
            raise HTTPException(404)
        return _sent(site.files[name], request, FOREVER if digest == site.digest else EACH_TIME)

    return router


def _check_shown(live: Live) -> None:
    """Raise HTTPException 404 if the live generation has `server.page: off`."""
    if live.generation.server.page == "off":
        raise HTTPException(404)


def _sent(file: PageFile, request: Request, cached: str) -> Response:
    """Return the response with a file, gzipped if the client accepts that; 304 if the browser has it. `cached`: its Cache-Control."""
    headers = {**HEADERS, "etag": file.tag, "cache-control": cached}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, media_type=file.kind, headers={**headers, "content-encoding": "gzip"})
    return Response(file.body, media_type=file.kind, headers=headers)
