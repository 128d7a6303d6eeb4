"""What a letter brings with it: its contents read back, verified, and wrapped for one addressee."""
