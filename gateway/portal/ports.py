"""What the recipient's pages need from outside, beside the kit of pages."""

from typing import Literal, Protocol

from gateway.pages.ports import SessionPorts
from pipeline.ports.bridge import Bridge
from pipeline.ports.outside import Objects
from pipeline.stores.consents import ConsentStore


class PortalPorts(SessionPorts, Protocol):
    """Everything outside that the page of a letter or of a consent request may cause to be asked."""

    @property
    def consents(self) -> ConsentStore: ...
    @property
    def objects(self) -> Objects: ...
    @property
    def bridge(self) -> Bridge[Literal["gateway"]]: ...
