"""The exceptions of the pipeline, one tree. The class says what happens next; fields carry ids; the text is for people.

    QerdsError
    ├── Transient      something outside is away or slow: try again later, nothing is wrong with the message
    │   ├── ObjectMissing   no such object in the store
    │   └── ObjectExists    the name is taken
    ├── LeaseLost      this process was taken for dead: drop the work, start a new epoch
    └── Invariant      something that must hold does not: stop the process, a person has to look

A refusal (content does not match, consent withdrawn, relay says no for ever) is not an error but a fact.
"""


class QerdsError(Exception):
    """Root of the tree; never raised itself."""


class Transient(QerdsError):
    """The outside is away. Adapters raise it `from` the library's error."""


class ObjectMissing(Transient):
    """No object of that name is in the store (any more, or yet: a store may lag behind the database)."""


class ObjectExists(Transient):
    """The name is taken and its object is not touched. Whoever tries again draws a new name."""


class LeaseLost(QerdsError):
    """The heartbeat was refused or the connection died: rows under this epoch may belong to others by now."""


class Invariant(QerdsError):
    """A promise of docs/invariants.md does not hold. Going on would make it worse."""
