"""The date and time in a city or time zone, by the rules of the tz database."""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from router.errors import ToolError

REGIONS = {"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Europe", "Indian", "Pacific"}
"""Regions whose zones end in a place. `US/Central` and `Australia/North` are known by their whole names only."""
NO_PLACES = {"Factory", "localtime"}

CITIES = {
    "Africa/Johannesburg": ("Cape Town", "Pretoria", "开普敦"),
    "Africa/Cairo": ("开罗",),
    "America/Argentina/Buenos_Aires": ("Buenos Aires",),
    "America/Chicago": ("Austin", "Dallas", "Houston", "Minneapolis", "New Orleans", "芝加哥"),
    "America/Denver": ("Salt Lake City",),
    "America/Los_Angeles": (
        "Las Vegas",
        "Portland",
        "San Diego",
        "San Francisco",
        "San Jose",
        "Seattle",
        "Silicon Valley",
        "洛杉矶",
        "旧金山",
        "西雅图",
    ),
    "America/New_York": ("Atlanta", "Boston", "Miami", "Philadelphia", "Washington", "Washington DC", "纽约", "华盛顿", "波士顿"),
    "America/Sao_Paulo": ("Rio de Janeiro", "圣保罗"),
    "America/Toronto": ("Ottawa", "多伦多"),
    "America/Vancouver": ("温哥华",),
    "Asia/Bangkok": ("曼谷",),
    "Asia/Dubai": ("Abu Dhabi", "迪拜"),
    "Asia/Ho_Chi_Minh": ("Hanoi", "Saigon", "河内"),
    "Asia/Hong_Kong": ("香港",),
    "Asia/Jakarta": ("雅加达",),
    "Asia/Kolkata": ("Bangalore", "Bengaluru", "Chennai", "Delhi", "Hyderabad", "Mumbai", "New Delhi", "新德里", "孟买"),
    "Asia/Macau": ("澳门",),
    "Asia/Seoul": ("Busan", "首尔", "서울"),
    "Asia/Shanghai": (
        "Beijing",
        "Chengdu",
        "Guangzhou",
        "Hangzhou",
        "Nanjing",
        "Shenzhen",
        "Tianjin",
        "Wuhan",
        "Xi'an",
        "北京",
        "上海",
        "广州",
        "深圳",
        "成都",
        "重庆",
        "杭州",
        "南京",
        "天津",
        "武汉",
        "西安",
    ),
    "Asia/Singapore": ("新加坡",),
    "Asia/Taipei": ("台北", "臺北"),
    "Asia/Tokyo": ("Kyoto", "Nagoya", "Osaka", "Sapporo", "Yokohama", "东京", "東京", "大阪", "京都"),
    "Australia/Adelaide": ("Adelaide",),
    "Australia/Brisbane": ("Brisbane",),
    "Australia/Darwin": ("Darwin",),
    "Australia/Hobart": ("Hobart",),
    "Australia/Melbourne": ("Melbourne", "墨尔本"),
    "Australia/Perth": ("Perth",),
    "Australia/Sydney": ("Canberra", "Sydney", "悉尼"),
    "Europe/Berlin": ("Cologne", "Frankfurt", "Hamburg", "Munich", "München", "柏林", "法兰克福", "慕尼黑"),
    "Europe/Istanbul": ("Istanbul", "Ankara", "伊斯坦布尔"),
    "Europe/Kyiv": ("Kiev",),
    "Europe/London": ("Edinburgh", "Liverpool", "Manchester", "伦敦"),
    "Europe/Madrid": ("Barcelona", "马德里"),
    "Europe/Moscow": ("Saint Petersburg", "莫斯科", "Москва"),
    "Europe/Paris": ("Lyon", "Marseille", "巴黎"),
    "Europe/Rome": ("Florence", "Milan", "Naples", "Venice", "罗马", "米兰"),
    "Europe/Vienna": ("Wien",),
    "Europe/Zurich": ("Bern", "Geneva", "苏黎世"),
    "Pacific/Apia": ("Samoa",),
}
"""Cities that no zone is named for, and names that a zone's key does not have."""


def get_time(place: str) -> str:
    """Current date and time in a city or time zone.

    place: a city, e.g. Tokyo or 北京, or a time zone, e.g. Europe/Berlin
    """
    return _time(place, datetime.now(UTC))


def _time(place: str, now: datetime) -> str:
    """Return the time in a place as `Tokyo: 2026-11-22 14:05 (Sunday), Asia/Tokyo, UTC+09:00`."""
    known = _places().get(_plain(place))
    if known is None:
        raise ToolError("This place is not known here. Give a time zone, such as Europe/Berlin.")
    name, zone = known
    local = now.astimezone(ZoneInfo(zone))
    offset = local.isoformat(timespec="minutes")[-6:]
    return f"{name}: {local:%Y-%m-%d %H:%M (%A)}, {zone}, UTC{offset}"


@cache
def _places() -> Mapping[str, tuple[str, str]]:
    """Return each known name, as `_plain` writes it → (its usual spelling, its zone). Cached: a search for all zones reads 600 files."""
    # Sorted: of America/Argentina/Mendoza and America/Mendoza, its old name, the first stands.
    zones = sorted(available_timezones() - NO_PLACES)
    found: dict[str, tuple[str, str]] = {}
    for zone in zones:
        found[_plain(zone)] = (_last(zone), zone)
    for zone, cities in CITIES.items():
        if zone in zones:
            found |= {_plain(city): (city, zone) for city in cities}
    for zone in zones:
        if zone.split("/")[0] in REGIONS:
            found.setdefault(_plain(_last(zone)), (_last(zone), zone))
    return found


def _last(zone: str) -> str:
    return zone.rpartition("/")[2].replace("_", " ")


def _plain(name: str) -> str:
    """Return a name without differences of spelling: case, accents, underscores and the 市 of 北京市."""
    decomposed = unicodedata.normalize("NFKD", name.casefold().replace("_", " "))
    letters = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(letters.split()).removesuffix("市")
