"""Gates that a tool of a test waits at: the router runs in the process of the test, and loads its tools there."""

import asyncio

GATES: dict[str, asyncio.Event] = {}
"""Name → event that a tool of the running test waits for."""
