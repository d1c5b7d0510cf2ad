"""Tool sets, as a route declares them among its `tools:` where it says more of one than its name.

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
    env: what it finds in its environment, beside PATH, HOME and the like: it inherits nothing else
    """

    use: Reference
    isolate: Literal["process"]
    env: dict[Variable, Held] = field(default_factory=dict[Variable, Held])

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What routes share that say the same: its name, and its environment."""
        return str(self.use), tuple(sorted((str(name), value.value) for name, value in self.env.items()))
