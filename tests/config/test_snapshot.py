"""A snapshot of a configuration: the files that are read from its folder, and their digest."""

import shutil

import pytest

from router.config import read
from router.config.document import MAX_BYTES
from tests.config.written import ROUTES, TARGETS, complaints, target
from tests.conftest import CHAT, WEATHER, Workspace


def test_digest_changes_with_every_file_of_the_configuration(workspace: Workspace) -> None:
    """The digest changes with routes.yaml, pipelines, tools and secret files, but not with unrelated files."""
    workspace.write("routes.yaml", target("{model: openai/x, api_key: '${file:secrets/key}'}")).write("secrets/key", "one")

    def digest() -> str:
        return workspace.build().digest

    seen = [digest()]
    assert len(seen[0]) == 12
    assert digest() == seen[0]
    changes = {
        "routes.yaml": target("{model: openai/y, api_key: '${file:secrets/key}'}"),
        "pipelines/chat.yaml": CHAT + "# more\n",
        "pipelines/unused.j2": "Hi",
        "tools/weather.py": WEATHER + "\n",
        "secrets/key": "two",
    }
    for name, content in changes.items():
        workspace.write(name, content)
        seen.append(digest())
    assert len(set(seen)) == len(changes) + 1
    workspace.write("notes.txt", "nobody reads this").write("tools/__pycache__/weather.py", "nor this")
    assert digest() == seen[-1]


def test_routes_file_with_byte_order_mark_and_crlf_is_read(workspace: Workspace) -> None:
    """A routes.yaml with a byte order mark and CRLF line ends loads."""
    (workspace.root / "routes.yaml").write_bytes(b"\xef\xbb\xbf" + (TARGETS + ROUTES).replace("\n", "\r\n").encode())
    assert list(workspace.build().routes) == ["m"]


def test_file_that_is_not_utf8_is_refused_with_its_line(workspace: Workspace) -> None:
    """A routes.yaml that is not UTF-8 gives one complaint with the line of the wrong byte."""
    (workspace.root / "routes.yaml").write_bytes(b"targets:\n  a: {script: demo}\n# caf\xe9\n")
    assert complaints(workspace) == ["routes.yaml:3:1: the file is not UTF-8"]


def test_file_above_8_mib_is_refused(workspace: Workspace) -> None:
    """A template larger than 8 MiB gives one complaint."""
    workspace.write("routes.yaml", TARGETS + ROUTES).write("pipelines/big.j2", "x" * (MAX_BYTES + 1))
    assert complaints(workspace) == ["pipelines/big.j2:1:1: the file is larger than 8 MiB"]


def test_missing_routes_file_gives_one_complaint_that_suggests_init(workspace: Workspace) -> None:
    """A folder without a routes.yaml gives one complaint, which suggests `router init`."""
    (told,) = complaints(workspace)
    assert told.startswith("routes.yaml:1:1: the file cannot be read: No such file or directory; `router init DIR` writes a workspace")


def test_link_out_of_the_configuration_folder_is_refused(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A symbolic link to a file outside the configuration's folder gives a complaint; one within it is read."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.j2"
    elsewhere.write_text("secret")
    workspace.write("routes.yaml", TARGETS + ROUTES)
    (workspace.root / "pipelines/same.yaml").symlink_to("chat.yaml")
    workspace.build()
    (workspace.root / "pipelines/out.j2").symlink_to(elsewhere)
    assert complaints(workspace) == ["pipelines/out.j2:1:1: this link leads out of the configuration's folder"]


def test_link_above_the_configuration_folder_lets_no_file_lead_out(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A configuration's folder that is reached through a link still refuses a file that is a link out of it, below the same destination."""
    real = tmp_path_factory.mktemp("real")
    (real / "secret.j2").write_text("secret")
    workspace.write("routes.yaml", TARGETS + ROUTES)
    workspace.root.rename(real / "conf")
    (linked := real.with_name("linked")).symlink_to(real)
    (linked / "conf/pipelines/out.j2").symlink_to(real / "secret.j2")
    assert complaints(Workspace(linked / "conf")) == ["pipelines/out.j2:1:1: this link leads out of the configuration's folder"]


@pytest.mark.parametrize(
    ("name", "leads", "what"),
    [
        ("tools/a.py", "a.py", "file"),
        ("pipelines/a.yaml", "../tools/../pipelines/a.yaml", "file"),
        ("routes.yaml", "routes.yaml", "file"),
        ("tools", "tools", "folder"),
        ("tools", "tools/more", "folder"),
    ],
)
def test_circular_link_is_refused_with_its_path(workspace: Workspace, name: str, leads: str, what: str) -> None:
    """A file or folder that is a circular symbolic link gives one complaint with its path."""
    workspace.write("routes.yaml", TARGETS + ROUTES)
    link = workspace.root / name
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(leads)
    assert complaints(workspace) == [f"{name}:1:1: the {what} cannot be read: Too many levels of symbolic links"]


def test_link_to_a_folder_below_pipelines_is_not_followed(workspace: Workspace) -> None:
    """A symbolic link to a folder within pipelines/ is ignored: no file below it is read."""
    workspace.write("routes.yaml", TARGETS + ROUTES)
    (workspace.root / "pipelines/again").symlink_to("..")
    assert sorted(read(workspace.root / "routes.yaml").texts) == ["pipelines/chat.yaml", "routes.yaml", "tools/weather.py"]


def test_kubernetes_mounted_configuration_is_read(workspace: Workspace) -> None:
    """A configuration mounted by Kubernetes, with links into `..data` that is itself a link, is read."""
    mounted = workspace.root / "mounted"
    Workspace(mounted / "..2026").write("routes.yaml", TARGETS + ROUTES).write("pipelines/chat.yaml", CHAT)
    (mounted / "..data").symlink_to("..2026")
    (mounted / "routes.yaml").symlink_to("..data/routes.yaml")
    (mounted / "pipelines").symlink_to("..data/pipelines")
    assert list(Workspace(mounted).build().routes) == ["m"]
