"""The headers of a webhook request, and its symmetric signature.

Owns     the message that is signed, the form of secrets
Elsewhere: the bridge's signature, v1a (hsm_bridge/operations/webhooks.py), which of the two a request has (posts.py)
Source   Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature; v1 HMAC-SHA256, v1a ed25519
"""

import hashlib
import hmac
from base64 import b64encode
from uuid import UUID

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
KEY_PREFIX = "whpk_"


def secret_text(secret: bytes) -> str:
    """As its receiver is shown it, once."""
    return SECRET_PREFIX + b64encode(secret).decode()


def signed_message(event: UUID, timestamp: int, body: bytes) -> bytes:
    """id.timestamp.body"""
    return f"{event}.{timestamp}.".encode() + body


def sign_v1(secret: bytes, event: UUID, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 by the receiver's secret."""
    mac = hmac.digest(secret, signed_message(event, timestamp, body), hashlib.sha256)
    return "v1," + b64encode(mac).decode()


def v1a(signature: bytes) -> str:
    """An ed25519 signature of the bridge."""
    return "v1a," + b64encode(signature).decode()


def headers(event: UUID, timestamp: int, signature: str) -> dict[str, str]:
    """Of the request."""
    return {"webhook-id": str(event), "webhook-timestamp": str(timestamp), "webhook-signature": signature}
