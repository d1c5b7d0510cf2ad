"""Values with a form of their own in YAML: durations, sizes, spans, shares, names, secrets. Each has one parser."""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, TypeVar, cast
from urllib.parse import SplitResult, parse_qs, urlsplit

from router.config.origin import origin
from router.config.secrecy import secret_in_query
from router.errors import Misfit, Place
from router.signature import Spelled
from router.value import PartlyCompared, PartlyShown, Value

T = TypeVar("T")

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
DURATION = r"\d+(\.\d+)?(ms|s|m|h|d)"
SIZE = r"\d+(B|KiB|MiB|GiB)"
MAX_DIGITS = 20
"""Most characters of a number with its unit: longer ones are infinite as a float and too long for Python's int."""


def _duration(text: str) -> float:
    hit = re.fullmatch(DURATION, text, re.ASCII)
    if hit is None or len(text) > MAX_DIGITS:
        raise Misfit(f"`{text}` is not a duration: write a number and its unit, e.g. 250ms, 3s, 5m, 1h")
    return float(text.removesuffix(hit[2])) * SECONDS[hit[2]]


def duration(text: str) -> float:
    """Parse a duration such as `250ms` or `5m` into seconds. Raise Misfit if it is not one, or is 0."""
    if (seconds := _duration(text)) <= 0:
        raise Misfit(f"`{text}` is no time at all: it must be longer than 0s")
    return seconds


def written_duration(seconds: float) -> str:
    """Return seconds as text in the largest unit in which they are whole (90 is `90s`, 300 is `5m`), else in ms (under 1 s) or s."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= SECONDS[unit] and seconds % SECONDS[unit] == 0:
            return f"{seconds / SECONDS[unit]:.0f}{unit}"
    return f"{seconds / SECONDS['ms']:.6g}ms" if seconds < 1 else f"{seconds:.10g}s"


def _written_size(count: int) -> str:
    return next(f"{count // size}{unit}" for unit, size in reversed(BYTES.items()) if count % size == 0)


def _size(text: str) -> int:
    hit = re.fullmatch(SIZE, text, re.ASCII)
    if hit is None or len(text) > MAX_DIGITS:
        raise Misfit(f"`{text}` is not a size: write a whole number and its unit, e.g. 64KiB, 1MiB")
    return int(text.removesuffix(hit[1])) * BYTES[hit[1]]


class Span(Value, frozen=True):
    """A span of times from `least` to `most`, in seconds."""

    least: float
    most: float

    def __str__(self) -> str:
        return f"{written_duration(self.least)}..{written_duration(self.most)}"


def _span(text: str) -> Span:
    least, dots, most = text.partition("..")
    if not dots:
        raise Misfit(f"`{text}` is not a span: write the shortest and the longest, e.g. 0.25s..4s")
    span = Span(_duration(least), _duration(most))
    if span.least > span.most:
        raise Misfit(f"`{text}` runs backwards: the shorter comes first")
    return span


def _within(text: str) -> Span:
    return _span(text) if ".." in text else Span(0, duration(text))


def _share(text: str) -> float:
    hit = re.fullmatch(r"(\d+(?:\.\d+)?)%", text, re.ASCII)
    if hit is None or len(text) > MAX_DIGITS or not 0 < float(hit[1]) <= 100:
        raise Misfit(f"`{text}` is not a share: write a number above 0 and up to 100, and a percent sign, e.g. 5%")
    return float(hit[1]) / 100


def _has_port(parts: SplitResult) -> bool:
    """Return True if an address has no port or a valid one; False for port 0 or an invalid port."""
    try:
        return parts.port != 0
    except ValueError:
        return False


ELSEWHERE = "use `api_key`, or `token` for an MCP server or a collector"
"""Advice where a secret stands in an address."""


@lru_cache(maxsize=1024)  # many targets have one address
def web_address(text: str) -> str:
    """Return an http(s) address without slashes at its end. Raise Misfit if it is not one, or holds a user, a password or a secret."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(parts):
        raise Misfit("this is not a web address: write e.g. https://host/v1")
    if parts.username or parts.password:
        raise Misfit(f"a secret does not belong in an address, where logs and errors show it: {ELSEWHERE}")
    if word := secret_in_query(parts.query) or secret_in_query(parts.fragment):
        raise Misfit(f"a secret (…{word}=) does not belong in an address, where logs and errors show it: {ELSEWHERE}")
    return text.rstrip("/")


def _api_base(text: str) -> str:
    """Return the address of a provider's API, as `web_address` does. Raise Misfit also for the address of its `/chat/completions`."""
    address = web_address(text)
    if address.endswith("/chat/completions"):
        raise Misfit(f"`{text}` is one endpoint of the API: write {address.removesuffix('/chat/completions')}, the rest is put behind it")
    return address


class Name(str):
    """A name in a file, with references resolved: a str with its place.

    place: None if unknown
    source: the text as written, still with `${VAR}`; empty if unknown
    """

    __slots__ = ("place", "source")  # less memory than a dict: a large configuration has a hundred thousand names
    place: Place | None
    source: str

    def __getattr__(self, name: str) -> Place | str | None:
        """Return what stands for a place or a source that was never set."""
        if name == "place":
            return None
        if name == "source":
            return ""
        raise AttributeError(name)


class Secret(PartlyCompared, frozen=True, eq=False):
    """A secret value. Its repr and str show only `source`: the reference in the file, `${OPENAI_API_KEY}`, or stars."""

    BESIDE: ClassVar = frozenset({"place"})

    value: str
    source: str = "***"
    place: Place | None = None

    def __repr__(self) -> str:
        return self.source

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("source", self.source)]


class Fault(Value, frozen=True):
    """The behaviour of a target in a drill, parsed from a text such as `503 retry 30s` or `cut times 2`.

    what: a word of FAULTS, or the status as text
    status: the HTTP status of its answer; None for a word
    after: delay in seconds
    retry: seconds in the Retry-After of a status; None without one
    lasts: seconds of a stall; None for a stall without an end
    times: number of tries with this fault; None if it is not given
    """

    what: str
    status: int | None = None
    after: float = 0.0
    retry: float | None = None
    lasts: float | None = None
    times: int | None = None


FAULTS = ("ok", "cut", "stall", "silent", "empty", "down", "too_long", "filtered")
FAULT = (
    rf"(?P<what>[a-z_]+|[45]\d\d)( for (?P<lasts>{DURATION}))?( after (?P<after>{DURATION}))?"
    rf"( retry (?P<retry>{DURATION}))?( times (?P<times>[1-9]\d{{0,2}}))?"
)


def _fault(text: str) -> Fault:
    hit = re.fullmatch(FAULT, text, re.ASCII)
    what = hit["what"] if hit else ""
    if hit is None or not (what.isdigit() or what in FAULTS):
        words = ", ".join(FAULTS)
        raise Misfit(f"`{text}` is nothing a target does: write a status such as 503, or {words}; and how late, e.g. ok after 12s")
    if hit["retry"] and not what.isdigit():
        raise Misfit(f"`{text}`: `retry` goes with a status, as the Retry-After of a provider, e.g. 429 retry 30s")
    if hit["lasts"] and what != "stall":
        raise Misfit(f"`{text}`: `for` goes with stall, e.g. stall for 12s")
    after, retry, lasts = (_duration(hit[group]) if hit[group] else None for group in ("after", "retry", "lasts"))
    status, times = (int(text) if text and text.isdigit() else None for text in (what, hit["times"]))
    return Fault(what, status, after or 0.0, retry, lasts, times)


def checked(made: Callable[[str], T], fits: Callable[[str], object], mistake: str) -> Callable[[str], T]:
    """Return a function that makes a value of a text that fits, and raises Misfit for another: `{text}` is its first 40 characters."""

    def read(text: str) -> T:
        if not fits(text):
            raise Misfit(mistake.replace("{text}", text[:40]))
        return made(text)

    return read


NAME = r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}"
name_of = checked(Name, re.compile(NAME).fullmatch, "`{text}` is not a name: use letters, digits and . _ - : / @, 128 at most")
"""Returns a text as a Name: 1 to 128 letters, digits and . _ - : / @, a letter or digit first. Raises Misfit if it is not one."""


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise Misfit(f"`{text}` is no address and no network: write e.g. 127.0.0.1 or 10.0.0.0/8") from None


def _model(text: str) -> Name:
    provider, slash, model = text.partition("/")
    if not slash or not provider or not model:
        raise Misfit(f"`{text}` lacks its provider: write provider/model as LiteLLM does, e.g. {_with_provider(text.strip('/'))}")
    return Name(text)


FAMILIES = {
    "claude": "anthropic", "gemini": "gemini", "mistral": "mistral", "codestral": "mistral", "deepseek": "deepseek", "grok": "xai",
    "llama": "ollama_chat", "qwen": "ollama_chat",
}  # fmt: skip
"""Beginning of a model's name → its most likely provider; for all others OpenAI."""
PROVIDERS = frozenset({"openai", "anthropic", "azure", "gemini", "groq", "mistral", "deepseek", "ollama", "openrouter", "xai"})
"""Providers that other programs put before a model with a colon."""


def _with_provider(text: str) -> str:
    """Return provider/model for a model without its provider: the provider before its colon, else of its family, else OpenAI."""
    provider, colon, model = text.partition(":")
    if colon and model and provider.lower() in PROVIDERS:
        return f"{'ollama_chat' if provider.lower() == 'ollama' else provider.lower()}/{model}"
    family = next((name for start, name in FAMILIES.items() if text.lower().startswith(start)), "openai")
    return f"{family}/{text or 'gpt-5.6'}"


class KeySet(PartlyShown, frozen=True):
    """The public keys that verify tokens (RFC 7517): the address to fetch them from, or the keys themselves."""

    HIDDEN: ClassVar = frozenset({"keys"})

    url: str = ""
    keys: tuple[Mapping[str, object], ...] = ()


def _key_set(text: str) -> KeySet:
    if text.lstrip().startswith("{"):
        return KeySet(keys=key_set(text))
    web_address(text)
    parts = urlsplit(text)
    if parts.scheme != "https" and not loopback(parts.hostname or ""):
        raise Misfit("whoever is on the way could change keys that come over http: write an https address")
    return KeySet(text)


def key_set(text: str | bytes) -> tuple[Mapping[str, object], ...]:
    """Parse a JSON Web Key Set into its keys, each as a mapping, unchecked. Raise Misfit if the text is not such a set."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    listed = cast("dict[str, object]", read).get("keys") if isinstance(read, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in cast("list[object]", listed)):
        raise Misfit('this is no JSON Web Key Set: {"keys": [{"kty": …}]} is needed')
    return tuple(cast("list[Mapping[str, object]]", listed))


def loopback(host: str) -> bool:
    """Return True if a host is `localhost` or a loopback address (127.0.0.0/8, ::1); `is_this_machine` accepts further spellings."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


PLACEHOLDER = re.compile(r"(?i)<.*>|\.\.\.|…|sk-(\.{2,}|…|x{3,})|(your|insert|enter|replace)[-_ ].*|changeme|change[-_]me|todo")
"""Placeholders for a key, as documentation shows them: `<your key>`, `sk-…`, `changeme`."""


def _secret(text: str) -> Secret:
    if PLACEHOLDER.fullmatch(text):
        raise Misfit("this stands in place of a key, and is none: write ${NAME}, and set that variable where the router is started")
    if text.lower().startswith("bearer "):
        raise Misfit("write the key alone: `Bearer` is put before it")
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Misfit("a key is one line of visible ASCII characters")
    return Secret(text)


REDIS_OPTIONS = ("db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
"""Options that a Redis address may have behind its `?`. Time limits and the like are the router's own."""


def _redis_address(text: str) -> Secret:
    # Nothing of the text is repeated: there is a password in it.
    parts = urlsplit(_secret(text).value)
    where = parts.path if parts.scheme == "unix" else parts.hostname
    if parts.scheme not in ("redis", "rediss", "unix") or not where or not _has_port(parts) or parts.fragment:
        raise Misfit("this is not the address of a Redis: write redis://:password@host:6379/0, rediss:// with TLS, or unix:///path")
    if parts.scheme != "unix" and not re.fullmatch(r"/?\d*", parts.path, re.ASCII):
        raise Misfit("a Redis database is a number: redis://host:6379/0")
    if any(name not in REDIS_OPTIONS for name in parse_qs(parts.query, keep_blank_values=True)):
        raise Misfit(f"the address of a Redis takes no options but {', '.join(REDIS_OPTIONS)}")
    return Secret(text)


Seconds = Annotated[float, Spelled("duration", duration, f"^{DURATION}$", "10s", written_duration)]
ByteSize = Annotated[int, Spelled("size", _size, f"^{SIZE}$", "1MiB", _written_size)]
Backoff = Annotated[Span, Spelled("span", _span, rf"^{DURATION}\.\.{DURATION}$", "0.25s..4s", str)]
WITHIN = rf"^({DURATION}\.\.)?{DURATION}$"
Within = Annotated[Span, Spelled("time", _within, WITHIN, "3s", lambda span: str(span) if span.least else written_duration(span.most))]
Share = Annotated[float, Spelled("share", _share, r"^\d+(\.\d+)?%$", "5%", lambda share: f"{share * 100:.10g}%")]
Origin = Annotated[str, Spelled("origin", origin, r"^[A-Za-z][A-Za-z0-9+.-]*://[^/*]+$", "http://localhost:3000")]
ApiBase = Annotated[str, Spelled("web address", _api_base, r"^(https?://|\$\{)", "https://host/v1")]
WebAddress = Annotated[str, Spelled("web address", web_address, r"^(https?://|\$\{)", "https://host/v1")]
Reference = Annotated[Name, Spelled("name", name_of, f"^{NAME}$", "chat")]
_title = checked(Name, lambda text: text.strip() and len(text) <= 200, "a title is a few words")
Title = Annotated[Name, Spelled("title", _title, "", "chat survives OpenAI")]
Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, Spelled("network", _network, r"^[0-9a-fA-F.:/]+$", "10.0.0.0/8", str)]
Deed = Annotated[Fault, Spelled("fault", _fault, f"^({'|'.join(FAULTS)}|[45][0-9][0-9])( |$)", "503", numbers=(400, 599))]
ModelName = Annotated[Name, Spelled("model name", _model, r"^([^/]+/.+|.*\$\{.*)$", "openai/gpt-5.6")]
Key = Annotated[Secret, Spelled("key", _secret, "", "${OPENAI_API_KEY}")]
RedisUrl = Annotated[Secret, Spelled("Redis address", _redis_address, "", "${REDIS_URL}")]
SigningSecret = Annotated[Secret, Spelled("secret", _secret, "", "as-many-characters-as-the-hash-of-the-algorithm-has-bytes:-64-do.")]
KeySource = Annotated[KeySet, Spelled("key set", _key_set, r"^(https?://|\$\{|\s*\{)", "https://login.example.com/jwks.json")]
