"""The template of frames of text: the bytes around the text, which in most answers are the same in all frames of it.

The frames of a burst are read together by it: their texts are cut out of the bytes and decoded as one JSON list. A decoder of whole frames
would read the bytes around each text, too.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from router.targets.decoding import MAX_VALUES

FEW = 15
"""Number of frames up to which the search for a template costs more than it saves."""
OTHERS = 4
"""Limit of frames of another kind before the frames of text, and of those after them: a role; the finish reason, token counts and end mark."""
MAX_BYTES = 3 * MAX_VALUES
"""Limit of the frames of text in bytes. A string of the JSON list takes at least three, so this limits its values, too."""
MARKED = (b"(one)", b"(two)"), ["(one)", "(two)"]
"""Two texts that are put in the place of a frame's text, to see if they become it; they are no names of fields. As bytes, and as text."""
NOT_TEXT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of the decoder of frames of text for a frame of another kind."""
LIST = msgspec.json.Decoder(list[str])


def alike(found: Sequence[bytes], decode: Callable[[bytes], Any], text_of: Callable[[Any], str]) -> tuple[int, int, str] | None:
    """Return the range of the frames that differ in their text alone, and their texts as one; None if there are none, or not easily seen.
    These must be all of the frames but OTHERS at both ends. `decode`, `text_of`: as in TextFrames.
    """
    end = len(found)
    around = _around(found[end // 2], decode, text_of)
    if around is None:
        return None
    before, after = around
    contents = list(map(itemgetter(slice(len(before), -len(after))), found))
    start, last = 0, end - OTHERS
    while start < OTHERS and before + contents[start] + after != found[start]:
        start += 1
    while end > last and before + contents[end - 1] + after != found[end - 1]:
        end -= 1
    together, contents = b"".join(found[start:end]), contents[start:end]
    # Made anew of its content, a frame keeps its length, or becomes longer if it is shorter than `before` and `after`.
    # So if all frames together are equal to what is made anew, each of them is.
    if len(together) > MAX_BYTES or before + (after + before).join(contents) + after != together:
        return None
    listed = b'["%b",""]' % b'","'.join(contents)
    if listed.find(b'\\","') >= 0:
        return None  # a content that ends with a backslash, which may hide the quote after it
    try:
        texts = LIST.decode(listed)
    except NOT_TEXT:
        return None
    # No quote around a content is escaped, so each of them begins or ends a string; a quote within a content would make more strings.
    return (start, end, "".join(texts)) if texts[end - start :] == [""] else None


def _around(frame: bytes, decode: Callable[[bytes], Any], text_of: Callable[[Any], str]) -> tuple[bytes, bytes] | None:
    """Return the bytes before and after the text of a frame, each with its quote; None for a frame of another kind.
    Any JSON string between them is then the text of a frame of text alone: if two texts are, it is read from there and from nowhere else.
    """
    marks, expected = MARKED
    try:
        before, _, after = frame.rpartition(msgspec.json.encode(text_of(decode(frame))))
        before, after = before + b'"', b'"' + after
        read = [*map(text_of, map(decode, (before + marks[0] + after, before + marks[1] + after)))]
    except NOT_TEXT:
        return None
    return (before, after) if read == expected else None
