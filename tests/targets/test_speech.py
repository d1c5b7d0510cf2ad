"""Assembly of deltas into events, however a provider splits, numbers or repeats them."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ContentFiltered, TargetDown
from router.events import Event, Finish, Text, Thought, ToolCall, ToolInput, Usage
from router.targets.counts import Counts
from router.targets.speech import BROKEN, Speech

Delta = tuple[int, str, str, str]
"""Index, id, name and a piece of the arguments of a tool call."""


def called(*deltas: Delta) -> list[ToolCall]:
    """Return the tool calls that these deltas make."""
    speech = Speech("a")
    for delta in deltas:
        speech.call(*delta)
    speech.finish("tool_calls")
    events = list(speech.end())
    made = [event for event in events if isinstance(event, ToolCall)]
    for call in made:
        pieces = "".join(event.part for event in events if isinstance(event, ToolInput) and event.call_id == call.call_id)
        assert call.malformed is not None or not pieces or pieces.startswith(("{", "null"))
    return made


WEATHER, TIME = ToolCall("c1", "weather", {"city": "北京"}), ToolCall("c2", "time", {})
CALLS: dict[str, tuple[list[Delta], list[ToolCall]]] = {
    "one, whole": ([(0, "c1", "weather", '{"city":"北京"}')], [WEATHER]),
    "one, in pieces": ([(0, "c1", "weather", ""), (0, "", "", '{"ci'), (0, "", "", 'ty":"北京"}')], [WEATHER]),
    "one without arguments": ([(0, "c2", "time", "")], [TIME]),
    "two, one after the other": ([(0, "c1", "weather", '{"city":"北京"}'), (1, "c2", "time", "{}")], [WEATHER, TIME]),
    "two, interleaved": (
        [
            (0, "c1", "weather", ""),
            (1, "c2", "time", ""),
            (0, "", "", '{"city":'),
            (1, "", "", "{"),
            (0, "", "", '"北京"}'),
            (1, "", "", "}"),
        ],
        [WEATHER, TIME],
    ),
    "two in the wrong order": ([(1, "c2", "time", "{}"), (0, "c1", "weather", '{"city":"北京"}')], [WEATHER, TIME]),
    "indexes with a gap": ([(3, "c1", "weather", '{"city":"北京"}'), (7, "c2", "time", "{}")], [WEATHER, TIME]),
    "all of index 0, ids of their own": ([(0, "c1", "weather", '{"city":"北京"}'), (0, "c2", "time", "{}")], [WEATHER, TIME]),
    "one call of nested arguments, name in every delta": (
        [(0, "c1", "weather", '{"city":'), (0, "c1", "weather", "{}"), (0, "c1", "weather", "}")],
        [ToolCall("c1", "weather", {"city": {}})],
    ),
    "id and name in every delta": ([(0, "c1", "weather", '{"city"'), (0, "c1", "weather", ':"北京"}')], [WEATHER]),
    "id and name again after a piece without": (
        [(0, "c1", "weather", ""), (0, "", "", '{"city"'), (0, "c1", "weather", ':"北京"}')],
        [WEATHER],
    ),
    "back to the first by its id": (
        [(0, "c1", "weather", '{"city":'), (0, "c2", "time", "{}"), (0, "c1", "", '"北京"}')],
        [WEATHER, TIME],
    ),
    "arguments cut within an emoji": (
        [(0, "c1", "weather", '{"city":"\ud83d'), (0, "", "", '\ude00"}')],
        [ToolCall("c1", "weather", {"city": "😀"})],
    ),
    "arguments with half an emoji": (
        [(0, "c1", "weather", '{"city":"\ud83d"}')],
        [ToolCall("c1", "weather", {"city": "\ufffd"})],
    ),
    "the name after the id": ([(0, "c1", "", ""), (0, "", "weather", '{"city":"北京"}')], [WEATHER]),
    "arguments that are no JSON": ([(0, "c1", "weather", '{"city":')], [ToolCall("c1", "weather", {}, '{"city":')]),
    "arguments that are a list": ([(0, "c1", "weather", "[1]")], [ToolCall("c1", "weather", {}, "[1]")]),
    "arguments with a number beyond a float": ([(0, "c1", "weather", '{"a":1e999}')], [ToolCall("c1", "weather", {}, '{"a":1e999}')]),
    "arguments with NaN": ([(0, "c1", "weather", '{"a":NaN}')], [ToolCall("c1", "weather", {}, '{"a":NaN}')]),
    "arguments that are null": ([(0, "c2", "time", "null")], [TIME]),
    "a call without a name": ([(0, "c1", "", "{}")], []),
    "an empty object that holds the place (openai/openai-agents-js#712)": (
        [(0, "c1", "weather", "{}"), (0, "", "", '{"city":'), (0, "", "", '"北京"}')],
        [WEATHER],
    ),
    "an empty object, and all of it in one piece": ([(0, "c1", "weather", "{}"), (0, "", "", '{"city":"北京"}')], [WEATHER]),
    "an empty object, id and name in every delta": (
        [(0, "c1", "weather", "{}"), (0, "c1", "weather", '{"city":'), (0, "c1", "weather", '"北京"}')],
        [WEATHER],
    ),
    "null that holds the place": ([(0, "c1", "weather", "null"), (0, "", "", '{"city":"北京"}')], [WEATHER]),
    "an empty object twice": ([(0, "c2", "time", "{}"), (0, "", "", "{}")], [TIME]),
    "whole, twice with one id (mudler/cogito#66)": (
        [(0, "c1", "weather", '{"city":"北京"}'), (0, "c1", "weather", '{"city":"北京"}')],
        [WEATHER],
    ),
    "whole, twice with one id, in other words": (
        [(0, "c1", "weather", '{"city":"北京"}'), (0, "c1", "weather", '{ "city": "\\u5317\\u4eac" }')],
        [WEATHER],
    ),
    "whole, twice with one id at two places": (
        [(0, "c1", "weather", '{"city":"北京"}'), (1, "c1", "weather", '{"city":"北京"}')],
        [WEATHER],
    ),
    "in pieces, and all of it at the end": (
        [(0, "c1", "weather", ""), (0, "", "", '{"city":'), (0, "", "", '"北京"}'), (0, "c1", "weather", '{"city":"北京"}')],
        [WEATHER],
    ),
    "in pieces, and all of it at the end without an id": (
        [(0, "c1", "weather", ""), (0, "", "", '{"city":'), (0, "", "", '"北京"}'), (0, "", "", '{"city":"北京"}')],
        [WEATHER],
    ),
    "in pieces, twice": (
        [(0, "c1", "weather", '{"city":'), (0, "", "", '"北京"}'), (0, "c1", "weather", '{"city":'), (0, "", "", '"北京"}')],
        [WEATHER],
    ),
    "begun anew in the middle": ([(0, "c1", "weather", '{"city":"北'), (0, "", "", '{"city":"北京"}')], [WEATHER]),
    "ever longer": (
        [(0, "c1", "weather", '{"city"'), (0, "c1", "weather", '{"city":"北'), (0, "c1", "weather", '{"city":"北京"}')],
        [WEATHER],
    ),
    "another id in every delta": (
        [(0, "c1", "weather", ""), (0, "c2", "weather", '{"city":'), (0, "c3", "weather", '"北京"}')],
        [WEATHER],
    ),
    "another id in every delta, the name once": ([(0, "c1", "weather", '{"city":'), (0, "c2", "", '"北京"}')], [WEATHER]),
    "another id in more deltas than calls are allowed": (
        [(0, "c1", "weather", '{"city":"'), *((0, f"d{at}", "", "北") for at in range(200)), (0, "e", "", '"}')],
        [ToolCall("c1", "weather", {"city": "北" * 200})],
    ),
    "in pieces, twice with one id at two places": (
        [(0, "c1", "weather", '{"city":'), (0, "", "", '"北京"}'), (1, "c1", "weather", '{"city":'), (1, "", "", '"北京"}')],
        [WEATHER],
    ),
    "an empty object at the end": ([(0, "c1", "weather", '{"city":"北京"}'), (0, "", "", "{}")], [WEATHER]),
    "an empty object at the end, with the id": ([(0, "c1", "weather", '{"city":"北京"}'), (0, "c1", "", "{}")], [WEATHER]),
    "broken, with a whole object inside": (
        [(0, "c1", "weather", '{"city": oh '), (0, "", "", '{"a":1}')],
        [ToolCall("c1", "weather", {}, '{"city": oh {"a":1}')],
    ),
}


ALIKE: dict[str, tuple[list[Delta], list[tuple[str, dict[str, object]]]]] = {
    "one id": ([(0, "c1", "weather", '{"city":"北京"}'), (0, "c1", "time", "{}")], [("weather", {"city": "北京"}), ("time", {})]),
    "one id and one tool": ([(0, "c2", "time", "{}"), (0, "c2", "time", '{"at":1}')], [("time", {}), ("time", {"at": 1})]),
    "no ids and one tool": ([(0, "", "time", "{}"), (0, "", "time", "{}")], [("time", {}), ("time", {})]),
}


@pytest.mark.parametrize("how", ALIKE)
def test_complete_calls_with_one_index_get_distinct_ids(how: str) -> None:
    """Two complete calls with one index, and the same id or none, become two calls with distinct ids."""
    deltas, expected = ALIKE[how]
    made = called(*deltas)
    assert [(call.name, call.arguments) for call in made] == expected
    assert len({call.call_id for call in made}) == 2


@pytest.mark.parametrize("how", CALLS)
def test_call_deltas_are_assembled_into_complete_calls(how: str) -> None:
    """Deltas add up to complete calls, each once and in the order of their indexes; a call with invalid arguments is malformed."""
    deltas, expected = CALLS[how]
    assert called(*deltas) == expected


def test_id_that_comes_after_the_name_does_not_start_a_new_call() -> None:
    """A piece with the first id of its index and no name continues the call that came without an id."""
    (made,) = called((0, "", "weather", ""), (0, "c1", "", '{"city":'), (0, "c1", "", '"北京"}'))
    assert (made.name, made.arguments) == ("weather", {"city": "北京"})


def test_calls_with_one_id_and_other_arguments_are_two() -> None:
    """Two calls of one tool that share an id are both kept, and all of their pieces yielded, once their arguments differ."""
    deltas = [(0, "c1", "weather", '{"city":'), (0, "", "", '"北京"}'), (1, "c1", "weather", '{"city":'), (1, "", "", '"上海"}')]
    one, two = called(*deltas)
    assert (one.arguments, two.arguments) == ({"city": "北京"}, {"city": "上海"})
    speech = Speech("a")
    for delta in deltas:
        speech.call(*delta)
    pieces = [event.part for event in speech.take() if isinstance(event, ToolInput)]
    assert "".join(pieces) == '{"city":"北京"}{"city":"上海"}'


CUT: dict[str, list[Delta]] = {
    "at the placeholder of its arguments": [(0, "c1", "weather", "{}")],
    "in its arguments": [(0, "c1", "weather", '{"city": "abc')],
    "before its arguments": [(0, "c1", "weather", "")],
    "after another": [(0, "c1", "weather", '{"city":"北京"}'), (1, "c2", "time", '{"at')],
}


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "content_filter"])
@pytest.mark.parametrize("where", CUT)
def test_call_cut_by_limit_or_filter_is_malformed(where: str, reason: str) -> None:
    """A call that is incomplete, or has no arguments yet, when a limit or filter ends the answer is malformed."""
    speech = Speech("a")
    speech.text("Hm.")
    for delta in CUT[where]:
        speech.call(*delta)
    speech.finish(reason)
    *said, end = list(speech.end())
    assert any(event.malformed is not None for event in said if isinstance(event, ToolCall))
    assert isinstance(end, Finish)
    assert end.reason == ("content-filter" if reason == "content_filter" else "length")


def test_complete_call_before_the_limit_is_kept() -> None:
    """A complete call is yielded, although the answer then ends with Finish `length`."""
    speech = Speech("a")
    speech.call(0, "c1", "weather", '{"city":"北京"}')
    speech.finish("length")
    assert [*speech.end()][-2:] == [WEATHER, Finish("length")]


@pytest.mark.parametrize("held", [(0, "", "", '{"q":'), None])
def test_empty_arguments_are_held_back_until_the_call_ends(held: Delta | None) -> None:
    """The piece `{}` is not yielded while other arguments may follow: they replace it, else it comes at the end."""
    speech = Speech("a")
    speech.call(0, "c1", "time", "{}")
    assert speech.take() == []
    if held is not None:
        speech.call(*held)
    speech.finish("tool_calls")
    told = [event.part for event in speech.end() if isinstance(event, ToolInput)]
    assert told == ([held[3]] if held else ["{}"])


def test_missing_or_repeated_call_id_is_replaced() -> None:
    """A call without an id gets a new one, and so does the second of two calls with one id."""
    one, two = called((0, "", "weather", "{}"), (1, "", "time", "{}"))
    assert one.call_id.startswith("call_")
    assert one.call_id != two.call_id
    one, two = called((0, "c1", "weather", "{}"), (1, "c1", "time", "{}"))
    assert (one.call_id, one.name) == ("c1", "weather")
    assert two.call_id.startswith("call_")


def test_new_name_without_an_id_starts_a_new_call() -> None:
    """Pieces with index 0 and no id belong to one call while their name is the same; another name starts a new call."""
    pieces = [(0, "", "weather", '{"city":'), (0, "", "weather", '"北京"}'), (0, "", "time", ""), (0, "", "", "{}")]
    made = called(*pieces)
    assert [(one.name, one.arguments) for one in made] == [("weather", {"city": "北京"}), ("time", {})]
    assert len({one.call_id for one in made}) == 2


def test_answer_of_repeated_calls_alone_keeps_its_own_finish_reason() -> None:
    """Calls that repeat one without a name are left out, so that the finish reason is not that of an answer with calls."""
    speech = Speech("a")
    speech.text("Hi.")
    for index in range(3):
        speech.call(index, "c1", "", "{}")
    for index in (1, 2):
        speech.call(index, "c1", "time", "")
    speech.finish("stop")
    assert list(speech.end())[1:] == [Finish("stop")]


def test_oversized_arguments_and_too_many_calls_are_refused() -> None:
    """Two million characters of arguments or 200 calls raise TargetDown; arguments with too many values make the call malformed."""
    with pytest.raises(TargetDown):
        called((0, "c1", "weather", "x" * 2_000_000))
    crowd = '{"a":[' + "[]," * 60_000 + "1]}"
    assert called((0, "c1", "weather", crowd)) == [ToolCall("c1", "weather", {}, crowd)]
    with pytest.raises(TargetDown):
        called(*((index, f"c{index}", "weather", "{}") for index in range(200)))


def texts(events: Iterator[Event]) -> str:
    """Return the text and thoughts of the events."""
    return "".join(event.text for event in events if isinstance(event, Text | Thought))


@given(st.text(st.characters()), st.data())
def test_text_split_anywhere_is_assembled_without_lone_surrogates(text: str, data: st.DataObject) -> None:
    """Text split at random places, also inside a surrogate pair, is complete; no event is empty or has half a pair."""
    units = text.encode("utf-16-le", "surrogatepass")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(units) // 2), max_size=6)))
    edges = [0, *cuts, len(units) // 2]
    pieces = [units[a * 2 : b * 2].decode("utf-16-le", "surrogatepass") for a, b in itertools.pairwise(edges)]
    speech = Speech("a")
    events: list[Event] = []
    for piece in pieces:
        speech.text(piece)
        events += speech.take()
    speech.finish("stop")
    events += speech.end()
    expected = units.decode("utf-16-le", "replace")
    said = texts(iter(events))
    assert said.replace("\ufffd", "") == expected.replace("\ufffd", "")
    said.encode()
    assert all(event.text for event in events if isinstance(event, Text))


ENDS = {
    "stop": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "STOP": "stop",
    "pause_turn": "other",
}


@pytest.mark.parametrize("reason", ENDS)
def test_finish_reason_is_translated(reason: str) -> None:
    """Of two finish reasons the first is translated, to the router's word or `other`; of two usages the last is reported."""
    speech = Speech("a")
    speech.text("Hi")
    speech.finish(reason)
    speech.finish("stop")
    speech.usage(Counts(1, 2))
    speech.usage(Counts(3, 4))
    assert list(speech.end()) == [Text("Hi"), Finish(ENDS[reason], Usage(3, 4))]  # pyright: ignore[reportArgumentType]


def test_stream_without_a_finish_reason_is_cut() -> None:
    """Ending an answer without a finish reason raises TargetDown `cut`."""
    speech = Speech("a")
    speech.text("Hi")
    with pytest.raises(TargetDown) as caught:
        list(speech.end())
    assert caught.value.outcome == "cut"


@pytest.mark.parametrize("reason", sorted(BROKEN))
def test_finish_reason_of_a_failure_is_cut_after_the_text(reason: str) -> None:
    """A finish reason that reports a failure yields the text so far, then raises TargetDown `cut`."""
    speech = Speech("a")
    speech.text("Hi")
    speech.finish(reason.upper())
    rest = speech.end()
    assert next(rest) == Text("Hi")
    with pytest.raises(TargetDown) as caught:
        next(rest)
    assert caught.value.outcome == "cut"


def test_filter_before_any_text_raises_content_filtered() -> None:
    """The finish reason `content_filter` before any text raises ContentFiltered."""
    speech = Speech("a")
    speech.finish("content_filter")
    with pytest.raises(ContentFiltered):
        list(speech.end())


def spoken(*pieces: str) -> tuple[str, str]:
    """Return the thoughts and the text that these pieces of an answer make; assert that no text precedes a thought."""
    speech = Speech("a")
    events: list[Event] = []
    for piece in pieces:
        speech.text(piece)
        events += speech.take()
    speech.finish("stop")
    said = [event for event in (*events, *speech.end()) if isinstance(event, Text | Thought)]
    assert said == sorted(said, key=lambda event: isinstance(event, Text))
    assert all(event.text for event in said)
    thoughts = [event.text for event in said if isinstance(event, Thought)]
    return "".join(thoughts), "".join(event.text for event in said[len(thoughts) :])


INLINED = {
    "<think>Hm.</think>Yes": ("Hm.", "Yes"),
    "\n <think>\nHm.\n</think>\n\nYes": ("\nHm.\n", "\n\nYes"),
    "<think></think>Yes": ("", "Yes"),
    "<think>a < b </thin </think>Yes </think>": ("a < b </thin ", "Yes </think>"),
    "<think>Hm.</think><think>Yes</think>": ("Hm.", "<think>Yes</think>"),
    "<think>Hm. 北京 \U0001f468": ("Hm. 北京 \U0001f468", ""),
    "<think>Hm.</thi": ("Hm.</thi", ""),
    "<think>": ("", ""),
    "<thi": ("", "<thi"),
    " \n": ("", " \n"),
    "<thinking>Hm.</thinking>": ("", "<thinking>Hm.</thinking>"),
    "<b>Yes</b> <think>Hm.</think>": ("", "<b>Yes</b> <think>Hm.</think>"),
    "Hm.</think>Yes": ("", "Hm.</think>Yes"),
    "Yes": ("", "Yes"),
    " " * 65 + "<think>Hm.</think>": ("", " " * 65 + "<think>Hm.</think>"),
}


@pytest.mark.parametrize("written", INLINED)
def test_think_tags_at_the_start_of_an_answer_are_thoughts(written: str) -> None:
    """`<think>…</think>` at the start of an answer becomes thoughts, however it is split; elsewhere it stays text."""
    expected = INLINED[written]
    assert spoken(written) == expected
    assert spoken(*written) == expected
    for first, second in itertools.combinations_with_replacement(range(len(written) + 1), 2):
        assert spoken(written[:first], written[first:second], written[second:]) == expected


def test_thoughts_in_think_tags_are_streamed() -> None:
    """Thoughts inside `<think>` are yielded as they arrive; only characters that may begin a tag are held back."""
    speech = Speech("a")
    speech.text("<think>Hm")
    assert speech.take() == [Thought("Hm")]
    speech.text("m <")
    assert speech.take() == [Thought("m ")]
    speech.text("3</think>Y")
    assert speech.take() == [Thought("<3"), Text("Y")]
    speech.text("<think>")
    assert speech.take() == [Text("<think>")]


def test_think_tags_after_a_separate_thought_or_a_call_are_text() -> None:
    """After a separate thought, or after a call, `<think>` is text; blanks before the first thought are kept."""
    speech = Speech("a")
    speech.text("\n")
    assert speech.take() == []
    speech.thought("Hm.")
    assert speech.take() == [Text("\n"), Thought("Hm.")]
    speech.text("<think>a</think>")
    assert speech.take() == [Text("<think>a</think>")]
    speech = Speech("a")
    speech.text("<think>Hm.</")
    assert speech.take() == [Thought("Hm.")]
    speech.call(0, "c1", "time", '{"at":1}')
    assert speech.take() == [Thought("</"), ToolInput("c1", "time", '{"at":1}')]
    speech.text("<think>")
    assert speech.take() == [Text("<think>")]


def test_lone_surrogate_at_the_end_of_a_thought_is_replaced() -> None:
    """A lone surrogate at the end of a `<think>` thought becomes U+FFFD in that thought."""
    assert spoken("<think>Hm \ud83d") == ("Hm \ufffd", "")


def test_filter_after_thoughts_alone_raises_content_filtered() -> None:
    """The finish reason `content_filter` after thoughts without text raises ContentFiltered."""
    speech = Speech("a")
    speech.text("<think>Hm.")
    speech.finish("content_filter")
    with pytest.raises(ContentFiltered):
        list(speech.end())
