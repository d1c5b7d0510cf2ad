"""Tools of a route, as it declares them among its `tools:`: tool sets with options, and tool servers.

tools:
- weather                                          # tools/weather.py, in the router's own process
- {use: reports, isolate: process, env: {REPORTS: /srv/reports}}
- {use: orders, approve: always}                   # each call waits until the user has allowed it
- {mcp: https://mcp.example.com/mcp, token: "${MCP_TOKEN}"}
- {mcp: [npx, -y, "@example/files"], env: {ROOT: /srv/files}, only: [read_file]}
"""

import re
from typing import Annotated, Literal

from router.config.network import CaBundle, OwnEgress, OwnProxy
from router.config.values import Key, Name, Reference, Secret, checked, web_address
from router.errors import Misfit
from router.signature import Spelled
from router.value import Value, field

TOOL_NAME = r"[A-Za-z0-9_-]{1,64}"
"""A tool's name that all providers accept."""
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


def _server_address(text: str) -> Name:
    if "://" not in text and text.strip():
        words = [word if re.fullmatch(r"[\w./@-]{1,40}", word) else "…" for word in text.split()]  # one with `=` may hold a secret
        listed = ", ".join(f'"{word}"' if word.startswith("@") else word for word in words)
        raise Misfit(f"`{words[0]}` begins a command, and a command is a list of its words: write mcp: [{listed}]")
    return Name(web_address(text))


_word = checked(Name, lambda text: text and text.isprintable(), "a word of a command is visible characters")
_variable = checked(Name, re.compile(VARIABLE).fullmatch, "`{text}` is no variable: use letters, digits and _")
_held = checked(Secret, str.isprintable, "what a variable holds is one line of visible characters")
_tool_name = checked(Name, re.compile(TOOL_NAME).fullmatch, "`{text}` is no tool's name: use letters, digits, _ and -, 64 at most")
ServerAddress = Annotated[Name, Spelled("web address", _server_address, r"^(https?://|\$\{)", "https://mcp.example.com/mcp")]
Word = Annotated[Name, Spelled("word", _word, "", "npx")]
Variable = Annotated[Name, Spelled("variable", _variable, f"^{VARIABLE}$", "ROOT")]
Held = Annotated[Secret, Spelled("value", _held, "", "${ROOT}")]
ToolName = Annotated[Name, Spelled("tool's name", _tool_name, f"^{TOOL_NAME}$", "read_file")]
Approve = Literal["always", "never"]
"""always: a user has to allow each call before it runs."""


class ToolSetEntry(Value, frozen=True, kw_only=True):
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


class ToolServer(Value, OwnEgress, frozen=True, kw_only=True):
    """An MCP server whose tools the model may use.

    mcp: the server's address (streamable HTTP), or the command that starts it, as a list of words; no shell reads them
    token: sent to the address as Authorization: Bearer
    env: variables for the command; of the router's variables it inherits only PATH, HOME and the like
    only: the tools of the server that the model may use; by default all
    proxy: the HTTP proxy for the address, in place of that of `network`; none connects directly
    ca: certificates to trust besides the system's, in place of those of `network`
    approve: with always, a call runs only after the user has allowed it; if the client cannot ask the user, the call does not run
    """

    mcp: ServerAddress | tuple[Word, ...]
    token: Key | None = None
    env: dict[Variable, Held] = field(default_factory=dict[Variable, Held])
    only: tuple[ToolName, ...] | None = None
    proxy: OwnProxy | None = None
    ca: CaBundle | None = None
    approve: Approve = "never"

    def __post_init__(self) -> None:
        if self.mcp == ():
            raise Misfit("an MCP server is an address, or a command: its words, e.g. [npx, -y, package]", "mcp")
        if self.token is not None and isinstance(self.mcp, tuple):
            raise Misfit("a command is shown no `token`: give it what it needs in `env`", "token")
        if self.env and not isinstance(self.mcp, tuple):
            raise Misfit("only a command has an `env`: an address is shown a `token`", "env")
        if self.only == ():
            raise Misfit("nothing of it could be used: name its tools, or leave `only` out for all of them", "only")
        if (own := "proxy" if self.proxy else "ca" if self.ca else "") and not self.at_address:
            raise Misfit(f"only an address has a `{own}`: give a command what it needs in `env`, e.g. HTTPS_PROXY", own)

    @property
    def at_address(self) -> bool:
        """True if the server is reached at an address; False for a command."""
        return not isinstance(self.mcp, tuple)

    @property
    def label(self) -> str:
        """The server's command or address for operators, as written, with `${…}` unresolved; an address without query and fragment."""
        if isinstance(self.mcp, tuple):
            return " ".join(word.source or word for word in self.mcp)
        shown = re.match(r"(\$\{[^}]*\}|[^?#])*", self.mcp.source or self.mcp)  # `${HOST:?message}` has a question mark of its own
        return shown[0] if shown else ""
