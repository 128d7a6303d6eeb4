"""Tell the recipient that something waits: prepare the notice, then send exactly those bytes.

Receives  prepare: a deposited delivery            send: a prepared notice (delivery, ordinal)
          ask_consent, mail_consent: a question to a consumer (pipeline/notices/consents.py)
Outside   prepare: random bytes only; send: one mail at the relay, may be sent twice (same bytes, same Message-ID)
Commits   prepare: Notice
          send: NoticeResult; draft C.1 (notice sent) when the relay took it, draft C.2 (not sent) when it says that
          this recipient has no mailbox: believed only of a relay that takes others' mails (pipeline/notices/circuit.py)
Emits     prepare: send
          send: draft -> seal; or prepare, when the date of the latest notice had passed. The window is opened by
          timestamp, with C.1's token
Fails     Retry: the relay does not take it, is away or slow; database away; uncounted: too close to midnight in Paris,
          to prepare as to send
          Bury: no such delivery, notice, consent request or mail; a try that fails after five printed dates
Source    CPCE R.53-3 I; docs/adr/0004-time-rules.md: nothing leaves in the last 120 s of the printed date D, nor when D
          has passed
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.actors.contract import Done, Emission, Message, Outcome, Stage, Tx, Work, beside
from pipeline.delivery.routes import PREPARE, SEND
from pipeline.notices.answers import Finding, settle_notice
from pipeline.notices.consents import CONSENTS, ConsentFacts
from pipeline.notices.departure import GuardedRelay, prepare_notice, send
from pipeline.notices.notice import Letterhead
from pipeline.ports.outside import Randomness
from pipeline.ports.rows import Facts

PERFORM_SECONDS = 120.0  # at most QUIET_SECONDS_BEFORE_MIDNIGHT: a test compares


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside, and what it prints."""

    facts: Facts
    relay: GuardedRelay
    randomness: Randomness
    letterhead: Letterhead
    consents: ConsentFacts


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[Finding]]:
    """Prepare those that have no notice yet, send those that have."""
    new, stored = [m for m in batch if m.kind == PREPARE], [m for m in batch if m.kind == SEND]
    announcements = await ports.facts.announcements([m.subject for m in new]) if new else {}
    prepared = [prepare_notice(m, announcements.get(m.subject), ports.letterhead, ports.randomness) for m in new]
    if not stored:
        return [*prepared]
    notices = await ports.facts.notices([(m.subject, m.ordinal) for m in stored])
    now = await ports.facts.legal_now()  # once a batch: a perform is no longer than the quiet time before midnight
    return [*prepared, *await send([(m, notices.get((m.subject, m.ordinal))) for m in stored], now, ports.relay)]


async def commit(tx: Tx, done: Sequence[Done[Finding]]) -> list[Emission]:
    """A crash between the relay's answer and this commit sends the same mail again.

    Of two answers the first to be committed counts: under the lock, nothing is added once C.1 or C.2 is drafted.
    """
    heads = await tx.lock([d.message.subject for d in done])
    settled = [settle_notice(heads[d.message.subject], d.fact) for d in done]
    await tx.add([fact for s in settled for fact in s.facts])
    return [emission for s in settled for emission in s.emissions]


WORK = beside(Work(frozenset({PREPARE, SEND}), perform, commit), CONSENTS)
STAGE = Stage("notify", WORK, perform_seconds=PERFORM_SECONDS)
