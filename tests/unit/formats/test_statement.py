"""A statement is the pinned authority's, for this purpose, of now, in its one form; or it states nothing."""

import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipeline.formats.statement import (
    PURPOSE,
    STATEMENT_DAYS,
    PublicationStatement,
    StatedKey,
    StatementRefused,
    read_statement,
    signed,
    signing_input,
    stated,
)
from tests.fakes.pki import FROM, UNTIL, Signer, authority, leaf

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = StatedKey("intake-202606", "intake", b"spki", None, NOW, NOW + timedelta(days=400))
ROOT = authority()
SIGNER = leaf(ROOT, "Test Statements", purposes=[PURPOSE])


def below(issuer: Signer, name: str, path_length: int | None, *, is_authority: bool = True) -> Signer:
    """An authority that another one vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject,
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=FROM,
        not_valid_after=UNTIL,
        extensions=[e for e in ROOT.certificate.extensions if isinstance(e.value, x509.KeyUsage)],
    )
    constraints = x509.BasicConstraints(ca=is_authority, path_length=path_length if is_authority else None)
    return Signer(key, builder.add_extension(constraints, critical=True).sign(issuer.key, hashes.SHA256()))


def made(
    signer: Signer = SIGNER, path: Sequence[Signer] = (), at: datetime = NOW, keys: Sequence[StatedKey] = (KEY,)
) -> bytes:
    to_sign = signing_input(stated(keys, [("crl", 1, b"crl")], at), [s.der for s in (signer, *path)])
    return signed(to_sign, signer.sign_raw(to_sign))


def test_what_is_stated_and_nothing_else() -> None:
    """The key and the document as they are, not one that differs in anything."""
    statement = read_statement(made(), ROOT.der, NOW)
    statement.check_key(KEY)
    statement.check_document("crl", 1, b"crl")
    for other in (
        StatedKey("intake-202607", *(getattr(KEY, name) for name in KEY.__struct_fields__[1:])),
        StatedKey(KEY.key_id, "webhook", KEY.spki, None, KEY.not_before, KEY.until),
        StatedKey(KEY.key_id, KEY.use, KEY.spki, b"", KEY.not_before, KEY.until),
    ):
        with pytest.raises(StatementRefused):
            statement.check_key(other)
    for document in (("crl", 2, b"crl"), ("ca", 1, b"crl"), ("crl", 1, b"other")):
        with pytest.raises(StatementRefused):
            statement.check_document(*document)


@pytest.mark.parametrize("length", range(6))
def test_a_path_of_any_length_leads_to_the_authority(length: int) -> None:
    """Each vouches for the one before it; the pinned one is not in the statement."""
    issuers = [ROOT]
    for n in range(length):
        issuers.append(below(issuers[-1], f"Authority {n}", None))
    signer = leaf(issuers[-1], purposes=[PURPOSE])
    read_statement(made(signer, issuers[:0:-1]), ROOT.der, NOW)
    if length:
        with pytest.raises(StatementRefused):
            read_statement(made(signer, issuers[:1:-1]), ROOT.der, NOW)  # a link is missing


@pytest.mark.parametrize(
    ("issuers", "why"),
    [
        ([below(ROOT, "A leaf", None, is_authority=False)], "no authority"),
        ([below(ROOT, "A", 0), "below"], "longer than"),
        ([authority("Test Authority")], "not issued by the next"),
        ([below(ROOT, "A", None)] * 7, "1 to 6"),
    ],
)
def test_a_path_that_nobody_vouches_for_is_refused(issuers: list[Signer | str], why: str) -> None:
    """An issuer that may not issue, one too many below it, another authority of the same name, no end of them."""
    chain = [issuers[0]]
    assert isinstance(issuers[0], Signer)
    chain = [below(issuers[0], "B", None), issuers[0]] if issuers[1:] == ["below"] else issuers
    signers = [signer for signer in chain if isinstance(signer, Signer)]
    with pytest.raises(StatementRefused, match=why):
        read_statement(made(leaf(signers[0], purposes=[PURPOSE]), signers), ROOT.der, NOW)


@pytest.mark.parametrize(
    "signer",
    [
        leaf(ROOT),
        leaf(ROOT, purposes=[ExtendedKeyUsageOID.TIME_STAMPING]),
        leaf(ROOT, purposes=[PURPOSE, ExtendedKeyUsageOID.TIME_STAMPING]),
        leaf(ROOT, purposes=[PURPOSE], not_after=NOW - timedelta(seconds=1)),
        leaf(ROOT, purposes=[PURPOSE], not_before=NOW + timedelta(seconds=1)),
        leaf(authority(), purposes=[PURPOSE]),
        ROOT,
    ],
)
def test_only_the_key_for_statements_states(signer: Signer) -> None:
    """Not the one for seals, for time-stamps, for both, of another time, of another authority, the authority's own."""
    with pytest.raises(StatementRefused):
        read_statement(made(signer), ROOT.der, NOW)


@pytest.mark.parametrize("age", [timedelta(minutes=-2), timedelta(days=STATEMENT_DAYS, seconds=1)])
def test_a_statement_is_of_now(age: timedelta) -> None:
    """Not of later, and not for ever; one that says that it lives longer does not."""
    with pytest.raises(StatementRefused, match="not of now"):
        read_statement(made(at=NOW - age), ROOT.der, NOW)
    longer = PublicationStatement(NOW - age, NOW + timedelta(days=999), (KEY,), ())
    to_sign = signing_input(longer, [SIGNER.der])
    with pytest.raises(StatementRefused, match="not of now"):
        read_statement(signed(to_sign, SIGNER.sign_raw(to_sign)), ROOT.der, NOW)


def _header(**changed: object) -> bytes:
    header = {"alg": "ES256", "typ": "qerds-statement-1", "x5c": [b64encode(SIGNER.der).decode()]} | changed
    head = urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
    to_sign = head + b"." + made().split(b".")[1]
    return signed(to_sign, SIGNER.sign_raw(to_sign))


def _payload(payload: object) -> bytes:
    to_sign = made().split(b".")[0] + b"." + urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=")
    return signed(to_sign, SIGNER.sign_raw(to_sign))


@pytest.mark.parametrize(
    "published",
    [
        b"",
        b"a.b.c",
        made()[:-1],
        made() + b"A",
        made().replace(b".", b"..", 1),
        b".".join([*made().split(b".")[:2], made().split(b".")[2][:-1] + b"-"]),
        b"A" * 600_000,
        _header(typ="JWT"),
        _header(alg="none"),
        _header(x5c=[]),
        _header(x5c="x"),
        _header(x5c=[7]),
        _header(x5c=["AAAA"]),
        _header(x5c=[b64encode(SIGNER.der).decode()] * 2),
        _header(jku="https://x"),
        _payload([]),
        _payload({}),
        _payload({"at": "2026-06-01T00:00:00", "until": "2026-06-02T00:00:00", "keys": [], "documents": []}),
        _payload({"at": "2026-06-01T00:00:00Z", "until": "2026-06-02T00:00:00Z", "keys": [], "documents": [], "x": 1}),
    ],
)
def test_what_is_not_in_the_form_is_refused(published: bytes) -> None:
    """Cut, longer, other spellings, other headers, another content: StatementRefused and nothing else."""
    with pytest.raises(StatementRefused):
        read_statement(published, ROOT.der, NOW)


def test_every_byte_is_under_the_signature() -> None:
    """A changed payload under a true signature."""
    head, payload, signature = made().split(b".")
    body = urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)).replace(b"intake-202606", b"intake-202607")
    with pytest.raises(StatementRefused, match="verify"):
        read_statement(b".".join([head, urlsafe_b64encode(body).rstrip(b"="), signature]), ROOT.der, NOW)
