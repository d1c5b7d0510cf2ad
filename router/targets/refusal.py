"""Lessons from a refusal that names a parameter: what the model is sent instead from then on.

A 400 or 422 mostly names the refused parameter: in a field (OpenAI's `param`, the `loc` of a validator), or in a sentence. A field that
was not sent is not at fault; messages, tools and their schemas are never left out.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, cast

from router.chat import FileSort
from router.params import Effort
from router.targets.facts import EFFORTS, PENALTIES, Facts
from router.targets.fit import HINTS
from router.targets.subset import OBJECT, SCHEMA
from router.targets.verdict import reason
from router.value import Value, replace

QUOTED = 8 * 1024
"""Characters of a refusal's body that are searched; the rest is ignored."""
# Texts, which `re` compiles at the first refusal: all of them take 4 ms, a hundredth of a start.
REFUSING = (
    r"(?i)unsupported|unavailable|extra_forbidden|deprecat|unrecogni[sz]ed|unknown|unexpected|invalid|illegal|disallowed|forbidden|rejected"
    r"|(?:not|n't) (?:be )?(?:a )?(?:supported|support|permitted|permit|allowed|allow|available|accepted|accept|enabled|valid|take|known|implemented)"
    r"|not recogni[sz]ed|additional propert|no such|only \S+(?: \S+){0,4} (?:is |are )?(?:allowed|supported)|cannot (?:both )?be|can't be"
    r"|(?:can|may) only be|may not be|must (?:be|equal|not|contain)|should be|fixed (?:to|at)|supported range|no longer|does not (?:support|accept)"
    r"|remove|too large|at most|maximum|not compatible|incompatible|不支持|非法|有误|无效|不合法"
)
"""Pattern of the words by which a sentence refuses a parameter."""
CONTEXT = r"(?i)context (?:length|window|limit|size)|prompt (?:is too long|length)|input (?:length|is too long|tokens)"
"""Pattern of the words by which a sentence refuses the length of a question."""
BOUND = r"(?i)block is bound to a different conversation"
"""Pattern of the words with which Claude, from Fable 5.1 on, refuses thinking that is sent back with a changed conversation.

Source: https://platform.claude.com/docs/en/build-with-claude/preserved-thinking/fix-bound-to-a-different-conversation."""
WORD = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[a-z_]+)*"
PLACED = ("param", "parameter", "field", "additionalProperty")
"""Keys whose value names the refused field."""
QUOTATION = r"""(?s)(?<!\w)(['"`]).{0,500}?\1(?!\w)"""
WARMEST = r"(?i)(?:less than or equal to|at most|between 0(?:\.0)? and|up to|<=|\[0(?:\.0)?,) ?(\d(?:\.\d+)?)\b(?! is)"
"""Pattern of the highest temperature that a refusal allows."""
RANGE = r"\[\s*\d{1,9}\s*,\s*(\d{1,9})\s*\]"
NUMBER = r"\d{1,9}"
USUAL_EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
EXCLUSIVE = r"(\d{1,9}) \(exclusive\)"
"""Pattern of the end of a range in Google's form: `from 1 (inclusive) to 65537 (exclusive)`."""


class Lesson(Value, frozen=True):
    """The result of one refusal: a parameter that a model does not take, and what it is sent from then on.

    parameter: the refused parameter, by the question's name for it
    instead: what is sent in its place, in one word; empty if the parameter is left out
    applied: returns given facts with this lesson in them
    lasting: true if it holds for later questions; false if this question's schema or thinking was at fault
    """

    parameter: str
    instead: str
    applied: Callable[[Facts], Facts]
    lasting: bool = True

    def __str__(self) -> str:
        return f"{self.parameter}:{self.instead}" if self.instead else self.parameter


NAMES = {
    "random_seed": "seed",
    **dict.fromkeys(("stop_sequences", "stopSequences"), "stop"),
    **dict.fromkeys(("max_completion_tokens", "max_output_tokens", "maxOutputTokens"), "max_tokens"),
    "topP": "top_p",
    "topK": "top_k",
    "serviceTier": "service_tier",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "toolConfig": "tool_choice",
    **dict.fromkeys(("reasoning", "effort"), "reasoning_effort"),
    "text": "verbosity",
    **dict.fromkeys((SCHEMA, OBJECT, "responseMimeType", "responseSchema", "responseJsonSchema"), "response_format"),
}
"""Name of a sent field → the question's name for that parameter."""
WITHHELD = frozenset((*HINTS, "stop"))
"""Parameters that are left out once refused; for `stop` the router cuts the answer."""


def lesson(status: int, body: str, sent: Collection[str], facts: Facts) -> Lesson | None:
    """Return what a refusal teaches about a parameter that was sent, by which the request can be changed; None if it teaches nothing.
    Only a status of 400 or 422 teaches: if the text names a field in `sent`, or refuses thinking that belongs to another conversation.
    A question that was too long teaches nothing. `facts` are those by which the request was made.
    """
    if status not in (400, 422):
        return None
    body = body[:QUOTED]
    said = _sentence(body)
    if re.search(CONTEXT, said) or reason(status, body) in ("too_long", "filtered"):
        return None  # another question may be shorter
    if re.search(BOUND, said):
        return Lesson("reasoning_state", "", lambda known: replace(known, recalls=False), lasting=False) if facts.recalls else None
    formed = SCHEMA in sent or OBJECT in sent
    for name in _named(body, said, sent):
        of_output = formed and NAMES.get(name, name) in FORMS and (name not in ("text", "output_config") or OF_OUTPUT.search(said))
        found = _output(said, sent) if of_output else _learned(name, said, facts)
        if found is not None:
            return found
    return None


def blamed(status: int, body: str, sent: Collection[str]) -> str | None:
    """Return the sent field that a refusal names first; None if it names none, or if its status is not 400 or 422."""
    body = body[:QUOTED]
    return next(_named(body, _sentence(body), sent), None) if status in (400, 422) else None


def file_lesson(sort: FileSort) -> Lesson:
    """Return the lesson that a target does not read files of this sort."""
    name = {"image": "images", "document": "documents", "audio": "audio"}[sort]
    return Lesson(name, "", lambda known: replace(known, **{name: False}))


def _decoded(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _objects(value: Any, depth: int = 6) -> Iterator[dict[str, Any]]:
    """Yield the objects in a decoded body, outer ones first, down to `depth` levels; of a list, those in its first 20 values.
    A text that is an object itself counts as one: OpenRouter passes on a provider's body so.
    """
    within: Iterable[Any] = ()
    if depth and isinstance(value, dict):
        yield (table := cast("dict[str, Any]", value))
        within = table.values()
    elif depth and isinstance(value, list):
        within = cast("list[Any]", value)[:20]
    elif depth and isinstance(value, str) and value.lstrip().startswith("{"):
        within = (_decoded(value),)
    for inner in within:
        yield from _objects(inner, depth - 1)


SAID = ("message", "msg", "error", "detail", "errorMessage", "error_message", "error_msg", "status_msg", "title", "description", "reason")
"""Keys whose texts are the sentence of a refusal."""


def _sentence(body: str) -> str:
    """Return the texts of the keys in SAID in a JSON body, joined by spaces; the whole body if there are none."""
    words = [one[key] for one in _objects(_decoded(body)) for key in SAID if isinstance(one.get(key), str)]
    return " ".join(words) or body


def _named(body: str, said: str, sent: Collection[str]) -> Iterator[str]:
    """Yield the sent fields that a refusal names, the likeliest first, perhaps repeatedly. `said`: the sentence of the refusal."""
    known = {_plain(name): name for name in sent}
    placed: list[str] = []
    for one in _objects(_decoded(body)):
        param, place = next((one[name] for name in PLACED if isinstance(one.get(name), str)), None), one.get("loc")
        for part in [param] if param else cast("list[object]", place) if isinstance(place, list) else []:
            if isinstance(part, str):
                placed += [known[piece] for piece in _pieces(part) if piece in known]
    if placed:
        yield from placed  # other names in the sentence may be a tool's field or the user's word
    elif re.search(REFUSING, said):
        # A quotation of several words may be the user's.
        for word in re.findall(WORD, re.sub(QUOTATION, lambda quoted: quoted[0] if len(quoted[0].split()) == 1 else " ", said)):
            yield from (known[piece] for piece in _pieces(word) if piece in known)
        if "penalty" in said.lower():  # Gemini: `Penalty is not enabled for models/gemini-…`
            yield from sorted(name for name in sent if NAMES.get(name, name) in PENALTIES)
        if re.search(r"(?i)json mode|mime type", said) and "responseMimeType" in sent:  # Gemini: `JSON mode is not enabled for …`
            yield "responseMimeType"
        if "thinking" in said.lower() and "thinkingConfig" in sent:  # Gemini: `Thinking level is not supported for this model`
            yield "thinkingConfig"


def _plain(name: str) -> str:
    """Return a field's name without underscores, in lower case, so that `presencePenalty` and `presence_penalty` are equal."""
    return name.replace("_", "").lower()


def _pieces(word: str) -> list[str]:
    """Return the parts of a dotted or indexed name, each as `_plain` returns it: thinking.type.enabled, tools[0].function."""
    return [_plain(part) for part in re.split(r"[.\[\]]+", word)]


FORMS = frozenset({"response_format", "verbosity", "output_config"})
"""Parameters that set the form of an answer, among other things: OpenAI's `text` (known as verbosity) and Anthropic's `output_config`
(also the effort)."""
OF_OUTPUT = re.compile(r"(?i)format|schema|json|grammar|mime")
OF_ONE_SCHEMA = re.compile(
    r"(?i)(?<!json_)(?<!json )(?<!response)\bschemas?\b|propert|in context=|keyword|grammar|compil|too complex|tool|function"
)
"""Pattern of a refusal that concerns this question's schema, and not structured output of the model in general."""


def _output(said: str, sent: Collection[str]) -> Lesson:
    """Return the lesson of a refused form: JSON mode for a schema, an instruction for that. It lasts unless this schema was at fault."""
    lasting = OF_ONE_SCHEMA.search(said) is None
    if SCHEMA in sent:
        return Lesson("response_format", OBJECT, lambda known: replace(known, schemas=False), lasting)
    return Lesson("response_format", "instruction", lambda known: replace(known, json_mode=False), lasting)


def _learned(sent: str, said: str, facts: Facts) -> Lesson | None:
    name = NAMES.get(sent, sent)
    if name in WITHHELD:
        if name in ("temperature", "top_p") and "both" in said and not facts.one_of_sampling:
            return Lesson("top_p", "", lambda known: replace(known, one_of_sampling=True))
        if name == "temperature" and (most := re.search(WARMEST, said)) and float(most[1]) < facts.warmest:
            return Lesson(name, f"at_most_{most[1]}", lambda known: replace(known, warmest=float(most[1])))
        return Lesson(name, "", lambda known: replace(known, refuses=known.refuses | {name}))
    match name:
        case "max_tokens":
            return _limit(sent, said, facts)
        case "reasoning_effort":
            return _effort(said, facts)
        case "thinkingConfig":
            return _gemini_thinking(said.lower().replace("_", " "), facts)
        case "thinking" | "output_config":
            return _thinking(name, said, facts)
        case "tool_choice":
            return Lesson(name, "auto", lambda known: replace(known, forced_tools=False)) if facts.forced_tools else None
        case "stream_options":
            return Lesson(name, "", lambda known: replace(known, stream_options=False))
        case "prompt_cache_key":
            return Lesson(name, "", lambda known: replace(known, session_key=""))
        case "cache_control":
            return Lesson(name, "", lambda known: replace(known, marks_from=0))
        case _:
            return None


def _limit(sent: str, said: str, facts: Facts) -> Lesson | None:
    """Return the lesson of a refused output limit: its other name, a lower maximum, or a cut by the router; None if it cuts already."""
    other = "max_completion_tokens" if sent == "max_tokens" else "max_tokens"
    if _plain(other) in _plain(said) and facts.limit == sent:
        return Lesson("max_tokens", other, lambda known: replace(known, limit=other))
    numbers = sorted(int(number) for number in re.findall(NUMBER, re.sub(EXCLUSIVE, lambda found: str(int(found[1]) - 1), said)))
    if re.search(r"(?i)too large|at most|maximum|range|less than|exceed|> \d", said) and numbers:
        # The sentence has the sent and the allowed number: the smaller is taken. A range begins with 1.
        ranged = re.search(RANGE, said)
        most = int(ranged[1]) if ranged else next((number for number in numbers if number > 1), 0)
        if most and most != facts.max_output:
            return Lesson("max_tokens", f"at_most_{most}", lambda known: replace(known, max_output=most))
    return Lesson("max_tokens", "cut", lambda known: replace(known, limit="none")) if facts.limit != "none" else None


def _effort(said: str, facts: Facts) -> Lesson | None:
    if "summar" in said and facts.summaries:
        return Lesson("reasoning_summary", "", lambda known: replace(known, summaries=False))
    if "/responses" in said and "tools" in said and facts.responses == "never":
        return Lesson("reasoning_effort", "responses", lambda known: replace(known, responses="tools_while_thinking"))
    listed = re.search(r"(?i)(?:supported values|valid values|allowed values|must be one of|one of)\W{1,4}(.{0,200})", said)
    taken = tuple(one for one in EFFORTS if listed and re.search(rf"['\"`\b]{one}['\"`\b]|\b{one}\b", listed[1]))
    if taken and taken != facts.efforts:
        return Lesson("reasoning_effort", "|".join(taken), lambda known: replace(known, efforts=taken))
    return Lesson("reasoning_effort", "", lambda known: replace(known, refuses=known.refuses | {"reasoning_effort"}))


def _gemini_thinking(said: str, facts: Facts) -> Lesson | None:
    """Return the lesson of Gemini's refusal of a thinking setting; None if the facts already say that no setting is sent.
    `said`: the refusal in lower case, with spaces in place of underscores.
    Source: RooCodeInc/Roo-Code#10700 and #4399, google-gemini/gemini-cli#14025, vercel/ai#8027, pydantic/pydantic-ai#1967.
    """
    if not facts.always_thinks and re.search(r"only works in thinking mode|can't be disabled|cannot be set to 0|budget (to 0|0 is)", said):
        return Lesson("reasoning_effort", "always", lambda known: replace(known, always_thinks=True))
    levels = tuple(one for one in facts.efforts if not re.search(rf"\b{one}\b", said))
    if "level" in said and levels and levels != facts.efforts:
        return Lesson("reasoning_effort", "|".join(levels), lambda known: replace(known, efforts=levels))
    if re.search(r"thinking ?level", said) and facts.thinking == "effort":
        return Lesson("reasoning_effort", "budget", lambda known: replace(known, thinking="budget", efforts=()))
    if re.search(r"thinking ?budget", said) and facts.thinking == "budget" and "level" in said:
        return Lesson("reasoning_effort", "level", lambda known: replace(known, thinking="effort", efforts=USUAL_EFFORTS))
    return Lesson("reasoning_effort", "", lambda known: replace(known, thinking="none")) if facts.thinking != "none" else None


def _thinking(name: str, said: str, facts: Facts) -> Lesson | None:
    if name == "output_config" or (re.search(r"\beffort\b", said) and "adaptive" not in said):
        return Lesson("reasoning_effort", "", lambda known: replace(known, efforts=())) if facts.efforts else None
    if facts.thinking == "budget" and "adaptive" in said:
        adaptive: dict[str, Any] = {"thinking": "adaptive", "refuses_thinking": frozenset[str]()}
        return Lesson("thinking", "adaptive", lambda known: replace(known, efforts=known.efforts or USUAL_EFFORTS, **adaptive))
    if facts.thinking == "adaptive" and re.search(r"(?i)adaptive", said):
        return Lesson("thinking", "budget", lambda known: replace(known, thinking="budget", efforts=()))
    return Lesson("thinking", "", lambda known: replace(known, thinking="none"))
