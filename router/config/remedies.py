"""Advice for unknown keys, before the nearest spelling is guessed: words of other programs, and the router's own in the wrong place."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from router.config.document import VARIABLE, Node, Scalar, Table, items_of
from router.signature import Either, Field, ListOf, MapOf, OneOf, Plain, Record, Shape, Spelled
from router.value import Value

LITELLM = "a configuration of LiteLLM's is turned into ours by `router import litellm FILE -o routes.yaml`"
STARTED = "it is said where the router is started: `router serve --{word} {value}`"
PROMPT = "what a model is told is a template: write the text into pipelines/NAME.j2 and `- prompt: NAME.j2` into pipelines/NAME.yaml"
VARIABLES = "set variables where the router is started, and write ${NAME} for them here"
RETRY = "write `retry: {{attempts: {attempts}}}` in the route or under `defaults`; the first try counts"
TIMEOUT = "write `timeout: {first_token: 10s, total: 5m}` in the route or under `defaults`"
CALLERS = "callers' keys stand under `server: {auth: {keys: …}}`, as `router keys new NAME` prints them"
USERS = "the key of a front end says how it names its users: write `user: {header: X-OpenWebUI-User-Id}` in it, under `server.auth.keys`"
NAMED = "a route names targets: write `NAME: {model: openai/gpt-5.6}` under `targets:`, and `targets: [NAME]` here"
ENCRYPTION = "a proxy in front ends TLS; deploy/nginx.conf is one"

WORDS: Mapping[str, str] = {
    **dict.fromkeys(("model_list", "litellm_params", "router_settings", "litellm_settings", "general_settings"), LITELLM),
    **dict.fromkeys(("base_url", "api_url", "url", "endpoint", "host_url"), "write `api_base: https://host/v1` in the target"),
    **dict.fromkeys(("provider", "custom_llm_provider"), "the provider stands before the model: write `model: openai/gpt-5.6`"),
    **dict.fromkeys(("max_retries", "num_retries"), RETRY),
    **dict.fromkeys(("request_timeout", "stream_timeout", "timeout_seconds"), TIMEOUT),
    **dict.fromkeys(("system", "system_prompt", "system_message", "prompt", "instructions"), PROMPT),
    **dict.fromkeys(("environment", "environment_variables", "env", "env_file"), VARIABLES),
    **dict.fromkeys(("master_key", "api_keys", "virtual_keys"), CALLERS),
    **dict.fromkeys(("user_header_name", "user_header_mappings", "user_header", "user_field"), USERS),
    **dict.fromkeys(("ssl_certfile", "ssl_keyfile", "tls", "ssl", "certfile", "keyfile"), ENCRYPTION),
    **dict.fromkeys(("log_level", "logging", "debug", "verbose", "set_verbose"), "the log has one line for each request: leave it out"),
    **dict.fromkeys(("allow_origins", "allowed_origins", "cors_origins"), "write `server: {cors: {origins: [http://localhost:3000]}}`"),
    **dict.fromkeys(("rpm", "requests_per_minute", "rate_limit"), "write `limit: {{requests: {count}/minute}}` in the route"),
    **dict.fromkeys(("tpm", "tokens_per_minute"), "write `limit: {{tokens: {count}/minute}}` in the route"),
    **dict.fromkeys(("max_completion_tokens", "max_output_tokens"), "write `params: {{max_tokens: {count}}}` in the target"),
    **dict.fromkeys(("redis_url", "redis_host"), "write `server: {redis: ${REDIS_URL}}`"),
    "version": "there is no version to write: leave it out",
    "services": "this is a file of Docker Compose's; `router init DIR` writes a routes.yaml",
    "stream": "answers are always streamed: leave it out",
    **dict.fromkeys(("port", "host", "workers"), STARTED),
}
"""Word of LiteLLM, OpenAI's SDKs, web servers or Docker Compose → the advice for it, in any mapping of the configuration."""
IN: Mapping[str, Mapping[str, str]] = {
    "TargetConfig": {
        **dict.fromkeys(("key", "token", "secret", "openai_api_key", "auth"), "write `api_key: ${OPENAI_API_KEY}`"),
        "timeout": TIMEOUT,
        "weight": "a share belongs in a pool: write `targets: [[{{use: NAME, weight: {count}}}, OTHER]]` in the route",
        "name": "a target's name stands before its mapping: write `NAME: {model: openai/gpt-5.6}`",
    },
    "Route": {
        **dict.fromkeys(("model", "models"), NAMED),
        "name": "a route's name stands before its mapping: write `NAME: {pipeline: chat, targets: [demo]}`",
    },
    "Server": dict.fromkeys(("api_key", "token", "password"), CALLERS),
}
"""Record (`Route` and the like) → word → its advice in such a mapping, which comes before that of WORDS."""
STEPS: Mapping[str, str] = {
    "system": "write the text into pipelines/NAME.j2, and `- prompt: NAME.j2` here",
    "template": "write `- prompt: NAME.j2`",
    "temperature": "write `- params: {temperature: 0.2}`",
    "max_tokens": "write `- params: {max_tokens: 1000}`",
    "messages": "write `- history: {keep: 40}`",
    **dict.fromkeys(("model", "targets"), "who answers stands in routes.yaml, under `targets`"),
    "tools": "write `tools: [NAME]` in the route",
    "cache": "write `cache: {ttl: 1h}` in the route",
}
"""Words that are not steps but are written in pipelines → what to write."""
FALLBACKS = ("fallbacks", "fallback", "fallback_models", "backup", "default_fallbacks", "context_window_fallbacks")
HARMLESS = ("duration", "size", "span", "share", "rate", "spend")
"""Names of Spelled shapes whose texts are never secrets: advice may repeat what was written."""
WIDEST = 40
"""Most characters of an example in advice; of a longer one the first 7 and `…` are shown."""
Path = tuple[str, ...]


class Spot(Value, frozen=True):
    """A place where a word may stand: the keys on the way to it (NAME for an operator's own name) and the shape of its value."""

    path: Path
    shape: Shape
    owner: str
    """The name of the record that has the word as a key."""


def spots(record: Record, path: Path = ()) -> Iterator[tuple[str, Spot]]:
    """Yield (key, its path and shape) for every key of a record and of the records nested in it. Keys inside lists are left out."""
    for item in record.fields:
        here = (*path, item.name)
        yield item.name, Spot(here, item.shape, record.name)
        for inner, more in _records(item.shape):
            yield from spots(inner, (*here, *more))


def _records(shape: Shape) -> Iterator[tuple[Record, Path]]:
    match shape:
        case Record():
            yield shape, ()
        case MapOf(item):
            yield from ((record, ("NAME", *more)) for record, more in _records(item))
        case Either(options):
            for option in options:
                yield from _records(option)
        case _:
            pass  # a key inside a list has no fixed place


class Advice(Value, frozen=True):
    """A source of advice for keys that their mapping does not have. `places`: returns known key → its places in the whole file."""

    places: Callable[[], Mapping[str, Sequence[Spot]]]

    def of(self, record: Record, table: Table, key: Scalar, value: Node) -> str:
        """Return the advice for a key of `table` that `record` does not know, as a clause without the `; ` before it; empty without any."""
        word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.text).replace("-", "_").lower()  # `base_url` for `baseUrl` and `BASE-URL`
        if word in FALLBACKS:
            return _fallbacks(table, value)
        if known := IN.get(record.name, {}).get(word) or WORDS.get(word):
            return _filled(known, word, value)
        if key.text.startswith("x-"):
            return "what routes share stands under `defaults`; there is no other place for it"
        return self._moved(record, word, value)

    def _moved(self, record: Record, word: str, value: Node) -> str:
        """Return the advice for a known key in the wrong mapping: its place below this mapping, else elsewhere; empty for other words."""
        below = [spot for name, spot in spots(record) if name == word and len(spot.path) > 1]
        found = below or sorted(self.places().get(word, ()), key=lambda spot: len(spot.path))
        if not found:
            return ""
        advice = f"it belongs in `{found[0].path[0]}`: write `{_written(found[0], value)}`"
        in_pipeline = f", or `- params: {{{word}: {_shown(found[0].shape, value)}}}` in the pipeline"
        return advice + (in_pipeline if found[0].owner == "Params" and not below else "")


def _filled(sentence: str, word: str, value: Node) -> str:
    """Return a sentence of advice with its placeholders filled: by the number that was written as the value, else by an example."""
    number = value.text if isinstance(value, Scalar) and re.fullmatch(r"[1-9]\d{0,8}", value.text) and value.source == value.text else ""
    if sentence == STARTED:
        return sentence.format(word=word, value=number or word.upper())
    if sentence == RETRY:
        return sentence.format(attempts=min(10, int(number) + 1) if number else 2)
    return sentence.format(count=number or "10") if "{count}" in sentence else sentence


def _fallbacks(table: Table, value: Node) -> str:
    """Return the advice to write fallbacks after the route's own targets, with both lists joined."""
    own, behind = items_of(table.get("targets")), items_of(value)
    names = [one.source for one in (*own, *behind) if isinstance(one, Scalar)]
    listed = ", ".join(names) if own and behind and len(names) == len(own) + len(behind) else "FIRST, SECOND"
    return f"a route asks its targets in order: write `targets: [{listed}]`"


def _written(spot: Spot, value: Node) -> str:
    """Return a key with its value inside the mappings on its path, in flow style on one line."""
    made = f"{spot.path[-1]}: {_shown(spot.shape, value)}"
    for name in reversed(spot.path[:-1]):
        made = f"{name}: {{{made}}}"
    return made


def _shown(shape: Shape, value: Node) -> str:
    """Return a value as it was written, if it fits the shape and cannot be a secret; else an example."""
    options = shape.options if isinstance(shape, Either) else (shape,)
    if isinstance(value, Scalar) and value.source == value.text:
        for option in options:
            if isinstance(option, Plain) and option.kind in ("integer", "number", "boolean") and re.fullmatch(r"[\w.-]+", value.text):
                return value.text
            if isinstance(option, OneOf) and value.text in option.values:
                return value.text
            if isinstance(option, Spelled) and option.name in HARMLESS and re.fullmatch(r"[\w./%-]+", value.text):
                return value.text
    return example(options[0])


def example(shape: Shape) -> str:
    """Return an example of a shape in YAML, on one line."""
    match shape:
        case Spelled():
            text = shape.example if len(shape.example) <= WIDEST else f"{shape.example[:7]}…"
            return f'"{text}"' if text.startswith("$") else text
        case OneOf(values):
            return values[0]
        case Plain(kind):
            return {"string": "…", "boolean": "true", "integer": "1", "number": "1.0", "null": "~"}[kind]
        case Either(options):
            return example(options[0])
        case ListOf(item):
            return f"[{example(item)}]"
        case Record():
            shown = [item for item in shape.fields if item.required] or [*shape.fields[:1]]
            return "{" + ", ".join(f"{item.name}: {_usual(item)}" for item in shown) + "}"
        case MapOf(item):
            return f"{{NAME: {example(item)}}}"
        case _:
            return "{…}"


def _usual(item: Field) -> str:
    """Return the default of a field as text, if it is a number or has a written form; else an example."""
    if isinstance(item.shape, Spelled) and item.shape.write is not None and item.default is not None:
        return item.shape.write(item.default)
    plain = isinstance(item.default, int | float) and not isinstance(item.default, bool)
    return f"{item.default:g}" if plain else example(item.shape)


SPELLINGS = (
    r"os\.environ/(\w+)",
    r"os\.(?:environ\[|getenv\(|environ\.get\()[\"'](\w+)[\"'][\])]",
    r"process\.env\.(\w+)",
    r"(?i:\$?env[:.]([A-Z]\w*))",
    r"\{\{-?\s*(?:env\.|secrets\.|\.)?([A-Za-z_]\w*)\s*-?\}\}",
    r"%([A-Za-z_]\w*)%",
    r"\$\(([A-Za-z_]\w*)\)",
    r"(?i:\$\{env[:.]([A-Za-z_]\w*)\})",
    r"\$\{\{\s*(?:env\.|secrets\.)?([A-Za-z_]\w*)\s*\}\}",
    rf"\$({VARIABLE.pattern})",
    r"\$\{([A-Za-z_]\w*)-[^{}]*\}",
)
"""Spellings of an environment variable in other programs; the first group of each is its name."""
MEANT = re.compile("|".join(SPELLINGS))
"""All spellings in a single pattern, so that each scalar is matched only once."""


def variable(text: str) -> str:
    """Return the name of the variable that a text such as `os.environ/NAME` means in another program's spelling; empty if it means none."""
    hit = MEANT.fullmatch(text.strip())
    return next(filter(None, hit.groups())) if hit else ""


DOLLARS = re.compile(r"\$(?P<sum>\d{1,9}(?:\.\d{1,6})?)(?:/(?P<unit>second|minute|hour|day))?")


def dollar(text: str) -> str:
    """Return the advice for a text with a malformed `$`: for a variable, a sum of dollars, or else all forms of references."""
    if name := variable(text):
        return f"write ${{{name}}} for the environment variable"
    if hit := DOLLARS.fullmatch(text):
        return f"write US dollars as {hit['sum']}USD/{hit['unit'] or 'day'}: a dollar sign begins a reference such as ${{NAME}}"
    return "write ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:/path}, or $$ for a dollar sign"
