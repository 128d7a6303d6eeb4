"""What a migration tells the operator, and what it may do while processes of the build before still run."""

import re

import pytest

from pipeline.adapters.postgres.migrate import Migration, read_folder

MIGRATIONS = read_folder()
HEAD = re.compile(
    r"-- \S[^\n]*\n(?:-- \S[^\n]*\n)*--\n"
    r"-- Gives          (?P<gives>\S[^\n]*(?:\n--                \S[^\n]*)*)\n"
    r"-- Locks          (?P<locks>\S[^\n]*(?:\n--                \S[^\n]*)*)\n"
    r"-- Old processes  (?P<old>(?:may run|must not run): \S[^\n]*(?:\n--                \S[^\n]*)*)"
)
# docs/adr/0001-forward-only-migrations.md has the reason of each.
BREAKS_THE_OLD = re.compile(
    r"\bDROP\s+(TABLE|COLUMN|VIEW|FUNCTION|SCHEMA|TYPE)\b|\bRENAME\b|\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b"
    r"|\bSET\s+NOT\s+NULL\b|\bREVOKE\b[^;]*\bFROM\s+qerds_|\bTRUNCATE\s+qerds|\bVACUUM\s+FULL\b|\bCLUSTER\b",
    re.IGNORECASE,
)


def statements(sql: str) -> str:
    """Without the comments, which may name what a file does not do."""
    return re.sub(r"--[^\n]*", "", sql)


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda m: m.name)
def test_a_migration_says_what_the_operator_has_to_know(migration: Migration) -> None:
    """Its head, which `migrate --check` shows, says what it gives, what it locks, and whether old processes may run."""
    assert HEAD.match(migration.head), migration.head


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda m: m.name)
def test_what_would_break_old_processes_says_so(migration: Migration) -> None:
    """A file that drops, renames or narrows what the build before uses says that its processes must not run."""
    told = HEAD.match(migration.head)
    assert told
    if told["old"].startswith("may run"):
        assert not BREAKS_THE_OLD.search(statements(migration.sql))


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE qerds.sender DROP COLUMN email;",
        "alter table qerds.sender rename column email to mail;",
        "ALTER TABLE qerds.sender ALTER COLUMN email TYPE varchar(10);",
        "ALTER TABLE qerds.sender ALTER COLUMN email SET NOT NULL;",
        "DROP TABLE qerds.sender;",
        "REVOKE SELECT ON qerds.sender FROM qerds_gateway;",
    ],
)
def test_the_lint_finds_what_breaks_old_processes(statement: str) -> None:
    """Each way to take something away from processes that run."""
    assert BREAKS_THE_OLD.search(statements(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE qerds.sender ADD COLUMN phone text;",
        "REVOKE ALL ON FUNCTION qerds.f() FROM PUBLIC;",
        "ALTER TABLE qerds.sender DROP CONSTRAINT sender_email_check, ADD CHECK (length(email) <= 320) NOT VALID;",
        "-- no RENAME of anything\nCREATE TABLE qerds.phone (number text);",
    ],
)
def test_the_lint_leaves_what_only_adds(statement: str) -> None:
    """What old processes do not notice."""
    assert not BREAKS_THE_OLD.search(statements(statement))
