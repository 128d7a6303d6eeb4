"""Give each seal its time-stamp token, and the delivery its next state.

Receives  sealed: evidence with its seal
Outside   one call to the authority per batch; repeatable, the first committed token wins
Commits   EvidenceToken; state and stamped prefix of the delivery, and its AcceptanceWindow, here and nowhere else
Emits     what pipeline/delivery/routes.py says for each event that joined the stamped prefix
Fails     Retry: authority busy or away; database away
          Waits for a clock: the token is older than its event, or later than now
          Bury: no such seal, it does not verify, or row and bytes differ
          Invariant: token does not verify
Source    RFC 3161; EN 319 132-1 (SignatureTimeStamp over the SignatureValue element); docs/ARCHITECTURE.md, "Evidence"
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Retry, Stage, Tx, Work
from pipeline.delivery.routes import SEALED, follow
from pipeline.errors import Invariant
from pipeline.evidence.binding import RowDiffers, check_row, check_sealed
from pipeline.evidence.facts import EvidenceToken
from pipeline.evidence.time_stamp import TimeStampRefused, proven_time
from pipeline.ports.bridge import Keys, TimeStampAuthority, wire
from pipeline.ports.rows import Facts, StoredSeal


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    facts: Facts
    authority: TimeStampAuthority
    keys: Keys


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[EvidenceToken]]:
    """Have the stored seals stamped, and check row, seal and token before a state stands on them."""
    seals = await ports.facts.seals([m.evidence for m in batch if m.evidence is not None])
    readings = [examine(m, None if m.evidence is None else seals.get(m.evidence)) for m in batch]
    sound = [reading for reading in readings if not isinstance(reading, Bury)]
    items = [wire.TimeStamp(seal.imprint, seal.row.event_time) for _, seal in sound]
    answers = await ports.authority.ask(items)
    anchor = await ports.keys.trust_anchor()
    outcomes: list[Outcome[EvidenceToken]] = [reading for reading in readings if isinstance(reading, Bury)]
    return outcomes + [judge(m, seal, a, anchor) for (m, seal), a in zip(sound, answers, strict=True)]


def examine(message: Message, seal: StoredSeal | None) -> tuple[Message, StoredSeal] | Bury:
    """The seal, when it is over the bytes of this row and these say what the row says: the row's delivery and event
    decide the state that follows."""
    if seal is None or seal.row.delivery != message.subject:
        return Bury(message, "no such seal of this delivery")
    row = seal.row
    try:
        check_row(row)
        check_sealed(row, seal.signature)
    except RowDiffers as error:
        return Bury(message, f"not stamped: {error}")
    return message, seal


def judge(
    message: Message, seal: StoredSeal, answer: wire.Stamped | wire.Denied, anchor: bytes
) -> Outcome[EvidenceToken]:
    """A token that verifies and is not older than its event, or a later try."""
    if isinstance(answer, wire.Denied) and answer.is_clock:
        return Retry.for_clock(message, "the authority's clock is behind the event")
    if isinstance(answer, wire.Denied):
        return Retry(message, f"not stamped: {answer.code}")
    row = seal.row
    try:
        gen_time = proven_time(answer.token, seal.signature, row.event_time, (anchor,))
    except TimeStampRefused as error:
        if error.is_too_early:
            return Retry.for_clock(message, "the authority's clock is behind the event")
        raise Invariant(f"the token over evidence {row.evidence} does not verify") from error
    return Done(message, EvidenceToken(row.evidence, answer.token, gen_time))


async def commit(tx: Tx, done: Sequence[Done[EvidenceToken]]) -> list[Emission]:
    """Tokens, states and what follows. A crash before it costs a second token; the first committed one wins."""
    deliveries = [d.message.subject for d in done]
    await tx.lock(deliveries)  # before the tokens: lock order, and nobody else can stamp the same delivery meanwhile
    await tx.add([d.fact for d in done])
    advanced = await tx.advance(deliveries)  # raises for a token that is later than now: it is not stored
    await tx.add([window for a in advanced for window in a.windows])
    return [emission for a in advanced for stamped in a.reached for emission in follow(a.delivery, stamped)]


STAGE = Stage("timestamp", Work(frozenset({SEALED}), perform, commit))
