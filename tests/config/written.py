"""Texts of routes.yaml with one target, route or section under test, and the complaints about them."""

import pytest

from router.config import Declaration, declare, read
from router.errors import ConfigError
from tests.conftest import Workspace

TARGETS = "targets:\n  a: {script: demo}\n"
ROUTES = "routes:\n  m: {pipeline: chat, targets: [a]}\n"
WITH_TOOLS = TARGETS + "routes:\n  m: {pipeline: chat, targets: [a], tools: [weather]}\n"
PROMPT = "steps:\n  - prompt: chat.j2\n"


def target(declared: str) -> str:
    """Return a routes.yaml in which this is the value of target `a`, in line 2 from column 6."""
    return f"targets:\n  a: {declared}\n{ROUTES}"


def route(declared: str) -> str:
    """Return a routes.yaml in which this is the value of route `m`, in line 4 from column 6."""
    return f"{TARGETS}routes:\n  m: {declared}\n"


def more(declared: str) -> str:
    """Return a valid routes.yaml followed by this text, which begins in line 5."""
    return f"{TARGETS}{ROUTES}{declared}\n"


def complaints(workspace: Workspace, **variables: str) -> list[str]:
    """Build the workspace, which must be refused, and return its complaints as `file:line:col: message`."""
    with pytest.raises(ConfigError) as caught:
        workspace.build(**variables)
    return [f"{one.place}: {one.message}" for one in caught.value.complaints]


def declared(workspace: Workspace, written: str, **variables: str) -> Declaration:
    """Return the declaration of a routes.yaml that has no mistakes."""
    made = declare(read(workspace.write("routes.yaml", written).root / "routes.yaml"), variables)
    assert made.complaints.in_order() == ()
    return made
