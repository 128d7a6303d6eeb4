"""A sender's standing: its clients, whether it may submit, and when.

Owns     `sender keys ID [add | rotate CLIENT | revoke CLIENT]`, `sender suspend ID`, `sender window ID`, `sender
         identity ID`
Rules    a secret is printed once and kept as a digest; a rotated one works no longer from that moment on; a revoked
         client never works again. A suspended sender reads on: its proofs are its own. `resume sender:ID` lifts a
         suspension
Elsewhere: enrolling (senders.py), refusing a request (gateway/sender/oauth.py)
"""

import argparse
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from pipeline.operate import command, senders
from pipeline.operate.command import EXIT_NO, EXIT_USAGE, EXIT_YES, Operator, Row, VerbRefused
from pipeline.operate.pause import Scope, hold

SPAN = re.compile(r"(\d{1,4})(s|m|h|d)", re.ASCII)
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WINDOW_SECONDS_MAX = 31 * 86400


def seconds_of(text: str) -> int:
    """`1h`, `90m`, `2d`."""
    match = SPAN.fullmatch(text)
    seconds = int(match[1]) * UNIT_SECONDS[match[2]] if match else 0
    if not 0 < seconds <= WINDOW_SECONDS_MAX:
        raise VerbRefused(f"{text!r} is no span such as 1h, 90m or 2d, of at most 31 days", EXIT_USAGE)
    return seconds


async def keys(operator: Operator) -> int:
    """Shows, adds, changes or revokes clients."""
    options, database = operator.options, operator.database
    await _check_sender(operator)
    if options.change == "show":
        rows = await database.fetch("operate_clients", options.sender)
        command.print_rows(rows, as_json=options.json, nothing="no client")
        return EXIT_YES
    if options.change == "revoke":
        return _told(operator, await database.fetch("operate_revoke_client", options.sender, options.client), None)
    secret, digest, jwk = senders.proof_of_client(operator.config, senders.read_jwk(options.public_jwk))
    if options.change == "rotate":
        rows = await database.fetch("operate_rotate_client", options.sender, options.client, digest, jwk)
        return _told(operator, rows, secret)
    client = senders.new_client_id()
    scopes = options.scope or list(senders.SCOPES)
    await database.fetch("operate_add_client", client, options.sender, digest, jwk, scopes)
    command.print_record({"client_id": client, "client_secret": secret}, as_json=options.json)
    return EXIT_YES


async def suspend(operator: Operator) -> int:
    """The same as `pause sender:ID`."""
    scope = Scope("sender", str(operator.options.sender))
    is_new = await hold(operator.database, scope, operator.options.reason)
    print(f"{scope.text} is suspended" if is_new else f"{scope.text} was suspended already; its reason stays")
    return EXIT_YES


async def window(operator: Operator) -> int:
    """Opens it for a time, closes it, or asks for none any more."""
    options = operator.options
    await _check_sender(operator)
    seconds = None if options.always else -1.0 if options.close else float(seconds_of(options.open))
    rows = await operator.database.fetch("operate_sender_window", options.sender, seconds)
    command.print_record(rows[0], as_json=options.json)
    return EXIT_YES


async def identity(operator: Operator) -> int:
    """Until when the sender's identification is good."""
    options = operator.options
    await _check_sender(operator)
    until = None if options.without_end else _instant(options.valid_until)
    rows = await operator.database.fetch("operate_sender_identity", options.sender, until)
    command.print_record(rows[0], as_json=options.json)
    return EXIT_YES


async def _check_sender(operator: Operator) -> None:
    rows = await operator.database.fetch("operate_subject", "sender", operator.options.sender)
    if not rows[0]["is_known"]:
        raise VerbRefused(f"there is no sender {operator.options.sender}", EXIT_NO)


def _told(operator: Operator, rows: Sequence[Row], secret: str | None) -> int:
    options = operator.options
    if not rows:
        print(f"{options.sender} has no client {options.client}, or it is revoked")
        return EXIT_NO
    record = {"client_id": options.client, "client_secret": secret, "change": f"{options.change}d"}
    command.print_record(record, as_json=options.json)
    return EXIT_YES


def _instant(text: str) -> datetime:
    """A day, or an instant; without a zone it is UTC."""
    try:
        instant = datetime.fromisoformat(text)
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise VerbRefused(f"{text!r} is no day such as 2027-06-30", EXIT_USAGE) from error


def main(arguments: list[str]) -> int:
    """qerds sender add | keys | suspend | window | identity | birth-date."""
    parser = command.parser("sender", "Senders: enrolment, keys, standing.")
    actions = parser.add_subparsers(dest="action", required=True)
    verbs = {"add": senders.add_verb(actions), "keys": keys, "suspend": suspend, "window": window, "identity": identity}
    verbs["birth-date"] = senders.birth_date_verb(actions)
    clients = _about(actions, "keys", "its clients: show, add, rotate, revoke")
    clients.add_argument("change", nargs="?", choices=("show", "add", "rotate", "revoke"), default="show")
    clients.add_argument("client", nargs="?", metavar="CLIENT", help="of rotate and revoke")
    clients.add_argument("--public-jwk", type=Path, help="its public key; the default is a secret, embedded only")
    clients.add_argument("--scope", action="append", choices=senders.SCOPES, help="of a new client; the default is all")
    held = _about(actions, "suspend", "it may not submit; `qerds resume sender:ID` lifts it")
    held.add_argument("--reason", required=True)
    how = _about(actions, "window", "when it may submit").add_mutually_exclusive_group(required=True)
    how.add_argument("--open", metavar="SPAN", help="from now on for so long: 1h, 90m, 2d")
    how.add_argument("--close", action="store_true", help="from now on not")
    how.add_argument("--always", action="store_true", help="no window is asked for")
    until = _about(actions, "identity", "until when its identification is good").add_mutually_exclusive_group(
        required=True
    )
    until.add_argument("--valid-until", metavar="DAY")
    until.add_argument("--without-end", action="store_true")
    options = parser.parse_args(arguments)
    if options.action == "keys" and (options.change in ("rotate", "revoke")) != (options.client is not None):
        parser.error("rotate and revoke need a CLIENT, nothing else takes one")
    return command.run(verbs[options.action], options)


def _about(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, about: str
) -> argparse.ArgumentParser:
    verb = actions.add_parser(name, help=about)
    verb.add_argument("sender", type=UUID, metavar="ID")
    command.add_options(verb)
    return verb
