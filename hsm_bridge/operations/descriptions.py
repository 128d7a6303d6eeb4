"""What the bridge says of itself: its public keys and documents, and how it fares.

Rules    uses no key, so it answers while the token is away
Elsewhere: the same in the database, for everybody who has no socket (publication)
"""

from cryptography.hazmat.primitives.serialization import Encoding

from hsm_bridge import wire
from hsm_bridge.operations.vault import Done, Moment, Vault


def describe(vault: Vault, item: wire.Describe, moment: Moment) -> Done[wire.Description]:
    """All public keys and documents."""
    authority = vault.keyring.authority.public_bytes(Encoding.DER)
    jwk = vault.keyring.identity_jwk()
    return Done(wire.Description(keys=public_keys(vault), ca=authority, crl=vault.crl, identity_jwk=jwk))


def health(vault: Vault, item: wire.ReportHealth, moment: Moment) -> Done[wire.HealthReport]:
    """Whether the token works, and how much waits for it."""
    return Done(wire.HealthReport(token_up=vault.token_up, queued_items=vault.queued_items))


def public_keys(vault: Vault) -> list[wire.PublicKey]:
    """What `describe` tells and the database publishes."""
    return [
        wire.PublicKey(
            key_id=key.key_id,
            use=key.public_use,
            spki=key.spki,
            certificate=key.certificate,
            not_before=key.not_before,
            not_after=key.not_after,
        )
        for key in vault.keyring.keys
        if key.public_use is not None and key.spki is not None
    ]
