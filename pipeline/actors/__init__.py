"""The runtime of the actors: contract, loop and prefetch."""
