"""Retry without thinking blocks after Claude refuses thinking that is bound to another conversation."""

import json
from contextlib import aclosing
from typing import Any

import pytest

from router.chat import Ask, Call, Message, ReasoningState, Result, issued_by
from router.config.declaration import TargetConfig
from router.config.values import Name, Secret
from router.errors import TargetRefused
from router.events import Start, Text
from router.targets import Connections, Learned, open_target
from tests.support.provider import Provider, Reply, provider
from tests.targets.test_proxy import CLAUDE

MODEL = "anthropic/claude-opus-5-5"
THOUGHT = {"type": "thinking", "thinking": "It rains.", "signature": "sealed"}
SAID = (
    "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation. Remove the block, or set "
    '`thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
)
BOUND = Reply(status=400, body=json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": SAID}}).encode())
ASK = Ask(
    model="m",
    messages=(
        Message("user", ("How is the weather?",)),
        Message("assistant", (ReasoningState(issued_by("a", MODEL), THOUGHT), Call("toolu_1", "get_weather", {}))),
        Message("tool", (Result("toolu_1", "get_weather", "rain"),)),
    ),
)


def thoughts(body: dict[str, Any]) -> list[str]:
    """Return the texts of the thinking blocks in a request body."""
    return [block["thinking"] for message in body["messages"] for block in message["content"] if block["type"] == "thinking"]


async def asked(fake: Provider, via: str | None, learned: Learned) -> tuple[str, tuple[str, ...]]:
    """Ask the target once; return the answer's text, and what Start lists as omitted."""
    config = TargetConfig(model=Name(MODEL), api_base=fake.base.removesuffix("/v1"), api_key=Secret("sk-a"), via=via)  # type: ignore[arg-type]
    connections = Connections()
    try:
        async with aclosing(open_target("a", config, 60, connections, learned).answer(ASK)) as events:
            found = [event async for event in events]
    finally:
        await connections.close()
    (start,) = [event for event in found if isinstance(event, Start)]
    return "".join(event.text for event in found if isinstance(event, Text)), start.omitted


@pytest.mark.parametrize("via", [None, "litellm"])
async def test_request_is_retried_without_thinking_that_claude_refuses(via: str | None) -> None:
    """A 400 about bound thinking leads to one retry at the same target without thinking blocks; the next question has them again."""
    learned = Learned()
    async with provider(BOUND, CLAUDE) as fake:
        assert await asked(fake, via, learned) == ("Hello", ("reasoning_state",))
        assert [thoughts(body) for body in fake.requests] == [["It rains."], []]
        assert await asked(fake, via, learned) == ("Hello", ())
        assert thoughts(fake.requests[-1]) == ["It rains."]


@pytest.mark.parametrize("via", [None, "litellm"])
async def test_second_refusal_without_thinking_is_raised(via: str | None) -> None:
    """A target that also refuses the retry without thinking raises TargetRefused after two requests."""
    async with provider(BOUND) as fake:
        with pytest.raises(TargetRefused):
            await asked(fake, via, Learned())
        assert len(fake.requests) == 2
