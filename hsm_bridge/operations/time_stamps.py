"""Time-stamps of our own authority.

Owns     the conditions of time_stamp
Rules    a token is never older than the event it proves, and one that comes late is given, and said to be late in the
         record: an outage takes no evidence away; one whose signature does not verify is a sick token
Elsewhere: the token's content (authority), whether the clock is good (clock, the host)
Source   RFC 3161; ETSI EN 319 421
"""

from datetime import timedelta

from hsm_bridge import wire
from hsm_bridge.operations.authority import Authority
from hsm_bridge.operations.vault import Done, Moment, Refused, Vault
from hsm_bridge.token.device import TokenAway
from pipeline.formats import tst

BEHIND_SECONDS_MAX = 60  # how long a time-stamp may wait for this clock to catch up


def time_stamp(vault: Vault, item: wire.TimeStamp, moment: Moment) -> Done[wire.Stamped]:
    """A token over a SHA-256 imprint, never older than the event it proves."""
    if vault.config.mode == "qualified":  # ETSI EN 319 421 clause 7.7.2: no token without a watched clock
        raise Refused("time_not_available", "nothing attests that this clock is synchronised")
    legal = moment.legal_time
    if item.event_time is not None:
        if item.event_time > legal + timedelta(seconds=BEHIND_SECONDS_MAX):
            raise Refused("event_in_future", "the event has not happened yet")
        if item.event_time > legal:
            raise Refused("clock_behind", "this clock has not reached the event's time yet")
    key = vault.keyring.newest("tsu", legal)
    authority = Authority(
        key.certificate or b"",
        vault.config.provider.tsa_policy_oid,
        lambda digest: vault.token.sign(key.key_id, digest),
        vault.token.random,
    )
    request = tst.StampRequest("sha256", item.imprint, None, None, certificate_requested=True)
    try:
        if len(item.imprint) != tst.DIGESTS["sha256"][1]:
            raise Refused("item_invalid", "the imprint is not a SHA-256 digest")
        token = authority.stamp(request, legal)
    except tst.RequestInvalid as error:
        raise Refused("request_invalid", str(error)) from error
    except tst.TokenInvalid as error:
        raise TokenAway(f"a token of {key.key_id} does not verify", lost=True) from error
    lag = None if item.event_time is None else (legal - item.event_time).total_seconds()
    return Done(wire.Stamped(token=token), key.key_id, item.imprint.hex(), lag)
