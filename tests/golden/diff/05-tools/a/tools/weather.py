async def get_weather(location: str) -> str:
    """Current weather for a city."""
    return f"{location}: fine"
