"""Import of a LiteLLM proxy config as routes.yaml, with a comment at each setting that has no equal here. Never imports litellm."""

from collections.abc import Mapping
from pathlib import Path

from router.errors import ConfigError
from router.migration.account import Outcome
from router.migration.leavings import leavings
from router.migration.models import models
from router.migration.page import Page
from router.migration.plan import PIPELINE, Plan
from router.migration.settings import Settings
from router.migration.source import SourceConfig, in_environment, read
from router.migration.targets import Workshop
from router.migration.variables import Variables
from router.targets import Connections
from router.value import Value

__all__ = ["Imported", "from_litellm"]

LEGEND = "A comment that begins with `not carried over` tells of something that has no equal here."
PIPELINES = {f"pipelines/{PIPELINE}.yaml": "# The model is asked just what the client sent, as LiteLLM would.\nsteps: []\n"}


class Imported(Value, frozen=True):
    """The result of an import: the text of routes.yaml, the files that it needs beside it, and reports for the operator."""

    text: str
    files: Mapping[str, str]
    carried: Mapping[str, int]  # kind (route, target, alias) → number that was carried over
    lost: tuple[tuple[int, str], ...]  # settings that were not carried over: (line of the comment in the text, its words)
    variables: Mapping[str, str]  # variable that must be set → the reason
    outcomes: Mapping[str, Outcome]  # path of each value of the original → its outcome


def from_litellm(config: Path) -> Imported:
    """Convert a LiteLLM proxy config to a routes.yaml; nothing is written. ConfigError with file, line and column if it is not one."""
    source = read(config)
    found = models(source)
    settings = Settings(source, *(source.section(name) for name in ("router_settings", "litellm_settings", "general_settings")))
    variables = Variables(source.section("environment_variables"), _names(source))
    page = Page([f"From LiteLLM's {config.name}, by `router import litellm`.", LEGEND])
    Plan(found, settings, page, Workshop(source, variables, Connections())).draw()
    leavings(page, settings, found, variables)
    if source.complaints.found:
        raise ConfigError(source.complaints.in_order())
    return Imported(page.text(), PIPELINES, _carried(page), page.lost(), dict(sorted(variables.needed.items())), source.account.outcomes())


def _carried(page: Page) -> Mapping[str, int]:
    """Return kind (route, target, alias) → the number of them in the new file, those in comments not counted."""
    routes = [section for section in page.routes.values() if section.keys and not section.dropped]
    aliases = sum(len(found) for route in routes if isinstance(found := route.keys.get("aliases"), list))
    return {"route": len(routes), "target": sum(not section.dropped for section in page.targets.values()), "alias": aliases}


def _names(source: SourceConfig) -> set[str]:
    """Return the names of all environment variables that the LiteLLM config sets or refers to."""
    found: set[str] = set(source.section("environment_variables"))
    todo = list(source.sections.values())
    seen: set[int] = set()
    while todo:
        said = todo.pop()
        if id(said) not in seen:
            seen.add(id(said))
            todo += [*said.items, *said.table.values()]
            if in_environment(said):
                found.add(str(said.value).removeprefix("os.environ/"))
    return found
