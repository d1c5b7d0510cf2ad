"""Headers of a request by their names, and the kinds of headers among them."""

import pytest

from router.access.headers import FAMILY, MAX_NAMES, by_name

KINDS = {
    b"origin": {"origin", "showing"},
    b"expect": {"expect", "optional"},
    b"authorization": {"bearing"},
    b"referer": {"showing"},
    b"via": {"showing"},
    FAMILY + b"port": {"showing"},
    FAMILY + b"for": {"showing", "optional"},
    b"a-" + FAMILY + b"for": set[str](),
    b"x-router-fault": {"optional"},
    b"content-type": set[str](),
}


@pytest.mark.parametrize("more", [0, MAX_NAMES], ids=["few", "many"])
@pytest.mark.parametrize("name", KINDS, ids=str)
def test_kinds_of_headers_follow_from_their_names(name: bytes, more: int) -> None:
    """A request with a header has its kinds and no others, whether it has few headers or too many for the cache."""
    named, kinds = by_name([*((b"other-%d" % at, b"") for at in range(more)), (b"host", b"a"), (name, b"first"), (name, b"last")])
    assert named[name] == b"last"
    assert {kind for kind in kinds.__struct_fields__ if getattr(kinds, kind)} == KINDS[name]
