"""A real MCP server for the tests, run as a program: over its standard streams, or with a port over HTTP.

Its tools do what the tests need: answer, fail, hang, die, tell what they were given, become others.
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
    """Fail."""
    raise ValueError("no use")


@server.tool()
async def hang() -> str:
    """Never answer."""
    await asyncio.sleep(3600)
    return "late"


@server.tool()
async def die() -> str:
    """End the whole process."""
    os._exit(3)


@server.tool(structured_output=False)
async def environment() -> str:
    """The environment as the system tells it."""
    return Path("/proc/self/environ").read_text(encoding="utf-8").replace("\0", "\n")


@server.tool(structured_output=False)
async def pid() -> str:
    """Which process this is."""
    return str(os.getpid())


@server.tool(structured_output=False)
async def long(size: int) -> str:
    """Say much."""
    return "x" * size


async def extra() -> str:
    """What was learned."""
    return "learned"


@server.tool()
async def learn(context: Context) -> str:
    """Have one tool more, and tell."""
    server.add_tool(extra)
    await context.notify_tools_changed()
    return "ok"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
