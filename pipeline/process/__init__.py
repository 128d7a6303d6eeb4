"""How any process lives: its one main, elections, what it records and exports, its health, how it waits. For the bridge too."""
