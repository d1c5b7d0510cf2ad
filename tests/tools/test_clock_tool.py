"""The tool `get_time`: places by the names that people use, and daylight saving time."""

import importlib.util
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import cast
from zoneinfo import available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.errors import ToolError
from router.toolbox import load

FILE = Path(__file__).parents[2] / "tools" / "clock.py"
NOW = datetime(2026, 11, 22, 5, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def clock() -> ModuleType:
    """Return the module tools/clock.py, loaded from its file, because tools/ is not a package."""
    spec = importlib.util.spec_from_file_location("tool_clock", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text_for(clock: ModuleType) -> Callable[[str], str]:
    """A function that returns the tool's text for a place at a fixed time, a Sunday in November."""
    return lambda place: clock._time(place, NOW)


def test_clock_file_has_one_public_tool() -> None:
    """The file tools/clock.py has the public tool `get_time` alone, and its parameter has a description."""
    tools = load("clock", FILE.read_text(encoding="utf-8"), FILE, "test").tools
    assert [(tool.spec.name, tool.spec.description) for tool in tools] == [("get_time", "Current date and time in a city or time zone.")]
    shown = cast("dict[str, dict[str, str]]", tools[0].spec.parameters["properties"])
    assert shown["place"]["description"]


PLACES = {
    "Tokyo": "Tokyo: 2026-11-22 14:05 (Sunday), Asia/Tokyo, UTC+09:00",
    "  tokyo ": "Tokyo: 2026-11-22 14:05 (Sunday), Asia/Tokyo, UTC+09:00",
    "asia/tokyo": "Tokyo: 2026-11-22 14:05 (Sunday), Asia/Tokyo, UTC+09:00",
    "东京": "东京: 2026-11-22 14:05 (Sunday), Asia/Tokyo, UTC+09:00",
    "Beijing": "Beijing: 2026-11-22 13:05 (Sunday), Asia/Shanghai, UTC+08:00",
    "北京": "北京: 2026-11-22 13:05 (Sunday), Asia/Shanghai, UTC+08:00",
    "北京市": "北京: 2026-11-22 13:05 (Sunday), Asia/Shanghai, UTC+08:00",
    "america/new york": "New York: 2026-11-22 00:05 (Sunday), America/New_York, UTC-05:00",
    "new_york": "New York: 2026-11-22 00:05 (Sunday), America/New_York, UTC-05:00",
    "San Francisco": "San Francisco: 2026-11-21 21:05 (Saturday), America/Los_Angeles, UTC-08:00",
    "São Paulo": "Sao Paulo: 2026-11-22 02:05 (Sunday), America/Sao_Paulo, UTC-03:00",
    "Zürich": "Zurich: 2026-11-22 06:05 (Sunday), Europe/Zurich, UTC+01:00",
    "Istanbul": "Istanbul: 2026-11-22 08:05 (Sunday), Europe/Istanbul, UTC+03:00",
    "Mumbai": "Mumbai: 2026-11-22 10:35 (Sunday), Asia/Kolkata, UTC+05:30",
    "Kathmandu": "Kathmandu: 2026-11-22 10:50 (Sunday), Asia/Kathmandu, UTC+05:45",
    "Samoa": "Samoa: 2026-11-22 18:05 (Sunday), Pacific/Apia, UTC+13:00",
    "UTC": "UTC: 2026-11-22 05:05 (Sunday), UTC, UTC+00:00",
    "Japan": "Japan: 2026-11-22 14:05 (Sunday), Japan, UTC+09:00",
}


@pytest.mark.parametrize("place", PLACES)
def test_clock_accepts_cities_and_zones_in_any_case_and_without_accents(text_for: Callable[[str], str], place: str) -> None:
    """A city or time zone is found in any letter case, with spaces for underscores, without accents, and by Chinese names."""
    assert text_for(place) == PLACES[place]


def test_clock_uses_the_utc_offset_of_the_date(clock: ModuleType) -> None:
    """The time in Berlin has the offset +02:00 in July and +01:00 in December."""
    assert (
        clock._time("Berlin", datetime(2026, 7, 1, 12, 0, tzinfo=UTC)) == "Berlin: 2026-07-01 14:00 (Wednesday), Europe/Berlin, UTC+02:00"
    )
    assert clock._time("Berlin", datetime(2026, 12, 1, 12, 0, tzinfo=UTC)) == "Berlin: 2026-12-01 13:00 (Tuesday), Europe/Berlin, UTC+01:00"


@pytest.mark.parametrize("place", ["", " ", "Atlantis", "../../etc/passwd", "/etc/localtime", "localtime", "Factory", "North", "Tokyo\0"])
def test_clock_refuses_an_unknown_place_with_an_example(text_for: Callable[[str], str], place: str) -> None:
    """A place that is not known, also a file path, raises ToolError with the example of a valid time zone."""
    with pytest.raises(ToolError, match=r"Give a time zone, such as Europe/Berlin\."):
        text_for(place)


@given(st.text(max_size=200))
@example("\ud800")
@example("a" * 100_000)
def test_clock_gives_arbitrary_text_a_time_or_a_toolerror(text_for: Callable[[str], str], place: str) -> None:
    """Arbitrary text as a place gives a time, or raises ToolError and no other error."""
    try:
        text_for(place)
    except ToolError:
        return


def test_clock_knows_every_time_zone_and_every_city_of_its_table(clock: ModuleType, text_for: Callable[[str], str]) -> None:
    """The tool's text names the right zone for each time zone (without NO_PLACES) and for each city of the tool's table."""
    zones = available_timezones() - clock.NO_PLACES
    assert set(clock.CITIES) <= zones
    for zone in zones:
        assert f", {zone}, UTC" in text_for(zone)
    for zone, cities in clock.CITIES.items():
        for city in cities:
            assert f", {zone}, UTC" in text_for(city)


def test_clock_tool_returns_the_current_time(clock: ModuleType) -> None:
    """The tool `get_time` returns the current minute in UTC."""
    before = datetime.now(UTC).replace(second=0, microsecond=0)
    said = clock.get_time("UTC")
    shown = datetime.strptime(said[5:21], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    assert before <= shown <= datetime.now(UTC)
