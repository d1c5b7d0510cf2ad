"""ASGI types of a request, and its path without the root path."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's own types, as starlette.types has them: reading a request needs no framework."""


def path_below(scope: Scope) -> str:
    """Return the path of a request without its root path, as routes are matched (ASGI: `path` has `root_path` in it).

    A root path is what a proxy that strips a prefix, or an application that mounts this one, has put before the path.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
