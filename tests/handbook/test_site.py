"""The documentation site: its links work, it builds without warnings, and its pages load nothing from other hosts."""

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
    """The folder with the site's Markdown sources."""
    folder = tmp_path_factory.mktemp("site") / "docs"
    assert Site(ROOT, folder, drawn=True).lay() > 100
    (folder / SCRIPT).parent.mkdir(exist_ok=True)
    (folder / SCRIPT).write_bytes(DRAWING.read_bytes() if DRAWING.exists() else b"")
    return folder


@pytest.fixture(scope="module")
def built(sources: Path) -> Path:
    """The folder of the built site; the build must print no warning. Skips the test if MkDocs is not installed."""
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
    """Yield the pages of a part of mkdocs.yml's navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        parts = cast("dict[str, Any]", nav).values() if isinstance(nav, dict) else cast("list[Any]", nav)
        for one in parts:
            yield from listed(one)


def test_page_of_the_docs_is_in_the_navigation(sources: Path) -> None:
    """Every page of docs/ except single decisions is in the navigation exactly once, and every listed page exists."""
    nav = list(listed(CONFIG["nav"]))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    single = {name for name in pages if re.match(r"decisions/\d", name)}
    assert len(nav) == len(set(nav))
    assert {name for name in nav if not name.startswith("repository/")} == pages - single
    assert [name for name in nav if not (sources / name).is_file()] == []


def test_link_from_docs_to_a_repository_file_is_rewritten_to_its_copy() -> None:
    """A link from docs/ to a repository file, folder, README or other page is rewritten to its place on the site."""
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
    """Links of CONTRIBUTING.md to docs/ and SECURITY.md are rewritten for its place below `repository/`."""
    made, _ = Site(ROOT, Path("unused"), drawn=True).page(PurePosixPath("CONTRIBUTING.md"), "[a](docs/routes.md#auth) [b](SECURITY.md)")
    assert made == "[a](../routes.md#auth) [b](SECURITY.md)"
    assert place(PurePosixPath("SECURITY.md")) == PurePosixPath("repository/SECURITY.md")


@pytest.mark.parametrize("drawn", [True, False])
def test_mermaid_block_becomes_text_if_the_site_has_no_mermaid_script(*, drawn: bool) -> None:
    """A Mermaid block stays a diagram with the site's own script and becomes a text block without it."""
    made, _ = Site(ROOT, Path("unused"), drawn=drawn).page(PurePosixPath("docs/page.md"), DIAGRAM)
    assert made == (DIAGRAM if drawn else DIAGRAM.replace("mermaid", "text"))


def test_escaped_pipe_in_inline_code_is_unescaped_for_the_site() -> None:
    r"""A `\|` within inline code becomes `|`, which MkDocs needs; outside of code it stays escaped."""
    made, _ = Site(ROOT, Path("unused"), drawn=True).page(PurePosixPath("docs/page.md"), "| `A \\| B` | x \\| y |")
    assert made == "| `A | B` | x \\| y |"


def test_site_is_built_without_a_warning(built: Path) -> None:
    """`mkdocs build --strict` succeeds with more than 100 pages and a search index."""
    names = [path.name for path in built.rglob("*.html")]
    assert len(names) > 100
    assert (built / "search" / "search_index.json").is_file()


def test_site_pages_load_nothing_from_another_host(built: Path) -> None:
    """No script, style sheet, icon, image or frame of a page has an address on another host."""
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
    """In Chromium the first page draws its diagram, a search finds pages, and every request goes to the site's own address."""
    if not DRAWING.exists():
        pytest.skip("the script of the diagrams is not here: `make build/mermaid.min.js` fetches it, with npm")
    async with browser("en") as tab:
        await tab.open(f"{address}/index.html?q=half-open")
        await tab.until("document.querySelector('div.mermaid')?.shadowRoot !== undefined && !document.querySelector('pre.mermaid')")
        await tab.until("document.querySelectorAll('.md-search-result__item').length > 1")
        assert [one for one in tab.asked if not one.startswith((address, "data:", "blob:"))] == []
        assert tab.complaints == []
