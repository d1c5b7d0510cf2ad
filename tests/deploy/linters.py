"""Linters and readers of deploy/, from an environment that `make` installs; without it, their tests are skipped."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import yaml
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
HERE = Path(__file__).parent
CHART = DEPLOY / "helm" / "pointsman"
EMPTY = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "KUBECONFIG": "/dev/null"}
"""An environment without a kubeconfig: no test reaches a cluster."""


SECRETS = "/run/secrets/router"
KEYS = {
    "ADMIN_KEY": "adm-0123456789abcdef0123456789abcdef\n",
    "CALLERS": "chat  sha256:c458c6d3b8c6717f32a39bd0a8138d973bfac02c2c9cab30177885f8c806c851  # pm_2uvLjzMQ\n",
}
CALLER = "pm_2uvLjzMQ_3tqE9xxeCXDTXPpLRxdrsLDLpvUlMoaM9fuVmwN62H71yB2zo"
"""The caller key whose hash stands in CALLERS; made for these tests."""


def secrets_in(folder: Path) -> Callable[[str], str]:
    """Write the keys of a pod's SECRETS into a folder. Returns a function that makes the text of a routes.yaml read them there."""
    folder.mkdir(exist_ok=True)
    for name, text in KEYS.items():
        (folder / name).write_text(text)
    return lambda text: text.replace("{keys: {}}", f'{{keys: "${{file:{SECRETS}/CALLERS}}"}}').replace(SECRETS, str(folder))


def linter(name: str) -> str:
    """Return the path of a program in that environment; skips the test if it is not installed."""
    found = HERE / ".venv" / "bin" / name
    return str(found) if found.exists() else pytest.skip(f"{name} is not installed here: `make linters-if-any` does")


def output_of(*command: str, given: str = "") -> str:
    """Return the output of a command that has to exit with 0."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=EMPTY, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """Return the YAML documents of a text."""
    return [cast("dict[str, Any]", one) for one in yaml.safe_load_all(text) if one]


@cache
def kustomized() -> str:
    """Return the manifests of deploy/kubernetes as kustomize or kubectl builds them; skips the test if both are missing."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            return output_of(*command, str(DEPLOY / "kubernetes"))
    pytest.skip("neither kustomize nor kubectl is installed here")


@cache
def _schemas(version: str) -> Path:
    """Return the folder with the strict schemas of this Kubernetes version, which kubernetes-validate installs."""
    [found] = Path(linter("kubernetes-validate")).parent.parent.glob(
        f"lib/*/site-packages/*/kubernetes-json-schema/v{version}-local-strict"
    )
    return found


@cache
def _schema(version: str, name: str) -> jsonschema.Draft202012Validator:
    """Return the validator of one kind of object. kubernetes-validate itself would read 5 MB of shared definitions for each object."""
    contents = cast("dict[str, Any]", json.loads((_schemas(version) / f"{name}.json").read_text()))
    return jsonschema.Draft202012Validator(contents, registry=_definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    resource = DRAFT202012.create_resource(json.loads((_schemas(version) / "_definitions.json").read_text()))
    return Registry[Any]().with_resource("_definitions.json", resource)


def misfits(text: str, version: str) -> list[str]:
    """Return a sentence for each part of these manifests that Kubernetes would refuse or silently drop."""
    found: list[str] = []
    for document in documents(text):
        *group, edition = document["apiVersion"].split("/")
        name = "-".join([document["kind"].lower(), *(one.partition(".")[0] for one in group), edition])
        schema: Any = _schema(version, name)
        found += [f"{document['kind']}: {error.json_path}: {error.message}" for error in schema.iter_errors(document)]
    return found


def helm(do: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the result of rendering or linting the chart with these values; render.py describes it."""
    wish = {"do": do, "chart": str(CHART), "values": values}
    return cast("dict[str, Any]", json.loads(output_of(linter("python"), str(HERE / "render.py"), given=json.dumps(wish))))


def rendered(**values: Any) -> str:
    """Return the manifests of the chart with these values."""
    made = helm("render", values)
    assert "files" in made, made
    return "\n---\n".join(text for name, text in made["files"].items() if not name.endswith(".txt"))


def one(kind: str, text: str) -> dict[str, Any]:
    """Return the object of this kind; fails unless there is exactly one."""
    [found] = [document for document in documents(text) if document["kind"] == kind]
    return found
