"""Measures that one elected process takes of the whole installation, for everybody who watches it."""
