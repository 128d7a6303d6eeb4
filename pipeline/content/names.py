"""The names of stored objects: random, so that they tell nothing and are never reused.

An object is written once under its name and never rewritten; what replaces it has another name. Does not draw the
random bytes: the caller does.
"""

import re

NAME_RANDOM_BYTES = 16  # 128 bits: two uploads never meet
NAME_PATTERN = re.compile(r"[0-9a-f]{32}", re.ASCII)


def object_name(random_bytes: bytes) -> str:
    """A name from NAME_RANDOM_BYTES fresh random bytes."""
    if len(random_bytes) != NAME_RANDOM_BYTES:
        raise ValueError(f"an object name is made of {NAME_RANDOM_BYTES} random bytes")
    return random_bytes.hex()


def check_object_name(name: str) -> str:
    """`name` itself; raises ValueError for anything else, above all for what could leave the store's folder."""
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError("an object name is 32 lower-case hexadecimal digits")
    return name
