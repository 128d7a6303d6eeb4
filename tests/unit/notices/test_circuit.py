"""From which answer on a relay is not believed, and which one makes it well again."""

import pytest

from pipeline.notices.circuit import (
    GONE_DOMAINS_MIN,
    GONE_RECIPIENTS_MAX,
    REFUSED_DOMAINS_MAX,
    REFUSED_RECIPIENTS_MAX,
    Circuit,
)
from pipeline.ports.outside import MailAnswer, MailRefused, NotTaken, Relayed

GONE = MailRefused(550, "5.1.1 no such user")
POLICY = NotTaken("ours", "rcpt", 550, "5.7.1")
LATER = NotTaken("later", "rcpt", 451, "4.2.1")


def is_well_after(answers: list[tuple[str, MailAnswer]]) -> bool:
    circuit = Circuit()
    for recipient, answer in answers:
        circuit.hear(recipient, answer, 0.0)
    return circuit.is_well


@pytest.mark.parametrize(
    ("answer", "domains", "count_max"),
    [
        (POLICY, 1, REFUSED_RECIPIENTS_MAX),  # as it would answer to anybody
        (POLICY, REFUSED_RECIPIENTS_MAX, REFUSED_RECIPIENTS_MAX),
        (GONE, REFUSED_DOMAINS_MAX, REFUSED_DOMAINS_MAX),  # each at a domain of its own
        (GONE, GONE_DOMAINS_MIN, GONE_RECIPIENTS_MAX),
    ],
)
def test_it_is_believed_until_so_many(answer: MailAnswer, domains: int, count_max: int) -> None:
    """One less is a fact about those people; from that one on it is the relay. One that it takes begins anew."""
    heard = [(f"person-{n}@example-{n % domains}.net", answer) for n in range(count_max)]
    assert is_well_after(heard[:-1])
    assert not is_well_after(heard)
    taken: list[tuple[str, MailAnswer]] = [("else@example.net", Relayed(250, "ok", None))]
    assert is_well_after([*heard, *taken])
    assert is_well_after([*heard[:-1], *taken, *heard[-1:]])


@pytest.mark.parametrize(
    ("answer", "domains"), [(GONE, GONE_DOMAINS_MIN - 1), (LATER, 1000)], ids=["few domains", "later"]
)
def test_some_answers_say_nothing_of_the_relay(answer: MailAnswer, domains: int) -> None:
    """A company that has closed, a mailbox that is full: however many recipients hear it."""
    assert is_well_after([(f"person-{n}@example-{n % domains}.net", answer) for n in range(200)])


def test_the_same_recipient_counts_once() -> None:
    """Tried again and again, it is one person's trouble."""
    assert is_well_after([("person@example.net", POLICY)] * 100)
