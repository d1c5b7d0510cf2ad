"""The time anywhere."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from router.errors import ToolError

CITIES = {
    "北京": "Asia/Shanghai",
    "beijing": "Asia/Shanghai",
    "上海": "Asia/Shanghai",
    "深圳": "Asia/Shanghai",
    "shenzhen": "Asia/Shanghai",
    "广州": "Asia/Shanghai",
    "guangzhou": "Asia/Shanghai",
    "香港": "Asia/Hong_Kong",
    "台北": "Asia/Taipei",
    "东京": "Asia/Tokyo",
    "東京": "Asia/Tokyo",
    "osaka": "Asia/Tokyo",
    "首尔": "Asia/Seoul",
    "新加坡": "Asia/Singapore",
    "delhi": "Asia/Kolkata",
    "new delhi": "Asia/Kolkata",
    "mumbai": "Asia/Kolkata",
    "bangalore": "Asia/Kolkata",
    "伦敦": "Europe/London",
    "巴黎": "Europe/Paris",
    "柏林": "Europe/Berlin",
    "munich": "Europe/Berlin",
    "frankfurt": "Europe/Berlin",
    "hamburg": "Europe/Berlin",
    "geneva": "Europe/Zurich",
    "milan": "Europe/Rome",
    "barcelona": "Europe/Madrid",
    "莫斯科": "Europe/Moscow",
    "纽约": "America/New_York",
    "boston": "America/New_York",
    "washington": "America/New_York",
    "miami": "America/New_York",
    "洛杉矶": "America/Los_Angeles",
    "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles",
    "旧金山": "America/Los_Angeles",
    "houston": "America/Chicago",
    "dallas": "America/Chicago",
    "rio de janeiro": "America/Sao_Paulo",
    "悉尼": "Australia/Sydney",
}
"""Cities that no time zone is named for."""


def get_time(place: str) -> str:
    """Current date and time in a city or time zone.

    place: a city, e.g. Tokyo or 北京, or a time zone, e.g. Europe/Berlin
    """
    return _time(place, datetime.now(UTC))


def _time(place: str, now: datetime) -> str:
    shown = " ".join(place.split())[:100]
    zone = _zone(shown)
    here = now.astimezone(ZoneInfo(zone))
    offset = f"{here:%z}"
    return f"{shown}: {here:%Y-%m-%d %H:%M} ({here:%A}), {zone}, UTC{offset[:3]}:{offset[3:5]}"


def _zone(place: str) -> str:
    """The zone's own name, from a name, its last part, or a city of the table. ToolError where there is none."""
    wanted = place.casefold()
    if wanted in CITIES:
        return CITIES[wanted]
    word = wanted.replace(" ", "_")
    # Sorted, so that of several zones with one last part the same is always taken; a whole name goes first.
    zones = sorted(available_timezones(), key=lambda zone: (zone.casefold() != word, zone))
    for zone in zones:
        if word and word in (zone.casefold(), zone.casefold().rpartition("/")[2]):
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError):
                continue
            return zone
    raise ToolError("That place is not known here. Give a time zone, such as Europe/Berlin.")
