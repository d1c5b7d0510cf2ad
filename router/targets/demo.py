"""The demo's lines: what `script: demo` says to a question. It answers every shipped route without a key or a network.

It asks for a real tool where the route grants one and the question wants it, and then tells what came of it.
"""

import re
from collections.abc import Sequence

from router.chat import Ask, Message
from router.config.declaration import ScriptLine
from router.config.values import Name

WEATHER = re.compile(r"(?i)\bweather\b|\bforecast\b|天气")
TIME = re.compile(r"(?i)\btime\b|\bclock\b|几点|时间")
SUM = re.compile(r"(?<![\w.])[-(]*\d[\d.,]*\)*(?:\s*(?:\*\*|[-+*/^×÷%])\s*[-(]*\d[\d.,]*\)*)+")
PLACE = r"\s+(?:like\s+)?(?:today\s+|now\s+|right now\s+)?(?:in|at|for)\s+([A-ZÀ-Þ][\w'’-]*(?:\s+(?!And\b)[A-ZÀ-Þ][\w'’-]*)*|[\u4e00-\u9fff]{2,6})"
CHINESE_PLACE = r"([\u4e00-\u9fff]{2,3}?)(?:市)?(?:今天|明天|现在|的)*(?:天气|几点|时间)"

READ = 1_000
"""Characters of a question that are searched: the patterns take quadratic time on a long run of blanks or dashes."""
TITLE_WORDS = 7


def lines(ask: Ask) -> Sequence[ScriptLine]:
    """What the demo does with this question."""
    if "title" in ask.model:
        return (ScriptLine(text=_title(ask)),)
    if "artifact" in ask.model:
        return (ScriptLine(text=_artifact(ask)),)
    question = _question(ask)[:READ]
    results = [part for message in _since_question(ask.messages) for part in message.results]
    if results:
        told = "\n".join(f"- {result.text}" for result in results)
        return (ScriptLine(text=f"Here is what I found:\n\n{told}\n"),)
    calls = _calls(question, {spec.name for spec in ask.tools})
    thought = ScriptLine(thought="The user wants to know something. " + ("A tool can tell. " if calls else "I can say that myself. "))
    return (thought, *calls) if calls else (thought, ScriptLine(text=_hello(question)))


def _question(ask: Ask) -> str:
    return next((message.text for message in reversed(ask.messages) if message.role == "user"), "")


def _since_question(messages: Sequence[Message]) -> Sequence[Message]:
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    return messages[last + 1 :]


def _calls(question: str, granted: set[str]) -> list[ScriptLine]:
    calls: list[ScriptLine] = []
    if "get_weather" in granted and WEATHER.search(question):
        calls.append(ScriptLine(call=Name("get_weather"), arguments={"location": _place(question, WEATHER, "Beijing")}))
    if "get_time" in granted and TIME.search(question):
        calls.append(ScriptLine(call=Name("get_time"), arguments={"place": _place(question, TIME, "UTC")}))
    if "calculate" in granted and (expression := SUM.search(question)):
        calls.append(ScriptLine(call=Name("calculate"), arguments={"expression": expression[0].strip().rstrip(".,")}))
    return calls


def _place(question: str, word: re.Pattern[str], otherwise: str) -> str:
    """The place that belongs to a word: `weather in Beijing and the time in Tokyo` has one for each."""
    spoken = re.search(rf"(?:{word.pattern.removeprefix('(?i)')}){PLACE}", question)
    chinese = [hit for hit in re.finditer(CHINESE_PLACE, question) if word.search(hit[0])]
    anywhere = re.search(PLACE, " " + question)
    hit = spoken or (chinese[0] if chinese else None) or anywhere
    return hit[hit.lastindex or 1] if hit else otherwise


def _hello(question: str) -> str:
    said = " ".join(question.split())
    shown = f" You wrote: “{said[:200]}”." if said else ""
    return (
        f"Hello! This is the offline demo: no provider key is set, so nobody thinks about your words.{shown}\n\n"
        "Ask for the **weather** in a city, the **time** somewhere, or a **sum** such as 12 * 7, and a real tool runs. "
        "Set `OPENAI_API_KEY` (or another key that `routes.yaml` names) and restart, and the same route asks a real model.\n"
    )


def _title(ask: Ask) -> str:
    words = re.sub(r"[\"'“”:]+", "", _question(ask)).split()[:TITLE_WORDS]
    title = " ".join(words).rstrip(".?!,;。？！，") or "New chat"
    return title[:1].upper() + title[1:80]


def _artifact(ask: Ask) -> str:
    kind = ask.extra.get("kind") or ask.fields.get("kind") or "text"
    topic = " ".join(_question(ask).split())[:120] or "Demo"
    return ARTIFACTS.get(str(kind), ARTIFACTS["text"]).format(topic=topic, literal=repr(topic), cell='"' + topic.replace('"', '""') + '"')


ARTIFACTS = {
    "text": "# {topic}\n\nThis document comes from the offline demo.\n\n## What it shows\n\nThe route, its pipeline and the stream "
    "are real; only the model is a script.\n",
    "code": '# From the offline demo.\ntopic = {literal}\n\n\ndef main() -> None:\n    print(f"About: {{topic}}")\n\n\n'
    'if __name__ == "__main__":\n    main()\n',
    "sheet": "item,topic,amount\n1,{cell},10\n2,{cell},20\n3,{cell},30\n",
}
