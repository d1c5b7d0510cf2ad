"""Requests of web pages of other origins (CORS), refused ones in the log, and HEAD requests."""

import json
import logging

import pytest

from router.access.cors import MAX_REMINDED, RefusedOrigins
from tests.conftest import Client, Workspace, routes, serving

HI = "a: {script: [{text: Hi}]}"
DECLARED = "server: {cors: {origins: ['https://Chat.example.com:443', 'https://münchen.example', 'tauri://localhost']}}\n"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}


async def preflight(client: Client, origin: str, **headers: str) -> tuple[int, dict[str, str]]:
    """Send a CORS preflight of this origin; return the answer's status and headers."""
    asked = {"origin": origin, **PREFLIGHT, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with client.session.options(client.base + "/api/chat", headers=asked) as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}


@pytest.mark.parametrize("origin", ["https://chat.example.com", "https://xn--mnchen-3ya.example", "tauri://localhost"])
async def test_declared_origin_matches_in_its_normalized_form(workspace: Workspace, origin: str) -> None:
    """A declared origin with capitals, a default port or umlauts matches the lower-case ASCII form that browsers send."""
    async with serving(workspace.write("routes.yaml", routes(HI, more=DECLARED)).build()) as client:
        status, headers = await preflight(client, origin)
        assert (status, headers["access-control-allow-origin"]) == (200, origin)
        assert "access-control-allow-private-network" not in headers


async def test_private_network_is_allowed_to_declared_origins_alone(workspace: Workspace) -> None:
    """A preflight that asks for access to a private network is allowed for a declared origin, and 400 for any other."""
    async with serving(workspace.write("routes.yaml", routes(HI, more=DECLARED)).build()) as client:
        status, headers = await preflight(client, "https://chat.example.com", access_control_request_private_network="true")
        assert (status, headers["access-control-allow-private-network"]) == (200, "true")
        assert "access-control-request-private-network" in headers["vary"].lower()
        status, headers = await preflight(client, "https://evil.example", access_control_request_private_network="true")
        assert (status, headers.get("access-control-allow-origin")) == (400, None)
        assert "access-control-allow-private-network" not in headers


def refused(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the origins in the log lines `origin refused`."""
    return [record.__dict__["fields"]["origin"] for record in caplog.records if record.getMessage() == "origin refused"]


@pytest.mark.parametrize("more", ["", DECLARED], ids=["none declared", "others declared"])
async def test_refused_origin_is_logged_once(workspace: Workspace, caplog: pytest.LogCaptureFixture, more: str) -> None:
    """A refused origin is logged once for preflights and requests together, an invalid one as `malformed`; the server's own is not."""
    caplog.set_level(logging.INFO)
    async with serving(workspace.write("routes.yaml", routes(HI, more=more)).build()) as client:
        own = client.base
        for origin in ("https://evil.example", "null", "x" * 400, "sk-secret-of-a-client", own):
            for _ in range(2):
                await preflight(client, origin)
                async with client.session.get(client.base + "/healthz", headers={"origin": origin}) as response:
                    assert response.status == 200
        async with client.session.get(
            client.base + "/healthz", headers={"origin": "https://a.b", "sec-fetch-site": "same-origin"}
        ) as response:
            assert response.status == 200
    assert refused(caplog) == ["https://evil.example", "null", "malformed"]


def test_refused_origin_is_logged_once_a_minute_up_to_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    """MAX_REMINDED different origins are logged at most; after 60 s one of them is logged again, once."""
    now = [0.0]
    origins = RefusedOrigins(lambda: now[0])
    for _ in range(3):
        for number in range(2 * MAX_REMINDED):
            origins.note(f"https://{number}.example")
    assert len(refused(caplog)) == MAX_REMINDED
    now[0] = 60.0
    origins.note("https://0.example")
    origins.note("https://0.example")
    assert refused(caplog)[MAX_REMINDED:] == ["https://0.example"]


REFUSALS = {
    "no JSON": (b"{", "The body is not JSON (line 1, column 2)."),
    "a role": (
        b'{"messages": [{"role": "CANARY", "content": "Hi"}]}',
        "messages[0].role: one of system, developer, user, assistant, tool is needed.",
    ),
    "a media type": (
        b'{"messages": [{"role": "user", "parts": [{"type": "file", "url": "data:video/canary;base64,AA", "mediaType": "video/canary"}]}]}',
        "messages[0].parts[0]: images, PDF documents, audio and text files are read here.",
    ),
    "a sampling parameter": (
        b'{"messages": [{"role": "user", "content": "Hi"}], "temperature": "CANARY"}',
        "temperature: a number is needed.",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_log_has_the_reason_of_a_refused_request_without_its_text(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """A 400 is logged with the router's own sentence as its reason, and without any text of the client."""
    caplog.set_level(logging.INFO)
    body, reason = REFUSALS[case]
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        async with client.session.post(client.base + "/api/chat", data=body) as response:
            assert response.status == 400
        assert (await client.ask()).status == 200
    lines = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request"]
    assert [line["reason"] for line in lines] == [reason, None]
    assert "canary" not in json.dumps(lines).lower()


async def test_log_omits_the_name_of_a_field_that_a_prompt_template_misses(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A 400 for a missing template field names the field to the client, and is logged without that name."""
    caplog.set_level(logging.INFO)
    workspace.write("pipelines/p.yaml", "steps: [{prompt: p.j2}]\n").write("pipelines/p.j2", "{{ params[params.kind] }}")
    async with serving(workspace.write("routes.yaml", routes(HI).replace("pipeline: chat", "pipeline: p")).build()) as client:
        answer = await client.ask(params={"kind": "canary"})
    assert answer.status == 400
    assert b"canary" in answer.body
    [line] = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request"]
    assert line["reason"] == "This model needs a field that the request lacks."


PAGES = [
    "/healthz",
    "/readyz",
    "/v1/models",
    "/api/models",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/admin/config",
    "/admin/targets",
    "/admin/requests",
]


@pytest.mark.parametrize("path", [*PAGES, "/admin/requests/none", "/no-such", "/v1/no-such"])
async def test_head_answers_as_get_does_without_the_body(workspace: Workspace, path: str) -> None:
    """HEAD has the status and headers of GET and no body on every page, and the connection stays usable."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        async with client.session.head(client.base + path) as response:
            head, headers = response.status, {name.lower(): value for name, value in response.headers.items()}
            assert await response.read() == b""
        got = await client.get(path)
        assert head == got.status
        varying = {"date", "x-request-id", *({"content-length"} if path in ("/metrics", "/admin/config") else ())}
        assert {name: value for name, value in headers.items() if name not in varying} == {
            name: value for name, value in got.headers.items() if name not in varying
        }


async def test_head_of_a_chat_address_is_405(workspace: Workspace) -> None:
    """HEAD of a chat address, which would run an answer that is not read, is 405."""
    async with serving(workspace.write("routes.yaml", routes(HI)).build()) as client:
        for path in ("/api/chat", "/api/chat/x/stream", "/v1/chat/completions"):
            async with client.session.head(client.base + path) as response:
                assert response.status == 405
