"""The Dockerfile, read and linted; test_built_image.py builds and runs it."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.commands import parser
from tests.conftest import ROOT, Workspace, routes, serving
from tests.deploy.linters import linter, output_of
from tests.support.services import run


def test_every_copied_path_exists_and_is_sent_to_the_builder() -> None:
    """Every path that the Dockerfile copies exists and is allowed by .dockerignore."""
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    sources = [source for instruction, rest in _instructions() if instruction == "COPY" for source in _sources(rest)]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if source.split("/")[0] not in sent] == []


def test_image_runs_as_a_user_without_root_rights() -> None:
    """The Dockerfile's last stage sets USER 65532:65532 after its last COPY."""
    final: list[tuple[str, str]] = []
    for instruction, rest in _instructions():
        final = [] if instruction == "FROM" else [*final, (instruction, rest)]
    user = [rest for instruction, rest in final if instruction == "USER"][-1]
    assert user == "65532:65532"
    assert [instruction for instruction, _ in final].index("USER") > max(
        i for i, (instruction, _) in enumerate(final) if instruction == "COPY"
    )


def test_base_images_are_pinned_by_digest() -> None:
    """All stages that begin from an outside image begin from the same one, pinned by digest."""
    stages = [rest.split() for instruction, rest in _instructions() if instruction == "FROM"]
    bases = {base for base, *_ in stages} - {name for _, *alias in stages for name in alias[1:]}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}", bases.pop())


async def test_make_pins_renews_the_digests_of_base_images(tmp_path: Path) -> None:
    """The command `make pins` writes the current digest of each tag into Dockerfile and compose.yaml, and changes nothing else in them."""
    digest = "sha256:" + "5" * 64
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "buildx imagetools inspect" ] && echo {digest}\n')
    docker.chmod(0o755)
    for name in ("Makefile", "Dockerfile", "deploy/compose.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    process = await asyncio.create_subprocess_exec(
        "make", "-s", "-C", str(tmp_path), "pins", env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    assert len(said.splitlines()) == 3
    for name in ("Dockerfile", "deploy/compose.yaml"):
        pinned = re.compile(r"sha256:[0-9a-f]{64}")
        now, before = (tmp_path / name).read_text(), (ROOT / name).read_text()
        assert set(pinned.findall(now)) == {digest}
        assert pinned.sub("", now) == pinned.sub("", before)


def test_hadolint_reports_nothing_about_the_dockerfile(tmp_path: Path) -> None:
    """The linter hadolint finds nothing in the Dockerfile, but finds an unpinned base image in another one."""
    hadolint = linter("hadolint")
    output_of(hadolint, "--failure-threshold", "style", str(ROOT / "Dockerfile"))
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN apt-get install curl\n")
    with pytest.raises(AssertionError, match="DL3007"):
        output_of(hadolint, "--failure-threshold", "style", str(tmp_path / "Dockerfile"))


def test_build_tools_stay_out_of_the_last_stage() -> None:
    """The last stage runs no installer, and copies only /opt/router from the other stages."""
    last = _stages()[-1]
    assert last[0][1].startswith("python:")
    assert [rest for instruction, rest in last if instruction == "RUN" and re.search(r"\b(pip|uv|apt-get|apk|curl|wget)\b", rest)] == []
    assert [rest.split() for instruction, rest in last if instruction == "COPY" and "--from" in rest] == [
        ["--from=build", "/opt/router", "/opt/router"]
    ]


def test_dockerfile_puts_no_secret_into_a_layer() -> None:
    """The Dockerfile has no ARG, no ADD and no secret-like ENV, and installs by hash; .dockerignore excludes `.env` (security.md 43)."""
    for instruction, rest in _instructions():
        assert instruction != "ARG"
        if instruction in {"ENV", "LABEL"}:
            assert not re.search(r"(?i)key|token|secret|password|credential", rest)
        if instruction == "RUN" and " install " in rest:
            # The wheel of this very source is the one exception.
            assert all("--require-hashes" in one or "/dist/*.whl" in one for one in re.findall(r"(?:pip|uv pip) install[^&]*", rest))
        assert instruction != "ADD"
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert "*" in ignored
    assert "**/.env*" in ignored


def test_image_is_stopped_by_sigterm_to_the_router_itself() -> None:
    """The stop signal is SIGTERM and the entry point is `router` without a shell, so that the signal reaches the router."""
    last = dict(_stages()[-1])
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["ENTRYPOINT"]) == ["router"]
    given = parser().parse_args(json.loads(last["CMD"]))
    assert last["EXPOSE"] == str(given.port)


async def test_health_check_succeeds_only_while_the_router_is_ready(workspace: Workspace) -> None:
    """The Dockerfile's health check command succeeds against a ready router, and fails against a draining or absent one."""
    check = dict(_stages()[-1])["HEALTHCHECK"].partition("CMD ")[2]
    name, *arguments = json.loads(check)
    assert name == "python"
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}"))
    async with serving(workspace.build()) as client:
        port = client.base.rpartition(":")[2]
        command = [sys.executable, *(one.replace(":8000/", f":{port}/") for one in arguments)]
        assert command[1:] != arguments
        await run(*command)
        client.edge.admin.chat.stopping = True
        with pytest.raises(AssertionError, match="503"):
            await run(*command)
    with pytest.raises(AssertionError, match="refused"):
        await run(*command)


def _stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each build stage of the Dockerfile."""
    made: list[list[tuple[str, str]]] = []
    for instruction, rest in _instructions():
        if instruction == "FROM":
            made.append([])
        made[-1].append((instruction, rest))
    return made


def _instructions() -> Iterator[tuple[str, str]]:
    """Yield (instruction, arguments) of the Dockerfile, with continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            instruction, _, rest = line.strip().partition(" ")
            yield instruction, rest.strip()


def _sources(rest: str) -> list[str]:
    """Return the repository paths that a COPY takes; none if it copies from another stage."""
    words = rest.split()
    return [] if any(word.startswith("--from=") for word in words) else [word for word in words if not word.startswith("--")][:-1]
