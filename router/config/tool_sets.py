"""Tool sets with options, as a route declares them among its `tools:`.

tools:
- weather                                          # tools/weather.py, in the router's own process
- {use: reports, isolate: process, env: {REPORTS: /srv/reports}}
- {use: orders, approve: always}                   # each call waits until the user has allowed it
"""

from dataclasses import dataclass, field
from typing import Literal

from router.config.tool_servers import Held, Variable
from router.config.values import Reference
from router.errors import Misfit

Approve = Literal["always", "never"]
"""always: a user has to allow each call before it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSetEntry:
    """A tool set with options.

    use: the name of the tool set, tools/<name>.py
    isolate: `process` runs each call in a process beside the router; if a call exceeds its time, the process is killed
    env: variables for the process; of the router's variables it inherits only PATH, HOME and the like
    approve: with always, a call runs only after the user has allowed it; if the client cannot ask the user, the call does not run
    """

    use: Reference
    isolate: Literal["process"] | None = None
    env: dict[Variable, Held] = field(default_factory=dict[Variable, Held])
    approve: Approve = "never"

    def __post_init__(self) -> None:
        if self.env and self.isolate is None:
            raise Misfit("only a process of its own has an `env`: write `isolate: process`, too", "env")

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """(Name, environment as sorted pairs): routes whose entries have equal keys share one loaded tool set."""
        return str(self.use), tuple(sorted((str(name), value.value) for name, value in self.env.items()))
