"""What the sender API needs from outside, in one bundle. pipeline/connect.py makes it, tests make another."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from pipeline.config import Config
from pipeline.ports import Keys, Objects
from pipeline.recorder import Recorder
from pipeline.senders import SenderStore


class Clock(Protocol):
    """The real clock: tokens and assertions. Legal time comes from the database."""

    def now(self) -> datetime: ...


class Ids(Protocol):
    """Identifiers and random bytes."""

    def uuid7(self) -> UUID: ...
    def random_bytes(self, count: int) -> bytes: ...
    def random_number(self) -> str: ...


class CheckedObjects(Objects, Protocol):
    """The object store, and whether it can be written to now."""

    async def check(self) -> None:
        """Raises Transient when it cannot."""

    async def remove_unfinished(self, older_seconds: float) -> int:
        """Deletes what writers that died have left, when it is that old; how many. Raises Transient."""


class SenderPorts(Protocol):
    """Everything outside that a request of a sender may cause to be asked."""

    @property
    def config(self) -> Config: ...
    @property
    def senders(self) -> SenderStore: ...
    @property
    def objects(self) -> CheckedObjects: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> Ids: ...
    @property
    def recorder(self) -> Recorder: ...
