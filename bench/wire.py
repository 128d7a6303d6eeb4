"""A sender that costs little: HTTP/1.1 over kept connections, just enough for the API; it is not what is measured.

Owns     connections, the bearer token, one request at a time on each
Rules    a machine of two cores runs the service and this; a client library spends some milliseconds a request, this
         some tenths. An answer that is not 2xx raises; nothing is retried: hiding a 429 would measure nothing
"""

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

HEAD_BYTES_MAX = 64 * 1024
IDLE_SECONDS_MAX = 10.0  # of a kept connection; the gateway closes it after twenty
TOKEN_SECONDS = 300.0  # it lives for 600


class Answered(Exception):
    """Something else than 2xx."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body[:300]!r}")
        self.status = status


class KeptConnection:
    """One kept connection."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.used_at = time.monotonic()
        self._stream = stream
        self._received = BufferedByteReceiveStream(stream)

    async def call(self, head: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """The body of the answer. Raises Answered."""
        lines = [f"{method} {path} HTTP/1.1", head, *(f"{name}: {value}" for name, value in headers.items())]
        lines += [f"Content-Length: {len(body)}", "", ""]
        await self._stream.send("\r\n".join(lines).encode() + body)
        answered = (await self._received.receive_until(b"\r\n\r\n", HEAD_BYTES_MAX)).decode("latin-1")
        status = int(answered[9:12])
        fields = dict(line.split(": ", 1) for line in answered.lower().split("\r\n")[1:] if ": " in line)
        if fields.get("transfer-encoding") == "chunked":
            answer = await self._chunks()
        else:
            answer = (
                await self._received.receive_exactly(length)
                if (length := int(fields.get("content-length", 0)))
                else b""
            )
        self.used_at = time.monotonic()
        if not 200 <= status < 300:
            raise Answered(status, answer)
        return answer

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self._received.receive_until(b"\r\n", 64)).split(b";")[0], 16):
            body += await self._received.receive_exactly(size)
            await self._received.receive_exactly(2)
        await self._received.receive_exactly(2)
        return body

    async def aclose(self) -> None:
        """Ends it."""
        await self._stream.aclose()


class Sender:
    """The sample sender of an installation. `at_once` connections, lent one request each."""

    def __init__(self, client: Mapping[str, str], at_once: int) -> None:
        address = urlsplit(client["base_url"])
        self._host, self._port = str(address.hostname), int(address.port or 80)
        self._client = client
        self._free: list[KeptConnection] = []
        self._limit = anyio.CapacityLimiter(at_once)
        self._host_line = f"Host: {self._host}:{self._port}"
        self._head = self._host_line
        self._token_at = float("inf")  # none yet
        self._renewing = anyio.Lock()

    async def log_in(self) -> None:
        """Gets the token."""
        form = {"grant_type": "client_credentials"} | {n: self._client[n] for n in ("client_id", "client_secret")}
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection = await self._connected()
        answer = await connection.call(self._host_line, "POST", "/oauth2/token", kind, urlencode(form).encode())
        self._free.append(connection)
        self._head = f"{self._host_line}\r\nAuthorization: Bearer {json.loads(answer)['access_token']}"
        self._token_at = time.monotonic()

    async def call(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
        """One request on a free connection, or on a new one."""
        if time.monotonic() - self._token_at > TOKEN_SECONDS:
            async with self._renewing:
                if time.monotonic() - self._token_at > TOKEN_SECONDS:
                    await self.log_in()
        async with self._limit:
            connection = await self._connected()
            is_good = False
            try:
                answer = await connection.call(self._head, method, path, headers or {}, body)
                is_good = True
            except Answered:
                is_good = True
                raise
            finally:
                if is_good:
                    self._free.append(connection)
                else:
                    await connection.aclose()
            return answer

    async def _connected(self) -> KeptConnection:
        """The one used last; those that have been idle for long are closed, as the gateway is about to do."""
        while self._free and time.monotonic() - self._free[0].used_at > IDLE_SECONDS_MAX:
            await self._free.pop(0).aclose()
        if self._free:
            return self._free.pop()
        return KeptConnection(await anyio.connect_tcp(self._host, self._port))

    async def json(
        self, method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        """A JSON request and its JSON answer."""
        kind = {"Content-Type": "application/json", **(headers or {})}
        return json.loads(await self.call(method, path, kind, json.dumps(body, separators=(",", ":")).encode()))

    async def upload(self, content: bytes, name: str) -> dict[str, str]:
        """A text document, as a delivery names it."""
        headers = {
            "Content-Type": "text/plain",
            "Content-Digest": digest_header(content),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        }
        answer = json.loads(await self.call("POST", "/v1/uploads", headers, content))
        return {"upload_id": answer["id"], "file_name": name, "sha256": answer["sha256"]}

    async def aclose(self) -> None:
        """Ends every connection."""
        while self._free:
            await self._free.pop().aclose()


@asynccontextmanager
async def sender(client: Mapping[str, str], at_once: int = 8) -> AsyncIterator[Sender]:
    """Logged in."""
    it = Sender(client, at_once)
    try:
        await it.log_in()
        yield it
    finally:
        await it.aclose()


def digest_header(content: bytes) -> str:
    """RFC 9530."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def letter(reference: str, document: Mapping[str, str]) -> dict[str, Any]:
    """A delivery of one document to a recipient of its own."""
    recipient = {"kind": "professional", "email": f"{reference}@recipient.example"}
    names = {"given_names": "Angela Claire Louise", "birth_name": "Dubois"}
    return {"recipient": {**recipient, **names}, "subject": "A bench", "documents": [document], "client_ref": reference}
