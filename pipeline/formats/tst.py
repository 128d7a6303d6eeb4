"""RFC 3161 time-stamps: requests, tokens and answers as bytes, and the check of a token.

Owns     the ASN.1 of requests, TSTInfo, the CMS around it (RFC 5652, RFC 5816) and answers; what makes a token valid
Rules    pure: time, serial numbers and signatures come from the caller; a token is accepted only if rebuilding it from
         its parsed values gives the same bytes, so that no second encoding of a token can pass
Elsewhere: keys and clocks (hsm_bridge/operations/authority.py), revocation lists (the offline verifier)
Source   RFC 3161, RFC 5652, RFC 5816, ETSI EN 319 422; profile: SHA-256 and ECDSA P-256 in the signature
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from pipeline.formats import tst_schema

REQUEST_BYTES_MAX = 4096  # a request is a digest and a few numbers
TOKEN_BYTES_MAX = 16_384  # ours are about 1 KiB with the certificate
RESOLUTION = timedelta(milliseconds=1)  # of gen_time and of EventTime: both are rounded down
SERIAL_BITS_MAX = 160  # RFC 3161 section 2.4.2

Oid = tst_schema.Oid
SHA256_OID = Oid("2.16.840.1.101.3.4.2.1")
DIGESTS = {  # name -> (algorithm, length in bytes); SHA-1 is refused (ETSI TS 119 312)
    "sha256": (SHA256_OID, 32),
    "sha384": (Oid("2.16.840.1.101.3.4.2.2"), 48),
    "sha512": (Oid("2.16.840.1.101.3.4.2.3"), 64),
}
ECDSA_SHA256 = Oid("1.2.840.10045.4.3.2")  # RFC 5754 section 3.3
SIGNED_DATA = Oid("1.2.840.113549.1.7.2")  # RFC 5652 section 5.1
TST_INFO = Oid("1.2.840.113549.1.9.16.1.4")  # RFC 3161 section 2.4.2
CONTENT_TYPE = Oid("1.2.840.113549.1.9.3")  # RFC 5652 section 11.1
MESSAGE_DIGEST = Oid("1.2.840.113549.1.9.4")  # RFC 5652 section 11.2
SIGNING_CERTIFICATE_V2 = Oid("1.2.840.113549.1.9.16.2.47")  # RFC 5035 section 3

BAD_ALGORITHM, BAD_REQUEST, BAD_DATA_FORMAT = 0, 2, 5  # PKIFailureInfo bits, RFC 3161 section 2.4.2
TIME_NOT_AVAILABLE, UNACCEPTED_POLICY, UNACCEPTED_EXTENSION = 14, 15, 16


class TokenInvalid(ValueError):
    """The token proves nothing; the text says which check failed."""


class RequestInvalid(ValueError):
    """The request gets a rejection; `failure` is its PKIFailureInfo bit."""

    def __init__(self, failure: int, text: str) -> None:
        super().__init__(text)
        self.failure = failure


Decoded = TypeVar("Decoded")


@dataclass(frozen=True, slots=True)
class StampRequest:
    """What a client asks for."""

    imprint_algorithm: str  # a name of DIGESTS
    imprint: bytes
    policy: str | None
    nonce: int | None
    certificate_requested: bool


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a token states; gen_time is UTC with at most milliseconds."""

    policy: str
    imprint_algorithm: str
    imprint: bytes
    serial: int
    gen_time: datetime
    accuracy_seconds: int | None
    nonce: int | None


@dataclass(frozen=True, slots=True)
class TimeStampToken:
    """A parsed token; parsing alone proves nothing, see verify_token."""

    stamp: Stamp
    tst_info: bytes
    signed_attributes: bytes  # the SET that the signature covers
    signature: bytes  # DER ECDSA-Sig-Value
    issuer: bytes  # DER Name of the signer's issuer
    signer_serial: int
    certificate_sha256: bytes  # ESSCertIDv2
    certificate: bytes | None  # DER, when the request asked for it

    @property
    def gen_time(self) -> datetime:
        return self.stamp.gen_time

    @property
    def imprint(self) -> bytes:
        return self.stamp.imprint


def encode_request(request: StampRequest) -> bytes:
    """A TimeStampReq."""
    message = tst_schema.TimeStampRequest(
        version=1,
        imprint=_imprint(request.imprint_algorithm, request.imprint),
        policy=None if request.policy is None else Oid(request.policy),
        nonce=request.nonce,
        certificate_requested=request.certificate_requested,
        extensions=None,
    )
    return asn1.encode_der(message)


def parse_request(der: bytes) -> StampRequest:
    """Reads a TimeStampReq; raises RequestInvalid with the failure bit that RFC 3161 section 2.4.2 gives."""
    if len(der) > REQUEST_BYTES_MAX:
        raise RequestInvalid(BAD_DATA_FORMAT, f"request is larger than {REQUEST_BYTES_MAX} bytes")
    try:
        request = asn1.decode_der(tst_schema.TimeStampRequest, der)
    except ValueError as error:
        raise RequestInvalid(BAD_DATA_FORMAT, "not a DER TimeStampReq") from error
    if request.version != 1:
        raise RequestInvalid(BAD_REQUEST, "version is not 1")
    if request.extensions is not None:
        raise RequestInvalid(UNACCEPTED_EXTENSION, "no extension is accepted")
    if request.nonce is not None and request.nonce.bit_length() > SERIAL_BITS_MAX:
        raise RequestInvalid(BAD_REQUEST, f"nonce has more than {SERIAL_BITS_MAX} bits")
    name = _digest_name(request.imprint.algorithm.algorithm)
    if name is None:
        raise RequestInvalid(BAD_ALGORITHM, "imprint must be SHA-256, SHA-384 or SHA-512")
    if len(request.imprint.digest) != DIGESTS[name][1]:
        raise RequestInvalid(BAD_DATA_FORMAT, f"imprint has not the length of {name}")
    policy = None if request.policy is None else request.policy.dotted_string
    return StampRequest(name, request.imprint.digest, policy, request.nonce, request.certificate_requested)


def encode_stamp(stamp: Stamp) -> bytes:
    """The TSTInfo of a stamp: no ordering, no tsa name, no extensions (the profile of this service)."""
    info = tst_schema.TstInfo(
        version=1,
        policy=Oid(stamp.policy),
        imprint=_imprint(stamp.imprint_algorithm, stamp.imprint),
        serial=stamp.serial,
        gen_time=asn1.GeneralizedTime(stamp.gen_time.astimezone(UTC)),
        accuracy=None if stamp.accuracy_seconds is None else tst_schema.Accuracy(seconds=stamp.accuracy_seconds),
        nonce=stamp.nonce,
    )
    return asn1.encode_der(info)


def signed_attributes(tst_info: bytes, certificate_sha256: bytes) -> bytes:
    """The SET OF attributes whose SHA-256 is signed (RFC 5652 section 5.4, RFC 5816 section 2.2.1)."""
    return asn1.encode_der(_attributes(tst_info, certificate_sha256))


def encode_token(
    tst_info: bytes,
    signature: bytes,
    issuer: bytes,
    signer_serial: int,
    certificate_sha256: bytes,
    certificate: bytes | None,
) -> bytes:
    """The ContentInfo; `signature` is the DER ECDSA signature over signed_attributes()."""
    plain_sha256 = tst_schema.Algorithm(algorithm=SHA256_OID, parameters=None)
    signer = tst_schema.SignerInfo(
        version=1,  # RFC 5652 section 5.3: the signer is named by issuer and serial number
        signer=tst_schema.SignerId(issuer=_tlv(issuer), serial=signer_serial),
        digest_algorithm=plain_sha256,
        signed_attributes=_attributes(tst_info, certificate_sha256),
        signature_algorithm=tst_schema.Algorithm(algorithm=ECDSA_SHA256, parameters=None),
        signature=signature,
    )
    signed = tst_schema.SignedData(
        version=3,  # RFC 5652 section 5.1: the content is not id-data
        digest_algorithms=asn1.SetOf([plain_sha256]),
        encapsulated=tst_schema.Encapsulated(type=TST_INFO, content=tst_info),
        certificates=None if certificate is None else asn1.SetOf([_tlv(certificate)]),
        signers=asn1.SetOf([signer]),
    )
    return asn1.encode_der(tst_schema.ContentInfo(type=SIGNED_DATA, content=signed))


def granted(token: bytes) -> bytes:
    """A TimeStampResp that carries a token."""
    return asn1.encode_der(
        tst_schema.Granted(status=tst_schema.Status(status=0, text=None, failure=None), token=_tlv(token))
    )


def rejected(failure: int, text: str) -> bytes:
    """A TimeStampResp that says no, with one failure bit."""
    bits = bytearray(failure // 8 + 1)
    bits[failure // 8] = 0x80 >> failure % 8
    flags = asn1.BitString(bytes(bits), 7 - failure % 8)  # DER: a named bit list ends with its last one bit
    return asn1.encode_der(tst_schema.Rejected(status=tst_schema.Status(status=2, text=[text], failure=flags)))


def parse_token(der: bytes) -> TimeStampToken:
    """Reads a token of this profile; raises TokenInvalid for any other byte string."""
    if len(der) > TOKEN_BYTES_MAX:
        raise TokenInvalid(f"token is larger than {TOKEN_BYTES_MAX} bytes")
    signed = _decode(tst_schema.ContentInfo, der).content
    signers = signed.signers.as_list()
    certificates = [] if signed.certificates is None else [_bytes(c) for c in signed.certificates.as_list()]
    if len(signers) != 1 or len(certificates) > 1:
        raise TokenInvalid("a token has one signer and at most one certificate")
    signer, tst_info = signers[0], signed.encapsulated.content
    certificate_sha256 = _signing_certificate_sha256(signer.signed_attributes.as_list())
    token = TimeStampToken(
        stamp=_stamp(tst_info),
        tst_info=tst_info,
        signed_attributes=signed_attributes(tst_info, certificate_sha256),
        signature=signer.signature,
        issuer=_bytes(signer.signer.issuer),
        signer_serial=signer.signer.serial,
        certificate_sha256=certificate_sha256,
        certificate=certificates[0] if certificates else None,
    )
    rebuilt = encode_token(
        tst_info, token.signature, token.issuer, token.signer_serial, certificate_sha256, token.certificate
    )
    if rebuilt != der:
        raise TokenInvalid("not the one encoding that its values have")
    if token.certificate is not None and hashlib.sha256(token.certificate).digest() != certificate_sha256:
        raise TokenInvalid("the certificate in the token is not the signer's")
    return token


def verify_token(
    der: bytes,
    imprint_sha256: bytes,
    *,
    certificate: bytes | None = None,
    anchors: Sequence[bytes] = (),
    policy: str | None = None,
) -> TimeStampToken:
    """Checks a token over a SHA-256 imprint; raises TokenInvalid.

    Trusts either `certificate` (the unit's own, DER, pinned by the caller) or what one of `anchors` (DER) issued.
    Revocation is not checked here. Steps: 1 form, 2 imprint, 3 policy, 4 issuer, 5 which certificate, 6 its profile,
    7 its validity at gen_time, 8 signature.
    """
    token = parse_token(der)  # 1
    check_imprint(token, imprint_sha256)  # 2
    if policy is not None and token.stamp.policy != policy:  # 3
        raise TokenInvalid(f"policy is {token.stamp.policy}, expected {policy}")
    trusted = token.certificate if certificate is None else certificate
    if trusted is None:
        raise TokenInvalid("the token carries no certificate and none was given")
    unit = _load_certificate(trusted)
    if certificate is None:
        check_issuer(unit, anchors)  # 4
    check_token(token, unit)  # 5 to 8
    return token


def is_too_early(gen_time: datetime, event_time: datetime) -> bool:
    """Whether a token of then cannot prove an event: the one rule of who writes, keeps, packs and verifies. The
    accuracy that a token claims excuses nothing, because a later token can always be had."""
    return gen_time + RESOLUTION <= event_time


def check_imprint(token: TimeStampToken, imprint_sha256: bytes) -> None:
    """Whether the token is over this digest (RFC 3161 section 2.4.2). Raises TokenInvalid."""
    if token.stamp.imprint_algorithm != "sha256" or token.imprint != imprint_sha256:
        raise TokenInvalid("imprint is not the expected digest")


def check_token(token: TimeStampToken, unit: x509.Certificate) -> None:
    """Whether this time-stamping unit, which the caller trusts, made the token. Raises TokenInvalid."""
    if unit.fingerprint(SHA256()) != token.certificate_sha256:  # 5 RFC 5816: ESSCertIDv2 names the signer
        raise TokenInvalid("ESSCertIDv2 names another certificate")
    if unit.serial_number != token.signer_serial or unit.issuer.public_bytes() != token.issuer:
        raise TokenInvalid("the signer's issuer and serial number are not those of the certificate")
    check_unit_certificate(unit)  # 6
    if not unit.not_valid_before_utc <= token.gen_time <= unit.not_valid_after_utc:  # 7
        raise TokenInvalid("gen_time is outside the certificate's validity")
    _check_signature(unit, token)  # 8


def check_unit_certificate(unit: x509.Certificate) -> None:
    """RFC 3161 section 2.3: one extended key usage, critical, id-kp-timeStamping. Raises TokenInvalid."""
    try:
        usage = unit.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        key_usage = unit.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise TokenInvalid("the signer's certificate lacks a key usage extension") from error
    if not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise TokenInvalid("the signer's certificate is not for time-stamping alone")
    if not key_usage.digital_signature:
        raise TokenInvalid("the signer's certificate is not for signatures")


def check_issuer(unit: x509.Certificate, anchors: Sequence[bytes]) -> None:
    """One of the given anchors must have signed this certificate. Raises TokenInvalid."""
    for anchor in anchors:
        authority = _load_certificate(anchor)
        try:
            unit.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue  # another anchor may be the one
        if any(isinstance(e.value, x509.BasicConstraints) and e.value.ca for e in authority.extensions):
            return
    raise TokenInvalid("no given anchor issued the signer's certificate")


def _check_signature(unit: x509.Certificate, token: TimeStampToken) -> None:
    key = unit.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TokenInvalid("the signer's key is not an elliptic curve key")
    try:
        r, s = utils.decode_dss_signature(token.signature)
        if utils.encode_dss_signature(r, s) != token.signature:
            raise TokenInvalid("the signature is not DER")
        key.verify(token.signature, token.signed_attributes, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise TokenInvalid("the signature does not verify") from error


def _stamp(tst_info: bytes) -> Stamp:
    info = _decode(tst_schema.TstInfo, tst_info)
    name = _digest_name(info.imprint.algorithm.algorithm)
    if info.version != 1 or name is None or len(info.imprint.digest) != DIGESTS[name][1]:
        raise TokenInvalid("TSTInfo has an unknown version or imprint")
    stamp = Stamp(
        policy=info.policy.dotted_string,
        imprint_algorithm=name,
        imprint=info.imprint.digest,
        serial=info.serial,
        gen_time=info.gen_time.as_datetime(),
        accuracy_seconds=None if info.accuracy is None else info.accuracy.seconds,
        nonce=info.nonce,
    )
    if encode_stamp(stamp) != tst_info:
        raise TokenInvalid("TSTInfo is not the one encoding that its values have")
    return stamp


def _signing_certificate_sha256(attributes: Sequence[tst_schema.Attribute]) -> bytes:
    for attribute in attributes:
        values = attribute.values.as_list()
        if attribute.type == SIGNING_CERTIFICATE_V2 and len(values) == 1:
            certificates = _decode(tst_schema.SigningCertificate, _bytes(values[0])).certificates
            if len(certificates) == 1:
                return certificates[0].digest
    raise TokenInvalid("the signed attributes name no signing certificate (RFC 5816)")


def _attributes(tst_info: bytes, certificate_sha256: bytes) -> asn1.SetOf[tst_schema.Attribute]:
    named = tst_schema.SigningCertificate(certificates=[tst_schema.CertificateId(digest=certificate_sha256)])
    values = (
        (CONTENT_TYPE, asn1.encode_der(TST_INFO)),
        (MESSAGE_DIGEST, asn1.encode_der(hashlib.sha256(tst_info).digest())),
        (SIGNING_CERTIFICATE_V2, asn1.encode_der(named)),
    )
    return asn1.SetOf([tst_schema.Attribute(type=kind, values=asn1.SetOf([_tlv(value)])) for kind, value in values])


def _imprint(name: str, digest: bytes) -> tst_schema.Imprint:
    algorithm, length_bytes = DIGESTS[name]
    if len(digest) != length_bytes:
        raise ValueError(f"a {name} imprint has {length_bytes} bytes")
    return tst_schema.Imprint(algorithm=tst_schema.Algorithm(algorithm=algorithm, parameters=None), digest=digest)


def _digest_name(algorithm: Oid) -> str | None:
    return next((name for name, (oid, _) in DIGESTS.items() if oid == algorithm), None)


def _load_certificate(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise TokenInvalid("not a DER certificate") from error


def _decode(kind: type[Decoded], der: bytes) -> Decoded:
    try:
        return asn1.decode_der(kind, der)
    except ValueError as error:
        raise TokenInvalid(f"not a DER {kind.__name__}") from error


def _tlv(der: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, der)


def _bytes(tlv: asn1.TLV) -> bytes:
    return asn1.encode_der(tlv)
