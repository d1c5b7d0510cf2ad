"""Opening of targets: each declared target gets a lane, the module that talks to its kind of server.

A target's Answer is a function: it takes a question, and yields Start, the events of the answer, then Finish.
A failure is raised as a TargetError, before or after the first event. Closing the events releases what the answer opened.
"""

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial

from router.chat import FileSort
from router.config.declaration import TargetConfig
from router.errors import Misfit
from router.events import Answer
from router.targets import anthropic, files, gemini, litellm, litellm_library, litellm_providers, openai, script
from router.targets.connections import Connections, head_of
from router.targets.conversation import user_ends
from router.targets.demo import Post
from router.targets.embeddings import batch_of, split_of
from router.targets.facts import Facts
from router.targets.fit import NEEDS, fit
from router.targets.learned import Learned
from router.targets.passage import sign_in_warning
from router.targets.providers import rules_of
from router.targets.refusal import file_lesson
from router.targets.resolved_facts import facts_of, known_facts
from router.targets.structured import emulated
from router.targets.table import forget_table
from router.targets.verdict import verdict as refusal
from router.value import Value, field, replace

__all__ = [
    "NEEDS", "Connections", "Facts", "Learned", "Post", "Target", "batch_of", "close_lanes", "emulated", "facts_of", "fit",
    "forget_lookups", "lane_of", "open_target", "proxy_warning", "refusal", "split_of",
]  # fmt: skip
PREFILL = frozenset({"anthropic", "hosted_vllm", "llamafile", "lm_studio", "ollama_chat", "vllm"})
"""Providers whose models are assumed to continue an assistant's last words (prefill) if the table does not know them.
So are models of `openai/` at an `api_base` of its own."""
DIRECT = {"anthropic": anthropic.answer, "gemini": gemini.answer}
"""Lanes other than `openai` that read a provider's wire themselves → the function that opens a target of theirs."""
UNKNOWN = Facts()
UNBOUNDED = 1_000_000_000
"""Context window in tokens of a scripted target that declares none: larger than any conversation."""


class Target(Value, frozen=True):
    """A target that can be asked.

    lane: the module that serves it: `openai`, `anthropic`, `gemini`, `litellm` or `script`
    model: provider/model; `script/demo` or `script/lines` for a script
    answer: the function that asks it a question and streams the answer
    learned: lessons from its refusals
    warm: imports and warms up the LiteLLM library ahead of the first question; None for all other lanes
    """

    name: str
    lane: str
    model: str
    answer: Answer
    facts: Facts = UNKNOWN
    """Facts about its model that are known without a request."""
    learned: Learned = field(default_factory=Learned)
    ready: Callable[[], Awaitable[None]] | None = None
    """Waits until the target can be asked, while its library is imported; None if no wait is needed."""
    warm: Callable[[], Coroutine[object, object, None]] | None = None
    at: Callable[[Post], Answer] | None = None
    """Returns `answer` for a place in a route, as a function; None if the place makes no difference."""

    @property
    def prefill(self) -> bool:
        """Return whether the target continues an assistant's last words (prefill), by its facts and lessons; False if unknown."""
        return self.learned.over(self.facts).prefill

    def takes(self, sort: FileSort) -> bool | None:
        """Return whether the target reads files of this sort; None if unknown. Always True for a script, which ignores files."""
        known = self.learned.over(self.facts)
        return True if self.lane == "script" else {"image": known.images, "document": known.documents, "audio": known.audio}[sort]

    def refused(self, sort: FileSort) -> None:
        """Record that the target refuses files of this sort. No effect if it is already known whether it reads them."""
        if self.takes(sort) is None:
            self.learned.keep(self.name, [file_lesson(sort)])

    async def context_window(self) -> int | None:
        """Return the number of tokens that the target's model can read; None if unknown."""
        return self.facts.window


def lane_of(declared: TargetConfig) -> tuple[str, str]:
    """Return the lane of a target, and the reason as a phrase, such as `read directly: the OpenAI wire`. The target is not checked."""
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
    """Open a declared target; no request is sent. Raises Misfit if the declaration does not fit the target's lane.

    `connect`: seconds a connection may take. `learned`: lessons from earlier refusals of this target.
    """
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
    known, learned = facts_of(declared), learned or Learned()
    prefill = _continues(declared, lane, known)
    facts = known if prefill == known.prefill else replace(known, prefill=prefill)
    connections, ready, warm = connections.over(declared.egress), None, None
    fetches = files.fetches(declared)
    if lane == "openai":  # it refuses the URLs of files itself: a plain question needs no search for them
        answer = openai.answer(name, declared, connect, connections, learned, facts=facts, fetches=fetches)
    elif lane in DIRECT:
        answer = DIRECT[lane](name, declared, connect, connections, learned, facts=facts)
    elif declared.fetch_files:
        raise Misfit("via LiteLLM no address of a file is handed on: it would fetch some of them itself", "fetch_files")
    else:
        answer = litellm.answer(name, declared, connect, learned, connections)
        ready, warm = litellm_library.ready, litellm_library.warm
    if not fetches and lane != "openai":
        answer = files.without_addresses(name, answer)
    return Target(name, lane, declared.model, answer, facts, learned, ready, warm)


def _continues(declared: TargetConfig, lane: str, known: Facts) -> bool:
    """Return whether a target is taken to continue an assistant's last words (prefill). `known`: the facts of its model."""
    provider, _, model = str(declared.model).partition("/")
    own = declared.api_base is not None
    if lane == "gemini" or user_ends in rules_of(provider, model, own=own):
        return False  # it refuses a last message of the assistant's: a rescue asks it to continue in another way
    if known.source == "unknown" and (provider in PREFILL or (provider == "openai" and own)):
        return declared.facts is None or declared.facts.prefill is not False
    return known.prefill


def proxy_warning(declared: TargetConfig) -> str:
    """Return a warning if LiteLLM's sign-in for a target bypasses the declared proxy and CA; otherwise an empty text."""
    warning = sign_in_warning(declared)
    return warning if warning and lane_of(declared)[0] == "litellm" else ""


def forget_lookups() -> None:
    """Free what opening targets looked up, and looks up anew the next time: LiteLLM's table (4 MB), and request heads, which hold keys."""
    forget_table()
    known_facts.cache_clear()
    head_of.cache_clear()


async def close_lanes() -> None:
    """Close LiteLLM's HTTP clients, which all configurations of the process share. Other lanes use Connections, closed separately."""
    await litellm_library.close()
