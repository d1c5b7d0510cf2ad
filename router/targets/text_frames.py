"""The frames of a stream that carry a piece of text and nothing else, as nearly all do: read with one call of a decoder each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import chain
from operator import length_hint
from typing import Any, Literal

import msgspec

from router.events import Text, Thought
from router.targets.inband import ErrorData
from router.targets.speech import Speech
from router.targets.template import FEW, NOT_TEXT, alike

NoText = Literal[""] | None
"""A text field that a frame of text leaves out."""


ENDING = 3
"""Frames at the end of an answer that are usually not of text: finish reason, token counts and end mark, for instance."""
NAMED = 64
"""Bytes of a frame in which it is looked whether it ends an answer."""


class NoItems(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """An empty list. The decoder refuses a longer one at its first item, so that it makes no values of it."""


NoList = NoItems | None
"""A list that a frame of text leaves out."""


class TextFrames(ABC):
    """The base class of a reader of streams: it reads frames of text alone itself, and leaves the others to `frame`.
    It does so once the answer's model is known (`named`, `frame`), and unless the last frames were thoughts.

    decode: returns a frame of text alone as a struct, with a fixed number of values; raises one of NOT_TEXT for each other frame
    decode_named: the same for a frame that may name the model (`names`); None in a lane whose frames of text never do
    text_of: returns the text of such a struct, which has no surrogate: the decoder refuses them
    ends: a text that only a frame has, among its first NAMED bytes, that ends an answer
    speech: gets the texts
    worded: true once a frame of text was read here; a lane sets it for its other ways of text, if it reads it
    The first three are functions in C, as a stream has hundreds of such frames. The last frames of an answer are not tried with them: an error
    of the decoder costs as much as reading several frames.
    """

    decode: Callable[[bytes], Any]
    decode_named: Callable[[bytes], Any] | None = None
    text_of: Callable[[Any], str]
    ends: bytes
    speech: Speech
    worded: bool = False

    @abstractmethod
    def frame(self, data: bytes) -> bool:
        """Read the data of one frame of any kind. Return False if it ends the answer, otherwise True. Raises TargetError for an error."""

    def names(self, frame: Any) -> None:  # noqa: B027 - in most lanes frames of text have no name
        """Record the model's name if a frame of text, as `decode_named` returns it, has it."""

    def _named(self, first: bytes) -> Sequence[str]:
        """Record the model's name if the first frame of an answer is of text alone and has it.
        Return the text of a frame whose name was recorded, and nothing else.
        """
        if self.decode_named is None:
            return ()
        try:
            frame = self.decode_named(first)
        except NOT_TEXT:
            return ()
        self.names(frame)
        return () if self.speech.model is None else (self.text_of(frame),)

    def words(self, found: Sequence[bytes]) -> Sequence[Text] | None:
        """Read frames that are all of text alone while the answer is `flowing`, and return what `Speech.take` would.
        None in any other case, with nothing read.
        """
        speech = self.speech
        if not speech.flowing or ErrorData in map(type, found):
            return None
        try:
            piece = "".join(map(self.text_of, map(self.decode, found)))
        except NOT_TEXT:
            return None
        if not piece:
            return ()
        speech.written += len(piece)
        return (Text(piece),)

    def frames(self, found: Sequence[bytes]) -> bool:
        """Read the data of frames up to the end of the answer. Return False if it ended, else True. Raises TargetError for an error."""
        speech = self.speech
        if speech.flowing:
            speech.flowing = False
        if ErrorData in map(type, found):
            return all(map(self.frame, found))
        tried, ending = found, ()
        if found and found[-1].find(self.ends, 0, NAMED) >= 0:
            tried, ending = found[:-ENDING], found[-ENDING:]
        if tried[FEW:]:
            decode = self.decode if speech.model is not None else self.decode_named or self.decode
            if (burst := alike(tried, decode, self.text_of)) is not None:
                start, end, text, frame = burst
                return self._burst(found, start, end, text, frame)
        rest = iter(tried)
        begun = self._named(tried[0]) if tried and speech.model is None and not speech.finished and speech.kind is not Thought else ()
        if begun:
            next(rest)
        while not speech.finished:
            if speech.model is None or speech.kind is Thought:
                other = next(rest, None)
            else:
                texts, begun = [*begun], ()
                try:
                    texts.extend(map(self.text_of, map(self.decode, rest)))
                    other = None
                except NOT_TEXT:  # `texts` has those before the frame of another kind, the last one that was taken from `rest`
                    other = tried[-1 - length_hint(rest)]
                if texts:
                    self.worded = True
                    speech.text("".join(texts))
            if other is None:
                break
            if not self.frame(other):
                return False
        return all(map(self.frame, chain(rest, ending)))

    def _burst(self, found: Sequence[bytes], start: int, end: int, text: str, frame: Any) -> bool:
        """Read frames as `frames` does. Those from index `start` to `end` are of text alone, and `text` is all of it.
        `frame`: one of them, or one with another text, as it was decoded
        """
        speech = self.speech
        if start and not all(map(self.frame, found[:start])):
            return False
        if speech.model is None:
            self.names(frame)
        if speech.model is None or speech.finished:
            return all(map(self.frame, found[start:]))
        self.worded = True
        speech.text(text)
        return all(map(self.frame, found[end:]))
