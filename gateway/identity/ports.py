"""What signing in needs from outside, beside the kit of pages."""

from typing import Literal, Protocol

from gateway.pages.ports import SessionPorts
from pipeline.ports.bridge import Bridge, Keys
from pipeline.ports.outside import IdentityProvider


class IdentityPorts(SessionPorts, Protocol):
    """The bridge decides who somebody is, the provider's back channel brings it the tokens."""

    @property
    def bridge(self) -> Bridge[Literal["gateway"]]: ...
    @property
    def identity(self) -> IdentityProvider: ...
    @property
    def keys(self) -> Keys: ...
