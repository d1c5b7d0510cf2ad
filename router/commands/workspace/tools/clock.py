"""Tools that tell the time. A file in tools/ is a tool set, a function in it a tool: the model reads its docstring."""

from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from router.errors import ToolError


def get_time(place: str) -> str:
    """Current date and time in a city or time zone.

    place: e.g. Tokyo, or Europe/Berlin
    """
    word = place.strip().replace(" ", "_").lower()
    zones = sorted(available_timezones())
    zone = next((zone for zone in zones if word in (zone.lower(), zone.rpartition("/")[2].lower())), None)
    if zone is None:
        raise ToolError(f"No time zone is known for {place}. Name a larger city nearby, or a zone such as Europe/Berlin.")
    return f"{datetime.now(ZoneInfo(zone)):%A, %d %B %Y, %H:%M} ({zone})"
