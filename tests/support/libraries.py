"""Checks whether the source of a library defines a name.

Sources are parsed and not imported, so that the router's own patches do not hide the library's code. Compiled modules of the
standard library have no source and are imported.
"""

import ast
import importlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path


class Gone(LookupError):
    """Raised if a library lacks what is needed of it: a module, name, parameter, text or file."""


# A library, read.


@cache
def _path(module: str) -> Path:
    """Return the source file of a module without importing its package; raise Gone if it has no Python source."""
    top, *rest = module.split(".")
    found = find_spec(top)
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise Gone(module)
    path = Path(found.origin).parent.joinpath(*rest) if found.submodule_search_locations else Path(found.origin)
    for one in (path / "__init__.py", path.with_suffix(".py")):
        if one.is_file():
            return one
    raise Gone(module)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a body, those below `if` and `try` included."""
    for one in body:
        yield one
        if isinstance(one, ast.If | ast.Try):
            yield from _statements(one.body)
            yield from _statements(one.orelse)
            for handler in one.handlers if isinstance(one, ast.Try) else ():
                yield from _statements(handler.body)


def names_of(one: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    match one:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [name.id for name in targets if isinstance(name, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case _:
            return []


def _in_module(module: str, name: str, seen: frozenset[str] = frozenset()) -> tuple[str, ast.stmt] | None:
    """Return the module and statement that define a module's name, following its imports; None if there is none."""
    path = _path(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for one in _statements(tree(path).body):
        if name in names_of(one):
            return module, one
        if isinstance(one, ast.ImportFrom) and module not in seen:
            origin = (
                ".".join(filter(None, [*package.split(".")[: len(package.split(".")) - one.level + 1], one.module]))
                if one.level
                else one.module
            )
            for alias in one.names:
                if alias.name == "*" or (alias.asname or alias.name) == name:
                    found = _in_library(origin or "", name if alias.name == "*" else alias.name, seen | {module})
                    if found is not None:
                        return found
    return None


def _in_library(module: str, name: str, seen: frozenset[str]) -> tuple[str, ast.stmt] | None:
    try:
        return _in_module(module, name, seen)
    except Gone:
        return None


def _in_class(module: str, found: ast.ClassDef, name: str) -> ast.AST | None:
    """Return the statement that sets an attribute of a class, its instances or its base classes; None if there is none."""
    for one in _statements(found.body):
        if name in names_of(one):
            return one
    for one in ast.walk(found):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and one.attr == name and ast.unparse(one.value) == "self":
            return one
    for base in found.bases:
        scope, _, last = ast.unparse(base).rpartition(".")
        above = _in_module(module, last) if not scope else _in_library(_imported_as(module, scope), last, frozenset())
        if above is not None and isinstance(above[1], ast.ClassDef) and (one := _in_class(above[0], above[1], name)) is not None:
            return one
    return None


def _imported_as(module: str, name: str) -> str:
    """Return the full name of the module that is imported under this name."""
    for one in _statements(tree(_path(module)).body):
        for alias in one.names if isinstance(one, ast.Import | ast.ImportFrom) else ():
            if (alias.asname or alias.name) == name:
                return f"{one.module}.{alias.name}" if isinstance(one, ast.ImportFrom) else alias.name
    return name


def check(need: str) -> None:
    """Raise Gone if a library lacks this: `module:name(parameters)`, `module:name#text`, or `package/file`."""
    need, _, parameters = need.removesuffix(")").partition("(")
    if "/" in need:
        package, _, file = need.partition("/")
        if not (_path(package).parent / file).is_file():
            raise Gone(need)
        return
    need, _, text = need.partition("#")
    module, _, dotted = need.partition(":")
    if module in sys.builtin_module_names:
        if not hasattr(importlib.import_module(module), dotted):
            raise Gone(need)
        return
    source = _path(module)
    if text:
        found = _in_module(module, dotted) if dotted else None
        shown = ast.unparse(found[1]) if found is not None else source.read_text(encoding="utf-8")
        if text not in shown:
            raise Gone(f"`{text}` in {need}")
    elif dotted:
        _check_name(module, dotted, parameters)


def _check_name(module: str, dotted: str, parameters: str) -> None:
    name, *attributes = dotted.split(".")
    found = _in_module(module, name)
    if found is None:
        raise Gone(f"{module}.{name}")
    place: ast.AST | None = found[1]
    for attribute in attributes:
        place = _in_class(found[0], place, attribute) if isinstance(place, ast.ClassDef) else None
        if place is None:
            raise Gone(f"{module}.{dotted}")
    if parameters:
        taken = (
            [one.arg for one in (*place.args.posonlyargs, *place.args.args)]
            if isinstance(place, ast.FunctionDef | ast.AsyncFunctionDef)
            else []
        )
        if taken[: len(parameters.split(", "))] != parameters.split(", "):
            raise Gone(f"{module}.{dotted}({parameters})")


def installed(need: str) -> str:
    top = need.replace("/", ".").replace(":", ".").replace("#", ".").split(".")[0]
    names = packages_distributions().get(top, [])
    return f"{names[0]} {version(names[0])}" if names else f"Python {sys.version.split()[0]}" if top in sys.stdlib_module_names else top


def has(need: str) -> bool:
    """Return whether a library has a name, parameter, text or file, written as for `check`."""
    try:
        check(need)
    except Gone:
        return False
    return True
