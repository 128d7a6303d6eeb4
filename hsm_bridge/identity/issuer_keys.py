"""The keys of an identity provider that rotates them, fetched by the bridge itself from the issuer that was pinned.

Owns     two requests: the issuer's discovery document, then the keys that it names
Rules    https only, with the certificate verified (the system's authorities, or the operator's file); no redirect, no
         proxy; all of it within FETCH_SECONDS and ANSWER_BYTES_MAX an answer. Nobody gives the bridge keys: it is told
         the issuer by its own configuration, and goes there
Elsewhere: how often, and what becomes of them (service), what a key must be (jose)
Source   OpenID Connect Discovery 1.0 sections 3 and 4, RFC 7517
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.abc
import h11

from hsm_bridge.errors import BridgeError
from hsm_bridge.identity.jose import IdentityRefused, pinned_keys
from pipeline.formats import bounded_json
from pipeline.formats.identity_providers import IdentityProviderSettings

FETCH_SECONDS = 10.0  # both requests
ANSWER_BYTES_MAX = 64 * 1024
RECEIVE_BYTES = 16 * 1024
HEAD_BYTES_MAX = 16 * 1024
KEYS_HOURS_MAX = 24  # how long they count when the issuer does not answer any more
DISCOVERY_PATH = "/.well-known/openid-configuration"


class IssuerAway(BridgeError):
    """No keys from there now, and why."""


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """A JWK set as the issuer gave it, and when."""

    jwks: bytes
    at: datetime

    def count(self, moment: datetime) -> bool:
        """Whether they are young enough."""
        return moment <= self.at + timedelta(hours=KEYS_HOURS_MAX)


async def fetch_keys(provider: IdentityProviderSettings, moment: datetime) -> IssuerKeys:
    """Raises IssuerAway for anything but the issuer's own keys, of which one can verify its tokens."""
    context = _context(provider.ca_file)
    try:
        with anyio.fail_after(FETCH_SECONDS):
            document = _object(await _get(f"{provider.issuer.rstrip('/')}{DISCOVERY_PATH}", context))
            if document.get("issuer") != provider.issuer:
                raise IssuerAway("the discovery document is not the issuer's")
            jwks = await _get(str(document.get("jwks_uri", "")), context)
    except TimeoutError as error:
        raise IssuerAway(f"no answer in {FETCH_SECONDS:g} s") from error
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError) as error:  # ssl.SSLError is an OSError
        raise IssuerAway(f"cannot be reached: {type(error).__name__}") from error
    try:
        pinned_keys(jwks, provider.switches.signature)
    except IdentityRefused as error:
        raise IssuerAway("none of its keys verifies its tokens") from error
    return IssuerKeys(jwks, moment)


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        raise IssuerAway("the file of its authority cannot be read") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _get(address: str, context: ssl.SSLContext) -> bytes:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or 443
    except ValueError as error:
        raise IssuerAway("an address that is none") from error
    if parts.scheme != "https" or not host or parts.username is not None or not address.isascii():
        raise IssuerAway("an address that is not https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Many servers end without TLS's own goodbye. What was cut off is no JSON, so nothing is lost by bearing it.
    connecting = anyio.connect_tcp(host, port, ssl_context=context, tls_hostname=host, tls_standard_compatible=False)
    async with await connecting as stream:
        return await _answer(stream, parts.netloc, path)


async def _answer(stream: anyio.abc.ByteStream, authority: str, path: str) -> bytes:
    """The body of a 200, whole."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
    headers = [("Host", authority), ("Accept", "application/json"), ("Connection", "close")]
    body = bytearray()
    try:
        sent = connection.send(h11.Request(method="GET", target=path, headers=headers))
        await stream.send((sent or b"") + (connection.send(h11.EndOfMessage()) or b""))
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await _received(stream))
            elif isinstance(event, h11.Response) and event.status_code != 200:
                raise IssuerAway("it does not answer 200")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > ANSWER_BYTES_MAX:
                    raise IssuerAway("the answer is too large")
            elif isinstance(event, h11.ConnectionClosed):
                raise IssuerAway("it hung up")
    except h11.ProtocolError as error:
        raise IssuerAway("the answer is not HTTP") from error
    return bytes(body)


async def _received(stream: anyio.abc.ByteStream) -> bytes:
    try:
        return await stream.receive(RECEIVE_BYTES)
    except anyio.EndOfStream:
        return b""  # for h11 the end


def _object(body: bytes) -> Mapping[str, object]:
    try:
        document = bounded_json.read_json(body)
    except ValueError as error:
        raise IssuerAway("its discovery document is not JSON") from error
    if not isinstance(document, dict):
        raise IssuerAway("its discovery document is no object")
    return document
