"""The identified person: one type from the bridge, which makes it, to the evidence, which states it.

Owns     what is known of a person who identified, and how this may agree with whom a letter is for
Elsewhere: whom a letter is for, and the digest that names a person (context.py), the identification itself
           (hsm_bridge/identity), what an evidence shows of it (evidence/draft.py)
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

# How a person is the addressee: by which family name, and whether the birth date agreed, as a whole or as far as it is
# known to the provider. The kinds are told to senders (docs/matching.md) and stand with each identification.
MatchKind = Literal[
    "birth_name",
    "birth_name_and_part_of_birth_date",
    "birth_name_and_birth_date",
    "usage_name_and_birth_date",
]
MATCH_KINDS: tuple[MatchKind, ...] = get_args(MatchKind)
WITHOUT_BIRTH_DATE: MatchKind = "birth_name"


@dataclass(frozen=True, slots=True)
class IdentifiedPerson:
    """A natural person as an identity provider names it; names are NFC.

    subject: the provider's own name for the person; level: of assurance (Regulation (EU) 910/2014 article 8(2));
    method: the provider, as the configuration names it; person_sha256: what tickets and receipts name the person by.
    birth_date: a whole one; else birth_date_part holds what the provider knows, YYYY-MM-DD with zeros for the rest.
    """

    given_names: str
    birth_name: str
    usage_name: str | None
    birth_date: date | None
    subject: str
    level: str
    method: str
    authenticated_at: datetime
    person_sha256: bytes
    birth_date_part: str | None = None
