"""The notice: the mail that tells a recipient that something waits, and until when to decide. Pure.

Owns     text, headers and bytes of the mail, in French and English, versioned whole
Rules    CPCE R.53-3 I: it names the provider, the nature of the sending, the choice and the deadline, and nothing of
         the sender, the subject or the files. The link is a pointer without power. No tracking, no image, no HTML
Not here when it is sent and what its answer means (stages/notify.py)
"""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from pipeline.delivery.number import spoken

TEXT_VERSION = "notice-1"
CLAIM_RANDOM_BYTES = 16  # 128 bits


@dataclass(frozen=True, slots=True)
class NoticeText:
    """What goes into one notice."""

    provider: str
    mode: str
    number: str
    language: str
    recipient: str
    sender_address: str
    notice_date: date
    last_day: date
    claim_url: str
    message_id: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class RenderedNotice:
    """The mail, and the digest of its text as evidence names it."""

    mail: bytes
    text_sha256: bytes


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


def render_notice(text: NoticeText) -> RenderedNotice:
    """The bytes that will be sent, now and at every retry."""
    values = {
        "provider": text.provider,
        "number": spoken(text.number),
        "notice_date": day_in_words(text.notice_date, text.language),
        "last_day": day_in_words(text.last_day, text.language),
        "claim_url": text.claim_url,
        "standing": STANDING[text.language, text.mode],
    }
    body = BODY[text.language].format(**values)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"{_quoted(text.provider)} <{text.sender_address}>"
    mail["To"] = text.recipient
    mail["Subject"] = SUBJECT[text.language].format(**values)
    mail["Date"] = format_datetime(text.sent_at)
    mail["Message-ID"] = text.message_id
    mail["Content-Language"] = text.language
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation answers, please
    mail.set_content(body, cte="quoted-printable")
    return RenderedNotice(mail.as_bytes(), hashlib.sha256(body.encode()).digest())


def day_in_words(day: date, language: str) -> str:
    """1er décembre 2026; 1 December 2026."""
    number = "1er" if language == "fr" and day.day == 1 else str(day.day)
    return f"{number} {MONTHS[language][day.month - 1]} {day.year}"


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "").replace('"', "") + '"'
