"""Which addresses we post to: what is certainly public, and nothing else."""

from ipaddress import ip_address

import pytest

from pipeline.feed.endpoint import EndpointRefused, choose, is_public, read_url

PRIVATE = (
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "100::1", "fc00::1", "fd12:3456::1"),
    *("fe80::1", "fec0::1", "ff02::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1"),
)
PUBLIC = ("8.8.8.8", "1.1.1.1", "172.32.0.1", "193.168.1.1", "100.63.255.255", "2a00:1450:4007::1", "2606:4700::1111")


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_lead_inside_are_refused(address: str) -> None:
    """Private, loopback, link-local, unique-local, multicast, reserved, and IPv6 that carries an IPv4 address."""
    assert not is_public(ip_address(address))
    text = f"[{address}]" if ":" in address else address
    with pytest.raises(EndpointRefused):
        read_url(f"https://{text}/hook", loopback_http=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not(address: str) -> None:
    """Neighbours of what is refused included."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://sender.example/hook",
        "ftp://sender.example/hook",
        "https:///hook",
        "https://user:secret@sender.example/",
        "https://sender.example/#part",
        "https://sender.example:0/",
        "https://sender.example:99999/",
        "https://localhost/",
        "https://[::1/",
        "https://sender.example/a b",
        "https://sender.example/\r\nX: y",
        "https://étude.example/",
        "https://sender..example/",
        "https://.example/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 127 + "example/",
        "https://sender.example/" + "x" * 2000,
        "//sender.example/",
        "sender.example",
    ],
)
def test_what_is_no_public_https_address_is_refused(url: str) -> None:
    """Each with a sentence of its own."""
    with pytest.raises(EndpointRefused, match=r"must|is"):
        read_url(url, loopback_http=False)


def test_a_url_is_taken_apart() -> None:
    """Host header and target are what was written."""
    endpoint = read_url("https://Sender.Example:8443/a/b?c=d", loopback_http=False)
    assert (endpoint.host, endpoint.port, endpoint.target) == ("sender.example", 8443, "/a/b?c=d")
    assert endpoint.authority == "sender.example:8443"
    assert read_url("https://sender.example", loopback_http=False).authority == "sender.example"
    assert read_url("https://[2606:4700::1111]/", loopback_http=False).authority == "[2606:4700::1111]"


def test_plain_http_on_this_machine_is_for_an_embedded_installation() -> None:
    """And only on this machine."""
    assert read_url("http://127.0.0.1:8000/hook", loopback_http=True).is_https is False
    for url, loopback_http in (("http://127.0.0.1:8000/hook", False), ("http://10.0.0.1/", True)):
        with pytest.raises(EndpointRefused):
            read_url(url, loopback_http)


def test_one_private_address_refuses_a_name() -> None:
    """A name with a public and a private address is not half trusted; the first of public ones is taken."""
    endpoint = read_url("https://sender.example/", loopback_http=False)
    assert choose(endpoint, ["8.8.8.8", "2606:4700::1111"], loopback_http=False) == "8.8.8.8"
    for addresses in (["8.8.8.8", "10.0.0.1"], ["127.0.0.1"], []):
        with pytest.raises(EndpointRefused):
            choose(endpoint, addresses, loopback_http=False)
        with pytest.raises(EndpointRefused):  # the exception is for names of this machine, not for what leads to it
            choose(endpoint, addresses, loopback_http=True)
