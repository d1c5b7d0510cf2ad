"""A question for embeddings, and its answer, as frozen values.

Embed(inputs) → Embeddings(vectors), one for each input, in the same order, all of one model
"""

import math
from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Generic, TypeAlias, TypeVar

from router.attempt import Trail
from router.chat import Json, JsonObject, owner
from router.usage import Usage, tokens_in
from router.value import PartlyCompared, Value, field

R = TypeVar("R")

Vector: TypeAlias = "array[float]"
"""An embedding: doubles, so that a provider's numbers are passed on as it wrote them."""
MAX_DIMENSIONS = 16_384
"""Maximum numbers of one embedding; the longest of any provider known in November 2026 has 8,192."""
MAX_NUMBER = 3.4e38
"""The largest number that float32 can hold, rounded down: base64 carries float32."""


class Embed(PartlyCompared, frozen=True, kw_only=True, eq=False):
    """A question for embeddings.

    model: the route
    inputs: texts, or lists of tokens of the model's own
    dimensions: how many numbers each embedding must have; None leaves that to the model
    fields: the body's other fields
    caller, user, trail: as in an `Ask`
    until: time after which no client waits for the answer any more, by `time.monotonic`
    """

    BESIDE: ClassVar = frozenset({"trail"})

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    fields: JsonObject = field(default_factory=dict[str, Json])
    caller: str = ""
    user: str = ""
    until: float = math.inf
    trail: Trail = field(default_factory=Trail)

    @property
    def owner(self) -> str:
        """The name of the caller and end user together, under which the question is counted."""
        return owner(self.caller, self.user)


def tokens_of(inputs: Sequence[str | tuple[int, ...]]) -> int:
    """Return the tokens of these inputs: token lists are counted, texts are estimated."""
    texts = [one for one in inputs if isinstance(one, str)]
    return sum(len(one) for one in inputs if not isinstance(one, str)) + (tokens_in("\n".join(texts)) if texts else 0)


class EmbedCall(Value, Generic[R], frozen=True):
    """A provider call, of which a question for embeddings may take several.

    call: makes the call; returns (result, usage that the provider reported, or None). Raises TargetError without a result
    tokens: returns the estimated tokens of its input
    """

    call: Callable[[], Awaitable[tuple[R, Usage | None]]]
    tokens: Callable[[], int]


class Embeddings(Value, frozen=True):
    """The answer to a question for embeddings. `target`: the target that made all vectors; `usage`: its tokens, counted or estimated."""

    vectors: tuple[Vector, ...]
    target: str
    usage: Usage


Split = Callable[[Embed], Sequence[EmbedCall[Sequence[Vector]]]]
"""A function that splits a question into calls to a target's provider; their results, joined, are in the order of the inputs."""
Embedder = Callable[[Embed], Awaitable[Embeddings]]
"""A function that answers with all targets of a route as one. Raises Unanswered if none answers."""
