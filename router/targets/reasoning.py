"""Reasoning state of a model call: how it is collected from an answer, and how the next request of the same turn sends it back.

    {"reasoning_content": TEXT}, {"reasoning": TEXT}    the OpenAI wire: beside the calls of an assistant message
    {"reasoning_details": LIST}                         OpenRouter: the same place
    {"extra_content": {"google": …}}                    Gemini on the OpenAI wire: beside one call
    {"provider_specific_fields": {…}}                   Gemini through LiteLLM: beside one call
    {"type": "thinking", …}                             Claude: a block of its message, on Anthropic's wire and through LiteLLM

State is sent only to the target that issued it. State that a client sent (issuer "") goes to any target that takes its form.

Source: DeepSeek's guide to thinking mode; Moonshot's guide to thinking models; OpenRouter's guide to preserving reasoning blocks; Google's
guide to thought signatures; Anthropic's guide to extended thinking.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from router.chat import Ask, Json, JsonObject, Message, ReasoningState
from router.targets.completions import Amend
from router.targets.facts import Facts
from router.targets.fit import Fitted
from router.targets.providers import CLAUDES
from router.targets.speech import MAX_STATE, MAX_STATES, Speech
from router.value import Mutable, Value, field

TEXTS = ("reasoning_content", "reasoning")
"""Fields with reasoning as text."""
BLOCKS = ("thinking", "redacted_thinking")
"""Types of Claude's reasoning blocks."""
INTERLEAVED = "interleaved-thinking-2025-05-14"
"""Beta header with which Claude 4 models with a thinking budget also think between calls; other models ignore it."""
UNSIGNED: JsonObject = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""Placeholder that Gemini accepts for the signature of another model's call
(https://ai.google.dev/gemini-api/docs/thought-signatures)."""
ABSENT = " "
"""Placeholder for missing reasoning, as of another target's call. An empty text counts as missing (hermes-agent#17341)."""
OWN = frozenset({"hosted_vllm", "llamafile", "lm_studio", "ollama_chat"})


class Returns(Value, frozen=True):
    """The forms in which a provider takes reasoning back, beside the calls that followed it.

    fields: fields of an assistant message, the preferred one first; others are not sent, because some providers refuse them
    insists: true if it refuses a call without the first of `fields`, which is then sent with a placeholder if the reasoning is missing
    everywhere: true if each assistant message needs that field once there are tools
    signs: true if a message's first call needs a signature (Gemini)
    own: true for an unknown server, which gets back its own reasoning and none that a client sent
    blocks: true if it takes Claude's thinking blocks beside the calls (LiteLLM)
    """

    fields: tuple[str, ...] = ()
    insists: bool = False
    everywhere: bool = False
    signs: bool = False
    own: bool = False
    blocks: bool = False


NOTHING = Returns()


def returned(facts: Facts, fitted: Fitted, model: str, *, own: bool) -> Returns:
    """Return the forms in which a target on the OpenAI wire takes reasoning back; NOTHING if it takes none. `model`: provider/model.
    `fitted`: the parameters of this question, which decide whether the model thinks. `own`: true if the operator gave its address.
    """
    prefix, _, name = model.partition("/")
    insists = facts.insists and fitted.thinks
    if facts.returns:
        # DeepSeek requires it in every message of a turn with tools: MoonshotAI/kimi-cli#2141.
        fields = ("reasoning_details", "reasoning") if facts.returns == "reasoning_details" else (facts.returns,)
        return Returns(fields, insists=insists, everywhere=insists and "deepseek" in model)
    if prefix == "openai" and own and name.rpartition("/")[2].startswith("gemini-"):  # Google also takes models/… and google/…
        return Returns(signs=True)
    return Returns((*TEXTS, "reasoning_details"), own=True) if prefix in OWN or (prefix == "openai" and own) else NOTHING


def returned_through_litellm(facts: Facts, fitted: Fitted, model: str) -> Returns:
    """Return the forms in which a model takes reasoning back through LiteLLM; NOTHING if it takes none. `model`: provider/model."""
    if is_claude(model):
        return Returns(blocks=True)
    found = returned(facts, fitted, model, own=False)
    return NOTHING if found.own or facts.returns == "reasoning_details" else found


def is_claude(model: str) -> bool:
    """Return whether a model (provider/model) is Claude at a provider for which LiteLLM handles thinking as blocks (CLAUDES)."""
    return "claude" in model and model.partition("/")[0] in CLAUDES


class Reasoning(Mutable):
    """The reasoning of one answer on the OpenAI wire, collected in the fields that its provider takes back; others are ignored."""

    _returns: Returns
    _field: str = ""
    _pieces: list[str] = field(default_factory=list[str])
    _details: list[dict[str, Json]] = field(default_factory=list[dict[str, Json]])
    _size: int = 0

    def text(self, name: str, piece: str) -> None:
        """Add a piece of the field `name`, if the provider takes it back and no other text field came before: some servers send two."""
        if name in self._returns.fields and self._field in ("", name):
            self._field = name
            self._size += len(piece)
            if self._size <= MAX_STATE:
                self._pieces.append(piece)

    def details(self, pieces: Sequence[dict[str, Json]]) -> None:
        """Add `reasoning_details`, or pieces of them, if the provider takes that field back.
        Texts of one type and index are joined; other fields of a later piece replace those of an earlier one.
        """
        for piece in pieces if "reasoning_details" in self._returns.fields else ():
            self._size += sum(len(value) if isinstance(value, str) else 64 for value in piece.values())
            if self._size > MAX_STATE:
                return
            if known := next((one for one in reversed(self._details) if _same(one, piece)), None):
                _merge(known, piece)
            else:
                self._details.append(dict(piece))

    def states(self) -> Iterator[JsonObject]:
        """Yield one state: the collected details, or else the text. Nothing if there is neither, or if a limit is exceeded."""
        if self._size > MAX_STATE or len(self._details) > MAX_STATES:
            return
        if self._details:
            yield {"reasoning_details": cast("list[Json]", self._details)}
        elif self._pieces:
            yield {self._field: "".join(self._pieces)}


def _same(known: Mapping[str, Json], piece: Mapping[str, Json]) -> bool:
    """Return whether a piece of `reasoning_details` continues a known one: the same index and type, and the same id if encrypted.
    A piece without an index never does.
    """
    names = ("type", "index", "id") if "data" in known or "data" in piece else ("type", "index")
    return piece.get("index") is not None and all(known.get(name) == piece.get(name) for name in names)


def _merge(known: dict[str, Json], piece: Mapping[str, Json]) -> None:
    for name, value in piece.items():
        before = known.get(name)
        if name in ("text", "summary") and isinstance(before, str) and isinstance(value, str):
            known[name] = before + value
        elif value is not None or name not in known:
            known[name] = value


class Blocks:
    """Assembler of Claude's thinking blocks from their pieces. A block becomes a reasoning state of the Speech when it ends."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._thinking: list[str] = []
        self._signature: str | None = None
        self._open = False

    def thinking(self, piece: str = "", signature: str | None = None) -> None:
        """Add a piece of thought, or of its signature, to the open block; begin a block if none is open."""
        self._open = True
        self._thinking.append(piece)
        if signature:
            self._signature = (self._signature or "") + signature

    @property
    def signed(self) -> bool:
        """Return whether the open block has its signature, or the first part of it."""
        return self._signature is not None

    def redacted(self, data: str) -> None:
        """Close the open block, and record an encrypted block."""
        self.close()
        self._speech.state({"type": "redacted_thinking", "data": data})

    def close(self) -> None:
        """Close the open block, if any, and record it in the Speech, with its signature if it has one."""
        if self._open:
            block: dict[str, Json] = {"type": "thinking", "thinking": "".join(self._thinking)}
            if self._signature is not None:
                block["signature"] = self._signature
            self._speech.state(block)
        self._thinking, self._signature, self._open = [], None, False


def blocks(message: Message, issuer: str) -> list[ReasoningState]:
    """Return the message's reasoning states that are Claude's thinking blocks and may be sent to this issuer, in order."""
    return [state for state in message.states(issuer) if state.value.get("type") in BLOCKS]


def keeps_thinking(ask: Ask, issuer: str) -> bool:
    """Return whether Claude may think with a budget: the turn's latest message with calls must begin with a thought of this issuer.
    True if the turn has no calls. False if the last message is not of a user or tool.
    """
    if ask.messages[-1].role not in ("user", "tool"):
        return False
    for message in reversed(ask.messages):
        if message.role == "user":
            return True
        if message.calls:
            first = next(iter(blocks(message, issuer)), None)
            return first is not None and not first.call_id and not message.text[: max(0, len(message.text) - first.after)].strip()
    return True


def beside(ask: Ask, issuer: str, returns: Returns) -> Amend | None:
    """Return a function that adds reasoning states in place to an assistant message of the OpenAI wire.
    None if the question is text alone and needs no placeholder. `issuer`: the target that is asked. `returns`: the forms that it takes.
    """
    everywhere = returns.everywhere and bool(ask.tools or ask.has_calls)
    if ask.text_alone and not (returns.insists and everywhere):
        return None

    def amend(message: Message, made: dict[str, Json]) -> None:
        calls = bool(message.calls)
        if calls and returns.blocks and (thoughts := blocks(message, issuer)):
            made["thinking_blocks"] = [dict(state.value) for state in thoughts]
        elif calls:
            for state in message.states(issuer):
                _put(state, made, returns)
        if returns.insists and (calls or everywhere):
            made.setdefault(returns.fields[0], ABSENT)
        if returns.signs and calls:
            asked = cast("list[dict[str, Json]]", made["tool_calls"])
            if not any("extra_content" in call for call in asked):
                asked[0]["extra_content"] = UNSIGNED

    return amend


def _put(state: ReasoningState, made: dict[str, Json], returns: Returns) -> None:
    for name, value in state.value.items():
        if name in ("extra_content", "provider_specific_fields"):
            if state.issuer or (returns.signs and name == "extra_content"):
                for call in cast("list[dict[str, Json]]", made["tool_calls"]):
                    if call["id"] == state.call_id:
                        call[name] = value
        elif name in returns.fields and (state.issuer or not returns.own):
            made[name] = value
        elif name in TEXTS and not (state.issuer or returns.own) and (other := next((one for one in returns.fields if one in TEXTS), None)):
            made.setdefault(other, value)  # the client got it under the wire's name, not the provider's
