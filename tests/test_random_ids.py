"""Random ids of requests and messages."""

import os
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from router.random_ids import AT_ONCE, random_hex, random_uuid


def test_ids_are_never_given_twice() -> None:
    """Ids that several threads take at once, more than the kernel is asked for at once, are all different, and of 32 digits."""

    def taken(_: int) -> list[str]:
        return [random_hex() for _ in range(2 * AT_ONCE)]

    with ThreadPoolExecutor(8) as pool:
        made = [one for many in pool.map(taken, range(16)) for one in many]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in made)


def test_uuid_has_the_version_and_variant_of_a_random_one() -> None:
    """Each UUID is of version 4 and of the variant of RFC 9562, with each of the four variant digits, and is written as `uuid` writes it."""
    made = [random_uuid() for _ in range(1000)]
    assert all(str(uuid.UUID(one)) == one and uuid.UUID(one).version == 4 and uuid.UUID(one).variant == uuid.RFC_4122 for one in made)
    assert {one[19] for one in made} == set("89ab")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a child that only writes and exits needs none of the threads
def test_forked_process_gives_other_ids_than_its_parent() -> None:
    """A child process does not use the random bytes that its parent has fetched."""
    random_hex()
    readable, writable = os.pipe()
    if not (child := os.fork()):
        os.write(writable, " ".join(random_hex() for _ in range(AT_ONCE)).encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        theirs = pipe.read().split()
    os.waitpid(child, 0)
    assert len(theirs) == AT_ONCE
    assert not {random_hex() for _ in range(AT_ONCE)} & set(theirs)
