"""Tools that a model may call: functions in tools/*.py, in this process or in processes of their own, and the tools of MCP servers.
Every failure of a tool becomes a result that the model reads. Of an exception in a tool it shows only the sentence of a ToolError.
"""

from router.toolbox.approval import needs_approval
from router.toolbox.functions import DataPart, Tool, ToolSet, load
from router.toolbox.granted import Grant, Toolbox
from router.toolbox.isolated import LOADING_S, IsolatedTool, ProcessSource, ToolProcesses
from router.toolbox.mcp import McpServer
from router.toolbox.routes import AskableRoute, Fields, RouteAnswer, Routes

__all__ = [
    "LOADING_S", "AskableRoute", "DataPart", "Fields", "Grant", "IsolatedTool", "McpServer", "ProcessSource", "RouteAnswer", "Routes",
    "Tool", "ToolProcesses", "ToolSet", "Toolbox", "load", "needs_approval",
]  # fmt: skip
