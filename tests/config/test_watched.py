"""What has to be watched for an edit to be heard of."""

from pathlib import Path

from router.config import watched
from router.config.watched import MAX_LINKS


def test_links_and_what_is_missing_are_watched_where_they_would_be_turned_or_made(tmp_path: Path) -> None:
    """Each folder by its own path, each name in it that decides what is read; whatever stands beside does not count."""
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


def test_a_circle_is_gone_round_no_further_than_the_kernel_does(tmp_path: Path) -> None:
    """What a link that leads into itself leads to is nowhere, and the link is watched; so is one whose name no file may have."""
    (tmp_path / "routes.yaml").symlink_to("routes.yaml/more")
    (tmp_path / "tools").symlink_to("pipelines")
    (tmp_path / "pipelines").symlink_to("tools")
    found = watched(tmp_path / "routes.yaml", [tmp_path / "a\0b"])
    assert found.paths == {str(tmp_path)}
    assert {str(tmp_path / name) for name in ("routes.yaml", "tools", "pipelines")} <= found.names
    assert len(found.names) < 4 * MAX_LINKS


def test_a_folder_that_took_anothers_place_is_another(tmp_path: Path) -> None:
    """Its watch would be the old one's."""
    (tmp_path / "pipelines").mkdir()
    before = watched(tmp_path / "routes.yaml", [])
    assert watched(tmp_path / "routes.yaml", []) == before
    (tmp_path / "new").mkdir()
    (tmp_path / "pipelines").rmdir()
    (tmp_path / "new").rename(tmp_path / "pipelines")
    after = watched(tmp_path / "routes.yaml", [])
    assert after != before
    assert after.paths == before.paths
