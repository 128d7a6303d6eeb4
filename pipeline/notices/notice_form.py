"""A notice printed once for many recipients: the bytes of one mail with blanks, filled by substitution. Pure.

Owns     when substitution gives exactly the bytes that rendering would give, and the filling
Rules    rendering a mail with the standard library costs 1 ms, sending it less; instant, number, claim and Message-ID
         have one length each, so that no line is folded elsewhere; an address that a header might fold is rendered.
         A form is tried against a rendered sample before it is used: another text can make it slower, never wrong
Elsewhere: what a notice says (notice.py)
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

ADDRESS_CHARACTERS_MAX = 70  # with "To: " within the 78 of a header line
PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Blanks:
    """What differs between two notices of one language and day."""

    sent: str
    number: str
    claim: str
    message_id: str
    address: str


SAMPLES = (
    Blanks(
        "Wed, 31 Dec 2025 22:59:58 +0000",
        "4012 8823 4019 27",
        "c" * 22,
        f"<{'a' * 32}@",
        "first.sample@recipient.example",
    ),
    Blanks("Thu, 01 Jan 2026 00:01:02 +0000", "9876 5432 1098 76", "d-_" + "x" * 19, f"<{'0' * 32}@", "s@r.example"),
)


class Form:
    """One mail with blanks."""

    def __init__(self, render: Callable[[Blanks], bytes]) -> None:
        self._render = render
        self._printed = render(SAMPLES[0])
        self._may_fill = self._filled(SAMPLES[1]) == render(SAMPLES[1])

    def fill(self, blanks: Blanks) -> bytes:
        """The mail for these values, byte for byte as it would be rendered."""
        plain = len(blanks.address) <= ADDRESS_CHARACTERS_MAX and PLAIN_ADDRESS.fullmatch(blanks.address)
        if self._may_fill and plain and _lengths(blanks) == _lengths(SAMPLES[0]):
            return self._filled(blanks)
        return self._render(blanks)

    def _filled(self, blanks: Blanks) -> bytes:
        mail, sample = self._printed, SAMPLES[0]
        for old, new in (
            (sample.sent, blanks.sent),
            (sample.number, blanks.number),
            (sample.claim, blanks.claim),
            (sample.message_id, blanks.message_id),
            (f"To: {sample.address}\r\n", f"To: {blanks.address}\r\n"),
        ):
            mail = mail.replace(old.encode(), new.encode())
        return mail


def _lengths(blanks: Blanks) -> tuple[int, int, int, int]:
    return len(blanks.sent), len(blanks.number), len(blanks.claim), len(blanks.message_id)
