"""Check the ledger of a run that has come to rest: what must hold whatever happened. [] when all is well.

Owns     the predicates of docs/invariants.md over the in-memory rows; those about bytes, seals, tokens and states are
         the product's own (pipeline/operate/ledger_proofs.py)
"""

from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

from pipeline.delivery import states
from pipeline.delivery.deadlines import EXPIRY_GRACE_SECONDS
from pipeline.delivery.facts import AcceptanceWindow, ContentWrap, DecisionIntent, Notice, NoticeResult, Snapshot
from pipeline.delivery.routes import BULK, CHECKED, DRAFT, PREPARE, SEALED, SEND, SUBMITTED
from pipeline.evidence.facts import EvidenceDraft, EvidenceSeal, EvidenceToken
from pipeline.operate.ledger_proofs import check_delivery
from tests.memory.tables import Submission, Tables
from tests.simulation import letters
from tests.simulation.letters import Letter
from tests.simulation.world import World

ONCE = frozenset({SUBMITTED, CHECKED, DRAFT, SEALED, SEND})
ENDS = {
    **{fate: {states.REJECTED} for fate in letters.REJECTED_FATES},
    letters.MAIL_REFUSED: {states.NOTICE_FAILED},
    letters.IGNORE: {states.UNCLAIMED},
    letters.ACCEPT: {states.UNCOLLECTED, states.UNCLAIMED},
    letters.COLLECT: {states.RECEIVED, states.UNCLAIMED},
    letters.REFUSE: {states.REFUSED, states.UNCLAIMED},
    letters.LAST_MOMENT: {states.REFUSED, states.UNCOLLECTED, states.UNCLAIMED},
    letters.TWO_MINDS: {states.REFUSED, states.UNCOLLECTED, states.UNCLAIMED},
}


def check_ledger(world: World) -> list[str]:
    """Everything that does not hold."""
    found = [*world.restless, *check_messages(world)]
    for letter in world.letters:
        found += [f"{letter.fate} {letter.delivery}: {what}" for what in check_letter(world, letter)]
    return [*found, *check_batch(world)]


def check_batch(world: World) -> Iterator[str]:
    """Each line has one result, each of its letters exists once and ends like any other."""
    assert world.batch is not None
    row = world.database.bulk.batches[world.batch]
    told = [(r.part, r.line, r.client_ref, r.replayed, r.problem is None) for r in row.results]
    wanted = [
        (1, 1, "r-0", False, True),
        (1, 2, "r-1", False, True),
        (2, 1, "r-0", True, True),
        (2, 2, "none", False, False),
        (3, 1, "r-2", False, True),
        (3, 2, "r-3", False, True),
    ]
    if told != wanted or row.waiting or row.state != "completed_with_errors":
        yield f"the batch is {row.state}, with {told} and {len(row.waiting)} lines left"
    drawn = {r.delivery for r in row.results if r.delivery is not None and not r.replayed}
    if set(world.database.bulk.owners) != drawn:
        yield "deliveries of the batch that no result names, or the other way round"
    for delivery in sorted(drawn):
        submission = world.database.tables.find(Submission, delivery)
        assert submission is not None
        letter = Letter(delivery, letters.IGNORE, BULK, submission, {})
        yield from (f"of the batch {delivery}: {what}" for what in check_letter(world, letter))


def check_messages(world: World) -> Iterator[str]:
    """Each message was born once, and nothing was given up."""
    for (kind, delivery, evidence, ordinal), times in world.database.births.items():
        if kind in ONCE and times > 1:
            yield f"{kind} of {delivery} {evidence} {ordinal} was emitted {times} times"
        if kind == PREPARE:
            outcomes = world.database.tables.of(NoticeResult, delivery)
            if times > 1 + sum(r.outcome == "superseded" for r in outcomes):
                yield f"{delivery} was announced {times} times"
    for dead in world.database.dead:
        yield f"dead letter at {dead.stage}: {dead.why} ({dead.message.kind} of {dead.message.subject})"
    same = Counter((t.message.kind, t.message.subject) for t in world.database.timers)
    for (kind, delivery), times in same.items():
        if times > 1:
            yield f"{delivery} has {times} timers for {kind}"


def check_letter(world: World, letter: Letter) -> Iterator[str]:
    """One delivery."""
    tables, delivery = world.database.tables, letter.delivery
    state = tables.state(delivery)
    assert state is not None
    drafts = tables.drafts(delivery)
    yield from (f"{v.predicate} {v.subject} {v.detail}" for v in check_delivery(_rows(world, letter), (world.anchor,)))
    yield from check_place(world, letter, state[0])
    if [e.sequence for e in drafts] != list(range(1, len(drafts) + 1)) or state[1] != len(drafts):
        yield f"sequences {[e.sequence for e in drafts]}, stamped through {state[1]}"
    events = Counter(e.event for e in drafts)
    for group in (("A.1", "A.2"), ("C.1",), ("C.3", "C.4", "C.5"), ("D.1",), ("E.1", "E.2")):
        if sum(events[event] for event in group) > 1:
            yield f"more than one of {group}: {dict(events)}"
    yield from check_times(tables, letter, {e.event: e for e in drafts})
    yield from check_mails(world, letter)
    yield from check_snapshots(tables, letter, state)


def check_place(world: World, letter: Letter, state: str) -> Iterator[str]:
    """An end that fits the letter's fate; until then exactly one message or timer that goes on."""
    if state in states.FINAL:
        if state not in ENDS[letter.fate]:
            yield f"ended as {state}"
        return
    waits = [t.message.kind for t in world.database.timers if t.message.subject == letter.delivery]
    needed = {states.NOTIFIED: "expire", states.ACCEPTED: "access_end"}.get(state)
    if needed is None or waits.count(needed) != 1:
        yield f"{state} and waits for {waits}"


def check_times(tables: Tables, letter: Letter, by_event: dict[str, EvidenceDraft]) -> Iterator[str]:
    """Decisions in time and of a stored intent, expiry not early, acceptance as a pair, a readable deposit."""
    window = tables.find(AcceptanceWindow, letter.delivery)
    proved = "C.1" in by_event and tables.find(EvidenceToken, by_event["C.1"].evidence) is not None
    if proved != (window is not None):
        yield "a window without a proved C.1, or a proved C.1 without a window"
    if "C.5" in by_event and window is not None:
        early = (by_event["C.5"].event_time - window.expires_at).total_seconds() - EXPIRY_GRACE_SECONDS
        if early < 0:
            yield f"expired {-early} s too early"
    for event, act in (("C.3", "accept"), ("C.4", "refuse")):
        if event in by_event and window is not None:
            at = by_event[event].event_time
            intents = tables.of(DecisionIntent, letter.delivery)
            if at >= window.expires_at or not any(i.decided_at == at and i.act == act for i in intents):
                yield f"{event} at {at} is late or has no intent"
    if ("C.3" in by_event) != ("D.1" in by_event):
        yield "half a proof of receipt"
    elif "C.3" in by_event:
        c3, d1 = by_event["C.3"], by_event["D.1"]
        if d1.sequence != c3.sequence + 1 or d1.event_time != c3.event_time:
            yield "C.3 and D.1 are not a pair"
    if ("A.1" in by_event) != (tables.find(ContentWrap, letter.delivery) is not None):
        yield "A.1 without a wrapped key, or a key without A.1"


def check_mails(world: World, letter: Letter) -> Iterator[str]:
    """Each mail once; again, with the same bytes, only for a death, a stall or a lost answer."""
    notices = {n.message_id: n for n in world.database.tables.of(Notice, letter.delivery)}
    superseded = {
        r.ordinal for r in world.database.tables.of(NoticeResult, letter.delivery) if r.outcome == "superseded"
    }
    sent = Counter(
        (t.message_id, t.mail) for t in world.mailer.taken if t.recipient == letter.submission.dossier.recipient.email
    )
    for (message_id, mail), times in sent.items():
        if message_id not in notices or notices[message_id].mail != mail:
            yield f"a mail that was never prepared: {message_from_bytes(mail)['Subject']}"
        if times > 1 + world.faults.of("notify") + world.faults.of("database"):
            yield f"{times} mails with {message_id}"
    ruling = [n.ordinal for n in notices.values() if n.ordinal not in superseded]
    if len(ruling) > 1:
        yield f"{len(ruling)} notices that were not superseded"


def check_snapshots(tables: Tables, letter: Letter, state: tuple[str, int]) -> Iterator[str]:
    """Numbered, chained, and holding everything at the end."""
    snapshots = sorted(tables.of(Snapshot, letter.delivery), key=lambda s: s.snapshot)
    before = None
    for number, s in enumerate(snapshots, start=1):
        if s.snapshot != number or s.previous_sha256 != before:
            yield f"snapshot {s.snapshot} is out of its chain"
        before = s.sha256
    if state[0] in states.FINAL | {states.ACCEPTED} and (not snapshots or snapshots[-1].sequence_through != state[1]):
        yield f"{state[0]} and not preserved"


def _rows(world: World, letter: Letter) -> list[dict[str, Any]]:
    tables, dossier = world.database.tables, letter.submission.dossier
    state = tables.state(letter.delivery) or ("", 0)
    head = {"delivery": letter.delivery, "number": dossier.number, "state": state[0], "stamped_through": state[1],
            "mode": dossier.mode, "evidence": None}  # fmt: skip
    rows = []
    for e in tables.drafts(letter.delivery):
        seal, token = tables.find(EvidenceSeal, e.evidence), tables.find(EvidenceToken, e.evidence)
        certificate = next(k.certificate for k in world.published if k.key_id == e.seal_key_id)
        rows.append(
            head
            | {name: getattr(e, name) for name in e.__slots__}
            | {
                "signature": None if seal is None else seal.signature,
                "key_id": None if seal is None else seal.key_id,
                "token": None if token is None else token.token,
                "gen_time": None if token is None else token.gen_time,
                "certificate": certificate,
            }
        )
    return rows or [head]
