"""Declaration of routes.yaml and the pipelines, as frozen values. The docstrings are the reference; `reader.py` makes a declaration."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from router.bounds import Bounds
from router.config.complaints import Complaints
from router.config.conditions import When
from router.config.document import Node, Scalar, Table
from router.config.drills import Drill
from router.config.environment import EnvFile
from router.config.facts import FactsConfig
from router.config.limits import Limit
from router.config.network import CaBundle, NetworkConfig, OwnEgress, OwnProxy, is_this_machine
from router.config.options import BodyField, HeaderName, HeaderValue, check_headers
from router.config.price import Price
from router.config.server import Server
from router.config.snapshot import Snapshot
from router.config.tools import ToolServer, ToolSetEntry
from router.config.values import ApiBase, Backoff, ByteSize, Key, ModelName, Name, Reference, Seconds, Secret, Share, Span
from router.errors import Misfit
from router.params import NO_PARAMS, Params
from router.value import PartlyShown, Value, field


class Timeout(Value, frozen=True, kw_only=True):
    """Deadlines of an answer and its parts.

    connect: longest time to connect to the provider
    first_token: longest time from asking a target to the first token of its answer; then the next target is asked
    idle: longest time between two events of an answer
    tool: longest time of one tool call; then the result of the call is an error
    total: longest time of the whole answer, with all its model calls and tools
    """

    connect: Seconds = 2.0
    first_token: Seconds = 10.0
    idle: Seconds = 15.0
    tool: Seconds = 20.0
    total: Seconds = 300.0


BACKOFF = Span(0.25, 4)


class Retry(Value, frozen=True, kw_only=True):
    """Retries of one target before its first event, and the back-off between them.

    attempts: maximum number of tries of one target, the first one included
    backoff: the shortest and the longest wait between two tries; the wait is random, and its upper bound doubles with each try
    budget: retries of a target at most: 10, plus this share of its completed answers; so they stop if it answers nothing
    """

    attempts: Annotated[int, Bounds(1, 10)] = 2
    backoff: Backoff = BACKOFF
    budget: Share = 0.1


class BreakerConfig(Value, frozen=True, kw_only=True):
    """Circuit breaker: a target that keeps failing gets no requests for a while.

    failures: number of failed tries in a row that opens the breaker; tries of all requests count
    within: the time in which these failures must happen; also for the late answers of `slow`
    open: how long the target gets no requests; then it gets one probe at a time
    slow: a first token after this time is late; by default none is. After `failures` late ones in a row, others go first for the time `open`
    """

    failures: Annotated[int, Bounds(1, 1000)] = 5
    within: Seconds = 30.0
    open: Seconds = 4.0
    slow: Seconds | None = None


class HedgeConfig(Value, frozen=True, kw_only=True):
    """Hedging: a second target is asked while the first is late; the first of them to start gives the answer.

    after: delay before the second target is asked; by default learned from the first target's times to first token
    at_most: maximum number of calls of a second target, as a share of the questions
    """

    after: Seconds | None = None
    at_most: Share = 0.05


class Cache(Value, frozen=True, kw_only=True):
    """Cache of answers, returned again for the same question.

    ttl: time for which an answer is kept
    size: maximum number of bytes of answers in one process; when it is full, the least recently used answers are dropped
    scope: clients that share an answer: one end user (user), all end users of a caller (caller), or all clients of the route (route)
    tools: whether answers for which tools ran are cached: keep or skip. On a hit the tools do not run again
    """

    ttl: Seconds
    size: ByteSize = 64 * 1024 * 1024
    scope: Literal["user", "caller", "route"] = "user"
    tools: Literal["skip", "keep"] = "skip"

    def __post_init__(self) -> None:
        if self.size < 64 * 1024:
            raise Misfit("size must be at least 64KiB: few answers would fit", "size")


class Member(Value, frozen=True, kw_only=True):
    """A target of a pool.

    use: the target
    weight: the target's share of the pool's questions, relative to the other weights; by default 1 in a pool with weights
    when: the target is asked only for questions that meet this condition; by default for all

    A pool has weights if a member has one, or is written as `{use: …}` without a condition. Otherwise `balance` decides.
    """

    use: Reference
    weight: Annotated[float, Bounds(above=0, most=1_000_000)] | None = None
    when: When | None = None

    @property
    def shares(self) -> bool:
        """True if this member gives its pool weights: it has a weight, or it is written as `{use: …}` without a condition."""
        return self.weight is not None or self.when is None


class TargetEntry(Value, frozen=True, kw_only=True):
    """A target, or a pool of targets, with a condition.

    use: the target; a list is a pool of targets
    when: the target or the pool is asked only for questions that meet this condition
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
        """The targets of the entry, each with the entry's condition; with weight 1 if it has none and any is written as `{use: …}`."""
        members = self.use if isinstance(self.use, tuple) else (self.use,)
        weighted = any(isinstance(one, Member) for one in members)
        return tuple(Member(use=named(one), when=self.when, weight=weight_of(one) if weighted else None) for one in members)


class ScriptLine(Value, frozen=True, kw_only=True):
    """A line of a scripted target. It has exactly one of these keys; `call` may have `arguments`.

    text: send this text
    thought: send this as a thought
    call: ask for this tool, with `arguments`
    arguments: the arguments of the call
    pause: send nothing for this long
    fail: the target fails here, in this way
    finish: end the answer here, with this finish reason
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
"""Keys of a target that one with `script` may not have."""


class TargetConfig(Value, OwnEgress, frozen=True, kw_only=True):
    """A target: a provider's model, or a script. It has either `model` or `script`.

    model: the name of the model, provider/model, as LiteLLM names it
    script: `demo`, which answers offline, or a list of lines that the router plays
    api_key: the provider's key, e.g. ${OPENAI_API_KEY}
    api_base: the address of the API; by default the provider's own
    api_version: the version of Azure's API, e.g. 2024-10-21; only for azure/
    via: litellm: the provider is asked through LiteLLM, even if the router could ask it directly
    optional: true skips the target while a variable that it needs is not set; start-up and `check` say so
    params: sampling parameters of the target's requests. Those of a question override them; of two `max_tokens`, the smaller is sent
    context_window: maximum number of tokens that the target reads. A longer conversation goes to targets with a larger window
    fetch_files: true if the target's server fetches files from addresses itself; by default true for the servers of known providers
    price: the model's price; by default the one in LiteLLM's table
    base_model: the model behind a deployment or a server of your own, provider/model; the target has the facts of that model
    facts: properties of the model, if the table of models is wrong or does not have the model
    body: additional fields of the body of each request to the target. They override the router's and the question's; null removes a field
    headers: additional headers of each request to the target; a secret is written as a reference, ${TEAM_TOKEN}
    proxy: the HTTP proxy for the target, in place of that of `network`; none connects directly
    ca: a file of certificates to trust besides the system's, in place of those of `network`: ${file:corporate-ca.pem}
    prompt_cache: whether the provider is asked to cache the beginning of a prompt; auto asks those that are known to accept it
    batch_size: maximum number of inputs of one call for embeddings; by default as many as the provider is known to accept
    """

    model: ModelName | None = None
    script: Literal["demo"] | tuple[ScriptLine, ...] | None = None
    api_key: Key | None = None
    api_base: ApiBase | None = None
    api_version: str | None = None
    via: Literal["litellm"] | None = None
    optional: bool = False
    params: Params = NO_PARAMS
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
        if self.headers is not None:
            check_headers(self.headers)
        if isinstance(self.proxy, Secret) and self.api_base and is_this_machine(urlsplit(self.api_base).hostname or ""):
            raise Misfit("this target is on this machine, which no proxy leads to: leave `proxy` out", "proxy")


class Defaults(Value, frozen=True, kw_only=True):
    """Values for the keys that a route leaves out.

    timeout: deadlines of an answer and its parts
    retry: retries of one target
    breaker: the circuit breaker of each target
    balance: load balancing in a pool without weights: least_busy asks the least busy target first, latency the one that starts soonest
    rescue: what follows when an answer breaks off: continue lets another target continue it, fail ends it with an error
    affinity: chat keeps the questions of a chat at one target of a pool, for its prompt cache; off does not
    prompt_cache: off asks no provider to cache the beginning of a prompt; auto goes by the `prompt_cache` of each target
    """

    timeout: Timeout = Timeout()
    retry: Retry = Retry()
    breaker: BreakerConfig = BreakerConfig()
    balance: Literal["least_busy", "latency"] = "least_busy"
    rescue: Literal["continue", "fail"] = "continue"
    affinity: Literal["chat", "off"] = "chat"
    prompt_cache: Literal["auto", "off"] = "auto"


class Route(Value, frozen=True, kw_only=True):
    """A model id of the front end: a pipeline and the targets that answer.

    kind: chat or embeddings; a route for embeddings has no pipeline, and is asked at /v1/embeddings
    pipeline: the name of the pipeline, pipelines/<name>.yaml; required for chat
    targets: the targets in order: the first to start answers. A list in the list is a pool; {use, when} is a target with a condition
    aliases: other ids for the same route
    tools: the tool sets that the model may use: tools/<name>.py by name, {use: …} with options, or an MCP server
    max_steps: maximum number of model calls in one answer; if the last one calls a tool, the finish reason is tool-calls
    reasoning: whether the model's thoughts are sent to the client: show or hide
    timeout: deadlines of an answer and its parts; keys that are left out are those of `defaults`
    retry: retries of one target; keys that are left out are those of `defaults`
    breaker: the circuit breaker of each target; keys that are left out are those of `defaults`
    balance: load balancing in pools without weights; by default as in `defaults`
    hedge: ask the next target as well, while the first one is late; by default never
    cache: keep answers, and return them for the same question; by default nothing is kept
    rescue: what follows when an answer breaks off: continue or fail; by default as in `defaults`
    affinity: whether a chat stays with one target of a pool; by default as in `defaults`
    prompt_cache: whether providers are asked to cache the beginning of a prompt; by default as in `defaults`
    limit: the limit on use; by default none
    max_output: maximum number of tokens of one model call. The model is asked for no more, and a longer answer is cut off
    listed: false leaves the route out of lists of models; it still answers
    refuse: what clients may not send: tools of their own, system messages; by default they may send both
    """

    kind: Literal["chat", "embeddings"] = "chat"
    pipeline: Reference
    targets: tuple[Reference | TargetEntry | tuple[Reference | Member, ...], ...]
    aliases: tuple[Reference, ...] = ()
    tools: tuple[Reference | ToolSetEntry | ToolServer, ...] = ()
    max_steps: Annotated[int, Bounds(1, 50)] = 5
    reasoning: Literal["hide", "show"] = "hide"
    timeout: Timeout = Timeout()
    retry: Retry = Retry()
    breaker: BreakerConfig = BreakerConfig()
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
    def pools(self) -> "Pools":
        """The pools in order; a target that stands alone is a pool of one."""
        return tuple([(one,) if isinstance(one, str) else one if isinstance(one, tuple) else one.pool for one in self.targets])

    @property
    def names(self) -> tuple[Name, ...]:
        """The names of all targets, each once, in the order of the entries."""
        return tuple(dict.fromkeys([named(one) for pool in self.pools for one in pool]))

    @property
    def conditions(self) -> "tuple[When | None, ...]":
        """The condition of each entry of a target, pool by pool, in order; None for an entry without one."""
        return tuple([one.when if isinstance(one, Member) else None for pool in self.pools for one in pool])

    @property
    def tool_sets(self) -> tuple[ToolSetEntry, ...]:
        """The tool sets of the route (tools/<name>.py), those without options included; tool servers are left out."""
        if not self.tools:  # most routes
            return ()
        sets = (one for one in self.tools if not isinstance(one, ToolServer))
        return tuple(one if isinstance(one, ToolSetEntry) else ToolSetEntry(use=one) for one in sets)

    @property
    def approved(self) -> tuple[str, ...]:
        """The tool sets, by name, and the tool servers, by label, with `approve: always`: the user has to allow each call."""
        found = [one for one in self.tools if not isinstance(one, str) and one.approve == "always"]
        return tuple(one.label if isinstance(one, ToolServer) else str(one.use) for one in found)

    @property
    def tool_servers(self) -> tuple[ToolServer, ...]:
        """The MCP servers among the tools of the route."""
        return tuple(one for one in self.tools if isinstance(one, ToolServer))


Pools = tuple[tuple[Reference | Member, ...], ...]


def named(one: "Reference | Member") -> Name:
    """Return the name of the target in an entry of a pool."""
    return one.use if isinstance(one, Member) else one


def weight_of(one: "Reference | Member") -> float:
    """Return the weight of an entry of a pool: 1.0 unless given."""
    return (one.weight if isinstance(one, Member) else None) or 1.0


class RoutesFile(Value, frozen=True, kw_only=True):
    """The content of routes.yaml, read and checked: the model ids of the front end, and the targets that answer for each.

    targets: name → a model or script that can answer
    routes: model id of the front end → its route
    defaults: values for the keys that routes leave out
    server: the HTTP server
    network: connections to other servers: a proxy, and certificates to trust
    drills: tests of this file: faults and expected results; drills.yaml beside this file may have more
    """

    targets: dict[Reference, TargetConfig]
    routes: dict[Reference, Route]
    defaults: Defaults = field(default_factory=Defaults)
    server: Server = field(default_factory=Server)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    drills: tuple[Drill, ...] = ()


class StepLine(Value, frozen=True):
    """An entry of a pipeline, its options not yet checked. `name`: the step's word; `options`: the node under that word."""

    name: Name
    options: Node


class Declaration(PartlyShown, frozen=True):
    """A configuration and its complaints. Without complaints it is consistent; it is not yet built.

    pipelines: name → its entries, of those that routes name
    digest: of the files and the secrets: 12 hexadecimal digits
    """

    HIDDEN: ClassVar = frozenset({"secrets", "tree"})

    routes: RoutesFile
    pipelines: Mapping[str, tuple[StepLine, ...]]
    tools: Mapping[str, Scalar]
    """Tool set that a route names → the scalar that names it first."""
    skipped: Mapping[str, str]
    """Optional target that is skipped → the reason: its missing variables or files."""
    snapshot: Snapshot
    digest: str
    secrets: Mapping[str, str | None]
    """Path of each secret file that was named, `.env` among them → its text; None if there is none, or it could not be read."""
    complaints: Complaints
    """Complaints so far; the build adds those that only building shows."""
    env_file: EnvFile
    """The `.env` beside the routes file."""
    tree: Table
    """The routes file as written, with the drills of drills.yaml, without `defaults` put into routes. It holds secrets: `${…}` is resolved."""
