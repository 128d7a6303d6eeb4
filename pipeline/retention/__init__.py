"""How proofs are kept: packages made, sealed and stored; and how long other things are, and who removes them."""
