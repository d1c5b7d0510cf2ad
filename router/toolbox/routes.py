"""Parameters of a tool that the router fills in: other routes of the configuration, and the fields of the request's body.

    async def summarise(text: str, routes: Routes) -> str:
        return await routes.ask("title-model", text).text()

A parameter of one of these types is not shown to the model. An answer that a tool asks for is part of the request: its attempts are in the
request's record, and are charged with it. It is closed when the tool's call ends.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Annotated, get_args, get_origin

from router.attempt import Attempt
from router.chat import Ask, Json, JsonObject, Message, OutputFormat
from router.errors import RouterError, ToolError
from router.events import Answer, Failure, Finish, Text
from router.usage import Usage
from router.value import Value, replace

MAX_ASKED = 16
"""Answers that one call of a tool may ask for."""
MAX_ANSWER = 256 * 1024
"""Characters of one such answer. A longer one ends in a ToolError."""


class AskableRoute(Value, frozen=True):
    """A route that tools may ask. `askers`: those of its own tools that ask routes; a tool may not ask a route that has any."""

    answer: Answer
    askers: tuple[str, ...] = ()


class Fields(dict[str, Json]):
    """The body's fields that the router does not use (a template's `ask.<name>`). They come from the client, unchecked."""


class RouteAnswer:
    """The answer of a route that a tool asked, as text: iterate over its pieces, or await `text`. Reading raises ToolError if it fails.
    The text is empty after `aclose`. An answer longer than MAX_ANSWER characters ends in a ToolError, too.
    usage: tokens of the answer, as its provider counted them; None before its end, or without a count
    """

    def __init__(self, route: str, answer: Answer, ask: Ask, calls: list[list[Attempt]]) -> None:
        self.usage: Usage | None = None
        self._route = route
        self._calls = calls
        self._end: Finish | Failure | None = None
        self._closed = False
        self._pieces = self._read(answer, ask)

    def __aiter__(self) -> AsyncIterator[str]:
        """Return the pieces of the text as they come."""
        return self._pieces

    async def text(self) -> str:
        """Read the answer to its end, and return all text that was not read before. Raises ToolError if the route fails."""
        return "".join([piece async for piece in self._pieces])

    async def aclose(self) -> None:
        """Stop the answer if it still runs. A task that is reading it gets no further piece."""
        self._closed = True
        with suppress(RuntimeError):  # it is being read just now
            await self._pieces.aclose()

    async def _read(self, answer: Answer, ask: Ask) -> AsyncGenerator[str, None]:
        left = MAX_ANSWER
        try:
            async with aclosing(answer(ask)) as events:
                async for event in events:
                    if self._closed:
                        break
                    if isinstance(event, Text):
                        left -= len(event.text)
                        if left < 0:
                            break
                        yield event.text
                    elif isinstance(event, Finish | Failure):
                        self._end = event
                        self.usage = event.usage if isinstance(event, Finish) else None
        except RouterError as error:
            raise ToolError(error.public) from None
        finally:
            if attempts := [replace(one, route=self._route) for one in ask.trail.attempts]:
                self._calls.append(attempts)
        if left < 0:
            raise ToolError(f"The answer of {self._route} is longer than {MAX_ANSWER:,} characters.")
        if isinstance(self._end, Failure):
            raise ToolError(self._end.public)


class Routes:
    """The routes of the configuration for one call of a tool, which may ask them."""

    def __init__(self, known: Mapping[str, AskableRoute], ask: Ask) -> None:
        self._known = known
        self._ask = ask
        self._asked: list[RouteAnswer] = []

    def ask(
        self, route: str, prompt: str, *, system: str = "", fields: JsonObject | None = None, schema: JsonObject | None = None
    ) -> RouteAnswer:
        """Return the answer of a route to a prompt, still unread. The request is sent when the answer is first read.
        Raises ToolError if there is no such route, if its own tools ask routes, or after MAX_ASKED answers.
        route: its id, or an alias
        system: an instruction before the prompt, besides that of the route's pipeline
        fields: what the templates of its pipeline see as `ask.<name>`
        schema: the JSON schema of the answer's text
        """
        known = self._known.get(route)
        if known is None:
            raise ToolError(f"There is no route {route} that answers chats.")
        if known.askers:
            raise ToolError(f"A tool cannot ask {route}: its own tools ask routes ({', '.join(known.askers)}), and only one level may.")
        if len(self._asked) >= MAX_ASKED:
            raise ToolError(f"A tool call may ask for {MAX_ASKED} answers at most.")
        ask = Ask(
            model=route,
            messages=(*((Message("system", (system,)),) if system else ()), Message("user", (prompt,))),
            fields=fields or {},
            output=None if schema is None else OutputFormat(schema),
            until=self._ask.until,
            caller=self._ask.caller,
            user=self._ask.user,
            circumstances=self._ask.circumstances,
        )
        self._asked.append(RouteAnswer(route, known.answer, ask, self._ask.trail.calls))
        return self._asked[-1]

    async def aclose(self) -> None:
        """Stop all answers that were asked for here and still run."""
        for answer in self._asked:
            await answer.aclose()


Supplied = type[Routes] | type[Fields]
SUPPLIED: tuple[Supplied, ...] = (Routes, Fields)
"""Types of parameters that the router fills in."""


def supplied_type(hint: object) -> Supplied | None:
    """Return Routes or Fields if a parameter of this type is filled in by the router; None if the model writes its value."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return next((one for one in SUPPLIED if hint is one), None)
