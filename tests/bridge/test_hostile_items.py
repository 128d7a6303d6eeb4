"""Items written by somebody who wants to stop the bridge: each is refused with a reason, none is a fault of ours."""

import json
import random
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hsm_bridge import wire
from hsm_bridge.operations.table import OPERATIONS
from pipeline.formats.identity_providers import EMBEDDED
from tests.bridge_process import describe, provider_key, write_jwks
from tests.contract.bridge_cases import DELIVERY, SESSION, BridgeCase
from tests.fakes.bridge import FakeBridge, decision_item, pinned
from tests.fakes.identity import ProviderTokens

SEED = 20260302
DEEP = 20_000

pytestmark = pytest.mark.anyio


@pytest.fixture
async def items(tmp_path: Path) -> tuple[FakeBridge, dict[str, bytes]]:
    """A good item of every operation, as it goes over the wire."""
    key = provider_key()
    jwks = tmp_path / "jwks.json"
    write_jwks(jwks, key)
    settings = pinned(jwks)
    fake = FakeBridge(legal_now=lambda: datetime.now(UTC), random=secrets.token_bytes, identity=settings)
    description = await describe(fake.client("operator"))
    case = BridgeCase(fake.client, lambda: datetime.now(UTC), key, description)
    content = await case.content()
    context, wrap = await case.wrapped()
    person = await case.identified()
    accepted = await case.decided(person, "accept")
    tokens: ProviderTokens = await case.login()
    assert person.ticket is not None
    good: list[wire.Item[Any, Any]] = [
        wire.WrapContent(context=content.context, keys=bytes(64)),
        wire.DeriveWrap(
            context=context,
            contents=(wire.WrappedContent(key_id=content.key_id, wrapped=content.wrapped, context=content.context),),
        ),
        wire.OpenIntake(key_id="intake-202601", info=b"info", sealed=b"\x04" + bytes(112)),
        wire.SealEvidence(evidence=case.draft("A.1").canonical, receipt=None),
        case.package_of(await case.proven(case.draft("A.1"))),
        wire.SealList(entries=(("mimetype", bytes(32)),), signing_time=datetime.now(UTC)),
        wire.TimeStamp(imprint=bytes(32), event_time=datetime.now(UTC)),
        wire.BeginIdentity(delivery=DELIVERY, session=SESSION, provider=EMBEDDED),
        wire.SignWebhook(id=DELIVERY, timestamp=int(datetime.now(UTC).timestamp()), body=b"{}"),
        decision_item(person.ticket, DELIVERY, "accept"),
        wire.VerifyIdentity(
            nonce=tokens.nonce,
            session=SESSION,
            delivery=DELIVERY,
            provider=EMBEDDED,
            tokens=wire.IdentityTokens(tokens.id_token(), tokens.userinfo()),
            wrapped=wrap.wrapped,
            wrap_key_id=wrap.key_id,
            context=context,
        ),
        wire.Release(
            wrapped=wrap.wrapped,
            wrap_key_id=wrap.key_id,
            context=context,
            ticket=person.ticket,
            receipt=accepted.receipt,
        ),
    ]
    asked = {type(item).op: wire.encode(item) for item in good}
    assert asked.keys() == {op for op, operation in OPERATIONS.items() if operation.keys}
    return fake, asked


async def test_no_altered_item_is_a_fault(items: tuple[FakeBridge, dict[str, bytes]]) -> None:
    """Thousands of altered items: each is done or refused by name; the seed of a failure is the constant above."""
    fake, good = items
    dice = random.Random(SEED)
    for op, data in good.items():
        for _ in range(300):
            altered = bytearray(data)
            for _ in range(dice.randint(1, 4)):
                place = dice.randrange(len(altered))
                change = dice.randrange(3)
                if change == 0:
                    altered[place] ^= 1 << dice.randrange(8)
                elif change == 1:
                    del altered[place : place + dice.randint(1, 9)]
                else:
                    altered[place:place] = dice.randbytes(dice.randint(1, 9))
                altered = altered or bytearray(b"\x00")
            result = fake.perform(op, bytes(altered))
            assert result.err != "fault", (op, bytes(altered), result.detail)


async def test_a_time_without_a_zone_is_refused(items: tuple[FakeBridge, dict[str, bytes]]) -> None:
    """In every item that has one, before anybody compares it."""
    fake, good = items
    tried = 0
    for op, data in good.items():
        item = wire.decode(data, OPERATIONS[op].item)
        for name in [n for n in item.__struct_fields__ if isinstance(getattr(item, n), datetime)]:
            naive = msgspec.structs.replace(item, **{name: getattr(item, name).replace(tzinfo=None)})
            assert fake.perform(op, wire.encode(naive)).err == "item_invalid", (op, name)
            tried += 1
    assert tried == 3


async def test_deep_and_odd_structures_are_refused(items: tuple[FakeBridge, dict[str, bytes]]) -> None:
    """Nesting without end, in the frame, in XML and in JSON, exhausts nothing."""
    fake, _ = items
    nested_xml = b"<erds:Evidence>" + b"<a>" * DEEP + b"</a>" * DEEP + b"</erds:Evidence>"
    odd = {
        "seal_evidence": [wire.encode(wire.SealEvidence(evidence=nested_xml, receipt=None)), b"\x91" * DEEP + b"\xc0"],
        "wrap_content": [wire.encode(wire.WrapContent(context=b"\x01" + b"\x91" * DEEP, keys=bytes(32)))],
        "derive_wrap": [
            wire.encode(wire.DeriveWrap(context=b"\x01" + b"\x91" * DEEP, contents=())),
            b"\x82\xa7context\xc4\x00\xa8contents" + b"\x91" * DEEP,
        ],
        "time_stamp": [b"\x81\xa7imprint" + b"\x91" * DEEP],
    }
    for op, several in odd.items():
        for data in several:
            assert fake.perform(op, data).err not in (None, "fault"), op


async def test_half_characters_in_claims_are_refused(items: tuple[FakeBridge, dict[str, bytes]]) -> None:
    """JSON can spell a surrogate that no other encoding can write: it is no name."""
    fake, good = items
    item = wire.decode(good["verify_identity"], wire.VerifyIdentity)
    assert fake.perform("verify_identity", good["verify_identity"]).err is None
    key = provider_key()
    jwk = fake.vault.keyring.identity_jwk()
    tokens = ProviderTokens(key, jwk, item.nonce, datetime.now(UTC), userinfo_claims={"given_name": "\ud800"})
    jwks_file = fake.vault.config.identity.providers[EMBEDDED].jwks_file
    assert jwks_file is not None
    jwks_file.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    bent = msgspec.structs.replace(item, tokens=wire.IdentityTokens(tokens.id_token(), tokens.userinfo()))
    assert fake.perform("verify_identity", wire.encode(bent)).err == "token_malformed"
