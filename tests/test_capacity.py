"""The page on capacity agrees with its charts and results, and costs that may grow at most linearly are counted without a clock."""

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast
from xml.etree import ElementTree as ET

import pytest

from bench.by_hand import counted
from bench.capacity import results
from bench.capacity.charts import Chart, Line, drawn
from bench.capacity.growth import LINEAR, exponent
from bench.capacity.measures import MEASURES
from router.answering.recording import Recording, Recordings
from router.cache.states import LocalStates
from router.cache.store import ENTRY
from router.config import Declaration, declare, read
from router.config.complaints import Complaints
from router.config.keys import lines as key_lines
from router.config.server import Resume
from router.config.values import Name
from router.description import Description, changes, describe
from router.description.order import reordered
from router.errors import ConfigError, Place
from router.events import Finish
from router.generation import Carryover, Ground, build
from router.generation.construction import Construction
from router.generation.targets import OpenedTargets
from router.journal.entry import Entry
from router.quotas.local import SWEPT, Local
from router.quotas.store import ADDRESS
from router.shared import Logs, Redis
from router.shared.logs import AT_ONCE
from router.wire import WIRES, Heading
from tests.conftest import ROOT, Workspace

if TYPE_CHECKING:
    from router.shared.written_log import WrittenLog

WRITTEN = results.read()
PAGE = results.PAGE.read_text(encoding="utf-8")


def test_every_capacity_measure_has_committed_results() -> None:
    """The committed results hold exactly the measures of `bench.capacity`, none of them empty."""
    assert set(WRITTEN) == set(MEASURES)
    assert all(WRITTEN.values())


def test_capacity_page_has_the_tables_of_the_results() -> None:
    """The tables of the page are those that `bench.capacity` makes from the committed results."""
    assert results.filled(PAGE, WRITTEN) == PAGE, "run `python -m bench.capacity --draw`"


@pytest.mark.parametrize("name", results.charts(WRITTEN))
def test_chart_is_drawn_from_the_results(name: str) -> None:
    """Each committed SVG chart equals the one drawn from the results, and has a title and a description for screen readers."""
    text = (results.FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert text == drawn(results.charts(WRITTEN)[name]), "run `python -m bench.capacity --draw`"
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(text)}  # noqa: S314 - our own file
    assert {"title", "desc", "style"} <= tags


def test_capacity_page_shows_exactly_the_existing_charts() -> None:
    """The page, the folder of charts and the results name the same charts."""
    assert set(re.findall(r"\(capacity/(\w+)\.svg\)", PAGE)) == set(results.charts(WRITTEN))
    assert {path.stem for path in results.FOLDER.glob("*.svg")} == set(results.charts(WRITTEN))


def test_committed_results_grow_at_most_linearly() -> None:
    """Committed costs grow at most linearly with their causes: the fitted exponents are 1.15 or less."""
    assert results.faster(WRITTEN) == {}


@pytest.mark.parametrize("bound", results.BOUNDS, ids=lambda bound: bound.words)
def test_committed_results_meet_their_bounds(bound: results.Bound) -> None:
    """A cost that has a bound at one size keeps it in the committed results."""
    assert bound.value(WRITTEN) <= bound.most


@pytest.mark.parametrize(("power", "found"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (2.0, 2.0)])
def test_fitted_exponent_ignores_a_constant_cost(power: float, found: float) -> None:
    """The fitted exponent of the cost 100 + cause^power is `power`: the constant part does not flatten it."""
    points = [(1.0, 100.0), *((cause, 100 + (cause**power if power else 0)) for cause in (10.0, 100.0, 1000.0))]
    assert exponent(points) == pytest.approx(found, abs=0.05)


def test_growth_within_the_noise_of_a_measure_counts_little() -> None:
    """A linear cost stays linear where a small size took 0.6 % more than the smallest, and not the 3 % that it should."""
    assert exponent([(10, 0.291), (100, 0.293), (1000, 0.388), (10_000, 1.33)]) == pytest.approx(1.0, abs=0.05)


def test_disturbed_measure_of_the_smallest_size_is_no_growth() -> None:
    """A linear cost stays linear where the smallest size seemed to take more than the next one."""
    assert exponent([(10, 0.351), (100, 0.307), (1000, 0.437), (10_000, 1.63)]) == pytest.approx(1.0, abs=0.05)


def test_growth_that_only_the_largest_size_shows_is_found() -> None:
    """A quadratic cost is found although no size but the largest rises by more than 1 %."""
    assert exponent([(cause, 300 + 3e-6 * cause**2) for cause in (10, 100, 1000, 10_000)]) > 1.9


def test_quadratic_growth_is_found() -> None:
    """A cost that grows with the square of the number of routes is reported as faster than linear."""
    made = {**WRITTEN, "routes": [{**row, "check_s": row["at"] ** 2} for row in WRITTEN["routes"]]}
    assert results.faster(made)["CPU of `router check` by routes"] > LINEAR


def test_chart_keeps_within_its_frame() -> None:
    """All points of a chart's lines lie within its axes, for values from 0.003 to 70,000."""
    text = drawn(Chart("Title", "cause", "cost", (Line("a", [(1, 0.003), (4000, 70_000)]), Line("b", [(1, 5), (4000, 6)]))))
    for line in re.findall(r'points="([^"]+)"', text):
        for pair in line.split():
            x, y = map(float, pair.split(","))
            assert 64 <= x <= 490
            assert 40 <= y <= 252


def many(count: int, *, warned: bool = False) -> str:
    """Return a configuration of `count` routes, each with a target of its own. `warned`: each route causes a warning."""
    targets = "".join(
        f"  t{index}: {{model: openai/m{index}, api_base: 'http://127.0.0.1:9/v1', api_key: sk-test}}\n" for index in range(count)
    )
    limit = ", limit: {requests: 5/hour, per: ip}" if warned else ""
    routes = "".join(f"  r{index}: {{pipeline: chat, targets: [t{index}]{limit}}}\n" for index in range(count))
    return f"targets:\n{targets}routes:\n{routes}"


def loaded(workspace: Workspace, text: str) -> int:
    """Return the number of Python and C calls that it takes to declare and build this configuration."""
    workspace.write("routes.yaml", text)
    snapshot = read(Path(workspace.root, "routes.yaml"))
    with counted() as counts:
        build(declare(snapshot, {})).discard()
    return sum(counts.totals)


@pytest.mark.parametrize(("warned", "most"), [(False, 1300), (True, 1550)], ids=["well", "warned"])
def test_load_takes_calls_in_proportion_to_routes(workspace: Workspace, *, warned: bool, most: int) -> None:
    """A configuration of 100 routes loads with at most 2.1 times the function calls of one of 50, with or without a warning per route."""
    loaded(workspace, many(5))  # tables and records that are made once
    few, twice = loaded(workspace, many(50, warned=warned)), loaded(workspace, many(100, warned=warned))
    assert twice <= 2.1 * few
    assert (twice - few) / 50 < most, "a route and its target took 1,204 calls, with a warning 1,459"


def calls(work: Callable[[], object]) -> int:
    """Return the number of Python and C calls of this work."""
    with counted() as counts:
        work()
    return sum(counts.totals)


def mistaken(workspace: Workspace, text: str) -> Declaration:
    """Return the declaration of a configuration that has mistakes."""
    workspace.write("routes.yaml", text)
    declaration = declare(read(Path(workspace.root, "routes.yaml")), {})
    assert declaration.complaints.found
    return declaration


def test_budgets_of_conditional_targets_take_calls_in_proportion_to_callers(workspace: Workspace) -> None:
    """A route with 100 targets conditional on a budget, and 100 callers with budgets, loads with at most 2.1 times the calls of 50 each."""

    def budgeted(count: int) -> str:
        names = ", ".join(f"{{use: t{index}, when: {{budget_used: 50%}}}}" for index in range(count))
        keys = "".join(f"    k{index}: {{hash: 'sha256:{index:064x}', limit: {{requests: 5/day}}}}\n" for index in range(count))
        last = "    last: {hash: 'sha256:" + "f" * 64 + "', limit: {spend: 5USD/day}}\n"
        return f"{many(count)}  all: {{pipeline: chat, targets: [{names}, t0]}}\nserver:\n  auth:\n   keys:\n{keys}{last}"

    loaded(workspace, budgeted(5))
    assert loaded(workspace, budgeted(100)) <= 2.1 * loaded(workspace, budgeted(50))


def test_file_of_keys_takes_calls_in_proportion_to_its_lines() -> None:
    """A file of 200 keys is read with at most 2.1 times the function calls of one of 100: no key is compared with all earlier ones."""
    few, twice = ("".join(f"k{index} sha256:{index:064x} routes=r0\n" for index in range(count)) for count in (100, 200))
    key_lines(few)  # patterns that are compiled once
    assert calls(lambda: key_lines(twice)) <= 2.1 * calls(lambda: key_lines(few))


def test_targets_of_a_route_take_memory_in_proportion_to_their_number(workspace: Workspace) -> None:
    """A model has no copy of the names before it in its route: only a script's greeting shows them."""
    targets = [f"t{index}" for index in range(50)]
    workspace.write(
        "routes.yaml", f"{many(50)}  all: {{pipeline: chat, targets: [{', '.join(targets)}, demo]}}\n".replace("targets:\n", DEMO, 1)
    )
    declaration = declare(read(Path(workspace.root, "routes.yaml")), {})
    layout = OpenedTargets(Construction(declaration, Carryover(), Ground())).layout(declaration.routes.routes[Name("all")])
    assert [one for one, post in layout.posts.items() if post.models] == ["demo"]
    assert [*layout.posts["demo"].models] == targets


def test_mistakes_beyond_a_bound_have_no_hints() -> None:
    """The first mistakes of a load say which name was probably meant; later ones do not, so that 10,000 mistakes stay linear."""
    known = [f"t{number}" for number in range(100)]

    def hints(count: int) -> list[str]:
        found = Complaints({}, most_compared=400)
        for number in range(count):
            found.add(Place("routes.yaml", number, 1), f"no target is named `tt{number}`{found.meant(f'tt{number}', known)}")
        return [one.message.partition("; ")[2] for one in found.in_order()]

    assert hints(6) == [f"did you mean `t{number}`?" for number in range(4)] + ["", ""]
    assert calls(lambda: hints(204)) - calls(lambda: hints(104)) < 100 * 40, "one of them took 22"


def test_complaints_about_one_line_are_as_long_together_as_their_number(workspace: Workspace) -> None:
    """Complaints about a configuration in a single line quote a part of it each, and secrets in that line are looked for once."""

    def written(count: int) -> tuple[int, int]:
        targets = ", ".join(f"t{index}: {{model: openai/m{index}, foo: {index}}}" for index in range(count))
        with counted() as counts:
            declaration = mistaken(workspace, f"{{targets: {{{targets}}}, routes: {{r: {{pipeline: chat, targets: [t0]}}}}}}\n")
        masked = sum(times for (caller, _), times in counts.c.items() if caller == "config/complaints.Complaints._line")
        return len(str(ConfigError(declaration.complaints.in_order()))), masked

    (text, masked), (twice, masked_of_twice) = written(100), written(200)
    assert twice <= 2.1 * text
    assert masked_of_twice == masked > 0


DEMO = "targets:\n  demo: {script: demo}\n"
EDITS: Mapping[str, Callable[[str], str]] = {
    "nothing": lambda text: text,
    "routes renamed": lambda text: text.replace("  r", "  s"),
    "targets renamed": lambda text: text.replace("  t", "  u").replace("[t", "[u"),
    "retries changed": lambda text: text.replace("pipeline: chat", "pipeline: chat, retry: {attempts: 3}"),
    "targets changed": lambda text: text.replace("api_key", "optional: true, api_key"),
    "one target changed": lambda text: text.replace("[t", "[t0, t"),
}
"""Edit of a configuration → the function that makes it."""


@pytest.mark.parametrize("edit", EDITS)
def test_comparison_takes_calls_in_proportion_to_routes(workspace: Workspace, edit: str) -> None:
    """The changes of an edit of 100 routes are found with at most 2.1 times the function calls of one of 50."""

    def compared(count: int) -> int:
        described: list[Description] = []
        for text in (many(count), EDITS[edit](many(count))):
            workspace.write("routes.yaml", text)
            described.append(describe(declare(read(Path(workspace.root, "routes.yaml")), None)))
        return calls(lambda: changes(*described))

    few, twice = compared(50), compared(100)
    assert twice <= 2.1 * few


@pytest.mark.parametrize("edit", ["longer", "other"])
def test_comparison_takes_calls_and_words_in_proportion_to_targets_of_a_pool(edit: str) -> None:
    """A pool that gets 200 targets is described with at most 2.1 times the calls and characters of one that gets 100."""

    def compared(count: int) -> tuple[int, int]:
        first = (("first", None),)
        pool, more = (tuple((f"t{index:04}", None) for index in range(begin, begin + count)) for begin in (0, count))
        before, later = (first, pool), (first, pool + more) if edit == "longer" else (first, pool, *((one,) for one in more))
        said: list[str] = []
        return calls(lambda: said.extend(reordered(before, later))), sum(map(len, said))

    (few, text), (twice, text_of_twice) = compared(100), compared(200)
    assert twice <= 2.1 * few
    assert text_of_twice <= 2.1 * text


def test_full_store_of_model_calls_takes_the_same_calls_for_however_many_users() -> None:
    """A full store finds the end user that has the most bytes without a look at each of 800."""

    def stored(count: int) -> int:
        store = LocalStates(count * (ENTRY + 5))
        for number in range(count):
            store.put("c", f"n{number}", b"value", f"u{number}")
        return calls(lambda: [store.put("c", f"n{number}", b"value", f"u{number}") for number in range(count, count + 100)])

    assert stored(800) <= 1.3 * stored(100)


async def test_new_limit_key_never_waits_for_a_look_at_all_keys() -> None:
    """Expired counts are removed a few at a time: none of 3,000 new addresses takes more than five further calls for each key looked at."""
    store, calls_of_each = Local(), list[int]()
    for number in range(3000):
        with counted() as counts:
            await store.take(f"{ADDRESS}{number}", 5, 3600)
        calls_of_each.append(sum(counts.totals))
    assert max(calls_of_each) <= calls_of_each[0] + 5 * SWEPT


async def test_expired_limit_keys_are_removed_as_new_ones_come() -> None:
    """However many keys have expired, as many new ones remove them all."""
    now = 0.0
    store = Local(lambda: now)
    for number in range(3000):
        await store.take(f"old {number}", 5, 60)
    now = 61.0
    for number in range(3000):
        await store.take(f"new {number}", 5, 60)
    assert len(store) == 3000


class Unwritten:
    """A log with news, which counts how often it is looked at."""

    looks = 0

    @property
    def done(self) -> bool:
        """Count a look."""
        Unwritten.looks += 1
        return False

    async def sync(self, _: Redis) -> None:
        """Write nothing."""


class Present:
    """A Redis that answers 1 to every command."""

    departures = 0

    async def ask(self, *_: object) -> int:
        """Return 1."""
        return 1


@pytest.mark.parametrize("count", [100, 1000])
async def test_round_of_writing_looks_only_at_the_logs_that_it_writes(count: int) -> None:
    """A round looks only at the logs that it writes. The others that wait are left alone: they may be all open streams."""
    logs = Logs(cast("Redis", Present()))
    for _ in range(count):
        logs.wake(cast("WrittenLog", Unwritten()))
    Unwritten.looks = 0
    await logs._write_round()
    assert Unwritten.looks == 2 * AT_ONCE


class Watched(Recording):
    """A recording that counts how often it is asked whether it is over."""

    looks = 0

    @property
    def over(self) -> bool:  # type: ignore[override]
        """Count a look."""
        Watched.looks += 1
        return bool(self.__dict__.get("over"))

    @over.setter
    def over(self, over: bool) -> None:
        self.__dict__["over"] = over


@pytest.mark.parametrize("count", [10, 100])
async def test_full_store_of_recordings_does_not_look_at_each_running_answer(count: int) -> None:
    """An answer that ends while more are running than the store holds looks at none of them, however many they are."""
    kept, goes_on = Recordings(number=3), asyncio.Event()

    async def said(recording: Recording, until: asyncio.Event | None = None) -> None:
        if until is not None:
            await until.wait()
        recording.put(Finish("stop"))

    def made(kind: type[Recording]) -> Recording:
        heading = Heading(request_id="r", message_id="m", model="chat-model", created=1)
        return kind(Entry("r", "g"), heading, WIRES["line"], Resume())

    running = [made(Watched) for _ in range(count)]
    for number, one in enumerate(running):
        kept.start(("", str(number)), one, said(one, goes_on), 60)
    await asyncio.sleep(0)
    Watched.looks = 0
    last = made(Recording)
    kept.start(("", "last"), last, said(last), 60)
    await last.ended()
    assert Watched.looks == 0
    goes_on.set()
    await asyncio.gather(*(one.ended() for one in running))


def test_makefile_has_the_capacity_target() -> None:
    """The Makefile has the target `capacity`."""
    assert re.search(r"^capacity:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
