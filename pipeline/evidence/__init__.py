"""What a proof is: how it is written, sealed, stamped, packed and verified. No I/O, no clock, no randomness."""
