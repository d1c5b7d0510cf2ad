"""The cases of the clients, served by the router: a routes.yaml with one model id per case, and a router that serves it.

Most cases are scripts. A script is the same at each model call, so the cases with tools have a fake provider on loopback, which speaks
OpenAI's API and chooses its answer by the state of the conversation.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.clients.cases import NO_ORDER, Case
from tests.clients.harness import Client
from tests.clients.replay import Replay, Reply, Request, Stage, ended
from tests.clients.streams import CALLS, ROLE, STOP, UNICODE, chunks, openai_text
from tests.conftest import ROOT

PATIENCE = 240.0
"""Seconds to wait for the router; it starts in two."""

SCRIPTS: Mapping[str, Sequence[dict[str, object]]] = {
    "text": [{"text": "Hello, world!"}],
    "unicode": [{"text": UNICODE}],
    "thought": [{"thought": "The user greets me. "}, {"thought": "I greet back."}, {"text": "Hi there."}],
    "error-before": [{"fail": "down"}],
    "error-after": [{"text": "Partial"}, {"fail": "down"}],
    "resume": [{"text": "Before"}, {"pause": "300ms"}, {"text": " and after"}],
    "nothing-to-resume": [{"text": "Never asked"}],
    "slow": [{"text": "slow"}, {"pause": "300ms"}, {"text": "ly"}],
    "continue": [{"text": "One"}],
    "length": [{"text": "cut o"}, {"finish": "length"}],
    "complete": [{"text": "Hello, world!"}],
    "chat-model": [{"text": "Hello"}],
    "title-model": [{"text": "A title"}],
    "limited": [{"text": "Once"}],
    "faulty": [{"text": "Never asked"}],
    "half": [{"text": "Half "}, {"fail": "down"}],
    "whole": [{"text": "and whole."}],
}
"""Model id → the script of its target. A new case needs one line here, or some in MODELS."""


def _calling(*calls: tuple[str, str, object], before: Sequence[str] = ()) -> Reply:
    """Return a model's answer that calls these tools: (id, tool, arguments). `before`: the deltas before the calls."""
    deltas = [
        json.dumps(
            {
                "tool_calls": [
                    {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
                ]
            }
        )
        for index, (call_id, name, given) in enumerate(calls)
    ]
    return chunks(ROLE, *before, *deltas, CALLS)


def _weather(call_id: str, city: str) -> tuple[str, str, object]:
    return (call_id, "get_weather", {"location": city})


CITIES = (_weather("call_1", "Beijing"), _weather("call_2", "Shanghai"), _weather("call_3", "Paris"))
PERSON = {"name": "Ada", "age": 36}
"""The object that the model `person` answers, as JSON or as arguments of a tool call."""
CHECKED = chunks(
    ROLE,
    '{"content":"Let me check."}',
    '{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{\\"location\\":"}}]}',
    '{"tool_calls":[{"index":0,"function":{"arguments":"\\"Beijing\\"}"}}]}',
    CALLS,
)
CITED = ("https://example.org/rome", "Rome")
DRAWN = "iVBORw0KGgo="
"""The source that the model `shown` cites, and the image that it makes."""
WELCOME = openai_text('"You are welcome."')
PARTIAL = Reply(chunks(ROLE, '{"content":"Partial"}').body.removesuffix(b"data: [DONE]\n\n"))
HELD = ended(Reply(chunks(ROLE, '{"content":"Before"}').body.removesuffix(b"data: [DONE]\n\n")), "hold")
THINKING = ended(Reply(chunks('{"role":"assistant","reasoning_content":"Hm"}').body.removesuffix(b"data: [DONE]\n\n")), "hold")
HALF_PERSON = ended(Reply(chunks(ROLE, '{"content":"{\\"name\\": \\"Ada\\", "}').body.removesuffix(b"data: [DONE]\n\n")), "hold")
"""The beginning of a person's JSON, whose rest is never sent."""
MODELS: Mapping[str, Mapping[tuple[int, int], Reply]] = {
    "tool": {(1, 0): CHECKED, (1, 1): openai_text('"It is sunny."')},
    "progress": {(1, 0): CHECKED, (1, 1): openai_text('"It is sunny."')},
    "cautious": {(1, 0): CHECKED, (1, 1): openai_text('"It is sunny."')},
    "approval": {(1, 0): CHECKED, (1, 1): openai_text('"It is sunny."')},
    "tools": {
        (1, 0): _calling(_weather("call_1", "Beijing"), _weather("call_2", "Shanghai")),
        (1, 2): _calling(_weather("call_3", "Paris")),
        (1, 3): openai_text('"All are sunny."'),
    },
    "tool-error": {(1, 0): _calling(("call_1", "lost_orders", {"number": "A-1"})), (1, 1): openai_text('"I cannot find it."')},
    "two-turns": {(1, 0): CHECKED, (1, 1): openai_text('"It is sunny."'), (2, 0): WELCOME},
    "stop": {(1, 0): HELD, (2, 0): HELD},
    "file": {(1, 0): openai_text('"A red dot."')},
    "after-error": {(1, 0): ended(PARTIAL, "reset"), (2, 0): WELCOME},
    "after-stop": {(1, 0): HELD, (2, 0): WELCOME},
    "after-thought": {(1, 0): THINKING, (2, 0): WELCOME},
    "after-stopped-tool": {(1, 0): Reply(CHECKED.body.replace(b"get_weather", b"slow_weather")), (2, 0): WELCOME},
    "after-tool-error": {
        (1, 0): _calling(("call_1", "lost_orders", {"number": "A-1"})),
        (1, 1): openai_text('"I cannot find it."'),
        (2, 0): WELCOME,
    },
    "client-tool": {(1, 0): _calling(_weather("call_1", "Beijing")), (1, 1): openai_text('"Then it is done."')},
    "shown": {
        (1, 0): chunks(
            ROLE,
            '{"content":"Rome "}',
            json.dumps({"annotations": [{"type": "url_citation", "url_citation": {"url": CITED[0], "title": CITED[1]}}]}),
            '{"content":"it is."}',
            json.dumps({"images": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DRAWN}"}}]}),
            STOP,
        )
    },
    "three": {(1, 0): _calling(*CITIES), (1, 3): openai_text('"All are "', '"sunny."')},
    "transcript": {
        (1, 0): _calling(*CITIES, before=('{"reasoning_content":"Three cities."}', '{"content":"Let me check. "}')),
        (1, 3): openai_text('"All are "', '"sunny: 25°C. 好"'),
    },
}
"""Model id → (number of the user's messages, number of tool results since the last of them) → the provider's reply."""
ALTERNATING: Mapping[str, Sequence[Reply]] = {
    "regenerate": (openai_text('"One"'), openai_text('"Two"')),
    "object": (openai_text('"{\\"a\\":1}"'),),
}
"""Model id → the provider's replies, used in turn."""
USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"chat-model","choices":[],'
    b'"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}}\n\n'
)
"""The usage frame of each provider reply."""
OPTIONS: Mapping[str, str] = {
    "thought": "reasoning: show",
    "tool": "tools: [weather]",
    "progress": "tools: [sky]",
    "cautious": "tools: [cautious]",
    "approval": "tools: [{use: weather, approve: always}]",
    "tools": "tools: [weather]",
    "tool-error": "tools: [orders]",
    "two-turns": "tools: [weather]",
    "after-thought": "reasoning: show",
    "transcript": "tools: [weather], reasoning: show",
    "after-stopped-tool": "tools: [slow]",
    "after-tool-error": "tools: [orders]",
    "limited": "limit: {requests: 1/day, per: route}",
}
PIPELINES = {
    "chat.yaml": "steps:\n  - history: {keep: 40}\n",
    "faulty.yaml": "steps:\n  - prompt: faulty.j2\n",
    "faulty.j2": "{{ 1 // (messages | length - 1) }}\n",
}
"""Pipelines; `faulty` divides by zero, which stands for an unexpected exception in the router."""
TOOLS = {
    "weather": '''
async def get_weather(location: str) -> str:
    """Current weather for a city."""
    return f"{location}: 25°C"
''',
    "cautious": '''
from router.toolbox import needs_approval

@needs_approval(lambda location: location == "Beijing")
async def get_weather(location: str) -> str:
    """Current weather for a city, some of which the user has to allow."""
    return f"{location}: 25°C"
''',
    "sky": '''
import asyncio

async def get_weather(location: str):
    """Current weather for a city, which is looked up for a while."""
    for share in (10, 50):
        yield {"done": share}
        await asyncio.sleep(0.01)
    yield f"{location}: 25°C"
''',
    "slow": '''
import asyncio

async def slow_weather(location: str) -> str:
    """Weather that takes its time."""
    await asyncio.sleep(50)
    return location
''',
    "orders": f'''
from router.errors import ToolError

async def lost_orders(number: str) -> str:
    """Orders that nobody can find."""
    raise ToolError("{NO_ORDER}")
''',
}


def plays(client: Client, case: Case) -> bool:
    """Return whether the client supports the case with the router: `client-tool` works with OpenAI clients only."""
    return case.played_by(client) and not (case.name == "client-tool" and client.wire != "openai")


class Models:
    """The provider's fake models, which choose the next answer of each conversation."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def reply(self, request: Request) -> Reply:
        """Return the answer of the model that the request names."""
        body = request.json
        name = body["model"]
        if name == "person":
            tools = body.get("tools")
            reply = _calling(("call_1", tools[0]["function"]["name"], PERSON)) if tools else openai_text(json.dumps(json.dumps(PERSON)))
        elif name == "half-person":
            reply = HALF_PERSON
        elif said := ALTERNATING.get(name):
            reply = said[self._asked[name] % len(said)]
            self._asked[name] += 1
        else:
            roles = [message["role"] for message in body["messages"]]
            last = len(roles) - roles[::-1].index("user")
            # Two messages of the user's in a row are sent as one to a server that may have a template: a blank line stands between them.
            asked = sum(1 + str(one["content"]).count("\n\n") for one in body["messages"] if one["role"] == "user")
            reply = MODELS[name][asked, roles[last:].count("tool")]
        return replace(reply, body=reply.body.replace(b"data: [DONE]", USAGE + b"data: [DONE]"))


def routes(provider: str, server: str) -> str:
    """Return a routes.yaml with one model id per case. `provider`: the base URL of the fake models; `server`: further keys of `server:`."""
    targets = [f"  {name}: {{script: {_flow(lines)}}}" for name, lines in SCRIPTS.items()]
    asked = (*MODELS, *ALTERNATING, "person")
    targets += [f"  {name}: {{model: openai/{name}, api_base: '{provider}/v1', api_key: sk-test}}" for name in asked]
    made = [
        f"  {name}: {{pipeline: {'faulty' if name == 'faulty' else 'chat'}, targets: [{name}]{', ' + OPTIONS[name] if name in OPTIONS else ''}}}"
        for name in (*SCRIPTS, *asked)
    ]
    faithful = f"{{model: openai/half-person, api_base: '{provider}/v1', api_key: sk-test, facts: {{schemas: true}}}}"
    targets.append(f"  half-person: {faithful}")
    made.append("  half-person: {pipeline: chat, targets: [half-person]}")
    made.append("  rescue: {pipeline: chat, targets: [half, whole], rescue: continue}")
    defaults = "defaults: {retry: {attempts: 1}, breaker: {failures: 1000}, rescue: fail, timeout: {idle: 60s}}"
    targets.append("  vectors: {script: demo}")
    made.append("  embed: {kind: embeddings, targets: [vectors]}")
    return "\n".join(["targets:", *targets, defaults, f"server: {{keep_alive: 100ms{server}}}", "routes:", *made, ""])


def _flow(lines: object) -> str:
    """Return lines as a YAML flow sequence, with U+2028 escaped, since YAML would fold it."""
    return json.dumps(lines, ensure_ascii=False).replace("\u2028", "\\u2028")


@dataclass(frozen=True)
class Running:
    """A running router that serves the cases: its address, and the stage of the fake provider that it asks."""

    base: str
    provider: Stage


@contextmanager
def router(folder: Path, replay: Replay, server: str = "") -> Generator[Running]:
    """Run `router serve` in a process of its own with every case as a model id. `server`: further keys of `server:`."""
    provider = replay.answering(Models().reply)
    files = {"routes.yaml": routes(provider.base, server), **{f"pipelines/{name}": source for name, source in PIPELINES.items()}}
    files |= {f"tools/{name}.py": source for name, source in TOOLS.items()}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    log = folder / "log.txt"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "router", "serve", "--port", str(port)]
    with log.open("wb") as out, subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out) as process:
        try:
            _wait(process, port, log)
            yield Running(f"http://127.0.0.1:{port}", provider)
            process.terminate()
            process.wait(PATIENCE)
        finally:
            process.kill()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the port accepts connections; AssertionError with the log if the process ends first."""
    until = time.monotonic() + PATIENCE
    while True:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < until, log.read_text(encoding="utf-8")
        time.sleep(0.02)
