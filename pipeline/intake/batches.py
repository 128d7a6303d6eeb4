"""What becomes of the lines of a batch. Pure.

Owns     defaults under a line, judging a line, which lines become deliveries and which are the same letter again, the
         results, when a batch goes on and how it ends
Rules    a line is judged as POST /v1/deliveries judges a body, with the same codes. A client_ref is looked up before
         uploads are judged, so that a late repetition is not told that its upload has expired
Elsewhere: reading and writing (pipeline/stores/batches.py), what a letter must say (pipeline/intake)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from pipeline.delivery.number import DIGITS, with_check_digit
from pipeline.intake.attachments import Carrier
from pipeline.intake.characters import without_refused
from pipeline.intake.mistakes import Mistake, Unreadable, summary
from pipeline.intake.reading import read_json
from pipeline.intake.submission import CLIENT_REF, SubmittedLetter, judge, read_letter
from pipeline.stores.batches import (
    COMPLETED,
    COMPLETED_WITH_ERRORS,
    RUNNING,
    Draw,
    KnownDelivery,
    LineCursor,
    LineResult,
    References,
    StoredLine,
)
from pipeline.stores.senders import Order, Submission

IDENTITY_BYTES = 18  # ten for the id, eight for the number
CONFLICT = Mistake("client_ref_conflict", "/client_ref", "another letter has this reference")

Mint = Callable[[Submission], Order]


@dataclass(frozen=True, slots=True)
class Judged:
    """A line that was read: a letter, or what is wrong with it."""

    stored: StoredLine
    client_ref: str | None
    letter: SubmittedLetter | None
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """A line, and the delivery it becomes unless somebody else's gets its client_ref first."""

    judged: Judged
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of a draw."""

    draw: Draw
    lines: tuple[Planned, ...]
    known: Mapping[str, KnownDelivery]

    @property
    def orders(self) -> list[Order]:
        """The deliveries to be inserted."""
        return [line.order for line in self.lines if line.order is not None]


# ------------------------------------------------------------------ one line
def merged(defaults: Mapping[str, Any], line: Mapping[str, Any]) -> Mapping[str, Any]:
    """The line over the defaults: objects field by field, anything else as a whole. null takes a default away."""
    table = {**defaults, **line}
    for name, under in defaults.items():
        value = line.get(name)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            table[name] = merged(under, value)
    return table


def read_line(defaults: Mapping[str, Any], stored: StoredLine) -> Judged:
    """What the line alone tells."""
    try:
        table = merged(defaults, read_json(stored.body))
    except Unreadable as error:
        return Judged(stored, None, None, (Mistake(error.code, "", error.detail),))
    letter, mistakes = read_letter(table, Carrier.LINE)
    ref = table.get("client_ref")
    client_ref = ref if isinstance(ref, str) and CLIENT_REF.fullmatch(ref) else None
    return Judged(stored, client_ref, letter, tuple(mistakes))


def references_of(lines: Sequence[Judged]) -> tuple[list[UUID], list[str], list[str]]:
    """The uploads, consents and client_refs that lines name."""
    letters = [line.letter for line in lines if line.letter is not None]
    uploads = {upload for letter in letters for upload in letter.uploads}
    consents = {letter.consent_ref for letter in letters if letter.consent_ref is not None}
    refs = {letter.client_ref for letter in letters if letter.client_ref is not None}
    return list(uploads), list(consents), list(refs)


def judged_against(line: Judged, references: References, *, birth_date_demanded: bool) -> Judged:
    """What stored state says against the line. A line that is a letter again is not judged anew."""
    letter = line.letter
    if letter is None:
        return line
    delivery = None if letter.client_ref is None else references.deliveries.get(letter.client_ref)
    if delivery is not None:
        mistakes = [] if delivery.request_sha256 == letter.request_sha256 else [CONFLICT]
    else:
        consent = None if letter.consent_ref is None else references.consents.get(letter.consent_ref)
        mistakes = judge(letter, references.uploads, consent, birth_date_demanded=birth_date_demanded)
    return replace(line, letter=None, mistakes=tuple(mistakes)) if mistakes else line


# ------------------------------------------------------------------ one draw
def plan(draw: Draw, lines: Sequence[Judged], references: References, mint: Mint) -> Plan:
    """A delivery for each line that is a letter of its own: the first one with a client_ref, or one without."""
    refs = set(references.deliveries)
    planned = []
    for line in lines:
        judged = judged_against(line, references, birth_date_demanded=draw.birth_date_demanded)
        letter = judged.letter
        if letter is None or letter.client_ref in refs:
            planned.append(Planned(judged))
            continue
        if letter.client_ref is not None:
            refs.add(letter.client_ref)
        planned.append(Planned(judged, mint(letter.submission({}))))
    return Plan(draw, tuple(planned), references.deliveries)


def results(
    plan: Plan, added: frozenset[UUID], taken: Mapping[tuple[UUID, str], KnownDelivery]
) -> tuple[LineResult, ...]:
    """What became of the lines. taken: who has the client_ref of an order that was not added."""
    deliveries = {**plan.known, **{ref: rival for (sender, ref), rival in taken.items() if sender == plan.draw.sender}}
    outcomes = []
    for line in plan.lines:
        letter, order = line.judged.letter, line.order
        if letter is None:
            outcomes.append(_rejected(line.judged, line.judged.mistakes))
        elif order is not None and order.delivery in added:
            outcomes.append(_accepted(line.judged, order.delivery, replayed=False))
            if letter.client_ref is not None:
                deliveries[letter.client_ref] = KnownDelivery(order.delivery, letter.request_sha256)
        else:
            outcomes.append(_again(line.judged, letter, deliveries))
    return tuple(outcomes)


def _again(line: Judged, letter: SubmittedLetter, deliveries: Mapping[str, KnownDelivery]) -> LineResult:
    there = deliveries[letter.client_ref or ""]
    if there.request_sha256 != letter.request_sha256:
        return _rejected(line, (CONFLICT,))
    return _accepted(line, there.delivery, replayed=True)


def _accepted(line: Judged, delivery: UUID, *, replayed: bool) -> LineResult:
    return LineResult(line.stored.part, line.stored.line, line.client_ref, delivery, replayed, None)


def _rejected(line: Judged, mistakes: Sequence[Mistake]) -> LineResult:
    return LineResult(line.stored.part, line.stored.line, line.client_ref, None, False, problem(mistakes))


def problem(mistakes: Sequence[Mistake]) -> Mapping[str, Any]:
    """A result's problem, as it is stored: a name that the sender made up may hold what no database takes."""
    code, detail, listed = summary(mistakes)
    errors = [{"pointer": _storable(m.pointer), "code": m.code, "detail": _storable(m.detail)} for m in listed]
    return {"code": code, "detail": _storable(detail), "errors": errors}


def _storable(text: str) -> str:
    return without_refused(text)


# ------------------------------------------------------------------ one batch
def goes_on(locked: tuple[str, LineCursor], draw: Draw) -> bool:
    """Under the lock: still being drawn, and by nobody else meanwhile. If not, another message goes on, or none."""
    state, cursor = locked
    return state in RUNNING and cursor == draw.cursor


def lines_are_missing(draw: Draw) -> bool:
    """Nothing comes after the cursor, and not everything was drawn: rows were lost."""
    return draw.state in RUNNING and not draw.stored and draw.drawn != draw.lines


def final_state(*, has_errors: bool) -> str:
    """How a batch ends whose lines are all deposited or rejected."""
    return COMPLETED_WITH_ERRORS if has_errors else COMPLETED


def delivery_identity(moment: datetime, random: bytes) -> tuple[UUID, str]:
    """A delivery's id (UUID version 7, RFC 9562) and public number, of IDENTITY_BYTES random bytes."""
    milliseconds = int(moment.timestamp() * 1000)
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(random[:10])
    value = value & ~(0xF << 76) | 0x7 << 76
    number = with_check_digit(str(int.from_bytes(random[10:IDENTITY_BYTES]) % 10**DIGITS).zfill(DIGITS))
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62), number
