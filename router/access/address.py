"""Client addresses: read from the connection and from `X-Forwarded-For`, and the networks that a limit counts them in."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
HOP = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::\d{1,5})?")
"""An address in a forwarding header: Azure's proxies add the port, and RFC 3986 puts brackets around IPv6."""
SITE = 16
"""Multiple of a /64's limit that its whole /48 may use: a provider gives one customer between one /64 and a /48, which has 65,536 of them."""


def client_address(peer: str, forwarded: Sequence[bytes], proxies: Sequence[IPv4Network | IPv6Network]) -> Address | None:
    """Return the client's address: from the peer back through X-Forwarded-For, the first that is no declared proxy, else the last one.

    forwarded: values of `X-Forwarded-For`. A hop that is not an address ends the search: no proxy of ours wrote it. None where the peer has
    no address.
    """
    named = b",".join(forwarded).decode("latin-1").split(",") if forwarded else []
    found: Address | None = None
    for hop in (peer, *reversed(named)):
        address = address_of(hop.strip())
        if address is None:
            break
        found = address
        if not any(address in network for network in proxies):
            break
    return found


def address_of(hop: str) -> Address | None:
    """Return the address of a hop without port, brackets and zone; None if it is not one. IPv4 mapped into IPv6 is returned as IPv4."""
    bare = HOP.fullmatch(hop)
    try:
        address = ip_address((bare[1] or bare[2]) if bare else hop)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def counted(address: Address | None) -> list[tuple[str, int]]:
    """Return (network, times) for each network in which a limit counts an address: it may use `times` the limit.

    IPv6: its /48 with SITE times, then its /64. IPv4: the address. No address: the text `None`. The widest comes first: a request that is
    refused there leaves no key for the narrower one.
    """
    if isinstance(address, IPv6Address):
        return [(str(IPv6Network((address, length), strict=False)), times) for length, times in ((48, SITE), (64, 1))]
    return [(str(address), 1)]
