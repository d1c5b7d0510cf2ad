"""Random ids of requests and messages. The kernel is asked for the bytes of many at once: each question is a system call."""

import os
from operator import itemgetter

AT_ONCE = 256
"""Ids whose bytes the kernel is asked for at once."""
SIZE = 32
"""Hexadecimal digits of an id, 128 random bits, as a UUID has."""
VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""A hexadecimal digit → one whose first two bits are those of a UUID of RFC 9562, and whose other two are as random as its own."""
_parts = itemgetter(slice(8), slice(8, 12), slice(13, 16), 16, slice(17, 20), slice(20, None))
_unused: list[str] = []
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_unused.clear)  # else two processes would give the same ids


def random_hex() -> str:
    """Return 32 random hexadecimal digits in lower case. Any thread may call it."""
    try:
        return _unused.pop()
    except IndexError:
        made = os.urandom(AT_ONCE * SIZE // 2).hex(" ", SIZE // 2).split(" ")
        mine = made.pop()
        _unused.extend(made)
        return mine


def random_uuid() -> str:
    """Return a random UUID (RFC 9562, version 4): 122 random bits, and six that say so. `uuid.uuid4` takes three times as long."""
    first, second, third, variant, fourth, fifth = _parts(random_hex())
    return f"{first}-{second}-4{third}-{VARIANT[variant]}{fourth}-{fifth}"
