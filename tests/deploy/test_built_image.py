"""The image, built from the Dockerfile by buildah and run in namespaces, without a container daemon.

The Dockerfile names its base by a digest that only a registry serves. Here a base of Debian's own packages stands in its place, with
Debian's Python (see image_base.sh): all other lines of the Dockerfile are executed as they are. As Docker does, a stage is built again
only where its lines, or the files that it takes, have changed.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.conftest import ROOT
from tests.support.services import program, run

FOLDER = ROOT / ".image"
"""The folder that image_base.sh makes."""
NAME = "localhost/pointsman-under-test"
PACKAGES = "localhost/pointsman-packages"
"""The first stage of the Dockerfile: the environments of the locks. Kept for the next run, as Docker keeps it for the next build."""
PATIENCE = 240
"""Seconds in which a container must start or end."""
MARK = "pm-planted-4b1f0c"
"""Text of every planted secret."""
SECRETS = (".env", "router/.env.local", "pipelines/.env", "deploy/secrets/OPENAI_API_KEY", ".git/config")
ROUTES = """
server: {auth: none}
routes:
  paused: {pipeline: plain, targets: [paused]}
targets:
  paused: {script: [{text: one}, {pause: 1500ms}, {text: two}]}
"""

pytestmark = pytest.mark.timeout(1800)  # a build is a minute on a quiet machine


@dataclass(frozen=True)
class Image:
    """A built image. `root`: its file system; `description`: the output of `buildah inspect`; `sizes`: part → megabytes."""

    root: Path
    description: str
    sizes: dict[str, int]

    @property
    def config(self) -> dict[str, Any]:
        """Return the image's container configuration: user, entry point, variables and so on."""
        return cast("dict[str, Any]", json.loads(self.description)["Docker"]["config"])

    def command(self, configuration: Path | None, *command: str) -> tuple[str, ...]:
        """Return the command line that runs a command in a container of this image; see contained.py."""
        config = self.config
        namespaces = (program("unshare"), "--mount", "--net", sys.executable, "-I", "-S", str(ROOT / "tests/deploy/contained.py"))
        started = (str(self.root), str(configuration or ""), config["User"], config["WorkingDir"], *config["Env"])
        return (*namespaces, *started, "--", *command)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Yield the image, built unless it was built of the same files before; skips the tests without its base. Test runs build in turn."""
    if not (FOLDER / "done").exists():
        pytest.skip("there is no base for the image here: `make image-base-if-any` makes one, as root and with Debian's packages")
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _clean()
        try:
            yield _built(tmp_path_factory.mktemp("context"))
        finally:
            _clean()


def _built(context: Path) -> Image:
    first, build, rest = _planted(context).partition("\nFROM packages ")
    assert build
    packages = _up_to_date(PACKAGES, first, context, "requirements")
    image = _up_to_date(NAME, f"FROM {packages} {rest}", context, ".")
    root = _file_system(image)
    parts = {
        "in all": root,
        "its environment": root / "opt/router",
        "LiteLLM": next(root.glob("opt/router/lib/python3*/site-packages/litellm")),
    }
    sizes = {name: int(subprocess.check_output(["du", "-sm", path], text=True).split()[0]) for name, path in parts.items()}
    return Image(root, _buildah("inspect", "--type", "image", image), sizes)


def _up_to_date(name: str, recipe: str, context: Path, folder: str) -> str:
    """Return the full name of an image of this recipe and this folder of the context. It is built, in place of others, unless it is there."""
    made_of = hashlib.sha256(recipe.encode())
    for path in sorted((context / folder).rglob("*")):
        if path.is_file():
            made_of.update(f"\0{path.relative_to(context)} {path.stat().st_mode}\0".encode() + path.read_bytes())
    tagged = f"{name}:{made_of.hexdigest()[:16]}"
    if tagged not in _images():
        for outdated in [one for one in _images() if one.startswith(f"{name}:")]:
            _buildah("rmi", "--force", outdated)
        _bud(tagged, recipe, context)
    return tagged


def _bud(name: str, recipe: str, context: Path) -> None:
    """Build an image from the text of a Dockerfile."""
    file = context.parent / f"{context.name}.Dockerfile"
    file.write_text(recipe)
    isolated = ("--isolation", "chroot", "--format", "docker", "--pull-never", "--no-cache")
    _buildah("bud", *isolated, "--volume", f"{FOLDER / 'wheels'}:/wheels:ro", "--file", str(file), "--tag", name, str(context))


def _images() -> dict[str, str]:
    """Return name and tag of each stored image → its topmost layer."""
    known: list[dict[str, Any]] = json.loads((FOLDER / "store/vfs-images/images.json").read_text(encoding="utf-8"))
    return {name: one["layer"] for one in known for name in one.get("names", ())}


def _file_system(image: str) -> Path:
    """Return the folder of the image's file system: its topmost layer, which this storage keeps complete. Nothing may be written there."""
    return FOLDER / "store/vfs/dir" / _images()[image]


def _planted(context: Path) -> str:
    """Copy a checkout into a folder and plant secrets where operators have some; return the Dockerfile's text with the local base."""
    for name in ("pyproject.toml", "README.md", "LICENSE", ".dockerignore", "routes.yaml", "drills.yaml"):
        shutil.copy(ROOT / name, context / name)
    for name in ("requirements", "router", "pipelines", "tools", "deploy"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SECRETS:
        (context / name).parent.mkdir(exist_ok=True)
        (context / name).write_text(f"OPENAI_API_KEY={MARK}\n")
    recipe, bases = re.subn(r"(?m)^FROM python:\S+", "FROM localhost/pointsman-base", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert bases == 2
    return recipe


def _buildah(*words: str) -> str:
    storage = ("--root", str(FOLDER / "store"), "--runroot", str(FOLDER / "runroot"), "--storage-driver", "vfs")
    environment = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin", "HOME": "/root", "OPENAI_API_KEY": MARK}
    done = subprocess.run([program("buildah"), *storage, *words], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def _clean() -> None:
    """Remove the containers that a build leaves; images stay for the next run."""
    _buildah("rm", "--all")


@asynccontextmanager
async def started(image: Image, folder: Path, *command: str) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """Run a command in a container with a small configuration. Yields its process once it runs as the image's user."""
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines/plain.yaml").write_text("steps: []\n")
    (folder / "routes.yaml").write_text(ROUTES)
    with (folder.parent / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*image.command(folder, *command), stdout=log, stderr=log)
    try:
        async with asyncio.timeout(PATIENCE):
            while state(process)["Uid"].split()[0] == "0":
                await asyncio.sleep(0.01)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def serving(image: Image, folder: Path) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """Run the image's own entry point, and yield its process once the image's health check succeeds."""
    async with started(image, folder, *image.config["Entrypoint"], *image.config["Cmd"]) as process:
        async with asyncio.timeout(PATIENCE):
            while await healthy(image, process) != 0:
                assert process.returncode is None, (folder.parent / "log").read_text()
                await asyncio.sleep(0.05)
        yield process


def state(process: asyncio.subprocess.Process) -> dict[str, str]:
    """Return field → value of a process's /proc/<pid>/status."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
    return dict(cast("tuple[str, str]", line.split(":\t", 1)) for line in lines)


async def healthy(image: Image, process: asyncio.subprocess.Process) -> int:
    """Return the exit code of the image's health check, run in the container of this process."""
    done = await inside(image, process, *image.config["Healthcheck"]["Test"][1:])
    await done.communicate()
    return cast("int", done.returncode)


async def inside(image: Image, process: asyncio.subprocess.Process, *command: str) -> asyncio.subprocess.Process:
    """Start another command in the container of this process."""
    user, _, group = image.config["User"].partition(":")
    words = (program("nsenter"), f"--target={process.pid}", "--mount", "--net", "--root", "--wd", f"--setuid={user}", f"--setgid={group}")
    environment = dict(one.split("=", 1) for one in image.config["Env"])
    return await asyncio.create_subprocess_exec(
        *words, *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )


ASK = """
import json, urllib.request
body = json.dumps({"model": "paused", "messages": [{"role": "user", "content": "Hi"}]}).encode()
request = urllib.request.Request("http://127.0.0.1:8000/api/chat", body, {"content-type": "application/json"})
for line in urllib.request.urlopen(request):
    print(line.decode().strip(), flush=True)
"""
"""A client for the image's own Python: prints an answer line by line as it arrives."""


def test_image_size_is_within_a_quarter_of_the_documented_one(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    """The size of the router's environment in the image differs from the one in docs/deploy.md by less than 25 %; sizes are printed."""
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"  {name}: {size} MB\n" for name, size in image.sizes.items()))
    documented = re.search(r"([0-9]+) MB are the router's environment", (ROOT / "docs/deploy.md").read_text(encoding="utf-8"))
    assert documented is not None
    assert 0.75 < image.sizes["its environment"] / int(documented[1]) < 1.25


def test_files_of_the_image_are_writable_by_root_alone(image: Image) -> None:
    """Every file of the router and its configuration belongs to root, is writable by root alone, and has no setuid or setgid bit."""
    found = [path for folder in ("opt/router", "etc/router") for path in (image.root / folder).rglob("*") if not path.is_symlink()]
    assert len(found) > 1000
    assert [path for path in found if path.stat().st_uid != 0 or path.stat().st_mode & 0o6022] == []


def test_image_holds_nothing_of_the_build_stage(image: Image) -> None:
    """The image has LiteLLM's compiled bytecode, and no sources, build tools or caches."""
    assert {path.name for path in (image.root / "opt").iterdir()} == {"router"}
    assert not (image.root / "src").exists()
    assert not (image.root / "dist").exists()
    assert [path for path in (image.root / "root").rglob("*") if "cache" in path.name] == []
    assert [path.name for path in (image.root / "opt/router/bin").iterdir() if re.match(r"pip|uv$|hatchling", path.name)] == []
    assert list(image.root.glob("opt/router/lib/python3*/site-packages/litellm/__pycache__/main.*.pyc"))
    assert {path.name for path in (image.root / "etc/router").iterdir()} == {"routes.yaml", "pipelines", "tools"}


def test_planted_secret_is_not_in_the_image(image: Image) -> None:
    """Secrets planted in files of the checkout and in the builder's environment are in neither the image's files nor its description."""
    assert MARK not in image.description
    done = subprocess.run(["grep", "-rlaF", "--devices=skip", MARK, str(image.root)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr


async def test_container_answers_as_an_unprivileged_user_on_a_read_only_file_system(image: Image, tmp_path: Path) -> None:
    """A container answers as user and group 65532 without capabilities, and a process in it fails to write to /etc/router."""
    async with serving(image, tmp_path / "config") as process:
        status = state(process)
        assert status["Uid"].split() == status["Gid"].split() == ["65532"] * 4
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
        written = await inside(image, process, "python", "-c", "open('/tmp/a', 'w'); open('/etc/router/a', 'w')")
        await written.communicate()
        assert written.returncode == 1
        client = await inside(image, process, "python", "-c", ASK)
        said, _ = await client.communicate()
        assert b"one" in said
        assert b"two" in said


async def test_container_finishes_a_running_answer_on_sigterm(image: Image, tmp_path: Path) -> None:
    """An answer that streams when the image's stop signal arrives is completed, and the process exits with 0."""
    signalled = signal.Signals[image.config["StopSignal"]] if "StopSignal" in image.config else signal.SIGTERM
    async with serving(image, tmp_path / "config") as process, asyncio.timeout(PATIENCE):
        client = await inside(image, process, "python", "-c", ASK)
        assert client.stdout is not None
        begun = b""
        while b"one" not in begun:
            begun = await client.stdout.readline()
            assert begun
        process.send_signal(signalled)
        rest = await client.stdout.read()
        assert b"two" in rest
        assert await process.wait() == 0


async def test_health_check_fails_in_a_container_that_does_not_serve(image: Image, tmp_path: Path) -> None:
    """The image's health check exits with 1 in a container that runs another program than the router."""
    async with started(image, tmp_path / "config", "python", "-c", "import signal; signal.pause()") as process:
        assert await healthy(image, process) == 1


async def test_image_runs_router_commands(image: Image) -> None:
    """The image runs its arguments as a `router` command: `check` of its own configuration exits with 0."""
    done = await asyncio.create_subprocess_exec(
        *image.command(None, *image.config["Entrypoint"], "check"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await done.communicate()
    assert done.returncode == 0, said.decode()


async def test_image_tests_are_skipped_where_the_base_cannot_be_built(tmp_path: Path) -> None:
    """The script image_base.sh exits with 0 and prints why the image tests are skipped if the user is not root or has no buildah."""
    (tmp_path / "dirname").symlink_to(program("dirname"))
    for user, why in (("1000", "not root"), ("0", "no buildah")):
        (tmp_path / "id").write_text(f"#!/bin/sh\necho {user}\n")
        (tmp_path / "id").chmod(0o755)
        said = await run(program("env"), "-i", f"PATH={tmp_path}", program("sh"), str(ROOT / "tests/deploy/image_base.sh"))
        assert said.endswith(f"{why}: the tests that build the image are skipped, and say so\n")
