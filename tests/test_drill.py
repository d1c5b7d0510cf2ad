"""Drills: simulated faults of targets, played through the serving code in virtual time."""

import copy
import json
import operator
import re
import shutil
import sys
import time
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from router.commands import main
from router.config import load
from router.config.declaration import Declaration
from router.config.drills import EventKind
from router.drill import Drilled, drilled
from router.errors import ConfigError
from router.events import Event
from router.generation import build
from tests.conftest import AS_OPERATOR, ROOT, Workspace, routes, serving
from tests.support.promises import hold, timed

THREE = """
a: {model: openai/gpt-4o, api_key: "${UNSET_KEY}", optional: true}
b: {model: anthropic/claude-sonnet-4-5, api_key: sk-b}
c: {script: demo}
"""


@pytest.fixture
def shipped(tmp_path: Path) -> Workspace:
    """Return a workspace with the shipped configuration."""
    for folder in ("pipelines", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("routes.yaml", "drills.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return Workspace(tmp_path)


def ran(workspace: Workspace, drills: str, route: str = "targets: [a, b, c]") -> list[Drilled]:
    """Return the results of these drills on a configuration with the targets a, b and c."""
    workspace.write("routes.yaml", routes(THREE, route, "drills:\n" + drills))
    return drilled(load(workspace.root / "routes.yaml"))


def drill(given: str, expect: str, ask: str = "{model: gpt-4}") -> str:
    """Return the YAML of one drill."""
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
        ("{a: stall for 14s}", "[a ok]"),
        ("{a: stall for 16s}", "[a timeout_idle, b ok]"),
        ("{a: [503 times 2, ok], b: [401 times 1, ok]}", "[a status_503, a status_503, b status_401, c ok]"),
        ("{a: too_long, b: too_long}", "[a context_too_long, b context_too_long, c ok]"),
    ],
)
def test_drill_of_a_fault_shows_retry_fallback_and_rescue(workspace: Workspace, given: str, tried: str | None) -> None:
    """Each simulated fault gives exactly the attempts and outcomes of its row, also for an optional target whose API key is not set."""
    expect = f"{{tried: {tried}}}" if tried else "{fails: no_answer}"
    (one,) = ran(workspace, drill(given, expect))
    assert one.faults == ()


def test_drill_runs_in_virtual_time(workspace: Workspace) -> None:
    """A drill waits an hour for an open breaker in seconds of CPU time, and its expectation `within` counts the virtual seconds."""
    breaker = "targets: [a, b]\n    breaker: {failures: 2, within: 30m, open: 1h}"
    began = time.process_time()
    left_alone, tried = ran(
        workspace,
        drill("{a: [503, 503, ok]}", "{tried: [a breaker_open, b ok]}", "{model: gpt-4, times: 2, every: 59m}")
        + drill("{a: [503, 503, ok]}", "{tried: [a ok]}", "{model: gpt-4, times: 2, every: 61m}"),
        breaker,
    )
    assert (left_alone.faults, tried.faults) == ((), ())
    assert time.process_time() - began < 30  # of the processor's; three hours by the drills' own
    (late,) = ran(workspace, drill("{a: silent}", "{within: 11s}"))
    assert 11 < late.seconds < 11.4
    assert late.faults == (f"it took {late.seconds:.2f} s, 11 s were expected at most",)
    (early,) = ran(workspace, drill("{}", "{within: 3s..5s}"))
    assert early.faults == (f"it took {early.seconds:.2f} s, 3 s were expected at least",)


def test_failed_expectation_of_a_drill_is_reported_with_the_actual_value(workspace: Workspace) -> None:
    """Each expectation that a drill does not meet is reported with its expected and its actual value."""
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


def test_drill_fails_when_a_broken_answer_is_not_continued(workspace: Workspace) -> None:
    """A drill that expects an answer fails with `it ended with no_answer` if the answer breaks off under `rescue: fail`."""
    (one,) = ran(workspace, drill("{a: cut}", "{served_by: a}"), "targets: [a, b]\n    rescue: fail")
    assert one.faults == ("it ended with no_answer",)


def test_simulated_target_does_not_wait_for_litellm(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drill of a Gemini target does not wait for the import of LiteLLM, whose real seconds its virtual clock would not see."""

    async def imported() -> None:
        raise AssertionError("a played target was waited for")

    monkeypatch.setattr("router.targets.litellm_library.ready", imported)
    gemini = "a: {model: gemini/gemini-3.8-flash, api_key: x}\nb: {script: demo}"
    workspace.write("routes.yaml", routes(gemini, "targets: [a, b]", "drills:\n" + drill("{a: 401}", "{tried: [a status_401, b ok]}")))
    assert [one.faults for one in drilled(load(workspace.root / "routes.yaml"))] == [()]


@pytest.mark.parametrize(
    ("drills", "complaint"),
    [
        (drill("{aa: 503}", "{}"), "no target is named `aa`; did you mean `a`?"),
        (drill("{}", "{served_by: bb}"), "no target is named `bb`; did you mean `b`?"),
        (drill("{}", "{}", "{model: chat-modl}"), "no route is named `chat-modl`; did you mean `chat-model`?"),
        (drill("{a: 200}", "{}"), "`200` is nothing a target does"),
        (drill("{a: okay}", "{}"), "`okay` is nothing a target does"),
        (drill("{a: silent retry 3s}", "{}"), "`retry` goes with a status"),
        (drill("{a: cut for 3s}", "{}"), "`for` goes with stall"),
        (drill("{a: 503 times 3}", "{}"), "a: `times` is for what others follow"),
        (drill("{a: [ok, 503 times 3]}", "{}"), "a: `times` is for what others follow"),
        (drill("{}", "{within: 5s..3s}"), "`5s..3s` runs backwards"),
        (drill("{}", "{}", "{model: gpt-4, times: 0}"), "times must be from 1 to 1000"),
        (drill("{}", "{fails: timeout, finish: stop}"), "an answer that fails has no finish reason"),
        (drill("{}", "{events: [Txt]}"), "Txt"),
    ],
)
def test_meaningless_drill_is_refused_at_load(workspace: Workspace, drills: str, complaint: str) -> None:
    """A drill that contradicts itself or names an unknown target, route or fault raises ConfigError with its line and column."""
    workspace.write("routes.yaml", routes(THREE, "targets: [b]", "drills:\n" + drills))
    with pytest.raises(ConfigError, match=rf"routes\.yaml:\d+:\d+: .*{re.escape(complaint)}"):
        build(load(workspace.root / "routes.yaml"))


def test_drill_may_expect_an_event_of_each_kind() -> None:
    """`expect.events` of a drill takes the name of each kind of event that an answer may have."""
    assert set(get_args(EventKind)) == {kind.__name__ for kind in get_args(Event)}


def test_drill_command_reports_each_result_and_exits_1_on_a_failure(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands `router drill`, also with `--json`, and `router check --drills` report each failed drill and exit with 1."""
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


def test_drills_load_a_tool_file_once_and_unload_it(workspace: Workspace) -> None:
    """Three drills load a tool file once between them and unload it, while the serving generation keeps its own copy."""
    file = workspace.root / "ran"
    tool = f'with open({str(file)!r}, "a") as file:\n    file.write("x")\n\n\ndef counted() -> str:\n    """Count."""\n'
    workspace.write("tools/counted.py", tool)
    workspace.write("routes.yaml", routes(THREE, "targets: [b]\n    tools: [counted]", "drills:\n" + drill("{}", "{}") * 3))
    declaration = load(workspace.root / "routes.yaml")
    serves = build(declaration)
    assert [one.faults for one in drilled(declaration)] == [(), (), ()]
    assert file.read_text(encoding="utf-8") == "xx"  # for what serves, and for all of the drills
    assert [name for name in sys.modules if name.endswith(".counted")] == [f"router_tools_{declaration.digest}.counted"]
    serves.discard()


async def test_edit_with_a_failing_drill_is_refused_by_admin_reload(workspace: Workspace) -> None:
    """An edit whose drill fails makes `POST /admin/reload` answer 422 and is not served; the corrected edit goes live."""
    more = "server: {reload: {when: off, drills: true}}\ndrills:\n" + drill("{b: 503}", "{served_by: c}")
    scripts = "b: {script: [{text: b}]}\nc: {script: [{text: c}]}"
    file = workspace.write("routes.yaml", routes(scripts, "targets: [b, c]", more)).root / "routes.yaml"
    async with serving(build(load(file)), file) as client:
        before = client.edge.live.generation.digest
        workspace.write("routes.yaml", routes(scripts, "targets: [c, b]", more.replace("b: 503", "c: 503")))
        async with client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
            assert response.status == 422
            assert "the drill `it` fails: served by c was expected, it was b" in (await response.json())["detail"][0]["message"]
        assert client.edge.live.generation.digest == before
        workspace.write("routes.yaml", routes(scripts, "targets: [c, b]", more))
        async with client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
            assert response.status == 200
        assert (await client.ask()).text == "c"


SHIPPED = yaml.safe_load((ROOT / "routes.yaml").read_text(encoding="utf-8"))
POLICIES = ("timeout", "retry", "breaker", "rescue", "targets")
"""Keys of `defaults` and of a route that decide how a failure is handled."""
BESIDE = ("timeout.connect", "timeout.tool")
"""Policy lines that no drill can show: a simulated target makes no connection and calls no tool."""


def others(value: Any) -> Iterator[Any]:
    """Yield other values for a policy: a number plus and minus 1, a time halved and doubled, a list with an entry cut or two swapped."""
    match value:
        case [*order]:
            for number, one in enumerate(order):
                yield order[:number] + order[number + 1 :]
                if number:
                    yield [*order[: number - 1], one, order[number - 1], *order[number + 1 :]]
        case int():
            yield from (value - 1, value + 1)
        case "continue":
            yield "fail"
        case str() if ".." in value:
            least, _, most = value.partition("..")
            yield from (f"{other}..{most}" for other in others(least))
            yield from (f"{least}..{other}" for other in others(most))
        case str():
            number = value.rstrip("msh%")
            yield from (f"{float(number) * factor:g}{value.removeprefix(number)}" for factor in (0.5, 2))
        case _:
            raise AssertionError(value)


def policies(keys: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of each policy in a mapping of settings, for the keys of POLICIES that it has.
    A key that holds a mapping gives one pair for each of its entries, without those in BESIDE. `name`: the start of each dotted name.
    """
    for key in POLICIES:
        for inner, value in keys[key].items() if isinstance(keys.get(key), dict) else [("", keys[key])] if key in keys else []:
            if (line := f"{key}.{inner}".rstrip(".")) not in BESIDE:
                yield f"{name}.{line}", value


UNPLAYED = (("routes.embedding-model.targets", ["embedder"]),)
"""Changes that no drill shows: each target is simulated as if its key were set, and the demo target makes no embeddings."""
LINES = dict(
    [
        *policies(SHIPPED["defaults"], "defaults"),
        *(line for name, route in SHIPPED["routes"].items() for line in policies(route, f"routes.{name}")),
    ]
)


def test_shipped_drills_pass_without_any_key(shipped: Workspace) -> None:
    """All drills of the shipped drills.yaml pass although no API key is set."""
    results = drilled(load(shipped.root / "routes.yaml"))
    assert len(results) > 30
    assert [one for one in results if one.faults] == []


@pytest.mark.parametrize("line", LINES)
def test_changed_policy_line_of_the_shipped_example_fails_a_drill(shipped: Workspace, line: str) -> None:
    """Each changed value of a policy line of the shipped routes.yaml, but for UNPLAYED, makes at least one drill fail."""
    *path, key = line.split(".")
    for other in (one for one in others(LINES[line]) if (line, one) not in UNPLAYED):
        changed = copy.deepcopy(SHIPPED)
        reduce(operator.getitem, path, changed)[key] = other
        shipped.write("routes.yaml", yaml.safe_dump(changed))
        assert any(one.faults for one in in_turn(load(shipped.root / "routes.yaml"), line)), (line, other)


def in_turn(declaration: Declaration, line: str) -> Iterator[Drilled]:
    """Run the drills of a configuration a few at a time, those of the line's route first, and yield their results.

    Most changes fail one of the first drills: the others are not run then.
    """
    mine = {line.split(".")[1], *SHIPPED["routes"].get(line.split(".")[1], {}).get("aliases", ())}
    drills = sorted(declaration.routes.drills, key=lambda drill: drill.ask.model not in mine)
    for at in range(0, len(drills), 4):
        yield from drilled(declaration, [drill.name for drill in drills[at : at + 4]])


@timed
def test_fifty_drills_take_two_cpu_seconds_at_most(shipped: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Fifty drills or more, the shipped ones twice, take 2 s of CPU time at most; the time is printed."""
    head, _, drills = (ROOT / "drills.yaml").read_text(encoding="utf-8").partition("drills:\n")
    again = re.sub(r"name: (.*)", r"name: once more, \1", drills)
    shipped.write("drills.yaml", f"{head}drills:\n{drills}{again}")
    declaration = load(shipped.root / "routes.yaml")
    drilled(declaration, [declaration.routes.drills[0].name])
    began = time.process_time()
    results = drilled(declaration)
    took = time.process_time() - began
    with capsys.disabled():
        print(f"\n{len(results)} drills, {sum(one.seconds for one in results):.0f} s of their own time: {took:.2f} s")  # noqa: T201 - asked for
    assert len(results) >= 50
    hold(took, 2)
