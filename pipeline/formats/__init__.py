"""Byte formats shared with the bridge: pure functions, no I/O, no clock, no randomness."""
