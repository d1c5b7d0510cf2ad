"""Addresses below a root path: what a proxy that strips a prefix, or an application that mounts this one, has put before the path."""

from starlette.types import Scope


def path_below(scope: Scope) -> str:
    """Return the path of a request without its root path, as routes are matched (ASGI: `path` has `root_path` in it)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
