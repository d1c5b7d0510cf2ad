"""What several commands say in the same words."""

from datetime import UTC, datetime

from router.config.declaration import Auth, Server
from router.generation import Generation


def counted(generation: Generation) -> str:
    """How many routes it has."""
    count = len(generation.routes)
    return f"{count} route{'' if count == 1 else 's'}"


def expired(server: Server) -> list[str]:
    """A line for each key that lets nobody in any more."""
    keys = server.auth.keys or {} if isinstance(server.auth, Auth) else {}
    now = datetime.now(UTC)
    return [
        f"expired: the key of {name}, {key.expires:%Y-%m-%d %H:%M %Z}" for name, key in keys.items() if key.expires and key.expires <= now
    ]
