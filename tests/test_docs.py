"""The README and docs/ agree with the code: examples load, commands and links exist, and every key, error code and metric is listed."""

import json
import logging
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from router import errors
from router.chat import Ask, Message
from router.commands import COMMANDS, main, parser
from router.config.declaration import Cache, Defaults, HedgeConfig, Member, Retry, Route, ScriptLine, TargetConfig, Timeout
from router.config.keys import ApiKey
from router.config.server import Auth, Cors, Jwt, RequestBounds, Resume, Server, Ui
from router.errors import ConfigError, Refused, RouterError, Unanswered
from router.events import Order, Text
from router.journal import log
from router.journal.entry import CUT_SHORT, Entry
from router.signature import OneOf, Plain, Record, Spelled, record_of
from router.steps import STEPS
from router.templates import compile_template
from router.toolbox import load
from tests.conftest import ROOT, Workspace, routes, serving
from tests.support.authority import Authority
from tests.test_shape import FLOORS
from tests.wire.readers import READERS

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(<!-- refused -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WIRE_LINE = re.compile(r"[0-9a-z]:\{|data: \{")
VARIABLES = {
    "OPENAI_API_KEY": "sk-docs",
    "ANTHROPIC_API_KEY": "sk-docs",
    "AZURE_API_KEY": "docs",
    "OPENROUTER_API_KEY": "docs",
    "OLLAMA_URL": "http://127.0.0.1:11434",
    "ROUTER_ADMIN_KEY": "adm-docs-of-the-operators",
    "OTEL_TOKEN": "docs",
    "MCP_TOKEN": "docs",
    "PROXY_USER": "docs",
    "PROXY_PASSWORD": "docs",
    "HTTPS_PROXY": "http://proxy.example.com:3128",
}
SECRETS = {
    "secrets/openai.key": "sk-docs\n",
    "secrets/keys": f"alice sha256:{'0' * 64}\n",
    "corporate-ca.pem": Authority(ROOT).pem,
}
WHOLE = ("targets", "routes", "defaults", "server", "network", "drills")
"""First keys of a yaml block that is a routes.yaml, or part of one."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `refused`: true if the page shows it as an example of mistakes."""

    page: str
    line: int
    language: str
    text: str
    refused: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _blocks() -> Iterator[Block]:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for hit in FENCE.finditer(text):
            yield Block(path.relative_to(ROOT).as_posix(), text[: hit.start(2)].count("\n") + 1, hit[2], hit[3], bool(hit[1]))


BLOCKS = tuple(_blocks())


def page(name: str) -> str:
    """Return the text of a page."""
    return (ROOT / name).read_text(encoding="utf-8")


def shown(language: str, *, refused: bool = False) -> list[Block]:
    """Return the blocks in a language, refused or not, without those of CONTRIBUTING.md, which tests/handbook/test_contributing.py runs."""
    return [one for one in BLOCKS if one.language == language and one.refused == refused and one.page != "CONTRIBUTING.md"]


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row of a page."""
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line.startswith("|")]


def _names(targets: list[Any]) -> list[str]:
    """Return the names of a route's targets, those inside of its pools included."""
    flat: list[Any] = []
    for entry in targets:
        flat += entry if isinstance(entry, list) else [entry]
    return [one["use"] if isinstance(one, dict) else one for one in flat]


def composed(text: str) -> str:
    """Return a fragment of a routes.yaml, completed with the targets and the route that it needs to be valid."""
    said = cast("dict[str, Any]", yaml.safe_load(text))
    routes = cast("dict[str, dict[str, Any]]", said.get("routes", {}))
    if "targets" not in said:
        drilled = {name: None for drill in said.get("drills", ()) for name in drill["given"]}
        named = {"demo": None} | drilled | {name: None for route in routes.values() for name in _names(route["targets"])}
        text += "targets:\n" + "".join(f"  {name}: {{script: demo}}\n" for name in named)
    if "routes" not in said:
        first = next(iter(said.get("targets", {"demo": None})))
        text += f"routes: {{chat-model: {{pipeline: chat, targets: [{first}]}}}}\n"
    return text


@pytest.fixture
def shipped(tmp_path: Path) -> Workspace:
    """Return a workspace with the shipped pipelines and tools, and the secret files that the pages name."""
    for folder in ("pipelines", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    workspace = Workspace(tmp_path)
    for name, content in SECRETS.items():
        workspace.write(name, content)
    schema = re.search(r"^## output\n.*?```json\n(.*?)```", page("docs/pipelines.md"), re.DOTALL | re.MULTILINE)
    assert schema
    return workspace.write("pipelines/person.json", schema[1])


@pytest.mark.parametrize("block", shown("yaml"), ids=str)
async def test_yaml_block_of_the_docs_loads(block: Block, shipped: Workspace) -> None:
    """Every yaml block of the docs is a valid routes.yaml, part of one, or pipeline, together with the shipped pipelines and tools."""
    first = next(iter(yaml.safe_load(block.text)))
    assert first in {*WHOLE, "steps"}
    if first == "steps":
        shipped.write("pipelines/shown.yaml", block.text)
        text = "targets: {demo: {script: demo}}\nroutes: {chat-model: {pipeline: shown, targets: [demo]}}\n"
    else:
        text = composed(block.text)
    await shipped.write("routes.yaml", text).build(**VARIABLES).close()


@pytest.mark.parametrize("block", shown("yaml", refused=True), ids=str)
def test_refused_yaml_block_is_followed_by_the_messages_of_router_check(
    block: Block, shipped: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block shown for its mistakes is followed by exactly the messages that `router check` prints for it."""
    following = BLOCKS[BLOCKS.index(block) + 1]
    shipped.write("routes.yaml", block.text)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert main(["check", "--routes", str(shipped.root / "routes.yaml")]) == 1
    assert capsys.readouterr().err == following.text


def test_readme_mistake_is_reported_in_the_shipped_routes_file(shipped: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The misspelt line that the README shows, put into the shipped routes.yaml, makes `router check` print the message shown."""
    block = next(block for block in shown("text") if "cluade" in block.text)
    place, written = block.text.splitlines()[:2]
    lines = page("routes.yaml").splitlines()
    lines[int(place.split(":")[1]) - 1] = written.removeprefix("    ")
    shipped.write("routes.yaml", "\n".join(lines) + "\n")
    assert main(["check", "--routes", str(shipped.root / "routes.yaml")]) == 1
    assert capsys.readouterr().err == block.text + "\n1 mistake in the configuration.\n"


@pytest.mark.parametrize("block", [block for block in shown("python") if not re.search("-> Step|create_app", block.text)], ids=str)
def test_python_block_of_the_docs_loads_as_a_tool_file(block: Block) -> None:
    """Every python block that is neither a step nor an application loads as a tool file and defines a tool."""
    made = load("shown", block.text, ROOT / "tools/shown.py", "docs")
    made.close()
    assert made.tools


@pytest.mark.parametrize("block", [block for block in shown("python") if "-> Step" in block.text], ids=str)
async def test_step_shown_in_the_docs_answers_a_chat(block: Block, shipped: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step shown in the docs, registered and written in YAML as its docstring shows, answers with text in a valid event order."""
    module = ModuleType("shown")
    exec(compile(block.text, str(block), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - our own documentation
    lines = [line.strip() for line in (module.__doc__ or "").splitlines() if line.strip().startswith("- ")]
    for line in lines:
        word = line.removeprefix("- ").partition(":")[0]
        monkeypatch.setitem(STEPS, word, getattr(module, word))
    shipped.write("pipelines/shown.yaml", "steps:\n" + "".join(f"  {line}\n" for line in lines))
    shipped.write("routes.yaml", "targets: {a: {script: [{text: hi}]}}\nroutes: {chat-model: {pipeline: shown, targets: [a]}}\n")
    generation = shipped.build()
    order = Order()
    ask = Ask(model="chat-model", messages=(Message("user", ("Hello",)),))
    events = [order.see(event) async for event in generation.route("chat-model").answer(ask)]
    order.end()
    await generation.close()
    assert lines
    assert any(isinstance(event, Text) for event in events)


@pytest.mark.parametrize("block", shown("jinja"), ids=str)
def test_jinja_block_of_the_docs_compiles(block: Block) -> None:
    """Every jinja block compiles as a prompt template and uses only the names that a template has."""
    compile_template("shown.j2", {"shown.j2": block.text})


@pytest.mark.parametrize("block", shown("json"), ids=str)
def test_json_block_of_the_docs_is_valid_json(block: Block) -> None:
    """Every json block of the docs is one JSON value."""
    json.loads(block.text)


STREAMS = {
    "f:{": "data-stream",
    'data: {"type":"RUN_STARTED"': "ag-ui",
    'data: {"type":"stream-start"': "ai-gateway",
    'data: {"type"': "ui-message-stream",
    'data: {"id":"cmpl-': "text-completion",
    'data: {"id"': "openai",
    "": "line",
}
"""Beginning of a stream → its dialect."""


@pytest.mark.parametrize("block", [block for block in shown("text") if WIRE_LINE.match(block.text)], ids=str)
def test_stream_shown_in_the_docs_is_valid_in_its_dialect(block: Block) -> None:
    """Every stream shown in the docs is accepted, to its finish, by the strict reader of its dialect."""
    wire = next(wire for first, wire in STREAMS.items() if block.text.startswith(first))
    assert READERS[wire](block.text.encode()).finish


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
async def test_curl_bodies_of_the_readme_are_answered(name: str) -> None:
    """Each curl body of the README gets a 200 with text from the shipped configuration, without any API key."""
    bodies = re.findall(r"-d '(.*?)'", page(name), re.DOTALL)
    assert bodies
    async with serving(Workspace(ROOT).build()) as client:
        for body in bodies:
            said = await client.post(**json.loads(body))
            assert said.status == 200, said.body
            assert said.json["content"] if "json" in said.headers["content-type"] else said.text


async def test_answer_shown_in_the_readme_is_the_one_of_the_demo() -> None:
    """The answer shown in the README is what the shipped configuration returns to the first curl without any API key, apart from its id."""
    asked = json.loads(re.findall(r"-d '(.*?)'", page("README.md"), re.DOTALL)[0])
    answer = next(json.loads(block.text) for block in shown("json") if block.page == "README.md" and "offline demo" in block.text)
    async with serving(Workspace(ROOT).build()) as client:
        assert (await client.post(**asked)).json | {"id": ""} == answer | {"id": ""}


def _commands() -> Iterator[str]:
    for block in shown("sh"):
        yield from (line for line in block.text.splitlines() if line.startswith("router "))
    for path in PAGES:
        yield from re.findall(r"`(router [^`]+)`", FENCE.sub("", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("line", sorted(set(_commands())))
def test_router_command_line_in_the_docs_is_valid(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The argument parser accepts every `router …` line in the docs; a line with a command alone names an existing command."""
    words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    if len(words) > 1:
        parser().parse_args(words)
        return
    with pytest.raises(SystemExit) as left:
        parser().parse_args([*words, "--help"])
    assert left.value.code == 0, capsys.readouterr().err


def _targets() -> Iterator[str]:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        shell = "".join(block[2] for block in re.findall(r"()^```(sh)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
        for words in re.findall(r"^make ([^#\n]+)", shell, re.MULTILINE) + re.findall(r"`make ([^`]+)`", text):
            yield from (word for word in shlex.split(words) if not re.match(r"-|\w+=|pointsman$", word))


@pytest.mark.parametrize("name", sorted(set(_targets())))
def test_make_target_in_the_docs_exists(name: str) -> None:
    """Every `make …` in the docs names a target of the Makefile."""
    assert re.search(rf"^[^\t\n:]*(?<![\w.-]){re.escape(name)}(?![\w.-])[^\n:]*:", page("Makefile"), re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as links write them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_link_in_the_docs_resolves(path: Path) -> None:
    """Every relative link names an existing file and, if it has an anchor, an existing heading in that file."""
    text = path.read_text(encoding="utf-8")
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text))):
        if not re.match(r"\w+://", target):
            file = (path.parent / target) if target else path
            assert file.exists(), target
            assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), f"{target}#{anchor}"


DECLARED = [
    record_of(kind)
    for kind in (
        TargetConfig,
        ScriptLine,
        Timeout,
        Retry,
        HedgeConfig,
        Cache,
        Member,
        Defaults,
        Route,
        Cors,
        RequestBounds,
        Ui,
        Resume,
        Auth,
        ApiKey,
        Jwt,
        Server,
    )
]


@pytest.mark.parametrize("record", DECLARED, ids=lambda record: record.name)
def test_configuration_key_is_in_the_reference(record: Record) -> None:
    """Every field of each declaration is named in docs/routes.md."""
    text = page("docs/routes.md")
    assert not [item.name for item in record.fields if not re.search(rf"`(\w+\.)?{item.name}[`.]", text)]


@pytest.mark.parametrize(
    "record", [record_of(kind) for kind in (Timeout, Retry, Route, RequestBounds, Ui, Resume, Server)], ids=lambda record: record.name
)
def test_default_in_the_reference_is_the_one_in_the_code(record: Record) -> None:
    """Every default that docs/routes.md gives for a time, a number or a choice is the default in the code."""
    told = {row[0].strip("`").rpartition(".")[2]: row[2].strip("`") for row in rows(page("docs/routes.md")) if len(row) == 4}
    for item in record.fields:
        match item.shape:
            case Spelled(_, read, _, _) if not item.required:
                assert read(told[item.name]) == item.default, item.name
            case Plain("integer") if not item.required:
                assert int(told[item.name]) == item.default, item.name
            case OneOf():
                assert told[item.name] == item.default, item.name
            case _:
                pass


def every(kind: type[RouterError]) -> Iterator[type[RouterError]]:
    """Yield an error class and all its subclasses."""
    yield kind
    for below in kind.__subclasses__():
        yield from every(below)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_reference(name: str) -> None:
    """Every command has a section in docs/commands.md with an example, its exit codes and each of its options."""
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", page("docs/commands.md"), re.DOTALL | re.MULTILINE)
    assert section, f"docs/commands.md has no heading for `{name}`"
    assert re.search(rf"^(.*\| )?router {name}\b", section[1], re.MULTILINE)
    assert "Exit codes: 0 " in section[1]
    options = [word for word in _options(name) if word not in ("--help", "--routes")]
    assert not [word for word in options if f"`{word}" not in section[1]]


def _options(command: str) -> list[str]:
    """Return the long options of a command."""
    root: Any = parser()
    made = next(action for action in root._actions if action.dest == "command").choices[command]
    return [word for action in made._actions for word in action.option_strings if word.startswith("--")]


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_has_valid_examples_and_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of every command has examples that the parser accepts, its exit codes, and no line longer than 140 characters."""
    with pytest.raises(SystemExit):
        main([name, "--help"])
    told = capsys.readouterr().out
    assert "\nexamples:\n" in told
    assert "\nexit codes:\n  0 " in told
    assert max(len(line) for line in told.splitlines()) <= 140
    examples = told.partition("\nexamples:\n")[2].partition("\nexit codes:\n")[0]
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines
    for line in lines:
        words = shlex.split(re.split(r"\s{2,}|\s(?:\||&&|\d?>)", re.sub(r"^git .* \| ", "", line))[0])
        assert words[:2] == ["router", name], line
        parser().parse_args(words[1:])


def test_every_error_code_is_documented() -> None:
    """Every error code is named in docs/wire.md, and the status that its tables give for a code is the one in the code."""
    text = page("docs/wire.md")
    kinds = [kind for kind in every(RouterError) if kind.__module__ == errors.__name__]
    assert not [kind.code for kind in kinds if f"`{kind.code}`" not in text]
    table = {row[0].strip("`"): row[1] for row in rows(text) if len(row) == 3}
    for kind in kinds:
        if issubclass(kind, Refused | Unanswered) and "code" in vars(kind) and kind.code in table:
            assert table[kind.code] == str(kind.status), kind.code


def test_every_field_of_the_access_log_is_documented(caplog: pytest.LogCaptureFixture) -> None:
    """Every field of an access log line is named in docs/operations.md, and the example there has exactly these fields."""
    with caplog.at_level(logging.INFO, "router.access"):
        Entry("req_1", "0", observers=(log.line,)).close()
    fields = cast("dict[str, object]", caplog.records[-1].__dict__["fields"])
    assert not [name for name in fields if f"`{name}`" not in page("docs/operations.md")]
    example = next(block for block in shown("json") if block.page == "docs/operations.md")
    assert set(json.loads(example.text)) == {"time", "level", "logger", "event", *fields}


async def test_documented_metrics_are_exactly_the_published_ones(workspace: Workspace) -> None:
    """The metrics in docs/observability.md, with their labels, are exactly those that a router publishes.
    Its Redis and its tool server are declared, but not reachable.
    """
    told = {name: row[1] for row in rows(page("docs/observability.md")) for name in re.findall("`(router_[a-z_]+)`", row[0])}
    documented = {name.removesuffix("_total"): set(re.findall("`([a-z]+)`", labels)) for name, labels in told.items()}
    route, away = "targets: [a]\n    tools: [{mcp: 'http://127.0.0.1:9/mcp'}]", "server: {redis: 'redis://127.0.0.1:9/0'}\n"
    workspace.write("routes.yaml", routes("a: {script: [{text: Hi}, {text: there}]}", route, away))
    async with serving(workspace.build()) as client:
        assert (await client.ask()).status == 200
        families = list(text_string_to_metric_families((await client.get("/metrics")).body.decode()))
    assert set(documented) == {family.name for family in families}
    for family in families:
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == documented[family.name], sample.name


def test_every_logger_is_documented() -> None:
    """The loggers named in docs/operations.md are exactly those that the code creates."""
    sources = "".join(path.read_text() for path in (ROOT / "router").rglob("*.py"))
    ours = set(re.findall(r'getLogger\("(router[a-z.]*)"\)', sources))
    assert ours
    assert set(re.findall(r"[`\"](router\.[a-z]+)[`\"]", page("docs/operations.md"))) == ours


def test_every_outcome_of_an_abandoned_attempt_is_documented() -> None:
    """Every outcome that an attempt gets when it is cut short or abandoned is named in docs/operations.md."""
    assert not [outcome for outcome in ("abandoned", *CUT_SHORT.values()) if f"`{outcome}`" not in page("docs/operations.md")]


def test_documented_floors_are_those_of_the_shape_test() -> None:
    """The floors in docs/decisions/0001-floors.md are the FLOORS of tests/test_shape.py."""
    told = {row[0].strip("`"): row[1] for row in rows(page("docs/decisions/0001-floors.md")) if row[1].lstrip("-").isdigit()}
    assert {room: int(told[one]) for one in told for room in re.split("`, `", one)} == FLOORS


def test_shipped_pipelines_and_tools_are_in_the_docs() -> None:
    """Every shipped pipeline and tool file has a table row in docs/pipelines.md or docs/tools.md."""
    tables = {row[0].strip("`") for name in ("docs/pipelines.md", "docs/tools.md") for row in rows(page(name))}
    names = {path.stem for path in [*(ROOT / "pipelines").glob("*.yaml"), *(ROOT / "tools").glob("*.py")]}
    assert names <= tables


def test_every_step_and_its_options_are_documented() -> None:
    """Every step has a section in docs/pipelines.md, which has a table row for each of its options.
    The sections of the steps `prompt`, `params` and `output` need no such rows.
    """
    text = page("docs/pipelines.md")
    for word, function in STEPS.items():
        section = re.search(rf"^## {word}\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
        assert section, word
        if word not in ("prompt", "params", "output"):
            assert not [item.name for item in record_of(function).fields if f"| `{item.name}` |" not in section[1]]


def test_mistake_in_a_yaml_fragment_is_found(shipped: Workspace) -> None:
    """A misspelt key in a fragment that was completed by `composed` raises ConfigError, so that the test of yaml blocks can fail."""
    with pytest.raises(ConfigError):
        shipped.write("routes.yaml", composed("defaults: {timeout: {totl: 5m}}\n")).build()
