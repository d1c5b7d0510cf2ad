"""Reading the output format that a client requests, in the form of each API.

    response_format: {type: json_schema, json_schema: {name, description, schema, strict}}    OpenAI's chat completions
    text: {format: {type: json_schema, name, description, schema, strict}}                    OpenAI's Responses
    output_config: {format: {type: json_schema, schema}}                                      Anthropic's Messages

`strict` has no effect: every answer is checked. `admit` checks the schema itself, once the body is read.
"""

import re

from router.chat import Json, OutputFormat
from router.errors import BadAsk, Misfit
from router.intake.fields import Fields, flag, mapping, needed, text
from router.output import admitted

UNNAMED = OutputFormat().name
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def response_format(value: Json, path: str = "response_format") -> OutputFormat | None:
    """Return the `response_format` of OpenAI's chat completions; None for any text. BadAsk if it is invalid."""
    fields = mapping(value) or {}
    if fields.get("type") != "json_schema":
        return text_format(value, path)
    place = f"{path}.json_schema"
    return _described(needed(fields.get("json_schema"), place, "an object with a schema"), place)


def text_format(value: Json, path: str) -> OutputFormat | None:
    """Return an output format whose schema stands beside its type; None for any text. BadAsk if it is invalid.

    That is the form of OpenAI's Responses API, of Anthropic's Messages API, and of chat completions without a schema.
    """
    if value is None:
        return None
    fields = mapping(value) or {}
    match fields.get("type"):
        case "text":
            return None
        case "json_object":
            return OutputFormat()
        case "json_schema":
            return _described(fields, path)
        case _:
            raise BadAsk(f"{path}.type: one of text, json_object, json_schema is needed.")


def _described(fields: Fields, path: str) -> OutputFormat:
    """Return the output format of a schema with its name and description; without a schema, of any JSON object. BadAsk if invalid."""
    name, described, schema = fields.get("name"), fields.get("description"), fields.get("schema")
    if name is not None and (not isinstance(name, str) or not NAME.fullmatch(name)):
        raise BadAsk(f"{path}.name: letters, digits, _ and -, 64 at most.")
    if schema is not None and mapping(schema) is None:
        raise BadAsk(f"{path}.schema: a JSON schema is needed, an object.")
    flag(fields.get("strict"), f"{path}.strict")
    called = "" if described is None else text(described, f"{path}.description")
    return OutputFormat(mapping(schema), name or UNNAMED, called)


async def admit(output: OutputFormat) -> None:
    """Check the JSON schema that a client sent, in another thread. BadAsk if answers cannot be checked against it."""
    if output.schema is not None:
        try:
            await admitted(output.schema)
        except Misfit as misfit:
            what = "The JSON schema of the answer"
            raise BadAsk(f"{what}: {misfit.message}.", logged=f"{what} cannot be used.") from None
