"""The pipelines of a generation: steps, bound to their options."""

import inspect
from typing import cast

from router.config.binding import bind, bind_fields, built
from router.config.declaration import StepLine
from router.config.document import Scalar
from router.config.meant import step_meant
from router.config.scalars import UNFIT
from router.events import Step
from router.generation.construction import Construction
from router.signature import record_of
from router.steps import STEPS
from router.value import replace


def pipelines(parts: Construction) -> dict[str, list[Step]]:
    """Return pipeline → its steps, outermost first. A step with a mistake is left out (a complaint was added)."""
    made: dict[str, list[Step]] = {}
    for pipeline, lines in parts.declaration.pipelines.items():
        for line in lines if "output" in [line.name for line in lines] else ():
            if line.name == "edit":
                parts.complain(line.name.place, "`edit` would change the JSON that `output` promises: leave one of them out")
        made[pipeline] = [step for line in lines if (step := _step(parts, line)) is not None]
    _warn_of_cold_prompts(parts)
    return made


def _step(parts: Construction, line: StepLine) -> Step | None:
    function = STEPS.get(line.name)
    if function is None:
        parts.complain(line.name.place, f"there is no step `{line.name}`{step_meant(line.name, STEPS)}")
        return None
    record = record_of(function)
    parameters = inspect.signature(function).parameters.values()
    own = next((one.name for one in parameters if one.kind is one.POSITIONAL_ONLY), None)
    given = {one.name: {"templates": parts.templates}[one.name] for one in parameters if one.kind is one.KEYWORD_ONLY}

    def call(**values: object) -> object:
        return function(*([values.pop(own)] if own else []), **values, **given)

    record = replace(record, build=call)
    complaints = parts.declaration.complaints
    if own is None:
        values, fits = bind_fields(line.options, record, complaints, f"`{line.name}`")
    else:
        value = bind(line.options, record.fields[0].shape, complaints, f"`{line.name}`")
        values, fits = {own: value}, value is not UNFIT
    step = built(line.options, record, values, complaints) if fits else UNFIT
    return None if step is UNFIT else cast("Step", step)


def _warn_of_cold_prompts(parts: Construction) -> None:
    """Warn of templates that make a different system prompt each time, in pipelines of a route whose `prompt_cache` is not off."""
    asked = {str(route.pipeline) for route in parts.declaration.routes.routes.values() if route.prompt_cache != "off"}
    lines = (line for name, pipeline in parts.declaration.pipelines.items() if name in asked for line in pipeline)
    for template in (line.options.text for line in lines if line.name == "prompt" and isinstance(line.options, Scalar)):
        from router.templates import unsteady  # noqa: PLC0415 - it imports Jinja, for configurations with a prompt

        for place, what in unsteady(template, parts.templates):
            parts.warn(
                place,
                f"{what} makes another system prompt each time, and no provider finds it in its prompt cache: leave it out, have a tool "
                "say it, or write `prompt_cache: off` in the routes of this pipeline",
            )
