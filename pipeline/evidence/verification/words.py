"""The sentences of a verification, in English and French. Legal texts follow the mode that the evidence states.

Owns words only. For a service without legal recognition it says exactly that, and names no legal category.
"""

from __future__ import annotations

from types import MappingProxyType

from pipeline.evidence.verification.report import Outcome, Verdict

Sentences = MappingProxyType[str, MappingProxyType[str, str]]


def _sentences(**by_language: dict[str, str]) -> Sentences:
    return MappingProxyType({language: MappingProxyType(words) for language, words in by_language.items()})


PASSED = _sentences(
    en={
        "container": "The file is a package of this service, every byte accounted for: {entries} entries, "
        "snapshot {snapshot}",
        "batch_form": "The file is a batch's proof of deposit as this service writes it: {lines} lines in "
        "{entries} entries, every byte accounted for",
        "package_seal": "The package seal covers every entry and holds",
        "package_time": "The package seal is time-stamped: {time}",
        "form": "Each evidence is exactly as this service writes it: {count}",
        "seals": "Each evidence carries a seal that holds: {count}",
        "times": "Each seal is time-stamped, and no time-stamp is older than its event: {count}",
        "sequence": "No evidence is missing, moved or doubled: 1 to {count}",
        "story": "The events are in an order that can happen: {events}",
        "one_delivery": "All evidences speak of one letter, one deposit and one person: number {number}",
        "content": "The documents you gave are the letter's: {given} of {parts}, by SHA-256 and SHA3-256",
        "trust": "Every certificate was issued by a trust anchor you gave and was valid at the time",
        "revocation": "No certificate was revoked, by the list of {time}",
    },
    fr={
        "container": "Le fichier est un dossier de ce service, chaque octet est justifié : {entries} entrées, "
        "état n° {snapshot}",
        "batch_form": "Le fichier est une preuve de dépôt d'un lot telle que ce service l'écrit : {lines} lignes en "
        "{entries} entrées, chaque octet est justifié",
        "package_seal": "Le cachet du dossier couvre toutes les entrées et il est bon",
        "package_time": "Le cachet du dossier est horodaté : {time}",
        "form": "Chaque preuve est exactement telle que ce service l'écrit : {count}",
        "seals": "Chaque preuve porte un cachet qui est bon : {count}",
        "times": "Chaque cachet est horodaté, et aucun horodatage n'est antérieur à son événement : {count}",
        "sequence": "Aucune preuve ne manque, n'est déplacée ni doublée : 1 à {count}",
        "story": "Les événements sont dans un ordre possible : {events}",
        "one_delivery": "Toutes les preuves parlent d'un même envoi, d'un même dépôt, d'une même personne : "
        "numéro {number}",
        "content": "Les documents fournis sont ceux de l'envoi : {given} sur {parts}, par SHA-256 et SHA3-256",
        "trust": "Chaque certificat a été émis par une ancre de confiance fournie et était valable à l'heure dite",
        "revocation": "Aucun certificat n'était révoqué, selon la liste du {time}",
    },
)
FAILED = _sentences(
    en={
        "container": "The file has been changed, or is not a package of this service",
        "batch_form": "The file has been changed, or is not a proof of deposit of this service",
        "package_seal": "The package seal does not hold",
        "package_time": "The time-stamp of the package seal does not hold",
        "form": "An evidence has been changed, or was not written by this service",
        "seals": "The seal of an evidence does not hold",
        "times": "The time-stamp of an evidence does not hold",
        "sequence": "An evidence is missing, moved or doubled",
        "story": "The events are in an order that cannot happen",
        "one_delivery": "The evidences do not speak of one letter, one deposit and one person",
        "content": "A document you gave is not the letter's",
        "trust": "A certificate is not vouched for by a trust anchor you gave",
        "revocation": "A certificate was revoked",
    },
    fr={
        "container": "Le fichier a été modifié, ou n'est pas un dossier de ce service",
        "batch_form": "Le fichier a été modifié, ou n'est pas une preuve de dépôt de ce service",
        "package_seal": "Le cachet du dossier n'est pas bon",
        "package_time": "L'horodatage du cachet du dossier n'est pas bon",
        "form": "Une preuve a été modifiée, ou n'a pas été écrite par ce service",
        "seals": "Le cachet d'une preuve n'est pas bon",
        "times": "L'horodatage d'une preuve n'est pas bon",
        "sequence": "Une preuve manque, est déplacée ou doublée",
        "story": "Les événements sont dans un ordre impossible",
        "one_delivery": "Les preuves ne parlent pas d'un même envoi, d'un même dépôt, d'une même personne",
        "content": "Un document fourni n'est pas celui de l'envoi",
        "trust": "Un certificat n'est pas garanti par une ancre de confiance fournie",
        "revocation": "Un certificat était révoqué",
    },
)
NOT_CHECKED = _sentences(
    en={
        "content": "Content: not checked, no document was given",
        "batch_content": "Content: not checked, a batch's proof of deposit names no documents; "
        "the letter's package does",
        "trust": "Trust: not checked, no trust anchor was given",
        "revocation": "Revocation: not checked, no list signed by a trust anchor at hand",
    },
    fr={
        "content": "Contenu : non vérifié, aucun document fourni",
        "batch_content": "Contenu : non vérifié, la preuve de dépôt d'un lot ne nomme pas de document ; "
        "le dossier de l'envoi les nomme",
        "trust": "Confiance : non vérifiée, aucune ancre de confiance fournie",
        "revocation": "Révocation : non vérifiée, aucune liste signée par une ancre de confiance",
    },
)
SENTENCES = MappingProxyType({Outcome.PASSED: PASSED, Outcome.FAILED: FAILED, Outcome.NOT_CHECKED: NOT_CHECKED})
MARKS = MappingProxyType({Outcome.PASSED: "✔", Outcome.FAILED: "✘", Outcome.NOT_CHECKED: "–"})

VERDICTS = _sentences(
    en={
        Verdict.VALID.value: "VALID",
        Verdict.INVALID.value: "INVALID: {reason}",
        Verdict.NOT_A_PROOF.value: "NOT A PROOF: this file is neither a package nor an evidence",
        Verdict.INDETERMINATE.value: "CANNOT TELL: intact, but no trust anchor was given (--trust), "
        "so anybody could have made it",
    },
    fr={
        Verdict.VALID.value: "VALABLE",
        Verdict.INVALID.value: "NON VALABLE : {reason}",
        Verdict.NOT_A_PROOF.value: "PAS UNE PREUVE : ce fichier n'est ni un dossier ni une preuve",
        Verdict.INDETERMINATE.value: "INDÉTERMINÉ : intact, mais sans ancre de confiance fournie (--trust), "
        "n'importe qui peut l'avoir fait",
    },
)
STANDING = _sentences(
    en={
        "non_qualified": "issued by a demonstration service, without legal recognition",
        "qualified": "the issuer's standing is not judged here: look it up in the trusted list",
    },
    fr={
        "non_qualified": "émis par un service de démonstration, sans reconnaissance légale",
        "qualified": "le statut de l'émetteur n'est pas jugé ici : voir la liste de confiance",
    },
)
LABELS = _sentences(
    en={
        "number": "number",
        "batch": "batch",
        "lines": "lines",
        "deposited": "deposited",
        "rejected": "rejected",
        "submitted": "submitted",
        "parts": "SHA-256 of the parts, as submitted",
        "sender": "sender",
        "recipient": "recipient, as declared by the sender",
        "issuer": "issuer",
        "events": "events",
        "stamped": "time-stamped",
        "title": "Verification",
        "file": "file",
    },
    fr={
        "number": "numéro",
        "batch": "lot",
        "lines": "lignes",
        "deposited": "déposées",
        "rejected": "rejetées",
        "submitted": "soumis",
        "parts": "SHA-256 des parties, tel que soumis",
        "sender": "expéditeur",
        "recipient": "destinataire, selon l'expéditeur",
        "issuer": "émetteur",
        "events": "événements",
        "stamped": "horodaté",
        "title": "Vérification",
        "file": "fichier",
    },
)
