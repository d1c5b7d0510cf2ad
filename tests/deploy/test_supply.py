"""Supply chain: packages are locked by hash, name no registry, run no code at Python's start, and are listed in an SBOM.

See docs/security.md, item 44. A stolen package once put a `.pth` file into site-packages: Python runs its lines at every start.
"""

import json
import re
import site
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.conftest import ROOT
from tests.deploy.linters import linter, output_of

LOCKS = sorted([*(ROOT / "requirements").glob("*.txt"), *(ROOT / "tests").glob("*/requirements.txt")])
ENTRY = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
KNOWN = {"distutils-precedence.pth", "_virtualenv.pth", "a1_coverage.pth"}
"""Files with code, of setuptools, virtualenv and coverage; none of these packages is in the run lock."""

CALENDAR = {"regex", "tzdata"}
"""Packages whose version is a date: it says nothing of what an upgrade changes."""


def entries(lock: Path) -> dict[str, list[str]]:
    """Return `name==version` → hashes of each package of a lock file."""
    made: dict[str, list[str]] = {}
    for entry in lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if entry.strip() and not entry.startswith("#"):
            found = ENTRY.match(entry)
            assert found, f"{lock.name}: {entry[:60]} is not locked to a version"
            made[f"{found['name']}=={found['version']}"] = HASH.findall(entry)
    return made


def test_every_expected_lock_file_exists() -> None:
    """The lock files are exactly those for building, development, docs, running, public clients and the linters of deploy/."""
    names = {lock.relative_to(ROOT).as_posix() for lock in LOCKS}
    own = {f"requirements/{name}.txt" for name in ("build", "dev", "docs", "run")}
    assert names == own | {"tests/clients/requirements.txt", "tests/deploy/requirements.txt"}


def declared() -> Iterator[Requirement]:
    """Yield each requirement that pyproject.toml declares."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = [table["build-system"]["requires"], table["project"]["dependencies"]]
    for group in (*named, *table["project"]["optional-dependencies"].values(), *table["dependency-groups"].values()):
        yield from map(Requirement, group)


def test_declared_packages_have_an_upper_version_bound() -> None:
    """Every requirement in pyproject.toml has an upper or exact bound, except for packages whose version is a date."""
    open_ended = [
        str(one) for one in declared() if one.name not in CALENDAR and not {"<", "=="} & {bound.operator for bound in one.specifier}
    ]
    assert open_ended == []


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock.parent.name == "requirements"], ids=lambda lock: lock.stem)
def test_lock_keeps_the_declared_bounds(lock: Path) -> None:
    """Every locked version is within the bounds that pyproject.toml declares."""
    locked = dict(one.split("==") for one in entries(lock))
    names = {name.lower().replace("_", "-"): version for name, version in locked.items()}
    wrong = [
        f"{one}: {version}"
        for one in declared()
        if (version := names.get(one.name.lower().replace("_", "-"))) is not None and Version(version) not in one.specifier
    ]
    assert wrong == []


def test_every_declared_package_is_in_a_lock() -> None:
    """Every package that pyproject.toml declares is in one of the lock files."""
    locked = {name.partition("==")[0].lower().replace("_", "-") for lock in LOCKS for name in entries(lock)}
    assert {one.name.lower() for one in declared()} - locked == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.relative_to(ROOT).as_posix())
def test_python_lock_has_hashes_and_names_no_registry(lock: Path) -> None:
    """Every package of a Python lock file has hashes, and the file has no address and no registry option."""
    found = entries(lock)
    assert found
    assert [name for name, hashes in found.items() if not hashes] == []
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"(?m)^\s*(-i|--index-url|--extra-index-url|--find-links|-f|--trusted-host|-e|--editable)\b", text)


def test_npm_lock_has_hashes_and_names_no_registry() -> None:
    """Every package of tests/clients/package-lock.json has an integrity hash, links excepted, and none has a resolved address."""
    text = (ROOT / "tests" / "clients" / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert [name for name, one in packages.items() if name and "integrity" not in one and not one.get("link")] == []
    assert [name for name, one in packages.items() if "resolved" in one] == []


def test_pth_files_of_the_environment_run_no_unknown_code() -> None:
    """Every `.pth` file of the environment belongs to a package or is in KNOWN, and only those in KNOWN have a line of code."""
    found = [path for folder in site.getsitepackages() for path in Path(folder).glob("*.pth")]
    owned = {Path(str(file.locate())).name for one in distributions() for file in one.files or () if file.suffix == ".pth"}
    for path in found:
        runs = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(("import ", "import\t"))]
        assert not runs or path.name in KNOWN, f"{path.name} runs code whenever Python starts: {runs}"
        assert path.name in owned or path.name in KNOWN, f"{path.name} belongs to no package"


def test_pth_file_of_a_compromised_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted `.pth` file with a line of code is reported by name."""
    (tmp_path / "litellm_init.pth").write_text("import os; os.system('true')\n")
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path)])
    with pytest.raises(AssertionError, match=r"litellm_init\.pth runs code"):
        test_pth_files_of_the_environment_run_no_unknown_code()


def test_sbom_lists_the_packages_of_the_run_lock(tmp_path: Path) -> None:
    """The SBOM of the program in `make sbom` lists each package of the run lock file, with its version and as many hashes."""
    made = tmp_path / "sbom.json"
    command = [linter("cyclonedx-py"), "requirements", "--output-reproducible", "--of", "JSON", "-o", str(made)]
    output_of(*command, str(ROOT / "requirements" / "run.txt"))
    sbom = json.loads(made.read_text(encoding="utf-8"))
    listed = {
        f"{one['name']}=={one['version']}": sum(len(reference["hashes"]) for reference in one["externalReferences"])
        for one in sbom["components"]
    }
    assert listed == {name: len(hashes) for name, hashes in entries(ROOT / "requirements" / "run.txt").items()}
    assert "cyclonedx-py requirements" in (ROOT / "Makefile").read_text(encoding="utf-8")
