"""How any process lives, the bridge too: its one main, elections, what it records and exports, health, waiting."""
