"""QerdsClient: the sender API over HTTP, typed.

Owns     tokens (got when needed, renewed before they run out), retries, streaming of files
Rules    only what may be repeated is repeated: reads, uploads, consents, and a submission under one Idempotency-Key
         an answer is checked before it is believed: digests of uploads and packages
Not      here: where credentials come from (credentials.py), what a person types (send.py, get.py)
"""

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import anyio
import httpx

from pipeline.client.answers import Delivery, Evidence, Package, Refused, TimedOut, Unreachable, Upload

CALL_SECONDS = 30.0
UPLOAD_SECONDS = 900.0  # the service's own limit
CONNECT_SECONDS = 5.0
TRIES_MAX = 6
BACKOFF_FIRST_SECONDS = 0.2
BACKOFF_MAX_SECONDS = 5.0
RENEW_SECONDS_BEFORE = 30.0
POLL_FIRST_SECONDS = 0.1
POLL_MAX_SECONDS = 2.0
READ_BYTES = 256 * 1024
TYPES = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".txt": "text/plain",
}
AGAIN = frozenset({429, 502, 503, 504})
Body = Callable[[], AsyncIterator[bytes]]


class QerdsClient:
    """One sender's client. Use as an async context manager."""

    def __init__(
        self, base_url: str, client_id: str, client_secret: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url,
            timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            transport=transport,
        )
        self._credentials = {"client_id": client_id, "client_secret": client_secret}
        self._token = ""
        self._token_until = 0.0

    async def __aenter__(self) -> "QerdsClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    # -------------------------------------------------------------- what a sender does
    async def me(self) -> Mapping[str, Any]:
        """Who this client speaks for."""
        return _json(await self._call("GET", "/v1/me"))

    async def service_time(self) -> datetime:
        """The service's clock, to the second (the Date header): a consent must not come from its future."""
        return parsedate_to_datetime((await self._call("GET", "/v1/me")).headers["date"])

    async def upload(self, path: Path, file_name: str | None = None) -> Upload:
        """A file, streamed. Its type comes from the name's ending. Raises Refused, Unreachable, OSError."""
        sha256 = await file_sha256(path)
        name = file_name or path.name
        headers = {
            "Content-Type": TYPES.get(path.suffix.lower(), "application/octet-stream"),
            "Content-Digest": f"sha-256=:{base64.b64encode(sha256).decode()}:",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        }
        answer = _json(
            await self._call(
                "POST", "/v1/uploads", headers=headers, body=lambda: file_chunks(path), timeout_seconds=UPLOAD_SECONDS
            )
        )
        if answer["sha256"] != sha256.hex():
            raise Unreachable("the service stored other bytes than were sent; send again")
        return Upload(answer["id"], answer["sha256"], answer["file_name"])

    async def put_consent(self, ref: str, consent: Mapping[str, str]) -> Mapping[str, Any]:
        """Records a consumer's consent; the same again is fine."""
        return _json(await self._call("PUT", f"/v1/consents/{quote(ref, safe='')}", json=consent))

    async def submit(self, letter: Mapping[str, Any], idempotency_key: str | None = None) -> Delivery:
        """Sends a letter. Repeats it under one key until there is an answer, so that it is sent once."""
        headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(24)}
        return Delivery.of(_json(await self._call("POST", "/v1/deliveries", headers=headers, json=letter)))

    async def validate(self, letter: Mapping[str, Any]) -> list[Mapping[str, str]]:
        """What is wrong with a letter; nothing is sent."""
        errors: list[Mapping[str, str]] = _json(await self._call("POST", "/v1/deliveries/validate", json=letter))[
            "errors"
        ]
        return errors

    async def delivery(self, name: str) -> Delivery:
        """By id or number."""
        return Delivery.of(_json(await self._call("GET", f"/v1/deliveries/{quote(name, safe='')}")))

    async def wait_for(self, name: str, enough: Callable[[Delivery], bool], seconds: float) -> Delivery:
        """Polls until `enough`. Raises TimedOut."""
        pause_seconds = POLL_FIRST_SECONDS
        with anyio.move_on_after(seconds):
            while not enough(found := await self.delivery(name)):
                await anyio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 1.5, POLL_MAX_SECONDS)
            return found
        raise TimedOut(f"{name} did not get there in {seconds:g} s")

    async def evidence(self, name: str) -> list[Evidence]:
        """The stamped proofs, in order."""
        listed = (await self._call("GET", f"/v1/deliveries/{quote(name, safe='')}/evidence")).json()
        return [Evidence(e["id"], e["event"], e["event_time"], e["sha256"]) for e in listed]

    async def evidence_document(self, name: str, evidence_id: str) -> bytes:
        """One proof, sealed and stamped, as XML."""
        path = f"/v1/deliveries/{quote(name, safe='')}/evidence/{quote(evidence_id, safe='')}"
        return (await self._call("GET", path)).content

    async def package(self, name: str, snapshot: int | None = None, seconds: float = 60) -> Package:
        """The package of proofs; waits while it is being made. Raises TimedOut."""
        query = "" if snapshot is None else f"?snapshot={snapshot}"
        with anyio.move_on_after(seconds):
            while True:
                try:
                    answer = await self._call("GET", f"/v1/deliveries/{quote(name, safe='')}/package{query}")
                except Refused as refused:
                    if refused.code != "not_yet":
                        raise
                    await anyio.sleep(POLL_MAX_SECONDS / 4)
                    continue
                return _package(answer)
        raise TimedOut(f"the package of {name} was not ready in {seconds:g} s")

    # -------------------------------------------------------------- the wire
    async def _call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        body: Body | None = None,
        timeout_seconds: float = CALL_SECONDS,
    ) -> httpx.Response:
        """One request, repeated while that may help; raises Refused or Unreachable."""
        pause_seconds = BACKOFF_FIRST_SECONDS
        why = ""
        for _ in range(TRIES_MAX):
            try:
                with anyio.fail_after(timeout_seconds):
                    answer = await self._http.request(
                        method,
                        path,
                        headers={**(headers or {}), "Authorization": f"Bearer {await self._bearer()}"},
                        json=json,
                        content=None if body is None else body(),
                        timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
                    )
            except (httpx.TransportError, TimeoutError) as error:
                why = str(error) or type(error).__name__
            else:
                if answer.is_success:
                    return answer
                refused = _refused(answer)
                if refused.code == "token_expired":
                    self._token = ""
                elif answer.status_code not in AGAIN and refused.code != "idempotency_in_flight":
                    raise refused
                why = str(refused)
            await anyio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, BACKOFF_MAX_SECONDS)
        raise Unreachable(f"{self._http.base_url} gave no answer to build on: {why}")

    async def _bearer(self) -> str:
        if not self._token or time.monotonic() > self._token_until:
            form = {"grant_type": "client_credentials", **self._credentials}
            answer = await self._http.post("/oauth2/token", data=form)
            if answer.status_code in AGAIN:
                raise httpx.ConnectError(f"the token endpoint answers {answer.status_code}")
            if not answer.is_success:
                raise _refused(answer)
            token = answer.json()
            self._token = token["access_token"]
            self._token_until = time.monotonic() + token["expires_in"] - RENEW_SECONDS_BEFORE
        return self._token


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    body: Mapping[str, Any] = answer.json()
    return body


def _refused(answer: httpx.Response) -> Refused:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    return Refused(answer.status_code, body if isinstance(body, dict) else {})


def _package(answer: httpx.Response) -> Package:
    sha256 = hashlib.sha256(answer.content).hexdigest()
    if answer.headers.get("etag") != f'"{sha256}"':
        raise Unreachable("the package arrived damaged; get it again")
    return Package(answer.content, sha256)


async def file_chunks(path: Path) -> AsyncIterator[bytes]:
    """A file, piece by piece."""
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(READ_BYTES):
            yield chunk


async def file_sha256(path: Path) -> bytes:
    """The digest of a file, in constant memory."""
    found = hashlib.sha256()
    async for chunk in file_chunks(path):
        found.update(chunk)
    return found.digest()
