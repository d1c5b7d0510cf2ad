"""The weather in a city, from Open-Meteo, which needs no API key. If it cannot be reached: sample data, labelled as such.

The hosts are constants and no redirect is followed: text written by a model cannot lead to another host.
"""

import asyncio
import json
import math
import re
import zlib
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from router.errors import ToolError

if TYPE_CHECKING:
    import aiohttp

GEOCODING = "https://geocoding-api.open-meteo.com"
FORECAST = "https://api.open-meteo.com"
DEADLINE = 5.0
"""Seconds for search and forecast together."""
MAX_CHARS = 100
MAX_BYTES = 64 * 1024
"""Bytes of one response; twenty places take about 15 KiB."""

LANGUAGES = {
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "zh": re.compile(r"[\u3400-\u9fff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
    "el": re.compile(r"[\u0370-\u03ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "he": re.compile(r"[\u0590-\u05ff]"),
    "hi": re.compile(r"[\u0900-\u097f]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
}
"""Language → the script of its names. The service finds a city only by its name in the language of the request."""
UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

SKIES = {
    0: "Sunny",
    1: "Mainly sunny",
    2: "Partly cloudy",
    3: "Overcast",
    45: "Fog",
    48: "Rime fog",
    51: "Light drizzle",
    53: "Drizzle",
    55: "Dense drizzle",
    56: "Light freezing drizzle",
    57: "Freezing drizzle",
    61: "Light rain",
    63: "Rain",
    65: "Heavy rain",
    66: "Light freezing rain",
    67: "Freezing rain",
    71: "Light snow",
    73: "Snow",
    75: "Heavy snow",
    77: "Snow grains",
    80: "Light rain showers",
    81: "Rain showers",
    82: "Violent rain showers",
    85: "Light snow showers",
    86: "Heavy snow showers",
    95: "Thunderstorm",
    96: "Thunderstorm with light hail",
    99: "Thunderstorm with hail",
}
"""WMO weather code → word, for the codes of the service."""
NIGHT = {0: "Clear", 1: "Mainly clear"}
"""Weather code → word at night, where it differs."""
SAMPLES = ("Partly cloudy", "Overcast", "Light rain", "Sunny")


class _Unusable(Exception):
    """An error: the response of the service is not usable."""


async def get_weather(location: str) -> str:
    """Current weather for a city.

    location: the city's name, e.g. 北京
    """
    city = " ".join(location.split())
    if not 1 <= len(city) <= MAX_CHARS or UNREADABLE.search(city):
        raise ToolError(f"The name of a city is needed, of {MAX_CHARS} characters at most.")
    return await _weather(city, GEOCODING, FORECAST, DEADLINE)


async def _weather(city: str, geocoding: str, forecast: str, deadline: float) -> str:
    # The first import takes 0.1 s and 9 MB: it is made for the first question, beside the event loop.
    await asyncio.to_thread(import_module, "aiohttp")
    import aiohttp  # noqa: PLC0415

    session = aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # Nothing is unpacked: what is counted is what came.
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
    )
    try:
        async with asyncio.timeout(deadline), session:
            name, latitude, longitude = await _place(session, city, geocoding)
            where = {"latitude": f"{latitude:.4f}", "longitude": f"{longitude:.4f}"}
            return f"{name} weather: {await _current(session, where, forecast)}"
    except (TimeoutError, OSError, aiohttp.ClientError, _Unusable):
        return _sample(city)


async def _place(session: "aiohttp.ClientSession", city: str, base: str) -> tuple[str, float, float]:
    """Return the city's name, latitude and longitude. ToolError if no city has this name, _Unusable for a malformed response."""
    language = next((language for language, script in LANGUAGES.items() if script.search(city)), "en")
    # More than one is asked for, because the first is not always the one that is meant: for 北京 it is a village.
    query = {"name": city, "count": "20", "language": language, "format": "json"}
    match await _asked(session, f"{base}/v1/search", query):
        case {"results": [dict(), *_] as found}:
            match max(cast("list[object]", found), key=lambda place: _likelihood(place, city)):
                case {"name": str(name), "latitude": float(latitude), "longitude": float(longitude)}:
                    return " ".join(name.split())[:MAX_CHARS], latitude, longitude
                case _:
                    raise _Unusable
        case {"results": [_, *_]} | {"error": _}:
            raise _Unusable
        case _:
            raise ToolError("No city of that name was found.")


def _likelihood(place: object, city: str) -> tuple[bool, float]:
    """Return a sort key for places: first whether the name is exactly this one (北京市 is 北京), then the population."""
    match place:
        case {"name": str(name), "population": float(population)}:
            return _plain(name) == _plain(city), population
        case {"name": str(name)}:
            return _plain(name) == _plain(city), 0
        case _:
            return False, -1


def _plain(name: str) -> str:
    return name.casefold().removesuffix("市")


async def _current(session: "aiohttp.ClientSession", where: Mapping[str, str], base: str) -> str:
    """Return the weather at these coordinates as `25°C, Sunny, humidity 40 %, wind 8 km/h`. _Unusable for a malformed response."""
    query = {**where, "current": "temperature_2m,relative_humidity_2m,wind_speed_10m,weather_code,is_day"}
    match await _asked(session, f"{base}/v1/forecast", query):
        case {
            "current": {
                "temperature_2m": float(temperature),
                "relative_humidity_2m": float(humidity),
                "wind_speed_10m": float(wind),
                "weather_code": float(code),
                "is_day": float(day),
            }
        } if all(map(math.isfinite, (temperature, humidity, wind, code))) and int(code) in SKIES:
            sky = SKIES[int(code)] if day else {**SKIES, **NIGHT}[int(code)]
            # round() has no -0, which a format has.
            return f"{round(temperature)}°C, {sky}, humidity {round(humidity)} %, wind {round(wind)} km/h"
        case _:
            raise _Unusable


async def _asked(session: "aiohttp.ClientSession", url: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON object of a response; its numbers are all floats. Raises _Unusable for any other response."""
    async with session.get(url, params=query, allow_redirects=False) as response:
        if response.status != 200:
            raise _Unusable
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > MAX_BYTES:
                raise _Unusable
    try:
        value: object = json.loads(body, parse_int=float)
    except (ValueError, RecursionError):
        raise _Unusable from None
    if not isinstance(value, dict):
        raise _Unusable
    return cast("dict[str, Any]", value)


def _sample(city: str) -> str:
    """Return labelled sample weather, always the same for one city."""
    number = zlib.crc32(city.casefold().encode())
    sky = SAMPLES[number // 20 % len(SAMPLES)]
    return f"{city} weather: {8 + number % 20}°C, {sky} (sample data: the weather service could not be reached)"
