"""Randomness and identifiers, from the system's generator. A simulation gives a seeded source instead."""

import os
import secrets
import time
from uuid import UUID

from pipeline.delivery.number import DIGITS, with_check_digit

UNIT_BITS = 53  # of a float in [0, 1)


class SystemRandomness:
    """pipeline.ports.outside.Randomness, and what the gateway draws."""

    def random_bytes(self, count: int) -> bytes:
        """From the system's generator."""
        return os.urandom(count)

    def unit(self) -> float:
        """A number in [0, 1), for jitter."""
        return secrets.randbits(UNIT_BITS) / (1 << UNIT_BITS)

    def random_number(self) -> str:
        """A public number: 13 random digits and the check digit. The database refuses the rare repetition."""
        return with_check_digit(str(secrets.randbelow(10**DIGITS)).zfill(DIGITS))

    def uuid7(self) -> UUID:
        """RFC 9562 version 7: milliseconds first, so that an index grows at its end."""
        milliseconds = time.time_ns() // 1_000_000
        value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
        value = value & ~(0xF << 76) | 0x7 << 76
        return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
