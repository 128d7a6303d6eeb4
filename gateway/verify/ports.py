"""What the public check needs from outside: what this service publishes, and nothing about any letter."""

from typing import Protocol

from pipeline.formats.configuration import Config
from pipeline.ports.bridge import Keys


class VerifyPorts(Protocol):
    """Anchor and revocation list."""

    @property
    def config(self) -> Config: ...
    @property
    def keys(self) -> Keys: ...
