"""Connect to the first of several database hosts that answers and may be used.

Owns     the order, a deadline for each host, and the one text that says of every host why not
Rules    the driver is given one host at a time. Given all, it would share one deadline among them: a host that is off
         and lets connections time out would use it up, and the living one after it would never be asked
         the text holds host names and kinds of errors only, nothing that a server said
Elsewhere: what a connection demands (the address), who tries again and when (the caller)
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import anyio

from pipeline.errors import QerdsError

HOST_SECONDS = 5.0  # for one host: connection, TLS, password, and what it says it is

H = TypeVar("H")
C = TypeVar("C")


class DatabaseAddress(Protocol[H]):
    """pipeline.formats.database_address.Dsn."""

    @property
    def hosts(self) -> tuple[H, ...]: ...
    def arguments(self, host: H) -> Mapping[str, object]: ...
    def prefer(self, host: H) -> None: ...


class NoHost(QerdsError):
    """None of the hosts; the text names each and why."""


async def connect_first(
    address: DatabaseAddress[H],
    connect: Callable[..., Awaitable[C]],
    refusals: tuple[type[Exception], ...],
    host_seconds: float = HOST_SECONDS,
) -> C:
    """A connection. `refusals` are the driver's errors that speak of the host: then the next one is asked.

    Raises NoHost. Whatever the address raises for what it cannot read passes through.
    """
    reasons = []
    for host in address.hosts:
        arguments = address.arguments(host)
        try:
            with anyio.fail_after(host_seconds):
                connection = await connect(**arguments)
        except refusals as error:
            reasons.append(f"{host} {_reason(error)}")
        else:
            address.prefer(host)
            return connection
    raise NoHost(", ".join(reasons))


def _reason(error: Exception) -> str:
    """For people. The certificate's fault in OpenSSL's words, which quote no more than the name that we asked for."""
    kind = type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is refused ({error.verify_message.rstrip('.')})"
    if isinstance(error, ssl.SSLError):
        return "and we find no common TLS"
    if type(error) is ConnectionError:  # the driver's own, when the server declines TLS
        return "offers no TLS"
    return {"TargetServerAttributeNotMatched": "takes no writes"}.get(kind, f"says {kind}")
