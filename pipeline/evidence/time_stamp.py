"""A seal's time-stamp token (RFC 3161) judged as part of a proof: what it covers, and that it is not too early.

Owns     the relation between token, seal and event: a token proves that the seal existed at gen_time, so an event is
         proved only if gen_time with its resolution is later than EventTime; and how long after it a proof is late
Rules    one rule for who writes (`timestamp` asks again until it holds), who keeps (the ledger) and who verifies: what
         could be written verifies. The accuracy that a token claims excuses nothing: a later token can always be had
Elsewhere: the token's own form and signature (`formats.tst`), its certificate's issuer (`certificates`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.evidence.certificates import CertificateRefused, check_issued, load
from pipeline.formats.tst import TokenInvalid, check_imprint, check_token, is_too_early, parse_token
from pipeline.formats.xades import imprint_sha256

ACCURACY_SECONDS_MAX = 1  # EN 319 421 clause 7.7.2; a vague token would prove any time
LAG_SECONDS_MAX = 3600  # of the token behind the event: an outage of an hour; beyond it whoever reads the proof is told


class TimeStampRefused(ValueError):
    """The token, or who issued its unit's certificate, proves nothing; the text says which and why."""

    is_too_early = False


class TooEarly(TimeStampRefused, TokenInvalid):
    """A sound token of a clock that had not reached the event: a later one proves it."""

    is_too_early = True


@dataclass(frozen=True, slots=True)
class CheckedTimeStamp:
    """A token that covers its seal; whether its unit is trusted is not said."""

    gen_time: datetime
    accuracy: timedelta
    policy: str
    certificate_der: bytes


def proven_time(token: bytes, signature: bytes, event_time: datetime, anchors: Sequence[bytes] | None) -> datetime:
    """The gen_time of a token that proves `event_time`. Raises TimeStampRefused, TooEarly where a later one would do.

    anchors: DER certificates of which one must have issued the unit's; None: who issued it is not asked.
    """
    try:
        stamp = checked_time_stamp(token, signature, event_time)
        if anchors is not None:
            check_issued(stamp.certificate_der, anchors, stamp.gen_time)
    except TooEarly:
        raise
    except (TokenInvalid, CertificateRefused) as error:
        raise TimeStampRefused(str(error)) from error
    return stamp.gen_time


def checked_time_stamp(token: bytes, signature: bytes, event_time: datetime) -> CheckedTimeStamp:
    """The time-stamp over a seal's raw signature; raises TokenInvalid for one that does not prove `event_time`."""
    parsed = parse_token(token)
    certificate_der = parsed.certificate
    if certificate_der is None:
        raise TokenInvalid("the token carries no certificate, so nobody can check it offline")
    try:
        unit = load(certificate_der)
    except CertificateRefused as error:
        raise TokenInvalid(str(error)) from error
    check_imprint(parsed, imprint_sha256(signature))
    # By the certificate inside: this proves integrity only; trust is `certificates.check_issued`.
    check_token(parsed, unit)
    stamp = parsed.stamp
    if not 0 <= (stamp.accuracy_seconds or 0) <= ACCURACY_SECONDS_MAX:
        raise TokenInvalid("the token's accuracy is worse than a second")
    if is_too_early(stamp.gen_time, event_time):
        raise TooEarly("the token is older than the event it should prove")
    accuracy = timedelta(seconds=stamp.accuracy_seconds or 0)
    return CheckedTimeStamp(stamp.gen_time, accuracy, stamp.policy, certificate_der)
