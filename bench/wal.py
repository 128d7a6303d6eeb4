"""What PostgreSQL wrote: WAL bytes and flushes between two instants."""

from dataclasses import dataclass

WAL_AND_FLUSHES = """
SELECT (SELECT w.wal_bytes FROM pg_stat_wal w)::bigint,
       coalesce((SELECT sum(i.fsyncs) FROM pg_stat_io i), 0)::bigint
"""


@dataclass(frozen=True, slots=True)
class Written:
    """Since the server started. Processes report with up to a second's delay."""

    wal_bytes: int
    fsyncs: int

    def since(self, before: "Written") -> "Written":
        """The difference."""
        return Written(self.wal_bytes - before.wal_bytes, self.fsyncs - before.fsyncs)


def parsed(row: str) -> Written:
    """One unaligned row of psql."""
    wal_bytes, fsyncs = row.strip().replace("\t", "|").split("|")
    return Written(int(wal_bytes), int(fsyncs))
