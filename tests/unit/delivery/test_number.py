"""The public number of a delivery and its check digit."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.number import DIGITS, is_number, spoken, with_check_digit

BODIES = st.text("0123456789", min_size=DIGITS, max_size=DIGITS)


@given(BODIES)
def test_a_number_with_its_check_digit_is_well_formed(body: str) -> None:
    """What we hand out, we recognise."""
    assert is_number(with_check_digit(body))


@given(BODIES, st.integers(0, DIGITS), st.integers(1, 9))
def test_a_single_wrong_digit_is_caught(body: str, place: int, step: int) -> None:
    """A digit misread over the telephone never names another delivery (ISO/IEC 7064)."""
    number = with_check_digit(body)
    wrong = str((int(number[place]) + step) % 10)
    assert not is_number(number[:place] + wrong + number[place + 1 :])


@given(st.text(max_size=20))
def test_other_texts_are_refused(text: str) -> None:
    """Only 14 ASCII digits are a number; other scripts' digits are not."""
    if is_number(text):
        assert len(text) == DIGITS + 1 and set(text) <= set("0123456789")


def test_foreign_digits_and_lengths_are_refused() -> None:
    """Arabic-Indic digits and a number that is one short are not ours."""
    number = with_check_digit("4012882340192")
    assert not is_number(number[:-1])
    assert not is_number(number + "0")
    assert not is_number("".join(chr(0x0660 + int(digit)) for digit in number))


def test_a_number_is_spoken_in_groups_of_four() -> None:
    """As people read it out."""
    assert spoken("40128823401927") == "4012 8823 4019 27"
