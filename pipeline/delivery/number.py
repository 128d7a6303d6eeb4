"""The public number of a delivery: 13 random digits and a check digit, spoken in groups of four.

Random, so that a number tells nothing about volume or order and cannot be guessed from a neighbour. The check digit
(ISO/IEC 7064, MOD 11,10) catches every single wrong digit and nearly all swapped neighbours when it is read out.
"""

DIGITS = 13  # before the check digit; 10^13 numbers keep collisions rare, and the database refuses them


def with_check_digit(digits: str) -> str:
    """`digits` (13 decimal digits) followed by its check digit."""
    return digits + str(_check_digit(digits))


def is_number(text: str) -> bool:
    """Whether `text` is a well-formed public number. A question about a form, not about a proof."""
    return len(text) == DIGITS + 1 and text.isascii() and text.isdigit() and with_check_digit(text[:-1]) == text


def spoken(number: str) -> str:
    """The number as people read it: groups of four."""
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def _check_digit(digits: str) -> int:
    product = 10
    for digit in digits:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10
