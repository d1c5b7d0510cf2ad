"""The pipeline step `output`: every answer is JSON that fits a schema, given in a file beside the pipeline.

- output: recipe.json

An answer that does not fit is an error. The schema overrides the output format that a client requests.
"""

import json
from collections.abc import Mapping
from typing import cast

from router.chat import Json, JsonObject, OutputFormat
from router.config.meant import did_you_mean
from router.config.values import Reference
from router.errors import Misfit, Place
from router.events import Step
from router.output import compiled
from router.value import replace


def output(schema: Reference, /, *, templates: Mapping[str, str]) -> Step:
    """Make every answer JSON that fits a schema.

    schema: the name of the schema's file in pipelines/
    """
    form = OutputFormat(_read(schema, templates))

    return lambda answer: lambda ask: answer(replace(ask, output=form))


def _read(name: str, files: Mapping[str, str]) -> JsonObject:
    """Return the JSON schema in a file. Misfit if the file is missing, does not hold a JSON object, or its schema cannot be used."""
    if name not in files:
        raise Misfit(f"there is no pipelines/{name}{did_you_mean(name, [one for one in files if one.endswith('.json')])}")
    file = f"pipelines/{name}"
    try:
        held = cast("Json", json.loads(files[name]))
    except json.JSONDecodeError as error:
        raise Misfit(f"this is no JSON: {error.msg}", place=Place(file, error.lineno, error.colno)) from None
    except (ValueError, RecursionError):
        raise Misfit("this is no JSON that can be read", place=Place(file, 1, 1)) from None
    if not isinstance(held, Mapping):
        raise Misfit("a JSON schema is needed, an object", place=Place(file, 1, 1))
    try:
        compiled(held)
    except Misfit as misfit:
        raise Misfit(misfit.message, place=Place(file, 1, 1)) from None
    return held
