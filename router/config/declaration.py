"""Declaration of routes.yaml and the pipelines, as frozen values. The docstrings are the reference.

`declare` is the only way in: it returns a Declaration with every complaint in it. Without complaints it is consistent.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from router.bounds import Bounds
from router.chat import Circumstances, Params
from router.config import document
from router.config.binding import Complaints, bind_fields, did_you_mean, file_meant, step_meant
from router.config.conditions import ClaimName, RequestHeader, When, Word
from router.config.document import Node, Table, UnreadableYaml
from router.config.drill_file import check_names, joined
from router.config.entries import KnownCallers, check_entries
from router.config.env_file import EnvFile
from router.config.environment import ENV_FILE, Environment
from router.config.facts import FactsConfig
from router.config.keys import ApiKey, KeyLines
from router.config.kinds import check_kinds, without_pipelines
from router.config.limits import Limit
from router.config.network import CaBundle, Egress, NetworkConfig, OwnProxy, egress_of, has_literal_password, is_this_machine
from router.config.options import BodyField, HeaderName, HeaderValue, check_headers
from router.config.price import Price
from router.config.remedies import Advice, Spot, spots
from router.config.snapshot import DRILLS, Snapshot
from router.config.tool_servers import ToolServer
from router.config.tool_sets import ToolSetEntry
from router.config.values import (
    ApiBase,
    Backoff,
    ByteSize,
    Deed,
    Key,
    KeySetSource,
    ModelName,
    Name,
    Network,
    Origin,
    RedisAddress,
    Reference,
    Seconds,
    Secret,
    Share,
    SigningSecret,
    Span,
    Title,
    WebAddress,
    Within,
    loopback,
)
from router.errors import Misfit, Place
from router.signature import record_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Deadlines of an answer and its parts.

    connect: for a connection to the provider
    first_token: from asking a target until it starts to speak; then the next target is asked
    idle: between two events of an answer
    tool: for one tool call; then the model gets an error as its result
    total: for the whole answer, all its model calls and tools together
    """

    connect: Seconds = 2.0
    first_token: Seconds = 10.0
    idle: Seconds = 15.0
    tool: Seconds = 20.0
    total: Seconds = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Retries of one target before its first event, and the back-off between them.

    attempts: at most this many tries of one target, the first included
    backoff: the shortest and the longest wait; it doubles from try to try, with jitter
    budget: retries as a share of answers, over all requests: while a target answers no request, its retries stop
    """

    attempts: Annotated[int, Bounds(1, 10)] = 2
    backoff: Backoff = field(default_factory=lambda: Span(0.25, 4))
    budget: Share = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """Circuit breaker: a target that keeps failing gets no requests for a while.

    failures: failed tries in a row, of any requests, that open it
    within: the time in which these must fall
    open: time without requests; then one probe at a time is sent
    slow: after `failures` answers in a row that started later than this, other targets are asked first for the time `open`; unless given, never
    """

    failures: Annotated[int, Bounds(1, 1000)] = 5
    within: Seconds = 30.0
    open: Seconds = 4.0
    slow: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeConfig:
    """Hedging: a second target is asked while the first is late; the first of them to start gives the answer.

    after: delay before the second call; unless given, it is learned from the first target's time to first token
    at_most: such calls as a share of questions, so that they cost no more than this
    """

    after: Seconds | None = None
    at_most: Share = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """Cache of answers, returned again for the same question.

    ttl: time to live of an answer
    size: bytes of answers in one process; beyond it the least recently used go first
    scope: clients that share an answer: the end user it was made for (user), all users of that caller (caller), or all clients of this route (route)
    tools: keep caches answers for which tools ran, skip does not; on a hit the tools do not run again
    """

    ttl: Seconds
    size: ByteSize = 64 * 1024 * 1024
    scope: Literal["user", "caller", "route"] = "user"
    tools: Literal["skip", "keep"] = "skip"

    def __post_init__(self) -> None:
        if self.size < 64 * 1024:
            raise Misfit("size must be at least 64KiB: few answers would fit", "size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A target of a pool.

    use: the target
    weight: its share of the questions, relative to the other weights; 1 where others have a weight and it has none
    when: it is asked where all of this holds; unless given, always
    """

    use: Reference
    weight: Annotated[float, Bounds(above=0, most=1_000_000)] | None = None
    when: When | None = None

    @property
    def shares(self) -> bool:
        """True if this member makes its pool one that goes by weights."""
        return self.weight is not None or self.when is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEntry:
    """A target, or a pool of them, that is asked where a condition holds.

    use: the target; a list is a pool
    when: it is asked where all of this holds
    """

    use: Reference | tuple[Reference | Member, ...]
    when: When

    def __post_init__(self) -> None:
        if not self.use:
            raise Misfit("a pool needs at least one target", "use")
        if isinstance(self.use, tuple) and any(isinstance(one, Member) and one.when for one in self.use):
            raise Misfit("`when` stands either on a pool or on its members: write it on each member that it is for", "when")

    @property
    def pool(self) -> "tuple[Member, ...]":
        """The targets of the entry, each with its condition."""
        members = self.use if isinstance(self.use, tuple) else (self.use,)
        weighted = any(isinstance(one, Member) for one in members)
        return tuple(
            replace(one, when=self.when, weight=one.weight or 1.0)
            if isinstance(one, Member)
            else Member(use=one, when=self.when, weight=1.0 if weighted else None)
            for one in members
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLine:
    """A step of a scripted target. Exactly one of its keys, and `arguments` with `call`.

    text: send this text
    thought: send this as a thought
    call: ask for this tool, with `arguments`
    arguments: the arguments of the call
    pause: send nothing for this long
    fail: break off: down, silent, refused, denied, too_long or filtered
    finish: end here, for this reason
    """

    text: str | None = None
    thought: str | None = None
    call: Reference | None = None
    arguments: dict[str, object] | None = None
    pause: Seconds | None = None
    fail: Literal["down", "silent", "refused", "denied", "too_long", "filtered"] | None = None
    finish: Literal["stop", "length", "content-filter", "other"] | None = None

    def __post_init__(self) -> None:
        deeds = [name for name in ("text", "thought", "call", "pause", "fail", "finish") if getattr(self, name) is not None]
        if len(deeds) != 1:
            raise Misfit("a script line does exactly one thing: text, thought, call, pause, fail or finish", deeds[1] if deeds else None)
        if self.arguments is not None and self.call is None:
            raise Misfit("`arguments` go with `call`", "arguments")
        if "" in (self.text, self.thought):
            raise Misfit("there is nothing to say in an empty text", deeds[0])


MODEL_KEYS = (
    "api_key", "api_base", "api_version", "via", "fetch_files", "base_model", "facts", "body", "headers", "proxy", "ca", "batch_size",
)  # fmt: skip
"""Keys of a target that a script has no use for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetConfig:
    """A target of requests: a provider's model, or a script.

    model: a LiteLLM model name, provider/model
    script: `demo` answers offline; a list of lines is played as it stands
    api_key: the provider's key, e.g. ${OPENAI_API_KEY}
    api_base: the address of the provider's API, if it is not the provider's own
    api_version: of Azure's API, e.g. 2024-10-21; for azure/ alone
    via: litellm asks through LiteLLM where the router otherwise speaks the provider's API itself
    optional: true skips the target while a variable it needs is not set; start-up and `check` say so
    params: sampling parameters this target always gets; a request's own come on top
    context_window: tokens this target can read; a conversation too long for another target goes here
    fetch_files: true sends its server the addresses of files, to fetch them; unless given, true for the servers of known providers
    price: its price; unless given, the one in LiteLLM's table
    base_model: the model that a deployment or a server of your own serves, provider/model; its facts hold for this target
    facts: properties of the model, where the table is wrong or does not know it
    body: additional fields of each of its requests, merged into the router's own; they stand over those of a question
    headers: additional headers of each of its requests; a secret among them by reference, ${TEAM_TOKEN}
    proxy: the HTTP proxy on the way to it, in place of that of `network`; none is the direct way
    ca: certificates that are trusted beside the system's, in place of those of `network`: a file of them, ${file:corporate-ca.pem}
    prompt_cache: ask the provider to cache the beginning of a prompt for the next one: auto (where it is known to accept that), on, off
    batch_size: most inputs of one call for embeddings; unless given, as many as the provider is known to take
    """

    model: ModelName | None = None
    script: Literal["demo"] | tuple[ScriptLine, ...] | None = None
    api_key: Key | None = None
    api_base: ApiBase | None = None
    api_version: str | None = None
    via: Literal["litellm"] | None = None
    optional: bool = False
    params: Params = field(default_factory=Params)
    context_window: Annotated[int, Bounds(1)] | None = None
    fetch_files: bool | None = None
    price: Price | None = None
    base_model: str | None = None
    facts: FactsConfig | None = None
    body: dict[BodyField, object] | None = None
    headers: dict[HeaderName, HeaderValue] | None = None
    proxy: OwnProxy | None = None
    ca: CaBundle | None = None
    prompt_cache: Literal["auto", "on", "off"] = "auto"
    batch_size: Annotated[int, Bounds(1, 2048)] | None = None

    def __post_init__(self) -> None:
        if (self.model is None) == (self.script is None):
            raise Misfit("a target has either `model` or `script`", "script" if self.model else None)
        if self.script is not None:
            useless = next((name for name in MODEL_KEYS if getattr(self, name) is not None), None)
            useless = useless or ("prompt_cache" if self.prompt_cache != "auto" else None)
            if useless:
                raise Misfit(f"a scripted target has no use for `{useless}`", useless)
        if self.api_version is not None:
            if not str(self.model).startswith("azure/"):
                raise Misfit("only azure/ has an `api_version`", "api_version")
            if not re.fullmatch(r"[\w.-]+", self.api_version, re.ASCII):
                raise Misfit("api_version is a date, e.g. 2024-10-21, or a word", "api_version")
        check_headers(self.headers or {})
        if isinstance(self.proxy, Secret) and self.api_base and is_this_machine(urlsplit(self.api_base).hostname or ""):
            raise Misfit("this target is on this machine, which no proxy leads to: leave `proxy` out", "proxy")

    @property
    def egress(self) -> Egress:
        """The way to the target, once `network` is put in."""
        return egress_of(self.proxy, self.ca)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Defaults of every route for keys that it leaves out.

    timeout: deadlines of an answer and its parts
    retry: retries of one target
    breaker: the circuit breaker of each target
    balance: load balancing in a pool without weights: first the least_busy target, or by latency the one that starts soonest
    rescue: after an answer breaks off: continue lets another target go on from there, fail ends it with an error
    affinity: chat keeps a chat on the target of a pool that holds its prompt cache; off sends each question by weight or balance
    prompt_cache: off asks no provider to cache the beginning of a prompt; auto leaves that to each target
    """

    timeout: Timeout = field(default_factory=Timeout)
    retry: Retry = field(default_factory=Retry)
    breaker: BreakerConfig = field(default_factory=BreakerConfig)
    balance: Literal["least_busy", "latency"] = "least_busy"
    rescue: Literal["continue", "fail"] = "continue"
    affinity: Literal["chat", "off"] = "chat"
    prompt_cache: Literal["auto", "off"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A model id of the front end: a pipeline and the targets that answer.

    kind: chat, or embeddings, which has no pipeline and is asked at /v1/embeddings
    pipeline: pipelines/<name>.yaml, which makes the question; each chat route has one
    targets: the targets in order; the first to start answers; a list in the list is a pool; {use, when} is asked where its condition holds
    aliases: other ids for the same route
    tools: the tool sets the model may use: tools/<name>.py, here or in processes of their own, or an MCP server; none unless named
    max_steps: model calls in one answer; at the cap the finish reason is tool-calls
    reasoning: show sends the model's thoughts to the client, hide leaves them out
    timeout: over the defaults' own
    retry: over the defaults' own
    breaker: over the defaults' own
    balance: over the defaults' own
    hedge: ask the next target too while the first is late
    cache: cache answers, and return them for the same question; unless given, every question is asked
    rescue: over the defaults' own
    affinity: over the defaults' own
    prompt_cache: over the defaults' own
    limit: the limit on use; unless given, none
    max_output: most tokens of one model call; the model is asked for no more, and an answer that goes on all the same is cut off
    listed: false hides the route from lists of models; a hidden route answers all the same
    refuse: parts of a question that its clients may not bring: tools of their own, system messages; unless given, they may
    """

    kind: Literal["chat", "embeddings"] = "chat"
    pipeline: Reference
    targets: tuple[Reference | TargetEntry | tuple[Reference | Member, ...], ...]
    aliases: tuple[Reference, ...] = ()
    tools: tuple[Reference | ToolSetEntry | ToolServer, ...] = ()
    max_steps: Annotated[int, Bounds(1, 50)] = 5
    reasoning: Literal["hide", "show"] = "hide"
    timeout: Timeout = field(default_factory=Timeout)
    retry: Retry = field(default_factory=Retry)
    breaker: BreakerConfig = field(default_factory=BreakerConfig)
    balance: Literal["least_busy", "latency"] = "least_busy"
    hedge: HedgeConfig | None = None
    cache: Cache | None = None
    rescue: Literal["continue", "fail"] = "continue"
    affinity: Literal["chat", "off"] = "chat"
    prompt_cache: Literal["auto", "off"] = "auto"
    limit: Limit | None = None
    max_output: Annotated[int, Bounds(1, 10_000_000)] | None = None
    listed: bool = True
    refuse: tuple[Literal["tools", "system"], ...] = ()

    def __post_init__(self) -> None:
        if not self.targets:
            raise Misfit("a route needs at least one target", "targets")
        if not all(self.targets):
            raise Misfit("a pool needs at least one target", "targets")
        if self.hedge is not None and len(self.names) < 2:
            raise Misfit("`hedge` asks a second target: this route has one", "hedge")

    @property
    def pools(self) -> "tuple[tuple[Reference | Member, ...], ...]":
        """The pools in order; a target that stands alone is a pool of one."""
        return tuple(
            entry.pool if isinstance(entry, TargetEntry) else entry if isinstance(entry, tuple) else (entry,) for entry in self.targets
        )

    @property
    def names(self) -> tuple[Name, ...]:
        """Every target, once, in the order of the entries."""
        return tuple(dict.fromkeys(named(one) for pool in self.pools for one in pool))

    @property
    def conditions(self) -> "tuple[When | None, ...]":
        """The condition of each target in each entry, by their places; None where there is none."""
        return tuple(one.when if isinstance(one, Member) else None for pool in self.pools for one in pool)

    @property
    def tool_sets(self) -> tuple[Name, ...]:
        """The tool sets of the route that are files."""
        return tuple(one.use if isinstance(one, ToolSetEntry) else one for one in self.tools if not isinstance(one, ToolServer))

    @property
    def isolated_sets(self) -> "tuple[ToolSetEntry, ...]":
        """The tool sets that run in processes of their own."""
        return tuple(one for one in self.tools if isinstance(one, ToolSetEntry) and one.isolate is not None)

    @property
    def approved(self) -> tuple[str, ...]:
        """The tool sets and servers whose calls the user has to allow."""
        found = [one for one in self.tools if not isinstance(one, str) and one.approve == "always"]
        return tuple(one.label if isinstance(one, ToolServer) else str(one.use) for one in found)

    @property
    def tool_servers(self) -> tuple[ToolServer, ...]:
        """The tool servers of the route."""
        return tuple(one for one in self.tools if isinstance(one, ToolServer))


def named(one: "Reference | Member") -> Name:
    """Return the target that an entry of a pool names."""
    return one.use if isinstance(one, Member) else one


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ui:
    """The stream for AI SDK clients from 5.0 on.

    min_client: the oldest of them; 5.0 is read by every release, 6.0 puts the finish reason and a tool's progress where AI SDK 6 and 7 look for them
    """

    min_client: Literal["5.0", "6.0"] = "5.0"


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
class Jwt:
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

    @property
    def egress(self) -> Egress:
        """The way to the issuer's keys, once `network` is put in."""
        return egress_of(self.proxy, self.ca)


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
"""Characters of an admin key at least: it opens every admin page, and guesses are not limited otherwise."""


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
class Otel:
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

    @property
    def egress(self) -> Egress:
        """The way to the collector, once `network` is put in."""
        return egress_of(self.proxy, self.ca)


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
    protocol: Literal[
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
    ] = "auto"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillAsk:
    """The question of a drill.

    model: a route's id or alias
    text: the user's message
    times: number of requests, one after the other; `expect` is about the last
    every: time between them; unless given, none
    image: true adds an image
    tokens: length of the conversation, by the router's own estimate
    caller: the name of the caller
    claims: claims of the caller's token
    headers: headers of the request
    budget_used: used share of the tightest limit on money or tokens, e.g. 90%
    """

    model: Reference
    text: str = "Hello"
    times: Annotated[int, Bounds(1, 1000)] = 1
    every: Seconds | None = None
    image: bool = False
    tokens: Annotated[int, Bounds(1, 10_000_000)] | None = None
    caller: Word | None = None
    claims: dict[ClaimName, Word | tuple[Word, ...]] = field(default_factory=dict[ClaimName, Word | tuple[Word, ...]])
    headers: dict[RequestHeader, Word] = field(default_factory=dict[RequestHeader, Word])
    budget_used: Share | None = None

    @property
    def circumstances(self) -> Circumstances:
        """The circumstances that the conditions of the route look at."""
        headers = {str(name): (value,) for name, value in self.headers.items()}
        return Circumstances(self.caller or "", {str(name): one for name, one in self.claims.items()}, headers, self.budget_used or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """The expected result. Unless it `fails`, the answer must be complete, with no word missing and none repeated.

    served_by: the target that spoke last
    tried: every try in order, target and outcome, e.g. gpt status_503
    events: the kinds of events, runs as one, e.g. [Start, Text, Finish]
    within: the longest time of the whole answer, e.g. 3s; or the shortest and the longest, e.g. 1.5s..3s
    finish: the finish reason
    fails: the code of the error it ends with
    """

    served_by: Reference | None = None
    tried: tuple[str, ...] | None = None
    events: (
        tuple[
            Literal[
                "Start",
                "Text",
                "Thought",
                "ToolInput",
                "ToolCall",
                "ToolProgress",
                "ToolResult",
                "Approval",
                "LateResult",
                "Finish",
                "Failure",
            ],
            ...,
        ]
        | None
    ) = None
    within: Within | None = None
    finish: Literal["stop", "length", "content-filter", "tool-calls", "other", "unknown"] | None = None
    fails: str | None = None

    def __post_init__(self) -> None:
        if self.fails is not None and self.finish is not None:
            raise Misfit("an answer that fails has no finish reason", "finish")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """A fault and the expected result, run by `router drill` with the code that serves and a clock that jumps.

    name: the title: the behaviour that it shows
    given: target → its behaviour at every try, or, as a list, try by try, the last repeated; a target that is not named answers
    ask: the question
    expect: the expected result
    """

    name: Title
    given: dict[Reference, Deed | tuple[Deed, ...]] = field(default_factory=dict[Reference, Deed | tuple[Deed, ...]])
    ask: DrillAsk
    expect: Expect

    def __post_init__(self) -> None:
        for target, faults in self.given.items():
            last = faults[-1:] if isinstance(faults, tuple) else (faults,)
            if any(fault.times is not None for fault in last):
                raise Misfit(f"{target}: `times` is for what others follow: what stands last is done again and again", "given")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesFile:
    """routes.yaml: the model ids of the front end, and the targets that answer for each.

    targets: all models and scripts that can answer, named once
    routes: the model ids of the front end
    defaults: keys that routes share
    server: the HTTP edge
    network: the way to other servers: a proxy, and certificates of your own
    drills: faults and expected results; more of them may stand in drills.yaml beside this file
    """

    targets: dict[Reference, TargetConfig]
    routes: dict[Reference, Route]
    defaults: Defaults = field(default_factory=Defaults)
    server: Server = field(default_factory=Server)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    drills: tuple[Drill, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillFile:
    """drills.yaml: faults and expected results.

    drills: each is run by `router drill`
    """

    drills: tuple[Drill, ...]


@dataclass(frozen=True, slots=True)
class StepLine:
    """An entry of a pipeline, not yet bound to its step's options."""

    name: Name
    options: Node


@dataclass(frozen=True, slots=True)
class Declaration:
    """A configuration and its complaints. Without complaints it is consistent; it is not yet built."""

    routes: RoutesFile
    pipelines: Mapping[str, tuple[StepLine, ...]]
    tools: Mapping[str, document.Scalar]
    """Tool sets that routes name → the first place, as written."""
    skipped: Mapping[str, str]
    """Optional target → why it is skipped."""
    snapshot: Snapshot
    digest: str
    secrets: Mapping[str, str | None] = field(repr=False)
    """Secret files that were named, `.env` among them: path → text, None where it could not be read."""
    complaints: Complaints
    """Complaints so far; the build adds those that only building shows."""
    env_file: EnvFile
    """The `.env` beside the routes file."""
    tree: Table = field(repr=False)
    """The routes file as it is written, with the drills of drills.yaml and without `defaults` put into routes. Its scalars are resolved, so it
    holds secrets.
    """


def _places() -> Mapping[str, tuple[Spot, ...]]:
    """Return every word of routes.yaml with its places. Words of drills are left out: they are not mistaken for others."""
    found: dict[str, tuple[Spot, ...]] = {}
    for word, spot in spots(record_of(RoutesFile)):
        if spot.path[0] != "drills":
            found[word] = (*found.get(word, ()), spot)
    return found


ADVICE = Advice(_places())


def declare(
    snapshot: Snapshot,
    variables: Mapping[str, str] | None,
    host: str = "127.0.0.1",
    *,
    lacking: Literal["mistakes", "noted"] = "mistakes",
    beside: EnvFile | None = None,
) -> Declaration:
    """Return the declaration of a snapshot. One with complaints must not be served: see `Declaration.complaints`.
    variables: the environment; None leaves `${…}` unresolved: the declaration is to be described, not to be built
    host: the address it is to be served at
    lacking: `mistakes` complains of missing variables and secret files; `noted` lists them and puts in any value of the right kind:
      the declaration is to be checked, not to be served
    beside: the `.env` in the folder; None where it is not to be looked at
    """
    complaints = Complaints(snapshot.texts, without_environment=lacking == "noted", advice=ADVICE)
    env_file = beside or EnvFile()
    environment = Environment(variables, snapshot.root, complaints.add, env_file.variables)
    complaints.warnings.extend(env_file.warnings)
    tree = _routes_tree(snapshot, environment, complaints)
    skipped: dict[str, str] = {}
    routes = RoutesFile(targets={}, routes={})
    written = tree if isinstance(tree, Table) else Table(Place(snapshot.routes, 1, 1), ())
    if isinstance(tree, Table):
        tree = with_defaults(_with_optional_targets(tree, skipped))
    if tree is not None:
        pieces, _ = bind_fields(tree, record_of(RoutesFile), complaints, f"`{snapshot.routes}`")
        routes = through(replace(routes, **pieces))
    used = _check_references(tree, complaints)
    _check_callers(tree, routes, complaints)
    _check_limits(tree, complaints)
    _check_users(tree, routes, complaints)
    check_kinds(written, complaints)
    check_entries(tree, _callers_known(tree, routes), complaints)
    _check_proxies(tree, complaints)
    _check_exposure(tree, snapshot.routes, host, complaints)
    _warn_of_addresses(tree, complaints)
    _warn_of_paths(tree, complaints)
    pipelines = {name: _pipeline(node, snapshot, environment, complaints) for name, node in used["pipeline"].items()}
    digest = snapshot.digest(environment.used)
    files = environment.files if beside is None else {ENV_FILE: beside.text, **environment.files}
    return Declaration(routes, pipelines, used["tools"], skipped, snapshot, digest, files, complaints, env_file, written)


def _routes_tree(snapshot: Snapshot, environment: Environment, complaints: Complaints) -> Node | None:
    """Return the tree of the routes file, with the drills of drills.yaml."""
    tree = _tree(snapshot.routes, snapshot, environment, complaints)
    if DRILLS not in snapshot.texts or snapshot.routes == DRILLS:
        return tree
    beside = _tree(DRILLS, snapshot, environment, complaints)
    return joined(tree, beside, complaints) if isinstance(tree, Table) and beside is not None else tree


def _tree(file: str, snapshot: Snapshot, environment: Environment, complaints: Complaints) -> Node | None:
    try:
        node = document.parse(snapshot.texts[file], file, complaints.add)
    except UnreadableYaml as unreadable:
        complaints.add(unreadable.complaint.place, unreadable.complaint.message)
        return None
    if node is None or document.is_null(node):
        complaints.add(Place(file, 1, 1), "the file is empty")
        return None
    return environment.resolve(node)


def _with_optional_targets(tree: Table, skipped: dict[str, str]) -> Table:
    """Forgive missing variables of optional targets and record those targets as skipped. Their other keys are still checked."""
    targets = tree.get("targets")
    if not isinstance(targets, Table):
        return tree
    pairs: list[tuple[document.Scalar, Node]] = []
    for key, node in targets.pairs:
        optional = node.get("optional") if isinstance(node, Table) else None
        if isinstance(optional, document.Scalar) and optional.text == "true":
            lacks: list[str] = []
            filled = _forgiven(node, lacks)
            if lacks:
                skipped[key.text] = "; ".join(dict.fromkeys(lacks))
            pairs.append((key, filled))
        else:
            pairs.append((key, node))
    return _with(tree, "targets", replace(targets, pairs=tuple(pairs)))


def _forgiven(node: Node, lacks: list[str]) -> Node:
    match node:
        case document.Scalar():
            if node.unset and not node.forgiven:
                lacks.append(node.unset)
            return replace(node, forgiven=True) if node.unset else node
        case document.Listing():
            return replace(node, items=tuple(_forgiven(item, lacks) for item in node.items))
        case Table():
            return replace(node, pairs=tuple((key, _forgiven(value, lacks)) for key, value in node.pairs))


def with_defaults(tree: Table) -> Table:
    """Return the tree with `defaults` put into each route where it leaves a key out."""
    tree = without_pipelines(tree)
    defaults, routes = tree.get("defaults"), tree.get("routes")
    if not isinstance(defaults, Table) or not isinstance(routes, Table):
        return tree
    known = Table(defaults.place, tuple(pair for pair in defaults.pairs if record_of(Defaults).field(pair[0].text)))
    pairs = tuple((key, _inherited(node, known) if isinstance(node, Table) else node) for key, node in routes.pairs)
    return _with(tree, "routes", replace(routes, pairs=pairs))


def _inherited(table: Table, under: Table) -> Table:
    """Return the union of two mappings, at every level; the first one's values win."""
    pairs = [
        (key, _inherited(value, below) if isinstance(value, Table) and isinstance(below := under.get(key.text), Table) else value)
        for key, value in table.pairs
    ]
    pairs += [(key, value) for key, value in under.pairs if table.get(key.text) is None]
    return replace(table, pairs=tuple(pairs))


def _with(tree: Table, name: str, node: Node) -> Table:
    return replace(tree, pairs=tuple((key, node if key.text == name else value) for key, value in tree.pairs))


def through(routes: RoutesFile) -> RoutesFile:
    """Return the routes with `network` put into each part that is reached at an address and has no way of its own."""
    network, server = routes.network, routes.server
    if network.proxy is None and network.ca is None:
        return routes

    def led(one: Reached) -> Reached:
        return replace(one, proxy=one.proxy or network.proxy, ca=one.ca or network.ca)

    def target(one: TargetConfig) -> TargetConfig:
        if one.model is None:
            return one
        here = one.api_base is not None and is_this_machine(urlsplit(one.api_base).hostname or "")
        return replace(one, proxy=one.proxy or (None if here else network.proxy), ca=one.ca or network.ca)

    def route(one: Route) -> Route:
        return replace(one, tools=tuple(led(tool) if isinstance(tool, ToolServer) and tool.at_address else tool for tool in one.tools))

    auth, otel = server.auth, server.otel
    if isinstance(auth, Auth) and auth.jwt is not None and auth.jwt.jwks is not None and auth.jwt.jwks.url:
        auth = replace(auth, jwt=led(auth.jwt))
    return replace(
        routes,
        targets={name: target(one) for name, one in routes.targets.items()},
        routes={name: route(one) for name, one in routes.routes.items()},
        server=replace(server, auth=auth, otel=led(otel) if otel is not None else None),
    )


Reached = TypeVar("Reached", ToolServer, Jwt, Otel)


def _check_references(tree: Node | None, complaints: Complaints) -> dict[str, dict[str, document.Scalar]]:
    """Check that targets exist and that ids and aliases are unique. Return the pipelines and tools that routes name, and where.

    The check reads the tree, not the bound values: a route with a mistake is still checked for its other ones.
    """
    used: dict[str, dict[str, document.Scalar]] = {"pipeline": {}, "tools": {}}
    targets, routes = (tree.get("targets"), tree.get("routes")) if isinstance(tree, Table) else (None, None)
    known = [key.text for key, _ in targets.pairs] if isinstance(targets, Table) else None
    pairs = routes.pairs if isinstance(routes, Table) else ()
    taken = {key.text: key.place for key, _ in pairs}
    for key, route in pairs:
        for target in _words(route, "targets"):
            if known is not None and target.text not in known:
                complaints.add(target.place, f"no target is named `{target.source}`{_declared(target, known)}")
        for alias in _words(route, "aliases"):
            if alias.text in taken:
                complaints.add(alias.place, f"`{alias.source}` is taken: line {taken[alias.text].line} names it already")
            taken.setdefault(alias.text, alias.place)
        for word, places in used.items():
            for name in _words(route, word):
                if name.place != route.place:  # else it is the stand-in of an embeddings route
                    places.setdefault(name.text, name)
        words = _words(route, "tools")
        for name in words[1:]:
            if any(name.text == other.text and name.place != other.place for other in words[: words.index(name)]):
                complaints.add(name.place, f"`{name.source}` stands twice in the tools of `{key.text}`")
    drills = tree.get("drills") if isinstance(tree, Table) else None
    for drill in drills.items if isinstance(drills, document.Listing) else ():
        _check_drill(drill, known or [], list(taken), complaints)
    check_names(drills, complaints)
    return used


def _declared(target: document.Scalar, known: Sequence[str]) -> str:
    """Return the advice where a route names an unknown target: perhaps it names a model."""
    hint = did_you_mean(target.text, known)
    if "did you mean" in hint or "/" not in target.source or "$" in target.source:
        return hint
    name = target.source.rpartition("/")[2]
    return f"; a route names targets, not models: write `{name}: {{model: {target.source}}}` under `targets:`, and `{name}` here"


def _check_drill(drill: Node, targets: Sequence[str], routes: Sequence[str], complaints: Complaints) -> None:
    """Check that the targets and routes of a drill exist."""
    if not isinstance(drill, Table):
        return
    given, ask, expect = drill.get("given"), drill.get("ask"), drill.get("expect")
    named = [key for key, _ in given.pairs] if isinstance(given, Table) else []
    named += _words(expect, "served_by") if expect is not None else []
    for target in named:
        if target.text not in targets:
            complaints.add(target.place, f"no target is named `{target.source}`{did_you_mean(target.text, targets)}")
    for model in _words(ask, "model") if ask is not None else []:
        if model.text not in routes:
            complaints.add(model.place, f"no route is named `{model.source}`{did_you_mean(model.text, routes)}")


def _check_callers(tree: Node | None, routes: RoutesFile, complaints: Complaints) -> None:
    """Check that keys are unique and name existing routes. Complaints of a file of keys stand where the file is named."""
    auth = _at(tree, "server", "auth")
    known = [str(name) for name in routes.routes]
    keys = _at(auth, "keys")
    if isinstance(keys, Table):
        owners: dict[str, str] = {}
        for name, key in keys.pairs:
            for given in _words(key, "hash"):
                if (first := owners.setdefault(given.text, name.text)) != name.text:
                    complaints.add(given.place, f"`{name.text}` and `{first}` have the same key")
            for route in _words(key, "routes"):
                if route.text not in known:
                    complaints.add(route.place, f"no route is named `{route.source}`{did_you_mean(route.text, known)}")
    elif keys is not None and isinstance(routes.server.auth, Auth):
        for name, key in (routes.server.auth.keys or {}).items():
            if any(route not in known for route in key.routes or ()):
                complaints.add(keys.place, f"the key of `{name}` names a route that there is not{did_you_mean('', known)}")


def _callers_known(tree: Node | None, routes: RoutesFile) -> KnownCallers | None:
    """Return the callers that a condition may name; None where `server.auth` has a mistake."""
    auth = routes.server.auth
    if isinstance(auth, Auth):
        return KnownCallers({str(name): key for name, key in (auth.keys or {}).items()}, auth.jwt is not None)
    return None if isinstance(_at(tree, "server", "auth"), Table) else KnownCallers({}, jwt=False)


def _check_limits(tree: Node | None, complaints: Complaints) -> None:
    """Complain of a limit per key without declared keys: a client that makes up its keys would get a fresh limit with each."""
    named = _at(tree, "routes")
    if isinstance(_at(tree, "server", "auth"), Table) or not isinstance(named, Table):
        return
    for _, route in named.pairs:
        for per in _words(_at(route, "limit") or route, "per"):
            if per.text == "key":
                complaints.add(
                    per.place,
                    "`per: key` counts each caller, and none are declared: declare them under `server.auth` (`keys` or `jwt`), "
                    "or write `per: ip` or `per: route`",
                )


NO_USERS = (
    "no caller names its end users: write `user: {header: X-OpenWebUI-User-Id}` in the key of the front end under `server.auth.keys`, or "
    "`user_claim` under `server.auth.jwt`"
)


def _check_users(tree: Node | None, routes: RoutesFile, complaints: Complaints) -> None:
    """Complain of limits and caches per end user if no caller names its users: all users of a front end would be one."""
    named = _at(tree, "routes")
    if _names_users(tree, routes) or not isinstance(named, Table):
        return
    for _, route in named.pairs:
        for per in _words(_at(route, "limit") or route, "per"):
            if per.text == "user":
                complaints.add(
                    per.place, f"`per: user` counts each end user, and {NO_USERS}; or write `per: key`, which counts each caller"
                )
        for scope in _words(_at(route, "cache") or route, "scope"):
            if scope.text == "user":
                complaints.warn(
                    scope.place, f"`scope: user` keeps answers for each end user, and {NO_USERS}. Until then it is `scope: caller`"
                )


def _names_users(tree: Node | None, routes: RoutesFile) -> bool:
    """Return True if a caller names its end users, or if the file of keys could not be read."""
    auth = _at(tree, "server", "auth")
    if _at(auth, "jwt", "user_claim") is not None:
        return True
    keys = _at(auth, "keys")
    if isinstance(keys, Table):
        return any(_at(key, "user") is not None for _, key in keys.pairs)
    declared = routes.server.auth
    if keys is None or not isinstance(declared, Auth) or declared.keys is None:
        return keys is not None
    return any(key.user is not None for key in declared.keys.values())


def _check_proxies(tree: Node | None, complaints: Complaints) -> None:
    """Complain of a proxy's password that is written out: the file is shown, compared and kept in a repository."""
    targets, routes = _at(tree, "targets"), _at(tree, "routes")
    tools = [_at(route, "tools") for _, route in routes.pairs] if isinstance(routes, Table) else []
    holders = [
        _at(tree, "network"),
        *((one for _, one in targets.pairs) if isinstance(targets, Table) else ()),
        *(one for listed in tools if isinstance(listed, document.Listing) for one in listed.items),
        _at(tree, "server", "auth", "jwt"),
        _at(tree, "server", "otel"),
    ]
    for holder in holders:
        proxy = _at(holder, "proxy")
        if isinstance(proxy, document.Scalar) and has_literal_password(proxy.source):
            complaints.add(
                proxy.place,
                "a password does not belong in the file: write http://${PROXY_USER}:${PROXY_PASSWORD}@host:port, and set the variables, "
                "percent-encoded, where the router is started",
            )


def _check_exposure(tree: Node | None, file: str, host: str, complaints: Complaints) -> None:
    """Complain of a missing `server.auth` if other machines can reach the address."""
    if not loopback(host):
        reached = host or "every address of this machine"
        _require_auth(tree, file, f"whoever reaches {reached} could ask, and you would pay: write under `server` who may", complaints)


def require_auth(declaration: Declaration) -> None:
    """Complain where `server.auth` is not declared, whatever the address.

    In production a proxy stands before the server. One that speaks HTTP/1.1, rewrites Host and adds no header looks like a local program.
    """
    why = "ROUTER_ENV is production, and nothing says who may ask: write it under `server`"
    _require_auth(declaration.tree, declaration.snapshot.routes, why, declaration.complaints)


def _require_auth(tree: Node | None, file: str, why: str, complaints: Complaints) -> None:
    server = _at(tree, "server")
    if not isinstance(tree, Table) or _at(server, "auth") is not None:
        return
    complaints.add(
        server.place if server is not None else Place(file, 1, 1),
        f"{why}. `auth: {{keys: {{NAME: {{hash: …}}}}}}` takes what `router keys new NAME` prints, `auth: {{jwt: …}}` an issuer's tokens; "
        "where something else keeps strangers out, write `auth: none`",
    )


def _warn_of_addresses(tree: Node | None, complaints: Complaints) -> None:
    """Warn of a limit per address without `proxies`: all clients behind an undeclared proxy would share it."""
    if _at(tree, "server", "proxies") is not None:
        return
    routes, keys = _at(tree, "routes"), _at(tree, "server", "auth", "keys")
    holders = [node for table in (routes, keys) if isinstance(table, Table) for _, node in table.pairs]
    for holder in holders:
        per = _at(holder, "limit", "per")
        if isinstance(per, document.Scalar) and per.text == "ip":
            complaints.warn(
                per.place,
                "`per: ip` counts by the address that a connection comes from: behind a proxy that is not declared, all clients share one "
                "limit. Write `proxies: [127.0.0.1]` under `server` with the proxy's address, or `proxies: []` where clients connect directly",
            )


SERVERS = ("openai", "hosted_vllm", "lm_studio", "llamafile")
"""Providers whose models are often self-hosted, as a rule below /v1."""


def _warn_of_paths(tree: Node | None, complaints: Complaints) -> None:
    """Warn of an address of OpenAI's API without a path: most servers answer it with a 404."""
    targets = _at(tree, "targets")
    for _, target in targets.pairs if isinstance(targets, Table) else ():
        model, base = _at(target, "model"), _at(target, "api_base")
        if not isinstance(model, document.Scalar) or not isinstance(base, document.Scalar) or base.source != base.text:
            continue
        if model.text.partition("/")[0] in SERVERS and re.fullmatch(r"https?://[^/\s?#@]+/?", base.text):
            complaints.warn(
                base.place,
                f"this address has no path, and most servers of OpenAI's API answer below /v1: write {base.text.rstrip('/')}/v1 "
                "where this one does",
            )


def _at(node: Node | None, *path: str) -> Node | None:
    for name in path:
        node = node.get(name) if isinstance(node, Table) else None
    return node


def _words(route: Node, name: str) -> list[document.Scalar]:
    """Return the scalars under a key of a route: a single one, a list, or lists in the list."""
    node = route.get(name) if isinstance(route, Table) else None
    return [entry for entry in _scalars(node) if entry.text and not (entry.unset or entry.forgiven)]


def _scalars(node: Node | None) -> list[document.Scalar]:
    match node:
        case document.Scalar():
            return [node]
        case document.Listing():
            return [scalar for item in node.items for scalar in _scalars(item)]
        case Table():
            return _scalars(node.get("use"))
        case None:
            return []


def _pipeline(named: document.Scalar, snapshot: Snapshot, environment: Environment, complaints: Complaints) -> tuple[StepLine, ...]:
    file = f"pipelines/{named.text}.yaml"
    if file not in snapshot.texts:
        known = [
            text.removeprefix("pipelines/").removesuffix(".yaml")
            for text in snapshot.texts
            if text.startswith("pipelines/") and text.endswith(".yaml")
        ]
        complaints.add(named.place, f"there is no pipelines/{named.source}.yaml{file_meant(named.text, known, '.yaml')}")
        return ()
    tree = _tree(file, snapshot, environment, complaints)
    if tree is None:
        return ()
    steps = tree.get("steps") if isinstance(tree, Table) else None
    if isinstance(tree, Table):
        for key, _ in tree.pairs:
            if key.text != "steps":
                complaints.add(key.place, f"unknown key `{key.text}` in a pipeline{step_meant(key.text, ['steps'])}")
    if not isinstance(steps, document.Listing):
        complaints.add((steps or tree).place, "a pipeline is `steps:` and a list under it, e.g. `- prompt: chat.j2`")
        return ()
    return tuple(line for item in steps.items if (line := _step_line(item, complaints)) is not None)


def _step_line(node: Node, complaints: Complaints) -> StepLine | None:
    if isinstance(node, Table) and len(node.pairs) == 1:
        key, options = node.pairs[0]
        name = Name(key.text)
        name.place = key.place
        return StepLine(name, options)
    complaints.add(node.place, "a step is one word and its options, e.g. `- history: {keep: 40}`")
    return None
