"""What a person does to a running installation: enrol senders, look, redrive dead letters, check the ledger."""
