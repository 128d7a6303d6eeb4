"""A typed client of the sender API.

Owns     tokens, retries and the mapping of problems to ApiProblem
Rules    a POST that may have been received is sent again with the same Idempotency-Key, so that no retry doubles a
         letter; documents are streamed, never held whole
Not here what a person types (send.py, get.py)
"""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread
import httpx

TIMEOUT_SECONDS = 30.0
TRIES_MAX = 5  # of one request
FIRST_PAUSE_SECONDS = 0.5  # doubled at every try, or as Retry-After says
PAUSE_SECONDS_MAX = 10.0
TOKEN_MARGIN_SECONDS = 30.0  # a token that ends so soon is renewed first
CHUNK_BYTES = 256 * 1024
SCOPES = "deliveries:write deliveries:read evidence:read consents:write"


class Unreachable(Exception):
    """The service did not answer, or said "later" too often."""


class ApiProblem(Exception):
    """The service refused (RFC 9457). `code` is stable; `mistakes` name the fields."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail") or problem.get("title") or "")
        self.mistakes = [(str(e.get("pointer", "")), str(e.get("detail", ""))) for e in problem.get("errors", [])]
        super().__init__(f"{status} {self.code}: {self.detail}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks, and where."""

    base_url: str
    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True)
class Document:
    """An uploaded document, as a delivery names it."""

    upload_id: str
    file_name: str
    sha256: str

    def as_json(self) -> dict[str, str]:
        """As POST /v1/deliveries wants it."""
        return {"upload_id": self.upload_id, "file_name": self.file_name, "sha256": self.sha256}


class QerdsClient:
    """One sender's program. Use as an async context manager."""

    def __init__(self, credentials: Credentials, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._credentials = credentials
        self._http = httpx.AsyncClient(base_url=credentials.base_url, timeout=TIMEOUT_SECONDS, transport=transport)
        self._token = ""
        self._token_until = 0.0

    async def __aenter__(self) -> "QerdsClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def upload(self, path: Path, content_type: str) -> Document:
        """Stream one file up; its digest is computed twice, here and there."""
        sha256, length = await anyio.to_thread.run_sync(_measure, path)
        headers = {
            "content-type": content_type,
            "content-length": str(length),
            "content-digest": f"sha-256=:{base64.b64encode(sha256).decode()}:",  # RFC 9530
            "content-disposition": f"attachment; filename*=UTF-8''{quote(path.name)}",  # RFC 6266
        }
        answer = await self._request("POST", "/v1/uploads", headers=headers, stream=path)
        return Document(str(answer["id"]), path.name, sha256.hex())

    async def submit(self, delivery: Mapping[str, Any]) -> dict[str, Any]:
        """POST /v1/deliveries; answered 202, its evidence will exist exactly once."""
        return await self._request(
            "POST", "/v1/deliveries", json=delivery, headers={"idempotency-key": secrets.token_hex(16)}
        )

    async def delivery(self, id_or_number: str) -> dict[str, Any]:
        """GET /v1/deliveries/{id|number}."""
        return await self._request("GET", f"/v1/deliveries/{quote(id_or_number)}")

    async def evidence_list(self, id_or_number: str) -> list[dict[str, Any]]:
        """The stamped evidences of a delivery."""
        answer = await self._send("GET", f"/v1/deliveries/{quote(id_or_number)}/evidence", None, {}, None)
        return list(answer.json())

    async def evidence(self, id_or_number: str, evidence_id: str) -> bytes:
        """One evidence, sealed and stamped."""
        return await self._download(f"/v1/deliveries/{quote(id_or_number)}/evidence/{quote(evidence_id)}")

    async def package(self, id_or_number: str, snapshot: int | None = None) -> bytes:
        """The package; raises ApiProblem not_yet while it is being written."""
        query = "" if snapshot is None else f"?snapshot={snapshot}"
        return await self._download(f"/v1/deliveries/{quote(id_or_number)}/package{query}")

    async def put_consent(self, ref: str, consent: Mapping[str, Any]) -> dict[str, Any]:
        """PUT /v1/consents/{ref}."""
        return await self._request("PUT", f"/v1/consents/{quote(ref)}", json=consent)

    async def trust_anchor(self) -> bytes:
        """The CA certificate in use, PEM. Whoever verifies compares its digest with one got elsewhere."""
        return await self._download("/v1/trust/ca.pem")

    async def wait(self, id_or_number: str, states: frozenset[str], seconds: float) -> dict[str, Any]:
        """Ask until the delivery is in one of `states`; raises TimeoutError."""
        with anyio.fail_after(seconds):
            while True:
                found = await self.delivery(id_or_number)
                if found["state"] in states:
                    return found
                await anyio.sleep(min(FIRST_PAUSE_SECONDS / 2, seconds))

    async def _request(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: Path | None = None,
    ) -> dict[str, Any]:
        answer = await self._send(method, path, json, headers or {}, stream)
        return dict(answer.json()) if answer.content else {}

    async def _download(self, path: str) -> bytes:
        return (await self._send("GET", path, None, {}, None)).content

    async def _send(
        self, method: str, path: str, json: Mapping[str, Any] | None, headers: Mapping[str, str], stream: Path | None
    ) -> httpx.Response:
        pause = FIRST_PAUSE_SECONDS
        for _ in range(TRIES_MAX):
            try:
                authorised = {**headers, "authorization": f"Bearer {await self._bearer()}"}
                content = None if stream is None else _chunks(stream)
                answer = await self._http.request(method, path, json=json, content=content, headers=authorised)
            except httpx.TransportError as error:
                last = type(error).__name__
            else:
                if answer.status_code < 400:
                    return answer
                if answer.status_code not in (429, 503):
                    raise _problem(answer)
                last = str(answer.status_code)
                pause = _retry_after(answer, pause)
            await anyio.sleep(min(pause, PAUSE_SECONDS_MAX))
            pause *= 2
        raise Unreachable(f"{method} {path}: {last}, {TRIES_MAX} times")

    async def _bearer(self) -> str:
        if anyio.current_time() >= self._token_until:
            form = {"grant_type": "client_credentials", "scope": SCOPES}
            asked = (self._credentials.client_id, self._credentials.client_secret)
            answer = await self._http.post("/oauth2/token", data=form, auth=asked)
            if answer.status_code != httpx.codes.OK:
                raise _problem(answer)
            token = answer.json()
            self._token = str(token["access_token"])
            self._token_until = anyio.current_time() + float(token["expires_in"]) - TOKEN_MARGIN_SECONDS
        return self._token


def _problem(answer: httpx.Response) -> ApiProblem:
    try:
        told = answer.json()
    except ValueError:
        told = {}
    if "error" in told:  # RFC 6749 section 5.2: the token endpoint has its own form
        told = {"code": told["error"], "detail": told.get("error_description", "")}
    return ApiProblem(answer.status_code, told)


def _retry_after(answer: httpx.Response, otherwise: float) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdigit() else otherwise


def _measure(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest(), path.stat().st_size


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(CHUNK_BYTES):
            yield chunk
