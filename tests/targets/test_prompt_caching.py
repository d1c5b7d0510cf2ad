"""Prompt caching at providers: cache marks and session keys, with which the next turn of a chat reads the cached prefix."""

import hashlib
import json
import random
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from router.chat import Ask, Call, File, Json, Message, ReasoningState, Result, ToolSpec
from router.config import as_written
from router.config.declaration import TargetConfig
from router.config.snapshot import Snapshot
from router.config.values import Name, Secret
from router.description import changes, describe
from router.events import Events, Start
from router.steps.session import Session, chat_hash, session, session_for, session_of
from router.targets import anthropic, facts_of
from router.targets.facts import Facts
from router.targets.prompt_cache import session_key
from router.value import replace
from tests.conftest import Client, Workspace, routes, serving
from tests.support.prompt_caches import Block, Caches, caches, claude_blocks
from tests.support.provider import Reply, error, provider, text

PROMPT = "You are a weather assistant. " + "Answer in one sentence, and name the city. " * 120
"""A prompt of about 1,300 tokens, above the minimum for caching at Claude Sonnet."""
TOOL = ToolSpec("get_weather", "The weather.", {"type": "object", "properties": {"location": {"type": "string"}}})
SONNET = Facts(marks_from=1024)
BLOCKS = ("text", "tool_use", "tool_result", "image", "document")


def user(text: str) -> Message:
    """Return a user message."""
    return Message("user", (text,))


def said(text: str) -> Message:
    """Return an assistant message."""
    return Message("assistant", (text,))


def round_of(calls: int, at: int) -> list[Message]:
    """Return an assistant message with so many calls, and their results; `at` makes the ids unique."""
    names = [f"c{at}_{place}" for place in range(calls)]
    return [
        Message("assistant", tuple(Call(name, "get_weather", {"location": name}) for name in names)),
        Message("tool", tuple(Result(name, "get_weather", "25°C") for name in names)),
    ]


def request(*messages: Message, tools: Sequence[ToolSpec] = (TOOL,), facts: Facts = SONNET) -> dict[str, Json]:
    """Return the request body on Anthropic's wire."""
    ask = Ask(model="m", messages=messages, tools=tuple(tools))
    return anthropic.request(ask, ask.params, facts, "claude-sonnet-4-5", "a")[0]


def marks(body: Mapping[str, Json]) -> list[str]:
    """Return the places of `cache_control` in a request: `tool 0`, `system 0`, or message.block such as `2.1`."""
    found = [f"tool {at}" for at, one in enumerate(cast("list[Any]", body.get("tools", []))) if "cache_control" in one]
    system = body.get("system")
    found += [
        f"system {at}" for at, one in enumerate(cast("list[Any]", system) if isinstance(system, list) else []) if "cache_control" in one
    ]
    for at, message in enumerate(cast("list[Any]", body["messages"])):
        found += [f"{at}.{place}" for place, one in enumerate(message["content"]) if "cache_control" in one]
    return found


def test_cache_marks_stand_after_tools_prompt_and_last_two_user_turns() -> None:
    """`cache_control` stands on the last tool, the system prompt and the ends of the last two user turns: at most four marks."""
    system = Message("system", (PROMPT,))
    other = replace(TOOL, name="other")
    assert marks(request(system, user("1"), tools=(TOOL, other))) == ["tool 1", "system 0", "0.0"]
    assert marks(request(system, user("1"), said("one"), user("2"))) == ["tool 0", "system 0", "0.0", "2.0"]
    rounds = request(system, user("1"), *round_of(3, 0), *round_of(2, 1))
    assert marks(rounds) == ["tool 0", "system 0", "2.2", "4.1"]
    assert marks(request(user(PROMPT), said("one"), user("2"), tools=())) == ["0.0", "2.0"]
    # A rescue goes on from the assistant's words: the marks stay where they were.
    assert marks(request(system, user("1"), said("one"), user("2"), said("half"))) == ["tool 0", "system 0", "0.0", "2.0"]


def test_short_prompt_or_model_without_caching_gets_no_cache_marks() -> None:
    """A prompt below the model's minimum, or a model without cache marks, gets no `cache_control`, and a plain text as system prompt."""
    short = request(Message("system", ("Be brief.",)), user("1"))
    assert marks(short) == []
    assert short["system"] == "Be brief."
    assert marks(request(Message("system", (PROMPT,)), user("1"), facts=Facts())) == []
    assert marks(request(Message("system", (PROMPT,)), user("1"), facts=Facts(marks_from=4096))) == []


def test_prompt_of_each_turn_begins_with_the_previous_prompt() -> None:
    """Each prompt of a random chat begins with the blocks of the previous one, and has one to four marks, one of them on its end."""
    chance = random.Random(7)
    for _ in range(50):
        conversation = [Message("system", (PROMPT,)), user("1")]
        before: list[str] = []
        for turn in range(12):
            blocks = claude_blocks(json.loads(json.dumps(request(*conversation))))
            texts = [one.text for one in blocks]
            assert texts[: len(before)] == before
            assert 1 <= sum(one.marked for one in blocks) <= 4
            assert blocks[-1].marked
            before = texts
            match chance.randrange(4):
                case 0:
                    conversation += [said(f"Answer {turn}."), user("And now?")]
                case 1:
                    conversation += [said("See."), Message("user", ("Look.", File("image/png", "data:image/png;base64,aGk=")))]
                case 2:
                    thought = ReasoningState("a", {"type": "thinking", "thinking": "Hm.", "signature": "s"})
                    called, given = round_of(chance.randrange(1, 30), turn)
                    conversation += [replace(called, parts=(thought, *called.parts)), given]
                case _:
                    conversation += [said("No."), user("  "), user("Yes?")]


@pytest.mark.parametrize(
    ("declared", "where"),
    [
        ({"model": "openai/gpt-4o"}, "prompt_cache_key"),
        ({"model": "openai/ft:gpt-4o:acme::x"}, "prompt_cache_key"),
        ({"model": "openai/gpt-4o", "api_base": "https://eu.api.openai.com/v1"}, "prompt_cache_key"),
        ({"model": "openai/gpt-4o", "api_base": "http://10.0.0.7:8000/v1"}, ""),
        ({"model": "openai/gpt-4o", "api_base": "https://api.openai.com.example.org/v1"}, ""),
        ({"model": "openai/gpt-4o", "api_base": "http://10.0.0.7:8000/v1", "prompt_cache": "on"}, "prompt_cache_key"),
        ({"model": "openai/gpt-4o", "prompt_cache": "off"}, ""),
        ({"model": "azure/gpt-4o", "api_base": "https://r.openai.azure.com"}, "prompt_cache_key"),
        ({"model": "azure/prod", "api_base": "https://r.openai.azure.com", "base_model": "openai/gpt-5.6"}, "prompt_cache_key"),
        ({"model": "azure/prod", "api_base": "https://r.openai.azure.com"}, ""),
        ({"model": "azure/kimi-k2.5", "api_base": "https://r.openai.azure.com"}, ""),
        ({"model": "xai/grok-4"}, "x-grok-conv-id"),
        ({"model": "fireworks_ai/accounts/fireworks/models/kimi-k2"}, "x-session-affinity"),
        ({"model": "openrouter/anthropic/claude-sonnet-4.5"}, "x-session-id"),
        ({"model": "mistral/mistral-small-latest"}, ""),
        ({"model": "mistral/mistral-small-latest", "prompt_cache": "on"}, "prompt_cache_key"),
        ({"model": "moonshot/kimi-k3"}, "prompt_cache_key"),
        ({"model": "deepinfra/moonshotai/Kimi-K2"}, "prompt_cache_key"),
        *(({"model": f"{name}/m"}, "") for name in ("groq", "cerebras", "nvidia_nim", "volcengine", "deepseek", "zai", "hosted_vllm")),
    ],
)
def test_session_key_is_sent_where_the_provider_documents_it(declared: dict[str, Any], where: str) -> None:
    """The fact `session_key` names the provider's documented field or header; it is empty for servers that might refuse unknown fields."""
    assert facts_of(target(**declared)).session_key == where


@pytest.mark.parametrize(
    ("declared", "tokens"),
    [
        ({"model": "anthropic/claude-sonnet-4-5"}, 1024),
        ({"model": "anthropic/claude-haiku-4-5"}, 4096),
        ({"model": "anthropic/claude-opus-5-5"}, 512),
        ({"model": "anthropic/claude-opus-5-7"}, 512),
        ({"model": "anthropic/claude-nova-9"}, 512),
        ({"model": "anthropic/claude-sonnet-4-5", "api_base": "http://proxy/v1"}, 1024),
        ({"model": "anthropic/glm-5", "api_base": "https://api.z.ai/api/anthropic"}, 0),
        ({"model": "anthropic/glm-5", "api_base": "https://api.z.ai/api/anthropic", "prompt_cache": "on"}, 1024),
        ({"model": "anthropic/claude-sonnet-4-5", "prompt_cache": "off"}, 0),
        ({"model": "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0"}, 4096),
        ({"model": "vertex_ai/claude-sonnet-4-5"}, 1024),
        ({"model": "bedrock/amazon.nova-pro-v1:0"}, 0),
        ({"model": "openrouter/anthropic/claude-sonnet-4.5"}, 1024),
        ({"model": "openrouter/openai/gpt-5"}, 0),
        ({"model": "openai/gpt-4o"}, 0),
    ],
)
def test_cache_marks_start_at_the_models_minimum_of_tokens(declared: dict[str, Any], tokens: int) -> None:
    """A target gets cache marks from its model's minimum of prompt tokens on; 0 means none, as for other providers or when off."""
    assert facts_of(target(**declared)).marks_from == tokens


def target(model: str, api_base: str | None = None, base_model: str | None = None, prompt_cache: Any = "auto") -> TargetConfig:
    """Return a declared target."""
    return TargetConfig(model=Name(model), api_key=Secret("sk-a"), api_base=api_base, base_model=base_model, prompt_cache=prompt_cache)


def test_session_depends_on_caller_user_and_chat() -> None:
    """A session is the same in each turn, and differs by caller, user or chat id; without an id the first question stands for it."""
    first = Ask(model="m", messages=(user("1"),), caller="alice", user="u", chat="c")
    assert session_of(first) == session_of(first.with_messages(user("other"), said("one"), user("2")))
    assert len({session_of(one) for one in (first, replace(first, caller="b"), replace(first, user="v"), replace(first, chat="d"))}) == 4
    nameless = replace(first, chat="")
    later = nameless.with_messages(user("1"), said("one"), user("2"))
    assert session_of(nameless) == session_of(later) != session_of(nameless.with_messages(user("2")))
    assert session_of(nameless) != session_of(replace(nameless, caller="b"))
    assert session_of(nameless) != session_of(nameless.with_messages(Message("system", ("S",)), user("1")))


def test_session_is_the_digest_that_replicas_of_other_releases_compute() -> None:
    """A session is the SHA-256 of a JSON list of caller, user, chat and first messages, whether or not the question names its caller."""
    ask = Ask(model="m", messages=(Message("system", ("S",)), user("grü\u00df"), said("one"), user("2")), caller="alice", user="u")
    begun = [["system", "S"], ["user", "grü\u00df"]]
    assert session_of(ask) == hashlib.sha256(json.dumps(["alice", "u", "", begun]).encode()).hexdigest()
    assert session_for(replace(ask, caller="", user=""), "alice", "u") == session_of(ask)
    named = replace(ask, chat="c")
    assert session_of(named) == hashlib.sha256(b'["alice", "u", "c"]').hexdigest()


def test_chat_hash_depends_on_what_the_session_depends_on() -> None:
    """Two questions have the same chat hash if and only if they have the same session, also with a tool call before the first question."""
    call = Message("assistant", (Call("c", "clock", {"zone": ["UTC"]}),))
    first = Ask(model="m", messages=(user("1"),), caller="alice", user="u")
    other = (replace(first, caller="b"), replace(first, user="v"), replace(first, chat="c"), replace(first, chat="d"))
    begun = (first.with_messages(call, user("1")), first.with_messages(Message("system", ("S", "T")), user("1")))
    asks = [*other, *begun, first, first.with_messages(user("2")), first.with_messages(user("1"), call, user("2"))]
    pairs = {(session_of(ask), chat_hash(ask, ask.caller, ask.user)) for ask in asks}
    assert [len(set(one)) for one in zip(*pairs, strict=True)] == [len(asks) - 1] * 2 == [len(pairs)] * 2
    assert chat_hash(replace(first, caller="", user=""), "alice", "u") == chat_hash(first, "alice", "u")


async def test_session_step_sets_session_and_chat_hash_of_the_question_as_it_comes() -> None:
    """The session step sets both; steps behind it may change the messages without changing either."""
    found: list[Ask] = []

    async def answer(ask: Ask) -> Events:
        found.append(ask.with_messages(user("other")))
        yield Start("a", "m")

    ask = Ask(model="m", messages=(user("1"),), caller="alice")
    await anext(session()(answer)(ask))
    assert (found[0].session(), found[0].chat_hash) == (session_of(ask), chat_hash(ask, "alice", ""))


async def test_session_is_made_once_for_all_model_calls_of_a_question(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of a pool, a retry and the next target all read one digest, of one prompt as of each of several."""
    made: list[bytes] = []
    module = sys.modules[Session.__module__]  # its package has a function of the module's name
    monkeypatch.setattr(module, "sha256", lambda data: made.append(data) or hashlib.sha256(data))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    async with provider(*[error(503)] * 2, Reply(text("Hi")), *[Reply(text("Hi"))] * 2) as fake:
        targets = "".join(GPT.format(base=fake.base, more="").replace("a:", f"{name}:", 1) for name in "ab")
        workspace.write("routes.yaml", routes(targets, "targets: [[a, b]]\n    retry: {attempts: 2, backoff: 1ms..2ms}"))
        async with serving(workspace.build()) as client:
            assert (await client.post(messages=[{"role": "user", "content": "long " * 500}], model="chat-model")).status == 200
            assert (len(fake.requests), len(made)) == (3, 1)
            assert (await client.post("/v1/completions", model="chat-model", prompt=["One", "Two"])).status == 200
    assert len({request["prompt_cache_key"] for request in fake.requests[:3]}) == 1
    assert (len(fake.requests), len(made)) == (5, 3)


async def test_each_of_several_prompts_has_a_session_of_its_own(workspace: Workspace) -> None:
    """Each prompt of one request is sent with the session key that it has in a request of its own."""
    async with provider(*[Reply(text("Hi"))] * 4) as fake:
        target = f"a: {{model: openai/gpt-4o, api_base: '{fake.base}', api_key: sk-a, prompt_cache: on}}\n"
        workspace.write("routes.yaml", routes(target))
        async with serving(workspace.build()) as client:
            for prompt in (["One", "Two"], "One", "Two"):
                assert (await client.post("/v1/completions", model="chat-model", prompt=prompt)).status == 200
    first, second, *alone = [request["prompt_cache_key"] for request in fake.requests]
    assert [first, second] == alone
    assert first != second


def test_session_key_is_an_opaque_hash_per_account() -> None:
    """A session key differs between API keys, has at most 64 letters or digits, and does not contain the session."""
    digest = session_of(Ask(model="m", messages=(user("1"),), caller="alice", chat="c"))
    key = session_key(digest, "sk-a")
    assert key == session_key(digest, "sk-a") != session_key(digest, "sk-b")
    assert key not in digest
    assert digest not in key
    assert key.isalnum()
    assert len(key) <= 64


BOTH = (("anthropic", "anthropic/claude-sonnet-4-5"), ("gemini", "gemini/gemini-2.5-flash"))
CLAUDE = "a: {{model: anthropic/claude-sonnet-4-5, api_base: '{base}', api_key: sk-a{more}}}\n"
GPT = "a: {{model: openai/gpt-4o, api_base: '{base}', api_key: sk-a, prompt_cache: on{more}}}\n"
KINDS = {"anthropic": CLAUDE, "openai": GPT}


async def chat(client: Client, chat_id: str | None, turns: int, question: str = "tools 2") -> list[dict[str, Any]]:
    """Hold a chat of so many turns, without sending tool rounds back, and return its messages."""
    messages: list[dict[str, Any]] = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"chat-1 turn {turn}: {question}"})
        answer = await client.post(messages=messages, model="chat-model", **({"id": chat_id} if chat_id else {}))
        assert answer.status == 200, answer.body
        messages.append({"role": "assistant", "content": answer.text})
    return messages


def written(workspace: Workspace, fake: Caches, kind: str, more: str = "", route: str = "") -> Workspace:
    """Return a workspace with one target of this kind, a long prompt and a tool."""
    text = routes(KINDS[kind].format(base=fake.base(kind), more=more), f"targets: [a]\n    tools: [weather]{route}")
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n  - history: {keep: 40}\n").write("pipelines/chat.j2", PROMPT)
    return workspace.write("routes.yaml", text)


@pytest.mark.parametrize("chat_id", ["chat-1", None])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_model_call_of_a_chat_after_the_first_reads_the_cache(workspace: Workspace, kind: str, chat_id: str | None) -> None:
    """Each model call after a chat's first is a cache hit, over tool rounds and thirty calls at once, with or without a chat id."""
    async with caches() as fake, serving(written(workspace, fake, kind).build()) as client:
        await chat(client, chat_id, 4)
        if chat_id:  # without an id this would be another chat: it begins with other words
            await chat(client, chat_id, 2, "Of all places, in " + "so many words, " * 200 + "tools 30")
    assert fake.refused == []
    assert len(fake.served) == (12 if chat_id else 8)
    assert [one.hit for one in fake.served if one.eligible] == [True] * (len(fake.served) - 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_long_chat_keeps_its_start_for_several_turns(workspace: Workspace, kind: str) -> None:
    """In a chat longer than `keep`, the first message moves in at most half of the turns; each call that can hit the cache does."""
    async with caches() as fake:
        written(workspace, fake, kind).write("pipelines/chat.j2", PROMPT)
        workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n  - history: {keep: 16}\n")
        async with serving(workspace.build()) as client:
            await chat(client, "chat-1", 20, "say something long: " + "word " * 400)
    late = [one for one in fake.served[9:] if one.eligible]
    firsts = [str(one.body["messages"][-len([m for m in one.body["messages"] if m["role"] != "system"])]) for one in late]
    assert len(set(firsts)) <= 1 + len(late) // 2
    moved = sum(left != right for left, right in pairwise(firsts))
    assert moved <= len(late) // 2
    assert all(one.hit for one in fake.served if one.eligible)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("more", "route"), [(", prompt_cache: off", ""), ("", "\n    prompt_cache: off")], ids=["target", "route"])
async def test_prompt_caching_is_turned_off_by_target_or_route(workspace: Workspace, kind: str, more: str, route: str) -> None:
    """`prompt_cache: off` on a target or a route sends no mark or key; off on a route does not affect another route of the target."""
    more = more if kind == "anthropic" or not more else ", params: {seed: 1}"
    async with caches() as fake:
        written(workspace, fake, kind, more, route)
        text = (workspace.root / "routes.yaml").read_text()
        if more and kind == "openai":
            text = text.replace("prompt_cache: on", "prompt_cache: off")
        workspace.write("routes.yaml", text + "  other:\n    pipeline: chat\n    targets: [a]\n")
        async with serving(workspace.build()) as client:
            await chat(client, "chat-1", 2)
            assert "cache" not in json.dumps([one.body for one in fake.served])
            await client.post(messages=[{"role": "user", "content": "chat-2"}], model="other", id="chat-2")
            assert ("cache" in json.dumps(fake.served[-1].body)) == bool(route)


@pytest.mark.parametrize(("kind", "field"), [("anthropic", "cache_control"), ("openai", "prompt_cache_key")])
async def test_refused_cache_field_is_dropped_after_one_retry(workspace: Workspace, kind: str, field: str) -> None:
    """A refused cache field leads to a retry without it in the same question; later requests lack it, and no omission is reported."""
    async with caches(strict=frozenset({field})) as fake, serving(written(workspace, fake, kind).build()) as client:
        answer = await client.post(messages=[{"role": "user", "content": "chat-1"}], model="chat-model", id="c")
        assert answer.status == 200
        assert "omitted" not in answer.headers.get("x-router-attempts", "")
        await chat(client, "c", 2)
    assert len(fake.refused) == 1
    assert field not in json.dumps([one.body for one in fake.served])


async def test_two_replicas_send_the_same_session_key(workspace: Workspace) -> None:
    """Two routers that alternately answer a chat's turns send one `prompt_cache_key`; each call that can hit the cache does."""
    async with caches() as fake:
        written(workspace, fake, "openai")
        async with serving(workspace.build()) as one, serving(workspace.build()) as other:
            messages: list[dict[str, Any]] = []
            for turn in range(6):
                messages.append({"role": "user", "content": f"chat-1 turn {turn}: tools 1"})
                answer = await (one, other)[turn % 2].post(messages=messages, model="chat-model", id="c")
                messages.append({"role": "assistant", "content": answer.text})
    assert len({one.body["prompt_cache_key"] for one in fake.served}) == 1
    assert all(one.hit for one in fake.served if one.eligible)


@pytest.mark.parametrize(("model", "header"), [("xai/grok-4", "x-grok-conv-id"), ("fireworks_ai/m", "x-session-affinity")])
async def test_session_key_is_sent_as_a_header_to_xai_and_fireworks(workspace: Workspace, model: str, header: str) -> None:
    """The session key is a header, equal within a chat and different for another chat, and no field of the body."""
    async with caches() as fake:
        workspace.write("routes.yaml", routes(f"a: {{model: {model}, api_base: '{fake.base('openai')}', api_key: sk-a}}"))
        async with serving(workspace.build()) as client:
            await chat(client, "c", 2)
            await chat(client, "d", 1)
    keys = [one.headers[header] for one in fake.served]
    assert keys[0] == keys[1] != keys[2]
    assert "prompt_cache_key" not in json.dumps([one.body for one in fake.served])


async def test_claude_through_litellm_gets_cache_marks(workspace: Workspace) -> None:
    """Claude via LiteLLM gets cache marks that Anthropic accepts, and each later call is a cache hit."""
    async with caches() as fake:
        written(workspace, fake, "anthropic", ", via: litellm")
        text = (workspace.root / "routes.yaml").read_text().replace(fake.base("anthropic"), f"{fake.address}/anthropic")
        workspace.write("routes.yaml", text)
        async with serving(workspace.build()) as client:
            await chat(client, "chat-1", 3)
            await chat(client, "chat-1", 2, "tools 25")
    assert fake.refused == []
    assert all(one.hit for one in fake.served if one.eligible)
    assert sum(one.eligible for one in fake.served) >= 9


async def test_schema_trimmed_for_gemini_is_sent_complete_to_claude_afterwards(workspace: Workspace) -> None:
    """Through LiteLLM, Claude gets the same complete tool schema before and after Gemini gets it without `additionalProperties`."""
    async with caches() as fake:
        targets = "".join(
            f"{kind}: {{model: {model}, api_base: '{fake.base(kind)}', api_key: sk-a, via: litellm}}\n" for kind, model in BOTH
        )
        text = routes(targets.replace(fake.base("anthropic"), f"{fake.address}/anthropic"), "targets: [anthropic]\n    tools: [weather]")
        workspace.write("routes.yaml", text + "  other:\n    pipeline: chat\n    targets: [gemini]\n    tools: [weather]\n")
        async with serving(workspace.build()) as client:
            for model in ("chat-model", "other", "chat-model"):
                assert (await client.ask("chat-1", model=model)).status == 200
    before, gemini, after = (one.body["tools"] for one in fake.served)
    assert before == after
    assert "additionalProperties" in json.dumps(before)
    assert "additionalProperties" not in json.dumps(gemini)


async def test_claude_behind_openrouter_gets_cache_marks_in_message_parts(workspace: Workspace) -> None:
    """Claude behind OpenRouter has marks on the system prompt and one or two user or tool messages, with one `x-session-id`."""
    async with caches() as fake:
        written(workspace, fake, "openai")
        text = (workspace.root / "routes.yaml").read_text().replace("openai/gpt-4o", "openrouter/anthropic/claude-sonnet-4.5")
        workspace.write("routes.yaml", text.replace(", prompt_cache: on", ""))
        async with serving(workspace.build()) as client:
            await chat(client, "chat-1", 2)
    for one in fake.served:
        roles = [message["role"] for message in one.body["messages"] if "cache_control" in json.dumps(message)]
        assert roles[0] == "system"
        assert set(roles[1:]) <= {"user", "tool"}
        assert 2 <= len(roles) <= 3
        assert one.headers["x-session-id"] == fake.served[0].headers["x-session-id"]


def test_fake_cache_reads_a_marked_block_as_the_same_text() -> None:
    """The test's fake cache reads a content block with `cache_control` as the same text as one without, and as marked."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    marked: dict[str, Any] = json.loads(json.dumps(body))
    marked["messages"][0]["content"][0]["cache_control"] = {"type": "ephemeral"}
    assert claude_blocks(marked) == [Block(claude_blocks(body)[0].text, marked=True)]


UNSTEADY = {
    "{{ ask.now }}": "ask.now",
    "{{ params['currentTime'] }}": "params.currentTime",
    "{{ ask.today | default('') }}": "ask.today",
    "{{ ask.request_id }}": "ask.request_id",
    "{{ ['a', 'b'] | random }}": "random",
    "{% if 'x' in messages[-1].text %}x{% endif %}": "newest message",
    "{{ (messages | last).text }}": "newest message",
    "{% include 'part.j2' %}": "ask.date",
}


@pytest.mark.parametrize("template", UNSTEADY)
def test_check_warns_of_a_prompt_that_changes_with_each_request(workspace: Workspace, template: str) -> None:
    """A prompt template with the time, a request id, `random` or the newest message is a warning at its line, if caching is on."""
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n").write("pipelines/part.j2", "{{ ask.date }}")
    workspace.write("pipelines/chat.j2", f"Be brief.\n{template}\n").write("routes.yaml", routes("a: {script: demo}"))
    (warning,) = workspace.build().declaration.complaints.warnings
    assert UNSTEADY[template] in warning.message
    file, line = ("part.j2", 1) if "include" in template else ("chat.j2", 2)
    assert (warning.place.file, warning.place.line) == (f"pipelines/{file}", line)
    workspace.write("routes.yaml", routes("a: {script: demo}", "targets: [a]\n    prompt_cache: off"))
    assert not workspace.build().declaration.complaints.warnings


def test_check_does_not_warn_of_a_prompt_that_is_stable_in_a_chat(workspace: Workspace) -> None:
    """A time zone, the first message, or fields such as `update` and `candidate` in a prompt template cause no warning."""
    steady = "{{ ask.timezone | default('UTC') }}{{ params.update | default('') }}{{ messages[0].text }}{{ ask.candidate | default('') }}"
    workspace.write("pipelines/chat.yaml", "steps:\n  - prompt: chat.j2\n").write("pipelines/chat.j2", steady)
    assert not workspace.write("routes.yaml", routes("a: {script: demo}")).build().declaration.complaints.warnings


BEFORE = """targets:
  a: {model: openai/gpt-4o, api_key: '${KEY}'}
  b: {model: openai/gpt-4o-mini, api_key: '${KEY}'}
  demo: {script: demo}
routes:
  chat-model: {pipeline: chat, targets: [a, b, demo], tools: [weather, clock]}
  offline: {pipeline: chat, targets: [demo], tools: [weather]}
"""
FRONT = {"pipelines/chat.yaml": "steps:\n  - prompt: chat.j2\n  - history: {keep: 40}\n", "pipelines/chat.j2": "Be brief."}
EDITS: dict[str, tuple[dict[str, str], str]] = {
    "the prompt": ({"pipelines/chat.j2": "Be kind."}, "another system prompt or history"),
    "the history": ({"pipelines/chat.yaml": FRONT["pipelines/chat.yaml"].replace("40", "20")}, "another system prompt or history"),
    "a tool": ({"tools/clock.py": "def now() -> str:\n    'The time, now.'\n    return ''\n"}, "other tools, or in another order"),
    "the order of tools": ({"routes.yaml": BEFORE.replace("[weather, clock]", "[clock, weather]")}, "other tools, or in another order"),
    "the model": ({"routes.yaml": BEFORE.replace("gpt-4o,", "gpt-4.1,")}, "a is another model or account"),
    "the key": ({"routes.yaml": BEFORE.replace("'${KEY}'}", "'${OTHER}'}", 1)}, "a is another model or account"),
    "the first target": ({"routes.yaml": BEFORE.replace("[a, b, demo]", "[b, a, demo]")}, "other targets come first"),
    "a condition in front": (
        {"routes.yaml": BEFORE.replace("[a, b, demo]", "[{use: b, when: {has_image: true}}, a, demo]")},
        "other targets come first",
    ),
    "a fallback": ({"routes.yaml": BEFORE.replace("gpt-4o-mini", "gpt-4.1-mini")}, ""),
    "what comes after": ({"pipelines/chat.yaml": FRONT["pipelines/chat.yaml"] + "  - edit: {max_chars: 80}\n"}, ""),
    "a timeout": ({"routes.yaml": BEFORE.replace("tools: [weather, clock]", "tools: [weather, clock], timeout: {idle: 9s}")}, ""),
    "a prompt that is not cached": (
        {"routes.yaml": BEFORE.replace("clock]}", "clock], prompt_cache: off}"), "pipelines/chat.j2": "Be kind."},
        "",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_diff_names_routes_whose_prompt_caches_become_cold(edit: str) -> None:
    """A diff names the route, and the reason, if an edit changes the cached prefix or the first target; a route of scripts has none."""
    clock = {
        "tools/clock.py": "def now() -> str:\n    'The time.'\n    return ''\n",
        "tools/weather.py": "def w() -> str:\n    'W.'\n    return ''\n",
    }
    files = {"routes.yaml": BEFORE, **FRONT, **clock}
    changed, why = EDITS[edit]
    before, after = (describe(as_written(Snapshot(Path(), "routes.yaml", texts))) for texts in (files, {**files, **changed}))
    cold = [one.sentence() for one in changes(before, after) if one.what == "prompt caches"]
    said = f"chat-model: providers' prompt caches are cold for the next question of each chat: {why}"
    assert cold == ([said] if why else [])
    assert changes(before, before) == []
