"""The architecture, held by a test: floors, one package in one room, tables that are whole."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from router.steps import FROM_ROUTE, STEPS
from router.wire import WIRES
from tests.conftest import ROOT

FLOORS = {
    "usage": -1,
    "bounds": 0,
    "errors": 0,
    "chat": 1,
    "embed": 2,
    "signature": 1,
    "threads": 1,
    "events": 2,
    "output": 2,
    "config": 2,
    "broadcast": 3,
    "codec": 3,
    "shared": 3,
    "toolbox": 3,
    "targets": 3,
    "failover": 3,
    "wire": 3,
    "callers": 3,
    "quotas": 4,
    "relay": 4,
    "migration": 4,
    "cache": 5,
    "steps": 6,
    "description": 7,
    "generation": 7,
    "rehearsal": 4,
    "drill": 8,
    "reload": 9,
    "access": 10,
    "journal": 10,
    "intake": 11,
    "answering": 12,
    "admin": 13,
    "server": 14,
    "asgi": 15,
    "commands": 15,
    "__main__": 16,
}
HOMES = {
    "cachetools": {"cache"},
    "yaml": {"config"},
    "dotenv": {"config"},
    "shtab": {"commands"},
    "jinja2": {"steps"},
    "tenacity": {"failover"},
    "litellm": {"targets"},
    "openai": {"targets"},
    "httpx": {"targets"},
    "httpx2": {"toolbox"},
    "mcp": {"toolbox"},
    "aiohttp": {"targets"},
    "redis": {"shared"},
    "watchfiles": {"reload"},
    "aiohappyeyeballs": {"targets"},
    "httptools": {"server", "targets"},
    "idna": {"config"},
    "msgspec": {"targets"},
    "jsonschema": {"output"},
    "referencing": {"output"},
    "regex": {"output"},
    "joserfc": {"callers"},
    "fastapi": {"admin"},
    "opentelemetry": {"journal"},
    "prometheus_client": {"journal"},
    "requests": {"journal"},
    "pydantic": {"server", "toolbox"},
    "starlette": {"access", "admin", "answering", "server"},
    "uvicorn": {"server", "commands"},
}
DRAWERS = {"utils", "helpers", "common", "base", "misc"}
BROAD = {
    "router/reload.py": 1,  # an edit that fails in a way nobody foresaw must not be the last one that is seen
    "router/toolbox/functions.py": 1,  # an operator's own code may raise anything: when it is loaded
    "router/threads.py": 1,  # when it runs in a thread: that is handed on
    "router/toolbox/granted.py": 1,  # and when it is called
    "router/toolbox/child.py": 1,  # the same, in a process of its own
    "router/toolbox/isolated.py": 2,  # a process whose call or start came to nothing is killed, whatever it was: that is handed on
    "router/toolbox/mcp.py": 1,  # a stream that ends, however it does: that is handed on
    "router/answering/reply.py": 1,  # the edge: an answer that failed in a way nobody foresaw
    "router/answering/chat.py": 1,  # the edge: a request that did
    "router/journal/entry.py": 1,  # an observer that fails harms neither the request nor the other observers
    "router/answering/ahead.py": 2,  # hands on what is thrown in, whatever it is
}


def modules(root: Path) -> dict[str, ast.Module]:
    """Module name → its tree."""
    found: dict[str, ast.Module] = {}
    for path in sorted((root / "router").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What a module imports, functions' own imports and import_module("…") included: (dotted name, line)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value), node.lineno


def room(module: str) -> str:
    """`router.steps.edit` is in the room `steps`."""
    return module.split(".")[1] if "." in module else ""


def complaints(root: Path) -> list[str]:
    """Every import that goes up, sideways or to a package that lives elsewhere."""
    known = modules(root)
    wrong: list[str] = []
    for name, tree in known.items():
        for imported, line in imports(tree):
            top = imported.split(".")[0]
            if top == "router":
                target = room(imported)
                if target in FLOORS and target != room(name) and FLOORS[target] >= FLOORS[room(name)]:
                    wrong.append(f"{name}:{line} imports {imported}: that is not below")
            elif top not in sys.stdlib_module_names and room(name) not in HOMES.get(top, set()):
                wrong.append(f"{name}:{line} imports {top}: that is at home in {HOMES.get(top, 'no room')}")
    return wrong + circles(known)


def circles(known: dict[str, ast.Module]) -> list[str]:
    """Modules that import each other, over however many others."""
    edges = {name: {_module(imported, known) for imported, _ in imports(tree)} & set(known) for name, tree in known.items()}
    found: list[str] = []
    for start, below in edges.items():
        seen: set[str] = set()
        todo = list(below - {start})
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += edges[one] - {one}
        if start in seen:
            found.append(f"{start} is in a circle of imports")
    return found


def _module(imported: str, known: dict[str, ast.Module]) -> str:
    return imported if imported in known else imported.rpartition(".")[0]


def test_imports_go_down_only_and_packages_stay_at_home() -> None:
    """No import goes up or sideways, none closes a circle, no foreign package is known in two rooms."""
    assert complaints(ROOT) == []


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    """The check can fail: an import of the server planted in the events is named."""
    for name in modules(ROOT):
        path = ROOT / Path(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert complaints(tmp_path) == []
    planted = tmp_path / "router/events.py"
    planted.write_text(
        planted.read_text(encoding="utf-8") + "\ndef late():\n    import router.server.edge\n    import yaml\n", encoding="utf-8"
    )
    found = complaints(tmp_path)
    assert any("router.events" in one and "imports router.server.edge: that is not below" in one for one in found)
    assert any("router.events" in one and "imports yaml" in one for one in found)
    assert any("circle" in one for one in found)


def test_every_room_has_a_floor_and_no_file_is_a_drawer() -> None:
    """A new room needs its floor said; a file is named for what it holds."""
    names = modules(ROOT)
    assert {room(name) for name in names} - {""} == set(FLOORS)
    assert not [name for name in names if name.rpartition(".")[2] in DRAWERS]


def test_every_step_and_wire_is_in_its_table() -> None:
    """A module of steps/ or wire/ has its row, under its own name."""
    names = {name.rpartition(".")[2] for name in modules(ROOT) if room(name) == "steps"} - {"steps"}
    assert names == {*STEPS, *FROM_ROUTE}
    wires = {name.rpartition(".")[2].replace("_", "-") for name in modules(ROOT) if room(name) == "wire"} - {"wire", "shape"}
    assert wires == set(WIRES)


def test_what_is_public_exists() -> None:
    """Every name in an __all__ is there."""
    for name in modules(ROOT):
        if name != "router.__main__":
            module = importlib.import_module(name)
            assert not [one for one in getattr(module, "__all__", ()) if not hasattr(module, one)]


def test_exceptions_are_caught_where_they_can_be_handled() -> None:
    """`except Exception` and broader stand in the few places that have a reason."""
    found: dict[str, int] = {}
    for name, tree in modules(ROOT).items():
        path = Path(*name.split("."))
        file = f"{path}.py" if (ROOT / f"{path}.py").exists() else f"{path}/__init__.py"
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "BaseException"
                if any(word in {"Exception", "BaseException"} for word in caught.strip("()").split(", ")):
                    found[file] = found.get(file, 0) + 1
    assert found == BROAD


def test_the_environment_is_read_in_one_room() -> None:
    """os.environ is read in config/ only; elsewhere it is at most set."""
    for name, tree in modules(ROOT).items():
        if room(name) == "config":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv"):
                uses = [other for other in ast.walk(tree) if node in ast.iter_child_nodes(other)]
                sets = [
                    use
                    for use in uses
                    if (isinstance(use, ast.Subscript) and isinstance(use.ctx, ast.Store))
                    or (isinstance(use, ast.Attribute) and use.attr == "setdefault")
                ]
                assert uses == sets, f"{name}:{node.lineno} reads the environment"
