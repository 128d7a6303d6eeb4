"""How long things are kept, and who removes them."""
