"""What was granted and is still good: interactions, codes and access tokens. In memory, bounded, gone at a restart.

Rules    a code lives 30 s and is good once; an access token 60 s; an interaction 10 minutes, as at FranceConnect+
         (a replayed code also ends the access token that it gave: RFC 6749 section 4.1.2)
Elsewhere: HTTP, tokens' contents
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from deploy.local.identity_provider.tokens import TOKEN_SECONDS, Grant

CODE_SECONDS = 30
INTERACTION_SECONDS = 600
KEPT_MAX = 10_000  # each kind; a demonstration never comes near, a runaway script stops here

Value = TypeVar("Value")


class Expiring(Generic[Value]):
    """Values under random names that go away by themselves."""

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self._seconds = seconds
        self._now = now
        self._kept: dict[str, tuple[float, Value]] = {}

    def add(self, value: Value) -> str:
        """Keeps `value`; its name."""
        self._kept = {name: kept for name, kept in self._kept.items() if kept[0] > self._now()}
        if len(self._kept) >= KEPT_MAX:
            raise RuntimeError("too many sign-ins at once")
        name = secrets.token_hex(32)
        self._kept[name] = (self._now() + self._seconds, value)
        return name

    def get(self, name: str) -> Value | None:
        """The value while it lasts."""
        until, value = self._kept.get(name, (0.0, None))
        return value if until > self._now() else None

    def take(self, name: str) -> Value | None:
        """The value, once."""
        value = self.get(name)
        self._kept.pop(name, None)
        return value


@dataclass(frozen=True, slots=True)
class SignInRequest:
    """An authorization request that passed its checks."""

    client_id: str
    redirect_uri: str
    state: str
    nonce: str
    scopes: frozenset[str]
    acr: str


class Grants:
    """All that the provider remembers."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.interactions = Expiring[SignInRequest](INTERACTION_SECONDS, now)
        self._codes = Expiring[Grant](CODE_SECONDS, now)
        self._tokens = Expiring[Grant](TOKEN_SECONDS, now)
        self._spent_by_code: dict[str, str] = {}

    def code(self, grant: Grant) -> str:
        """A fresh code; under the attack `replayed_code` one that was redeemed already."""
        code = self._codes.add(grant)
        if grant.attack == "replayed_code":
            self.redeem(code)
        return code

    def redeem(self, code: str) -> tuple[Grant, str] | None:
        """The grant and a fresh access token; None for a code that is unknown, late or used."""
        grant = self._codes.take(code)
        if grant is None:
            self._tokens.take(self._spent_by_code.pop(code, ""))
            return None
        token = self._tokens.add(grant)
        if len(self._spent_by_code) >= KEPT_MAX:
            self._spent_by_code.clear()
        self._spent_by_code[code] = token
        return grant, token

    def holder(self, token: str) -> Grant | None:
        """Whom an access token speaks for."""
        return self._tokens.get(token)
