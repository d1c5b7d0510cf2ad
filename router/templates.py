"""Jinja templates of system prompts: compiled, checked and rendered. Only a configuration with such a template imports this module.

A template sees `messages` (each with .role and .text), `params` (sampling parameters, and the request's own `params`)
and `ask` (the request's other fields: `ask.kind`). It comes from the configuration only; users' text is data to it.
It cannot read files outside its folder: the loader is a dict.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from router.chat import Ask
from router.config.meant import did_you_mean
from router.errors import BadAsk, Misfit, Place, TooLarge

VISIBLE = ("messages", "params", "ask")
MAX_COMPILED = 64
"""Number of compiled templates kept for the next pipeline, route or reload that uses them."""
MAX_CHARS = 1024 * 1024
"""The most characters of a rendered prompt."""


class Missing(jinja2.StrictUndefined):
    """The value of a template field that the request lacks. Every use of it, except a test whether it is defined, raises BadAsk.

    The error names the field to the client if the name is a word of at most 64 characters; the log never does.
    """

    def __init__(self, hint: str | None = None, obj: object = missing, name: str | None = None, **_: object) -> None:
        known = isinstance(name, str) and re.fullmatch(r"\w{1,64}", name)  # a template may take it from the request
        lacks = "This model needs a field that the request lacks"

        def refusal(_: str) -> BadAsk:
            return BadAsk(f"{lacks}: {name}" if known else None, logged=f"{lacks}.")

        super().__init__(hint, obj, name, refusal)  # pyright: ignore[reportArgumentType]


def compile_template(name: str, templates: Mapping[str, str]) -> jinja2.Template:
    """Return the compiled template. Misfit if it is missing, does not compile, or uses an unknown variable, filter, test or template."""
    if name not in templates:
        raise Misfit(f"there is no pipelines/{name}{did_you_mean(name, [one for one in templates if one.endswith('.j2')])}")
    return _compiled(name, tuple(sorted(templates.items())))


@lru_cache(maxsize=MAX_COMPILED)
def _compiled(name: str, texts: tuple[tuple[str, str], ...]) -> jinja2.Template:
    templates = dict(texts)
    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.DictLoader(templates), undefined=Missing, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    del environment.globals["lipsum"]
    _check(name, templates, environment, set())
    return environment.get_template(name)


def _check(name: str, templates: Mapping[str, str], environment: jinja2.Environment, seen: set[str]) -> None:
    seen.add(name)
    text = templates[name]
    try:
        tree = environment.parse(text, name)
        for node in tree.find_all((nodes.Filter, nodes.Test)):  # Jinja itself checks those inside an `if` only at run time
            words = environment.filters if isinstance(node, nodes.Filter) else environment.tests
            if node.name not in words:
                raise Misfit(
                    f"no filter or test is named `{node.name}`{did_you_mean(node.name, words)}", place=_find(node.name, name, text)
                )
        environment.compile(tree, name)
    except jinja2.TemplateSyntaxError as error:
        raise Misfit(f"this template does not compile: {error.message}", place=Place(f"pipelines/{name}", error.lineno, 1)) from None
    except (SyntaxError, RecursionError, MemoryError):  # raised by the Python code that Jinja generates
        raise Misfit("this template does not compile: it is nested too deeply", place=Place(f"pipelines/{name}", 1, 1)) from None
    for word in sorted(meta.find_undeclared_variables(tree) - {*VISIBLE, *environment.globals}):
        raise Misfit(f"a template knows no `{word}`{did_you_mean(word, VISIBLE)}", place=_find(word, name, text))
    for other in meta.find_referenced_templates(tree):
        if other is None:  # a computed name, which is looked up when it is rendered
            continue
        if other not in templates:
            raise Misfit(f"there is no pipelines/{other}{did_you_mean(other, templates)}", place=_find(other, name, text))
        if other not in seen:
            _check(other, templates, environment, seen)


def templates_of(name: str, templates: Mapping[str, str]) -> frozenset[str]:
    """Return the name of a template and those of all templates that it uses, directly or not. Missing and computed names are left out."""
    found: set[str] = set()
    todo = [name]
    while todo:
        one = todo.pop()
        if one in templates and one not in found:
            found.add(one)
            with suppress(jinja2.TemplateSyntaxError, RecursionError):  # `check` complains of that
                todo += filter(None, meta.find_referenced_templates(jinja2.Environment(autoescape=False).parse(templates[one])))  # noqa: S701
    return frozenset(found)


TIMELY = re.compile(
    r"(?i)(?:^|_)(?:now|today|date|time|datetime|timestamp|clock|hour|minute|weekday|nonce|uuid|random|request_?id|trace_?id)(?:$|_)"
)
"""Names of request fields whose value differs in each request."""
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def unsteady(name: str, templates: Mapping[str, str]) -> list[tuple[Place, str]]:
    """Return (place, description) of each value in a template, or one it includes, that probably differs in each request.

    With such a value in the prompt, a provider's prompt cache is missed each time. Typical names and forms are found (`ask.date`, `random`,
    the newest message), not every one.
    """
    environment = jinja2.Environment(autoescape=False)  # noqa: S701 - nothing is rendered
    found: list[tuple[Place, str]] = []
    for one in sorted(templates_of(name, templates)):
        lines = templates[one].splitlines()
        with suppress(jinja2.TemplateSyntaxError, RecursionError):  # `check` complains of that
            for node in environment.parse(templates[one]).find_all((nodes.Filter, nodes.Getattr, nodes.Getitem)):
                if (varying := _varying(node)) is not None:
                    column = lines[node.lineno - 1].find(varying[0]) + 1 if node.lineno <= len(lines) else 1
                    found.append((Place(f"pipelines/{one}", node.lineno, max(1, column)), varying[1]))
    return found


def _varying(node: nodes.Node) -> tuple[str, str] | None:
    """Return (word, description) of a template node whose value probably differs in each request; None for any other node."""
    match node:
        case nodes.Filter(name="random"):
            return "random", "a random choice (`random`)"
        case (
            nodes.Getattr(node=nodes.Name(name="ask" | "params" as of), attr=str(field))
            | nodes.Getitem(node=nodes.Name(name="ask" | "params" as of), arg=nodes.Const(value=str(field)))
        ) if TIMELY.search(HUMP.sub("_", field)):
            return field, f"a time or a mark of the request (`{of}.{field}`)"
        case nodes.Getitem(node=nodes.Name(name="messages"), arg=nodes.Neg()) | nodes.Filter(node=nodes.Name(name="messages"), name="last"):
            return "messages", "the newest message"
        case _:
            return None


def _find(word: str, name: str, text: str) -> Place:
    """Return the place of a word in a template's code (line 1, column 1 if not found): Jinja itself gives only the line."""
    for tag in re.finditer(r"\{[{%].*?[%}]\}", text, re.DOTALL):
        if hit := re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", tag[0]):
            before = text[: tag.start() + hit.start()]
            return Place(f"pipelines/{name}", before.count("\n") + 1, len(before) - before.rfind("\n"))
    return Place(f"pipelines/{name}", 1, 1)


def render(template: jinja2.Template, ask: Ask) -> str:
    """Return the rendered prompt, stripped. BadAsk if the request lacks a field or has it in another type, TooLarge beyond MAX_CHARS."""
    pieces: list[str] = []
    size = 0
    try:
        for piece in template.generate(messages=ask.messages, params={**ask.params.given, **ask.extra}, ask=ask.fields):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_CHARS:
                raise TooLarge("The conversation is too large for this model's prompt.")
    except TypeError:
        # A client may send a list where the template takes a text: that is not a fault of the router to be logged.
        raise BadAsk("A field of the request is of another kind than this model's prompt takes.") from None
    return "".join(pieces).strip()
