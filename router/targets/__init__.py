"""What answers for real: one file per kind, one row each.

A target is an Answer that yields Start, then what its provider says, then Finish; or raises a TargetError, before or
after its first event. It closes what it opened whenever its events are closed.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from router.config.declaration import Target as Declared
from router.errors import Misfit
from router.events import Answer
from router.targets import anthropic, litellm, openai, script, windows
from router.targets.connections import Connections
from router.targets.conversation import user_ends
from router.targets.providers import rules_of
from router.targets.verdict import verdict as refusal
from router.targets.windows import priced

__all__ = ["Connections", "Target", "close_lanes", "know_windows", "lane_of", "open_target", "priced", "refusal"]


PREFILL = frozenset({"anthropic", "hosted_vllm", "llamafile", "lm_studio", "ollama_chat", "vllm"})
"""Providers whose models go on from the assistant's last words; `openai/` at another address is mostly such a server. One
that refuses them is asked in another way."""
UNBOUNDED = 1_000_000_000
"""The window of a script, in tokens: it reads nothing, so nothing is too long for it."""


@dataclass(frozen=True, slots=True)
class Target:
    """An open target. `lane`: the file that serves it. `warm` makes its first answer as quick as the next, where that takes time."""

    name: str
    lane: str
    model: str
    answer: Answer
    window: int | None = None
    prefill: bool = False
    """Whether it goes on from the assistant's last words, if it is given any."""
    ready: Callable[[], Awaitable[None]] | None = None
    """Waits until it can be asked at all: for a library that is being imported."""
    warm: Callable[[], Coroutine[object, object, None]] | None = None

    async def reads(self) -> int | None:
        """Tokens it can read: as declared, else as LiteLLM's table says; None where nobody knows."""
        return self.window or await windows.known(self.model)


def lane_of(declared: Declared) -> tuple[str, str]:
    """The lane that serves a target, and why that one."""
    if declared.model is None:
        return "script", "a script, offline"
    if openai.serves(declared):
        return "openai", "read directly: the OpenAI wire"
    if anthropic.serves(declared):
        return "anthropic", "read directly: the Anthropic wire"
    provider = declared.model.partition("/")[0]
    return "litellm", f"via LiteLLM: {f'`via: {declared.via}`' if declared.via else f'nothing reads the wire of {provider}/ directly'}"


def open_target(name: str, declared: Declared, connect: float, connections: Connections) -> Target:
    """The target as declared. `connect`: seconds a connection may take. Misfit where no lane serves it."""
    if declared.script is not None:
        label = declared.script if isinstance(declared.script, str) else "lines"
        return Target(name, "script", f"script/{label}", script.answer(name, declared.script), declared.context_window or UNBOUNDED)
    if declared.model is None:
        raise Misfit("a target has either `model` or `script`")
    litellm.check_model(declared.model)
    provider = declared.model.partition("/")[0]
    prefill = provider in PREFILL or (provider == "openai" and declared.api_base is not None)
    # One that takes no last words of the assistant's is asked to go on in another way.
    prefill = prefill and user_ends not in rules_of(provider, declared.model.partition("/")[2], own=declared.api_base is not None)
    lane, _ = lane_of(declared)
    match lane:
        case "openai":
            answer, warm = openai.answer(name, declared, connect, connections), None
        case "anthropic":
            answer, warm = anthropic.answer(name, declared, connect, connections), None
        case _:
            answer, warm = litellm.answer(name, declared, connect), litellm.warm
    ready = litellm.ready if lane == "litellm" else None
    return Target(name, lane, declared.model, answer, declared.context_window, prefill, ready, warm)


def know_windows() -> None:
    """Read how much each model can read now, where there is no loop that the file would hold up."""
    windows.table()


async def close_lanes() -> None:
    """Close what the lanes keep open for the whole process: connections outlive a generation, not the server."""
    await litellm.close()
