"""Signatures of webhooks: ed25519, by a key that signs nothing else.

Owns     the conditions of sign_webhook; the message that is signed (id.timestamp.body), its limits
Rules    only the caller kind `webhook` may (table); the key is no seal and no time-stamp key, so nothing signed here
         can pass for an evidence; the timestamp is of now, so that no request is signed for another day
Elsewhere: what a body says (pipeline/feed/payload.py), which key is published (publication)
Source   Standard Webhooks (v1a), RFC 8032
"""

from hsm_bridge import wire
from hsm_bridge.operations.vault import Done, Moment, Refused, Vault
from hsm_bridge.token.device import KeyMissing
from hsm_bridge.token.signatures import check_edwards

BODY_BYTES_MAX = 20_000  # Standard Webhooks
SKEW_SECONDS_MAX = 300  # what receivers allow as well


def sign_webhook(vault: Vault, item: wire.SignWebhook, moment: Moment) -> Done[wire.WebhookSigned]:
    """One request to one endpoint."""
    if len(item.body) > BODY_BYTES_MAX:
        raise Refused("item_invalid", f"a body has at most {BODY_BYTES_MAX} bytes")
    if abs(item.timestamp - moment.now.timestamp()) > SKEW_SECONDS_MAX:
        raise Refused("timestamp_invalid", "the timestamp is not of now")
    key = vault.keyring.newest("webhook", moment.now)
    if key.edwards is None:
        raise KeyMissing(f"{key.key_id} has no public half")
    message = f"{item.id}.{item.timestamp}.".encode() + item.body
    signature = vault.token.sign_edwards(key.key_id, message)
    check_edwards(key.edwards, signature, message, key.key_id)
    return Done(wire.WebhookSigned(key_id=key.key_id, signature=signature), key.key_id, str(item.id))
