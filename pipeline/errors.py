"""The exceptions of the pipeline, one tree. The class says what happens next; the text is for people who read logs.

    QerdsError
    ├── Transient      something outside is away or slow: try again later, nothing is wrong with the message
    │   ├── ObjectMissing   no such object in the store
    │   ├── ObjectExists    the name is taken
    │   └── ClockBehind     a clock is behind what happened last: it was set back
    ├── LeaseLost      this process was taken for dead: drop the work, start a new epoch
    ├── Invariant      something that must hold does not: stop the process, a person has to look
    ├── NoHost         none of the database hosts may be used now
    └── ConfigInvalid, MigrationRefused      the installation is not as this build needs it: do not start

These texts, and no others, are written to logs and dead letters (pipeline/process/failure.py). So they carry ids,
kinds, counts, codes, keys of the configuration and paths; never a value that somebody sent, nor what a library said: an
adapter names the library's type of error, its status or its code. An error whose text may quote its input is not of
this tree: a parser raises a ValueError of its own, for whoever sent the input. tests/tidy/test_texts_of_errors.py
holds it.

A refusal (content does not match, consent withdrawn, relay says no for ever) is not an error but a fact.
"""

from collections.abc import Collection
from uuid import UUID


class QerdsError(Exception):
    """Root of the tree; never raised itself."""


class Transient(QerdsError):
    """The outside is away. Adapters raise it `from` the library's error."""


class ObjectMissing(Transient):
    """No object of that name is in the store (any more, or yet: a store may lag behind the database)."""


class ObjectExists(Transient):
    """The name is taken and its object is not touched. Whoever tries again draws a new name."""


class ClockBehind(Transient):
    """A clock is behind what happened, or behind what another clock proved. No time is ever clamped: whoever drafts,
    seals or stamps tries again until the clock has passed. subjects: the deliveries it is about; none: everything that
    was tried with them."""

    def __init__(self, text: str, subjects: Collection[UUID] = ()) -> None:
        super().__init__(text)
        self.subjects = frozenset(subjects)


class LeaseLost(QerdsError):
    """The heartbeat was refused or the connection died: rows under this epoch may belong to others by now."""


class Invariant(QerdsError):
    """A promise of docs/invariants.md does not hold. Going on would make it worse."""
