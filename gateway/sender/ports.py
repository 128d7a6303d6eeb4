"""What the sender API needs from outside, in one bundle. pipeline/connect.py makes it, tests make another."""

from typing import Protocol
from uuid import UUID

from pipeline.formats.configuration import Config
from pipeline.ports.bridge import Keys
from pipeline.ports.outside import Checker, Clock, Ids, Objects
from pipeline.process.recorder import Recorder
from pipeline.stores.batches import BatchStore
from pipeline.stores.consents import ConsentStore
from pipeline.stores.exports import ExportStore
from pipeline.stores.feed import EventStore
from pipeline.stores.senders import PackRows, SandboxClock, SenderStore


class LetterIds(Ids, Protocol):
    """Identifiers, keys and names of objects, public numbers of letters."""

    def random_bytes(self, count: int) -> bytes: ...
    def random_number(self) -> str: ...


class CheckedObjects(Objects, Protocol):
    """The object store, and whether it can be written to now."""

    async def check(self) -> None:
        """Raises Transient when it cannot."""

    async def remove_unfinished(self, older_seconds: float) -> int:
        """Deletes what writers that died have left, when it is that old; how many. Raises Transient."""


class PackWriter(Protocol):
    """Takes in the small contents of one part of a batch (packs.py)."""

    async def add(self, sender: UUID, file_name: str, content_type: str, content: bytes) -> UUID:
        """The upload that this content will be. Raises Transient."""

    async def finish(self) -> PackRows | None:
        """What is to be stored with the lines; None when nothing was added. Raises Transient."""


class SenderPorts(Protocol):
    """Everything outside that a request of a sender may cause to be asked."""

    @property
    def config(self) -> Config: ...
    @property
    def senders(self) -> SenderStore: ...
    @property
    def sandbox(self) -> SandboxClock | None:
        """None in any installation that is not embedded."""

    @property
    def exports(self) -> ExportStore: ...
    @property
    def consents(self) -> ConsentStore: ...
    @property
    def events(self) -> EventStore: ...
    @property
    def batches(self) -> BatchStore: ...
    @property
    def objects(self) -> CheckedObjects: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def checker(self) -> Checker: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> LetterIds: ...
    @property
    def recorder(self) -> Recorder: ...
