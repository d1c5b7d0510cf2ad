"""Targets that refuse every question: how the state begins and ends, and how log, admin page, metrics and alerts show it."""

import asyncio
import logging
import random
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from router.chat import Ask
from router.commands import main
from router.config import load
from router.config.declaration import Retry, Timeout
from router.drill import drilled
from router.embed import Embed, EmbedCall, Vector
from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetRefused, Unanswered
from router.events import Events
from router.failover import Candidate, FailureRules, Pool, Reason, RefusalChange, TargetHealth, TargetRefusals, embedding
from router.failover.refusals import LASTING, REASONS, RUN
from router.generation import Ground, build
from router.journal.log import JsonLines
from router.journal.metrics import Metrics
from router.journal.report import RefusalReport, Report, TargetReport, merged
from tests.conftest import AS_OPERATOR, LANES, OPERATOR, Client, Workspace, direct_target, routes, serving
from tests.deploy.linters import DEPLOY, output_of
from tests.support.process import process
from tests.support.provider import Reply, error, provider, text
from tests.support.services import program

KEY = "sk-canary-4711"
WORDS = "provider-words-canary"
Sample = tuple[str, tuple[tuple[str, str], ...]]


class Watched:
    """The refusals of one target and the changes reported of them, by a clock that only the test moves."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.turns: list[RefusalChange] = []
        self.refusals = TargetRefusals("a", lambda: self.time, [self.turns.append])

    def denied(self, asked: float | None = None, outcome: str = "status_401") -> None:
        """Record a denial that holds for every question, of a question asked at this time, by default now."""
        self.refusals.refused(self.time if asked is None else asked, TargetDenied("a", outcome))

    def bad(self, outcome: str = "status_400") -> None:
        """Record that a question asked now was refused, which may concern that question alone."""
        self.refusals.refused(self.time, TargetRefused("a", outcome))

    def all_bad(self, count: int = RUN, each: float = LASTING) -> None:
        """Record `count` refused questions, `each` seconds apart."""
        for _ in range(count):
            self.bad()
            self.time += each

    @property
    def said(self) -> list[tuple[bool, str]]:
        """The changes that were reported: whether the target refuses, and the reason."""
        return [(turn.refuses, turn.refusal.reason) for turn in self.turns]


def test_denial_is_reported_once_and_ended_by_the_next_answer() -> None:
    """Two denials 30 s apart report one change; the next answer ends the state and reports a second change, which has lasted 30 s."""
    watched = Watched()
    watched.denied()
    watched.time += 30
    watched.denied()
    assert watched.refusals.now is not None
    assert (watched.refusals.now.since, watched.refusals.now.as_of) == (1_000, 1_030)
    watched.refusals.answers(1_030)
    assert watched.refusals.now is None
    assert watched.said == [(True, "unauthorized"), (False, "unauthorized")]
    assert [turn.lasted for turn in watched.turns] == [0, 30]


def test_result_of_an_earlier_question_does_not_change_the_refusal_state() -> None:
    """An answer to a question older than the denial ends no refusal state; a denial of one older than the answer begins none."""
    watched = Watched()
    watched.denied()
    watched.refusals.answers(999)
    assert watched.refusals.now is not None
    watched.refusals.answers(1_010)
    watched.denied(asked=1_005)
    assert watched.refusals.now is None
    assert len(watched.turns) == 2


def test_health_notes_the_newest_question_that_was_answered() -> None:
    """The first word of an answer ends a refusal, or sets the time of the newest answered question; that of an older question does not."""
    watched = Watched()
    health = TargetHealth(clock=lambda: watched.time, refusals=watched.refusals)
    permit = health.breaker.admit()
    assert permit is not None
    health.started(permit, 1_000)
    health.started(permit, 990)
    assert watched.refusals.answered == 1_000
    watched.denied(asked=1_010)
    health.started(permit, 1_005)
    assert watched.refusals.now is not None
    health.started(permit, 1_010)
    assert watched.refusals.now is None
    health.started(permit, 1_020)
    assert watched.refusals.answered == 1_020


@pytest.mark.parametrize(("outcome", "reason"), [*REASONS.items(), ("status_400", "unauthorized")])
def test_denial_has_the_reason_of_its_outcome(outcome: str, reason: str) -> None:
    """Each outcome of a denial gives the reason in the table; any other outcome gives `unauthorized`."""
    watched = Watched()
    watched.denied(outcome=outcome)
    assert watched.said == [(True, reason)]


def test_every_refusal_reason_follows_from_some_outcome() -> None:
    """The reasons that outcomes give, and `bad_request`, are all the reasons that there are."""
    assert {*REASONS.values(), "bad_request"} == set(get_args(Reason))


def test_another_refusal_reason_is_reported_and_keeps_the_start_time() -> None:
    """A denial for another reason, and then ten status 400 in a row, are each reported as a change; `since` stays that of the first one."""
    watched = Watched()
    watched.denied()
    watched.time += 5
    watched.denied(outcome="status_404")
    assert watched.said == [(True, "unauthorized"), (True, "not_found")]
    assert watched.turns[1].refusal.since == 1_000
    watched.all_bad(RUN - 1)
    assert len(watched.turns) == 2
    watched.bad()
    assert watched.said[2:] == [(True, "bad_request")]


def test_run_of_refused_questions_makes_a_target_a_refusing_one() -> None:
    """Ten refused questions in a row over at least 60 s are reported as `bad_request`; nine are not, nor are thirty within less time."""
    watched = Watched()
    watched.all_bad(RUN - 1)
    assert watched.refusals.now is None
    watched.bad()
    assert watched.said == [(True, "bad_request")]
    watched.refusals.answers(watched.time)
    assert watched.refusals.now is None
    quick = Watched()
    quick.all_bad(3 * RUN, LASTING / (4 * RUN))
    assert quick.refusals.now is None


def test_answer_resets_the_run_of_refused_questions() -> None:
    """An answer between refused questions resets their count, even if its question was asked before the last of them."""
    watched = Watched()
    watched.all_bad(RUN - 1)
    watched.refusals.answers(watched.time - 2 * LASTING)
    watched.all_bad(RUN - 1)
    assert not watched.turns


@pytest.mark.parametrize("refusal", [ContextTooLong("a", "context_too_long"), ContentFiltered("a", "content_filter")])
def test_refusal_of_one_question_leaves_the_targets_state_unchanged(refusal: TargetRefused) -> None:
    """Content filters, conversations that are too long and the router's own refusals neither begin nor end the state, however many come."""
    watched = Watched()
    for _ in range(2 * RUN):
        watched.refusals.refused(watched.time, refusal)
        watched.bad("file_address")
        watched.bad("no_tools")
        watched.time += LASTING
    assert not watched.turns
    watched.denied()
    watched.refusals.refused(watched.time + 1, refusal)
    assert watched.refusals.now is not None


async def test_embeddings_end_the_refusal_of_their_target() -> None:
    """A target that refused a question for embeddings ceases to count as refusing with its next embeddings, without an answer to a chat."""
    candidate = Candidate("a", _no_chat)
    replies: list[TargetDenied | None] = [TargetDenied("a", "status_404"), None]

    async def call() -> tuple[Sequence[Vector], None]:
        if (error := replies.pop(0)) is not None:
            raise error
        return [array("d", [1.0])], None

    rules = FailureRules(Timeout(), Retry())
    ask = embedding([Pool((candidate,))], {"a": lambda _: [EmbedCall(call, lambda: 1)]}, rules, random.Random(1))
    question = Embed(model="embed", inputs=("abc",))
    with pytest.raises(Unanswered):
        await ask(question)
    assert candidate.health.refusals.now is not None
    candidate.health.breaker.half_open()
    assert (await ask(question)).target == "a"
    assert candidate.health.refusals.now is None


def _no_chat(_: Ask) -> Events:
    raise AssertionError("a target of embeddings is asked for no chat")


def test_uncertain_denial_is_reported_only_as_the_tenth_in_a_row() -> None:
    """A status 403 that may concern one question alone is reported as `forbidden` only at the tenth in a row, a minute apart."""
    watched = Watched()
    for _ in range(RUN - 1):
        watched.refusals.refused(watched.time, TargetDenied("a", "status_403", certain=False))
        assert not watched.turns
        watched.time += LASTING
    watched.refusals.refused(watched.time, TargetDenied("a", "status_403", certain=False))
    assert watched.said == [(True, "forbidden")]


def row(refusing: RefusalReport | None = None, answered: float | None = None) -> Report:
    """Return a worker's report with one target, `a`: its refusal, and the time at which its last answered question was asked."""
    target: TargetReport = {
        "name": "a",
        "state": "auto",
        "breaker": "closed",
        "retry_in": None,
        "refusing": refusing,
        "learned": [],
        "answered": answered,
        "busy": 0,
        "first_token_p50": None,
        "routes": ["chat-model"],
    }
    return {
        "pid": 1,
        "generation": "0",
        "generations": 1,
        "open": 0,
        "stopping": False,
        "stalls": 0,
        "swaps": 0,
        "failures": 0,
        "failed": False,
        "redis": None,
        "tool_servers": {},
        "targets": [target],
    }


REVOKED: RefusalReport = {"reason": "unauthorized", "since": 100, "as_of": 120}
GONE: RefusalReport = {"reason": "not_found", "since": 110, "as_of": 130}


@pytest.mark.parametrize(
    ("workers", "reason", "since"),
    [
        ([row(), row(REVOKED)], "unauthorized", 100),
        ([row(answered=119), row(REVOKED), row()], "unauthorized", 100),
        ([row(REVOKED), row(GONE)], "not_found", 100),
        ([row(REVOKED), row(answered=121), row(GONE)], "not_found", 110),
        ([row(REVOKED), row(answered=121)], None, None),
        ([row(answered=131), row(GONE), row(REVOKED)], None, None),
        ([row(), row()], None, None),
    ],
)
def test_refusal_state_merges_to_the_newest_result_of_any_worker(workers: list[Report], reason: str | None, since: float | None) -> None:
    """In any order of the workers, page and metric show the newest refusal, or none if a later question was answered in any worker."""
    for order in (workers, workers[::-1]):
        [one] = merged(order)
        assert (one["refusing"] and one["refusing"]["reason"]) == reason
        if reason is not None and len(order) < 3:
            assert one["refusing"] is not None
            assert one["refusing"]["since"] == since
        shown = samples(Metrics().text(order).decode(), "router_target_refusing")
        assert shown == {("router_target_refusing", (("reason", reason or "none"), ("target", "a"))): float(reason is not None)}


def test_refusal_state_survives_an_unrelated_edit_and_ends_with_another_key(workspace: Workspace) -> None:
    """The refusals of a target are one for all routes and stay over an edit elsewhere; another API key of the target begins new ones."""
    other = "  other: {pipeline: chat, targets: [a], breaker: {failures: 9}}\n"

    def made(key: str, more: str = "", before: Any = None) -> Any:
        target = f"a: {{model: openai/fake, api_base: 'http://127.0.0.1:9/v1', api_key: {key}}}"
        workspace.write("routes.yaml", routes(target, more=more))
        return build(load(workspace.root / "routes.yaml"), before)

    first = made("sk-1")
    refusals = first.kept.refusals["a"][1]
    refusals.refused(refusals.clock(), TargetDenied("a", "status_401"))
    second = made("sk-1", other, first.kept)
    assert second.kept.refusals["a"][1] is refusals
    assert {health.refusals for _, health in second.kept.health.values()} == {refusals}
    third = made("sk-2", other, second.kept)
    assert third.kept.refusals["a"][1].now is None
    for one in (first, second, third):
        one.discard()


def test_drill_of_a_revoked_key_logs_no_warning(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """A drill in which a target answers 401 passes, and writes no log line."""
    drill = "drills:\n  - {name: it, given: {a: 401}, ask: {model: gpt-4}, expect: {tried: [a status_401, b ok]}}\n"
    workspace.write("routes.yaml", routes("a: {model: openai/gpt-4o, api_key: x}\nb: {script: demo}", "targets: [a, b]", drill))
    assert not drilled(load(workspace.root / "routes.yaml"))[0].faults
    assert not caplog.records


def samples(page: str, *names: str) -> dict[Sample, float]:
    """Return the samples of these names on a page of metrics: name and labels → value."""
    found = (sample for family in text_string_to_metric_families(page) for sample in family.samples)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for one in found if one.name in names}


def series(pages: Sequence[Mapping[Sample, float]], minutes: int) -> Iterator[dict[str, str]]:
    """Yield the input series for `promtool test rules`: each page of samples, scraped every minute for so many minutes."""
    for name, labels in sorted({key for page in pages for key in page}):
        values: list[str] = []
        for page in pages:
            there = page.get((name, labels))
            gone = "stale" if values and values[-1] not in ("_", "stale") else "_"
            values += [gone, *["_"] * (minutes - 1)] if there is None else [f"{there:g}"] * minutes
        pairs = ",".join(f'{label}="{value}"' for label, value in labels)
        yield {"series": f"{name}{{{pairs}}}", "values": " ".join(values)}


def firing(pages: Sequence[Mapping[Sample, float]], tmp_path: Path, alerts: Mapping[str, Sequence[bool]], minutes: int = 20) -> None:
    """Assert with promtool which shipped alerts fire. `alerts`: alert → whether it fires at the end of each page's time."""
    tests = [
        {
            "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
            "eval_time": f"{(number + 1) * minutes - 1}m",
            "exp_samples": [{"labels": "{}", "value": int(fires)}],
        }
        for name, expected in alerts.items()
        for number, fires in enumerate(expected)
    ]
    test = {"interval": "1m", "input_series": list(series(pages, minutes)), "promql_expr_test": tests}
    rules = {"rule_files": [str(DEPLOY / "prometheus" / "alerts.yaml")], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(rules))
    assert "SUCCESS" in output_of(program("promtool"), "test", "rules", str(tmp_path / "test.yaml"))


async def probed(client: Client) -> None:
    """Make the breaker of target `a` half-open by the admin API, so that the next question probes it."""
    for state in ("open", "auto"):
        async with client.session.post(f"{client.base}/admin/targets/a", headers=AS_OPERATOR, json={"state": state}) as response:
            assert response.status == 200


def warnings(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    """Return event and fields of the log lines about targets, and assert that all are warnings."""
    found = [record for record in caplog.records if record.name == "router.targets"]
    assert all(record.levelno == logging.WARNING for record in found)
    return [(record.getMessage(), cast("dict[str, Any]", record.__dict__["fields"])) for record in found]


@dataclass
class Operator:
    """The views that an operator has of a router: admin page, `router show` and metrics. The scraped metrics are kept in `pages`."""

    client: Client
    capsys: pytest.CaptureFixture[str]
    pages: list[Mapping[Sample, float]] = field(default_factory=list[Mapping[Sample, float]])

    async def scrape(self) -> None:
        """Scrape the metrics once, and assert that they do not contain the API key."""
        told = (await self.client.get("/metrics")).body.decode()
        assert KEY not in told
        self.pages.append(samples(told, *METRICS))

    async def page(self) -> dict[str, Any]:
        """Return the entry of target `a` in /admin/targets, and assert that the page has neither the API key nor the provider's words."""
        told = await self.client.get("/admin/targets")
        assert KEY.encode() not in told.body
        assert WORDS.encode() not in told.body
        return next(one for one in told.json["targets"] if one["name"] == "a")

    async def shown(self) -> str:
        """Return the output of `router show --live`."""
        assert await asyncio.to_thread(main, ["show", "--live", self.client.base, "chat-model"]) == 0
        return self.capsys.readouterr().out

    def values(self, name: str, **labels: str) -> list[float | None]:
        """Return the values of one sample, scrape by scrape; None where it was missing."""
        return [page.get((name, tuple(sorted(labels.items())))) for page in self.pages]


METRICS = ("router_target_refusing", "router_target_refusals_total", "router_script_answers_total", "router_requests_total")


@pytest.mark.parametrize("lane", LANES)
async def test_revoked_key_shows_in_log_page_metrics_and_alert_until_it_works_again(
    lane: str, workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A revoked key is logged once, shown on the page and in `router show`, counted, and fires an alert, until it works again.
    Clients get the demo's answer with status 200 meanwhile; neither answer nor log contains the key or the provider's words.
    """
    caplog.set_level(logging.INFO, "router")
    answer, refusal = Reply(text("Hi")), error(401, f"{WORDS} Incorrect API key provided: {KEY}", "invalid_api_key")
    async with provider(answer) as upstream:
        targets = LANES[lane](upstream.base, key=KEY) + "b: {script: demo}"
        workspace.write("routes.yaml", routes(targets, "targets: [a, b]\n    retry: {attempts: 1}"))
        async with serving(workspace.build()) as client:
            operator = Operator(client, capsys)
            assert (await client.ask()).text == "Hi"
            await operator.scrape()
            healthy = await operator.page()
            assert (healthy["refusing"], healthy["answered"] > 0) == (None, True)
            assert "refuses every question" not in await operator.shown()
            assert not warnings(caplog)

            upstream.script[:] = [refusal]
            asked = await client.ask()
            assert asked.status == 200
            assert "`a` refused the key." in asked.text
            assert "not set" not in asked.text
            assert "`a` is left alone for a moment" in (await client.ask()).text
            await operator.scrape()
            refusing = (await operator.page())["refusing"]
            assert (refusing["reason"], refusing["since"] > healthy["answered"]) == ("unauthorized", True)
            assert re.search("; refuses every question since 20.* UTC: unauthorized", await operator.shown())
            [(event, fields)] = warnings(caplog)
            assert (event, fields["target"], fields["reason"]) == ("target refuses every question", "a", "unauthorized")
            assert set(fields) == {"target", "reason", "since", "seconds"}

            await probed(client)
            await client.ask()
            assert len(warnings(caplog)) == 1  # once, not once a question
            upstream.script[:] = [answer]
            await probed(client)
            assert (await client.ask()).text == "Hi"
            await operator.scrape()
            assert (await operator.page())["refusing"] is None
            assert "refuses every question" not in await operator.shown()
            assert [event for event, _ in warnings(caplog)] == ["target refuses every question", "target answers again"]
    for seen in (asked.body.decode(), *(JsonLines().format(record) for record in caplog.records)):
        assert KEY not in seen
        assert WORDS not in seen
    assert operator.values("router_target_refusing", target="a", reason="unauthorized") == [None, 1, None]
    assert operator.values("router_target_refusing", target="a", reason="none") == [0, None, 0]
    assert operator.values("router_target_refusals_total", target="a", reason="unauthorized") == [None, 1, 1]
    assert operator.values("router_script_answers_total", route="chat-model", target="b") == [None, 2, 3]
    firing(operator.pages, tmp_path, {"RouterTargetRefuses": [False, True, False]})


KEYED = f"server: {{admin: {{key: {OPERATOR}}}}}\n"


async def test_refusal_state_is_the_same_from_either_of_two_workers(workspace: Workspace) -> None:
    """After both workers saw the key refused and one of them saw it work, the admin page of either shows no refusal."""
    answer, refusal = Reply(text("Hi")), error(401)
    async with provider(refusal) as upstream:
        workspace.write("routes.yaml", routes(direct_target(upstream.base) + "b: {script: [{text: other}]}", "targets: [a, b]", KEYED))
        async with process(workspace.root, "--workers", "2") as router:
            async with asyncio.timeout(240):
                while (await router.get("/metrics", **AS_OPERATOR))[1].count("router_workers 2.0") == 0:
                    await asyncio.sleep(0.05)

            async def reasons() -> set[str | None]:
                pages = [(await router.get("/admin/targets", **AS_OPERATOR))[1]["targets"] for _ in range(8)]
                return {page[0]["refusing"] and page[0]["refusing"]["reason"] for page in pages}

            async with asyncio.timeout(240):
                while router.printed.count("target refuses every question") < 2:  # once in each worker
                    assert b"other" in (await router.ask())[2]
            assert await reasons() == {"unauthorized"}
            upstream.script[:] = [answer]
            for state in ("open", "auto"):
                assert (await router.post("/admin/targets/a", {"state": state}, **AS_OPERATOR))[0] == 200
            assert b"Hi" in (await router.ask())[2]
            assert router.printed.count("target answers again") == 1
            assert await reasons() == {None}
            assert "router_target_refusing" in (page := (await router.get("/metrics", **AS_OPERATOR))[1])
            assert samples(page, "router_target_refusing") == {
                ("router_target_refusing", (("reason", "none"), ("target", name))): 0 for name in ("a", "b")
            }
            assert sum(samples(page, "router_target_refusals_total").values()) == 2


async def test_script_that_answers_for_a_skipped_model_fires_the_alert(workspace: Workspace, tmp_path: Path) -> None:
    """A script's first answer behind a skipped model is counted and fires an alert; one alone or in a pool with a model is not counted."""
    more = "  alone: {pipeline: chat, targets: [b]}\n  beside: {pipeline: chat, targets: [[a, b]]}\n"
    async with provider(error(401)) as upstream:
        missing = "c: {model: openai/gpt-4o, api_key: '${NOT_SET}', optional: true}\n"
        targets = missing + direct_target(upstream.base) + "b: {script: [{text: Hi}]}"
        workspace.write("routes.yaml", routes(targets, "targets: [c, b]", more))
        async with serving(workspace.build()) as client:
            before = samples((await client.get("/metrics")).body.decode(), "router_script_answers_total")
            assert (await client.ask()).text == "Hi"
            assert [(await client.ask(model=model)).text for model in ("alone", "beside")] == ["Hi", "Hi"]
            after = samples((await client.get("/metrics")).body.decode(), "router_script_answers_total")
    assert before == {}
    assert after == {("router_script_answers_total", (("route", "chat-model"), ("target", "b"))): 1}
    firing([before, after], tmp_path, {"RouterScriptAnswers": [False, True]}, minutes=10)


async def test_run_of_status_400_shows_on_the_admin_page_as_bad_request(workspace: Workspace) -> None:
    """After ten questions over 60 s that a provider refused with status 400, and not before, the page shows the target as refusing."""
    now = 1_000.0
    async with provider(error(400, WORDS)) as upstream:
        workspace.write("routes.yaml", routes(direct_target(upstream.base) + "b: {script: [{text: Hi}]}", "targets: [a, b]"))
        async with serving(build(load(workspace.root / "routes.yaml"), None, Ground(clock=lambda: now))) as client:
            for _ in range(RUN):
                assert (await client.get("/admin/targets")).json["targets"][0]["refusing"] is None
                assert (await client.ask()).text == "Hi"
                now += LASTING / (RUN - 1)
            refusing = (await client.get("/admin/targets")).json["targets"][0]["refusing"]
    assert refusing["reason"] == "bad_request"
