"""Who is at the other end, as far as an address tells: the client's own, or the one that a named proxy saw.

Owns     the client's address of a request or a connection, and the groups of addresses that share what there is little
         of
Rules    X-Forwarded-For is believed from the proxies that the configuration names, and from nobody else: read from the
         right, the first address that is none of theirs. A prefix is what one subscriber has (IPv4 /24, IPv6 /64), its
         region what one provider hands out (/16, /48)
Source   RFC 7239 section 7.4 (the left part of the field is whatever the client wrote); RFC 6177
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
FORWARDED = b"x-forwarded-for"
HOPS_MAX = 20  # of one request: as many proxies nobody has
ADDRESS_CHARACTERS_MAX = 64
CALLER = "caller"  # where a scope has it
PREFIX_BITS = {4: 24, 6: 64}
REGION_BITS = {4: 16, 6: 48}


@dataclass(frozen=True, slots=True)
class Caller:
    """A group of clients."""

    prefix: str
    region: str


UNKNOWN = Caller("unknown", "unknown")


class Proxies:
    """The named ones."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: list[Network] = [ip_network(network) for network in networks]

    def has(self, address: Address) -> bool:
        """Whether it is one of them."""
        return any(address.version == network.version and address in network for network in self._networks)

    def is_peer(self, peer: object) -> bool:
        """Whether this end of a connection, (host, port), is one of them."""
        address = _peer_address(peer)
        return address is not None and self.has(address)

    def caller_of(self, scope: Mapping[str, Any]) -> Caller:
        """Who sent this request."""
        address = _peer_address(scope.get("client"))
        if address is None or not self.has(address):
            return caller(address)
        values = [value for name, value in scope["headers"] if name == FORWARDED]
        for hop in reversed(b",".join(values).split(b",")[-HOPS_MAX:]):
            hop_address = _parsed(hop.strip()[:ADDRESS_CHARACTERS_MAX].decode("latin-1"))
            if hop_address is None:
                break  # the nearest that is known has to answer for what it passed on
            address = hop_address
            if not self.has(address):
                break
        return caller(address)


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """Who sent this request, as the edge has found out."""
    value = scope.get(CALLER, UNKNOWN)
    return value if isinstance(value, Caller) else UNKNOWN


def caller_of_peer(peer: object) -> Caller:
    """Of a connection, (host, port)."""
    return caller(_peer_address(peer))


@lru_cache(maxsize=4096)
def caller(address: Address | None) -> Caller:
    """The groups that an address is in."""
    if address is None:
        return UNKNOWN
    prefix, region = (
        str(ip_network((address, bits[address.version]), strict=False)) for bits in (PREFIX_BITS, REGION_BITS)
    )
    return Caller(prefix, region)


def _peer_address(peer: object) -> Address | None:
    return _parsed(peer[0]) if isinstance(peer, tuple) and peer and isinstance(peer[0], str) else None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Address | None:
    """Also with a port, as some proxies write it; an IPv4 address in IPv6 is the IPv4 address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
