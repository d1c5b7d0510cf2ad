"""An MCP server of the 2025 protocol, written by hand: JSON-RPC over stdin and stdout, one message a line."""

import json
import sys

TOOLS = ["echo"]


def tools() -> list[dict[str, object]]:
    """Return the descriptions of the current tools."""
    return [{"name": name, "description": name, "inputSchema": {"type": "object"}} for name in TOOLS]


def answer(method: str, params: dict[str, object]) -> dict[str, object] | None:
    """Return the result of a request; None for an unknown method. A call of `echo` adds the tool `more` and announces it."""
    if method == "initialize":
        info = {"name": "old", "version": "1"}
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": tools()}
    if method == "tools/call" and params["name"] == "more":
        return {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}, {"type": "text", "text": "two"}]}
    if method == "tools/call":
        TOOLS.append("more")
        send({"method": "notifications/tools/list_changed"})
        return {"content": [{"type": "text", "text": json.dumps(params["arguments"])}]}
    return None


def send(message: dict[str, object]) -> None:
    """Write one JSON-RPC message as a line."""
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)  # noqa: T201 - the wire


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        found = answer(asked["method"], asked.get("params", {}))
        unknown = {"error": {"code": -32601, "message": "sk-canary"}}
        send({"id": asked["id"], **({"result": found} if found is not None else unknown)})
