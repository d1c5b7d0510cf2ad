"""The template of frames of text: the bytes around the text, which in most answers are the same in all frames of it.

The frames of a burst are read together by it: their texts are cut out of the bytes and decoded as one JSON list. A decoder of whole frames
would read the bytes around each text, too.
"""

import secrets
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from router.targets.decoding import MAX_VALUES

FEW = 8
"""Number of frames up to which the search for a template costs more than it saves."""
OTHERS = 4
"""Limit of frames of another kind before the frames of text, and of those after them: a role; the finish reason, token counts and end mark."""
MAX_BYTES = 3 * MAX_VALUES
"""Limit of the frames of text in bytes. A string of the JSON list takes at least three, so this limits its values, too."""
MARK = secrets.token_hex(8)
"""A text that is put in the place of a frame's text, to see if it becomes that. No provider knows it: it is read from there alone."""
LAST = 3
"""Bytes at the end of a frame, from the quote after its text on, that are compared first: many frames end with a number or a padding."""
NOT_TEXT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of the decoder of frames of text for a frame of another kind."""
LIST = msgspec.json.Decoder(list[str])


def alike(found: Sequence[bytes], decode: Callable[[bytes], Any], text_of: Callable[[Any], str]) -> tuple[int, int, str, Any] | None:
    """Return the range of the frames that differ in their text alone, their texts as one, and one of the frames as it was decoded.
    None if there are none, or not easily seen. They must be all of the frames but OTHERS at both ends.
    `decode`, `text_of`: as in TextFrames.
    """
    end = len(found)
    middle, beside = found[end // 2], found[end // 2 - 1]
    if middle[-LAST:] != beside[-LAST:]:
        return None
    try:
        frame = decode(middle)
        before, _, after = middle.rpartition(msgspec.json.encode(text_of(frame)))
        before, after = before + b'"', b'"' + after
        if not beside.startswith(before) or text_of(decode(b"%b%b%b" % (before, MARK.encode(), after))) != MARK:
            return None
    except NOT_TEXT:
        return None
    # Any JSON string between these bytes is thus the text of a frame of text alone.
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
    return (start, end, "".join(texts), frame) if texts[end - start :] == [""] else None
