"""Sites whose pages send a request, as the browser reports them (Fetch Metadata, `Sec-Fetch-Site`)."""

from starlette.types import Scope

OWN = (b"none", b"same-origin")
"""The user's own navigation, or a page of this server. `same-site` is not: it is another port of this machine, or another host of the
operator's domain, and neither is this server.
"""


def from_another_site(scope: Scope) -> bool:
    """Return whether a page of another origin sent this request. False without `Sec-Fetch-Site`, which only browsers send."""
    return any(value not in OWN for name, value in scope["headers"] if name == b"sec-fetch-site")
