"""Events that a tool waits for and a test sets: the router runs in the test's process and loads its tools there."""

import asyncio

GATES: dict[str, asyncio.Event] = {}
"""Name → event that a tool of the running test waits for."""
