"""One host after the other: who is asked, for how long, and what is said when none will do."""

import ssl
from collections.abc import Mapping

import anyio
import pytest

from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.database_address import Dsn, Host, read_hosts
from pipeline.process.first_host import NoHost, connect_first

pytestmark = pytest.mark.anyio
A, B, C = Host("a", 1), Host("b", 2), Host("::1", 3)
SOON_SECONDS = 0.05


class Servers:
    """What each host does, by name: an exception, silence (None), or an answer; and whom the driver asked."""

    def __init__(self, **does: Exception | str | None) -> None:
        self._does: Mapping[str, Exception | str | None] = does
        self.asked: list[str] = []

    async def connect(self, *, host: str, **_other: object) -> str:
        self.asked.append(host)
        does = self._does[host.strip(":")]
        if does is None:
            await anyio.sleep_forever()
        if isinstance(does, Exception):
            raise does
        return str(does)


def dsn(*hosts: Host) -> Dsn:
    return Dsn(hosts, "letters", "qerds_seal", lambda: "secret")


async def test_the_one_that_answered_is_first_from_then_on() -> None:
    """A host that is off costs its deadline once, not at every connection."""
    servers, where = Servers(a=None, b="session"), dsn(A, B)
    assert await connect_first(where, servers.connect, (OSError,), SOON_SECONDS) == "session"
    assert await connect_first(where, servers.connect, (OSError,), SOON_SECONDS) == "session"
    assert (servers.asked, where.hosts) == (["a", "b", "b"], (B, A))


async def test_none_will_do() -> None:
    """Each host with its reason, in the order of asking; nothing of what a library's text says."""
    refused = ConnectionRefusedError("to somebody@example.org")
    servers = Servers(**{"a": None, "b": refused, "1": ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] somebody")})
    with pytest.raises(NoHost) as caught:
        await connect_first(dsn(A, B, C), servers.connect, (OSError,), SOON_SECONDS)
    says = str(caught.value)
    assert says == "a:1 says TimeoutError, b:2 says ConnectionRefusedError, [::1]:3 and we find no common TLS"


async def test_another_error_is_not_of_the_host() -> None:
    """What the driver does not blame on the host ends the search: asking the next would hide a fault of ours."""
    servers = Servers(a=KeyError("ours"), b="session")
    with pytest.raises(KeyError):
        await connect_first(dsn(A, B), servers.connect, (OSError,), SOON_SECONDS)
    assert servers.asked == ["a"]


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("db1.example:5432", Host("db1.example", 5432)),
        ("10.0.0.1:6432", Host("10.0.0.1", 6432)),
        ("[::1]:5432", Host("::1", 5432)),
        ("[2001:db8::7]:5432", Host("2001:db8::7", 5432)),
    ],
)
def test_a_host_is_a_name_and_a_port(text: str, host: Host) -> None:
    """Names, IPv4 and IPv6; and written as it was read."""
    assert read_hosts([text]) == (host,)
    assert str(host) == text


@pytest.mark.parametrize(
    "text",
    [
        "db1",
        "db1:",
        ":5432",
        "db1:0",
        "db1:65536",
        "::1:5432",
        "[::1]",
        "[db1]:5432",
        "a b:1",
        "/run/pg:5432",
        "u:pw@db1:1",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    """With its place in the list and how a host is written; what stands there may hold a password, and is not told."""
    with pytest.raises(
        ConfigInvalid, match=r"^database\.hosts\[1\] (must be a name and a port|has brackets)"
    ) as caught:
        read_hosts(["db0:5432", text])
    assert text not in str(caught.value).partition(", as in ")[0]


def test_the_password_is_in_no_repr() -> None:
    """A traceback shows addresses."""
    assert "secret" not in repr(dsn(A))
