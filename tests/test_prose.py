"""The language of the code: the opening words of docstrings, the names of tests, classes and constants, and the terms in the docs."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.support.files import files_below

ROOMS = sorted(path for path in (ROOT / "router").iterdir() if (path / "__init__.py").exists() or path.suffix == ".py")
"""Folders of `router/`, and its modules."""

UNBOUND = (
    "what whether who whoever whatever whose it its one nobody how when where which that those they these this as also and or of in for by here "
    "there so not only no none everything everybody such why if to from with at on is are was has the_same"
)
OPENERS = frozenset(UNBOUND.split())
"""Words no docstring opens with: they need an antecedent, or leave out the subject."""
ATTRIBUTE_OPENERS = OPENERS - {"none", "not", "no", "only"}
"""The same for the line below a field or a constant: `None while …` is the shortest way to say what the value means."""
CONDITIONS = frozenset(["at", "by", "for", "from", "if", "in", "of", "on", "when", "with"])
"""Words with which a test's docstring may state its condition, if a comma and the subject follow: `With an empty text, an answer is …`."""
TEST_OPENERS = OPENERS - CONDITIONS - {"no", "one"}
"""Words no docstring of `tests/` opens with."""
MAX_LINE = 140
"""Characters of a docstring's first line."""

BAD_PHRASES = ("a_thing", "the_same")
BAD_NAMES = frozenset({"told", "whole"})
"""Names of functions, parameters and variables that say nothing about what is in them."""
BAD_CONSTANTS = re.compile(r"_?(MOST|EVERY|LOOK)(_|$)")
"""Constants are called by what they bound and in which unit: `MAX_ANSWER_BYTES`, `POLL_INTERVAL_S`."""

PAIRS = {
    "Chunk": {"gemini_reader", "chat_chunks"},
    "Counted": {"anthropic_reader", "embeddings", "gemini_reader"},
    "Delta": {"anthropic_reader", "chat_chunks"},
    "Frame": {"anthropic_reader", "responses"},
    "Item": {"embeddings", "responses"},
}
"""Class names that may stand twice, with their modules in `router/targets`: the structs of two wires."""

TERMS = {
    "circuit breaker": "routes.md",
    "half-open": "routes.md",
    "probe": "routes.md",
    "load balancing": "routes.md",
    "time to first token": "routes.md",
    "token bucket": "routes.md",
    "request coalescing": "cache.md",
    "stale": "cache.md",
    "hit": "cache.md",
    "miss": "cache.md",
    "graceful shutdown": "operations.md",
    "backpressure": "operations.md",
}
"""The field's terms, each with the page of `docs/` that documents what it names."""


class Line(NamedTuple):
    """A docstring, or the line below a field or a constant."""

    where: str
    text: str
    attribute: bool

    @property
    def first(self) -> str:
        """Return the first line of the text."""
        return self.text.strip().partition("\n")[0].rstrip()


@cache
def _modules() -> list[tuple[Path, ast.Module]]:
    files = [file for path in ROOMS for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    return _parsed(files)


@cache
def _modules_of_tests() -> list[tuple[Path, ast.Module]]:
    return _parsed(files_below(ROOT / "tests", ".py"))


def _parsed(files: Iterable[Path]) -> list[tuple[Path, ast.Module]]:
    return [(file.relative_to(ROOT), ast.parse(file.read_text(encoding="utf-8"))) for file in files]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield a module, and its statements at any depth: definitions are nowhere else, and expressions are most of a tree."""
    below: list[ast.AST] = [tree]
    while below:
        node = below.pop()
        yield node
        below += [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt | ast.ExceptHandler | ast.match_case)]


def _lines(path: Path, tree: ast.Module) -> Iterator[Line]:
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                yield Line(f"{path}:{getattr(node, 'lineno', 1)}", text, attribute=False)
            for before, after in pairwise(node.body):
                if isinstance(before, ast.Assign | ast.AnnAssign) and _is_text(after):
                    yield Line(f"{path}:{after.lineno}", ast.literal_eval(after.value), attribute=True)  # type: ignore[attr-defined]


def _opening(text: str) -> tuple[str, str]:
    """Return the first word, and the first two joined by `_`, in lower case."""
    words = re.findall(r"[A-Za-z']+", text)[:2]
    return (words[0].lower() if words else ""), "_".join(words).lower()


def test_docstring_of_the_router_opens_with_a_subject_or_an_imperative() -> None:
    """Docstrings in `router/` do not open with a pronoun, a question word or another word of OPENERS."""
    bad: list[str] = []
    for path, tree in _modules():
        for line in _lines(path, tree):
            openers = ATTRIBUTE_OPENERS if line.attribute else OPENERS
            if openers & set(_opening(line.text)):
                bad.append(f"{line.where}: {line.first}")
    assert not bad, "\n" + "\n".join(bad)


def test_docstring_of_the_tests_opens_with_a_subject_or_an_imperative() -> None:
    """Docstrings in `tests/` open with neither a word of TEST_OPENERS nor a condition without a comma after it."""
    bad: list[str] = []
    for path, tree in _modules_of_tests():
        for line in _lines(path, tree):
            opening = set(_opening(line.text))
            if not line.attribute and (TEST_OPENERS & opening or (CONDITIONS & opening and "," not in line.first)):
                bad.append(f"{line.where}: {line.first}")
    assert not bad, "\n" + "\n".join(bad)


def test_first_line_of_a_docstring_is_complete() -> None:
    """The first line of a docstring in `router/` has 140 characters at most and ends with `.`, `:` or `?`."""
    bad = [
        f"{line.where}: {line.first}"
        for path, tree in _modules()
        for line in _lines(path, tree)
        if not line.attribute and (len(line.first) > MAX_LINE or not line.first.endswith((".", ":", "?")))
    ]
    assert not bad, "\n" + "\n".join(bad)


def test_test_name_opens_with_its_subject() -> None:
    """The name of a test has at least two words and opens with none of OPENERS: a failure line in CI shows only the name."""
    bad: list[str] = []
    for path, tree in _modules_of_tests():
        for node in _statements(tree) if path.name.startswith("test_") else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                words = node.name.removeprefix("test_")
                if words.partition("_")[0] in OPENERS or words.startswith(BAD_PHRASES) or words.count("_") < 1:
                    bad.append(f"{path}:{node.lineno}: {node.name}")
    assert not bad, "\n" + "\n".join(bad)


def test_class_name_is_used_once() -> None:
    """Classes of `router/` have different names, except the structs of two wires that PAIRS lists."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found[node.name].add(path.stem if path.parent.name == "targets" else str(path))
    clashes = {name: sorted(paths) for name, paths in found.items() if len(paths) > 1 and paths != PAIRS.get(name, set[str]())}
    assert not clashes


def test_name_is_none_of_the_meaningless_ones() -> None:
    """No function, parameter or variable of `router/` is named `told` or `whole`, and no constant `MOST`, `EVERY` or `LOOK`."""
    bad = [
        f"{path}:{line}: {name}"
        for path, tree in _modules()
        for name, line in _names(tree)
        if name.strip("_") in BAD_NAMES or BAD_CONSTANTS.match(name)
    ]
    assert not bad, "\n" + "\n".join(bad)


def _names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (name, line) of every function, parameter and variable that a module defines."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno
            case ast.MatchAs(name=str(name)):
                yield name, node.lineno
            case _:
                pass


@pytest.mark.parametrize("term", TERMS)
def test_term_of_the_field_is_on_the_page_that_documents_it(term: str) -> None:
    """The page that documents a feature contains the usual term for it, such as `circuit breaker`."""
    page = (ROOT / "docs" / TERMS[term]).read_text(encoding="utf-8").casefold()
    assert re.search(rf"\b{term}\b", page)


PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "decisions"]
MAX_WORDS = 25
"""Words of the sentences of a page's first paragraph, code and links counted as one each."""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page_opens_with_a_paragraph(path: Path) -> None:
    """The first block below a page's title is a paragraph, no heading, code, table or list; its sentences have 25 words at most."""
    text = re.sub(r"<!--.*?-->\n", "", path.read_text(encoding="utf-8"))
    _, first, *_ = (part.strip() for part in text.split("\n\n") if part.strip())
    assert not first.startswith(("#", "```", "|", "*", "!", "<"))
    assert first.endswith((".", ":", ")"))
    plain = re.sub(r"`[^`]*`|\[[^]]*\]\([^)]*\)", "code", first)
    assert max(len(sentence.split()) for sentence in re.split(r"[.:;](?=\s|$)", plain)) <= MAX_WORDS


COLUMNS = 100
"""The width of a page's paragraphs and lists."""
ONE_LINE = re.compile(r"\s*(\||#|<|Status: |\[[^]]+\]:)")
"""The start of a line that cannot be wrapped: a table's, a heading, HTML, the status of a decision, the target of a link."""


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page_wraps_at_100_columns(path: Path) -> None:
    """The lines of a page have at most 100 columns, but for tables, code, headings, non-ASCII lines and those without a space."""
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"))
    lines = [line for line in prose.split("\n") if not ONE_LINE.match(line)]
    assert [line for line in lines if len(line) > COLUMNS and " " in re.sub(r"`[^`]*`", "code", line.strip()[2:]) and line.isascii()] == []
