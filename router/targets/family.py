"""Parsing of a model's name into the words of its family and the numbers of its generation.

anthropic/claude-opus-4-7-20260416            words claude opus     version 4 7
openai/ft:o4-mini-2025-04-16:acme::x1         words o mini          version 4
moonshot/kimi-k2.5                            words kimi k          version 2 5
bedrock/us.anthropic.claude-opus-4-8-v1:0     words claude opus     version 4 8
"""

import re
from functools import lru_cache

from router.value import Value

DATE = re.compile(r"[-@](?:20\d{2}-?\d{2}-?\d{2}|\d{4})(?=$|[-:@])")
"""Pattern of a release's date in a name: 20260416, 2026-04-16, or month and day as xAI and OpenAI wrote them (0309)."""
HOSTED = re.compile(
    r"^(?:[a-z-]{2,8}\.)?(?:anthropic|amazon|cohere|deepseek|google|meta|minimax|mistral|moonshot|moonshotai|openai|qwen|zai)\.(?=[a-z])"
)
"""Pattern of what Bedrock puts before a model's name: a region, and its maker."""
REVISION = re.compile(r"-v\d+:\d+(?::\w+)?$")
"""Pattern of what Bedrock puts after a model's name: the revision of its own, and the size of its window."""
PART = re.compile(r"[a-z]+|\d+(?:\.\d+)*")
PLAIN = frozenset({"latest", "preview", "exp", "experimental", "beta", "ft"})
"""Words that name a release or a fine-tune, not a model."""


class Family(Value, frozen=True):
    """The words of a model's name in order, in lower case, and at most three numbers of its version."""

    words: tuple[str, ...]
    version: tuple[int, ...]


def parsed(model: str) -> Family:
    """Return the family of a model's name, of which only the part after the last `/` counts, without date and release words."""
    return _family(model.rpartition("/")[2].lower())


@lru_cache(maxsize=1024)  # targets repeat a few names
def _family(name: str) -> Family:
    if name.startswith("ft:"):
        name = name.split(":")[1]
    name = DATE.sub("", REVISION.sub("", HOSTED.sub("", name))).replace("gpt-35", "gpt-3.5")  # Azure's spelling
    if name.startswith("claude"):
        name = name.removesuffix("-v1")
    words: list[str] = []
    version: list[int] = []
    for part in PART.findall(name):
        if part[0].isdigit():
            if len(version) < 3:
                version += [int(number) for number in part.split(".")]
        elif part not in PLAIN:
            words.append(part)
    return Family(tuple(words), tuple(version[:3]))
