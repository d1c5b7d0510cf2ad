"""The Gemini lane: its requests, and the events of its answers. tests/support/google.py refuses what Google's API refuses."""

import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from hypothesis import given

from router.chat import Ask, Call, Choice, File, Message, ReasoningState, Result, ToolSpec, issued_by
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import ContentFiltered, Misfit, TargetDown, TargetError, TargetRefused
from router.events import Event, Finish, Order, Text, Thought, ToolCall, Usage
from router.params import Params
from router.targets import Connections, gemini, lane_of, open_target
from router.targets.conversation import fitted
from router.targets.fit import fit
from router.targets.gemini_contents import UNSIGNED, contents
from router.targets.learned import Learned
from router.targets.providers import rules_of_google
from router.targets.resolved_facts import facts_of
from tests.support import google
from tests.support.provider import Provider, Reply, frame, joined, provider, running
from tests.targets.test_conversation import CONVERSATIONS as CONVERSATIONS_OF_ALL_KINDS

KEY = Secret("sk-test")
HI = Ask(model="m", messages=(Message("user", ("Hi",)),))
PRO = "gemini/gemini-3.1-pro-preview"
ISSUER = issued_by("a", PRO)


def target(model: str = PRO, base: str | None = None, key: Secret | None = KEY, via: Any = None) -> Declared:
    """Return a target of this model, by default with a key."""
    return Declared(model=Name(model), api_base=base, api_key=key, via=via)


async def heard(declared: Declared, ask: Ask = HI, learned: Learned | None = None) -> list[Event]:
    """Return the events of one answer without Start, neighbouring texts joined; raise if it fails."""
    connections, order = Connections(), Order()
    try:
        async with aclosing(gemini.answer("a", declared, 3, connections, learned)(ask)) as events:
            seen = [order.see(event) async for event in events]
    finally:
        await connections.close()
    order.end()
    return joined(seen)[1:]


def chunk(*parts: dict[str, Any], reason: str = "", **more: Any) -> bytes:
    """Return one event of Gemini's stream with these parts."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return frame({"candidates": [{**candidate, **({"finishReason": reason} if reason else {})}], **more})


def call(name: str, **args: Any) -> dict[str, Any]:
    """Return a part that calls a function."""
    return {"functionCall": {"name": name, "args": args}}


COUNTS = {"promptTokenCount": 11, "candidatesTokenCount": 2, "totalTokenCount": 13}


async def said(*frames: bytes, ask: Ask = HI, model: str = PRO) -> list[Event]:
    """Return the events, without Start, that these frames become; raise if the answer fails."""
    async with provider(Reply(frames)) as fake:
        return await heard(target(model, fake.base), ask)


# Where it is asked, and by which lane.


@pytest.mark.parametrize(
    ("declared", "lane"),
    [
        (target("gemini/gemini-2.5-pro"), "gemini"),
        (target("gemini/gemini-2.5-pro", via="litellm"), "litellm"),
        (target("vertex_ai/gemini-2.5-pro"), "gemini"),
        (target("vertex_ai/gemini-2.5-pro", via="litellm"), "litellm"),
        (target("vertex_ai/gemini-2.5-pro", key=None), "litellm"),
        (target("vertex_ai/claude-sonnet-4-5"), "litellm"),
        (target("openai/gemini-2.5-pro"), "openai"),
    ],
)
def test_gemini_or_litellm_lane_is_chosen_by_model_key_and_via(declared: Declared, lane: str) -> None:
    """Gemini at `gemini/` or `vertex_ai/` uses its own lane; `via: litellm`, Vertex AI without a key, or Claude uses LiteLLM."""
    assert lane_of(declared)[0] == lane


def test_gemini_target_without_a_key_is_refused_at_load() -> None:
    """Opening a Gemini target without key and address raises Misfit with the line to write."""
    with pytest.raises(Misfit, match=r"write `api_key: \$\{GEMINI_API_KEY\}`"):
        open_target("a", target(key=None), 1, Connections())


@pytest.mark.parametrize("model", [PRO, "vertex_ai/gemini-3.5-flash"])
def test_gemini_target_does_not_take_a_prefill(model: str) -> None:
    """A Gemini target does not continue an assistant's last words: Google refuses a request that ends with a model's turn."""
    assert not open_target("a", target(model), 1, Connections()).prefill


AT = "/models/m:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("prefix", "base", "path"),
    [
        ("gemini", "", f"/v1beta{AT}"),
        ("gemini", "/v1beta", f"/v1beta{AT}"),
        ("gemini", "/v1", f"/v1{AT}"),
        ("gemini", "/proxy/v1alpha/", f"/proxy/v1alpha{AT}"),
        ("gemini", "/v1beta/models/tuned", "/v1beta/models/tuned:streamGenerateContent?alt=sse"),
        ("gemini", "/v1beta/models/tuned:streamGenerateContent", "/v1beta/models/tuned:streamGenerateContent?alt=sse"),
        ("gemini", "/v1beta?alt=sse&x=1", "/v1beta/models/m:streamGenerateContent?alt=sse&x=1"),
        ("vertex_ai", "", "/v1/publishers/google/models/gemini-m:streamGenerateContent?alt=sse"),
        ("vertex_ai", "/v1beta1", "/v1beta1/publishers/google/models/gemini-m:streamGenerateContent?alt=sse"),
        ("vertex_ai", "/v1/publishers/google", "/v1/publishers/google/models/gemini-m:streamGenerateContent?alt=sse"),
    ],
)
async def test_gemini_url_gets_the_parts_that_api_base_lacks(prefix: str, base: str, path: str) -> None:
    """The version, publisher, model and method that `api_base` lacks are added; the key is sent in `x-goog-api-key`."""
    async with provider(Reply((chunk({"text": "Hi"}, reason="STOP"),))) as fake:
        model = "gemini-m" if prefix == "vertex_ai" else "m"
        await heard(target(f"{prefix}/{model}", fake.base.removesuffix("/v1") + base))
    assert fake.headers[0][":path"] == path
    assert fake.headers[0]["x-goog-api-key"] == "sk-test"


@pytest.mark.parametrize("prefix", ["gemini", "vertex_ai"])
def test_gemini_url_names_the_model_and_the_streaming_method(prefix: str) -> None:
    """The request URL is the base of Gemini or of Vertex AI, then `/models/`, the model, and `:streamGenerateContent?alt=sse`."""
    hosts = {"gemini": gemini.BASE, "vertex_ai": gemini.VERTEX}
    address = gemini._address(hosts[prefix], "gemini-m", vertex=prefix == "vertex_ai")
    assert address == f"{hosts[prefix]}/models/gemini-m:streamGenerateContent?alt=sse"


# The conversation.

LOOK = ToolSpec("look", "Look there.", {"type": "object", "properties": {"at": {"type": "integer"}}, "additionalProperties": False})


def signed(signature: str, call_id: str = "", after: int = 0, issuer: str = ISSUER, **more: Any) -> ReasoningState:
    """Return a reasoning state with a thought signature of Gemini's."""
    return ReasoningState(issuer, {"thoughtSignature": signature, **more}, call_id, after)


def turn(*messages: Message, **more: Any) -> Ask:
    """Return a question with these messages and a tool."""
    return Ask(model="m", messages=messages, tools=(LOOK,), **more)


def parts_of(ask: Ask, **more: Any) -> list[Any]:
    """Return the role and the parts of each content of a request."""
    made: Any = contents(ask, ISSUER, **more)
    return [(one["role"], one["parts"]) for one in made]


def test_gemini_gets_tool_results_in_one_content_in_call_order() -> None:
    """Results of one round become one user content in the order of their calls, with the calls' names, and ids only if asked for."""
    called = Message("assistant", (Call("c1", "look", {"at": 1}), Call("c2", "see", {})))
    results = Message("tool", (Result("c2", "", "second"),)), Message("tool", (Result("c1", "", {"n": 1}),))
    for ids in (True, False):
        *_, (role, parts) = parts_of(turn(Message("user", ("?",)), called, *results), ids=ids)
        assert role == "user"
        told = [one["functionResponse"] for one in parts]
        assert [(one["name"], one["response"]) for one in told] == [("look", {"n": 1}), ("see", {"result": "second"})]
        assert [one.get("id") for one in told] == (["c1", "c2"] if ids else [None, None])


def test_failed_tool_result_is_sent_to_gemini_as_an_error() -> None:
    """A failed tool result is sent as `{"error": …}` in the function response."""
    called = Message("assistant", (Call("c1", "look", {}),))
    *_, (_, parts) = parts_of(turn(Message("user", ("?",)), called, Message("tool", (Result("c1", "look", "Down.", True),))))
    assert parts[0]["functionResponse"]["response"] == {"error": "Down."}


def test_neighbouring_turns_become_one_gemini_content() -> None:
    """Neighbouring messages of one role become one content, so that roles alternate."""
    ask = turn(Message("user", ("a",)), Message("user", ("b",)), Message("assistant", ("c",)), Message("assistant", ("d",)))
    assert parts_of(ask) == [("user", [{"text": "a"}, {"text": "b"}]), ("model", [{"text": "c"}, {"text": "d"}])]


def test_thought_signatures_return_to_their_parts() -> None:
    """A signature goes back on the text that it ended or on its own call; the text is split where a signature stood."""
    parts = (
        signed("s0", after=9),
        signed("s1", after=4),
        signed("s2", after=0),
        "Let me look.",
        signed("s3", "c1"),
        Call("c1", "look", {}),
        Call("c2", "look", {}),
    )
    *_, (_, made) = parts_of(turn(Message("user", ("?",)), Message("assistant", parts)), signs=True, ids=False)
    assert made == [
        {"text": "Let", "thoughtSignature": "s0"},
        {"text": " me l", "thoughtSignature": "s1"},
        {"text": "ook.", "thoughtSignature": "s2"},
        {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "s3"},
        {"functionCall": {"name": "look", "args": {}}},
    ]


def test_signed_thought_is_sent_back_to_gemini_as_a_thought() -> None:
    """A signed thought goes back with its text, its thought flag and its signature."""
    parts = (signed("s", thought=True, text="Hm."), Call("c1", "look", {}))
    *_, (_, made) = parts_of(turn(Message("user", ("?",)), Message("assistant", parts)))
    assert made[0] == {"text": "Hm.", "thought": True, "thoughtSignature": "s"}


@pytest.mark.parametrize(
    ("state", "signature"),
    [
        (signed("s", "c1", issuer="b=gemini/x"), UNSIGNED),
        (signed("s", "c1", issuer=""), "s"),
        (ReasoningState("", {"extra_content": {"google": {"thought_signature": "s"}}}, "c1"), "s"),
        (ReasoningState("", {"extra_content": {"google": 5}}, "c1"), UNSIGNED),
        (ReasoningState("", {"reasoning_content": "Hm."}), UNSIGNED),
    ],
    ids=["another target's", "a client's", "a client's, in OpenAI's form", "none", "of another vendor"],
)
def test_first_unsigned_call_gets_the_placeholder_signature(state: ReasoningState, signature: str) -> None:
    """From Gemini 3 on, a turn's first call without a signature of this target or the client gets a placeholder; the others get none."""
    ask = turn(Message("user", ("?",)), Message("assistant", (state, Call("c1", "look", {}), Call("c2", "look", {}))))
    *_, (_, made) = parts_of(ask, signs=True)
    assert [part.get("thoughtSignature") for part in made] == [signature, None]
    *_, (_, made) = parts_of(ask, signs=False)
    assert made[0].get("thoughtSignature") == (None if signature == UNSIGNED else signature)


FILES = [
    (File("image/png", "data:image/png;base64,aGk="), {"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
    (File("application/pdf", "data:application/pdf;base64,aGk="), {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}}),
    (File("audio/wav", "data:audio/wav;base64,aGk="), {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}}),
    (File("text/plain", "data:text/plain,h%69"), {"inlineData": {"mimeType": "text/plain", "data": "aGk="}}),
    (File("image/*", "https://a.example/b.png?x=1"), {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/b.png?x=1"}}),
    (File("image/*", "https://a.example/b"), {"fileData": {"fileUri": "https://a.example/b"}}),
    (File("image/jpg", "data:image/jpg;base64,aGk="), {"inlineData": {"mimeType": "image/jpeg", "data": "aGk="}}),
]


@pytest.mark.parametrize(("file", "part"), FILES, ids=[f"{file.kind} {file.url[:5]}" for file, _ in FILES])
async def test_file_becomes_inline_data_or_file_uri(file: File, part: dict[str, Any]) -> None:
    """A data: URL becomes `inlineData`; another URL becomes `fileData`, with its media type where that is known."""
    async with strict() as fake:
        await heard(target(base=fake.base), Ask(model="m", messages=(Message("user", ("See", file)),)))
    assert fake.requests[0]["contents"] == [{"role": "user", "parts": [{"text": "See"}, part]}]


class Strict(Provider):
    """A model server that refuses what Google refuses and answers all else. `refused`: the error texts that it sent."""

    def __init__(self, thinks: str = "level") -> None:
        super().__init__(())
        self.thinks = thinks
        self.refused: list[str] = []

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Return an answer, or a refusal if the request breaks a rule of Google's."""
        why = google.objection(headers, headers[":path"], body, signs=True, thinks=self.thinks)
        if why is None:
            return Reply((chunk({"text": "Hi"}, reason="STOP", usageMetadata=COUNTS),))
        self.refused.append(why[1])
        return Reply(status=why[0], body=json.dumps(google.error(*why)).encode())


def strict(thinks: str = "level") -> Any:
    """Return an async context manager that runs a Strict server."""
    return running(Strict(thinks))


PICTURE = File("image/png", "data:image/png;base64,aGk=")
CALLED = Message("assistant", ("I look.", Call("c1", "look", {"at": 1})))
GIVEN = Message("tool", (Result("c1", "look", "seen"),))
USER = Message("user", ("?",))
CONVERSATIONS: dict[str, tuple[Message, ...]] = {
    "empty": (),
    "system alone": (Message("system", ("Be brief.",)),),
    "system in the middle": (USER, Message("system", ("Be brief.",)), Message("assistant", ("So.",)), USER),
    "assistant first": (Message("assistant", ("Hello.",)), USER),
    "assistant last": (USER, Message("assistant", ("So ",))),
    "users in a row": (USER, USER),
    "blank texts": (USER, Message("assistant", ("", " ")), Message("user", (" ", "And?"))),
    "a call without a result": (USER, CALLED, USER),
    "a result without a call": (USER, GIVEN, USER),
    "a user after a result": (USER, CALLED, GIVEN, USER),
    "a picture in a result": (USER, CALLED, Message("tool", (Result("c1", "look", "seen", files=(PICTURE,)),))),
    "two calls of one id": (
        USER,
        Message("assistant", (Call("c1", "look", {}), Call("c1", "see", {}))),
        Message("tool", (Result("c1", "look", "a"), Result("c1", "see", "b"))),
    ),
    "results in another order": (
        USER,
        Message("assistant", (Call("c1", "look", {}), Call("c2", "see", {}))),
        Message("tool", (Result("c2", "see", "b"), Result("c1", "look", "a"))),
    ),
    "two rounds": (USER, CALLED, GIVEN, Message("assistant", (Call("c2", "look", {"at": 2}),)), Message("tool", (Result("c2", "", "b"),))),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_unusual_conversation_is_accepted_by_google(name: str) -> None:
    """Each conversation is sent so that Google takes it: roles alternate, the user is first and last, and responses follow calls."""
    async with strict() as fake:
        await heard(target(base=fake.base), turn(*CONVERSATIONS[name]))
    assert fake.refused == []
    assert len(fake.requests) == 1


@given(CONVERSATIONS_OF_ALL_KINDS)
def test_random_conversation_is_accepted_by_google(messages: list[Message]) -> None:
    """A random conversation becomes a request to which Google has no objection, and the same request each time."""
    facts = facts_of(target())
    ask = fitted(Ask(model="m", messages=tuple(messages), tools=(LOOK,)), rules_of_google("m"), "a")
    made = gemini.request(ask, fit(facts, Params()), facts, ISSUER)
    body = json.loads(msgspec.json.encode(made))
    assert google.objection({"x-goog-api-key": "k"}, AT, body, signs=True, thinks="level") is None
    assert body == json.loads(msgspec.json.encode(gemini.request(ask, fit(facts, Params()), facts, ISSUER)))


async def test_system_text_goes_into_the_user_turn_for_gemma() -> None:
    """Gemma 3 gets the system prompt as the first part of the user's turn; Gemini gets it as `systemInstruction`."""
    async with strict("none") as fake:
        ask = Ask(model="m", messages=(Message("system", ("Be brief.",)), USER))
        await heard(target("gemini/gemma-3-27b-it", fake.base), ask)
        await heard(target(base=fake.base), ask)
    assert fake.requests[0]["contents"] == [{"role": "user", "parts": [{"text": "Be brief."}, {"text": "?"}]}]
    assert "systemInstruction" not in fake.requests[0]
    assert fake.requests[1]["systemInstruction"] == {"parts": [{"text": "Be brief."}]}


# Parameters.


def config(model: str, **params: Any) -> Any:
    """Return the `generationConfig` that these parameters become."""
    facts = facts_of(target(model))
    return gemini.request(HI, fit(facts, Params(**params)), facts).get("generationConfig", {})


SHOWN = {"includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        (PRO, None, SHOWN),
        (PRO, "low", {**SHOWN, "thinkingLevel": "low"}),
        (PRO, "minimal", {**SHOWN, "thinkingLevel": "low"}),
        (PRO, "none", {**SHOWN, "thinkingLevel": "low"}),
        (PRO, "max", {**SHOWN, "thinkingLevel": "high"}),
        ("gemini/gemini-3-flash-preview", "minimal", {**SHOWN, "thinkingLevel": "minimal"}),
        ("gemini/gemini-3.8-flash", "minimal", {**SHOWN, "thinkingLevel": "low"}),
        ("vertex_ai/gemini-3-pro-preview", "medium", {**SHOWN, "thinkingLevel": "low"}),
        ("gemini/gemini-flash-latest", "high", {**SHOWN, "thinkingLevel": "high"}),
        ("gemini/gemini-9-nova", "xhigh", {**SHOWN, "thinkingLevel": "high"}),
        ("gemini/gemini-2.5-pro", None, SHOWN),
        ("gemini/gemini-2.5-pro", "medium", {**SHOWN, "thinkingBudget": 8192}),
        ("gemini/gemini-2.5-pro", "none", {**SHOWN, "thinkingBudget": 1024}),
        ("gemini/gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini/gemini-2.5-flash", "xhigh", {**SHOWN, "thinkingBudget": 24_576}),
        ("gemini/gemini-2.5-flash-lite", "low", {**SHOWN, "thinkingBudget": 1024}),
        ("gemini/gemini-2.5-flash-lite", None, None),
        ("vertex_ai/gemini-2.0-flash", "high", None),
        ("gemini/gemma-3-27b-it", "high", None),
    ],
)
def test_effort_becomes_a_gemini_thinking_level_or_budget(model: str, effort: Any, thinking: Any) -> None:
    """An effort becomes a `thinkingLevel` for Gemini 3, a `thinkingBudget` for 2.5, and is not sent to models that do not think."""
    assert (config(model, reasoning_effort=effort).get("thinkingConfig") or None) == thinking


def test_parameters_are_translated_to_googles_names_and_ranges() -> None:
    """Parameters get Google's names; a seed becomes a positive int32, and empty stop texts and penalties are left out."""
    made = config(
        "gemini/gemini-2.5-flash-lite", temperature=0.5, top_p=0.9, seed=2**40 + 7, stop=("a", ""), presence_penalty=1, max_tokens=9
    )
    assert made == {"temperature": 0.5, "topP": 0.9, "seed": 7, "stopSequences": ["a"], "maxOutputTokens": 9}
    assert config("gemini/gemini-2.5-flash-lite", seed=-1) == {"seed": 2**31 - 1}


@pytest.mark.parametrize(
    ("model", "params", "limit"),
    [
        (PRO, {"max_tokens": 500}, 500),
        (PRO, {"max_tokens": 500, "reasoning_effort": "high"}, 500),
        ("gemini/gemini-2.5-flash", {"max_tokens": 500, "reasoning_effort": "low"}, 1524),
        ("gemini/gemini-2.5-flash", {"max_tokens": 60_000, "reasoning_effort": "high"}, 65_536),
        ("gemini/gemini-2.5-flash", {"max_tokens": 500, "reasoning_effort": "none"}, 500),
    ],
)
def test_thinking_budget_is_added_to_the_output_limit(model: str, params: Any, limit: int) -> None:
    """`maxOutputTokens` is the client's limit plus the thinking budget, at most the model's maximum; a thinking level adds nothing."""
    assert config(model, **params)["maxOutputTokens"] == limit


CHOICES = [
    (Choice(), None),
    (Choice("none"), {"mode": "NONE"}),
    (Choice("required"), {"mode": "ANY"}),
    (Choice("named", "look"), {"mode": "ANY", "allowedFunctionNames": ["look"]}),
]


@pytest.mark.parametrize(("choice", "calling"), CHOICES)
async def test_tool_choice_is_translated_for_gemini(choice: Choice, calling: Any) -> None:
    """Tool choice auto is not sent; none, required and named become NONE, ANY, and ANY with the allowed function name."""
    async with strict() as fake:
        await heard(target(base=fake.base), turn(USER, choice=choice))
    told = fake.requests[0].get("toolConfig")
    assert told == (calling and {"functionCallingConfig": calling})


LESSONS: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "temperature",
        "Invalid value at 'generation_config.temperature': must be between 0.0 and 1.0",
        {"temperature": 1.5},
        "temperature:at_most_1.0",
    ),
    ("seed", "Invalid JSON payload received. Unknown name \"seed\" at 'generation_config': Cannot find field.", {"seed": 7}, "seed"),
    (
        "maxOutputTokens",
        (
            "Unable to submit request because it has a maxOutputTokens value of 60000 but the supported range is from 1 (inclusive) to 8193 "
            "(exclusive). Update the value and try again."
        ),
        {"max_tokens": 60_000},
        "max_tokens:at_most_8192",
    ),
    ("thinkingConfig", "Thinking level is not supported for this model.", {"reasoning_effort": "high"}, "reasoning_effort:budget"),
    (
        "thinkingConfig",
        "Thinking level HIGH is not supported for this model. Please retry with other thinking level.",
        {"reasoning_effort": "high"},
        "reasoning_effort:low|medium",
    ),
    ("thinkingConfig", "Thinking is not enabled for models/gemini-x", {}, "reasoning_effort"),
]


@pytest.mark.parametrize(("name", "words", "params", "lesson"), LESSONS, ids=[lesson for *_, lesson in LESSONS])
async def test_parameter_that_gemini_refuses_is_learned_and_retried(name: str, words: str, params: Any, lesson: str) -> None:
    """A 400 about a parameter in `generationConfig` is learned, and the same question is sent again in another form."""
    refusal = Reply(status=400, body=json.dumps(google.error(400, words)).encode())
    learned = Learned()
    async with provider(refusal, Reply((chunk({"text": "Hi"}, reason="STOP"),))) as fake:
        assert await heard(target(base=fake.base), Ask(model="m", messages=HI.messages, params=Params(**params)), learned)
    assert list(learned.sentences) == [lesson]
    assert name in fake.requests[0]["generationConfig"]
    assert fake.requests[0] != fake.requests[1]


# The answer.


async def test_gemini_stream_becomes_events() -> None:
    """A stream becomes thoughts, text, calls with their signature, and Finish with the model's name and all token counts."""
    counts = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 64,
        "toolUsePromptTokenCount": 20,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 157,
    }
    events = await said(
        chunk({"text": "Hm.", "thought": True}, usageMetadata={"promptTokenCount": 100}, modelVersion="gemini-3.1-pro"),
        chunk({"text": "Let me "}),
        chunk({"text": "look."}),
        chunk({**call("look", at=1), "thoughtSignature": "s"}, call("look", at=2)),
        chunk({"text": ""}, reason="STOP", usageMetadata=counts),
        ask=turn(USER),
    )
    states = [event for event in events if isinstance(event, ReasoningState)]
    calls = [event for event in events if isinstance(event, ToolCall)]
    assert events[:2] == [Thought("Hm."), Text("Let me look.")]
    assert [one.arguments for one in calls] == [{"at": 1}, {"at": 2}]
    assert [(one.issuer, one.value, one.call_id) for one in states] == [(ISSUER, {"thoughtSignature": "s"}, calls[0].call_id)]
    usage = Usage(120, 37, cached_tokens=64, reasoning_tokens=30)
    assert events[-1] == Finish("tool-calls", usage)
    assert isinstance(events[-1], Finish)
    assert events[-1].model == "gemini-3.1-pro"


REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content-filter",
    "RECITATION": "content-filter",
    "BLOCKLIST": "content-filter",
    "PROHIBITED_CONTENT": "content-filter",
    "SPII": "content-filter",
    "MODEL_ARMOR": "content-filter",
    "IMAGE_SAFETY": "content-filter",
    "IMAGE_PROHIBITED_CONTENT": "content-filter",
    "IMAGE_RECITATION": "content-filter",
    "LANGUAGE": "other",
    "OTHER": "other",
    "MALFORMED_FUNCTION_CALL": "other",
    "UNEXPECTED_TOOL_CALL": "other",
    "TOO_MANY_TOOL_CALLS": "other",
    "MISSING_THOUGHT_SIGNATURE": "other",
    "MALFORMED_RESPONSE": "other",
    "NO_IMAGE": "other",
    "WHATEVER_COMES_NEXT": "other",
}


@pytest.mark.parametrize(("reason", "wanted"), REASONS.items())
async def test_gemini_finish_reason_is_translated(reason: str, wanted: str) -> None:
    """Each finish reason of the API becomes stop, length, content-filter or other; an unknown one becomes other."""
    assert await said(chunk({"text": "Hi"}), chunk(reason=reason)) == [Text("Hi"), Finish(wanted)]  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "JAILBREAK"])
async def test_blocked_gemini_prompt_raises_content_filtered(reason: str) -> None:
    """A response with a block reason and without a candidate raises ContentFiltered."""
    with pytest.raises(ContentFiltered):
        await said(frame({"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 5}}))


@pytest.mark.parametrize("reason", ["", "FINISH_REASON_UNSPECIFIED"])
async def test_gemini_stream_without_a_finish_reason_is_cut(reason: str) -> None:
    """A stream that ends without a finish reason, or with the unspecified one, raises TargetDown `cut`."""
    with pytest.raises(TargetDown, match="cut"):
        await said(chunk({"text": "Hi"}, reason=reason))


async def test_second_gemini_candidate_is_ignored() -> None:
    """Parts and finish reason of a candidate with an index other than 0 are ignored."""
    other = {"candidates": [{"content": {"parts": [{"text": "No"}]}, "index": 1, "finishReason": "SAFETY"}]}
    assert await said(frame(other), chunk({"text": "Hi"}, reason="STOP")) == [Text("Hi"), Finish("stop")]


async def test_parts_of_googles_own_tools_are_ignored() -> None:
    """Parts of code execution or search, which Google runs itself, give no events."""
    parts: Sequence[dict[str, Any]] = [
        {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "s"},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"toolCall": {"toolType": "GOOGLE_SEARCH"}, "thoughtSignature": "s"},
        {"text": "One."},
    ]
    assert await said(*map(chunk, parts), chunk(reason="STOP")) == [Text("One."), Finish("stop")]


async def test_finish_reason_in_each_chunk_does_not_end_the_answer() -> None:
    """If each chunk has a finish reason, all are read; a repeated chunk, and text of a chunk without a reason after that, are ignored."""
    one, two = chunk({"text": "One. "}, reason="STOP"), chunk({"text": "Two."}, reason="MAX_TOKENS")
    assert await said(one, two) == [Text("One. Two."), Finish("length")]
    assert await said(one, one) == [Text("One. "), Finish("stop")]
    assert await said(one, chunk({"text": "More."}), frame({"usageMetadata": COUNTS})) == [Text("One. "), Finish("stop", Usage(11, 2))]


async def test_repeated_signed_call_is_one_call() -> None:
    """A call that is repeated with its signature is one call; equal calls without a signature are separate calls."""
    again = {**call("look", at=1), "thoughtSignature": "s"}
    plain = call("look", at=1)
    events = await said(chunk(again), chunk(again), chunk(plain), chunk(plain, reason="STOP"), ask=turn(USER))
    assert len([event for event in events if isinstance(event, ToolCall)]) == 3


def part(path: str, more: bool = True, **value: Any) -> bytes:
    """Return a chunk with one piece of a call's arguments."""
    return chunk({"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": more}})


BEGUN = chunk({"functionCall": {"name": "look", "willContinue": True}, "thoughtSignature": "s"})


async def test_streamed_gemini_arguments_are_assembled() -> None:
    """Pieces of arguments are placed at their JSON paths: texts are appended, other values are set, a path out of range is ignored."""
    events = await said(
        BEGUN,
        part("$.text", stringValue="Grüße ", willContinue=True),
        part("$.text", stringValue="aus 東京"),
        part("$.list[0].n", numberValue=1),
        part("$.list[1]['a b']", boolValue=True),
        part("$.none", nullValue=None),
        part("$.list[9]", stringValue="nowhere"),
        chunk({"functionCall": {}}),
        chunk(reason="STOP"),
        ask=turn(USER),
    )
    (made,) = [event for event in events if isinstance(event, ToolCall)]
    assert made.arguments == {"text": "Grüße aus 東京", "list": [{"n": 1}, {"a b": True}], "none": None}
    assert made.malformed is None


@pytest.mark.parametrize(("reason", "wanted"), [("MAX_TOKENS", "length"), ("OTHER", "other")])
async def test_gemini_call_that_breaks_off_is_malformed(reason: str, wanted: str) -> None:
    """A call with incomplete arguments at the finish reason becomes a malformed ToolCall; a Finish with that reason follows."""
    events = await said(BEGUN, part("$.at", stringValue="Ro"), chunk(reason=reason), ask=turn(USER))
    (made,) = [event for event in events if isinstance(event, ToolCall)]
    assert made.malformed is not None
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == wanted


async def test_streamed_gemini_arguments_are_bounded() -> None:
    """Arguments of 1.2 million characters in pieces raise TargetDown `malformed`."""
    with pytest.raises(TargetDown, match="malformed"):
        await said(BEGUN, *[part("$.at", stringValue="x" * 300_000)] * 4, ask=turn(USER))


WHOLE = [
    json.dumps({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}),
    json.dumps(
        [
            {"candidates": [{"content": {"parts": [{"text": "H"}]}}]},
            {"candidates": [{"content": {"parts": [{"text": "i"}]}, "finishReason": "STOP"}]},
        ]
    ),
]


@pytest.mark.parametrize("body", WHOLE, ids=["one response", "a list of them"])
async def test_unstreamed_gemini_answer_is_read(body: str) -> None:
    """A JSON body, one response or a list of them, gives the same events as a stream."""
    async with provider(Reply(body=body.encode())) as fake:
        assert await heard(target(base=fake.base)) == [Text("Hi"), Finish("stop")]


ERRORS = [
    (google.error(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."), "ContextTooLong"),
    (google.error(400, "API key not valid. Please pass a valid API key."), "TargetDenied"),
    (google.error(403, "Permission denied"), "TargetDenied"),
    (google.error(404, "models/x is not found"), "TargetDenied"),
    (google.error(503, "The model is overloaded."), "TargetDown"),
    (google.error(400, "Request contains an invalid argument."), "TargetRefused"),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS, ids=[str(error["error"]["message"])[:20] for error, _ in ERRORS])
@pytest.mark.parametrize("listed", [False, True], ids=["an object", "in a list"])
async def test_google_error_raises_its_target_error_in_each_place(error: dict[str, Any], kind: str, *, listed: bool) -> None:
    """An error of Google raises the same TargetError, without its message, as a status, 200 body, bare body in a stream, or event."""
    body = json.dumps([error] if listed else error, indent=2).encode()
    status = error["error"]["code"]
    begun = chunk({"text": "Hi"})
    replies = [
        Reply(status=status, body=body),
        Reply(body=body),
        Reply((begun, body + b"\r\n")),
        Reply((b"data: " + json.dumps(error).encode() + b"\n\n",)),
    ]
    for reply in replies:
        async with provider(reply) as fake:
            with pytest.raises(TargetError) as caught:
                await heard(target(base=fake.base))
        assert type(caught.value).__name__ == kind
        assert error["error"]["message"] not in str(caught.value)


def quota(*details: dict[str, Any]) -> Reply:
    """Return a 429 with these error details."""
    body = google.error(429, "You exceeded your current quota, please check your plan and billing details.")
    body["error"]["details"] = details
    return Reply(status=429, body=json.dumps(body, indent=2).encode())


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "41.5s"}


def failure(quota_id: str) -> dict[str, Any]:
    """Return the detail of an exhausted quota."""
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id, "quotaValue": "15"}]}


@pytest.mark.parametrize(
    ("details", "least", "most"),
    [
        ((failure("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), RETRY), 41.5, 41.5),
        ((RETRY,), 41.5, 41.5),
        ((failure("GenerateContentInputTokensPerModelPerMinute-FreeTier"),), 60, 60),
        ((failure("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),), 0.001, 86_400),
        ((), None, None),
    ],
    ids=["a delay", "a delay alone", "a minute's quota", "a day's quota", "nothing"],
)
async def test_gemini_quota_error_gives_the_seconds_to_wait(
    details: Sequence[dict[str, Any]], least: float | None, most: float | None
) -> None:
    """A 429 gives the delay that Google names, else 60 s for a quota per minute, the rest of the day for a daily one, else none."""
    async with provider(quota(*details)) as fake:
        with pytest.raises(TargetDown) as caught:
            await heard(target(base=fake.base))
    wait = caught.value.retry_after
    assert wait is None if least is None or most is None else wait is not None and least <= wait <= most


async def test_gemma_with_tools_is_refused_without_a_request() -> None:
    """A question with tools for Gemma 3 raises TargetRefused `no_tools`, and no request is sent."""
    async with strict() as fake:
        with pytest.raises(TargetRefused, match="no_tools"):
            await heard(target("gemini/gemma-3-27b-it", fake.base), turn(USER))
    assert fake.requests == []


@pytest.mark.parametrize("odd", [b"\xff", b"\t", b"\\ud800"])
async def test_frame_with_an_invalid_character_keeps_its_call_and_counts(odd: bytes) -> None:
    """An invalid byte, a control character or half a surrogate pair in a frame costs neither its call, its counts nor its finish reason."""
    events = await said(chunk({"text": "He?llo"}, call("now", at="noon"), reason="STOP", usageMetadata=COUNTS).replace(b"?", odd))
    assert ToolCall in map(type, events)
    assert events[-1] == Finish("tool-calls", Usage(11, 2))


async def test_model_with_the_prefix_of_googles_list_is_asked_at_its_path() -> None:
    """`gemini/models/gemini-2.5-pro`, as Google's list of models spells it, is asked at the path of gemini-2.5-pro."""
    async with provider(Reply((chunk({"text": "Hi"}, reason="STOP"),))) as fake:
        await heard(target("gemini/models/gemini-2.5-pro", fake.base))
    assert fake.headers[0][":path"] == "/v1/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
