"""What a token may answer instead of doing it. Users take these names from hsm_bridge/token/device.py, their door."""

from hsm_bridge.errors import BridgeError


class TokenAway(BridgeError):
    """The token did not do it and may later; `lost` asks for a restart of the module."""

    def __init__(self, text: str, *, lost: bool) -> None:
        super().__init__(text)
        self.lost = lost


class TokenStopped(BridgeError):
    """The token refuses us (PIN, unsafe key): a person has to look; never retried in a loop."""


class KeyMissing(BridgeError):
    """No such key in the token."""


class TagMismatch(ValueError):
    """Authenticated decryption failed: other key, other context or altered bytes."""


class PointInvalid(ValueError):
    """The token refuses this public point."""
