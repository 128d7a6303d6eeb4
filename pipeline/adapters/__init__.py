"""One file for each outside thing, behind its port: PostgreSQL, bridge, objects, relay, HTTP, clock, randomness."""
