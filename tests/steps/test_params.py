"""`params`: sampling parameters, and who has the last word."""

import pytest

from router.chat import Ask, Message
from router.errors import Misfit
from router.events import Events, Finish, Start
from router.params import Params
from router.steps.params import params


async def test_parameters_of_the_pipeline_override_the_clients() -> None:
    """Parameters that the pipeline leaves open stay the client's; the smaller max_tokens wins."""
    asked: list[Ask] = []

    async def answer(ask: Ask) -> Events:
        asked.append(ask)
        yield Start("a", "m")
        yield Finish("stop")

    clients = Params(temperature=0.7, top_p=0.9, max_tokens=10)
    step = params(Params(temperature=0, max_tokens=40))
    _ = [event async for event in step(answer)(Ask(model="m", messages=(Message("user", ("?",)),), params=clients))]
    assert asked[0].params == Params(temperature=0, top_p=0.9, max_tokens=10)


def test_overlaid_parameters_win_where_they_are_set() -> None:
    """Zero counts as set, None does not."""
    assert Params(temperature=0).over(Params(temperature=1, seed=5)) == Params(temperature=0, seed=5)
    assert Params(max_tokens=5).over(Params()) == Params(max_tokens=5)
    assert Params().over(Params(max_tokens=5)) == Params(max_tokens=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 2.1), ("temperature", -0.1), ("top_p", 1.5), ("max_tokens", 0), ("presence_penalty", 3), ("frequency_penalty", -3)],
)
def test_parameter_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    """The complaint names the parameter."""
    with pytest.raises(Misfit) as caught:
        Params(**{name: value})  # pyright: ignore[reportArgumentType]
    assert caught.value.field == name
