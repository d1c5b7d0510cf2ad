"""The table: each fault, and its expected outcome with a healthy target behind and without one."""

import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

from tests.support.upstream import WORDS, FakeModel, Fault, well
from tests.system.faults.case import KINDS, LANES, PATIENT, Check, Lane, Row
from tests.system.faults.checks import (
    bounded,
    complete,
    counted,
    each_result,
    either,
    failed,
    late,
    nothing_to_add,
    ran,
    reason,
    refused,
    result,
    steps,
    turning,
    unasked,
)
from tests.system.faults.models import BEIJING, FLOOD, ROME, badly, flood, for_ever, model, named_again, nested, the_same, tool
from tests.system.faults.upstream_faults import (
    anew,
    between,
    body,
    byte_by_byte,
    closed,
    comments_only,
    count_alone,
    cut,
    damaged,
    data_frame,
    done_only,
    ended,
    endless,
    error_body,
    error_first,
    error_later,
    filtered,
    filtered_later,
    finishes_twice,
    framed,
    garbled,
    giant_line,
    headers_only,
    joined,
    largely,
    marked,
    no_done,
    no_done_held,
    no_done_reset,
    no_prefill,
    no_reason,
    nothing,
    once,
    redirect,
    reset,
    silence,
    stall,
    stall_alive,
    status,
    talks_on,
    torn,
    unreadable,
    wordless,
)

BRIEF = {"connect": "3s", "first_token": "4s", "idle": "4s", "tool": "3s", "total": "60s"}
ENDLESS = "600s"
"""A timeout that no case may reach: it is longer than a case may take."""


def later(seconds: float) -> str:
    """Return the time in `seconds` seconds as an HTTP date."""
    return formatdate(time.time() + seconds, usegmt=True)


DOWN, SILENT = refused(502, "no_answer"), refused(504, "timeout")
QUICK: dict[str, Any] = {"timeout": BRIEF}
ANY_WAIT = range(1, 86_401)
HTML = f"<html><body>{WORDS}</body></html>"


def rows() -> Iterator[Row]:
    """Yield the rows, in the order of their numbers."""
    for place, name in (("refused", "a port where nobody listens"), ("unknown", "a name that there is not")):
        yield Row(1, name, place, complete, None, 1, route={"retry": {}})
        yield Row(1, name, place, None, DOWN, 2)
    yield Row(2, "a black hole", "hole", complete, SILENT, 1, 1.2, **QUICK)
    yield Row(3, "https where http is spoken", "plain", complete, DOWN, 1)
    yield Row(3, "a certificate signed by nobody", "secure", complete, DOWN, 1)
    yield from limits()
    for code in (500, 502, 503, 529):
        yield Row(5, f"status {code}", status(code), complete, DOWN, 2)
    yield Row(5, "status 503 once", once(status(503)), complete, complete, 2)
    for code in (400, 422):
        yield Row(6, f"status {code}", status(code), complete, DOWN, 1)
    long = status(400, "prompt is too long: maximum context length is 8000 tokens.", "context_length_exceeded")
    too_long = unasked(refused(400, "context_too_long"))
    yield Row(6, "too long, a larger window behind", long, complete, too_long, 1, windows=(8_000, 100_000))
    yield Row(6, "too long, no larger window behind", long, too_long, None, 1, windows=(8_000, 8_000))
    blocked = status(400, "Output blocked by content filtering policy", "content_filter")
    told_so = unasked(refused(400, "content_filter"))
    yield Row(6, "a content filter's refusal", blocked, told_so, told_so, 1)
    yield Row(6, "a content filter's finish reason", filtered, told_so, told_so, 1)
    yield Row(6, "a content filter in mid-answer", filtered_later, unasked(reason("content-filter")), reason("content-filter"))
    for code in (401, 403):
        yield Row(7, f"status {code} that repeats the key", status(code, "Incorrect API key provided:"), complete, DOWN, 1)
    yield Row(8, "status 404", status(404, "The model `fake` does not exist"), complete, DOWN, 1)
    yield Row(9, "200 with HTML", body(HTML, "text/html"), complete, DOWN, 2)
    yield Row(9, "200 with HTML that claims to be a stream", body(HTML, "text/event-stream"), complete, DOWN, 2)
    yield Row(9, "200 with a JSON error", error_body, complete, DOWN, 2)
    yield Row(9, "200 with JSON of another kind", body('{"ok": true}'), complete, DOWN, 2)
    yield Row(9, "an error as the first event", error_first, complete, DOWN, 2)
    yield Row(10, "no headers, ever", silence, complete, SILENT, 1, 2, **QUICK)
    yield Row(10, "headers, then silence", headers_only, complete, SILENT, 1, 2, **QUICK)
    yield Row(10, "headers, then only signs of life", comments_only, complete, SILENT, 1, 2, **QUICK)
    for code in (301, 302, 307):
        yield Row(11, f"redirect {code}", redirect(code), complete, DOWN, 1)
    yield Row(12, "200 and an end without an answer", done_only, complete, DOWN, 2)
    yield Row(12, "200 and an empty body", nothing, complete, DOWN, 2)
    yield Row(12, "200 and a good end without a word", wordless, complete, DOWN, 2, kinds=("text",))
    unsigned: tuple[Lane, ...] = ("openai", "anthropic", "litellm")
    yield Row(12, "a good end without a word, after a result", wordless, nothing_to_add, DOWN, kinds=("tools",), lanes=unsigned, text="")
    # A call that is signed stays with the target that signed it: the first one is not asked again.
    yield Row(12, "a good end without a word, before a signed call", wordless, complete, DOWN, kinds=("tools",), lanes=("gemini",))
    yield from breaks()
    yield from oddities()
    yield from tricks()


def limits() -> Iterator[Row]:
    """Yield the rows with number 4: rate limits of a provider (429), with every kind of Retry-After."""
    for name, told, wait in (
        ("", "", None),
        ("0", "0", None),
        ("-1", "-1", None),
        ("a day", "86400", range(86_400, 86_401)),
        ("3 million years", "99999999999999", ANY_WAIT),
        ("1e9999", "1e9999", None),
        ("a word", "soon", None),
        ("a date in two hours", later(7_200), range(3_600, 7_201)),
        ("a date long past", later(-86_400), None),
        ("a date that is none", "Thu, 99 Foo 99999 99:99:99 GMT", None),
    ):
        check = refused(503, "overloaded", wait=wait)
        kinds = KINDS if name in ("", "a day") else KINDS[:1]
        fault = status(429, retry_after=told)
        yield Row(4, f"429, Retry-After {name or 'missing'}", fault, complete, check, 2 if wait is None else 1, kinds=kinds)
    patient = {"retry": {"attempts": 2, "backoff": "1ms..5s"}}
    yield Row(4, "429 once, a wait that fits", once(status(429, retry_after="1")), complete, complete, 2, 2, 1, route=patient)
    short = {**PATIENT, "total": "4s"}
    yield Row(4, "429, a wait beyond the deadline", status(429, retry_after="6"), complete, None, 1, 2, timeout=short, route=patient)


def breaks() -> Iterator[Row]:
    """Yield the rows with numbers 13 and 14: answers that break off or stall."""
    yield Row(13, "RST in mid-answer", reset, complete, failed)
    yield Row(13, "FIN inside the body", cut, complete, failed)
    yield Row(13, "FIN at the end of the body", closed, complete, failed)
    yield Row(13, "a body that ends in mid-answer", ended, complete, failed)
    yield Row(13, "FIN inside a frame", torn, complete, failed)
    # Through LiteLLM the connection says nothing of it, and falls silent.
    yield Row(13, "garbage instead of HTTP in mid-answer", garbled, complete, failed, seconds=4, **QUICK)
    yield Row(13, "garbage instead of events in mid-answer", unreadable, complete, failed)
    yield Row(13, "garbage instead of gzip in mid-answer", damaged, complete, failed)
    yield Row(13, "an error in mid-answer", error_later, complete, failed)
    yield Row(13, "RST, and the next refuses a prefill", reset, complete, None, behind=no_prefill)
    yield Row(13, "RST, and the next begins anew", reset, complete, None, behind=anew)
    yield Row(13, "a finish reason without a mark of the end", no_done, counted, counted, 1)
    endless = {**PATIENT, "first_token": ENDLESS, "idle": ENDLESS, "total": ENDLESS}
    yield Row(13, "a finish reason, then silence", no_done_held, None, counted, 1, 2, timeout=endless, kinds=("text",), heavy=True)
    yield Row(13, "a finish reason, then RST", no_done_reset, complete, complete, 1)
    yield Row(14, "a stall in mid-answer", stall, complete, failed, seconds=4, **QUICK)
    yield Row(14, "only signs of life in mid-answer", stall_alive, complete, failed, seconds=4, **QUICK)


def oddities() -> Iterator[Row]:
    """Yield the rows with numbers 15 to 20: unusual but valid streams, and answers that are too fast or endless."""

    def odd(number: int, name: str, fault: Fault, check: Check = complete, tries: int | None = 1) -> Row:
        return Row(number, name, fault, None, check, tries)

    yield odd(15, "one byte per write", byte_by_byte)
    yield odd(16, "an invalid frame among the words", between(b'data: {"choices": [{"del\n\n'))
    yield odd(16, "frames that are no object", between(b"data: 5\n\n", b"data: []\n\n", b"data: null\n\n", b'data: "x"\n\n'))
    yield odd(16, "unknown events", between(b"event: news\ndata: {}\n\n", data_frame({"type": "news", "object": "news", "a": [1]})))
    yield odd(16, "comments", between(b": hello\n\n", b":\n\n"))
    yield odd(16, "comments beside a frame", between(b": hello\n"))
    yield odd(16, "other fields", between(b"id: 5\nretry: 10\n\n"))
    yield odd(16, "CRLF", joined(lambda text: text.replace(b"\n", b"\r\n")))
    yield odd(16, "a byte-order mark", framed(marked))
    yield Row(16, "a line of 12 MB", giant_line, complete, either(complete, failed), kinds=("text",), heavy=True)
    yield odd(17, "a finish reason twice", framed(finishes_twice))
    yield odd(17, "an end without a finish reason", framed(no_reason), either(complete, reason("unknown"), failed), None)
    yield odd(17, "the count alone, first and last", framed(count_alone))
    null = {"content": None, "role": None, "tool_calls": None, "refusal": None}
    choice = {"index": 0, "delta": null, "finish_reason": None}
    empty: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": []}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": None}}
    yield odd(17, "null deltas", between(data_frame({**empty, "choices": [choice]}), data_frame(delta)))
    yield odd(17, "no choices", between(data_frame(empty), data_frame({**empty, "choices": None})))
    yield odd(18, "words after the finish", framed(talks_on))
    yield Row(19, "faster than its reader", well, None, bounded, said=flood, text=FLOOD, kinds=("text",), seconds=20, heavy=True)
    short = {**BRIEF, "total": "1500ms"}
    yield Row(20, "words without an end", endless, late, late, seconds=1.5, timeout=short, kinds=("text",))


def tricks() -> Iterator[Row]:
    """Yield the rows with numbers 21 to 27: malformed tool calls, and tools that fail, hang, compute or return too much."""

    def trick(number: int, name: str, said: FakeModel, check: Check, **more: Any) -> Row:
        return Row(number, name, well, None, check, None, kinds=("tools",), said=said, **more)

    both = ran({"location": "北京"}, {"location": "Rome"})
    yield trick(21, "arguments letter by letter, by turns", badly(BEIJING, ROME, size=1), both)
    yield trick(21, "gaps between the places", badly(BEIJING, ROME, places=(3, 7)), both)
    yield trick(21, "both at one place", badly(BEIJING, ROME, places=(0, 0)), both, lanes=("openai", "litellm"))
    yield trick(21, "without ids", badly(("", *BEIJING[1:]), ("", *ROME[1:])), both)
    yield trick(21, "one id for both", badly(BEIJING, ("call_1", *ROME[1:])), both)
    yield trick(21, "id and name in every piece", named_again, ran({"location": "北京"}))

    def given(arguments: str) -> FakeModel:
        return model(("call_1", "get_weather", arguments), size=max(5, len(arguments) // 100))

    yield trick(22, "arguments that are no JSON", given('{"location": "Ro'), result("Invalid arguments"))
    yield trick(22, "arguments that are no object", given('["Rome"]'), result("Invalid arguments"))
    yield trick(22, "arguments of another kind", given('{"location": 5, "extra": 1}'), result("Invalid arguments"))
    yield trick(22, "arguments of 100 kB", given(json.dumps({"location": "x" * 100_000})), result("too long"))
    pieced: tuple[Lane, ...] = ("openai", "anthropic", "litellm")  # a whole call of so many values is one event, which is not read
    for depth, lanes in ((500, tuple(LANES)), (100_000, pieced)):
        yield trick(22, f"arguments {depth} levels deep", given(nested(depth)), result("Invalid arguments"), heavy=True, lanes=lanes)
    # Somewhere there what can be read can no longer be written: where, depends on who calls whom.
    depths = badly(*((f"call_{depth}", "get_weather", nested(depth)) for depth in range(900, 1_000)), size=5_000)
    yield trick(22, "arguments 900 to 999 levels deep", depths, each_result("Invalid arguments", 100), heavy=True)
    large = model(("call_1", "get_weather", json.dumps({"location": "x" * 2_000_000})), size=50_000)
    yield Row(22, "arguments of 2 MB", largely(large), complete, failed, kinds=("tools",), heavy=True)
    yield trick(23, "a tool that there is not", model(("call_1", "no_such_tool", "{}")), result("There is no tool"))
    yield trick(24, "a tool that raises", tool("raises"), result(r"^The tool failed\.$"))
    yield trick(24, "a result that is no JSON", tool("no_json"), result("not JSON"))
    yield trick(24, "a result of 50 MB of text", tool("book"), result("^word word", error=False), heavy=True)
    yield trick(24, "a result of 50 MB in a list", tool("shelf"), result("too large"), heavy=True)
    yield trick(25, "a tool that hangs", tool("hangs"), result("took longer"), seconds=0.8, **QUICK)
    yield trick(25, "a tool that hangs in a thread", tool("blocks"), result("took longer"), seconds=0.8, **QUICK)
    yield trick(26, "a tool that computes", tool("burns"), turning(result("burnt", error=False), 0.5), seconds=1, heavy=True)
    apart = {"tools": [{"use": "trials", "isolate": "process"}]}
    in_c = turning(result("gripped", error=False), 0.2)
    yield trick(26, "a tool that computes in C", tool("grips"), in_c, seconds=2, heavy=True, route=apart)
    yield trick(27, "calls for ever", for_ever, steps(3), route={"max_steps": 3})
    yield trick(27, "the same call for ever", the_same, steps(3), route={"max_steps": 6})
