"""The architecture of `router/`: which room may import which, which package belongs to which room, and complete tables."""

import ast
import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from router import intake
from router.steps import FROM_ROUTE, STEPS
from router.wire import WIRES
from tests.conftest import ROOT
from tests.support.files import files_below

FLOORS = {
    "value": -4,
    "usage": -3,
    "attempt": -2,
    "bounds": -1,
    "errors": -1,
    "params": 0,
    "garbage": 0,
    "jsontext": 0,
    "lifecycle": 0,
    "random_ids": 0,
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
    "templates": 5,
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
    "jinja2": {"templates"},
    "tenacity": {"failover"},
    "litellm": {"targets"},
    "openai": {"targets"},
    "httpx": {"targets"},
    "httpx2": {"toolbox"},
    "mcp": {"toolbox"},
    "aiohttp": {"targets"},
    "botocore": {"targets"},
    "redis": {"shared"},
    "watchfiles": {"reload"},
    "aiohappyeyeballs": {"targets"},
    "httptools": {"server", "targets"},
    "idna": {"config"},
    "msgspec": {"intake", "jsontext", "targets", "value"},
    "jsonschema": {"output"},
    "referencing": {"output"},
    "regex": {"output"},
    "joserfc": {"callers"},
    "fastapi": {"admin"},
    "opentelemetry": {"journal"},
    "prometheus_client": {"journal"},
    "requests": {"journal"},
    "pydantic": {"admin", "toolbox"},
    "starlette": {"access", "admin", "answering", "server"},
    "typing_extensions": {"admin"},
    "uvicorn": {"server", "commands"},
}
DRAWERS = {"utils", "helpers", "common", "base", "misc"}
BROAD = {
    "router/reload/reload.py": 1,  # an edit that fails in a way nobody foresaw must not be the last one that is seen
    "router/toolbox/functions.py": 2,  # an operator's own code may raise anything: when it is loaded, and when it says whether a call needs approval
    "router/threads.py": 1,  # when it runs in a thread: that is handed on
    "router/toolbox/granted.py": 1,  # and when it is called
    "router/toolbox/child.py": 1,  # the same, in a process of its own
    "router/toolbox/isolated.py": 2,  # a process whose call or start came to nothing is killed, whatever it was: that is handed on
    "router/toolbox/mcp.py": 1,  # a stream that ends, however it does: that is handed on
    "router/answering/delivery.py": 2,  # the edge: an answer that failed in a way nobody foresaw, also within a read from its provider
    "router/answering/recording.py": 1,  # a reader whose bytes cannot be made is told so itself: the answer and its other readers go on
    "router/journal/entry.py": 1,  # an observer that fails harms neither the request nor the other observers
    "router/journal/rows.py": 1,  # a sink of counts that fails costs the other sinks none: its error is raised after them
    "router/answering/ahead.py": 1,  # hands on what is thrown in, whatever it is
    "router/server/cycle.py": 1,  # hands on to uvicorn what an application raises, whatever it is
}


@cache
def modules(root: Path) -> dict[str, ast.Module]:
    """Return module name → syntax tree of all modules of `router/`."""
    found: dict[str, ast.Module] = {}
    for path in sorted((root / "router").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line) of each import of a module, including those inside of functions and `import_module("…")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _name(node.func) == "import_module" and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value), node.lineno


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""


def room(module: str) -> str:
    """Return the room of a module: `steps` for `router.steps.edit`."""
    return module.split(".")[1] if "." in module else ""


def complaints(root: Path) -> list[str]:
    """Return a sentence for each import that goes up, sideways, in a circle, or to a package that belongs to another room."""
    known = modules(root)
    return [wrong for name, tree in known.items() for wrong in forbidden(name, imports(tree))] + circles(known)


def forbidden(name: str, imported: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Yield a sentence for each import of a module that goes up, sideways, or to a package that belongs to another room."""
    for module, line in imported:
        top = module.split(".")[0]
        if top == "router":
            target = room(module)
            if target in FLOORS and target != room(name) and FLOORS[target] >= FLOORS[room(name)]:
                yield f"{name}:{line} imports {module}: that is not below"
        elif top not in sys.stdlib_module_names and room(name) not in HOMES.get(top, set()):
            yield f"{name}:{line} imports {top}: that is at home in {HOMES.get(top, 'no room')}"


def drawn(known: dict[str, ast.Module]) -> set[tuple[str, str]]:
    """Return (importing room, imported room) for each import between rooms that no chain of other such imports implies."""
    below: dict[str, set[str]] = {name: set() for name in FLOORS}
    for name, tree in known.items():
        below.get(room(name), set()).update(
            {room(module) for module, _ in imports(tree) if module.startswith("router.")} & set(FLOORS) - {room(name)}
        )
    reached: dict[str, set[str]] = {}
    for name in sorted(FLOORS, key=FLOORS.__getitem__):
        reached[name] = below[name].union(*(reached[other] for other in below[name]))
    return {(name, one) for name, others in below.items() for one in others if not any(one in reached[other] for other in others)}


def circles(known: dict[str, ast.Module]) -> list[str]:
    """Return a sentence for each module that imports itself through other modules."""
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


def test_imports_go_down_only_and_packages_stay_in_their_rooms() -> None:
    """Modules import from lower floors without a cycle, and third-party packages only in the rooms that HOMES lists."""
    assert complaints(ROOT) == []


def naming(word: str, *folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield (path, syntax tree) of the modules below these folders whose text contains a word."""
    for path in (path for folder in folders for path in files_below(ROOT / folder, ".py")):
        if word in (text := path.read_text(encoding="utf-8")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(text)


def test_router_and_bench_do_not_import_tests() -> None:
    """Modules of `router/` and `bench/` do not import modules of `tests/`."""
    assert [
        path for path, tree in naming("tests", "router", "bench") if any(one.split(".")[0] == "tests" for one, _ in imports(tree))
    ] == []


def test_modules_of_tests_do_not_import_litellm_at_the_top() -> None:
    """Test modules do not import LiteLLM, or tests/migration/original.py which does, at their top: the environment has to be set before."""
    program = "tests/migration/original.py"
    for path, tree in naming("litellm", "tests"):
        top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        early = {one for one, _ in imports(top)}
        assert path == program or not any(one.split(".")[0] == "litellm" for one in early), path
    for path, tree in naming("migration.original", "tests"):
        assert not any(one.startswith("tests.migration.original") for one, _ in imports(tree)), path


def patched_constants(tree: ast.Module) -> Iterator[int]:
    """Yield the lines in which a module sets a constant of `router/`, by `setattr` or by an assignment."""
    ours = {name.rpartition(".")[2] for name, _ in imports(tree) if name.startswith("router.")}
    for node in ast.walk(tree):
        match node:
            case ast.Call(args=[ast.Constant(value=str(dotted)), *_]) if _name(node.func) == "setattr" and dotted.startswith("router."):
                name = dotted.rpartition(".")[2]
            case ast.Call(args=[ast.Name(id=owner), ast.Constant(value=str(name)), *_]) if _name(node.func) == "setattr" and owner in ours:
                pass
            case ast.Attribute(value=ast.Name(id=owner), attr=name, ctx=ast.Store()) if owner in ours:
                pass
            case _:
                continue
        if name.isupper():
            yield node.lineno


def test_tests_do_not_patch_constants_of_the_router() -> None:
    """Modules of `tests/` and `bench/` do not set constants of `router/`: times and bounds are passed as parameters."""
    for folder in ("tests", "bench"):
        for path, tree in naming("router", folder):
            assert not list(patched_constants(tree)), path


@pytest.mark.parametrize(
    "line",
    [
        'monkeypatch.setattr("router.reload.BUILDS", 1)',
        'monkeypatch.setattr(reload, "BUILDS", 1)',
        'setattr(reload, "BUILDS", 1)',
        "reload.BUILDS = 1",
    ],
)
def test_patched_constant_is_found(line: str) -> None:
    """A patched constant is found in each of the four ways in which one can be set."""
    assert list(patched_constants(ast.parse(f"from router import reload\n{line}"))) == [2]


def test_answering_reads_requests_through_intake_only() -> None:
    """The room `answering` uses only public names of `router.intake`: its code calls the chat reader twice, the embeddings reader once."""
    calls: Counter[str] = Counter()
    for name, tree in modules(ROOT).items():
        if room(name) == "answering":
            found = {one for one, _ in imports(tree) if one.startswith("router.intake")}
            assert found <= {f"router.intake.{one}" for one in intake.__all__}, name
            calls.update(
                node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self.intake"
            )
    assert {one for one in intake.__all__ if inspect.isfunction(getattr(intake, one))} == {"estimate", "permitted"}  # of what was read
    assert calls == {"read": 2, "read_inputs": 1}  # to ask and to count; for embeddings


def test_import_in_each_forbidden_direction_is_found() -> None:
    """A planted import between any two rooms is reported if it goes up or sideways, and only then."""
    for start, floor in FLOORS.items():
        for end, other in FLOORS.items():
            planted = [(f"router.{end}.planted", 1)] if start != end else []
            found = list(forbidden(f"router.{start}.module", planted))
            assert bool(found) == (start != end and other >= floor), (start, end)


def test_third_party_package_outside_of_its_rooms_is_found() -> None:
    """A planted import of a third-party package is reported in every room that HOMES does not list for it."""
    for package, homes in {**HOMES, "numpy": set[str]()}.items():
        for start in FLOORS:
            assert bool(list(forbidden(f"router.{start}.module", [(package, 1)]))) == (start not in homes)


def test_import_inside_a_function_and_circular_import_are_found() -> None:
    """An import inside of a function counts as an import, and two modules that import each other are reported as a circle."""
    known = {"router.events": ast.parse("def late():\n    import router.chat"), "router.chat": ast.parse("from router import events")}
    assert [list(forbidden(name, imports(tree))) != [] for name, tree in known.items()] == [False, True]
    assert len(circles(known)) == 2


def test_architecture_diagram_matches_the_imports() -> None:
    """The arrows in docs/architecture.md are the imports between rooms, without those that a chain of other arrows implies."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    arrows = {tuple(line.split(" --> ")) for line in map(str.strip, page.splitlines()) if " --> " in line}
    known = {name: tree for name, tree in modules(ROOT).items() if room(name)}
    assert {(start, end) for start, ends in arrows for end in ends.split(" & ")} == drawn(known)


def test_every_room_has_a_floor_and_no_module_is_named_utils() -> None:
    """Every room has an entry in FLOORS, and no module has a catch-all name such as `utils` or `helpers`."""
    names = modules(ROOT)
    assert {room(name) for name in names} - {""} == set(FLOORS)
    assert not [name for name in names if name.rpartition(".")[2] in DRAWERS]


def test_every_step_and_wire_module_is_registered() -> None:
    """Every module of `steps/` and `wire/` is registered under its own name in STEPS, FROM_ROUTE or WIRES."""
    names = {name.rpartition(".")[2] for name in modules(ROOT) if room(name) == "steps"} - {"steps"}
    assert names == {*STEPS, *FROM_ROUTE}
    wires = {name.rpartition(".")[2].replace("_", "-") for name in modules(ROOT) if room(name) == "wire"} - {"wire", "shape", "frames"}
    assert wires == set(WIRES)


def test_every_name_in_all_exists() -> None:
    """Every name in the `__all__` of a module exists in that module."""
    for name in modules(ROOT):
        if name != "router.__main__":
            module = importlib.import_module(name)
            assert not [one for one in getattr(module, "__all__", ()) if not hasattr(module, one)]


def test_broad_except_clauses_are_only_the_listed_ones() -> None:
    """Each file has exactly as many `except Exception` or broader clauses as BROAD lists for it."""
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


def test_environment_variables_are_read_in_config_only() -> None:
    """Modules outside of `router/config` do not read `os.environ`; they only set variables."""
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
