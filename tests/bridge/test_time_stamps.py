"""RFC 3161 tokens: what is made verifies elsewhere, what is forged or altered does not verify here."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import structs
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

from pipeline.formats import tst
from pipeline.ports.bridge import wire
from tests.fakes import pki
from tests.fakes.bridge import FakeBridge
from tests.worlds.time_stamp_unit import IMPRINT, MESSAGE, MOMENT, REQUEST, ROOT, TOKEN, UNIT, authority


def verifier(unit: pki.Signer = UNIT, root: pki.Signer = ROOT) -> VerifierBuilder:
    builder = VerifierBuilder(tsa_certificate=unit.certificate).add_root_certificate(root.certificate)
    return builder.policy_id(x509.ObjectIdentifier(pki.TSA_POLICY))


@pytest.mark.parametrize("nonce", [None, 7, 2**63 + 1])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_another_client_accepts_the_answers(algorithm: str, nonce: int | None) -> None:
    """rfc3161-client verifies our answers under our pinned unit and root, and finds the nonce again."""
    digest = hashlib.new(algorithm, MESSAGE).digest()
    request = tst.encode_request(tst.StampRequest(algorithm, digest, pki.TSA_POLICY, nonce, True))
    response = decode_timestamp_response(authority().answer(request, MOMENT))
    builder = verifier() if nonce is None else verifier().nonce(nonce)
    builder.build().verify_message(response, MESSAGE)
    with pytest.raises(VerificationError):
        builder.build().verify_message(response, b"other bytes")


def test_a_forged_token_with_its_own_root_is_refused_everywhere() -> None:
    """A self-signed authority inside a token proves nothing: neither here nor by the other client."""
    evil_root = pki.authority("Evil")
    evil_unit = pki.leaf(evil_root, "Unit", purposes=pki.TIME_STAMPING)
    forged = authority(evil_unit).stamp(REQUEST, MOMENT)
    with pytest.raises(tst.TokenInvalid, match="anchor"):
        tst.verify_token(forged, IMPRINT, anchors=[ROOT.der])
    with pytest.raises(tst.TokenInvalid, match="ESSCertIDv2"):
        tst.verify_token(forged, IMPRINT, certificate=UNIT.der)
    with pytest.raises(VerificationError):
        verifier().build().verify_message(decode_timestamp_response(tst.granted(forged)), MESSAGE)


def test_a_good_token_verifies_pinned_or_by_its_issuer() -> None:
    """Both ways of trust work, and the values come out as they went in."""
    for token in (
        tst.verify_token(TOKEN, IMPRINT, certificate=UNIT.der),
        tst.verify_token(TOKEN, IMPRINT, anchors=[pki.authority("Other").der, ROOT.der], policy=pki.TSA_POLICY),
    ):
        assert (token.gen_time, token.stamp.accuracy_seconds) == (MOMENT, 1)
        assert token.stamp.serial.bit_length() <= tst.SERIAL_BITS_MAX


def test_every_flipped_bit_is_noticed() -> None:
    """No byte of a token can change without being noticed, certificate and all."""
    for place in range(len(TOKEN)):
        altered = TOKEN[:place] + bytes([TOKEN[place] ^ 1]) + TOKEN[place + 1 :]
        with pytest.raises(tst.TokenInvalid):
            tst.verify_token(altered, IMPRINT, anchors=[ROOT.der])


@pytest.mark.parametrize("altered", [b"", TOKEN[:-1], TOKEN + b"\x00", b"\x30\x80" + TOKEN[4:], b"\x30" * 20_000])
def test_what_is_no_token_is_refused(altered: bytes) -> None:
    """Cut, longer, indefinite or huge: not a token."""
    with pytest.raises(tst.TokenInvalid):
        tst.parse_token(altered)


def unit_with(purposes: list[x509.ObjectIdentifier] | None) -> Callable[[], pki.Signer]:
    return lambda: pki.leaf(ROOT, "Unit", purposes=purposes)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (unit_with(None), "key usage extension"),
        (unit_with([*pki.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING]), "time-stamping alone"),
        (unit_with([ExtendedKeyUsageOID.CODE_SIGNING]), "time-stamping alone"),
        (lambda: pki.leaf(pki.leaf(ROOT, "Not a CA"), "Unit", purposes=pki.TIME_STAMPING), "anchor"),
        (lambda: pki.leaf(ROOT, "Unit", purposes=pki.TIME_STAMPING, not_before=MOMENT + timedelta(days=1)), "validity"),
        (lambda: pki.leaf(ROOT, "Unit", purposes=pki.TIME_STAMPING, not_after=MOMENT - timedelta(days=1)), "validity"),
    ],
)
def test_a_unit_that_may_not_stamp_is_refused(make: Callable[[], pki.Signer], reason: str) -> None:
    """Usage, issuer and validity of the unit's certificate are checked at the token's own time."""
    token = pki.time_stamp(make(), IMPRINT, MOMENT)
    with pytest.raises(tst.TokenInvalid, match=reason):
        tst.verify_token(token, IMPRINT, anchors=[ROOT.der])


def test_an_anchor_must_be_an_authority() -> None:
    """A leaf given as an anchor by mistake anchors nothing."""
    leaf = pki.leaf(ROOT, "Not a CA")
    token = pki.time_stamp(pki.leaf(leaf, "Unit", purposes=pki.TIME_STAMPING), IMPRINT, MOMENT)
    with pytest.raises(tst.TokenInvalid, match="anchor"):
        tst.verify_token(token, IMPRINT, anchors=[leaf.der])


def test_another_certificate_in_the_token_is_refused() -> None:
    """ESSCertIDv2 binds the signer's certificate: one that merely has the same key or issuer does not do."""
    other = pki.leaf(ROOT, "Unit", purposes=pki.TIME_STAMPING)
    swapped = pki.time_stamp(UNIT, IMPRINT, MOMENT, certificate=other.der)
    with pytest.raises(tst.TokenInvalid):
        tst.verify_token(swapped, IMPRINT, certificate=UNIT.der)


def test_another_imprint_or_policy_is_refused() -> None:
    """A token is about one digest, under one policy."""
    with pytest.raises(tst.TokenInvalid, match="imprint"):
        tst.verify_token(TOKEN, bytes(32), anchors=[ROOT.der])
    with pytest.raises(tst.TokenInvalid, match="policy"):
        tst.verify_token(TOKEN, IMPRINT, anchors=[ROOT.der], policy="1.2.3")
    with pytest.raises(tst.TokenInvalid, match="anchor"):
        tst.verify_token(TOKEN, IMPRINT)


def test_a_token_without_its_certificate_needs_one_from_elsewhere() -> None:
    """certReq is honoured: the certificate is there when asked for and only then."""
    bare = authority().stamp(replace(REQUEST, certificate_requested=False), MOMENT)
    assert tst.parse_token(bare).certificate is None
    tst.verify_token(bare, IMPRINT, certificate=UNIT.der)
    with pytest.raises(tst.TokenInvalid):
        tst.verify_token(bare, IMPRINT, anchors=[ROOT.der])


def of_algorithm(last_arc: int) -> bytes:
    """The request with another digest algorithm of the SHA-2 arc, and a digest of 32 bytes."""
    sha2 = bytes.fromhex("86480165030402")
    return tst.encode_request(REQUEST).replace(sha2 + b"\x01", sha2 + bytes([last_arc]))


@pytest.mark.parametrize(
    ("request_der", "failure"),
    [
        (b"", tst.BAD_DATA_FORMAT),
        (b"\x30\x00", tst.BAD_DATA_FORMAT),
        (b"\x30" * 5000, tst.BAD_DATA_FORMAT),
        (tst.encode_request(replace(REQUEST, policy="1.2.3")), tst.UNACCEPTED_POLICY),
        (tst.encode_request(replace(REQUEST, nonce=2**200)), tst.BAD_REQUEST),
        (tst.encode_request(REQUEST).replace(b"\x02\x01\x01", b"\x02\x01\x02", 1), tst.BAD_REQUEST),
        (of_algorithm(4), tst.BAD_ALGORITHM),
        (of_algorithm(3), tst.BAD_DATA_FORMAT),
    ],
)
def test_a_bad_request_gets_the_failure_that_the_standard_gives(request_der: bytes, failure: int) -> None:
    """Rejections parse elsewhere, carry no token and name the reason."""
    with pytest.raises(tst.RequestInvalid) as refused:
        authority().stamp(tst.parse_request(request_der), MOMENT)
    assert refused.value.failure == failure
    response = decode_timestamp_response(authority().answer(request_der, MOMENT))
    assert response.status == 2


def test_a_request_with_an_extension_is_refused() -> None:
    """We understand no extension, so a request that carries one is not answered as if it had none."""
    plain = tst.encode_request(REQUEST)
    extension = bytes.fromhex("a00b3009") + bytes.fromhex("06032a0304") + bytes.fromhex("04020500")
    with_extension = b"\x30" + bytes([len(plain) - 2 + len(extension)]) + plain[2:] + extension
    with pytest.raises(tst.RequestInvalid) as refused:
        tst.parse_request(with_extension)
    assert refused.value.failure == tst.UNACCEPTED_EXTENSION


def test_a_unit_that_is_not_valid_now_does_not_stamp() -> None:
    """A token that nobody could accept is not made."""
    with pytest.raises(tst.RequestInvalid) as refused:
        authority().stamp(REQUEST, pki.UNTIL + timedelta(days=1))
    assert refused.value.failure == tst.TIME_NOT_AVAILABLE


@pytest.mark.anyio
async def test_in_qualified_mode_no_clock_that_nobody_watches_stamps() -> None:
    """Nothing attests that this clock is synchronised: there is no token rather than one that claims it."""
    fake = FakeBridge(legal_now=lambda: MOMENT, random=secrets.token_bytes)
    item = wire.TimeStamp(IMPRINT, None)
    [answer] = await fake.bridge("timestamp").ask([item])
    assert isinstance(answer, wire.Stamped)
    fake.vault.config = structs.replace(fake.vault.config, mode="qualified")
    [answer] = await fake.bridge("timestamp").ask([item])
    assert isinstance(answer, wire.Denied) and answer.code == "time_not_available"
