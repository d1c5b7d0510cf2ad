"""Client addresses: how they are read from forwarding headers, and the networks by which a limit counts them."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from router.access.address import SITE, client_address, counted
from tests.conftest import Client, Workspace, routes, serving

PROXIES = [ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
SPELLINGS = {
    "203.0.113.7": "203.0.113.7",
    "203.0.113.7:51234": "203.0.113.7",
    " 203.0.113.7:51999 ": "203.0.113.7",
    "198.51.100.1, 203.0.113.7:1": "203.0.113.7",
    "203.0.113.9, 10.0.0.1:9000": "203.0.113.9",
    "203.0.113.9:1, [fd00::1]:443, 10.0.0.1": "203.0.113.9",
    "2001:db8::1": "2001:db8::1",
    "[2001:db8::1]": "2001:db8::1",
    "[2001:db8::1]:443": "2001:db8::1",
    "[::ffff:203.0.113.7]:443": "203.0.113.7",
    "fe80::1%eth0": "fe80::1",
    "203.0.113.7:": "127.0.0.1",
    "203.0.113.7:x": "127.0.0.1",
    "203.0.113.7:123456": "127.0.0.1",
    "203.0.113:80": "127.0.0.1",
    "[203.0.113.7": "127.0.0.1",
    "[]:443": "127.0.0.1",
    "unknown": "127.0.0.1",
    "": "127.0.0.1",
    "198.51.100.1, unknown, 10.0.0.1:1": "10.0.0.1",
}


@pytest.mark.parametrize(("forwarded", "address"), SPELLINGS.items(), ids=lambda text: text or "empty")
def test_client_address_is_the_last_forwarded_hop_that_is_no_proxy(forwarded: str, address: str) -> None:
    """X-Forwarded-For is read from its end past declared proxies; at an unreadable hop, the proxy read last counts as the client."""
    assert str(client_address("127.0.0.1", [forwarded.encode()], PROXIES)) == address


def test_forwarded_addresses_are_ignored_from_undeclared_peers() -> None:
    """From a peer that is no declared proxy, the client's address is the peer's own; without a peer it is None."""
    assert client_address("192.0.2.1", [b"203.0.113.7:1"], PROXIES) == IPv4Address("192.0.2.1")
    assert client_address("", [b"203.0.113.7:1"], PROXIES) is None


def test_ipv6_address_counts_in_its_64_and_48_network() -> None:
    """An IPv6 address counts in its /64 network, and in its /48 with SITE times the limit; an IPv4 address counts by itself."""
    assert counted(IPv6Address("2001:db8:1:2::3")) == [("2001:db8:1::/48", SITE), ("2001:db8:1:2::/64", 1)]
    assert counted(IPv4Address("192.0.2.1")) == [("192.0.2.1", 1)]


async def status(client: Client, address: str) -> int:
    """Return the status of a question whose X-Forwarded-For is this address."""
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": False}
    async with client.session.post(client.base + "/api/chat", json=body, headers={"x-forwarded-for": address}) as response:
        return response.status


async def test_client_that_changes_its_ipv6_network_is_limited_by_its_48(workspace: Workspace) -> None:
    """A client that takes a fresh /64 for each request is refused after SITE times the limit; its neighbours in IPv6 and IPv4 are not."""
    more = "    limit: {requests: 2/hour, per: ip}\nserver: {auth: none, proxies: [127.0.0.1]}\n"
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}", more=more)).build()) as client:
        assert [await status(client, "[2001:db8:1::1]:443") for _ in range(3)] == [200, 200, 429]
        found = [await status(client, f"2001:db8:1:{network:x}::1") for network in range(1, 2 * SITE + 2)]
        assert found == [200] * (2 * SITE - 2) + [429] * 3
        assert [await status(client, address) for address in ("2001:db8:2::1", "203.0.113.7:51234", "203.0.113.8:1")] == [200] * 3
        assert [await status(client, f"203.0.113.7:{port}") for port in (1, 2)] == [200, 429]
