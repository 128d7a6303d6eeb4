"""An identity provider's answer, checked: who is this person, how surely, and for which login?

Owns     every check that a relying party owes, on the claims of both tokens
Rules    anything unexpected is refused with a stable code; but an incomplete birth date is none: civil registers have
         persons of whom only the year is known, and it is taken as far as it goes. A name is one line that can stand in
         an evidence: who identified could neither accept nor refuse otherwise
Elsewhere: encryption and signatures (jose.py), the login itself and its state (gateway), nonces (tickets), comparison
           with the addressee (matching)
Source   OpenID Connect Core sections 3.1.3.7 and 5.3.2
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from hsm_bridge.identity.jose import Agree, IdentityRefused, PinnedKeys, Signed, open_token, optional_text
from pipeline.formats.assurance import ORDER, AssuranceLevel
from pipeline.formats.context import person_sha256
from pipeline.formats.identity_providers import IdentityProviderSettings, OidcSwitches
from pipeline.formats.person import IdentifiedPerson

CLOCK_LEEWAY_SECONDS = 30  # between the provider's clock and ours
ISSUED_SECONDS_MAX = 600  # an ID token is used at once; older ones are replays
AUTHENTICATED_SECONDS_MAX = 3600  # no session of yesterday
NAME_CHARACTERS_MAX = 400
SUBJECT_CHARACTERS_MAX = 255  # OpenID Connect Core section 2
# OpenID Connect Core section 5.1: YYYY-MM-DD, YYYY, or zeros for the year; FranceConnect: zeros for what the register
# does not know
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")  # XML 1.0 section 2.2, and ends of lines
BIRTH_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified identification; proof: the provider's signed tokens and the key that verifies them."""

    person: IdentifiedPerson
    proof: bytes


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks answers of one provider for one client, under its pinned keys. name: as the configuration has it."""

    name: str
    settings: IdentityProviderSettings
    pinned: PinnedKeys
    agree: Agree

    def verify(self, id_token: str, userinfo: str, nonce: str, minimum: AssuranceLevel, moment: datetime) -> Identity:
        """Raises IdentityRefused. Steps: 1 open and verify both, 2 who it is from and for, 3 times, 4 login, 5 level,
        6 the same subject in both, 7 the person. A provider whose ID token names the person has no second token."""
        switches = self.settings.switches
        token, info = self._open(id_token, userinfo)  # 1
        for claims in (token.claims, info.claims):  # 2
            self._check_parties(claims)
        _check_times(token.claims, moment)  # 3
        if token.claims.get("nonce") != nonce:  # 4
            raise IdentityRefused("nonce_mismatch", "the ID token belongs to another login")
        level = _level(token.claims, switches, minimum)  # 5
        subject = _subject(token.claims)
        if info.claims.get("sub") != subject:  # 6 OpenID Connect Core section 5.3.2
            raise IdentityRefused("subject_mismatch", "the user information is about another subject")
        person = _person(info.claims, switches, subject, level, self.name, _time(token.claims, "auth_time"))  # 7
        return Identity(person, _proof(token, info))

    def _open(self, id_token: str, userinfo: str) -> tuple[Signed, Signed]:
        """The ID token, and the one that names the person."""
        agree = self.agree if self.settings.switches.encrypted else None
        if self.settings.switches.person_from == "id_token":
            if userinfo:
                raise IdentityRefused("userinfo_unexpected", "this provider names the person in the ID token")
            token = open_token(id_token, self.pinned, agree)
            return token, token
        if not userinfo:
            raise IdentityRefused("userinfo_missing", "the provider's user information is missing")
        return open_token(id_token, self.pinned, agree), open_token(userinfo, self.pinned, agree)

    def _check_parties(self, claims: Mapping[str, object]) -> None:
        if claims.get("iss") != self.settings.issuer:
            raise IdentityRefused("issuer_mismatch", "the token is from another provider")
        if claims.get("aud") not in (self.settings.client_id, [self.settings.client_id]):
            raise IdentityRefused("audience_mismatch", "the token is for another client")


def _check_times(claims: Mapping[str, object], moment: datetime) -> None:
    leeway = timedelta(seconds=CLOCK_LEEWAY_SECONDS)
    issued, authenticated = _time(claims, "iat"), _time(claims, "auth_time")
    if _time(claims, "exp") <= moment - leeway:
        raise IdentityRefused("token_expired", "the ID token has expired")
    if not moment - timedelta(seconds=ISSUED_SECONDS_MAX) - leeway <= issued <= moment + leeway:
        raise IdentityRefused("token_not_fresh", "the ID token was not issued just now")
    if not moment - timedelta(seconds=AUTHENTICATED_SECONDS_MAX) - leeway <= authenticated <= moment + leeway:
        raise IdentityRefused("authentication_not_fresh", "the person did not authenticate just now")


def _level(claims: Mapping[str, object], switches: OidcSwitches, minimum: AssuranceLevel) -> AssuranceLevel:
    level = switches.levels.get(optional_text(claims, "acr"))
    if level is None or ORDER[level] < ORDER[minimum]:
        raise IdentityRefused("level_too_low", f"this letter needs identification at level {minimum}")
    return level


def _proof(token: Signed, info: Signed) -> bytes:
    """The signed tokens and the keys that verify them, as JSON. Without a userinfo the ID token stands alone."""
    proof: dict[str, object] = {"id_token": token.compact, "keys": [token.jwk]}
    if info is not token:
        proof |= {"userinfo": info.compact, "keys": [token.jwk, info.jwk]}
    return json.dumps(proof, separators=(",", ":"), sort_keys=True).encode()


def _person(
    claims: Mapping[str, object],
    switches: OidcSwitches,
    subject: str,
    level: AssuranceLevel,
    method: str,
    authenticated_at: datetime,
) -> IdentifiedPerson:
    usage = switches.usage_name_claim
    born, part = read_birth_date(claims, switches.birth_date_claim)
    given_names, birth_name = (_name(claims, c) for c in (switches.given_names_claim, switches.birth_name_claim))
    return IdentifiedPerson(
        given_names=given_names,
        birth_name=birth_name,
        usage_name=_name(claims, usage) if usage and _one_line(claims, usage) else None,
        birth_date=born,
        subject=subject,
        level=level,
        method=method,
        authenticated_at=authenticated_at,
        person_sha256=person_sha256(given_names, birth_name, born or part, subject),
        birth_date_part=part,
    )


def read_birth_date(claims: Mapping[str, object], name: str) -> tuple[date | None, str | None]:
    """The whole date, or else what is known of it; neither for a provider that knows nothing."""
    year_alone = claims.get(name)
    text = f"{year_alone:04}" if type(year_alone) is int and year_alone >= 0 else _one_line(claims, name)
    if not text:
        return None, None
    try:
        return date.fromisoformat(text), None
    except ValueError:
        form = BIRTH_DATE.fullmatch(text)
    if form is None:
        raise IdentityRefused("claims_malformed", f"{name} is not a date")
    year, month, day = (int(value or 0) for value in form.groups())
    month = month if month <= 12 else 0
    day = day if _is_day(year, month, day) else 0
    return None, f"{year:04}-{month:02}-{day:02}" if year or month or day else None


def _is_day(year: int, month: int, day: int) -> bool:
    """Whether there is such a day, in a year and month that may be unknown."""
    try:
        date(year or 2000, month or 1, day)  # the year 2000 and January have every day that there can be
    except ValueError:
        return False
    return True


def _name(claims: Mapping[str, object], name: str) -> str:
    """Raises IdentityRefused unless there is one, of a length that a person's may have."""
    value = _one_line(claims, name)
    if not 1 <= len(value) <= NAME_CHARACTERS_MAX:
        raise IdentityRefused("claims_malformed", f"{name} has 1 to {NAME_CHARACTERS_MAX} characters")
    return value


def _one_line(claims: Mapping[str, object], name: str) -> str:
    """The claim's text in NFC, with a space for what no evidence can hold; empty where there is none."""
    text = "" if claims.get(name) is None else optional_text(claims, name)
    return UNWRITABLE.sub(" ", unicodedata.normalize("NFC", text)).strip()


def _subject(claims: Mapping[str, object]) -> str:
    """The provider's identifier, as it is: nothing in it may be replaced."""
    value = unicodedata.normalize("NFC", optional_text(claims, "sub")).strip()
    if not 1 <= len(value) <= SUBJECT_CHARACTERS_MAX or UNWRITABLE.search(value):
        raise IdentityRefused("claims_malformed", f"sub has 1 to {SUBJECT_CHARACTERS_MAX} characters, and no control")
    return value


def _time(claims: Mapping[str, object], name: str) -> datetime:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 253_402_300_800:  # the year 10000
        raise IdentityRefused("claims_malformed", f"{name} is not a time in seconds")
    return datetime.fromtimestamp(value, UTC)
