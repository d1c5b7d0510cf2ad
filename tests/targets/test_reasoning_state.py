"""Reasoning state (what a provider wants back beside tool calls): how its pieces are collected, and which are sent back."""

import json
from typing import Any

import pytest

from router.chat import Ask, Call, Message, ReasoningState, Result, ToolSpec, issued_by
from router.events import Event, ToolCall
from router.targets.reasoning import NOTHING, Reasoning, Returns, beside, keeps_thinking
from router.targets.speech import MAX_STATE, MAX_STATES, Speech
from tests.support.provider import DONE, Reply, chunk, provider
from tests.targets.test_openai import declared, heard

DETAILS = Returns(("reasoning_details", "reasoning"))
ISSUER = issued_by("a", "openai/m")


def merged(*pieces: dict[str, Any]) -> Any:
    """Return the `reasoning_details` of each state that these pieces become; an empty list if they are dropped."""
    reasoning = Reasoning(DETAILS)
    for piece in pieces:
        reasoning.details([piece])
    return [one["reasoning_details"] for one in reasoning.states()]


def test_reasoning_details_of_one_type_and_index_are_joined() -> None:
    """Pieces with one type and index become one: texts are appended, other fields take the last value that is not null."""
    text, sealed = {"type": "reasoning.text", "index": 0}, {"type": "reasoning.encrypted", "index": 1}
    made = merged(
        {**text, "text": "Hm", "signature": None, "format": "f"},
        {**sealed, "data": "x"},
        {**text, "text": "."},
        {**text, "text": "", "signature": "s"},
    )
    assert made == [[{**text, "text": "Hm.", "signature": "s", "format": "f"}, {**sealed, "data": "x"}]]


def test_encrypted_reasoning_details_are_kept_apart_by_id() -> None:
    """Encrypted details at one index stay separate by id; a repeated one is kept once."""
    one, two = ({"type": "reasoning.encrypted", "index": 0, "id": name, "data": name * 3} for name in ("a", "b"))
    assert merged(one, two, one) == [[one, two]]


def test_reasoning_details_without_an_index_are_not_joined() -> None:
    """Two reasoning details without an index stay two, even if they are equal."""
    one = {"type": "reasoning.text", "text": "Hm."}
    assert merged(one, one) == [[one, one]]


@pytest.mark.parametrize("count", [MAX_STATES + 1, 3])
def test_reasoning_above_its_limit_is_dropped_entirely(count: int) -> None:
    """Reasoning with too many entries or bytes is dropped as a whole, because a provider would refuse a part of it."""
    size = MAX_STATE // 2 if count == 3 else 1
    assert merged(*({"type": "reasoning.text", "text": "x" * size, "index": index} for index in range(count))) == []
    reasoning = Reasoning(Returns(("reasoning_content",)))
    for _ in range(3):
        reasoning.text("reasoning_content", "x" * (MAX_STATE // 2))
    assert list(reasoning.states()) == []


def test_unusable_reasoning_state_drops_all_states_of_the_answer() -> None:
    """A state that is nested too deep or too large leaves the answer with its call, and without any ReasoningState."""
    for value in ({"a": json.loads("[" * 200 + "]" * 200)}, {"a": "x" * (MAX_STATE + 1)}):
        speech = Speech("t", "t=m")
        speech.state({"a": 1})
        speech.call(0, "c1", "look", "{}")
        speech.state(value, 0)
        speech.finish("tool_calls")
        assert [type(event) for event in speech.end() if isinstance(event, ReasoningState | ToolCall)] == [ToolCall]


def test_reasoning_state_belongs_to_the_call_after_it() -> None:
    """A state between two calls bears the id of the second; one before the first call bears no id."""
    speech = Speech("t", "t=m")
    speech.state({"n": 1})
    speech.call(0, "c1", "look", "{}")
    speech.state({"n": 2})
    speech.call(1, "c2", "look", "{}")
    speech.finish("tool_calls")
    made = [event for event in speech.end() if isinstance(event, ReasoningState)]
    assert [(state.value["n"], state.call_id) for state in made] == [(1, ""), (2, "c2")]


def conversation(*states: ReasoningState, text: str = "") -> Ask:
    """Return a conversation whose assistant turn has these states and two calls."""
    called = Message("assistant", (*([text] if text else []), *states, Call("c1", "look", {}), Call("c2", "look", {})))
    results = Message("tool", (Result("c1", "look", "x"), Result("c2", "look", "y")))
    spec = ToolSpec("look", "Look.", {"type": "object", "properties": {}})
    return Ask(model="m", messages=(Message("user", ("?",)), called, results), tools=(spec,))


def amended(returns: Returns, *states: ReasoningState, index: int = 1) -> dict[str, Any]:
    """Return the assistant's message as a request to the issuer has it."""
    ask = conversation(*states)
    made: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}, {"id": "c2"}]}
    if amend := beside(ask, ISSUER, returns):
        amend(ask.messages[index], made)
    return made


CONTENT = ReasoningState(ISSUER, {"reasoning_content": "Hm."})
SIGNED = ReasoningState(ISSUER, {"extra_content": {"google": {"thought_signature": "s"}}}, "c2")


def test_reasoning_state_of_another_issuer_is_not_sent() -> None:
    """A state that another target issued is not sent; a target that insists on `reasoning_content` gets a blank in its place."""
    foreign = ReasoningState("b=openai/m", {"reasoning_content": "Foreign."})
    assert amended(Returns(("reasoning_content",)), foreign) == amended(NOTHING)
    assert amended(Returns(("reasoning_content",), insists=True), foreign)["reasoning_content"] == " "


def test_signature_is_sent_on_its_own_call() -> None:
    """A thought signature is sent on the call that it belongs to; without one the first call gets a placeholder."""
    first, second = amended(Returns(signs=True), SIGNED)["tool_calls"]
    assert ("extra_content" in first, second["extra_content"]) == (False, {"google": {"thought_signature": "s"}})
    first, second = amended(Returns(signs=True))["tool_calls"]
    assert first["extra_content"]["google"]["thought_signature"] == "skip_thought_signature_validator"
    assert "extra_content" not in second


SENT: list[Any] = [{"reasoning_content": "Hm."}, {"reasoning_details": [{"text": "Hm."}]}, {"extra_content": {"google": {"a": 1}}}]


@pytest.mark.parametrize("value", SENT)
def test_reasoning_state_of_a_client_is_not_sent_to_an_unknown_server(value: dict[str, Any]) -> None:
    """A reasoning state that a client sends is not forwarded to a self-hosted server, nor to one that returns no state."""
    sent = ReasoningState("", value, "c1" if "extra_content" in value else "")
    assert amended(Returns(("reasoning_content", "reasoning_details"), own=True), sent) == amended(NOTHING)
    assert amended(NOTHING, sent) == amended(NOTHING)


BLOCK = ReasoningState(ISSUER, {"type": "thinking", "thinking": "Hm.", "signature": "s"}, after=6)


@pytest.mark.parametrize(
    ("ask", "may"),
    [
        (conversation(BLOCK, text="I see. "[:6]), True),
        (conversation(BLOCK, text="Half of another's words, and I see."), False),
        (conversation(text="I see."), False),
        (conversation(ReasoningState("b=x", BLOCK.value)), False),
        (conversation().with_messages(Message("user", ("?",))), True),
        (conversation().with_messages(*conversation().messages, Message("user", ("And?",))), True),
        (conversation().with_messages(Message("user", ("?",)), Message("assistant", ("So",))), False),
    ],
    ids=["its own thought", "words before it", "no thought", "another's", "no calls", "calls of an earlier turn", "its own last words"],
)
def test_claude_with_a_budget_thinks_only_if_its_last_turn_begins_with_its_thought(ask: Ask, *, may: bool) -> None:
    """Thinking with a budget is kept if the turn has only the question yet, or its calls begin with this target's own thought."""
    assert keeps_thinking(ask, ISSUER) is may


async def test_answer_without_calls_has_no_reasoning_state() -> None:
    """An answer with thoughts but no tool call yields no ReasoningState."""
    frames = chunk({"reasoning_content": "Hm."}), chunk({"content": "Hi"}), chunk({}, "stop"), DONE
    async with provider(Reply(frames)) as fake:
        seen: list[Event] = await heard(declared(fake.base, "deepseek/deepseek-v4-pro"))
    assert not [event for event in seen if isinstance(event, ReasoningState)]


async def test_surrogates_in_a_reasoning_state_are_repaired() -> None:
    """Surrogate halves in reasoning are joined across chunks, and a lone half becomes U+FFFD."""
    call = chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": "{}"}}]})
    thought = chunk({"reasoning_content": "\ud83d"}), chunk({"reasoning_content": "\ude00 \ud83d"})
    async with provider(Reply((*thought, call, chunk({}, "tool_calls"), DONE))) as fake:
        seen = await heard(declared(fake.base, "deepseek/deepseek-v4-pro"))
    assert [event.value for event in seen if isinstance(event, ReasoningState)] == [{"reasoning_content": "😀 \ufffd"}]


@pytest.mark.parametrize("model", ["gemini-3.5-flash", "models/gemini-3.5-flash", "google/gemini-3.5-flash"])
async def test_gemini_on_the_openai_wire_gets_its_signature_back(model: str) -> None:
    """Gemini at an own address gets the signature of its call back, by each of Google's spellings of the model."""
    signature = {"google": {"thought_signature": "s"}}
    called = {"index": 0, "id": "c1", "function": {"name": "now", "arguments": "{}"}, "extra_content": signature}
    async with provider(Reply((chunk({"tool_calls": [called]}), chunk({}, "tool_calls"), DONE))) as fake:
        seen = await heard(declared(fake.base, f"openai/{model}"))
        states = tuple(event for event in seen if isinstance(event, ReasoningState))
        turn = (Message("assistant", (*states, Call("c1", "now", {}))), Message("tool", (Result("c1", "now", 1),)))
        await heard(declared(fake.base, f"openai/{model}"), Ask(model="m", messages=(Message("user", ("?",)), *turn)))
    assert fake.requests[1]["messages"][1]["tool_calls"][0]["extra_content"] == signature
