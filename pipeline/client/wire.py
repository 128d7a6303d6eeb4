"""The wire: one authorised request, repeated while that may help; whole answers and streams.

Owns     tokens (got when needed, renewed before they run out), retries, what an answer that says no becomes
Rules    only what may be repeated is repeated: every caller sends requests that say the same thing twice
         "not now" (429, 503 and the like) is waited out as the service asks (Retry-After), for as long as `patience`
Elsewhere: what is asked (uploads.py, api.py, batches.py, feed.py, downloads.py)
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import anyio
import httpx

from pipeline.client.answers import Refused, Unreachable

API_VERSION = "2026-11-24"  # what this client is written for
CALL_SECONDS = 30.0
CONNECT_SECONDS = 5.0
TRIES_MAX = 6
BACKOFF_FIRST_SECONDS = 0.2
BACKOFF_MAX_SECONDS = 5.0
RETRY_AFTER_SECONDS_MAX = 60.0
RENEW_SECONDS_BEFORE = 30.0
AGAIN = frozenset({429, 502, 503, 504})
Body = Callable[[], AsyncIterator[bytes]]


class Wire:
    """One sender's connection. Use as an async context manager.

    patience_seconds: how much longer than TRIES_MAX tries one request is repeated. on_wait(seconds, why): told before
    each pause.
    """

    def __init__(
        self,
        base_url: str,
        client_id: str,
        client_secret: str,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        patience_seconds: float = 0.0,
        on_wait: Callable[[float, str], None] | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Qerds-Version": API_VERSION},
            timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            transport=transport,
        )
        self._credentials = {"client_id": client_id, "client_secret": client_secret}
        self._token = ""
        self._token_until = 0.0
        self.patience_seconds = patience_seconds
        self.on_wait = on_wait

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        body: Body | None = None,
        content: bytes | None = None,
        timeout_seconds: float = CALL_SECONDS,
        repeats: bool = True,
    ) -> httpx.Response:
        """One request, repeated while that may help, unless it must not be; raises Refused or Unreachable."""

        async def once() -> httpx.Response:
            with anyio.fail_after(timeout_seconds):
                return await self._http.request(
                    method,
                    path,
                    headers={**(headers or {}), "Authorization": f"Bearer {await self._bearer()}"},
                    json=json,
                    content=content if body is None else body(),
                    timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
                )

        pauses = self._pauses() if repeats else iter(())
        while True:
            asked_seconds = 0.0
            try:
                answer = await once()
            except (httpx.TransportError, TimeoutError) as error:
                why = str(error) or type(error).__name__
            else:
                if answer.is_success:
                    return answer
                why = str(self._may_help(answer))
                asked_seconds = retry_after(answer)
            await self._pause(next(pauses, None), asked_seconds, why)

    async def stream(
        self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> AsyncGenerator[bytes, None]:
        """A body, piece by piece. Repeated only until the first piece: after it, the reader decides."""
        pauses = self._pauses()
        while True:
            asked_seconds, begun = 0.0, False
            try:
                whom = {**(headers or {}), "Authorization": f"Bearer {await self._bearer()}"}
                async with self._http.stream(method, path, headers=whom) as answer:
                    if answer.is_success:
                        async for piece in answer.aiter_bytes():
                            begun = True
                            yield piece
                        return
                    await answer.aread()
                    why = str(self._may_help(answer))
                    asked_seconds = retry_after(answer)
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
                if begun:
                    raise Unreachable(f"the answer of {path} broke off: {why}") from error
            await self._pause(next(pauses, None), asked_seconds, why)

    def _may_help(self, answer: httpx.Response) -> Refused:
        """What the service said, when the same request may get another answer; else raises it."""
        refused = refusal(answer)
        if refused.code == "token_expired":
            self._token = ""
        elif answer.status_code not in AGAIN and refused.code != "idempotency_in_flight":
            raise refused
        return refused

    def _pauses(self) -> Iterator[float]:
        """How long to pause, try after try, until tries and patience are used up."""
        began, pause_seconds, tries = time.monotonic(), BACKOFF_FIRST_SECONDS, 1
        while tries < TRIES_MAX or time.monotonic() - began < self.patience_seconds:
            yield pause_seconds
            pause_seconds = min(pause_seconds * 2, BACKOFF_MAX_SECONDS)
            tries += 1

    async def _pause(self, pause_seconds: float | None, asked_seconds: float, why: str) -> None:
        if pause_seconds is None:
            raise Unreachable(f"{self._http.base_url} gave no answer to build on: {why}")
        seconds = max(pause_seconds, asked_seconds)
        if self.on_wait is not None:
            self.on_wait(seconds, why)
        await anyio.sleep(seconds)

    async def _bearer(self) -> str:
        if not self._token or time.monotonic() > self._token_until:
            form = {"grant_type": "client_credentials", **self._credentials}
            answer = await self._http.post("/oauth2/token", data=form)
            if answer.status_code in AGAIN:
                raise httpx.ConnectError(f"the token endpoint answers {answer.status_code}")
            if not answer.is_success:
                raise refusal(answer)
            token = answer.json()
            self._token = token["access_token"]
            self._token_until = time.monotonic() + token["expires_in"] - RENEW_SECONDS_BEFORE
        return self._token


def json_of(answer: httpx.Response) -> Mapping[str, Any]:
    """The object that was answered."""
    body: Mapping[str, Any] = answer.json()
    return body


def refusal(answer: httpx.Response) -> Refused:
    """What an answer says that is not a success."""
    try:
        body = answer.json()
    except ValueError:
        body = {}
    return Refused(answer.status_code, body if isinstance(body, dict) else {})


def retry_after(answer: httpx.Response) -> float:
    """The seconds of Retry-After, 0 without one; a date there is not something that our service writes."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), RETRY_AFTER_SECONDS_MAX) if text.isascii() and text.isdigit() else 0.0
