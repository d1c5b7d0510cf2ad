"""Targets: a file and a row for each kind.

A target is an Answer that yields Start, then what its provider says, then Finish; or raises a TargetError, before or
after its first event. It closes what it opened whenever its events are closed.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial

from router.chat import FileSort
from router.config.declaration import TargetConfig
from router.errors import Misfit
from router.events import Answer
from router.targets import anthropic, files, gemini, litellm, litellm_library, litellm_providers, openai, script
from router.targets.connections import Connections
from router.targets.conversation import user_ends
from router.targets.demo import Post
from router.targets.embeddings import batch_of, split_of
from router.targets.facts import Facts
from router.targets.fit import NEEDS, fit
from router.targets.learned import Learned
from router.targets.passage import signs_in_past
from router.targets.providers import rules_of
from router.targets.refusal import file_lesson
from router.targets.resolved_facts import facts_of
from router.targets.structured import emulated
from router.targets.table import forget_table
from router.targets.verdict import verdict as refusal

__all__ = [
    "NEEDS",
    "Connections",
    "Facts",
    "Learned",
    "Post",
    "Target",
    "batch_of",
    "close_lanes",
    "emulated",
    "facts_of",
    "fit",
    "forget_table",
    "lane_of",
    "open_target",
    "past_declared_way",
    "refusal",
    "split_of",
]


PREFILL = frozenset({"anthropic", "hosted_vllm", "llamafile", "lm_studio", "ollama_chat", "vllm"})
"""Providers whose models go on from the assistant's last words; `openai/` at another address is mostly such a server. One
that refuses them is asked in another way."""
UNKNOWN = Facts()
UNBOUNDED = 1_000_000_000
"""The window of a script, in tokens: it reads nothing, so nothing is too long for it."""


@dataclass(frozen=True, slots=True)
class Target:
    """An open target. `lane`: the file that serves it. `warm` makes its first answer as quick as the next, where that takes time."""

    name: str
    lane: str
    model: str
    answer: Answer
    facts: Facts = UNKNOWN
    """Facts of its model, as far as they are known without asking it."""
    learned: Learned = field(default_factory=Learned)
    ready: Callable[[], Awaitable[None]] | None = None
    """Waits until it can be asked at all: for a library that is being imported."""
    warm: Callable[[], Coroutine[object, object, None]] | None = None
    at: Callable[[Post], Answer] | None = None
    """The answer at a place in a route; None where the place makes no difference."""

    @property
    def prefill(self) -> bool:
        """Return whether the target goes on from the assistant's last words, if it is given any."""
        return self.learned.over(self.facts).prefill

    def takes(self, sort: FileSort) -> bool | None:
        """Return whether the target reads files of this sort; None if unknown. A script ignores files that it cannot read."""
        known = self.learned.over(self.facts)
        return True if self.lane == "script" else {"image": known.images, "document": known.documents, "audio": known.audio}[sort]

    def refused(self, sort: FileSort) -> None:
        """Remember that it refused a file of this sort, unless it is known to read them: then that lay in the file, or passes."""
        if self.takes(sort) is None:
            self.learned.keep(self.name, [file_lesson(sort)])

    async def reads(self) -> int | None:
        """Tokens it can read; None where nobody knows."""
        return self.facts.window


def lane_of(declared: TargetConfig) -> tuple[str, str]:
    """The lane that serves a target, and why that one."""
    if declared.model is None:
        return "script", "a script, offline"
    if openai.serves(declared):
        return "openai", "read directly: the OpenAI wire"
    if anthropic.serves(declared):
        return "anthropic", "read directly: the Anthropic wire"
    if gemini.serves(declared):
        return "gemini", "read directly: the Gemini wire"
    provider = declared.model.partition("/")[0]
    return "litellm", f"via LiteLLM: {f'`via: {declared.via}`' if declared.via else f'nothing reads the wire of {provider}/ directly'}"


def open_target(name: str, declared: TargetConfig, connect: float, connections: Connections, learned: Learned | None = None) -> Target:
    """The target as declared. `connect`: seconds a connection may take; `learned`: what it taught before. Misfit where no lane serves it."""
    if declared.script is not None:
        label = declared.script if isinstance(declared.script, str) else "lines"
        facts = Facts(window=declared.context_window or UNBOUNDED, prefill=declared.script == "demo")
        at = partial(script.answer, name, declared.script)
        return Target(name, "script", f"script/{label}", at(), facts, at=at)
    if declared.model is None:
        raise Misfit("a target has either `model` or `script`")
    lane, _ = lane_of(declared)
    if lane == "litellm":
        litellm_providers.check_model(declared.model)
    facts, learned = facts_of(declared), learned or Learned()
    known = facts
    provider = declared.model.partition("/")[0]
    if facts.source == "unknown" and (provider in PREFILL or (provider == "openai" and declared.api_base is not None)):
        facts = replace(facts, prefill=declared.facts is None or declared.facts.prefill is not False)
    if lane == "gemini" or user_ends in rules_of(provider, declared.model.partition("/")[2], own=declared.api_base is not None):
        facts = replace(facts, prefill=False)  # it takes no last words of the assistant's: it is asked to go on in another way
    connections = connections.over(declared.egress)
    match lane:
        case "openai":
            answer, warm = openai.answer(name, declared, connect, connections, learned, facts=known), None
        case "anthropic":
            answer, warm = anthropic.answer(name, declared, connect, connections, learned, facts=known), None
        case "gemini":
            answer, warm = gemini.answer(name, declared, connect, connections, learned, facts=known), None
        case _:
            if declared.fetch_files:
                raise Misfit("via LiteLLM no address of a file is handed on: it would fetch some of them itself", "fetch_files")
            answer, warm = litellm.answer(name, declared, connect, learned, connections), litellm_library.warm
    if not files.fetches(declared):
        answer = files.without_addresses(name, answer)
    ready = litellm_library.ready if lane == "litellm" else None
    return Target(name, lane, declared.model, answer, facts, learned, ready, warm)


def past_declared_way(declared: TargetConfig) -> str:
    """Return a sentence about requests for a target that go past its declared proxy and CA; empty if there are none."""
    return signs_in_past(declared) if lane_of(declared)[0] == "litellm" else ""


async def close_lanes() -> None:
    """Close what the lanes keep open for the whole process: connections outlive a generation, not the server."""
    await litellm_library.close()
