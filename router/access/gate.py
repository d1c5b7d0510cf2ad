"""Access of callers and operators, checked before anything of a request is read; see routed.py.

Callers: those that `server.auth` declares. While it is not declared, only requests from this machine enter; `auth: none` admits everybody.

Operators: clients with the admin key. A change always needs the key. While no key is declared, pages that change nothing are open to
programs of this machine: not to forwarded requests (behind a proxy all come from loopback), and not to requests of web pages.
"""

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NoReturn

from starlette.types import Scope

from router.access import local
from router.access.address import client_address, counted
from router.access.headers import BY_NAME, by_name
from router.access.slowdown import Slowdown
from router.callers import Caller, Callers, from_headers
from router.config.server import LEAST_ADMIN_KEY
from router.config.values import Secret
from router.errors import NotAllowed, RouterError, Unauthorized
from router.generation import Generation
from router.reload import Live

STRANGERS = (
    "This server answers requests from its own machine alone, because its configuration does not say who may ask. Declare `server.auth` in "
    "routes.yaml: `auth: {keys: …}` with what `router keys new NAME` prints, `auth: {jwt: …}`, or `auth: none` for everybody."
)
KEY = "This page takes the admin key: Authorization: Bearer …"
RUN_KEY = (
    "A change takes the admin key: Authorization: Bearer … with the key that this run printed when it started, or declare server.admin.key."
)
REFUSALS: dict[str, tuple[type[RouterError], str]] = {
    "another_site": (NotAllowed, "Operators' pages are not for pages of other sites: enter the address yourself, or ask from a program."),
    "stranger": (NotAllowed, STRANGERS),
    "two_keys": (Unauthorized, "Send one Authorization header: of two, a proxy may have looked at the other one."),
    "no_key": (Unauthorized, KEY),
    "wrong_key": (Unauthorized, KEY),
    "no_run_key": (Unauthorized, RUN_KEY),
    "wrong_run_key": (Unauthorized, RUN_KEY),
    "closed": (NotAllowed, f"Nothing is changed without a key: declare server.admin.key, {LEAST_ADMIN_KEY} characters at least."),
    "not_this_machine": (NotAllowed, "Operators' pages answer on this machine's loopback alone, unless server.admin.key is declared."),
}
"""Reason for which an operator's request is refused → the error. The metric and the log have the same reasons."""
FAULT_KEY = b"x-router-admin-key"
"""The header for the admin key where `Authorization` has the caller's own key."""
FAULT = "X-Router-Fault breaks the provider of one request: on a route whose targets are all scripts, or with the admin key in X-Router-Admin-Key."
READING = ("GET", "HEAD")
OWN_SITE = (b"none", b"same-origin")
"""Values of `Sec-Fetch-Site` (Fetch Metadata): the user's own navigation, or a page of this server.
`same-site` is not: it is another port of this machine, or another host of the operator's domain, and neither is this server.
"""
log = logging.getLogger("router.server")


def borne(scope: Scope, headers: Mapping[bytes, bytes]) -> Sequence[bytes]:
    """Return the credentials of a request: the values of its `Authorization` headers, usually one; empty without any.

    Anthropic's clients send their key in `X-Api-Key` instead; they are recognised by the header `anthropic-version`. Such a key is returned
    as `Bearer …`, and the same key in both headers once. `headers`: those of the scope; of a repeated one, any value.
    """
    given = [value for name, value in scope["headers"] if name == b"authorization"] if b"authorization" in headers else []
    if b"anthropic-version" in headers:
        given += [b"Bearer " + value for name, value in scope["headers"] if name == b"x-api-key"]
        return list(dict.fromkeys(given))
    return given


class Gate:
    """Access control: decides which requests of callers and operators may enter.

    `run_key`: the admin key generated for this run, valid while none is declared. `only`: callers that replace the declared ones.
    `refused`: counts a refused operator request, by its reason.
    """

    def __init__(
        self,
        live: Live,
        refused: Callable[[str], object],
        run_key: Secret | None = None,
        only: Callers | None = None,
        slowdown: Slowdown | None = None,
    ) -> None:
        self._live = live
        self._count = refused
        self._run_key = run_key
        self._only = only
        self._slowdown = Slowdown() if slowdown is None else slowdown

    def caller(self, scope: Scope, generation: Generation) -> Caller | Awaitable[Caller]:
        """Return the caller of a request, or an awaitable of it. NotAllowed for other machines while `server.auth` is not declared.

        Raises Unauthorized if the credentials are missing or invalid, and Unverifiable if they cannot be checked now.
        """
        server, headers = generation.server, scope.get(BY_NAME) or by_name(scope["headers"])
        if server.auth is None and self._only is None and (why := local.stranger(scope, headers, server.cors.origins)):
            error = NotAllowed(STRANGERS)
            error.logged = f"server.auth is not declared, and the request is not from this machine ({why})"
            raise error
        named, kinds = headers
        given = borne(scope, named) if kinds.bearing else ()
        return (self._only or generation.callers).caller(given)

    async def enter_caller(self, scope: Scope) -> None:
        """Admit a caller's request, and store the caller in the request's state. Raises what `Gate.caller` raises for any other request."""
        caller = self.caller(scope, self._live.generation)
        scope.setdefault("state", {})["caller"] = caller if isinstance(caller, Caller) else await caller

    async def enter_user(self, scope: Scope) -> None:
        """Admit a caller's request, and store the caller with the end user that headers name. BadAsk if a required one is missing."""
        await self.enter_caller(scope)
        scope["state"]["caller"] = from_headers(scope["state"]["caller"], scope["headers"])

    async def enter_reader(self, scope: Scope) -> None:
        """Admit a request for the web page at `/`, which holds no secret; with `page: off` as a caller's, as for an unknown address.

        NotAllowed for other machines while `server.auth` is not declared.
        """
        if self._live.generation.server.page == "off":
            await self.enter_caller(scope)
        elif self._stranger(scope, self._live.generation):
            raise NotAllowed(STRANGERS)

    async def enter_shell(self, scope: Scope) -> None:
        """Admit a request for `/docs` and its files without a key: they hold no data, and ask for the admin key themselves.

        NotAllowed for pages of other sites, and for other machines while `server.auth` is not declared; logged, counted and delayed.
        """
        generation = self._live.generation
        reason = "another_site" if from_another_site(scope) else "stranger" if self._stranger(scope, generation) else ""
        if reason:
            await self._refuse(scope, generation, reason)

    async def enter_operator(self, scope: Scope) -> None:
        """Admit an operator's request, and store its network and kind of key in its state, for the log.

        Any other is Unauthorized or NotAllowed, logged, counted, and refused after a delay.
        """
        generation = self._live.generation
        if reason := self._why_not(scope, generation):
            await self._refuse(scope, generation, reason)
        key = "declared" if generation.server.admin.key is not None else "of this run"
        scope.setdefault("state", {})["operator"] = {"peer": self._peer(scope, generation), "key": key}

    async def _refuse(self, scope: Scope, generation: Generation, reason: str, sentence: str = "") -> NoReturn:
        """Log and count a refused operator request, wait as long as its refusal is to be delayed, and raise its error."""
        peer = self._peer(scope, generation)
        log.warning("admin refused", extra={"fields": {"reason": reason, "peer": peer, "method": scope["method"]}})
        self._count(reason)
        await self._slowdown.refused(peer)
        kind, usual = REFUSALS[reason]
        raise kind(sentence or usual)

    async def enter_fault(self, scope: Scope) -> None:
        """Admit a request that injects a fault: its admin key stands in `X-Router-Admin-Key`, beside the caller's own key.

        NotAllowed without a key. A wrong key (Unauthorized) and another site (NotAllowed) are logged, counted and delayed.
        """
        generation = self._live.generation
        given = [b"Bearer " + value for name, value in scope["headers"] if name == FAULT_KEY]
        key = generation.server.admin.key or self._run_key
        if from_another_site(scope):
            await self._refuse(scope, generation, "another_site")
        if not given:
            raise NotAllowed(FAULT)  # no attempt at a key
        if not _bears(given, key):
            await self._refuse(scope, generation, "wrong_key", FAULT)

    def _why_not(self, scope: Scope, generation: Generation) -> str:
        """Return the reason (a key of REFUSALS) why the client is not admitted as an operator; "" if it is admitted."""
        if from_another_site(scope):
            return "another_site"
        declared, given = generation.server.admin.key, borne(scope, dict(scope["headers"]))
        if _bears(given, declared or self._run_key):
            return ""
        if self._stranger(scope, generation):
            return "stranger"
        if len(given) > 1:
            return "two_keys"
        if declared is not None:
            return "wrong_key" if given else "no_key"
        if scope["method"] not in READING:
            return "closed" if self._run_key is None else "wrong_run_key" if given else "no_run_key"
        return "" if local.direct(scope) else "not_this_machine"

    def _stranger(self, scope: Scope, generation: Generation) -> str:
        """Return what shows that a request comes from another machine; empty if nothing does, or keys decide (`server.auth`, `only`)."""
        server = generation.server
        if self._only is not None or server.auth is not None:
            return ""
        return local.stranger(scope, by_name(scope["headers"]), server.cors.origins)

    def _peer(self, scope: Scope, generation: Generation) -> str:
        """Return the client's network as rate limits count it, the narrowest: an IPv4 address or an IPv6 /64."""
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        return counted(client_address((scope.get("client") or ("", 0))[0], forwarded, generation.server.proxies))[-1][0]


def from_another_site(scope: Scope) -> bool:
    """Return whether a page of another origin sent this request. False without `Sec-Fetch-Site`, which only browsers send."""
    return any(value not in OWN_SITE for name, value in scope["headers"] if name == b"sec-fetch-site")


def _bears(given: Sequence[bytes], key: Secret | None) -> bool:
    """Return whether the only credential is `Bearer` with this key. False for None and for a key that is too short, whoever passed it."""
    if key is None or len(key.value) < LEAST_ADMIN_KEY or len(given) != 1:
        return False
    scheme, _, credential = given[0].partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(credential.strip(), key.value.encode())
