"""The notice: the mail that tells a recipient that something waits, and until when to decide. Pure.

Owns     text, headers and bytes of the mail, in French and English, versioned whole; link and Message-ID
Rules    CPCE R.53-3 I: it names the provider, the nature of the sending, the choice and the deadline, and nothing of
         the sender, the subject or the files. The link is a pointer without power. No tracking, no image, no HTML
         the proof C.1 names TEXT_VERSION with the digest of the text: each change of a word below is another version
Elsewhere: when it is sent (departure.py) and what its answer means (answers.py)
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache
from uuid import UUID

from pipeline.delivery.deadlines import last_day, paris_date
from pipeline.delivery.facts import Notice
from pipeline.delivery.number import spoken
from pipeline.notices.notice_form import Blanks, Form

TEXT_VERSION = "notice-1"
CLAIM_RANDOM_BYTES = 16  # 128 bits


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What an installation prints on every notice."""

    provider: str
    mode: str
    from_address: str
    public_url: str


@dataclass(frozen=True, slots=True)
class Addressing:
    """What one notice may know of its delivery."""

    delivery: UUID
    ordinal: int
    number: str
    recipient_email: str
    language: str


SUBJECT = {
    "fr": "{provider} : un envoi avec preuve de remise vous attend (n° {number})",
    "en": "{provider}: a delivery with proof of receipt awaits you (no. {number})",
}

# Days as people say them, without a locale database: the notice must read the same wherever it is rendered.
MONTHS = {
    "fr": (
        *("janvier", "février", "mars", "avril", "mai", "juin"),
        *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
    ),
    "en": (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
}

BODY = {
    "fr": """Bonjour,

Un expéditeur vous a adressé un envoi électronique avec preuve de dépôt et de remise,
par l'intermédiaire de {provider}.

Numéro de l'envoi :          {number}
Date du présent avis :       {notice_date}
Dernier jour pour choisir :  {last_day} (jusqu'à minuit, heure de Paris)

Vous pouvez accepter ou refuser cet envoi pendant quinze jours à compter du lendemain
du présent avis. L'identité de l'expéditeur et le contenu vous sont communiqués si vous
acceptez. Si vous refusez, ou si vous ne faites rien avant la fin du dernier jour,
l'expéditeur reçoit une preuve du refus ou de la non-réclamation.

Pour choisir, ouvrez cette page et identifiez-vous :

{claim_url}

Ce lien ne donne accès à rien sans vérification de votre identité.
Nous ne vous demanderons jamais de mot de passe, ni de moyen de paiement.
Pour vérifier cet avis, saisissez vous-même l'adresse de {provider} dans votre navigateur.
{standing}
""",
    "en": """Hello,

A sender has addressed to you an electronic delivery with proof of deposit and receipt,
through {provider}.

Delivery number:     {number}
Date of this notice: {notice_date}
Last day to decide:  {last_day} (until midnight, Paris time)

You may accept or refuse this delivery during fifteen days counted from the day after
this notice. The identity of the sender and the content are disclosed to you if you
accept. If you refuse, or do nothing before the end of the last day, the sender receives
a proof of refusal or of non-claim.

To decide, open this page and identify yourself:

{claim_url}

This link gives access to nothing without verification of your identity.
We will never ask you for a password or a means of payment.
To check this notice, type the address of {provider} into your browser yourself.
{standing}
""",
}
STANDING = {
    ("fr", "non_qualified"): "\nService de démonstration, sans valeur légale reconnue.",
    ("en", "non_qualified"): "\nDemonstration service, without recognised legal effect.",
}


def compose(head: Letterhead, to: Addressing, now: datetime, random_bytes: Callable[[int], bytes]) -> Notice:
    """Fix date, last day, link and every byte of the mail, for now and for every retry. `now`: legal time."""
    day = paris_date(now)
    claim = base64.urlsafe_b64encode(random_bytes(CLAIM_RANDOM_BYTES)).rstrip(b"=").decode()
    message_id = f"<{random_bytes(CLAIM_RANDOM_BYTES).hex()}@{head.from_address.rpartition('@')[2]}>"
    opaque = message_id.partition("@")[0] + "@"
    blanks = Blanks(format_datetime(now.astimezone(UTC)), spoken(to.number), claim, opaque, to.recipient_email)
    return Notice(
        delivery=to.delivery,
        ordinal=to.ordinal,
        notice_date=day,
        last_day=last_day(day),
        language=to.language,
        message_id=message_id,
        claim_sha256=hashlib.sha256(claim.encode()).digest(),
        text_sha256=hashlib.sha256(_body(head, to.language, day, blanks).encode()).digest(),
        mail=_form(head, to.language, day).fill(blanks),
        prepared_at=now,
    )


@lru_cache(maxsize=8)
def _form(head: Letterhead, language: str, day: date) -> Form:
    """Printed once a day and language."""
    return Form(lambda blanks: rendered(head, language, day, blanks))


def _body(head: Letterhead, language: str, day: date, blanks: Blanks) -> str:
    return BODY[language].format(
        provider=head.provider,
        number=blanks.number,
        notice_date=day_in_words(day, language),
        last_day=day_in_words(last_day(day), language),
        claim_url=f"{head.public_url}/c/{blanks.claim}",
        standing=STANDING[language, head.mode],
    )


def rendered(head: Letterhead, language: str, day: date, blanks: Blanks) -> bytes:
    """The mail, header by header: what every other way of making it must equal."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"{_quoted(head.provider)} <{head.from_address}>"
    mail["To"] = blanks.address
    mail["Subject"] = SUBJECT[language].format(provider=head.provider, number=blanks.number)
    mail["Date"] = blanks.sent
    mail["Message-ID"] = blanks.message_id + head.from_address.rpartition("@")[2] + ">"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation answers, please
    # set_content drops every Content-* header set before it
    mail.set_content(_body(head, language, day, blanks), cte="quoted-printable")
    mail["Content-Language"] = language
    return mail.as_bytes()


def day_in_words(day: date, language: str) -> str:
    """1er décembre 2026; 1 December 2026."""
    number = "1er" if language == "fr" and day.day == 1 else str(day.day)
    return f"{number} {MONTHS[language][day.month - 1]} {day.year}"


def _quoted(name: str) -> str:
    """A quoted-string (RFC 5322 section 3.2.4): whatever the name holds, it is read back as it is."""
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
