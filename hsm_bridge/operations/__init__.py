"""What the bridge does for its callers, each operation in one place."""
