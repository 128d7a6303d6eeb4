"""The table of transitions stands twice: in Python, where it is applied, and in the database, where it is guarded."""

from pipeline.delivery.states import STATES, TRANSITIONS
from pipeline.formats.configuration import DatabaseSettings
from tests.servers import PostgresServer


def test_the_database_knows_exactly_the_transitions_of_the_code(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """A state that the code may reach is one that the database lets through, and no other."""
    lines = postgres.psql("SELECT from_state, events, to_state FROM qerds.transition", database.name).split()
    rows = [line.split("|") for line in lines]
    mirrored = {(before, frozenset(events.strip("{}").split(","))): after for before, events, after in rows}
    assert len(mirrored) == len(rows), "two rows mean the same transition"
    assert mirrored == TRANSITIONS
    assert {
        state for before, after in ((b, a) for (b, _), a in mirrored.items()) for state in (before, after)
    } == STATES
