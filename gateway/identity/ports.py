"""What signing in needs from outside, beside the kit of pages."""

from collections.abc import Mapping
from typing import Literal, Protocol

from gateway.pages.ports import SessionPorts
from pipeline.ports.bridge import Bridge, Keys
from pipeline.ports.outside import BackChannel


class IdentityPorts(SessionPorts, Protocol):
    """The bridge decides who somebody is, a provider's back channel (by the provider's name) brings it the tokens."""

    @property
    def bridge(self) -> Bridge[Literal["gateway"]]: ...
    @property
    def identity(self) -> Mapping[str, BackChannel]: ...
    @property
    def keys(self) -> Keys: ...
