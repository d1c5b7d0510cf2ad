"""Web pages of other origins: which may read answers (CORS), and a log line for each origin that is refused."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from router.config.origin import origin as well_formed
from router.config.server import Cors

EXPOSED = (
    "x-request-id",
    *(f"x-router-{name}" for name in ("generation", "target", "model", "attempts", "cache", "cost", "fault", "resumed")),
    *("age", "ratelimit", "ratelimit-policy", "retry-after", "x-should-retry"),
)
"""Response headers that a web page may read, beside those that CORS always allows."""
REMINDED = 60.0
"""Seconds in which each origin is logged once at most."""
MAX_REMINDED = 100
"""Origins that are logged within REMINDED seconds at most: clients can invent any number of them."""
MAX_ORIGIN = 300
"""Characters of an origin that is logged as it is; a longer one is logged as `malformed`: a host has 253 at most."""
log = logging.getLogger("router.server")


class RefusedOrigins:
    """Logs origins that are refused, each once a minute. `clock`: seconds, as time.monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: OrderedDict[str, float] = OrderedDict()
        """Logged origin → the time at which it was logged, oldest first."""

    def note(self, origin: str) -> None:
        """Log this origin, unless it was logged within REMINDED seconds or MAX_REMINDED origins were."""
        now = self._clock()
        while self._logged and now - next(iter(self._logged.values())) >= REMINDED:
            self._logged.popitem(last=False)
        try:
            shown = well_formed(origin) if len(origin) <= MAX_ORIGIN else "malformed"
        except ValueError:  # `null` is an origin
            shown = "null" if origin == "null" else "malformed"
        if shown not in self._logged and len(self._logged) < MAX_REMINDED:
            self._logged[shown] = now
            log.warning("origin refused", extra={"fields": {"origin": shown, "remedy": "server.cors.origins"}})


class DeclaredOrigins(CORSMiddleware):
    """CORS middleware: pages of declared origins may read the application's answers.

    Their browsers may also call a private address: a preflight that asks for it (`Access-Control-Request-Private-Network`) is allowed.
    """

    def __init__(self, app: ASGIApp, declared: Cors, refused: RefusedOrigins) -> None:
        super().__init__(
            app,
            allow_origins=declared.origins,
            allow_credentials=True,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=EXPOSED,
        )
        self._refused = refused

    def serving(self, scope: Scope, headers: Mapping[bytes, bytes]) -> ASGIApp:
        """Return the application that serves a request, behind the middleware if any origin is declared. A refused origin is logged."""
        if b"origin" in headers:
            given: str = next(value for name, value in scope["headers"] if name == b"origin").decode("latin-1")
            # This server's own pages need no permission.
            own = headers.get(b"sec-fetch-site") == b"same-origin" or given.partition("://")[2].encode() == headers.get(b"host", b"")
            if not own and not self.is_allowed_origin(given):
                self._refused.note(given)
        return self if self.allow_origins else self.app

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a CORS preflight request, without access to a private network for an undeclared origin."""
        response = super().preflight_response(request_headers)
        if not self.is_allowed_origin(request_headers["origin"]):
            del response.headers["access-control-allow-private-network"]
        return response
