"""An Ask in the form of the OpenAI API, which two lanes speak."""

import pytest

from router.chat import Ask, Call, Choice, File, Message, Result
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import TargetRefused
from router.targets import completions, litellm

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def test_files_are_parts_of_the_content() -> None:
    """In their order; a message of text alone stays a text."""
    parts = ("look", File("image/png", PIXEL, "a.png"), File("application/pdf", "data:application/pdf;base64,JVBERg=="), "and say")
    asked = Ask(model="m", messages=(Message("user", ("Hi",)), Message("user", parts)))
    assert completions.messages(asked) == [
        {"role": "user", "content": "Hi"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": PIXEL}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "document.pdf"}},
                {"type": "text", "text": "and say"},
            ],
        },
    ]


def test_a_tool_round() -> None:
    """The calls stand beside the text, each result is a message of its own."""
    asked = Ask(
        model="m",
        messages=(
            Message("assistant", ("So:", Call("c1", "a", {"x": 1}), Call("c2", "b", {}))),
            Message("tool", (Result("c1", "a", {"y": 2}), Result("c2", "b", "no", is_error=True))),
        ),
    )
    assert [message["content"] for message in completions.messages(asked)] == ["So:", '{"y":2}', "no"]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(), None),
        (Choice("none"), "none"),
        (Choice("required"), "required"),
        (Choice("named", "look"), {"type": "function", "function": {"name": "look"}}),
    ],
    ids=str,
)
def test_a_choice_of_tools(choice: Choice, said: object) -> None:
    """Said only where it is not the usual one."""
    assert completions.choice(Ask(model="m", messages=(), choice=choice)) == said


async def test_litellm_is_given_no_address_to_fetch() -> None:
    """For some providers it would fetch a file itself, from within the operator's network."""
    answer = litellm.answer("a", Declared(model=Name("gemini/x"), api_key=Secret("sk-test")), 1)
    asked = Ask(model="m", messages=(Message("user", (File("image/png", "http://169.254.169.254/latest"),)),))
    with pytest.raises(TargetRefused) as caught:
        await anext(answer(asked))
    assert caught.value.outcome == "file_address"
