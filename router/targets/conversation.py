"""Rules that change a conversation as little as possible, so that a provider accepts it: functions from an Ask to an Ask.

Providers, and the chat templates of models, refuse what others accept: an id of another form, a call without a result, two
messages of one role in a row. A rule returns the same Ask object if there is nothing to change. `providers.py` lists the rules of each
provider in order; `fitted` applies them, and logs the changes.
"""

import hashlib
import logging
import re
import string
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import count
from operator import is_
from typing import cast

from router.chat import Ask, Call, File, Json, JsonObject, Message, Part, ReasoningState, Result, TextMessages
from router.targets.tool_schemas import flattened
from router.value import replace

log = logging.getLogger("router.targets")

Rule = Callable[[Ask], Ask]

BEGUN = "(start)"
"""Text of the user turn inserted before a first assistant turn."""
GO_ON = "(go on)"
"""Text of the user turn added after a last assistant turn."""
NOTED = "(noted)"
"""Text of the assistant turn inserted between a tool's result and a user turn."""
APART = "\n\n"
"""Separator of two messages that become one."""


def fitted(ask: Ask, rules: Sequence[Rule], target: str) -> Ask:
    """Return a question after a target's rules, in order, and log the names of those that changed it; the same object if none did."""
    if plain_messages(ask, rules) is not None:
        return ask
    changed: list[str] = []
    text_alone = ask.text_alone
    for rule in rules:
        if text_alone and rule in BEYOND_TEXT:
            continue
        if (made := rule(ask)) is not ask:
            changed.append(rule.__name__)
            ask = made
    if changed:
        log.debug("a conversation was changed for a target", extra={"fields": {"target": target, "rules": changed}})
    return ask


def plain_messages(ask: Ask, rules: Sequence[Rule]) -> list[dict[str, Json]] | None:
    """Return the messages of a plain question, in OpenAI's form; None for any other question.
    No rule can change a plain question: it has no tools, user and assistant by turns up to the user, each with one text and no name.
    A system message may come first, unless `system_is_the_users` is a rule. None proves nothing: perhaps no rule changes the question.
    """
    if ask.tools:
        return None
    if ask.messages.__class__ is TextMessages and ask.messages[FEW:]:
        return _by_turns(ask.messages, system=system_is_the_users not in rules)
    made: list[dict[str, Json]] = []
    speaker = "user"
    for message in ask.messages:
        role = message.role
        if role != speaker and (made or role != "system" or system_is_the_users in rules):
            return None
        try:
            (text,) = message.parts
        except ValueError:
            return None
        if message.name or type(text) is not str or not text or text.isspace():
            return None
        made.append({"role": role, "content": text})
        speaker = "assistant" if role == "user" else "user"
    return made if speaker == "assistant" else None  # the last one to speak was the user


FEW = 8
"""Messages up to which a loop in Python takes no longer than several loops in C."""


def _by_turns(messages: Sequence[Message], *, system: bool) -> list[dict[str, Json]] | None:
    """Return the messages of TextMessages as `plain_messages` does. `system`: whether a system message may come first."""
    roles, texts = [one.role for one in messages], cast("list[str]", [one.parts[0] for one in messages])
    first = 1 if system and roles[0] == "system" else 0
    asked, said = roles[first::2], roles[first + 1 :: 2]
    if len(asked) != len(said) + 1 or asked.count("user") != len(asked) or said.count("assistant") != len(said):
        return None
    if any(map(str.isspace, texts)):
        return None
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]


def _with(ask: Ask, messages: Sequence[Message]) -> Ask:
    """Return the question with these messages; the same object if they are unchanged."""
    if len(messages) == len(ask.messages) and all(map(is_, messages, ask.messages)):
        return ask
    return ask.with_messages(*messages)


def _with_parts(message: Message, parts: Sequence[Part]) -> Message:
    """Return the message with these parts; the same object if they are unchanged."""
    same = len(parts) == len(message.parts) and all(map(is_, parts, message.parts))
    return message if same else replace(message, parts=tuple(parts))


def _with_schemas(ask: Ask, change: Callable[[JsonObject], JsonObject]) -> Ask:
    """Return the question with the schema of each tool changed; the same object if none is."""
    tools = tuple(one if (made := change(one.parameters)) is one.parameters else replace(one, parameters=made) for one in ask.tools)
    return ask if all(map(is_, tools, ask.tools)) else replace(ask, tools=tools)


def _says(part: Part) -> bool:
    """Return whether a part has content: anything but blank text and reasoning states."""
    return bool(part.strip()) if isinstance(part, str) else not isinstance(part, ReasoningState)


# Calls and their results.


def calls_have_results(ask: Ask) -> Ask:
    """Put results right after the message with their calls; leave out calls without a result, and results without a call.
    OpenAI: `An assistant message with 'tool_calls' must be followed by tool messages`; Anthropic: `tool_use ids were found without
    tool_result blocks immediately after`; Mistral: `Not the same number of function calls and responses` (OpenHands/OpenHands#7512,
    letta-ai/letta#3308, vercel/eve#460).
    """
    if _paired(ask.messages):
        return ask
    results: list[dict[int, Result]] = [{} for _ in ask.messages]
    """The results by message: `id()` of each call that has a result → the result."""
    waiting: dict[str, deque[tuple[int, Call]]] = {}
    """Call id → the calls without a result in the last message that bears it. A result belongs to the last call before it with its id."""
    for at, message in enumerate(ask.messages):
        for result in message.results:
            if calls := waiting.get(result.call_id):
                asked_at, call = calls.popleft()
                results[asked_at][id(call)] = result
        for call in message.calls:
            waiting[call.call_id] = deque((at, one) for one in message.calls if one.call_id == call.call_id)
    made: list[Message] = []
    for message, found in zip(ask.messages, results, strict=True):
        if message.role == "tool":
            continue
        lost = {call.call_id for call in message.calls if id(call) not in found}
        parts = [part for part in message.parts if not isinstance(part, Call) or id(part) in found]
        parts = [part for part in parts if not isinstance(part, ReasoningState) or part.call_id not in lost]
        if len(parts) == len(message.parts) or any(map(_says, parts)):
            made.append(_with_parts(message, parts))
        if found:
            made.append(Message("tool", tuple(found[id(call)] for call in message.calls if id(call) in found)))
    return _with(ask, made)


def _paired(messages: Sequence[Message]) -> bool:
    """Return whether each message with calls is followed by their results, and each result has its call."""
    open_: Counter[str] = Counter()
    for message in messages:
        if message.role == "tool":
            for result in message.results:
                if not open_[result.call_id]:
                    return False
                open_[result.call_id] -= 1
        elif open_.total():
            return False
        open_.update(call.call_id for call in message.calls)
    return not open_.total()


def _renamed(ask: Ask, name: Callable[[str, int], str]) -> Ask:
    """Return a question whose call ids are replaced, in calls, results and reasoning states.
    name: returns the new id for an id and the number of its earlier uses
    """
    seen: Counter[str] = Counter()
    open_: dict[str, deque[str]] = defaultdict(deque)
    made: list[Message] = []
    for message in ask.messages:
        calls: dict[str, deque[str]] = defaultdict(deque)
        for call in message.calls:
            calls[call.call_id].append(name(call.call_id, seen[call.call_id]))
            seen[call.call_id] += 1
        first = {old: names[0] for old, names in calls.items()}
        parts: list[Part] = []
        for part in message.parts:
            match part:
                case Call(old):
                    open_[old].append(new := calls[old].popleft())
                case Result(old):
                    new = open_[old].popleft() if open_[old] else name(old, 0)
                case ReasoningState(call_id=old) if old in first:
                    new = first[old]
                case _:
                    parts.append(part)
                    continue
            parts.append(part if new == old else replace(part, call_id=new))
        made.append(_with_parts(message, parts))
    return _with(ask, made)


UNLIKED = re.compile(r"[^A-Za-z0-9_-]")
NINE = re.compile(r"[A-Za-z0-9]{9}")
LETTERS = string.digits + string.ascii_letters
LONGEST = 40
"""The most characters of a call's id at OpenAI."""


def plain_unique_ids(ask: Ask) -> Ask:
    """Give calls unique ids of letters, digits, _ and -: Anthropic's `tool_use ids must be unique`, and its pattern.
    Servers that count from `call_0` in every answer repeat ids (NVIDIA-NeMo/Switchyard#502, HKUDS/nanobot#4444).
    """
    taken = {call.call_id for message in ask.messages for call in message.calls if not UNLIKED.search(call.call_id)}
    given: set[str] = set()

    def name(call_id: str, before: int) -> str:
        plain = UNLIKED.sub("_", call_id) or "call"
        names = (plain if number == 1 else f"{plain}_{number}" for number in count(before + 1))
        given.add(new := next(one for one in names if one not in given and (one == call_id or one not in taken)))
        return new

    return _renamed(ask, name)


def short_ids(ask: Ask) -> Ask:
    """Give calls ids of 1 to 40 characters: OpenAI's `string too long. Expected a string with maximum length 40`. Equal ids stay equal.
    Longer ones have an id of another provider's, or its signature, in them; some servers send empty ones.
    """

    def name(call_id: str, before: int) -> str:
        if 0 < len(call_id) <= LONGEST:
            return call_id
        return f"call_{hashlib.sha256((call_id or str(before)).encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"

    return _renamed(ask, name)


def nine_letter_ids(ask: Ask) -> Ask:
    """Give calls ids of nine letters and digits, derived from the old id; an id of that form stays. Equal ids stay equal.
    Mistral: `Tool call id … must be a-z, A-Z, 0-9, with a length of 9` (anomalyco/opencode#1680, langchain-ai/langchain#24668), and
    vLLM with its models.
    """

    def name(call_id: str, _: int) -> str:
        if NINE.fullmatch(call_id):
            return call_id
        digest = int.from_bytes(hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).digest()[:8], "big")
        return "".join(LETTERS[digest // 62**place % 62] for place in range(9))

    return _renamed(ask, name)


# Roles and their order.


def one_system_message_at_the_start(ask: Ask) -> Ask:
    """Join the system messages that begin a conversation into one.
    Qwen's, Gemma's and Mistral's templates take no second (vllm-project/vllm#41114, BerriAI/litellm#26879).
    """
    end = next((at for at, message in enumerate(ask.messages) if message.role != "system"), len(ask.messages))
    return _with(ask, [_joined(ask.messages[:end]), *ask.messages[end:]]) if end > 1 else ask


def one_system_message_and_first(ask: Ask) -> Ask:
    """Return the question with all its system messages joined into one at the start, as some chat templates require."""
    system = [message for message in ask.messages if message.role == "system"]
    if not system or (len(system) == 1 and ask.messages[0].role == "system"):
        return ask
    return _with(ask, [_joined(system), *(message for message in ask.messages if message.role != "system")])


def system_is_the_users(ask: Ask) -> Ask:
    """Join all system messages into one user message at the start: Gemma 3 at Google takes no system message.
    `Developer instruction is not enabled for models/gemma-3-27b-it` (lobehub/lobehub#7128, microsoft/vscode#258088).
    """
    system = [message for message in ask.messages if message.role == "system"]
    others = [message for message in ask.messages if message.role != "system"]
    return ask.with_messages(Message("user", _joined(system).parts), *others) if system else ask


def no_empty_assistant(ask: Ask) -> Ask:
    """Remove assistant messages of blank text or reasoning. Mistral: `Assistant message must have either content or tool_calls`."""
    return _with(ask, [one for one in ask.messages if one.role != "assistant" or any(map(_says, one.parts))])


def roles_alternate(ask: Ask) -> Ask:
    """Join neighbouring user messages, and neighbouring assistant messages, into one.
    `user or tool message(s) should alternate with assistant message(s)` (perplexityai/api-discussion#265,
    danny-avila/LibreChat#3048), and the templates of Gemma, Mistral and Llama 2.
    """
    made: list[Message] = []
    for message in ask.messages:
        if made and made[-1].role == message.role and message.role in ("user", "assistant"):
            made[-1] = _joined([made[-1], message])
        else:
            made.append(message)
    return _with(ask, made)


def assistant_between_tool_and_user(ask: Ask) -> Ask:
    """Insert an assistant's turn between a tool and a user: Mistral's `Unexpected role 'user' after role 'tool'`."""
    made: list[Message] = []
    for message in ask.messages:
        if made and made[-1].role == "tool" and message.role == "user":
            made.append(Message("assistant", (NOTED,)))
        made.append(message)
    return _with(ask, made)


def user_begins(ask: Ask) -> Ask:
    """Insert a user turn `(start)` before the first message that is not the system's, unless it is a user's.
    Without such a message, the system messages become one user turn, or `(start)` if they are blank.
    Anthropic: `first message must use the "user" role` (lobehub/lobehub#1601, posit-dev/py-shiny#1530); Qwen's templates: `No user
    query found in messages`.
    """
    first = next((at for at, message in enumerate(ask.messages) if message.role != "system"), None)
    if first is None:
        words = _joined(ask.messages).parts if ask.messages else ()
        return ask.with_messages(Message("user", words if any(map(_says, words)) else (BEGUN,)))
    if ask.messages[first].role == "user":
        return ask
    return _with(ask, [*ask.messages[:first], Message("user", (BEGUN,)), *ask.messages[first:]])


def user_ends(ask: Ask) -> Ask:
    """Add a user turn `(go on)` if the last message is the assistant's.
    Mistral: `Expected last role User or Tool`; Perplexity: `Last message must have role user or tool`.
    """
    return _with(ask, [*ask.messages, Message("user", (GO_ON,))]) if ask.messages and ask.messages[-1].role == "assistant" else ask


def _joined(messages: Sequence[Message]) -> Message:
    """Return one message with the parts of several, a blank line between neighbouring texts, and the name if all have the same."""
    parts: list[Part] = []
    for message in messages:
        begin, rest = message.parts[:1], message.parts[1:]
        if parts and begin and isinstance(begin[0], str) and isinstance(parts[-1], str | ReasoningState):
            before = parts.pop() if isinstance(parts[-1], str) else ""
            added: list[Part] = [f"{before}{APART}{begin[0]}", *rest]
            more = len(APART) + len(message.text)
        else:
            added, more = list(message.parts), len(message.text)
        # The place of a reasoning state is counted in characters from the end.
        parts = [replace(part, after=part.after + more) if more and isinstance(part, ReasoningState) else part for part in parts]
        parts += added
    names = {message.name for message in messages}
    return Message(messages[0].role, tuple(parts), names.pop() if len(names) == 1 else "")


# Contents of a message.


def no_blank_text(ask: Ask) -> Ask:
    """Remove blank texts, messages without other content, and white space at the end of a last assistant message.
    Anthropic: `text content blocks must contain non-whitespace text`, `final assistant content cannot end with trailing whitespace`
    (langchain-ai/langchain#35071).
    """
    made: list[Message] = []
    for message in ask.messages:
        parts = [part for part in message.parts if not isinstance(part, str) or part.strip()]
        if any(map(_says, parts)):
            made.append(_with_parts(message, parts))
    if made and made[-1].role == "assistant" and isinstance(last := made[-1].parts[-1], str) and last[-1].isspace():
        made[-1] = replace(made[-1], parts=(*made[-1].parts[:-1], last.rstrip()))
    return _with(ask, made)


def jpeg_by_its_name(ask: Ask) -> Ask:
    """Return the question with `image/jpg` renamed to `image/jpeg`: Anthropic and Google do not know the former."""
    return _with(ask, [_with_parts(message, [*map(_jpeg, message.parts)]) for message in ask.messages])


JPG = re.compile(r"data:image/jpg(?=[;,])", re.IGNORECASE)


def _jpeg(part: Part) -> Part:
    match part:
        case File("image/jpg", url):
            return replace(part, kind="image/jpeg", url=JPG.sub("data:image/jpeg", url, count=1))
        case Result(files=files) if any(file.kind == "image/jpg" for file in files):
            return replace(part, files=tuple(renamed for file in files if isinstance(renamed := _jpeg(file), File)))
        case _:
            return part


def pictures_beside_results(ask: Ask) -> Ask:
    """Move files of tool results to a user's message after them: on OpenAI's wire a result is a text (BerriAI/litellm#16195, #34462)."""
    made: list[Message] = []
    shown: list[Part] = []
    for message in ask.messages:
        if shown and message.role != "tool":
            made.append(Message("user", tuple(shown)))
            shown.clear()
        for result in message.results:
            if result.files:
                shown += [f"What the tool {result.name or result.call_id} gave:", *result.files]
        parts = [replace(part, files=()) if isinstance(part, Result) and part.files else part for part in message.parts]
        made.append(_with_parts(message, parts))
    return _with(ask, [*made, Message("user", tuple(shown))] if shown else made)


def schemas_have_properties(ask: Ask) -> Ask:
    """Add `type: object` and empty `properties` to tools' schemas that lack either, unless their type is another.
    OpenAI: `object schema missing properties` (github/copilot-cli#1825, langchain-ai/langchain-mcp-adapters#137).
    """

    def described(schema: JsonObject) -> JsonObject:
        complete = schema.get("type", "object") != "object" or ("properties" in schema and "type" in schema)
        return schema if complete else {"type": "object", "properties": {}, **schema}

    return _with_schemas(ask, described)


def no_alternatives_at_the_top(ask: Ask) -> Ask:
    """Merge the alternatives at the top of tools' schemas (`flattened`), which OpenAI and Anthropic refuse."""
    return _with_schemas(ask, flattened)


BEYOND_TEXT: frozenset[Rule] = frozenset({
    calls_have_results, short_ids, plain_unique_ids, nine_letter_ids, jpeg_by_its_name, pictures_beside_results,
    assistant_between_tool_and_user,
})  # fmt: skip
"""Rules about calls, results and files, which do not change a conversation of text alone."""
