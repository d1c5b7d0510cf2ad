"""`router diff`: the exact sentences that explain a configuration change, and the secrets that no output may contain."""

import asyncio
import io
import json
import os
import sys
import threading
from argparse import Namespace
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from router.chat import JsonObject
from router.commands import main
from router.commands.running import NoServer, Running
from router.config import as_written, declare, read
from router.config.snapshot import Snapshot
from router.config.values import Seconds, Secret, written_duration
from router.description import Description, changes, describe, sentences, understood
from router.description.order import Pools, reordered
from router.errors import Misfit
from router.generation import build
from router.signature import Spelled, shape_of
from tests.conftest import AS_OPERATOR, CHAT, ROOT, Workspace, routes, serving

GOLDEN = sorted((ROOT / "tests/golden/diff").iterdir())
HI = "a: {script: [{text: Hello}]}\nb: {script: demo}"


def described(text: str, **beside: str) -> Description:
    """Return the description of a routes.yaml with this text, the pipeline `chat` and the files in `beside`."""
    declaration = as_written(Snapshot(Path(), "routes.yaml", {"routes.yaml": text, "pipelines/chat.yaml": CHAT, **beside}))
    assert not declaration.complaints.found
    return describe(declaration)


def diff_sentences(before: str, after: str) -> list[str]:
    """Return the sentences on the change from one routes.yaml text to the other, as `router diff` prints them. The command is not run."""
    return sentences(changes(described(before), described(after)))


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
def test_diff_prints_the_expected_sentences_for_each_golden_pair(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`router diff` prints exactly the text of expected.txt for each of ten pairs of configuration folders."""
    assert len(GOLDEN) == 10
    assert main(["diff", str(case / "a"), str(case / "b")]) == 0
    assert capsys.readouterr() == ((case / "expected.txt").read_text(encoding="utf-8"), "")


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
def test_diff_json_has_a_record_with_the_printed_sentence_of_each_change(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`router diff --json` prints a record with a sentence for each change; with `--exit-code` the code is 3 if there is a change."""
    expected = (case / "expected.txt").read_text(encoding="utf-8").splitlines()
    changed = not expected[0].startswith("no change")
    assert main(["diff", str(case / "a"), str(case / "b"), "--json", "--exit-code"]) == (3 if changed else 0)
    records = json.loads(capsys.readouterr().out)["changes"]
    assert bool(records) == changed
    for record in records:
        assert set(record) == {"about", "name", "what", "before", "after", "sentence"}
        assert any(record["sentence"].rpartition(": ")[2] in line for line in expected)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
@pytest.mark.parametrize("side", ["a", "b"])
def test_diff_of_a_configuration_with_itself_is_empty(case: Path, side: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`router diff` reports no change between a configuration and itself, or its description after a round trip through JSON."""
    assert main(["diff", str(case / side), str(case / side), "--exit-code"]) == 0
    assert capsys.readouterr().out == "no change: every file is the same\n"
    description = describe(as_written(read(case / side / "routes.yaml")))
    again = understood(json.loads(json.dumps(description.as_json())))
    assert changes(description, again) == []


def test_secret_is_in_no_diff_output_and_no_description(capsys: pytest.CaptureFixture[str]) -> None:
    """A secret of routes.yaml is neither in the text or JSON of `router diff`, nor in the description of the configuration."""
    case = ROOT / "tests/golden/diff/08-secrets"
    assert "canary" in (case / "a/routes.yaml").read_text(encoding="utf-8")
    for more in ([], ["--json"]):
        main(["diff", str(case / "a"), str(case / "b"), *more])
        assert "canary" not in capsys.readouterr().out
    for side in ("a", "b"):
        assert "canary" not in json.dumps(describe(as_written(read(case / side / "routes.yaml"))).as_json())


def test_configuration_is_described_without_the_values_of_its_variables(workspace: Workspace) -> None:
    """The description of a configuration has `${VAR}` instead of the value of a variable, even if the variable was set when read."""
    targets = "a: {model: 'openai/${NAME}', api_key: 'x${KEY}', api_base: '${BASE:-https://u:canary@h/v1}'}\nb: {script: demo}"
    workspace.write("routes.yaml", routes(targets, "targets: [a, b]\n    max_steps: ${STEPS}"))
    snapshot = read(workspace.root / "routes.yaml")
    set_up = declare(snapshot, {"NAME": "canary", "KEY": "canary", "BASE": "https://canary/v1", "STEPS": "7"})
    assert not set_up.complaints.found
    description = describe(set_up)
    assert "canary" not in json.dumps(description.as_json())
    assert description.targets["a"]["model"] == "openai/${NAME}"
    assert description.routes["chat-model"]["max_steps"] == "${STEPS}"
    assert changes(description, describe(as_written(snapshot))) == []


def test_secrets_are_left_out_of_descriptions_and_of_repr() -> None:
    """A description has no API key, admin key or OTel token, and the repr of a `Secret` does not show its value."""
    text = "targets: {a: {model: openai/x, api_key: canary-1}}\nroutes: {r: {pipeline: chat, targets: [a]}}\n"
    text += "server: {admin: {key: canary-2-of-the-operators}, otel: {endpoint: 'http://h:1', token: canary-3}}\n"
    description = described(text)
    assert "canary" not in json.dumps(description.as_json())
    assert "canary" not in repr(Secret("canary"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("first_token: 300s", "first_token: 5m"),
        ("first_token: 1.50s", "first_token: 1500ms"),
        ("total: 300s", ""),
    ],
)
def test_diff_treats_two_spellings_of_a_value_as_equal(before: str, after: str) -> None:
    """`router diff` reports no change for another spelling of a duration (300s, 5m), or for a default that is written down."""
    old, new = (routes(HI, f"targets: [a]\n    timeout: {{{one}}}") for one in (before, after))
    assert diff_sentences(old, new) == []


MANY = "\n".join(f"  r{count}: {{pipeline: chat, targets: [a]}}" for count in range(100))


def test_diff_reports_a_changed_target_in_one_line_for_all_its_routes() -> None:
    """`router diff` prints one sentence for a changed target, with four of its 100 routes by name and the number of the others."""
    old, new = (f"targets: {{a: {{script: [{{text: {word}}}]}}}}\nroutes:\n{MANY}\n" for word in ("x", "y"))
    told = "target a: script changed (asked by r0, r1, r2, r3 and 96 more); its breaker and its load start anew"
    assert diff_sentences(old, new) == [told]


def test_diff_reports_a_changed_default_in_one_line_for_all_routes() -> None:
    """`router diff` finds one change for each of 100 routes after an edit of `defaults`, and prints one sentence for all."""
    old, new = (f"defaults: {{rescue: {word}}}\ntargets: {{a: {{script: demo}}}}\nroutes:\n{MANY}\n" for word in ("fail", "continue"))
    found = changes(described(old), described(new))
    assert len(found) == 100
    assert sentences(found) == ["r0, r1, r2, r3 and 96 more: rescue fail → continue (from defaults)"]


def test_diff_says_start_anew_exactly_if_a_reload_resets_the_health_of_a_target(workspace: Workspace) -> None:
    """`router diff` prints "start anew" for an edit exactly if the generation built from it has a new health object for the target."""
    edits = {
        "breaker: {failures: 2}": True,
        "breaker: {failures: 5}": False,  # the default, written down
        "retry: {attempts: 1}": True,
        "timeout: {total: 9s}": False,
        "rescue: fail": False,
    }
    old = routes(HI, "targets: [a]")
    before = workspace.write("routes.yaml", old).build()
    health = next(one for (name, *_), (_, one) in before.kept.health.items() if name == "a")
    for edit, anew in edits.items():
        new = routes(HI, f"targets: [a]\n    {edit}")
        after = build(declare(read(workspace.write("routes.yaml", new).root / "routes.yaml"), {}), before.kept)
        kept = any(one is health for _, one in after.kept.health.values())
        assert kept is not anew
        assert any("start anew" in line for line in diff_sentences(old, new)) is anew


weights = some.sampled_from([None, 1.0, 3.0])
pools: some.SearchStrategy[Pools] = some.lists(
    some.tuples(some.sampled_from("abcdef"), some.booleans(), weights), min_size=1, max_size=6
).map(lambda drawn: _cut(list({name: (name, cut, weight) for name, cut, weight in drawn}.values())))


def _cut(drawn: list[tuple[str, bool, float | None]]) -> Pools:
    """Return pools of a route's targets: in a pool all targets have weights or none has, and a pool of one target has none."""
    found: list[list[tuple[str, float | None]]] = [[]]
    for name, cut, weight in drawn:
        if cut and found[-1]:
            found.append([])
        found[-1].append((name, weight))
    return tuple(tuple(sorted((name, _shared(weight, pool)) for name, weight in pool)) for pool in found)


def _shared(weight: float | None, pool: list[tuple[str, float | None]]) -> float | None:
    weighted = len(pool) > 1 and any(each is not None for _, each in pool)
    return (weight or 1.0) if weighted else None


@settings(max_examples=200, deadline=None)
@given(pools, pools, pools)
def test_diff_sentence_for_reordered_targets_is_unambiguous(before: Pools, one: Pools, other: Pools) -> None:
    """The sentence for a changed target order differs for each new order, and is missing exactly if the order is equal."""
    assert bool(reordered(before, one)) == (before != one)
    if one != other:
        assert reordered(before, one) != reordered(before, other)


def test_diff_ignores_the_order_of_targets_within_a_pool() -> None:
    """`router diff` reports no change if the targets within one pool are written in another order."""
    assert diff_sentences(routes(HI, "targets: [[a, b]]"), routes(HI, "targets: [[b, a]]")) == []


@given(some.integers(1, 10**7).map(lambda count: count / 1000))
def test_printed_duration_parses_back_to_the_same_seconds(seconds: float) -> None:
    """A duration from 1 ms to 10,000 s, in whole milliseconds, is the same number of seconds after it is written and parsed again."""
    shape = shape_of(Seconds)
    assert isinstance(shape, Spelled)
    assert shape.read(written_duration(seconds)) == pytest.approx(seconds, rel=1e-9)


def test_diff_reads_a_lone_file_with_the_pipelines_and_tools_of_the_other_side(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`router diff` compares a lone file, stdin or a pipe as if it had the pipelines and tools of ./routes.yaml."""
    workspace.write("routes.yaml", routes(HI, "targets: [b, a]\n    tools: [weather]"))
    old = tmp_path_factory.mktemp("old") / "routes.yaml"
    old.write_text(routes(HI, "targets: [a, b]\n    tools: [weather]"), encoding="utf-8")
    monkeypatch.chdir(workspace.root)
    assert main(["diff", str(old)]) == 0
    assert capsys.readouterr().out == "chat-model: first target a → b\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(old.read_bytes())))
    assert main(["diff", "-"]) == 0
    assert capsys.readouterr().out == "chat-model: first target a → b\n"
    ours, theirs = os.pipe()
    os.write(theirs, old.read_bytes())
    os.close(theirs)
    assert main(["diff", f"/dev/fd/{ours}"]) == 0
    os.close(ours)
    assert capsys.readouterr().out == "chat-model: first target a → b\n"


DRILLS = "drills:\n  - {name: one, ask: {model: gpt-4}, expect: {served_by: a}}\n"


def test_diff_reports_no_change_when_drills_move_into_their_own_file(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """`router diff` reports no change between a lone routes.yaml with inline drills and a folder with the same drills in drills.yaml."""
    old = tmp_path_factory.mktemp("old") / "routes.yaml"
    old.write_text(routes(HI, "targets: [a, b]", DRILLS), encoding="utf-8")
    workspace.write("routes.yaml", routes(HI, "targets: [a, b]")).write("drills.yaml", DRILLS)
    assert main(["diff", str(old), str(workspace.root)]) == 0
    assert capsys.readouterr().out == "no change in meaning (at most comments or layout)\n"


def test_diff_reports_changed_and_new_drills_of_drills_yaml(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """`router diff` reports changed and new drills; a folder with only a routes.yaml is taken to have the other side's drills."""
    workspace.write("routes.yaml", routes(HI, "targets: [a, b]")).write("drills.yaml", DRILLS)
    other = Workspace(tmp_path_factory.mktemp("other")).write("routes.yaml", routes(HI, "targets: [a, b]"))
    assert main(["diff", str(other.root), str(workspace.root)]) == 0
    assert capsys.readouterr().out == "no change: every file is the same\n"
    other.write("drills.yaml", DRILLS.replace("served_by: a", "served_by: b"))
    assert main(["diff", str(other.root), str(workspace.root)]) == 0
    assert capsys.readouterr().out == "drill one: expect.served_by b → a\n"
    other.write("pipelines/chat.yaml", (workspace.root / "pipelines/chat.yaml").read_text(encoding="utf-8"))
    (other.root / "drills.yaml").unlink()
    assert main(["diff", str(other.root), str(workspace.root)]) == 0
    assert capsys.readouterr().out == "drill one is new\n"


@pytest.mark.parametrize("place", ["of its own", "the same"])
def test_diff_leaves_out_shared_drills_that_only_the_newer_side_fits(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """If an older routes file does not fit the newer side's drills.yaml, `router diff` leaves drills out, with a note on stderr."""
    workspace.write("routes.yaml", routes(HI, "targets: [a, b]")).write("drills.yaml", DRILLS.replace("served_by: a", "served_by: b"))
    old = workspace.root / "old.yaml" if place == "the same" else tmp_path_factory.mktemp("old") / "routes.yaml"
    old.write_text(routes(HI.split("\n", maxsplit=1)[0], "targets: [a]"), encoding="utf-8")
    assert main(["diff", str(old), str(workspace.root)]) == 0
    said = capsys.readouterr()
    assert "drill" not in said.out
    assert "target b is new" in said.out
    assert said.err == f"note: drills.yaml does not fit {old}, so drills are not compared\n"


def test_diff_reports_an_invalid_drills_file_that_neither_side_fits(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A drill that fits neither of two routes files in one folder is a mistake, and `router diff` exits with 1."""
    workspace.write("routes.yaml", routes(HI)).write("old.yaml", routes(HI)).write("drills.yaml", DRILLS.replace("gpt-4", "gone"))
    assert main(["diff", str(workspace.root / "old.yaml"), str(workspace.root)]) == 1
    assert "drills.yaml:2" in capsys.readouterr().err


def test_diff_needs_no_environment_variable_and_runs_no_tool_code(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router diff` accepts variables that are not set, and does not execute tool files, not even one that would end the process."""
    target = "a: {model: openai/x, api_key: '${NOBODY_SET_THIS}', api_base: '${NOR_THIS}', context_window: '${NOR_THAT}'}"
    workspace.write("tools/weather.py", "import os\nos._exit(9)\n")
    workspace.write("routes.yaml", routes(target, "targets: [a]\n    tools: [weather]"))
    workspace.write("new.yaml", routes(target, "targets: [a]"))
    assert main(["diff", str(workspace.root), str(workspace.root / "new.yaml")]) == 0
    cold = "chat-model: providers' prompt caches are cold for the next question of each chat: other tools, or in another order\n"
    assert capsys.readouterr().out == f"chat-model: loses tools: weather\n{cold}"


def test_diff_reports_a_mistake_with_its_folder_and_exits_1(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router diff` exits with 1, also with `--exit-code`, if a side is invalid or missing, and prints its path with the folder."""
    workspace.write("routes.yaml", routes(HI)).write("new/routes.yaml", "targets: {a: {scrpt: demo}}\nroutes: {}\n")
    assert main(["diff", str(workspace.root), str(workspace.root / "new"), "--exit-code"]) == 1
    assert f"{workspace.root}/new/routes.yaml:1:15: unknown key `scrpt`" in capsys.readouterr().err
    assert main(["diff", str(workspace.root), str(workspace.root / "none.yaml")]) == 1
    assert "none.yaml:1:1: the file cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["a", "b", "c"], ["-", "-"], ["--live", "http://127.0.0.1:1", "a", "b"]])
def test_diff_with_a_wrong_number_of_paths_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`router diff` exits with 2 for no path, three paths, two with `--live`, or standard input on both sides."""
    assert main(["diff", *words]) == 2
    assert "compared" in capsys.readouterr().err


async def live(base: str, *words: str) -> int:
    """Run `router diff --live BASE` in a thread, beside a server in this loop, and return its exit code."""
    return await asyncio.to_thread(main, ["diff", "--live", base, *words])


async def test_diff_compares_a_running_server_with_the_local_file(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`router diff --live` compares a server with ./routes.yaml; the admin key is read from `--key-file` or ROUTER_ADMIN_KEY."""
    admin = "server: {admin: {key: adm-canary-of-the-operators}}\n"
    workspace.write("routes.yaml", routes(HI, "targets: [a, b]", admin))
    monkeypatch.chdir(workspace.root)
    monkeypatch.delenv("ROUTER_ADMIN_KEY", raising=False)
    async with serving(workspace.build()) as client:
        assert await live(client.base) == 1
        assert "the server takes an admin key: name its file with --key-file" in capsys.readouterr().err
        key = workspace.write("admin.key", "adm-canary-of-the-operators\n").root / "admin.key"
        assert await live(client.base, "--key-file", str(key), "--exit-code") == 0
        assert capsys.readouterr().out == "no change in meaning (at most comments or layout)\n"
        workspace.write(
            "routes.yaml", routes(HI, "targets: [b, a]", admin.replace("adm-canary-of-the-operators", "adm-canary-of-the-operators-2"))
        )
        monkeypatch.setenv("ROUTER_ADMIN_KEY", "adm-canary-of-the-operators")
        assert await live(client.base, "--exit-code") == 3
        assert capsys.readouterr() == ("chat-model: first target a → b\nserver: admin.key changed\n", "")


async def test_diff_mentions_an_edit_that_the_running_server_refused(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`router diff --live` compares with the configuration in use, and notes on stderr that the server refused a newer edit and why."""
    file = workspace.write("routes.yaml", routes(HI, "targets: [a, b]")).root / "routes.yaml"
    workspace.write("here.yaml", routes(HI, "targets: [b]"))
    monkeypatch.chdir(workspace.root)
    async with serving(workspace.build(), file) as client:
        workspace.write("routes.yaml", routes(HI, "targets: [c]"))
        async with client.session.post(f"{client.base}/admin/reload", headers=AS_OPERATOR) as response:
            assert response.status == 422
        assert await live(client.base, "here.yaml") == 0
        told = capsys.readouterr()
        assert told.out == "chat-model: first target a → b\nchat-model: target a removed\nno route asks target a any more\n"
        assert told.err.startswith("note: the server does not serve the newest edit: routes.yaml:8:15: no target is named `c`")


class Odd(BaseHTTPRequestHandler):
    """A request handler that is no router: it answers each GET with the status, headers and body of the class."""

    asked: list[tuple[str, str | None]]
    status, headers_, body = 200, dict[str, str](), b"{}"
    hold: threading.Event | None = None

    def do_GET(self) -> None:
        """Record path and Authorization header, wait for `hold` if there is one (10 s at most), and send the configured answer."""
        self.asked.append((self.path, self.headers.get("authorization")))
        if self.hold is not None:
            self.hold.wait(10)
        self.send_response(self.status)
        for name, value in self.headers_.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@contextmanager
def odd(**odds: Any) -> Generator[tuple[str, list[tuple[str, str | None]]]]:
    """Run an `Odd` server on loopback; yield its address and a list to which each request adds its path and Authorization header."""
    asked: list[tuple[str, str | None]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), cast("Any", type("Odds", (Odd,), {"asked": asked, **odds})))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("odds", "sentence"),
    [
        ({"status": 302, "headers_": {"location": "/elsewhere"}}, "the server answers /admin/config with status 302"),
        ({"status": 403}, "the server shows this to its own machine alone"),
        ({"status": 404}, "there is no /admin/config: is this the address of a router?"),
        ({"body": b"<html>"}, "/admin/config is not answered as a router answers it"),
        ({"body": b"[" * 100_000}, "/admin/config is not answered as a router answers it"),
        ({"body": b'{"live": {"digest": "x", "declared": {"first": "a"}}}'}, "it is of another version"),
        ({"body": b'{"live": null, "failed": []}'}, "it is of another version"),
    ],
)
def test_diff_against_a_server_that_is_not_a_router_fails_in_one_sentence(
    odds: dict[str, Any], sentence: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """`router diff --live` exits with 1 and one sentence for an unexpected answer of the server, and does not follow a redirect."""
    workspace.write("routes.yaml", routes(HI))
    with odd(**odds) as (base, asked):
        assert main(["diff", "--live", base, str(workspace.root)]) == 1
    assert sentence in capsys.readouterr().err
    assert [path for path, _ in asked] == ["/admin/config"]


def test_diff_live_fails_after_a_time_limit_or_on_a_refused_connection(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router diff --live` fails after its time limit if the server does not answer, and at once if the connection is refused."""
    workspace.write("routes.yaml", routes(HI))
    hold = threading.Event()
    with odd(hold=hold) as (base, _):
        with pytest.raises(NoServer, match="the server"):
            Running(Namespace(live=base, insecure=False, key_file=None), wait=0.2).served()
        hold.set()
    assert main(["diff", "--live", base, str(workspace.root)]) == 1
    assert "the server cannot be asked: Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://router.example:8000", "over http others could read the admin key"),
        ("http://127.0.0.1.example", "over http others could read the admin key"),
        ("file:///etc/passwd", "this is no address of a server"),
        ("127.0.0.1:8000", "this is no address of a server"),
        ("http://user:canary@127.0.0.1", "this is no address of a server"),
        ("http://[canary", "this is no address of a server"),
        ("http://127.0.0.1:canary", "this is no address of a server"),
    ],
)
def test_live_option_refuses_plain_http_to_other_machines_and_invalid_addresses(
    address: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`router show --live` exits with 1 for an invalid address or plain http to another machine, and prints no secret of the address."""
    assert main(["show", "--live", address]) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert "canary" not in told


def test_key_file_must_hold_exactly_one_key(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The one key in the `--key-file` is sent as bearer token; a missing file, two lines or non-ASCII text make no request."""
    workspace.write("admin.key", "adm-1\n").write("two.key", "adm-canary-of-the-operators\nadm-2\n").write("ü.key", "ü")
    with odd(status=404) as (base, asked):
        main(["show", "--live", base, "--key-file", str(workspace.root / "admin.key")])
        assert asked == [("/admin/config", "Bearer adm-1")]
        for name in ("two.key", "ü.key", "none.key"):
            assert main(["show", "--live", base, "--key-file", str(workspace.root / name)]) == 1
        assert len(asked) == 1
    assert "canary" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", [None, [], {"first": 1}, {"first": "", "routes": {"r": 1}, "targets": {}, "pipelines": {}, "tools": {}, "server": {}}]
)
def test_diff_refuses_a_server_answer_that_is_no_configuration_description(value: JsonObject) -> None:
    """A value that is not a complete configuration description raises `Misfit`, also if only one of its fields has the wrong type."""
    with pytest.raises(Misfit):
        understood(value)
