"""`params`: sampling parameters, and who has the last word."""

import pytest

from router.chat import Ask, Message, Params
from router.errors import Misfit
from router.events import Events, Finish, Start
from router.steps.params import params


async def test_the_pipeline_stands_over_the_client() -> None:
    """What the pipeline sets holds; what it leaves open stays the client's; the smaller max_tokens wins."""
    asked: list[Ask] = []

    async def answer(ask: Ask) -> Events:
        asked.append(ask)
        yield Start("a", "m")
        yield Finish("stop")

    clients = Params(temperature=0.7, top_p=0.9, max_tokens=10)
    step = params(Params(temperature=0, max_tokens=40))
    _ = [event async for event in step(answer)(Ask(model="m", messages=(Message("user", ("?",)),), params=clients))]
    assert asked[0].params == Params(temperature=0, top_p=0.9, max_tokens=10)


def test_over_is_the_upper_one_where_it_is_set() -> None:
    """Zero is set; None is not."""
    assert Params(temperature=0).over(Params(temperature=1, seed=5)) == Params(temperature=0, seed=5)
    assert Params(max_tokens=5).over(Params()) == Params(max_tokens=5)
    assert Params().over(Params(max_tokens=5)) == Params(max_tokens=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 2.1), ("temperature", -0.1), ("top_p", 1.5), ("max_tokens", 0), ("presence_penalty", 3), ("frequency_penalty", -3)],
)
def test_a_parameter_out_of_range_cannot_be_made(name: str, value: float) -> None:
    """And the complaint names it."""
    with pytest.raises(Misfit) as caught:
        Params(**{name: value})  # pyright: ignore[reportArgumentType]
    assert caught.value.field == name
