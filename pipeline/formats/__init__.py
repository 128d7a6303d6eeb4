"""What the bridge shares: byte formats, pure, without clock and randomness; and the configuration with its files."""
