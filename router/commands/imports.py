"""Turn another gateway's configuration into a routes.yaml. A comment marks each setting that has no equivalent.

examples:
  router import litellm config.yaml                        print the routes.yaml
  router import litellm config.yaml -o routes.yaml         write it, and beside it the pipeline that it needs
  router import litellm config.yaml -o routes.yaml && router check
  router import litellm config.yaml --json | jq .lost      the settings that were not carried over

exit codes:
  0 the configuration was imported; stderr counts the settings that were not carried over, and comments in the new file list them
  1 the file cannot be read, or the output exists with another text and --force is not given
  2 the command line is wrong
"""

import argparse
import json
import sys
from pathlib import Path

from router.commands.files import refuse, write
from router.commands.paths import is_file
from router.migration import Imported, from_litellm
from router.value import asdict


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("origin", choices=["litellm"], help="the gateway that the configuration is for")
    is_file(parser.add_argument("config", type=Path, help="LiteLLM's config.yaml"))
    is_file(parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write this file; without it, print to stdout"))
    parser.add_argument("--json", action="store_true", help="print a JSON object: the new files, and what was not carried over")
    parser.add_argument("--force", action="store_true", help="replace files that exist already")


def run(given: argparse.Namespace) -> int:
    """Import a LiteLLM configuration; write or print it. Returns 0. Raises ConfigError if it is invalid, Unwritten if a file is there."""
    imported = from_litellm(given.config)
    if given.output is not None:
        texts = {given.output: imported.text, **{given.output.parent / name: text for name, text in imported.files.items()}}
        if not given.force:
            others = [path for path, text in texts.items() if not (path.is_file() and path.read_bytes() == text.encode())]
            refuse(others, "--force overwrites")
        write(texts)
    if given.json:
        lost = [{"line": line, "message": words} for line, words in imported.lost]
        others = {name: value for name, value in asdict(imported).items() if name != "text"}
        print(json.dumps({"routes": imported.text, **others, "lost": lost}, ensure_ascii=False, indent=2))
        return 0
    if given.output is None:
        print(imported.text, end="")
    print("\n".join(_report(imported, given.output)), file=sys.stderr)
    return 0


def _report(imported: Imported, output: Path | None) -> list[str]:
    counts = [f"{count} {_plural(name, count)}" for name, count in imported.carried.items() if count]
    said = [f"carried over: {', '.join(counts)}"]
    if count := len(imported.lost):
        said.append(f"not carried over: {count} {_plural('thing', count)}; a comment tells of each where it belongs")
    if imported.variables:
        said += ["variables to set:", *(f"  {name}  ({why})" for name, why in imported.variables.items())]
    if output is None:
        said += [f"beside it: {name}" for name in imported.files]
    return said


def _plural(name: str, count: int) -> str:
    return name if count == 1 else f"{name}es" if name.endswith("s") else f"{name}s"
