"""Fuzzers of what replicas and workers read from each other."""

import asyncio
import contextlib
import json
import math
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from router.admin.operations import Operations
from router.admin.siblings import Siblings
from router.answering import replica
from router.codec import COUNTS as COUNT_NAMES
from router.codec import VERSION, UnreadableEvents, decode, encode
from router.config import declare
from router.config.server import Resume
from router.config.snapshot import Snapshot
from router.events import Finish, Start, Text
from router.generation import build
from router.server import application
from router.shared import Found
from router.steps.cache import _read as kept_answer
from router.wire import WIRES
from tests.support.fuzzers.strategies import WORDS, Made, deep, dumped, json_of
from tests.wire.readers import HEADING, READERS

NUMBER: Made = st.sampled_from([0, 1, -1, 0.5, 1e300, math.inf, math.nan, 10**400, True, None, "1"])
NUMBERS = len(COUNT_NAMES) - 1
"""Numbers of a usage, before its tier."""
USED: Made = st.lists(st.integers(-1, 5), min_size=NUMBERS, max_size=NUMBERS).flatmap(
    lambda one: st.sampled_from(["", "flex"]).map(lambda tier: [*one, tier])
)
COUNTS: Made = st.none() | USED | st.lists(st.integers(-1, 5) | NUMBER, max_size=3)
OMITTED: Made = st.lists(WORDS, max_size=2)
TRY: Made = st.tuples(WORDS, st.sampled_from(["ok", "error", ""]), NUMBER, NUMBER, NUMBER, NUMBER, OMITTED, COUNTS, COUNTS, WORDS)
TRIES: Made = st.lists(TRY, max_size=2)
PLACE: Made = st.sampled_from(["", "hit", "miss", "shared", "bypass", "made up", None])
FLAT: Made = json_of(["a"], leaves=4)
WRITTEN: Made = st.one_of(
    WORDS,
    st.tuples(st.just("thought"), WORDS),
    st.tuples(st.just("source"), WORDS, WORDS, WORDS),
    st.tuples(st.just("file"), WORDS, WORDS),
    st.tuples(st.just("input"), st.sampled_from(["c1", "c2"]), WORDS, WORDS),
    st.tuples(st.just("call"), st.sampled_from(["c1", "c2"]), WORDS, st.dictionaries(WORDS, FLAT, max_size=2), st.none() | WORDS),
    st.tuples(st.just("result"), st.sampled_from(["c1", "c2"]), WORDS, FLAT, st.sampled_from([True, False, 1, None])),
    st.tuples(st.just("start"), WORDS, WORDS, TRIES, COUNTS, PLACE, NUMBER, OMITTED),
    st.tuples(st.just("finish"), st.sampled_from(["stop", "length", "made up"]), COUNTS, TRIES, PLACE),
    st.tuples(st.just("failure"), WORDS, WORDS, TRIES),
    json_of(["a"], "thought", "source", "file", "input", "call", "result", "start", "finish", "failure", "stop", "ok", leaves=20),
)
START, END = ("start", "a", "m", (), None, "miss", None, ()), ("finish", "stop", (*range(NUMBERS), ""), (), "miss")
KEPT: Made = (
    st.lists(WRITTEN, max_size=5).map(lambda events: dumped([VERSION, *events]))
    | st.lists(WRITTEN, max_size=5).map(lambda events: dumped([VERSION, START, *events, END]))
    | WRITTEN.map(dumped)
    | st.binary(max_size=30)
    | deep("[", "]").map(str.encode)
)


@given(KEPT)
def events_that_were_kept(data: bytes) -> None:
    """Check that stored events decode to events that can be encoded again and written on every wire, or raise UnreadableEvents."""
    with contextlib.suppress(UnreadableEvents):
        events = decode(data)
        assert decode(encode(events)) == events
        for wire in WIRES.values():
            encoder = wire.encoder(HEADING)
            for event in events:
                encoder(event)


MADE_AT: Made = st.sampled_from(
    [b"", b"0", b"-1", b" 1_0", b"9" * 400, b"9" * 5_000, b"1795000000000", b"-" + b"9" * 310, b"1.5", b"NaN", b"\xff"]
)


@given(st.tuples(MADE_AT, KEPT).map(b"\n".join) | KEPT)
@example(b"1795000000000\n" + dumped([VERSION, START, "Hi", END]))
def answers_that_were_kept(data: bytes) -> None:
    """Check that a stored answer is complete and has a finite age, or is None."""
    kept = kept_answer(data)
    if kept is not None:
        assert 0 <= kept.age < math.inf
        first, *_, last = kept.replayed()
        assert isinstance(first, Start)
        assert isinstance(last, Finish)
        assert (first.cache, first.age, last.cache) == ("hit", kept.age, "hit")


HEADING_FIELDS = ("request_id", "message_id", "model", "created", "wants_usage", "min_client")
OWN_ID: Made = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True)
"""A request id as each release makes one."""
TOLD_BEFORE: Made = st.fixed_dictionaries(
    {
        "request_id": OWN_ID,
        "message_id": st.text(min_size=1, max_size=20),
        "model": WORDS,
        "created": st.integers(0, 2**40),
        "wants_usage": st.booleans(),
        "min_client": st.just("5.0"),
    },
    optional={"added": WORDS},
)
HEADS: Made = st.tuples(
    st.sampled_from([1, 1, True, 2, "1"]),
    st.sampled_from([*WIRES, "made up", None, ()]),
    WORDS | FLAT,
    WORDS | FLAT,
    TOLD_BEFORE | FLAT | st.fixed_dictionaries(dict.fromkeys(HEADING_FIELDS, FLAT)),
)


@given(HEADS.map(dumped) | FLAT.map(dumped) | st.binary(max_size=30) | deep("[", "]").map(str.encode))
def heads_of_logs(data: bytes) -> None:
    """Check that the head of another replica's log yields an answer that every wire can write, or raises UnreadableEvents."""
    try:
        echo = replica._recorded(Found("name", "id", "replica", data), Resume())
    except UnreadableEvents:
        return
    for name, wire in WIRES.items():
        encoder = wire.encoder(echo.heading)
        READERS[name](b"".join(encoder(event) for event in (Start("a", "m"), Text("Hi"), Finish("stop"))))
    json.dumps(echo.entry.explained())


QUESTIONS: Made = json_of(
    ["ask", "id", "last", "target", "state"], "report", "request", "requests", "place", "positions", "reload", "a"
) | (
    st.fixed_dictionaries(
        {"ask": st.sampled_from(["report", "request", "requests", "place", "positions", "reload"])},
        optional={"id": FLAT, "last": FLAT, "target": st.just("a") | FLAT, "state": st.sampled_from(["auto", "drain", "open"]) | FLAT},
    )
)
LINE: Made = QUESTIONS.map(dumped) | st.binary(max_size=30) | deep("[", "]").map(str.encode) | deep('{"ask":', "}").map(str.encode)


@cache
def _admin() -> Operations:
    texts = {
        "routes.yaml": "targets: {a: {script: [{text: Hi}]}}\nroutes: {chat: {pipeline: chat, targets: [a]}}\n",
        "pipelines/chat.yaml": "steps: []\n",
    }
    return application(build(declare(Snapshot(Path("/nowhere"), "routes.yaml", texts), {}))).admin


@given(st.tuples(LINE, st.sampled_from([b"\n", b"", b"\nmore"])).map(b"".join))
def words_between_workers(data: bytes) -> None:
    """Check that a worker answers any bytes of another worker with a JSON object or nothing, and accepts only JSON objects as answers."""
    admin, faults = _admin(), list[Any]()

    async def speak() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            async with Siblings(folder, admin.answer) as siblings:
                reader, writer = await asyncio.open_unix_connection(next(folder.glob("*.sock")))
                writer.write(data)
                writer.write_eof()
                answer = await reader.read()
                assert not answer or isinstance(json.loads(answer), dict)
                writer.close()

                async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    writer.write(data)
                    writer.close()

                async with await asyncio.start_unix_server(babble, folder / f"{os.getppid()}.sock"):
                    assert all(type(one) is dict for one in await siblings.ask({"ask": "report"}))

    asyncio.run(speak())
    assert not faults
    assert asyncio.run(admin.report())["targets"][0]["state"] in ("auto", "drain", "open")
