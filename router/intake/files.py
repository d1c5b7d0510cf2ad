"""Files in messages: images, documents and audio become File parts, a text file its text."""

import base64
import binascii
import re
from typing import get_args
from urllib.parse import unquote_to_bytes

from router.chat import Detail, File, Json, Part, repaired
from router.errors import BadAsk
from router.intake.fields import Fields, mapping, text
from router.value import replace

MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}/[a-z0-9][a-z0-9.+-]{0,127}", re.IGNORECASE)
DETAILS: tuple[Detail, ...] = get_args(Detail)


def image(part: Fields, path: str) -> Part:
    """Return the part for an `image_url` part of OpenAI's. BadAsk if it is invalid.

    The URL is in an object with an optional `detail`, or (from older clients) the value itself.
    """
    address = part.get("image_url")
    inner = mapping(address) or {"url": address}
    return detailed(inner.get("url"), inner.get("detail"), f"{path}.image_url", f"{path}.image_url")


def detailed(url: Json, detail: Json, path: str, outer: str) -> Part:
    """Return what `file` makes of an image's URL, with its `detail`. BadAsk if one is invalid. outer: path of the object with `detail`."""
    if detail not in (None, "auto", *DETAILS):
        raise BadAsk(f"{outer}.detail: one of auto, {', '.join(DETAILS)} is needed.")
    made = file(url, None, None, path)
    return replace(made, detail=detail) if isinstance(made, File) and detail in DETAILS else made


AUDIO_FORMAT = re.compile(r"[a-z0-9]{1,16}")
"""Name of an audio format. OpenAI accepts wav and mp3, other providers more."""


def audio(part: Fields, path: str) -> Part:
    """Return the File of an `input_audio` part of OpenAI's APIs: {input_audio: {data, format}}, in base64. BadAsk if it is invalid."""
    inner, place = mapping(part.get("input_audio")) or {}, f"{path}.input_audio"
    data, kind = text(inner.get("data"), f"{place}.data"), text(inner.get("format"), f"{place}.format")
    if not AUDIO_FORMAT.fullmatch(kind):
        raise BadAsk(f"{place}.format: the name of a format is needed, as wav or mp3.")
    return file(f"data:audio/{'mpeg' if kind == 'mp3' else kind};base64,{data}", None, None, f"{place}.data")


def document(part: Fields, path: str) -> Part:
    """Return what `file` makes of a file part. It has an object `file` (OpenAI), bare base64 (AI SDK 4) or a URL (AI SDK 5)."""
    if (inner := mapping(part.get("file"))) is not None:
        return file(inner.get("file_data"), None, inner.get("filename"), f"{path}.file")
    if "data" in part and "url" not in part:
        kind, data = text(part.get("mimeType"), f"{path}.mimeType"), text(part.get("data"), f"{path}.data")
        return held(kind, data, part.get("filename"), path)
    return file(part.get("url"), part.get("mediaType"), part.get("filename") or part.get("name"), path)


def held(kind: str, data: str, name: Json, path: str) -> Part:
    """Return what `file` makes of base64 data of this media type."""
    return file(f"data:{kind};base64,{data}", kind, name, path)


def file(url: Json, kind: Json, name: Json, path: str) -> Part:
    """Return a file as a part: an image, a PDF or audio as a File, a text file in a data: URL as its text. BadAsk for any other.

    The text stands after the file's name, if it has one. BadAsk also if it is not UTF-8 or not valid base64.

    url: a data:, http: or https: URL; http(s) addresses are not fetched here
    kind: the stated media type; that of a data: URL takes precedence, and without either it counts as an image
    name: the file's name, if any
    """
    if not isinstance(url, str) or not url.lower().startswith(("data:", "http://", "https://")):
        raise BadAsk(f"{path}: a data: or http(s): URL is needed.")
    here = url[:5].lower() == "data:"
    head, comma, body = url[5:].partition(",") if here else ("", "", "")
    if here:
        kind = head.partition(";")[0] or kind
        if not comma:
            raise BadAsk(f"{path}: this data: URL holds no data.")
    kind = kind.lower() if isinstance(kind, str) else "image/*"  # OpenAI's image parts do not say: an image it is
    if kind not in ("image/*", "audio/*") and not MEDIA_TYPE.fullmatch(kind):
        raise BadAsk(f"{path}: this is no media type.")
    called = repaired(name)[:255] if isinstance(name, str) else ""
    if kind.startswith("text/") and here:
        try:
            data = base64.b64decode(body, validate=True) if head.lower().endswith(";base64") else unquote_to_bytes(body)
            words = data.decode()
        except (binascii.Error, UnicodeDecodeError):
            raise BadAsk(f"{path}: this text file is not UTF-8.") from None
        return f"{called}:\n{words}\n" if called else words
    if not kind.startswith(("image/", "audio/")) and kind != "application/pdf":
        read = f"{path}: images, PDF documents, audio and text files are read here"
        raise BadAsk(f"{read}, not {kind}.", logged=f"{read}.")
    return File(kind, url, called)
