"""Take, perform, commit: the only place that decides ack, retry or dead letter.

Owns     the life of one stage's process: epochs, turns, what becomes of a batch when something fails
Rules    one transaction per batch; the fence is its first statement; nothing outside happens in it; an exception nobody
         expected is treated like a crash of the process, so that both are proved by the same tests
Dead     a message becomes a dead letter when
         its stage says Bury;
         ATTEMPTS_MAX tries are spent: each counted Retry of the stage, each turn that found the outside away;
         RESCUES_MAX is reached: one for each death of a process that had it in its hands, one for each exception that
         nobody expected. After two deaths or one exception it is taken alone, and only alone does an exception bury
         it, with that as its reason. What is taken with RESCUES_MAX is not performed again
         Waiting for a clock is none of these: it takes as long as the clock is wrong
Elsewhere: how rows are stored (pipeline.ports.mailbox.Mailbox), when to try again (pipeline/process/backoff.py),
         what a stage does (pipeline/stages)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import anyio

from pipeline.actors.contract import ATTEMPTS_MAX, CLOCK_SECONDS, RESCUES_MAX, Bury, Done, Outcome, Retry, Stage
from pipeline.actors.prefetch import Prefetch
from pipeline.delivery.routes import BULK, RECEIVER
from pipeline.errors import ClockBehind, Invariant, LeaseLost, Transient
from pipeline.ports.mailbox import Mailbox, MailboxTx, Message
from pipeline.ports.outside import Randomness
from pipeline.process.backoff import retry_seconds
from pipeline.process.failure import reason_of
from pipeline.process.measures import (
    EPOCHS_LOST,
    STAGE_BATCH,
    STAGE_COMMIT,
    STAGE_MESSAGES,
    STAGE_PERFORM,
    STALE_ACKS,
    TAKEN,
)
from pipeline.process.recorder import Recorder

POLL_SECONDS = 1.0  # how long a lost ring can go unnoticed
BATCH_BESIDE_PEOPLE = 12  # messages, while both lanes come in: bulk gives up throughput so that people do not wait
MIXED_SECONDS = 2.0  # how long a lane counts as coming in
PAUSE_SECONDS_MAX = 5.0  # between batches while the outside is away; more would delay the recovery
UNKNOWN_KIND_SECONDS = 60.0  # a newer build writes kinds this one does not know; it is being rolled out
WHY_LENGTH_MAX = 500  # characters of a reason, as outbox.dead allows

Ports = TypeVar("Ports")
Fact = TypeVar("Fact")
Transaction = TypeVar("Transaction", bound=MailboxTx)


class Pace:
    """What one take may hold. While people's messages come in beside bulk: little, and theirs alone every second time.

    A person's message waits for the batch before it and for its companions in its own; at every stage, full batches of
    bulk were most of what that person waited for (bench/latency.py). Bulk has half of every other take, so that people
    cannot hold it back either.
    """

    def __init__(self, batch_max: int) -> None:
        self._batch_max = batch_max
        self._people_at = float("-inf")
        self._bulk_at = float("-inf")
        self._were_people_alone = False

    def limit(self, now: float) -> int:
        """For the next take."""
        return min(self._batch_max, BATCH_BESIDE_PEOPLE) if self._is_mixed(now) else self._batch_max

    def are_people_alone(self, now: float) -> bool:
        """Whether the next take looks for people's messages only; when it finds none, bulk is next."""
        return self._is_mixed(now) and not self._were_people_alone

    def prefetch(self, now: float, batch: Sequence[Message]) -> int:
        """How many to take while this batch commits: after a full one there are more; not where a person would wait."""
        return self._batch_max if len(batch) == self._batch_max and not self._is_mixed(now) else 0

    def saw(self, now: float, batch: Sequence[Message], *, people_alone: bool) -> None:
        """What the last take brought."""
        self._were_people_alone = people_alone
        if any(m.lane < BULK for m in batch):
            self._people_at = now
        if any(m.lane >= BULK for m in batch):
            self._bulk_at = now

    def _is_mixed(self, now: float) -> bool:
        return min(self._people_at, self._bulk_at) > now - MIXED_SECONDS


async def run(
    stage: Stage[Ports, Fact, Transaction],
    mailbox: Mailbox[Transaction],
    ports: Ports,
    draining: anyio.Event,
    randomness: Randomness,
    recorder: Recorder,
) -> None:
    """Live one epoch after another until `draining`. Raises Invariant only; everything else is survived."""
    lost = 0
    while not draining.is_set():
        try:
            await mailbox.start()
            lost = 0
            recorder.is_ready = True
            recorder.ready.set()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(mailbox.heartbeat)  # refused: LeaseLost, new epoch
                tasks.start_soon(_wake_when_draining, mailbox, draining)
                prefetch = Prefetch(partial(mailbox.take, beside_commit=True))
                tasks.start_soon(prefetch.run)
                await _pull(stage, mailbox, prefetch, ports, draining, randomness, recorder)
                tasks.cancel_scope.cancel()
        except* (LeaseLost, Transient, TimeoutError) as ended:
            recorder.count(EPOCHS_LOST)
            for error in _errors_in(ended):
                recorder.error("epoch", error)  # it waits and tries again: the log is where a person learns for what
            recorder.is_ready = False
            lost += 1
        if lost:
            await _pause(min(retry_seconds(lost, randomness.unit()), PAUSE_SECONDS_MAX), draining)
    await mailbox.stop()


def _errors_in(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    """Those that a group is made of, at any depth."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _errors_in(error)
        else:
            yield error


async def _wake_when_draining(mailbox: Mailbox[MailboxTx], draining: anyio.Event) -> None:
    await draining.wait()
    mailbox.wake()


async def _pause(seconds: float, draining: anyio.Event) -> None:
    with anyio.move_on_after(seconds):
        await draining.wait()


async def _pull(
    stage: Stage[Ports, Fact, Transaction],
    mailbox: Mailbox[Transaction],
    prefetch: Prefetch,
    ports: Ports,
    draining: anyio.Event,
    randomness: Randomness,
    recorder: Recorder,
) -> None:
    away = 0  # turns in a row that found the outside away
    pace = Pace(stage.batch_max)
    while not draining.is_set():
        await mailbox.sweep()  # rescues, fires due timers
        batch = await _take(mailbox, prefetch, pace)
        if not batch:
            await mailbox.doorbell(POLL_SECONDS)
            continue
        recorder.count(TAKEN, by=len(batch))
        recorder.observe(STAGE_BATCH, len(batch))
        more = pace.prefetch(anyio.current_time(), batch)
        ask = partial(prefetch.ask, more) if more else None
        is_away = await turn(stage, mailbox, ports, batch, randomness.unit, recorder, ask)
        away = away + 1 if is_away else 0
        if away:
            await _pause(min(retry_seconds(away, randomness.unit()), PAUSE_SECONDS_MAX), draining)
    await _give_back(mailbox, await prefetch.collect())


async def _take(mailbox: Mailbox[MailboxTx], prefetch: Prefetch, pace: Pace) -> Sequence[Message]:
    batch = await prefetch.collect()
    now = anyio.current_time()
    limit = pace.limit(now)
    people_alone = not batch and pace.are_people_alone(now)
    if people_alone:
        batch = await mailbox.take(limit, interactive_only=True)
    if not batch:
        people_alone = False
        batch = await mailbox.take(limit)
    pace.saw(anyio.current_time(), batch, people_alone=people_alone)
    return batch


async def _give_back(mailbox: Mailbox[MailboxTx], batch: Sequence[Message]) -> None:
    """What was taken ahead of a drain waits again, its history as it was: nobody died over it.

    A crash here leaves the rows in running: rescue puts them back, at the price of a rescue.
    """
    if batch:
        async with mailbox.transaction(batch) as tx:
            removed_ids = await tx.remove(batch)
            await tx.postpone([(m, 0.0) for m in batch if m.id in removed_ids])


async def turn(
    stage: Stage[Ports, Fact, Transaction],
    mailbox: Mailbox[Transaction],
    ports: Ports,
    batch: Sequence[Message],
    unit: Callable[[], float],
    recorder: Recorder,
    take_next: Callable[[], None] | None = None,
) -> bool:
    """One batch from the mailbox to the next one; `take_next` begins a take meanwhile. True when the outside was away.

    A crash before COMMIT leaves the rows in running, and rescue puts them back; after it, the next take finds the
    emissions, with or without a ring. Rows taken meanwhile are running too.
    """
    ready, early = _sort(stage.work.receives, batch)
    began = anyio.current_time()
    try:
        with anyio.fail_after(stage.perform_seconds):
            outcomes = list(await stage.work.perform(ready, ports)) if ready else []  # 1 outside, may happen twice
        performed = anyio.current_time()
        async with mailbox.transaction(batch) as tx:
            removed_ids = await tx.remove(batch)  # 2 fence: what a rescue took is gone
            recorder.count(STALE_ACKS, by=len(batch) - len(removed_ids))
            done, retries, dead = _split(ready, [*early, *outcomes], removed_ids)
            emissions = list(await stage.work.commit(tx, done)) if done else []  # 3 facts
            await tx.emit(emissions)  # 4 next mailboxes and timers
            await tx.postpone([(_charged(r), _delay(r, unit)) for r in retries])
            await tx.bury(dead)
            if take_next:
                take_next()  # 5 beside the COMMIT: its flush leaves the server idle
        mailbox.ring(frozenset(RECEIVER[e.kind] for e in emissions))  # 6 a hint; losing it costs one sweep
        recorder.observe(STAGE_PERFORM, performed - began)
        recorder.observe(STAGE_COMMIT, anyio.current_time() - performed)
        _record(recorder, done, retries)
        _tell_dead(recorder, stage.name, dead)
        return False
    except ClockBehind as error:
        recorder.count(STAGE_MESSAGES, "clock", by=len(batch))
        await _put_back(mailbox, _waits_for_clock(batch, error), batch)
        return False
    except (Transient, TimeoutError) as error:
        recorder.count(STAGE_MESSAGES, "away", by=len(batch))
        waits = [Retry(m, reason_of(error)) for m in ready]
        waits += [o if isinstance(o, Retry) else Retry(o.message, o.why, counted=False) for o in early]
        dead = await _put_back(mailbox, [(_charged(r), _delay(r, unit)) for r in waits], batch)
        _tell_dead(recorder, stage.name, dead)
        return True
    except (LeaseLost, Invariant):
        raise
    except Exception as error:  # noqa: BLE001 - the one place: the guilty one is found singly
        recorder.count(STAGE_MESSAGES, "crash", by=len(batch))
        recorder.error(stage.name, error)
        _tell_dead(recorder, stage.name, await _isolate(mailbox, batch, error, unit))
        return False


def _sort(receives: frozenset[str], batch: Sequence[Message]) -> tuple[list[Message], list[Retry | Bury]]:
    """The messages to perform, and the outcomes that are clear without performing."""
    ready: list[Message] = []
    early: list[Retry | Bury] = []
    for m in batch:
        if m.kind not in receives:
            early.append(Retry(m, f"unknown kind {m.kind}", UNKNOWN_KIND_SECONDS, counted=False))
        elif m.rescues >= RESCUES_MAX:
            early.append(Bury(m, f"its process died {m.rescues} times over it"))
        else:
            ready.append(m)
    return ready, early


def _split(
    ready: Sequence[Message], outcomes: Sequence[Outcome[Fact]], removed_ids: frozenset[int]
) -> tuple[list[Done[Fact]], list[Retry], list[tuple[Message, str]]]:
    """Sort the outcomes of messages still ours; spent retries are dead. Every message has exactly one outcome."""
    ids = [o.message.id for o in outcomes]
    if len(set(ids)) != len(ids) or not {m.id for m in ready} <= set(ids):
        raise RuntimeError("perform must tell exactly one outcome for each message")
    kept = [o for o in outcomes if o.message.id in removed_ids]
    done = [o for o in kept if isinstance(o, Done)]
    retries = [o for o in kept if isinstance(o, Retry) and not _is_spent(o)]
    dead = [(o.message, o.why) for o in kept if isinstance(o, Bury)]
    dead += [
        (o.message, f"spent {ATTEMPTS_MAX} attempts: {o.why}") for o in kept if isinstance(o, Retry) and _is_spent(o)
    ]
    return done, retries, [(m, _storable(why)) for m, why in dead]


def _is_spent(retry: Retry) -> bool:
    return retry.counted and retry.message.attempts + 1 >= ATTEMPTS_MAX


def _charged(retry: Retry) -> Message:
    return replace(retry.message, attempts=retry.message.attempts + 1) if retry.counted else retry.message


def _delay(retry: Retry, unit: Callable[[], float]) -> float:
    return retry_seconds(retry.message.attempts, unit()) if retry.after_seconds is None else retry.after_seconds


async def _put_back(
    mailbox: Mailbox[MailboxTx], later: Sequence[tuple[Message, float]], batch: Sequence[Message]
) -> list[tuple[Message, str]]:
    """Own transaction, so that a handler that fails cannot roll back the count of its own attempts. What died of it.

    A crash here leaves the rows in running: rescue puts them back, at the price of a rescue instead of an attempt.
    """
    spent = [m for m, _ in later if m.attempts >= ATTEMPTS_MAX]
    async with mailbox.transaction(batch) as tx:
        removed_ids = await tx.remove(batch)
        await tx.postpone([(m, s) for m, s in later if m.id in removed_ids and m not in spent])
        dead = [(m, f"spent {ATTEMPTS_MAX} attempts, the outside stayed away") for m in spent if m.id in removed_ids]
        await tx.bury(dead)
    return dead


def _waits_for_clock(batch: Sequence[Message], error: ClockBehind) -> list[tuple[Message, float]]:
    """Only those wait that the clock has not reached; their neighbours go back to be taken again now. No attempts."""
    return [(m, CLOCK_SECONDS if m.subject in error.subjects or not error.subjects else 0.0) for m in batch]


async def _isolate(
    mailbox: Mailbox[MailboxTx], batch: Sequence[Message], error: Exception, unit: Callable[[], float]
) -> list[tuple[Message, str]]:
    """After an exception nobody expected: several go back to be taken one at a time; a single one is the guilty one.

    What died of it.
    """
    back = [replace(m, lane=m.lane | 1, rescues=m.rescues + 1) for m in batch]
    guilty = len(batch) == 1
    async with mailbox.transaction(batch) as tx:
        removed_ids = await tx.remove(batch)
        kept = [m for m in back if m.id in removed_ids]
        guilt = _storable(reason_of(error))
        dead = [(m, guilt) for m in kept if guilty and m.rescues >= RESCUES_MAX]
        delay = retry_seconds(max(back[0].rescues - 2, 0), unit()) if guilty else 0.0
        await tx.postpone([(m, delay) for m in kept if not dead])
        await tx.bury(dead)
    return dead


def _storable(why: str) -> str:
    """A reason that every database takes: a dead letter that cannot be written would end the process instead."""
    return why.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:WHY_LENGTH_MAX]


def _record(recorder: Recorder, done: Sequence[Done[object]], retries: list[Retry]) -> None:
    recorder.count(STAGE_MESSAGES, "done", by=len(done))
    for outcome in ("retry", "clock"):
        recorder.count(STAGE_MESSAGES, outcome, by=sum(retry.outcome == outcome for retry in retries))


def _tell_dead(recorder: Recorder, stage: str, dead: Sequence[tuple[Message, str]]) -> None:
    """After the commit: nobody waits for what died any more, so a line says which it was. Its reason is in the row."""
    recorder.count(STAGE_MESSAGES, "bury", by=len(dead))
    for m, _ in dead:
        recorder.note("buried", stage=stage, kind=m.kind, subject=m.subject, evidence=m.evidence)
