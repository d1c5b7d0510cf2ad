"""Uses of libraries that their documentation does not promise.

`NEEDS` lists each such use with our file that has it. When an upgrade removes one, a test names that file: it is the one to change.
A use that is missing from the list is found too, where possible: a private name, a replaced function, an attribute of an extended class,
an undocumented module, and every name of a package that the type checker does not see.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version

import pytest

from tests.conftest import ROOT
from tests.support.libraries import Gone, check, has, installed, names_of, tree

_HANDLER = "litellm.llms.custom_httpx.http_handler"
_TRANSPORT = "litellm.llms.custom_httpx.aiohttp_transport"
_CHUNKS = "litellm.litellm_core_utils.streaming_handler:CustomStreamWrapper"
_PROTOCOL = "uvicorn.protocols.http.httptools_impl"
_SUPERVISOR = "uvicorn.supervisors.multiprocess"

NEEDS: dict[str, dict[str, str]] = {
    "router/access/cors.py": {
        "starlette.middleware.cors:CORSMiddleware.app": "the application is reached past it where no origin is declared",
        "starlette.middleware.cors:CORSMiddleware.allow_origins": "it is skipped where no origin is declared",
        "starlette.middleware.cors:CORSMiddleware.is_allowed_origin": "a refused origin is logged",
        "starlette.middleware.cors:CORSMiddleware.preflight_response(self, request_headers)": "a private network is for declared origins alone",
    },
    "router/admin/docs.py": {
        "fastapi_offline/static/swagger-ui-bundle.js": "Swagger UI's script is served from here",
        "fastapi_offline/static/swagger-ui.css": "Swagger UI's style is served from here",
        "fastapi_offline/static/favicon.png": "the page's icon is served from here",
    },
    "router/admin/guarded.py": {
        "starlette.routing:Route.path_format": "addresses are listed as the documentation has them",
        "starlette.routing:Route.handle(self, scope, receive, send)": "a guard stands before it",
        "starlette.routing:Route.methods": "read by the guard, and listed as the documentation has them",
    },
    "router/admin/pages.py": {
        "fastapi.applications:FastAPI.openapi(self)": "replaced: the answers' own operations are added to the schema",
        "fastapi.applications:FastAPI.openapi_schema": "the finished schema is kept there",
        "starlette.routing:Router.routes": "routes are added one by one: their guards are their own",
        "starlette.routing:Router.default": "replaced: the 404 has a guard",
    },
    "router/admin/routed.py": {
        "starlette.routing:Route.app": "replaced: an answer writes to the server without a layer between",
        "starlette.routing:Route.methods": "the HEAD that is added to GET is taken out",
        "starlette.routing:Route.path_regex": "an id may hold a line break",
    },
    "router/admin/watchdog.py": {"sys:_current_frames": "where the loop stands still"},
    "router/callers/tokens.py": {
        "joserfc.jws:JWSRegistry.algorithms": "the declared algorithms, without the library's advice",
        "joserfc.jws:JWSRegistry.get_alg(self, name)": "replaced, for the same reason",
        "joserfc.jws:JWSRegistry.max_header_length": "a bound of our own",
        "joserfc.jws:JWSRegistry.max_payload_length": "a bound of our own",
    },
    "router/commands/paths.py": {
        "shtab#_shtab_compgen_files": "completes files, in the scripts that shtab writes for bash",
        "shtab#_shtab_compgen_dirs": "completes folders",
        "shtab#_files": "completes files, in zsh",
    },
    "router/commands/workers.py": {
        "uvicorn.supervisors:Multiprocess": "workers are supervised by uvicorn's own class",
        _SUPERVISOR: "workers are supervised by uvicorn's own class",
        f"{_SUPERVISOR}:Multiprocess.handle_signals(self)": "a blocked SIGHUP is handled with the others",
        f"{_SUPERVISOR}:Multiprocess.handle_hup(self)": "replaced: workers read the files instead of being replaced",
        f"{_SUPERVISOR}:Multiprocess.handle_int(self)": "an asked-for end is told from a failure",
        f"{_SUPERVISOR}:Multiprocess.handle_term(self)": "an asked-for end is told from a failure",
        f"{_SUPERVISOR}:Multiprocess.keep_subprocess_alive(self)": "replaces a worker; called for one at a time",
        f"{_SUPERVISOR}:Multiprocess.processes": "the workers",
        f"{_SUPERVISOR}:Multiprocess.should_exit": "ends all of them",
        f"{_SUPERVISOR}:Process.process": "whether a worker is alive",
        f"{_SUPERVISOR}:Process.pid": "a worker is sent SIGHUP",
        f"{_SUPERVISOR}:Process.exitcode": "a worker that could not start is not replaced",
        f"{_SUPERVISOR}:Process.ping(self, timeout)": "a sign of life",
        f"{_SUPERVISOR}:Process.is_ready(self, timeout)": "whether any worker has served",
        f"{_SUPERVISOR}:Process.parent_conn": "late answers are read from its pipe",
    },
    "router/commands/serve.py": {
        "uvicorn.server:Server.started": "the exit code of a server that did not start",
        "uvicorn.config:Config.bind_socket(self)": "workers share one socket",
        f"{_SUPERVISOR}:Multiprocess.signal_queue": "a Ctrl-C that the supervisor has not read yet",
        "prometheus_client.values#PROMETHEUS_MULTIPROC_DIR": "workers keep their counters together",
    },
    "router/config/environment.py": {
        "dotenv.main:resolve_variables(values, override)": "`${HOST}` in a value of `.env`",
        "dotenv.parser:parse_stream(stream)": "lines that are no variable are reported with their number",
        "dotenv.parser:Binding.error": "lines that are no variable",
        "dotenv.parser:Binding.original": "the number of a line",
    },
    "router/drill.py": {
        "asyncio.base_events:BaseEventLoop._run_once(self)": "drills run in virtual time",
        "asyncio.base_events:BaseEventLoop._ready": "the next turn of the virtual loop",
        "asyncio.base_events:BaseEventLoop._scheduled": "the next timer of the virtual loop",
    },
    "router/journal/metrics.py": {
        "prometheus_client.metrics:Histogram._sum": "it is set when the page is read, or with several workers added to, without a lookup",
        "prometheus_client.metrics:Histogram._buckets": "the same",
        "prometheus_client.values:MutexValue._multiprocess": "whether they are in files, which other processes read",
    },
    "router/server/cycle.py": {
        _PROTOCOL: "a response that is written without uvicorn's `send`",
        **{
            f"{_PROTOCOL}:RequestResponseCycle.{name}": "the state that `send` keeps is kept without it, too"
            for name in (
                *("transport", "default_headers", "message_event", "on_response", "disconnected", "keep_alive"),
                *("waiting_for_100_continue", "response_started", "response_complete", "chunked_encoding"),
                *("scope", "flow", "logger", "access_logger", "access_log", "expected_content_length", "body", "more_body"),
            )
        },
        f"{_PROTOCOL}:RequestResponseCycle.run_asgi(self, app)": "a task that has begun leaves `tasks` without a turn of the event loop",
        f"{_PROTOCOL}:RequestResponseCycle.__init__(self, scope, transport, flow, logger, access_logger, access_log, default_headers, "
        "message_event, expect_100_continue, keep_alive, on_response)": "replaced: what is the same for all requests is not set for each",
        f"{_PROTOCOL}:RequestResponseCycle.receive(self)": "replaced: an event is made only for a request that waits",
        f"{_PROTOCOL}:RequestResponseCycle.send(self, message)": "a body of any length passes for HTTP/1.0",
        "uvicorn.protocols.http.flow_control:FlowControl.read_paused": "reading goes on once a part of the body was received",
    },
    "router/server/door.py": {
        _PROTOCOL: "the door is uvicorn's connection with bounds",
        **{
            f"{_PROTOCOL}:HttpToolsProtocol.{name}": "the door counts and times what it reads and writes"
            for name in (
                *("parser", "transport", "flow", "cycle", "loop", "pipeline"),
                *("url", "headers", "connection_made", "connection_lost", "data_received", "pause_writing"),
                *(
                    "resume_writing",
                    "on_message_begin",
                    "on_url",
                    "on_header",
                    "expect_100_continue",
                    "on_headers_complete",
                    "on_body",
                    "on_message_complete",
                ),
            )
        },
        **{
            f"{_PROTOCOL}:HttpToolsProtocol.{name}": "on_message_begin and on_headers_complete are replaced: a request of the door's own"
            for name in (
                *("_start_asgi_task", "tasks", "app", "logger", "access_log", "server_state", "server", "client", "scheme", "app_state"),
            )
        },
        f"{_PROTOCOL}:HttpToolsProtocol.on_response_complete(self)": "replaced: no timer for each answer",
        f"{_PROTOCOL}:HttpToolsProtocol.timeout_keep_alive": "an idle connection is closed after it, by the door's own timer",
        f"{_PROTOCOL}:HttpToolsProtocol.send_400_response(self, msg)": "replaced: a refusal in the form of the other errors",
        **{
            f"{_PROTOCOL}:RequestResponseCycle.{name}": "on_body and on_message_complete are replaced: the request's body"
            for name in ("body", "more_body")
        },
        f"{_PROTOCOL}:RequestResponseCycle.scope": "a response without a body is left to `send`",
        f"{_PROTOCOL}:RequestResponseCycle.access_log": "a response that uvicorn logs is left to `send`",
        f"{_PROTOCOL}:RequestResponseCycle.response_started": "no refusal in the middle of an answer",
        f"{_PROTOCOL}:RequestResponseCycle.response_complete": "whether every request is answered",
        "uvicorn.server:ServerState": "the type of the state that connections share",
        "uvicorn.protocols.http.flow_control:HIGH_WATER_LIMIT": "bytes of a body that wait for the application at most",
        "uvicorn.protocols.http.flow_control:FlowControl.read_paused": "a client is not to blame where we do not read",
        "uvicorn.protocols.http.flow_control:FlowControl.write_paused": "`send` would wait for the client",
    },
    "router/shared/redis.py": {
        "redis.exceptions:RedisError.status_code": "the code of an answer that concerns every command",
        "redis.asyncio.retry:Retry": "the library's retries are off",
        "redis.backoff:NoBackoff": "the library's retries are off",
    },
    "router/templates.py": {"jinja2.utils:missing": "the default of a class of undefined values"},
    "router/targets/litellm.py": {"litellm.main#_skip_mcp_handler": "a question with tools does not import its proxy"},
    "router/targets/litellm_chunks.py": {
        f"{_CHUNKS}.chunks": "counts that a provider sent, and not those that are made up",
        f"{_CHUNKS}.received_finish_reason": "the provider's own finish reason",
        f"{_CHUNKS}.intermittent_finish_reason": "the provider's own finish reason",
        "litellm.types.utils:Delta.reasoning_content": "thoughts",
        "litellm.types.utils:Delta.thinking_blocks": "Claude's thinking, with its signature",
        "litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini#thought_signature": "Gemini's signature of a call",
        "litellm.litellm_core_utils.prompt_templates.factory#__thought__": "Gemini's signature in a call's id, which is cut off",
        "litellm.exceptions:MidStreamFallbackError.original_exception": "the error that began it",
        "litellm.litellm_core_utils.exception_mapping_utils#litellm_response_headers": "a refusal's Retry-After",
    },
    "router/targets/litellm_library.py": {
        # Read at import, or when a client is made.
        "litellm.litellm_core_utils.get_model_cost_map#LITELLM_LOCAL_MODEL_COST_MAP": "no prices are fetched from the network",
        "litellm.anthropic_beta_headers_manager#LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "no headers are fetched from the network",
        "litellm#LITELLM_MODE": "no `.env` is read",
        f"{_HANDLER}#DISABLE_AIOHTTP_TRANSPORT": "its client is the one that is patched",
        f"{_HANDLER}#LITELLM_HTTP2": "its client is the one that is patched",
        f"{_HANDLER}#AIOHTTP_TRUST_ENV": "no proxy of the environment",
        # Settings of the library.
        "litellm:disable_hf_tokenizer_download": "no tokenizer is fetched for names such as llama-3",
        "litellm:suppress_debug_info": "nothing is printed",
        "litellm:drop_params": "a parameter that a provider does not know is left out",
        "litellm:callbacks": "nothing of a question is logged",
        "litellm:disable_aiohttp_trust_env": "no proxy of the environment",
        "litellm:aclient_session": "OpenAI's library has one client",
        "litellm.llms.custom_httpx.http_handler#sync_transport": "the synchronous client goes the declared way",
        "litellm:module_level_client": "made before the settings: it is made again",
        f"{_HANDLER}:HTTPHandler.client": "the client within",
        f"{_HANDLER}:HTTPHandler.create_client(self)": "makes it again",
        f"{_HANDLER}:HTTPHandler.get(self, url)": "replaced: descriptions of models are not fetched",
        f"{_HANDLER}:AsyncHTTPHandler.create_async_transport": "the transport of that one client",
        f"{_TRANSPORT}:LiteLLMAiohttpTransport.handle_async_request(self, request)": "replaced: redirects, limits, streams that are normalized",
        f"{_TRANSPORT}:LiteLLMAiohttpTransport._get_proxy_settings(self, request)": "replaced: the proxy of the target that asks",
        f"{_TRANSPORT}:LiteLLMAiohttpTransport._ssl_verify": "replaced: the certificates of the target that asks",
        f"{_TRANSPORT}#extensions": "`connect` and `pool` of a request's time limits are read from there",
        # Calls and what comes of them.
        "litellm:acompletion": "asks",
        "litellm:token_counter": "loads a tokenizer",
        "litellm:get_supported_openai_params": "the parameters that it passes on",
        "litellm:model_cost": "a model that is in it is not asked for",
        f"{_CHUNKS}.aclose(self)": "closes the provider's connection",
        # The end.
        "litellm:close_litellm_async_clients": "closes its connections",
        "litellm._lazy_imports#in_memory_llm_clients_cache": "closed clients are forgotten",
        "litellm._lazy_imports#module_level_aclient": "is closed, too",
        "litellm.caching.in_memory_cache:InMemoryCache.flush_cache(self)": "forgets them",
        # Of its own libraries, whose values the type checker does not see here.
        "httpx:AsyncByteStream": "the form of a body",
        "httpx:AsyncClient": "the client that OpenAI's library is given",
        "httpx:AsyncClient.aclose(self)": "replaced: it closes its connections alone",
        "httpx:ConnectError": "nothing is fetched",
        "httpx:HTTPError": "an error of the client",
        "httpx:ReadError": "a body that broke off",
        "httpx:Timeout": "a limit for connecting alone",
        "aiohttp:ClientError": "an error of the client",
        "openai:OpenAIError": "an error of the client",
        "openai.resources": "imported before the first question",
    },
    "router/targets/passage.py": {
        "httpx:BaseTransport": "the form of a transport",
        "httpx:HTTPTransport": "the synchronous client's connections",
        "httpx:HTTPError": "an error of the client",
        "httpx:Proxy": "a proxy with its certificates",
        "httpx:ProxyError": "an error of the proxy",
        "botocore.utils:get_environ_proxies(url)": "replaced: the proxy of the target that asks",
        "botocore.endpoint:get_environ_proxies(url)": "replaced: the proxy of the target that asks",
        "botocore.httpsession:URLLib3Session._get_ssl_context(self)": "replaced: the authorities of the target that asks",
        "botocore.httpsession:URLLib3Session._setup_proxy_ssl_context(self, proxy_url)": "replaced: those for the proxy, too",
        "botocore.httpsession:URLLib3Session._setup_ssl_cert(self, conn, url, verify)": "replaced: no variable turns the check off",
        "botocore.httpsession:URLLib3Session.send(self, request)": "replaced: it notes what the proxy refuses",
        "botocore.httpsession:ProxyConnectionError": "a proxy that refuses, or is not there",
        "http.client#Tunnel connection failed": "the status of a refused tunnel",
    },
    "router/targets/table.py": {"litellm/model_prices_and_context_window_backup.json": "prices, windows and capabilities"},
    "router/toolbox/mcp.py": {
        "mcp.client.streamable_http:streamable_http_client": "a server over HTTP",
        "mcp.client.subscriptions:ListenNotSupportedError": "a server without news of its tools",
        "mcp.client.subscriptions:SubscriptionLost": "news of its tools that ended",
        "mcp.types:CONNECTION_CLOSED": "a call whose server has gone",
        "mcp.types:ToolListChangedNotification": "news of its tools, known by the name of its class",
    },
}
"""Our file → name in a library → what it is used for.

    package.module                        a module
    package.module:Class.attribute        a name in it, or an attribute of the class or of its instances
    package.module:function(one, two)     the first parameters of a function, where ours replaces it, or calls it so
    package.module#text                   text of the module's source: a variable of the environment, a key
    package/folder/file                   a file of the package
"""

DOCUMENTED = frozenset(
    {
        *("cachetools", "fastapi", "fastapi.openapi.utils", "fastapi.responses", "fastapi.routing", "httptools", "idna", "jinja2"),
        *("jinja2.meta", "jinja2.nodes", "jinja2.sandbox", "joserfc.errors", "joserfc.jwk", "joserfc.jws", "joserfc.jwt", "mcp", "msgspec"),
        *("msgspec.structs", "opentelemetry", "opentelemetry.exporter.otlp.proto.http.metric_exporter", "opentelemetry.sdk.metrics"),
        *("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk.metrics.export", "opentelemetry.sdk.resources"),
        *("opentelemetry.sdk.trace", "opentelemetry.sdk.trace.export", "opentelemetry.trace.propagation.tracecontext", "prometheus_client"),
        *("prometheus_client.core", "prometheus_client.multiprocess", "prometheus_client.registry", "pydantic", "pydantic.errors"),
        *(
            "pydantic.fields",
            "pydantic.json_schema",
            "typing_extensions",
            "redis.asyncio",
            "requests",
            "requests.adapters",
            "shtab",
            "starlette.datastructures",
        ),
        *("starlette.exceptions", "starlette.middleware.cors", "starlette.responses", "starlette.routing", "starlette.types", "tenacity"),
        *("uvicorn", "watchfiles", "yaml", "httpx2", "aiohappyeyeballs", "jsonschema", "referencing", "regex"),
        # Whole libraries whose names are listed above, one by one.
        *("litellm", "httpx", "aiohttp", "openai", "botocore.utils", "botocore.endpoint", "botocore.httpsession"),
        *("litellm.llms.custom_httpx.aiohttp_transport", "litellm.llms.custom_httpx.http_handler"),
    }
)
"""Modules that a library's documentation has users import from."""
EXTENDED = frozenset(
    {
        *("BaseModel", "GenerateJsonSchema", "Struct", "StrictUndefined", "Collector", "HTTPAdapter", "Protocol"),
        *("AsyncByteStream", "BaseTransport", "Formatter"),
    }
)
"""Classes that are made to be extended: their documentation says what may be overridden."""
UNSEEN = frozenset({"litellm", "httpx", "openai", "aiohttp"})
"""Packages that the files of UNSEEN_IN import late and by name, so that the type checker sees nothing of them."""
UNSEEN_IN = tuple(f"router/targets/{name}.py" for name in ("litellm", "litellm_chunks", "litellm_library", "passage"))


def gone(needs: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a sentence for each need that a library does not meet."""
    found: list[str] = []
    for file, listed in needs.items():
        for need, why in listed.items():
            try:
                check(need)
            except Gone as missing:
                found.append(f"{file} needs {missing} ({why}): {installed(need)} does not have it")
    return found


# Our files, read.


def listed_words(file: str) -> set[str]:
    """Return the words that NEEDS lists for a file: modules, and the names in them."""
    found: set[str] = set()
    for need in NEEDS.get(file, {}):
        module, _, rest = need.partition("(")[0].replace("#", ":").partition(":")
        found |= {module, *rest.replace(":", ".").split(".")}
    return found


def own_names(trees: Mapping[str, ast.Module]) -> set[str]:
    """Return the names that our own files define, including attributes of instances."""
    nodes = [one for parsed in trees.values() for one in ast.walk(parsed)]
    names = {name for one in nodes if isinstance(one, ast.stmt) for name in names_of(one)}
    return names | {one.attr for one in nodes if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and _is_self(one.value)}


def _is_self(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in {"self", "cls"}


def uses(file: str, parsed: ast.Module, own: set[str]) -> Iterator[str]:
    """Yield each word of a library that this file uses and that NEEDS has to list."""
    functions = {one.name for one in ast.walk(parsed) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    unseen = UNSEEN if file in UNSEEN_IN else frozenset[str]()
    for one in ast.walk(parsed):
        match one:
            case ast.Attribute(value=value, attr=name) if name.startswith("_") and not name.startswith("__") and not _is_self(value):
                yield from {name} - own - {"_replace"}
            case ast.Attribute(value=ast.Name(id=package), attr=name) if package in unseen:
                yield name
            case ast.Dict(keys=keys, values=values):
                yield from _private((*keys, *values))
            case ast.Call(func=ast.Name(id="getattr") | ast.Attribute(attr="get"), args=arguments):
                yield from _private(arguments)
            case ast.Assign(targets=[ast.Attribute(value=owner, attr=name)], value=value) if not _is_self(owner) and (
                isinstance(value, ast.Lambda) or (isinstance(value, ast.Name) and value.id in functions)
            ):
                yield from {name} if ast.unparse(owner) not in {"sys", "threading"} else ()
            case ast.ClassDef():
                yield from _extended(one, parsed)
            case _:
                pass
    yield from (module for module in _modules(parsed) if module not in DOCUMENTED)


def _private(values: Iterable[ast.expr | None]) -> Iterator[str]:
    """Yield those constants among these expressions that are private names."""
    for one in values:
        text = one.value if isinstance(one, ast.Constant) else None
        if isinstance(text, str) and re.fullmatch(r"_[a-z][a-z0-9_]*", text):
            yield text


def _modules(parsed: ast.Module) -> Iterator[str]:
    """Yield the full name of each module that a file imports, by any statement or `import_module`.

    Modules of `router` and of the standard library are left out.
    """
    for one in ast.walk(parsed):
        found: list[str] = []
        if isinstance(one, ast.ImportFrom):
            found = [one.module or ""]
        elif isinstance(one, ast.Import):
            found = [alias.name for alias in one.names]
        elif isinstance(one, ast.Call) and _called(one) == "import_module" and isinstance(one.args[0], ast.Constant):
            found = [str(one.args[0].value)]
        yield from (module for module in found if module.split(".")[0] not in {"router", *sys.stdlib_module_names})


def _extended(found: ast.ClassDef, parsed: ast.Module) -> Iterator[str]:
    """Yield what a class uses of its base in another package: attributes of the base, and methods of it that the class replaces."""
    imported = {
        alias.asname or alias.name: (one.module or "", alias.name)
        for one in ast.walk(parsed)
        if isinstance(one, ast.ImportFrom)
        for alias in one.names
    }
    for base in found.bases:
        module, name = imported.get(ast.unparse(base), ("", ""))
        if name and name not in EXTENDED and module.split(".")[0] not in {"router", *sys.stdlib_module_names}:
            own = {word for one in found.body for word in names_of(one)}
            used = {one.attr for one in ast.walk(found) if isinstance(one, ast.Attribute) and (_is_self(one.value) or _is_super(one.value))}
            yield from (word for word in own | used if not word.startswith("__") and has(f"{module}:{name}.{word}"))


def _is_super(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _called(value) == "super"


def _called(call: ast.Call) -> str:
    """Return the last word of the name of the called function; empty if it has none."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


@cache
def ours() -> dict[str, ast.Module]:
    """Return path → syntax tree of all files of `router/`."""
    return {path.relative_to(ROOT).as_posix(): tree(path) for path in sorted((ROOT / "router").rglob("*.py"))}


def test_installed_library_has_every_undocumented_name_that_is_used() -> None:
    """Every use that NEEDS lists, such as a private name, exists in the installed library."""
    assert gone(NEEDS) == []


@pytest.mark.parametrize(
    ("need", "missing"),
    [
        ("uvicorn.supervisors.multiprocess:Multiprocess.reap(self)", "uvicorn.supervisors.multiprocess.Multiprocess.reap"),
        ("uvicorn.supervisors.multiprocess:Process.ping(self, patience)", "uvicorn.supervisors.multiprocess.Process.ping(self, patience)"),
        ("uvicorn.supervisors.threads", "uvicorn.supervisors.threads"),
        ("uvicorn.supervisors:Threads", "uvicorn.supervisors.Threads"),
        ("uvicorn.config#UVICORN_THREADS", "`UVICORN_THREADS` in uvicorn.config"),
        ("uvicorn/threads.json", "uvicorn/threads.json"),
    ],
)
def test_removed_library_name_is_reported_with_the_file_that_needs_it(need: str, missing: str) -> None:
    """A name, parameter, module, text or file that a library lacks is reported with our file, the reason and the library's version."""
    sentence = f"router/commands/workers.py needs {missing} (to start workers): uvicorn {version('uvicorn')} does not have it"
    assert gone({"router/commands/workers.py": {need: "to start workers"}}) == [sentence]


def test_every_undocumented_use_of_a_library_is_listed() -> None:
    """Every use of a private name, replaced function, inherited attribute or undocumented module in `router/` is listed in NEEDS."""
    own = own_names(ours())
    unlisted = {file: set(uses(file, parsed, own)) - listed_words(file) for file, parsed in ours().items()}
    assert {file: found for file, found in unlisted.items() if found} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import uvicorn\nuvicorn.Config._asgi = None", {"_asgi"}),
        ("call(**{'_skip_cache': True})", {"_skip_cache"}),
        ("vars(library).get('_limits')", {"_limits"}),
        ("getattr(library, '_limits', None)", {"_limits"}),
        ("def post(self): ...\nclient.post = post", {"post"}),
        ("litellm.cache", {"cache"}),
        ("from uvicorn.lifespan.on import LifespanOn", {"uvicorn.lifespan.on"}),
        ("import_module('litellm.router')", {"litellm.router"}),
        (
            "from uvicorn.supervisors import Multiprocess\nclass Mine(Multiprocess):\n  def restart_all(self): self.config",
            {"restart_all", "config"},
        ),
    ],
)
def test_unlisted_use_of_a_library_is_found(source: str, found: set[str]) -> None:
    """Each form of an undocumented use is found in source code, such as a private attribute, `getattr` or a replaced method."""
    assert set(uses("router/targets/litellm.py", ast.parse(source), set())) - {"uvicorn.supervisors"} == found


def test_listed_use_occurs_in_its_file() -> None:
    """Every name that NEEDS lists for a file occurs in the text of that file."""
    named = {file: {need: re.split(r"[.:#/]", need.partition("(")[0])[-1] for need in listed} for file, listed in NEEDS.items()}
    assert [
        need for file, needs in named.items() for need, word in needs.items() if word not in (ROOT / file).read_text(encoding="utf-8")
    ] == []
