"""The courier against real servers on this machine: hanging, redirecting, refusing, lying about where they are."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import uuid4

import anyio
import anyio.abc
import anyio.from_thread
import anyio.lowlevel
import anyio.streams.tls
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pipeline.adapters.webhook_http import HttpCourier, system_addresses
from pipeline.feed.attempts import Answer, Job, Webhook
from pipeline.feed.payload import FeedEvent
from pipeline.feed.ports import Flight, Post
from tests.endpoints import Endpoint, Received, Say, endpoint

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW


def flight_to(url: str, count: int = 1) -> Flight:
    """A webhook of its own, so that each flight is to another endpoint."""
    events = tuple(FeedEvent(n, uuid4(), "delivery.deposited", NOW) for n in range(1, count + 1))
    webhook = Webhook(uuid4(), url, "v1", b"", True, 1, 0, 0, False, None, None, 0, events, count, False)
    return Flight("push", webhook, Job(events))


@asynccontextmanager
async def courier(
    loopback_http: bool = True,
    tls: ssl.SSLContext | None = None,
    addresses: Callable[[str, int], list[str]] = system_addresses,
    post_seconds: float = 5.0,
) -> AsyncIterator[HttpCourier]:
    async with anyio.create_task_group() as tasks:
        yield HttpCourier(tasks, FixedClock(), loopback_http, tls, addresses, post_seconds)
        tasks.cancel_scope.cancel()


async def fly(one: HttpCourier, flight: Flight) -> list[Answer]:
    """Until it is over."""
    assert one.start(flight, [Post({"webhook-id": str(e.id)}, b"{}") for e in flight.job.events])
    await one.settle([flight.webhook.id], 10)
    assert flight.is_over
    one.land(flight.webhook.id)
    return flight.answers


async def test_events_are_posted_one_after_the_other_over_one_connection() -> None:
    """In order, each with its headers; the flight ends with the last."""
    async with endpoint() as server, courier() as one:
        flight = flight_to(server.url + "?a=b", 5)
        answers = await fly(one, flight)
        assert [(a.outcome, a.status) for a in answers] == [("delivered", 204)] * 5
        assert [r.headers["webhook-id"] for r in server.received] == [str(e.id) for e in flight.job.events]
        assert {(r.target, r.headers["host"]) for r in server.received} == {("/hook?a=b", f"127.0.0.1:{server.port}")}
        assert server.connections == 1


@pytest.mark.parametrize(("status", "outcome"), [(500, "refused"), (503, "refused"), (410, "gone"), (404, "refused")])
async def test_a_failure_ends_the_flight(status: int, outcome: str) -> None:
    """What was not sent is not answered."""

    def second_fails(_: Received) -> Say:
        return Say(status if len(server.received) == 2 else 200)

    async with endpoint(second_fails) as server, courier() as one:
        answers = await fly(one, flight_to(server.url, 5))
        assert [(a.outcome, a.status) for a in answers] == [("delivered", 200), (outcome, status)]


async def test_a_redirect_is_not_followed() -> None:
    """Wherever it leads, also to another place of the same server."""
    async with endpoint() as target, courier() as one:
        async with endpoint(lambda _: Say(302, {"location": target.url})) as server:
            [answer] = await fly(one, flight_to(server.url))
        assert (answer.outcome, answer.status) == ("redirect", 302)
        assert target.received == []


async def test_an_endpoint_that_hangs_harms_no_other() -> None:
    """Fifty of them at once: another endpoint is answered meanwhile, and each ends by its own deadline."""
    async with endpoint(lambda _: Say(hang=True)) as slow, endpoint() as quick, courier(post_seconds=1.0) as one:
        hanging = [flight_to(slow.url) for _ in range(50)]
        for flight in hanging:
            assert one.start(flight, [Post({}, b"{}")])
        assert [a.outcome for a in await fly(one, flight_to(quick.url))] == ["delivered"]
        assert not any(flight.is_over for flight in hanging)
        await one.settle([flight.webhook.id for flight in hanging], 10)
        assert {flight.answers[0].outcome for flight in hanging} == {"timeout"}
        assert all(flight.answers[0].milliseconds >= 1000 for flight in hanging)


async def test_a_name_server_that_hangs_harms_no_other() -> None:
    """Its thread is left to it; others resolve."""
    released = anyio.Event()
    token = anyio.lowlevel.current_token()

    def addresses(host: str, port: int) -> list[str]:
        if host == "slow.example":
            anyio.from_thread.run(released.wait, token=token)
        return ["127.0.0.1"] if host == "localhost" else ["10.0.0.1"]

    async with endpoint() as quick, courier(addresses=addresses, post_seconds=0.5) as one:
        slow = flight_to("https://slow.example/")
        assert one.start(slow, [Post({}, b"{}")])
        url = f"http://localhost:{quick.port}/"
        assert [a.outcome for a in await fly(one, flight_to(url))] == ["delivered"]
        await one.settle([slow.webhook.id], 5)
        assert slow.answers[0].outcome == "timeout"
        released.set()


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["10.0.0.1"], ["8.8.8.8", "192.168.0.1"], ["::1"], ["169.254.169.254"], []]
)
async def test_a_name_that_leads_inside_is_never_connected_to(found: list[str]) -> None:
    """Judged by what the name leads to at the time of sending: what was public yesterday may be private today."""
    async with endpoint() as server, courier(loopback_http=False, addresses=lambda *_: found) as one:
        url = f"https://sender.example:{server.port}/"
        assert [a.outcome for a in await fly(one, flight_to(url))] == ["address_refused"]
        assert server.connections == 0


async def test_plain_http_and_literal_private_addresses_are_refused_again_when_sending() -> None:
    """A row from before a stricter configuration is judged by today's."""
    async with endpoint() as server, courier(loopback_http=False) as one:
        for url in (server.url, f"https://127.0.0.1:{server.port}/", f"http://sender.example:{server.port}/"):
            assert [a.outcome for a in await fly(one, flight_to(url))] == ["address_refused"]
        assert server.connections == 0


async def test_an_endpoint_that_is_not_there_is_a_fact() -> None:
    """No listener; a name that does not exist."""

    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async with endpoint() as server:
        url = server.url
    async with courier() as one:
        assert [a.outcome for a in await fly(one, flight_to(url))] == ["not_connected"]
    async with courier(addresses=unknown) as one:
        assert [a.outcome for a in await fly(one, flight_to("https://nowhere.example/"))] == ["not_connected"]


@pytest.mark.parametrize("host", ["sender..example", "a" * 64 + ".example", ".example"])
async def test_a_host_that_is_no_name_ends_its_own_flight_only(host: str) -> None:
    """A row from before such names were refused: Python's resolver raises no OSError for them."""
    with pytest.raises(UnicodeError):
        system_addresses(host, 443)
    async with endpoint() as server, courier() as one:
        [answer] = await fly(one, flight_to(f"https://{host}/hook"))
        assert answer.outcome == "address_refused"
        assert [a.outcome for a in await fly(one, flight_to(server.url))] == ["delivered"]


async def test_a_resolver_that_cannot_write_a_name_is_a_fact() -> None:
    """Also of a name that looks like one."""

    def encoded(host: str, port: int) -> list[str]:
        raise UnicodeError("label too long")

    async with courier(addresses=encoded) as one:
        assert [a.outcome for a in await fly(one, flight_to("https://sender.example/"))] == ["name_unknown"]


@pytest.mark.parametrize("where", ["http://[::1", "//", "http://:99999999/", "x:" * 2000, "http://xn--/"])
async def test_a_redirect_to_nonsense_is_a_fact(where: str) -> None:
    """The client reads where it leads although nobody follows."""
    async with endpoint(lambda _: Say(302, {"location": where})) as server, courier() as one:
        [answer] = await fly(one, flight_to(server.url))
        assert answer.outcome in {"redirect", "protocol_error"}


async def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    """RFC 9110; anything else was not said."""
    later = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    never = [(f"Mon, {'9' * 20} Jan 2026 00:00:00 GMT", None), (f"Mon, 05 Jan 2026 00:00:00 +{'9' * 14}", None)]
    for text, seconds in (("30", 30.0), (later, 90.0), ("soon", None), ("-5", None), ("9" * 30, None), *never):
        async with endpoint(lambda _, text=text: Say(503, {"retry-after": text})) as server, courier() as one:  # type: ignore[misc]
            [answer] = await fly(one, flight_to(server.url))
            assert answer.retry_after_seconds == seconds, text


async def test_one_flight_to_an_endpoint_and_a_bounded_number_in_all() -> None:
    """A second one waits; so does the first beyond the limit."""
    async with endpoint(lambda _: Say(hang=True)) as slow, courier(post_seconds=30) as one:
        first = flight_to(slow.url)
        assert one.start(first, [Post({}, b"{}")])
        assert not one.start(first, [Post({}, b"{}")])
        started = [one.start(flight_to(slow.url), [Post({}, b"{}")]) for _ in range(250)]
        assert started.count(True) == 199


def certificate_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's context, and that of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(private + made.public_bytes(Encoding.PEM))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cadata=made.public_bytes(Encoding.PEM).decode())
    return server, client


@pytest.mark.parametrize(("name", "outcome"), [("localhost", "delivered"), ("other.example", "tls_failed")])
async def test_the_certificate_must_be_for_the_name_though_the_address_is_connected_to(
    tmp_path: Path, name: str, outcome: str
) -> None:
    """Pinned to the address, SNI and Host by the name: a certificate of another name is refused."""
    server_tls, client_tls = certificate_for(name, tmp_path)
    seen: list[str] = []
    server_tls.sni_callback = lambda _socket, sni, _context: seen.append(sni or "")
    server = Endpoint()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    server.port = listener.extra(anyio.abc.SocketAttribute.local_port)

    async def serve(stream: anyio.abc.SocketStream) -> None:
        try:
            wrapped = await anyio.streams.tls.TLSStream.wrap(stream, ssl_context=server_tls, standard_compatible=False)
        except (ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream):
            await stream.aclose()
            return
        await server.serve(wrapped)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        async with courier(tls=client_tls, addresses=lambda *_: ["127.0.0.1"]) as one:
            [answer] = await fly(one, flight_to(f"https://localhost:{server.port}/hook"))
        assert answer.outcome == outcome
        assert seen == ["localhost"]
        assert [r.headers["host"] for r in server.received] == [f"localhost:{server.port}"] * (outcome == "delivered")
        tasks.cancel_scope.cancel()
