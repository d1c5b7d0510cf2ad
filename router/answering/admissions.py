"""The limits of a request: of its caller, its end user and its route."""

from collections.abc import Sequence

from router.access.address import counted
from router.answering.exchange import Exchange
from router.callers import Caller, from_body
from router.chat import Ask, Circumstances, Message
from router.config.limits import Limit
from router.embed import Embed
from router.errors import BadAsk, TooMany, UnknownModel
from router.generation import OTHER_KIND, Compiled
from router.journal.entry import Entry
from router.quotas import Admission, Quota
from router.value import Mutable


class Admissions(Mutable):
    """The limits of one request, each counted as soon as its subject (caller, route, end user) is known.

    The caller's limit is known before the body, and the route's if the path names it: such a refusal needs only the request's headers.
    Concurrency slots are released with `held`. Usage is charged when the request's entry is closed, which may be later.
    If one limit is used up, the requests already counted for the others are given back. The reply gets the RateLimit headers of the limit,
    of those counted so far, that leaves the fewest requests.
    """

    _exchange: Exchange
    caller: Caller
    """The caller, with its end user once that is known."""
    _kind: str
    """The kind of route that the request needs: `chat` or `embeddings`."""
    route: Compiled | None = None
    """The route that the request takes, once it is known."""
    _routed: bool = False
    """True once the request is counted for its route's limit, if there is one."""
    _held: tuple[Admission, ...] = ()
    _named: bool = False
    """True once the body has named the end user, where it has to."""
    _later: tuple[Quota, ...] = ()
    """Limits of the end user that wait for the body to name the user."""

    def _charge(self, entry: Entry) -> None:
        for admission in self._held:
            admission.settle(entry.sums.used, entry.sums.cost)

    def _leave(self) -> None:
        for admission in self._held:
            admission.leave()

    async def of_caller(self, limit: Limit) -> None:
        """Count the request for the limit of its caller. TooMany at the limit."""
        await self._count(Quota(f"caller:{self.caller.id}", limit, self._exchange.generation.kept.counts))
        self._show_left()

    def takes(self, model: str) -> Compiled:
        """Return the route with this id, and record it in the log entry. The request is not counted for its limit (see `of_route`).

        UnknownModel if there is no such route, NotAllowed if the caller may not use it, BadAsk if its kind is another.
        """
        exchange = self._exchange
        generation = exchange.generation
        self.route = route = generation.named.get(model)
        if route is None:
            raise UnknownModel
        exchange.reply.entry.takes(route.name, route.granted, route.models, generation.prices, route.stand_ins)
        if self.caller.routes is not None:
            self.caller.asks(route.name)
        if route.declared.kind != self._kind:
            raise BadAsk(OTHER_KIND[route.declared.kind])
        return route

    async def of_route(self, model: str) -> Compiled:
        """Return the route with this id, and count the request for its limit. Raises as `takes`; TooMany at the limit."""
        route = self.route or self.takes(model)
        self._routed = True
        if route.quota is not None:
            await self._count(route.quota)
            self._show_left()
        return route

    async def of_body(self, ask: Ask | Embed, prompts: Sequence[Message] = ()) -> Compiled:
        """Return the request's route, and count the request for the limits that need its body.

        These are the limits of the end user and of the route named there, for each of several `prompts`.
        BadAsk if the body must name a user and does not; otherwise raises as `of_route`.
        """
        if self.caller.users is not None and self._user_missing:
            self.caller, self._named = from_body(self.caller, ask.fields), True
            entry = self._exchange.reply.entry
            entry.user, entry.owner = self.caller.user, self.caller.owner
            for quota in self._later:
                await self._count(quota)
        route = self.route if self.route is not None and self._routed else await self.of_route(ask.model)
        if self._held:
            try:
                for admission in self._held if prompts else ():
                    await admission.more(len(prompts) - 1)
            except TooMany:
                self._withdraw()
                raise
            self._show_left()
        return route

    @property
    def _user_missing(self) -> bool:
        """True while the body is needed to know the end user."""
        users = self.caller.users
        return users is not None and users.field is not None and not self._named

    async def _count(self, quota: Quota) -> None:
        """Count the request for one limit; postpone an end user's limit until the body has named the user."""
        if quota.declared.per == "user" and self._user_missing:
            self._later += (quota,)
            return
        if not self._held:  # the first one, which most requests have not
            entry = self._exchange.reply.entry
            entry.observers = (self._charge, *entry.observers)
            self._exchange.held.add(self._leave)
        for counting, subject in self._subjects(quota):
            try:
                admission = await counting.admit(subject)
            except TooMany:
                self._withdraw()
                raise
            self._held += (admission,)

    def _subjects(self, quota: Quota) -> list[tuple[Quota, str]]:
        """Return each limit and subject that count this request: for IPv6 two networks, the wider first; without an end user its caller."""
        caller = self.caller
        match quota.declared.per:
            case "ip":
                address = self._exchange.request.address(self._exchange.generation.server.proxies)
                return [(quota.times(times), network) for network, times in counted(address)]
            case "key":
                return [(quota, caller.id)]
            case "user":
                return [(quota, caller.owner)] if caller.user else [(quota.per_caller(), caller.id)]
            case "route":
                return [(quota, "")]

    def circumstances(self, route: Compiled) -> Circumstances:
        """Return the facts that the `when` conditions of a route test: caller name, claims, headers, and the used share of the limits.

        The share is that of the most used limit on tokens or money among those counted so far; 0 without one.
        Only headers that the route's conditions name are included.
        """
        used = max([one.used for one in self._held]) if self._held else 0.0
        headers = self._exchange.request.values(route.headers)
        return Circumstances(self.caller.name, self.caller.claims, headers, used)

    def _withdraw(self) -> None:
        for admission in self._held:
            admission.withdraw()
        self._held = ()

    def _show_left(self) -> None:
        """Have the reply show what is left of the limit, of those counted so far, that leaves the fewest requests."""
        if self._held:
            self._exchange.reply.limits = min(self._held, key=lambda one: one.left).headers
