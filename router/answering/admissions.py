"""The limits of a request: of its caller, its end user and its route."""

from collections.abc import Sequence

from router.access.address import counted
from router.answering.exchange import Exchange
from router.answering.reply import Headers
from router.callers import Caller, from_body
from router.chat import Ask, Circumstances, Message
from router.embed import Embed
from router.errors import BadAsk, TooMany
from router.generation import OTHER_KIND, Compiled
from router.journal.entry import Entry
from router.quotas import Admission, Quota


class Admissions:
    """The limits of one request, each counted as soon as its subject (caller, route, end user) is known.

    The caller's limit is known before the body, and the route's if the path names it: such a refusal needs only the request's headers.
    Concurrency slots are released with `held`. Usage is charged when the request's entry is closed, which may be later.
    If one limit is used up, the requests already counted for the others are given back.
    """

    def __init__(self, exchange: Exchange, caller: Caller, kind: str = "chat") -> None:
        self._request, self._generation, self._entry = exchange.request, exchange.generation, exchange.reply.entry
        self._holdings = exchange.held
        self._kind = kind
        """The kind of route that the request needs: `chat` or `embeddings`."""
        self.caller = caller
        """The caller, with its end user once that is known."""
        self.route: Compiled
        """The route that the request takes, once `of_route` or `of_body` has returned."""
        self._held: list[Admission] = []
        self._user_known = caller.users is None or caller.users.field is None
        self._later: list[Quota] = []
        """Limits of the end user that wait for the body to name the user."""

    def _charge(self, entry: Entry) -> None:
        for admission in self._held:
            admission.settle(entry.sums.used, entry.sums.cost)

    def _leave(self) -> None:
        for admission in self._held:
            admission.leave()

    async def of_caller(self) -> Headers:
        """Count the request for its caller's limit, if there is one, and return what is left as RateLimit headers. TooMany at the limit."""
        caller = self.caller
        if caller.limit is not None:
            await self._count(Quota(f"caller:{caller.id}", caller.limit, self._generation.kept.counts))
        return self._headers() if self._held else []

    async def of_route(self, model: str) -> Headers:
        """Count the request for the limit of the route with this id, and record the route in the log entry.

        Return the RateLimit headers of the limit, of those counted so far, that leaves the fewest requests; none if no limit was counted.
        UnknownModel if there is no such route, NotAllowed if the caller may not use it, BadAsk if its kind is another, TooMany at a limit.
        """
        generation, caller = self._generation, self.caller
        self.route = route = generation.route(model)
        self._entry.takes(route.name, route.toolbox, route.models, generation.prices, route.stand_ins)
        if caller.routes is not None:
            caller.asks(route.name)
        if route.declared.kind != self._kind:
            raise BadAsk(OTHER_KIND[route.declared.kind])
        if route.quota is not None:
            await self._count(route.quota)
        return self._headers() if self._held else []

    async def of_body(self, ask: Ask | Embed, prompts: Sequence[Message] = ()) -> Headers:
        """Count the request for the limits that need its body: of the end user and of the route named there, for each of several `prompts`.

        BadAsk if the body must name a user and does not; otherwise returns and raises as `of_route`.
        """
        if not self._user_known:
            self.caller, self._user_known = from_body(self.caller, ask.fields), True
            self._entry.user, self._entry.owner = self.caller.user, self.caller.owner
            for quota in self._later:
                await self._count(quota)
        if self._request.model is None:
            await self.of_route(ask.model)
        try:
            for admission in self._held if prompts else ():
                await admission.more(len(prompts) - 1)
        except TooMany:
            self._withdraw()
            raise
        return self._headers() if self._held else []

    async def _count(self, quota: Quota) -> None:
        """Count the request for one limit; postpone an end user's limit until the body has named the user."""
        if quota.declared.per == "user" and not self._user_known:
            self._later.append(quota)
            return
        if not self._held:  # the first one, which most requests have not
            self._entry.observers = (self._charge, *self._entry.observers)
            self._holdings.add(self._leave)
        for counting, subject in self._subjects(quota):
            try:
                admission = await counting.admit(subject)
            except TooMany:
                self._withdraw()
                raise
            self._held.append(admission)

    def _subjects(self, quota: Quota) -> list[tuple[Quota, str]]:
        """Return each limit and subject that count this request: for IPv6 two networks, the wider first; without an end user its caller."""
        caller = self.caller
        match quota.declared.per:
            case "ip":
                address = self._request.address(self._generation.server.proxies)
                return [(quota.times(times), network) for network, times in counted(address)]
            case "key":
                return [(quota, caller.id)]
            case "user":
                return [(quota, caller.owner)] if caller.user else [(quota.per_caller(), caller.id)]
            case "route":
                return [(quota, "")]

    @property
    def circumstances(self) -> Circumstances:
        """The facts that the `when` conditions of the route test: caller name, claims, headers, and the used share of the limits.

        The share is that of the most used limit on tokens or money among those counted so far; 0 without one.
        Only headers that the route's conditions name are included.
        """
        used = max([one.used for one in self._held]) if self._held else 0.0
        headers = self._request.values(self.route.headers) if self.route.headers else {}
        return Circumstances(self.caller.name, self.caller.claims, headers, used)

    def _withdraw(self) -> None:
        for admission in self._held:
            admission.withdraw()
        self._held.clear()

    def _headers(self) -> Headers:
        return min(self._held, key=lambda one: one.left).headers
