"""Write a fresh workspace: a routes.yaml that answers offline, a pipeline, a tool. Where one of its files is there already, nothing is.

examples:
  router init gateway                       with a line for a provider, to be filled in
  router init gateway --provider anthropic  with that provider's: once its key is set, it answers

exit codes:
  0 it was written
  1 one of its files is there already, and nothing was
  2 the command line is wrong
"""

import argparse
import shlex
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from router.commands.files import refuse, write

NAMES = {
    "routes.yaml": "routes.yaml",
    "pipelines/chat.yaml": "pipelines/chat.yaml",
    "pipelines/chat.j2": "pipelines/chat.j2",
    "tools/clock.py": "tools/clock.py",
    ".env.example": "env.example",
    ".gitignore": "gitignore",
}
"""File of a workspace → what it is called here, where no tool is to heed it."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's line: the target's name, its model, and the variable it needs."""

    target: str
    model: str
    variable: str
    key: str = "api_key"
    """What the variable holds."""

    @property
    def line(self) -> str:
        """The target, as routes.yaml writes it."""
        return f'{self.target}: {{model: {self.model}, {self.key}: "${{{self.variable}}}", optional: true}}'


PROVIDERS = {
    "openai": Provider("gpt-4o", "openai/gpt-4o", "OPENAI_API_KEY"),
    "anthropic": Provider("claude", "anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
    "gemini": Provider("gemini", "gemini/gemini-2.5-flash", "GEMINI_API_KEY"),
    "mistral": Provider("mistral", "mistral/mistral-large-latest", "MISTRAL_API_KEY"),
    "groq": Provider("gpt-oss", "groq/openai/gpt-oss-120b", "GROQ_API_KEY"),
    "deepseek": Provider("deepseek", "deepseek/deepseek-chat", "DEEPSEEK_API_KEY"),
    "ollama": Provider("llama", "ollama_chat/llama3.2", "OLLAMA_URL", "api_base"),
}


def options(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to; it is made if it is not there")
    parser.add_argument("--provider", choices=list(PROVIDERS), help="whose model answers once its variable is set")


def run(given: argparse.Namespace) -> int:
    """Write it; Unwritten where that would overwrite something."""
    folder: Path = given.folder
    refuse([folder / name for name in NAMES], "nothing was written")
    templates = files("router.commands") / "workspace"
    texts = {folder / name: templates.joinpath(*kept.split("/")).read_text(encoding="utf-8") for name, kept in NAMES.items()}
    if given.provider:
        texts = {path: _provided(text, PROVIDERS[given.provider]) for path, text in texts.items()}
    write(texts)
    there = shlex.quote(str(folder))
    print(f"Written to {folder}: {', '.join(NAMES)}. Next:\n\n  cd {there} && router check\n  cd {there} && router serve")
    return 0


def _provided(text: str, provider: Provider) -> str:
    """A template with a provider that answers, in place of the line that shows how one is written."""
    usual = PROVIDERS["openai"]
    text = text.replace(f"  # {usual.line}", f"  {provider.line}")
    text = text.replace("targets: [demo]      " + " " * len(provider.target), f"targets: [{provider.target}, demo]    ")
    return text.replace(f"{usual.variable}=", f"{provider.variable}=")
