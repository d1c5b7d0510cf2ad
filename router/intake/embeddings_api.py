"""Reading embeddings requests of OpenAI's `POST /v1/embeddings` and of the AI SDK's gateway."""

from collections.abc import Iterator, Mapping
from typing import Literal, cast

from router.chat import Json, repaired
from router.embed import MAX_DIMENSIONS, Embed
from router.errors import BadAsk
from router.intake import gateway_api
from router.intake.fields import filled, listing
from router.value import Value, replace

MAX_INPUTS = 2048
"""The most inputs of one request, as at OpenAI."""
OWN = frozenset({"model", "input", "encoding_format", "dimensions"})
Encoding = Literal["float", "base64", "gateway"]
"""Form of an answer: OpenAI's with floats or base64, or that of the AI SDK's gateway."""


class Wanted(Value, frozen=True):
    """A question for embeddings, and the encoding of its answer."""

    embed: Embed
    encoding: Encoding


def of_gateway(fields: Mapping[str, Json]) -> Wanted:
    """Return the question of a gateway client. BadAsk names an invalid field or an unsupported version, TooLarge for too many inputs.

    Version 2 of the protocol has `input` instead of `values`, which may be a single text.
    """
    older = fields.get("specificationVersion") == "2" and "values" not in fields
    given = {name: value for name, value in gateway_api.flat(fields).items() if name not in ("encoding_format", "providerOptions")}
    return replace(asked(given, "input" if older else "values"), encoding="gateway")


def asked(fields: Mapping[str, Json], inputs: str = "input") -> Wanted:
    """Return the question in a body's fields. `inputs`: the field with them. BadAsk names an invalid one; TooLarge beyond MAX_INPUTS."""
    model, encoding, dimensions = fields.get("model"), fields.get("encoding_format"), fields.get("dimensions")
    if not isinstance(model, str) or not model:
        raise BadAsk("model: the id of a model that makes embeddings is needed.")
    if encoding not in (None, "float", "base64"):
        raise BadAsk("encoding_format: float or base64 is needed.")
    if dimensions is not None and (
        isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 1 <= dimensions <= MAX_DIMENSIONS
    ):
        raise BadAsk(f"dimensions: a whole number from 1 to {MAX_DIMENSIONS} is needed.")
    rest = {name: value for name, value in fields.items() if name not in (*OWN, inputs)}
    embed = Embed(model=model, inputs=tuple(_inputs(fields.get(inputs), inputs)), dimensions=dimensions, fields=rest)
    return Wanted(embed, encoding or "float")


def _inputs(given: Json, path: str) -> Iterator[str | tuple[int, ...]]:
    """Yield the inputs in the field `path`: of a text or a list of tokens one, of a list those. BadAsk, or TooLarge beyond MAX_INPUTS."""
    listed = listing(given)
    if isinstance(given, str) or (listed and all(map(_is_token, listed))):
        yield _input(given, path)
    else:
        for index, one in enumerate(filled(given, path, MAX_INPUTS, "a text, or a list of texts,")):
            yield _input(one, f"{path}[{index}]")


def _input(value: Json, path: str) -> str | tuple[int, ...]:
    if isinstance(value, str) and value:
        return repaired(value)
    if (tokens := listing(value)) and all(map(_is_token, tokens)):
        return tuple(cast("list[int]", tokens))
    raise BadAsk(f"{path}: a text that is not empty is needed, or a list of tokens.")


def _is_token(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32
