"""The runtime of the actors: contract, loop, backoff and the in-memory mailboxes of the simulation."""
