"""What a sender's words must say: lines, JSON, fields, addresses. Pure; the gateway and `ingest` both judge by it."""
