"""The statement of all that is published, signed by the key that does nothing else.

Owns     what is stated, and its composition
Rules    nobody can ask for it: the bridge states its own keys and documents when it publishes them, and nothing that
         anybody gave it
Elsewhere: the form, and reading it (pipeline/formats/statement.py), when it is made anew (service), the rows
           (publication)
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from hsm_bridge import wire
from hsm_bridge.operations.vault import Vault
from hsm_bridge.token.device import KeyMissing
from hsm_bridge.token.signatures import check_signature
from pipeline.formats import statement


def state(
    vault: Vault, keys: Sequence[wire.PublicKey], documents: Sequence[tuple[str, int, bytes]], moment: datetime
) -> bytes:
    """The statement of these from now on. Raises KeyMissing without a living key for it, TokenAway."""
    key = vault.keyring.newest("statement", moment)
    if key.public is None or key.certificate is None:
        raise KeyMissing(f"{key.key_id} has no public half or no certificate")
    rows = [statement.StatedKey(k.key_id, k.use, k.spki, k.certificate, k.not_before, k.not_after) for k in keys]
    to_sign = statement.signing_input(statement.stated(rows, documents, moment), [key.certificate])
    signature = vault.token.sign(key.key_id, hashlib.sha256(to_sign).digest())
    check_signature(key.public, signature, to_sign, key.key_id)
    return statement.signed(to_sign, signature)
