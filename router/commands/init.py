"""Write a new workspace: a routes.yaml that answers offline, a pipeline, a tool, a drill. If one of these files exists, write nothing.

examples:
  router init                               in this folder
  router init gateway                       in the folder gateway; its routes.yaml has an example of a provider's target, commented out
  router init gateway --provider anthropic  with a target of this provider, which answers once its key is set

exit codes:
  0 the workspace was written
  1 one of its files exists already or cannot be written
  2 the command line is wrong
"""

import argparse
import re
import shlex
import sys
from importlib.resources import files
from pathlib import Path
from shutil import which

from router.commands.files import refuse, write
from router.commands.paths import is_folder
from router.value import Value

NAMES = {
    **{name: name for name in ("routes.yaml", "drills.yaml", "pipelines/chat.yaml", "pipelines/chat.j2", "tools/clock.py")},
    ".env.example": "env.example",
    ".gitignore": "gitignore",
}
"""File of a workspace → its template in this package; a dotfile's template has no dot, so that tools such as git ignore it."""


class ProviderLine(Value, frozen=True):
    """The declaration of a provider's target in a new routes.yaml: name, model, and the variable with its key or address."""

    target: str
    model: str
    variable: str
    key: str = "api_key"  # the target's key that takes the variable
    effort: str = ""  # the reasoning effort, if any: a model that thinks for long without output would exceed the first-token timeout

    @property
    def line(self) -> str:
        """The line of routes.yaml that declares the target."""
        params = f", params: {{reasoning_effort: {self.effort}}}" if self.effort else ""
        return f'{self.target}: {{model: {self.model}, {self.key}: "${{{self.variable}}}", optional: true{params}}}'


PROVIDERS = {
    "openai": ProviderLine("gpt", "openai/gpt-5.6", "OPENAI_API_KEY", effort="none"),
    "anthropic": ProviderLine("claude", "anthropic/claude-sonnet-5", "ANTHROPIC_API_KEY", effort="none"),
    "gemini": ProviderLine("gemini", "gemini/gemini-3.8-flash", "GEMINI_API_KEY", effort="low"),
    "mistral": ProviderLine("mistral", "mistral/mistral-large-latest", "MISTRAL_API_KEY"),
    "groq": ProviderLine("gpt-oss", "groq/openai/gpt-oss-120b", "GROQ_API_KEY"),
    "deepseek": ProviderLine("deepseek", "deepseek/deepseek-v4-pro", "DEEPSEEK_API_KEY"),
    "ollama": ProviderLine("gpt-oss", "ollama_chat/gpt-oss:20b", "OLLAMA_URL", "api_base"),
}


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    help_ = "the folder, made if it is missing; default: the current one"
    is_folder(parser.add_argument("folder", type=Path, nargs="?", default=Path(), metavar="DIR", help=help_))
    parser.add_argument("--provider", choices=list(PROVIDERS), help="add a target of this provider, which answers once its variable is set")


def run(given: argparse.Namespace) -> int:
    """Write the workspace, and print the next commands. Returns 0. Raises Unwritten if one of its files exists already."""
    folder: Path = given.folder
    refuse([folder / name for name in NAMES], "nothing was written")
    templates = files("router.commands") / "workspace"
    texts = {folder / name: templates.joinpath(*kept.split("/")).read_text(encoding="utf-8") for name, kept in NAMES.items()}
    if given.provider:
        texts = {path: _provided(text, PROVIDERS[given.provider]) for path, text in texts.items()}
    write(texts)
    there = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    # A router in an environment that is not active is not a command yet.
    router = "router" if which("router") else f"{shlex.quote(sys.executable)} -m router"
    print(f"Written to {folder}: {', '.join(NAMES)}. Next:\n\n  {there}{router} check\n  {there}{router} serve")
    return 0


def _provided(text: str, provider: ProviderLine) -> str:
    """Return a template's text with this provider's target, variable and drill in place of the comments about the example's."""
    usual = PROVIDERS["openai"]
    text = text.replace(f"  # {usual.line}", f"  {provider.line}")
    text = re.sub(r"^  # (?=- name:|  \w+:)", "  ", text, flags=re.MULTILINE)  # the drill of its failure
    text = text.replace("{gpt: 401}", f"{{{provider.target}: 401}}").replace("gpt status_401", f"{provider.target} status_401")
    text = text.replace("targets: [demo]      " + " " * len(provider.target), f"targets: [{provider.target}, demo]    ")
    return text.replace(f"{usual.variable}=", f"{provider.variable}=")
