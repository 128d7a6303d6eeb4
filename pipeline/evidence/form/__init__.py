"""The form of one evidence: its XML, how it is read back, and its seal."""
