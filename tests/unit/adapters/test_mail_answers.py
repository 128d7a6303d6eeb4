"""The table of what a relay's refusal is about, over phases, codes and statuses, against what the standards say.

Elsewhere: the same answers over a real conversation (test_mail.py)
"""

from itertools import product

import pytest

from pipeline.adapters.mail_answers import ANY, BARE, TABLE, status_of, subject_of

CODES = [-1, 199, 211, 250, 251, 252, 334, 354, 421, 432, 450, 451, 452, 454, 455, *range(500, 505), 521, 530, 534, 535]
CODES += [538, *range(550, 558), 571, 599, 999]
DETAILS = [*range(11), 13, 17, 18, 23, 27, 99, 509]
STATUSES = [f"{kind}.{subject}.{detail}" for kind, subject, detail in product((2, 4, 5), range(9), DETAILS)]
ANSWERS = list(product(ANY, CODES, [BARE, *STATUSES]))

OF_A_MAILBOX = {"5.1.1", "5.1.2", "5.1.4", "5.1.6", "5.1.10", "5.2.1"}  # RFC 3463 3.2 and 3.3, RFC 7505 4.1
REFUSES_A_RECIPIENT = {550, 551, 553, 554, 556}  # RFC 5321 4.2.3, RFC 7504 4


def may_be_a_fact_about_a_person(phase: str, code: int, status: str) -> bool:
    if phase == "rcpt" and code == 556 and status == BARE:
        return True
    return phase in ("rcpt", "data") and code in REFUSES_A_RECIPIENT and status in OF_A_MAILBOX


@pytest.fixture(scope="module")
def judged() -> list[tuple[tuple[str, int, str], str]]:
    texts = [(answer, "no" if answer[2] == BARE else f"{answer[2]} no") for answer in ANSWERS]
    return [(answer, subject_of(answer[0], answer[1], text)[0]) for answer, text in texts]


def test_a_mailbox_is_refused_by_these_answers_and_no_others(judged: list[tuple[tuple[str, int, str], str]]) -> None:
    """Every other one, listed or not, makes no evidence against anybody."""
    wrong = [a for a, subject in judged if (subject == "mailbox") is not may_be_a_fact_about_a_person(*a)]
    assert wrong == []


def test_what_says_later_is_later(judged: list[tuple[tuple[str, int, str], str]]) -> None:
    """A 4yz code (RFC 5321 4.2.1) is tried again as any other; the one that only a person can mend is AUTH's 432."""
    later = {(phase, code) for (phase, code, _), subject in judged if 400 <= code < 500 and subject != "later"}
    assert later == {("auth", 432)}


def test_what_is_policy_is_ours(judged: list[tuple[tuple[str, int, str], str]]) -> None:
    """Relaying, block lists, logins, SPF, DKIM, DMARC, and what will be registered there."""
    policies = {subject for (_, code, status), subject in judged if status.startswith("5.7.") and code >= 500}
    assert policies == {"ours"}


def test_before_anybody_is_named_nothing_is_about_them(judged: list[tuple[tuple[str, int, str], str]]) -> None:
    """Whatever code and status."""
    early = {subject for (phase, _, _), subject in judged if phase not in ("rcpt", "data")}
    assert early == {"ours", "later", "message"}


def test_every_row_is_of_use_and_has_its_source() -> None:
    """No row hides behind another, and each tells where it is from."""
    first = {next(i for i, row in enumerate(TABLE) if row.fits(*answer)) for answer in ANSWERS}
    assert first == set(range(len(TABLE)))
    assert all("RFC " in row.source for row in TABLE[:-1])
    assert (TABLE[-1].subject, TABLE[-1].codes, TABLE[-1].statuses) == ("ours", "*", "*")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("5.1.1 no", "5.1.1"),
        ("5.1.1", "5.1.1"),
        ("5.1.1 a\n5.1.1 b\nc", "5.1.1"),
        ("a\n5.1.1 b", BARE),
        ("5.1.1 a\n5.7.1 b", BARE),
        ("5.1.1 a\n4.1.1 b", BARE),
        ("5.1.10 a", "5.1.10"),
        ("5.1.1000 a", BARE),
        ("5.1.01 a", BARE),
        ("5.1.1.1 a", BARE),
        ("5.1.1: a", BARE),
        ("3.1.1 a", BARE),
        ("5.1 a", BARE),
        ("\u0665.1.1 a", BARE),
        ("#5.1.1 a", BARE),
        ("", BARE),
    ],
)
def test_the_status_begins_the_text(text: str, status: str) -> None:
    """RFC 2034 section 4, RFC 3463 section 2. What a relay quotes of another one further on is not its own."""
    assert status_of(text) == status
