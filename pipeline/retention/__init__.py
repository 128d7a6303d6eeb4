"""Packages of proofs made, sealed and stored; what nobody uses removed. How long it is kept: where it is made."""
