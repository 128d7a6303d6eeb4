"""Which addresses a webhook may have: a name on the public internet, over https.

Owns     the reading of a URL, and which IP addresses are refused
Rules    a sender gives us an address that we connect to from inside our network: whatever is not certainly public is
         refused, both when it is written down and, after the name is resolved, each time before it is connected to
Elsewhere: asking the resolver, connecting to what was chosen (pipeline/adapters/webhook_http.py)
Source   RFC 6890 and the IANA special-purpose address registries
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

URL_CHARACTERS_MAX = 2000
NAME_CHARACTERS_MAX = 253  # RFC 1035 section 2.3.4, as text
LABEL_CHARACTERS_MAX = 63
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_REFUSED_V4 = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # behind a carrier's NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, where clouds answer questions about secrets
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relay
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Of IPv6 only what is given out as global unicast, without what in it is special or carries an IPv4 address inside.
_GLOBAL_V6 = ip_network("2000::/3")
_REFUSED_V6 = tuple(
    ip_network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


class EndpointRefused(ValueError):
    """We do not connect there; the text says why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL taken apart. target: path and query, as they are asked for."""

    is_https: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The Host header: the name that was written, never the address that was connected to."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.is_https else 80) else f"{name}:{self.port}"


def read_url(url: str, loopback_http: bool) -> Endpoint:
    """The parts of an address we may post to; raises EndpointRefused. loopback_http: for an embedded installation."""
    if not 1 <= len(url) <= URL_CHARACTERS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise EndpointRefused(f"must be 1 to {URL_CHARACTERS_MAX} printable ASCII characters")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise EndpointRefused("is not a URL") from error
    is_local = loopback_http and host in LOOPBACK_NAMES
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        raise EndpointRefused("must begin with https://")
    if not host or port == 0 or parts.username is not None or parts.password is not None or parts.fragment:
        raise EndpointRefused("must name a host, and neither a user nor a fragment")
    literal = _literal(host)
    if literal is None and not _is_name(host):
        raise EndpointRefused("must name a host that a name server can know")
    if not is_local and (host in LOOPBACK_NAMES or (literal is not None and not is_public(literal))):
        raise EndpointRefused("is an address of a private network")
    is_https = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(is_https, host, port or (443 if is_https else 80), target)


def choose(endpoint: Endpoint, addresses: Sequence[str], loopback_http: bool) -> str:
    """The one address to connect to, of those the name resolved to; raises EndpointRefused.

    One private address among them refuses the name: a name that points inside as well is an attack or a mistake.
    """
    if not addresses:
        raise EndpointRefused("its name has no address")
    if not (loopback_http and endpoint.host in LOOPBACK_NAMES):
        for address in addresses:
            if not is_public(ip_address(address)):
                raise EndpointRefused("its name leads to a private network")
    return addresses[0]


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether this is an address of the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


def _is_name(host: str) -> bool:
    return len(host) <= NAME_CHARACTERS_MAX and all(1 <= len(x) <= LABEL_CHARACTERS_MAX for x in host.split("."))


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
