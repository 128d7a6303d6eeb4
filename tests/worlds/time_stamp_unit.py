"""A time-stamping unit, what it stamped, and when."""

import hashlib
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from hsm_bridge.operations.authority import Authority
from pipeline.formats import tst
from tests.fakes import pki

MOMENT = datetime(2026, 6, 1, 12, 0, 0, 250_000, UTC)


MESSAGE = b"the bytes that are stamped"


IMPRINT = hashlib.sha256(MESSAGE).digest()


REQUEST = tst.StampRequest("sha256", IMPRINT, None, None, certificate_requested=True)


ROOT = pki.authority()


UNIT = pki.leaf(ROOT, "Unit", purposes=pki.TIME_STAMPING)


def authority(unit: pki.Signer = UNIT) -> Authority:
    counter = iter(range(1, 1000))

    def sign(digest: bytes) -> bytes:
        r, s = utils.decode_dss_signature(unit.key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return Authority(unit.der, pki.TSA_POLICY, sign, lambda count: next(counter).to_bytes(count, "big"))


TOKEN = authority().stamp(REQUEST, MOMENT)
