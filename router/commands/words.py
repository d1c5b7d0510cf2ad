"""What several commands say in the same words."""

from router.generation import Generation


def counted(generation: Generation) -> str:
    """How many routes it has."""
    count = len(generation.routes)
    return f"{count} route{'' if count == 1 else 's'}"
