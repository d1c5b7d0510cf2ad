"""Pointsman: the router behind a chat UI."""

__version__ = "0.1.0"
