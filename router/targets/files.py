"""Files at addresses (http and https URLs in messages): which targets are handed them.

Whoever serves the model fetches such an address. A hosted provider does so from its own network. A model server of one's own (vLLM,
SGLang) does so from inside ours, where a client could have it read what only machines in there may: server-side request forgery.
"""

from urllib.parse import urlsplit

from router.chat import Ask, File, FileSort
from router.config.declaration import TargetConfig as Declared
from router.errors import TargetRefused
from router.events import Answer, Events
from router.targets import anthropic, gemini
from router.targets.providers import PROVIDERS

FILE_ADDRESS = "file_address"
"""The outcome of a target that is not handed the address of a file."""
AZURE = (".azure.com", ".azure.us", ".azure.cn")
"""Domains in which Azure alone gives names."""
BASES = (anthropic.BASE, gemini.BASE, gemini.VERTEX, *(one.base for one in PROVIDERS.values() if not one.keyless))
HOSTED = frozenset(urlsplit(base).hostname for base in BASES if base)
"""Hosts of the providers that are known here."""


def fetches(declared: Declared) -> bool:
    """Return whether a target is handed addresses of files: as `fetch_files` says, else where its address is a known provider's."""
    if declared.fetch_files is not None:
        return declared.fetch_files
    provider = PROVIDERS.get(str(declared.model).partition("/")[0])
    if declared.api_base is None:
        return provider is None or not provider.keyless
    host = (urlsplit(declared.api_base).hostname or "").lower()
    return host in HOSTED or host.endswith(AZURE)


def without_addresses(name: str, answer: Answer) -> Answer:
    """Return the answer of a target that refuses questions with such an address, before its server is asked."""

    def spoken(ask: Ask) -> Events:
        return _refused(name) if has_address(ask) else answer(ask)

    return spoken


def has_address(ask: Ask, sort: FileSort | None = None) -> bool:
    """Return whether this question holds the address of a file; `sort`: of one of this sort."""
    for message in ask.messages:
        for part in message.parts:
            if isinstance(part, File) and part.remote and sort in (None, part.sort):
                return True
    return False


async def _refused(name: str) -> Events:
    raise TargetRefused(name, FILE_ADDRESS)
    yield  # an async generator, as every answer
