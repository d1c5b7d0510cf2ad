"""LiteLLM's policy (timeouts, retries, circuit breakers, cache, limits) as settings of routes."""

import math
from collections.abc import Mapping, Sequence

from router.config.foreign import Located
from router.config.limits import MAX_CONCURRENT
from router.config.values import written_duration
from router.migration.models import Deployment
from router.migration.page import Section, YamlValue
from router.migration.settings import Settings
from router.value import Value

STRATEGIES = {"simple-shuffle": "", "least-busy": "", "latency-based-routing": "latency"}
"""Strategy of the original → `balance`; empty if it is the default."""
RETRIED = ("RateLimitErrorRetries", "InternalServerErrorRetries", "ServiceUnavailableErrorRetries", "DefaultRetries")
"""Errors after which a target is retried here, as LiteLLM names them."""
RETRIES = 2
"""Retries that LiteLLM makes by default."""
MAX_ATTEMPTS = 10
"""Attempts that routes.yaml allows at most."""
TOTAL = 300.0
"""Seconds: the default of `timeout.total`."""
SHORTEST = 0.001
"""Seconds. A shorter time in the original counts as none."""


class Policy(Value, frozen=True):
    """The conversion of LiteLLM's policy to the settings of routes."""

    settings: Settings

    def defaults(self, made: Section) -> None:
        """Write LiteLLM's general timeouts, retries, circuit breaker and strategy into this section, the `defaults`."""
        account = self.settings.source.account
        stated, whose = self._silence({})
        account.carry(whose)
        if stated is None:
            made.note("timeout: the original waits for as long as it takes; here 10s for the first word, and 15s for the next")
        else:
            made.keys["timeout"] = {"first_token": written_duration(stated), "idle": written_duration(stated)}
        tries, said = self._tries({}, "")
        account.carry(*said)
        made.keys["retry"] = self._retry(tries, 1)
        if tries > MAX_ATTEMPTS:
            made.note(f"retry: {MAX_ATTEMPTS} attempts at most; the original makes {tries}")
        if breaker := self._breaker(made):
            made.keys["breaker"] = breaker
        self.settings.carry("routing_strategy")
        if (balance := STRATEGIES.get(self.settings.strategy)) is None:
            made.lose(f"routing_strategy {self.settings.strategy}: the least busy of a pool is asked first")
        elif balance:
            made.keys["balance"] = balance

    def route(self, group: str, members: Sequence[Deployment], first: int, count: int, made: Section) -> None:
        """Write the settings of one route that differ from `defaults`: timeout, retry, cache and limit.
        first, count: the numbers of its targets that are asked first, and in all
        """
        if timeout := self._timeout(members, count, made):
            made.keys["timeout"] = timeout
        made_by = [self._tries(one.params, group) for one in members]
        tries = max((calls for calls, _ in made_by), default=1)
        account = self.settings.source.account
        account.carry(*(said for calls, used in made_by if calls == tries for said in used))
        if len(counts := sorted({calls for calls, _ in made_by})) > 1:
            retries = ", ".join(str(calls - 1) for calls in counts)
            made.lose(f"retries for each deployment ({retries}): a route has one number, the greatest")
            account.mention(*(said for _, used in made_by for said in used))
        if (attempts := self._retry(tries, first)["attempts"]) != self._retry(self._tries({}, "")[0], 1)["attempts"]:
            made.keys["retry"] = {"attempts": attempts}
        if self.settings.keeps_answers:
            account.carry(self.settings.cache.get("ttl"))
            ttl = self.settings.source.number(self.settings.cache.get("ttl"), "ttl")
            made.keys["cache"] = {"ttl": written_duration(ttl) if ttl and ttl >= SHORTEST else "1h", "scope": "route"}
        self._limit(members, made)

    def _timeout(self, members: Sequence[Deployment], count: int, made: Section) -> dict[str, YamlValue]:
        """Return a route's `timeout`: the longest silence of its deployments, and a total for all of them; empty if as in `defaults`."""
        account = self.settings.source.account
        heard = [(seconds, whose) for seconds, whose in (self._silence(one.params) for one in members) if seconds is not None]
        silences = sorted({seconds for seconds, _ in heard})
        general, _ = self._silence({})
        longest = silences[-1] if silences else general or 0
        account.carry(*(whose for seconds, whose in heard if seconds == longest))
        timeout: dict[str, YamlValue] = {}
        if silences and longest != general:
            timeout = {"first_token": written_duration(longest), "idle": written_duration(longest)}
        if len(silences) > 1:
            made.lose(f"a timeout for each deployment ({', '.join(map(written_duration, silences))}): a route has one, the longest")
            account.mention(*(whose for _, whose in heard))
        if longest * (count + 1) > TOTAL:
            timeout["total"] = written_duration(float(math.ceil(longest * (count + 1))))
        return timeout

    def _silence(self, params: Mapping[str, Located]) -> tuple[float | None, Located | None]:
        """Return (seconds that LiteLLM waits for the next chunk of a stream, the value that sets this); (None, None) if nothing sets it."""
        router, number = self.settings.router, self.settings.source.number
        request = self.settings.library.get("request_timeout")
        order = (
            (params.get("stream_timeout"), "stream_timeout"),
            (router.get("stream_timeout"), "stream_timeout"),
            (request if number(router.get("timeout"), "timeout") else None, "request_timeout"),
            (params.get("timeout"), "timeout"),
            (router.get("timeout"), "timeout"),
            (request, "request_timeout"),
        )
        found = ((seconds, said) for said, name in order if (seconds := number(said, name)) and seconds >= SHORTEST)
        return next(found, (None, None))

    def _tries(self, params: Mapping[str, Located], group: str) -> tuple[int, Sequence[Located | None]]:
        """Return the number of calls that LiteLLM makes at most for one request to a group, and the settings that say so, if any.
        params: the deployment's; empty for the general number. group: the name under which a retry policy of its own is looked up
        """
        router, number = self.settings.router, self.settings.source.number
        policies = router.get("model_group_retry_policy")
        policy = (policies.table.get(group) if policies else None) or router.get("retry_policy")
        stated = [number(policy.table.get(name), name) for name in RETRIED] if policy else []
        retries = max((one for one in stated if one is not None), default=None)
        used: list[Located | None] = []
        for said in (params.get("num_retries"), self.settings.said("num_retries")):
            if retries is None:
                retries = number(said, "num_retries")
                used = [said] if retries is not None else []
        again = number(params.get("max_retries"), "max_retries")
        if again is not None:
            used.append(params.get("max_retries"))
        return int((1 + min(RETRIES if retries is None else retries, 100)) * (1 + min(again or 0, 100))), used

    def _retry(self, calls: int, members: int) -> dict[str, YamlValue]:
        """Return the settings of `retry`: `attempts`, and `backoff` if LiteLLM has a wait (`retry_after`) of SHORTEST or more.

        `attempts`: LiteLLM's calls divided by the members of the pool that is asked first, rounded up, from 1 to MAX_ATTEMPTS
        `backoff`: from LiteLLM's wait to 4 s, or to the wait if it is longer
        """
        made: dict[str, YamlValue] = {"attempts": max(1, min(MAX_ATTEMPTS, math.ceil(calls / members)))}
        wait = self.settings.number("retry_after")
        if wait and wait >= SHORTEST:
            self.settings.carry("retry_after")
            made["backoff"] = f"{written_duration(wait)}..{written_duration(max(4.0, wait))}"
        return made

    def _breaker(self, remarks: Section) -> dict[str, YamlValue]:
        if self.settings.source.truth(self.settings.said("disable_cooldowns")):
            self.settings.carry("disable_cooldowns")
            remarks.note("disable_cooldowns: a thousand failures within a second are never; a wrong key is still left alone")
            return {"failures": 1000, "within": "1s"}
        made: dict[str, YamlValue] = {}
        fails, cool = self.settings.number("allowed_fails"), self.settings.number("cooldown_time")
        if fails is not None:
            self.settings.carry("allowed_fails")
            made |= {"failures": int(min(1000, fails + 1)), "within": "1m"}
        if cool and cool >= SHORTEST:
            self.settings.carry("cooldown_time")
            made["open"] = written_duration(cool)
        return made

    def _limit(self, members: Sequence[Deployment], made: Section) -> None:
        """Write the sums of the deployments' limits as the route's `limit`: rpm and tpm only if LiteLLM enforces them.
        A limit that some deployment lacks is not written. Comments say what differs.
        """
        account = self.settings.source.account
        limit: dict[str, YamlValue] = {}
        for key, name in (("requests", "rpm"), ("tokens", "tpm")):
            said = [one.params[name] for one in members if name in one.params]
            if self.settings.holds_limits and (most := self._sum(members, name)):
                limit[key] = f"{most}/minute"
                account.carry(*said)
            elif self.settings.holds_limits and said:
                made.lose(f"{name} as a limit: {len(said)} of {len(members)} deployments have one, and a route's limit is that of all")
                account.mention(*said)
        if concurrent := self._sum(members, "max_parallel_requests"):
            limit["concurrent"] = min(concurrent, MAX_CONCURRENT)
            account.carry(*(one.params["max_parallel_requests"] for one in members))
        if limit:
            made.keys["limit"] = {**limit, "per": "route"}
            made.note("limit: beyond it the original goes on to the fallbacks; here the caller is told to wait")
        weighed = self.weighed(members)
        held = ("rpm", "tpm") if self.settings.holds_limits else ()
        unused = [name for name in ("weight", "rpm", "tpm") if name not in (weighed, *held) and any(name in one.params for one in members)]
        if unused:
            made.note(f"{', '.join(unused)}: the original neither holds its deployments to it, nor shares by it")
            account.agree(*(one.params[name] for one in members for name in unused if name in one.params))

    def weighed(self, members: Sequence[Deployment]) -> str:
        """Return the key by which LiteLLM shares load among deployments: the first of weight, rpm, tpm that any has.
        Empty if none has one, for a single deployment, and for every strategy but simple-shuffle.
        """
        if self.settings.strategy != "simple-shuffle" or len(members) < 2:
            return ""
        number = self.settings.source.number
        return next((name for name in ("weight", "rpm", "tpm") if any(number(one.params.get(name), name) for one in members)), "")

    def _sum(self, members: Sequence[Deployment], name: str) -> int:
        """Return the sum of a limit over all deployments; 0 (no limit) if any of them has none."""
        stated = [self.settings.source.number(one.params.get(name), name) or 0 for one in members]
        return int(sum(stated)) if stated and all(stated) else 0
