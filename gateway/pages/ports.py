"""What the portal needs from outside, in one bundle. pipeline/connect.py makes it, tests make another."""

from typing import Literal, Protocol
from uuid import UUID

from pipeline.formats.configuration import Config
from pipeline.ports.bridge import Bridge, Keys
from pipeline.ports.outside import IdentityProvider, Objects
from pipeline.stores.consents import ConsentStore
from pipeline.stores.portal import PortalStore


class Ids(Protocol):
    """Identifiers and random bytes."""

    def uuid7(self) -> UUID: ...
    def random_bytes(self, count: int) -> bytes: ...


class PortalPorts(Protocol):
    """Everything outside that a page may cause to be asked."""

    @property
    def config(self) -> Config: ...
    @property
    def portal(self) -> PortalStore: ...
    @property
    def consents(self) -> ConsentStore: ...
    @property
    def objects(self) -> Objects: ...
    @property
    def bridge(self) -> Bridge[Literal["gateway"]]: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def identity(self) -> IdentityProvider: ...
    @property
    def ids(self) -> Ids: ...
