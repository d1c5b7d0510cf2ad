"""The lines of the offline demo (`script: demo`), which answers every shipped route without a key or a network.

The demo calls a tool if the request lists one that the question needs. What it states about the route is true.
"""

import json
import re
from collections.abc import Iterable, Sequence

from router.chat import Ask, Json
from router.config.declaration import ScriptLine
from router.config.values import Name
from router.targets.sample import sample
from router.value import Value

WEATHER = re.compile(r"(?i)\bweather\b|\bforecast\b|天气")
TIME = re.compile(r"(?i)\btime\b|\bclock\b|几点|时间")
SUM = re.compile(r"(?<![\w.])[-(]*\d[\d.,]*\)*(?:\s*(?:\*\*|[-+*/^×÷%])\s*[-(]*\d[\d.,]*\)*)+")
PLACE = r"\s+(?:like\s+)?(?:today\s+|now\s+|right now\s+)?(?:in|at|for)\s+([A-ZÀ-Þ][\w'’-]*(?:\s+(?!And\b)[A-ZÀ-Þ][\w'’-]*)*|[\u4e00-\u9fff]{2,6})"
CHINESE_PLACE = r"([\u4e00-\u9fff]{2,3}?)(?:市)?(?:今天|明天|现在|的)*(?:天气|几点|时间)"

READ = 1_000
"""Characters of a question that are searched: the patterns take quadratic time on a long run of blanks or dashes."""
TITLE_WORDS = 7
NAMED = 8
"""Limit of tools or models that one sentence lists by name."""

TOOLS = {"get_weather": "the **weather** in a city", "get_time": "the **time** somewhere", "calculate": "a **sum** such as 12 * 7"}
"""Tool that the demo can call → the subject of questions that need it."""

WORDS = {
    "status_401": "refused the key",
    "status_402": "wants to be paid",
    "status_403": "does not permit it",
    "status_404": "is not known at its address",
    "status_429": "is over its rate limit",
    "tls": "has a certificate that is not trusted",
    "connection": "could not be reached",
    "proxy_login": "could not be reached: the proxy on the way refuses its credentials",
    "proxy_denied": "could not be reached: the proxy on the way does not lead there",
    "proxy_tls": "could not be reached: the certificate of the proxy on the way is not trusted",
    "proxy_gateway": "could not be reached through the proxy on the way",
    "proxy_connection": "could not be reached: no proxy answers on the way",
    "proxy_timeout": "could not be reached in time through the proxy on the way",
    "timeout_connect": "could not be reached in time",
    "timeout_first_token": "did not answer in time",
    "breaker_open": "is left alone for a moment, because it failed",
    "no_tools": "takes no tools",
    "unsupported_parameter": "does not take a parameter of the question",
    "drained": "was taken out by an operator",
    "context_too_long": "cannot read so long a conversation",
    "skipped_window": "cannot read so long a conversation",
    "skipped_vision": "reads no images",
    "skipped_documents": "reads no documents",
    "skipped_audio": "listens to no audio",
}
"""Outcome of an attempt → how the demo words it; any other outcome is worded `could not answer`."""


class Post(Value, frozen=True):
    """A script's place in a route. `models`: names of the targets before it; `skipped`: those of them that lack a key or an address."""

    models: tuple[str, ...] = ()
    skipped: frozenset[str] = frozenset()

    @property
    def asked(self) -> bool:
        """Return whether at least one target before the script has a key and an address, and can be asked."""
        return not self.skipped.issuperset(self.models)


ALONE = Post()


def lines(ask: Ask, post: Post = ALONE) -> Sequence[ScriptLine]:
    """Return the demo's lines for a question. The first that applies: JSON, a title, a document, tool results, tool calls, a greeting.
    Requested JSON is given once no tool call is left to make. `post` is the demo's place in the route, which the greeting explains.
    """
    question = _question(ask)[:READ]
    asked_at = max((index for index, message in enumerate(ask.messages) if message.role == "user"), default=-1)
    results = [part for message in ask.messages[asked_at + 1 :] for part in message.results]
    calls = _calls(question, {spec.name for spec in ask.tools})
    if ask.output is not None and (results or not calls):
        return (ScriptLine(text=_json(ask)),)
    if "title" in ask.model:
        return (ScriptLine(text=_title(ask)),)
    if "artifact" in ask.model:
        return (ScriptLine(text=_artifact(ask)),)
    if results:
        listed = "\n".join(f"- {result.text}" for result in results)
        return (ScriptLine(text=f"Here is what I found:\n\n{listed}\n"),)
    goes_on = ask.messages[-1].role == "assistant"  # a rescue: the same words are sent again, and failover drops those already sent
    thought = ScriptLine(thought="The user wants to know something. " + ("A tool can tell. " if calls else "I can say that myself. "))
    said = calls or [ScriptLine(text=_hello(question, ask, post))]
    return said if goes_on else [thought, *said]


def _json(ask: Ask) -> str:
    """Return JSON for the requested schema, with the question's words as texts; without a schema, an object with the key `demo`.
    A property named `code` or `csv` gets a document: so chat front ends ask for one.
    """
    schema = ask.output.schema if ask.output else None
    said = " ".join(_question(ask).split())[:READ] or "Demo"

    def text(name: str) -> str:
        kind = {"code": "code", "csv": "sheet"}.get(name)
        return said if kind is None else _artifact(ask, kind)

    return json.dumps({"demo": said} if schema is None else sample(schema, text), ensure_ascii=False)


def _question(ask: Ask) -> str:
    return next((message.text for message in reversed(ask.messages) if message.role == "user"), "")


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
    """Return the place named beside a word (`weather in Beijing and the time in Tokyo` has two), else any place, else `otherwise`."""
    spoken = re.search(rf"(?:{word.pattern.removeprefix('(?i)')}){PLACE}", question)
    chinese = [hit for hit in re.finditer(CHINESE_PLACE, question) if word.search(hit[0])]
    hit = spoken or (chinese[0] if chinese else None) or re.search(PLACE, " " + question)
    return hit[hit.lastindex or 1] if hit else otherwise


def _hello(question: str, ask: Ask, post: Post) -> str:
    said = " ".join(question.split())
    shown = f" You wrote: “{said[:200]}”." if said else ""
    facts = " ".join(_why_no_model(ask, post))
    return f"Hello! This is the offline demo: a script answers, and no model reads your words.{shown}\n\n{_tools(ask)}\n\n{facts}\n"


def _tools(ask: Ask) -> str:
    """Return one or two sentences about the request's tools, or the sentence that there are none.
    The demo's own tools appear as subjects to ask for (`the **weather** in a city`), others by name. At most NAMED of each sort are listed.
    """
    if not (granted := [spec.name for spec in ask.tools]):
        return "This route grants no tools."
    own, others = [name for name in TOOLS if name in granted], [name for name in granted if name not in TOOLS]
    asked = f"Ask for {_listed((TOOLS[name] for name in own), 'or')}, and a real tool runs." if own else ""
    rest = f"A model could {'also ' if own else ''}call {_listed(map(_code, others))}." if others else ""
    return " ".join(filter(None, (asked, rest)))


def _why_no_model(ask: Ask, post: Post) -> list[str]:
    """Return sentences on why the models before the demo did not answer, or the one that there are none."""
    if not post.models:
        return ["In `routes.yaml` this route asks no model before the demo."]
    outcomes = {attempt.target: attempt.outcome for call in ask.trail.calls[-1:] for attempt in call}
    failed = [f"{_code(name)} {WORDS.get(outcomes[name], 'could not answer')}" for name in post.models if outcomes.get(name)]
    skipped = [_code(name) for name in post.models if name in post.skipped]
    unasked = [_code(name) for name in post.models if name not in outcomes and name not in post.skipped]
    facts = [f"{'; '.join(failed[:NAMED])}."] if failed else []
    if unasked:
        facts.append(f"{_listed(unasked)} {'was' if len(unasked) == 1 else 'were'} not asked this time.")
    if skipped:
        facts.append(f"A key or an address is not set for {_listed(skipped)}: `router check` says which variable that is.")
        facts.append("Set it and restart, and the same route asks a real model.")
    return facts


def _listed(things: Iterable[str], word: str = "and") -> str:
    """Join at most NAMED texts by commas, the last by `word`. The number of further texts comes last: `a, b and 3 more`."""
    named = [*things]
    if more := len(named[NAMED:]):
        named[NAMED:] = [f"{more} more"]
    return f" {word} ".join(filter(None, (", ".join(named[:-1]), named[-1])))


def _code(name: str) -> str:
    return f"`{name}`"


def _title(ask: Ask) -> str:
    words = re.sub(r"[\"'“”:]+", "", _question(ask)).split()[:TITLE_WORDS]
    title = " ".join(words).rstrip(".?!,;。？！，") or "New chat"
    return title[:1].upper() + title[1:80]


def _artifact(ask: Ask, kind: Json = None) -> str:
    kind = kind or ask.extra.get("kind") or ask.fields.get("kind") or "text"
    topic = " ".join(_question(ask).split())[:120] or "Demo"
    return ARTIFACTS.get(str(kind), ARTIFACTS["text"]).format(topic=topic, literal=repr(topic), cell='"' + topic.replace('"', '""') + '"')


ARTIFACTS = {
    "text": "# {topic}\n\nThis document comes from the offline demo.\n\n## What it shows\n\nThe route, its pipeline and the stream "
    "are real; only the model is a script.\n",
    "code": '# From the offline demo.\ntopic = {literal}\n\n\ndef main() -> None:\n    print(f"About: {{topic}}")\n\n\n'
    'if __name__ == "__main__":\n    main()\n',
    "sheet": "item,topic,amount\n1,{cell},10\n2,{cell},20\n3,{cell},30\n",
}
