"""Context windows of models from LiteLLM's table and from declarations."""

import subprocess
import sys

from router.config.declaration import TargetConfig as Declared
from router.config.values import Name
from router.targets import Connections, Learned, open_target
from router.targets.table import about
from tests.conftest import Workspace, routes, serving
from tests.support.provider import Reply, error, provider, text


def test_table_has_the_windows_of_known_models() -> None:
    """The table has the window of gpt-4o with and without provider, and of Claude; an unknown model has none."""
    assert about("openai/gpt-4o").window == about("gpt-4o").window == 128_000
    assert (about("anthropic/claude-sonnet-4-5").window or 0) >= 200_000
    assert about("groq/nothing-of-the-kind").window is None


async def test_declared_context_window_overrides_the_table() -> None:
    """The context window of a target is its declared one; that of a scripted target is above 100 million tokens."""
    opened = open_target("a", Declared(model=Name("ollama_chat/gpt-4o"), context_window=4000), 3, Connections(), Learned())
    assert await opened.context_window() == 4000
    script = open_target("demo", Declared(script="demo"), 3, Connections(), Learned())
    assert (await script.context_window() or 0) > 100_000_000


def test_reading_the_table_does_not_import_litellm() -> None:
    """Looking up a model leaves `litellm`, whose import takes seconds, unimported."""
    code = "import sys; from router.targets.table import about; about('a/b'); print('litellm' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert told.stdout.strip() == "False"


async def test_context_too_long_skips_targets_with_a_smaller_window(workspace: Workspace) -> None:
    """After a 400 for length, a target with a smaller window in the table is skipped for one with a larger window."""
    long = error(400, "This model's maximum context length is 16385 tokens.", "context_length_exceeded")
    async with provider(long) as small, provider(Reply(text("no"))) as smaller, provider(Reply(text("Read."))) as large:
        targets = "\n".join(
            f"{name}: {{model: openai/{model}, api_base: '{one.base}', api_key: sk-test}}"
            for name, model, one in (("a", "gpt-3.5-turbo", small), ("b", "gpt-4", smaller), ("c", "gpt-4o", large))
        )
        workspace.write("routes.yaml", routes(targets, "targets: [a, b, c]"))
        async with serving(workspace.build()) as client:
            answer = await client.ask()
        assert answer.text == "Read."
        assert not smaller.requests
