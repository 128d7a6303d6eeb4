"""What becomes of a notice: it is to be sent, it opened a window (C.1), it was refused for good (C.2), or it came late.

Owns     what is written and what follows, for a delivery under its lock. Pure
Rules    CPCE R.53-3 I: the window counts from the later of the date that the notice prints and the date that is proved
         one C.1 or C.2 a delivery, whatever a second answer of the relay says
Elsewhere: when a notice may leave (departure.py), its text (notice.py), the end of the window (delivery/deadlines.py)
"""

from dataclasses import dataclass
from datetime import datetime

from pipeline.delivery.deadlines import expires_at, last_day, paris_date
from pipeline.delivery.facts import Notice, NoticeResult
from pipeline.delivery.routes import DRAFT, PREPARE, SEND, Emission
from pipeline.delivery.states import DEPOSITED
from pipeline.evidence.draft import EvidenceDraft, Reason, draft, one_line
from pipeline.notices.notice import TEXT_VERSION
from pipeline.notices.relaying import RELAY_CHARACTERS_MAX
from pipeline.ports.mailbox import Locked
from pipeline.ports.outside import MailRefused, Relayed
from pipeline.ports.rows import StoredNotice


@dataclass(frozen=True, slots=True)
class Sent:
    """What the relay said to one notice; None: the date it prints had passed before it could leave."""

    notice: StoredNotice
    answer: Relayed | MailRefused | None


Finding = Notice | Sent  # a notice just prepared, or what came of one that was stored
Fact = Notice | NoticeResult | EvidenceDraft


@dataclass(frozen=True, slots=True)
class Settled:
    """The rows to be written about a notice, and what they set going."""

    facts: tuple[Fact, ...] = ()
    emissions: tuple[Emission, ...] = ()


def settle_notice(locked: Locked, finding: Finding) -> Settled:
    """What follows from the finding, once."""
    if locked.drafted & {"C.1", "C.2"}:
        return Settled()
    if isinstance(finding, Notice):
        send = Emission(SEND, finding.delivery, ordinal=finding.ordinal)
        return Settled((finding,), (send,)) if locked.state == DEPOSITED else Settled()
    notice = finding.notice
    if finding.answer is None:
        passed = _result(notice, "superseded", 0, "its date had passed", locked.legal_time)
        return Settled((passed,), (Emission(PREPARE, notice.delivery),) if notice.is_latest else ())
    if isinstance(finding.answer, MailRefused):
        return _fail(locked, notice, finding.answer)
    return _prove_sent(locked, notice, finding.answer)


def _prove_sent(locked: Locked, notice: StoredNotice, answer: Relayed) -> Settled:
    proved = max(notice.notice_date, paris_date(locked.legal_time))  # the later of printed and proved
    closes = expires_at(proved)
    details = (
        *_relay_details(notice, answer),
        ("tls", answer.tls or "none"),
        ("notice_text", f"{TEXT_VERSION} sha256 {notice.text_sha256.hex()}"),
        ("notice_date", notice.notice_date.isoformat()),
        ("last_day", last_day(proved).isoformat()),
        ("expires_at", closes.isoformat()),
    )
    drafted = draft(locked.head, "C.1", notice.dossier, ordinal=notice.ordinal, details=details)
    result = _result(notice, "relayed", answer.code, answer.text, locked.legal_time)
    return Settled((result, drafted), (Emission(DRAFT, drafted.delivery, drafted.evidence),))


def _fail(locked: Locked, notice: StoredNotice, answer: MailRefused) -> Settled:
    reason = Reason("notice_refused", "The recipient's mail system refused the notice for good.")
    details = _relay_details(notice, answer)
    drafted = draft(locked.head, "C.2", notice.dossier, ordinal=notice.ordinal, reason=reason, details=details)
    result = _result(notice, "refused", answer.code, answer.text, locked.legal_time)
    return Settled((result, drafted), (Emission(DRAFT, drafted.delivery, drafted.evidence),))


def _relay_details(notice: StoredNotice, answer: Relayed | MailRefused) -> tuple[tuple[str, str], ...]:
    text = one_line(f"{answer.code} {answer.text}", RELAY_CHARACTERS_MAX)
    return (("recipient_email", notice.recipient_email), ("message_id", notice.message_id), ("relay_answer", text))


def _result(notice: StoredNotice, outcome: str, code: int, text: str, at: datetime) -> NoticeResult:
    return NoticeResult(notice.delivery, notice.ordinal, outcome, code, one_line(text, RELAY_CHARACTERS_MAX), at)
