"""What a delivery is: its states, its routes, its deadlines and the facts about it. Pure; no I/O, no clock."""
