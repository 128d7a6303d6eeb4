"""How content is kept: encrypted on the way in, named at random, checked by type. Pure; no I/O, no clock."""
