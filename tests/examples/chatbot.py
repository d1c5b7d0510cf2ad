"""The router of examples/chatbot with fake providers and a fake weather service."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import web

from tests.conftest import ROOT, Client, Workspace, serving
from tests.support.provider import Provider, Reply, calls, chunk, running, text, usage

EXAMPLE = ROOT / "examples" / "chatbot"
DOCUMENT = {"id": "6f0b4d9e-3c1a-4d55-9a53-0d6f5d2b8f11", "title": "Rain", "kind": "text", "content": "It rains. It is wet."}
HOURS = [f"2026-07-10T{hour:02}:00" for hour in range(24)] + [f"2026-07-11T{hour:02}:00" for hour in range(24)]
FORECAST = {
    "latitude": 52.52,
    "longitude": 13.42,
    "generationtime_ms": 0.05,
    "utc_offset_seconds": 7200,
    "timezone": "Europe/Berlin",
    "timezone_abbreviation": "CEST",
    "elevation": 38.0,
    "current_units": {"time": "iso8601", "interval": "seconds", "temperature_2m": "°C"},
    "current": {"time": "2026-07-10T14:30", "interval": 900, "temperature_2m": 24.6},
    "hourly_units": {"time": "iso8601", "temperature_2m": "°C"},
    "hourly": {"time": HOURS, "temperature_2m": [15 + hour % 24 / 2 for hour in range(48)]},
    "daily_units": {"time": "iso8601", "sunrise": "iso8601", "sunset": "iso8601"},
    "daily": {
        "time": ["2026-07-10", "2026-07-11"],
        "sunrise": ["2026-07-10T04:55", "2026-07-11T04:56"],
        "sunset": ["2026-07-10T21:27", "2026-07-11T21:26"],
    },
}
"""A forecast as Open-Meteo returns it."""


@dataclass(frozen=True)
class Setting:
    """The running router, its fake providers, and the queries that the weather service received."""

    client: Client
    chat: Provider
    writer: Provider
    weather: list[Mapping[str, str]]
    """The queries that the weather service received."""


def wish(name: str, /, **arguments: object) -> Reply:
    """Return a fake model's answer that calls this tool with these arguments."""
    return Reply(calls(("call_1", name, json.dumps(arguments))))


def copied(root: Path, chat: str, writer: str) -> Workspace:
    """Return a copy of the example in which each route asks one fake model: `gpt` at the URL `chat`, or `claude` at the URL `writer`."""
    shutil.copytree(EXAMPLE, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    declared = (root / "routes.yaml").read_text()
    asked = "{{model: openai/fake, api_base: '{base}', api_key: sk-test}}"
    for name, base in (("gpt", chat), ("claude", writer)):
        start = declared.index(f"  {name}: {{")
        declared = declared.replace(declared[start : declared.index("\n", start)], f"  {name}: " + asked.format(base=base))
    for route in ("artifact", "suggestions", "title"):
        declared = declared.replace(f"pipeline: {route}\n    targets: [gpt, claude, demo]", f"pipeline: {route}\n    targets: [claude]")
    declared = declared.replace("targets: [gpt, claude, demo]", "targets: [gpt]")
    return Workspace(root).write("routes.yaml", declared)


@asynccontextmanager
async def weather_service() -> AsyncGenerator[tuple[str, list[Mapping[str, str]]], None]:
    """Run a fake Open-Meteo on loopback; yield its address and the list of queries that it receives."""
    asked: list[Mapping[str, str]] = []

    async def search(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        known = request.query["name"] == "Berlin"
        return web.json_response({"results": [{"latitude": 52.52, "longitude": 13.41}]} if known else {"generationtime_ms": 0.1})

    async def forecast(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.json_response({**FORECAST, "unknown": "not shown"})

    app = web.Application()
    app.add_routes([web.get("/v1/search", search), web.get("/v1/forecast", forecast)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


class Talker(Provider):
    """A fake chat model that calls the tool named by the question's first word, then says one sentence after the result."""

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Return the tool call for the question's first word, a 500 for `fail`, or a text for any other; after a result, one sentence."""
        del headers
        last, system = body["messages"][-1], body["messages"][0]["content"]
        if last["role"] != "user":
            return DONE
        word, _, rest = last["content"].partition(" ")
        known = re.findall(r"id ([0-9a-f-]{36}):", system)
        match word.lower():
            case "text" | "code" | "sheet" as kind:
                return wish("createDocument", title=rest, kind=kind)
            case "change":
                return wish("updateDocument", id=known[-1], description=rest)
            case "suggest":
                return wish("requestSuggestions", documentId=known[-1])
            case "weather":
                return wish("getWeather", city=rest)
            case "fail":
                return Reply(status=500, body=b"{}")
            case _:
                return Reply(text("I read: ", last["content"]))


class Writer(Provider):
    """A fake model that writes documents, suggestions and titles. `written`: kind → the pieces of a document."""

    written: Mapping[str, Sequence[str]] = {
        "Markdown": ("# Rain in spring\n\n", "It rains, ", "and the garden ", "is glad of it.\n\n", "## What to wear\n\n", "A coat.\n"),
        "CSV": ("month,rain (mm)\n", "March,38\n", "April,44\n", "May,57\n"),
        "code": ("def rain(days: int) -> float:\n", '    """Millimetres of rain."""\n', "    return days * 1.5\n\n\n", "print(rain(30))\n"),
    }
    gate: asyncio.Event | None = None
    """An event that holds documents back after their first piece; None for no delay."""
    stuck = False
    """True if a document stops after its first piece until the client disconnects."""

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Return the title, suggestions or document that the system prompt asks for."""
        del headers
        system, last = body["messages"][0]["content"], body["messages"][-1]["content"]
        if "title for the conversation" in system:
            return Reply(text(f"About: {last}"))
        if "suggest improvements" in system:
            one = {"original": "A coat.", "suggested": "Wear a light raincoat.", "description": "A whole sentence says more."}
            return Reply(text(json.dumps({"suggestions": [one, {**one, "original": "It rains", "suggested": "It pours"}]})))
        kind = next(kind for kind in ("Markdown", "CSV", "code") if kind in system)
        if self.stuck:
            return Reply((chunk({"content": self.written[kind][0]}),), hold=True)
        more = (f"\nChanged: {last}\n",) if "version already" in system else ()
        return Reply(slowly(*self.written[kind], *more), gate=self.gate)


@asynccontextmanager
async def setting(
    root: Path,
    patch: pytest.MonkeyPatch,
    chat: Sequence[Reply] | Provider,
    writer: Sequence[Reply] | Provider,
    edits: Mapping[str, str] = MappingProxyType({}),
) -> AsyncGenerator[Setting, None]:
    """Run the example's router with these fake providers. `edits`: text of its routes.yaml → its replacement."""
    talker, wrote = (one if isinstance(one, Provider) else Provider(one) for one in (chat, writer))
    async with running(talker) as model, running(wrote) as author, weather_service() as (address, asked):
        patch.setenv("OPEN_METEO_URL", address)
        patch.setenv("OPEN_METEO_GEOCODING_URL", address)
        example = copied(root, model.base, author.base)
        declared = (root / "routes.yaml").read_text()
        for before, after in edits.items():
            assert before in declared
            declared = declared.replace(before, after)
        async with serving(example.write("routes.yaml", declared).build()) as client:
            yield Setting(client, model, author, asked)


def body(question: str, documents: Sequence[Mapping[str, str]] = (), chat: str = "") -> dict[str, Any]:
    """Return a request body as the example's route.ts sends it."""
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": question}]}
    return {
        "model": "chat-model",
        "messages": [message],
        "documents": [*documents],
        "trigger": "submit-message",
        **({"id": chat} if chat else {}),
    }


async def parts(client: Client, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Send this request body, and return the parts of the UI message stream that answers it."""
    came = await client.post("/api/chat?protocol=ui-message-stream", **asked)
    assert came.status == 200
    return [json.loads(line[6:]) for line in came.body.decode().split("\n\n") if line.startswith("data: {")]


def output(seen: Sequence[Mapping[str, Any]]) -> Any:
    """Return the output of the only successful tool call."""
    (found,) = [part["output"] for part in seen if part["type"] == "tool-output-available"]
    return found


def data(seen: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """Return the data parts as (type, data), without the progress of tools."""
    shown = [part for part in seen if part["type"].startswith("data-") and part["type"] != "data-tool-progress"]
    assert all(part["transient"] and part["id"] == "call_1" for part in shown)
    return [(part["type"].removeprefix("data-"), part["data"]) for part in shown]


def slowly(*pieces: str) -> tuple[bytes, ...]:
    """Return the frames of a complete answer with one frame per piece."""
    return (*(chunk({"content": piece}) for piece in pieces), chunk({}, "stop"), usage(), b"data: [DONE]\n\n")


DONE = Reply(text("There it is."))
