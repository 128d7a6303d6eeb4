"""The RFC 3161 time-stamp authority.

Owns     the decision whether a request gets a token, the token's content, and the rejection otherwise
Rules    gen_time is the legal time that the caller read, in milliseconds rounded down; accuracy one second, never
         better than a host's clock is known to be; serial numbers are 127 random bits (unique across restarts without
         memory); every token is verified before it leaves
Not      here: ASN.1 (pipeline/formats/tst.py), keys, clocks
Source   RFC 3161, RFC 5816, ETSI EN 319 422
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from hsm_bridge.certificates import der_signature
from pipeline.formats import tst

ACCURACY_SECONDS = 1
SERIAL_BYTES = 16


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
        unit = x509.load_der_x509_certificate(self.certificate)
        if not unit.not_valid_before_utc <= moment <= unit.not_valid_after_utc:
            raise tst.RequestInvalid(tst.TIME_NOT_AVAILABLE, "the unit's certificate is not valid now")
        certificate_sha256 = hashlib.sha256(self.certificate).digest()
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
        signed = tst.signed_attributes(info, certificate_sha256)
        token = tst.encode_token(
            info,
            der_signature(self.sign(hashlib.sha256(signed).digest())),
            unit.issuer.public_bytes(),
            unit.serial_number,
            certificate_sha256,
            self.certificate if request.certificate_requested else None,
        )
        tst.check_token(tst.parse_token(token), unit)
        return token

    def answer(self, request: bytes, moment: datetime) -> bytes:
        """The TimeStampResp to a TimeStampReq: a token, or a rejection (RFC 3161 section 2.4.2)."""
        try:
            return tst.granted(self.stamp(tst.parse_request(request), moment))
        except tst.RequestInvalid as error:
            return tst.rejected(error.failure, str(error))
