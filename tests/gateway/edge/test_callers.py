"""Whose word on a client's address is believed, and which addresses share."""

from typing import Any

import pytest

from gateway.callers import UNKNOWN, Caller, Proxies

PROXIES = Proxies(["10.0.12.0/24", "2001:db8::7"])


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": None if peer is None else (peer, 1), "headers": [(b"host", b"a"), *headers]}


@pytest.mark.parametrize(
    ("peer", "forwarded", "prefix"),
    [
        ("192.0.2.9", (), "192.0.2.0/24"),
        ("192.0.2.9", ("198.51.100.1",), "192.0.2.0/24"),
        ("10.0.12.5", ("198.51.100.1",), "198.51.100.0/24"),
        ("10.0.12.5", ("203.0.113.1, 198.51.100.1",), "198.51.100.0/24"),
        ("10.0.12.5", ("203.0.113.1", "198.51.100.1"), "198.51.100.0/24"),
        ("10.0.12.5", ("203.0.113.1, 198.51.100.1, 10.0.12.9",), "198.51.100.0/24"),
        ("10.0.12.5", ("198.51.100.1:4711",), "198.51.100.0/24"),
        ("10.0.12.5", ("[2001:db8:5:6::1]:4711",), "2001:db8:5:6::/64"),
        ("10.0.12.5", ("203.0.113.1, unknown",), "10.0.12.0/24"),
        ("10.0.12.5", ("203.0.113.1, " + "9" * 100,), "10.0.12.0/24"),
        ("10.0.12.5", (), "10.0.12.0/24"),
        ("::ffff:10.0.12.5", ("198.51.100.1",), "198.51.100.0/24"),
        ("2001:db8::7", ("::ffff:198.51.100.1",), "198.51.100.0/24"),
        ("2001:db8::8", ("198.51.100.1",), "2001:db8::/64"),
        ("fe80::1%eth0", (), "fe80::/64"),
    ],
)
def test_an_address_is_told_by_named_proxies_only(peer: str, forwarded: tuple[str, ...], prefix: str) -> None:
    """From the right, the first that is no proxy of ours; from anybody else, the peer."""
    assert PROXIES.caller_of(scope(peer, *forwarded)).prefix == prefix


def test_prefixes_have_regions() -> None:
    """An IPv4 /24 in its /16, an IPv6 /64 in its /48; no address is a group of its own."""
    assert PROXIES.caller_of(scope("192.0.2.9")) == Caller("192.0.2.0/24", "192.0.0.0/16")
    assert PROXIES.caller_of(scope("2001:db8:5:6::1")) == Caller("2001:db8:5:6::/64", "2001:db8:5::/48")
    assert PROXIES.caller_of(scope(None)) == PROXIES.caller_of(scope("testclient")) == UNKNOWN
