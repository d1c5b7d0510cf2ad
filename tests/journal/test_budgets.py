"""Used shares of token and spend limits, in /admin/budgets and in `router show --live`."""

import asyncio

import pytest

from router.__main__ import main
from router.journal.budgets import Budget, fullest
from tests.conftest import Client, Workspace, routes, serving
from tests.failover.test_when import TWO, asked, conditional, keyed, priced
from tests.support.provider import Reply, provider, text


async def test_show_live_lists_the_used_share_of_each_budget(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`router show --live` and /admin/budgets have the used share of the route's limit and of each caller's, after each answer."""
    headers, server = keyed("alice", "bob", more=", limit: {tokens: 20/day}")
    async with provider(Reply(text("best"))) as best, provider(Reply(text("cheap"))) as cheap:
        limit = "\n    limit: {spend: 20USD/day}"
        workspace.write("routes.yaml", conditional("budget_used: 80%", limit, server, priced(best, cheap)))
        async with serving(workspace.build()) as client:
            assert await asked(client, headers["alice"]) == "best"
            shown = await budgets_shown(client, capsys)
            assert shown == ["spend 20USD/day of all callers: 15% used", "tokens 20/day of the caller alice: 70% used", *shown[2:]]
            assert shown[2:] == ["tokens 20/day of the caller bob: 0% used"]
            assert await asked(client, headers["alice"]) == "best"
            shown = await budgets_shown(client, capsys)
            assert shown[:2] == ["spend 20USD/day of all callers: 30% used", "tokens 20/day of the caller alice: 140% used"]
            (first, *_) = (await client.get("/admin/budgets")).json["budgets"]
            known = {
                "routes": ["chat-model"],
                "caller": None,
                "per": "route",
                "limit": "spend",
                "most": "20USD/day",
                "subjects": None,
                "largest": None,
            }
            assert first == {**known, "used": pytest.approx(0.3, abs=0.01)}


async def budgets_shown(client: Client, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines about budgets of `router show --live`."""
    assert await asyncio.to_thread(main, ["show", "--live", client.base, "chat-model"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  budgets"))
    return [line[13:] for line in lines[first : lines.index("  targets, in order: the first to speak gives the answer")]]


USERS = keyed("ci", more=", user: {header: x-user}")[1]
TOKENS = f"server: {{auth: {{jwt: {{issuer: x, audience: y, algorithms: [HS256], secret: '{'q8Zr' * 16}'}}}}}}\n"


@pytest.mark.parametrize(
    ("limit", "server", "said"),
    [
        ("{tokens: 20/day, per: user}", USERS, "tokens 20/day: counted for each end user by itself; used by 0, the most by one: 0%"),
        (
            "{tokens: 20/day, per: ip}",
            "server: {auth: none, proxies: []}\n",
            "tokens 20/day: counted for each address by itself; used by 0, the most by one: 0%",
        ),
        ("{tokens: 20/day, per: key}", TOKENS, "tokens 20/day: counted for each caller by itself"),
        ("{spend: 5USD/hour, per: key}", USERS, "spend 5USD/hour of the caller ci: 0% used"),
        ("{spend: 5USD/hour, requests: 2/day}", "", "spend 5USD/hour of all callers: 0% used"),
    ],
)
async def test_budget_is_shown_with_its_subject(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], limit: str, server: str, said: str
) -> None:
    """A limit is shown with its caller, or as counted for each user, address or caller; a limit on requests is not shown."""
    workspace.write("routes.yaml", routes(TWO, f"targets: [cheap, best]\n    limit: {limit}", server))
    async with serving(workspace.build()) as client:
        assert await budgets_shown(client, capsys) == [said]


async def test_budget_per_user_shows_the_number_of_users_and_the_largest_share(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Limits per user, of a route and of a key, show how many users have used some and the largest share, and name no user."""
    headers, server = keyed("ci", more=", user: {header: x-user}, limit: {tokens: 70/day, per: user}")
    async with provider(Reply(text("best"))) as best, provider(Reply(text("cheap"))) as cheap:
        limited = "targets: [best]\n    limit: {tokens: 20/day, requests: 9/day, per: user}"
        workspace.write("routes.yaml", routes(priced(best, cheap), limited, server))
        async with serving(workspace.build()) as client:
            for user in ("alice", "bob", "bob"):
                await asked(client, headers["ci"] | {"x-user": user})
            assert await budgets_shown(client, capsys) == [
                "tokens 20/day: counted for each end user by itself; used by 2, the most by one: 140%",
                "tokens 70/day of the caller ci: counted for each end user by itself; used by 2, the most by one: 40%",
            ]
            page = await client.get("/admin/budgets")
            assert [(one["used"], one["subjects"], one["largest"]) for one in page.json["budgets"]] == [(None, 2, 1.4), (None, 2, 0.4)]
            assert b"alice" not in page.body


async def test_budget_of_a_caller_is_not_shown_for_routes_it_may_not_ask(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A route's `router show --live` leaves out the limit of the only caller, which may not ask that route; /admin/budgets lists it."""
    server = keyed("ci", more=", routes: [other], limit: {tokens: 20/day}")[1]
    limited = "targets: [best]\n    limit: {tokens: 50/day}"
    workspace.write("routes.yaml", routes(TWO, limited, "  other: {pipeline: chat, targets: [best]}\n" + server))
    async with serving(workspace.build()) as client:
        assert await budgets_shown(client, capsys) == ["tokens 50/day of all callers: 0% used"]
        assert [one["caller"] for one in (await client.get("/admin/budgets")).json["budgets"]] == [None, "ci"]


def test_budgets_of_several_workers_merge_to_the_largest_share() -> None:
    """A merged budget has the largest used share, number of subjects and share of one subject that any worker reports."""

    def budget(limit: str, used: float | None, subjects: int | None = None, largest: float | None = None) -> Budget:
        return Budget(routes=["a"], caller=None, per="route", limit=limit, most="5USD/day", used=used, subjects=subjects, largest=largest)

    reports = [
        [budget("spend", 0.2), budget("tokens", None, 7, 0.1)],
        [budget("spend", 0.7), budget("tokens", None, 3, 0.9)],
        [budget("spend", 0.1)],
    ]
    assert fullest(reports) == [budget("spend", 0.7), budget("tokens", None, 7, 0.9)]
