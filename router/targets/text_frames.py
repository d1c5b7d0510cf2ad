"""The frames of a stream that carry a piece of text and nothing else, as nearly all do: read with one call of a decoder each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from router.targets.decoding import SMALL
from router.targets.speech import Speech

NoText = Literal[""] | None
"""A text field that a frame of text leaves out."""
NoList = Annotated[list[Any], msgspec.Meta(max_length=0)] | None
"""A list that a frame of text leaves out."""


class TextFrames(ABC):
    """The base class of a reader of streams: it reads frames of text alone itself, and leaves the others to `frame`.
    It does so once the answer's model is known, because a frame of text may name it.

    decode: returns a frame of text alone as a struct, and raises DecodeError for each other one
    text_of: returns the text of such a struct
    speech: gets the texts
    worded: true once a frame of text was read here; a lane sets it for its other ways of text, if it reads it
    The first two are functions in C, as a stream has hundreds of such frames.
    """

    decode: ClassVar[Callable[[bytes], Any]]
    text_of: ClassVar[Callable[[Any], str]]
    speech: Speech
    worded: bool = False

    @abstractmethod
    def frame(self, data: bytes) -> bool:
        """Read the data of one frame of any kind. Return False if it ends the answer, otherwise True. Raises TargetError for an error."""

    def text_alone(self, found: Sequence[bytes]) -> str | None:
        """Return the text of frames that are all of text alone; None if one of them is not, with nothing read."""
        if self.speech.model is None or self.speech.finished:
            return None
        decode, text_of = type(self).decode, type(self).text_of
        texts: list[str] = []
        try:
            for data in found:
                if data.__class__ is not bytes or len(data) > SMALL:  # ErrorData, or a frame whose values have to be counted
                    return None
                texts.append(text_of(decode(data)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if texts:
            self.worded = True
        return "".join(texts)

    def frames(self, found: Sequence[bytes]) -> bool:
        """Read the data of frames up to the end of the answer. Return False if it ended, else True. Raises TargetError for an error."""
        if max(map(len, found), default=0) > SMALL:
            return all(map(self.frame, found))  # which bounds the values of a frame
        speech, texts = self.speech, list[str]()
        decode, text_of = type(self).decode, type(self).text_of
        for data in found:
            if data.__class__ is bytes and speech.model is not None and not speech.finished:
                try:
                    texts.append(text_of(decode(data)))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    pass  # a frame of another kind
                else:
                    continue
            if texts:
                self.worded = True
                speech.text("".join(texts))
                texts.clear()
            if not self.frame(data):
                return False
        if texts:
            self.worded = True
            speech.text("".join(texts))
        return True
