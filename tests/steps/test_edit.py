"""The pipeline step `edit`: trimming the start and end of an answer, however its text is split into chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Ask, Message
from router.errors import Misfit
from router.events import Event, Events, Finish, Start, Text, ToolCall, ToolResult
from router.steps.edit import STRIPS, Trim, edit, ends_of

EDITED: dict[tuple[str | None, int | None, str], str] = {
    ("quotes", None, '"A title"'): "A title",
    ("quotes", None, "  “A title”\n"): "A title",
    ("quotes", None, "「标题」"): "标题",
    ("quotes", None, 'The "Foo"'): 'The "Foo"',
    ("quotes", None, '"Foo" and "Bar"'): 'Foo" and "Bar',
    ("quotes", None, "A title"): "A title",
    ("quotes", None, '""'): "",
    ("quotes", 5, '"A title"'): "A tit",
    ("whitespace", None, "\n  a b \n"): "a b",
    ("fences", None, "```python\nprint(1)\n```\n"): "print(1)",
    ("fences", None, "```\na,b\n```"): "a,b",
    ("fences", None, "print(1)\n"): "print(1)",
    ("fences", None, "`a` is code"): "`a` is code",
    ("fences", None, "say ```x``` twice"): "say ```x``` twice",
    (None, 3, "abcdef"): "abc",
    (None, 4, "abc def"): "abc",
    (None, 3, "a  b"): "a",
    (None, 2, "\n\n"): "",
    (None, 9, " a b \n"): " a b \n",
}


def trimmed(strip: str | None, limit: int | None, pieces: list[str]) -> str:
    """Return the trimmed text of these chunks, fed one by one."""
    trim = Trim(ends_of(strip) if strip else None, limit)
    return "".join([*(trim.feed(piece) for piece in pieces), trim.end()])


@pytest.mark.parametrize("case", EDITED)
def test_edit_gives_the_expected_text_for_every_split(case: tuple[str | None, int | None, str]) -> None:
    """The trimmed text is as expected for one chunk, for every split into two, and for single characters."""
    strip, limit, text = case
    assert trimmed(strip, limit, [text]) == EDITED[case]
    assert trimmed(strip, limit, list(text)) == EDITED[case]
    for cut in range(len(text)):
        assert trimmed(strip, limit, [text[:cut], text[cut:]]) == EDITED[case]


@given(
    st.sampled_from([None, *STRIPS]),
    st.none() | st.integers(1, 12),
    st.lists(st.text("ab \n\"`'“”", max_size=5), max_size=8),
)
def test_edited_text_does_not_depend_on_how_it_was_split(strip: str | None, limit: int | None, pieces: list[str]) -> None:
    """A generated text in any chunks is trimmed as the same text in one chunk."""
    if strip is None and limit is None:
        return
    assert trimmed(strip, limit, pieces) == trimmed(strip, limit, ["".join(pieces)])


@pytest.mark.parametrize("strip", STRIPS)
@pytest.mark.parametrize("pieces", [["a" + "\n" * 8_000 + "b"], ["a", *["\n"] * 8_000, "b"]], ids=["whole", "in pieces"])
def test_edit_handles_endless_blank_lines_in_linear_time(strip: str, pieces: list[str]) -> None:
    """A text with 8,000 newlines in its middle comes out unchanged, in one chunk or many; cubic time would exceed the test's limit."""
    assert trimmed(strip, None, pieces) == "".join(pieces)


async def test_text_held_by_an_edit_is_sent_before_the_next_event() -> None:
    """Text between quotes that `edit` removes is sent before the tool call that follows it, and no empty Text event for the quotes."""
    told: list[Event] = [
        Start("a", "m"),
        Text('"'),
        Text("One"),
        Text('"'),
        ToolCall("c", "t", {}),
        ToolResult("c", "t", 1),
        Start("a", "m"),
        Text("Two"),
        Finish("stop"),
    ]

    async def answer(_: Ask) -> Events:
        for event in told:
            yield event

    seen = [event async for event in edit(strip="quotes")(answer)(Ask(model="m", messages=(Message("user", ("?",)),)))]
    assert [event.text for event in seen if isinstance(event, Text)] == ["One", "Two"]
    assert [type(event) for event in seen] == [Start, Text, ToolCall, ToolResult, Start, Text, Finish]


@pytest.mark.parametrize("options", [{}, {"max_chars": 0}])
def test_making_an_edit_step_without_an_effect_raises_misfit(options: dict[str, int]) -> None:
    """Making an `edit` step raises Misfit if it has no options, or only `max_chars: 0`."""
    with pytest.raises(Misfit):
        edit(**options)  # pyright: ignore[reportArgumentType]
