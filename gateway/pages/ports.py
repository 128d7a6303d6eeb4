"""What the kit of pages needs from outside: sessions and letters. Each face of pages adds what it alone asks."""

from typing import Protocol

from pipeline.formats.configuration import Config
from pipeline.ports.outside import Ids
from pipeline.stores.portal import PortalStore


class SessionIds(Ids, Protocol):
    """Identifiers, and random bytes for what only one browser may know."""

    def random_bytes(self, count: int) -> bytes: ...


class SessionPorts(Protocol):
    """Whatever a page about a letter or a request asks."""

    @property
    def config(self) -> Config: ...
    @property
    def portal(self) -> PortalStore: ...
    @property
    def ids(self) -> SessionIds: ...
