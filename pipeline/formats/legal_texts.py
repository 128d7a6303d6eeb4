"""The words that a person agrees to, beside the box of a decision: one table, by version.

Owns     each sentence in every language, and the one way to put them together
Rules    a version that was ever shown is never changed: its digest stands in receipts. Another word is another version,
         as a new entry at the end; only the newest is shown
Elsewhere: the page (gateway/templates/confirm.html), the receipt (hsm_bridge/operations/tickets.py)
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Act = Literal["accept", "refuse"]
Capacity = Literal["consumer", "professional"]


@dataclass(frozen=True, slots=True)
class DecisionText:
    """One language of one version. for_organisation has a place for the organisation's name, as the sender wrote it."""

    accept: str
    refuse: str
    consumer: str
    professional: str
    for_organisation: str


@dataclass(frozen=True, slots=True)
class DecisionWords:
    """What one page said: version names the text, with its language."""

    version: str
    text: str

    @property
    def sha256(self) -> bytes:
        """Of the text in UTF-8."""
        return hashlib.sha256(self.text.encode()).digest()


DECISION_TEXTS: tuple[Mapping[str, DecisionText], ...] = (
    {
        "en": DecisionText(
            accept="I accept this letter. I understand that this cannot be undone and that the sender will be told.",
            refuse="I refuse this letter. I understand that this cannot be undone and that the sender will be told.",
            consumer="I act for myself, as a private person.",
            professional="I act in a professional capacity.",
            for_organisation="I act in a professional capacity, for {organisation}.",
        ),
        "fr": DecisionText(
            accept="J’accepte ce courrier. Je comprends que c’est irréversible et que l’expéditeur en sera informé.",
            refuse="Je refuse ce courrier. Je comprends que c’est irréversible et que l’expéditeur en sera informé.",
            consumer="J’agis pour moi-même, en tant que particulier.",
            professional="J’agis à titre professionnel.",
            for_organisation="J’agis à titre professionnel, pour {organisation}.",
        ),
    },
)


def decision_words(act: Act, language: str, capacity: Capacity, organisation: str | None) -> DecisionWords:
    """What is shown now. Raises KeyError for a language that no text is in."""
    text = DECISION_TEXTS[-1][language]
    if capacity == "professional" and organisation is not None:
        role = text.for_organisation.format(organisation=organisation)
    else:
        role = text.professional if capacity == "professional" else text.consumer
    return DecisionWords(
        f"{len(DECISION_TEXTS)}/{language}", f"{text.accept if act == 'accept' else text.refuse} {role}"
    )
