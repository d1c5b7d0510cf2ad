"""Conversion of an Ask into chat-completions messages, which the OpenAI and LiteLLM lanes share."""

import pytest

from router.chat import Ask, Call, Choice, File, Message, Result
from router.config.declaration import TargetConfig as Declared
from router.config.values import Name, Secret
from router.errors import TargetRefused
from router.targets import completions, litellm

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def test_files_become_content_parts_in_order() -> None:
    """Files become `image_url` and `file` parts in order between the texts; a message of text alone keeps a string as its content."""
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


def test_each_tool_result_becomes_its_own_message() -> None:
    """Two results of one tool message become two messages after the assistant's; a result that is an object is sent as JSON text."""
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
def test_tool_choice_is_translated_for_openai(choice: Choice, said: object) -> None:
    """Tool choice auto is not sent; none and required are sent as texts, a named tool as an object."""
    assert completions.choice(Ask(model="m", messages=(), choice=choice)) == said


async def test_litellm_lane_refuses_a_file_at_an_address() -> None:
    """A file given by URL raises TargetRefused `file_address` on the LiteLLM lane: LiteLLM might fetch it from the operator's network."""
    answer = litellm.answer("a", Declared(model=Name("gemini/x"), api_key=Secret("sk-test")), 1)
    asked = Ask(model="m", messages=(Message("user", (File("image/png", "http://169.254.169.254/latest"),)),))
    with pytest.raises(TargetRefused) as caught:
        await anext(answer(asked))
    assert caught.value.outcome == "file_address"
