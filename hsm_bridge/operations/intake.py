"""Intake: the keys of uploads, opened for `encrypt`.

Owns     the conditions of open_intake
Rules    a key opens only under the info that it was sealed with; a message that does not open tells nothing else
Elsewhere: the form of the message (hpke), what an info says (pipeline/formats/context.py)
Source   RFC 9180
"""

import hashlib

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm_bridge import wire
from hsm_bridge.operations import hpke
from hsm_bridge.operations.vault import Done, Moment, Refused, Vault
from hsm_bridge.operations.wraps import DEK_BYTES
from hsm_bridge.token.device import KeyMissing, PointInvalid

INFO_BYTES_MAX = 4096


def open_intake(vault: Vault, item: wire.OpenIntake, moment: Moment) -> Done[wire.Opened]:
    """The key of one upload segment, for `encrypt` to read the upload back."""
    if len(item.info) > INFO_BYTES_MAX:
        raise Refused("item_invalid", f"info has at most {INFO_BYTES_MAX} bytes")
    key = vault.keyring.by_id(item.key_id, "intake")
    if key.public is None:
        raise KeyMissing(f"{key.key_id} has no public half")
    point = key.public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    try:
        opened = hpke.open_base(item.sealed, item.info, point, lambda peer: vault.token.agree(key.key_id, peer))
    except (hpke.HpkeInvalid, PointInvalid) as error:
        raise Refused("intake_invalid", str(error)) from error
    if len(opened) != DEK_BYTES:
        raise Refused("intake_invalid", f"a content key has {DEK_BYTES} bytes")
    return Done(wire.Opened(key=opened), key.key_id, hashlib.sha256(item.info).hexdigest())
