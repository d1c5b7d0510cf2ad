"""What routes.yaml and the pipelines may say, as frozen values. The docstrings are the reference.

`declare` is the only way in: it returns a Declaration that holds together, or raises ConfigError with every complaint.
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
from router.config.document import Node, Table, Unreadable
from router.config.drill_file import check_names, joined
from router.config.entries import Known, check_entries
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
from router.config.tool_sets import IsolatedSet
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
    """How long to wait, and for what.

    connect: for a connection to the provider
    first_token: from asking a target until it starts to speak; then the next target is asked
    idle: between two events of an answer
    tool: for one tool call; the model is told that it took too long
    total: for the whole answer, all its model calls and tools together
    """

    connect: Seconds = 2.0
    first_token: Seconds = 10.0
    idle: Seconds = 15.0
    tool: Seconds = 20.0
    total: Seconds = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often one target is asked before its first event, and how long between.

    attempts: at most this many tries of one target, the first included
    backoff: the shortest and the longest wait; it doubles from try to try, with jitter
    budget: second tries against answers, over all requests: where a target answers nobody, nobody asks it twice
    """

    attempts: Annotated[int, Bounds(1, 10)] = 2
    backoff: Backoff = field(default_factory=lambda: Span(0.25, 4))
    budget: Share = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When a target that keeps failing is left alone.

    failures: so many failed tries in a row, of any requests
    within: in this time
    open: leave it alone for this long; then one request at a time tries it
    slow: after so many answers in a row that started later than this, others are asked before it for as long; unless given, never
    """

    failures: Annotated[int, Bounds(1, 1000)] = 5
    within: Seconds = 30.0
    open: Seconds = 4.0
    slow: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """A second target is asked while the first is late; whichever starts to speak first answers.

    after: how late; unless given it is learned: what most of the first target's answers took to start
    at_most: such calls against questions, so that they cost no more than this
    """

    after: Seconds | None = None
    at_most: Share = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """Answers are kept, and given again to whoever asks the same.

    ttl: for so long
    size: bytes of them in one process; beyond it those used longest ago go first
    scope: who may be given an answer: the end user it was made for, all users of that caller, or everybody who asks this route
    tools: whether an answer for which tools ran is kept: keep, or skip; the tools do not run again for whoever is given it
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
    """One target of a pool.

    use: the target
    weight: its share of the questions, against the weights of the others; 1 where they have some and it has none
    when: it is asked where all of this holds; unless given, always
    """

    use: Reference
    weight: Annotated[float, Bounds(above=0, most=1_000_000)] | None = None
    when: When | None = None

    @property
    def shares(self) -> bool:
        """Whether it makes its pool one that goes by weights."""
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
        """Its targets, each with its condition."""
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
    """One thing a scripted target does. Exactly one of its keys.

    text: say this
    thought: think this
    call: ask for this tool, with `arguments`
    arguments: what to call it with
    pause: say nothing for this long
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
class Target:
    """Something that answers: a provider's model, or a script.

    model: a LiteLLM model name, provider/model
    script: `demo` answers offline; a list of lines says just those
    api_key: the provider's key, e.g. ${OPENAI_API_KEY}
    api_base: where the provider's API is, if not at its own address
    api_version: of Azure's API, e.g. 2024-10-21; for azure/ alone
    via: litellm has LiteLLM ask a provider whose wire is otherwise read directly
    optional: true skips the target while a variable it needs is not set; start-up and `check` say so
    params: sampling parameters this target always gets; a request's own come on top
    context_window: tokens this target can read; a conversation too long for another target goes here
    fetch_files: whether its server is handed the addresses of files, to fetch them; unless given, where that is a known provider's
    price: what it costs; unless given, as LiteLLM's table says
    base_model: the model that a deployment or a server of your own serves, provider/model; its facts hold for this target
    facts: what the model accepts, where the table is wrong or does not know it
    body: fields that each of its requests has besides, merged into what the router writes; they stand over what a question asks for
    headers: headers that each of its requests has besides; a secret among them by reference, ${TEAM_TOKEN}
    proxy: the HTTP proxy on the way to it, in place of that of `network`; none is the direct way
    ca: certificates that are trusted beside the system's, in place of those of `network`: a file of them, ${file:corporate-ca.pem}
    prompt_cache: whether the provider is asked to keep the beginning of a prompt for the next one: auto where it is known to take that, on, off
    batch_size: inputs of one call for embeddings, at most; unless given, as many as the provider is known to take
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
        """The way to it, once `network` is put in."""
        return egress_of(self.proxy, self.ca)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What every route has that does not say otherwise.

    timeout: how long to wait, and for what
    retry: how often to ask one target
    breaker: when a target that keeps failing is left alone
    balance: which target of a pool without weights is asked first: the least_busy one, or by latency the one that starts soonest
    rescue: what follows where an answer breaks off: continue has another target go on from there, fail ends it with an error
    affinity: chat keeps a chat on the target of a pool that holds its prompt cache; off has each question go by weight or balance
    prompt_cache: off has no provider asked to keep the beginning of a prompt; auto leaves that to each target
    """

    timeout: Timeout = field(default_factory=Timeout)
    retry: Retry = field(default_factory=Retry)
    breaker: Breaker = field(default_factory=Breaker)
    balance: Literal["least_busy", "latency"] = "least_busy"
    rescue: Literal["continue", "fail"] = "continue"
    affinity: Literal["chat", "off"] = "chat"
    prompt_cache: Literal["auto", "off"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A model id of the front end: what is asked, and who answers.

    kind: what it answers: chat, or embeddings, which has no pipeline and is asked at /v1/embeddings
    pipeline: what is asked: pipelines/<name>.yaml; each chat route has one
    targets: who answers, in order: the first that starts to speak; a list in the list is a pool; {use, when} is asked where its condition holds
    aliases: other ids for the same route
    tools: the tool sets the model may use: tools/<name>.py, here or in processes of their own, or an MCP server; none unless named
    max_steps: model calls in one answer; at the cap the finish reason is tool-calls
    reasoning: whether the model's thoughts are shown to the client
    timeout: over the defaults' own
    retry: over the defaults' own
    breaker: over the defaults' own
    balance: over the defaults' own
    hedge: ask the next target too while the first is late
    cache: keep answers, and give them again; unless given, every question is asked
    rescue: over the defaults' own
    affinity: over the defaults' own
    prompt_cache: over the defaults' own
    limit: how much may be used; unless given, as much as anybody wants
    max_output: tokens of one model call; it is asked for no more, and one that goes on all the same is cut off
    listed: whether lists of models show the route; a hidden route answers all the same
    """

    kind: Literal["chat", "embeddings"] = "chat"
    pipeline: Reference
    targets: tuple[Reference | TargetEntry | tuple[Reference | Member, ...], ...]
    aliases: tuple[Reference, ...] = ()
    tools: tuple[Reference | IsolatedSet | ToolServer, ...] = ()
    max_steps: Annotated[int, Bounds(1, 50)] = 5
    reasoning: Literal["hide", "show"] = "hide"
    timeout: Timeout = field(default_factory=Timeout)
    retry: Retry = field(default_factory=Retry)
    breaker: Breaker = field(default_factory=Breaker)
    balance: Literal["least_busy", "latency"] = "least_busy"
    hedge: Hedge | None = None
    cache: Cache | None = None
    rescue: Literal["continue", "fail"] = "continue"
    affinity: Literal["chat", "off"] = "chat"
    prompt_cache: Literal["auto", "off"] = "auto"
    limit: Limit | None = None
    max_output: Annotated[int, Bounds(1, 10_000_000)] | None = None
    listed: bool = True

    def __post_init__(self) -> None:
        if not self.targets:
            raise Misfit("a route needs at least one target", "targets")
        if not all(self.targets):
            raise Misfit("a pool needs at least one target", "targets")
        if self.hedge is not None and len(self.names) < 2:
            raise Misfit("`hedge` asks a second target: this route has one", "hedge")

    @property
    def pools(self) -> "tuple[tuple[Reference | Member, ...], ...]":
        """The targets in order; one that stands alone is a pool of one."""
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
        """The tool sets of its own files."""
        return tuple(one.use if isinstance(one, IsolatedSet) else one for one in self.tools if not isinstance(one, ToolServer))

    @property
    def isolated_sets(self) -> "tuple[IsolatedSet, ...]":
        """Those of them that run in processes of their own."""
        return tuple(one for one in self.tools if isinstance(one, IsolatedSet))

    @property
    def tool_servers(self) -> tuple[ToolServer, ...]:
        """The servers whose tools it grants."""
        return tuple(one for one in self.tools if isinstance(one, ToolServer))


def named(one: "Reference | Member") -> Name:
    """The target that an entry of a pool names."""
    return one.use if isinstance(one, Member) else one


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which web pages may call from a browser.

    origins: scheme and host of each, exactly
    """

    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBounds:
    """What a request may hold.

    body: bytes of the body
    messages: messages of the conversation
    depth: levels of nesting in the body
    values: JSON values in the body: members of objects, items of lists, objects and lists
    """

    body: ByteSize = 1024 * 1024
    messages: Annotated[int, Bounds(1, 100_000)] = 500
    depth: Annotated[int, Bounds(1, 100_000)] = 64
    values: Annotated[int, Bounds(1, 10_000_000)] = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ui:
    """What AI SDK clients from 5.0 on are sent.

    min_client: the oldest of them; 5.0 is read by every release, 6.0 adds the finish reason where AI SDK 6 and 7 look for it
    """

    min_client: Literal["5.0", "6.0"] = "5.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """How the answer of a chat can be found again, by the chat's id.

    keep: for so long after its end
    grace: an answer that nobody views any more goes on for so long; unless given, it ends at once
    size: bytes of one answer; a longer one cannot be found again
    """

    keep: Seconds = 60.0
    grace: Seconds | None = None
    size: ByteSize = 1024 * 1024


Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """Callers who bear a token of somebody else's making (RFC 7519). Its `sub` is the caller's name; `exp` it must have.

    issuer: its `iss`, exactly
    audience: this must be its `aud`, or among them
    algorithms: it may be signed with, and no other
    jwks: the public keys it may be signed with: the issuer's address of them, or a file: ${file:jwks.json}
    secret: the one secret that it is signed with, of HS256 and its like
    routes_claim: a claim that lists the only routes it may ask; unless given, all
    user_claim: a claim that names the end user for whom it asks, e.g. email; a token without it is refused. Unless given, none is named
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
        """The way to its keys, once `network` is put in."""
        return egress_of(self.proxy, self.ca)


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """How callers say who they are: `Authorization: Bearer`, and a key or a token. One of the two, or both.

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
    """Whether an edit goes live.

    when: by itself; auto: unless ROUTER_ENV is production
    drills: true refuses an edit of which a drill fails
    """

    when: Literal["auto", "on", "off"] = "auto"
    drills: bool = False


LEAST_ADMIN_KEY = 20
"""Characters: it opens every admin page, and nothing else keeps strangers from trying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Who may see /admin, /metrics and /docs: unless a key is declared, this machine alone.

    key: whoever bears it may, from anywhere, e.g. ${ROUTER_ADMIN_KEY}
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
    """Where traces and metrics go, by OTLP over HTTP; needs the extra `pointsman[otel]`.

    endpoint: the collector, e.g. http://127.0.0.1:4318
    token: what it is shown, as Authorization: Bearer
    service: under this name
    share: of the requests whose caller does not say; a trace that a caller has begun goes on as it says
    every: metrics are sent so often
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

    cors: which web pages may call
    request: what a request may hold
    protocol: the dialect of answers below /api/chat; auto goes by the body; a request may name its own
    ui: what AI SDK clients from 5.0 on are sent
    keep_alive: after so long without a word a stream is given a sign of life, where its dialect has one
    resume: how the answer of a chat can be found again
    reload: whether an edit goes live by itself; auto: unless ROUTER_ENV is production; or `when` that is, and whether `drills` must hold
    redis: where the Redis is that replicas share, e.g. ${REDIS_URL}; without it each is on its own
    drain: on SIGTERM answers that run may go on for so long
    admin: who may see /admin, /metrics and /docs
    otel: where traces go; unless given, nowhere
    max_streams: answers that are made at one time, over all callers, in each worker; who comes then is told to come again
    proxies: who may say for whom it asks (X-Forwarded-For): addresses and networks
    auth: who may ask; none is everybody, and must be said where others than this machine can reach it
    page: whether the page at / is served; off answers there as at any address where nothing is
    """

    cors: Cors = field(default_factory=Cors)
    request: RequestBounds = field(default_factory=RequestBounds)
    protocol: Literal["auto", "line", "data-stream", "ui-message-stream", "openai", "anthropic", "responses", "text"] = "auto"
    ui: Ui = field(default_factory=Ui)
    keep_alive: Seconds = 15.0
    resume: Resume = field(default_factory=Resume)
    reload: Literal["auto", "on", "off"] | Reloading = "auto"
    redis: RedisAddress | None = None
    drain: Seconds = 30.0
    admin: Admin = field(default_factory=Admin)
    otel: Otel | None = None
    max_streams: Annotated[int, Bounds(1, 1_000_000)] | None = None
    proxies: tuple[Network, ...] = ()
    auth: Literal["none"] | Auth | None = None
    page: Literal["on", "off"] = "on"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillAsk:
    """What a drill asks.

    model: a route's id or alias
    text: what the user says
    times: asked so often, one after the other; what is expected is expected of the last
    every: so long after the one before; unless given, at once
    image: true shows an image with it
    tokens: the conversation is made as long as this, by the router's own estimate
    caller: who asks
    claims: what the caller's token claims
    headers: of the request
    budget_used: how much of the tightest limit on money or tokens is used, e.g. 90%
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
        """What the conditions of its route look at."""
        headers = {str(name): (value,) for name, value in self.headers.items()}
        return Circumstances(self.caller or "", {str(name): one for name, one in self.claims.items()}, headers, self.budget_used or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What must come of it. Unless it `fails`, the answer must be whole, with no word missing and none repeated.

    served_by: the target that spoke last
    tried: every try in order, target and outcome, e.g. gpt status_503
    events: the kinds of events, runs as one, e.g. [Start, Text, Finish]
    within: the whole answer takes no longer, e.g. 3s; or as long as this, e.g. 1.5s..3s
    finish: the finish reason
    fails: the code of the error it ends with
    """

    served_by: Reference | None = None
    tried: tuple[str, ...] | None = None
    events: tuple[Literal["Start", "Text", "Thought", "ToolInput", "ToolCall", "ToolResult", "Finish", "Failure"], ...] | None = None
    within: Within | None = None
    finish: Literal["stop", "length", "content-filter", "tool-calls", "other", "unknown"] | None = None
    fails: str | None = None

    def __post_init__(self) -> None:
        if self.fails is not None and self.finish is not None:
            raise Misfit("an answer that fails has no finish reason", "finish")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """A fault, and what must come of it: run by `router drill`, with the code that serves and a clock that jumps.

    name: what it shows
    given: target → what it does: at every try, or, as a list, try by try, the last again and again; a target that is not named answers
    ask: what is asked
    expect: what must come of it
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
class Routes:
    """routes.yaml: which model answers for each model id the front end knows.

    targets: everything that can answer, named once
    routes: the model ids the front end knows
    defaults: what routes share
    server: the HTTP edge
    network: how others are reached: a proxy, and certificates of your own
    drills: faults, and what must come of them; more of them may stand in drills.yaml beside this file
    """

    targets: dict[Reference, Target]
    routes: dict[Reference, Route]
    defaults: Defaults = field(default_factory=Defaults)
    server: Server = field(default_factory=Server)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    drills: tuple[Drill, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillFile:
    """drills.yaml: faults, and what must come of them.

    drills: each is played by `router drill`
    """

    drills: tuple[Drill, ...]


@dataclass(frozen=True, slots=True)
class StepLine:
    """One entry of a pipeline, not yet bound to its step's options."""

    name: Name
    options: Node


@dataclass(frozen=True, slots=True)
class Declaration:
    """A configuration that holds together, not yet built."""

    routes: Routes
    pipelines: Mapping[str, tuple[StepLine, ...]]
    tools: Mapping[str, document.Scalar]
    """Tool sets the routes name → where first, as written."""
    skipped: Mapping[str, str]
    """Optional target → why it is skipped."""
    snapshot: Snapshot
    digest: str
    secrets: Mapping[str, str | None] = field(repr=False)
    """Secret files it asked for, `.env` among them: path → text, None where it could not be read."""
    complaints: Complaints
    """None so far; whoever builds adds what only building shows."""
    env_file: EnvFile
    """The `.env` beside the routes file."""
    tree: Table = field(repr=False)
    """The routes file as it is written, with the drills of drills.yaml. What it inherits is not yet put in. Its scalars are resolved: secrets
    stand in it.
    """


def _places() -> Mapping[str, tuple[Spot, ...]]:
    """Every word of routes.yaml, and where it may stand; a drill's own words are nobody's slip."""
    found: dict[str, tuple[Spot, ...]] = {}
    for word, spot in spots(record_of(Routes)):
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
    """The declaration a snapshot makes. With complaints in it, it is not to be served: see `Declaration.complaints`. `host`: the
    address it is to be served at. Without `variables` it is what the files say whatever `${…}` stands for: to be described, not to be
    built. `lacking`: what variables and secret files are that are not there; noted, they stand for any value of the right kind, and the
    declaration is to be checked, not to be served. `beside`: the `.env` in the folder; None where it is not to be looked at.
    """
    complaints = Complaints(snapshot.texts, without_environment=lacking == "noted", advice=ADVICE)
    env_file = beside or EnvFile()
    environment = Environment(variables, snapshot.root, complaints.add, env_file.variables)
    complaints.warnings.extend(env_file.warnings)
    tree = _routes_tree(snapshot, environment, complaints)
    skipped: dict[str, str] = {}
    routes = Routes(targets={}, routes={})
    written = tree if isinstance(tree, Table) else Table(Place(snapshot.routes, 1, 1), ())
    if isinstance(tree, Table):
        tree = with_defaults(_with_optional_targets(tree, skipped))
    if tree is not None:
        pieces, _ = bind_fields(tree, record_of(Routes), complaints, f"`{snapshot.routes}`")
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
    """The tree of the routes file, with the drills of drills.yaml."""
    tree = _tree(snapshot.routes, snapshot, environment, complaints)
    if DRILLS not in snapshot.texts or snapshot.routes == DRILLS:
        return tree
    beside = _tree(DRILLS, snapshot, environment, complaints)
    return joined(tree, beside, complaints) if isinstance(tree, Table) and beside is not None else tree


def _tree(file: str, snapshot: Snapshot, environment: Environment, complaints: Complaints) -> Node | None:
    try:
        node = document.parse(snapshot.texts[file], file, complaints.add)
    except Unreadable as unreadable:
        complaints.add(unreadable.complaint.place, unreadable.complaint.message)
        return None
    if node is None or document.is_null(node):
        complaints.add(Place(file, 1, 1), "the file is empty")
        return None
    return environment.resolve(node)


def _with_optional_targets(tree: Table, skipped: dict[str, str]) -> Table:
    """Optional targets that lack a variable: noted, and that forgiven, so that the rest of them is still checked."""
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
    """Each route with what it does not say taken from `defaults`."""
    tree = without_pipelines(tree)
    defaults, routes = tree.get("defaults"), tree.get("routes")
    if not isinstance(defaults, Table) or not isinstance(routes, Table):
        return tree
    known = Table(defaults.place, tuple(pair for pair in defaults.pairs if record_of(Defaults).field(pair[0].text)))
    pairs = tuple((key, _inherited(node, known) if isinstance(node, Table) else node) for key, node in routes.pairs)
    return _with(tree, "routes", replace(routes, pairs=pairs))


def _inherited(table: Table, under: Table) -> Table:
    """The union of two mappings, at every level; the first one's values win."""
    pairs = [
        (key, _inherited(value, below) if isinstance(value, Table) and isinstance(below := under.get(key.text), Table) else value)
        for key, value in table.pairs
    ]
    pairs += [(key, value) for key, value in under.pairs if table.get(key.text) is None]
    return replace(table, pairs=tuple(pairs))


def _with(tree: Table, name: str, node: Node) -> Table:
    return replace(tree, pairs=tuple((key, node if key.text == name else value) for key, value in tree.pairs))


def through(routes: Routes) -> Routes:
    """The same with `network` put into whatever is reached at an address, as far as that does not say otherwise itself."""
    network, server = routes.network, routes.server
    if network.proxy is None and network.ca is None:
        return routes

    def led(one: Reached) -> Reached:
        return replace(one, proxy=one.proxy or network.proxy, ca=one.ca or network.ca)

    def target(one: Target) -> Target:
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
    """Targets that exist; ids and aliases that are told apart. Returns which pipelines and tools the routes name, and where.

    It reads the tree, not what was bound from it: a route with a mistake is still checked for its other ones.
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
                if name.place != route.place:  # else it is a stand-in for a pipeline that the route's kind does not have
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
    """What to write where a route names a target that there is not: perhaps it names a model."""
    hint = did_you_mean(target.text, known)
    if "did you mean" in hint or "/" not in target.source or "$" in target.source:
        return hint
    name = target.source.rpartition("/")[2]
    return f"; a route names targets, not models: write `{name}: {{model: {target.source}}}` under `targets:`, and `{name}` here"


def _check_drill(drill: Node, targets: Sequence[str], routes: Sequence[str], complaints: Complaints) -> None:
    """Targets and routes of a drill exist."""
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


def _check_callers(tree: Node | None, routes: Routes, complaints: Complaints) -> None:
    """Keys are told apart, and name routes that there are. A file of keys is complained about where it is named."""
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


def _callers_known(tree: Node | None, routes: Routes) -> Known | None:
    """Who may be told apart by a condition; None where `server.auth` has a mistake."""
    auth = routes.server.auth
    if isinstance(auth, Auth):
        return Known({str(name): key for name, key in (auth.keys or {}).items()}, auth.jwt is not None)
    return None if isinstance(_at(tree, "server", "auth"), Table) else Known({}, jwt=False)


def _check_limits(tree: Node | None, complaints: Complaints) -> None:
    """A limit per key needs keys that somebody issued: a client that may make up its own gets a fresh limit with each."""
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


def _check_users(tree: Node | None, routes: Routes, complaints: Complaints) -> None:
    """What is counted or kept for each end user needs a caller that names its users: else all users of a front end would be one."""
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


def _names_users(tree: Node | None, routes: Routes) -> bool:
    """Whether a caller names its end users; also where that cannot be known, since the file of keys could not be read."""
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
    """A proxy's password is named, not written out: the file is shown, compared and kept in a repository."""
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
    """An address that others reach needs `server.auth`."""
    if not loopback(host):
        reached = host or "every address of this machine"
        _require_auth(tree, file, f"whoever reaches {reached} could ask, and you would pay: write under `server` who may", complaints)


def require_auth(declaration: Declaration) -> None:
    """Complain where `server.auth` is not declared, whatever the address: in production a proxy stands before the server, and one that
    speaks HTTP/1.1, rewrites Host and adds no header cannot be told from a program of this machine.
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
    """A limit for each address, where nothing is said of proxies: behind one that is not declared, all its clients are one."""
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
"""Providers whose model may be served by anybody, below /v1 as a rule."""


def _warn_of_paths(tree: Node | None, complaints: Complaints) -> None:
    """An address of OpenAI's API that ends with its host: most servers answer that with a 404."""
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
    """The scalars under a key of a route, be they one, a list, or lists in the list."""
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
