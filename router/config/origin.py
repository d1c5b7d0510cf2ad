"""Web origins (RFC 6454) in the one form in which a browser sends them: scheme, host and port."""

import difflib
import ipaddress
import re
from urllib.parse import urlsplit

from router.errors import Misfit

WEB = {"http": 80, "https": 443}
"""Schemes of web pages → the port that a browser leaves out."""
NEVER = frozenset({"about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"})
"""Schemes whose pages have no origin of their own: a browser sends `null` for them, or never sends them."""
PARTS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\\%*\[\]]+)(:(?P<port>\d{0,5}))?")
APP_HOST = re.compile(r"[A-Za-z0-9._-]+")


def origin(text: str) -> str:
    """Return the origin as a browser sends it: the host in lower case and in IDNA's ASCII form, without the default port.

    The origin of an app or an extension (`tauri://localhost`, `chrome-extension://…`) stays as it is. Raise Misfit for any other text.
    """
    if "@" in text:
        raise Misfit("an origin has no user and no password: write scheme and host, e.g. https://chat.example.com")
    hit = PARTS.fullmatch(text)
    made = _normalised(hit) if hit else None
    if made is None:
        meant = _meant(text) or "scheme and host without a path, e.g. https://chat.example.com"
        raise Misfit(f"`{text}` is not an origin: write {meant}")
    return made


def _normalised(hit: re.Match[str]) -> str | None:
    """Return the normalised origin of a match of PARTS; None if no browser sends an origin with this scheme, host or port."""
    scheme, host = hit["scheme"].lower(), hit["host"]
    port = int(hit["port"]) if hit["port"] else None
    if port is not None and not 0 < port <= 65535:
        return None
    if scheme in WEB:
        made, usual = _web_host(host), WEB[scheme]
    else:
        strange = scheme in NEVER or difflib.get_close_matches(scheme, WEB, 1, 0.75) or not APP_HOST.fullmatch(host)
        made, usual = None if strange else host, None
    return made and f"{scheme}://{made}" + ("" if port in (None, usual) else f":{port}")


def _web_host(host: str) -> str | None:
    """Return a host as browsers normalise it (URL Standard, "host parsing"); None if it is not a valid host."""
    try:
        if host.startswith("["):
            return f"[{ipaddress.IPv6Address(host[1:-1])}]"
        if not host.isascii():
            import idna  # noqa: PLC0415 - its tables are large, and few need them

            host = idna.encode(host, uts46=True).decode()
        host = host.lower()
        if re.fullmatch(r"[0-9.]+|.*\.0x[0-9a-f]*|.*\.[0-9]+", host):  # the last label is a number: an IPv4 address, or nothing
            return str(ipaddress.IPv4Address(host))
    except ValueError:  # idna's own error is a ValueError
        return None
    return host if re.fullmatch(r"[a-z0-9_.-]+", host) and host.strip(".") else None


def _meant(text: str) -> str | None:
    """Return the origin that was probably meant by an address with a path, or with a misspelt scheme; None if none is likely."""
    try:
        parts = urlsplit(text.strip().replace("wss://", "https://").replace("ws://", "http://"))
    except ValueError:
        return None
    close = difflib.get_close_matches(parts.scheme, WEB, 1, 0.75)
    hit = PARTS.fullmatch(f"{close[0] if close else parts.scheme}://{parts.netloc}")
    return _normalised(hit) if hit else None
