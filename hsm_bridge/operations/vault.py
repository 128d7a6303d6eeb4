"""What every operation works with, and what it may answer.

Owns     the vault (the token, its keys, the configuration and the revocation list of one bridge), the moment of an
         operation, its answer with what the record says of it, its refusal
Rules    an operation is a function of vault, item and moment, run in a worker thread; a refusal is a stable code for
         that item alone; every signature is verified before it is answered; nothing signs bytes that a caller composed
Elsewhere: which operations there are and who may ask (table), moments and queues (service), records (audit)
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from hsm_bridge.identity.issuer_keys import IssuerKeys
from hsm_bridge.token.device import Token
from hsm_bridge.token.keyring import Keyring
from pipeline.formats.configuration import Config

Answer = TypeVar("Answer", bound=msgspec.Struct, covariant=True)


class Refused(Exception):
    """This item gets no; `code` is stable, the text is for people."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Moment:
    """Both clocks as read for a batch; legal is None for operations that need no legal time."""

    now: datetime
    legal: datetime | None

    @property
    def legal_time(self) -> datetime:
        if self.legal is None:
            raise Refused("clock_missing", "this operation was started without the legal time")
        return self.legal


@dataclass(frozen=True, slots=True)
class Done(Generic[Answer]):
    """One item's answer, with what the audit record says about it. lag_seconds: how long after its event a token was
    made."""

    answer: Answer
    key_id: str = ""
    about: str = ""
    lag_seconds: float | None = None


@dataclass(slots=True)
class Vault:
    """One bridge's token and keys, and how they fare. The service replaces keyring and crl, and keeps the rest."""

    token: Token
    keyring: Keyring
    config: Config
    crl: bytes
    token_up: bool = True
    queued_items: int = 0
    issuer_keys: dict[str, IssuerKeys] = field(default_factory=dict)  # by the provider's name

    def mac(self, data: bytes) -> bytes:
        """The MAC of nonces, tickets and receipts."""
        return self.token.mac(self.keyring.last("mac").key_id, data)
