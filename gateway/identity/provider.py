"""What the identity wall needs of an identity provider, whatever it speaks.

Owns     the interface, and how a sign-in can end without an answer for the bridge
Rules    a provider decides nothing about a person: its answer goes to the bridge as it is
Elsewhere: one file per way of speaking (oidc.py), the sign-in's own state (gate.py), which there are (routes.py)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline.ports.bridge import wire

Unanswered = Literal["cancelled", "refused", "unavailable"]  # results that the identity page can explain


@dataclass(frozen=True, slots=True)
class SignIn:
    """One sign-in on its way. nonce: the bridge's; state: what the way back is recognised by; secret: hex of 32 random
    bytes that no browser learns; callback: the address of the way back."""

    nonce: str
    state: str
    secret: str
    callback: str


class IdentityProvider(Protocol):
    """One configured identity provider."""

    @property
    def label(self) -> str | None:
        """How people call it; None for one that has no name."""

    @property
    def form_targets(self) -> tuple[str, ...]:
        """The origins that a form which begins a sign-in may lead to (CSP form-action)."""

    async def departure(self, sign_in: SignIn) -> str:
        """The address to send the person to. Raises Transient when it cannot be known now."""

    def recognises(self, returned: Mapping[str, str]) -> bool:
        """Whether the query of a way back can be this provider's; another one's uses up no sign-in."""

    async def answer(self, returned: Mapping[str, str], secret: str, callback: str) -> wire.IdentityTokens | Unanswered:
        """What to show to the bridge, out of the query of the way back. Called once for a sign-in. Raises Transient."""
