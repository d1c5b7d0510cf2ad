"""Rules that fit a conversation to a provider: each rule, which providers have it, and that valid conversations are not changed."""

import itertools
import logging
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Ask, Call, File, Message, Part, ReasoningState, Result, Role, TextMessages, ToolSpec
from router.targets import conversation as rule
from router.targets.conversation import BEGUN, BEYOND_TEXT, FEW, GO_ON, NOTED, Rule, fitted, plain_messages
from router.targets.providers import ALL, CLAUDE, MISTRAL, PERPLEXITY, TEMPLATE, rules_of, rules_through_litellm
from router.value import replace
from tests.support.provider import Reply, provider, text
from tests.targets import test_anthropic, test_openai


def system(*parts: Part) -> Message:
    """Return a system message."""
    return Message("system", parts)


def user(*parts: Part) -> Message:
    """Return a user message."""
    return Message("user", parts)


def assistant(*parts: Part) -> Message:
    """Return an assistant message."""
    return Message("assistant", parts)


def tool(*results: Result) -> Message:
    """Return a message of tool results."""
    return Message("tool", results)


def asked(*messages: Message) -> Ask:
    """Return a question with these messages."""
    return Ask(model="m", messages=messages)


ONE, TWO = Call("c1", "look", {"q": 1}), Call("c2", "look", {"q": 2})
FIRST, SECOND = Result("c1", "look", "one"), Result("c2", "look", "two")
NINE_1, NINE_2 = "abcdefgh1", "abcdefgh2"
PNG = File("image/png", "data:image/png;base64,iVBORw0KGgo=")

THOUGHT = ReasoningState("a=m", {"reasoning_content": "Hm."}, after=4)
SIGNED = ReasoningState("a=m", {"signature": "x"}, "c:1")
CASES: dict[str, tuple[Rule, Sequence[Message], Sequence[Message]]] = {
    "a call that nobody answered": (
        rule.calls_have_results,
        [user("Hi"), assistant("Let me see.", ONE), user("never mind")],
        [user("Hi"), assistant("Let me see."), user("never mind")],
    ),
    "a call that nobody answered, alone": (rule.calls_have_results, [user("Hi"), assistant(ONE), user("x")], [user("Hi"), user("x")]),
    "one of two calls unanswered": (
        rule.calls_have_results,
        [user("Hi"), assistant(ONE, TWO), tool(SECOND)],
        [user("Hi"), assistant(TWO), tool(SECOND)],
    ),
    "a call at the very end": (rule.calls_have_results, [user("Hi"), assistant("Hm.", ONE)], [user("Hi"), assistant("Hm.")]),
    "a result whose call is gone": (
        rule.calls_have_results,
        [tool(FIRST), user("Hi"), assistant(TWO), tool(SECOND, FIRST)],
        [user("Hi"), assistant(TWO), tool(SECOND)],
    ),
    "a result after a user's word": (
        rule.calls_have_results,
        [user("Hi"), assistant(ONE), user("and?"), tool(FIRST), user("so")],
        [user("Hi"), assistant(ONE), tool(FIRST), user("and?"), user("so")],
    ),
    "a result given twice": (
        rule.calls_have_results,
        [user("Hi"), assistant(ONE), tool(FIRST), tool(FIRST)],
        [user("Hi"), assistant(ONE), tool(FIRST)],
    ),
    "one id in two turns, the first unanswered": (
        rule.calls_have_results,
        [user("Hi"), assistant(ONE), user("again"), assistant(ONE), tool(FIRST)],
        [user("Hi"), user("again"), assistant(ONE), tool(FIRST)],
    ),
    "one id in two turns (Claude)": (
        rule.plain_unique_ids,
        [user("Hi"), assistant(ONE), tool(FIRST), user("again"), assistant(ONE), tool(FIRST)],
        [
            user("Hi"),
            assistant(ONE),
            tool(FIRST),
            user("again"),
            assistant(replace(ONE, call_id="c1_2")),
            tool(replace(FIRST, call_id="c1_2")),
        ],
    ),
    "one id twice in one turn (Claude)": (
        rule.plain_unique_ids,
        [user("Hi"), assistant(ONE, ONE), tool(FIRST, replace(FIRST, value="other"))],
        [
            user("Hi"),
            assistant(ONE, replace(ONE, call_id="c1_2")),
            tool(FIRST, Result("c1_2", "look", "other")),
        ],
    ),
    "ids that become the same (Claude)": (
        rule.plain_unique_ids,
        [user("Hi"), assistant(Call("a:b", "t", {}), Call("a.b", "t", {})), tool(Result("a:b", "t", 1), Result("a.b", "t", 2))],
        [user("Hi"), assistant(Call("a_b", "t", {}), Call("a_b_2", "t", {})), tool(Result("a_b", "t", 1), Result("a_b_2", "t", 2))],
    ),
    "an id that another one has already (Claude)": (
        rule.plain_unique_ids,
        [user("Hi"), assistant(Call("a:b", "t", {}), Call("a_b", "t", {})), tool(Result("a:b", "t", 1), Result("a_b", "t", 2))],
        [user("Hi"), assistant(Call("a_b_2", "t", {}), Call("a_b", "t", {})), tool(Result("a_b_2", "t", 1), Result("a_b", "t", 2))],
    ),
    "two system messages first": (
        rule.one_system_message_at_the_start,
        [system("A"), system("B"), user("Hi")],
        [system("A\n\nB"), user("Hi")],
    ),
    "a system message in the middle": (
        rule.one_system_message_and_first,
        [user("Hi"), system("A"), user("Go on")],
        [system("A"), user("Hi"), user("Go on")],
    ),
    "an assistant with nothing to say": (
        rule.no_empty_assistant,
        [user("Hi"), assistant(), assistant(" \n"), user("x")],
        [user("Hi"), user("x")],
    ),
    "two users in a row": (rule.roles_alternate, [user("Hi"), user("Anyone?")], [user("Hi\n\nAnyone?")]),
    "two users in a row, with a picture": (rule.roles_alternate, [user(PNG), user("What?")], [user(PNG, "What?")]),
    "two assistants in a row": (
        rule.roles_alternate,
        [user("Hi"), assistant("One."), assistant("Two.", ONE), tool(FIRST)],
        [user("Hi"), assistant("One.\n\nTwo.", ONE), tool(FIRST)],
    ),
    "what a model keeps of its reasoning, as one more is joined": (
        rule.roles_alternate,
        [user("Hi"), assistant(THOUGHT, "One."), assistant("Two.", SIGNED), user("x")],
        [user("Hi"), assistant(replace(THOUGHT, after=10), "One.\n\nTwo.", SIGNED), user("x")],
    ),
    "what it keeps, with its call's new id": (
        rule.plain_unique_ids,
        [user("Hi"), assistant(THOUGHT, SIGNED, Call("c:1", "look", {})), tool(Result("c:1", "look", "x"))],
        [user("Hi"), assistant(THOUGHT, replace(SIGNED, call_id="c_1"), Call("c_1", "look", {})), tool(Result("c_1", "look", "x"))],
    ),
    "what it keeps of a call that nobody answered": (
        rule.calls_have_results,
        [user("Hi"), assistant("Hm.", THOUGHT, SIGNED, Call("c:1", "look", {})), user("x")],
        [user("Hi"), assistant("Hm.", THOUGHT), user("x")],
    ),
    "what it keeps beside nothing": (rule.no_empty_assistant, [user("Hi"), assistant(THOUGHT), user("x")], [user("Hi"), user("x")]),
    "a user after a tool": (
        rule.assistant_between_tool_and_user,
        [user("Hi"), assistant(ONE), tool(FIRST), user("so?")],
        [user("Hi"), assistant(ONE), tool(FIRST), assistant(NOTED), user("so?")],
    ),
    "an assistant that begins": (
        rule.user_begins,
        [system("A"), assistant("Hello!"), user("Hi")],
        [system("A"), user(BEGUN), assistant("Hello!"), user("Hi")],
    ),
    "a system message alone": (rule.user_begins, [system("Write a title.")], [user("Write a title.")]),
    "an assistant that ends": (rule.user_ends, [user("Hi"), assistant("Well,")], [user("Hi"), assistant("Well,"), user(GO_ON)]),
    "blanks (Claude)": (
        rule.no_blank_text,
        [user("Hi", " "), assistant(" \n", ONE), tool(FIRST), user("\n"), assistant("Well, \n")],
        [user("Hi"), assistant(ONE), tool(FIRST), assistant("Well,")],
    ),
    "a picture in a result": (
        rule.pictures_beside_results,
        [user("Hi"), assistant(ONE, TWO), tool(replace(FIRST, files=(PNG,))), tool(SECOND), assistant("Nice.")],
        [user("Hi"), assistant(ONE, TWO), tool(FIRST), tool(SECOND), user("What the tool look gave:", PNG), assistant("Nice.")],
    ),
    "a picture in the last result": (
        rule.pictures_beside_results,
        [user("Hi"), assistant(ONE), tool(replace(FIRST, files=(PNG,)))],
        [user("Hi"), assistant(ONE), tool(FIRST), user("What the tool look gave:", PNG)],
    ),
    "a picture by another name": (
        rule.jpeg_by_its_name,
        [
            user(File("image/jpg", "data:image/jpg;base64,AA==")),
            assistant(ONE),
            tool(replace(FIRST, files=(File("image/jpg", "http://x/y.jpg"),))),
        ],
        [
            user(File("image/jpeg", "data:image/jpeg;base64,AA==")),
            assistant(ONE),
            tool(replace(FIRST, files=(File("image/jpeg", "http://x/y.jpg"),))),
        ],
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_conversation_rule_repairs_what_a_provider_refuses(what: str) -> None:
    """Each rule turns a conversation into the expected one, and returns its own result as the same object when applied again."""
    change, before, after = CASES[what]
    made = change(asked(*before))
    assert list(made.messages) == list(after)
    assert change(made) is made


def test_call_ids_of_the_openai_wire_have_one_to_forty_characters() -> None:
    """An id above 40 characters, or an empty one, is replaced in the call and its result; equal long ids stay equal, others unchanged."""
    turns = [(assistant(Call(one, "f", {})), tool(Result(one, "f", 1))) for one in ("c" * 80, "", "c1", "c" * 80)]
    made = rule.short_ids(asked(user("Hi"), *itertools.chain.from_iterable(turns))).messages
    called = [call.call_id for message in made for call in message.calls]
    assert called == [result.call_id for message in made for result in message.results]
    assert called[0] == called[3]
    assert called[2] == "c1"
    assert all(0 < len(one) <= 40 for one in called)
    assert len(set(called)) == 3


def test_mistral_call_ids_are_nine_letters_or_digits() -> None:
    """Tool call ids become nine ASCII letters or digits, equal for equal ids in calls and results; an id of that form is kept."""
    messages = [
        user("Hi"),
        assistant(ONE, replace(TWO, call_id=NINE_1)),
        tool(FIRST, replace(SECOND, call_id=NINE_1)),
        user("again"),
        assistant(ONE),
        tool(FIRST),
    ]
    made = rule.nine_letter_ids(asked(*messages))
    calls = [call.call_id for message in made.messages for call in message.calls]
    assert all(re.fullmatch("[A-Za-z0-9]{9}", call_id) for call_id in calls)
    assert calls == [result.call_id for message in made.messages for result in message.results]
    assert (calls[0], calls[1]) == (calls[2], NINE_1)
    assert rule.nine_letter_ids(made) is made


SCHEMAS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {"type": "object", "properties": {}}),
    "MCP's form of no parameters": (
        {"type": "object", "additionalProperties": False},
        {"type": "object", "properties": {}, "additionalProperties": False},
    ),
    "no type": ({"properties": {"q": {}}}, {"type": "object", "properties": {"q": {}}}),
}


@pytest.mark.parametrize("what", SCHEMAS)
def test_tool_schema_gets_type_object_and_properties(what: str) -> None:
    """A tool's schema without `type` gets `object`, and one without `properties` an empty object; a second run changes nothing."""
    before, after = SCHEMAS[what]
    made = rule.schemas_have_properties(replace(asked(user("Hi")), tools=(ToolSpec("look", "Looks.", before),)))
    assert made.tools[0].parameters == after
    assert rule.schemas_have_properties(made) is made


FINE = [
    asked(user("Hi")),
    asked(system("Be brief."), user("Hi"), assistant("Hello."), user("What is it?", PNG)),
    asked(
        system("Be brief."),
        user("Time?"),
        assistant("Let me see.", replace(ONE, call_id=NINE_1), replace(TWO, call_id=NINE_2)),
        tool(replace(SECOND, call_id=NINE_2), replace(FIRST, call_id=NINE_1)),
        assistant("Noon."),
        user("Thanks"),
    ),
    asked(user("Time?"), assistant(replace(ONE, call_id=NINE_1)), tool(replace(FIRST, call_id=NINE_1, is_error=True))),
    replace(
        asked(user("Hi")),
        tools=(ToolSpec("look", "Looks.", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}),),
    ),
]
SETS = {"all": ALL, "template": TEMPLATE, "perplexity": PERPLEXITY, "mistral": MISTRAL, "claude": CLAUDE}


@pytest.mark.parametrize("ask", FINE, ids=range(len(FINE)))
@pytest.mark.parametrize("which", SETS)
def test_valid_conversation_is_returned_unchanged(which: str, ask: Ask) -> None:
    """A conversation that already keeps the rules is returned as the same Ask object, for each set of rules."""
    assert fitted(ask, SETS[which], "a") is ask


def called(text: list[str], ids: list[str]) -> Message:
    """Return an assistant message with these texts, and a call for each id."""
    return assistant(*text, *(Call(one, "look", {}) for one in ids))


def answered(ids: list[str], files: tuple[File, ...]) -> Message:
    """Return a tool message with a result for each id, all with these files."""
    return tool(*(Result(one, "look", "x", files=files) for one in ids))


def spoke(parts: list[Part]) -> Message:
    """Return a user message of these parts, perhaps none."""
    return user(*parts)


IDS = st.sampled_from(["c1", "c:1", "c2", NINE_1])
SHOWN: list[tuple[File, ...]] = [(), (PNG,)]
SAID: list[Part] = ["Hi", " ", PNG]
CONVERSATIONS = st.lists(
    st.one_of(
        st.builds(system, st.sampled_from(["", "A", "B"])),
        st.builds(spoke, st.lists(st.sampled_from(SAID), max_size=2)),
        st.builds(called, st.lists(st.sampled_from(["Yes. ", "", "\n"]), max_size=1), st.lists(IDS, max_size=2)),
        st.builds(answered, st.lists(IDS, min_size=1, max_size=2), st.sampled_from(SHOWN)),
    ),
    min_size=1,
    max_size=9,
)


def paired(messages: Sequence[Message]) -> bool:
    """Return whether each call's result follows at once, and each result has a call."""
    wanted: list[str] = []
    for message in messages:
        if message.role == "tool":
            for result in message.results:
                if result.call_id not in wanted:
                    return False
                wanted.remove(result.call_id)
        elif wanted:
            return False
        wanted += [call.call_id for call in message.calls]
    return not wanted


@given(CONVERSATIONS, st.sampled_from(sorted(SETS)))
def test_random_conversation_is_fitted_to_the_providers_rules(messages: list[Message], which: str) -> None:
    """A random conversation has its calls paired and its roles and ids as the provider wants; applying the rules again changes nothing."""
    made = fitted(asked(*messages), SETS[which], "a")
    roles: list[Role] = [message.role for message in made.messages]
    calls = [call.call_id for message in made.messages for call in message.calls]
    spoken = [role for role in roles if role != "system"]
    assert paired(made.messages)
    if which != "claude":
        assert not any(result.files for message in made.messages for result in message.results)
    if which in ("template", "perplexity", "mistral"):
        assert "system" not in roles[1:]
        assert spoken[0] == "user"
        assert not any(one == other for one, other in itertools.pairwise(spoken) if one != "tool")
    if which in ("perplexity", "mistral"):
        assert spoken[-1] != "assistant"
        assert ("tool", "user") not in list(itertools.pairwise(spoken))
    if which == "mistral":
        assert all(re.fullmatch("[A-Za-z0-9]{9}", call_id) for call_id in calls)
    if which == "claude":
        assert spoken[0] == "user"
        assert len(calls) == len(set(calls))
        assert not made.messages[-1].text[-1:].isspace() or roles[-1] != "assistant"
    assert fitted(made, SETS[which], "a") is made


def test_conversation_changes_are_logged_with_target_and_rules(caplog: pytest.LogCaptureFixture) -> None:
    """A conversation that a rule changed is logged at DEBUG with the target and the names of the rules."""
    with caplog.at_level(logging.DEBUG, "router.targets"):
        fitted(asked(assistant("Hello!"), user("Hi")), TEMPLATE, "local")
    fields: dict[str, object] = getattr(caplog.records[0], "fields", {})
    assert fields == {"target": "local", "rules": ["user_begins"]}


WHERE: dict[str, tuple[tuple[Rule, ...], tuple[Rule, ...]]] = {
    "OpenAI": (rules_of("openai", "gpt-4o", own=False), ALL),
    "OpenAI's wire elsewhere": (rules_of("openai", "whatever", own=True), TEMPLATE),
    "vLLM": (rules_of("hosted_vllm", "whatever", own=True), TEMPLATE),
    "Mistral": (rules_of("mistral", "whatever", own=False), MISTRAL),
    "a model of Mistral's elsewhere": (rules_of("nvidia_nim", "mistralai/Mixtral-8x22B", own=False), MISTRAL),
    "Qwen at a host": (rules_of("fireworks_ai", "accounts/fireworks/models/qwen3-235b", own=False), TEMPLATE),
    "Perplexity": (rules_of("perplexity", "sonar-pro", own=False), PERPLEXITY),
    "Mistral through LiteLLM": (rules_through_litellm("mistral/mistral-large"), MISTRAL),
    "Groq": (rules_of("groq", "openai/gpt-oss-120b", own=False), ALL),
}


@pytest.mark.parametrize("who", WHERE)
def test_conversation_rules_are_chosen_by_provider_and_model(who: str) -> None:
    """The set of rules depends on the provider, on whether the server is the operator's own, and on the model's family at any provider."""
    found, wanted = WHERE[who]
    assert found == wanted


def test_rules_of_claude_are_chosen_at_other_providers() -> None:
    """The rules for Claude at OpenRouter, or at Bedrock through LiteLLM, include those for ids, first turn, blank text and JPEG names."""
    for rules in (
        rules_of("openrouter", "anthropic/claude-sonnet-5", own=False),
        rules_through_litellm("bedrock/converse/eu.anthropic.claude-x"),
    ):
        assert {rule.plain_unique_ids, rule.user_begins, rule.no_blank_text, rule.jpeg_by_its_name} <= set(rules)


LONG = (
    system("A"),
    system("B"),
    assistant("Hello!"),
    user("Hi"),
    user("Look."),
    assistant(ONE, TWO),
    tool(replace(FIRST, files=(PNG,))),
    assistant(),
)


async def test_openai_wire_request_follows_the_rules_of_its_provider() -> None:
    """A conversation goes to Groq with neighbouring user turns as they are, to Mistral with alternating roles and the user's turn last."""
    async with provider(Reply(text("Hi"))) as fake:
        await test_openai.heard(test_openai.declared(fake.base, "groq/gpt-oss"), asked(*LONG))
        await test_openai.heard(test_openai.declared(fake.base, "mistral/mistral-large"), asked(*LONG))
    first, second = ([message["role"] for message in request["messages"]] for request in fake.requests)
    assert first == ["system", "assistant", "user", "user", "assistant", "tool", "user", "assistant"]
    assert second == ["system", "user", "assistant", "user", "assistant", "tool", "assistant", "user"]
    shown = fake.requests[1]["messages"][-1]["content"]
    assert [part["type"] for part in shown] == ["text", "image_url"]


async def test_anthropic_request_keeps_pictures_in_results_and_drops_blank_stops() -> None:
    """An Anthropic request keeps a picture inside its tool result, and leaves out stop sequences that are only white space."""
    ask = replace(asked(*LONG), params=replace(asked().params, stop=("\n", "END")))
    reply = Reply(test_anthropic.said(test_anthropic.BEGIN, *test_anthropic.block(0, {"type": "text", "text": "Hi"}), *test_anthropic.END))
    async with provider(reply) as fake:
        await test_anthropic.heard(test_anthropic.declared(fake.base), ask)
        await test_anthropic.heard(test_anthropic.declared(fake.base), replace(ask, params=replace(ask.params, stop=("\n\n",))))
    first, second = fake.requests
    assert [message["role"] for message in first["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    given = first["messages"][-1]["content"][0]
    assert [part["type"] for part in given["content"]] == ["text", "image"]
    assert first["stop_sequences"] == ["END"]
    assert "stop_sequences" not in second


TEXTS = [
    (Message("user", ("Hi",)),),
    (Message("assistant", (" ",)), Message("assistant", ()), Message("user", ("Hi", " you"), "Ann")),
    (Message("system", ("Be brief.",)), Message("user", ()), Message("system", ("And kind.",)), Message("assistant", ("Yes. ",))),
]


@pytest.mark.parametrize("one", sorted(BEYOND_TEXT, key=lambda found: getattr(found, "__name__", "")))
@pytest.mark.parametrize("messages", TEXTS, ids=["one", "blank", "system"])
def test_rules_for_calls_and_files_do_not_change_plain_text(one: Rule, messages: tuple[Message, ...]) -> None:
    """Each rule of BEYOND_TEXT returns a conversation of text alone as the same Ask object, so that it may be skipped for such."""
    ask = Ask(model="m", messages=messages)
    assert ask.text_alone
    assert one(ask) is ask


TURNS = [user("Hi"), assistant("Yes?")] * FEW
MANY: dict[str, list[Message]] = {
    "by turns": [*TURNS, user("Go on")],
    "a system message first": [system("Be brief."), *TURNS, user("Go on")],
    "two system messages": [system("Be"), system("brief."), *TURNS, user("Go on")],
    "a system message within": [*TURNS, system("Be brief."), user("Go on")],
    "the assistant last": TURNS,
    "the assistant first": [assistant("Yes?"), *TURNS, user("Go on")],
    "a speaker twice": [*TURNS, user("Go"), user("on")],
    "a blank text": [*TURNS, user(" ")],
    "the system alone": [system("Be brief.")] * 2 * FEW,
}
"""Chats of more than FEW messages that are each one text."""


@pytest.mark.parametrize("rules", [(), (rule.system_is_the_users,)], ids=["none", "system"])
@pytest.mark.parametrize("what", MANY)
def test_many_messages_are_plain_if_a_loop_over_them_finds_them_plain(what: str, rules: tuple[Rule, ...]) -> None:
    """TextMessages of a long chat give the plain messages, or None, that the same messages of no known type give."""
    found = plain_messages(Ask(model="m", messages=TextMessages(MANY[what])), rules)
    assert found == plain_messages(Ask(model="m", messages=tuple(MANY[what])), rules)
    assert (found is not None) is (what == "by turns" or (what == "a system message first" and not rules))
