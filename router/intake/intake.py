"""The entry point for request bodies: a request goes in, its question comes out."""

from collections.abc import Awaitable, Callable
from functools import partial

from router.config.server import RequestBounds, Server
from router.errors import RouterError, TooLarge
from router.intake import embeddings_api, input_items, protocol, question, responses_api
from router.intake.body import BEGINNING_BYTES, MAX_HELD_BYTES, Bodies, Incoming, Reading, crowded, parsed
from router.intake.embeddings_api import Wanted
from router.intake.fields import Fields
from router.intake.output import admit
from router.intake.plain_question import plain_question
from router.intake.question import Asked
from router.intake.request import Request
from router.intake.responses_api import KeptResponse
from router.lifecycle import Holdings


class Intake:
    """Reads the bodies of all requests of a process. `most`: how many bytes of bodies may be in memory at once.

    A body counts until the request's `held` is closed. While reading, `request.wire` is set to the wire in which an error is to be sent.
    If the client's wire is still unknown when a body is refused, the wire is guessed from the beginning of the body.
    """

    def __init__(self, most: int = MAX_HELD_BYTES) -> None:
        self._bodies = Bodies(most)
        self._reading = Reading()

    async def read(
        self, request: Request, server: Server, usual: str, kept: Callable[[Fields, str], Awaitable[KeptResponse]], *, held: Holdings
    ) -> Asked:
        """Return the question of a request, with the conversation that it continues. BadAsk, TooLarge or Crowded if the body is refused.

        usual: the route that answers if the request names none
        kept: returns the stored response with this id, which a question with these fields continues; its errors are raised
        held: when it is closed, the body's bytes no longer count
        """
        bounds = server.request
        data = self._bodies.arrived(request, bounds, held)
        if data is None:
            data = await self._received(request, bounds, held)
        if (plain := plain_question(data, request, bounds, usual)) is not None:
            return plain
        try:
            fields, wanted = await self._reading.of(data, partial(_read, data, request, server, usual))
        except RouterError:
            if request.wire is protocol.UNDECIDED:
                request.wire = protocol.guessed(data[:BEGINNING_BYTES])
            raise
        if wanted is None:
            if names := responses_api.referred(fields):
                responses = {name: await kept(fields, name) for name in names}
                more = b",".join((data, *(one.asked for one in responses.values())))
                if len(more) > bounds.body:
                    raise TooLarge(f"previous_response_id: the whole conversation has more than {bounds.body} bytes (server.request.body).")
                if crowded(b"[%b]" % more, bounds.values):
                    raise TooLarge(f"previous_response_id: the whole conversation has more than {bounds.values} values (request.values).")
                fields = await self._reading.of(more, partial(responses_api.continued, fields, responses))
            asked = partial(question.asked, fields, request.model, request.surface, usual, bounds)
            wanted = await self._reading.of(data, partial(asked, wire=request.wire, cache=request.cache_control))
        if wanted.ask.output is not None:
            await admit(wanted.ask.output)
        return wanted

    async def _received(self, request: Request, bounds: RequestBounds, held: Holdings) -> bytes:
        """Receive the body of a request, and count it until `held` is closed. Raises as `Incoming.read`."""
        incoming = Incoming(self._bodies, request.receive, request.length, bounds, request.announced)
        held.add(incoming.close)
        try:
            return await incoming.read()
        except RouterError:
            if request.wire is protocol.UNDECIDED:
                request.wire = protocol.guessed(await incoming.beginning())
            raise

    async def read_inputs(self, request: Request, server: Server, *, held: Holdings) -> Wanted:
        """Return the question of an embeddings request. BadAsk, TooLarge or Crowded if its body is refused."""
        bounds = server.request
        data = self._bodies.arrived(request, bounds, held)
        if data is None:
            data = await self._received(request, bounds, held)
        fields = await self._reading.of(data, partial(parsed, data, bounds, request.stated))
        return (embeddings_api.of_gateway if request.surface == "gateway" else embeddings_api.asked)(fields)

    async def input_items(self, asked: bytes, response: str, query: bytes) -> bytes:
        """Return what `input_items.page` does: a page of a response's input items, as JSON. BadAsk names an invalid parameter."""
        return await self._reading.of(asked, lambda: input_items.page(asked, response, query))


def _read(data: bytes, request: Request, server: Server, usual: str) -> tuple[Fields, Asked | None]:
    """Return the fields of a body, and its question: None if other responses may have to be looked up first."""
    bounds = server.request
    fields = parsed(data, bounds, request.stated)
    if request.wire is protocol.UNDECIDED:
        request.wire = protocol.spoken(fields)
    if request.surface == "responses":
        return fields, None
    return fields, question.asked(fields, request.model, request.surface, usual, bounds, wire=request.wire, cache=request.cache_control)
