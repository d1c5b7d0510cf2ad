"""Does the page at `/` slow down the router's streams, and does its memory grow while it stays open?

    python -m tests.endurance.page [--only lag memory] [--rounds 5] [--hours 1]

One `router serve` with one worker; Chromium shares the other core with the load and the provider.

lag      200 streams of 25 chunks a second. In every second round three pages are open: the playground, the cockpit, and a live log. The
         event loop's lag with them may exceed the lag without them by no more than the rounds without them differ.
memory   an hour of answers, 5 a second, and of page polls, one in three seconds, thirty times as fast, with the same pages open. Every
         minute a new chat begins and the log unfolds another request. A page's memory after garbage collection may grow by 10 % from the
         first third of the hour to the last.

Exit code 1 if one of these promises is broken.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import machine, wire
from bench.capacity.measures import Rig, subject
from bench.load import Found
from bench.run import Bench, Running
from bench.subjects import Place
from tests.endurance.probed import lateness
from tests.support.browser import Chromium, Tab

STREAMS = 200
SECONDS = 12.0
"""Seconds in which a round is measured: four polls of each page."""
SETTLING = 0.5
"""Seconds at the end of a round that are left out, since its streams are closed then."""
FULL = 1000
"""Answers made before the measurement, to fill the router's journal."""
ANSWERS, LOOKS = 18_000, 1200
"""Answers and page polls per hour."""
FALLBACK = 0.2
"""The share of answers whose first target is down, so that another one answers."""
STEPS = 60
"""Samples per hour; a new chat begins with each."""
WARM = 3
"""Steps before the first sample, in which the browser fills its caches."""
SPEED = 30
"""The factor by which the pages' timers run faster than real time."""
GROWTH = 0.1
"""The share by which a page's memory may grow from the first third of an hour to the last."""
FASTER = f"(() => {{ const real = setTimeout; window.setTimeout = (work, pause, ...more) => real(work, pause / {SPEED}, ...more); }})()"
PLAYGROUND, COCKPIT, LOG = "playground", "cockpit", "live log"
SCREENS = (PLAYGROUND, COCKPIT, LOG)
ROUTES = """
targets:
  steady: {{model: openai/steady, api_base: {address}, api_key: sk-bench}}
  short: {{model: openai/short, api_base: {address}, api_key: sk-bench}}
  down: {{model: openai/short, api_base: 'http://127.0.0.1:9/v1', api_key: sk-bench}}
routes:
  chat-model: {{pipeline: chat, targets: [short]}}
  steady: {{pipeline: chat, targets: [steady]}}
  fallback: {{pipeline: chat, targets: [down, short], breaker: {{failures: 1000}}}}
"""


@dataclass(frozen=True)
class Round:
    """One round of streams: with or without pages, lag percentiles of the loop in ms, the router's share of a core, chunks per second."""

    watched: bool
    p50: float
    p99: float
    cpu: float
    chunks: float


@dataclass(frozen=True)
class Sample:
    """The memory of a page after garbage collection: megabytes of JavaScript heap, DOM nodes, event listeners."""

    heap: float
    nodes: int
    listeners: int


@dataclass(frozen=True)
class Difference:
    """A quantity without and with the pages, as medians. `noise`: the range of the rounds without them."""

    without: float
    watched: float
    noise: float

    @property
    def holds(self) -> bool:
        """True if the pages raise the quantity by no more than its noise."""
        return self.watched - self.without <= self.noise


def difference(rounds: Sequence[Round], of: Callable[[Round], float]) -> Difference:
    """Return the medians of a quantity over the rounds with and without pages, and its range over those without."""
    without, watched = ([of(one) for one in rounds if one.watched is pages] for pages in (False, True))
    return Difference(statistics.median(without), statistics.median(watched), max(without) - min(without))


def growth(values: Sequence[float]) -> float:
    """Return the relative growth of the median from the first third of the values to the last third."""
    third = max(1, len(values) // 3)
    return statistics.median(values[-third:]) / statistics.median(values[:third]) - 1


def probed(place: Place, folder: Path) -> Sequence[str]:
    """Write the configuration and return the command of a router that records its loop's lag."""
    configured = subject(lambda _: ROUTES.format(address=f"'http://127.0.0.1:{place.upstream}/v1'"))
    serve = list(configured.command(place))
    return [sys.executable, "-m", "tests.endurance.probed", str(folder / "lag"), *serve[serve.index("serve") :]]


class Watched:
    """A router under load, and the browser pages that show it."""

    def __init__(self, rig: Rig, running: Running, tabs: dict[str, Tab], lag: Path) -> None:
        self.rig, self.running, self.tabs, self._lag = rig, running, tabs, lag
        self.base = f"http://127.0.0.1:{running.place.port}"

    async def answers(self, route: str, count: int) -> None:
        """Request this many answers, from four clients."""
        request = wire.request(f"/api/chat/{route}", {}, {})
        await asyncio.to_thread(self.rig.asked, self.running, request, count)

    async def show(self) -> None:
        """Open all pages and wait until they show content."""
        for screen, tab in self.tabs.items():
            await tab.open("about:blank")
            await tab.open(f"{self.base}/{'' if screen == PLAYGROUND else '#cockpit'}")
            if screen == PLAYGROUND:
                await chat(tab, 1)
            else:
                await tab.until("document.querySelector('.requests tbody tr')")

    async def leave(self) -> None:
        """Close all pages by navigating to about:blank."""
        for tab in self.tabs.values():
            await tab.open("about:blank")

    async def round(self, *, watched: bool) -> Round:
        """Run the streams once, with or without pages, and return the measurements."""
        await (self.show() if watched else self.leave())
        unfolding = asyncio.create_task(self.unfold("running")) if watched else None
        found = await asyncio.to_thread(self._stream)
        until = time.monotonic() - SETTLING
        if unfolding is not None:
            await unfolding
        late = lateness(self._lag, until - SECONDS + SETTLING, until)
        return Round(watched, late[len(late) // 2], late[len(late) * 99 // 100], found.cpu / found.seconds, found.count / found.seconds)

    def _stream(self) -> Found:
        request = wire.request("/api/chat/steady", {}, {})
        return self.rig.standing(self.running, STREAMS, request, SECONDS)

    async def unfold(self, kind: str) -> None:
        """Make the live log list requests of this kind and unfold the newest."""
        tab = self.tabs[LOG]
        await tab.run(
            f"(() => {{ const one = document.querySelector('#kind'); one.value = '{kind}'; one.dispatchEvent(new Event('change')); }})()"
        )
        await tab.click(".requests tr:not(.wide) .link[aria-expanded=false]")
        await tab.until("document.querySelector('.wide .waterfall')")

    async def looks(self, count: int) -> None:
        """Wait until each cockpit has polled this many times."""
        await asyncio.gather(*(self._looked(tab, count) for screen, tab in self.tabs.items() if screen != PLAYGROUND))

    async def _looked(self, tab: Tab, count: int) -> None:
        wanted = sum("admin/requests?" in one for one in tab.asked) + count
        while sum("admin/requests?" in one for one in tab.asked) < wanted:
            await asyncio.sleep(0.05)
        tab.asked.clear()

    async def samples(self) -> dict[str, Sample]:
        """Return the memory of each page."""
        return {screen: await sample(tab) for screen, tab in self.tabs.items()}


async def chat(tab: Tab, count: int) -> None:
    """Start a chat in the playground, ask this many questions, and open the panel of the answers."""
    await tab.run("document.querySelector('.tools button')?.click()")
    for index in range(count):
        await tab.until("document.querySelector('#route option') && document.querySelector('#send')")
        # Not typed: the browser keeps what was typed into a field, to undo it.
        await tab.run(
            f"(() => {{ const one = document.querySelector('#question'); one.value = 'Question {index}'; one.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        )
        await tab.click("#send")
        await tab.until(f"document.querySelectorAll('.answer:not(.growing)').length === {index + 1}")
    await tab.run("document.querySelector('.with-panel') || document.querySelector('#panel').click()")


async def sample(tab: Tab) -> Sample:
    """Collect a page's garbage and return its memory."""
    for _ in range(2):  # what the first pass finalises the second one frees
        await tab.send("HeapProfiler.collectGarbage")
    heap, counted = await tab.send("Runtime.getHeapUsage"), await tab.send("Memory.getDOMCounters")
    return Sample(heap["usedSize"] / 1e6, counted["nodes"], counted["jsEventListeners"])


@asynccontextmanager
async def opened(*, faster: bool) -> AsyncGenerator[Watched]:
    """Run a router with a full journal and three tabs. `faster`: the pages' timers run thirty times as fast."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Bench() as bench:
        rig = Rig(bench)

        def command(place: Place) -> Sequence[str]:
            return probed(place, Path(folder))

        made = replace(subject(lambda _: ""), command=command)
        chromium = Chromium()
        try:
            with rig.running(made) as running:
                async with AsyncExitStack() as stack:
                    tabs = {screen: await stack.enter_async_context(chromium.tab("en")) for screen in SCREENS}
                    for tab in tabs.values():
                        await tab.shape(1440, 900)
                        if faster:
                            await tab.send("Page.addScriptToEvaluateOnNewDocument", source=FASTER)
                    watched = Watched(rig, running, tabs, Path(folder, "lag"))
                    await watched.answers("chat-model", FULL)
                    yield watched
        finally:
            chromium.close()


async def lag(rounds: int) -> bool:
    """Measure the loop's lag with and without pages in turn; return whether the promise was kept."""
    async with opened(faster=False) as watched:
        await watched.round(watched=True)  # the first has what is compiled and cached
        found: list[Round] = []
        print(f"{'pages':>6} {'loop p50':>9} {'p99':>7} {'router CPU':>11} {'chunks/s':>9}")
        for index in range(2 * rounds):
            one = await watched.round(watched=index % 2 == 1)
            found.append(one)
            print(f"{3 * one.watched:>6} {one.p50:>6.2f} ms {one.p99:>4.1f} ms {one.cpu:>9.1%} {one.chunks:>11,.0f}", flush=True)
        late, cpu = difference(found, lambda one: one.p99), difference(found, lambda one: one.cpu)
    print(
        f"p99 of the loop: {late.without:.2f} ms without, {late.watched:.2f} ms with the pages; rounds without differ by {late.noise:.2f} ms"
    )
    print(
        f"CPU of the router: {cpu.without:.1%} of a core without, {cpu.watched:.1%} with the pages; rounds without differ by {cpu.noise:.1%}"
    )
    print("held" if late.holds else "MISSED: the pages add more than the noise")
    return late.holds


async def memory(hours: float) -> bool:
    """Keep the pages open for this many simulated hours; return whether their memory stayed flat."""
    looks, answers = LOOKS // STEPS, ANSWERS // STEPS
    found: dict[str, list[Sample]] = {screen: [] for screen in SCREENS}
    async with opened(faster=True) as watched:
        await watched.show()
        print(f"{'minute':>6} {'':12}{'heap':>8} {'nodes':>7} {'listeners':>9}")
        for step in range(WARM + round(STEPS * hours)):
            await watched.answers("fallback", round(answers * FALLBACK))
            await watched.answers("chat-model", answers - round(answers * FALLBACK))
            await chat(watched.tabs[PLAYGROUND], 2)
            await watched.looks(looks)
            await watched.unfold("all")
            if step < WARM:
                continue
            for screen, one in (await watched.samples()).items():
                found[screen].append(one)
                if step % 6 == WARM % 6:
                    print(f"{step - WARM:>6} {screen:12}{one.heap:>5.2f} MB {one.nodes:>7} {one.listeners:>9}", flush=True)
        router = machine.rss(machine.family(watched.running.process.pid))
        complaints = [one for tab in watched.tabs.values() for one in tab.complaints]
    flat = not complaints
    for screen, samples in found.items():
        heap, nodes = growth([one.heap for one in samples]), growth([float(one.nodes) for one in samples])
        most = max(one.nodes for one in samples)
        flat &= max(heap, nodes) <= GROWTH
        print(f"{screen}: from the first third to the last heap {heap:+.1%}, nodes {nodes:+.1%}; {most} nodes at most")
    print(*complaints, f"the router holds {router:.0f} MB", "flat" if flat else "MISSED: not flat", sep="\n" if complaints else "; ")
    return flat


def main() -> int:
    """Run the chosen measures; return 1 if a promise was broken."""
    options = argparse.ArgumentParser(
        "python -m tests.endurance.page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", nargs="+", choices=["lag", "memory"], default=["lag", "memory"])
    options.add_argument("--rounds", type=int, default=5, help="with the pages, and as many without")
    options.add_argument("--hours", type=float, default=1.0, help="of traffic, for the memory")
    chosen = options.parse_args()
    held = [asyncio.run(lag(chosen.rounds) if one == "lag" else memory(chosen.hours)) for one in chosen.only]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
