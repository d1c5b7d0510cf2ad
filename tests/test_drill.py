"""Drills: faults played through the code that serves, by a clock that jumps."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from router.commands import main
from router.config import load
from router.drill import Drilled, drilled
from router.errors import ConfigError
from router.generation import build
from tests.conftest import ROOT, Workspace, routes, serving

THREE = """
a: {model: openai/gpt-4o, api_key: "${UNSET_KEY}", optional: true}
b: {model: anthropic/claude-sonnet-4-5, api_key: sk-b}
c: {script: demo}
"""


@pytest.fixture
def shipped(tmp_path: Path) -> Workspace:
    """A workspace with the shipped configuration."""
    for folder in ("pipelines", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return Workspace(tmp_path).write("routes.yaml", (ROOT / "routes.yaml").read_text(encoding="utf-8"))


def ran(workspace: Workspace, drills: str, route: str = "targets: [a, b, c]") -> list[Drilled]:
    """The drills of a configuration with three targets."""
    workspace.write("routes.yaml", routes(THREE, route, "drills:\n" + drills))
    return drilled(load(workspace.root / "routes.yaml"))


def drill(given: str, expect: str, ask: str = "{model: gpt-4}") -> str:
    """One drill."""
    return f"  - {{name: it, given: {given}, ask: {ask}, expect: {expect}}}\n"


@pytest.mark.parametrize(
    ("given", "tried"),
    [
        ("{}", "[a ok]"),
        ("{a: 503}", "[a status_503, a status_503, b ok]"),
        ("{a: [503, ok]}", "[a status_503, a ok]"),
        ("{a: 401, b: 404}", "[a status_401, b status_404, c ok]"),
        ("{a: 400}", "[a status_400, b ok]"),
        ("{a: 429 retry 30s}", "[a status_429, b ok]"),
        ("{a: [429 retry 2s, ok]}", "[a status_429, a ok]"),
        ("{a: down, b: empty}", "[a connection, b empty, b empty, c ok]"),
        ("{a: silent, b: ok after 12s}", "[a timeout_first_token, b timeout_first_token, c ok]"),
        ("{a: ok after 9s}", "[a ok]"),
        ("{a: cut}", "[a cut, b ok]"),
        ("{a: cut, b: 503}", "[a cut, b status_503, c ok]"),
        ("{a: cut, b: cut, c: cut after 1s}", None),
        ("{a: stall}", "[a timeout_idle, b ok]"),
        ("{a: too_long, b: too_long}", "[a context_too_long, b context_too_long, c ok]"),
    ],
)
def test_each_fault_is_met_as_it_would_be(workspace: Workspace, given: str, tried: str | None) -> None:
    """By retry, by another target, by rescue; and the answer is whole. An optional target without its key is played like the others."""
    expect = f"{{tried: {tried}}}" if tried else "{fails: no_answer}"
    (one,) = ran(workspace, drill(given, expect))
    assert one.faults == ()


def test_time_is_the_drills_own(workspace: Workspace) -> None:
    """An hour of breaker is over at once, and what took how long is told by that clock."""
    breaker = "targets: [a, b]\n    breaker: {failures: 2, within: 30m, open: 1h}"
    began = time.monotonic()
    left_alone, tried = ran(
        workspace,
        drill("{a: [503, 503, ok]}", "{tried: [a breaker_open, b ok]}", "{model: gpt-4, times: 2, every: 59m}")
        + drill("{a: [503, 503, ok]}", "{tried: [a ok]}", "{model: gpt-4, times: 2, every: 61m}"),
        breaker,
    )
    assert (left_alone.faults, tried.faults) == ((), ())
    assert time.monotonic() - began < 30
    (late,) = ran(workspace, drill("{a: silent}", "{within: 11s}"))
    assert 11 < late.seconds < 11.4
    assert late.faults == (f"it took {late.seconds:.2f} s, 11 s were expected at most",)


def test_what_came_otherwise_is_told(workspace: Workspace) -> None:
    """Each expectation that does not hold, and what was tried."""
    (one,) = ran(workspace, drill("{a: filtered}", "{served_by: b, tried: [b ok], events: [Start, Text, Finish], finish: stop}"))
    assert one.faults == (
        "it ended with content_filter",
        "served by b was expected, it was a",
        "tried ['b ok'] was expected, it was ['a content_filter']",
        "events ['Start', 'Text', 'Finish'] was expected, it was []",
        "finish stop was expected, it was none",
    )
    (kept,) = ran(workspace, drill("{a: 503}", "{fails: no_answer}"))
    assert kept.faults == ("it ended with an answer, no_answer was expected",)


def test_an_answer_that_lost_a_word_is_no_answer(workspace: Workspace) -> None:
    """Where nobody goes on, half of it is not taken for all."""
    (one,) = ran(workspace, drill("{a: cut}", "{served_by: a}"), "targets: [a, b]\n    rescue: fail")
    assert one.faults == ("it ended with no_answer",)


@pytest.mark.parametrize(
    ("drills", "complaint"),
    [
        (drill("{aa: 503}", "{}"), "no target is named `aa`; did you mean `a`?"),
        (drill("{}", "{served_by: bb}"), "no target is named `bb`; did you mean `b`?"),
        (drill("{}", "{}", "{model: chat-modl}"), "no route is named `chat-modl`; did you mean `chat-model`?"),
        (drill("{a: 200}", "{}"), "`200` is nothing a target does"),
        (drill("{a: okay}", "{}"), "`okay` is nothing a target does"),
        (drill("{a: silent retry 3s}", "{}"), "`retry` goes with a status"),
        (drill("{}", "{}", "{model: gpt-4, times: 0}"), "times must be from 1 to 1000"),
        (drill("{}", "{fails: timeout, finish: stop}"), "an answer that fails has no finish reason"),
        (drill("{}", "{events: [Txt]}"), "Txt"),
    ],
)
def test_a_drill_that_means_nothing_is_a_mistake(workspace: Workspace, drills: str, complaint: str) -> None:
    """At its place, when the file is loaded."""
    workspace.write("routes.yaml", routes(THREE, "targets: [b]", "drills:\n" + drills))
    with pytest.raises(ConfigError, match=rf"routes\.yaml:\d+:\d+: .*{re.escape(complaint)}"):
        build(load(workspace.root / "routes.yaml"))


def test_the_command_says_how_each_went(workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 where one fails; as JSON for scripts; and `check --drills` puts it at its place."""
    monkeypatch.chdir(workspace.root)
    good = "  - {name: good, given: {a: 503}, ask: {model: gpt-4}, expect: {served_by: b}}\n"
    bad = "  - {name: bad, given: {a: 503}, ask: {model: gpt-4}, expect: {served_by: c}}\n"
    workspace.write("routes.yaml", routes(THREE, "targets: [a, b, c]", "drills:\n" + good + bad))
    assert main(["drill"]) == 1
    said = capsys.readouterr().out
    assert "ok    good" in said
    assert "FAIL  bad\n      served by c was expected, it was b\n      tried: a status_503, a status_503, b ok\n" in said
    assert said.endswith("2 drills, 1 failed.\n")
    assert main(["drill", "good"]) == 0
    assert main(["drill", "no such"]) == 1
    capsys.readouterr()
    assert main(["drill", "--json"]) == 1
    records = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["ok"], one["line"]) for one in records] == [("good", True, 11), ("bad", False, 12)]
    assert main(["check"]) == 0
    assert main(["check", "--drills"]) == 1
    assert "routes.yaml:12:12: the drill `bad` fails: served by c was expected, it was b (tried: " in capsys.readouterr().err


async def test_an_edit_of_which_a_drill_fails_does_not_go_live(workspace: Workspace) -> None:
    """It is refused like one with a mistake; and goes live when the drill holds."""
    more = "server: {reload: {when: off, drills: true}}\ndrills:\n" + drill("{b: 503}", "{served_by: c}")
    scripts = "b: {script: [{text: b}]}\nc: {script: [{text: c}]}"
    file = workspace.write("routes.yaml", routes(scripts, "targets: [b, c]", more)).root / "routes.yaml"
    async with serving(build(load(file)), file) as client:
        before = client.edge.live.generation.digest
        workspace.write("routes.yaml", routes(scripts, "targets: [c, b]", more.replace("b: 503", "c: 503")))
        async with client.session.post(f"{client.base}/admin/reload") as response:
            assert response.status == 422
            assert "the drill `it` fails: served by c was expected, it was b" in (await response.json())["detail"][0]["message"]
        assert client.edge.live.generation.digest == before
        workspace.write("routes.yaml", routes(scripts, "targets: [c, b]", more))
        async with client.session.post(f"{client.base}/admin/reload") as response:
            assert response.status == 200
        assert (await client.ask()).text == "c"


POLICIES = {
    "order": (r"targets: \[gpt-4o, claude, big, demo\]", "targets: [claude, gpt-4o, big, demo]"),
    "order, last": (r"targets: \[gpt-4o, claude, big, demo\]", "targets: [gpt-4o, claude, big]"),
    "order of titles": (r"targets: \[gpt-4o-mini, claude, demo\]", "targets: [gpt-4o-mini, demo]"),
    "retry.attempts": (r"attempts: 2", "attempts: 1"),
    "retry.attempts, more": (r"attempts: 2", "attempts: 3"),
    "retry.backoff, least": (r"0\.25s\.\.4s", "2s..4s"),
    "retry.backoff, less": (r"0\.25s\.\.4s", "0.25s..3s"),
    "retry.backoff, more": (r"0\.25s\.\.4s", "0.25s..8s"),
    "first_token, less": (r"first_token: 10s", "first_token: 5s"),
    "first_token, more": (r"first_token: 10s", "first_token: 15s"),
    "first_token of thinkers": (r"first_token: 60s, idle: 60s", "first_token: 30s, idle: 60s"),
    "idle, more": (r"idle: 15s", "idle: 25s"),
    "breaker.failures, less": (r"failures: 5", "failures: 4"),
    "breaker.failures, more": (r"failures: 5", "failures: 6"),
    "breaker.within, less": (r"within: 30s", "within: 15s"),
    "breaker.within, more": (r"within: 30s", "within: 60s"),
    "breaker.open, less": (r"open: 4s", "open: 1s"),
    "breaker.open, more": (r"open: 4s", "open: 15s"),
    "rescue": (r"rescue:  continue", "rescue:  fail"),
}


def test_the_shipped_drills_hold(shipped: Workspace) -> None:
    """With no key set at all."""
    results = drilled(load(shipped.root / "routes.yaml"))
    assert len(results) >= 16
    assert [one for one in results if one.faults] == []


@pytest.mark.parametrize("policy", POLICIES)
def test_a_change_of_any_policy_of_the_shipped_example_fails_a_drill(shipped: Workspace, policy: str) -> None:
    """So none of them can be changed by accident."""
    pattern, instead = POLICIES[policy]
    text = (ROOT / "routes.yaml").read_text(encoding="utf-8")
    changed, count = re.subn(pattern, instead, text, count=1)
    assert count == 1
    shipped.write("routes.yaml", changed)
    assert [one.name for one in drilled(load(shipped.root / "routes.yaml")) if one.faults]


def test_fifty_drills_take_no_time(shipped: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Half an hour by their own clock. What it took is printed; the bound leaves room for a busy machine."""
    text = (ROOT / "routes.yaml").read_text(encoding="utf-8")
    head, _, drills = text.partition("\ndrills:")
    drills = drills.partition("\n")[2]
    shipped.write("routes.yaml", f"{head}\ndrills:\n" + drills * 4)
    declaration = load(shipped.root / "routes.yaml")
    drilled(declaration, [declaration.routes.drills[0].name])
    began = time.monotonic()
    results = drilled(declaration)
    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{len(results)} drills, {sum(one.seconds for one in results):.0f} s of their own time: {took:.2f} s")  # noqa: T201 - asked for
    assert len(results) >= 50
    assert took < 10
