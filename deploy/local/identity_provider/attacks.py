"""The ways in which this provider can misbehave, picked on its page.

Each names what a relying party must notice. The list is a literal: a test walks all of it.
"""

from typing import Literal, cast, get_args

Attack = Literal[
    "none",
    "wrong_nonce",
    "alg_none",
    "foreign_key",
    "expired_token",
    "wrong_acr",
    "wrong_audience",
    "plain_token",
    "replayed_code",
    "no_userinfo",
    "other_subject",
    "access_denied",
]

EXPLAINED: dict[Attack, str] = {
    "none": "behave",
    "wrong_nonce": "ID token made for another sign-in",
    "alg_none": "ID token without a signature",
    "foreign_key": "ID token signed with a key that nobody pinned",
    "expired_token": "ID token that has expired",
    "wrong_acr": "level of assurance lower than asked (eidas1)",
    "wrong_audience": "ID token made for another service",
    "plain_token": "ID token signed but not encrypted",
    "replayed_code": "code that was used before",
    "no_userinfo": "userinfo endpoint out of order",
    "other_subject": "userinfo of another person",
    "access_denied": "the person gives up",
}


def parse(text: str) -> Attack:
    """The attack named `text`; raises ValueError."""
    if text not in get_args(Attack):
        raise ValueError("unknown attack")
    return cast("Attack", text)
