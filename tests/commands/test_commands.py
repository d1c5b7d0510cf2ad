"""The command line: exit codes, standard output and standard error of its commands."""

import contextlib
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.commands import main, parser
from tests.conftest import ROOT, Workspace, litellm_target, routes
from tests.support.services import free_ports

HI = "a: {script: [{text: Hello}, {text: ' you'}]}"


@dataclass(frozen=True)
class Done:
    """The result of a command that has ended: its exit code and all that it wrote."""

    returncode: int | str | None
    stdout: str
    stderr: str


def router(*arguments: str, cwd: Path, **variables: str) -> Done:
    """Run one command to its end, in this process and in this folder, with only PATH and these variables in the environment."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
        patched.setattr(os, "environ", {"PATH": os.environ["PATH"], **variables})
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code
    return Done(code, out.getvalue(), err.getvalue())


def test_check_of_a_valid_configuration_exits_0_and_lists_skipped_targets(workspace: Workspace) -> None:
    """`router check` prints the number of routes, and each skipped optional target with the reason (its variable is not set)."""
    targets = HI + "\nb: {model: openai/gpt-4o, api_key: '${SOME_KEY}', optional: true}"
    workspace.write("routes.yaml", routes(targets, "targets: [b, a]"))
    done = router("check", cwd=workspace.root)
    assert done.returncode == 0
    assert "skipped: target b: the environment variable SOME_KEY is not set" in done.stdout
    assert "all is well. 1 route," in done.stdout
    assert "skipped" not in router("check", cwd=workspace.root, SOME_KEY="sk-1").stdout


@pytest.mark.parametrize("whose", ["the route's", "a caller's"])
def test_check_warns_of_a_spend_limit_over_targets_without_a_known_price(workspace: Workspace, whose: str) -> None:
    """`router check` names each target with no known price that a `spend` limit of a route or of a caller covers, and exits with 0."""
    targets = """
known: {model: openai/gpt-4o, api_key: sk-x}
said: {model: openai/ours, api_key: sk-x, price: {input: 1, output: 2}}
dark: {model: openai/ours, api_key: sk-x}
"""
    route, server = "targets: [known, said, dark, a]", ""
    if whose == "the route's":
        route += "\n    limit: {spend: 5USD/day}"
    else:
        server = f"server: {{auth: {{keys: {{alice: {{hash: 'sha256:{'0' * 64}', limit: {{spend: 5USD/day}}}}}}}}}}\n"
    workspace.write("routes.yaml", routes(targets + HI, route, server))
    done = router("check", cwd=workspace.root)
    assert (done.returncode, done.stdout.count("unpriced")) == (0, 1)
    assert "unpriced: target dark: nobody knows what it costs" in done.stdout
    assert set(json.loads(router("check", "--json", cwd=workspace.root).stdout)["unpriced"]) == {"dark"}
    workspace.write("routes.yaml", routes(targets + HI, "targets: [known, said, dark, a]"))
    assert "unpriced" not in router("check", cwd=workspace.root).stdout


def test_check_in_production_warns_of_a_script_that_is_a_fallback_for_models(workspace: Workspace) -> None:
    """In production, `router check` warns of each route in which a script is a later fallback for models, and names these models."""
    models = "a: {model: openai/gpt-4o, api_key: sk-x}\nb: {model: openai/gpt-4o, api_key: '${NOT_SET}', optional: true}\n"
    more = "  second: {pipeline: chat, targets: [a]}\n  third: {pipeline: chat, targets: [c, a]}\n  fourth: {pipeline: chat, targets: [[a, c]]}\n"
    more += "server: {auth: none}\n"
    workspace.write("routes.yaml", routes(models + "c: {script: demo}", "targets: [a, b, c]", more))
    done = router("check", cwd=workspace.root, ROUTER_ENV="production")
    assert done.returncode == 0
    warned = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    what = "where a or b does not answer, users get the lines of the script c"
    assert warned == [f"warning: route chat-model: {what}: take it out of the route's targets, and they get an error"]
    found = json.loads(router("check", "--json", cwd=workspace.root, ROUTER_ENV="production").stdout)
    assert (found["complaints"], list(found["stand_ins"])) == ([], ["chat-model"])
    assert "warning" not in router("check", cwd=workspace.root, ROUTER_ENV="staging").stdout


@pytest.mark.parametrize(("server", "line"), [("", 1), ("server: {keep_alive: 9s}\n", 8)])
def test_check_in_production_requires_server_auth(workspace: Workspace, server: str, line: int) -> None:
    """In production, `router check` exits with 1 and says what to write if `server.auth` is missing; `auth: none` is accepted."""
    workspace.write("routes.yaml", routes(HI, more=server))
    done = router("check", cwd=workspace.root, ROUTER_ENV="production")
    assert done.returncode == 1
    assert f"routes.yaml:{line}:1" in done.stderr or f"routes.yaml:{line}:9" in done.stderr
    for words in ("ROUTER_ENV is production", "`router keys new NAME`", "`auth: none`"):
        assert words in done.stderr
    assert router("check", cwd=workspace.root).returncode == router("check", cwd=workspace.root, ROUTER_ENV="staging").returncode == 0
    workspace.write("routes.yaml", routes(HI, "targets: [b]", server))
    assert "2 mistakes" in router("check", cwd=workspace.root, ROUTER_ENV="production").stderr
    workspace.write("routes.yaml", routes(HI, more="server: {auth: none}\n"))
    assert router("check", cwd=workspace.root, ROUTER_ENV="production").returncode == 0


def test_check_prints_every_mistake_with_its_place_and_exits_1(workspace: Workspace) -> None:
    """`router check` prints each mistake with file, line and column, the line itself and a caret below it, then the number of mistakes."""
    workspace.write("routes.yaml", routes("a: {scrpt: demo}", "targets: [aa]\n    max_stps: 3"))
    done = router("check", cwd=workspace.root)
    assert done.returncode == 1
    assert "routes.yaml:2:7: unknown key `scrpt` in `a`; did you mean `script`?\n      a: {scrpt: demo}\n          ^\n" in done.stderr
    assert "routes.yaml:7:15: no target is named `aa`; did you mean `a`?" in done.stderr
    assert "routes.yaml:8:5: unknown key `max_stps` in `chat-model`; did you mean `max_steps`?" in done.stderr
    assert done.stderr.endswith("3 mistakes in the configuration.\n")


def test_check_json_lists_complaints_routes_and_skipped_targets(workspace: Workspace) -> None:
    """`router check --json` prints each complaint with its place and message; without any, the number of routes and skipped targets."""
    targets = HI + "\nb: {model: openai/gpt-4o, api_key: '${SOME_KEY}', optional: true}"
    workspace.write("routes.yaml", routes(targets, "targets: [b, aa]"))
    done = router("check", "--json", cwd=workspace.root)
    assert (done.returncode, done.stderr) == (1, "")
    message = "no target is named `aa`; did you mean `a`?"
    assert json.loads(done.stdout) == {"complaints": [{"file": "routes.yaml", "line": 8, "column": 18, "message": message}]}
    workspace.write("routes.yaml", routes(targets, "targets: [b, a]"))
    done = router("check", "--json", cwd=workspace.root)
    found = json.loads(done.stdout)
    assert (done.returncode, found["complaints"], found["routes"]) == (0, [], 1)
    assert found["skipped"] == {"b": "the environment variable SOME_KEY is not set"}


def test_check_imports_no_provider_library_and_no_web_server(workspace: Workspace) -> None:
    """`router check` imports none of litellm, openai, httpx, fastapi and uvicorn, not even for a target that uses LiteLLM."""
    workspace.write("routes.yaml", routes(litellm_target("http://127.0.0.1:1/v1")))
    code = (
        "import sys; from router.commands import main; code = main(['check']);"
        "print([name for name in ('litellm', 'openai', 'httpx', 'fastapi', 'uvicorn') if name in sys.modules], code)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=workspace.root, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_show_prints_the_targets_of_a_route_and_why_each_is_asked_or_skipped(workspace: Workspace) -> None:
    """`router show` prints a route's tools and, for each target, whether it is asked first or why it is skipped; it prints no API key."""
    targets = HI + "\nb: {model: openai/gpt-4o, api_key: '${SOME_KEY}', optional: true}"
    workspace.write("routes.yaml", routes(targets, "targets: [b, a]\n    tools: [weather]"))
    shown = router("show", "gpt-4", cwd=workspace.root).stdout
    assert "chat-model  (also gpt-4)" in shown
    assert "get_weather; at most 5 model calls" in shown
    assert "1. b: skipped: the environment variable SOME_KEY is not set" in shown
    assert "2. a: asked first\n       script/lines, a script, offline\n" in shown
    keyed = router("show", "gpt-4", cwd=workspace.root, SOME_KEY="sk-canary").stdout
    assert "1. b: asked first\n       openai/gpt-4o, read directly: the OpenAI wire\n" in keyed
    assert "canary" not in keyed
    assert router("show", "no-such", cwd=workspace.root).returncode == 1


def test_chat_prints_the_answer_on_stdout_and_details_on_stderr(workspace: Workspace) -> None:
    """`router chat` prints the answer on stdout and its stop reason on stderr; a failed answer makes the exit code 1."""
    workspace.write("routes.yaml", routes(HI))
    done = router("chat", "chat-model", "Hi", cwd=workspace.root)
    assert (done.returncode, done.stdout.strip()) == (0, "Hello you")
    assert "[stop" in done.stderr
    workspace.write("routes.yaml", routes("a: {script: [{fail: down}]}", "targets: [a]\n    retry: {attempts: 1}"))
    done = router("chat", "chat-model", "Hi", cwd=workspace.root)
    assert done.returncode == 1
    assert "a: status_503" in done.stderr


def test_committed_json_schema_equals_the_output_of_router_schema() -> None:
    """The committed file routes.schema.json is exactly the output of `router schema`."""
    made = router("schema", cwd=ROOT).stdout
    assert (ROOT / "routes.schema.json").read_text(encoding="utf-8") == made
    assert json.loads(made)["$ref"] == "#/$defs/RoutesFile"


def test_unknown_or_missing_command_exits_2(tmp_path: Path) -> None:
    """An unknown command, or no command, makes the exit code 2."""
    assert router("serv", cwd=tmp_path).returncode == 2
    assert router(cwd=tmp_path).returncode == 2


def test_missing_routes_file_is_reported_in_one_sentence_without_a_traceback(tmp_path: Path) -> None:
    """`router check` without a routes.yaml exits with 1; its message names the file and the reason, and suggests `router init`."""
    done = router("check", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "routes.yaml:1:1: the file cannot be read: No such file or directory; `router init DIR` writes" in done.stderr


BROKEN = """targets:
  a: {model: opnai/x, api_key: '${SOME_KEY}'}
  b: {script: demo}
routes:
  m: {pipeline: '${CHAT}', targets: [a, b], max_stps: 3}
server: {admin: {key: '${file:secrets/admin}'}}
"""


def test_check_reports_all_other_mistakes_beside_a_missing_variable(workspace: Workspace) -> None:
    """`router check` reports missing variables and secret files together with all other mistakes, also those of the same target."""
    workspace.write("routes.yaml", BROKEN)
    done = router("check", "--json", cwd=workspace.root)
    assert done.returncode == 1
    assert [f"{one['line']}:{one['column']}: {one['message'].partition(':')[0]}" for one in json.loads(done.stdout)["complaints"]] == [
        "2:14: no provider is named `opnai`; did you mean `openai/x`?",
        "2:32: the environment variable SOME_KEY is not set",
        "5:17: the environment variable CHAT is not set",
        "5:45: unknown key `max_stps` in `m`; did you mean `max_steps`?",
        "6:23: the secret file secrets/admin cannot be read",
    ]


def test_check_without_env_lists_missing_variables_without_failing(workspace: Workspace) -> None:
    """`router check --without-env` lists missing variables and secret files with their places, and fails only for other mistakes."""
    workspace.write("routes.yaml", BROKEN)
    done = router("check", "--without-env", cwd=workspace.root)
    assert (done.returncode, "is not set" in done.stderr) == (1, False)
    assert done.stderr.endswith("2 mistakes in the configuration.\n")
    workspace.write("routes.yaml", BROKEN.replace("opnai", "openai").replace(", max_stps: 3", ""))
    done = router("check", "--without-env", cwd=workspace.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "missing: routes.yaml:2:33: the environment variable SOME_KEY is not set" in done.stdout
    assert "missing: routes.yaml:5:17: the environment variable CHAT is not set" in done.stdout
    assert "missing: routes.yaml:6:23: the secret file secrets/admin cannot be read" in done.stdout
    found = json.loads(router("check", "--without-env", "--json", cwd=workspace.root).stdout)
    assert [(one["line"], one["column"]) for one in found["missing"]] == [(2, 33), (5, 17), (6, 23)]
    set_here = router("check", "--without-env", cwd=workspace.root, SOME_KEY="sk-1", CHAT="nothing")
    assert (set_here.returncode, "there is no pipelines/${CHAT}.yaml" in set_here.stderr) == (1, True)


def test_check_without_env_lists_a_variable_of_an_mcp_server_once(workspace: Workspace) -> None:
    """A missing variable of an MCP server is listed once, although an entry of `tools` is read in several possible forms."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", "targets: [a]\n    tools: [{mcp: [x], env: {A: '${A_KEY}'}}]"))
    found = json.loads(router("check", "--without-env", "--json", cwd=workspace.root).stdout)
    assert [one["message"].partition(":")[0] for one in found["missing"]] == ["the environment variable A_KEY is not set"]


@pytest.mark.parametrize("command", [("check",), ("serve",), ("show",), ("chat", "m", "Hi"), ("drill",)])
def test_commands_suggest_init_where_there_is_no_routes_file(command: tuple[str, ...], tmp_path: Path) -> None:
    """The commands check, serve, show, chat and drill exit with 1 and suggest `router init` in a folder without a routes.yaml."""
    done = router(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "`router init DIR` writes a workspace that answers at once" in done.stderr


def test_router_without_a_command_prints_the_first_commands_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A bare `router` prints the usage and the commands of a first run on stderr, each of which the parser accepts, and exits with 2."""
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: router ")
    shown = [
        shlex.split(line.partition("   ")[0].strip())
        for line in printed.err.replace("  router", "router").splitlines()
        if line.startswith("router ")
    ]
    assert [words[1] for words in shown] == ["init", "check", "serve", "chat"]
    for words in shown:
        parser().parse_args(words[1:])


def test_check_prints_warnings_with_their_place_and_exits_0(workspace: Workspace) -> None:
    """`router check`, also with `--json`, warns of a valid but rarely intended setting (`per: ip`) with its place, and exits with 0."""
    workspace.write("routes.yaml", routes(HI, "targets: [a]\n    limit: {requests: 10/minute, per: ip}"))
    done = router("check", cwd=workspace.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "warning: routes.yaml:8:39: `per: ip` counts by the address that a connection comes from" in done.stdout
    (warning,) = json.loads(router("check", "--json", cwd=workspace.root).stdout)["warnings"]
    assert (warning["file"], warning["line"], warning["column"]) == ("routes.yaml", 8, 39)


PAYING = '''
from router.toolbox import needs_approval

@needs_approval(lambda amount: amount > 100)
async def pay(amount: float) -> str:
    """Pay."""
    return f"{amount}"
'''
ASKING = {
    "a tool set that always asks": ("[weather, {use: orders, approve: always}]", "routes.yaml:8:28"),
    "a server that always asks": ("[{mcp: [a-command], approve: always}]", "routes.yaml:8:20"),
    "a tool that asks": ("[paying]", "routes.yaml:8:13"),
}
REDIS = "server: {redis: redis://127.0.0.1:1}\n"
SIGNED = f"server: {{approval_key: {'k' * 20}, redis: redis://127.0.0.1:1}}\n"


@pytest.mark.parametrize("case", ASKING)
def test_check_warns_of_tool_approvals_without_a_shared_key_for_several_processes(workspace: Workspace, case: str) -> None:
    """`router check` warns of tools that need approval if Redis or two workers are used without `server.approval_key`."""
    tools, place = ASKING[case]
    workspace.write("tools/paying.py", PAYING).write("tools/orders.py", PAYING.replace("pay(", "delete("))

    def warnings(server: str, *options: str) -> list[str]:
        workspace.write("routes.yaml", routes(HI, f"targets: [a]\n    tools: {tools}", server))
        done = router("check", *options, cwd=workspace.root)
        assert (done.returncode, done.stderr) == (0, "")
        return [line for line in done.stdout.splitlines() if line.startswith("warning: ") and "approval_key" in line]

    (line,) = warnings(REDIS)
    assert line.startswith(f"warning: {place}: calls of tools of `chat-model` wait until a user has allowed them, and `redis` is declared")
    assert "declare `server.approval_key`, the same for all" in line
    (line,) = warnings("", "--workers", "2")
    assert "2 workers serve it" in line
    assert warnings("") == warnings(SIGNED) == warnings(SIGNED, "--workers", "2") == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_and_exits_0_on_sigterm_or_ctrl_c(workspace: Workspace, workers: int, number: int) -> None:
    """A server with one or two workers logs its address, answers a question, and exits with 0 after SIGTERM or SIGINT."""
    workspace.write("routes.yaml", routes(HI))
    [port] = free_ports(1)
    command = [sys.executable, "-m", "router", "serve", "--port", str(port), "--workers", str(workers)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=workspace.root, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = _answered(process, port)
            process.send_signal(number)
            _, rest = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 0, said + rest
    assert f"http://127.0.0.1:{port}/  (questions: /api/chat," in said


SPOILT = '''import multiprocessing

if multiprocessing.parent_process() is not None:
    raise RuntimeError


def rain() -> str:
    """Rain."""
    return "no"
'''


@pytest.mark.parametrize(
    ("workers", "why"),
    [(1, "the port"), (2, "the port"), (1, "the configuration"), (2, "the configuration"), (2, "its folder"), (2, "a worker")],
)
def test_serve_that_cannot_start_exits_1(workspace: Workspace, tmp_path: Path, workers: int, why: str) -> None:
    """`router serve` exits with 1 if the port is taken, the configuration is wrong, the socket path is too long, or no worker starts."""
    tools = "targets: [a]\n    tools: [weather]"
    workspace.write("routes.yaml", routes(HI, "targets: [nobody]" if why == "the configuration" else tools))
    if why == "a worker":
        workspace.write("tools/weather.py", SPOILT)
    (folder := tmp_path / ("x" * 100)).mkdir()  # longer than the address of a socket may be
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(folder if why == "its folder" else tmp_path)}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1] if why == "the port" else free_ports(1)[0]
        command = [sys.executable, "-m", "router", "serve", "--port", str(port), "--workers", str(workers)]
        done = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, timeout=240, check=False)
    assert done.returncode == 1, done.stderr.decode()


@pytest.mark.parametrize("wrong", [("--port", "99999"), ("--port", "-1"), ("--workers", "0"), ("--workers", "-2"), ("--workers", "x")])
def test_serve_refuses_a_port_or_worker_count_out_of_range(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """`router serve` exits with 2 if `--port` or `--workers` is out of range or not a number, and prints the range."""
    with pytest.raises(SystemExit) as ended:
        main(["serve", *wrong])
    assert ended.value.code == 2
    assert f"argument {wrong[0]}: must be from" in capsys.readouterr().err


def test_reload_is_logged_without_entries_of_the_file_watcher(workspace: Workspace) -> None:
    """A server logs `reloaded` after an edit of routes.yaml, and nothing from the library watchfiles."""
    workspace.write("routes.yaml", routes(HI))
    [port] = free_ports(1)
    command = [sys.executable, "-m", "router", "serve", "--port", str(port)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=workspace.root, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            _answered(process, port)
            workspace.write("beside.txt", "nothing of ours")
            workspace.write("routes.yaml", routes(HI, "targets: [a]\n    max_steps: 3"))
            assert process.stderr is not None
            seen = ""
            while '"reloaded"' not in seen:
                line = process.stderr.readline()
                assert line, seen
                seen += line
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=240)
        finally:
            process.kill()
    assert "watchfiles" not in seen + rest


def _answered(process: subprocess.Popen[str], port: int) -> str:
    """Wait until the server listens, check that it answers a question, and return what it wrote to stderr while starting."""
    said = ""
    assert process.stderr is not None
    while "Application startup complete" not in said or "Uvicorn running" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    # Workers say that they are complete just before they listen.
    until = time.monotonic() + 240
    while True:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert time.monotonic() < until
    body = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/chat", data=body)
    with urllib.request.urlopen(request, timeout=240) as response:
        assert response.read().endswith(b'"usage":{"promptTokens":1,"completionTokens":2}}\n')
    return said
