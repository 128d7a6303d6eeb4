"""Letters with no queue at all: the least that the same cryptography costs.   python -m bench.bare_loop LETTERS BYTES

Owns     the loop that end-to-end figures are held against: for each letter the content's encryption (when it is its
         own), its wrap, two evidences drafted, sealed and time-stamped by the same token, a notice composed and mailed;
         one COPY for all of it at the end. BYTES 0: one content for all
Rules    the product's own functions, in one process and in the best order; nothing survives a crash, nothing is checked
         twice, nobody waits for a disk but once. Reads QERDS_CONFIG of a running installation and its token
"""

import hashlib
import json
import resource
import secrets
import sys
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import anyio
import asyncpg

from bench.processes import cpu_seconds
from hsm_bridge import wire
from hsm_bridge.operations.seals import seal_evidence
from hsm_bridge.operations.time_stamps import time_stamp
from hsm_bridge.operations.vault import Moment, Vault
from hsm_bridge.token import keyring
from hsm_bridge.token.device import Token
from pipeline.adapters.mail import RelayMailer
from pipeline.content.envelope import KEY_BYTES, NONCE_PREFIX_BYTES, SALT_BYTES, Encryptor, associated_data
from pipeline.delivery.deadlines import expires_at
from pipeline.delivery.facts import Notice
from pipeline.delivery.number import DIGITS, with_check_digit
from pipeline.evidence.dossier import Deposit, Dossier, Issuer, Part, RecipientParty, SenderParty
from pipeline.evidence.draft import Head, draft, head_after
from pipeline.evidence.facts import EvidenceDraft
from pipeline.formats.configuration import Config, load_from_environment
from pipeline.formats.xades import imprint_sha256
from pipeline.notices.notice import TEXT_VERSION, Addressing, Letterhead, compose
from pipeline.ports.outside import Relayed

NONCE_BYTES = 12  # of AES-GCM
AT_ONCE = 100  # letters whose mails are under way together
TABLE = """
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.letter (
    delivery uuid, event text, canonical bytea, seal bytea, token bytea, wrap bytea, mail bytea, relay text)
"""
COLUMNS = ("delivery", "event", "canonical", "seal", "token", "wrap", "mail", "relay")
Row = tuple[uuid.UUID, str, bytes, bytes, bytes, bytes | None, bytes | None, str | None]


@dataclass(frozen=True, slots=True)
class BareLetter:
    """Between its deposit and its notice."""

    dossier: Dossier
    head: Head
    notice: Notice


class Loop:
    """Everything that does not change from letter to letter."""

    def __init__(self, config: Config, content_bytes: int) -> None:
        self.token = Token(config.token)
        ring = keyring.load(self.token, config)
        self._vault = Vault(self.token, ring, config, b"")
        self._mailer = RelayMailer(config.mail)
        self._letterhead = Letterhead(
            config.provider.name, config.mode, config.mail.from_address, config.gateway.public_url
        )
        self._kek = ring.newest("kek", _now()).key_id
        key = ring.newest("seal", _now())
        provider = config.provider
        self._issuer = Issuer(provider.name, provider.country, provider.policy_oid, key.key_id, key.certificate_sha256)
        self._mode, self._version = config.mode, config.config_version
        self._content_bytes = content_bytes
        self._shared = self._encrypted(b"one content for all\n" * 64)
        self.rows: list[Row] = []

    async def run(self, count: int) -> None:
        """All letters, some at a time."""
        done = 0
        while done < count:
            size = min(AT_ONCE, count - done)
            letters = [self._deposit(done + number) for number in range(size)]
            limit = anyio.CapacityLimiter(self._mailer.at_once)
            async with anyio.create_task_group() as tasks:
                for letter in letters:
                    tasks.start_soon(self._mail, letter, limit)
            done += size
        await self._mailer.aclose()

    def _deposit(self, number: int) -> BareLetter:
        now = _now()
        key, part = self._encrypted(secrets.token_bytes(self._content_bytes)) if self._content_bytes else self._shared
        dossier = self._dossier(number, part, now)
        wrap = self.token.encrypt(self._kek, self.token.random(NONCE_BYTES), key, dossier.delivery.bytes + part.sha256)
        head = Head(dossier.delivery, "submitted", 1, None, now, frozenset())
        drafted = draft(head, "A.1", dossier)
        seal = self._prove(drafted, wrap)
        deposit = Deposit(drafted.evidence, drafted.sha256, drafted.event_time, hashlib.sha256(seal).digest())
        to = Addressing(dossier.delivery, 1, dossier.number, dossier.recipient.email, "fr")
        notice = compose(self._letterhead, to, now, secrets.token_bytes)
        return BareLetter(replace(dossier, deposit=deposit), head_after(head, drafted), notice)

    async def _mail(self, letter: BareLetter, limit: anyio.CapacityLimiter) -> None:
        async with limit:
            answer = await self._mailer.send(letter.dossier.recipient.email, letter.notice.mail)
        if not isinstance(answer, Relayed):
            raise SystemExit(f"the sink does not take mails: {answer}")
        notice = letter.notice
        details = (
            ("recipient_email", letter.dossier.recipient.email),
            ("message_id", notice.message_id),
            ("relay_answer", f"{answer.code} {answer.text}"),
            ("tls", "none"),
            ("notice_text", f"{TEXT_VERSION} sha256 {notice.text_sha256.hex()}"),
            ("notice_date", notice.notice_date.isoformat()),
            ("last_day", notice.last_day.isoformat()),
            ("expires_at", expires_at(notice.notice_date).isoformat()),
        )
        head = replace(letter.head, state="deposited", legal_time=_now())
        self._prove(draft(head, "C.1", letter.dossier, ordinal=1, details=details), None, notice.mail, str(answer.code))

    def _prove(
        self, drafted: EvidenceDraft, wrap: bytes | None, mail: bytes | None = None, relay: str | None = None
    ) -> bytes:
        """Seal and time-stamp; the signature."""
        moment = Moment(_now(), _now())
        item = wire.SealEvidence(evidence=drafted.canonical, receipt=None)
        signature = seal_evidence(self._vault, item, moment).answer.signature
        imprint = wire.TimeStamp(imprint=imprint_sha256(signature), event_time=drafted.event_time)
        token = time_stamp(self._vault, imprint, moment).answer.token
        self.rows.append((drafted.delivery, drafted.event, drafted.canonical, signature, token, wrap, mail, relay))
        return signature

    def _encrypted(self, content: bytes) -> tuple[bytes, Part]:
        """A content's key, and the document with both digests. The ciphertext itself goes nowhere."""
        key = secrets.token_bytes(KEY_BYTES)
        salt, prefix = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_PREFIX_BYTES)
        encryptor = Encryptor(key, associated_data("bench"), salt, prefix)
        encryptor.update(content)
        encryptor.finish()
        digests = hashlib.sha256(content).digest(), hashlib.sha3_256(content).digest()
        return key, Part(1, "letter.txt", "text/plain", len(content), *digests)

    def _dossier(self, number: int, part: Part, now: datetime) -> Dossier:
        return Dossier(
            delivery=uuid.uuid4(),
            number=with_check_digit(f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"),
            client_ref=f"bare-{number}",
            mode=self._mode,
            config_version=self._version,
            issuer=self._issuer,
            sender=SenderParty("Bench", "sender@demo.example", "substantial", "demonstration", now - timedelta(days=1)),
            recipient=RecipientParty("professional", f"bare-{number}@recipient.example", "Angela", "Dubois"),
            parts=(part,),
            submitted_at=now,
        )


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


async def main(count: int, content_bytes: int) -> None:
    config = load_from_environment()
    where = config.database
    connection = await asyncpg.connect(
        host=str(where.socket_dir),
        port=where.port,
        user="qerds_owner",
        password=where.password("qerds_owner"),
        database=where.name,
    )
    await connection.execute(TABLE)
    loop = Loop(config, content_bytes)
    backend = {"backend": connection.get_server_pid()}
    before, database_before = _cpu_seconds(), cpu_seconds(backend)["backend"]
    began = time.perf_counter()
    await loop.run(count)
    await connection.copy_records_to_table("letter", schema_name="bench", columns=COLUMNS, records=loop.rows)
    seconds, cpu = time.perf_counter() - began, _cpu_seconds() - before
    database = cpu_seconds(backend)["backend"] - database_before
    await connection.execute("DROP TABLE bench.letter")
    await connection.close()
    figures = {"letters": count, "seconds": seconds, "cpu_seconds": cpu, "database_cpu_seconds": database}
    print(json.dumps(figures))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), int(sys.argv[2]), backend_options={"use_uvloop": True})
