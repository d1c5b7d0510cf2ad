"""The key `server` of routes.yaml, as frozen values: the HTTP edge. The docstrings are the reference."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from router.bounds import Bounds
from router.config.keys import ApiKey, KeyLines
from router.config.network import CaBundle, OwnEgress, OwnProxy
from router.config.values import (
    ByteSize,
    Key,
    KeySetSource,
    Network,
    Origin,
    RedisAddress,
    Reference,
    Seconds,
    Share,
    SigningSecret,
    WebAddress,
)
from router.errors import Misfit


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Web pages that may call from a browser.

    origins: scheme and host of each, exactly
    """

    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBounds:
    """Limits on the content of a request.

    body: bytes of the body
    messages: messages of the conversation
    depth: levels of nesting in the body
    values: JSON values in the body: members of objects, items of lists, objects and lists
    """

    body: ByteSize = 8 * 1024 * 1024
    messages: Annotated[int, Bounds(1, 100_000)] = 500
    depth: Annotated[int, Bounds(1, 100_000)] = 64
    values: Annotated[int, Bounds(1, 10_000_000)] = 50_000


MinClient = Literal["5.0", "6.0"]
"""A release of the AI SDK; clients of it and of later ones read what is written for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ui:
    """The stream for AI SDK clients from 5.0 on.

    min_client: the oldest of them; 5.0 is read by every release, 6.0 puts the finish reason and a tool's progress where AI SDK 6 and 7 look for them
    """

    min_client: MinClient = "5.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Resuming the answer of a chat, by the chat's id.

    keep: time after its end in which it can be resumed
    grace: time for which an answer goes on after its last client has left; unless given, it ends at once
    size: most bytes of one answer; a longer one cannot be resumed
    """

    keep: Seconds = 60.0
    grace: Seconds | None = None
    size: ByteSize = 1024 * 1024


Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt(OwnEgress):
    """Callers with a token of an issuer (RFC 7519). The `sub` is the caller's name; `exp` is required.

    issuer: its `iss`, exactly
    audience: its `aud`, or one of them
    algorithms: the only algorithms it may be signed with
    jwks: the public keys it may be signed with: the issuer's address of them, or a file: ${file:jwks.json}
    secret: the one secret that it is signed with, for HS256, HS384 and HS512
    routes_claim: a claim that lists the only routes it may ask; unless given, all
    user_claim: a claim that names the end user, e.g. email; a token without it is refused. Unless given, no end user is named
    proxy: the HTTP proxy on the way to the address of `jwks`, in place of that of `network`; none is the direct way
    ca: certificates that are trusted beside the system's, in place of those of `network`
    """

    issuer: str
    audience: str
    algorithms: tuple[Algorithm, ...]
    jwks: KeySetSource | None = None
    secret: SigningSecret | None = None
    routes_claim: str | None = None
    user_claim: str | None = None
    proxy: OwnProxy | None = None
    ca: CaBundle | None = None

    def __post_init__(self) -> None:
        if (self.jwks is None) == (self.secret is None):
            raise Misfit("tokens are held against either `jwks` or a `secret`", "secret" if self.jwks else None)
        if not self.algorithms:
            raise Misfit("name the algorithms that the issuer signs with, e.g. [RS256]", "algorithms")
        for name in ("issuer", "audience", "routes_claim", "user_claim"):
            if getattr(self, name) == "":
                raise Misfit(f"`{name}` is empty", name)
        symmetric = [name for name in self.algorithms if name.startswith("HS")]
        if self.secret is None and symmetric:
            raise Misfit(f"{symmetric[0]} goes with a `secret`: whoever has read a public key could sign with it", "algorithms")
        if self.secret is not None:
            if len(symmetric) < len(self.algorithms):
                raise Misfit("only HS256, HS384 and HS512 go with a `secret`", "algorithms")
            needed = max(int(name[2:]) // 8 for name in symmetric)
            if len(self.secret.value) < needed:
                raise Misfit(f"a secret of fewer than {needed} characters can be guessed: {symmetric[-1]} needs so many", "secret")
        if (own := "proxy" if self.proxy else "ca" if self.ca else "") and (self.jwks is None or not self.jwks.url):
            raise Misfit(f"nothing is fetched here: `{own}` goes with an address in `jwks`", own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Authentication of callers: `Authorization: Bearer` with a key or a token. Declare one of the two, or both.

    keys: each caller's key by the caller's name; or a file of them: ${file:/run/secrets/keys}
    jwt: tokens of an issuer
    """

    keys: dict[Reference, ApiKey] | KeyLines | None = None
    jwt: Jwt | None = None

    def __post_init__(self) -> None:
        if self.keys is None and self.jwt is None:
            raise Misfit("callers are known by `keys` or by `jwt`; for everybody write `auth: none`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloading:
    """Reloading of edits.

    when: on: an edit goes live by itself; auto: unless ROUTER_ENV is production
    drills: true refuses an edit with which a drill fails
    """

    when: Literal["auto", "on", "off"] = "auto"
    drills: bool = False


LEAST_ADMIN_KEY = 20
"""Fewest characters of an admin key: it opens every admin page, and guesses are not limited otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminConfig:
    """Access to /admin, /metrics and /docs: unless a key is declared, from this machine alone.

    key: gives access from anywhere, e.g. ${ROUTER_ADMIN_KEY}
    """

    key: Key | None = None

    def __post_init__(self) -> None:
        if self.key is not None and len(self.key.value) < LEAST_ADMIN_KEY:
            raise Misfit(
                f"an admin key of fewer than {LEAST_ADMIN_KEY} characters can be guessed: `openssl rand -hex 24` makes one; "
                "set ROUTER_ADMIN_KEY to it, and write ${ROUTER_ADMIN_KEY}",
                "key",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Otel(OwnEgress):
    """Export of traces and metrics, by OTLP over HTTP; needs the extra `pointsman[otel]`.

    endpoint: the collector, e.g. http://127.0.0.1:4318
    token: sent to it, as Authorization: Bearer
    service: the name of the service in traces and metrics
    share: sampled share of the requests without a trace of their caller; a trace that a caller has begun follows its sampling flag
    every: interval at which metrics are sent
    proxy: the HTTP proxy on the way to it, in place of that of `network`; none is the direct way
    ca: certificates that are trusted beside the system's, in place of those of `network`
    """

    endpoint: WebAddress
    token: Key | None = None
    service: str = "pointsman"
    share: Share = 1.0
    every: Seconds = 60.0
    proxy: OwnProxy | None = None
    ca: CaBundle | None = None


Protocol = Literal[
    "auto",
    "line",
    "data-stream",
    "ui-message-stream",
    "openai",
    "anthropic",
    "responses",
    "text-completion",
    "ag-ui",
    "ai-gateway",
    "text",
]
"""A dialect of answers, by its name; auto goes by the body of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The HTTP edge.

    cors: web pages that may call
    request: limits on the content of a request
    protocol: the dialect of answers below /api/chat; auto goes by the body; a request may name its own
    ui: the stream for AI SDK clients from 5.0 on
    keep_alive: after this time without an event a stream gets a keep-alive, where its dialect has one
    resume: resuming the answer of a chat
    reload: on: an edit goes live by itself; auto: unless ROUTER_ENV is production; or a mapping of `when` and `drills`
    redis: the address of the Redis that replicas share, e.g. ${REDIS_URL}; without it each replica is on its own
    drain: graceful shutdown: on SIGTERM running answers may go on for this long
    admin: access to /admin, /metrics and /docs
    otel: export of traces and metrics; unless given, none
    max_streams: most answers at one time, over all callers, in each worker; a further request is refused with Retry-After
    proxies: addresses and networks of proxies whose X-Forwarded-For is trusted
    auth: authentication of callers; none admits every client, and must be written where other machines can reach the server
    page: off answers 404 at /, on serves the page
    approval_key: signs the questions whether a tool call may run; unless given, a key of each process, which other workers do not know
    """

    cors: Cors = field(default_factory=Cors)
    request: RequestBounds = field(default_factory=RequestBounds)
    protocol: Protocol = "auto"
    ui: Ui = field(default_factory=Ui)
    keep_alive: Seconds = 15.0
    resume: Resume = field(default_factory=Resume)
    reload: Literal["auto", "on", "off"] | Reloading = "auto"
    redis: RedisAddress | None = None
    drain: Seconds = 30.0
    admin: AdminConfig = field(default_factory=AdminConfig)
    otel: Otel | None = None
    max_streams: Annotated[int, Bounds(1, 1_000_000)] | None = None
    proxies: tuple[Network, ...] = ()
    auth: Literal["none"] | Auth | None = None
    page: Literal["on", "off"] = "on"
    approval_key: Key | None = None

    def __post_init__(self) -> None:
        if self.approval_key is not None and len(self.approval_key.value) < LEAST_ADMIN_KEY:
            raise Misfit(
                f"an approval key of fewer than {LEAST_ADMIN_KEY} characters can be guessed: `openssl rand -hex 24` makes one; "
                "set ROUTER_APPROVAL_KEY to it, and write ${ROUTER_APPROVAL_KEY}",
                "approval_key",
            )
