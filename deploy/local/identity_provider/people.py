"""Who can be picked at the embedded identity provider, and what the provider says of a person.

Owns     the demonstration persons and the claims in the form that FranceConnect+ gives them
Rules    family_name is the birth name in upper case; given_name holds all first names, separated by spaces; the
         subject is pairwise: another relying party sees another one
Elsewhere: who may be whom. Anyone can be anyone at this provider; that is what it is for
Source   FranceConnect+ partner documentation, scopes `openid`, `identite_pivot`, `preferred_username`
"""

import hashlib
from dataclasses import dataclass

SUBJECT_SUFFIX = "v1"  # FranceConnect+ ends its 64 hexadecimal digits with the version of the derivation


@dataclass(frozen=True, slots=True)
class Person:
    """A natural person as a civil register would describe them."""

    given_names: str
    birth_name: str
    birth_date: str
    gender: str = "female"
    usage_name: str = ""
    birth_place: str = "75107"  # INSEE code of a commune; empty when born abroad
    birth_country: str = "99100"  # INSEE code of France


PEOPLE: dict[str, Person] = {
    "angela": Person("Angela Claire Louise", "DUBOIS", "1962-08-24"),
    "jean": Person("Jean-Pierre Noël", "LÉVÊQUE", "1985-02-17", gender="male", birth_place="35238"),
    "fatima": Person("Fatima Zohra", "BEN SALAH", "1991-11-30", usage_name="MOREL", birth_place="13055"),
    "maria": Person("Maria", "GARCÍA LÓPEZ", "1978-05-01", birth_place="", birth_country="99134"),
}


def subject(person: Person, client_id: str) -> str:
    """The pairwise subject of `person` for one relying party."""
    who = "\x1f".join((client_id, person.given_names, person.birth_name, person.birth_date, person.birth_country))
    return hashlib.sha256(who.encode()).hexdigest() + SUBJECT_SUFFIX


def claims(person: Person, scopes: frozenset[str]) -> dict[str, str]:
    """The claims that the scopes open."""
    values: dict[str, str] = {}
    if scopes & {"identite_pivot", "profile"}:
        values |= {
            "given_name": person.given_names,
            "family_name": person.birth_name,
            "birthdate": person.birth_date,
            "gender": person.gender,
        }
    if scopes & {"identite_pivot", "birth"}:
        values |= {"birthplace": person.birth_place, "birthcountry": person.birth_country}
    if scopes & {"preferred_username", "profile"} and person.usage_name:
        values["preferred_username"] = person.usage_name
    return values
