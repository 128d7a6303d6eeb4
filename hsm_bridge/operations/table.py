"""Every operation of the bridge: one literal table, nothing computed.

Owns     for each operation its item, the caller kinds that may ask, whether it needs the legal time, the keys it may
         use, and its work
Rules    what is not listed is denied; `release` is the only operation that gives a letter's keys out; one without keys
         is done even while the token is away, and leaves no record
Elsewhere: fields and answers (wire), conditions on single items (each operation's work), the order of a request
         (service)
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from hsm_bridge import wire
from hsm_bridge.operations import descriptions, intake, packages, recipients, seals, time_stamps, webhooks, wraps
from hsm_bridge.operations.vault import Done, Moment, Vault
from hsm_bridge.token.device import KeyUse
from hsm_bridge.wire import CALLERS, Caller

Asked = TypeVar("Asked", bound=wire.Item[Any, Any])


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table."""

    item: type[wire.Item[Any, Any]]
    callers: frozenset[Caller]
    keys: frozenset[KeyUse]
    needs_legal_time: bool
    work: Callable[[Vault, Any, Moment], Done[msgspec.Struct]]


def _row(
    item: type[Asked],
    callers: Collection[Caller],
    *keys: KeyUse,
    work: Callable[[Vault, Asked, Moment], Done[msgspec.Struct]],
    legal_time: bool = False,
) -> Operation:
    return Operation(item, frozenset(callers), frozenset(keys), legal_time, work)


TABLE = (
    _row(wire.OpenIntake, {"encrypt"}, "intake", work=intake.open_intake),
    _row(wire.WrapContent, {"encrypt"}, "kek", work=wraps.wrap_content),
    _row(wire.DeriveWrap, {"encrypt"}, "kek", work=wraps.derive_wrap),
    _row(wire.SealEvidence, {"seal"}, "seal", "mac", legal_time=True, work=seals.seal_evidence),
    _row(wire.SealPackage, {"archive"}, "seal", legal_time=True, work=packages.seal_package),
    _row(wire.SealList, {"archive"}, "seal", legal_time=True, work=packages.seal_list),
    _row(wire.TimeStamp, {"timestamp", "archive"}, "tsu", legal_time=True, work=time_stamps.time_stamp),
    _row(wire.SignWebhook, {"webhook"}, "webhook", work=webhooks.sign_webhook),
    _row(wire.BeginIdentity, {"gateway"}, "mac", work=recipients.begin_identity),
    _row(wire.VerifyIdentity, {"gateway"}, "identity", "kek", "mac", work=recipients.verify_identity),
    _row(wire.Decide, {"gateway"}, "mac", legal_time=True, work=recipients.decide),
    _row(wire.Release, {"gateway"}, "kek", "mac", legal_time=True, work=recipients.release),
    _row(wire.Describe, CALLERS, work=descriptions.describe),
    _row(wire.ReportHealth, CALLERS, work=descriptions.health),
)
OPERATIONS: Mapping[str, Operation] = {row.item.op: row for row in TABLE}
