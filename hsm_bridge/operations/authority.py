"""The RFC 3161 time-stamp authority.

Owns     the decision whether a request gets a token, the token's content, and the rejection otherwise
Rules    gen_time is the legal time that the caller read, in milliseconds rounded down; accuracy one second, never
         better than a host's clock is known to be; serial numbers are 127 random bits (unique across restarts without
         memory); every signature is verified before its token leaves
Elsewhere: ASN.1 (pipeline/formats/tst.py), keys, clocks
Source   RFC 3161, RFC 5816, ETSI EN 319 422
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from hsm_bridge.token.signatures import der_signature
from pipeline.formats import tst

ACCURACY_SECONDS = 1
SERIAL_BYTES = 16


@dataclass(frozen=True, slots=True)
class Unit:
    """A time-stamping unit's certificate, read and judged once."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePublicKey
    sha256: bytes
    issuer: bytes


@lru_cache(maxsize=8)
def unit_of(certificate: bytes) -> Unit:
    """Raises tst.TokenInvalid for a certificate that is not for time-stamping alone."""
    unit = x509.load_der_x509_certificate(certificate)
    tst.check_unit_certificate(unit)
    key = unit.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise tst.TokenInvalid("the unit's key is not an elliptic curve key")
    return Unit(unit, key, hashlib.sha256(certificate).digest(), unit.issuer.public_bytes())


@dataclass(frozen=True, slots=True)
class Authority:
    """One time-stamping unit: its certificate (DER), its policy, and its key as `sign` (digest -> r and s)."""

    certificate: bytes
    policy: str
    sign: Callable[[bytes], bytes]
    random: Callable[[int], bytes]

    def stamp(self, request: tst.StampRequest, moment: datetime) -> bytes:
        """A token; raises tst.RequestInvalid, and tst.TokenInvalid if the unit's own signature does not verify."""
        if request.policy is not None and request.policy != self.policy:
            raise tst.RequestInvalid(tst.UNACCEPTED_POLICY, f"the policy of this authority is {self.policy}")
        unit = unit_of(self.certificate)
        if not unit.certificate.not_valid_before_utc <= moment <= unit.certificate.not_valid_after_utc:
            raise tst.RequestInvalid(tst.TIME_NOT_AVAILABLE, "the unit's certificate is not valid now")
        info = tst.encode_stamp(
            tst.Stamp(
                policy=self.policy,
                imprint_algorithm=request.imprint_algorithm,
                imprint=request.imprint,
                serial=int.from_bytes(self.random(SERIAL_BYTES), "big") >> 1 | 1,  # positive and never zero
                gen_time=moment,
                accuracy_seconds=ACCURACY_SECONDS,
                nonce=request.nonce,
            )
        )
        signed = tst.signed_attributes(info, unit.sha256)
        signature = der_signature(self.sign(hashlib.sha256(signed).digest()))
        try:
            unit.key.verify(signature, signed, ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise tst.TokenInvalid("the unit's signature does not verify") from error
        return tst.encode_token(
            info,
            signature,
            unit.issuer,
            unit.certificate.serial_number,
            unit.sha256,
            self.certificate if request.certificate_requested else None,
        )

    def answer(self, request: bytes, moment: datetime) -> bytes:
        """The TimeStampResp to a TimeStampReq: a token, or a rejection (RFC 3161 section 2.4.2)."""
        try:
            return tst.granted(self.stamp(tst.parse_request(request), moment))
        except tst.RequestInvalid as error:
            return tst.rejected(error.failure, str(error))
