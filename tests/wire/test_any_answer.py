"""Generated answers, encoded in every wire and parsed by its strict reader."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.chat import ReasoningState
from router.events import (
    ORDER,
    Approval,
    Event,
    Failure,
    Finish,
    LateResult,
    Order,
    Produced,
    Reason,
    Source,
    Start,
    State,
    Text,
    Thought,
    ToolCall,
    ToolInput,
    ToolProgress,
    ToolResult,
    Usage,
)
from router.wire import WIRES
from router.wire.shape import compact
from tests.wire.readers import HEADING, READERS, Heard

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(
    ["data: [DONE]\n\n", "\r\n", "\u2028", '"}\n', "😀"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
CITED = st.builds(Source, st.just("https://a.org/1?b=%20"), WORDS | st.just("")) | st.builds(
    Source, st.just(""), WORDS, st.just("text/plain")
)
MADE = st.builds(Produced, st.sampled_from(["image/png", "image/jpeg", "application/pdf"]), st.sampled_from(["AAAA", "iVBORw0KGgo="]))
USAGE = st.none() | st.builds(Usage, st.integers(0, 999), st.integers(0, 999))
PATIENT = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
REASON: st.SearchStrategy[Reason] = st.sampled_from(["stop", "length", "content-filter", "tool-calls", "other", "unknown"])


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Generate a valid sequence of events by a random walk through ORDER."""
    made: list[Event] = []
    state: State = "idle"
    waiting: list[ToolCall] = []
    inputs: list[str] = []
    total: Usage | None = None
    left = draw(st.integers(0, 16))
    while state != "over":
        kinds = [kind for (before, kind) in ORDER if before == state and (kind in (Finish, Failure)) is (left <= 0 and state != "idle")]
        kind = draw(st.sampled_from([one for one in kinds if one not in (ToolResult, ToolProgress, Approval) or waiting]))
        left -= 1
        usage = draw(USAGE) if kind in (Start, Finish) and state != "idle" else None
        total = (total or Usage()) + usage if usage else total
        if kind is Start:
            made.append(Start("a", "m", (), usage))
            inputs.clear()
        elif kind in (Text, Thought):
            made.append(kind(draw(WORDS)))
        elif kind is ToolInput:
            if not inputs or draw(st.booleans()):
                inputs.append(f"call_{len(made)}")
            made.append(ToolInput(draw(st.sampled_from(inputs)), "streamed", draw(WORDS)))
        elif kind is ToolCall:
            streamed = inputs and draw(st.booleans())
            call_id, name = (inputs.pop(), "streamed") if streamed else (f"call_{len(made)}", draw(WORDS))
            malformed = draw(st.none() | WORDS)
            arguments = {} if malformed else draw(st.dictionaries(WORDS, JSON, max_size=3))
            waiting.append(ToolCall(call_id, name, arguments, malformed))
            made.append(waiting[-1])
        elif kind is ToolResult:
            call = waiting.pop(draw(st.integers(0, len(waiting) - 1)))
            made.append(ToolResult(call.call_id, call.name, draw(JSON), draw(st.booleans())))
        elif kind is ToolProgress:
            call = draw(st.sampled_from(waiting))
            made.append(ToolProgress(call.call_id, call.name, draw(JSON)))
        elif kind is Approval:
            call = draw(st.sampled_from(waiting))
            made.append(Approval(call.call_id, call.name, "apr_1"))
        elif kind is LateResult:
            made.append(LateResult(f"earlier_{len(made)}", draw(WORDS), {}, draw(JSON), draw(st.booleans())))
        elif kind is Source:
            made.append(draw(CITED))
        elif kind is Produced:
            made.append(draw(MADE))
        elif kind is ReasoningState:
            made.append(ReasoningState(draw(WORDS), draw(st.dictionaries(WORDS, JSON, max_size=2))))
        else:
            made.append(Finish(draw(REASON), total) if kind is Finish else Failure("no_answer", draw(WORDS)))
        state = ORDER[state, kind]
    return made


CALLED = {"openai": "tool_calls", "anthropic": "tool_use"}
"""Wire that shows only the client's tool calls → its finish reason with such a call."""
ENDED = {
    "openai": {"stop": "stop", "content-filter": "content_filter", "length": "length", "tool-calls": "length"},
    "anthropic": {"stop": "end_turn", "content-filter": "refusal", "length": "max_tokens", "tool-calls": "max_tokens"},
}
"""Wire → finish reason of the router → finish reason of the wire without a tool call."""


def expected(wire: str, events: list[Event]) -> Heard:
    """Return what the reader of a wire should parse from these events, as far as the wire can express them."""
    heard = Heard()
    for event in events:
        match event:
            case Text(text):
                heard.text += text
            case Thought(text):
                heard.thoughts += text
            case ToolCall(call_id, name, arguments, malformed):
                raw = malformed if malformed is not None and wire == "ui-message-stream" else arguments
                heard.calls.append((call_id, name, raw))
            case ToolResult(call_id, _, result, is_error):
                as_text = is_error and wire == "ui-message-stream" and not isinstance(result, str)
                heard.results.append((call_id, compact(result) if as_text else result, is_error))
            case LateResult(call_id, _, _, result, is_error) if wire == "ui-message-stream":
                as_text = is_error and not isinstance(result, str)
                heard.results.append((call_id, compact(result) if as_text else result, is_error))
            case Source() | Produced():
                _show(heard, wire, event)
            case Finish(reason, usage):
                heard.finish = reason
                heard.usage = (usage.input_tokens, usage.output_tokens) if usage else None
            case Failure(_, public):
                heard.error, heard.finish = f"{public} (request req_1)", "error"
            case _:
                pass
    begun = isinstance(events[0], Start)
    if wire == "data-stream" and heard.error:
        used = [event.used for event in events if isinstance(event, Start) and event.used]
        heard.usage = (sum(one.input_tokens for one in used), sum(one.output_tokens for one in used))
    if wire == "ui-message-stream":
        heard.finish = ("other" if heard.finish == "unknown" else heard.finish) if begun else None
    if wire in ("openai", "anthropic"):
        done = {call_id for call_id, _, _ in heard.results}
        heard.results = []
        if heard.error:
            heard.calls, heard.finish = [], None
        else:
            open_calls = [event for event in events if isinstance(event, ToolCall) and event.call_id not in done]
            heard.calls = [
                (one.call_id, one.name, compact(one.arguments) if one.malformed is None else one.malformed) for one in open_calls
            ]
            heard.finish = CALLED[wire] if heard.calls else ENDED[wire].get(str(heard.finish), ENDED[wire]["stop"])
        heard.usage = None if wire == "openai" or heard.error else heard.usage or (0, 0)
    if wire == "ag-ui":
        written = {one.call_id: one.malformed for one in events if isinstance(one, ToolCall)}
        heard.calls = [
            (call_id, name, compact(given) if written[call_id] is None else written[call_id]) for call_id, name, given in heard.calls
        ]
        heard.results = [(call_id, value if isinstance(value, str) else compact(value), failed) for call_id, value, failed in heard.results]
    if wire == "text-completion":
        finish = None if heard.error else ENDED["openai"].get(str(heard.finish), "stop")
        return Heard(text=heard.text, finish=finish, error=heard.error)
    if (shaped := {"responses": _response, "ai-gateway": _language_model}.get(wire)) is not None:
        heard = replace(shaped(heard, events), sources=heard.sources, files=heard.files)
    return Heard(text=heard.text) if wire == "text" else heard


def _show(heard: Heard, wire: str, event: Source | Produced) -> None:
    """Add a source or file to the expected answer if the wire can express it."""
    match event:
        case Source(url, title) if url or wire not in ("data-stream", "openai", "anthropic", "responses"):
            heard.sources.append((url, title or (url if wire in ("openai", "responses") else "")))
        case Produced(media_type, data) if wire != "anthropic" and (media_type.startswith("image/") or wire not in ("openai", "responses")):
            heard.files.append((media_type, data))
        case _:
            pass


def _response(heard: Heard, events: list[Event]) -> Heard:
    """Return the expected answer in the Responses wire: router tool calls as results, client calls only without a failure."""
    done = {call_id for call_id, _, _ in heard.results}
    names = {one.call_id: one.name for one in events if isinstance(one, ToolCall)}
    results = [(names[call_id], value if isinstance(value, str) else compact(value), failed) for call_id, value, failed in heard.results]
    if heard.error:
        return Heard(text=heard.text, thoughts=heard.thoughts, results=results, error=heard.error)
    calls = [
        (one.call_id, one.name, compact(one.arguments) if one.malformed is None else one.malformed)
        for one in events
        if isinstance(one, ToolCall) and one.call_id not in done
    ]
    why = {"length": "max_output_tokens", "content-filter": "content_filter"}
    if not calls:
        why["tool-calls"] = "max_output_tokens"
    finish = why.get(str(heard.finish), "completed")
    return Heard(heard.text, heard.thoughts, calls, results, finish, heard.usage or (0, 0))


def _language_model(heard: Heard, events: list[Event]) -> Heard:
    """Return the expected answer in the gateway wire: router tool calls as results, client calls only without a failure."""
    done = {call_id for call_id, _, _ in heard.results}
    names = {one.call_id: one.name for one in events if isinstance(one, ToolCall)}
    results = [(names[call_id], "null" if value is None else value, failed) for call_id, value, failed in heard.results]
    if heard.error:
        return Heard(heard.text, heard.thoughts, [], results, "error", None, heard.error)
    calls = [
        (one.call_id, one.name, compact(one.arguments) if one.malformed is None else one.malformed)
        for one in events
        if isinstance(one, ToolCall) and one.call_id not in done
    ]
    finish = "tool-calls" if calls else {"tool-calls": "length", "unknown": "other"}.get(str(heard.finish), heard.finish)
    return Heard(heard.text, heard.thoughts, calls, results, finish, heard.usage)


@PATIENT
@given(answers())
def test_generated_answer_is_parsed_back_by_the_strict_reader_of_each_wire(events: list[Event]) -> None:
    """Text, reasoning, calls, results, usage and finish of a generated answer are parsed back by the strict reader of each wire.

    Each generated answer is checked in every wire, since its generation takes longer than its check.
    """
    order = Order()
    for event in events:
        order.see(event)
    order.end()
    for wire in WIRES:
        body = b"".join(map(WIRES[wire].encoder(HEADING), events))
        assert READERS[wire](body) == expected(wire, events), wire


@PATIENT
@given(answers())
def test_bytes_of_each_event_end_with_a_complete_frame(events: list[Event]) -> None:
    """The bytes of each generated event end with a complete line or frame in every wire with frames."""
    for wire, end in (
        ("line", b"\n"),
        ("data-stream", b"\n"),
        ("ui-message-stream", b"\n\n"),
        ("openai", b"\n\n"),
        ("text-completion", b"\n\n"),
        ("anthropic", b"\n\n"),
        ("responses", b"\n\n"),
        ("ag-ui", b"\n\n"),
        ("ai-gateway", b"\n\n"),
    ):
        encode = WIRES[wire].encoder(HEADING)
        assert all(not data or data.endswith(end) for data in map(encode, events))


@PATIENT
@given(st.text(st.characters()).filter(bool))
def test_any_text_is_sent_as_valid_utf8_in_every_wire(text: str) -> None:
    """Text, thought, tool arguments and result of any code points are valid UTF-8 in every wire; lone surrogates in text become U+FFFD."""
    events = [Start("a", "m"), Text(text), Thought(text), ToolCall("c", "t", {"a": text}), ToolResult("c", "t", text), Finish("stop")]
    sent = json.loads(json.dumps(text)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    for wire in WIRES:
        heard = READERS[wire](b"".join(map(WIRES[wire].encoder(HEADING), events)))
        assert heard.text == sent, wire
