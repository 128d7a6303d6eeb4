"""The part of `ingest` that draws from submitted batches: their next lines become deliveries, to their end.

Receives  draw: the next lines of a submitted batch. settle: is a drawn batch at its end?
Outside   reads only
Commits   deliveries, results and the cursor of a batch; the state of a batch
Emits     checked -> encrypt; draw again, at the tail of its lane, so that batches take turns; settle
Fails     Retry: uncounted, when the stages after `ingest` are full, or the batch or its sender is held back
          Bury: no such batch; lines of a batch are missing
Elsewhere: what becomes of a line (batches.py), letters that come one by one (pipeline/stages/ingest.py)
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Retry, Work, beside
from pipeline.delivery.routes import BULK, CHECKED, DRAW, SETTLE
from pipeline.errors import Transient
from pipeline.intake import batches
from pipeline.intake.batches import Plan
from pipeline.ports.outside import Randomness
from pipeline.stores.batches import RUNNING, BatchTx, Draw, DrawFacts, DrawRecord, Settlement
from pipeline.stores.senders import Order, Submission

DRAW_LINES_MAX = 200  # of one batch at once; more would make an interactive letter wait for the commit
TURN_LINES_MAX = 400  # of all batches in one turn
BACKLOG_MAX = 2000  # messages waiting in encrypt, seal, timestamp and notify: some seconds of their work
BACKLOG_SECONDS = 0.2
PAUSED_SECONDS = 2.0  # between two looks at a batch that is held back
SETTLE_SECONDS = 2.0


class DrawPorts(Protocol):
    """What drawing may ask of the outside: `ingest` has it."""

    @property
    def draws(self) -> DrawFacts: ...
    @property
    def randomness(self) -> Randomness: ...
    @property
    def mode(self) -> str: ...
    @property
    def config_version(self) -> str: ...


async def draw(messages: Sequence[Message], ports: DrawPorts) -> list[Outcome[Plan]]:
    """The next lines of each batch, read and judged; nothing while the stages after this one are full."""
    if await ports.draws.backlog(BACKLOG_MAX) >= BACKLOG_MAX:
        return [Retry(m, "the next stages are full", BACKLOG_SECONDS, counted=False) for m in messages]
    lines_max = min(DRAW_LINES_MAX, max(1, TURN_LINES_MAX // len(messages)))
    draws = await ports.draws.draws([m.subject for m in messages], lines_max)
    outcomes: list[Outcome[Plan]] = []
    for m in messages:
        drawn = draws.get(m.subject)
        if drawn is None or batches.lines_are_missing(drawn):
            outcomes.append(Bury(m, "no such batch" if drawn is None else "lines of this batch are missing"))
        elif drawn.is_paused:
            outcomes.append(Retry(m, "it is held back, or its sender is", PAUSED_SECONDS, counted=False))
        else:
            outcomes.append(Done(m, await planned(drawn, ports)))
    return outcomes


async def planned(drawn: Draw, ports: DrawPorts) -> Plan:
    """What is to become of the lines."""

    def mint(submission: Submission) -> Order:
        delivery, number = batches.delivery_identity(
            drawn.read_at, ports.randomness.random_bytes(batches.IDENTITY_BYTES)
        )
        return Order(delivery, number, drawn.sender, ports.mode, ports.config_version, submission)

    lines = [batches.read_line(drawn.defaults, stored) for stored in drawn.stored]
    references = await ports.draws.references(drawn.sender, *batches.references_of(lines))
    return batches.plan(drawn, lines, references, mint)


async def store_draws(tx: BatchTx, done: Sequence[Done[Plan]]) -> list[Emission]:
    """One insert per table for all plans. Two messages about one batch draw once; a draw that came late, never.

    A crash before it leaves the messages running, rescued; after it, the next stage has its own, and a batch the next
    draw. Lock order: batches, then new rows.
    """
    plans = {d.fact.draw.batch: d.fact for d in done}
    locked = await tx.lock_batches(list(plans))
    open_plans = [p for batch, p in plans.items() if batch in locked and batches.goes_on(locked[batch], p.draw)]
    orders = [(p.draw.batch, order) for p in open_plans for order in p.orders]
    added = await tx.add_orders(orders) if orders else frozenset()
    lost = [order for _, order in orders if order.delivery not in added]
    refs = [(order.sender, order.submission.client_ref) for order in lost if order.submission.client_ref is not None]
    taken = await tx.taken_refs(refs) if refs else {}
    if len(refs) < len(lost) or not set(refs) <= set(taken):
        raise Transient("a public number is taken, or a rival was rejected meanwhile; drawn again it will do")
    records = [DrawRecord(p.draw.batch, p.draw.cursor, batches.results(p, added, taken)) for p in open_plans if p.lines]
    if records:
        await tx.record_draws(records)
    emissions = [Emission(CHECKED, order.delivery, lane=BULK) for _, order in orders if order.delivery in added]
    return emissions + [Emission(DRAW if p.lines else SETTLE, p.draw.batch, lane=BULK) for p in open_plans]


async def settle_batches(messages: Sequence[Message], ports: DrawPorts) -> list[Outcome[Settlement]]:
    """Where each batch stands."""
    settlements = await ports.draws.settlements([m.subject for m in messages])
    return [Done(m, settlements[m.subject]) if m.subject in settlements else Bury(m, "no such batch") for m in messages]


async def store_settlements(tx: BatchTx, done: Sequence[Done[Settlement]]) -> list[Emission]:
    """Looked at again in a while, until every letter is deposited or rejected. A cancelled batch stays so.

    A crash before it looks again; a batch is closed once.
    """
    running = [d.fact for d in done if d.fact.state in RUNNING]
    ended = {s.batch: batches.final_state(has_errors=s.has_errors) for s in running if not s.undecided}
    if ended:
        await tx.close_batches(ended)
    again = timedelta(seconds=SETTLE_SECONDS)
    return [Emission(SETTLE, s.batch, at=s.read_at + again, lane=BULK) for s in running if s.undecided]


DRAWS = Work(frozenset({DRAW}), draw, store_draws)
SETTLEMENTS = Work(frozenset({SETTLE}), settle_batches, store_settlements)
WORK = beside(DRAWS, SETTLEMENTS)
