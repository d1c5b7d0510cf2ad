"""The proxy and the CA bundle that routes.yaml declares: inheritance, refusals with place and remedy, and secrecy of passwords."""

from collections.abc import Callable
from pathlib import Path

import pytest

from router.config import as_written, declare, read
from router.config.declaration import Declaration
from router.config.network import Egress, has_literal_password, is_this_machine, proxy_of
from router.description import changes, describe
from router.errors import Misfit
from router.generation import build
from tests.support.authority import Authority

Write = Callable[..., Declaration]
CANARY = "p%40ss-canary"
PROXY = f"http://svc:{CANARY}@proxy.corp.example:3128"
ROUTES = """
network: {proxy: "${HTTPS_PROXY}", ca: "${file:corp.pem}"}
server:
  auth: {jwt: {issuer: https://i.example.com, audience: a, algorithms: [RS256], jwks: https://i.example.com/jwks}}
  otel: {endpoint: http://127.0.0.1:4318, proxy: none}
targets:
  away: {model: openai/gpt-4o, api_key: sk-a}
  own: {model: openai/gpt-4o, api_key: sk-a, proxy: "http://other.example:3128"}
  past: {model: openai/gpt-4o, api_key: sk-a, proxy: none}
  here: {model: openai/qwen, api_base: "http://localhost:8000/v1"}
  demo: {script: demo}
routes:
  chat-model: {pipeline: chat, targets: [away, own, past, here, demo], tools: [{mcp: https://mcp.example.com/mcp}, {mcp: [npx, x]}]}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a routes.yaml and the CA bundle corp.pem, and returns the declaration with these variables.

    bundle: the text of corp.pem; empty for a valid bundle, None for no file
    """

    def declared(text: str, bundle: str | None = "", **variables: str) -> Declaration:
        (tmp_path / "pipelines").mkdir(exist_ok=True)
        (tmp_path / "pipelines/chat.yaml").write_text("steps: []\n")
        (tmp_path / "routes.yaml").write_text(text)
        if bundle is not None:
            (tmp_path / "corp.pem").write_text(bundle or Authority(tmp_path).pem)
        return declare(read(tmp_path / "routes.yaml"), variables)

    return declared


def complaints(declaration: Declaration) -> list[str]:
    """Return the complaints of a declaration."""
    return [str(one) for one in declaration.complaints.in_order()]


def test_network_settings_are_inherited_except_by_local_addresses_and_commands(write: Write) -> None:
    """Models, an MCP server and the JWT issuer without their own `proxy` get that of `network`; models and the collector get its CA.

    A model on this machine, a script and an MCP command get no proxy.
    """
    declared = write(ROUTES, HTTPS_PROXY=PROXY)
    assert complaints(declared) == []
    routes = declared.routes
    proxies = {str(name): one.egress.proxy and one.egress.proxy.label for name, one in routes.targets.items()}
    there = "proxy.corp.example:3128"
    assert proxies == {"away": there, "own": "other.example:3128", "past": None, "here": None, "demo": None}
    assert {str(name) for name, one in routes.targets.items() if one.egress.ca} == {"away", "own", "past", "here"}
    (route,) = routes.routes.values()
    assert [one.egress.proxy is not None for one in route.tool_servers] == [True, False]
    jwt = getattr(routes.server.auth, "jwt", None)
    assert jwt is not None
    assert jwt.egress.proxy == proxy_of(PROXY)
    assert routes.server.otel is not None
    assert (routes.server.otel.egress.proxy, bool(routes.server.otel.egress.ca)) == (None, True)


def test_proxy_password_is_in_no_repr_description_or_diff(write: Write) -> None:
    """The password in a proxy address appears neither in a repr of the declaration, nor in descriptions or their changes."""
    declared = write(ROUTES, HTTPS_PROXY=PROXY)
    after = write(ROUTES.replace("${HTTPS_PROXY}", "http://svc:${WORD}@proxy.corp.example:8080"), WORD="second-canary")
    assert complaints(after) == []
    shown = f"{declared!r} {declared.routes!r} {after.routes!r} {[one.egress for one in declared.routes.targets.values()]}"
    told = f"{describe(declared).as_json()} {describe(after).as_json()} {changes(describe(declared), describe(after))}"
    for secret in (CANARY, "p@ss", "second-canary"):
        assert secret not in shown + told
    assert "proxy" in describe(declared).as_json()["network"]  # type: ignore[operator]


REFUSED = {
    "ftp": ("ftp://proxy.corp.example:21", "only HTTP proxies"),
    "socks": ("socks5://proxy.corp.example:1080", "only HTTP proxies"),
    "no port": ("http://proxy.corp.example", "needs its port"),
    "a path": ("http://proxy.corp.example:3128/pac", "is its host and port"),
    "a slash in the password": ("http://u:canary/x@proxy.corp.example:3128", "%2F"),
    "a port that is none": ("http://proxy.corp.example:x", "no address of a proxy"),
    "letters": ("http://ü:canary@proxy.corp.example:3128", "visible ASCII"),
    "a line break": ("http://u:canary%0d%0ax@proxy.corp.example:3128", "visible ASCII"),
    "a colon in the name": ("http://u%3av:canary@proxy.corp.example:3128", "colon"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_proxy_address_is_refused_without_its_password(write: Write, case: str) -> None:
    """A proxy address with a wrong scheme, port, path, name or password gives one complaint with its place and without the password."""
    value, words = REFUSED[case]
    (complaint,) = complaints(write(ROUTES, HTTPS_PROXY=value))
    assert complaint.startswith("routes.yaml:2:18: ")
    assert words in complaint
    assert "canary" not in complaint


@pytest.mark.parametrize(
    ("source", "literal"),
    [
        ("http://u:canary@h:1", True),
        ("http://u:${W}canary@h:1", True),
        ("http://u:${W:-canary}@h:1", True),
        ("${P:-http://u:canary@h:1}", True),
        ("http://u:${W}@h:1", False),
        ("http://${U:-bob}:${W:?set it: now}@h:1", False),
        ("http://u@h:1", False),
        ("${P}", False),
        ("http://h:1", False),
    ],
)
def test_literal_proxy_password_in_routes_yaml_is_refused(write: Write, source: str, literal: bool) -> None:
    """A proxy password that is written in routes.yaml, even partly or as a default, gives one complaint; a variable is accepted."""
    assert has_literal_password(source) is literal
    found = complaints(write(ROUTES.replace("${HTTPS_PROXY}", source), P="http://h:1", U="u", W="w"))
    assert [("a password does not belong in the file" in one, "canary" in one) for one in found] == ([(True, False)] if literal else [])


MISTAKES = {
    "a proxy of a script": ("demo: {script: demo}", "demo: {script: demo, proxy: none}", "no use for `proxy`"),
    "a proxy to this machine": ('localhost:8000/v1"}', 'localhost:8000/v1", proxy: "http://p.example:1"}', "which no proxy leads to"),
    "a proxy of a command": ("[npx, x]}", "[npx, x], proxy: none}", "only an address has a `proxy`"),
    "a CA of keys in a file": (
        "jwks: https://i.example.com/jwks",
        'jwks: \'{"keys": []}\', ca: "${file:corp.pem}"',
        "nothing is fetched here",
    ),
    "no verification": ("proxy: none}\n  here", "verify: false}\n  here", "unknown key `verify`"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_network_setting_without_effect_is_a_mistake(write: Write, case: str) -> None:
    """A `proxy` or `ca` that has no effect, such as the proxy of a script, gives one complaint, and so does `verify: false`."""
    was, now, words = MISTAKES[case]
    (complaint,) = complaints(write(ROUTES.replace(was, now), HTTPS_PROXY=PROXY))
    assert words in complaint


BUNDLES = {
    "no file": (None, "the secret file corp.pem cannot be read"),
    "nothing in it": ("# nothing\n", "no certificate in this"),
    "a key": ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no certificate in this"),
    "half a certificate": ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
}


@pytest.mark.parametrize("case", BUNDLES)
def test_ca_bundle_without_a_readable_certificate_is_refused_at_load(write: Write, case: str) -> None:
    """A CA bundle that is missing, or has no readable certificate, gives one complaint with its place when the file is loaded."""
    bundle, words = BUNDLES[case]
    (complaint,) = complaints(write(ROUTES, bundle, HTTPS_PROXY=PROXY))
    assert complaint.startswith("routes.yaml:2:40: ")
    assert words in complaint


def test_bare_path_as_ca_is_refused_with_the_right_syntax(write: Write) -> None:
    """A `ca` that is a bare path gives a complaint that says to write `${file:NAME.pem}`."""
    (complaint,) = complaints(write(ROUTES.replace("${file:corp.pem}", "corp.pem"), HTTPS_PROXY=PROXY))
    assert "write ${file:NAME.pem}" in complaint


def test_ca_bundle_may_have_comments_and_several_certificates(write: Write, tmp_path: Path) -> None:
    """A CA bundle with non-ASCII comments, CRLF line ends and two certificates is read as two certificates."""
    bundle = f"# AC Raíz Ñ\r\n{Authority(tmp_path).pem}\n# Second\n{Authority(tmp_path, 'Second').pem}".replace("\n", "\r\n")
    declared = write(ROUTES, bundle, HTTPS_PROXY=PROXY)
    assert complaints(declared) == []
    assert next(iter(declared.routes.targets.values())).egress.ca.count("BEGIN CERTIFICATE") == 2


def test_ca_bundle_of_400_certificates_is_read(write: Write, tmp_path: Path) -> None:
    """A CA bundle of 400 certificates, as large as that of an operating system, gives no complaint."""
    declared = write(ROUTES, Authority(tmp_path).pem * 400, HTTPS_PROXY=PROXY)
    assert complaints(declared) == []


def test_edit_of_the_ca_bundle_changes_the_digest(write: Write, tmp_path: Path) -> None:
    """A changed CA bundle changes the digest of the configuration, and the bundle is among its secret files."""
    before = write(ROUTES, HTTPS_PROXY=PROXY)
    after = write(ROUTES, Authority(tmp_path, "Renewed").pem, HTTPS_PROXY=PROXY)
    assert before.digest != after.digest
    assert set(after.secrets) == {"corp.pem"}


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("models.localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("notlocalhost", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_host_is_recognised_by_its_name_and_gets_no_proxy(host: str, here: bool) -> None:
    """localhost, names below it and loopback addresses are reached without the proxy, other hosts through it."""
    assert is_this_machine(host) is here
    proxy = proxy_of("http://proxy.corp.example:3128")
    assert Egress(proxy).proxy_to(host) == (None if here else proxy)


def test_proxy_credentials_are_percent_decoded_and_encoded_again() -> None:
    """User and password of a proxy address are percent-decoded, and encoded again in its URL; its label has host and port only."""
    proxy = proxy_of("https://a%20b:p%40ss%3A%2F@[2001:db8::1]:3129/")
    assert (proxy.user, proxy.password, proxy.tls, proxy.label) == ("a b", "p@ss:/", True, "[2001:db8::1]:3129")
    assert proxy_of(proxy.url) == proxy
    assert "p@ss" not in repr(proxy)
    with pytest.raises(Misfit):
        proxy_of("proxy.corp.example:3128")


def test_edit_of_the_proxy_resets_the_health_of_targets_that_use_it(write: Write, tmp_path: Path) -> None:
    """A reload with another proxy gives the targets that use it new health objects; an equal configuration keeps them all."""
    bundle = Authority(tmp_path).pem
    first = build(write(ROUTES, bundle, HTTPS_PROXY=PROXY))
    same = build(write(ROUTES, bundle, HTTPS_PROXY=PROXY), first.kept)
    other = build(write(ROUTES, bundle, HTTPS_PROXY="http://proxy.corp.example:8080"), same.kept)
    fared = [{key[0]: id(one) for key, (_, one) in made.kept.health.items()} for made in (first, same, other)]
    assert fared[0] == fared[1]
    assert {name for name in fared[1] if fared[1][name] != fared[2][name]} == {"away"}


def test_description_shows_proxy_and_ca_as_written(write: Write) -> None:
    """A description read without the environment has the references `${HTTPS_PROXY}` and `${file:corp.pem}`."""
    declared = write(ROUTES, HTTPS_PROXY=PROXY)
    assert describe(as_written(declared.snapshot)).network == {"proxy": "${HTTPS_PROXY}", "ca": "${file:corp.pem}"}
