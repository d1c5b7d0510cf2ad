"""State that outlives a generation: connections, health, counts and caches, which the next one takes over."""

from collections.abc import Callable
from dataclasses import dataclass, field

from router.cache import Approvals, LocalStore, Memory
from router.callers import Jwks, Sources
from router.config.declaration import BreakerConfig, Retry, TargetConfig
from router.config.network import Egress
from router.failover import Listener, Load, Switches, TargetHealth, TargetRefusals
from router.quotas import CountStore, Local, RedisCounts
from router.shared import Hints, Logs, Redis
from router.targets import Connections, Learned
from router.toolbox import McpServer


@dataclass(slots=True)
class Carryover:
    """State that outlives a generation: connections, counts, caches, the health of targets, operators' switches.

    The next generation takes over the state of what it declares in the same way, and drops the rest. Operators' switches always stay.
    """

    connections: Connections = field(default_factory=Connections)
    local: Local = field(default_factory=Local)
    """Use of every limit, as counted in this process. A limit whose declaration changes starts anew: it is counted under another key."""
    shared: RedisCounts | None = None
    """Use of every limit, counted in Redis for all replicas; None without Redis."""
    loads: dict[str, tuple[TargetConfig, Load]] = field(default_factory=dict[str, tuple[TargetConfig, Load]])
    learned: dict[str, tuple[TargetConfig, Learned]] = field(default_factory=dict[str, tuple[TargetConfig, Learned]])
    """Target → (the declaration that it was asked under, what its refusals taught, such as a parameter to leave out)."""
    refusals: dict[str, tuple[TargetConfig, TargetRefusals]] = field(default_factory=dict[str, tuple[TargetConfig, TargetRefusals]])
    turned: list[Listener] = field(default_factory=list[Listener])
    """Functions that are called each time that a target begins to refuse every question, or answers again."""
    switches: Switches = field(default_factory=Switches)
    jwks: Sources = field(default_factory=dict[tuple[str, Egress], Jwks])
    health: dict[tuple[str, BreakerConfig, Retry], tuple[TargetConfig, TargetHealth]] = field(
        default_factory=dict[tuple[str, BreakerConfig, Retry], tuple[TargetConfig, TargetHealth]]
    )
    redis: Redis | None = None
    """The Redis that replicas share; None if `server.redis` is not declared."""
    departed: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Functions that are called each time that Redis goes away."""
    hints: Hints | None = None
    """Open circuit breakers, shared between replicas through Redis; None without it."""
    logs: Logs | None = None
    """Answers that this replica writes for the others in Redis, and reads of theirs; None without Redis."""
    tool_servers: list[McpServer] = field(default_factory=list[McpServer])
    """Tool servers in use, each once although several routes may grant its tools."""
    memory: Memory = field(default_factory=Memory)
    """The model calls whose tools clients run, stored for the next request of the same chat."""
    approvals: Approvals = field(default_factory=Approvals)
    """The signed ids under which users are asked to allow tool calls, and those that are used up."""
    stores: dict[str, LocalStore] = field(default_factory=dict[str, LocalStore])
    """Route → its answers cached in this process. Answers of another configuration have other keys, are no hits, and expire."""

    @property
    def counts(self) -> CountStore:
        """Return the store in which limits are counted: Redis if it is declared, else this process."""
        return self.shared or self.local
