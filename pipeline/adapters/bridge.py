"""The bridge as the ports see it: values and errors of its client, translated.

Owns     the translation between pipeline.ports and hsm_bridge.wire; one socket, that of this process's caller kind
Rules    busy and away become Transient; a refusal of one item stays a Denied of that item, also when it is only the
         clock's, so that its neighbours do not wait with it; asking what this caller may not is an Invariant
Elsewhere: framing and reconnects (hsm_bridge/client.py), what is allowed (the bridge itself)
"""

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

from hsm_bridge import client, wire
from pipeline.errors import Invariant, Transient
from pipeline.feed.ports import WebhookItem
from pipeline.ports.bridge import (
    DecisionItem,
    DecisionReceipt,
    Denied,
    DeriveWrapItem,
    IdentifiedPerson,
    IdentityProof,
    IdentityStart,
    IntakeItem,
    PackageItem,
    Released,
    ReleaseItem,
    SealAnswer,
    SealItem,
    StampItem,
    WrapAnswer,
    WrapContentItem,
)

Answer = TypeVar("Answer")


class Bridge:
    """All bridge ports over one socket; the bridge itself allows only the operations of that socket's caller kind."""

    def __init__(self, bridge_client: client.BridgeClient) -> None:
        self._client = bridge_client

    @classmethod
    def at(cls, socket_dir: Path, caller: str) -> "Bridge":
        """Over the socket of this caller kind; connects at the first call, and again after any trouble."""
        return cls(client.BridgeClient(socket_dir / f"{caller}.sock"))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def open_intake(self, items: Sequence[IntakeItem]) -> Sequence[bytes | Denied]:
        asked = [wire.OpenIntake(key_id=i.key_id, info=i.info, sealed=i.sealed) for i in items]
        answers = await _ask(self._client.open_intake(asked))
        return [_denied(a) if isinstance(a, client.Denied) else a.key for a in answers]

    async def wrap_content(self, items: Sequence[WrapContentItem]) -> Sequence[WrapAnswer | Denied]:
        asked = [wire.WrapContent(context=i.context, keys=i.keys) for i in items]
        return [_wrap(a) for a in await _ask(self._client.wrap_content(asked))]

    async def derive_wrap(self, items: Sequence[DeriveWrapItem]) -> Sequence[WrapAnswer | Denied]:
        asked = [
            wire.DeriveWrap(
                context=i.context,
                contents=tuple(
                    wire.WrappedContent(key_id=c.key_id, wrapped=c.wrapped, context=c.context) for c in i.contents
                ),
            )
            for i in items
        ]
        return [_wrap(a) for a in await _ask(self._client.derive_wrap(asked))]

    async def seal_evidence(self, items: Sequence[SealItem]) -> Sequence[SealAnswer | Denied]:
        asked = [wire.SealEvidence(evidence=i.evidence, receipt=i.receipt) for i in items]
        return [_seal(a) for a in await _ask(self._client.seal_evidence(asked))]

    async def seal_package(self, items: Sequence[PackageItem]) -> Sequence[SealAnswer | Denied]:
        asked = [wire.SealPackage(entries=i.entries, signing_time=i.signing_time) for i in items]
        return [_seal(a) for a in await _ask(self._client.seal_package(asked))]

    async def time_stamp(self, items: Sequence[StampItem]) -> Sequence[bytes | Denied]:
        asked = [wire.TimeStamp(imprint=i.imprint, event_time=i.event_time) for i in items]
        answers = await _ask(self._client.time_stamp(asked))
        return [_denied(a) if isinstance(a, client.Denied) else a.token for a in answers]

    async def sign_webhook(self, items: Sequence[WebhookItem]) -> Sequence[SealAnswer | Denied]:
        asked = [wire.SignWebhook(id=i.id, timestamp=i.timestamp, body=i.body) for i in items]
        answers = await _ask(self._client.sign_webhook(asked))
        return [_denied(a) if isinstance(a, client.Denied) else SealAnswer(a.key_id, a.signature) for a in answers]

    async def begin_identity(self, items: Sequence[IdentityStart]) -> Sequence[str | Denied]:
        asked = [wire.BeginIdentity(delivery=i.delivery, session=i.session) for i in items]
        answers = await _ask(self._client.begin_identity(asked))
        return [_denied(a) if isinstance(a, client.Denied) else a.nonce for a in answers]

    async def verify_identity(self, items: Sequence[IdentityProof]) -> Sequence[IdentifiedPerson | Denied]:
        asked = [
            wire.VerifyIdentity(
                nonce=i.nonce,
                session=i.session,
                delivery=i.delivery,
                id_token=i.id_token,
                userinfo=i.userinfo,
                wrapped=i.wrapped,
                wrap_key_id=i.wrap_key_id,
                context=i.context,
            )
            for i in items
        ]
        answers = await _ask(self._client.verify_identity(asked))
        return [_denied(a) if isinstance(a, client.Denied) else _person(a) for a in answers]

    async def decide(self, items: Sequence[DecisionItem]) -> Sequence[DecisionReceipt | Denied]:
        asked = [wire.Decide(ticket=i.ticket, delivery=i.delivery, act=i.act) for i in items]
        answers = await _ask(self._client.decide(asked))
        return [
            _denied(a) if isinstance(a, client.Denied) else DecisionReceipt(a.receipt, a.act, a.person, a.at)
            for a in answers
        ]

    async def release(self, items: Sequence[ReleaseItem]) -> Sequence[Released | Denied]:
        asked = [
            wire.Release(
                wrapped=i.wrapped, wrap_key_id=i.wrap_key_id, context=i.context, ticket=i.ticket, receipt=i.receipt
            )
            for i in items
        ]
        answers = await _ask(self._client.release(asked))
        return [_denied(a) if isinstance(a, client.Denied) else Released(a.keys, a.receipt) for a in answers]


async def _ask(call: Awaitable[Answer]) -> Answer:
    try:
        return await call
    except (client.BridgeBusy, client.BridgeAway) as error:
        raise Transient(str(error)) from error
    except client.BridgeDenied as error:
        raise Invariant(str(error)) from error


def _denied(answer: client.Denied) -> Denied:
    return Denied(answer.code, answer.detail)


def _wrap(answer: wire.Wrapped | client.Denied) -> WrapAnswer | Denied:
    return _denied(answer) if isinstance(answer, client.Denied) else WrapAnswer(answer.key_id, answer.wrapped)


def _seal(answer: wire.Sealed | client.Denied) -> SealAnswer | Denied:
    return _denied(answer) if isinstance(answer, client.Denied) else SealAnswer(answer.key_id, answer.signature)


def _person(answer: wire.Identified) -> IdentifiedPerson:
    return IdentifiedPerson(
        match=answer.match,
        level=answer.level,
        subject=answer.subject,
        given_names=answer.given_names,
        birth_name=answer.birth_name,
        usage_name=answer.usage_name,
        birth_date=answer.birth_date,
        authenticated_at=answer.auth_time,
        person_sha256=answer.person,
        ticket=answer.ticket,
        proof=answer.proof,
    )
