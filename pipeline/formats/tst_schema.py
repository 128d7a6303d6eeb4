"""The ASN.1 of RFC 3161 messages and of the CMS that carries a token, as declared types.

Owns     field order, tags and defaults, exactly as far as this service writes and accepts them
Elsewhere: values, rules, object identifiers (pipeline/formats/tst.py, the only reader of this file)
Source   RFC 3161 sections 2.4.1 and 2.4.2, RFC 5652 sections 5.1 to 5.3, RFC 5035 section 4
"""

from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1

Oid = x509.ObjectIdentifier


@asn1.sequence
class Algorithm:
    algorithm: Oid
    parameters: asn1.Null | None


@asn1.sequence
class Imprint:
    algorithm: Algorithm
    digest: bytes


@asn1.sequence
class TimeStampRequest:
    version: int
    imprint: Imprint
    policy: Oid | None
    nonce: int | None
    certificate_requested: Annotated[bool, asn1.Default(False)]
    extensions: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]


@asn1.sequence
class Accuracy:
    seconds: int


@asn1.sequence
class TstInfo:
    version: int
    policy: Oid
    imprint: Imprint
    serial: int
    gen_time: asn1.GeneralizedTime
    accuracy: Accuracy | None
    nonce: int | None


@asn1.sequence
class Attribute:
    type: Oid
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class CertificateId:
    digest: bytes  # SHA-256, the DEFAULT that DER leaves out


@asn1.sequence
class SigningCertificate:
    certificates: list[CertificateId]


@asn1.sequence
class SignerId:
    issuer: asn1.TLV
    serial: int


@asn1.sequence
class SignerInfo:
    version: int
    signer: SignerId
    digest_algorithm: Algorithm
    signed_attributes: Annotated[asn1.SetOf[Attribute], asn1.Implicit(0)]
    signature_algorithm: Algorithm
    signature: bytes


@asn1.sequence
class Encapsulated:
    type: Oid
    content: Annotated[bytes, asn1.Explicit(0)]


@asn1.sequence
class SignedData:
    version: int
    digest_algorithms: asn1.SetOf[Algorithm]
    encapsulated: Encapsulated
    certificates: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(0)]
    signers: asn1.SetOf[SignerInfo]


@asn1.sequence
class ContentInfo:
    type: Oid
    content: Annotated[SignedData, asn1.Explicit(0)]


@asn1.sequence
class Status:
    status: int
    text: list[str] | None
    failure: asn1.BitString | None


@asn1.sequence
class Granted:
    status: Status
    token: asn1.TLV


@asn1.sequence
class Rejected:
    status: Status
