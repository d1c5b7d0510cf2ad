"""The pipeline step `prompt`: a rendered Jinja template becomes the system prompt.

    - prompt: chat.j2

The template is a file beside the pipeline; see router/templates.py for what it sees.
"""

from collections.abc import Mapping

from router.config.values import Reference
from router.events import Step


def prompt(template: Reference, /, *, templates: Mapping[str, str]) -> Step:
    """Render a template as the system prompt, before the other messages.

    template: the name of the template's file in pipelines/
    """
    from router.templates import compile_template, render  # noqa: PLC0415 - it imports Jinja, for configurations with a prompt

    compiled = compile_template(template, templates)

    return lambda answer: lambda ask: answer(ask.with_system(render(compiled, ask)))
