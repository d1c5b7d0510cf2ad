"""Addresses of targets: an operator's `api_base` plus the path of an endpoint. RFC 3986: the query comes after the path."""

from urllib.parse import parse_qsl, urlsplit, urlunsplit

from router.errors import Misfit


def endpoint_of(base: str, path: str, *, within: str = "", query: str = "") -> str:
    """Return the address of an endpoint. Raises Misfit if the base has a fragment, which no request can carry.

    base: the API's, or that of the endpoint itself
    path: the endpoint's below it
    within: what stands between them, unless the base ends with it
    query: what the endpoint wants, unless the base says otherwise
    """
    try:
        parts = urlsplit(base)
    except ValueError:
        raise Misfit(f"`{base}` is no address: write http://host:port/v1, or https", "api_base") from None
    if "#" in base:
        raise Misfit(f"`{base}` has a fragment (`#…`), which is never sent: leave it out", "api_base")
    found = parts.path.rstrip("/")
    if not found.endswith(path):
        found += path if found.endswith(within) else within + path
    said = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    wanted = [one for one in query.split("&") if one and one.partition("=")[0] not in said]
    return urlunsplit((parts.scheme, parts.netloc, found, "&".join([*filter(None, [parts.query]), *wanted]), ""))
