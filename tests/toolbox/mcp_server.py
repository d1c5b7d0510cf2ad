"""A real MCP server for the tests, run as a program: over stdin and stdout, or over HTTP if a port is given.

Its tools do what the tests need: answer, fail, hang, end the process, show its environment, and add another tool.
"""

import asyncio
import os
import sys
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("trials", log_level="ERROR")


@server.tool()
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(structured_output=False)
async def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello, {name}!"


@server.tool()
async def fail() -> str:
    """Raise an error."""
    raise ValueError("no use")


@server.tool()
async def hang() -> str:
    """Wait for an hour."""
    await asyncio.sleep(3600)
    return "late"


@server.tool()
async def die() -> str:
    """End the process of the server."""
    os._exit(3)


@server.tool(structured_output=False)
async def environment() -> str:
    """Return the environment variables of this process, one a line."""
    return Path("/proc/self/environ").read_text(encoding="utf-8").replace("\0", "\n")


@server.tool(structured_output=False)
async def pid() -> str:
    """Return the id of this process."""
    return str(os.getpid())


@server.tool(structured_output=False)
async def long(size: int) -> str:
    """Return a text of this many characters."""
    return "x" * size


async def extra() -> str:
    """Return a fixed text: the tool that `learn` adds."""
    return "learned"


@server.tool()
async def learn(context: Context) -> str:
    """Add the tool `extra`, and notify the client that the tools have changed."""
    server.add_tool(extra)
    await context.notify_tools_changed()
    return "ok"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
