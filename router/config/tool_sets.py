"""Tool sets with options, as a route declares them among its `tools:`.

tools:
- weather                                          # tools/weather.py, in the router's own process
- {use: reports, isolate: process, env: {REPORTS: /srv/reports}}
"""

from dataclasses import dataclass, field
from typing import Literal

from router.config.tool_servers import Held, Variable
from router.config.values import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedSet:
    """A tool set whose functions run in processes of their own.

    use: the tool set: tools/<name>.py
    isolate: `process`: each call runs in a process beside the router, which is killed when the call is over its time
    env: the environment of the process, beside PATH, HOME and the like: it inherits nothing else
    """

    use: Reference
    isolate: Literal["process"]
    env: dict[Variable, Held] = field(default_factory=dict[Variable, Held])

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The name and the environment: routes with equal keys share one set."""
        return str(self.use), tuple(sorted((str(name), value.value) for name, value in self.env.items()))
