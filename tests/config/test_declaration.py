"""What an operator may write, and what it means: values, what routes inherit, what is skipped."""

import contextlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.config import declare, read
from router.config.values import Backoff, ByteSize, Origin, Seconds, Span, WebAddress
from router.errors import Misfit
from router.generation import build
from router.signature import check, shape_of
from tests.config.written import ROUTES, TARGETS, complaints, declared, more, target
from tests.conftest import ROOT, Workspace, routes

READ: list[tuple[Any, str, object]] = [
    (Seconds, "250ms", 0.25),
    (Seconds, "1.5s", 1.5),
    (Seconds, "5m", 300.0),
    (Seconds, "1h", 3600.0),
    (Seconds, "2d", 172_800.0),
    (ByteSize, "512B", 512),
    (ByteSize, "64KiB", 65_536),
    (ByteSize, "1MiB", 1_048_576),
    (ByteSize, "2GiB", 2_147_483_648),
    (Backoff, "0.25s..4s", Span(0.25, 4.0)),
    (Backoff, "0s..0s", Span(0.0, 0.0)),
    (Origin, "HTTP://LocalHost:3000", "http://localhost:3000"),
    (WebAddress, "https://host/v1/", "https://host/v1"),
]


@pytest.mark.parametrize(("kind", "text", "value"), READ)
def test_a_value_with_a_spelling(kind: Any, text: str, value: object) -> None:
    """It is read as what it says."""
    assert check(shape_of(kind), text) == value


@given(st.sampled_from([Seconds, ByteSize, Backoff]), st.text() | st.from_regex(r"\d+(\.\d+)?(ms|s|m|h|d|B|KiB|MiB|\.\.)?"))
@example(Seconds, "9" * 400 + "s")
@example(ByteSize, "9" * 5_000 + "B")
@example(Backoff, "1s.." + "9" * 400 + "s")
def test_any_text_is_a_number_or_a_misfit(kind: Any, text: str) -> None:
    """Nothing else comes of reading it: no other error, nothing infinite."""
    with contextlib.suppress(Misfit):
        value = check(shape_of(kind), text)
        ends = (value.least, value.most) if isinstance(value, Span) else (value,)
        assert all(isinstance(one, int | float) and 0 <= one < 1e25 for one in ends)


def test_a_route_inherits_what_it_does_not_say(workspace: Workspace) -> None:
    """Key by key: the route's own word, else the defaults' own, else the built-in one."""
    written = more("defaults: {timeout: {first_token: 5s, idle: 7s}, retry: {attempts: 4}}").replace(
        "targets: [a]}", "targets: [a], timeout: {first_token: 60s}}"
    )
    one = declared(workspace, written).routes.routes["m"]  # type: ignore[index]  # a Name is a str
    assert (one.timeout.first_token, one.timeout.idle, one.timeout.connect) == (60.0, 7.0, 2.0)
    assert (one.retry.attempts, one.retry.backoff) == (4, Span(0.25, 4.0))


def test_a_plain_route_has_the_defaults(workspace: Workspace) -> None:
    """What is not said is as documented."""
    one = declared(workspace, TARGETS + ROUTES).routes.routes["m"]  # type: ignore[index]  # a Name is a str
    assert (one.max_steps, one.reasoning, one.aliases, one.tools) == (5, "hide", (), ())
    limits = one.timeout
    assert (limits.connect, limits.first_token, limits.idle, limits.tool, limits.total) == (2.0, 10.0, 15.0, 20.0, 300.0)


def test_an_optional_target_is_skipped_while_its_variable_is_not_set(workspace: Workspace) -> None:
    """It is named with the reason; the others of its route answer."""
    written = (
        "targets:\n  a: {model: openai/x, api_key: '${KEY}', optional: true}\n  b: {script: demo}\n"
        "routes:\n  m: {pipeline: chat, targets: [a, b]}\n"
    )
    made = workspace.write("routes.yaml", written).build()
    assert (made.skipped, [one.name for one in made.routes["m"].targets]) == ({"a": "the environment variable KEY is not set"}, ["b"])
    made = workspace.build(KEY="sk-1")
    assert (made.skipped, [one.name for one in made.routes["m"].targets]) == ({}, ["a", "b"])


def test_a_skipped_target_is_checked_all_the_same(workspace: Workspace) -> None:
    """Its other mistakes do not wait for the day its variable is set."""
    workspace.write("routes.yaml", target("{model: openai/x, api_key: '${KEY}', optional: true, context_window: many}"))
    assert complaints(workspace)[0] == "routes.yaml:2:75: `context_window` takes a whole number, not `many`"


def test_a_thousand_routes_load(workspace: Workspace) -> None:
    """Each with its alias."""
    lines = "".join(f"  m{index}: {{pipeline: chat, targets: [a], aliases: [x{index}]}}\n" for index in range(1_000))
    made = workspace.write("routes.yaml", f"{TARGETS}routes:\n{lines}").build()
    assert len(made.routes) == 1_000
    assert made.route("x999") is made.routes["m999"]


def test_the_shipped_configuration_loads_without_a_key() -> None:
    """Everything that needs one is optional."""
    made = build(declare(read(ROOT / "routes.yaml"), {}))
    assert "chat-model" in made.routes
    targets = {name: [one.name for one in compiled.targets] for name, compiled in made.routes.items()}
    assert targets.pop("demo") == ["demo", "understudy"]
    assert all(names == ["demo"] for names in targets.values())


def test_file_is_checked_without_an_environment(workspace: Workspace) -> None:
    """No variable, no secret file is looked at; each reference stands for a value of the right kind, and other mistakes are still found."""
    target = (
        "a: {model: openai/x, api_key: '${A}', api_base: '${B}', context_window: '${C}', params: {temperature: '${D}'}, optional: '${E}'}"
    )
    route = "targets: [a]\n    retry: {attempts: '${F}', backoff: '${G}', budget: '${H}'}\n    tools: ['${I}']"
    jwt = "{issuer: '${L}', audience: '${M}', algorithms: [HS512], secret: '${N}'}"
    auth = f"{{keys: {{one: {{hash: '${{O}}'}}, two: {{hash: '${{P}}', expires: '${{Q}}'}}}}, jwt: {jwt}}}"
    more = f"server: {{admin: {{key: '${{file:/no/such/file}}'}}, otel: {{endpoint: '${{J}}', token: '${{K:-x}}'}}, auth: {auth}}}\n"
    snapshot = read(workspace.write("routes.yaml", routes(target, route, more)).root / "routes.yaml")
    assert declare(snapshot, None).complaints.in_order() == ()
    assert len(declare(snapshot, {}).complaints.in_order()) >= 10
    workspace.write("routes.yaml", routes(target, "targets: [b]", "server: {drain: '${}'}\n"))
    assert [one.message for one in declare(read(workspace.root / "routes.yaml"), None).complaints.in_order()] == [
        "no target is named `b`; there is `a`",
        "write ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:/path}, or $$ for a dollar sign",
    ]
