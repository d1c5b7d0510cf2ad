"""The packages that each command imports: only those that it needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router.commands import COMMANDS, command
from tests.conftest import ROOT, Workspace, routes

HI = "a: {script: [{text: Hello}]}"
DIRECT = "a: {model: openai/gpt-4o, api_key: sk-test}"
LIST = """
import contextlib, io, json, sys
from router.commands import main
if sys.argv[1] == "serve":
    import uvicorn
    uvicorn.Server.run = lambda *_, **__: None
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main(sys.argv[1:])
sys.stdout.write(json.dumps(sorted(sys.modules)))
"""
"""A program that runs a command and prints the imported modules as JSON. A server ends before it would serve."""
PROVIDERS = {"litellm", "openai", "anthropic", "httpx", "aiohttp"}
"""Provider and HTTP client libraries, which targets with a native wire do not need."""
EXTRAS = {"mcp", "redis", "joserfc", "jsonschema", "requests", "shtab"}
"""Packages for MCP, Redis, JWTs, structured output, traces and shell completion, none of which these configurations use."""
SERVERS = {"starlette", "uvicorn", "prometheus_client", "watchfiles"}
"""Packages that `router serve` needs, and other commands do not."""
PAGES = {"fastapi", "pydantic"}
"""Packages of the admin pages, imported at the first request for a page."""


def imported(*arguments: str, cwd: Path) -> set[str]:
    """Run a command in a new process and return the names of all modules that are then imported."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LIST, *arguments]
    return set(
        json.loads(subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=True).stdout)
    )


def of_others(modules: set[str]) -> set[str]:
    """Return the third-party packages among these modules, without those that the start of Python itself imports."""
    started = {"__main__", "_distutils_hack", "sitecustomize"}
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - started
    return {
        name for name in packages if not name.startswith(("_cython", "_sysconfigdata", "_virtualenv", "cython_runtime", "__editable"))
    } - {"router"}


def test_version_option_imports_no_command_and_no_third_party_package(tmp_path: Path) -> None:
    """`router --version` imports four modules of the router, no third-party package, and not asyncio."""
    found = imported("--version", cwd=tmp_path)
    assert {name for name in found if name.startswith("router")} == {"router", "router.commands", "router.commands.paths", "router.garbage"}
    assert not of_others(found)
    assert "asyncio" not in found


@pytest.mark.parametrize("name", ["keys", "check", "serve"])
def test_command_imports_no_other_command(name: str, tmp_path: Path) -> None:
    """The help of one command imports the module of that command and of no other."""
    modules = {one: vars(command(one))["__name__"] for one in COMMANDS}
    found = imported(name, "--help", cwd=tmp_path)
    assert modules[name] in found
    assert not found & ({*modules.values()} - {modules[name]})


def test_check_imports_no_server_no_provider_library_and_no_extra(workspace: Workspace) -> None:
    """`router check` of a target with a native wire imports no web server, no provider library and no package of an optional feature."""
    workspace.write("routes.yaml", routes(DIRECT))
    assert not of_others(imported("check", cwd=workspace.root)) & (SERVERS | PAGES | PROVIDERS | EXTRAS)


@pytest.mark.parametrize("targets", [HI, DIRECT], ids=["script", "direct"])
def test_serve_imports_no_package_that_the_configuration_does_not_need(targets: str, workspace: Workspace) -> None:
    """With a script or a direct lane, `router serve` imports the server, but no provider library, optional feature or FastAPI."""
    workspace.write("routes.yaml", routes(targets))
    found = of_others(imported("serve", cwd=workspace.root))
    assert found >= SERVERS
    assert not found & (PROVIDERS | EXTRAS | PAGES)


MAX_MODULES = 720
"""Modules that a server of a direct target may import, Python's own included: each takes 70 KB and half a millisecond on average."""


def test_serve_imports_at_most_720_modules(workspace: Workspace) -> None:
    """`router serve` of one target with a native wire imports at most MAX_MODULES modules, which bounds start time and memory."""
    workspace.write("routes.yaml", routes(DIRECT))
    assert len(imported("serve", cwd=workspace.root)) <= MAX_MODULES
