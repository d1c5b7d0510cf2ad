"""The meaning of a valid routes.yaml: spelled values, defaults that routes inherit, and optional targets that are skipped."""

import contextlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.config import declare, read
from router.config.values import Backoff, ByteSize, Name, Origin, Seconds, Span, WebAddress
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
def test_duration_size_span_origin_and_address_are_parsed(kind: Any, text: str, value: object) -> None:
    """A duration becomes seconds, a size bytes, a span its two ends; an origin is in lower case, an address has no trailing slash."""
    assert check(shape_of(kind), text) == value


@given(st.sampled_from([Seconds, ByteSize, Backoff]), st.text() | st.from_regex(r"\d+(\.\d+)?(ms|s|m|h|d|B|KiB|MiB|\.\.)?"))
@example(Seconds, "9" * 400 + "s")
@example(ByteSize, "9" * 5_000 + "B")
@example(Backoff, "1s.." + "9" * 400 + "s")
def test_arbitrary_duration_size_or_span_is_a_finite_number_or_a_misfit(kind: Any, text: str) -> None:
    """Arbitrary text parsed as duration, size or span gives numbers from 0 to below 1e25, or raises `Misfit` and no other error."""
    with contextlib.suppress(Misfit):
        value = check(shape_of(kind), text)
        ends = (value.least, value.most) if isinstance(value, Span) else (value,)
        assert all(isinstance(one, int | float) and 0 <= one < 1e25 for one in ends)


def test_route_inherits_each_key_that_it_does_not_set_from_defaults(workspace: Workspace) -> None:
    """Each key of a route's settings is the route's own, else that of `defaults`, else the built-in default."""
    written = more("defaults: {timeout: {first_token: 5s, idle: 7s}, retry: {attempts: 4}}").replace(
        "targets: [a]}", "targets: [a], timeout: {first_token: 60s}}"
    )
    one = declared(workspace, written).routes.routes["m"]  # type: ignore[index]  # a Name is a str
    assert (one.timeout.first_token, one.timeout.idle, one.timeout.connect) == (60.0, 7.0, 2.0)
    assert (one.retry.attempts, one.retry.backoff) == (4, Span(0.25, 4.0))


def test_route_without_settings_has_the_built_in_defaults(workspace: Workspace) -> None:
    """A route of `pipeline` and `targets` alone has the built-in `max_steps`, `reasoning` and timeouts, no aliases and no tools."""
    one = declared(workspace, TARGETS + ROUTES).routes.routes["m"]  # type: ignore[index]  # a Name is a str
    assert (one.max_steps, one.reasoning, one.aliases, one.tools) == (5, "hide", (), ())
    limits = one.timeout
    assert (limits.connect, limits.first_token, limits.idle, limits.tool, limits.total) == (2.0, 10.0, 15.0, 20.0, 300.0)


def test_optional_target_is_skipped_while_its_variable_is_not_set(workspace: Workspace) -> None:
    """An optional target whose variable is not set is listed as skipped, with the reason, and its route has only the other targets."""
    written = (
        "targets:\n  a: {model: openai/x, api_key: '${KEY}', optional: true}\n  b: {script: demo}\n"
        "routes:\n  m: {pipeline: chat, targets: [a, b]}\n"
    )
    made = workspace.write("routes.yaml", written).build()
    assert (made.skipped, [one.name for one in made.routes["m"].targets]) == ({"a": "the environment variable KEY is not set"}, ["b"])
    made = workspace.build(KEY="sk-1")
    assert (made.skipped, [one.name for one in made.routes["m"].targets]) == ({}, ["a", "b"])


def test_other_mistakes_of_a_skipped_target_are_reported(workspace: Workspace) -> None:
    """An optional target whose variable is not set is still checked: a wrong `context_window` is a complaint."""
    workspace.write("routes.yaml", target("{model: openai/x, api_key: '${KEY}', optional: true, context_window: many}"))
    assert complaints(workspace)[0] == "routes.yaml:2:75: `context_window` takes a whole number, not `many`"


def test_configuration_of_a_thousand_routes_loads(workspace: Workspace) -> None:
    """A routes.yaml of 1,000 routes loads, and an alias finds its route."""
    lines = "".join(f"  m{index}: {{pipeline: chat, targets: [a], aliases: [x{index}]}}\n" for index in range(1_000))
    made = workspace.write("routes.yaml", f"{TARGETS}routes:\n{lines}").build()
    assert len(made.routes) == 1_000
    assert made.route("x999") is made.routes["m999"]


def test_shipped_configuration_loads_without_any_api_key() -> None:
    """The shipped routes.yaml loads without any variable: each route then has only the target `demo`, and route `demo` its two scripts."""
    made = build(declare(read(ROOT / "routes.yaml"), {}))
    assert "chat-model" in made.routes
    targets = {name: [one.name for one in compiled.targets] for name, compiled in made.routes.items()}
    assert targets.pop("demo") == ["demo", "understudy"]
    assert all(names == ["demo"] for names in targets.values())


def test_configuration_is_checked_without_the_environment(workspace: Workspace) -> None:
    """A check without an environment accepts every reference to a variable or secret file, and still reports other mistakes."""
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


def test_name_made_in_python_has_no_place_and_no_source() -> None:
    """A name that no file holds has no place and an empty source, and no other attributes."""
    name = Name("chat")
    assert (name, name.place, name.source) == ("chat", None, "")
    assert not hasattr(name, "line")
