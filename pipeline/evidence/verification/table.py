"""The checks of the verifier, one row each, and which of them a file is put to, in which order.

Owns     number, name, source, title and sentences of each check
Rules    a name never changes its meaning: reports of years ago are read by it. A report numbers its steps by their
         place in it; the number of a row is for its function and docs/verify.md, and a new check takes the next one.
         Legal texts follow the mode that the evidence states (words.py)
Elsewhere: the checks themselves (checks.py, chain.py), which check needs which (case.py), running them (protocol.py);
         docs/verify.md says what each finds, and a test compares its rows with these
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.evidence.languages import Words
from pipeline.evidence.verification import chain, checks
from pipeline.evidence.verification.case import Case, Values
from pipeline.evidence.verification.report import CheckOutcome


@dataclass(frozen=True, slots=True)
class Check:
    """One check. title: in a list of checks of a service that judges by its own authority. None: it never ends so."""

    number: int
    name: str
    source: str
    run: Callable[[Case], Values]
    title: Words
    passed: Words | None
    failed: Words | None
    not_checked: Words | None = None

    def words(self, outcome: CheckOutcome) -> Words:
        """The sentence of an outcome. ValueError for one that this check does not have."""
        words = {
            CheckOutcome.PASSED: self.passed,
            CheckOutcome.FAILED: self.failed,
            CheckOutcome.NOT_CHECKED: self.not_checked,
        }
        sentence = words[outcome]
        if sentence is None:
            raise ValueError(f"{self.name} is never {outcome.value}")
        return sentence


# What each kind of file is put to, by name. A batch's proof is put to batch_content only by who gives documents.
_ORDERS = {
    "package": (
        *("container", "package_seal", "package_time"),
        *("form", "seals", "times", "sequence", "story", "one_delivery"),
        *("content", "trust", "revocation"),
    ),
    "evidence": ("form", "seals", "times", "content", "trust", "revocation"),
    "batch": ("batch_form", "package_seal", "package_time", "batch_content", "trust", "revocation"),
}

_ROWS = (
    Check(
        1,
        "container",
        "EN 319 162-1 clause 4.4",
        checks.container,
        title=Words("the package is complete, byte for byte", "le dossier est complet, octet par octet"),
        passed=Words(
            "The file is a package of this service, every byte accounted for: {entries} entries, snapshot {snapshot}",
            "Le fichier est un dossier de ce service, chaque octet est justifié : {entries} entrées, "
            "état n° {snapshot}",
        ),
        failed=Words(
            "The file has been changed, or is not a package of this service",
            "Le fichier a été modifié, ou n'est pas un dossier de ce service",
        ),
    ),
    Check(
        2,
        "package_seal",
        "EN 319 162-1 clause 4.4.3.2, EN 319 132-1",
        checks.package_seal,
        title=Words("the package's seal", "le cachet du dossier"),
        passed=Words(
            "The package seal covers every entry and holds",
            "Le cachet du dossier couvre toutes les entrées et il est bon",
        ),
        failed=Words("The package seal does not hold", "Le cachet du dossier n'est pas bon"),
    ),
    Check(
        3,
        "package_time",
        "EN 319 132-1 level B-T, RFC 3161",
        checks.package_time,
        title=Words("the package's time-stamp", "l’horodatage du dossier"),
        passed=Words("The package seal is time-stamped: {time}", "Le cachet du dossier est horodaté : {time}"),
        failed=Words(
            "The time-stamp of the package seal does not hold",
            "L'horodatage du cachet du dossier n'est pas bon",
        ),
    ),
    Check(
        4,
        "form",
        "EN 319 522-3",
        checks.form,
        title=Words("the form of each proof", "la forme de chaque preuve"),
        passed=Words(
            "Each evidence is exactly as this service writes it: {count}",
            "Chaque preuve est exactement telle que ce service l'écrit : {count}",
        ),
        failed=Words(
            "An evidence has been changed, or was not written by this service",
            "Une preuve a été modifiée, ou n'a pas été écrite par ce service",
        ),
    ),
    Check(
        5,
        "seals",
        "EN 319 132-1",
        checks.seals,
        title=Words("the seal of each proof", "le cachet de chaque preuve"),
        passed=Words(
            "Each evidence carries a seal that holds: {count}",
            "Chaque preuve porte un cachet qui est bon : {count}",
        ),
        failed=Words("The seal of an evidence does not hold", "Le cachet d'une preuve n'est pas bon"),
    ),
    Check(
        6,
        "times",
        "EN 319 132-1 level B-T, RFC 3161",
        checks.times,
        title=Words("the time-stamp of each proof", "l’horodatage de chaque preuve"),
        passed=Words(
            "Each seal is time-stamped, and no time-stamp is older than its event, nor any event than the submission: "
            "{count}",
            "Chaque cachet est horodaté, et aucun horodatage n'est antérieur à son événement, ni celui-ci à la "
            "soumission : {count}",
        ),
        failed=Words("The time-stamp of an evidence does not hold", "L'horodatage d'une preuve n'est pas bon"),
    ),
    Check(
        7,
        "sequence",
        "EN 319 522-3, TransactionLogInformation",
        chain.sequence,
        title=Words(
            "no proof is missing, moved or doubled",
            "aucune preuve ne manque, n’est déplacée ni en double",
        ),
        passed=Words(
            "No evidence is missing, moved or doubled: 1 to {count}",
            "Aucune preuve ne manque, n'est déplacée ni doublée : 1 à {count}",
        ),
        failed=Words(
            "An evidence is missing, moved or doubled",
            "Une preuve manque, est déplacée ou doublée",
        ),
    ),
    Check(
        8,
        "story",
        "EN 319 522-1 clause 6, CPCE R.53-3",
        chain.story,
        title=Words("the order of events is possible", "l’ordre des événements est possible"),
        passed=Words(
            "The events are in an order that can happen: {events}",
            "Les événements sont dans un ordre possible : {events}",
        ),
        failed=Words(
            "The events are in an order that cannot happen",
            "Les événements sont dans un ordre impossible",
        ),
    ),
    Check(
        9,
        "one_delivery",
        "CPCE R.53-2",
        chain.one_delivery,
        title=Words(
            "all proofs are about the same letter",
            "toutes les preuves concernent le même courrier",
        ),
        passed=Words(
            "All evidences speak of one letter, one deposit and one person: number {number}",
            "Toutes les preuves parlent d'un même envoi, d'un même dépôt, d'une même personne : numéro {number}",
        ),
        failed=Words(
            "The evidences do not speak of one letter, one deposit and one person",
            "Les preuves ne parlent pas d'un même envoi, d'un même dépôt, d'une même personne",
        ),
    ),
    Check(
        10,
        "content",
        "EN 319 522-3, UserContentInfo",
        checks.content,
        title=Words("the documents belong to the letter", "les documents se rapportent au courrier"),
        passed=Words(
            "The documents you gave are the letter's: {given} of {parts}, by SHA-256 and SHA3-256",
            "Les documents fournis sont ceux de l'envoi : {given} sur {parts}, par SHA-256 et SHA3-256",
        ),
        failed=Words(
            "A document you gave is not the letter's",
            "Un document fourni n'est pas celui de l'envoi",
        ),
        not_checked=Words(
            "Content: not checked, no document was given",
            "Contenu : non vérifié, aucun document fourni",
        ),
    ),
    Check(
        11,
        "trust",
        "RFC 5280 section 6.1",
        checks.trust,
        title=Words(
            "the certificates are vouched for by this service's authority",
            "les certificats sont garantis par l’autorité de ce service",
        ),
        passed=Words(
            "Every certificate was issued by a trust anchor you gave and was valid at the time",
            "Chaque certificat a été émis par une ancre de confiance fournie et était valable à l'heure dite",
        ),
        failed=Words(
            "A certificate is not vouched for by a trust anchor you gave",
            "Un certificat n'est pas garanti par une ancre de confiance fournie",
        ),
        not_checked=Words(
            "Trust: not checked, no trust anchor was given",
            "Confiance : non vérifiée, aucune ancre de confiance fournie",
        ),
    ),
    Check(
        12,
        "revocation",
        "RFC 5280 section 5, RFC 3161 section 4",
        checks.revocation,
        title=Words("no certificate was revoked", "aucun certificat n’a été révoqué"),
        passed=Words(
            "No certificate was revoked, by the list of {time}",
            "Aucun certificat n'était révoqué, selon la liste du {time}",
        ),
        failed=Words("A certificate was revoked", "Un certificat était révoqué"),
        not_checked=Words(
            "Revocation: not checked, no list signed by a trust anchor at hand",
            "Révocation : non vérifiée, aucune liste signée par une ancre de confiance",
        ),
    ),
    Check(
        13,
        "batch_form",
        "EN 319 162-1 clause 4.4",
        checks.batch_form,
        title=Words(
            "the list of deposits is complete, byte for byte",
            "la liste des dépôts est complète, octet par octet",
        ),
        passed=Words(
            "The file is a list of the service, of a batch's deposits, as it writes them: {lines} lines in {entries} "
            "entries, every byte accounted for",
            "Le fichier est une liste du service, des dépôts d'un lot, telle qu'il les écrit : {lines} lignes en "
            "{entries} entrées, chaque octet est justifié",
        ),
        failed=Words(
            "The file has been changed, or is not a list of deposits of this service",
            "Le fichier a été modifié, ou n'est pas une liste de dépôts de ce service",
        ),
    ),
    Check(
        14,
        "batch_content",
        "no source",
        checks.batch_content,
        title=Words("the proof of deposit names no documents", "la preuve de dépôt ne nomme pas de document"),
        passed=None,
        failed=None,
        not_checked=Words(
            "Content: not checked, a batch's proof of deposit names no documents; the letter's package does",
            "Contenu : non vérifié, la preuve de dépôt d'un lot ne nomme pas de document ; "
            "le dossier de l'envoi les nomme",
        ),
    ),
)
CHECKS = MappingProxyType({row.name: row for row in _ROWS})
ORDERS = MappingProxyType({kind: tuple(CHECKS[name] for name in names) for kind, names in _ORDERS.items()})
