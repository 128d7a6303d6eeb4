"""The bridge fetches a provider's keys from the pinned issuer, over verified TLS, and from nobody else."""

import json
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.tls import TLSListener
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import structs

from hsm_bridge.audit import Audit
from hsm_bridge.clock import ClockComparison, SystemLegalClock
from hsm_bridge.identity.issuer_keys import ANSWER_BYTES_MAX, KEYS_HOURS_MAX, IssuerAway, IssuerKeys, fetch_keys
from hsm_bridge.operations import recipients
from hsm_bridge.operations.vault import Refused
from hsm_bridge.service import Service
from pipeline.formats.checked_table import ConfigInvalid, structure
from pipeline.formats.identity_providers import IdentityProviderSettings, check
from pipeline.formats.statement import read_statement
from pipeline.process.recorder import Recorder
from tests.bridge_process import provider_key
from tests.fakes import pki
from tests.fakes.bridge import FakeBridge

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 6, 1, tzinfo=UTC)
JWKS = json.dumps({"keys": [provider_key().as_dict(private=False)]}).encode()
KEYS_PATH = "/keys"
DISCOVERY = "/.well-known/openid-configuration"
ROOT = pki.authority("Issuer's Authority")


def answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def settings(port: int, ca_file: Path | None, **changed: Any) -> IdentityProviderSettings:
    table = {
        "kind": "franceconnect_plus",
        "issuer": f"https://127.0.0.1:{port}",
        "client_id": "portal",
        "client_secret_file": "/none",
    }
    ca = {} if ca_file is None else {"ca_file": str(ca_file)}
    return structure(IdentityProviderSettings, {**table, **ca, **changed})


@asynccontextmanager
async def issuer(folder: Path, answers: Mapping[str, bytes], server: pki.Signer | None = None) -> AsyncIterator[int]:
    """A provider on loopback with its own authority; PORT in an answer is its port."""
    server = server or pki.leaf(ROOT, "Issuer", addresses=["127.0.0.1"])
    key = server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(key + server.pem)
    (folder / "ca.pem").write_bytes(ROOT.pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port: int = listener.extra(anyio.abc.SocketAttribute.local_port)

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            path = (await stream.receive()).split(b" ")[1].decode()
            given = answers.get(path, answer(b"", "404 Not Found"))
            if given:
                await stream.send(given.replace(b"PORT", str(port).encode()))
            else:
                await anyio.sleep_forever()

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(TLSListener(listener, context, standard_compatible=False, handshake_timeout=5).serve, serve)
        yield port
        tasks.cancel_scope.cancel()


def discovery(jwks_uri: str = f"https://127.0.0.1:PORT{KEYS_PATH}", name: str = "https://127.0.0.1:PORT") -> bytes:
    body = json.dumps({"issuer": name, "jwks_uri": jwks_uri}).encode()
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body


GOOD = {DISCOVERY: discovery(), KEYS_PATH: answer(JWKS)}


async def test_the_issuers_keys_are_fetched(tmp_path: Path) -> None:
    """By way of its discovery document, under the authority that the operator named."""
    async with issuer(tmp_path, GOOD) as port:
        assert await fetch_keys(settings(port, tmp_path / "ca.pem"), NOW) == IssuerKeys(JWKS, NOW)


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {DISCOVERY: discovery(name="https://other.example"), KEYS_PATH: answer(JWKS)},
        {DISCOVERY: discovery("http://127.0.0.1:PORT/keys"), KEYS_PATH: answer(JWKS)},
        {DISCOVERY: discovery("file:///etc/passwd")},
        {DISCOVERY: discovery("https://[")},
        {DISCOVERY: discovery("https://user@127.0.0.1:PORT/keys"), KEYS_PATH: answer(JWKS)},
        {DISCOVERY: answer(b"[]")},
        {DISCOVERY: answer(b"{")},
        {DISCOVERY: b"SSH-2.0\r\n\r\n"},
        {DISCOVERY: answer(b"", "302 Found\r\nLocation: /keys"), KEYS_PATH: answer(JWKS)},
        {**GOOD, KEYS_PATH: answer(b'{"keys": []}')},
        {**GOOD, KEYS_PATH: answer(b'{"keys": [{"kty": "RSA"}]}')},
        {**GOOD, KEYS_PATH: answer(JWKS, length=len(JWKS) + 1)},
        {**GOOD, KEYS_PATH: answer(JWKS + b" " * ANSWER_BYTES_MAX)},
        {**GOOD, KEYS_PATH: b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000},
    ],
)
async def test_anything_else_is_no_key(tmp_path: Path, answers: Mapping[str, bytes]) -> None:
    """Another issuer's document, another scheme, a redirect, no keys, no end, no HTTP: IssuerAway and nothing else."""
    async with issuer(tmp_path, answers) as port:
        with pytest.raises(IssuerAway):
            await fetch_keys(settings(port, tmp_path / "ca.pem"), NOW)


@pytest.mark.parametrize(
    "server",
    [
        pki.leaf(pki.authority(), "Stranger", addresses=["127.0.0.1"]),
        pki.leaf(ROOT, "Another host", addresses=["127.0.0.2"]),
        pki.leaf(ROOT, "Over", addresses=["127.0.0.1"], not_after=pki.FROM + timedelta(seconds=1)),
    ],
)
async def test_the_issuer_shows_its_certificate(tmp_path: Path, server: pki.Signer) -> None:
    """Not one of another authority, for another host, or that is over."""
    async with issuer(tmp_path, GOOD, server) as port:
        with pytest.raises(IssuerAway):
            await fetch_keys(settings(port, tmp_path / "ca.pem"), NOW)


async def test_the_systems_authorities_do_not_vouch_for_a_stand_in(tmp_path: Path) -> None:
    """Without ca_file its certificate is nobody's."""
    async with issuer(tmp_path, GOOD) as port:
        with pytest.raises(IssuerAway):
            await fetch_keys(settings(port, None), NOW)
        with pytest.raises(IssuerAway):
            await fetch_keys(settings(port, tmp_path / "none.pem"), NOW)


async def test_a_new_set_is_used_published_and_stated(tmp_path: Path) -> None:
    """As soon as it was fetched; the reader of what is published finds it under the provider's name."""
    fake = FakeBridge(legal_now=lambda: datetime.now(UTC), random=random.Random(1).randbytes)
    vault, audit = fake.vault, Audit.open(tmp_path / "audit.jsonl")
    rung = anyio.Event()
    async with issuer(tmp_path, GOOD) as port:
        provider = settings(port, tmp_path / "ca.pem")
        identity = structs.replace(vault.config.identity, providers={"rotating": provider})
        vault.config = structs.replace(vault.config, identity=identity)
        service = Service(vault, audit, SystemLegalClock(ClockComparison()), Recorder("hsm_bridge"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.keep_issuer_keys, rung.set)
            await rung.wait()
            tasks.cancel_scope.cancel()
    assert recipients.provider_keys(vault, "rotating", provider, datetime.now(UTC)) == JWKS
    [(name, version, body)] = [d for d in service.documents() if d[0].startswith("identity_provider.")]
    assert (name, body) == ("identity_provider.rotating", JWKS)
    statement = read_statement(await service.statement(), fake.authority, datetime.now(UTC))
    statement.check_document(name, version, body)
    audit.close()


def test_keys_are_fetched_over_https_only() -> None:
    """An issuer in the clear needs a pinned file; a pinned file needs no authority."""
    for provider in (settings(1, None, issuer="http://127.0.0.1:1"), settings(1, Path("/none"), jwks_file="/none")):
        with pytest.raises(ConfigInvalid):
            check("x", provider, "substantial")
    check("x", settings(1, None), "substantial")


def test_fetched_keys_count_for_a_day() -> None:
    """None before the first fetch, none after a day without another."""
    fake = FakeBridge(legal_now=lambda: NOW, random=random.Random(1).randbytes)
    provider = settings(1, None)
    for moment, keys in ((NOW, None), (NOW + timedelta(hours=KEYS_HOURS_MAX, seconds=1), IssuerKeys(JWKS, NOW))):
        if keys is not None:
            fake.vault.issuer_keys["rotating"] = keys
        with pytest.raises(Refused) as refused:
            recipients.provider_keys(fake.vault, "rotating", provider, moment)
        assert refused.value.code == "keys_missing"
    assert recipients.provider_keys(fake.vault, "rotating", provider, NOW) == JWKS
