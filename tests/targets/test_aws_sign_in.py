"""Sign-in of a Bedrock target with the credentials of an AWS role, which botocore fetches for LiteLLM through the declared proxy and CA."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from router.config.declaration import TargetConfig
from router.config.network import Certificates
from router.config.values import Name
from router.value import replace
from tests.support.authority import Authority
from tests.support.egress import ForwardProxy, proxying, refuses_with
from tests.support.provider import Reply
from tests.targets.test_proxy import BEDROCK, Scene, scene

MODEL = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"
RUNTIME = "bedrock-runtime.eu-west-1.amazonaws.com"
SERVICE = ("sts.amazonaws.com", "sts.eu-west-1.amazonaws.com")
"""Hosts of the token service: LiteLLM asks the first for the caller's identity, the second for a role."""
IDENTITY = "<GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/router</Arn></GetCallerIdentityResult>"
ROLE = (
    "<AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
    "<SessionToken>of-the-role</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>"
)


class TokenService:
    """A fake of AWS STS, the service of temporary credentials. `asked`: the actions of its requests, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.peers: set[tuple[str, int]] = set()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.peers.add(writer.get_extra_info("peername"))
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length:")[2].partition("\r\n")[0])
                action = parse_qs((await reader.readexactly(length)).decode())["Action"][0]
                self.asked.append(action)
                said = IDENTITY if action == "GetCallerIdentity" else ROLE
                page = f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{said}</{action}Response>'.encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: %d\r\n\r\n" % len(page) + page)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def token_service(tls: ssl.SSLContext) -> AsyncGenerator[TokenService, None]:
    """Serve a fake of AWS STS on loopback with TLS while an `async with` block runs, and yield it."""
    made = TokenService()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@pytest.fixture(name="role")
def _role(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Set an AWS role in the environment, with another ARN in each test: LiteLLM caches the credentials of a role for an hour."""
    variables = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "eu-west-1",
        "AWS_ROLE_NAME": f"arn:aws:iam::123456789012:role/{abs(hash(request.node.name))}",
        "AWS_SESSION_NAME": "router",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def signed(target: TargetConfig) -> TargetConfig:
    """Return the target as a Bedrock model that signs requests with the role's credentials, without `api_base` or key."""
    return replace(target, model=Name(MODEL), api_base=None, api_key=None)


LOGIN = {"login": ("svc router", "p@ss/word"), "shown": "svc%20router:p%40ss%2Fword"}


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize("proxy_tls", [False, True])
async def test_role_credentials_are_fetched_through_the_declared_proxy_and_ca(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy_tls: bool
) -> None:
    """Requests to STS and Bedrock pass the declared proxy and are checked against the declared CA; those of the environment are ignored."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "Another CA")
    (tmp_path / "stranger.pem").write_text(stranger.pem)
    async with (
        scene(authority, reply=BEDROCK, host=RUNTIME, proxy_tls=proxy_tls, **LOGIN) as one,  # type: ignore[arg-type]
        token_service(authority.server(*SERVICE)) as sts,
        proxying(ForwardProxy({})) as trap,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{trap.address}")
        for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "stranger.pem"))
        one.proxy.names |= {f"{host}:443": sts.port for host in SERVICE}
        assert await one.said(signed(one.target)) == "Hello"
        assert sts.asked == ["GetCallerIdentity", "AssumeRole"]
        assert [headers["x-amz-security-token"] for headers in one.server.headers] == ["of-the-role"]
        assert sts.peers | set(one.server.peers) == one.proxy.led
        assert trap.connections == 0


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize("variables", [{}, {"SSL_VERIFY": "False"}])
async def test_role_credentials_are_not_requested_if_the_certificate_is_untrusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """A token service whose certificate the declared CA did not sign gets no request, even with SSL_VERIFY=False; the outcome is `tls`."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    authority = Authority(tmp_path)
    async with scene(authority, reply=BEDROCK, host=RUNTIME) as one, token_service(authority.server(*SERVICE)) as sts:
        one.proxy.names |= {f"{host}:443": sts.port for host in SERVICE}
        stranger = replace(signed(one.target), ca=Certificates(Authority(tmp_path, "Another CA").pem))
        assert await one.said(stranger) == "tls"
        assert (sts.asked, one.server.requests) == ([], [])


FAULTS: dict[str, tuple[Callable[[Scene], None], str]] = {
    "login": (lambda one: setattr(one.proxy, "fault", refuses_with(407)), "proxy_login"),
    "rules": (lambda one: setattr(one.proxy, "fault", refuses_with(403)), "proxy_denied"),
    "gateway": (lambda one: setattr(one.proxy, "fault", refuses_with(502)), "proxy_gateway"),
}


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize("case", FAULTS)
async def test_sign_in_that_the_proxy_refuses_has_a_proxy_outcome(tmp_path: Path, case: str) -> None:
    """A proxy that answers the sign-in with 407, 403 or 502 gives the outcome `proxy_login`, `proxy_denied` or `proxy_gateway`."""
    breaks, outcome = FAULTS[case]
    async with scene(Authority(tmp_path), reply=Reply(), host=RUNTIME) as one:
        breaks(one)
        assert await one.said(signed(one.target)) == outcome
