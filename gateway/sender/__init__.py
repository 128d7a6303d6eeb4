"""The sender's face: OAuth2, uploads, deliveries, consents, proofs, verification, documentation."""
