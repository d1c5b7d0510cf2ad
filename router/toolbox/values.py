"""Values that a tool may return besides JSON, such as dates, and their JSON form."""

import dataclasses
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

VALUES = BaseModel, date, time, timedelta, Decimal, Enum, UUID
"""Types that a tool may return besides JSON and dataclasses."""
ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def plain(value: object) -> object:
    """Return the JSON form of a dataclass or a value of VALUES. Raises TypeError for any other value: a tool may not return it."""
    if isinstance(value, VALUES) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return ANYTHING.dump_python(value, mode="json")
    raise TypeError(type(value).__name__)
