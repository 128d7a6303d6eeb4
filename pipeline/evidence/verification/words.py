"""The sentences of a verification, in English and French. Legal texts follow the mode that the evidence states.

Owns words only; those of a check are in its row (table.py), those of an event in its own (pipeline/evidence/events.py).
For a service without legal recognition it says exactly that, and names no legal category.
"""

from __future__ import annotations

from types import MappingProxyType

from pipeline.evidence.verification.report import CheckOutcome, Verdict

Sentences = MappingProxyType[str, MappingProxyType[str, str]]


def _sentences(**by_language: dict[str, str]) -> Sentences:
    return MappingProxyType({language: MappingProxyType(words) for language, words in by_language.items()})


MARKS = MappingProxyType({CheckOutcome.PASSED: "✔", CheckOutcome.FAILED: "✘", CheckOutcome.NOT_CHECKED: "–"})

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
# What is sealed and is no evidence says so beside every verdict, whatever the seal is worth.
NATURES = _sentences(
    en={
        "list": "a list of the service and no evidence: of a letter, its own A.1 or A.2 is",
        "reading_copy": "a copy for reading and no evidence: the sealed evidence is",
    },
    fr={
        "list": "une liste du service et non une preuve : celle d'un envoi est sa propre A.1 ou A.2",
        "reading_copy": "une copie de lecture et non une preuve : l'attestation scellée en est une",
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
        "happened": "happened, by the service's word, at",
        "stamped": "proved since",
        "proved_late": "proved late",
        "late": "Proved more than {seconds} s after it happened by the service's word: {events}",
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
        "happened": "a eu lieu, selon le service, le",
        "stamped": "prouvé depuis le",
        "proved_late": "prouvé tardivement",
        "late": "Prouvé plus de {seconds} s après avoir eu lieu selon le service : {events}",
        "title": "Vérification",
        "file": "fichier",
    },
)
