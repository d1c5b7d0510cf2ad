"""The site: every link of the repository works on it, it is built without a warning, and it asks no other host for anything."""

import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Any, cast

import pytest
import yaml

from handbook.site import SCRIPT, Site, place
from tests.conftest import ROOT
from tests.support.browser import browser

BUILDER = ROOT / ".venv-docs"
DRAWING = ROOT / "build" / "mermaid.min.js"
DIAGRAM = "```mermaid\nflowchart LR\n```\n"


CONFIG: dict[str, Any] = yaml.safe_load(re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
"""mkdocs.yml without the Python objects that only MkDocs makes."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the site, laid out."""
    folder = tmp_path_factory.mktemp("site") / "docs"
    assert Site(ROOT, folder, drawn=True).lay() > 100
    (folder / SCRIPT).parent.mkdir(exist_ok=True)
    (folder / SCRIPT).write_bytes(DRAWING.read_bytes() if DRAWING.exists() else b"")
    return folder


@pytest.fixture(scope="module")
def built(sources: Path) -> Path:
    """The site, built as `make docs` builds it, with what the builder said beside it."""
    if not (BUILDER / ".done").exists():
        pytest.skip("MkDocs is not installed here: `make .venv-docs/.done` installs it")
    config = sources.parent / "mkdocs.yml"
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    config.write_text(
        text.replace("docs_dir: build/docs", "docs_dir: docs").replace("site_dir: build/site", "site_dir: site"), encoding="utf-8"
    )
    done = subprocess.run(
        [BUILDER / "bin" / "mkdocs", "build", "--strict", "--quiet", "--config-file", config],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return sources.parent / "site"


def listed(nav: Any) -> Iterator[str]:
    """Yield the pages of a part of the navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        parts = cast("dict[str, Any]", nav).values() if isinstance(nav, dict) else cast("list[Any]", nav)
        for one in parts:
            yield from listed(one)


def test_page_of_the_docs_is_in_the_navigation(sources: Path) -> None:
    """Every page of docs/ but the single decisions is listed, once, and every page that is listed exists."""
    nav = list(listed(CONFIG["nav"]))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    single = {name for name in pages if re.match(r"decisions/\d", name)}
    assert len(nav) == len(set(nav))
    assert {name for name in nav if not name.startswith("repository/")} == pages - single
    assert [name for name in nav if not (sources / name).is_file()] == []


def test_link_out_of_the_docs_leads_to_a_copy() -> None:
    """A link to a file of the repository, to a folder, to its README and to another page of docs/ is rewritten to where that stands."""
    site = Site(ROOT, Path("unused"), drawn=True)
    text = "[a](../deploy/nginx.conf) [b](../deploy/config) [c](../README.md) [d](routes.md#auth) [e](#here) `[f](../x)` [g](decisions)"
    made, linked = site.page(PurePosixPath("docs/page.md"), text)
    assert made == (
        "[a](repository/deploy/nginx.conf) [b](repository/deploy/config/index.md) [c](index.md) [d](routes.md#auth) [e](#here) "
        "`[f](../x)` [g](decisions/README.md)"
    )
    assert PurePosixPath("README.md") not in linked
    assert PurePosixPath("deploy/config") in linked


def test_link_from_contributing_to_the_docs_works_on_the_site() -> None:
    """CONTRIBUTING.md stands below `repository/` on the site, and its links to docs/ find their pages."""
    made, _ = Site(ROOT, Path("unused"), drawn=True).page(PurePosixPath("CONTRIBUTING.md"), "[a](docs/routes.md#auth) [b](SECURITY.md)")
    assert made == "[a](../routes.md#auth) [b](SECURITY.md)"
    assert place(PurePosixPath("SECURITY.md")) == PurePosixPath("repository/SECURITY.md")


@pytest.mark.parametrize("drawn", [True, False])
def test_diagram_is_text_until_the_sites_own_script_draws_it(*, drawn: bool) -> None:
    """The theme would load the script from another host where a diagram waits for it."""
    made, _ = Site(ROOT, Path("unused"), drawn=drawn).page(PurePosixPath("docs/page.md"), DIAGRAM)
    assert made == (DIAGRAM if drawn else DIAGRAM.replace("mermaid", "text"))


def test_escaped_pipe_in_a_table_cell_is_unescaped_for_the_site() -> None:
    """GitHub wants a backslash before a pipe in a table; MkDocs would show it."""
    made, _ = Site(ROOT, Path("unused"), drawn=True).page(PurePosixPath("docs/page.md"), "| `A \\| B` | x \\| y |")
    assert made == "| `A | B` | x \\| y |"


def test_site_is_built_without_a_warning(built: Path) -> None:
    """`mkdocs build --strict` says nothing: no link, heading or page of the navigation is missing."""
    names = [path.name for path in built.rglob("*.html")]
    assert len(names) > 100
    assert (built / "search" / "search_index.json").is_file()


def test_page_loads_nothing_from_another_host(built: Path) -> None:
    """No script, style, font, picture or frame of any page has an address of another host."""
    loaded = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\ssrc=\"(?:https?:)?//|<link\b[^>]*rel=\"(?:stylesheet|icon|preconnect)\"[^>]*href=\"(?:https?:)?//"
    )
    assert [path.name for path in built.rglob("*.html") if loaded.search(path.read_text(encoding="utf-8"))] == []


class _Quiet(SimpleHTTPRequestHandler):
    """A handler that serves files and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Log nothing."""


@pytest.fixture
def address(built: Path) -> Iterator[str]:
    """The address at which the built site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(built)))
    serving = Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


async def test_site_search_and_diagrams_work_without_another_host(address: str) -> None:
    """In Chromium the first page draws its diagram and a search finds pages; every request goes to the site itself."""
    if not DRAWING.exists():
        pytest.skip("the script of the diagrams is not here: `make build/mermaid.min.js` fetches it, with npm")
    async with browser("en") as tab:
        await tab.open(f"{address}/index.html?q=half-open")
        await tab.until("document.querySelector('div.mermaid')?.shadowRoot !== undefined && !document.querySelector('pre.mermaid')")
        await tab.until("document.querySelectorAll('.md-search-result__item').length > 1")
        assert [one for one in tab.asked if not one.startswith((address, "data:", "blob:"))] == []
        assert tab.complaints == []
