"""Pages of the router in a browser: they load nothing from elsewhere, and no page of another site opens those for operators."""

import re

import pytest

from tests.conftest import Workspace, routes, serving
from tests.support.raw import request, said

HI = "a: {script: [{text: Hi}]}"
KEY = "server: {admin: {key: an-admin-key-of-32-characters-xxx}}\n"
OTHERS = ["/healthz", "/readyz", "/v1/models", "/api/models", "/metrics", "/openapi.json", "/admin/config", "/admin/targets", "/no-such"]
OPERATORS = ["/metrics", "/docs", "/docs/start.js", "/openapi.json", "/admin/config", "/admin/targets", "/admin/requests"]


async def test_docs_load_nothing_from_elsewhere(workspace: Workspace) -> None:
    """Every address in the page is relative and served here, as what it is; nothing stands inline."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        page = await client.get("/docs")
        text = page.body.decode()
        assert page.headers["content-type"].startswith("text/html")
        found = re.findall(r'(?:src|href)="([^"]*)"', text)
        assert sorted(found) == ["docs/favicon.png", "docs/start.js", "docs/swagger-ui-bundle.js", "docs/swagger-ui.css"]
        assert "//" not in text
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", text)
        for address, kind in zip(sorted(found), ("image/png", "text/javascript", "text/javascript", "text/css"), strict=True):
            part = await client.get(f"/{address}")
            assert (part.status, part.headers["content-type"].partition(";")[0]) == (200, kind)
            assert part.headers["x-content-type-options"] == "nosniff"
            assert len(part.body) > 50
        start = (await client.get("/docs/start.js")).body.decode()
        assert 'fetch("openapi.json"' in start
        assert "http" not in start
        assert (await client.get("/docs/oauth2-redirect")).status == 404
        assert (await client.get("/docs/../../etc/passwd")).status == 404


async def test_policy_of_docs_is_strict(workspace: Workspace) -> None:
    """Scripts of this server alone: none inline, none evaluated, and no other page may frame it."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        headers = (await client.get("/docs")).headers
    parts = [one.strip().partition(" ") for one in headers["content-security-policy"].split(";")]
    policy = {name: value for name, _, value in parts}
    assert policy == {
        "default-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "object-src": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js", "/docs/swagger-ui.css"])
async def test_docs_page_opens_without_the_admin_key_and_holds_no_schema(workspace: Workspace, path: str) -> None:
    """A browser cannot send a key for a page: the page asks for it, and the schema is what is guarded."""
    async with serving(workspace.write("routes.yaml", routes(HI, more=KEY)).build()) as client:
        assert (await said(client.base, request(f"GET {path}"))).status == 200
        assert (await said(client.base, request("GET /openapi.json"))).status == 401
        assert (await said(client.base, request(f"GET {path}", host="rebound.example"))).status == 403
        assert (await said(client.base, request(f"GET {path}", x_forwarded_for="203.0.113.7"))).status == 403


@pytest.mark.parametrize("path", OTHERS)
async def test_other_pages_load_nothing_at_all(workspace: Workspace, path: str) -> None:
    """A browser that shows JSON as a page runs nothing in it."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        assert (await client.get(path)).headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("more", ["", KEY], ids=["without a key", "with the key"])
@pytest.mark.parametrize("path", OPERATORS)
async def test_operators_pages_are_not_opened_by_other_sites(workspace: Workspace, path: str, more: str) -> None:
    """Neither by another site nor by another host or port of the same one; by the reader, this server's page or a program they are."""
    bearer = {"authorization": "Bearer an-admin-key-of-32-characters-xxx"} if more else {}
    async with serving(workspace.write("routes.yaml", routes(HI, more=more)).build()) as client:
        for site, status in (("cross-site", 403), ("same-site", 403), ("", 403), ("same-origin", 200), ("none", 200)):
            assert (await said(client.base, request(f"GET {path}", sec_fetch_site=site, **bearer))).status == status, site
        assert (await said(client.base, request(f"GET {path}", **bearer))).status == 200


async def test_change_sent_by_another_site_is_refused_before_its_key_is_read(workspace: Workspace) -> None:
    """The browser's site is looked at before the key is: a page cannot try keys."""
    async with serving(workspace.write("routes.yaml", routes(HI, more=KEY)).build()) as client:
        for site, status in (("cross-site", 403), ("same-origin", 401)):
            answer = await said(
                client.base, request("POST /admin/targets/a", b'{"state": "drain"}', sec_fetch_site=site, authorization="Bearer no")
            )
            assert answer.status == status
