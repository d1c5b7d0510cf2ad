"""The offline demo: its text, and the tools that it calls for each kind of question."""

import ast
import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attempt import Attempt
from router.chat import Ask, Json, Message, Result, ToolSpec
from router.targets.demo import ALONE, NAMED, Post, lines

TOOLS = ("get_weather", "get_time", "calculate")


def ask(*turns: str | Message, model: str = "chat-model", tools: tuple[str, ...] = TOOLS, **fields: Json) -> Ask:
    """Return a question; a plain text among the turns becomes a user message."""
    messages = tuple(turn if isinstance(turn, Message) else Message("user", (turn,)) for turn in turns)
    return Ask(model=model, messages=messages, tools=tuple(ToolSpec(name, "", {}) for name in tools), fields=fields)


def calls(question: Ask) -> list[tuple[str, dict[str, object]]]:
    """Return the name and arguments of each tool call that the demo makes."""
    return [(str(line.call), line.arguments or {}) for line in lines(question) if line.call]


def said(question: Ask, post: Post = ALONE) -> str:
    """Return the text of the demo's answer, without its thoughts."""
    return "".join(line.text or "" for line in lines(question, post))


UNSET = (
    "A key or an address is not set for `a`: `router check` says which variable that is. Set it and restart, and the same route asks a "
    "real model."
)

ASKED: dict[str, list[tuple[str, dict[str, object]]]] = {
    "What is the weather in Beijing and the time in Tokyo?": [("get_weather", {"location": "Beijing"}), ("get_time", {"place": "Tokyo"})],
    "What time is it in Tokyo, and what is the weather in Beijing?": [
        ("get_weather", {"location": "Beijing"}),
        ("get_time", {"place": "Tokyo"}),
    ],
    "Weather in Rome. Then 12 * 7, then the time in Oslo.": [
        ("get_weather", {"location": "Rome"}),
        ("get_time", {"place": "Oslo"}),
        ("calculate", {"expression": "12 * 7"}),
    ],
    "北京天气": [("get_weather", {"location": "北京"})],
    "北京今天的天气怎么样？": [("get_weather", {"location": "北京"})],
    "上海市天气，东京现在几点": [("get_weather", {"location": "上海"}), ("get_time", {"place": "东京"})],
    "A forecast for São Paulo, please": [("get_weather", {"location": "São Paulo"})],
    "What does the clock say in New York?": [("get_time", {"place": "New York"})],
    "How is the weather?": [("get_weather", {"location": "Beijing"})],
    "What time is it?": [("get_time", {"place": "UTC"})],
    "(1 + 2) ** 3 / 4": [("calculate", {"expression": "(1 + 2) ** 3 / 4"})],
    "6×7": [("calculate", {"expression": "6×7"})],
    "1,000.5 - -2": [("calculate", {"expression": "1,000.5 - -2"})],
    "version 2": [],
    "I have 3 cats": [],
    "Hello": [],
    "": [],
}


@pytest.mark.parametrize("question", ASKED)
def test_demo_calls_the_tools_that_the_question_needs(question: str) -> None:
    """The demo calls a tool for each weather, time or sum in a question, with its place or expression (Beijing or UTC by default)."""
    assert calls(ask(question)) == ASKED[question]


def test_demo_calls_only_tools_of_the_request() -> None:
    """The demo calls only tools that the request lists, and none if it lists none."""
    assert calls(ask("weather and time in Rome, and 1+1", tools=("get_time",))) == [("get_time", {"place": "Rome"})]
    assert calls(ask("weather and time in Rome, and 1+1", tools=())) == []


@pytest.mark.parametrize(("question", "thought"), [("weather in Rome", "A tool can tell. "), ("Hello", "I can say that myself. ")])
def test_demo_answer_starts_with_one_thought(question: str, thought: str) -> None:
    """The first line of the demo's answer is a thought, and no later line is."""
    first, *rest = lines(ask(question))
    assert first.thought == f"The user wants to know something. {thought}"
    assert rest
    assert not any(line.thought for line in rest)


def test_demo_quotes_the_users_message() -> None:
    """The demo quotes the user's message on one line, cut to 200 characters; an empty message is not quoted."""
    assert "You wrote: “Hi you”." in said(ask(" Hi\n\nyou "))
    assert f"You wrote: “{'x' * 200}”." in said(ask("x" * 5_000))
    assert "You wrote" not in said(ask(""))
    assert said(ask("")).startswith("Hello! This is the offline demo")


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ((), "This route grants no tools."),
        (("get_time",), "Ask for the **time** somewhere, and a real tool runs."),
        (TOOLS, "Ask for the **weather** in a city, the **time** somewhere or a **sum** such as 12 * 7, and a real tool runs."),
        (("search",), "A model could call `search`."),
        (("search", "calculate"), "Ask for a **sum** such as 12 * 7, and a real tool runs. A model could also call `search`."),
        (tuple(f"t{n}" for n in range(NAMED + 3)), f"A model could call {', '.join(f'`t{n}`' for n in range(NAMED))} and 3 more."),
    ],
)
def test_demo_names_the_tools_of_the_request(tools: tuple[str, ...], words: str) -> None:
    """The demo says what to ask for to see its known tools run, and lists other tools by name, at most NAMED of them."""
    assert said(ask("Hello", tools=tools)).split("\n\n")[1] == words


def test_demo_says_if_its_route_has_no_model_before_it() -> None:
    """A demo that is the only target of its route says so, and does not mention keys."""
    assert "In `routes.yaml` this route asks no model before the demo." in said(ask("Hello"))
    assert "key" not in said(ask("Hello"))


@pytest.mark.parametrize(
    ("tried", "post", "words"),
    [
        ((("a", "status_401"),), Post(("a",)), "`a` refused the key."),
        (
            (("a", "status_503"), ("a", "status_503"), ("b", "breaker_open")),
            Post(("a", "b")),
            "`a` could not answer; `b` is left alone for a moment, because it failed.",
        ),
        ((("a", "timeout_first_token"),), Post(("a", "b")), "`a` did not answer in time. `b` was not asked this time."),
        (
            (("b", "drained"),),
            Post(("a", "b"), frozenset({"a"})),
            f"`b` was taken out by an operator. {UNSET}",
        ),
        ((("elsewhere", "status_401"),), Post(("a", "b")), "`a` and `b` were not asked this time."),
    ],
)
def test_demo_explains_why_the_models_before_it_did_not_answer(tried: tuple[tuple[str, str], ...], post: Post, words: str) -> None:
    """The demo tells each model's last outcome in the newest model call of a made-up trail of attempts, or that it was not asked.
    An unset key is mentioned only where a model was skipped for it.
    """
    question = ask("Hello")
    question.trail.calls.append([Attempt(name, "status_403", 0.1) for name in post.models])  # of a model call before
    question.trail.calls.append([Attempt(name, outcome, 0.1) for name, outcome in tried])
    assert said(question, post).split("\n\n")[2] == words + "\n"


def test_demo_answers_only_the_last_user_message() -> None:
    """Tool calls and the quoted text come from the last user message; earlier questions and tool results are ignored."""
    found = Message("tool", (Result("c", "get_weather", "Rome: 20°C"),))
    before = ("weather in Rome", found, Message("assistant", ("20°C",)))
    assert calls(ask(*before, "time in Oslo")) == [("get_time", {"place": "Oslo"})]
    assert "You wrote: “Thanks”." in said(ask(*before, "Thanks"))


def test_demo_lists_the_tool_results_since_the_question() -> None:
    """After tool results, the demo lists all of them, errors included, and calls no further tool."""
    found = Message("tool", (Result("c1", "get_weather", "Rome: 20°C"), Result("c2", "get_time", {"hour": 9})))
    failed = Message("tool", (Result("c3", "calculate", "The tool failed.", is_error=True),))
    question = ask("weather in Rome, time in Oslo and 1/0", found, failed)
    assert (calls(question), said(question)) == ([], 'Here is what I found:\n\n- Rome: 20°C\n- {"hour":9}\n- The tool failed.\n')


TITLES = {
    "how do I cook rice?": "How do I cook rice",
    '"Quoted": a “thing”': "Quoted a thing",
    "one two three four five six seven eight": "One two three four five six seven",
    "  two \n lines ": "Two lines",
    "什么是爱。": "什么是爱",
    "?!": "New chat",
    "": "New chat",
    "x" * 200: "X" + "x" * 79,
}


@pytest.mark.parametrize("question", TITLES)
def test_demo_title_is_made_of_the_first_words(question: str) -> None:
    """For `title-model` the demo returns at most 7 words and 80 characters of the question, without quotes or colons, or `New chat`."""
    assert [(line.text, line.call) for line in lines(ask(question, model="title-model"))] == [(TITLES[question], None)]


HOSTILE = [
    'A "quoted", thing',
    "{braces} {0} {topic} {{x}}",
    "back\\slash \\n \\",
    "'single' '''triple''' \"\"\"",
    "a,b;c\td\r\n=1+1",
    "</script><!-- 北京 😀",
    "# heading\n```",
    "\x00\x1b[31m\u2028",
    "",
]


def artifact(topic: str, kind: Json) -> str:
    """Return the demo's document on this topic; `kind`: text, code or sheet."""
    return said(ask(topic, model="artifact-model", kind=kind))


@pytest.mark.parametrize("topic", HOSTILE)
def test_demo_documents_are_valid_for_hostile_topics(topic: str) -> None:
    """For any of these topics, text is Markdown headed by the topic, code is Python that assigns it, and sheet is CSV of three columns."""
    told = " ".join(topic.split()) or "Demo"
    text, code, sheet = (artifact(topic, kind) for kind in ("text", "code", "sheet"))
    assert text.startswith(f"# {told}\n\n")
    assigned = next(node for node in ast.parse(code).body if isinstance(node, ast.Assign))
    assert ast.literal_eval(assigned.value) == told
    header, *rows = csv.reader(io.StringIO(sheet, newline=""), strict=True)
    assert header == ["item", "topic", "amount"]
    assert rows == [["1", told, "10"], ["2", told, "20"], ["3", told, "30"]]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
def test_demo_documents_are_valid_for_random_topics(topic: str) -> None:
    """A random topic gives code that parses as Python, and a sheet of four CSV rows with three columns each."""
    code, sheet = artifact(topic, "code"), artifact(topic, "sheet")
    ast.parse(code)
    assert [len(row) for row in csv.reader(io.StringIO(sheet, newline=""), strict=True)] == [3, 3, 3, 3]
    assert json.loads(json.dumps(code)) == code


def test_demo_document_kind_comes_from_params_before_the_request() -> None:
    """The kind is taken from `params` before the request's own field; an unknown or missing kind gives a text."""
    of_params = Ask(model="artifact-model", messages=(Message("user", ("x",)),), fields={"kind": "code"}, extra={"kind": "sheet"})
    assert said(of_params) == artifact("x", "sheet")
    text = artifact("x", "text")
    for kind in (None, "", "image", 5, ["code"], {"a": 1}):
        assert artifact("x", kind) == text


@pytest.mark.parametrize("run", [" ", "-", "(", "1 ", "\n"])
def test_demo_reads_only_the_start_of_a_megabyte_question(run: str) -> None:
    """A question of the word `weather` and a million blanks, line breaks, dashes, brackets or digits first gives the weather call.
    Slow matching would exceed the time limit.
    """
    assert calls(ask("weather " + run * 1_000_000, tools=("get_weather", "calculate")))[:1] == [("get_weather", {"location": "Beijing"})]
