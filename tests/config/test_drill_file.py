"""drills.yaml: a file of drills (tests of an operator's routes) beside routes.yaml."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from router.commands import main
from router.config import as_written, load, read
from router.config.schema import drills_schema
from router.drill import drilled
from router.errors import ConfigError
from router.generation import build
from tests.conftest import ROOT, Workspace, routes

TWO = "a: {script: [{text: a}]}\nb: {script: [{text: b}]}"
INLINE = "drills:\n  - {name: inline, ask: {model: gpt-4}, expect: {served_by: a}}\n"
BESIDE = "drills:\n  - name: beside\n    given: {a: 503}\n    ask: {model: gpt-4}\n    expect: {served_by: b}\n"


def written(workspace: Workspace, beside: str | None, inline: str = "") -> Path:
    """Write drills.yaml (unless None) and a routes.yaml with these inline drills; return the path of routes.yaml."""
    if beside is not None:
        workspace.write("drills.yaml", beside)
    return workspace.write("routes.yaml", routes(TWO, "targets: [a, b]", inline)).root / "routes.yaml"


def mistakes(workspace: Workspace, beside: str, inline: str = "") -> list[str]:
    """Return the complaints for which these two files are refused, as printed; fails if they are valid."""
    with pytest.raises(ConfigError) as refused:
        build(load(written(workspace, beside, inline)))
    return [str(complaint) for complaint in refused.value.complaints]


def test_drills_of_the_routes_file_run_before_those_of_drills_yaml(workspace: Workspace) -> None:
    """The drills of both files are run, those of routes.yaml first, and each result has the file and line of its drill."""
    results = drilled(load(written(workspace, BESIDE, INLINE)))
    assert [(one.name, one.faults) for one in results] == [("inline", ()), ("beside", ())]
    assert [(one.place.file, one.place.line) for one in results if one.place] == [("routes.yaml", 10), ("drills.yaml", 2)]


def test_drill_file_beside_a_routes_file_of_any_name_is_read(workspace: Workspace) -> None:
    """The drills.yaml in the folder of a routes file is read even if that file is named new.yaml."""
    written(workspace, BESIDE).rename(workspace.root / "new.yaml")
    assert [str(drill.name) for drill in load(workspace.root / "new.yaml").routes.drills] == ["beside"]


def test_missing_drill_file_is_no_mistake(workspace: Workspace) -> None:
    """A configuration without a drills.yaml has only its inline drills, and its snapshot contains no file of that name."""
    file = written(workspace, None, INLINE)
    assert [str(drill.name) for drill in load(file).routes.drills] == ["inline"]
    assert list(read(file).texts) == ["routes.yaml", "pipelines/chat.yaml", "tools/weather.py"]


def test_routes_file_named_drills_yaml_is_read_once(workspace: Workspace) -> None:
    """A routes file that is itself named drills.yaml is not read a second time as a drill file: its drills occur once."""
    written(workspace, None, INLINE).rename(workspace.root / "drills.yaml")
    assert [str(drill.name) for drill in load(workspace.root / "drills.yaml").routes.drills] == ["inline"]


@pytest.mark.parametrize(
    ("beside", "complaint"),
    [
        ("", "drills.yaml:1:1: the file is empty"),
        ("- {name: x}\n", "drills.yaml:1:1: drills.yaml is `drills:` and a list under it, e.g. "),
        ("drills:\n", "drills.yaml:1:8: drills.yaml is `drills:` and a list under it, e.g. "),
        ("drills: {a: b}\n", "drills.yaml:1:9: drills.yaml is `drills:` and a list under it, e.g. "),
        ("drill: []\n", "drills.yaml:1:1: drills.yaml is `drills:` and a list under it, e.g. "),
        (
            f"{BESIDE}targets: {{}}\n",
            "drills.yaml:6:1: unknown key `targets` in drills.yaml, which has `drills` alone: write the others in",
        ),
        ("drills: [\n", "drills.yaml:2:1: this is not YAML: "),
        (BESIDE.replace("gpt-4", "gpt-5"), "drills.yaml:4:18: no route is named `gpt-5`; did you mean `gpt-4`?"),
        (BESIDE.replace("{a: ", "{c: "), "drills.yaml:3:13: no target is named `c`; there is `a`, `b`"),
        (BESIDE.replace("503", "${NOBODY_SET_THIS}"), "drills.yaml:3:1"),
        (BESIDE.replace("served_by", "servedby"), "drills.yaml:5:14: unknown key `servedby` in `expect`; did you mean `served_by`?"),
    ],
)
def test_mistake_in_drills_yaml_is_reported_with_file_line_and_column(workspace: Workspace, beside: str, complaint: str) -> None:
    """Each mistake in drills.yaml (empty, not YAML, wrong shape, unknown name or key) has a complaint with its place."""
    assert any(one.startswith(complaint) for one in mistakes(workspace, beside)), mistakes(workspace, beside)


def test_check_prints_the_line_of_a_mistake_in_drills_yaml_with_a_caret(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router check` prints the line of a mistake in drills.yaml with a caret below it, after the mistakes in routes.yaml."""
    file = written(workspace, BESIDE.replace("{a: ", "{c: "))
    file.write_text(file.read_text(encoding="utf-8").replace("[a, b]", "[a, bb]"), encoding="utf-8")
    assert main(["check", "--routes", str(file)]) == 1
    first, second = capsys.readouterr().err.split("drills.yaml:3:13: ")
    assert first.startswith("routes.yaml:8:18: no target is named `bb`")
    line, caret = second.splitlines()[1:3]
    assert line.endswith("given: {c: 503}")
    assert caret.index("^") == line.index("c: 503")


@pytest.mark.parametrize(
    ("beside", "inline", "complaint"),
    [
        (BESIDE.replace("beside", "inline"), INLINE, "drills.yaml:2:11: line 10 of routes.yaml has a drill of this name: "),
        (BESIDE + BESIDE.removeprefix("drills:\n"), "", "drills.yaml:6:11: line 2 of drills.yaml has a drill of this name: "),
    ],
)
def test_drill_name_used_twice_with_drills_yaml_is_a_mistake(workspace: Workspace, beside: str, inline: str, complaint: str) -> None:
    """A drill name used twice is a mistake if drills.yaml has one of the two; the complaint is at the second and names the first's line."""
    (one,) = mistakes(workspace, beside, inline)
    assert one.startswith(complaint)


def test_drill_name_used_twice_in_routes_yaml_is_only_a_warning(workspace: Workspace) -> None:
    """Two inline drills of one name in routes.yaml cause a warning at the second, not a complaint."""
    declaration = load(written(workspace, None, INLINE + INLINE.removeprefix("drills:\n")))
    assert declaration.complaints.in_order() == ()
    assert [str(one).partition(": ")[0] for one in declaration.complaints.warnings] == ["routes.yaml:11:12"]


def test_drills_yaml_that_links_out_of_the_folder_is_refused(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A drills.yaml that is a symbolic link out of the folder, or to a missing file, raises ConfigError."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "drills.yaml"
    (workspace.root / "drills.yaml").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match=r"drills\.yaml:1:1: this link leads out"):
        load(written(workspace, None))
    (workspace.root / "drills.yaml").unlink()
    (workspace.root / "drills.yaml").symlink_to("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"drills\.yaml:1:1: the file cannot be read"):
        load(written(workspace, None))


def test_drills_of_drills_yaml_are_part_of_the_declaration(workspace: Workspace) -> None:
    """A declaration read without the environment contains the drills of drills.yaml."""
    moved = written(workspace, INLINE)
    assert [str(drill.name) for drill in as_written(read(moved)).routes.drills] == ["inline"]


def test_drills_schema_accepts_the_shipped_drills_and_refuses_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    """The committed drills.schema.json is the output of `router schema drills`; the shipped drills.yaml is valid, an unknown key is not."""
    assert main(["schema", "drills"]) == 0
    assert capsys.readouterr().out == (ROOT / "drills.schema.json").read_text(encoding="utf-8")
    assert json.loads((ROOT / "drills.schema.json").read_text(encoding="utf-8")) == drills_schema()
    shipped = yaml.safe_load((ROOT / "drills.yaml").read_text(encoding="utf-8"))
    valid: Any = jsonschema.Draft202012Validator(drills_schema())
    assert valid.is_valid(shipped)
    assert not valid.is_valid({**shipped, "targets": {}})
    assert not valid.is_valid({"drills": [{**shipped["drills"][0], "given": {"gpt": 200}}]})
