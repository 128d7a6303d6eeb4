"""What the sealed evidence states, against the rows that it was made of.

Owns     the literal table STATEMENTS: a field, where it is said, how it is read in the bytes and how in the rows
Rules    pure. A violation names fields and never their values. The bytes are the truth: they are sealed, and they are
         with the sender. What is in no row stands in NOT_IN_ROWS, and a test holds both lists against EvidenceContent
Elsewhere: the head of the bytes (ledger_proofs.py), the query that reads the rows (ledger_proofs in sql/ledger.sql)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

from pipeline.delivery.deadlines import last_day_before
from pipeline.evidence.content import EvidenceContent
from pipeline.evidence.form.reading import NotOurForm, read
from pipeline.evidence.verification.chain import told_differently
from pipeline.notices.relaying import RELAY_CHARACTERS_MAX

Row = Mapping[str, Any]


def _always(_content: EvidenceContent) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that evidence says. among: the rows have several, and it must be one of them."""

    name: str
    in_bytes: Callable[[EvidenceContent], object]
    in_rows: Callable[[Row], Any]
    said: Callable[[EvidenceContent], bool] = _always
    among: bool = False

    def holds(self, content: EvidenceContent, row: Row) -> bool:
        """Whether bytes and rows agree, where the bytes say it at all."""
        if not self.said(content):
            return True
        in_bytes, in_rows = self.in_bytes(content), self.in_rows(row)
        return in_bytes in in_rows if self.among else in_bytes == in_rows


def _of(*events: str) -> Callable[[EvidenceContent], bool]:
    return lambda content: content.event in events


def _detail(name: str) -> Callable[[EvidenceContent], str | None]:
    return lambda content: dict(content.details).get(name)


def _instant(name: str) -> Callable[[EvidenceContent], datetime | None]:
    """A detail that is a time, in whichever zone it was written. None: it is not there, or no time."""

    def read_instant(content: EvidenceContent) -> datetime | None:
        try:
            return datetime.fromisoformat(_detail(name)(content) or "")
        except ValueError:
            return None

    return read_instant


def _milliseconds(moment: datetime | None) -> datetime | None:
    """As evidence writes instants: rounded down."""
    return None if moment is None else moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _closing_day(expires_at: datetime | None) -> date | None:
    return None if expires_at is None else last_day_before(expires_at)


def _relay_answer(row: Row) -> str | None:
    if row["relay_code"] is None:
        return None
    return f"{row['relay_code']} {row['relay_detail']}"[:RELAY_CHARACTERS_MAX]


def _notice_text(content: EvidenceContent) -> str | None:
    """The digest alone: which version of the text it is of, the row does not say."""
    return (_detail("notice_text")(content) or "").rpartition(" ")[2]


def _identified(content: EvidenceContent) -> tuple[object, ...]:
    who = content.identification
    return () if who is None else (who.person_sha256, who.level, who.method, who.authenticated_at)


def _identifications(row: Row) -> set[tuple[object, ...]]:
    times = map(_milliseconds, row["identified_times"] or ())
    who = (row["identified_persons"] or (), row["identified_levels"] or (), row["identified_methods"] or ())
    return set(zip(*who, times, strict=True))


def _deposit(content: EvidenceContent) -> tuple[object, ...]:
    deposit = content.deposit
    if deposit is None:
        return ()
    return (deposit.evidence, deposit.sha256, deposit.deposited_at, deposit.seal_signature_sha256)


_NOTICED, _FAILED, _EXPIRED = _of("C.1"), _of("C.2"), _of("C.5")
_MAILED = _of("C.1", "C.2")
STATEMENTS = (
    Statement("number", lambda c: c.number, lambda r: r["number"]),
    Statement("client_ref", lambda c: c.client_ref, lambda r: r["client_ref"]),
    Statement("consent_ref", lambda c: c.consent_ref, lambda r: r["consent_ref"]),
    Statement("config_version", lambda c: c.config_version, lambda r: r["config_version"]),
    Statement("submitted_at", lambda c: c.submitted_at, lambda r: _milliseconds(r["submitted_at"])),
    Statement("sender.name", lambda c: c.sender.name, lambda r: r["sender_name"]),
    Statement("sender.email", lambda c: c.sender.email, lambda r: r["sender_email"]),
    Statement("sender.identity_level", lambda c: c.sender.identity_level, lambda r: r["sender_level"]),
    Statement("sender.identity_method", lambda c: c.sender.identity_method, lambda r: r["sender_method"]),
    Statement(
        "sender.identified_at", lambda c: c.sender.identified_at, lambda r: _milliseconds(r["sender_identified_at"])
    ),
    Statement("recipient.kind", lambda c: c.recipient.kind, lambda r: r["recipient_kind"]),
    Statement("recipient.email", lambda c: c.recipient.email, lambda r: r["recipient_email"]),
    Statement("recipient.given_names", lambda c: c.recipient.given_names, lambda r: r["given_names"]),
    Statement("recipient.birth_name", lambda c: c.recipient.birth_name, lambda r: r["birth_name"]),
    Statement("recipient.usage_name", lambda c: c.recipient.usage_name, lambda r: r["usage_name"]),
    Statement("recipient.birth_date", lambda c: _iso(c.recipient.birth_date), lambda r: r["birth_date"]),
    Statement("recipient.organisation_name", lambda c: c.recipient.organisation_name, lambda r: r["organisation_name"]),
    Statement(
        "recipient.organisation_siren", lambda c: c.recipient.organisation_siren, lambda r: r["organisation_siren"]
    ),
    Statement("parts.number", lambda c: [p.number for p in c.parts], lambda r: r["part_numbers"]),
    Statement("parts.file_name", lambda c: [p.file_name for p in c.parts], lambda r: r["part_file_names"]),
    Statement("parts.content_type", lambda c: [p.content_type for p in c.parts], lambda r: r["part_content_types"]),
    Statement("parts.bytes", lambda c: [p.bytes for p in c.parts], lambda r: r["part_bytes"]),
    Statement("parts.sha256", lambda c: [p.sha256 for p in c.parts], lambda r: r["part_sha256"]),
    # An A.2 may be about a document that nobody had read by then.
    Statement(
        "parts.sha3_256",
        lambda c: [p.sha3_256 for p in c.parts],
        lambda r: r["part_sha3_256"],
        said=lambda c: all(p.sha3_256 is not None for p in c.parts),
    ),
    Statement(
        "deposit",
        _deposit,
        lambda r: (r["deposit_evidence"], r["deposit_sha256"], r["deposited_at"], r["deposit_seal_sha256"]),
        said=lambda c: c.deposit is not None,
    ),
    Statement("identification", _identified, _identifications, said=lambda c: c.identification is not None, among=True),
    Statement("details.recipient_email", _detail("recipient_email"), lambda r: r["recipient_email"], _MAILED),
    Statement("details.message_id", _detail("message_id"), lambda r: r["notice_message_id"], _MAILED),
    Statement("details.relay_answer", _detail("relay_answer"), _relay_answer, _MAILED),
    Statement("details.notice_text", _notice_text, lambda r: f"{(r['notice_text_sha256'] or b'').hex()}", _NOTICED),
    Statement("details.notice_date", _detail("notice_date"), lambda r: _iso(r["notice_date"]), _NOTICED),
    Statement("details.last_day", _detail("last_day"), lambda r: _iso(r["window_last_day"]), _NOTICED),
    Statement("details.expires_at", _instant("expires_at"), lambda r: r["window_expires_at"], _NOTICED),
    Statement(
        "details.last_day of C.5", _detail("last_day"), lambda r: _iso(_closing_day(r["window_expires_at"])), _EXPIRED
    ),
    Statement("details.expired_at", _instant("expired_at"), lambda r: r["window_expires_at"], _EXPIRED),
)
# What evidence says and these rows have not, with what would notice another.
NOT_IN_ROWS: MappingProxyType[str, str] = MappingProxyType(
    {
        "evidence": "head_says_what_the_row_says",
        "delivery": "head_says_what_the_row_says",
        "event": "head_says_what_the_row_says",
        "event_time": "head_says_what_the_row_says",
        "ordinal": "head_says_what_the_row_says: the id follows from it",
        "sequence": "head_says_what_the_row_says",
        "predecessor_sha256": "predecessor_is_named",
        "mode": "mode_is_one",
        "issuer": "evidences_tell_of_one_letter; its key and certificate: seal_verifies",
        "reason": "no row has it: the words of an event",
        "identification": "names, birth date and subject are in no row: the digest of the person binds them",
        "details": "what the relay said of TLS is in no row",
    }
)


def differing_rows(row: Row, content: EvidenceContent | NotOurForm) -> list[str]:
    """The fields in which the rows say something else than the sealed bytes."""
    if isinstance(content, NotOurForm):
        return ["the form of the bytes"]
    return [s.name for s in STATEMENTS if not s.holds(content, row)]


def differing_evidences(
    contents: Sequence[EvidenceContent | NotOurForm],
) -> Iterator[tuple[EvidenceContent, list[str]]]:
    """The evidences of one letter that say something else of it than its first one, and what."""
    readable = [content for content in contents if not isinstance(content, NotOurForm)]
    for content in readable[1:]:
        if other := told_differently(readable[0], content):
            yield content, other


def content_of(canonical: bytes) -> EvidenceContent | NotOurForm:
    """What the bytes say, or why they are no evidence of ours."""
    try:
        return read(canonical)
    except NotOurForm as error:
        return error
