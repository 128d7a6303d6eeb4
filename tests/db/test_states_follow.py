"""A state follows from stamped evidence in the database too, whatever the process says that may ask for it."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from uuid import UUID, uuid4

import asyncpg
import pytest

from pipeline.adapters.postgres.link import Link
from pipeline.delivery.facts import DecisionIntent
from pipeline.delivery.states import DEPOSITED, NOTICE_FAILED, NOTIFIED, STATES, SUBMITTED, TRANSITIONS
from pipeline.evidence.facts import EvidenceDraft, EvidenceSeal, EvidenceToken
from pipeline.formats.configuration import DatabaseSettings
from tests.contract.mailbox_worlds import PostgresWorld
from tests.servers import PostgresServer
from tests.worlds.bare_evidence import bare_draft

pytestmark = pytest.mark.anyio
REACHED = {0: SUBMITTED, 1: DEPOSITED, 2: NOTIFIED, 3: NOTICE_FAILED}  # by A.1, C.1 and C.2, each with its token
STEPS = {(before, after) for (before, _), after in TRANSITIONS.items()}


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter with three evidences, each with its seal."""

    world: PostgresWorld
    delivery: UUID
    drafts: tuple[EvidenceDraft, ...]

    async def add(self, stage: str, *facts: object) -> None:
        box = self.world.mailbox(stage)
        await box.start()
        async with box.transaction(()) as tx:
            await tx.add(facts)
        await box.stop()

    async def stamp(self, place: int) -> None:
        draft = self.drafts[place - 1]
        await self.add("timestamp", EvidenceToken(draft.evidence, b"token", draft.event_time))


@pytest.fixture
async def letter(postgres: PostgresServer, database: DatabaseSettings) -> Letter:
    world = PostgresWorld(postgres, database)
    delivery = world.delivery()
    places = (("encrypt", "A.1", 0), ("notify", "C.1", 1), ("notify", "C.2", 1))
    drafts = tuple(bare_draft(delivery, event, n, ordinal) for n, (_, event, ordinal) in enumerate(places, start=1))
    made = Letter(world, delivery, drafts)
    for (stage, _, _), draft in zip(places, drafts, strict=True):
        await made.add(stage, draft)
        await made.add("seal", EvidenceSeal(draft.evidence, bytes(64), "seal-1"))
    return made


async def granted(link: Link, delivery: UUID, standing: int) -> set[tuple[str, int]]:
    """Of every state at every length of the prefix, which are given to whoever asks; each is undone."""
    states = set()
    for state, through in product(sorted(STATES), range(5)):
        try:
            async with link.transaction():
                arguments = ([delivery], [REACHED[standing]], [standing], [state], [through])
                if await link.fetch("advance_deliveries", *arguments):
                    states.add((state, through))
                raise ZeroDivisionError
        except (ZeroDivisionError, asyncpg.PostgresError):
            pass
    return states


@pytest.mark.parametrize("stamped", [(), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)], ids=str)
async def test_a_state_stands_on_tokens_without_a_gap(
    letter: Letter, database: DatabaseSettings, stamped: tuple[int, ...]
) -> None:
    """Whoever took over `timestamp` may ask for any state after any number of evidences: what is proved is given."""
    for place in stamped:
        await letter.stamp(place)
    link = Link(database.dsn("qerds_timestamp"))
    await link.open()
    whole = next(n for n in range(4) if n + 1 not in stamped)
    for standing in range(whole + 1):
        proved = {(REACHED[n], n) for n in range(standing, whole + 1)}
        steps = {(state, n) for state, n in proved if n == standing or (REACHED[standing], state) in STEPS}
        assert await granted(link, letter.delivery, standing) == steps, standing
        if standing == whole:
            break
        arguments = (REACHED[standing], standing, REACHED[standing + 1], standing + 1)
        assert await link.call("advance_deliveries", [letter.delivery], *([value] for value in arguments))
    await link.close()


@pytest.mark.parametrize(("act", "event"), [("accept", "C.3"), ("refuse", "C.4")])
async def test_a_decision_is_drafted_within_a_minute_of_its_intent(
    postgres: PostgresServer, database: DatabaseSettings, act: str, event: str
) -> None:
    """A receipt that comes later than that is worth nothing, whoever holds it."""
    world, outcomes = PostgresWorld(postgres, database), list[tuple[bool, str]]()
    for age_seconds in (50, 61, 86_400):
        delivery = world.delivery()
        async with world.gateway() as tx:
            now = (await tx.lock([delivery]))[delivery].legal_time
            await tx.add([DecisionIntent(uuid4(), delivery, act, now)])
        postgres.psql(
            f"UPDATE qerds.decision_intent SET made_at = made_at - interval '{age_seconds} s'"
            f" WHERE delivery = '{delivery}'",
            database.name,
        )
        at = now - timedelta(microseconds=now.microsecond % 1000)
        async with world.gateway() as tx:
            is_alive = (await tx.lock([delivery]))[delivery].intent_alive
        try:
            async with world.gateway() as tx:
                await tx.add([bare_draft(delivery, event, 1, at=at, receipt=b"receipt")])
            outcomes.append((is_alive, "drafted"))
        except asyncpg.CheckViolationError:
            outcomes.append((is_alive, "refused"))
    assert outcomes == [(True, "drafted"), (False, "refused"), (False, "refused")]


@pytest.mark.parametrize(("token_seconds", "earliest_seconds"), [(-0.5, 0), (0.5, 0), (1, 0), (5, 4), (3600, 3599)])
async def test_what_is_next_is_before_neither_the_last_event_nor_its_proof(
    letter: Letter, postgres: PostgresServer, database: DatabaseSettings, token_seconds: float, earliest_seconds: float
) -> None:
    """The later of the two, with the second that the token's clock may be ahead."""
    last = letter.drafts[-1]
    proved_at = last.event_time + timedelta(seconds=token_seconds)
    await letter.add("timestamp", EvidenceToken(last.evidence, b"token", proved_at))
    async with letter.world.gateway() as tx:
        locked = (await tx.lock([letter.delivery]))[letter.delivery]
    assert locked.not_before == last.event_time + timedelta(seconds=earliest_seconds)
