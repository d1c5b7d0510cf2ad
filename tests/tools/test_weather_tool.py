"""The tool `get_weather`: a fake weather service on loopback that answers or fails, and labelled sample data as its fallback."""

import asyncio
import importlib.util
import inspect
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from aiohttp import web

from router.errors import ToolError
from router.toolbox import load

FILE = Path(__file__).parents[2] / "tools" / "weather.py"
NOBODY = "http://127.0.0.1:9"
LABEL = "(sample data: the weather service could not be reached)"

BEIJING = {"name": "Beijing", "latitude": 39.9075, "longitude": 116.39723, "population": 18960744, "country": "China"}
NOW = {"temperature_2m": 25.2, "relative_humidity_2m": 40, "wind_speed_10m": 8.4, "weather_code": 0, "is_day": 1}


@pytest.fixture(scope="module")
def weather() -> ModuleType:
    """Return the module tools/weather.py, loaded from its file, because tools/ is not a package."""
    spec = importlib.util.spec_from_file_location("tool_weather", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Service:
    """A fake weather service: geocoding search and forecast. `asked`: path → the query that it received."""

    def __init__(self, places: object, current: object) -> None:
        self.answers: dict[str, Any] = {"/v1/search": places, "/v1/forecast": current}
        self.asked: dict[str, dict[str, str]] = {}
        self.headers: list[Mapping[str, str]] = []
        self.base = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Return the response that was set for the path: a response, a function that makes one, or a JSON value."""
        self.asked[request.path] = dict(request.query)
        self.headers.append(request.headers)
        answer = self.answers[request.path]
        if inspect.iscoroutinefunction(answer):
            answer = await answer()
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


@asynccontextmanager
async def service(places: object = None, current: object = None) -> AsyncGenerator[Service]:
    """A running fake weather service with these answers to a search and a forecast."""
    found = Service({"results": [BEIJING]} if places is None else places, {"current": NOW} if current is None else current)
    app = web.Application()
    app.router.add_get("/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


def test_weather_file_has_one_public_tool() -> None:
    """The file tools/weather.py has the public tool `get_weather` alone, and its parameter has a description."""
    tools = load("weather", FILE.read_text(encoding="utf-8"), FILE, "test").tools
    assert [(tool.spec.name, tool.spec.description) for tool in tools] == [("get_weather", "Current weather for a city.")]
    shown = cast("dict[str, dict[str, str]]", tools[0].spec.parameters["properties"])
    assert shown["location"]["description"] == "the city's name, e.g. 北京"


async def test_weather_looks_up_the_city_and_returns_one_sentence(weather: ModuleType) -> None:
    """The tool searches the city, requests the weather at its coordinates, and returns one sentence."""
    async with service() as fake:
        said = await weather._weather("Beijing", fake.base, fake.base, 5)
    assert said == "Beijing weather: 25°C, Sunny, humidity 40 %, wind 8 km/h"
    assert fake.asked["/v1/search"] == {"name": "Beijing", "count": "20", "language": "en", "format": "json"}
    assert fake.asked["/v1/forecast"] == {
        "latitude": "39.9075",
        "longitude": "116.3972",
        "current": "temperature_2m,relative_humidity_2m,wind_speed_10m,weather_code,is_day",
    }


SKIES = {
    "rain": ({"weather_code": 63}, "25°C, Rain, humidity 40 %, wind 8 km/h"),
    "a clear night": ({"is_day": 0}, "25°C, Clear, humidity 40 %, wind 8 km/h"),
    "a rainy night": ({"weather_code": 61, "is_day": 0}, "25°C, Light rain, humidity 40 %, wind 8 km/h"),
    "frost": ({"temperature_2m": -12.5}, "-12°C, Sunny, humidity 40 %, wind 8 km/h"),
    "no minus before a nought": ({"temperature_2m": -0.4}, "0°C, Sunny, humidity 40 %, wind 8 km/h"),
}


@pytest.mark.parametrize("sky", SKIES)
async def test_weather_sentence_has_a_word_for_the_code_and_whole_numbers(weather: ModuleType, sky: str) -> None:
    """The returned sentence has a word for the weather code, by day or by night, and whole numbers."""
    changed, told = SKIES[sky]
    async with service(current={"current": NOW | changed}) as fake:
        assert await weather._weather("Beijing", fake.base, fake.base, 5) == f"Beijing weather: {told}"


@pytest.mark.parametrize(
    ("city", "language"),
    [("北京", "zh"), ("東京タワー", "ja"), ("서울", "ko"), ("Москва", "ru"), ("القاهرة", "ar"), ("São Paulo", "en"), ("A&count=99", "en")],
)
async def test_weather_search_uses_the_language_of_the_city_name(weather: ModuleType, city: str, language: str) -> None:
    """The search asks in the language that fits the script of the city's name, such as `zh` for 北京."""
    async with service() as fake:
        await weather._weather(city, fake.base, fake.base, 5)
    assert fake.asked["/v1/search"] == {"name": city, "count": "20", "language": language, "format": "json"}


async def test_weather_takes_the_most_populous_place_of_the_exact_name(weather: ModuleType) -> None:
    """Of the places found, the most populous one with the searched name is taken, not a larger one with another name."""
    village = {"name": "北京", "latitude": 30.7, "longitude": 108.6}
    capital = {"name": "北京市", "latitude": 39.9, "longitude": 116.4, "population": 18960744}
    other = {"name": "北京路街道", "latitude": 1.0, "longitude": 1.0, "population": 99999999}
    async with service({"results": [village, other, capital]}) as fake:
        said = await weather._weather("北京", fake.base, fake.base, 5)
    assert said.startswith("北京市 weather: ")
    assert fake.asked["/v1/forecast"]["latitude"] == "39.9000"


@pytest.mark.parametrize("answer", [{"generationtime_ms": 0.5}, {"results": []}])
async def test_weather_of_an_unknown_city_raises_toolerror(weather: ModuleType, answer: object) -> None:
    """A city that the service does not find raises ToolError, and no sample data is returned."""
    async with service(answer) as fake:
        with pytest.raises(ToolError, match=r"^No city of that name was found\.$"):
            await weather._weather("Atlantis", fake.base, fake.base, 5)
    assert "/v1/forecast" not in fake.asked


@pytest.mark.parametrize("location", ["", "  \n ", "x" * 101, "a\0b", "\ud800"])
async def test_weather_refuses_an_empty_too_long_or_invalid_name(weather: ModuleType, location: str) -> None:
    """A city name that is empty, longer than 100 characters, or has invalid characters raises ToolError."""
    with pytest.raises(ToolError, match="100 characters at most"):
        await weather.get_weather(location)


async def never() -> web.Response:
    """Answer after 30 seconds."""
    await asyncio.sleep(30)
    return web.json_response({})


def redirect() -> web.Response:
    """Return a redirect to the forecast."""
    return web.Response(status=302, headers={"location": "/v1/forecast"})


def body(content: bytes, **headers: str) -> web.Response:
    """Return a 200 response with this content and these headers."""
    return web.Response(
        body=content, content_type="application/json", headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


FAULTS: dict[str, Callable[[], Any]] = {
    "an error": lambda: web.Response(status=500, text="no"),
    "an error that is JSON": lambda: web.json_response({"error": True, "reason": "limit"}, status=429),
    "an error with a good status": lambda: {"error": True, "reason": "limit"},
    "a redirect": redirect,
    "silence": lambda: never,
    "no JSON": lambda: body(b"<html>"),
    "not UTF-8": lambda: body(b'{"results":"\xff"}'),
    "no object": lambda: body(b"[]"),
    "nested without end": lambda: body(b"[" * 60_000),
    "too long": lambda: body(b'{"results":[],"x":"' + b"x" * 70_000 + b'"}'),
    "packed": lambda: body(b"\x1f\x8b\x08\x00", content_encoding="gzip"),
    "of another form": lambda: {"results": [5], "current": 5},
    "lists of another form": lambda: {"results": [{"name": 5}], "current": [NOW]},
    "texts for numbers": lambda: {"results": [BEIJING | {"latitude": "39"}], "current": NOW | {"temperature_2m": "25"}},
    "no numbers": lambda: body(json.dumps({"results": 5, "current": NOW | {"temperature_2m": float("nan")}}).encode()),
    "a weather that is none": lambda: {"results": 5, "current": NOW | {"weather_code": 42}},
    "figures without end": lambda: body(json.dumps({"results": 5, "current": NOW | {"weather_code": 0}}).replace(" 0", " 1e999").encode()),
}


@pytest.mark.parametrize("half", ["/v1/search", "/v1/forecast"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_weather_returns_sample_data_if_search_or_forecast_fails(weather: ModuleType, fault: str, half: str) -> None:
    """A failure of the search or of the forecast, of any kind, gives sample data that is labelled as such."""
    async with service() as fake:
        fake.answers[half] = FAULTS[fault]()
        if fault in ("an error with a good status", "no numbers", "a weather that is none", "figures without end") and half == "/v1/search":
            fake.answers[half] = {"results": 5, "error": True}
        said = await weather._weather("Beijing", fake.base, fake.base, 0.3 if fault == "silence" else 60)
    assert said == f"Beijing weather: 25°C, Sunny {LABEL}"


async def test_weather_deadline_covers_search_and_forecast_together(weather: ModuleType) -> None:
    """The deadline covers both requests together: if their sum exceeds it, the result is sample data."""

    def slowly(value: object) -> Callable[[], Any]:
        async def answer() -> web.Response:
            await asyncio.sleep(0.15)
            return web.json_response(value)

        return answer

    async with service(slowly({"results": [BEIJING]}), slowly({"current": NOW})) as fake:
        assert LABEL in await weather._weather("Beijing", fake.base, fake.base, 0.2)
        assert LABEL not in await weather._weather("Beijing", fake.base, fake.base, 5)


async def test_weather_does_not_follow_a_redirect(weather: ModuleType) -> None:
    """A redirect of the search to another address is not followed."""
    async with service() as fake:
        fake.answers["/v1/search"] = redirect()
        await weather._weather("Beijing", fake.base, fake.base, 5)
    assert "/v1/forecast" not in fake.asked


async def test_weather_sends_no_cookie_back(weather: ModuleType) -> None:
    """A cookie that the search sets is not sent with the forecast request."""
    answer = web.json_response({"results": [BEIJING]})
    answer.set_cookie("id", "1")
    async with service(answer) as fake:
        await weather._weather("Beijing", fake.base, fake.base, 5)
    assert len(fake.headers) == 2
    assert not any("cookie" in headers for headers in fake.headers)


async def test_weather_without_a_network_returns_the_same_sample_for_a_city(weather: ModuleType) -> None:
    """A refused connection gives labelled sample data, always the same for one city and different for another."""
    first = await weather._weather("Beijing", NOBODY, NOBODY, 5)
    assert first == await weather._weather("Beijing", NOBODY, NOBODY, 5) == f"Beijing weather: 25°C, Sunny {LABEL}"
    assert await weather._weather("London", NOBODY, NOBODY, 5) != first.replace("Beijing", "London")


async def test_weather_tool_at_its_real_addresses_returns_a_sample_without_a_network(weather: ModuleType) -> None:
    """The tool `get_weather`, at its own addresses and without a network, returns sample data."""
    assert await weather.get_weather("  Beijing\n") == f"Beijing weather: 25°C, Sunny {LABEL}"


async def test_cancelled_weather_call_raises_and_returns_no_sample(weather: ModuleType) -> None:
    """A cancelled call raises the cancellation and returns no sample data."""
    async with service(never) as fake:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await weather._weather("Beijing", fake.base, fake.base, 5)
