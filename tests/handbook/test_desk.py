"""The repository's GitHub workflows, hooks and issue forms refer to files and commands that exist."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from router.commands import parser
from tests.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yaml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def read(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    """Return all steps of a workflow."""
    jobs = cast("dict[str, Any]", read(path)["jobs"])
    return [step for job in jobs.values() for step in job.get("steps", ())]


def test_workflow_checks_every_supported_python() -> None:
    """The Python versions of the check workflow equal those of the package's classifiers, and it runs `.ci/run`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    check = read(ROOT / ".github" / "workflows" / "check.yaml")["jobs"]["check"]
    assert check["strategy"]["matrix"]["python"] == supported
    assert ".ci/run" in [step.get("run") for step in check["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_github_workflow_runs_make_targets_and_files_that_exist(path: Path) -> None:
    """Each make target and each repository file in a workflow's commands exists."""
    commands = [line for step in steps(path) for line in step.get("run", "").splitlines()]
    assert commands
    for words in map(shlex.split, commands):
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE), words
        for word in words:
            assert "/" not in word or word.startswith(("/", "POLICY_RC_D", "dist/")) or (ROOT / word).exists(), words


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_token_has_read_permission_only(path: Path) -> None:
    """Each workflow's top-level permissions are `contents: read`."""
    assert read(path)["permissions"] == {"contents": "read"}


def test_published_pre_commit_hooks_have_a_valid_command_and_file_pattern() -> None:
    """Each hook of .pre-commit-hooks.yaml is a valid `router` command with a pattern that matches configurations but not docs."""
    hooks = read(ROOT / ".pre-commit-hooks.yaml")
    assert [hook["id"] for hook in hooks] == ["router-check", "router-drill"]
    for hook in hooks:
        program, *words = shlex.split(hook["entry"])
        assert program == "router"
        parser().parse_args([*words, "--routes", "gateway/routes.yaml"])
        for name in ("routes.yaml", "gateway/drills.yaml", "pipelines/chat.yaml", "gateway/tools/clock.py"):
            assert re.search(hook["files"], name), name
        assert not re.search(hook["files"], "docs/routes.md")


def test_pre_commit_hook_of_this_repository_matches_a_file() -> None:
    """Each hook's file pattern in .pre-commit-config.yaml matches at least one file of the repository."""
    files = [
        path.relative_to(ROOT).as_posix() for folder in ("docs", "router", "pipelines", "tools") for path in (ROOT / folder).rglob("*")
    ]
    for hook in read(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]:
        assert any(re.search(hook.get("files", "."), name) for name in [*files, "routes.yaml"]), hook["id"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_form_has_name_description_and_labelled_fields(path: Path) -> None:
    """Each issue form has a name, a description, and fields with unique ids and labels."""
    form = read(path)
    assert form["name"]
    assert form["description"]
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in fields}) == len(fields)
    assert all(part["attributes"]["label"] for part in fields)
