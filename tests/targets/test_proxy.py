"""Targets behind a forward proxy: tunnels and passed-on requests, the proxy's own refusals, and that no connection bypasses it."""

import asyncio
import json
import ssl
import struct
import zlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from router.chat import Ask, Message
from router.config.declaration import TargetConfig
from router.config.network import Certificates, Egress, proxy_of
from router.config.values import Name, Secret
from router.errors import TargetError
from router.events import Text
from router.targets import Connections, open_target
from router.value import replace
from tests.support.authority import Authority
from tests.support.egress import CANARY, Fault, ForwardProxy, proxying, refuses_with
from tests.support.provider import Provider, Reply, frame, text

ASK = Ask(model="m", messages=(Message("user", ("Hi",)),))
HOST = "model.test"
"""Host name that only the proxy can resolve."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that signs the certificates of the model servers."""
    return Authority(tmp_path_factory.mktemp("authority"))


class Seen(Provider):
    """A model server that records the addresses of its clients in `peers`."""

    def __init__(self, script: list[Reply]) -> None:
        super().__init__(script)
        self.peers: list[tuple[str, int]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Record the client's address, and answer its requests."""
        self.peers.append(writer.get_extra_info("peername"))
        await super().serve(reader, writer)


@asynccontextmanager
async def model(reply: Reply, tls: ssl.SSLContext | None) -> AsyncGenerator[Seen, None]:
    """Yield a model server on loopback, with TLS if a context is given."""
    made = Seen([reply])
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in made.serving.values():
            writer.transport.abort()
        await asyncio.gather(*made.serving, return_exceptions=True)


HELLO = Reply(text("Hello"))
CLAUDE = Reply(
    tuple(
        b"event: " + str(one["type"]).encode() + b"\n" + frame(one)
        for one in (
            {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
            {"type": "message_stop"},
        )
    )
)
RESPONDED = Reply(
    tuple(
        b"event: " + str(one["type"]).encode() + b"\n" + frame(one)
        for one in (
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Hello"},
            {"type": "response.completed", "response": {"status": "completed", "usage": {"input_tokens": 1, "output_tokens": 1}}},
        )
    )
)
GEMINI = Reply(
    (
        frame(
            {
                "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP", "index": 0}],
                "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
            }
        ),
    )
)
OLLAMA = Reply(
    headers={"content-type": "application/x-ndjson"},
    body=b"".join(
        json.dumps(one).encode() + b"\n"
        for one in (
            {"model": "x", "message": {"role": "assistant", "content": "Hello"}, "done": False},
            {"model": "x", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
        )
    ),
)


def _aws(kind: str, value: object) -> bytes:
    """Return one message of AWS's event stream: lengths, headers and payload with their checksums."""
    pairs = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    head = b"".join(bytes([len(n)]) + n.encode() + b"\x07" + struct.pack(">H", len(v)) + v.encode() for n, v in pairs.items())
    payload = json.dumps(value).encode()
    lengths = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = lengths + struct.pack(">I", zlib.crc32(lengths)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


BEDROCK = Reply(
    headers={"content-type": "application/vnd.amazon.eventstream"},
    body=_aws("messageStart", {"role": "assistant"})
    + _aws("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}})
    + _aws("contentBlockStop", {"contentBlockIndex": 0})
    + _aws("messageStop", {"stopReason": "end_turn"})
    + _aws("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}),
)
LITELLM = {
    "openai/gpt-4o": HELLO,
    "azure/gpt-4o": HELLO,
    "groq/llama-3.1-8b": HELLO,
    "anthropic/claude-haiku-4-5": CLAUDE,
    "gemini/gemini-2.5-flash": GEMINI,
    "ollama_chat/x": OLLAMA,
    "bedrock/anthropic.claude-3-haiku-20240307-v1:0": BEDROCK,
}
"""Models for LiteLLM's different clients (OpenAI's library, httpx, AWS signatures) → the server's answer."""
LANES = {"openai/x": HELLO, "anthropic/claude-haiku-4-5": CLAUDE, "openai/o3-pro": RESPONDED, "gemini/gemini-2.5-flash": GEMINI}


@dataclass
class Scene:
    """A model server, a proxy that reaches it, and a target that uses the proxy."""

    proxy: ForwardProxy
    server: Seen
    target: TargetConfig
    connections: Connections

    async def said(self, target: TargetConfig | None = None, connect: float = 60) -> str:
        """Return the answer's text, or the outcome if the target fails; CANARY if the error contains the proxy's words."""
        opened = open_target("a", target or self.target, connect, self.connections)
        try:
            async with asyncio.timeout(240), aclosing(opened.answer(ASK)) as events:
                return "".join([event.text async for event in events if isinstance(event, Text)])
        except TargetError as error:
            return CANARY if CANARY in f"{error!r} {error} {error.public}" else error.outcome


@asynccontextmanager
async def scene(
    authority: Authority,
    *,
    model_name: str = "openai/x",
    scheme: str = "https",
    reply: Reply | None = None,
    host: str = HOST,
    login: tuple[str, str] | None = None,
    shown: str = "",
    fault: Fault | None = None,
    proxy_tls: bool = False,
) -> AsyncGenerator[Scene, None]:
    """Yield a running scene. `login`: credentials that the proxy wants; `shown`: those in the target's proxy URL, percent-encoded."""
    connections = Connections()
    tls = authority.server(host.strip("[]")) if scheme == "https" else None
    outer = authority.server("127.0.0.1") if proxy_tls else None
    async with model(reply or LANES.get(model_name, HELLO), tls) as server:
        names = {f"{host}:443" if scheme == "https" else host: server.port}
        async with proxying(ForwardProxy(names, login, fault), outer) as proxy:
            address = f"http{'s' * proxy_tls}://{shown}{'@' * bool(shown)}{proxy.address}"
            target = TargetConfig(
                model=Name(model_name),
                api_base=f"{scheme}://{host}/v1",
                proxy=Secret(address),
                ca=Certificates(authority.pem),
                api_key=Secret("sk-a"),
            )
            try:
                yield Scene(proxy, server, target, connections)
            finally:
                await connections.close()


@pytest.mark.parametrize("model_name", LANES)
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_direct_lane_reaches_its_target_through_the_proxy(authority: Authority, model_name: str, scheme: str) -> None:
    """An https target is reached by CONNECT, an http target by its full URL; only the proxy gets the decoded credentials."""
    login = ("svc router", "p@ss/wörd".replace("ö", "o") + ":#%")
    async with scene(authority, model_name=model_name, scheme=scheme, login=login, shown="svc%20router:p%40ss%2Fword%3A%23%25") as one:
        assert await one.said() == "Hello"
        assert one.proxy.asked[0].startswith(f"CONNECT {HOST}:443 " if scheme == "https" else f"POST http://{HOST}/v1/")
        assert one.proxy.shown == [":".join(login)]
        assert set(one.server.peers) == one.proxy.led
        assert not any(name.startswith("proxy-") for headers in one.server.headers for name in headers)


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_connection_through_the_proxy_is_reused(authority: Authority, scheme: str) -> None:
    """Two questions use one connection to the proxy and one from there to the server."""
    async with scene(authority, scheme=scheme) as one:
        assert [await one.said(), await one.said()] == ["Hello", "Hello"]
        assert (one.proxy.connections, len(one.server.peers), len(one.server.requests)) == (1, 1, 2)


FAULTS = {
    407: "proxy_login",
    403: "proxy_denied",
    400: "proxy_denied",
    302: "proxy_denied",
    502: "proxy_gateway",
    503: "proxy_gateway",
    504: "proxy_gateway",
}


@pytest.mark.parametrize("status", FAULTS)
async def test_proxy_refusal_has_a_proxy_outcome(authority: Authority, status: int) -> None:
    """A proxy that answers CONNECT with 407, a 3xx or 4xx, or a 5xx gives `proxy_login`, `proxy_denied` or `proxy_gateway`."""
    async with scene(authority, fault=refuses_with(status)) as one:
        assert await one.said() == FAULTS[status]
        assert one.server.requests == []


SIGNS = {
    "a login": (407, (), "proxy_login"),
    "squid": (403, ("x-squid-error: ERR_ACCESS_DENIED 0",), "proxy_denied"),
    "squid, nobody there": (503, ("x-squid-error: ERR_DNS_FAIL 0",), "proxy_gateway"),
    "tinyproxy": (500, ("server: tinyproxy/1.11.1",), "proxy_gateway"),
    "by the standard": (502, ('proxy-status: corp; error="dns_error"',), "proxy_gateway"),
    "the provider's own": (403, ("server: nginx", "via: 1.1 squid"), "status_403"),
}


@pytest.mark.parametrize("case", SIGNS)
async def test_http_response_of_the_proxy_is_recognised_by_its_headers(authority: Authority, case: str) -> None:
    """For an http target, an error with a 407 or a proxy's own headers has a proxy outcome; any other is the provider's."""
    status, headers, outcome = SIGNS[case]
    async with scene(authority, scheme="http", fault=refuses_with(status, *headers)) as one:
        assert await one.said() == outcome


async def test_407_inside_a_tunnel_is_the_providers_status(authority: Authority) -> None:
    """A 407 that comes through a CONNECT tunnel gives `status_407`, not `proxy_login`."""
    async with scene(authority, reply=Reply(status=407, body=b"{}")) as one:
        assert await one.said() == "status_407"


async def _endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def _talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
    await writer.drain()
    await reader.read()


async def _strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
    await writer.drain()
    await reader.read()


async def _leaves(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


BROKEN = {"no end of headers": _endless, "words before TLS": _talkative, "no HTTP": _strange, "leaves": _leaves}


@pytest.mark.parametrize("case", BROKEN)
async def test_proxy_that_does_not_speak_http_is_a_failed_connection(authority: Authority, case: str) -> None:
    """Endless headers, data before TLS, another protocol or a closed connection give the outcome `proxy_connection`."""
    async with scene(authority, fault=BROKEN[case]) as one:
        assert await one.said() == "proxy_connection"


async def test_proxy_that_hangs_raises_target_silent_after_the_connect_timeout(authority: Authority) -> None:
    """A proxy that does not answer CONNECT raises TargetSilent `proxy_timeout` after the connect timeout."""

    async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with scene(authority, fault=hangs) as one:
        opened = open_target("a", one.target, 0.05, one.connections)
        with pytest.raises(TargetError) as caught:
            async with asyncio.timeout(240), aclosing(opened.answer(ASK)) as events:
                await anext(events)
        assert (type(caught.value).__name__, caught.value.outcome) == ("TargetSilent", "proxy_timeout")


async def test_unreachable_proxy_is_a_failed_proxy_connection(authority: Authority) -> None:
    """A proxy address on which no server listens gives the outcome `proxy_connection`, and the model server is not contacted."""
    async with scene(authority) as one:
        gone = replace(one.target, proxy=Secret("http://127.0.0.1:1"))
        assert await one.said(gone) == "proxy_connection"
        assert one.server.peers == []


async def test_connect_request_has_an_ipv6_target_in_brackets(authority: Authority) -> None:
    """CONNECT names an IPv6 target in brackets, and its certificate for the bare address is accepted."""
    async with scene(authority, host="[2001:db8::1]") as one:
        assert await one.said() == "Hello"
        assert one.proxy.asked == ["CONNECT [2001:db8::1]:443 HTTP/1.1"]


LOOPS: dict[str, Callable[[Coroutine[object, object, None]], None]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_https_proxy_carries_tls_and_plain_targets(authority: Authority, loop: str, scheme: str) -> None:
    """A proxy with TLS serves two questions on one connection, to an https and to an http target, under asyncio and uvloop."""

    async def asked() -> None:
        async with scene(authority, scheme=scheme, proxy_tls=True, login=("u", "p"), shown="u:p") as one:
            assert [await one.said(), await one.said()] == ["Hello", "Hello"]
            assert one.proxy.connections == 1

    LOOPS[loop](asked())


@pytest.mark.parametrize("where", ["the target's", "the proxy's"])
async def test_untrusted_certificate_of_target_or_proxy_is_refused(authority: Authority, tmp_path: Path, where: str) -> None:
    """An untrusted target gives `tls`, an untrusted proxy `proxy_tls`; no request, and no credentials, reach the untrusted one."""
    other = Authority(tmp_path)
    async with scene(authority, proxy_tls=where == "the proxy's", login=("u", "p"), shown="u:p") as one:
        stranger = replace(one.target, ca=Certificates(other.pem))
        assert await one.said(stranger) == ("tls" if where == "the target's" else "proxy_tls")
        assert one.server.requests == []
        assert one.proxy.shown == (["u:p"] if where == "the target's" else [])


async def test_certificate_of_another_host_is_refused_through_the_proxy(authority: Authority) -> None:
    """A certificate that does not name the target's host gives the outcome `tls` behind a proxy, and no request is sent."""
    async with scene(authority) as one:
        one.proxy.names["other.test:443"] = one.server.port
        assert await one.said(replace(one.target, api_base="https://other.test/v1")) == "tls"
        assert one.server.requests == []


async def test_connection_is_not_shared_between_network_settings(authority: Authority) -> None:
    """Targets with another proxy, other proxy credentials or another CA use connections of their own; equal settings share one."""
    async with scene(authority, login=None) as one, proxying(ForwardProxy(dict(one.proxy.names))) as other:
        assert await one.said() == "Hello"
        for changed in (
            replace(one.target, proxy=Secret(f"http://u:p@{one.proxy.address}")),
            replace(one.target, ca=Certificates(one.target.ca.pem + Authority(authority.folder, "Another").pem)) if one.target.ca else None,
            replace(one.target, proxy=Secret(f"http://{other.address}")),
        ):
            assert await one.said(changed) == "Hello"
        assert (one.proxy.connections, other.connections) == (3, 1)
        assert await one.said(replace(one.target, proxy="none")) == "connection"
        assert await one.said() == "Hello"
        assert (one.proxy.connections, other.connections, len(one.server.peers)) == (3, 1, 4)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "models.localhost", "LOCALHOST.", "[::ffff:127.0.0.1]"])
def test_loopback_address_bypasses_the_proxy(host: str) -> None:
    """A target on loopback, by name or address, is reached directly; a private address is reached through the proxy."""
    over = Connections().over(Egress(proxy_of("http://proxy.test:3128")))
    here, away = over.endpoint(f"http://{host}:8000/v1", {}, 3), over.endpoint("http://10.0.0.7:8000/v1", {}, 3)
    assert (here.proxy, here.head.startswith(b"POST /v1 ")) == (None, True)
    assert away.head.startswith(b"POST http://10.0.0.7:8000/v1 ")


async def test_proxy_variables_of_the_environment_are_ignored_by_targets(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables of the environment are used neither by a target with a declared proxy nor by one without."""
    async with scene(authority) as one, proxying(ForwardProxy({})) as trap:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{trap.address}")
        assert await one.said() == "Hello"
        assert await one.said(replace(one.target, proxy=None)) == "connection"
        assert trap.connections == 0


def through_litellm(target: TargetConfig, model_name: str) -> TargetConfig:
    """Return the target with this model, asked through LiteLLM."""
    base = str(target.api_base).removesuffix("/v1") if not model_name.startswith(("openai/", "groq/")) else target.api_base
    return replace(target, model=Name(model_name), via="litellm", api_base=base)


@pytest.mark.parametrize("model_name", LITELLM)
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_litellm_reaches_its_target_through_the_proxy(
    authority: Authority, model_name: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each HTTP client within LiteLLM uses the declared proxy with its credentials, and no other way or proxy variable."""
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    login, shown = ("svc router", "p@ss/word"), "svc%20router:p%40ss%2Fword"
    async with (
        scene(authority, scheme=scheme, reply=LITELLM[model_name], login=login, shown=shown) as one,
        proxying(ForwardProxy({})) as trap,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{trap.address}")
        target = through_litellm(one.target, model_name)
        assert [await one.said(target), await one.said(target)] == ["Hello", "Hello"]
        assert set(one.server.peers) == one.proxy.led
        assert set(one.proxy.shown) == {":".join(login)}
        assert one.proxy.asked[0].startswith(f"CONNECT {HOST}:443 " if scheme == "https" else f"POST http://{HOST}/")
        assert not any(name.startswith("proxy-") for headers in one.server.headers for name in headers)
        assert trap.connections == 0


@pytest.mark.parametrize("model_name", ["openai/gpt-4o", "anthropic/claude-haiku-4-5"])
@pytest.mark.parametrize("status", FAULTS)
async def test_proxy_refusal_through_litellm_has_a_proxy_outcome(authority: Authority, model_name: str, status: int) -> None:
    """A proxy's refusal gives the same outcome on the LiteLLM lane as on the direct lanes, after one request to the proxy."""
    async with scene(authority, fault=refuses_with(status)) as one:
        assert await one.said(through_litellm(one.target, model_name)) == FAULTS[status]
        assert len(one.proxy.asked) == 1


@pytest.mark.parametrize("model_name", ["openai/gpt-4o", "anthropic/claude-haiku-4-5"])
async def test_litellm_behind_a_proxy_tells_the_proxys_faults_from_the_providers(
    authority: Authority, tmp_path: Path, model_name: str
) -> None:
    """LiteLLM's outcome is `proxy_login`, `proxy_connection`, `proxy_timeout` or `proxy_tls` for a fault of the proxy,
    and `tls` for a provider's untrusted certificate.
    """
    async with scene(authority, scheme="http", fault=refuses_with(407)) as one:
        assert await one.said(through_litellm(one.target, model_name)) == "proxy_login"
    async with scene(authority) as one:
        target = through_litellm(one.target, model_name)
        assert await one.said(replace(target, ca=Certificates(Authority(tmp_path).pem))) == "tls"
        assert await one.said(replace(target, proxy=Secret("http://127.0.0.1:1"))) == "proxy_connection"
        assert (one.server.requests, one.server.peers) == ([], [])

    async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with scene(authority, fault=hangs) as one:
        assert await one.said(through_litellm(one.target, model_name), connect=0.2) == "proxy_timeout"
    async with scene(authority, reply=LITELLM[model_name], proxy_tls=True) as one:
        target = through_litellm(one.target, model_name)
        assert await one.said(target) == "Hello"
        assert await one.said(replace(target, ca=Certificates(Authority(tmp_path).pem))) == "proxy_tls"
