"""The bridge's published keys, each checked against the CA that was pinned at installation before anyone uses it.

A row in published_key is only as good as the database; the pinned certificate is a file that only the set-up wrote.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.adapters.postgres.dossiers import Fetch
from pipeline.errors import Invariant, Transient
from pipeline.ports.bridge import PublishedKey


class PostgresKeys:
    """pipeline.ports.bridge.Keys over any connection's fetch."""

    def __init__(self, fetch: Fetch, anchor_file: Path) -> None:
        self._fetch = fetch
        self._anchor_file = anchor_file
        self._anchor: x509.Certificate | None = None

    async def active(self, use: str) -> PublishedKey:
        """The newest key of that use."""
        rows = await self._fetch("active_key", use)
        if not rows:
            raise Transient(f"the bridge has not published a key for {use} yet")
        return self._checked(rows[0])

    async def by_id(self, key_id: str) -> PublishedKey:
        """A named key, whatever its age."""
        rows = await self._fetch("key_by_id", key_id)
        if not rows:
            raise Transient(f"key {key_id} is not published")
        return self._checked(rows[0])

    async def trust_anchor(self) -> bytes:
        """DER of the pinned CA certificate."""
        return self._pinned().public_bytes(Encoding.DER)

    async def document(self, name: str) -> bytes | None:
        """The newest version of a published document."""
        rows = await self._fetch("published_document", name)
        return bytes(rows[0]["body"]) if rows else None

    def _pinned(self) -> x509.Certificate:
        if self._anchor is None:
            try:
                self._anchor = x509.load_pem_x509_certificate(self._anchor_file.read_bytes())
            except (OSError, ValueError) as error:
                raise Transient(f"the pinned CA certificate cannot be read: {type(error).__name__}") from error
        return self._anchor

    def _checked(self, row: Mapping[str, Any]) -> PublishedKey:
        key = PublishedKey(
            row["key_id"], row["use"], bytes(row["spki"]), row["certificate"], row["not_before"], row["until"]
        )
        if key.certificate is not None:
            certificate = x509.load_der_x509_certificate(key.certificate)
            try:
                certificate.verify_directly_issued_by(self._pinned())
            except (ValueError, TypeError, InvalidSignature) as error:
                raise Invariant(f"published key {key.key_id} is not certified by the pinned CA") from error
            spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            if spki != key.spki:
                raise Invariant(f"published key {key.key_id} differs from its certificate")
        return key
