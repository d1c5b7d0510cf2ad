"""Files given by an http(s) URL in a message: which targets may be sent such URLs.

The model's server fetches the URL. A hosted provider does so from its own network. A self-hosted server (vLLM, SGLang) does so from
the operator's network, where a client could make it read internal addresses: server-side request forgery.
"""

from urllib.parse import urlsplit

from router.chat import Ask, File, FileSort, TextMessages
from router.config.declaration import TargetConfig as Declared
from router.errors import TargetRefused
from router.events import Answer, Events
from router.targets import anthropic, gemini
from router.targets.address import host_of
from router.targets.providers import PROVIDERS

FILE_ADDRESS = "file_address"
"""Outcome of a target that may not be sent the URL of a file."""
AZURE = (".azure.com", ".azure.us", ".azure.cn")
"""Domains whose hosts are all Azure's."""
BASES = (anthropic.BASE, gemini.BASE, gemini.VERTEX, *(one.base for one in PROVIDERS.values() if not one.keyless))
HOSTED = frozenset(urlsplit(base).hostname for base in BASES if base)
"""Hosts of the hosted providers that the router knows; servers without a key, such as vLLM, are not among them."""


def fetches(declared: Declared) -> bool:
    """Return whether a target may be sent URLs of files: `fetch_files` if declared, otherwise whether a hosted provider serves it.
    Hosted is every provider that is not keyless; with an `api_base`, only one whose host is in HOSTED or Azure's.
    """
    if declared.fetch_files is not None:
        return declared.fetch_files
    provider = PROVIDERS.get(str(declared.model).partition("/")[0])
    if declared.api_base is None:
        return provider is None or not provider.keyless
    host = host_of(declared.api_base)
    return host in HOSTED or host.endswith(AZURE)


def without_addresses(name: str, answer: Answer) -> Answer:
    """Return a target's answer function, wrapped: for a question with a file's URL, reading the answer raises TargetRefused."""
    return lambda ask: refused(name) if has_address(ask) else answer(ask)


def has_address(ask: Ask, sort: FileSort | None = None) -> bool:
    """Return whether a message has a file given by URL; tool results' files are ignored. `sort`: only files of this sort; None for all."""
    if ask.messages.__class__ is TextMessages:
        return False
    for message in ask.messages:
        for part in message.parts:
            if part.__class__ is not str and isinstance(part, File) and part.remote and sort in (None, part.sort):
                return True
    return False


async def refused(name: str) -> Events:
    """Raise TargetRefused for a target that may not be sent the URL of a file, as soon as the answer is read."""
    raise TargetRefused(name, FILE_ADDRESS)
    yield  # makes this an async generator
