"""Post to addresses that senders gave us: pipeline.feed.ports.Courier over HTTP.

Owns     resolving, pinning, deadlines, the flights of this process
Rules    a name is resolved once per flight; if any of its addresses is not public, nobody is connected to; else the
         connection goes to the address that was checked, with the name in SNI, certificate check and Host, so that a
         second answer of the name server cannot lead inside. No redirects, no proxy, no cookies; an answer's body is
         not looked at. A flight has its own connection: a pool would lend it to other names on that address
         Each endpoint has one flight at a time and a hanging one harms itself alone
Elsewhere: what an answer means (pipeline/feed/attempts.py), what is sent (pipeline/feed/posts.py)
"""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from uuid import UUID

import anyio
import anyio.abc
import anyio.to_thread
import httpx

from pipeline.feed.attempts import Answer, answer_of_status
from pipeline.feed.endpoint import Endpoint, EndpointRefused, choose, read_url
from pipeline.feed.ports import Flight, Post
from pipeline.ports.outside import Clock

POST_SECONDS = 15.0  # resolving, connecting, TLS, sending and the head of the answer
CONNECT_SECONDS = 5.0
BODY_SECONDS = 1.0
BODY_BYTES_MAX = 4096  # of an answer; it says nothing to us
FLIGHT_SECONDS = 60.0  # no request of a flight begins later: its signatures are from the start
FLIGHTS_MAX = 200  # per process
RESOLVERS_MAX = 32  # threads that wait for name servers


def system_addresses(host: str, port: int) -> list[str]:
    """As this machine's resolver has them."""
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class HttpCourier:
    """The flights of one process. addresses: asked in a thread; post_seconds: for one request."""

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        clock: Clock,
        loopback_http: bool,
        tls: ssl.SSLContext | None = None,
        addresses: Callable[[str, int], list[str]] = system_addresses,
        post_seconds: float = POST_SECONDS,
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._loopback_http = loopback_http
        self._tls = tls
        self._addresses = addresses
        self._post_seconds = post_seconds
        self._flights: dict[UUID, Flight] = {}
        self._landings: dict[UUID, anyio.Event] = {}
        self._resolvers = anyio.CapacityLimiter(RESOLVERS_MAX)

    @classmethod
    @asynccontextmanager
    async def open(cls, clock: Clock, loopback_http: bool) -> "AsyncIterator[HttpCourier]":
        """Flights end with the block; their messages are taken again."""
        async with anyio.create_task_group() as tasks:
            yield cls(tasks, clock, loopback_http)
            tasks.cancel_scope.cancel()

    def start(self, flight: Flight, posts: Sequence[Post]) -> bool:
        """In the background."""
        webhook = flight.webhook.id
        if webhook in self._flights or len(self._flights) >= FLIGHTS_MAX:
            return False
        self._flights[webhook], self._landings[webhook] = flight, anyio.Event()
        self._tasks.start_soon(self._fly, flight, posts, self._landings[webhook])
        return True

    def flight(self, webhook: UUID) -> Flight | None:
        """Under way or over."""
        return self._flights.get(webhook)

    def land(self, webhook: UUID) -> None:
        """Room for the next."""
        self._flights.pop(webhook, None)
        self._landings.pop(webhook, None)

    async def settle(self, webhooks: Sequence[UUID], seconds: float) -> None:
        """All of them, or the time is up."""
        with anyio.move_on_after(seconds):
            for landing in [self._landings[w] for w in webhooks if w in self._landings]:
                await landing.wait()

    async def _fly(self, flight: Flight, posts: Sequence[Post], landing: anyio.Event) -> None:
        until = anyio.current_time() + FLIGHT_SECONDS
        try:
            async with httpx.AsyncClient(
                transport=self._transport(), trust_env=False, follow_redirects=False
            ) as client:
                pinned: str | None = None
                for post in posts:
                    began = anyio.current_time()
                    if flight.answers and began > until:
                        break
                    answer: Answer | None = None
                    with anyio.move_on_after(self._post_seconds):
                        try:
                            endpoint = read_url(flight.webhook.url, self._loopback_http)
                            pinned = pinned or await self._resolve(endpoint)
                            answer = await self._post(client, endpoint, pinned, post)
                        except EndpointRefused:
                            answer = Answer("address_refused")
                        except (OSError, UnicodeError, httpx.HTTPError, httpx.InvalidURL) as error:
                            answer = Answer(failure_of(error))  # UnicodeError: a Location with a host that is no name
                    flight.answers.append(_timed(answer or Answer("timeout"), anyio.current_time() - began))
                    if not flight.answers[-1].is_delivered:
                        break
        finally:
            flight.is_over = bool(flight.answers)
            landing.set()

    def _transport(self) -> httpx.AsyncHTTPTransport:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return httpx.AsyncHTTPTransport(verify=self._tls, limits=httpx.Limits(max_connections=1), retries=0)

    async def _resolve(self, endpoint: Endpoint) -> str:
        """One of its addresses, all of which were checked. The name server may hang: then a thread is left to it."""
        ask = partial(self._addresses, endpoint.host, endpoint.port)
        try:
            addresses = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._resolvers)
        except UnicodeError as error:  # no name at all: the resolver does not even ask
            raise socket.gaierror(socket.EAI_NONAME, "not a name") from error
        return choose(endpoint, addresses, self._loopback_http)

    async def _post(self, client: httpx.AsyncClient, endpoint: Endpoint, address: str, post: Post) -> Answer:
        host = f"[{address}]" if ":" in address else address
        scheme = "https" if endpoint.is_https else "http"
        request = client.build_request(
            "POST",
            f"{scheme}://{host}:{endpoint.port}{endpoint.target}",
            headers={**post.headers, "host": endpoint.authority, "accept": "*/*", "accept-encoding": "identity"},
            content=post.body,
            timeout=httpx.Timeout(self._post_seconds, connect=CONNECT_SECONDS),
            extensions={"sni_hostname": endpoint.host},
        )
        answer = await client.send(request, stream=True)
        with anyio.move_on_after(BODY_SECONDS):
            async for chunk in answer.aiter_raw(BODY_BYTES_MAX):  # a short body read to its end keeps the connection
                if len(chunk) >= BODY_BYTES_MAX:
                    break
        await answer.aclose()
        return answer_of_status(answer.status_code, 0, self._retry_after(answer.headers.get("retry-after")))

    def _retry_after(self, text: str | None) -> float | None:
        """RFC 9110 section 10.2.3: seconds or a date; anything else was not said."""
        if text is None:
            return None
        if text.isascii() and text.isdigit() and len(text) <= 9:
            return float(text)
        try:
            return max((parsedate_to_datetime(text) - self._clock.now()).total_seconds(), 0.0)
        except (ValueError, TypeError, OverflowError):
            return None


def failure_of(error: Exception) -> str:
    """A word for the delivery log; nothing of what the other side said."""
    if isinstance(error, httpx.TimeoutException):
        return "timeout"
    if isinstance(error, socket.gaierror):
        return "name_unknown"
    if isinstance(error, (httpx.ConnectError, OSError)):
        return "tls_failed" if "SSL" in str(error) or "certificate" in str(error) else "not_connected"
    return "protocol_error"


def _timed(answer: Answer, seconds: float) -> Answer:
    return Answer(answer.outcome, answer.status, int(seconds * 1000), answer.retry_after_seconds)
