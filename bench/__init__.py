"""Measure this service against its targets, its peers and the machine's own limit: ./qerds bench."""
