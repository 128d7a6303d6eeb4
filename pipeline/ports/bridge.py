"""The bridge, as each of its callers sees it, and the keys that it has published.

Owns     the one way to ask; `wire`, through which the rest of the pipeline and the gateway reach the bridge's items
Rules    a port is Bridge[a caller kind]: the type checker refuses an item that this kind may not ask
Elsewhere: the fields of items and answers (hsm_bridge/wire.py), who may ask and what is done
           (hsm_bridge/operations/table.py)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from hsm_bridge import wire as wire

Answer = TypeVar("Answer", bound=msgspec.Struct)
Asker = TypeVar("Asker", bound=wire.Caller, covariant=True)


class Bridge(Protocol[Asker]):
    """The bridge as one caller kind sees it."""

    async def ask(self, items: Sequence[wire.Item[Answer, Asker]]) -> Sequence[Answer | wire.Denied]:
        """One operation for many items: an answer or Denied for each, in their order; nothing is asked for no items.
        May be called twice: seals and tokens over the same bytes say the same thing. Raises Transient when the bridge
        is busy or away, Invariant when this process may not ask."""


class TimeStampAuthority(Protocol):
    """The time-stamp authority as `timestamp` sees it. May be called twice. Raises Transient when it is away."""

    async def ask(self, items: Sequence[wire.TimeStamp]) -> Sequence[wire.Stamped | wire.Denied]:
        """One token for each."""


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A public key of the bridge, as the pinned authority states it."""

    key_id: str
    use: str
    spki: bytes
    certificate: bytes | None
    not_before: datetime
    until: datetime


class Keys(Protocol):
    """The keys that the bridge has published: what the pinned authority does not state is not there."""

    async def active(self, use: str) -> PublishedKey:
        """The newest key of that use that may still seal something new. Raises Transient when there is none yet."""

    async def every(self, use: str) -> Sequence[PublishedKey]:
        """All keys of that use, the newest first, old ones too."""

    async def by_id(self, key_id: str) -> PublishedKey:
        """Any published key. Raises Transient when it is not published (yet)."""

    async def trust_anchor(self) -> bytes:
        """DER of the CA certificate pinned at installation."""

    async def document(self, name: str) -> bytes | None:
        """The newest published document of that name: crl, identity_jwks."""

    async def statement(self) -> bytes:
        """What the pinned authority states of all keys and documents, signed (pipeline/formats/statement.py), for
        readers outside. Raises Transient when there is none."""
