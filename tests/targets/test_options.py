"""A target's own `body` and `headers`: how each lane sends them, which are refused at load, and where secrets are hidden."""

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
    """Return the provider of a lane after one question to a target with these options; its requests are recorded."""
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
    """`body` fields and `headers` of a target are sent on each lane beside the router's own; a header value may come from a variable."""
    fake = await asked(workspace, lane, f"body: {BODY}, headers: {{X-Team: '${{TEAM}}', x-plain: blue}}", TEAM="the blue one")
    (sent,), (headers,) = fake.requests, fake.headers
    assert {name: sent.get(name) for name in MERGED} == MERGED
    assert sent.keys() & {"messages", "input", "contents"}
    assert (headers["x-team"], headers["x-plain"]) == ("the blue one", "blue")


@pytest.mark.parametrize("lane", ["anthropic", "litellm to Anthropic"])
async def test_anthropic_beta_header_joins_values_of_router_and_target(workspace: Workspace, lane: str) -> None:
    """The router's and the target's `anthropic-beta` values are sent as one comma-separated list without duplicates."""
    fake = await asked(workspace, lane, "headers: {Anthropic-Beta: 'context-1m-2025-08-07, interleaved-thinking-2025-05-14'}")
    betas = [one.strip() for one in fake.headers[0]["anthropic-beta"].split(",")]
    assert sorted(betas) == ["context-1m-2025-08-07", "interleaved-thinking-2025-05-14"]


async def test_body_objects_are_merged_and_null_removes_a_field(workspace: Workspace) -> None:
    """`body: {reasoning: {summary: …}}` keeps the router's effort beside it, and the value null removes the summary."""
    ask = Ask(model="m", messages=HI.messages, params=Params(reasoning_effort="high"))
    fake = await asked(workspace, "responses", "body: {reasoning: {summary: detailed}}", ask=ask)
    assert fake.requests[0]["reasoning"] == {"effort": "high", "summary": "detailed"}
    fake = await asked(workspace, "responses", "body: {reasoning: {summary: null}}", ask=ask)
    assert fake.requests[0]["reasoning"] == {"effort": "high"}


async def test_gemini_body_options_are_merged_into_the_request(workspace: Workspace) -> None:
    """A request has the `safetySettings` and `topK` of the target's `body`, and of the question the temperature but not `top_k`."""
    settings = "safetySettings: [{category: HARM_CATEGORY_HARASSMENT, threshold: BLOCK_NONE}]"
    ask = Ask(model="m", messages=HI.messages, params=Params(temperature=0.5, top_k=3))
    fake = await asked(workspace, "gemini", f"body: {{{settings}, generationConfig: {{topK: 40}}}}", ask=ask)
    (sent,) = fake.requests
    assert sent["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert {"temperature": 0.5, "topK": 40}.items() <= sent["generationConfig"].items()


async def test_parameter_overridden_by_the_targets_body_is_listed_as_omitted(workspace: Workspace) -> None:
    """A service tier in the target's `body` is sent in place of the question's, which is listed as omitted."""
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
    """Return the target with the patch applied, by the pseudocode of RFC 7396."""
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
def test_options_are_merged_as_a_json_merge_patch(request: dict[str, Any], patch: dict[str, Any]) -> None:
    """Merging options into a request gives the result of RFC 7396, and changes neither of the two."""
    before = json.dumps([request, patch])
    assert merged(request, patch) == patched(request, patch)
    assert json.dumps([request, patch]) == before


def test_body_option_does_not_override_store_or_effort() -> None:
    """`store: true` in a target's `body` is sent on chat completions, but stays false on the Responses API.

    An effort in `reasoning` of `body` is left out on both, and the rest of `reasoning` is sent.
    """
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
def test_body_field_that_the_router_writes_is_refused_at_load(workspace: Workspace, model: str) -> None:
    """A `body` field that the router writes itself is a configuration error at that field's column, whatever its value."""
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
def test_unsafe_headers_of_a_target_are_refused_at_load(workspace: Workspace, name: str) -> None:
    """Headers of the connection or the key, invalid names, and written-out secrets are errors; a secret is not repeated."""
    text = routes(f"a:\n  model: openai/gpt-4o\n  api_key: k\n  headers:\n    {name}: sk-HIDDEN")
    with pytest.raises(ConfigError, match=r"routes\.yaml:6") as caught:
        workspace.write("routes.yaml", text).build()
    assert HEADERS[name] in caught.value.complaints[0].message
    if "secret" in caught.value.complaints[0].message:
        assert "HIDDEN" not in str(caught.value)


@pytest.mark.parametrize("value", ['"a\\r\\nx-evil: 1"', '"a\\nb"', "é", '" a"', '"a "', '""', '"a\\tb"', '"a\\x00"', "a" * 9000])
def test_header_value_that_cannot_be_sent_is_refused(workspace: Workspace, value: str) -> None:
    """A header value that is empty, too long, padded, or not one line of visible ASCII is an error, also from a variable."""
    with pytest.raises(ConfigError, match="one line of visible ASCII"):
        workspace.write("routes.yaml", routes(f"a: {{model: openai/gpt-4o, api_key: k, headers: {{x-a: {value}}}}}")).build()
    inside = str(json.loads(value)) if value.startswith('"') and "x00" not in value else "é"
    if inside:
        with pytest.raises(ConfigError, match="one line of visible ASCII"):
            workspace.write("routes.yaml", routes("a: {model: openai/gpt-4o, api_key: k, headers: {x-a: '${V}'}}")).build(V=inside)


def test_header_given_twice_in_different_case_is_refused(workspace: Workspace) -> None:
    """Two headers whose names differ only in upper and lower case are a configuration error."""
    with pytest.raises(ConfigError, match="`x-a` is there twice"):
        workspace.write("routes.yaml", routes("a: {model: openai/gpt-4o, api_key: k, headers: {X-A: '1', x-a: '2'}}")).build()


def test_body_and_headers_are_refused_for_a_scripted_target(workspace: Workspace) -> None:
    """`body` or `headers` on a scripted target, which sends no request, is a configuration error."""
    for options in ("body: {a: 1}", "headers: {a: b}"):
        with pytest.raises(ConfigError, match="no use for"):
            workspace.write("routes.yaml", routes(f"a: {{script: demo, {options}}}")).build()


def test_null_in_body_is_refused_for_a_litellm_target(workspace: Workspace) -> None:
    """A null in `body` of a LiteLLM target is an error: it would be sent instead of removing a field."""
    with pytest.raises(ConfigError, match="null removes nothing"):
        workspace.write("routes.yaml", routes("a: {model: openai/x, api_key: k, via: litellm, body: {user: null}}")).build()


SECRET = routes(
    "a: {model: openai/gpt-4o, api_key: k, body: {top_k: 40, deep: {my_password: '${SECRET}'}}, headers: {x-token: '${SECRET}'}}"
)


def test_secret_in_options_is_described_only_by_its_reference(workspace: Workspace) -> None:
    """The description of a configuration has a secret in `body` or `headers` as `${NAME}`, and nothing of one that is written out."""
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


def test_diff_reports_changed_options(workspace: Workspace) -> None:
    """A diff shows a changed `body` field with both values, and a changed header by its name alone."""

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


def test_cache_key_depends_on_options_and_not_on_secrets(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer cache's key changes with `body` and plain headers, also from variables, but not with a rotated secret header."""
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
async def test_refused_body_field_is_logged_once_and_not_learned(workspace: Workspace, lane: str, caplog: pytest.LogCaptureFixture) -> None:
    """A 400 about a target's own `body` field raises TargetRefused without a retry; the field is logged once, and still sent later."""
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


def test_request_is_not_copied_for_a_target_without_options() -> None:
    """A target without `body` sends the very request object that the lane made."""
    request: dict[str, Json] = {"model": "m"}
    assert Options().onto(request, "chat") is request
    assert Declared(model=Name("openai/x"), api_key=Secret("k")).body is None
