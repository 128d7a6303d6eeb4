"""The predicates of docs/invariants.md that need more than SQL: what evidence bytes, seals, tokens and states say.

Owns     pure checks over the rows of one delivery, read in one statement. Every check yields what breaks it
Rules    the same readers and verifiers as the offline checker (pipeline.evidence), so that nothing passes here that
         would not pass in court. Bytes are read once: an evidence's head serves all of its checks. Runs in processes of
         its own (ledger_pages.py), so it imports no more than it needs
Elsewhere: the predicates that are one query (sql/ledger.sql), reading rows and telling people (ledger.py)
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pipeline.delivery.number import is_number
from pipeline.delivery.states import SUBMITTED, EvidenceStanding, advance
from pipeline.evidence.certificates import CertificateRefused, check_issued
from pipeline.evidence.form.xades import SealInvalid, check_seal_of
from pipeline.evidence.time_stamp import TimeStampRefused, proven_time
from pipeline.formats.evidence_head import EvidenceHead, HeadError, evidence_id, parse_evidence_head
from pipeline.formats.tst import is_too_early
from pipeline.operate.ledger_statements import content_of, differing_evidences, differing_rows

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """One predicate broken by one subject (a delivery, an evidence, a message). Ids and kinds only."""

    predicate: str
    subject: str
    detail: str


PURE_PREDICATES = (
    "canonical_has_its_digest",
    "head_says_what_the_row_says",
    "predecessor_is_named",
    "mode_is_one",
    "rows_say_what_is_sealed",
    "evidences_tell_of_one_letter",
    "seal_verifies",
    "token_verifies",
    "token_is_not_older",
    "state_follows_stamped_evidence",
    "stamped_prefix_is_right",
    "number_is_well_formed",
)


def check_page(rows: Sequence[Row], anchors: Sequence[bytes]) -> list[Violation]:
    """Some deliveries, each with its evidences in order of sequence, or one row without evidence."""
    violations: list[Violation] = []
    for _, own in groupby(rows, key=lambda row: row["delivery"]):
        of_delivery = list(own)
        violations += check_delivery(of_delivery, anchors)
        violations += check_statements([row for row in of_delivery if row["evidence"] is not None])
    return violations


def check_statements(rows: Sequence[Row]) -> Iterator[Violation]:
    """The evidences of a delivery say what its rows say, and all of them one thing. Details name fields only."""
    rows = [row for row in rows if row["canonical"] is not None]
    contents = [content_of(row["canonical"]) for row in rows]
    for row, content in zip(rows, contents, strict=True):
        if fields := differing_rows(row, content):
            yield Violation("rows_say_what_is_sealed", str(row["evidence"]), f"{row['event']}: {', '.join(fields)}")
    for content, names in differing_evidences(contents):
        yield Violation("evidences_tell_of_one_letter", str(content.evidence), f"{content.event}: {', '.join(names)}")


def check_delivery(rows: Sequence[Row], anchors: Sequence[bytes]) -> Iterator[Violation]:
    """One of them."""
    delivery = rows[0]
    if not is_number(delivery["number"]):
        yield Violation("number_is_well_formed", str(delivery["delivery"]), delivery["number"])
    evidences = [row for row in rows if row["evidence"] is not None]
    before: bytes | None = None
    for row in evidences:
        if row["canonical"] is None or row["ordinal"] is None:
            yield Violation("head_says_what_the_row_says", str(row["evidence"]), "a row without bytes or ordinal")
            continue
        head, digest = _head_of(row), hashlib.sha256(row["canonical"]).digest()
        if row["sha256"] != digest:
            yield Violation("canonical_has_its_digest", str(row["evidence"]), row["event"])
        yield from check_head(row, head, before)
        if row["signature"] is not None:
            yield from check_seal(row, head, anchors)
        if row["token"] is not None:
            yield from check_token(row, anchors)
        before = digest
    yield from check_state(delivery, evidences)


def _head_of(row: Row) -> EvidenceHead | HeadError:
    try:
        return parse_evidence_head(row["canonical"])
    except HeadError as error:
        return error


def check_head(row: Row, head: EvidenceHead | HeadError, before: bytes | None) -> Iterator[Violation]:
    """The bytes to be sealed say what the row beside them says. `before`: the digest of its predecessor's bytes."""
    subject = str(row["evidence"])
    if isinstance(head, HeadError):
        yield Violation("head_says_what_the_row_says", subject, str(head))
        return
    head_fields = (head.evidence_id, head.delivery, head.event, head.sequence, head.event_time)
    stored = (row["evidence"], row["delivery"], row["event"], row["sequence"], row["event_time"])
    if head_fields != stored or row["evidence"] != evidence_id(row["delivery"], row["event"], row["ordinal"]):
        yield Violation("head_says_what_the_row_says", subject, row["event"])
    if head.predecessor_sha256 != before:
        yield Violation("predecessor_is_named", subject, row["event"])
    if head.mode != row["mode"]:
        yield Violation("mode_is_one", subject, f"{row['event']}: another mode than its delivery's")


def check_seal(row: Row, head: EvidenceHead | HeadError, anchors: Sequence[bytes]) -> Iterator[Violation]:
    """The seal is over these bytes, by the key that the draft names, certified by the pinned CA."""
    subject = str(row["evidence"])
    if row["key_id"] != row["seal_key_id"] or row["certificate"] is None:
        yield Violation("seal_verifies", subject, "sealed with another key than drafted for")
        return
    if isinstance(head, HeadError):
        yield Violation("seal_verifies", subject, f"not an evidence: {head}")
        return
    try:
        check_seal_of(head, row["canonical"], row["certificate"], row["signature"])
        if anchors:
            check_issued(row["certificate"], anchors, row["event_time"])
    except (SealInvalid, CertificateRefused) as error:
        yield Violation("seal_verifies", subject, str(error))
    except ValueError:  # a signature or certificate that is none at all
        yield Violation("seal_verifies", subject, "no seal of our form")


def check_token(row: Row, anchors: Sequence[bytes]) -> Iterator[Violation]:
    """The token is over this seal, says the stored time, and is not older than the event."""
    subject = str(row["evidence"])
    if row["gen_time"] is None:
        yield Violation("token_verifies", subject, "a token without its time")
        return
    if is_too_early(row["gen_time"], row["event_time"]):
        yield Violation("token_is_not_older", subject, f"{row['gen_time']} for an event at {row['event_time']}")
        return
    if row["signature"] is None:
        yield Violation("token_verifies", subject, "a token without a seal")
        return
    try:
        gen_time = proven_time(row["token"], row["signature"], row["event_time"], anchors or None)
    except TimeStampRefused as error:
        yield Violation("token_verifies", subject, str(error))
        return
    except ValueError:  # bytes that are none at all
        yield Violation("token_verifies", subject, "no token or seal of our form")
        return
    if gen_time != row["gen_time"]:
        yield Violation("token_verifies", subject, "the stored gen_time is not the token's")


def check_state(delivery: Row, evidences: Sequence[Row]) -> Iterator[Violation]:
    """State and stamped prefix are what pipeline/delivery/states.py makes of the stamped evidence."""
    subject = str(delivery["delivery"])
    stamped = [
        EvidenceStanding(e["sequence"], e["event"], e["ordinal"], e["event_time"], e["gen_time"]) for e in evidences
    ]
    right = advance(SUBMITTED, 0, stamped)
    if delivery["state"] != right.state:
        yield Violation("state_follows_stamped_evidence", subject, f"{delivery['state']}, not {right.state}")
    if delivery["stamped_through"] != right.stamped_through:
        yield Violation(
            "stamped_prefix_is_right", subject, f"{delivery['stamped_through']}, not {right.stamped_through}"
        )
