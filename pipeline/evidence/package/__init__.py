"""Proofs in a container: the package of a letter, the proof of a batch."""
