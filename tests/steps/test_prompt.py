"""The pipeline step `prompt`: Jinja templates, the variables they see, and the sandbox."""

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Ask, Json, Message
from router.config.values import Name
from router.errors import BadAsk, Misfit, RouterError, TooLarge
from router.events import Events, Finish, Start
from router.params import Params
from router.steps.prompt import prompt
from router.templates import compile_template, render, templates_of


def rendered(template: str, ask: Ask | None = None, **fields: Json) -> str:
    """Return the prompt that a template renders for a question with these fields."""
    ask = ask or Ask(model="m", messages=(Message("user", ("Hello {{ 7*7 }}",)),), params=Params(temperature=0.5), fields=fields)
    return render(compile_template("t.j2", {"t.j2": template, "other.j2": "other"}), ask)


SEEN = {
    "{{ messages[-1].text }} by {{ messages[-1].role }}": "Hello {{ 7*7 }} by user",
    "{{ params.temperature }}": "0.5",
    "{{ ask.kind }}": "code",
    "{{ ask.none | default('text') }}": "text",
    "{% if ask.none is defined %}a{% else %}b{% endif %}": "b",
    "{% include 'other.j2' %}": "other",
    "  spaces around go  \n": "spaces around go",
}


@pytest.mark.parametrize("template", SEEN)
def test_template_sees_messages_parameters_and_fields(template: str) -> None:
    """A template can use the request's messages, parameters and fields and include another template."""
    assert rendered(template, kind="code") == SEEN[template]


async def test_rendered_prompt_precedes_the_conversation() -> None:
    """The rendered prompt is a system message before the conversation, and the client's own system messages stay."""
    asked: list[Ask] = []

    async def answer(ask: Ask) -> Events:
        asked.append(ask)
        yield Start("a", "m")
        yield Finish("stop")

    step = prompt(Name("t.j2"), templates={"t.j2": "Be brief."})
    conversation = (Message("system", ("Mine",)), Message("user", ("Hi",)))
    _ = [event async for event in step(answer)(Ask(model="m", messages=conversation))]
    assert asked[0].messages == (Message("system", ("Be brief.",)), *conversation)


@pytest.mark.parametrize(
    "template", ["{{ ask.kind }}", "{{ params.kind }}", "{% if ask.kind == 'a' %}{% endif %}", "{% for a in ask.kind %}{% endfor %}"]
)
def test_template_field_missing_in_the_request_is_named_to_the_client(template: str) -> None:
    """A template that needs a field which the request lacks raises BadAsk with the name of the field."""
    with pytest.raises(BadAsk) as caught:
        rendered(template)
    assert caught.value.public == "This model needs a field that the request lacks: kind"


USES = [
    "{{ %s }}", "{{ %s | upper }}", "{{ %s | int }}", "{{ %s | float }}", "{{ %s | list }}", "{{ %s | join }}", "{{ %s ~ 'a' }}",
    "{{ %s + 1 }}", "{{ 1 - %s }}", "{{ %s * 2 }}", "{{ 2 / %s }}", "{{ %s // 2 }}", "{{ %s %% 2 }}", "{{ %s ** 2 }}", "{{ -%s }}",
    "{{ %s == 1 }}", "{{ %s != 1 }}", "{{ %s < 1 }}", "{{ 'a' in %s }}", "{{ %s in ['a'] }}", "{{ %s and 1 }}", "{{ not %s }}",
    "{{ %s.inner }}", "{{ %s[0] }}", "{{ %s() }}", "{% if %s %}{% endif %}", "{% for a in %s %}{% endfor %}",
]  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_any_use_of_a_missing_template_field_is_the_same_error(use: str) -> None:
    """Every use of a missing field in a template but `default` and `is defined` raises the same BadAsk."""
    with pytest.raises(BadAsk) as caught:
        rendered(use.replace("%s", "ask.kind").replace("%%", "%"))
    assert caught.value.public == "This model needs a field that the request lacks: kind"


@pytest.mark.parametrize("template", ["{{ messages[9] }}", "{{ ask['<b>'] }}", "{{ ask['" + "x" * 65 + "'] }}"])
def test_undefined_index_or_odd_key_of_a_template_is_not_repeated(template: str) -> None:
    """An undefined list index, or a key that is no plain field name, raises BadAsk with the general message, without the key."""
    with pytest.raises(BadAsk) as caught:
        rendered(template)
    assert caught.value.public == BadAsk.sentence


def test_template_field_of_a_wrong_type_raises_bad_ask() -> None:
    """A field whose type the template cannot use raises BadAsk (a 400)."""
    with pytest.raises(BadAsk):
        rendered("{{ ask.kind + 'x' }}", kind=["code"])


@given(st.text())
def test_user_text_is_never_compiled_as_a_template(text: str) -> None:
    """Template syntax in a user's text appears unchanged in the rendered prompt."""
    ask = Ask(model="m", messages=(Message("user", ("{{ 7*7 }}{% for %}" + text,)),))
    assert rendered("<{{ messages[0].text }}>", ask) == "<{{ 7*7 }}{% for %}" + text + ">"


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('__cla' ~ 'ss__') }}",
    "{{ messages.__class__ }}",
    "{{ messages[0].__class__ }}",
    "{{ messages[0].__init__.__globals__ }}",
    "{{ ask.__class__ }}",
    "{{ ask.items.__globals__ }}",
    "{{ params.pop('temperature') }}",
    "{{ params.update({'a': 1}) }}",
    "{{ params.clear() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ range.__class__ }}",
    "{{ range(10**9) | list }}",
    "{{ dict.__base__ }}",
    "{{ (1).__class__ }}",
    "{{ [].append.__self__.__class__ }}",
    "{{ ''.format.__globals__ }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '%s'.__mod__ }}",
    "{{ config }}",
    "{{ request.application }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{% import 'os' as os %}{{ os.popen('id') }}",
    "{% include '/etc/passwd' %}",
    "{% include '../routes.yaml' %}",
    "{% extends 'file:///etc/passwd' %}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_template_cannot_escape_its_sandbox(template: str) -> None:
    """A template that tries to reach Python internals or files fails to load or render, or renders nothing."""
    try:
        made = rendered(template)
    except (Misfit, RouterError, jinja2.TemplateError, TypeError, AttributeError, OverflowError):
        return
    assert made in ("", "{}", "None")


def test_rendered_prompt_that_is_too_large_is_refused() -> None:
    """A template that renders 9 MB raises TooLarge."""
    with pytest.raises(TooLarge):
        rendered("{% for a in range(90000) %}{{ '0123456789' * 10 }}{% endfor %}")


BROKEN = {
    "{{ 1 +": "t.j2:1:1",
    "a\n{% if %}": "t.j2:2:1",
    "a\n  {{ mesages }}": "t.j2:2:6",
    "{% include 'othr.j2' %}": "t.j2:1:13",
    "a\n{% if ask.a %}{{ ask.b | uper }}{% endif %}": "t.j2:2:26",
    "{% if ask.a is strng %}{% endif %}": "t.j2:1:16",
}


@pytest.mark.parametrize("template", BROKEN)
def test_invalid_template_is_reported_at_load_with_its_line(template: str) -> None:
    """An invalid template raises Misfit with file, line and column of the mistake in the template."""
    with pytest.raises(Misfit) as caught:
        rendered(template)
    assert str(caught.value.place) == f"pipelines/{BROKEN[template]}"


def test_templates_of_returns_all_templates_reachable_by_includes() -> None:
    """`templates_of` returns a template and all existing ones that it includes, extends or imports, directly or not."""
    templates = {
        "a.j2": "{% extends 'b.j2' %}{% include ['c.j2', 'none.j2'] %}",
        "b.j2": "{% from 'd.j2' import x %}{% include params.kind ~ '.j2' %}",
        "c.j2": "{% include 'a.j2' %}",
        "d.j2": "{% if %}",
        "e.j2": "",
    }
    assert templates_of("a.j2", templates) == {"a.j2", "b.j2", "c.j2", "d.j2"}
    assert templates_of("none.j2", templates) == set()
