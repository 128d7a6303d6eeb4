"""The runtime of the actors: contract, loop and what it takes before it is needed."""
