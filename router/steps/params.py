"""The pipeline step `params`: set sampling parameters, which override the client's.

- params: {temperature: 0, max_tokens: 40}
"""

from router.events import Step
from router.params import Params
from router.value import replace


def params(values: Params, /) -> Step:
    """Set sampling parameters, in place of the client's. A `max_tokens` of the client that is smaller stays.

    values: the parameters to set, by name
    """
    return lambda answer: lambda ask: answer(replace(ask, params=values.over(ask.params)))
