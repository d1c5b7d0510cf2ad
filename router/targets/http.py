"""Requests of the direct lanes over HTTP: the status is judged, and the body read as a stream of frames or as one document."""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, aclosing, suppress
from functools import partial
from math import inf
from typing import Protocol, cast

import msgspec

from router.chat import Json
from router.errors import TargetDenied, TargetDown, TargetError, TargetRefused, TargetSilent
from router.events import Event, Events, EventStream, FastPath, Onward, OutputWay, Start, Text, Thought, Words
from router.targets import sse
from router.targets.connection import Connection, Cut, Garbled
from router.targets.connections import LINGER_S, Connections, Endpoint
from router.targets.facts import Facts
from router.targets.learned import Learned, Pupil
from router.targets.options import NO_OPTIONS, Api, Options
from router.targets.proxy import ProxyFailed, answered_itself
from router.targets.speech import Speech
from router.targets.text_filters import UNBOUND, AnswerLimits
from router.targets.verdict import verdict
from router.value import Mutable, Value

ANSWERED = (200, 201, 203)
"""Statuses of a response that has an answer: some gateways send 201 for each POST, and proxies 203 for an answer that they changed."""
MAX_BODY = 64 * 1024
"""Bytes of an error's body after which no more is read."""
EXPLAIN = 1.0
"""Seconds to wait for an error's body."""
MAX_WHOLE = 16 * 1024 * 1024
"""Limit of a complete answer without a stream, in bytes."""
LATE = 10.0
"""Timeout in seconds of the background read for late token counts, after the answer has ended without them."""
MAX_LATE = 1024 * 1024
"""Bytes after which the background read for late token counts stops."""
SETTLE = 0.05
"""Seconds to wait for the stream's end mark once finish reason and token counts came: a connection whose end was read can be reused."""
STREAMS = ("event-stream", "octet-stream", "text/plain", "ndjson")
FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""Beginnings by which a body is recognised as a stream, whatever its content type."""
BOM = b"\xef\xbb\xbf"


class AnswerReader(Protocol):
    """Parser of one answer in the format of a provider, which feeds a Speech."""

    def frame(self, data: bytes) -> bool:
        """Read the data of one frame; return whether more may follow. Raises TargetError for an error of the provider."""
        ...

    def words(self, found: Sequence[bytes]) -> Sequence[Words] | None:
        """Read frames that add text to text and nothing else, and return it; None if they may not, with nothing read."""
        ...

    def frames(self, found: Sequence[bytes]) -> bool:
        """Read the data of frames up to the end of the answer; return whether more may follow. Raises as `frame` does."""
        ...

    def complete(self, body: bytes) -> None:
        """Read the body of a response with status 200 that is not a stream. Raises TargetError if it is an error, or cannot be read."""


class Prepared(Value, frozen=True):
    """A request in the form of one API.

    endpoint: where the request is sent
    body: the JSON body, without the target's own fields
    reader: makes the reader of the answer
    omitted: names of the question's parameters that are not sent
    bounds: limits at which the router ends the answer itself
    api: the API whose form the request has
    options: the target's own fields, merged in when the request is sent
    config: the field of the body that holds the parameters; empty if they are top-level fields
    within: names deeper in the body that may be left out if the provider refuses them
    output: how JSON output is requested, if the question wants it
    """

    endpoint: Endpoint
    body: Mapping[str, Json]
    reader: Callable[[Speech], AnswerReader]
    omitted: tuple[str, ...] = ()
    bounds: AnswerLimits = UNBOUND
    api: Api = "chat"
    options: Options = NO_OPTIONS
    config: str = ""
    within: tuple[str, ...] = ()
    output: OutputWay = ""

    def encoded(self) -> bytes:
        """Return the JSON body as it is sent."""
        return msgspec.json.encode(self.options.onto(self.body, self.api) if self.options.body else self.body)

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names by which a refusal may name the request's fields: top-level ones, in `config` and `within`; no `options`."""
        config = self.body.get(self.config)
        return (*self.body, *(cast("Mapping[str, Json]", config) if isinstance(config, Mapping) else ()), *self.within)


class Asking(Mutable):
    """A question that is asked at a target, again with each lesson from a refusal.

    start: the first event, to which the omitted parameters are added
    issuer: the target and its model, for reasoning states
    prepare: makes the request for a model with these facts
    facts: those for the next request
    learned: the target's lessons
    pupil: the question's own lessons; None until a request is refused
    """

    start: Start
    issuer: str
    connections: Connections
    prepare: Callable[[Facts], Prepared]
    facts: Facts
    learned: Learned
    pupil: Pupil | None = None

    def refused(self, status: int, explanation: str, prepared: Prepared) -> bool:
        """Learn from a refusal of a request. Return whether to ask again, with other facts."""
        if self.pupil is None:
            self.pupil = Pupil(self.start.target, self.facts, self.learned)
        taught = self.pupil.refused(status, explanation, prepared.fields, prepared.options.names)
        self.facts = self.pupil.facts
        return taught

    def taught_by(self, error: Exception, speech: Speech) -> bool:
        """Learn from an error within an answer, as gateways send refusals too. Return whether to ask again: not once an answer began."""
        if not isinstance(error, TargetError) or error.stated is None or speech.begun:
            return False
        return self.refused(*error.stated, self.prepare(self.facts))  # the request once more as it was sent


def answered(asking: Asking) -> Events:
    """Stream the events of an answer. Raises TargetError if the provider refuses, the connection fails or the answer is malformed.
    If the provider refuses a parameter by name, another request without it is sent before the first event.
    """
    feed = Feed(Speech(asking.start.target, asking.issuer))
    return EventStream(_answered(asking, feed), feed.fast)


async def _answered(asking: Asking, feed: "Feed") -> Events:
    start, speech, prepare = asking.start, feed.speech, asking.prepare
    try:
        while True:
            prepared = prepare(asking.facts)
            response = await asking.connections.answered(prepared.endpoint, prepared.encoded())
            if response.status in ANSWERED:
                break
            await _learn(asking, response, prepared)
        complete = owed = False
        rest: Rest | None = None
        try:
            if prepared.bounds is not UNBOUND:
                speech.bound(prepared.bounds)
            omitted = prepared.omitted if asking.pupil is None else _accepted(prepared, asking.pupil)
            yield Start(start.target, start.model, omitted=omitted, output=prepared.output, meter=speech.meter)
            reader_of = prepared.reader
            feed.response, feed.reader = response, reader_of(speech)
            piece = response.taken() or await response.read()
            if not (streamed := piece.startswith(FIELDS) or response.content_type.endswith(STREAMS)):
                piece = await _begun(response, piece)
            if streamed or piece.startswith(FIELDS):
                events = feed.events
                while True:
                    events += feed.read(piece)
                    # Content before an error is still passed on, even if it came in the same read.
                    while events:
                        yield events.popleft()
                    if feed.failure is not None:
                        raise feed.failure
                    if not feed.more or speech.cut:
                        break
                    if speech.finished and rest is None:
                        rest = Rest(response.read, speech, asking.connections.linger)
                    piece = await (rest.read() if rest and speech.finished else response.read())
                owed = rest is not None and rest.late and _counts_later(asking.connections, feed)
            else:
                feed.reader.complete(await _complete_body(start.target, response, piece))
            complete = not speech.cut  # an answer that the router ends would go on at the provider
            for event in speech.end():
                yield event
        finally:
            if not owed:
                response.release(complete=complete)
    except (OSError, Cut, RecursionError, TargetError) as error:
        if not asking.taught_by(error, speech):
            failure = translated(start.target, error)
            failure.used = speech.used
            raise failure from None
    else:
        return
    async with aclosing(_answered(asking, Feed(Speech(start.target, asking.issuer)))) as events:
        async for event in events:
            yield event


class Feed(FastPath):
    """Parser of a response body, which feeds a Speech: called by the answer's generator, or without it (`take`) while only text arrives.

    response, reader: the response and the reader of its format; set before the first read
    more: true if more may follow
    failure: the error that ended the body; None if there is none
    events: events that the generator has not yielded yet
    """

    response: Connection
    reader: AnswerReader

    def __init__(self, speech: Speech) -> None:
        self.speech = speech
        self.more = True
        self.failure: TargetError | None = None
        self.events: deque[Event] = deque()
        self._steady = False
        """True while the generator would only wait for the next read."""
        self._frames = sse.Events()

    def read(self, piece: bytes) -> list[Event]:
        """Read a piece of the body, an empty one as its end, and return its events. Sets `more`, and `failure` instead of raising it."""
        try:
            self.more = self.reader.frames(self._frames.feed(piece) if piece else self._frames.end()) and piece != b""
        except (sse.Oversize, TargetError) as error:
            self.more, self.failure = False, _failure(error, self.speech)
        speech = self.speech
        self._steady = self.more and self.failure is None and not speech.finished and not speech.cut
        return speech.take()

    def fast(self) -> "Feed | None":
        """Return this feed if the generator only waits for the next read; otherwise None."""
        return self if self._steady and not self.events else None

    def wait(self, onward: Onward) -> asyncio.Future[None] | None:
        """Return the future of the response's next read (see `Connection.arrival`)."""
        return self.response.arrival(onward)

    def take(self, piece: bytes = b"") -> Sequence[Words] | None:
        """Return the text and thoughts of a piece of the body, without waiting; without a piece, those of all that has arrived.
        None if nothing has arrived, or if the generator must continue. If an event of another kind is among them, all of them wait in
        `events` for the generator.
        """
        if not piece and not (piece := self.response.taken()):
            return None
        try:
            found = self._frames.feed(piece)
            if (words := self.reader.words(found)) is not None:
                return words
            self.more = self.reader.frames(found)
        except RecursionError:
            self.failure, self._steady = TargetDown(self.speech.target, "malformed"), False
            return None
        except (sse.Oversize, TargetError) as error:
            self.more, self.failure = False, _failure(error, self.speech)
        speech = self.speech
        self._steady = self.more and self.failure is None and not speech.finished and not speech.cut
        events = speech.take()
        if self._steady and all(event.__class__ is Text or event.__class__ is Thought for event in events):
            return events  # pyright: ignore[reportReturnType] - all of them are
        self.events += events
        return None


def _accepted(prepared: Prepared, pupil: Pupil) -> tuple[str, ...]:
    """Add the question's lessons to the target's: it has accepted what it refused before. Return all parameters not sent as asked."""
    learned = tuple(one for one in pupil.learned if one not in prepared.omitted)
    pupil.answered()
    return prepared.omitted + learned


async def _learn(asking: Asking, response: Connection, prepared: Prepared) -> None:
    """Learn from a refusal, so that a changed request may be sent; release its connection.
    Raises TargetError if it teaches nothing, ProxyFailed if a proxy itself refused the request.
    """
    try:
        explanation = await _explained(response, prepared.endpoint)
    finally:
        response.release()
    if not asking.refused(response.status, explanation, prepared):
        raise _refused(asking.start.target, response, explanation)


async def whole_answer(name: str, connections: Connections, endpoint: Endpoint, body: bytes, most: int) -> bytes:
    """Return the complete body of a response under status 200, at most `most` bytes.
    Raises TargetError if it is longer, the status is another, or the connection fails. A provider's refusal has an ErrorText as its cause.
    """
    try:
        response = await connections.answered(endpoint, body)
        with ExitStack() as undo:
            undo.callback(response.release)
            if response.status in ANSWERED:
                complete = await _complete_body(name, response, b"", most)
                undo.pop_all()
                response.release(complete=True)
                return complete
            explanation = await _explained(response, endpoint)
            raise _refused(name, response, explanation) from ErrorText(explanation)
    except (OSError, Cut) as error:
        raise translated(name, error) from None


class ErrorText(Exception):
    """The text of a provider's error, as the cause of a TargetError within a lane."""


async def read_late(read: Callable[[], Awaitable[bytes]], reader: AnswerReader, speech: Speech) -> None:
    """Read the rest of a body until its token counts came, after the answer has ended without them.
    Ends without an error after LATE seconds, about MAX_LATE bytes or a failed connection.
    """
    feed, size = Feed(speech), 0
    feed.reader = reader
    with suppress(OSError, Cut):
        async with asyncio.timeout(LATE):
            while feed.more and not speech.counted and size < MAX_LATE:
                piece = await read()
                size += len(piece)
                feed.read(piece)  # without its events: an answer that has ended says nothing more


def _counts_later(connections: Connections, feed: Feed) -> bool:
    """Begin to read late token counts in the background, unless they have come or the router ends the answer. Return whether it began."""
    response, speech = feed.response, feed.speech
    if speech.counted or speech.cut:
        return False
    speech.meter.wait()
    connections.behind(read_late(response.read, feed.reader, speech), partial(_let_go, response, speech))
    return True


def _let_go(response: Connection, speech: Speech) -> None:
    """Close an answer's meter after the late read. Settle its connection if the counts came, otherwise release it."""
    speech.meter.close()
    response.release(complete=speech.counted)


def _failure(error: sse.Oversize | TargetError, speech: Speech) -> TargetError | None:
    """Return the error that ends a body; None for one after the complete answer."""
    if speech.answered:
        return None
    return error if isinstance(error, TargetError) else TargetDown(speech.target, "malformed")


async def _explained(response: Connection, endpoint: Endpoint) -> str:
    """Return an error's body as text, as far as it comes within EXPLAIN seconds and about MAX_BODY bytes; empty for a status below 400.
    Raises ProxyFailed if a proxy itself refused the request.
    """
    passed_on = endpoint.proxy is not None and not endpoint.tunnel
    if passed_on and (failed := answered_itself(response.status, response.headers)) is not None:
        raise failed
    explanation = b""
    if response.status >= 400:
        with suppress(OSError, Cut):
            async with asyncio.timeout(EXPLAIN):
                while len(explanation) < MAX_BODY and (piece := await response.read()):
                    explanation += piece
    return explanation.decode("utf-8", "replace")


def _refused(name: str, response: Connection, explanation: str) -> TargetError:
    """Return the TargetError for a status other than 200. Redirects are not followed: the outcome is `redirect`."""
    redirects = 300 <= response.status < 400
    return TargetRefused(name, "redirect") if redirects else verdict(name, response.status, explanation, response.headers)


class Rest:
    """A reader of the part of a body after the finish reason, for `linger` seconds in total. The time starts anew if the answer goes on.
    A failed connection ends the body without an error.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]], speech: Speech, linger: float = LINGER_S) -> None:
        self._read, self._speech, self._linger = read, speech, linger
        self._until = inf
        self.late = False
        """True if the time ended before the body did."""
        self._resumed: int = speech.resumed

    async def read(self) -> bytes:
        """Return the next piece; empty at the body's end, after a failure, or when the time is over (SETTLE seconds once counts came)."""
        now = asyncio.get_running_loop().time()
        if self._speech.resumed != self._resumed:
            self._resumed, self._until = self._speech.resumed, inf
        self._until = min(self._until, now + self._linger)
        try:
            async with asyncio.timeout_at(min(self._until, now + SETTLE) if self._speech.counted else self._until):
                return await self._read()
        except (OSError, Cut) as error:
            self.late = isinstance(error, TimeoutError)
            return b""


async def _begun(response: Connection, begun: bytes) -> bytes:
    """Return the start of a body of another content type than a stream's, long enough to see if it is one, without leading white space.
    begun: its first bytes
    """
    while len(begun := begun.lstrip().removeprefix(BOM).lstrip()) < max(map(len, FIELDS)) and (piece := await response.read()):
        begun += piece
    return begun


async def _complete_body(name: str, response: Connection, begun: bytes, most: int = MAX_WHOLE) -> bytes:
    body = bytearray(begun)
    while piece := await response.read():
        body += piece
        if len(body) > most:
            raise TargetDown(name, "malformed")
    return bytes(body)


def translated(name: str, error: OSError | Cut | RecursionError | TargetError) -> TargetError:
    """Return the TargetError for an error of the connection: the proxy's, TLS, a timeout of connecting, or a response that broke off.
    RecursionError is raised for JSON so deep that it can be read but not written. A TargetError is returned as it is.
    """
    match error:
        case TargetError():
            return error
        case ProxyFailed():
            return error.of(name)
        case ssl.SSLError():
            return TargetDenied(name, "tls")
        case TimeoutError():
            return TargetSilent(name, "timeout_connect")
        case Garbled() | RecursionError():
            return TargetDown(name, "malformed")
        case Cut():
            return TargetDown(name, "cut")
        case _:
            return TargetDown(name, "connection")
