"""The tools that ship: weather, clock and calculate."""

import importlib.util
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from aiohttp import ClientError, web
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ToolError
from tests.conftest import ROOT


def shipped(name: str) -> Any:
    """A tools file as a module."""
    spec = importlib.util.spec_from_file_location(f"shipped_{name}", ROOT / f"tools/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


weather, clock, calculator = shipped("weather"), shipped("clock"), shipped("calculate")

PLACE = {"results": [{"name": "Beijing", "latitude": 39.9, "longitude": 116.4}]}
NOW = {"current": {"temperature_2m": 24.6, "relative_humidity_2m": 40, "wind_speed_10m": 8.2, "weather_code": 0}}


@asynccontextmanager
async def service(search: web.Response, forecast: web.Response) -> AsyncGenerator[tuple[str, list[str]], None]:
    """Open-Meteo's two addresses on loopback; and what they were asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(str(request.rel_url))
        return search if request.path == "/v1/search" else forecast

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


def reply(value: object, status: int = 200, **headers: str) -> web.Response:
    """A JSON answer."""
    return web.Response(body=json.dumps(value).encode(), status=status, headers=headers)


async def test_the_weather_as_the_service_tells_it() -> None:
    """City, temperature, sky, humidity and wind, of the place that was found."""
    async with service(reply(PLACE), reply(NOW)) as (base, asked):
        said = await weather._weather("北京", base, base, 5)
    assert said == "北京 weather: 25°C, Sunny, humidity 40 %, wind 8 km/h"
    assert "latitude=39.9&longitude=116.4" in asked[1]


async def test_a_city_that_is_none() -> None:
    """The model is told, and may ask the user."""
    async with service(reply({"results": []}), reply(NOW)) as (base, _):
        with pytest.raises(ToolError, match="No city of that name was found"):
            await weather._weather("Nowhere", base, base, 5)


BAD = {
    "an error": (reply({}, 500), reply(NOW)),
    "a redirect": (reply({}, 302, location="http://127.0.0.1:1/"), reply(NOW)),
    "another form": (reply([1]), reply(NOW)),
    "no figures": (reply(PLACE), reply({"current": {}})),
    "far too much": (reply({"x": "y" * 200_000}), reply(NOW)),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_service_that_misbehaves_is_one_that_cannot_be_reached(what: str) -> None:
    """It raises one of the errors that give the sample."""
    search, forecast = BAD[what]
    async with service(search, forecast) as (base, _):
        with pytest.raises((ClientError, OSError, ValueError, LookupError, TypeError)):
            await weather._weather("Rome", base, base, 5)


async def test_offline_there_is_a_sample_that_says_so() -> None:
    """Plainly labelled, and the same each time."""
    said = await weather.get_weather(" Beijing ")
    assert said.startswith("Beijing weather: ")
    assert said.endswith("(sample data: the weather service could not be reached)")
    assert said == await weather.get_weather("Beijing")
    with pytest.raises(ToolError):
        await weather.get_weather("x" * 101)


NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TIMES = {
    "Tokyo": "Tokyo: 2026-11-22 21:00 (Sunday), Asia/Tokyo, UTC+09:00",
    "北京": "北京: 2026-11-22 20:00 (Sunday), Asia/Shanghai, UTC+08:00",
    "new  york": "new york: 2026-11-22 07:00 (Sunday), America/New_York, UTC-05:00",
    "europe/berlin": "europe/berlin: 2026-11-22 13:00 (Sunday), Europe/Berlin, UTC+01:00",
    "Mumbai": "Mumbai: 2026-11-22 17:30 (Sunday), Asia/Kolkata, UTC+05:30",
    "UTC": "UTC: 2026-11-22 12:00 (Sunday), UTC, UTC+00:00",
}


@pytest.mark.parametrize("place", TIMES)
def test_the_time_in_a_place(place: str) -> None:
    """By city, by zone, in two scripts."""
    assert clock._time(place, NOON) == TIMES[place]


@pytest.mark.parametrize("place", ["", "Nowhere", "../../etc/passwd", "x" * 500])
def test_a_place_that_is_not_known(place: str) -> None:
    """What to give instead is said."""
    with pytest.raises(ToolError, match="Europe/Berlin"):
        clock.get_time(place)


SUMS = {
    "0.1+0.2": "0.3",
    "2 ** 10": "1024",
    "2^3^2": "512",
    "-2**2": "-4",
    "2**-2": "0.25",
    "1,234.5 × 2": "2469",
    "7 // 2 + 10 % 3": "4",
    "(3 + 4) * 12 / 5": "16.8",
    "1/3": "about 0.333333333333333",
    "sqrt(16) + abs(-2)": "6",
    "max(1, 2, 3) - min(4, 5)": "-1",
    "round(2.567, 2)": "2.57",
    "1e3": "1000",
    "ln(e)": "1",
    "log(1000)": "3",
}
REFUSED = [
    "",
    "9**9**9",
    "2**100000",
    "1/0",
    "0**-1",
    "5 % 0",
    "sqrt(-1)",
    "log(0)",
    "(" * 60 + "1" + ")" * 60,
    "1 +",
    "(1",
    "1 2",
    "__import__('os').system('id')",
    "open('/etc/passwd')",
    "a.b",
    "lambda: 1",
    "1" * 501,
    "exp(10000)",
    "1e9999",
    "-" * 400 + "1",
    "sqrt(1, 2)",
    "(-8) ** (1/3)",
]


@pytest.mark.parametrize("expression", SUMS)
def test_what_an_expression_is(expression: str) -> None:
    """Exactly, where it has an end."""
    assert calculator.calculate(expression) == SUMS[expression]


@pytest.mark.parametrize("expression", REFUSED)
def test_an_expression_that_is_refused(expression: str) -> None:
    """With a sentence for the model, at once."""
    with pytest.raises(ToolError):
        calculator.calculate(expression)


@given(st.text(max_size=60) | st.text("0123456789+-*/%^(). ,esqrtpi", max_size=60))
def test_nothing_else_is_ever_raised(expression: str) -> None:
    """Any text has a value or a refusal."""
    with suppress(ToolError):
        assert calculator.calculate(expression)


@given(st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 10**6)), min_size=1, max_size=8), st.integers(0, 10**6))
def test_sums_are_exact(rest: list[tuple[str, int]], first: int) -> None:
    """Against fractions."""
    value = Fraction(eval("".join([f"Fraction({first})", *(f"{sign}Fraction({number})" for sign, number in rest)])))  # noqa: S307
    said = calculator.calculate("".join([str(first), *(f"{sign}{number}" for sign, number in rest)]))
    if said.startswith("about "):
        assert float(said.removeprefix("about ")) == pytest.approx(float(value))
    else:
        assert Fraction(said) == value
