"""Letters with a fate: what the gateway would have written when it answered 202, and what will become of each."""

import hashlib
import random
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.content.envelope import CONTENT_FORMAT, Encryptor, associated_data, seal_key
from pipeline.content.names import object_name
from pipeline.delivery.number import DIGITS, with_check_digit
from pipeline.evidence.dossier import Dossier, Issuer, Part, RecipientParty, SenderParty
from pipeline.formats.context import intake_info
from pipeline.ports.bridge import PublishedKey
from pipeline.ports.rows import Segment
from tests.memory.tables import Submission

CONTENT = b"Dear Sir or Madam, this is the letter."
WITHDRAWN = "withdrawn"  # the consumer's consent
UNREADABLE = "unreadable"  # the stored object was altered
MISDECLARED = "misdeclared"  # the sender named another digest
WRONG_TYPE = "wrong_type"
MAIL_REFUSED = "mail_refused"
IGNORE = "ignore"
ACCEPT = "accept"
COLLECT = "collect"  # accept, and download all
REFUSE = "refuse"
LAST_MOMENT = "last_moment"  # decides while the clock passes the end of the window
TWO_MINDS = "two_minds"  # accepts and refuses at once, in two browsers
FATES = (WITHDRAWN, UNREADABLE, MISDECLARED, WRONG_TYPE, MAIL_REFUSED, IGNORE, ACCEPT, COLLECT, REFUSE, LAST_MOMENT,
         TWO_MINDS)  # fmt: skip
REJECTED_FATES = frozenset({WITHDRAWN, UNREADABLE, MISDECLARED, WRONG_TYPE})


@dataclass(frozen=True, slots=True)
class Letter:
    """One delivery of the simulation."""

    delivery: UUID
    fate: str
    lane: int
    submission: Submission
    objects: dict[str, bytes]


def letter(fate: str, rng: random.Random, intake: PublishedKey, now: datetime, parts: int = 1) -> Letter:
    """A letter as the gateway leaves it."""
    delivery, sender = UUID(bytes=rng.randbytes(16)), UUID(bytes=rng.randbytes(16))
    objects: dict[str, bytes] = {}
    segments = []
    documents = []
    for number in range(1, parts + 1):
        content = CONTENT + str(number).encode()
        upload, name, key = UUID(bytes=rng.randbytes(16)), object_name(rng.randbytes(16)), rng.randbytes(32)
        cipher = Encryptor(key, associated_data(name), rng.randbytes(32), rng.randbytes(7))
        sealed = cipher.update(content) + cipher.finish()
        objects[name] = sealed[:-1] + bytes([sealed[-1] ^ 1]) if fate == UNREADABLE else sealed
        info = intake_info(sender, upload, 1, name, CONTENT_FORMAT, len(content))
        sealed_key = seal_key(intake.spki, info, key)
        segments.append(
            Segment(number, 1, sender, upload, name, CONTENT_FORMAT, len(content), intake.key_id, sealed_key, now)
        )
        documents.append(
            Part(
                number,
                f"lettre-é{number}.txt",
                "application/pdf" if fate == WRONG_TYPE else "text/plain",
                len(content),
                hashlib.sha256(content).digest(),
                hashlib.sha3_256(content).digest(),
            )
        )
    declared = tuple(bytes(32) if fate == MISDECLARED else p.sha256 for p in documents)
    is_consumer = fate == WITHDRAWN or rng.random() < 0.5
    dossier = Dossier(
        delivery=delivery,
        number=with_check_digit(str(rng.randrange(10**DIGITS)).zfill(DIGITS)),
        client_ref=None,
        mode="non_qualified",
        config_version="embedded-1",
        issuer=Issuer("", "", "", "", b""),
        sender=SenderParty("Mairie", "mairie@example.org", "substantial", "contract", now),
        recipient=RecipientParty(
            "consumer" if is_consumer else "professional", f"{delivery.hex}@example.net", "Jeanne", "Martin"
        ),
        parts=tuple(documents),
        submitted_at=now,
        consent_ref="consent-1" if is_consumer else None,
    )
    consent = "not_needed" if not is_consumer else "withdrawn" if fate == WITHDRAWN else "given"
    submission = Submission(dossier, rng.choice(("fr", "en")), consent, declared, tuple(segments))
    return Letter(delivery, fate, rng.choice((0, 2)), submission, objects)
