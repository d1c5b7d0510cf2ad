"""A public compliance suite, llm-comply, against the router: Chat Completions, Open Responses and Messages."""

import asyncio
import json
from typing import Any

import pytest

from tests.clients.harness import HERE, PATIENCE, missing
from tests.conftest import Workspace, direct_target, routes, serving
from tests.support.obedient import Obedient
from tests.support.provider import running

COMMAND = HERE / ".venv/bin/llm-comply"
CHECKS = {"openai-chat": 9, "open-responses": 13, "anthropic": 9}
"""Format of the suite → the number of its checks in the release that requirements.txt pins."""
MODEL = "claude-4-gpt-5"
"""A model id that makes the suite run its checks of reasoning: it looks for a name that it knows."""


@pytest.mark.skipif(bool(missing("sdks-python")), reason=missing("sdks-python"))
@pytest.mark.parametrize("form", CHECKS)
async def test_router_passes_every_check_of_the_compliance_suite(form: str, workspace: Workspace) -> None:
    """A router with a fake provider passes every check of the suite for each API, and none is skipped."""
    async with running(Obedient([])) as provider:
        served = routes(direct_target(provider.base), "targets: [a]\n    reasoning: show")
        workspace.write("routes.yaml", served.replace("gpt-4", MODEL))
        async with serving(workspace.build()) as client:
            arguments = ("--format", form, "--base-url", f"{client.base}/v1", "--api-key", "sk-any", "--model", MODEL, "--json")
            process = await asyncio.create_subprocess_exec(
                COMMAND, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"NO_PROXY": "*"}
            )
            output, complaint = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert output, complaint.decode()
    found: dict[str, Any] = json.loads(output)
    assert [check for check in found["results"] if check["status"] != "passed"] == []
    assert found["summary"] == {"total": CHECKS[form], "passed": CHECKS[form], "failed": 0, "skipped": 0}
