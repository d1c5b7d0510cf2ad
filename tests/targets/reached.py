"""A program that prints the addresses which the LiteLLM lane looks up or connects to, beside a target's own; arguments: providers.

Each provider is asked for models of several names at a server on loopback, by `api_base`: first directly, then, for the providers after
the word `--proxy`, with a host name that only a declared proxy can resolve. Prints a JSON object: under `direct` and `proxied`, provider →
hosts; under `asked`, the providers whose requests came through that proxy.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Any

from router.chat import Ask, Message
from router.config.declaration import TargetConfig
from router.config.values import Name, Secret
from router.targets import litellm, litellm_library
from tests.support.egress import ForwardProxy, proxying
from tests.support.provider import Reply, provider, text

NAMES = ("llama-2-7b-chat", "meta-llama/llama-3.1-8b", "command-r-plus", "claude-3-opus", "no-such-model")
"""Model names for which LiteLLM has, or would fetch, its own tokenizers, templates and tables."""
PROXIED_NAMES = NAMES[:2]
"""Model names behind a proxy: what depends on the name is seen without one."""
ASK = Ask(model="chat-model", messages=(Message("user", ("Hi",)),))
reached: set[str] = set()
ports: set[int] = set()
"""Ports of the servers that are targets or proxies of this run."""
look, connect = socket.getaddrinfo, socket.socket.connect


def looked(host: Any, *more: Any, **named: Any) -> Any:
    """Resolve addresses of loopback; record any other host and raise `gaierror`."""
    if not str(host).startswith("127."):
        reached.add(str(host))
        raise socket.gaierror(socket.EAI_NONAME, "nothing is looked up here")
    return look(host, *more, **named)


def connected(self: socket.socket, address: Any) -> Any:
    """Connect to a port of the test's servers; record any other address and raise OSError."""
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[1] not in ports:
        reached.add(f"{address[0]}:{address[1]}")
        raise OSError(101, "nothing is reached here")
    return connect(self, address)


async def asked(company: str, base: str, names: Sequence[str], proxy: Secret | None = None) -> list[str]:
    """Ask one provider for models of these names; return the sorted hosts that this looked up or connected to, without the target's own."""
    reached.clear()
    for name in names:
        declared = TargetConfig(model=Name(f"{company}/{name}"), api_base=base, api_key=Secret("sk-test"), proxy=proxy)
        with suppress(Exception):
            async with asyncio.timeout(240), aclosing(litellm.answer("a", declared, 3)(ASK)) as events:
                async for _ in events:
                    pass
    return sorted(reached)


def port_of(base: str) -> int:
    """Return the port in a server's URL."""
    return int(base.rpartition(":")[2].partition("/")[0])


async def main() -> None:
    """Ask each provider of the command line, print the result, and end the process."""
    socket.getaddrinfo, socket.socket.connect = looked, connected  # type: ignore[method-assign]
    await litellm_library.warm()
    found: dict[str, Any] = {"import": sorted(reached), "direct": {}, "proxied": {}, "asked": []}
    words = sys.argv[1:]
    middle = words.index("--proxy")
    for company in words[:middle]:
        async with provider(*[Reply(text("Noon."))] * 20) as fake:
            ports.add(port_of(fake.base))
            found["direct"][company] = await asked(company, fake.base, NAMES)
    for company in words[middle + 1 :]:
        async with (
            provider(*[Reply(text("Noon."))] * 20) as fake,
            proxying(ForwardProxy({"model.test": port_of(fake.base)})) as proxy,
        ):
            ports.update((port_of(fake.base), proxy.port))
            found["proxied"][company] = await asked(company, "http://model.test/v1", PROXIED_NAMES, Secret(f"http://{proxy.address}"))
            if proxy.led:
                found["asked"].append(company)
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # what LiteLLM leaves open is not waited for


if __name__ == "__main__":
    asyncio.run(main())
