"""The key `server` of routes.yaml, as frozen values: the HTTP edge. The docstrings are the reference."""

from typing import Annotated, Literal

from router.bounds import Bounds
from router.config.keys import ApiKey, KeyLines
from router.config.network import CaBundle, OwnEgress, OwnProxy
from router.config.values import ByteSize, Key, KeySource, Network, Origin, RedisUrl, Reference, Seconds, Share, SigningSecret, WebAddress
from router.errors import Misfit
from router.value import Value, field


class Cors(Value, frozen=True, kw_only=True):
    """Web pages that may ask from a browser.

    origins: the origin of each page, exactly: its scheme, host and port
    """

    origins: tuple[Origin, ...] = ()


class RequestBounds(Value, frozen=True, kw_only=True):
    """Limits on the content of a request.

    body: maximum number of bytes of the body
    messages: maximum number of messages of the conversation
    depth: maximum number of levels of nesting in the body
    values: maximum number of JSON values in the body: members of objects, items of lists, objects and lists
    """

    body: ByteSize = 8 * 1024 * 1024
    messages: Annotated[int, Bounds(1, 100_000)] = 500
    depth: Annotated[int, Bounds(1, 100_000)] = 64
    values: Annotated[int, Bounds(1, 10_000_000)] = 50_000


MinClient = Literal["5.0", "6.0"]
"""A release of the AI SDK; clients of it and of later ones read what is written for it."""


class Ui(Value, frozen=True, kw_only=True):
    """The stream for clients of AI SDK 5 and later.

    min_client: the oldest version of the clients; 6.0 sends what only versions 6 and 7 read: approvals, progress, the finish reason
    """

    min_client: MinClient = "5.0"


class Resume(Value, frozen=True, kw_only=True):
    """Resuming of a running answer, by the chat's id.

    keep: how long after its end an answer can be resumed
    grace: how long an answer continues after its last client has left; by default it ends at once
    size: maximum number of bytes of one answer; a longer one cannot be resumed
    """

    keep: Seconds = 60.0
    grace: Seconds | None = None
    size: ByteSize = 1024 * 1024


Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]


class Jwt(Value, OwnEgress, frozen=True, kw_only=True):
    """Callers with a token of an issuer (a JWT, RFC 7519). The claim `sub` is the caller's name; the claim `exp` is required.

    issuer: the token's claim `iss`, exactly
    audience: the token's claim `aud`, or one of its values
    algorithms: the algorithms with which a token may be signed
    jwks: the issuer's public keys: their address, or a file, ${file:jwks.json}
    secret: the shared secret with which tokens are signed, for HS256, HS384 and HS512
    routes_claim: the claim that lists the routes that the caller may ask; by default it may ask all
    user_claim: the claim that names the end user, e.g. email; a token without this claim is refused. By default tokens name no end user
    proxy: the HTTP proxy for the address in `jwks`, in place of that of `network`; none connects directly
    ca: certificates to trust besides the system's, in place of those of `network`
    """

    issuer: str
    audience: str
    algorithms: tuple[Algorithm, ...]
    jwks: KeySource | None = None
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


class Auth(Value, frozen=True, kw_only=True):
    """Authentication of callers, by a key or a token in `Authorization: Bearer`. Declare one of the two, or both.

    keys: name of a caller → its key; or a file of keys, ${file:/run/secrets/keys}
    jwt: tokens of an issuer
    """

    keys: dict[Reference, ApiKey] | KeyLines | None = None
    jwt: Jwt | None = None

    def __post_init__(self) -> None:
        if self.keys is None and self.jwt is None:
            raise Misfit("callers are known by `keys` or by `jwt`; for everybody write `auth: none`")


class Reloading(Value, frozen=True, kw_only=True):
    """Reloading of edits.

    when: whether edits go live by themselves: on, off, or auto (on, unless ROUTER_ENV is production)
    drills: true refuses an edit if a drill fails with it
    """

    when: Literal["auto", "on", "off"] = "auto"
    drills: bool = False


LEAST_ADMIN_KEY = 20
"""Fewest characters of an admin key: it opens every admin page, and guesses are not limited otherwise."""


def _check_length(key: Key | None, name: str, field: str) -> None:
    """Raise Misfit at `field` for a key that can be guessed, with the advice to set ROUTER_<NAME>_KEY."""
    if key is not None and len(key.value) < LEAST_ADMIN_KEY:
        variable = f"ROUTER_{name.upper()}_KEY"
        why = f"an {name} key of fewer than {LEAST_ADMIN_KEY} characters can be guessed: `openssl rand -hex 24` makes one"
        raise Misfit(f"{why}; set {variable} to it, and write ${{{variable}}}", field)


class AdminConfig(Value, frozen=True, kw_only=True):
    """Access to /admin, /metrics and /docs. Without a declared key, only this machine has access.

    key: the admin key, e.g. ${ROUTER_ADMIN_KEY}; with it the pages can be read from anywhere
    """

    key: Key | None = None

    def __post_init__(self) -> None:
        _check_length(self.key, "admin", "key")


class Otel(Value, OwnEgress, frozen=True, kw_only=True):
    """Export of traces and metrics, by OTLP over HTTP. It needs the extra `pointsman[otel]`.

    endpoint: the address of the collector, e.g. http://127.0.0.1:4318
    token: sent to the collector as Authorization: Bearer
    service: the name of the service in traces and metrics
    share: share of requests that is traced. If a request has a traceparent, its sampled flag decides instead
    every: interval at which metrics are sent
    proxy: the HTTP proxy for the collector, in place of that of `network`; none connects directly
    ca: certificates to trust besides the system's, in place of those of `network`
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


class Server(Value, frozen=True, kw_only=True):
    """The HTTP server.

    cors: web pages that may ask from a browser
    request: limits on the content of a request
    protocol: the dialect of answers below /api/chat; auto decides by the request's body. A request may name another one
    ui: the stream for clients of AI SDK 5 and later
    keep_alive: after this time without an event, a keep-alive is sent, if the dialect has one
    resume: resuming of a running answer
    reload: whether edits go live by themselves: on, off, auto (on, unless ROUTER_ENV is production), or a mapping with more options
    redis: the address of the Redis that replicas share, e.g. ${REDIS_URL}; without it each replica works by itself
    drain: graceful shutdown: how long running answers may continue after SIGTERM
    admin: access to /admin, /metrics and /docs
    otel: export of traces and metrics; by default none
    max_streams: maximum number of concurrent answers in each worker, over all callers; a further request gets a 503 with Retry-After
    proxies: addresses and networks of proxies whose header X-Forwarded-For is trusted
    auth: authentication of callers; none admits every client. Required if other machines can reach the server
    page: whether the chat page is served at /; with off, / is a 404
    approval_key: the key that signs approval requests for tool calls; by default each process makes a key of its own
    """

    cors: Cors = field(default_factory=Cors)
    request: RequestBounds = field(default_factory=RequestBounds)
    protocol: Protocol = "auto"
    ui: Ui = field(default_factory=Ui)
    keep_alive: Seconds = 15.0
    resume: Resume = field(default_factory=Resume)
    reload: Literal["auto", "on", "off"] | Reloading = "auto"
    redis: RedisUrl | None = None
    drain: Seconds = 30.0
    admin: AdminConfig = field(default_factory=AdminConfig)
    otel: Otel | None = None
    max_streams: Annotated[int, Bounds(1, 1_000_000)] | None = None
    proxies: tuple[Network, ...] = ()
    auth: Literal["none"] | Auth | None = None
    page: Literal["on", "off"] = "on"
    approval_key: Key | None = None

    def __post_init__(self) -> None:
        _check_length(self.approval_key, "approval", "approval_key")
