"""The paths that a server watches to notice an edit of its configuration."""

from pathlib import Path

from router.config import watched
from router.config.watched import MAX_LINKS


def test_watch_covers_link_targets_and_missing_files_and_ignores_others(tmp_path: Path) -> None:
    """The watch covers folders of linked and of missing files, and counts only events of files that the configuration may read."""
    root, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    (root / "..1/pipelines/deep").mkdir(parents=True)
    (root / "..1/routes.yaml").touch()
    (root / "..data").symlink_to("..1")
    (root / "routes.yaml").symlink_to("..data/routes.yaml")
    (root / "pipelines").symlink_to("..data/pipelines")
    elsewhere.mkdir()
    found = watched(root / "routes.yaml", [elsewhere / "keys/a"])
    assert found.paths == {str(path) for path in (root, root / "..1", root / "..1/pipelines", root / "..1/pipelines/deep", elsewhere)}
    for name in (
        "routes.yaml",
        "drills.yaml",
        "pipelines",
        "tools",
        "..data",
        "..1/routes.yaml",
        "..1/pipelines/chat.yaml",
        "..1/pipelines/deep/x.j2",
    ):
        assert found.counts(None, str(root / name))
    assert found.counts(None, str(elsewhere / "keys"))
    for name in ("log.txt", "..1/log.txt", "..2"):
        assert not found.counts(None, str(root / name))
    assert not found.counts(None, str(elsewhere / "other"))


def test_watch_of_circular_links_ends_after_the_link_limit(tmp_path: Path) -> None:
    """Circular links are followed at most MAX_LINKS times, and are themselves watched; a path with a NUL byte is ignored."""
    (tmp_path / "routes.yaml").symlink_to("routes.yaml/more")
    (tmp_path / "tools").symlink_to("pipelines")
    (tmp_path / "pipelines").symlink_to("tools")
    found = watched(tmp_path / "routes.yaml", [tmp_path / "a\0b"])
    assert found.paths == {str(tmp_path)}
    assert {str(tmp_path / name) for name in ("routes.yaml", "tools", "pipelines")} <= found.names
    assert len(found.names) < 4 * MAX_LINKS


def test_watch_differs_after_a_folder_was_replaced_by_another(tmp_path: Path) -> None:
    """The watch of a folder that was replaced by another of the same path is not equal to the one before."""
    (tmp_path / "pipelines").mkdir()
    before = watched(tmp_path / "routes.yaml", [])
    assert watched(tmp_path / "routes.yaml", []) == before
    (tmp_path / "new").mkdir()
    (tmp_path / "pipelines").rmdir()
    (tmp_path / "new").rename(tmp_path / "pipelines")
    after = watched(tmp_path / "routes.yaml", [])
    assert after != before
    assert after.paths == before.paths
