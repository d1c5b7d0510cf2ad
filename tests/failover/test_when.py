"""Conditions (`when`) on the entries of a route's targets: their effect on requests, the checks of them, and how they are described."""

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from router.__main__ import main
from router.callers.keys import new
from router.chat import Circumstances
from router.config import load
from router.config.conditions import Range, When, reachable
from router.config.reader import declare
from router.config.snapshot import read
from router.config.values import Name
from router.description import changes, describe, sentences
from router.drill import drilled
from router.errors import ConfigError
from router.generation import Carryover, Generation, build
from router.quotas import Local
from tests.callers.test_tokens import AUDIENCE, GOOD, ISSUER, SECRET, signed
from tests.conftest import Client, Workspace, direct_target, routes, serving
from tests.support.provider import Provider, Reply, provider, text
from tests.support.services import redis_server

TWO = "cheap: {script: [{text: cheap}]}\nbest: {script: [{text: best}]}"
HI: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def conditional(when: str, more: str = "", server: str = "", targets: str = TWO) -> str:
    """Return a configuration whose route asks `cheap` where this condition holds, and `best` otherwise."""
    return routes(targets, f"targets: [{{use: cheap, when: {{{when}}}}}, best]{more}", server)


async def asked(client: Client, headers: Mapping[str, str] | Sequence[tuple[str, str]] = (), **body: Any) -> str:
    """Return the text of one answer, which names the target that gave it."""
    async with client.session.post(client.base + "/v1/chat/completions", json=HI | body, headers=headers) as response:
        return (await response.json())["choices"][0]["message"]["content"]


def keyed(*names: str, more: str = "", route: str = "") -> tuple[dict[str, dict[str, str]], str]:
    """Return callers' headers, and the `server:` that knows their API keys. `more`: YAML added to each key; `route`: to `server`."""
    keys = {name: new() for name in names}
    lines = [f"{name}: {{hash: 'sha256:{hashlib.sha256(key.encode()).hexdigest()}'{more}}}" for name, key in keys.items()]
    server = f"server: {{auth: {{keys: {{{', '.join(lines)}}}}}{route}}}\n"
    return {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}, server


def bearer(**claims: Any) -> dict[str, str]:
    """Return the headers of a request with a signed token that has these claims."""
    return {"authorization": f"Bearer {signed({**GOOD, 'exp': int(time.time()) + 600, **claims}, OctKey.import_key(SECRET), 'HS256')}"}


JWT = f"server: {{auth: {{jwt: {{issuer: '{ISSUER}', audience: {AUDIENCE}, algorithms: [HS256], secret: '{SECRET}'}}}}}}\n"


async def test_caller_condition_matches_the_keys_name_or_the_tokens_sub(workspace: Workspace) -> None:
    """A `caller` condition selects its entry for the callers it lists, by the name of an API key or the `sub` of a token."""
    headers, server = keyed("ci", "nightly", "alice")
    workspace.write("routes.yaml", conditional("caller: [ci, nightly]", server=server))
    async with serving(workspace.build()) as client:
        assert [await asked(client, headers[name]) for name in ("ci", "alice", "nightly")] == ["cheap", "best", "cheap"]
    workspace.write("routes.yaml", conditional("caller: 'auth0|7'", server=JWT))
    async with serving(workspace.build()) as client:
        assert [await asked(client, bearer(sub=sub)) for sub in ("auth0|7", "auth0|8")] == ["cheap", "best"]


CLAIMS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a value": ("plan: free", {"plan": "free"}, {"plan": "pro"}),
    "one of several": ("plan: [free, trial]", {"plan": "trial"}, {}),
    "one in a list": ("groups: interns", {"groups": ["all", "interns"]}, {"groups": ["all"]}),
    "two claims": ("plan: free, beta: true", {"plan": "free", "beta": True}, {"plan": "free", "beta": False}),
    "a number": ("tier: 3", {"tier": 3}, {"tier": 4}),
    "no text": ("plan: free", {"plan": ["free"]}, {"plan": {"free": True}}),
}


@pytest.mark.parametrize("case", CLAIMS)
async def test_claim_condition_matches_the_tokens_claims_exactly(workspace: Workspace, case: str) -> None:
    """A `claim` condition selects its entry if every named claim equals one of the listed values, or is a list with one of them."""
    claim, holds, fails = CLAIMS[case]
    workspace.write("routes.yaml", conditional(f"claim: {{{claim}}}", server=JWT))
    async with serving(workspace.build()) as client:
        assert [await asked(client, bearer(**claims)) for claims in (holds, fails, {})] == ["cheap", "best", "best"]


async def test_header_condition_matches_the_value_of_any_line_of_that_header(workspace: Workspace) -> None:
    """A `header` condition compares the name without case and the value exactly, in each of the header's lines."""
    workspace.write("routes.yaml", conditional("header: {X-Tier: [batch, bulk]}"))
    async with serving(workspace.build()) as client:
        lines: list[list[tuple[str, str]]] = [
            [("x-tier", "batch")],
            [("X-TIER", "bulk")],
            [("x-tier", "gold"), ("x-tier", "batch")],
            [("x-tier", "Batch")],
            [("x-tier", "batch, bulk")],
            [],
        ]
        assert [await asked(client, headers) for headers in lines] == ["cheap", "cheap", "cheap", "best", "best", "best"]


async def test_image_condition_matches_an_image_in_any_message(workspace: Workspace) -> None:
    """A `has_image: true` entry gets conversations with an image in any message, and a `has_image: false` entry all others."""
    shown = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]}, {"role": "user", "content": "Well?"}]
    for wanted, expected in (("true", ["cheap", "best"]), ("false", ["best", "cheap"])):
        workspace.write("routes.yaml", conditional(f"has_image: {wanted}"))
        async with serving(workspace.build()) as client:
            assert [await asked(client, messages=shown), await asked(client)] == expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [("..100", ["cheap", "best", "best"]), ("100..", ["best", "cheap", "cheap"]), ("100..200", ["best", "cheap", "best"])],
)
async def test_tokens_condition_matches_the_size_after_the_pipeline(workspace: Workspace, tokens: str, expected: list[str]) -> None:
    """A `tokens` range counts one token for four characters of the conversation that the pipeline leaves; its upper end is excluded."""
    workspace.write("routes.yaml", conditional(f"tokens: {tokens}"))
    async with serving(workspace.build()) as client:
        sizes = (396, 400, 800)
        assert [await asked(client, messages=[{"role": "user", "content": "x" * size}]) for size in sizes] == expected
    workspace.write("pipelines/chat.yaml", "steps:\n  - history: {keep: 1}\n").write("routes.yaml", conditional("tokens: ..100"))
    async with serving(workspace.build()) as client:
        long = [{"role": "user", "content": "x" * 4000}, {"role": "assistant", "content": "y"}, {"role": "user", "content": "Hi"}]
        assert await asked(client, messages=long) == "cheap"


async def test_entry_is_asked_only_if_all_its_conditions_hold(workspace: Workspace) -> None:
    """An entry with two headers and a range of tokens is passed over if any of the three does not hold."""
    workspace.write("routes.yaml", conditional("header: {x-tier: batch, x-job: nightly}, tokens: ..100"))
    async with serving(workspace.build()) as client:
        both = {"x-tier": "batch", "x-job": "nightly"}
        assert [await asked(client, headers) for headers in (both, {"x-tier": "batch"}, {})] == ["cheap", "best", "best"]
        assert await asked(client, both, messages=[{"role": "user", "content": "x" * 400}]) == "best"


class Clock:
    """A clock that only the test advances, from 0 s on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


DAY = 86_400.0


def priced(best: Provider, cheap: Provider) -> str:
    """Return two targets: `best`, whose answers cost 3 dollars each, and `cheap`, whose answers cost nothing."""
    dear = direct_target(best.base, "best").replace("}", ", price: {input: 0, output: 1000000}}")
    return dear + direct_target(cheap.base, "cheap").replace("}", ", price: {input: 0, output: 0}}")


def built(workspace: Workspace, clock: Clock) -> Generation:
    """Return the generation of the workspace's configuration, with limits that go by this clock."""
    return build(declare(read(workspace.root / "routes.yaml"), {}), Carryover(local=Local(clock)))


async def test_budget_used_condition_switches_at_its_share_and_back_as_spending_decays(workspace: Workspace) -> None:
    """At 80 % of 20 dollars a day, questions go to `cheap`; they go to `best` again once what was spent has decayed below that share."""
    clock = Clock()
    async with provider(Reply(text("best"))) as best, provider(Reply(text("cheap"))) as cheap:
        limit = "\n    limit: {spend: 20USD/day}"
        workspace.write("routes.yaml", conditional("budget_used: 80%", limit, targets=priced(best, cheap)))
        async with serving(built(workspace, clock)) as client:
            assert [await asked(client) for _ in range(9)] == ["best"] * 6 + ["cheap"] * 3  # 0, 3, … 15, 18 dollars
            clock.now = DAY - 1
            assert await asked(client) == "cheap"
            clock.now = DAY * 1.11  # 18 dollars × 0.89: 16.02
            assert await asked(client) == "cheap"
            clock.now = DAY * 1.12
            assert [await asked(client) for _ in range(2)] == ["best", "cheap"]  # 15.84 dollars, then 18.84
            clock.now = DAY * 3
            assert await asked(client) == "best"


async def test_budget_used_condition_counts_each_callers_own_limit(workspace: Workspace) -> None:
    """A caller that has used 70 % of the token limit of its key goes to `cheap`; another caller of the same route still goes to `best`."""
    headers, server = keyed("alice", "bob", more=", limit: {tokens: 20/day}")
    async with provider(Reply(text("best"))) as best, provider(Reply(text("cheap"))) as cheap:
        workspace.write("routes.yaml", conditional("budget_used: 70%", server=server, targets=priced(best, cheap)))
        async with serving(built(workspace, Clock())) as client:
            assert [await asked(client, headers["alice"]) for _ in range(2)] == ["best", "cheap"]  # 14 of 20 tokens
            assert await asked(client, headers["bob"]) == "best"


async def test_budget_used_condition_counts_the_spending_of_all_replicas(workspace: Workspace) -> None:
    """With a shared Redis, once one replica has spent half of the budget and asks `cheap`, the other does so within ten answers."""
    async with redis_server() as redis, provider(Reply(text("best"))) as best, provider(Reply(text("cheap"))) as cheap:
        server = f"server: {{redis: '{redis.url}'}}\n"
        text_ = conditional("budget_used: 50%", "\n    limit: {spend: 60USD/day}", server, priced(best, cheap))
        workspace.write("routes.yaml", text_)
        async with serving(workspace.build()) as one, serving(workspace.build()) as other:
            async with asyncio.timeout(240):
                while await asked(one) != "cheap":
                    pass
                spent = len(best.requests)
                while await asked(other) != "cheap":
                    pass
            assert spent >= 10
            assert len(best.requests) - spent < 10  # what was spent is told to Redis behind the answer: a few may come before that


async def test_question_that_matches_no_entry_is_refused_in_five_dialects(workspace: Workspace) -> None:
    """A question for which no entry's condition holds is status 400 in five dialects, with the code `no_target` in the line protocol."""
    workspace.write(
        "routes.yaml", routes(TWO, "targets: [{use: cheap, when: {has_image: true}}, {use: best, when: {header: {x-tier: gold}}}]")
    )
    async with serving(workspace.build()) as client:
        for name in ("line", "data-stream", "ui-message-stream", "openai", "text"):
            answer = await client.post(f"/api/chat?protocol={name}", **HI)
            assert (answer.status, "No model of this route is meant for such a question." in answer.body.decode()) == (400, True)
        assert (await client.post("/api/chat?protocol=line", **HI)).json["code"] == "no_target"


async def test_entry_whose_condition_does_not_hold_is_no_fallback(workspace: Workspace) -> None:
    """An entry whose condition does not hold is asked neither after a failure nor for a rescue; for a question that matches, it is."""
    cut = Reply(text("Half ", "of it.")[:2], drop=True)
    async with provider(Reply(status=503), cut) as best, provider(Reply(text("cheap"))) as cheap:
        listed = direct_target(best.base, "best") + direct_target(cheap.base, "cheap")
        route = "targets: [best, {use: cheap, when: {header: {x-tier: batch}}}]\n    retry: {attempts: 1}"
        workspace.write("routes.yaml", routes(listed, route))
        async with serving(workspace.build()) as client:
            assert (await client.post("/v1/chat/completions", **HI)).status == 502
            assert (await client.post("/v1/chat/completions", **HI)).status == 502
            assert not cheap.requests
            assert "cheap" in await asked(client, {"x-tier": "batch"})


async def test_condition_of_a_pool_or_of_its_member_selects_the_pools_members(workspace: Workspace) -> None:
    """A condition on a pool holds for all its members; one on a member leaves that member alone out of the pool where it does not hold."""
    three = TWO + "\nother: {script: [{text: other}]}"
    route = "targets: [{use: [cheap, other], when: {header: {x-tier: batch}}}, best]"
    async with serving(workspace.write("routes.yaml", routes(three, route)).build()) as client:
        found = {await asked(client, {"x-tier": "batch"}) for _ in range(50)}
        assert (found, await asked(client)) == ({"cheap", "other"}, "best")
    route = "targets: [[{use: cheap, weight: 3, when: {header: {x-tier: batch}}}, {use: other, weight: 0.001}, best]]"
    async with serving(workspace.write("routes.yaml", routes(three, route)).build()) as client:
        assert "cheap" not in {await asked(client) for _ in range(20)}
        assert "cheap" in {await asked(client, {"x-tier": "batch"}) for _ in range(20)}


async def test_target_with_two_entries_is_asked_once_at_its_first_matching_entry(workspace: Workspace) -> None:
    """A target that is first under a condition and last without one is asked once for each question, at the entry that holds first."""
    async with provider(Reply(status=503)) as best, provider(Reply(status=503)) as cheap:
        listed = direct_target(best.base, "best") + direct_target(cheap.base, "cheap")
        route = (
            "targets: [{use: cheap, when: {header: {x-tier: batch}}}, best, cheap]\n    retry: {attempts: 1}\n    breaker: {failures: 100}"
        )
        async with serving(workspace.write("routes.yaml", routes(listed, route)).build()) as client:
            for headers, order in (({"x-tier": "batch"}, ["cheap", "best"]), ({}, ["best", "cheap"])):
                async with client.session.post(client.base + "/v1/chat/completions", json=HI, headers=headers) as response:
                    tried = response.headers["x-router-attempts"].split(", ")
                    assert [one.partition(";")[0].strip('"') for one in tried] == order


async def test_cached_answer_is_used_only_for_questions_that_match_the_same_entries(workspace: Workspace) -> None:
    """A question with two header values that select different targets is cached once for each, and both are hits the second time."""
    async with provider(Reply(text("best"))) as best, provider(Reply(text("cheap"))) as cheap:
        listed = direct_target(best.base, "best") + direct_target(cheap.base, "cheap")
        workspace.write("routes.yaml", conditional("header: {x-tier: batch}", "\n    cache: {ttl: 1h, scope: route}", targets=listed))
        async with serving(workspace.build()) as client:
            for _ in range(2):
                assert [await asked(client, {"x-tier": tier}) for tier in ("batch", "gold")] == ["cheap", "best"]
        assert (len(best.requests), len(cheap.requests)) == (1, 1)


async def test_caller_condition_ignores_fields_of_the_body(workspace: Workspace) -> None:
    """A body with the fields `caller`, `user`, `circumstances` or `held` does not select the entry of another caller."""
    headers, server = keyed("ci", "alice")
    workspace.write("routes.yaml", conditional("caller: ci", server=server))
    async with serving(workspace.build()) as client:
        assert await asked(client, headers["alice"], caller="ci", user="ci", circumstances={"caller": "ci"}, held=[0]) == "best"


KEYS = keyed("ci", "alice")[1]
NEVER: dict[str, tuple[str, str]] = {
    "a caller where none is declared": (
        conditional("caller: ci"),
        "nobody is known as `ci`, because no callers are declared: write `server.auth`",
    ),
    "a caller without a key": (conditional("caller: [ci, alcie]", server=KEYS), "no key is named `alcie`; did you mean `alice`?"),
    "a caller who may not ask": (
        conditional("caller: ci", "\n  other: {pipeline: chat, targets: [best]}", KEYS.replace("}, alice", ", routes: [other]}, alice")),
        "the key of `ci` may not ask `chat-model`",
    ),
    "a claim without tokens": (conditional("claim: {plan: pro}", server=KEYS), "no caller has a token with claims"),
    "a budget without a limit": (conditional("budget_used: 80%"), "no limit on money or tokens counts these questions"),
    "a budget of requests": (conditional("budget_used: 80%", "\n    limit: {requests: 5/day}"), "no limit on money or tokens"),
    "a budget of another caller": (
        conditional(
            "budget_used: 80%, caller: ci",
            server=KEYS.replace("}, alice", "}, alice").replace("alice: {", "alice: {limit: {spend: 5USD/day}, "),
        ),
        "no limit on money or tokens",
    ),
    "all of a budget": (conditional("budget_used: 100%", "\n    limit: {spend: 5USD/day}"), "`100%` never holds"),
    "an empty share": (conditional("budget_used: 80%..50%", "\n    limit: {spend: 5USD/day}"), "`80%..50%` is empty"),
    "every share": (conditional("budget_used: 0%", "\n    limit: {spend: 5USD/day}"), "`0%` holds for every question"),
    "an empty range": (conditional("tokens: 800..8"), "`800..8` is empty"),
    "every size": (conditional("tokens: 0.."), "`0..` holds for every conversation"),
    "a single size": (conditional("tokens: 8000"), "`8000` is not a range of tokens: write 8000.. for 8000 and more"),
    "no condition": (conditional(""), "`when` says nothing: write caller, claim, header, has_image, tokens or budget_used"),
    "no header at all": (conditional("header: {}"), "`header` names none, so it asks for nothing"),
    "no value": (conditional("header: {x-tier: []}"), "`header` has no value"),
    "a header with a secret": (conditional("header: {Authorization: x}"), "`Authorization` holds a secret, and none is written here"),
    "no header": (conditional("header: {x_tier: a b}"), "`x_tier` is not the name of a header"),
    "an unknown condition": (conditional("user: x"), "unknown key `user`"),
    "an image for a target that reads none": (
        conditional("has_image: true", targets="cheap: {model: openai/x, api_key: k, facts: {images: false}}\nbest: {script: demo}"),
        "`cheap` is asked about images alone, and its model is known to read none",
    ),
    "a condition on a pool and on its member": (
        routes(TWO, "targets: [{use: [{use: cheap, when: {tokens: ..8}}], when: {tokens: 8..}}, best]"),
        "`when` stands either on a pool or on its members",
    ),
    "a weight that stands alone": (
        routes(TWO, "targets: [{use: cheap, weight: 2, when: {tokens: ..8}}, best]"),
        "a mapping stands in a list of its own, a pool",
    ),
    "a target twice": (routes(TWO, "targets: [cheap, best, cheap]"), "`cheap` stands twice in the targets of `chat-model`"),
    "a condition behind the same target": (
        routes(TWO, "targets: [cheap, best, {use: cheap, when: {tokens: 8..}}]"),
        "this entry of `cheap` is never asked: an earlier one (line 8) has no condition; take it out, or write it first",
    ),
    "a narrower condition behind a wider one": (
        routes(TWO, "targets: [{use: cheap, when: {tokens: 8..}}, best, {use: cheap, when: {tokens: 80.., has_image: true}}]"),
        "this entry of `cheap` is never asked: wherever it holds, an earlier one (line 8) holds as well",
    ),
    "two that hold for everything together": (
        routes(TWO, "targets: [{use: cheap, when: {tokens: 8..}}, {use: cheap, when: {tokens: ..9}}, best, cheap]"),
        "this entry of `cheap` is never asked: wherever it holds, an earlier one (line 8) holds as well",
    ),
}


@pytest.mark.parametrize("case", NEVER)
def test_condition_that_is_invalid_or_can_never_hold_is_a_configuration_error(workspace: Workspace, case: str) -> None:
    """Each mistake in the table is one error, whose message says the reason and what to write instead."""
    content, said = NEVER[case]
    with pytest.raises(ConfigError) as refused:
        workspace.write("routes.yaml", content).build()
    messages = [complaint.message for complaint in refused.value.complaints]
    assert any(said in message for message in messages), messages
    assert len(messages) == 1, messages


@pytest.mark.parametrize(
    ("targets", "warns"),
    [
        ("{use: cheap, when: {tokens: ..8000}}", True),
        ("{use: cheap, when: {tokens: ..8000}}, {use: best, when: {tokens: 8000..}}", False),
        ("{use: cheap, when: {tokens: ..8000}}, {use: best, when: {tokens: 8001..}}", True),
        ("{use: cheap, when: {has_image: true}}, {use: best, when: {has_image: false}}", False),
        ("{use: cheap, when: {header: {x-tier: batch}}}, {use: best, when: {header: {x-tier: gold}}}", True),
        ("{use: cheap, when: {tokens: ..8000}}, best", False),
    ],
)
def test_check_warns_if_some_question_matches_no_entry(workspace: Workspace, targets: str, warns: bool) -> None:
    """A route whose conditions leave some question without a target has a warning of `no_target`; one that covers all has none."""
    generation = workspace.write("routes.yaml", routes(TWO, f"targets: [{targets}]")).build()
    found = [str(one) for one in generation.declaration.complaints.warnings]
    assert any("gets the error `no_target` from `chat-model`" in one for one in found) == warns


WORDS = st.sampled_from(["a", "b", "c"])
SEVERAL = st.lists(WORDS, min_size=1, max_size=2).map(tuple)
RANGES = st.tuples(st.integers(0, 3), st.integers(1, 3)).map(lambda ends: Range(ends[0] * 10, (ends[0] + ends[1]) * 10))
SHARES = st.tuples(st.integers(0, 3), st.integers(1, 3)).map(lambda ends: Range(ends[0] / 10, (ends[0] + ends[1]) / 10))


@st.composite
def whens(draw: st.DrawFn) -> When:
    """Draw conditions that often overlap."""
    given_: dict[str, Any] = {}
    strategies: dict[str, st.SearchStrategy[Any]] = {
        "caller": SEVERAL,
        "claim": st.dictionaries(WORDS, SEVERAL, min_size=1, max_size=2),
        "header": st.dictionaries(WORDS, SEVERAL, min_size=1, max_size=2),
        "has_image": st.booleans(),
        "tokens": RANGES,
        "budget_used": SHARES,
    }
    for name in draw(st.sets(st.sampled_from(sorted(strategies)), min_size=1, max_size=2)):
        given_[name] = draw(strategies[name])
    return When(**given_)


QUESTIONS = st.tuples(
    st.builds(
        Circumstances,
        st.sampled_from(["", "a", "b", "c", "d"]),
        st.dictionaries(WORDS, st.one_of(WORDS, st.lists(WORDS, max_size=2)), max_size=3),
        st.dictionaries(WORDS, SEVERAL, max_size=3),
        st.integers(0, 60).map(lambda share: share / 100),
    ),
    st.integers(0, 70),
    st.booleans(),
)


@settings(deadline=None)
@given(st.one_of(st.none(), whens()), st.lists(whens(), min_size=1, max_size=3), st.lists(QUESTIONS, min_size=20, max_size=20))
def test_entry_that_a_question_reaches_past_earlier_entries_is_found_reachable(
    entry: When | None, earlier: list[When], questions: list[tuple[Circumstances, int, bool]]
) -> None:
    """For random conditions, `reachable` is true of an entry that any of 20 random questions reaches past the earlier entries."""
    reached = any(
        (entry is None or entry.holds(here, tokens, has_image=image))
        and not any(one.holds(here, tokens, has_image=image) for one in earlier)
        for here, tokens, image in questions
    )
    assert reachable(entry, earlier) or not reached


@settings(deadline=None)
@given(whens(), whens())
def test_entry_is_unreachable_behind_its_own_condition_and_reachable_behind_none(entry: When, earlier: When) -> None:
    """An entry is unreachable behind its own condition, and reachable behind none, or behind one that alone has a condition on `caller`."""
    assert not reachable(entry, [entry])
    assert reachable(entry, [])
    if earlier.caller is not None and entry.caller is None:
        assert reachable(entry, [earlier])


def test_condition_with_too_many_combinations_counts_as_reachable() -> None:
    """Of a condition on 30 headers with two values each, a billion combinations, only so many are tested; then it counts as reachable."""
    entry = When(header={Name(f"x-{number}"): ("a", "b") for number in range(30)})
    assert reachable(entry, [entry], most=100)
    assert not reachable(When(header={Name("x-1"): ("a", "b")}), [entry, When(has_image=True), When(has_image=False)], most=100)


SHOWN = "targets: [{use: cheap, when: {budget_used: 80%, caller: ci}}, best, cheap]\n    limit: {spend: 5USD/day}"


def test_show_describes_the_conditions_of_a_routes_targets(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router show` writes each target's condition in words, as JSON, and as `cheap?` in its overview."""
    workspace.write("routes.yaml", routes(TWO, SHOWN, KEYS))
    file = str(workspace.root / "routes.yaml")
    assert main(["show", "chat-model", "--routes", file]) == 0
    said = capsys.readouterr().out
    for line in (
        "1. cheap: where ci asks and 80% or more of the budget is used: asked first",
        "2. best: asked first where no condition above holds, else where cheap is silent or failed",
        "3. cheap: asked where best is silent or failed, unless it was asked above",
    ):
        assert line in said
    assert main(["show", "chat-model", "--json", "--routes", file]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [one["where"] for one in record["targets"]] == ["ci asks and 80% or more of the budget is used", None, None]
    assert main(["show", "--routes", file]) == 0
    assert "cheap? → best → cheap" in capsys.readouterr().out


def test_diff_reports_a_changed_condition_and_ignores_its_spelling(workspace: Workspace) -> None:
    """A changed `budget_used` of a condition is one change of its entry; another spelling of the same share or header is none."""

    def described(targets: str) -> Any:
        workspace.write("routes.yaml", routes(TWO, f"targets: [{targets}, best]\n    limit: {{spend: 5USD/day}}"))
        return describe(load(workspace.root / "routes.yaml"))

    before, after = described("{use: cheap, when: {budget_used: 80%}}"), described("{use: cheap, when: {budget_used: 90%}}")
    (said,) = sentences(changes(before, after))[:1]
    assert "cheap where 80% or more of the budget is used → cheap where 90% or more of the budget is used" in said
    assert not changes(before, described("{use: cheap, when: {budget_used: 80%..}}"))
    upper, lower = (described(f"{{use: cheap, when: {{header: {{{name}: gold}}}}}}") for name in ("X-Tier", "x-tier"))
    assert not changes(upper, lower)


DRILLS = """drills:
  - {name: a, ask: {model: chat-model, budget_used: 79%}, expect: {tried: [best ok]}}
  - {name: b, ask: {model: chat-model, budget_used: 80%}, expect: {tried: [cheap ok]}}
  - {name: c, given: {cheap: 503 , best: ok}, ask: {model: chat-model, budget_used: 90%}, expect: {served_by: best}}
  - {name: d, ask: {model: big, tokens: 9000}, expect: {served_by: best}}
  - {name: e, ask: {model: big, image: true, caller: ci}, expect: {served_by: cheap}}
  - {name: f, ask: {model: big, headers: {X-Tier: gold}, caller: alice}, expect: {served_by: best}}
  - {name: g, ask: {model: big}, expect: {fails: no_target}}
  - {name: h, ask: {model: big, tokens: 9000, text: 'Hello there'}, expect: {served_by: best}}
"""


def test_drill_sets_the_values_that_conditions_read(workspace: Workspace) -> None:
    """Drills with a budget share, tokens, image, caller or header get the target that the condition selects."""
    route = "targets: [{use: cheap, when: {budget_used: 80%}}, best]\n    limit: {spend: 5USD/day}"
    big = (
        "  big: {pipeline: chat, targets: [{use: cheap, when: {has_image: true, caller: ci}}, {use: best, when: {tokens: 9000..}}, "
        "{use: best, when: {header: {x-tier: gold}}}]}\n"
    )
    workspace.write("routes.yaml", routes(TWO, route, big + KEYS + DRILLS))
    results = drilled(load(workspace.root / "routes.yaml"))
    assert {result.name: result.faults for result in results} == dict.fromkeys("abcdefgh", ())


def test_drill_fails_if_the_condition_switches_at_another_share(workspace: Workspace) -> None:
    """A drill that expects the switch at 80 % fails for a route that switches at 90 %; the one below both shares passes."""
    route = "targets: [{use: cheap, when: {budget_used: 90%}}, best]\n    limit: {spend: 5USD/day}"
    workspace.write("routes.yaml", routes(TWO, route, DRILLS[: DRILLS.index("  - {name: c")]))
    first, second = drilled(load(workspace.root / "routes.yaml"))
    assert (first.faults, bool(second.faults)) == ((), True)
