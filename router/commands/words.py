"""What several commands say in the same words."""

from collections.abc import Sequence
from datetime import UTC, datetime

from router.config.declaration import Auth, Server
from router.errors import Complaint
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


def warned(generation: Generation) -> Sequence[Complaint]:
    """What is no mistake in its configuration, but seldom meant."""
    complaints = generation.declaration.complaints
    return complaints.sorted(complaints.warnings)


def missing(generation: Generation) -> Sequence[Complaint]:
    """Variables and secret files that it lacks, where it was made without them."""
    complaints = generation.declaration.complaints
    return complaints.sorted(complaints.lacking)


def unpriced(generation: Generation) -> dict[str, str]:
    """Target → why a limit on money does not hold it: nobody knows what it costs."""
    auth = generation.server.auth
    limits = [(key.limit, key.routes) for key in (auth.keys or {}).values()] if isinstance(auth, Auth) else []
    limits += [(route.declared.limit, (name,)) for name, route in generation.routes.items()]
    held = [routes for limit, routes in limits if limit is not None and limit.spend is not None]
    asked = [
        target
        for name, route in generation.routes.items()
        if any(routes is None or name in routes for routes in held)
        for target in route.targets
        if target.lane != "script" and target.facts.price is None
    ]
    return dict.fromkeys((target.name for target in asked), "nobody knows what it costs, so no limit on money holds it: give it a `price`")
