"""A target's own `body` and `headers`: what they become on each lane, what is refused when the file is loaded, what stays unseen."""

import asyncio
import json
import logging
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Ask, Json, Message
from router.config import declare, read
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.description import changes, describe, sentences
from router.errors import ConfigError, TargetRefused
from router.events import Event, Start, Step
from router.params import Params
from router.steps import FROM_ROUTE
from router.targets import Connections, Learned, open_target
from router.targets.options import Options, merged
from tests.conftest import Workspace, routes
from tests.support.provider import Provider, Reply, frame, provider, text
from tests.targets.test_anthropic import BEGIN, END, block
from tests.targets.test_anthropic import said as spoken_by_claude
from tests.targets.test_responses import over, word

HI = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
CLAUDE = spoken_by_claude(BEGIN, *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"}), *END)
GEMINI = (frame({"candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP", "index": 0}]}),)
BODY = "{top_k: 40, service_tier: flex, nested: {a: 1, b: {c: [1, 2]}}}"
MERGED: dict[str, Any] = {"top_k": 40, "service_tier": "flex", "nested": {"a": 1, "b": {"c": [1, 2]}}}
LANES: dict[str, tuple[str, tuple[bytes, ...]]] = {
    "openai": ("model: openai/gpt-4o", text("Hi")),
    "azure": ("model: azure/gpt-4o", text("Hi")),
    "responses": ("model: openai/gpt-6-astra, facts: {wire: responses}", (word("Hi"), over())),
    "anthropic": ("model: anthropic/claude-haiku-4-5", CLAUDE),
    "gemini": ("model: gemini/gemini-2.5-flash", GEMINI),
    "litellm to OpenAI's wire": ("model: openai/gpt-4o, via: litellm", text("Hi")),
    "litellm to Anthropic": ("model: anthropic/claude-haiku-4-5, via: litellm", CLAUDE),
}


async def asked(workspace: Workspace, lane: str, options: str, *replies: Reply, ask: Ask = HI, **variables: str) -> Provider:
    """What the provider of a lane was asked by a target with these options."""
    model, frames = LANES[lane]
    connections = Connections()
    async with provider(*(replies or (Reply(frames),))) as fake:
        target = f"a: {{{model}, api_base: '{fake.base}', api_key: k, {options}}}"
        declared = declare(read(workspace.write("routes.yaml", routes(target)).root / "routes.yaml"), variables).routes.targets
        try:
            opened = open_target("a", next(iter(declared.values())), 3, connections, LEARNED)
            async with asyncio.timeout(240), aclosing(opened.answer(ask)) as events:
                said: list[Event] = [event async for event in events]
                assert said
        finally:
            await connections.close()
        return fake


LEARNED = Learned()


@pytest.mark.parametrize("lane", LANES)
async def test_body_and_headers_of_a_target_are_in_its_requests(workspace: Workspace, lane: str) -> None:
    """On every lane, beside all that the router writes; the value of a header may come from the environment."""
    fake = await asked(workspace, lane, f"body: {BODY}, headers: {{X-Team: '${{TEAM}}', x-plain: blue}}", TEAM="the blue one")
    (sent,), (headers,) = fake.requests, fake.headers
    assert {name: sent.get(name) for name in MERGED} == MERGED
    assert sent.keys() & {"messages", "input", "contents"}
    assert (headers["x-team"], headers["x-plain"]) == ("the blue one", "blue")


@pytest.mark.parametrize("lane", ["anthropic", "litellm to Anthropic"])
async def test_beta_headers_of_router_and_target_are_one_list(workspace: Workspace, lane: str) -> None:
    """Anthropic takes several, with commas between them; each is there once."""
    fake = await asked(workspace, lane, "headers: {Anthropic-Beta: 'context-1m-2025-08-07, interleaved-thinking-2025-05-14'}")
    betas = [one.strip() for one in fake.headers[0]["anthropic-beta"].split(",")]
    assert sorted(betas) == ["context-1m-2025-08-07", "interleaved-thinking-2025-05-14"]


async def test_objects_are_merged_into_those_of_the_router_and_null_removes(workspace: Workspace) -> None:
    """`reasoning` of the Responses API keeps its effort beside a summary of the target's own."""
    ask = Ask(model="m", messages=HI.messages, params=Params(reasoning_effort="high"))
    fake = await asked(workspace, "responses", "body: {reasoning: {summary: detailed}}", ask=ask)
    assert fake.requests[0]["reasoning"] == {"effort": "high", "summary": "detailed"}
    fake = await asked(workspace, "responses", "body: {reasoning: {summary: null}}", ask=ask)
    assert fake.requests[0]["reasoning"] == {"effort": "high"}


async def test_options_of_gemini_stand_beside_what_the_router_configures(workspace: Workspace) -> None:
    """`generationConfig` has the question's parameters and the target's own; `safetySettings` are the target's."""
    settings = "safetySettings: [{category: HARM_CATEGORY_HARASSMENT, threshold: BLOCK_NONE}]"
    ask = Ask(model="m", messages=HI.messages, params=Params(temperature=0.5, top_k=3))
    fake = await asked(workspace, "gemini", f"body: {{{settings}, generationConfig: {{topK: 40}}}}", ask=ask)
    (sent,) = fake.requests
    assert sent["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert {"temperature": 0.5, "topK": 40}.items() <= sent["generationConfig"].items()


async def test_parameter_that_a_target_fixes_is_named(workspace: Workspace) -> None:
    """The question asked for something else."""
    ask = Ask(model="m", messages=HI.messages, params=Params(service_tier="priority", verbosity="low"))
    model = "openai/gpt-5"
    async with provider(Reply(text("Hi"))) as fake:
        written = routes(f"a: {{model: {model}, api_base: '{fake.base}', api_key: k, body: {{service_tier: default}}}}")
        declared = next(iter(declare(read(workspace.write("routes.yaml", written).root / "routes.yaml"), {}).routes.targets.values()))
        connections = Connections()
        async with aclosing(open_target("a", declared, 3, connections, Learned()).answer(ask)) as events:
            start, *_ = [event async for event in events]
        await connections.close()
    assert isinstance(start, Start)
    assert start.omitted == ("service_tier",)
    assert (fake.requests[0]["service_tier"], fake.requests[0]["verbosity"]) == ("default", "low")


PATCHES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
TABLES = st.dictionaries(st.sampled_from("abc"), PATCHES, max_size=3)


def patched(target: Json, patch: Json) -> Any:
    """RFC 7396's own pseudocode."""
    if not isinstance(patch, dict):
        return patch
    made: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = patched(made.get(name), value)
    return made


@given(TABLES, TABLES)
def test_merging_is_that_of_a_json_merge_patch(request: dict[str, Any], patch: dict[str, Any]) -> None:
    """As RFC 7396 has it, and neither side is changed."""
    before = json.dumps([request, patch])
    assert merged(request, patch) == patched(request, patch)
    assert json.dumps([request, patch]) == before


def test_fields_of_another_api_never_touch_what_an_api_needs() -> None:
    """A target that is asked through two APIs may learn of the second one later: `store` stays false there."""
    options = Options({"store": True, "reasoning": {"effort": "low", "summary": "auto"}})
    assert options.onto({"store": False}, "responses") == {"store": False, "reasoning": {"summary": "auto"}}
    assert options.onto({"model": "m"}, "chat") == {"model": "m", "store": True, "reasoning": {"summary": "auto"}}


CHAT = ["model", "messages", "stream", "stream_options", "tools", "tool_choice", "functions", "n", "temperature", "max_tokens", "stop"]
RESERVED: dict[str, list[str]] = {
    "openai/gpt-4o": [*CHAT, "max_completion_tokens", "modalities", "reasoning_effort", "seed", "presence_penalty"],
    "openrouter/z-ai/glm-5": [*CHAT, "reasoning: {effort"],
    "openai/gpt-6-astra, facts: {wire: responses}": [
        "input",
        "instructions",
        "store",
        "include",
        "previous_response_id",
        "stream",
        "reasoning: {effort",
    ],
    "openai/gpt-5.6": ["store", "include", "messages", "max_tokens", "max_output_tokens"],
    "anthropic/claude-sonnet-5": ["messages", "system", "max_tokens", "thinking", "output_config: {effort", "stop_sequences", "tools"],
    "gemini/gemini-2.5-flash": [
        *("contents", "systemInstruction", "tools", "toolConfig", "cachedContent", "generation_config"),
        *("generationConfig: {temperature", "generationConfig: {maxOutputTokens", "generationConfig: {thinkingConfig"),
    ],
    "bedrock/anthropic.claude-sonnet-4": [*CHAT, "system", "contents", "generationConfig: {temperature", "thinking"],
}


@pytest.mark.parametrize("model", RESERVED)
def test_fields_that_the_router_writes_are_refused_where_they_stand(workspace: Workspace, model: str) -> None:
    """Each with its place and what to do instead, whatever its value: null removes, and would break as much."""
    for name in RESERVED[model]:
        field = f"{name}: x}}" if "{" in name else f"{name}: null"
        text = routes(f"a: {{model: {model}, api_key: k, body: {{fine: 1, {field}}}}}")
        with pytest.raises(ConfigError) as caught:
            workspace.write("routes.yaml", text).build()
        (complaint,) = caught.value.complaints
        dotted = name.replace(": {", ".")
        assert complaint.message.startswith(f"`{dotted}` is written by the router: "), complaint.message
        assert complaint.place.column == text.splitlines()[1].index("fine: 1, ") + len("fine: 1, ") + 1


HEADERS: dict[str, str] = {
    **dict.fromkeys(("authorization", "X-API-Key", "api-key", "x-goog-api-key"), "api_key"),
    **dict.fromkeys(("Host", "content-length", "Content-Type", "transfer-encoding", "connection", "te"), "for each request"),
    **dict.fromkeys(("accept", "accept-encoding"), "not compressed"),
    "anthropic-version": "the version",
    **dict.fromkeys(("'a b'", "'x:'", "é", "''", "'x\\n'", '"x\\r\\ny"'), "no header's name"),
    **dict.fromkeys(("x-token", "Cookie", "X-Signature", "cf-aig-authorization"), "write ${NAME}"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_would_break_or_betray_are_refused(workspace: Workspace, name: str) -> None:
    """Those of the connection and of the key, those that are none, secrets that are written out; no value is repeated."""
    text = routes(f"a:\n  model: openai/gpt-4o\n  api_key: k\n  headers:\n    {name}: sk-HIDDEN")
    with pytest.raises(ConfigError, match=r"routes\.yaml:6") as caught:
        workspace.write("routes.yaml", text).build()
    assert HEADERS[name] in caught.value.complaints[0].message
    if "secret" in caught.value.complaints[0].message:
        assert "HIDDEN" not in str(caught.value)


@pytest.mark.parametrize("value", ['"a\\r\\nx-evil: 1"', '"a\\nb"', "é", '" a"', '"a "', '""', '"a\\tb"', '"a\\x00"', "a" * 9000])
def test_header_value_that_cannot_be_sent_is_refused(workspace: Workspace, value: str) -> None:
    """Written out or from the environment; it is not repeated."""
    with pytest.raises(ConfigError, match="one line of visible ASCII"):
        workspace.write("routes.yaml", routes(f"a: {{model: openai/gpt-4o, api_key: k, headers: {{x-a: {value}}}}}")).build()
    inside = str(json.loads(value)) if value.startswith('"') and "x00" not in value else "é"
    if inside:
        with pytest.raises(ConfigError, match="one line of visible ASCII"):
            workspace.write("routes.yaml", routes("a: {model: openai/gpt-4o, api_key: k, headers: {x-a: '${V}'}}")).build(V=inside)


def test_header_twice_in_two_cases_is_refused(workspace: Workspace) -> None:
    """A header's name has no case."""
    with pytest.raises(ConfigError, match="`x-a` is there twice"):
        workspace.write("routes.yaml", routes("a: {model: openai/gpt-4o, api_key: k, headers: {X-A: '1', x-a: '2'}}")).build()


def test_script_has_no_use_for_options(workspace: Workspace) -> None:
    """It asks nobody."""
    for options in ("body: {a: 1}", "headers: {a: b}"):
        with pytest.raises(ConfigError, match="no use for"):
            workspace.write("routes.yaml", routes(f"a: {{script: demo, {options}}}")).build()


def test_null_is_refused_where_litellm_writes_the_request(workspace: Workspace) -> None:
    """It would be sent, and remove nothing."""
    with pytest.raises(ConfigError, match="null removes nothing"):
        workspace.write("routes.yaml", routes("a: {model: openai/x, api_key: k, via: litellm, body: {user: null}}")).build()


SECRET = routes(
    "a: {model: openai/gpt-4o, api_key: k, body: {top_k: 40, deep: {my_password: '${SECRET}'}}, headers: {x-token: '${SECRET}'}}"
)


def test_secrets_in_options_are_shown_by_reference_alone(workspace: Workspace) -> None:
    """In the description, which /admin/config, `router show` and `router diff` print; in the frozen value that logs may repeat."""
    declaration = declare(read(workspace.write("routes.yaml", SECRET).root / "routes.yaml"), {"SECRET": "sk-HIDDEN"})
    described = json.dumps(describe(declaration).as_json())
    assert "HIDDEN" not in described
    assert "${SECRET}" in described
    written = workspace.write(
        "routes.yaml", SECRET.replace("x-token: '${SECRET}'", "x-other: sk-HIDDEN").replace("'${SECRET}'", "sk-HIDDEN")
    )
    assert "HIDDEN" not in json.dumps(describe(declare(read(written.root / "routes.yaml"), {})).as_json())
    target = next(iter(declaration.routes.targets.values()))
    assert "HIDDEN" not in repr(target.headers)


def test_change_of_options_is_said_by_diff(workspace: Workspace) -> None:
    """Each field by its name; of a header, that it changed."""

    def described(options: str) -> Any:
        text = routes(f"a: {{model: openai/gpt-4o, api_key: k, {options}}}")
        return describe(declare(read(workspace.write("routes.yaml", text).root / "routes.yaml"), {}))

    before = described("body: {top_k: 40, provider: {order: [a]}}, headers: {x-a: one}")
    after = described("body: {top_k: 50, provider: {order: [a, b]}}, headers: {x-a: two}")
    said = sentences(changes(before, after))
    assert [one for one in said if "top_k 40 → 50" in one]
    assert [one for one in said if "headers.x-a" in one]
    assert not any("one" in line.split() or "two" in line.split() for line in said)
    assert not changes(before, before)


def test_cached_answers_depend_on_options_and_not_on_secrets(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes the answer changes the key; a rotated secret does not."""
    made: list[str] = []
    cache = FROM_ROUTE["cache"]

    def noted(**options: Any) -> Step:
        made.append(options["made_by"])
        return cache(**options)

    monkeypatch.setitem(FROM_ROUTE, "cache", noted)

    def key(options: str, **variables: str) -> str:
        text = routes(f"a: {{model: openai/gpt-4o, api_key: k, {options}}}", "targets: [a]\n    cache: {ttl: 1h}")
        workspace.write("routes.yaml", text).build(**variables)
        return made[-1]

    plain = key("body: {top_k: 1}, headers: {anthropic-beta: a, x-token: '${T}'}", T="one")
    assert key("body: {top_k: 1}, headers: {anthropic-beta: a, x-token: '${T}'}", T="two") == plain
    others = {
        key("body: {top_k: 2}, headers: {anthropic-beta: a, x-token: '${T}'}", T="one"),
        key("body: {top_k: true}, headers: {anthropic-beta: a, x-token: '${T}'}", T="one"),
        key("body: {top_k: 1}, headers: {anthropic-beta: b, x-token: '${T}'}", T="one"),
        key("body: {top_k: 1}, headers: {anthropic-beta: '${B}', x-token: '${T}'}", T="one", B="c"),
        key("body: {top_k: 1}, headers: {anthropic-beta: '${B}', x-token: '${T}'}", T="one", B="d"),
    }
    assert plain not in others
    assert len(others) == 5


REFUSALS: dict[str, tuple[str, Any]] = {
    "openai": ("top_k", {"error": {"message": "Unrecognized request argument supplied: top_k", "param": None}}),
    "anthropic": (
        "top_k",
        {"type": "error", "error": {"type": "invalid_request_error", "message": "top_k: Extra inputs are not permitted"}},
    ),
    "responses": ("reasoning", {"error": {"message": "Unknown parameter: 'reasoning'. It is not supported.", "param": "reasoning"}}),
    "gemini": (
        "topK",
        {
            "error": {
                "code": 400,
                "message": "Unknown name \"topK\" at 'generation_config': Cannot find field.",
                "status": "INVALID_ARGUMENT",
            }
        },
    ),
    "litellm to OpenAI's wire": ("top_k", {"error": {"message": "Unrecognized request argument supplied: top_k", "param": None}}),
}


@pytest.mark.parametrize("lane", REFUSALS)
async def test_refused_field_of_a_body_is_named_and_teaches_nothing(
    workspace: Workspace, lane: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The question fails at this target, once, and the log names the field; the next question is asked in the same way."""
    name, error = REFUSALS[lane]
    model, _ = LANES[lane]
    model = model.replace("openai/gpt-6-astra, facts: {wire", "openai/own, facts: {thinking: none, wire")
    value = "{own: 1}" if name == "reasoning" else "40"
    field = "generationConfig: {topK: 40}" if name == "topK" else f"{name}: {value}"
    connections, learned = Connections(), Learned()
    async with provider(Reply(status=400, body=json.dumps(error).encode())) as fake:
        text = routes(f"a: {{{model}, api_base: '{fake.base}', api_key: k, body: {{{field}}}}}")
        declared = next(iter(declare(read(workspace.write("routes.yaml", text).root / "routes.yaml"), {}).routes.targets.values()))
        with caplog.at_level(logging.WARNING, "router.targets"):
            for _ in range(2):
                with pytest.raises(TargetRefused):
                    await anext(open_target("a", declared, 3, connections, learned).answer(HI))
    await connections.close()
    named = [one for one in caplog.records if "own `body`" in one.message]
    assert [getattr(one, "fields", None) for one in named] == [{"target": "a", "field": name}]
    assert not learned.sentences
    assert len(fake.requests) == 2


def test_declared_target_without_options_sends_what_it_sent() -> None:
    """The request is the very same object: nothing is copied for nothing."""
    request: dict[str, Json] = {"model": "m"}
    assert Options().onto(request, "chat") is request
    assert Declared(model=Name("openai/x"), api_key=Secret("k")).body is None
