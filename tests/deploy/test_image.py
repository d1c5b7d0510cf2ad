"""The image's recipe, read and linted."""

import re
from collections.abc import Iterator

from tests.conftest import ROOT


def test_every_copied_path_exists_and_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    sources = [source for instruction, rest in _instructions() if instruction == "COPY" for source in _sources(rest)]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if source.split("/")[0] not in sent] == []


def test_the_image_ends_without_root() -> None:
    final: list[tuple[str, str]] = []
    for instruction, rest in _instructions():
        final = [] if instruction == "FROM" else [*final, (instruction, rest)]
    user = [rest for instruction, rest in final if instruction == "USER"][-1]
    assert user == "65532:65532"
    assert [instruction for instruction, _ in final].index("USER") > max(
        i for i, (instruction, _) in enumerate(final) if instruction == "COPY"
    )


def _instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions, each with what follows it, continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            instruction, _, rest = line.strip().partition(" ")
            yield instruction, rest.strip()


def _sources(rest: str) -> list[str]:
    """What a COPY takes from the repository; nothing if it copies from another stage."""
    words = rest.split()
    return [] if any(word.startswith("--from=") for word in words) else [word for word in words if not word.startswith("--")][:-1]
