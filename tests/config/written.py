"""Texts of routes.yaml with one thing of interest in them, and what is complained of."""

import pytest

from router.config import Declaration, declare, read
from router.errors import ConfigError
from tests.conftest import Workspace

TARGETS = "targets:\n  a: {script: demo}\n"
ROUTES = "routes:\n  m: {pipeline: chat, targets: [a]}\n"
WITH_TOOLS = TARGETS + "routes:\n  m: {pipeline: chat, targets: [a], tools: [weather]}\n"
PROMPT = "steps:\n  - prompt: chat.j2\n"


def target(declared: str) -> str:
    """A routes.yaml whose target `a` is this: line 2, from column 6."""
    return f"targets:\n  a: {declared}\n{ROUTES}"


def route(declared: str) -> str:
    """A routes.yaml whose route `m` is this: line 4, from column 6."""
    return f"{TARGETS}routes:\n  m: {declared}\n"


def more(declared: str) -> str:
    """A routes.yaml with this in line 5."""
    return f"{TARGETS}{ROUTES}{declared}\n"


def complaints(workspace: Workspace, **variables: str) -> list[str]:
    """Everything that is wrong, as `file:line:col: message`."""
    with pytest.raises(ConfigError) as caught:
        workspace.build(**variables)
    return [f"{one.place}: {one.message}" for one in caught.value.complaints]


def declared(workspace: Workspace, written: str, **variables: str) -> Declaration:
    """The declaration of a routes.yaml that is right."""
    made = declare(read(workspace.write("routes.yaml", written).root / "routes.yaml"), variables)
    assert made.complaints.in_order() == ()
    return made
