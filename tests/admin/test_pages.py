"""Pages in a browser: they load nothing from other servers, and pages of other sites cannot open the operator's."""

import re

import pytest

from tests.conftest import Workspace, routes, serving
from tests.support.raw import request, response_to

HI = "a: {script: [{text: Hi}]}"
KEY = "server: {admin: {key: an-admin-key-of-32-characters-xxx}}\n"
OTHERS = ["/healthz", "/readyz", "/v1/models", "/api/models", "/metrics", "/openapi.json", "/admin/config", "/admin/targets", "/no-such"]
OPERATORS = ["/metrics", "/docs", "/docs/start.js", "/openapi.json", "/admin/config", "/admin/targets", "/admin/requests"]


async def test_docs_load_files_of_their_own_server_alone(workspace: Workspace) -> None:
    """Every address in /docs is relative and served with its own content type; nothing is inline, and other paths are 404."""
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


async def test_docs_content_security_policy_allows_own_files_alone(workspace: Workspace) -> None:
    """The Content-Security-Policy of /docs allows no inline script, no `eval` and no frame around it; no referrer is sent."""
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
async def test_docs_page_opens_without_the_admin_key_but_its_schema_does_not(workspace: Workspace, path: str) -> None:
    """With a declared admin key, /docs and its files are 200 without it and /openapi.json is 401; other hosts and proxies get 403."""
    async with serving(workspace.write("routes.yaml", routes(HI, more=KEY)).build()) as client:
        assert (await response_to(client.base, request(f"GET {path}"))).status == 200
        assert (await response_to(client.base, request("GET /openapi.json"))).status == 401
        assert (await response_to(client.base, request(f"GET {path}", host="rebound.example"))).status == 403
        assert (await response_to(client.base, request(f"GET {path}", x_forwarded_for="203.0.113.7"))).status == 403


@pytest.mark.parametrize("path", OTHERS)
async def test_content_security_policy_of_json_answers_allows_nothing(workspace: Workspace, path: str) -> None:
    """Answers that are no HTML page have the Content-Security-Policy `default-src 'none'; frame-ancestors 'none'`."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        assert (await client.get(path)).headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("more", ["", KEY], ids=["without a key", "with the key"])
@pytest.mark.parametrize("path", OPERATORS)
async def test_operators_pages_are_not_opened_by_other_sites(workspace: Workspace, path: str, more: str) -> None:
    """By `Sec-Fetch-Site`, operator pages are 403 for `cross-site`, `same-site` and an empty value, and 200 otherwise."""
    bearer = {"authorization": "Bearer an-admin-key-of-32-characters-xxx"} if more else {}
    async with serving(workspace.write("routes.yaml", routes(HI, more=more)).build()) as client:
        for site, status in (("cross-site", 403), ("same-site", 403), ("", 403), ("same-origin", 200), ("none", 200)):
            assert (await response_to(client.base, request(f"GET {path}", sec_fetch_site=site, **bearer))).status == status, site
        assert (await response_to(client.base, request(f"GET {path}", **bearer))).status == 200


async def test_change_sent_by_another_site_is_refused_before_its_key_is_read(workspace: Workspace) -> None:
    """A change with a wrong key is 403 from another site, so that a page cannot try keys, and 401 from this server's own page."""
    async with serving(workspace.write("routes.yaml", routes(HI, more=KEY)).build()) as client:
        for site, status in (("cross-site", 403), ("same-origin", 401)):
            answer = await response_to(
                client.base, request("POST /admin/targets/a", b'{"state": "drain"}', sec_fetch_site=site, authorization="Bearer no")
            )
            assert answer.status == status
