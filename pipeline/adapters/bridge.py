"""The bridge as the ports see it: the errors of its client, translated.

Owns     one socket, that of this process's caller kind
Rules    busy and away become Transient, a clock that is away ClockBehind; a refusal of one item stays a Denied of that
         item, also when it is only the clock's, so that its neighbours do not wait with it; asking what this caller may
         not is an Invariant
Elsewhere: framing and reconnects (hsm_bridge/client.py), what is allowed (the bridge itself)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Never, TypeVar

import msgspec

from hsm_bridge import client, wire
from pipeline.errors import ClockBehind, Invariant, Transient

Answer = TypeVar("Answer", bound=msgspec.Struct)


class SocketBridge:
    """Every pipeline.ports.bridge.Bridge over one socket; the bridge allows only what that socket's caller kind may."""

    def __init__(self, bridge_client: client.BridgeClient) -> None:
        self._client = bridge_client

    @classmethod
    def at(cls, socket_dir: Path, caller: str) -> "SocketBridge":
        """Over the socket of this caller kind; connects at the first call, and again after any trouble."""
        return cls(client.BridgeClient(socket_dir / f"{caller}.sock"))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def ask(self, items: Sequence[wire.Item[Answer, Never]]) -> Sequence[Answer | wire.Denied]:
        try:
            return await self._client.ask(items)
        except client.BridgeClockAway as error:
            raise ClockBehind(str(error)) from error
        except (client.BridgeBusy, client.BridgeAway) as error:
            raise Transient(str(error)) from error
        except client.BridgeDenied as error:
            raise Invariant(str(error)) from error
