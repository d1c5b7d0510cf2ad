"""The template of frames of text: the bytes around the text, which in most answers are the same in all frames of it.

The frames of a burst are read together by it: their texts are cut out of the bytes and decoded as one JSON list. A decoder of whole frames
would read the bytes around each text, too.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from router.targets.decoding import MAX_VALUES

LEAST = 16
"""Frames from which on a template is worth its search."""
OTHERS = 4
"""Limit of frames of another kind before the frames of text, and of those after them: a role; the finish reason, token counts and end mark."""
MAX_BYTES = 3 * MAX_VALUES
"""Limit of the frames of text in bytes. A string of the JSON list takes at least three, so this limits its values, too."""
MARKS = [b"(one)", b"(two)"]
"""Texts that are put in the place of a frame's text, to see if they become it. They are not the names of fields."""
NOT_TEXT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of the decoder of frames of text for a frame of another kind."""
LIST = msgspec.json.Decoder(list[str])


def alike(found: Sequence[bytes], decode: Callable[[bytes], Any], text_of: Callable[[Any], str]) -> tuple[int, list[str]] | None:
    """Return where the frames begin that differ in their text alone, and the text of each; None if that is not easily seen.
    These must be all of the frames but OTHERS at both ends. `decode`, `text_of`: as in TextFrames.
    """
    around = _around(found[len(found) // 2], decode, text_of)
    if around is None:
        return None
    before, after = around
    start, end = 0, len(found)
    while start < OTHERS and not (found[start].startswith(before) and found[start].endswith(after)):
        start += 1
    while end > len(found) - OTHERS and not (found[end - 1].startswith(before) and found[end - 1].endswith(after)):
        end -= 1
    texts = _texts(found[start:end], before, after)
    return None if texts is None else (start, texts)


def _around(frame: bytes, decode: Callable[[bytes], Any], text_of: Callable[[Any], str]) -> tuple[bytes, bytes] | None:
    """Return the bytes before and after the text of a frame, each with its quote; None for a frame of another kind.
    Any JSON string between them is then the text of a frame of text alone: if both MARKS are, it is read from there and from nowhere else.
    """
    try:
        before, _, after = frame.rpartition(b'"%b"' % text_of(decode(frame)).encode())
        before, after = before + b'"', b'"' + after
        read = [text_of(decode(before + mark + after)).encode() for mark in MARKS]
    except NOT_TEXT:
        return None
    return (before, after) if read == MARKS else None


def _texts(frames: Sequence[bytes], before: bytes, after: bytes) -> list[str] | None:
    """Return the texts of frames; None if one of them is not `before`, the content of a JSON string and `after`."""
    together = b"".join(frames)
    contents = list(map(itemgetter(slice(len(before), -len(after))), frames))
    # A frame shorter than the two would be longer here, and none would be shorter. So each frame is equal if all of them together are.
    if len(together) > MAX_BYTES or before + (after + before).join(contents) + after != together:
        return None
    listed = b'["%b",""]' % b'","'.join(contents)
    if b'\\","' in listed:
        return None  # a content that ends with a backslash, which may hide the quote after it
    try:
        texts = LIST.decode(listed)
    except NOT_TEXT:
        return None
    # None of the quotes between two contents is escaped. So each of them ends or begins a string, and more quotes would make more strings.
    return texts[:-1] if len(texts) == len(frames) + 1 else None
