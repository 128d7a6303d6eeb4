"""The real bridge and the one in memory, in the same clothes, for the contract suite and for the bridge's own tests.

Owns     what a test of the recipient's way needs: a wrapped letter, tokens of a login, drafts under its seal key
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from joserfc.jwk import ECKey

from hsm_bridge import wire
from hsm_bridge.client import BridgeClient
from pipeline.adapters.bridge import SocketBridge
from pipeline.evidence.dossier import Deposit, Issuer
from pipeline.evidence.draft import Head, draft
from pipeline.evidence.facts import EvidenceDraft
from pipeline.formats.assurance import AssuranceLevel
from pipeline.formats.context import (
    AddresseeRecord,
    ContentContext,
    WrapContext,
    content_context,
    wrap_context,
)
from pipeline.formats.identity_providers import EMBEDDED
from pipeline.formats.person import IdentifiedPerson
from pipeline.formats.xades import imprint_sha256
from tests.bridge_process import SECOND
from tests.fakes import letters, pki
from tests.fakes.bridge import decision_item
from tests.fakes.identity import ProviderTokens, second_signed, second_values

DELIVERY = letters.DELIVERY
SESSION = hashlib.sha256(b"browser session").digest()
KEYS = bytes(range(32)) + bytes(range(32, 64))
ADDRESSEE = AddresseeRecord("consumer", "Zoé", "Lefèvre", "Martin", None)

NUMBER = "40128823401927"  # of the letters of tests/fakes/letters.py


@dataclass(frozen=True, slots=True)
class BridgeCase:
    """One bridge under test."""

    client: Callable[[str], BridgeClient]
    legal_now: Callable[[], datetime]
    provider_key: ECKey
    description: wire.Description

    def bridge(self, caller: str) -> SocketBridge:
        return SocketBridge(self.client(caller))

    @property
    def seal_key(self) -> wire.PublicKey:
        return [key for key in self.description.keys if key.use == "seal"][-1]

    @property
    def seal_certificate(self) -> bytes:
        assert self.seal_key.certificate is not None
        return self.seal_key.certificate

    def draft(
        self,
        event: str,
        *,
        at: datetime | None = None,
        identification: IdentifiedPerson | None = None,
        receipt: bytes | None = None,
        delivery: UUID = DELIVERY,
        certificate_sha256: bytes | None = None,
        mode: str = "non_qualified",
        ordinal: int = 0,
        contents: Sequence[bytes] = (),
        after: bytes | None = None,
    ) -> EvidenceDraft:
        """An evidence under the bridge's seal key, at its place in a delivery that has been deposited. after: what it
        follows, where that matters."""
        moment = at or self.legal_now()
        known = letters.dossier(pki.Provider.new(), *contents)
        sha256 = certificate_sha256 or hashlib.sha256(self.seal_certificate).digest()
        issuer = Issuer(known.issuer.name, "FR", known.issuer.policy_oid, self.seal_key.key_id, sha256)
        known = replace(known, issuer=issuer, delivery=delivery, mode=mode, submitted_at=moment)
        first = event in ("A.1", "A.2")
        if not first:
            deposit = Deposit(UUID(int=7), bytes(32), moment - timedelta(hours=1), bytes(32))
            known = replace(known, deposit=deposit)
        drafted = frozenset[str]() if first else frozenset({"A.1"})
        predecessor = bytes(32) if after is None else hashlib.sha256(after).digest()
        head = Head(delivery, "any", 1 if first else 2, None if first else predecessor, moment, drafted)
        return draft(
            head, event, known, event_time=moment, identification=identification, receipt=receipt, ordinal=ordinal
        )

    async def proven(self, drafted: EvidenceDraft) -> wire.PackagedEvidence:
        """Sealed and stamped, as the stages do."""
        [seal] = await self.bridge("seal").ask([wire.SealEvidence(drafted.canonical, None)])
        assert isinstance(seal, wire.Sealed), seal
        imprint = imprint_sha256(seal.signature)
        [stamp] = await self.bridge("timestamp").ask([wire.TimeStamp(imprint, drafted.event_time)])
        assert isinstance(stamp, wire.Stamped), stamp
        return wire.PackagedEvidence(drafted.canonical, seal.signature, stamp.token)

    def package_of(self, *proofs: wire.PackagedEvidence) -> wire.SealPackage:
        """The first snapshot that holds these."""
        moment = self.legal_now().replace(microsecond=0)
        return wire.SealPackage(proofs, NUMBER, 1, None, self.description.crl, moment)

    async def content(self, letter: bytes = b"letter", keys: bytes = KEYS, open_days: int = 90) -> wire.WrappedContent:
        """A content's wrap."""
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=open_days)
        about = ContentContext(
            UUID(int=3), hashlib.sha256(letter).digest(), hashlib.sha3_256(letter).digest(), len(letter), until
        )
        context = content_context(about)
        [answer] = await self.bridge("encrypt").ask([wire.WrapContent(context, keys)])
        assert isinstance(answer, wire.Wrapped), answer
        return wire.WrappedContent(answer.key_id, answer.wrapped, context)

    async def wrapped(
        self, delivery: UUID = DELIVERY, level: AssuranceLevel = "substantial"
    ) -> tuple[bytes, wire.Wrapped]:
        """A letter's context and the wrap of KEYS under it."""
        context = letter_context(b"letter", delivery=delivery, level=level)
        item = wire.DeriveWrap(context, (await self.content(),))
        [answer] = await self.bridge("encrypt").ask([item])
        assert isinstance(answer, wire.Wrapped), answer
        return context, answer

    async def login(self, delivery: UUID = DELIVERY, **bent: object) -> ProviderTokens:
        """The tokens of a login that the bridge began."""
        [begun] = await self.bridge("gateway").ask([wire.BeginIdentity(delivery, SESSION, EMBEDDED)])
        assert isinstance(begun, wire.Begun), begun
        fields = {"nonce": begun.nonce, "moment": datetime.now(UTC)} | bent
        return ProviderTokens(key=self.provider_key, bridge_jwk=self.description.identity_jwk, **fields)  # type: ignore[arg-type]

    async def second_proof(
        self, context: bytes, wrap: wire.Wrapped, claims: Mapping[str, object], delivery: UUID = DELIVERY
    ) -> wire.VerifyIdentity:
        """A login with the second provider, whose one token says these claims too."""
        [begun] = await self.bridge("gateway").ask([wire.BeginIdentity(delivery, SESSION, SECOND)])
        assert isinstance(begun, wire.Begun), begun
        token = second_signed(second_values(begun.nonce, datetime.now(UTC)) | dict(claims))
        tokens = wire.IdentityTokens(token, "")
        return wire.VerifyIdentity(begun.nonce, SESSION, delivery, SECOND, tokens, wrap.wrapped, wrap.key_id, context)

    async def identified(
        self, delivery: UUID = DELIVERY, letter: tuple[bytes, wire.Wrapped] | None = None
    ) -> wire.Identified:
        """Somebody who identified as the addressee, of this letter (context and wrap) or of one of its own."""
        context, wrap = letter or await self.wrapped(delivery)
        tokens = await self.login(delivery)
        [answer] = await self.bridge("gateway").ask([proof(tokens, context, wrap, delivery)])
        assert isinstance(answer, wire.Identified), answer
        return answer

    async def decided(self, person: wire.Identified, act: str, delivery: UUID = DELIVERY) -> wire.Decided:
        assert person.ticket is not None
        [answer] = await self.bridge("gateway").ask([decision_item(person.ticket, delivery, act)])
        assert isinstance(answer, wire.Decided), answer
        return answer


def letter_context(*letters: bytes, delivery: UUID = DELIVERY, level: AssuranceLevel = "substantial") -> bytes:
    """The context of a letter with these contents."""
    parts = tuple((hashlib.sha256(c).digest(), hashlib.sha3_256(c).digest(), len(c)) for c in letters)
    return wrap_context(WrapContext(delivery, parts, ADDRESSEE, level))


def proof(tokens: ProviderTokens, context: bytes, wrap: wire.Wrapped, delivery: UUID = DELIVERY) -> wire.VerifyIdentity:
    """What the gateway hands to the bridge after a login."""
    answer = wire.IdentityTokens(tokens.id_token(), tokens.userinfo())
    return wire.VerifyIdentity(tokens.nonce, SESSION, delivery, EMBEDDED, answer, wrap.wrapped, wrap.key_id, context)
