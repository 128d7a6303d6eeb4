"""The bridge's published keys and documents, as far as the authority that was pinned at installation states them.

Owns     the choice of a row, and of the statement that it is compared with
Rules    a row is only as good as the database; the pinned certificate is a file that only the set-up wrote. A row that
         the newest statement does not have, or has otherwise, is as if it were not there, and is counted: an alarm
         a statement is read once and kept; a newer one is looked for each LOOK_SECONDS, and when a row is not in it
         a key of a seal or a token whose key is gone from the bridge stays readable by its certificate, for what was
         sealed before: nothing new is done with it
Elsewhere: the form of a statement and what it is compared by (pipeline/formats/statement.py)
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.postgres.dossiers import Fetch
from pipeline.errors import Transient
from pipeline.formats.certificate_path import PathRefused, check_path
from pipeline.formats.statement import PublicationStatement, StatedKey, StatementRefused, read_statement
from pipeline.formats.tst import TokenInvalid, check_unit_certificate
from pipeline.ports.bridge import PublishedKey
from pipeline.ports.outside import Clock
from pipeline.process.measures import PUBLISHED_REFUSED
from pipeline.process.recorder import Recorder

LOOK_SECONDS = 60  # how long what was withdrawn may still be used
ROWS_MAX = 16  # of keys and documents, looked at from the newest on
KEYS_MAX = 1000  # of one use
STATEMENTS_MAX = 8
SYSTEM = SystemClock()


class PostgresKeys:
    """pipeline.ports.bridge.Keys over any connection's fetch."""

    def __init__(
        self,
        fetch: Fetch,
        anchor_file: Path,
        recorder: Recorder | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._fetch = fetch
        self._anchor_file = anchor_file
        self._recorder = recorder
        self._now = clock.now
        self._anchor: x509.Certificate | None = None
        self._statement: tuple[PublicationStatement, bytes] | None = None
        self._look_at: datetime | None = None

    async def active(self, use: str) -> PublishedKey:
        """The newest key of that use."""
        if not (keys := await self._stated(await self._fetch("active_keys", use, ROWS_MAX), 1)):
            raise Transient(f"the bridge has not published a key for {use} yet")
        return keys[0]

    async def every(self, use: str) -> Sequence[PublishedKey]:
        """All keys of that use, the newest first."""
        return await self._stated(await self._fetch("keys_of_use", use, KEYS_MAX), KEYS_MAX)

    async def by_id(self, key_id: str) -> PublishedKey:
        """A named key, whatever its age."""
        for row in await self._fetch("key_by_id", key_id):
            key = _key(row)
            try:
                await self._check(partial(PublicationStatement.check_key, key=_as_stated(key)))
            except StatementRefused as unstated:
                try:
                    _check_certified(key, self._pinned())
                except StatementRefused:
                    self._refused(key.use)
                    raise Transient(f"key {key_id} is published, and nothing vouches for it") from unstated
            return key
        raise Transient(f"key {key_id} is not published")

    async def trust_anchor(self) -> bytes:
        """DER of the pinned CA certificate."""
        return self._pinned().public_bytes(Encoding.DER)

    async def document(self, name: str) -> bytes | None:
        """The newest version of a published document."""
        for row in await self._fetch("published_documents", name, ROWS_MAX):
            version, body = row["version"], bytes(row["body"])
            try:
                await self._check(partial(PublicationStatement.check_document, name=name, version=version, body=body))
            except StatementRefused:
                self._refused(name)
                continue
            return body
        return None

    async def statement(self) -> bytes:
        """The newest one, for readers outside."""
        await self._look()
        if self._statement is None:
            raise Transient("the pinned authority states nothing yet")
        return self._statement[1]

    async def _stated(self, rows: Sequence[Mapping[str, Any]], most: int) -> list[PublishedKey]:
        keys: list[PublishedKey] = []
        for key in map(_key, rows):
            try:
                await self._check(partial(PublicationStatement.check_key, key=_as_stated(key)))
            except StatementRefused:
                self._refused(key.use)
                continue
            keys.append(key)
            if len(keys) == most:
                break
        return keys

    async def _check(self, compare: Callable[[PublicationStatement], None]) -> None:
        """Raises StatementRefused for what the newest statement does not have. It may have been stated just now."""
        if self._look_at is None or self._now() >= self._look_at:
            await self._look()
        try:
            compare(self._living())
        except StatementRefused:
            await self._look()
            compare(self._living())

    def _living(self) -> PublicationStatement:
        if self._statement is None or self._now() > self._statement[0].until:
            raise StatementRefused("the pinned authority states nothing now")
        return self._statement[0]

    async def _look(self) -> None:
        """Of the newest rows the statement made last, and not an older one than before."""
        now, authority = self._now(), await self.trust_anchor()
        held = None if self._statement is None else self._statement[1]
        for row in await self._fetch("published_statements", STATEMENTS_MAX):
            body = bytes(row["body"])
            if body == held:
                continue
            try:
                statement = read_statement(body, authority, now)
            except StatementRefused:
                self._refused("statement")
                continue
            if self._statement is None or statement.at > self._statement[0].at:
                self._statement = statement, body
        self._look_at = now + timedelta(seconds=LOOK_SECONDS)

    def _pinned(self) -> x509.Certificate:
        if self._anchor is None:
            try:
                self._anchor = x509.load_pem_x509_certificate(self._anchor_file.read_bytes())
            except (OSError, ValueError) as error:
                raise Transient(f"the pinned CA certificate cannot be read: {type(error).__name__}") from error
        return self._anchor

    def _refused(self, what: str) -> None:
        if self._recorder is not None:
            self._recorder.count(PUBLISHED_REFUSED, what)


def _key(row: Mapping[str, Any]) -> PublishedKey:
    return PublishedKey(
        row["key_id"], row["use"], bytes(row["spki"]), row["certificate"], row["not_before"], row["until"]
    )


def _as_stated(key: PublishedKey) -> StatedKey:
    return StatedKey(key.key_id, key.use, key.spki, key.certificate, key.not_before, key.until)


def _check_certified(key: PublishedKey, authority: x509.Certificate) -> None:
    """Raises StatementRefused unless its own certificate says all that the row says: whose, for what, how long."""
    if key.certificate is None or key.use not in ("seal", "time"):
        raise StatementRefused("a key of this use is stated or not there")
    try:
        leaf = check_path([key.certificate], authority.public_bytes(Encoding.DER), key.not_before)
        if key.use == "time":
            check_unit_certificate(leaf)
        elif _is_for_more_than_seals(leaf):
            raise StatementRefused("the certificate is not for seals")
    except (PathRefused, TokenInvalid) as error:
        raise StatementRefused(str(error)) from error
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if (spki, leaf.not_valid_before_utc, leaf.not_valid_after_utc) != (key.spki, key.not_before, key.until):
        raise StatementRefused("the key differs from its certificate")


def _is_for_more_than_seals(leaf: x509.Certificate) -> bool:
    """An authority, or a key of another purpose."""
    extensions = {type(extension.value) for extension in leaf.extensions}
    if x509.ExtendedKeyUsage in extensions or x509.KeyUsage not in extensions:
        return True
    return leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
