"""Embeddings: a target's calls of `POST /embeddings` on OpenAI's wire, and the demo's own vectors.

Vectors are requested as floats, because not every server knows `encoding_format`; the router makes base64 for clients.
"""

import base64
import hashlib
import math
import re
import sys
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from urllib.parse import urlsplit

import msgspec

from router.chat import Json
from router.config.declaration import TargetConfig
from router.embed import MAX_DIMENSIONS, MAX_NUMBER, Embed, EmbedCall, Split, Vector, tokens_of
from router.errors import Misfit, ParameterMissed, TargetDown, TargetRefused
from router.targets import http
from router.targets.address import endpoint_of, reached
from router.targets.connections import Connections, Endpoint
from router.targets.inband import error_in
from router.targets.options import Options, options_of
from router.threads import Turns
from router.usage import Usage
from router.value import Value, field

PATH = "/embeddings"
GEMINI = "https://generativelanguage.googleapis.com"
SERVING = (
    "azure", "cohere", "cohere_chat", "dashscope", "deepinfra", "fireworks_ai", "hosted_vllm", "llamafile", "lm_studio", "mistral",
    "nebius", "novita", "nvidia_nim", "ollama_chat", "openai", "openrouter", "sambanova", "scaleway", "together_ai", "vercel_ai_gateway",
    "volcengine",
)  # fmt: skip
"""Providers that answer `POST /embeddings` as OpenAI does."""
TOKENS = frozenset({"openai", "azure", "hosted_vllm"})
"""Providers that take lists of tokens as inputs."""
BATCH = 512
"""Default limit of inputs per call: 512 vectors of 4,096 numbers are 46 MB of JSON.
OpenAI and Azure take 2,048 inputs, Voyage 1,000, Mistral 512."""
BATCHES = {"cohere": 96, "cohere_chat": 96, "dashscope": 10, "gemini": 100, "nvidia_nim": 50}
"""Provider → its lower limit of inputs per call, as of November 2026. Source: API references, errors and, for nvidia_nim, its client."""
BATCH_TOKENS = 300_000
"""Default limit of tokens per call, as OpenAI has it."""
BATCHES_TOKENS = {"mistral": 16_384}
"""Provider → its lower limit of tokens per call."""
TOKENS_BESIDE = 2
"""Tokens that a model is assumed to put around each input."""
MAX_ANSWER = 64 * 1024 * 1024
"""Limit of one call's response in bytes."""
ON_LOOP = 64 * 1024
"""Bytes up to which a response is parsed on the event loop; a larger one is parsed in a thread."""


class Item(msgspec.Struct):
    """An embedding (numbers, or base64 of float32), and the index of its input."""

    embedding: msgspec.Raw
    index: int | None = None


class Counted(msgspec.Struct):
    """The token counts of one call."""

    prompt_tokens: int | None = None
    total_tokens: int | None = None


class Answer(msgspec.Struct):
    """The decoded response of one embeddings call: vectors in any order, and token counts."""

    data: list[Item]
    usage: Counted | None = None


DECODE = msgspec.json.Decoder(Answer)
NUMBERS = msgspec.json.Decoder(list[float])
TEXT = msgspec.json.Decoder(str)


def batch_of(model: str, declared: int | None) -> int:
    """Return the limit of inputs per call: `declared` (the target's `batch_size`), or else that of the model's provider."""
    return declared or BATCHES.get(model.partition("/")[0], BATCH)


def split_of(name: str, declared: TargetConfig, connect: float, connections: Connections) -> Split:
    """Return the function that splits an embeddings request into a target's calls. Raises Misfit if the target makes no embeddings.
    A call is sent when it is awaited. `connect`: seconds a connection may take.
    """
    if declared.script is not None:
        if declared.script != "demo":
            raise Misfit("a script of lines makes no embeddings: `script: demo` does")
        return lambda embed: [EmbedCall(partial(_demo_vectors, embed), lambda: tokens_of(embed.inputs))]
    prefix, _, model = str(declared.model).partition("/")
    if declared.via is not None:
        raise Misfit("LiteLLM is not asked for embeddings: leave `via` out", "via")
    if prefix == "gemini":
        url, headers = _google(declared)
    elif prefix in SERVING:
        url, headers = reached(declared, PATH)
    else:
        raise Misfit(
            f"{prefix}/ is not asked for embeddings. A server that speaks OpenAI's API is: write `model: openai/…` and its `api_base`; "
            f"Ollama is `ollama_chat/…`. Providers that are: {', '.join(sorted((*SERVING, 'gemini')))}",
            "model",
        )
    options = options_of(declared, "chat")
    endpoint = connections.over(declared.egress).endpoint(url, options.beside(headers), connect)
    lane = _Lane(name, model, endpoint, connections, options, prefix in TOKENS)
    most, tokens = batch_of(str(declared.model), declared.batch_size), BATCHES_TOKENS.get(prefix, BATCH_TOKENS)
    return lambda embed: [
        EmbedCall(partial(lane.ask, embed, some), partial(tokens_of, some)) for some in batches(embed.inputs, most, tokens)
    ]


def _google(declared: TargetConfig) -> tuple[str, dict[str, str]]:
    """Return the URL and the key's header of Google's API (ai.google.dev/gemini-api/docs/openai). Raises Misfit without a key."""
    base = str(declared.api_base or GEMINI).rstrip("/").removesuffix("/openai")
    within = "/openai" if urlsplit(base).path.endswith(("/v1beta", "/v1")) else "/v1beta/openai"
    if declared.api_key is None:
        raise Misfit("gemini/ needs a key: write `api_key: ${GEMINI_API_KEY}`", "model")
    return endpoint_of(base, PATH, within=within), {"authorization": f"Bearer {declared.api_key.value}"}


def batches(inputs: Sequence[str | tuple[int, ...]], most: int, tokens: int) -> Iterator[tuple[str | tuple[int, ...], ...]]:
    """Yield the inputs in order, in batches of at most `most` inputs and `tokens` tokens; a longer input is a batch of its own.
    A text counts as one token per byte of UTF-8, which no tokenizer exceeds. Each input counts TOKENS_BESIDE more.
    """
    batch: list[str | tuple[int, ...]] = []
    size = 0
    for one in inputs:
        more = TOKENS_BESIDE + (len(one.encode("utf-8", "replace")) if isinstance(one, str) else len(one))
        if batch and (len(batch) == most or size + more > tokens):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(one)
        size += more
    if batch:
        yield tuple(batch)


class _Lane(Value, frozen=True):
    """A client of one target's embeddings endpoint; each `ask` is one call. `tokens`: true if it takes lists of tokens."""

    name: str
    model: str
    endpoint: Endpoint
    connections: Connections
    options: Options
    tokens: bool
    turns: Turns = field(default_factory=Turns)

    async def ask(self, embed: Embed, inputs: Sequence[str | tuple[int, ...]]) -> tuple[Sequence[Vector], Usage | None]:
        """Return the vectors of some inputs, and the usage or None. Raises TargetError if the call fails or a vector is missing.
        Raises ParameterMissed if the provider takes no lists of tokens, or does not honour `dimensions`.
        """
        if not self.tokens and not all(isinstance(one, str) for one in inputs):
            raise ParameterMissed(self.name, "input (lists of tokens)")
        body: dict[str, Json] = {"model": self.model, "input": [one if isinstance(one, str) else list(one) for one in inputs]}
        if embed.dimensions is not None:
            body["dimensions"] = embed.dimensions
        sent = msgspec.json.encode(self.options.onto(body, "chat"))
        try:
            data = await http.whole_answer(self.name, self.connections, self.endpoint, sent, MAX_ANSWER)
        except TargetRefused as error:
            # vLLM's text speaks of matryoshka representation.
            text = str(error.__cause__) if isinstance(error.__cause__, http.ErrorText) else ""
            blames = error.outcome in ("status_400", "status_422") and re.search(r"(?i)dimension|matryoshka", text)
            if embed.dimensions is not None and blames:
                raise ParameterMissed(self.name, "dimensions") from None
            raise
        read = partial(self._read, data, len(inputs), embed.dimensions)
        return read() if len(data) <= ON_LOOP else await self.turns.take(read, "embeddings")

    def _read(self, data: bytes, count: int, dimensions: int | None) -> tuple[Sequence[Vector], Usage | None]:
        try:
            answer = DECODE.decode(data)
            vectors = [_vector(one.embedding) for one in _in_order(answer.data, count)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
            raise error_in(self.name, data[: http.MAX_BODY]) or TargetDown(self.name, "malformed") from None
        lengths = {len(one) for one in vectors}
        if len(lengths) != 1 or not 0 < max(lengths) <= MAX_DIMENSIONS:
            raise TargetDown(self.name, "malformed")
        if dimensions is not None and lengths != {dimensions}:
            raise ParameterMissed(self.name, "dimensions")  # the provider ignored the field
        tokens = answer.usage and (answer.usage.prompt_tokens or answer.usage.total_tokens)
        return vectors, Usage(tokens) if tokens and tokens > 0 else None


def _in_order(items: Sequence[Item], count: int) -> Sequence[Item]:
    """Return the items in the order of the inputs: by `index`, or else position. Raises ValueError unless there is one for each."""
    placed = {at if one.index is None else one.index: one for at, one in enumerate(items)}
    if len(items) != count or set(placed) != set(range(count)):
        raise ValueError(count)
    return [placed[at] for at in range(count)]


def _vector(raw: msgspec.Raw) -> Vector:
    """Decode an embedding. Raises ValueError if a number is not finite, or does not fit float32."""
    data = bytes(raw)
    if data.lstrip().startswith(b'"'):
        made = array("f", base64.b64decode(TEXT.decode(data), validate=True))
        if sys.byteorder == "big":
            made.byteswap()
        vector = array("d", made)
    else:
        vector = array("d", NUMBERS.decode(data))
    if not all(abs(one) <= MAX_NUMBER for one in vector):  # also false for NaN
        raise ValueError
    return vector


DEMO_DIMENSIONS = 256
WORD = r"[^\W_\u3040-\u9fff]+|[\u3040-\u9fff]"
PLACES = 4
"""Numbers of a vector that one word changes, at most."""


async def _demo_vectors(embed: Embed) -> tuple[Sequence[Vector], Usage | None]:
    """Return the demo's vectors, which are similar for texts with common words, and the estimated usage."""
    size = embed.dimensions or DEMO_DIMENSIONS

    def made() -> Sequence[Vector]:
        return [demo_vector(words_of(one) if isinstance(one, str) else [f"#{token}" for token in one], size) for one in embed.inputs]

    return await Turns().take(made, "embeddings"), Usage(tokens_of(embed.inputs))


def words_of(text: str) -> Sequence[str]:
    """Return the words of a text in lower case, with each CJK character as a word; the text itself if it has no words."""
    return re.findall(WORD, text.lower()) or [text]


def demo_vector(words: Sequence[str], size: int) -> Vector:
    """Return the sum of one sparse hash vector per word, scaled to the Euclidean norm 1. `size`: number of dimensions."""
    vector = array("d", bytes(8 * size))
    for word in words:
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=4 * PLACES).digest()
        for at in range(0, len(digest), 4):
            drawn = int.from_bytes(digest[at : at + 4], "big")
            vector[(drawn >> 1) % size] += 1.0 if drawn & 1 else -1.0
    length = math.sqrt(math.fsum(one * one for one in vector))
    if not length:  # the words cancel each other out
        vector[0] = length = 1.0
    return array("d", (one / length for one in vector))
