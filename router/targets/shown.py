"""Sources that a model cites and files that it makes, restricted to those that are safe for a client to show.

A source's URL must be http(s), and a file of a type that a browser does not execute. Functions return None for others.
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

from router.events import Produced, Source

MAX_URL = 2048
"""Limit of a source's URL in characters; a longer one is dropped."""
MAX_TITLE = 300
"""Limit of a source's title in characters; a longer one is cut."""
MAX_FILE = 8 * 1024 * 1024
"""Limit of one file in base64 characters; a larger one is dropped."""
MEDIA = frozenset((
    "image/png", "image/jpeg", "image/webp", "image/gif", "image/avif",
    "audio/wav", "audio/mpeg", "audio/ogg", "video/mp4", "application/pdf",
))  # fmt: skip
"""Media types of files that a client gets: a browser runs no script in them."""
DOCUMENTS = frozenset({"application/pdf", "text/plain"})
ADDRESS = re.compile(r"https?://[^\s\"'<>\\^`{|}]+", re.IGNORECASE)
DATA = re.compile(r"data:([a-z0-9.+/-]{1,100});base64,", re.IGNORECASE)


def page(url: object, title: object = None) -> Source | None:
    """Return the source of a web page; None if the URL is unsafe. A title that is not a text becomes empty.
    Unsafe are: longer than MAX_URL, not http(s), unprintable or special characters, and a user name, which makes it look like another host.
    """
    if not isinstance(url, str) or len(url) > MAX_URL or not url.isprintable() or not ADDRESS.fullmatch(url):
        return None
    with suppress(ValueError):
        parts = urlsplit(url)
        return Source(url, _title(title)) if parts.hostname and parts.username is None else None
    return None


def document(title: object, media_type: str = "text/plain") -> Source | None:
    """Return the source of a document without a URL; None without a title, or if the media type is not in DOCUMENTS."""
    named = _title(title)
    return Source("", named, media_type) if named and media_type in DOCUMENTS else None


def produced(media_type: object, data: object) -> Produced | None:
    """Return a file that a model made; None if its media type is not in MEDIA, or its base64 data is empty, invalid or too large."""
    if not isinstance(media_type, str) or media_type.lower() not in MEDIA or not isinstance(data, str) or not 0 < len(data) <= MAX_FILE:
        return None
    with suppress(ValueError):  # binascii.Error is one
        b64decode(data, validate=True)
        return Produced(media_type.lower(), data)
    return None


def _title(title: object) -> str:
    words = " ".join(title[: 4 * MAX_TITLE].split()) if isinstance(title, str) else ""
    return "".join(sign for sign in words if sign.isprintable())[:MAX_TITLE]


def annotation(given: Any) -> Source | None:
    """Return the source in an annotation of OpenAI's (chat completions or Responses API); None if it has none, or an unsafe one."""
    match given:
        case {"type": "url_citation", "url_citation": {"url": url, **more}} | {"type": "url_citation", "url": url, **more}:
            return page(url, more.get("title"))
        case {"type": "file_citation" | "container_file_citation", "filename": name}:
            return document(name, "application/pdf" if isinstance(name, str) and name.lower().endswith(".pdf") else "text/plain")
        case _:
            return None


def citation(given: Any) -> Source | None:
    """Return the source in an Anthropic citation; None if it has none, or an unsafe one."""
    match given:
        case {"type": "web_search_result_location", "url": url, **more}:
            return page(url, more.get("title"))
        case {"type": "search_result_location", "source": source, **more}:
            return page(source, more.get("title")) or document(more.get("title"))
        case {"type": "page_location", "document_title": title}:
            return document(title, "application/pdf")
        case {"type": "char_location" | "content_block_location", "document_title": title}:
            return document(title)
        case _:
            return None


def searched(block: Any) -> Iterator[Source | None]:
    """Yield a source for each result in a block of Anthropic's web search, None for an unsafe URL; nothing for any other block."""
    match block:
        case {"type": "web_search_tool_result", "content": [*found]}:
            results = cast("list[dict[str, Any]]", [one for one in found if isinstance(one, dict)])
            yield from (page(one["url"], one.get("title")) for one in results if one.get("type") == "web_search_result" and "url" in one)
        case _:
            pass


def image(given: Any) -> Produced | None:
    """Return the file of an image in a chat completion, in OpenRouter's form; None if it is no safe file in a `data:` URL (base64)."""
    match given:
        case {"image_url": {"url": str(url)}} | {"image_url": str(url)} if head := DATA.match(url):
            return produced(head[1], url[head.end() :])
        case _:
            return None
