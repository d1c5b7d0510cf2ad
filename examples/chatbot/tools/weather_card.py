"""The weather card of vercel/ai-chatbot: the tool `getWeather`, whose result is Open-Meteo's object.

The addresses are Open-Meteo's, or those of the environment: OPEN_METEO_URL and OPEN_METEO_GEOCODING_URL. No redirect is followed, and
nothing that a model writes can lead elsewhere.
"""

import asyncio
import json
import math
import os
from collections.abc import Mapping
from typing import Annotated, Any

import aiohttp
from pydantic import Field

from router.errors import ToolError

FORECAST = os.environ.get("OPEN_METEO_URL", "https://api.open-meteo.com")
GEOCODING = os.environ.get("OPEN_METEO_GEOCODING_URL", "https://geocoding-api.open-meteo.com")
DEADLINE = 8.0
"""Seconds for both questions together."""
MAX_BYTES = 256 * 1024
"""Bytes of one answer; a forecast of two days takes about 3 KiB."""
SHOWN = (
    "latitude",
    "longitude",
    "generationtime_ms",
    "utc_offset_seconds",
    "timezone",
    "timezone_abbreviation",
    "elevation",
    "current_units",
    "current",
    "hourly_units",
    "hourly",
    "daily_units",
    "daily",
)
"""Fields of Open-Meteo's object that the card knows."""


async def getWeather(
    city: Annotated[str, Field(min_length=1, max_length=100)] | None = None,
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None,
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None,
) -> dict[str, object]:
    """Get the current weather and the next two days at a place. Give a city, or both coordinates.

    city: name of the city, e.g. San Francisco
    latitude: degrees, if there is no city
    longitude: degrees, if there is no city
    """
    try:
        async with asyncio.timeout(DEADLINE), aiohttp.ClientSession(trust_env=True) as session:
            if city is not None:
                latitude, longitude = await _place(session, city)
            if latitude is None or longitude is None:
                raise ToolError("Give a city, or both latitude and longitude.")
            asked = {"latitude": latitude, "longitude": longitude, "current": "temperature_2m", "hourly": "temperature_2m"}
            asked |= {"daily": "sunrise,sunset", "timezone": "auto", "forecast_days": 2}
            found = await _json(session, f"{FORECAST}/v1/forecast", asked)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        raise ToolError("The weather service cannot be reached just now.") from None
    card = {name: found[name] for name in SHOWN if name in found}
    if not all(isinstance(card.get(name), Mapping) for name in ("current", "current_units", "hourly", "daily")):
        raise ToolError("The weather service gave no weather.")
    return {**card, "cityName": city} if city is not None else card


async def _place(session: aiohttp.ClientSession, city: str) -> tuple[float, float]:
    """Return the coordinates of a city. Raises ToolError if it is not known."""
    found = await _json(session, f"{GEOCODING}/v1/search", {"name": city, "count": 1, "language": "en", "format": "json"})
    match found.get("results"):
        case [{"latitude": int() | float() as latitude, "longitude": int() | float() as longitude}, *_] if math.isfinite(
            latitude
        ) and math.isfinite(longitude):
            return latitude, longitude
        case _:
            raise ToolError(f"No city named {city} was found.")


async def _json(session: aiohttp.ClientSession, address: str, asked: Mapping[str, str | float]) -> dict[str, Any]:
    """Return the JSON object at an address. Raises ValueError if it is something else, or too large."""
    async with session.get(address, params=asked, allow_redirects=False) as response:
        response.raise_for_status()
        data = bytearray()
        async for piece in response.content.iter_chunked(16 * 1024):
            data += piece
            if len(data) > MAX_BYTES:
                raise ValueError(address)
    if response.status != 200 or not isinstance(found := json.loads(data), dict):
        raise ValueError(address)
    return found  # pyright: ignore[reportUnknownVariableType]
