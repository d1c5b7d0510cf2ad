"""The LiteLLM library: imported late, patched once, warmed up and closed. No other module imports it.

The import takes seconds and 160 MB: it runs in a thread when a target first needs it. LiteLLM's own retries, fallbacks, caches and
callbacks are off.
"""

import asyncio
import gc
import importlib
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing, suppress
from contextvars import ContextVar
from functools import cache, partial
from importlib.util import find_spec
from threading import Lock
from typing import Any, Protocol, cast

from router.chat import Ask
from router.errors import TargetDenied
from router.targets.connection import MAX_UNPACKED_BYTES
from router.targets.connections import LINGER_S, Connections
from router.targets.facts import Facts
from router.targets.fit import HINTS, NEEDS
from router.targets.http import MAX_WHOLE, Rest, read_late
from router.targets.passage import (
    PASSAGE,
    failure_behind,
    passage_to,
    patch_aws_session,
    patch_environment_proxies,
    proxy_failure,
    record_failure,
    synchronous,
)
from router.targets.retold import Anthropic, Google, SseNormalizer
from router.targets.speech import Speech
from router.targets.unpacking import Unpacker, UnreadableBody, unpacker
from router.value import Value, replace

log = logging.getLogger("router.targets")


class Stream(Protocol):
    """The stream of a LiteLLM call: chunks in OpenAI's form, and the attributes that LiteLLM sets while it reads them."""

    chunks: list[Any]
    """Chunks of the provider so far, with its token counts if it sent any."""
    received_finish_reason: str | None
    """The provider's finish reason; LiteLLM reports `stop` if there is none."""
    intermittent_finish_reason: str | None

    def __aiter__(self) -> AsyncIterator[Any]: ...
    async def aclose(self) -> None:
        """Close the connection to the provider."""


class Library(Value, frozen=True):
    """The parts of LiteLLM that the router uses."""

    acompletion: Callable[..., Awaitable[Stream]]
    """Calls the provider, and returns the stream."""
    prices: dict[str, object]
    """LiteLLM's list of models. For an Ollama model that is not in it, LiteLLM asks the server, and blocks the event loop."""
    timeout: Callable[..., object]
    """`httpx.Timeout`, the only form in which LiteLLM takes a timeout for connecting alone."""
    supported: Callable[..., list[str] | None]
    """Returns the parameters that a model takes by LiteLLM's list, or None; LiteLLM drops others."""
    errors: tuple[type[BaseException], ...]
    """Exceptions that LiteLLM's calls raise: its own, those of its HTTP clients, and Python's."""

    def dropped(self, model: str, arguments: Collection[str]) -> tuple[str, ...]:
        """Return those of the arguments that LiteLLM drops for this model; empty if LiteLLM does not know the model."""
        known = self._known(model)
        return tuple(one for one in DROPPED if known is not None and one in arguments and one not in known)

    def takes_tools(self, model: str) -> bool:
        """Return whether LiteLLM sends tools to this model; otherwise it drops them without an error. True also for an unknown model."""
        known = self._known(model)
        return known is None or "tools" in known

    def formed(self, facts: Facts, ask: Ask, model: str) -> Facts:
        """Return the facts, without schemas and JSON mode if JSON is wanted and LiteLLM is not known to send `response_format` here."""
        if ask.output is None or ((known := self._known(model)) is not None and "response_format" in known):
            return facts
        return replace(facts, schemas=False, json_mode=False)

    def make_known(self, model: str) -> None:
        """Add this model to LiteLLM's list as a chat model that takes tools, unless it is there."""
        provider = model.partition("/")[0]
        self.prices.setdefault(model, {"litellm_provider": provider, "mode": "chat", "supports_function_calling": True})

    def _known(self, model: str) -> list[str] | None:
        """Return the parameters that LiteLLM sends to this model; None if it does not know the model."""
        provider, _, name = model.partition("/")
        try:
            return self.supported(name, custom_llm_provider=provider)
        except self.errors:
            return None


PASSED = frozenset({"top_k", "min_p", "repetition_penalty"})
"""Parameters that OpenAI does not have, and that LiteLLM therefore passes on."""
DROPPED = (*(one for one in HINTS if one not in PASSED), *NEEDS, "stop", "reasoning_effort", "max_tokens")
"""Parameters that LiteLLM drops if it thinks that the model does not take them."""
PYTHONS = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError)


@cache
def _import() -> Library | None:
    """Import and patch LiteLLM, once per process, and return it. None, and a logged warning, if that fails; it is not tried again."""
    try:
        return _imported()
    except (ImportError, SyntaxError, *PYTHONS) as error:
        fields = {"error": type(error).__name__, "why": str(error)}
        log.warning("litellm cannot be imported: what it would ask is not asked", extra={"fields": fields})
        return None


IMPORTING = Lock()


def _import_locked() -> Library | None:
    """Return `_import()` under a lock, so that concurrent threads import and patch LiteLLM once."""
    with IMPORTING:
        return _import()


def _imported() -> Library:
    # LiteLLM would fetch these from the network, at import or later.
    for packaged in ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"):
        os.environ[packaged] = "True"
    # LiteLLM would read a `.env` in its own folder or any above it into the environment of this process.
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    # These would make LiteLLM use another client, or the environment's proxies: the way out is declared, see passage.py.
    for other in ("DISABLE_AIOHTTP_TRANSPORT", "LITELLM_HTTP2", "AIOHTTP_TRUST_ENV"):
        os.environ[other] = "False"
    litellm: Any = importlib.import_module("litellm")
    litellm.disable_hf_tokenizer_download = True  # for names such as llama-3 it would ask huggingface.co, on the loop, for 47 s
    litellm.suppress_debug_info = True
    litellm.drop_params = True  # a parameter that one provider does not know must not keep a route from falling back to it
    litellm.callbacks = []
    litellm.disable_aiohttp_trust_env = True  # no key goes to a proxy of the environment, as in the direct lanes
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logging.getLogger(name).handlers.clear()  # they print providers' texts
    httpx: Any = importlib.import_module("httpx")

    def get(*_: object, **__: object) -> Any:
        raise httpx.ConnectError("this is not asked")  # its synchronous client would fetch descriptions of models, on the event loop

    importlib.import_module("litellm.llms.custom_httpx.http_handler").HTTPHandler.get = get
    _use_declared_proxies(litellm, httpx)
    _patch_transport(importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport").LiteLLMAiohttpTransport, httpx)
    openai: Any = importlib.import_module("openai")
    litellm.token_counter(model="gpt-4o", text=".")  # loads a tokenizer: it would be loaded in the first answer, 0.3 s on the loop
    importlib.import_module("openai.resources")  # it would be imported on the first call: half a second on the loop
    aiohttp: Any = importlib.import_module("aiohttp")
    return Library(
        litellm.acompletion,
        litellm.model_cost,
        httpx.Timeout,
        litellm.get_supported_openai_params,
        (*PYTHONS, httpx.HTTPError, aiohttp.ClientError, openai.OpenAIError),
    )


CONNECT: ContextVar[float | None] = ContextVar("connect", default=None)
"""Connect timeout in seconds for this context's requests: LiteLLM loses its own on the way to most providers."""
STREAMS: ContextVar[list[SseNormalizer] | None] = ContextVar("told", default=None)
"""Normalizers of the streams read in this context, which know the provider's finish reason."""
SHARED: ContextVar[Connections | None] = ContextVar("shared", default=None)
"""Connections that run this context's background reads (see Connections.behind)."""
EVENTS = {"/chat/completions": SseNormalizer, ":streamGenerateContent": Google, "/v1/messages": Anthropic}
"""Path suffix → the normalizer for its streams."""
STREAMED = re.compile(rb'"stream"\s*:\s*true')
"""The field that asks for a stream on OpenAI's and Anthropic's wires; on Google's the path does."""


def _use_declared_proxies(litellm: Any, httpx: Any) -> None:
    """Make LiteLLM's synchronous client, the client of OpenAI's library and AWS's library use the declared proxy and CA."""
    litellm.sync_transport = synchronous(httpx)
    litellm.module_level_client.client = litellm.module_level_client.create_client()  # the present one was made without the transport
    transport = importlib.import_module("litellm.llms.custom_httpx.http_handler").AsyncHTTPHandler.create_async_transport()

    class SharedClient(httpx.AsyncClient):
        """OpenAI's library's one client for the process, which stays usable after LiteLLM's cleanup: `aclose` closes only its transport."""

        async def aclose(self) -> None:
            await transport.aclose()

    litellm.aclient_session = SharedClient(transport=transport, trust_env=False)
    if find_spec("botocore") is not None:
        for name in ("botocore.utils", "botocore.endpoint"):
            patch_environment_proxies(importlib.import_module(name))
        patch_aws_session(importlib.import_module("botocore.httpsession"))


def _patch_transport(transport: Any, httpx: Any) -> None:
    """Patch LiteLLM's transport class: the current target's proxy and CA, redirects, status 422, connect timeout and event streams.
    `location` is removed from a redirect, which LiteLLM would follow with the conversation. A 422 becomes a 400: LiteLLM would repeat the
    question. The declared connect timeout is set in place of its minutes. Streams are normalized.
    """
    events, complete = _body_classes(httpx)
    inner = transport.handle_async_request

    async def handle_async_request(self: Any, request: Any) -> Any:
        passage, proxy = passage_to(request.url.host)
        if (limit := CONNECT.get()) is not None:
            # LiteLLM's `connect` limits the socket alone; its `pool` limits all of the connecting, a proxy's part included.
            request.extensions["timeout"] = {"connect": limit} if proxy is None else {"connect": limit, "pool": limit}
        normalizer_class = next((kind for end, kind in EVENTS.items() if request.url.path.endswith(end)), None)
        if normalizer_class is not None:
            request.headers["accept-encoding"] = "identity"
        try:
            response = await inner(self, request)
        except httpx.HTTPError as error:
            if passage is not None and proxy is not None:
                record_failure(passage, failure_behind(error, proxy), httpx)
            raise
        if passage is not None and (failed := proxy_failure(request, response, proxy)):
            await response.aclose()
            record_failure(passage, failed, httpx)
        if 300 <= response.status_code < 400:
            response.headers.pop("location", None)
        elif response.status_code == 422:
            response.status_code = 400
        if normalizer_class is not None and response.status_code == 200:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            streamed = kind == "text/event-stream"
            if streamed or (kind == "application/json" and STREAMED.search(request.content)):
                _normalize_body(response, events if streamed else complete, normalizer_class())
        return response

    async def proxy_of_context(self: Any, request: Any) -> str | None:  # noqa: ARG001 - a method
        _, proxy = passage_to(request.url.host)
        return proxy.url if proxy is not None else None

    def trusted(self: Any) -> Any:
        passage = PASSAGE.get()
        return passage.tls if passage is not None else self.__dict__.get("_ssl_verify")

    transport.handle_async_request = handle_async_request
    transport._get_proxy_settings = proxy_of_context  # noqa: SLF001
    transport._ssl_verify = property(trusted, lambda self, given: self.__dict__.update(_ssl_verify=given))  # noqa: SLF001


class DecompressedBody:
    """The body of an httpx response to LiteLLM, read in decompressed pieces."""

    def __init__(self, stream: Any, packed: Unpacker | None, heard: Speech, httpx: Any) -> None:
        self._stream = stream
        self._pieces = aiter(stream)
        self._packed = packed
        self._heard = heard
        self._httpx = httpx
        self._reading: asyncio.Task[bytes] | None = None

    async def read(self) -> bytes:
        """Return the next piece; empty at the end, or after a failure that follows the finish reason. Raises httpx's error for another."""
        try:
            while piece := await anext(self._pieces, b""):
                if made := self._packed.feed(piece) if self._packed else piece:
                    return made
        except UnreadableBody:
            if not self._heard.finished:
                raise self._httpx.ReadError("garbled") from None
        except self._httpx.HTTPError:
            if not self._heard.finished:
                raise
        return b""

    async def beside(self) -> bytes:
        """Return the next piece as `read` does. If the caller is cancelled, the read goes on, and the next call returns its piece."""
        self._reading = self._reading or asyncio.create_task(self.read())
        piece = await asyncio.shield(self._reading)
        self._reading = None
        return piece

    async def close(self) -> None:
        """Cancel a pending read, and close the response."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._pieces.aclose()
        await self._stream.aclose()

    async def count_late(self, normalizer: SseNormalizer) -> None:
        """Read the rest of the body until its token counts came, within the bounds of `read_late`, and close the response."""
        try:
            await read_late(self.beside, normalizer.reader, self._heard)
        finally:
            await self.close()


def _body_classes(httpx: Any) -> tuple[type[Any], type[Any]]:
    """Return two httpx body classes that yield a normalized stream: one reads a stream, the other a complete answer."""

    class NormalizedStream(httpx.AsyncByteStream):
        """A streamed body as normalized events. Late token counts are read in the background, after the events have ended."""

        def __init__(self, stream: Any, normalizer: SseNormalizer, packed: Unpacker | None) -> None:
            self._stream = stream
            self._normalizer = normalizer
            self._packed = packed

        async def __aiter__(self) -> AsyncIterator[bytes]:
            normalizer, heard = self._normalizer, self._normalizer.heard
            body = DecompressedBody(self._stream, self._packed, heard, httpx)
            connections, more = SHARED.get(), True
            rest = Rest(body.beside, heard, LINGER_S if connections is None else connections.linger)
            try:
                while more:
                    piece = await (rest.read() if heard.finished else body.read())
                    if rest.late and not heard.counted and connections is not None:
                        normalizer.late = asyncio.get_running_loop().create_future()
                        connections.behind(body.count_late(normalizer), partial(normalizer.late.set_result, None))
                    more = bool(piece)
                    yield normalizer.feed(piece)
                if normalizer.cut:
                    raise httpx.ReadError("cut")
            finally:
                if normalizer.late is None:
                    await body.close()

        async def aclose(self) -> None:
            if self._normalizer.late is None:
                await self._stream.aclose()

    class NormalizedAnswer(NormalizedStream):
        """A complete answer that came in place of a stream, as normalized events."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            body = bytearray()
            async with aclosing(aiter(self._stream)) as pieces:
                async for piece in pieces:
                    body += self._packed.feed(piece) if self._packed else piece
                    if len(body) > MAX_WHOLE:
                        raise httpx.ReadError("too large")
            yield self._normalizer.complete(bytes(body))

    return NormalizedStream, NormalizedAnswer


def _normalize_body(response: Any, body: type[Any], normalizer: SseNormalizer) -> None:
    """Replace a response's body by its normalized form, and add the normalizer to STREAMS; skip an unsupported content encoding."""
    try:
        packed = unpacker(response.headers.get("content-encoding", ""), MAX_UNPACKED_BYTES)
    except UnreadableBody:
        return
    for name in ("content-encoding", "content-length"):
        response.headers.pop(name, None)
    response.headers["content-type"] = "text/event-stream"
    response.stream = body(response.stream, normalizer, packed)
    if (streams_read := STREAMS.get()) is not None:
        streams_read.append(normalizer)


async def library() -> Library:
    """Return LiteLLM, imported in a thread if that has not been done. Raises ImportError if the import fails or has failed."""
    lane = _import() if _import.cache_info().currsize else await asyncio.to_thread(_import_locked)
    if lane is None:
        raise ImportError("litellm")
    return lane


async def library_for(target: str) -> Library:
    """Return LiteLLM, as `library` does. Raises TargetDenied for this target if it cannot be imported."""
    try:
        return await library()
    except ImportError:
        raise TargetDenied(target, "no_library") from None


async def ready() -> None:
    """Import LiteLLM if that has not been done, and wait until the import has succeeded or failed. Raises nothing."""
    with suppress(ImportError):
        await library()


async def warm() -> None:
    """Import LiteLLM, and make one mock call for its lazy set-up, once per process. Raises ImportError if the import fails."""
    lane = await library()
    if not _freeze_objects.cache_info().currsize:
        messages = [{"role": "user", "content": "."}]
        stream = await lane.acompletion(model="openai/gpt-4o", messages=messages, stream=True, mock_response=".", api_key="none")
        async for _ in stream:
            pass
        _freeze_objects()


@cache
def _freeze_objects() -> None:
    """Exclude all existing objects from garbage collection, once per process; those that become garbage are never freed.
    A collection would stop the process for 0.2 s every few hundred answers, because of LiteLLM's million objects.
    """
    gc.freeze()


async def close() -> None:
    """Close LiteLLM's process-wide clients, if it was imported. A later question opens new ones."""
    litellm: Any = sys.modules.get("litellm")
    if not hasattr(litellm, "close_litellm_async_clients"):
        return
    try:
        await litellm.close_litellm_async_clients()
    finally:
        # Also after a cancellation, or if another thread asked meanwhile: a closed client in the cache would fail every later question.
        litellm.in_memory_llm_clients_cache.flush_cache()
        if (session := litellm.aclient_session) is not None:
            await session.aclose()
        made = cast("dict[str, Any]", vars(litellm))
        if (client := made.pop("module_level_aclient", None)) is not None:  # LiteLLM makes a new one on demand
            await client.close()
