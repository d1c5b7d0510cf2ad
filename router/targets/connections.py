"""The connections of the direct lanes: one pool, opened when it is first needed, closed with its generation."""

import aiohttp


class Connections:
    """A pool that all targets of a generation share."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The pool. No cookies, no proxies from the environment, no limit of its own: the router has limits."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                # Failover watches for events, which bytes are not: reading has no limit here.
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"accept": "text/event-stream", "content-type": "application/json", "user-agent": "pointsman"},
            )
        return self._session

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None
