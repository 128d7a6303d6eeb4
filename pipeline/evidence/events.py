"""The words of the events: what people read of each, and the text that demands its proof.

Elsewhere: what an event is (pipeline/formats/events.py)
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from pipeline.evidence.languages import Words


@dataclass(frozen=True, slots=True)
class EventWords:
    """heading: what happened, alone in a table. sentence: as part of a report. source: beside EN 319 522-1 clause 6."""

    code: str
    source: str | None
    heading: Words
    sentence: Words


_ROWS = (
    EventWords(
        "A.1",
        "CPCE R.53-2",
        Words("Letter deposited", "Courrier déposé"),
        Words("deposited", "déposé"),
    ),
    EventWords(
        "A.2",
        None,
        Words("Letter rejected", "Courrier rejeté"),
        Words("deposit refused by the service", "dépôt refusé par le service"),
    ),
    EventWords(
        "C.1",
        "CPCE R.53-3 I",
        Words("Notice sent to the recipient", "Avis envoyé au destinataire"),
        Words("notice sent to the recipient", "avis envoyé au destinataire"),
    ),
    EventWords(
        "C.2",
        None,
        Words("Notice could not be sent", "Avis non envoyé"),
        Words("notice could not be delivered", "avis non distribuable"),
    ),
    EventWords(
        "C.3",
        "CPCE R.53-3",
        Words("Letter accepted", "Courrier accepté"),
        Words("accepted by the recipient", "accepté par le destinataire"),
    ),
    EventWords(
        "C.4",
        "CPCE R.53-3 III",
        Words("Letter refused", "Courrier refusé"),
        Words("refused by the recipient", "refusé par le destinataire"),
    ),
    EventWords(
        "C.5",
        "CPCE R.53-3 III",
        Words("Letter not claimed", "Courrier non réclamé"),
        Words("not claimed within the period", "non réclamé dans le délai"),
    ),
    EventWords(
        "D.1",
        None,
        Words("Documents made available", "Documents mis à disposition"),
        Words("made available to the recipient", "mis à la disposition du destinataire"),
    ),
    EventWords(
        "E.1",
        None,
        Words("Documents handed over", "Documents remis"),
        Words("handed over to the recipient", "remis au destinataire"),
    ),
    EventWords(
        "E.2",
        None,
        Words("Documents not collected", "Documents non retirés"),
        Words("not collected", "non retiré"),
    ),
)
WORDS = MappingProxyType({row.code: row for row in _ROWS})
