"""`router show`: why each target would be asked or skipped, from the files or from a running server (`--live`)."""

import asyncio
import json
from typing import Any

import pytest

from router.commands import main
from router.config.declaration import TargetConfig
from router.config.values import Name
from router.description import describe
from router.targets import facts_of
from tests.commands.test_diff import odd
from tests.conftest import AS_OPERATOR, Workspace, routes, serving

TARGETS = """
a: {model: openai/gpt-4o, api_key: "${NOBODY_SET_THIS}", optional: true}
b: {model: anthropic/claude-sonnet-4-5, api_key: sk-canary, context_window: 200000}
c: {model: gemini/gemini-2.5-pro, api_key: sk-canary}
d: {model: openai/gpt-4o, api_key: sk-canary, via: litellm}
e: {script: demo}
"""
WHOLE = """targets: [a, [{use: b, weight: 3}, c], d, e]
    tools: [weather]
    hedge: {after: 1.5s}
"""


def page(text: str) -> list[str]:
    """Return the lines of a printed text."""
    return text.splitlines()


def accepts(model: str, window: int | None = None) -> str:
    """Return the line that `router show` prints about the facts of a model (what it accepts)."""
    return "; ".join(facts_of(TargetConfig(model=Name(model), context_window=window)).sentences)


def test_show_prints_all_settings_of_a_route_and_no_key(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router show ROUTE` prints steps, settings and each target with its state, model, wire and facts, but no API key."""
    workspace.write("pipelines/chat.yaml", "steps:\n  - history: {keep: 40}\n  - params: {temperature: 0}\n")
    workspace.write("routes.yaml", routes(TARGETS, WHOLE))
    assert main(["show", "gpt-4", "--routes", str(workspace.root / "routes.yaml")]) == 0
    lines = page(capsys.readouterr().out)
    assert lines[0].startswith("chat-model  (also gpt-4)   generation ")
    assert lines[1:] == [
        "  pipeline   chat",
        "  steps      1. reasoning: hide",
        "             2. history: keep 40",
        "             3. params: temperature 0",
        "             4. tools: get_weather; at most 5 model calls",
        "  timeout    connect 2s, first_token 10s, idle 15s, tool 20s, total 5m",
        "  retry      attempts 2, backoff 250ms..4s, budget 10%",
        "  breaker    failures 5, within 30s, open 4s, slow never",
        "  hedge      after 1.5s, at_most 5%",
        "  rescue     continue",
        "  targets, in order: the first to speak gives the answer",
        "    1. a: skipped: the environment variable NOBODY_SET_THIS is not set",
        "       openai/gpt-4o, read directly: the OpenAI wire",
        f"       {accepts('openai/gpt-4o')}",
        "    2. one of these, by their weights:",
        "       - b (weight 3): asked first",
        "         anthropic/claude-sonnet-4-5, read directly: the Anthropic wire",
        f"         {accepts('anthropic/claude-sonnet-4-5', 200_000)}",
        "       - c (weight 1): asked first",
        "         gemini/gemini-2.5-pro, read directly: the Gemini wire",
        f"         {accepts('gemini/gemini-2.5-pro')}",
        "    3. d: asked where b and c are silent or failed",
        "       openai/gpt-4o, via LiteLLM: `via: litellm`",
        f"       {accepts('openai/gpt-4o')}",
        "    4. e: asked where b and c and d are silent or failed",
        "       script/demo, a script, offline",
    ]


def test_show_without_a_route_prints_one_line_for_each_route(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router show` without a route prints a line for each: id, aliases, pipeline, targets (with skipped ones marked) and tools."""
    workspace.write("routes.yaml", routes(TARGETS, WHOLE, "  local: {pipeline: chat, targets: [e]}\n"))
    assert main(["show", "--routes", str(workspace.root / "routes.yaml")]) == 0
    assert page(capsys.readouterr().out) == [
        "chat-model  gpt-4  chat  a (skipped) → [b, c] → d → e  tools get_weather",
        "local              chat  e",
    ]


def test_show_without_a_route_prints_nothing_for_a_file_without_routes(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A file whose `routes` is an empty mapping is valid: `router show` prints an empty line, and no traceback."""
    workspace.write("routes.yaml", "targets:\n  a: {script: demo}\nroutes: {}\n")
    assert main(["show", "--routes", str(workspace.root / "routes.yaml")]) == 0
    assert capsys.readouterr().out == "\n"


def test_show_json_is_an_object_for_one_route_and_a_list_for_all(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router show ROUTE --json` prints one object; without a route, the generation and a list of objects, without any API key."""
    file = str(workspace.write("routes.yaml", routes(TARGETS, WHOLE)).root / "routes.yaml")
    main(["show", "chat-model", "--json", "--routes", file])
    one = json.loads(capsys.readouterr().out)
    assert one["settings"]["hedge"] == {"after": "1.5s", "at_most": "5%"}
    assert [(each["target"], each["place"], each["asked"], each["lane"]) for each in one["targets"]] == [
        ("a", 1, False, "openai"),
        ("b", 2, True, "anthropic"),
        ("c", 2, True, "gemini"),
        ("d", 3, True, "litellm"),
        ("e", 4, True, "script"),
    ]
    main(["show", "--json", "--routes", file])
    every = capsys.readouterr().out
    assert json.loads(every) == {"generation": one["generation"], "routes": [one]}
    assert "canary" not in every


def test_show_of_an_unknown_route_suggests_a_similar_one(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router show` of an unknown route exits with 1, prints the error code `unknown_model`, and suggests a similar name."""
    workspace.write("routes.yaml", routes("a: {script: demo}"))
    assert main(["show", "chat-modl", "--routes", str(workspace.root / "routes.yaml")]) == 1
    assert capsys.readouterr().err == "error: There is no route `chat-modl`; did you mean `chat-model`? [unknown_model]\n"


async def test_show_live_prints_drained_targets_and_open_breakers_of_a_server(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """`router show --live` marks targets as skipped that an operator drained or whose breaker is open, and says which is asked first."""
    scripts = "a: {script: [{text: hi}]}\nb: {script: [{fail: down}]}\nc: {script: [{text: hi}]}\nd: {script: demo}"
    more = "targets: [a, b, c, d]\n    breaker: {failures: 1, open: 1h}\n    retry: {attempts: 1}"
    workspace.write("routes.yaml", routes(scripts, more, "  other: {pipeline: chat, targets: [d], tools: [weather]}\n"))
    async with serving(workspace.build()) as client:
        async with client.session.post(f"{client.base}/admin/targets/a", headers=AS_OPERATOR, json={"state": "drain"}) as response:
            assert response.status == 200
        assert (await client.ask()).text == "hi"
        assert await asyncio.to_thread(main, ["show", "--live", client.base, "chat-model"]) == 0
        lines = page(capsys.readouterr().out)
        assert lines[0].endswith(client.edge.live.generation.digest)
        shown = lines[lines.index("  targets, in order: the first to speak gives the answer") + 1 :]
        assert shown[0] == "    1. a: skipped: an operator has taken it out"
        assert shown[2].startswith("    2. b: skipped: its breaker is open, for 3")
        assert shown[3] == "       script/lines, a script, offline; 0 in flight"
        assert shown[4] == "    3. c: asked first"
        assert shown[6] == "    4. d: asked where c is silent or failed"
        assert await asyncio.to_thread(main, ["show", "--live", client.base]) == 0
        assert page(capsys.readouterr().out) == [
            "chat-model  gpt-4  chat  a (skipped) → b (skipped) → c → d",
            "other              chat  d  tools weather",
        ]


CONTRACT: dict[str, Any] = {
    "name": "a",
    "state": "auto",
    "breaker": "half_open",
    "retry_in": None,
    "refusing": None,
    "answered": None,
    "busy": 7,
    "first_token_p50": 0.4231,
    "routes": ["chat-model"],
}


@pytest.mark.parametrize(
    ("fares", "use", "nature"),
    [
        (
            {},
            "asked first; by one question at a time, for its breaker is half open",
            "7 in flight, half of its answers start within 0.42 s",
        ),
        ({"breaker": "open", "retry_in": 11.7}, "skipped: its breaker is open, for 12 s more", "7 in flight, half of"),
        ({"breaker": "open"}, "skipped: its breaker is open", "7 in flight"),
        ({"state": "open", "first_token_p50": None}, "skipped: an operator has opened its breaker", "7 in flight"),
        ({"breaker": "closed", "first_token_p50": None}, "asked first", "7 in flight"),
        (
            {"breaker": "open", "refusing": {"reason": "tls", "since": 86_400.0, "as_of": 86_400.0}},
            "skipped: its breaker is open",
            "refuses every question since 1970-01-02 00:00:00 UTC: tls; 7 in flight",
        ),
        ({"breaker": "closed", "refusing": {"reason": "tls", "since": 1e300}}, "asked first", "refuses every question since "),
        ({"breaker": "closed", "refusing": {"reason": "tls", "since": "noon"}}, "asked first", "refuses every question since noon: tls"),
    ],
)
def test_show_live_describes_each_state_of_a_target_that_a_server_reports(
    fares: dict[str, Any], use: str, nature: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """`router show --live` has a description for each state of a target: breaker states, an operator's state, load, TTFT and refusals."""
    generation = workspace.write("routes.yaml", routes("a: {model: 'openai/${NAME}', api_key: x}")).build(NAME="x")
    live: dict[str, Any] = {"digest": "0123", "since": 1.0, "declared": describe(generation.declaration).as_json(), "skipped": {}}
    pages = {"live": live, "failed": None, "targets": [{**CONTRACT, **fares}]}
    with odd(body=json.dumps(pages).encode()) as (base, _):
        assert main(["show", "--live", base, "gpt-4"]) == 0
    lines = page(capsys.readouterr().out)
    assert lines[-2] == f"    1. a: {use}"
    assert lines[-1].startswith(f"       openai/${{NAME}}, read directly: the OpenAI wire; {nature}")


def test_show_live_prints_a_route_setting_as_the_server_reports_it(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router show --live` prints the route's `cache` that the server reports; `router diff --live` reports that the files lack it."""
    generation = workspace.write("routes.yaml", routes("a: {script: demo}")).build()
    declared: Any = describe(generation.declaration).as_json()
    declared["routes"]["chat-model"]["cache"] = {"ttl": "1h", "size": "64MiB"}
    live: dict[str, Any] = {"digest": "0123", "since": 1.0, "declared": declared, "skipped": {}}
    with odd(body=json.dumps({"live": live, "failed": None, "targets": []}).encode()) as (base, _):
        assert main(["show", "--live", base, "chat-model"]) == 0
        assert "  cache      ttl 1h, size 64MiB" in page(capsys.readouterr().out)
        assert main(["diff", "--live", base, str(workspace.root)]) == 0
        assert capsys.readouterr().out == "chat-model: no longer cached\n"
