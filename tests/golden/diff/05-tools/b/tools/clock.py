async def get_time(location: str) -> str:
    """Current time for a city."""
    return f"{location}: fine"
