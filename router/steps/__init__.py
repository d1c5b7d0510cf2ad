"""The steps of pipelines and routes: a step's name → its function, whose signature declares its options.

A positional-only parameter is the word's own value (`- prompt: chat.j2`). Other parameters are its options (`- history: {keep: 40}`).
Keyword-only parameters are supplied by the generation.
"""

from collections.abc import Callable

from router.events import Step
from router.steps.cache import cache
from router.steps.ceiling import ceiling
from router.steps.edit import edit
from router.steps.history import history
from router.steps.output import output
from router.steps.params import params
from router.steps.prompt import prompt
from router.steps.reasoning import reasoning
from router.steps.recall import recall
from router.steps.session import session
from router.steps.tools import tools
from router.steps.when import when

__all__ = ["FROM_ROUTE", "STEPS"]

STEPS: dict[str, Callable[..., Step]] = {step.__name__: step for step in (prompt, history, params, edit, output)}
FROM_ROUTE: dict[str, Callable[..., Step]] = {step.__name__: step for step in (tools, cache, reasoning, ceiling, recall, when, session)}
"""Steps that the keys of a route add; a pipeline cannot name them."""
