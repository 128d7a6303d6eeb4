"""Check what a request alone could not tell, and draw from open batches.        pipeline/stages/ingest.py

Receives  submitted: a delivery that the gateway answered 202 for
          draw: the next lines of a submitted batch. settle: is a drawn batch at its end?
Outside   reads only
Commits   nothing, or draft A.2; deliveries, results and the cursor of a batch; the state of a batch
Emits     checked -> encrypt, or draft -> seal; draw again, at the tail of its lane, so that batches take turns; settle
Fails     Retry: database away; uncounted, when the stages after this one are full. Bury: lines of a batch are missing
Source    rules "Words and people", "Mailboxes" (fairness); CPCE L.100 I (a consumer must have consented)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pipeline.actors.contract import Bury, Done, Outcome, Retry, Stage
from pipeline.delivery.routes import BULK, CHECKED, DRAFT, DRAW, SETTLE, SUBMITTED, Emission
from pipeline.errors import Transient
from pipeline.evidence.dossier import Reason
from pipeline.evidence.draft import draft
from pipeline.intake import batches
from pipeline.intake.batches import Plan
from pipeline.ports.mailbox import Message
from pipeline.ports.outside import Randomness
from pipeline.ports.rows import Facts, Submission
from pipeline.stores.batches import RUNNING, BatchTx, Draw, DrawFacts, DrawRecord, Settlement
from pipeline.stores.senders import Order
from pipeline.stores.senders import Submission as Request

CONSENT_REASONS = {
    "withdrawn": Reason("consent_withdrawn", "The recipient's consent was withdrawn before the deposit."),
    "unknown": Reason("consent_withdrawn", "The recipient's consent named by the sender does not exist."),
}
DRAW_LINES_MAX = 200  # of one batch at once; more would make an interactive letter wait for the commit
TURN_LINES_MAX = 400  # of all batches in one turn
BACKLOG_MAX = 2000  # messages waiting in encrypt, seal, timestamp and notify: some seconds of their work
BACKLOG_SECONDS = 0.2
PAUSED_SECONDS = 2.0  # between two looks at a batch that is held back
SETTLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    facts: Facts
    draws: DrawFacts
    randomness: Randomness
    mode: str
    config_version: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission and why it is refused, if it is."""

    submission: Submission
    refusal: Reason | None


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome]:
    """Read and judge, each kind in its way."""
    kinds = {SUBMITTED: check, DRAW: draw, SETTLE: settle}
    own = {kind: [m for m in batch if m.kind == kind] for kind in kinds}
    return [outcome for kind, act in kinds.items() if own[kind] for outcome in await act(own[kind], ports)]


async def commit(tx: BatchTx, done: Sequence[Done]) -> list[Emission]:
    """A crash before it leaves the messages running, rescued; after it, the next stage has its own, and a batch the
    next draw. Lock order: deliveries, batches, new rows."""
    emissions = await _reject([d for d in done if isinstance(d.fact, Checked)], tx)
    emissions += await _store({d.fact.draw.batch: d.fact for d in done if isinstance(d.fact, Plan)}, tx)
    return emissions + await _close([d.fact for d in done if isinstance(d.fact, Settlement)], tx)


# ------------------------------------------------------------------ submitted
async def check(messages: Sequence[Message], ports: Ports) -> list[Outcome]:
    """Read the submissions and judge them."""
    submissions = await ports.facts.submissions([m.subject for m in messages])
    return [judge(m, submissions.get(m.subject)) for m in messages]


def judge(message: Message, submission: Submission | None) -> Outcome:
    """Consent stands, or the delivery is refused. A delivery that is not there was never answered 202."""
    if submission is None:
        return Bury(message, "no such delivery")
    return Done(message, Checked(submission, CONSENT_REASONS.get(submission.consent)))


async def _reject(done: Sequence[Done], tx: BatchTx) -> list[Emission]:
    refused = [d for d in done if d.fact.refusal is not None]
    emissions = [Emission(CHECKED, d.message.subject) for d in done if d.fact.refusal is None]
    heads = await tx.lock([d.message.subject for d in refused]) if refused else {}
    for d in refused:
        locked = heads[d.message.subject]
        if locked.drafted:
            continue  # judged before: a dead letter that was put back
        rejection = draft(locked.head, "A.2", d.fact.submission.dossier, reason=d.fact.refusal)
        await tx.add([rejection])
        emissions.append(Emission(DRAFT, rejection.delivery, rejection.evidence))
    return emissions


# ------------------------------------------------------------------ draw
async def draw(messages: Sequence[Message], ports: Ports) -> list[Outcome]:
    """The next lines of each batch, read and judged; nothing while the stages after this one are full."""
    if await ports.draws.backlog(BACKLOG_MAX) >= BACKLOG_MAX:
        return [Retry(m, "the next stages are full", BACKLOG_SECONDS, counted=False) for m in messages]
    lines_max = min(DRAW_LINES_MAX, max(1, TURN_LINES_MAX // len(messages)))
    found = await ports.draws.draws([m.subject for m in messages], lines_max)
    outcomes: list[Outcome] = []
    for m in messages:
        drawn = found.get(m.subject)
        if drawn is None or batches.lines_are_missing(drawn):
            outcomes.append(Bury(m, "no such batch" if drawn is None else "lines of this batch are missing"))
        elif drawn.is_paused:
            outcomes.append(Retry(m, "it is held back, or its sender is", PAUSED_SECONDS, counted=False))
        else:
            outcomes.append(Done(m, await planned(drawn, ports)))
    return outcomes


async def planned(drawn: Draw, ports: Ports) -> Plan:
    """What is to become of the lines."""

    def mint(submission: Request) -> Order:
        delivery, number = batches.identity(drawn.read_at, ports.randomness.random_bytes(batches.IDENTITY_BYTES))
        return Order(delivery, number, drawn.sender, ports.mode, ports.config_version, submission)

    lines = [batches.read_line(drawn.defaults, stored) for stored in drawn.stored]
    references = await ports.draws.references(drawn.sender, *batches.wanted(lines))
    return batches.plan(drawn, lines, references, mint)


async def _store(plans: dict[UUID, Plan], tx: BatchTx) -> list[Emission]:
    """One insert per table for all plans. Two messages about one batch draw once; a draw that came late, never."""
    if not plans:
        return []
    locked = await tx.lock_batches(list(plans))
    mine = [p for batch, p in plans.items() if batch in locked and batches.goes_on(locked[batch], p.draw)]
    orders = [(p.draw.batch, order) for p in mine for order in p.orders]
    added = await tx.add_orders(orders) if orders else frozenset()
    lost = [order for _, order in orders if order.delivery not in added]
    refs = [(order.sender, order.submission.client_ref) for order in lost if order.submission.client_ref is not None]
    taken = await tx.taken_refs(refs) if refs else {}
    if len(refs) < len(lost) or not set(refs) <= set(taken):
        raise Transient("a public number is taken, or a rival was rejected meanwhile; drawn again it will do")
    records = [DrawRecord(p.draw.batch, p.draw.cursor, batches.results(p, added, taken)) for p in mine if p.lines]
    if records:
        await tx.record_draws(records)
    emissions = [Emission(CHECKED, order.delivery, lane=BULK) for _, order in orders if order.delivery in added]
    return emissions + [Emission(DRAW if p.lines else SETTLE, p.draw.batch, lane=BULK) for p in mine]


# ------------------------------------------------------------------ settle
async def settle(messages: Sequence[Message], ports: Ports) -> list[Outcome]:
    """Where each batch stands."""
    found = await ports.draws.settlements([m.subject for m in messages])
    return [Done(m, found[m.subject]) if m.subject in found else Bury(m, "no such batch") for m in messages]


async def _close(settlements: Sequence[Settlement], tx: BatchTx) -> list[Emission]:
    """Looked at again in a while, until every letter is deposited or rejected. A cancelled batch stays so."""
    running = [s for s in settlements if s.state in RUNNING]
    ended = {s.batch: batches.final_state(has_errors=s.has_errors) for s in running if not s.undecided}
    if ended:
        await tx.close_batches(ended)
    again = timedelta(seconds=SETTLE_SECONDS)
    return [Emission(SETTLE, s.batch, at=s.read_at + again, lane=BULK) for s in running if s.undecided]


STAGE = Stage("ingest", receives=frozenset({SUBMITTED, DRAW, SETTLE}), perform=perform, commit=commit)
