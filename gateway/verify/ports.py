"""What the public check needs from outside: what this service publishes, who checks, and nothing about any letter."""

from typing import Protocol

from pipeline.formats.configuration import Config
from pipeline.ports.bridge import Keys
from pipeline.ports.outside import Checker


class VerifyPorts(Protocol):
    """Anchor and revocation list, and the verifier apart from this process."""

    @property
    def config(self) -> Config: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def checker(self) -> Checker: ...
