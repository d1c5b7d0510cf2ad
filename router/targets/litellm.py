"""Every provider that LiteLLM knows, through its library. No other file imports it.

The import takes seconds and 160 MB: it happens in a thread, when a target first needs it. LiteLLM's own retries,
fallbacks, caches and callbacks are off: ours are in failover/, configured by routes.yaml.
"""

import asyncio
import gc
import importlib
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from threading import Lock
from typing import Any, Protocol, cast

import msgspec

from router.chat import Ask, Effort, Params, issued_by
from router.config.declaration import TargetConfig
from router.config.network import DIRECT
from router.errors import (
    ContentFiltered,
    ContextTooLong,
    Misfit,
    ParameterMissed,
    TargetDenied,
    TargetDown,
    TargetError,
    TargetRefused,
    TargetSilent,
)
from router.events import Answer, Events, Start
from router.targets import completions, responses
from router.targets.anthropic import BUDGETS
from router.targets.connections import MAX_UNPACKED_BYTES, Connections
from router.targets.conversation import fitted
from router.targets.counts import ChatUsage
from router.targets.facts import Facts, facts_of
from router.targets.files import FILE_ADDRESS, has_address
from router.targets.fit import HINTS, NEEDS, check_answerable, fit, uncarried
from router.targets.http import MAX_WHOLE, Rest
from router.targets.learned import Learned, Pupil
from router.targets.options import Options, options_of
from router.targets.passage import PASSAGE, Passage, blamed, led_past_environment, note, passage_to, passed_on, synchronous
from router.targets.prompt_cache import CONTROL, is_long, mark_messages, session_key
from router.targets.providers import CACHE_KEY, rules_through_litellm
from router.targets.reasoning import (
    INTERLEAVED,
    NOTHING,
    Blocks,
    Reasoning,
    Returns,
    beside,
    is_claude,
    keeps_thinking,
    returned_through_litellm,
)
from router.targets.retold import Anthropic, Google, Retold
from router.targets.speech import BROKEN, REASONS, AnswerLimits, Speech
from router.targets.structured import structured, subset_of
from router.targets.unpacking import Unpacker, UnreadableBody, unpacker
from router.targets.verdict import verdict

log = logging.getLogger("router.targets")

PROVIDERS = frozenset(
    [
        "ai21",
        "ai21_chat",
        "aiml",
        "aiohttp_openai",
        "amazon_nova",
        "anthropic",
        "anthropic_text",
        "apertis",
        "azure",
        "azure_ai",
        "azure_text",
        "baseten",
        "bedrock",
        "bedrock_mantle",
        "bytez",
        "cerebras",
        "charity_engine",
        "chutes",
        "clarifai",
        "cloudflare",
        "codestral",
        "cognition",
        "cometapi",
        "compactifai",
        "cortecs",
        "custom_openai",
        "darkbloom",
        "dashscope",
        "databricks",
        "datarobot",
        "deepinfra",
        "deepseek",
        "docker_model_runner",
        "edenai",
        "empower",
        "featherless_ai",
        "fireworks_ai",
        "friendliai",
        "galadriel",
        "gdc",
        "gemini",
        "gigachat",
        "github",
        "gradient_ai",
        "groq",
        "helicone",
        "heroku",
        "hosted_vllm",
        "huggingface",
        "hyperbolic",
        "inception",
        "lambda_ai",
        "langgraph",
        "lemonade",
        "libertai",
        "litellm_proxy",
        "llamafile",
        "lm_studio",
        "maritalk",
        "meta",
        "meta_llama",
        "minimax",
        "mistral",
        "modelscope",
        "moonshot",
        "morph",
        "nano-gpt",
        "nebius",
        "neosantara",
        "nlp_cloud",
        "novita",
        "nscale",
        "nvidia_nim",
        "oci",
        "ollama",
        "ollama_chat",
        "oobabooga",
        "openai",
        "openai_like",
        "openrouter",
        "ovhcloud",
        "parasail",
        "perplexity",
        "petals",
        "pinstripes",
        "poe",
        "predibase",
        "publicai",
        "qwen_ai_platform",
        "qwencloud",
        "reka",
        "replicate",
        "sagemaker",
        "sagemaker_chat",
        "sagemaker_nova",
        "sail",
        "sambanova",
        "sap",
        "scaleway",
        "scx-ai",
        "snowflake",
        "synthetic",
        "tencent",
        "tensormesh",
        "text-completion-codestral",
        "text-completion-inception",
        "text-completion-openai",
        "together_ai",
        "triton",
        "v0",
        "vercel_ai_gateway",
        "vertex_ai",
        "vertex_ai_beta",
        "vllm",
        "volcengine",
        "wandb",
        "watsonx",
        "watsonx_text",
        "xai",
        "xiaomi_mimo",
        "xinference",
        "zai",
    ],
)
"""Providers that answer chats, by LiteLLM's names. A test holds this against the library's own list."""

OWN_CLIENT = "aiohttp_openai"
"""The provider that LiteLLM asks with a client of its own, which takes no proxy and no CA."""
REFUSED = {
    "cohere": "LiteLLM cannot stream from it: leave `via` out",
    "cohere_chat": "LiteLLM cannot stream from it: leave `via` out",
}


GOOGLE = frozenset({"vertex_ai", "vertex_ai_beta"})
"""Providers that LiteLLM reaches with Google's own libraries, which it does not require."""


def check_model(model: str) -> None:
    """Raise Misfit if the provider is unknown, or is known not to work. Needs no import of litellm."""
    provider, _, name = model.partition("/")
    if provider in REFUSED:
        raise Misfit(f"`{provider}/` via LiteLLM is refused: {REFUSED[provider]}", "model")
    if provider in GOOGLE and not _has_google():
        raise Misfit(
            f"`{provider}/` needs the package google-cloud-aiplatform; with a key, write `gemini/{name}`, or `api_key` here for express mode",
            "model",
        )
    if name.startswith("responses/"):
        # LiteLLM's way to the Responses API imports its proxy and the package `mcp`; with both, it fails at the first event.
        raise Misfit(
            f"`{provider}/responses/` via LiteLLM is refused: leave `via` out, or write `{provider}/{name.removeprefix('responses/')}`",
            "model",
        )
    if provider not in PROVIDERS:
        close = get_close_matches(provider, PROVIDERS, 1, 0.6)
        raise Misfit(
            f"no provider is named `{provider}`" + (f"; did you mean `{close[0]}/{model.partition('/')[2]}`?" if close else ""), "model"
        )


def _has_google() -> bool:
    try:
        return find_spec("google.auth") is not None
    except ModuleNotFoundError:
        return False


class Stream(Protocol):
    """A stream of LiteLLM's: chunks of the OpenAI shape, and its notes while reading."""

    chunks: list[Any]
    """Chunks of the provider, with its counts of tokens where it sent any."""
    received_finish_reason: str | None
    """The provider's finish reason; without one LiteLLM makes up a `stop`."""
    intermittent_finish_reason: str | None

    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over the chunks."""
        ...

    async def aclose(self) -> None:
        """Close the provider's connection."""
        ...


class Completion(Protocol):
    """`litellm.acompletion`, as we call it."""

    async def __call__(self, **arguments: object) -> Stream:
        """Ask the provider."""
        ...


@dataclass(frozen=True, slots=True)
class Library:
    """The parts of LiteLLM that the router uses, once it is imported."""

    acompletion: Completion
    prices: dict[str, object]
    """LiteLLM's list of models. For a model of Ollama's that is not in it LiteLLM asks the server, and blocks the loop."""
    timeout: Callable[..., object]
    """`httpx.Timeout`: the only form in which LiteLLM takes a limit for connecting alone."""
    supported: Callable[..., list[str] | None]
    """Parameters that a model takes, by LiteLLM's list: it drops the others."""
    errors: tuple[type[BaseException], ...]
    """Errors that LiteLLM raises: its own and its clients', and those of Python that its readers let through."""

    def dropped(self, model: str, arguments: Collection[str]) -> tuple[str, ...]:
        """Return the question's parameters that LiteLLM will not send to this model."""
        known = self._known(model)
        return tuple(one for one in DROPPED if known is not None and one in arguments and one not in known)

    def takes_tools(self, model: str) -> bool:
        """Return whether LiteLLM passes a question's tools on to this model. Otherwise it leaves them out without an error."""
        known = self._known(model)
        return known is None or "tools" in known

    def formed(self, facts: Facts, ask: Ask, model: str) -> Facts:
        """Return the model's facts about output forms through this library, which leaves the form out for some without an error."""
        if ask.output is None or ((known := self._known(model)) is not None and "response_format" in known):
            return facts
        return replace(facts, schemas=False, json_mode=False)

    def _known(self, model: str) -> list[str] | None:
        """Return the parameters that LiteLLM sends to this model; None if it does not know the model."""
        provider, _, name = model.partition("/")
        try:
            return self.supported(name, custom_llm_provider=provider)
        except self.errors:
            return None


PASSED = frozenset({"top_k", "min_p", "repetition_penalty"})
"""Parameters that OpenAI does not have: LiteLLM passes on whatever it does not know."""
DROPPED = (*(one for one in HINTS if one not in PASSED), *NEEDS, "stop", "reasoning_effort", "max_tokens")
"""Parameters of a question that LiteLLM leaves out where it thinks that the model does not take them."""
PYTHONS = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError)


@cache
def _import() -> Library | None:
    """Import LiteLLM; None if that fails. A failure is logged once and stays: a half-imported library is not tried again."""
    try:
        return _imported()
    except (ImportError, SyntaxError, *PYTHONS) as error:
        fields = {"error": type(error).__name__, "why": str(error)}
        log.warning("litellm cannot be imported: what it would ask is not asked", extra={"fields": fields})
        return None


IMPORTING = Lock()


def _import_alone() -> Library | None:
    """Import LiteLLM once, though several targets need it at the same time: its transport is patched once."""
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
    litellm.disable_aiohttp_trust_env = True  # as the direct lanes: no proxy of the environment is shown a key
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logging.getLogger(name).handlers.clear()  # they print what providers say, each in a form of its own
    httpx: Any = importlib.import_module("httpx")
    _kept_from_asking(importlib.import_module("litellm.llms.custom_httpx.http_handler").HTTPHandler, httpx)
    _given_ways(litellm, httpx)
    _mended(importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport").LiteLLMAiohttpTransport, httpx)
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
"""Seconds that a connection may take, for requests of this context: LiteLLM loses its own limit on the way to most providers."""
STREAMS: ContextVar[list[Retold] | None] = ContextVar("told", default=None)
"""Normalizers of the streams that are read in this context: they know the provider's finish reason."""
EVENTS = {"/chat/completions": Retold, ":streamGenerateContent": Google, "/v1/messages": Anthropic}
"""Endings of the paths whose streams are normalized → the normalizer."""


STREAMED = re.compile(rb'"stream"\s*:\s*true')
"""The field that asks for a stream on OpenAI's and Anthropic's wires. Google's wire does so with its path."""


def _given_ways(litellm: Any, httpx: Any) -> None:
    """Make the clients that take the environment's proxies go the declared way.

    They are the synchronous one, that of OpenAI's library, which LiteLLM would make itself for some providers, and AWS's, which
    fetches credentials.
    """
    litellm.sync_transport = synchronous(httpx)
    litellm.module_level_client.client = litellm.module_level_client.create_client()  # the one there is was made before
    _given_session(litellm)
    if find_spec("botocore") is not None:
        for name in ("botocore.utils", "botocore.endpoint"):
            led_past_environment(importlib.import_module(name))


def _given_session(litellm: Any) -> None:
    """Give OpenAI's library one client for the whole process.

    Its own `close` closes the client that it was given, for everybody: this one closes its connections, and opens new ones when asked again.
    """
    httpx: Any = importlib.import_module("httpx")
    transport = importlib.import_module("litellm.llms.custom_httpx.http_handler").AsyncHTTPHandler.create_async_transport()

    class SharedClient(httpx.AsyncClient):
        """The client."""

        async def aclose(self) -> None:
            await transport.aclose()

    litellm.aclient_session = SharedClient(transport=transport, trust_env=False)


def _kept_from_asking(client: Any, httpx: Any) -> None:
    """Make every GET of LiteLLM's synchronous client fail.

    LiteLLM fetches descriptions of models with it, from a model hub or from the target, and goes on without them. It does so during a
    question, on the loop or in a thread that all lookups share. A token that some providers need before a question is posted instead.
    """

    def get(*_: object, **__: object) -> Any:
        raise httpx.ConnectError("this is not asked")

    client.get = get


def _mended(transport: Any, httpx: Any) -> None:
    """Patch the transport so that LiteLLM reads responses correctly.

    LiteLLM follows redirects, and takes the conversation along: without a `location` a redirect is an error like any other. After a 422
    it would ask once more, so a 422 becomes a 400. Its own limits are minutes.
    """
    _lead(transport)
    events, complete = _bodies(httpx)
    inner = transport.handle_async_request

    async def handle_async_request(self: Any, request: Any) -> Any:
        passage, proxy = passage_to(request.url.host)
        if (limit := CONNECT.get()) is not None:
            # LiteLLM's `connect` limits the socket alone; its `pool` limits all of the connecting, a proxy's part included.
            request.extensions["timeout"] = {"connect": limit} if proxy is None else {"connect": limit, "pool": limit}
        retold = next((teller for end, teller in EVENTS.items() if request.url.path.endswith(end)), None)
        if retold is not None:
            request.headers["accept-encoding"] = "identity"
        try:
            response = await inner(self, request)
        except httpx.HTTPError as error:
            if passage is not None and proxy is not None:
                note(passage, blamed(error, proxy), httpx)
            raise
        if passage is not None and (failed := passed_on(request, response, proxy)):
            await response.aclose()
            note(passage, failed, httpx)
        if 300 <= response.status_code < 400:
            response.headers.pop("location", None)
        elif response.status_code == 422:
            response.status_code = 400
        if retold is not None and response.status_code == 200:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "text/event-stream":
                _tell_again(response, events, retold())
            elif kind == "application/json" and STREAMED.search(request.content):
                _tell_again(response, complete, retold())
        return response

    transport.handle_async_request = handle_async_request


def _lead(transport: Any) -> None:
    """Make the transport use the proxy and the certificates of the target that asks: it takes them in no other way."""

    async def proxy_of_context(self: Any, request: Any) -> str | None:  # noqa: ARG001 - a method
        _, proxy = passage_to(request.url.host)
        return proxy.url if proxy is not None else None

    def trusted(self: Any) -> Any:
        passage = PASSAGE.get()
        return passage.tls if passage is not None else self.__dict__.get("_ssl_verify")

    transport._get_proxy_settings = proxy_of_context  # noqa: SLF001
    transport._ssl_verify = property(trusted, lambda self, given: self.__dict__.update(_ssl_verify=given))  # noqa: SLF001


def _bodies(httpx: Any) -> tuple[type[Any], type[Any]]:
    """Return the classes of a normalized response's body: a stream of events, and a whole answer."""

    class RetoldStream(httpx.AsyncByteStream):
        """A normalized stream of events; the end of the body is not waited for."""

        def __init__(self, stream: Any, retold: Retold, packed: Unpacker | None) -> None:
            self._stream = stream
            self._retold = retold
            self._packed = packed

        async def __aiter__(self) -> AsyncIterator[bytes]:
            retold = self._retold
            async with aclosing(aiter(self._stream)) as pieces:

                async def read() -> bytes:
                    piece = made = b""
                    try:
                        while not made and (piece := await anext(pieces, b"")):
                            made = self._packed.feed(piece) if self._packed else piece
                    except UnreadableBody:
                        raise httpx.ReadError("garbled") from None
                    except httpx.HTTPError:
                        if not retold.heard.finished:
                            raise
                    return made

                rest, more = Rest(read, retold.heard), True
                while more:
                    piece = await (rest.read() if retold.heard.finished else read())
                    more = bool(piece)
                    yield retold.feed(piece)
                if retold.cut:
                    raise httpx.ReadError("cut")

        async def aclose(self) -> None:
            await self._stream.aclose()

    class RetoldAnswer(RetoldStream):
        """A whole answer in place of a stream, turned into a stream."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            body = bytearray()
            async with aclosing(aiter(self._stream)) as pieces:
                async for piece in pieces:
                    body += self._packed.feed(piece) if self._packed else piece
                    if len(body) > MAX_WHOLE:
                        raise httpx.ReadError("too large")
            yield self._retold.complete(bytes(body))

    return RetoldStream, RetoldAnswer


def _tell_again(response: Any, body: type[Any], teller: Retold) -> None:
    """Give a response its normalized body. A response of an unknown content encoding is left unchanged."""
    try:
        packed = unpacker(response.headers.get("content-encoding", ""), MAX_UNPACKED_BYTES)
    except UnreadableBody:
        return
    for name in ("content-encoding", "content-length"):
        response.headers.pop(name, None)
    response.headers["content-type"] = "text/event-stream"
    response.stream = body(response.stream, teller, packed)
    if (streams_read := STREAMS.get()) is not None:
        streams_read.append(teller)


async def library() -> Library:
    """Return LiteLLM, imported off the loop. ImportError if that fails."""
    lane = _import() if _import.cache_info().currsize else await asyncio.to_thread(_import_alone)
    if lane is None:
        raise ImportError("litellm")
    return lane


async def _library_for(target: str) -> Library:
    try:
        return await library()
    except ImportError:
        raise TargetDenied(target, "no_library") from None


async def ready() -> None:
    """Wait until LiteLLM is imported, or the import failed: a question then raises the error."""
    with suppress(ImportError):
        await library()


async def warm() -> None:
    """Import LiteLLM, and make one mock call, which does the work that it puts off until the first call."""
    lane = await library()
    messages = [{"role": "user", "content": "."}]
    stream = await lane.acompletion(model="openai/gpt-4o", messages=messages, stream=True, mock_response=".", api_key="none")
    async for _ in stream:
        pass
    # A million objects that stay: the garbage collector would stand still over them for 0.2 s every few hundred answers.
    gc.freeze()


async def close() -> None:
    """Close the connections that LiteLLM keeps for the whole process, if it was imported at all."""
    litellm: Any = sys.modules.get("litellm")
    if litellm is None or not hasattr(litellm, "close_litellm_async_clients"):
        return
    try:
        await litellm.close_litellm_async_clients()
    finally:
        # Also when this was cancelled, or another thread asked meanwhile: a closed client left there would fail every later question.
        litellm.in_memory_llm_clients_cache.flush_cache()
        if (session := litellm.aclient_session) is not None:
            await session.aclose()
        made = cast("dict[str, Any]", vars(litellm))
        if (client := made.pop("module_level_aclient", None)) is not None:  # another is made when one is wanted
            await client.close()


TEXTUAL = frozenset(
    {
        *("anthropic_text", "bedrock", "nlp_cloud", "ollama", "petals", "predibase", "sagemaker", "triton", "watsonx_text"),
        *("text-completion-codestral", "text-completion-inception", "text-completion-openai"),
    }
)
"""Providers on whose wires there are no tools, or not for each model. LiteLLM would leave a question's tools out without an error."""
KEYED = frozenset({"azure", "openai"})
"""Providers to whom LiteLLM hands on a session key."""
ASKED = frozenset({"ollama", "ollama_chat"})
"""Providers of whose models LiteLLM asks the server, unless they are in its list."""


AS_ARGUMENTS = ("anthropic/", "anthropic_text/", "bedrock/")
"""Providers to whose requests LiteLLM adds arguments that it does not know. For these it sends `extra_body` as a field of that name."""
ITS_OWN = frozenset(
    (
        *("api_key", "api_base", "base_url", "api_version", "timeout", "num_retries", "max_retries", "fallbacks", "headers", "user"),
        *("extra_headers", "extra_body", "mock_response", "mock_tool_calls", "custom_llm_provider", "drop_params", "caching", "cache"),
        *(
            "allowed_openai_params",
            "additional_drop_params",
            "logger_fn",
            "verbose",
            "model_list",
            "base_model",
            "model_info",
            "ssl_verify",
        ),
    )
)
"""Arguments of LiteLLM's call that are no field of a request."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """A question in LiteLLM's form.

    arguments: of its call
    omitted: parameters that are not among them
    bounds: where the router ends the answer itself
    takes: reasoning that the provider takes back
    """

    arguments: dict[str, object]
    omitted: tuple[str, ...]
    bounds: AnswerLimits
    takes: Returns
    within: tuple[str, ...] = ()
    """Names deeper in the arguments that the call can do without, where the provider refuses them."""

    @property
    def names(self) -> Collection[str]:
        """Names of the sent fields, by which a refusal may name them."""
        return {*self.arguments, *self.within}


def answer(
    name: str, declared: TargetConfig, connect: float, learned: Learned | None = None, connections: Connections | None = None
) -> Answer:
    """Return a declared target as an Answer. Misfit if LiteLLM would ask another provider.

    connect: seconds a connection may take; the other deadlines are failover's
    connections: their TLS contexts are used, but none of their connections
    """
    model = str(declared.model)
    provider, _, called = model.partition("/")
    _check_led(provider, called, declared)
    options = options_of(declared, "litellm")
    fixed = _fixed(declared, options)
    facts, learned, connections = facts_of(declared), learned or Learned(), connections or Connections()
    issuer = issued_by(name, model)
    rules, tls = rules_through_litellm(model), connections.tls(declared.egress)

    async def spoken(ask: Ask) -> Events:
        ask = fitted(ask, rules, name)
        if has_address(ask):
            raise TargetRefused(name, FILE_ADDRESS)  # for some providers it would fetch the file itself, from in here
        lane = await _library_for(name)
        if ask.tools and not lane.takes_tools(model):
            if provider in TEXTUAL:
                raise TargetRefused(name, "no_tools")
            fixed["allowed_openai_params"] = [*options.body, "tools", "tool_choice"]  # whether its model takes them it says itself
        if provider in ASKED:
            lane.prices.setdefault(model, {"litellm_provider": provider, "mode": "chat", "supports_function_calling": True})
        # This limit is for connecting only. Reading has none: failover watches for events, and bytes are not events.
        fixed["timeout"] = lane.timeout(None, connect=connect)
        passage = _set_out(Passage(declared.egress, tls), connect)
        pupil = Pupil(name, facts, learned)
        begun = False
        while not begun:
            params = ask.params.over(declared.params)
            check_answerable(name, pupil.facts, ask, params)
            wanted = structured(ask, lane.formed(pupil.facts, ask, model), subset_of(provider), beside_tools=False)
            form = _form({**fixed, **deepcopy(wanted.chat)}, wanted.ask, params, pupil.facts, issuer)
            dropped = _dropped(name, lane, form)
            speech = Speech(name, issuer)
            speech.bound(form.bounds)
            STREAMS.set(streams_read := [])
            hear = Hearing(speech, streams_read, form.takes)
            try:
                async with aclosing(_heard(lane, form, hear)) as events:
                    async for event in events:
                        if not begun:
                            begun = True
                            omitted = tuple(dict.fromkeys((*form.omitted, *dropped, *options.over(params), *pupil.learned)))
                            pupil.answered()
                            yield Start(name, model, omitted=omitted, output=wanted.way, meter=speech.meter)
                        yield event
            except lane.errors as error:
                if passage.failed is not None and not begun:
                    raise hear.with_usage(passage.failed.of(name)) from None
                # Some providers are asked when their stream is read first: a refusal comes then, and before anything else.
                if begun or not pupil.refused(*_said(error), {*form.names, *wanted.sent}.difference(options.names), options.names):
                    raise hear.with_usage(_raised(name, provider, error, hear)) from None
            except TargetError as error:
                raise hear.with_usage(error) from None

    return spoken


def _set_out(passage: Passage, connect: float) -> Passage:
    """Send the requests of this context through this passage. `connect`: seconds a connection may take."""
    CONNECT.set(connect)
    PASSAGE.set(passage)
    return passage


def _check_led(provider: str, called: str, declared: TargetConfig) -> None:
    """Raise Misfit if LiteLLM would ask another provider than is declared, or in another way."""
    if "replicate" in called and provider != "replicate":
        raise Misfit(
            f"LiteLLM sends every model with `replicate` in its name to Replicate, not to {provider}: give it another name", "model"
        )
    if provider == OWN_CLIENT and declared.egress != DIRECT:
        raise Misfit(f"`{OWN_CLIENT}/` takes no proxy and no CA: write `openai/{called}`", "model")


def _dropped(name: str, lane: Library, form: Arguments) -> tuple[str, ...]:
    """Return the hints that LiteLLM will not send. ParameterMissed if one is more than a hint."""
    dropped = lane.dropped(str(form.arguments["model"]), form.arguments)
    if missed := [one for one in dropped if one in NEEDS]:
        raise ParameterMissed(name, missed[0])
    return dropped


def _fixed(declared: TargetConfig, options: Options) -> dict[str, object]:
    """Return the arguments that every call of a target has."""
    fixed: dict[str, object] = {
        "model": str(declared.model),
        "stream": True,
        "stream_options": {"include_usage": True},
        "num_retries": 0,
        "max_retries": 0,
        # With tools it would look for its own MCP gateway: that imports its whole proxy, and fails where `mcp` is not installed.
        "_skip_mcp_handler": True,
    }
    if declared.api_base:
        fixed["api_base"] = declared.api_base
    if any(value is None for value in options.body.values()):
        raise Misfit("through LiteLLM null removes nothing: it writes its fields itself", "body")
    if options.body and str(declared.model).startswith(AS_ARGUMENTS):
        if taken := ITS_OWN.intersection(options.body):
            raise Misfit(f"LiteLLM takes `{min(taken)}` for itself: it cannot be sent through it", "body")
        fixed |= {**options.body, "allowed_openai_params": list(options.body)}
    elif options.body:
        fixed["extra_body"] = options.body
    if headers := options.beside({"anthropic-beta": INTERLEAVED} if str(declared.model).startswith("anthropic/") else {}):
        fixed["extra_headers"] = headers
    if declared.api_version:
        fixed["api_version"] = declared.api_version
    if declared.api_key:
        fixed["api_key"] = declared.api_key.value
    elif declared.api_base:
        # A server of one's own wants no key, the OpenAI client insists on one; never the environment's, meant for another.
        fixed["api_key"] = "none"
    return fixed


def _form(fixed: Mapping[str, object], ask: Ask, params: Params, facts: Facts, issuer: str = "") -> Arguments:
    model = str(fixed["model"])
    if is_claude(model) and facts.thinking != "adaptive" and not keeps_thinking(ask, issuer):
        facts = replace(facts, thinking="none", always_thinks=False)  # LiteLLM makes a budget of an effort
    fitted = fit(facts, params).beside(ask)
    takes = returned_through_litellm(facts, fitted, model)
    messages = completions.messages(ask, beside(ask, issuer, takes), facts.carries)
    keeps = facts.marks_from > 0 and is_long(ask, facts.marks_from)
    hints = {name: completions.parameter(name, value) for name, value in fitted.hints.items()}
    if not ask.tools:
        hints.pop("parallel_tool_calls", None)
    arguments: dict[str, object] = {**hints, **fixed, "messages": mark_messages(messages) if keeps else messages}
    responding = responses.needed(ask, facts, fitted)
    if (effort := fitted.effort or (_usual_effort(facts) if responding else None)) is not None:
        arguments["reasoning_effort"] = effort
    if fitted.max_tokens is not None and facts.limit != "none":
        arguments["max_tokens"] = fitted.max_tokens  # LiteLLM knows what each model calls it
    if is_claude(model) and facts.thinking == "budget" and (budget := BUDGETS.get(fitted.effort or "")):
        # Of an effort LiteLLM makes a budget that may be more than the limit, of which it is a part: Claude refuses that.
        arguments["thinking"] = {"type": "enabled", "budget_tokens": budget}
        del arguments["reasoning_effort"]
        if fitted.max_tokens is not None:
            arguments["max_tokens"] = fitted.max_tokens + budget
    if fitted.stop:
        arguments["stop"] = list(fitted.stop)
    if ask.tools:
        # A copy: it takes out of a schema what Gemini does not know, and every other target would be told another tool from then on.
        arguments["tools"] = [deepcopy(completions.tool(spec, facts.carries)) for spec in ask.tools]
        if (choice := completions.choice(ask)) is not None and (facts.forced_tools or choice == "none"):
            arguments["tool_choice"] = choice
    if ask.session and facts.session_key == CACHE_KEY and model.partition("/")[0] in KEYED:
        arguments[CACHE_KEY] = session_key(ask.session, str(fixed.get("api_key", "")))
    if responding:
        arguments["store"] = False  # LiteLLM asks the Responses API then, which keeps a conversation unless it is told not to
    return Arguments(arguments, (*fitted.omitted, *uncarried(facts, ask)), fitted.bounds(facts), takes, (CONTROL,) if keeps else ())


def _usual_effort(facts: Facts) -> Effort | None:
    """Return the effort of a question that names none.

    LiteLLM asks through the Responses API only if the call has an effort, and some models take tools only there.
    """
    return facts.default_effort or next((one for one in ("medium", "high", "low") if one in facts.efforts), None)


async def _heard(lane: Library, form: Arguments, hear: "Hearing") -> Events:
    """Stream the events of one call. Raises LiteLLM's own errors."""
    hear.stream = stream = await lane.acompletion(**form.arguments)
    speech = hear.speech
    try:
        async for chunk in stream:
            hear(chunk)
            for event in speech.take():
                yield event
            if speech.cut or (getattr(chunk, "usage", None) and speech.finished):
                break  # the last one: what it would do yet is to log it, for nobody
        for event in speech.end():
            yield event
    finally:
        # Without this, a cancelled reader leaves the provider's connection open.
        await stream.aclose()


def _raised(target: str, provider: str, error: BaseException, hear: "Hearing") -> TargetError:
    """Return the router's error for a failed call.

    An end without a finish reason, or with one that means a failure, is a cut stream. LiteLLM raises an error of its own for some of them: for which, depends
    on its version.
    """
    original = getattr(error, "original_exception", None) or error
    if hear.stream is not None and not hear.speech.finished and (hear.is_broken or "StopAsyncIteration" in _causes(original)):
        return TargetDown(target, "cut")
    raised = translated(target, error)
    if provider in ASKED and type(raised) is TargetRefused and hear.stream is not None:
        return TargetDown(target, "status_500")  # whatever goes wrong inside a stream of Ollama's is told as a 400
    return raised


def _said(error: BaseException) -> tuple[int, str]:
    """Return the status and the words of a refusal; status 0 if it has none."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else 0, str(error)


THEIRS = ("srvtoolu_", "mcptoolu_")
"""Prefixes of the ids of calls that Anthropic has made and answered itself."""


SIGNATURE = "__thought__"
"""The mark in an id before the signature that LiteLLM writes there."""


def _gather(delta: Any, thoughts: Blocks) -> None:
    """Collect the pieces of Claude's thinking blocks from LiteLLM's deltas. Text or a call closes the open block."""
    pieces: list[Any] = list(getattr(delta, "thinking_blocks", None) or ())
    for piece in pieces:
        match piece:
            case {"type": "redacted_thinking", "data": str(data)}:
                thoughts.redacted(data)
            case {"type": "thinking"}:
                if thoughts.signed:
                    thoughts.close()
                thought, signature = piece.get("thinking"), piece.get("signature")
                thoughts.thinking(thought if isinstance(thought, str) else "", signature if isinstance(signature, str) else None)
            case _:
                pass
    if not pieces and (delta.content or delta.tool_calls):
        thoughts.close()


class Hearing:
    """A reader of LiteLLM's chunks that feeds the speech.

    Values that LiteLLM makes up are left out: counts that no provider sent, and an end without a finish reason (it may as well have been
    cut off). Calls of tools that the provider runs itself are left out, too.
    """

    def __init__(self, speech: Speech, streams_read: Sequence[Retold] = (), takes: Returns = NOTHING) -> None:
        self.speech = speech
        self._reasoning = Reasoning(takes)
        speech.states_at_end(self._reasoning.states)
        self._blocks = Blocks(speech) if takes.blocks else None
        self._streams = streams_read
        self.stream: Stream | None = None
        """None until the provider was asked."""
        self._foreign: set[int] = set()

    def __call__(self, chunk: Any) -> None:
        """Read one chunk."""
        speech = self.speech
        if (usage := getattr(chunk, "usage", None)) and (sent := self._sent):
            _count(usage, speech, sent)
        for choice in chunk.choices[:1]:
            delta = choice.delta
            if speech.finished:
                break
            if thought := getattr(delta, "reasoning_content", None):
                speech.thought(thought)
                self._reasoning.text("reasoning_content", thought)
            if self._blocks is not None:
                _gather(delta, self._blocks)
            if delta.content:
                speech.text(delta.content)
            for call in delta.tool_calls or ():
                self._call(call)
            if choice.finish_reason:
                if self._blocks is not None:
                    self._blocks.close()
                self._finish(choice.finish_reason)

    def with_usage(self, error: TargetError) -> TargetError:
        """Add the answer's usage to an error. LiteLLM keeps the counts it has read to itself until the end."""
        if sent := self._sent:
            _count(sent[-1], self.speech, sent)
            error.used = self.speech.used
        return error

    @property
    def is_broken(self) -> bool:
        """True if the provider's own finish reason means a failure."""
        return self._own.lower() in BROKEN

    @property
    def _own(self) -> str:
        """The provider's own finish reason; empty if none was heard."""
        return next((one.reason for one in reversed(self._streams) if one.reason), "")

    @property
    def _sent(self) -> Sequence[Any]:
        """Counts of tokens that the provider has sent."""
        chunks = self.stream.chunks if self.stream is not None else ()
        return [usage for one in chunks if (usage := getattr(one, "usage", None))]

    def _call(self, call: Any) -> None:
        index = call.index or 0
        if call.id:
            (self._foreign.add if call.id.startswith(THEIRS) else self._foreign.discard)(index)
        if index not in self._foreign:
            # LiteLLM writes Gemini's signature into the id as well, which goes to clients and other targets.
            call_id = (call.id or "").partition(SIGNATURE)[0]
            self.speech.call(index, call_id, call.function.name or "", call.function.arguments or "")
            match getattr(call, "provider_specific_fields", None):
                case {"thought_signature": str(signature)}:
                    self.speech.state({"provider_specific_fields": {"thought_signature": signature}}, index)
                case _:
                    pass

    def _finish(self, reason: str) -> None:
        assert self.stream is not None
        stated = self.stream.received_finish_reason or self.stream.intermittent_finish_reason
        own = self._own
        if stated and own and REASONS.get(own.lower()) not in ("stop", "tool-calls"):
            self.speech.finish(own)  # LiteLLM calls it stop, or a limit
        elif stated and stated.lower() in BROKEN:
            self.speech.finish(stated)
        elif stated:
            # `tool_calls` is said of the provider's own tools too; Speech knows whether there are any of ours.
            self.speech.finish("stop" if reason == "tool_calls" else reason)


def _count(usage: Any, speech: Speech, sent: Sequence[Any]) -> None:
    """Record LiteLLM's usage, an object of its own in the form of a chat completion's.

    LiteLLM makes up the reasoning tokens if none of the `sent` counts has them: those are dropped.
    """
    counted = _plain(usage)
    if not any(_plain(one).get("completion_tokens_details") for one in sent):
        counted.pop("completion_tokens_details", None)
    try:
        msgspec.convert(counted, ChatUsage, strict=False).tell(speech)
    except msgspec.ValidationError:
        speech.usage(usage.prompt_tokens or 0, usage.completion_tokens or 0)  # something is odd in its details


def _plain(usage: Any) -> dict[str, Any]:
    return {**cast("dict[str, Any]", usage.model_dump() if hasattr(usage, "model_dump") else vars(usage))}


def translated(target: str, error: BaseException) -> TargetError:
    """Return LiteLLM's error as ours. Its message may hold the provider's body and with it the key: it goes no further."""
    original = getattr(error, "original_exception", None)
    if isinstance(original, BaseException):
        error = original
    kinds, causes = _kinds(error), _causes(error)
    if "ContextWindowExceededError" in kinds:
        return ContextTooLong(target, "context_too_long")
    if "ContentPolicyViolationError" in kinds:
        return ContentFiltered(target, "content_filter")
    if kinds & {"Timeout", "APITimeoutError", "TimeoutError"} and not causes & ANSWERED:
        return TargetSilent(target, "timeout_connect")
    if (kinds | causes) & CERTIFICATE:
        return TargetDenied(target, "tls")
    if (kinds | causes) & CONNECTION and not causes & ANSWERED:
        return TargetDown(target, "connection")  # OpenAI's arrives as an InternalServerError that was caused by it
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 300 <= status < 400:
        return TargetRefused(target, "redirect")
    if isinstance(status, int) and 400 <= status < 600:
        headers = getattr(error, "litellm_response_headers", None) or getattr(getattr(error, "response", None), "headers", None)
        return verdict(target, status, str(error), dict(headers or {}))
    return TargetDown(target, "malformed")


CERTIFICATE = frozenset({"SSLError", "ClientSSLError"})
ANSWERED = frozenset({"APIStatusError", "HTTPStatusError"})
"""Causes of an error that the provider sent. LiteLLM raises the same error for a provider's 408 and 504 as for a limit of its own."""
CONNECTION = frozenset({"APIConnectionError", "TransportError", "ClientError", "OSError"})


def _causes(error: BaseException) -> set[str]:
    """Return the class names of all causes of this error, 8 levels deep."""
    names: set[str] = set()
    cause = error.__cause__ or error.__context__
    for _ in range(8):
        if cause is None:
            break
        names |= _kinds(cause)
        cause = cause.__cause__ or cause.__context__
    return names


def _kinds(error: BaseException) -> set[str]:
    """Return the names of an error's classes: the classes themselves exist only once the library is imported."""
    return {kind.__name__ for kind in type(error).__mro__}
