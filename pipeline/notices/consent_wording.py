"""What a consumer is asked to agree to, word for word. Pure.

Owns     the text of the question, in French and English, versioned whole; its digest
Rules    the page shows exactly this text, and exactly this text is stored with the answer: so the digest in the
         consent is that of what the person read, whatever later versions say
Source   CPCE L.100 I, R.53-1: a recipient who is not a professional has expressed consent to the sender beforehand
Elsewhere: the page around it (gateway/portal/consent.py), the mail that leads to it (consent_mail.py)
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks whom."""

    provider: str
    sender_name: str
    sender_email: str
    given_names: str
    birth_name: str
    email: str


TEXT = {
    "fr": """
{sender_name} ({sender_email}) vous demande si vous acceptez de recevoir de sa part des envois électroniques avec preuve
de dépôt et de remise, par l'intermédiaire de {provider}.

En répondant oui, vous déclarez : « Je, {given_names} {birth_name}, consens à recevoir de {sender_name} des envois
électroniques avec preuve de dépôt et de remise, annoncés à l'adresse {email}. »

Chaque envoi vous est annoncé par un message à cette adresse. Vous avez quinze jours pour l'accepter ou le refuser,
après vérification de votre identité. Si vous refusez, ou si vous ne faites rien, l'expéditeur en reçoit une preuve.

Vous êtes libre de répondre non : l'expéditeur doit alors vous écrire par une autre voie. Vous pouvez retirer votre
consentement à tout moment par le même lien ; les envois déjà déposés ne sont pas concernés.
""",
    "en": """
{sender_name} ({sender_email}) asks whether you accept to receive electronic deliveries with proof of deposit and
receipt from it, through {provider}.

By answering yes you declare: “I, {given_names} {birth_name}, consent to receive from {sender_name} electronic
deliveries with proof of deposit and receipt, announced at the address {email}.”

Each delivery is announced to you by a mail to this address. You have fifteen days to accept or refuse it, after your
identity was verified. If you refuse, or do nothing, the sender receives a proof of that.

You are free to answer no: the sender then has to write to you in another way. You can withdraw your consent at any time
by the same link; deliveries that were deposited before are not affected.
""",
}


def paragraphs(asking: Asking, language: str) -> tuple[str, ...]:
    """The text in one language. It is cut before it is filled: no name can make a paragraph."""
    words = {name: getattr(asking, name) for name in Asking.__slots__}
    return tuple(" ".join(p.split()).format(**words) for p in TEXT[language].split("\n\n"))


def whole(asking: Asking, language: str) -> str:
    """The text as it is stored: its paragraphs, with an empty line between two."""
    return "\n\n".join(paragraphs(asking, language))


def wording_digest(asking: Asking, language: str) -> str:
    """SHA-256 of the stored text, in hexadecimal."""
    return hashlib.sha256(whole(asking, language).encode()).hexdigest()
