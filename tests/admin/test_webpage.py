"""The files of the page at `/`: policy, access, caching, size and vendored libraries."""

import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from router.admin.webpage import FOLDER, Site
from router.callers.keys import hashed, new
from tests.conftest import ROOT, Workspace, routes, serving
from tests.support.process import process
from tests.support.raw import request, response_to
from tests.support.services import run

HI = "a: {script: [{text: Hi}]}"
KEYS = "server: {auth: {keys: {alice: {hash: '%s'}}}}\n"
MAX_PACKED_BYTES = 100_000
"""Bytes of all files of the page together, each gzipped by itself, at most."""
MAX_OWN = (24_000, 7_000)
"""Bytes of one file that is not vendored, at most: plain, and gzipped."""
MAX_VENDORED = (56_000, 17_000)
"""Bytes of one vendored library, at most: plain, and gzipped."""
KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
MANIFEST = json.loads((FOLDER / "vendor" / "manifest.json").read_text(encoding="utf-8"))
IMPORTED = re.compile(r"""(?:from|import)\s*["']([^"']+)["']""")


async def test_page_names_only_files_of_its_own_server(workspace: Workspace) -> None:
    """Every address in the page is relative and served with its own content type; no script or style is inline."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        page = await client.get("/")
        text = page.body.decode()
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        found = re.findall(r'(?:src|href)="([^"]*)"', text)
        assert len(found) == 3
        assert "//" not in text
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", text)
        for address in found:
            part = await client.get(f"/{address}")
            assert (part.status, part.headers["content-type"]) == (200, KINDS[Path(address).suffix])
            assert part.headers["x-content-type-options"] == "nosniff"


async def test_page_policy_allows_no_inline_code_and_no_frame(workspace: Workspace) -> None:
    """The Content-Security-Policy allows own files, `data:` and `blob:` images and DOMPurify, but no frame around the page."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        for path in ("/", f"/web/{Site().digest}/main.js"):
            headers = (await client.get(path)).headers
            policy = dict(one.strip().split(" ", 1) for one in headers["content-security-policy"].split(";"))
            assert policy == {
                "default-src": "'self'",
                "img-src": "'self' data: blob:",
                "base-uri": "'none'",
                "form-action": "'none'",
                "object-src": "'none'",
                "frame-ancestors": "'none'",
                "require-trusted-types-for": "'script'",
                "trusted-types": "dompurify",
            }
            assert headers["referrer-policy"] == "no-referrer"


async def test_page_files_are_immutable_and_the_page_itself_is_revalidated(workspace: Workspace) -> None:
    """A page file is cacheable for a year at its current digest and `no-cache` at any other; the page is `no-cache`, with an ETag."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        page = await client.get("/")
        assert page.headers["cache-control"] == "no-cache"
        digest = Site().digest
        assert f"web/{digest}/main.js" in page.body.decode()
        kept = await client.get(f"/web/{digest}/main.js")
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
        other = await client.get("/web/another-version/main.js")
        assert (other.status, other.headers["cache-control"], other.body) == (200, "no-cache", kept.body)
        for path, tag in (("/", page.headers["etag"]), (f"/web/{digest}/main.js", kept.headers["etag"])):
            again = await response_to(client.base, request(f"GET {path}", if_none_match=tag))
            assert (again.status, again.rest) == (304, b"")
            changed = await response_to(client.base, request(f"GET {path}", if_none_match='"another"'))
            assert changed.status == 200


async def test_page_files_are_gzipped_for_clients_that_accept_gzip(workspace: Workspace) -> None:
    """A page file is gzipped for a request that accepts gzip, and uncompressed for any other."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        path = f"/web/{Site().digest}/style.css"
        packed = await response_to(client.base, request(f"GET {path}", accept_encoding="gzip, br"))
        plain = await response_to(client.base, request(f"GET {path}"))
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.rest) == plain.rest == (FOLDER / "style.css").read_bytes()


@pytest.mark.parametrize(
    "name", ["no-such.js", "index.html", "vendor/manifest.json", "vendor/LICENSES.txt", "vendor/preact.d.ts", "../server/gate.py"]
)
async def test_page_serves_only_its_own_files(workspace: Workspace, name: str) -> None:
    """A name under /web/ that is not one of the page's own files, or leads out of the folder, is 404, also percent-encoded."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        assert (await response_to(client.base, request(f"GET /web/x/{name}"))).status == 404
        assert (await response_to(client.base, request(f"GET /web/x/{name.replace('.', '%2e')}"))).status == 404


async def test_page_answers_head_without_a_body_and_refuses_post(workspace: Workspace) -> None:
    """HEAD of the page is 200 without a body, and POST is 405."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        head = await response_to(client.base, request("HEAD /"))
        assert (head.status, head.rest) == (200, b"")
        assert (await response_to(client.base, request("POST /"))).status == 405


async def test_page_is_served_to_this_machine_alone_without_declared_auth(workspace: Workspace) -> None:
    """Without `server.auth`, page and files are 403 for forwarded requests and for a foreign host name."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        for path in ("/", f"/web/{Site().digest}/main.js"):
            assert (await response_to(client.base, request(f"GET {path}", x_forwarded_for="203.0.113.7"))).status == 403
            assert (await response_to(client.base, request(f"GET {path}", host="rebound.example"))).status == 403


async def test_page_is_not_served_where_it_is_off(workspace: Workspace) -> None:
    """With `page: off`, page and files are 404 like any unknown path, or 401 without a key if keys are declared for callers."""
    key = new()
    paths = ("/", f"/web/{Site().digest}/main.js")
    async with serving(workspace.write("routes.yaml", routes(HI, more="server: {page: off}\n")).build()) as client:
        assert [(await client.get(path)).status for path in (*paths, "/nothing")] == [404, 404, 404]
    keys = (KEYS % hashed(key)).replace("{auth", "{page: off, auth")
    async with serving(workspace.write("routes.yaml", routes(HI, more=keys)).build()) as client:
        for path in (*paths, "/nothing"):
            assert (await response_to(client.base, request(f"GET {path}"))).status == 401
            assert (await response_to(client.base, request(f"GET {path}", authorization=f"Bearer {key}"))).status == 404


async def test_page_opens_without_a_key_where_auth_is_declared(workspace: Workspace) -> None:
    """With keys declared for callers, the page opens without one and names no route; /api/models is 401."""
    keys = KEYS % hashed(new())
    async with serving(workspace.write("routes.yaml", routes(HI, more=keys)).build()) as client:
        page = await response_to(client.base, request("GET /", x_forwarded_for="203.0.113.7", host="router.example"))
        assert page.status == 200
        assert "chat-model" not in page.everything
        assert (await response_to(client.base, request("GET /api/models"))).status == 401


def test_page_stays_within_its_size_budget() -> None:
    """Each file of the page, plain and gzipped, is within its bound in bytes, and all together are within 100,000 bytes gzipped."""
    site = Site()
    files = {"index.html": site.index, **site.files}
    for name, file in files.items():
        print(f"{len(file.body):7,} {len(file.packed):7,}  {name}")  # noqa: T201 - the numbers that are held
        most_plain, most_packed = MAX_VENDORED if name.startswith("vendor/") else MAX_OWN
        assert (len(file.body) <= most_plain, len(file.packed) <= most_packed) == (True, True), name
    packed = sum(len(file.packed) for file in files.values())
    print(f"{sum(len(file.body) for file in files.values()):7,} {packed:7,}  in all")  # noqa: T201
    assert packed <= MAX_PACKED_BYTES


def test_vendored_files_match_the_manifest_and_the_lock_file() -> None:
    """Each vendored file has the manifest's hash, the version, integrity and licence of web/package-lock.json, and its licence text."""
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert {path.name for path in (FOLDER / "vendor").glob("*.js")} == set(MANIFEST)
    licences = (FOLDER / "vendor" / "LICENSES.txt").read_text(encoding="utf-8")
    for name, entry in MANIFEST.items():
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == entry["sha256"], name
        locked = lock[f"node_modules/{entry['package']}"]
        assert (locked["version"], locked["integrity"], locked["license"]) == (entry["version"], entry["integrity"], entry["licence"])
        assert f"== {entry['package']} ==" in licences


def test_scripts_import_each_other_by_relative_addresses() -> None:
    """Each import in the page's scripts begins with `.` and names a file that exists."""
    for path in FOLDER.rglob("*.js"):
        if path.name in ("marked.js", "purify.js"):  # they import nothing, and speak of imports in their strings
            continue
        own = path.read_text(encoding="utf-8").partition("\nexport ")[0] if path.name == "copies.js" else path.read_text(encoding="utf-8")
        for name in IMPORTED.findall(re.sub(r"import\(\"[^\"]*\"\)", "", own)):
            assert name.startswith("."), f"{path.name} imports {name}"
            assert (path.parent / name).resolve().is_file(), f"{path.name} imports {name}"


def test_scripts_write_no_html_and_evaluate_nothing() -> None:
    """No script has `eval`, `new Function` or `document.write`; scripts that are not vendored set no HTML and contain no web address."""
    for path in FOLDER.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\beval\(|new Function\(|document\.write", text), path
        if path.parent.name != "vendor":
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|https?://", text), path


async def test_scripts_pass_the_typescript_type_check() -> None:
    """The TypeScript compiler `tsc`, where installed, accepts the JSDoc types of the page's scripts."""
    compiler = ROOT / "web" / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.exists() or (node := shutil.which("node")) is None:
        pytest.skip("the TypeScript compiler is not installed here: `make web/node_modules/.done` installs it, with npm")
    await run(node, str(compiler), "--project", str(ROOT / "web"))


@pytest.mark.parametrize(("page", "printed"), [("on", "/  (questions: /api/chat"), ("off", "/api/chat  (documentation")])
async def test_serve_prints_an_address_that_a_browser_can_open(workspace: Workspace, page: str, printed: str) -> None:
    """`router serve` prints the address of the page, or that of the chat API with `page: off`."""
    workspace.write("routes.yaml", routes(HI, more=f"server: {{page: {page}}}\n"))
    async with process(workspace.root) as router:
        assert f"{router.base}{printed}" in router.printed
