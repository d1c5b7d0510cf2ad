"""Outgoing connections of the router: a proxy, and certificates beside the system's.

Both are declared in the file alone: no variable of the environment (HTTPS_PROXY and the like) counts unless the file names it.
"""

import base64
import re
import ssl
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote, unquote, urlsplit

from router.config.values import Secret, loopback
from router.errors import Misfit
from router.signature import Spelled
from router.value import PartlyShown, Value

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
"""A certificate in a PEM file. The text between certificates is for people, in any alphabet."""


class Proxy(PartlyShown, frozen=True):
    """An HTTP proxy. `tls`: True for an https:// proxy; `user`, `password`: decoded, both empty without credentials."""

    HIDDEN: ClassVar = frozenset({"user", "password"})

    host: str
    port: int
    tls: bool = False
    user: str = ""
    password: str = ""

    @property
    def label(self) -> str:
        """The name of the proxy in logs, `host:port`, without its credentials."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authorization(self) -> str:
        """The value of `Proxy-Authorization` (RFC 7617); empty without credentials."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}" if self.user or self.password else ""

    @property
    def url(self) -> str:
        """The address with the credentials, percent-encoded, as HTTP libraries take it."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.authorization else ""
        return f"{'https' if self.tls else 'http'}://{login}{self.label}"


class Certificates(PartlyShown, frozen=True):
    """Certificates of authorities that are trusted besides the system's, in PEM."""

    HIDDEN: ClassVar = frozenset({"pem"})

    pem: str


class Egress(PartlyShown, frozen=True):
    """The proxy and CA of outgoing connections. `proxy`: None if direct; `ca`: PEM, empty for the system's authorities alone."""

    HIDDEN: ClassVar = frozenset({"ca"})

    proxy: Proxy | None = None
    ca: str = ""

    def proxy_to(self, host: str) -> Proxy | None:
        """Return the proxy for connections to a host; None if there is none, or the host is this machine."""
        return None if self.proxy is None or is_this_machine(host) else self.proxy


DIRECT = Egress()


def is_this_machine(host: str) -> bool:
    """Return True if a host, without brackets, is this machine: localhost, names below it (RFC 6761), 127.0.0.0/8 (also as IPv6), ::1."""
    name = host.lower().removesuffix(".")
    return name.endswith(".localhost") or loopback(name.removeprefix("::ffff:"))


def tls_context(ca: str) -> ssl.SSLContext:
    """Return a new TLS context (in 10 ms) that checks names and certificates. `ca`: PEM of further authorities to trust; may be empty."""
    context = ssl.create_default_context()
    if ca:
        context.load_verify_locations(cadata=ca)
    return context


def proxy_of(text: str) -> Proxy:
    """Parse the address of an HTTP proxy. Raise Misfit if it is not one, without repeating the text: there may be a password in it."""
    wanted = "write http://host:port, or https:// where it is spoken to over TLS"
    encoded = "`/`, `#`, `?` and `%` in a password are written %2F, %23, %3F and %25"
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or ""), parts.port
        host = host if ":" in host else host.encode("idna").decode()
    except ValueError:
        raise Misfit(f"this is no address of a proxy: {wanted}; {encoded}") from None
    if parts.scheme not in ("http", "https"):
        raise Misfit(f"only HTTP proxies are used: {wanted}")
    if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Misfit(f"the address of a proxy is its host and port: {wanted}; {encoded}")
    if not port:
        raise Misfit("the address of a proxy needs its port, e.g. http://proxy.example.com:3128")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not ((pair := user + password).isascii() and pair.isprintable()):
        raise Misfit("the credentials of a proxy are visible ASCII characters")
    if ":" in user:
        raise Misfit("the user's name of a proxy cannot hold a colon: a proxy reads the password from there on")
    return Proxy(host, port, parts.scheme == "https", user, password)


def _proxy_address(text: str) -> Secret:
    proxy_of(text)
    return Secret(text)


def _certificates(text: str) -> Certificates:
    found = CERTIFICATE.findall(text)
    if not found:
        named = "" if "\n" in text else ": to name a file beside this one, write ${file:NAME.pem}"
        raise Misfit(f"there is no certificate in this (PEM, -----BEGIN CERTIFICATE-----){named}")
    pem = "\n".join(found)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise Misfit("one of the certificates in this cannot be read: `openssl x509 -noout -subject -in FILE` says which") from None
    return Certificates(pem)


REFERENCE = re.compile(r"\$\{[^{}]*\}")


def has_literal_password(source: str) -> bool:
    """Return True if a proxy's address as written holds a password that is not a variable, also as the default of a `${…}`."""
    bare = REFERENCE.sub(lambda hit: hit[0][2:-1].partition(":-")[2] if ":-" in hit[0] else "$", source)
    hit = re.search(r"//[^/@:]*:([^/]*)@", bare)
    return hit is not None and hit[1].strip("$") != ""


ProxyAddress = Annotated[Secret, Spelled("proxy's address", _proxy_address, "", "http://proxy.example.com:3128")]
CaBundle = Annotated[Certificates, Spelled("CA bundle", _certificates, "", "${file:corporate-ca.pem}")]
OwnProxy = Literal["none"] | ProxyAddress
"""The `proxy` of a single target, server or collector: an address, or `none` for the direct way."""


class OwnEgress:
    """Base class of the declarations with a `proxy` and a `ca` of their own: a target, an MCP server, an issuer, the collector."""

    __slots__ = ()
    proxy: OwnProxy | None
    ca: CaBundle | None

    @property
    def egress(self) -> Egress:
        """The proxy and certificates of connections to it; those of `network` are included after `inheritance.through`."""
        if self.proxy is None and self.ca is None:
            return DIRECT
        return Egress(proxy_of(self.proxy.value) if isinstance(self.proxy, Secret) else None, self.ca.pem if self.ca else "")


class NetworkConfig(Value, frozen=True, kw_only=True):
    """Proxy and certificates for targets, MCP servers, an issuer's keys and the collector of traces. Each may declare its own instead.

    proxy: an HTTP proxy for all addresses except this machine, e.g. http://proxy.example.com:3128, or ${HTTPS_PROXY}
    ca: a file of certificates to trust besides the system's: ${file:corporate-ca.pem}
    """

    proxy: ProxyAddress | None = None
    ca: CaBundle | None = None
