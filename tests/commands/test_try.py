"""`router try TARGET`: a rehearsal that asks a model test questions, here fake models with one planted quirk each."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router.config import load
from router.failover.rescue import WISH
from router.generation import build
from router.params import Params
from router.rehearsal import MAX_CALLS, QUESTIONS, Course, Rehearsed, estimate, facts_line
from router.targets import Connections, Learned, facts_of, open_target
from tests.commands.test_commands import router
from tests.conftest import Workspace, routes
from tests.models.fakes import Flagship, fakes
from tests.models.flagships import FLAGSHIPS
from tests.support.provider import DONE, Provider, Reply, calls, chunk, frame, running, text, usage

Body = dict[str, Any]
Quirk = Callable[["Model", Body], Reply | None]
"""A model's deviation: its reply to a request, or None if it replies as the honest model does."""
SECRET = "provider-words-canary"
OSLO = ("call_1", "get_weather", '{"city": "Oslo"}')
LIMA = ("call_2", "get_weather", '{"city": "Lima"}')


def refusal(message: str, status: int = 400, param: str | None = None) -> Reply:
    """Return an error response in OpenAI's shape, which contains SECRET."""
    error = {"message": f"{message} {SECRET}", "type": "invalid_request_error", "param": param, "code": None}
    return Reply(status=status, body=json.dumps({"error": error}).encode())


def last_of(body: Body) -> tuple[str, str, bool]:
    """Return the role and the text of the last message of a request, and whether it has an image."""
    message: Body = body["messages"][-1]
    content: Any = message["content"]
    if not isinstance(content, str | None):
        return str(message["role"]), str(content[0]["text"]), True
    return str(message["role"]), content or "", False


def honest(body: Body) -> tuple[bytes, ...]:
    """Return the response frames of a model that does all that a test question asks."""
    role, said, image = last_of(body)
    if role == "tool":
        return text("4°C", " and rain")
    if role == "assistant" or said == WISH:
        return text(" eight", " nine ten")
    if body.get("tools"):
        if "both at once" in said:
            return calls(OSLO, LIMA)
        return calls(OSLO) if "Oslo" in said or body.get("tool_choice") == "required" else text("Hello")
    if "from 1 to 9" in said:
        return text("1 2 3 4 5 ", "6 7 8 9" if not body.get("stop") else "")[: None if not body.get("stop") else 10]
    if "JSON" in said:
        return text('{"ok":', " true}")
    if "two hundred" in said:
        return text("one two", " three", finish="length")
    return text("Red") if image else text("pong")


class Model(Provider):
    """A fake provider whose model has one quirk. `now`: its clock in seconds, which only the quirk advances."""

    def __init__(self, quirk: Quirk) -> None:
        super().__init__([Reply()])
        self.quirk = quirk
        self.now = 0.0

    def reply(self, headers: dict[str, str], body: Body) -> Reply:
        """Return the reply to one request: the quirk's, or else the honest one."""
        return self.quirk(self, body) or Reply(honest(body))


def none(_: Model, __: Body) -> None:
    """Return None always: the quirk of a model without a deviation."""


def refuses(name: str, message: str = "Unsupported parameter: '{name}' is not supported with this model.") -> Quirk:
    """Return the quirk of a model that refuses this parameter and names it in its error."""
    return lambda _, body: refusal(message.format(name=name), param=name) if name in body else None


def refuses_without_a_word(name: str) -> Quirk:
    """Return the quirk of a model that refuses this parameter but does not name it in its error."""
    return lambda _, body: refusal("The request is wrong.") if name in body else None


def calls_it_otherwise(_: Model, body: Body) -> Reply | None:
    """Return a refusal of max_tokens that hints at max_completion_tokens; None for a request without max_tokens."""
    message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    return refusal(message, param="max_tokens") if "max_tokens" in body else None


def refuses_tools_with_effort(_: Model, body: Body) -> Reply | None:
    """Return a refusal of a request with both tools and reasoning_effort; None for any other."""
    return refusal("The request is wrong.") if body.get("tools") and "reasoning_effort" in body else None


def tools_with_effort_on_responses(model: Model, body: Body) -> Reply | None:
    """Return a Responses API answer, or in chat completions a refusal of tools with reasoning_effort that names that API; else None."""
    if model.headers[-1][":path"].endswith("/responses"):
        return Reply(responding(body))
    message = "Function tools with reasoning_effort are not supported in /v1/chat/completions. Please use /v1/responses instead."
    return refusal(message, param="reasoning_effort") if body.get("tools") and "reasoning_effort" in body else None


def responding(body: Body) -> tuple[bytes, ...]:
    """Return a Responses API answer: tool calls, or text if the request has the result of a tool."""
    if any(one.get("type") == "function_call_output" for one in body["input"]):
        return responses_text("4°C and rain")
    wanted = (OSLO, LIMA) if "both at once" in json.dumps(body["input"]) else (OSLO,)
    items = [{"type": "function_call", "id": f"f{one[0]}", "call_id": one[0], "name": one[1], "arguments": one[2]} for one in wanted]
    return responses_events(*({"type": "response.output_item.done", "output_index": at, "item": one} for at, one in enumerate(items)))


def responses_text(words: str) -> tuple[bytes, ...]:
    """Return a text answer of the Responses API."""
    return responses_events({"type": "response.output_text.delta", "output_index": 0, "item_id": "m", "delta": words})


def responses_events(*events: Body) -> tuple[bytes, ...]:
    """Return these events as frames, followed by `response.completed`."""
    over: Body = {"id": "r", "model": "fake", "status": "completed", "output": [], "usage": {"input_tokens": 11, "output_tokens": 3}}
    return *map(frame, events), frame({"type": "response.completed", "response": over})


def wants_reasoning(_: Model, body: Body) -> Reply | None:
    """Return a tool call that is preceded by reasoning, or a refusal if an earlier call lacks its reasoning_content; else None."""
    said = [one for one in body["messages"] if one.get("tool_calls")]
    if not all(one.get("reasoning_content") for one in said):
        return refusal("The reasoning of the assistant message must be passed back.")
    if body.get("tools") and last_of(body)[0] == "user":
        return Reply((chunk({"reasoning_content": "Let me look."}), *honest(body)))
    return None


def blind(_: Model, body: Body) -> Reply | None:
    """Return a refusal if the last message has an image, as servers of text models do; else None."""
    return refusal("This model has no eyes.") if last_of(body)[2] else None


def sees_nothing(_: Model, body: Body) -> Reply | None:
    """Return an answer that ignores the image of the last message; None if it has none."""
    return Reply(text("I cannot tell.")) if last_of(body)[2] else None


def denies(_: Model, __: Body) -> Reply:
    """Return a 401 refusal of the API key, for every request."""
    return refusal("Incorrect API key provided.", 401)


def slow(model: Model, _: Body) -> None:
    """Advance the model's clock by 20 s, so that its answer seems to start that late; the answer itself is the honest one."""
    model.now += 20


def one_at_a_time(_: Model, body: Body) -> Reply | None:
    """Return one tool call where the question asks for two at once; else None."""
    return Reply(calls(OSLO)) if "both at once" in last_of(body)[1] else None


def empty(_: Model, __: Body) -> Reply:
    """Return an answer without text, for every request."""
    return Reply((chunk({"role": "assistant", "content": ""}), chunk({}, "stop"), usage(11, 0), DONE))


def cuts(_: Model, body: Body) -> Reply | None:
    """Return a text that ends at 100 tokens with the finish reason `length`; None for questions with tools, `stop` or a token limit."""
    if body.get("tools") or last_of(body)[1].startswith("Write"):
        return None
    words = " eight" if last_of(body)[0] == "assistant" else "pong"
    return Reply((chunk({"content": words}), chunk({}, "length"), usage(11, 100), DONE))


def goes_on_after_stop(_: Model, body: Body) -> Reply | None:
    """Return a text that goes on after the `stop` string; None for a request without `stop`."""
    return Reply(text("1 2 3 4 5 6 7 8 9")) if body.get("stop") else None


def writes_on(_: Model, body: Body) -> Reply | None:
    """Return a text longer than the token limit to the question about it; else None."""
    return Reply(text("one two three " * 40)) if "two hundred" in last_of(body)[1] else None


def no_prefill(_: Model, body: Body) -> Reply | None:
    """Return a refusal if the last message is the assistant's; else None."""
    return refusal("The conversation must end with a user message.") if last_of(body)[0] == "assistant" else None


def no_tools(_: Model, body: Body) -> Reply | None:
    """Return a refusal of a request with tools, as a server does whose chat template has none; else None."""
    return refusal("The request is wrong.") if body.get("tools") else None


def chats(_: Model, body: Body) -> Reply | None:
    """Return prose where the question asks for JSON; else None."""
    return Reply(text("Certainly! Here it is.")) if "JSON" in last_of(body)[1] else None


QUIRKS: dict[str, tuple[Quirk, str, list[str]]] = {
    "no quirk": (none, "", []),
    "refuses temperature": (refuses("temperature"), "temperature", ["facts: {refuses: [temperature]}"]),
    "refuses temperature without a word": (refuses_without_a_word("temperature"), "temperature", ["facts: {refuses: [temperature]}"]),
    "refuses stop": (refuses("stop"), "stop", ["facts: {refuses: [stop]}"]),
    "refuses effort": (refuses("reasoning_effort"), "effort", ["facts: {refuses: [reasoning_effort]}"]),
    "refuses effort without a word": (refuses_without_a_word("reasoning_effort"), "effort", ["facts: {refuses: [reasoning_effort]}"]),
    "names the limit otherwise": (calls_it_otherwise, "plain", ["facts: {limit: max_completion_tokens}"]),
    "refuses tools with effort": (refuses_tools_with_effort, "tool and effort", ["facts: {refuses: [reasoning_effort]}"]),
    "takes them on responses": (tools_with_effort_on_responses, "tool and effort", ["facts: {wire: responses}"]),
    "refuses seed": (refuses("seed"), "", []),
    "insists on reasoning": (wants_reasoning, "another's call", ["facts: {returns: reasoning_content}"]),
    "no vision": (blind, "image", ["facts: {images: false}"]),
    "looks away": (sees_nothing, "image", ["facts: {images: false}"]),
    "wrong key": (denies, "plain", ["api_key: ${OPENAI_API_KEY}"]),
    "slow": (slow, "plain", ["timeout: {first_token: 30s}"]),
    "one call at a time": (one_at_a_time, "parallel calls", ["max_steps: 10"]),
    "empty": (empty, "plain", [""]),
    "cuts": (cuts, "plain", ["facts: {max_output: 100}"]),
    "goes on after stop": (goes_on_after_stop, "stop", ["facts: {refuses: [stop]}"]),
    "ignores the limit": (writes_on, "length limit", ["facts: {limit: none}"]),
    "no prefill": (no_prefill, "continue", ["facts: {prefill: false}"]),
    "no tools": (no_tools, "tool", ["facts: {tools: false}"]),
    "no forced tool": (refuses("tool_choice"), "forced tool", ["facts: {forced_tools: false}"]),
    "no JSON": (chats, "JSON", ["facts: {schemas: false}"]),
}
"""Name → the quirk, the test question that reveals it, and the configuration lines that the rehearsal suggests."""


@dataclass
class Gone:
    """The result of a rehearsal (`done`), and the fake model that was rehearsed."""

    done: Rehearsed
    model: Model

    @property
    def calls(self) -> int:
        """The number of requests that the provider received."""
        return len(self.model.requests)


def target(base: str, more: str = "") -> str:
    """Return the declaration of the target `new`, whose model is in no table."""
    return f"new: {{model: openai/fake, api_base: '{base}', api_key: sk-test{more}}}\n"


async def rehearsed(workspace: Workspace, quirk: Quirk, more: str = "") -> Gone:
    """Rehearse a model with this quirk, timed by the model's own clock."""
    async with running(Model(quirk)) as model:
        workspace.write("routes.yaml", routes(target(model.base, more), "targets: [new]"))
        declared = load(workspace.root / "routes.yaml").routes.targets["new"]  # type: ignore[index]
        connections, learned = Connections(), Learned()
        try:
            course = Course("new", declared, lambda one: open_target("new", one, 2, connections, learned), 10.0, lambda: model.now)
            return Gone(await course.run(), model)
        finally:
            await connections.close()


@pytest.mark.parametrize("name", QUIRKS)
async def test_rehearsal_finds_each_planted_quirk_and_nothing_else(workspace: Workspace, name: str) -> None:
    """A rehearsal finds each quirk that its questions touch and nothing else, in fewer than 20 calls, with the line for it, if any."""
    quirk, question, lines = QUIRKS[name]
    gone = await rehearsed(workspace, quirk)
    assert [one.line for one in gone.done.findings] == lines
    assert {one.question for one in gone.done.findings} == ({question} if question else set[str]())
    assert gone.calls == gone.done.calls < 20
    odd = {one.question for one in gone.done.asked if one.state not in ("works", "skipped") or one.omitted or one.learned}
    assert odd <= {question}
    assert SECRET not in repr(gone.done)


@pytest.mark.parametrize("name", [name for name, (_, _, lines) in QUIRKS.items() if any(line.startswith("facts") for line in lines)])
async def test_second_rehearsal_with_the_suggested_facts_finds_nothing_new(workspace: Workspace, name: str) -> None:
    """A second rehearsal, with the suggested `facts` in the target, learns nothing new and makes no more calls than the first."""
    quirk, _, _ = QUIRKS[name]
    first = await rehearsed(workspace, quirk)
    second = await rehearsed(workspace, quirk, f", {facts_line(first.done.facts)}")
    assert not any(one.learned for one in second.done.asked)
    assert second.done.facts in ({}, first.done.facts)
    assert second.calls <= first.calls


async def test_rehearsal_suggests_facts_that_include_those_already_declared(workspace: Workspace) -> None:
    """The suggested `facts` contain those that the target declares; a list is merged with the new values."""
    quirk = refuses("temperature")
    gone = await rehearsed(workspace, quirk, ", facts: {refuses: [stop, seed], max_output: 2000}")
    assert facts_line(gone.done.facts) == "facts: {refuses: [temperature, seed, stop], max_output: 2000}"


async def test_rehearsal_of_a_model_with_three_quirks_finds_all_three(workspace: Workspace) -> None:
    """The suggested `facts` have an entry for each of three quirks of one model."""
    three = [refuses("temperature"), refuses("stop"), blind]
    gone = await rehearsed(workspace, lambda model, body: next((said for one in three if (said := one(model, body))), None))
    assert facts_line(gone.done.facts) == "facts: {refuses: [temperature, stop], images: false}"


async def test_rehearsal_makes_at_most_the_announced_number_of_calls(workspace: Workspace) -> None:
    """A rehearsal makes at most MAX_CALLS calls, also of a model that refuses one parameter after the other."""
    order = ["temperature", "stop", "reasoning_effort", "tool_choice", "stream_options", "max_tokens"]

    def unwilling(model: Model, body: Body) -> Reply | None:
        if last_of(body)[1].endswith("pong") and len(model.requests) == 1:
            return None
        return next((refusal(f"Unsupported parameter: {one}", param=one) for one in order if one in body), None)

    gone = await rehearsed(workspace, unwilling)
    assert gone.calls == gone.done.calls <= MAX_CALLS


async def test_rehearsal_stops_after_one_call_when_the_provider_refuses_the_key(workspace: Workspace) -> None:
    """A rehearsal ends after its first call if the provider answers 401, with the outcome `status_401`."""
    gone = await rehearsed(workspace, denies)
    assert (gone.calls, gone.done.answers, gone.done.asked[0].outcome) == (1, False, "status_401")


async def test_rehearsal_ends_at_its_deadline_if_the_target_is_silent(workspace: Workspace) -> None:
    """A rehearsal of a target that sends nothing ends at the deadline with `timeout_first_token`, and closes the connection."""
    held = Reply(frames=(), hold=True)
    async with running(Model(lambda _, __: held)) as model:
        workspace.write("routes.yaml", routes(target(model.base), "targets: [new]"))
        declared = load(workspace.root / "routes.yaml").routes.targets["new"]  # type: ignore[index]
        connections, learned = Connections(), Learned()
        course = Course("new", declared, lambda one: open_target("new", one, 2, connections, learned), 10.0, deadline=0.05)
        done = await course.run()
        await model.until(lambda: model.closed == 1)
        await connections.close()
    assert [(one.question, one.outcome) for one in done.asked] == [("plain", "timeout_first_token")]


@pytest.mark.parametrize("flagship", FLAGSHIPS, ids=lambda one: one.name)
async def test_rehearsal_of_a_known_model_gets_no_refusal(workspace: Workspace, flagship: Flagship) -> None:
    """A rehearsal of a model in the table of known models sends no parameter and no reasoning that the model refuses."""
    async with fakes(flagship) as server:
        workspace.write("routes.yaml", routes(f"new: {flagship.target(server.address)}", "targets: [new]"))
        declared = load(workspace.root / "routes.yaml").routes.targets["new"]  # type: ignore[index]
        connections, learned = Connections(), Learned()
        course = Course("new", declared, lambda one: open_target("new", one, 2, connections, learned), 10.0)
        done = await course.run()
        await connections.close()
        states = {one.question: one.state for one in done.asked}
        assert [one for one, state in states.items() if state == "refused"] == []
        assert len(server.refused(flagship.name)) == len(server.wrong) == 0
        assert {states[one] for one in ("plain", "temperature", "stop", "effort", "tool", "two rounds", "parallel calls")} == {"works"}


def test_rehearsal_estimate_counts_all_calls_and_their_cost(workspace: Workspace) -> None:
    """The estimate before a rehearsal has 19 calls, and their cost in dollars if the model's price is known, else None."""
    workspace.write(
        "routes.yaml", routes("new: {model: openai/gpt-4o, api_key: sk-x}\nown: {model: openai/x, api_key: sk-x}", "targets: [new]")
    )
    declared = load(workspace.root / "routes.yaml").routes.targets
    known = estimate(facts_of(declared["new"]), declared["new"].params)  # type: ignore[index]
    assert (known.questions, known.calls) == (len(QUESTIONS), 19)
    assert known.dollars is not None
    assert 0 < known.dollars < 1
    assert estimate(facts_of(declared["own"]), declared["own"].params).dollars is None  # type: ignore[index]


@pytest.mark.parametrize(("model", "budget"), [("gemini/gemini-2.5-flash", 24_576), ("anthropic/claude-haiku-4-5", 16_384)])
def test_rehearsal_estimate_includes_reasoning_tokens(workspace: Workspace, model: str, budget: int) -> None:
    """The estimated output tokens of a rehearsal include 16 times the thinking budget of the requested reasoning effort."""
    workspace.write("routes.yaml", routes(f"new: {{model: {model}, api_key: sk-x}}", "targets: [new]"))
    declared = load(workspace.root / "routes.yaml").routes.targets["new"]  # type: ignore[index]
    thinking = estimate(facts_of(declared), Params(reasoning_effort="high")).written
    idle = estimate(facts_of(declared), Params(reasoning_effort="none")).written
    assert (thinking - idle) // budget == 16  # two questions of eighteen say how long to think


async def ran(workspace: Workspace, quirk: Quirk, *arguments: str, more: str = "") -> tuple[Any, Model]:
    """Run `router try new` with these arguments on a model with this quirk; return the result of the command and the model."""
    async with running(Model(quirk)) as model:
        today = "today: {model: openai/gpt-4o, api_key: sk-x}\n"
        workspace.write("routes.yaml", routes(target(model.base, more) + today, "targets: [today, new]"))
        done = await asyncio.to_thread(router, "try", "new", *arguments, cwd=workspace.root)
    return done, model


async def test_try_without_yes_prints_calls_and_cost_and_sends_no_request(workspace: Workspace) -> None:
    """`router try` without `--yes` and without a terminal prints the number of calls and the cost, sends nothing, and exits with 2."""
    done, model = await ran(workspace, none, more=", price: {input: 1, output: 2}")
    assert (done.returncode, model.requests, done.stdout) == (2, [], "")
    assert re.search(r"14 questions, at most 19 calls; at most \$0\.\d{4} \(", done.stderr)
    assert "give --yes" in done.stderr


async def test_try_prints_each_question_the_prices_and_a_facts_line_that_loads(workspace: Workspace) -> None:
    """`router try` prints the outcome of each question, calls, prices and the `facts` line, which `router check` accepts."""
    done, model = await ran(workspace, refuses("temperature"), "--yes", more=", price: {input: 1, output: 2}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  temperature +works; learned: temperature$", done.stdout, re.MULTILINE)
    assert f"{len(model.requests)} calls" in done.stdout
    assert "it costs $1 in and $2 out for a million tokens" in done.stdout
    assert "today, which chat-model asks first today, costs $2.5 in and $10 out" in done.stdout
    line = done.stdout.rstrip().splitlines()[-1].strip()
    assert line == "facts: {refuses: [temperature]}"
    assert SECRET not in done.stdout + done.stderr
    workspace.write("routes.yaml", routes(target("http://127.0.0.1:9/v1", f", {line}"), "targets: [new]"))
    checked = await asyncio.to_thread(router, "check", cwd=workspace.root)
    assert "all is well" in checked.stdout


async def test_try_json_prints_one_object_and_exits_1_if_the_target_does_not_answer(workspace: Workspace) -> None:
    """`router try --json` prints one object with answers, calls, findings and the compared target; the exit code is 1 for a refused key."""
    done, model = await ran(workspace, denies, "--yes", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["answers"], found["calls"]) == (1, False, len(model.requests))
    assert found["findings"][0]["line"] == "api_key: ${OPENAI_API_KEY}"
    assert found["beside"]["target"] == "today"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("try", "nwe", "--yes"), 1, "there is no target `nwe`; did you mean `new`?"),
        (("try", "a", "--yes"), 1, "is a script"),
        (("try", "later", "--yes"), 1, "is skipped"),
        (("try", "new", "--yes", "--beside", "nothing"), 1, "unknown_model"),
        (("try", "--yes"), 2, "name a target"),
    ],
)
def test_try_refuses_wrong_arguments_before_any_request(workspace: Workspace, arguments: tuple[str, ...], code: int, said: str) -> None:
    """`router try` exits with 1 for an unknown, scripted or skipped target or an unknown `--beside` route, and with 2 without a target."""
    more = "a: {script: demo}\nlater: {model: openai/gpt-4o, api_key: '${NOT_SET}', optional: true}\n"
    workspace.write("routes.yaml", routes(target("http://127.0.0.1:9/v1") + more, "targets: [new]"))
    done = router(*arguments, cwd=Path(workspace.root))
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_try_rehearses_a_target_that_no_route_uses(workspace: Workspace) -> None:
    """`router try` calls a declared target that no route uses, and for its closed port exits with 1 and names `api_base`."""
    workspace.write("routes.yaml", routes(target("http://127.0.0.1:9/v1") + "a: {script: demo}", "targets: [a]"))
    assert build(load(workspace.root / "routes.yaml")).routes
    done = router("try", "new", "--yes", cwd=Path(workspace.root))
    assert (done.returncode, "api_base" in done.stdout) == (1, True)
