"""Fake models on loopback that refuse the requests that real models refuse, with their error texts.

One server stands for all: the first path segment names the model, and after `~` a fault. `/gpt-4o~cut0/v1` breaks off in the middle of its
text after zero rounds of calls; `/gpt-4o~down1/v1` answers 500 to requests that carry exactly one round of calls.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.models.dialects import ANSWER, CITIES, Body, Completions, Dialect, Saying, State
from tests.support.provider import read_request, response_head


@dataclass(frozen=True)
class Refusal:
    """The error by which a request is refused. `param`: the parameter, if the provider reports it in a separate field."""

    message: str
    param: str = ""
    status: int = 400
    code: str = "invalid_request_error"


Rule = Callable[[Body], Refusal | None]
"""A rule of one model: takes a request and returns its refusal, or None."""


def openai_error(refusal: Refusal) -> Any:
    """Return the body of an error in OpenAI's shape, which most providers share."""
    return {"error": {"message": refusal.message, "type": refusal.code, "param": refusal.param or None, "code": None}}


@dataclass(frozen=True)
class Flagship:
    """One fake model with the behaviour of a real one.

    model: as routes.yaml names it
    apis: the APIs it is asked through, each with the rules by which it refuses requests
    thinks: whether it reasons about a request
    shows: whether its reasoning is readable in the answer
    error: the body of an error in the provider's shape
    base: the part of `api_base` after the server's address and the model's name
    must_return: the error if a round comes back without the reasoning that was issued; empty if the model does not insist
    returns: whether reasoning should be sent back at all
    call_id: the ids of tool calls, by round and position
    forbids: why a request is refused for its headers, path or form; None if it is accepted
    """

    name: str
    model: str
    apis: Sequence[tuple[Dialect, Sequence[Rule]]]
    thinks: Callable[[Body], bool] = lambda _: False
    shows: Callable[[Body], bool] = lambda _: True
    error: Callable[[Refusal], Any] = openai_error
    base: str = "/v1"
    must_return: str = ""
    returns: bool = True
    via: str = ""
    """The lane through which the router asks the model; empty for the provider's own lane."""
    forbids: Callable[[Mapping[str, str], str, Body], Refusal | None] = lambda _headers, _path, _body: None
    call_id: Callable[[int, int], str] = lambda at, place: f"call_{at}{place}"

    def target(self, address: str, fault: str = "") -> str:
        """Return the model's target for routes.yaml, as a YAML flow mapping. `fault`: the fault of its path, such as `cut0`."""
        place = f"{self.name}~{fault}" if fault else self.name
        via = f", via: {self.via}" if self.via else ""
        return f"{{model: {self.model}, api_base: '{address}/{place}{self.base}', api_key: sk-test{via}}}"


@dataclass
class Asked:
    """One request that the server received. `refusal`: why it was refused; None if it was answered."""

    flagship: Flagship
    dialect: Dialect
    rules: Sequence[Rule]
    body: Body
    refusal: Refusal | None = None

    def refused_with(self, name: str, value: Any) -> bool:
        """Return whether the model would have refused this request with one more parameter."""
        return any(rule(self.dialect.adding(self.body, name, value)) for rule in self.rules)


@dataclass
class Fakes:
    """The running server of fake models. `asked`: every request, in order; `wrong`: reasoning state that came back altered or missing."""

    flagships: Mapping[str, Flagship]
    asked: list[Asked] = field(default_factory=list[Asked])
    wrong: list[str] = field(default_factory=list[str])
    address: str = ""
    _issued: set[tuple[str, str, int]] = field(default_factory=set[tuple[str, str, int]])
    _open: dict[asyncio.Task[Any], asyncio.StreamWriter] = field(default_factory=dict[asyncio.Task[Any], asyncio.StreamWriter])

    def of(self, name: str) -> list[Asked]:
        """Return the requests that one model received."""
        return [one for one in self.asked if one.flagship.name == name]

    @staticmethod
    def state(flagship: Flagship, at: int) -> State:
        """Return the reasoning that a model issues in round `at` of a turn."""
        return State(flagship.name, at)

    def refused(self, name: str) -> list[Refusal]:
        """Return the refusals that one model sent."""
        return [one.refusal for one in self.of(name) if one.refusal is not None]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until the client closes it."""
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            while (request := await read_request(reader)) is not None:
                headers, body = request
                await self._respond(headers, json.loads(body), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            del self._open[task]

    async def _respond(self, headers: Mapping[str, str], body: Body, writer: asyncio.StreamWriter) -> None:
        path = headers[":path"]
        name, _, fault = path.split("/")[1].partition("~")
        flagship = self.flagships[name]
        found = next(((one, rules) for one, rules in flagship.apis if path.partition("?")[0].endswith(one.path)), None)
        if found is None:
            return await self._send(writer, 404, {"error": {"message": f"Unknown request URL: POST {path}"}})
        dialect, rules = found
        asked = Asked(flagship, dialect, rules, body)
        self.asked.append(asked)
        turn = dialect.turn(body)
        forbidden = flagship.forbids(headers, path, body)
        asked.refusal = forbidden or next((why for rule in rules if (why := rule(body))), None) or self._unreturned(asked)
        if asked.refusal is not None:
            return await self._send(writer, asked.refusal.status, flagship.error(asked.refusal))
        rounds = len(turn.rounds)
        if fault == f"down{rounds}":
            return await self._send(writer, 500, {"error": {"message": "down"}})
        frames = list(dialect.frames(self._saying(asked)))
        cut = fault == f"cut{rounds}"
        writer.write(response_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        for one in frames[: next(at for at, one in enumerate(frames) if ANSWER[:8].encode() in one) + 1] if cut else frames:
            writer.write(b"%x\r\n%s\r\n" % (len(one), one))
        if not cut:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        if cut:
            writer.close()
            raise ConnectionResetError
        return None

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        writer.write(response_head(status, {"content-type": "application/json", "content-length": str(len(body))}) + body)
        await writer.drain()

    def _saying(self, asked: Asked) -> Saying:
        flagship, dialect, body = asked.flagship, asked.dialect, asked.body
        turn = dialect.turn(body)
        at = len(turn.rounds)
        state = State(flagship.name, at) if flagship.thinks(body) else None
        shown = flagship.shows(body)
        wanted = turn.wanted if body.get("tools") else 0
        if wanted:
            if state is not None:
                self._issued.add((flagship.name, turn.question, at))
            calls = [(flagship.call_id(at, place), json.dumps({"location": f"{CITIES[place]} {at}"})) for place in range(wanted)]
            return Saying("", calls, state, shown)
        words = ANSWER
        if turn.said.strip():
            words = ANSWER.removeprefix(turn.said.strip())
        for stop in dialect.stops(body):
            words = words.partition(stop)[0]
        return Saying(words, (), state, shown)

    def _unreturned(self, asked: Asked) -> Refusal | None:
        """Record in `wrong` the first round whose reasoning came back altered or not at all; return the refusal if the model insists."""
        flagship, dialect, body = asked.flagship, asked.dialect, asked.body
        if not flagship.thinks(body) or not flagship.returns:
            return None
        turn = dialect.turn(body)
        for at, message in enumerate(turn.rounds):
            brought = dialect.states(message, body)
            if (flagship.name, turn.question, at) in self._issued:
                issued = dialect.issued(State(flagship.name, at), shown=flagship.shows(body))
                if brought != issued:
                    self.wrong.append(f"{flagship.name}, round {at}: {brought!r} in place of {issued!r}")
                    return Refusal(flagship.must_return.format(at=2 * at + 1)) if flagship.must_return else None
            elif flagship.must_return and not brought:
                self.wrong.append(f"{flagship.name}, round {at}: nothing, of another model's call")
                return Refusal(flagship.must_return.format(at=2 * at + 1))
        return None


@asynccontextmanager
async def fakes(*flagships: Flagship) -> AsyncGenerator[Fakes, None]:
    """Run one server for these models on a free loopback port."""
    made = Fakes({one.name: one for one in flagships})
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=1 << 24)
    made.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for writer in made._open.values():
            writer.transport.abort()
        await asyncio.gather(*made._open, return_exceptions=True)


PLAIN = Completions("")
"""Chat completions of a model that does not show its reasoning."""
