"""The mail that asks a consumer: text, headers and bytes, in French and English. Pure.

Owns     the wording of the mail, the link and its digest, the Message-ID
Rules    it says who asks and leads to a page; nothing of any letter, no word that a sender may choose but its own
         registered name (names of the person stand on the page only: a mail is not a sender's to write). No tracking,
         no image, no HTML. The link answers nothing by being opened
Elsewhere: what is agreed to (consent_wording.py), when it is sent (consents.py)
"""

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from pipeline.delivery.deadlines import paris_date
from pipeline.notices.consent_facts import ConsentMail
from pipeline.notices.consent_ports import ConsentQuestion
from pipeline.notices.notice import STANDING, Letterhead, day_in_words

LINK_RANDOM_BYTES = 16  # 128 bits

SUBJECT = {
    "fr": "{provider} : une demande de consentement vous attend",
    "en": "{provider}: a request for your consent awaits you",
}
BODY = {
    "fr": """Bonjour,

{sender} vous demande si vous acceptez de recevoir de sa part des envois électroniques
avec preuve de dépôt et de remise, par l'intermédiaire de {provider}.

Pour lire ce que cela signifie, et répondre oui ou non, ouvrez cette page :

{url}

Vous pouvez répondre jusqu'au {last_day}. Si vous ne répondez pas, vous n'avez consenti
à rien. Le même lien permet, plus tard, de retirer un consentement donné : conservez ce
message.

Ouvrir ce lien ne vaut pas réponse. Nous ne vous demanderons jamais de mot de passe, ni de
moyen de paiement.
{standing}
""",
    "en": """Hello,

{sender} asks whether you accept to receive electronic deliveries with proof of deposit
and receipt from it, through {provider}.

To read what this means, and to answer yes or no, open this page:

{url}

You may answer until {last_day}. If you do not answer, you have consented to nothing.
The same link lets you withdraw later a consent that you gave: please keep this message.

Opening the link is not an answer. We will never ask you for a password or a means of
payment.
{standing}
""",
}


def compose(head: Letterhead, question: ConsentQuestion, random_bytes: Callable[[int], bytes]) -> ConsentMail:
    """Fix the link and every byte of the mail, for now and for every retry."""
    token = base64.urlsafe_b64encode(random_bytes(LINK_RANDOM_BYTES)).rstrip(b"=").decode()
    domain = head.from_address.rpartition("@")[2]
    body = BODY[question.language].format(
        sender=question.sender_name,
        provider=head.provider,
        url=f"{head.public_url}/consent/{token}",
        last_day=day_in_words(paris_date(question.expires_at), question.language),
        standing=STANDING[question.language, head.mode],
    )
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(head.provider, addr_spec=head.from_address)
    mail["To"] = question.email
    mail["Subject"] = SUBJECT[question.language].format(provider=head.provider)
    mail["Date"] = format_datetime(question.now.astimezone(UTC))
    mail["Message-ID"] = f"<{random_bytes(LINK_RANDOM_BYTES).hex()}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation answers, please
    mail.set_content(body, cte="quoted-printable")
    mail["Content-Language"] = question.language
    return ConsentMail(
        request=question.request,
        message_id=str(mail["Message-ID"]),
        link_sha256=hashlib.sha256(token.encode()).digest(),
        text_sha256=hashlib.sha256(body.encode()).digest(),
        mail=mail.as_bytes(),
        prepared_at=question.now,
    )
