"""How any process lives: what it records, its health, when it is ready, how it waits."""
