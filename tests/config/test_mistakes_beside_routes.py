"""Mistakes in pipelines, templates and tool files: each complaint has the place, the cause, and a similar valid name."""

import pytest

from router.errors import ConfigError
from tests.config.written import PROMPT, WITH_TOOLS, complaints, route, target
from tests.conftest import WEATHER, Workspace

DEEP = "{{ " + "[" * 300 + "]" * 300 + " }}"
BLOCKS = "{% for m in messages %}" * 25 + "{% endfor %}" * 25
BESIDE: dict[str, tuple[dict[str, str], str]] = {
    "a pipeline with an unknown step": (
        {"pipelines/chat.yaml": "steps:\n  - histry: {keep: 3}\n"},
        "pipelines/chat.yaml:2:5: there is no step `histry`; did you mean `history`?",
    ),
    "a pipeline with a route's own step": (
        {"pipelines/chat.yaml": "steps:\n  - tools: {}\n"},
        "pipelines/chat.yaml:2:5: there is no step `tools`; write `tools: [NAME]` in the route",
    ),
    "a pipeline whose step has an unknown option": (
        {"pipelines/chat.yaml": "steps:\n  - history: {keep: 3, kep: 3}\n"},
        "pipelines/chat.yaml:2:24: unknown key `kep` in `history`; did you mean `keep`?",
    ),
    "a pipeline whose step lacks an option": (
        {"pipelines/chat.yaml": "steps:\n  - history: {}\n"},
        "pipelines/chat.yaml:2:14: `history` lacks `keep`",
    ),
    "a pipeline whose step refuses an option": (
        {"pipelines/chat.yaml": "steps:\n  - history: {keep: 0}\n"},
        "pipelines/chat.yaml:2:21: keep must be at least 1",
    ),
    "a pipeline whose step has no options": (
        {"pipelines/chat.yaml": "steps:\n  - history:\n"},
        "pipelines/chat.yaml:2:13: `history` takes a mapping with keep, and has no value: indent its keys by two spaces more, e.g. {keep: 1}",
    ),
    "a pipeline whose step is told nothing": (
        {"pipelines/chat.yaml": "steps:\n  - edit: {}\n"},
        "pipelines/chat.yaml:2:11: edit needs `strip` or `max_chars`, or both",
    ),
    "a pipeline whose step takes one of a few words": (
        {"pipelines/chat.yaml": "steps:\n  - edit: {strip: quote}\n"},
        "pipelines/chat.yaml:2:19: `quote` is not one of quotes, whitespace, fences; did you mean `quotes`?",
    ),
    "a pipeline whose step is a word alone": (
        {"pipelines/chat.yaml": "steps:\n  - history\n"},
        "pipelines/chat.yaml:2:5: a step is one word and its options, e.g. `- history: {keep: 40}`",
    ),
    "a pipeline with two steps in one": (
        {"pipelines/chat.yaml": "steps:\n  - history: {keep: 1}\n    edit: {max_chars: 1}\n"},
        "pipelines/chat.yaml:2:5: a step is one word and its options, e.g. `- history: {keep: 40}`",
    ),
    "a pipeline with parameters out of bounds": (
        {"pipelines/chat.yaml": "steps:\n  - params: {temperature: 9}\n"},
        "pipelines/chat.yaml:2:27: temperature must be from 0 to 2",
    ),
    "a pipeline with an unknown parameter": (
        {"pipelines/chat.yaml": "steps:\n  - params: {temprature: 1}\n"},
        "pipelines/chat.yaml:2:14: unknown key `temprature` in `params`; did you mean `temperature`?",
    ),
    "a pipeline with an unknown key": (
        {"pipelines/chat.yaml": "steps: []\nstps: []\n"},
        "pipelines/chat.yaml:2:1: unknown key `stps` in a pipeline; did you mean `steps`?",
    ),
    "a pipeline with a mapping of steps": (
        {"pipelines/chat.yaml": "steps: {history: {keep: 3}}\n"},
        "pipelines/chat.yaml:1:8: a pipeline is `steps:` and a list under it, e.g. `- prompt: chat.j2`",
    ),
    "a pipeline without steps": (
        {"pipelines/chat.yaml": "hello\n"},
        "pipelines/chat.yaml:1:1: a pipeline is `steps:` and a list under it, e.g. `- prompt: chat.j2`",
    ),
    "a pipeline that is empty": ({"pipelines/chat.yaml": ""}, "pipelines/chat.yaml:1:1: the file is empty"),
    "a pipeline that is not YAML": (
        {"pipelines/chat.yaml": "steps: [\n"},
        "pipelines/chat.yaml:2:1: this is not YAML: a value is missing before this, or a bracket is not closed",
    ),
    "a pipeline with a variable that is not set": (
        {"pipelines/chat.yaml": "steps:\n  - history: {keep: '${NOPE}'}\n"},
        "pipelines/chat.yaml:2:21: the environment variable NOPE is not set: set it where the router is started or in .env, or give it a default, ${NOPE:-…}",
    ),
    "a template that is missing": (
        {"pipelines/chat.yaml": "steps:\n  - prompt: caht.j2\n", "pipelines/chat.j2": "Hi"},
        "pipelines/chat.yaml:2:13: there is no pipelines/caht.j2; did you mean `chat.j2`?",
    ),
    "a template given as a mapping": (
        {"pipelines/chat.yaml": "steps:\n  - prompt: {template: chat.j2}\n"},
        "pipelines/chat.yaml:2:13: `prompt` takes a name, e.g. chat, not a mapping",
    ),
    "a template given as nothing": (
        {"pipelines/chat.yaml": "steps:\n  - prompt:\n"},
        "pipelines/chat.yaml:2:12: `prompt` has no value: a name, e.g. chat is needed",
    ),
    "a template that does not compile": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hi\n{% if ask %}\n"},
        "pipelines/chat.j2:2:1: this template does not compile: Unexpected end of template. Jinja was looking for the following tags: 'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'.",
    ),
    "a template with an open tag": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hi\n\n{{ ask.kind \n"},
        "pipelines/chat.j2:3:1: this template does not compile: unexpected end of template, expected 'end of print statement'.",
    ),
    "a template with an unknown tag": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "{% fro m in messages %}{% endfor %}"},
        "pipelines/chat.j2:1:1: this template does not compile: Encountered unknown tag 'fro'.",
    ),
    "a template with an unknown filter": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hi\n{{ ask.kind | uper }}"},
        "pipelines/chat.j2:2:15: no filter or test is named `uper`; did you mean `upper`?",
    ),
    "a template with an unknown test in a branch": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "{% if ask.kind %}\n{% if ask.kind is strng %}{% endif %}{% endif %}"},
        "pipelines/chat.j2:2:19: no filter or test is named `strng`; did you mean `string`?",
    ),
    "a template with an unknown name": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hello\n\n  {{ mesages[0].text }}\n"},
        "pipelines/chat.j2:3:6: a template knows no `mesages`; did you mean `messages`?",
    ),
    "a template with an unknown name, also written in its prose": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "user: {{ ask.user }} {{ user }}\n"},
        "pipelines/chat.j2:1:25: a template knows no `user`; there is `messages`, `params`, `ask`",
    ),
    "a template that includes one that is missing": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hi\n{% include 'rules.j2' %}"},
        "pipelines/chat.j2:2:13: there is no pipelines/rules.j2; there is `chat.j2`, `chat.yaml`",
    ),
    "a template that includes one without a name": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "Hi\n{% include '' %}"},
        "pipelines/chat.j2:2:1: there is no pipelines/; there is `chat.j2`, `chat.yaml`",
    ),
    "a template that includes one with a mistake": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": "{% include 'rules.j2' %}", "pipelines/rules.j2": "Be\n{{ kind }}"},
        "pipelines/rules.j2:2:4: a template knows no `kind`; there is `messages`, `params`, `ask`",
    ),
    "a template nested too deeply": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": DEEP},
        "pipelines/chat.j2:1:1: this template does not compile: it is nested too deeply",
    ),
    "a template with too many blocks": (
        {"pipelines/chat.yaml": PROMPT, "pipelines/chat.j2": BLOCKS},
        "pipelines/chat.j2:1:1: this template does not compile: it is nested too deeply",
    ),
    "a tool file that is not Python": (
        {"tools/weather.py": "X = 1\ndef get(:\n    pass\n"},
        "tools/weather.py:2:9: this is not Python: invalid syntax",
    ),
    "a tool file that fails when it is loaded": (
        {"tools/weather.py": "X = 1\nraise ValueError('a secret')\n"},
        "tools/weather.py:2:1: this file fails when it is loaded: ValueError",
    ),
    "a tool file that fails in a function": (
        {"tools/weather.py": "def _go():\n    return [][1]\n\n\n_go()\n"},
        "tools/weather.py:2:1: this file fails when it is loaded: IndexError",
    ),
    "a tool file that ends the process": (
        {"tools/weather.py": "import sys\nsys.exit(1)\n"},
        "tools/weather.py:2:1: this file fails when it is loaded: SystemExit",
    ),
    "a tool file that lacks a package": (
        {"tools/weather.py": "import no_such_package\n"},
        "tools/weather.py:1:1: this file fails when it is loaded: ModuleNotFoundError",
    ),
    "a tool file without a public function": (
        {"tools/weather.py": "def _get() -> str:\n    return ''\n"},
        "tools/weather.py:1:1: this file has no public function: a tool set is one or more",
    ),
    "a tool file whose tool lacks an annotation": (
        {"tools/weather.py": 'import math\n\ndef get(city):\n    """Get."""\n'},
        "tools/weather.py:3:9: a tool's parameters must have types that JSON has: parameter city of get has no type annotation",
    ),
    "a tool file whose tool has a type that JSON lacks": (
        {"tools/weather.py": 'def get(city: bytes) -> str:\n    """Get."""\n'},
        "tools/weather.py:1:9: a tool's parameters must have types that JSON has: <class 'bytes'> is not a type that JSON has",
    ),
    "a tool file whose tool has an annotation that is none": (
        {"tools/weather.py": 'def get(city: "a city") -> str:\n    """Get."""\n'},
        "tools/weather.py:1:9: a tool's parameters must have types that JSON has: Forward reference must be an expression -- got 'a city'",
    ),
    "a tool file whose tool is a generator": (
        {"tools/weather.py": 'def get(city: str) -> object:\n    """Get."""\n    yield city\n'},
        "tools/weather.py:1:1: `get` yields without `async`: a tool that reports progress is an `async def`",
    ),
    "a tool file whose tool has a parameter by position only": (
        {"tools/weather.py": 'def get(city: str, /) -> str:\n    """Get."""\n'},
        "tools/weather.py:1:9: `get` has `/` or `*` among its parameters: a tool is called with all of them by name",
    ),
    "a tool file whose tool has a parameter by keyword only": (
        {"tools/weather.py": 'def get(city: str, *, days: int = 1) -> str:\n    """Get."""\n'},
        "tools/weather.py:1:23: `get` has `/` or `*` among its parameters: a tool is called with all of them by name",
    ),
    "a tool file whose tool takes anything": (
        {"tools/weather.py": 'def get(*city: str) -> str:\n    """Get."""\n'},
        "tools/weather.py:1:10: a tool's parameters must have types that JSON has: get takes *city: name each parameter",
    ),
    "a tool file whose tool lacks a docstring": (
        {"tools/weather.py": "\n\ndef get(city: str) -> str:\n    return city\n"},
        "tools/weather.py:3:1: `get` needs a docstring: it is what the model knows of it",
    ),
}


@pytest.mark.parametrize("mistake", BESIDE)
def test_mistake_in_a_pipeline_template_or_tool_file_gives_exactly_these_complaints(workspace: Workspace, mistake: str) -> None:
    """A mistake in a pipeline, a template or a tool file gives exactly the expected complaint, at its line and column in that file."""
    files, told = BESIDE[mistake]
    workspace.write("routes.yaml", WITH_TOOLS)
    for name, content in files.items():
        workspace.write(name, content)
    assert complaints(workspace) == told.split("\n")


def test_route_with_two_tools_of_one_name_is_a_mistake(workspace: Workspace) -> None:
    """A route with two tool sets that have a tool of one name gives a complaint at the second set."""
    workspace.write("routes.yaml", route("{pipeline: chat, targets: [a], tools: [weather, other]}")).write("tools/other.py", WEATHER)
    assert complaints(workspace) == ["routes.yaml:4:54: `m` gets two tools named `get_weather`: from weather and from other"]


def test_ten_mistakes_in_three_files_are_reported_at_once(workspace: Workspace) -> None:
    """Ten mistakes in routes.yaml and two other files are all reported in one run, in reading order."""
    written = """targets:
  demo: {script: demo}
  gpt: {model: opnai/gpt-4o}
  claude: {model: anthropic/claude, optionl: true}
defaults:
  timeout: {frist_token: 10s}
  retry: {attempts: 0}
routes:
  chat-model:
    pipeline: chta
    targets: [dmo]
    tools: [wether]
    reasoning: shwo
  title-model: {pipeline: title, targets: [demo]}
"""
    workspace.write("routes.yaml", written)
    workspace.write("pipelines/title.yaml", "steps:\n  - prompt: title.j2\n  - histroy: {keep: 4}\n")
    workspace.write("pipelines/title.j2", "Title this:\n\n{{ mesages[0].text }}\n")
    assert complaints(workspace) == [
        "routes.yaml:3:16: no provider is named `opnai`; did you mean `openai/gpt-4o`?",
        "routes.yaml:4:37: unknown key `optionl` in `claude`; did you mean `optional`?",
        "routes.yaml:6:13: unknown key `frist_token` in `timeout`; did you mean `first_token`?",
        "routes.yaml:7:21: attempts must be from 1 to 10",
        "routes.yaml:10:15: there is no pipelines/chta.yaml; did you mean `chat`?",
        "routes.yaml:11:15: no target is named `dmo`; did you mean `demo`?",
        "routes.yaml:12:13: there is no tools/wether.py; did you mean `weather`?",
        "routes.yaml:13:16: `shwo` is not one of hide, show; did you mean `show`?",
        "pipelines/title.j2:3:4: a template knows no `mesages`; did you mean `messages`?",
        "pipelines/title.yaml:3:5: there is no step `histroy`; did you mean `history`?",
    ]


def test_complaint_is_printed_with_its_line_and_a_caret(workspace: Workspace) -> None:
    """A printed complaint is followed by its line of the file, and a caret below the wrong word."""
    workspace.write("routes.yaml", target("{script: demo, optionl: true}"))
    with pytest.raises(ConfigError) as caught:
        workspace.build()
    assert str(caught.value).splitlines() == [
        "routes.yaml:2:21: unknown key `optionl` in `a`; did you mean `optional`?",
        "      a: {script: demo, optionl: true}",
        "                        ^",
    ]


def test_line_of_a_misspelled_first_token_is_shown(workspace: Workspace) -> None:
    """A misspelled `first_token` is shown with its line: a key that contains "token" is not masked as a secret here."""
    workspace.write("routes.yaml", target("{script: demo}") + "defaults:\n  timeout: {frist_token: 10s}\n")
    with pytest.raises(ConfigError) as caught:
        workspace.build()
    assert "      timeout: {frist_token: 10s}" in str(caught.value).splitlines()
