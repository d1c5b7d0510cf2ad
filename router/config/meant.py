"""Hints for unknown words: the known words, steps and files closest to them."""

import difflib
from collections.abc import Iterable, Sequence

from router.config import remedies


def closest(word: str, words: Sequence[str], cutoff: float = 0.6) -> str:
    """Return `; did you mean …?` with the most alike word, in whatever case; empty if none is near. `cutoff`: least similarity, 0 to 1."""
    close = difflib.get_close_matches(word.lower(), [one.lower() for one in words], 1, cutoff)
    return f"; did you mean `{next(one for one in words if one.lower() == close[0])}`?" if close else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` for the closest word, else `; there is …` with all known words if at most 12, else an empty text."""
    words = list(known)
    if close := closest(word, words):
        return close
    return f"; there is {', '.join(f'`{one}`' for one in words)}" if 0 < len(words) <= 12 else ""


def file_meant(word: str, texts: Iterable[str], folder: str, ending: str) -> str:
    """Return `did_you_mean` for an unknown file; for a known name with its folder or ending, to leave these out. `texts`: all paths."""
    known = [text.removeprefix(folder).removesuffix(ending) for text in texts if text.startswith(folder) and text.endswith(ending)]
    bare = word.removesuffix(ending).rpartition("/")[2]
    if bare != word and bare in known:
        return f"; did you mean `{bare}`, without its folder and `{ending}`?"
    return did_you_mean(word, known)


def step_meant(word: str, known: Iterable[str]) -> str:
    """Return the hint for an unknown word of a pipeline: a similar step, else the advice of `remedies.STEPS`, else of `did_you_mean`."""
    words = list(known)
    advice = remedies.STEPS.get(word.lower())
    return closest(word, words, 0.8) or (f"; {advice}" if advice else did_you_mean(word, words))
