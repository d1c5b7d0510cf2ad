"""The pipeline step `params`: sampling parameters of the pipeline and of the client."""

import pytest

from router.chat import Ask, Message
from router.errors import Misfit
from router.events import Events, Finish, Start
from router.params import Params
from router.steps.params import params


async def test_parameters_of_the_pipeline_override_the_clients() -> None:
    """A parameter that the pipeline sets overrides the client's, the others stay, and the smaller `max_tokens` is used."""
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
    """`Params.over` takes the first value where it is not None, zero included, else the second."""
    assert Params(temperature=0).over(Params(temperature=1, seed=5)) == Params(temperature=0, seed=5)
    assert Params(max_tokens=5).over(Params()) == Params(max_tokens=5)
    assert Params().over(Params(max_tokens=5)) == Params(max_tokens=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 2.1), ("temperature", -0.1), ("top_p", 1.5), ("max_tokens", 0), ("presence_penalty", 3), ("frequency_penalty", -3)],
)
def test_parameter_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    """A sampling parameter out of its range raises Misfit with the name of the parameter."""
    with pytest.raises(Misfit) as caught:
        Params(**{name: value})  # pyright: ignore[reportArgumentType]
    assert caught.value.field == name
