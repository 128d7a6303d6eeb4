"""Enrol a sender and give it a client for the API; what its letters must say.

Owns     `sender add`, `sender birth-date ID`. The secret is made here, printed once, and only its digest is stored
Rules    a client secret is for embedded installations only; elsewhere a client brings its public key (private_key_jwt)
Elsewhere: identifying the sender. A person does that before; `--identity-method` says how. Its standing afterwards
         (sender_keys.py)
"""

import argparse
import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from uuid import UUID

from pipeline.connect import database_of
from pipeline.evidence.form.xml import ValueRefused, token_value
from pipeline.formats.assurance import AssuranceLevel
from pipeline.formats.configuration import Config
from pipeline.intake.addresses import AddressInvalid, parse_address
from pipeline.intake.reading import nfc, text_mistake
from pipeline.intake.submission import NAME_CHARACTERS_MAX
from pipeline.operate import command
from pipeline.operate.command import EXIT_NO, EXIT_USAGE, EXIT_YES, ROLE, Operator, Questions, VerbRefused

SCOPES = (
    "deliveries:write",
    "deliveries:read",
    "evidence:read",
    "consents:write",
    "webhooks:write",
)  # interfaces: Sender API
SECRET_BYTES = 32  # 256 bits
CLIENT_ID_BYTES = 8
JWK_BYTES_MAX = 8192


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A new sender and its client. The secret is nowhere else; None for a client with a key of its own."""

    sender: UUID
    client_id: str
    client_secret: str | None


async def register_sender(
    config: Config,
    name: str,
    email: str,
    *,
    identity_level: AssuranceLevel = "substantial",
    identity_method: str = "operator",
    public_jwk: str | None = None,
) -> Enrolled:
    """A new sender with one client, in one transaction. Calling it twice makes two senders."""
    database = database_of(config, ROLE)
    try:
        return await _register(config, database, name, email, identity_level, identity_method, public_jwk)
    finally:
        await database.close()


async def _register(
    config: Config,
    database: Questions,
    name: str,
    email: str,
    identity_level: str,
    identity_method: str,
    public_jwk: str | None,
) -> Enrolled:
    name = nfc(name, NAME_CHARACTERS_MAX)
    _check(name, email, identity_method)
    secret, digest, public_jwk = proof_of_client(config, public_jwk)
    client_id = new_client_id()
    async with database.transaction() as rows:
        [row] = await rows.fetch("operate_add_sender", name, parse_address(email), identity_level, identity_method)
        await rows.fetch("operate_add_client", client_id, row["id"], digest, public_jwk, list(SCOPES))
    return Enrolled(row["id"], client_id, secret)


def new_client_id() -> str:
    """Random: a client_id is no secret, but nobody has to guess a neighbour's."""
    return f"client-{secrets.token_hex(CLIENT_ID_BYTES)}"


def proof_of_client(config: Config, public_jwk: str | None) -> tuple[str | None, bytes | None, str | None]:
    """A new secret and its digest when no public key is given, else the key."""
    if public_jwk is not None:
        return None, None, public_jwk
    if not config.embedded:
        raise VerbRefused("a client secret is for embedded installations only; give --public-jwk FILE", EXIT_USAGE)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return secret, hashlib.sha256(secret.encode()).digest(), None


def _check(name: str, email: str, identity_method: str) -> None:
    """What evidence will say of a sender, by the rules for what evidence says of a recipient. Raises VerbRefused."""
    if wrong := text_mistake(name, NAME_CHARACTERS_MAX, "name"):
        raise VerbRefused(f"--name {wrong}", EXIT_USAGE)
    try:
        parse_address(email)
        token_value(identity_method, "method")
    except AddressInvalid as error:
        raise VerbRefused(f"--email {error}", EXIT_USAGE) from error
    except ValueRefused as error:
        detail = "is the end of an address: 1 to 200 of A-Z a-z 0-9 . _ : / + # -"
        raise VerbRefused(f"--identity-method {detail}", EXIT_USAGE) from error


def read_jwk(path: Path | None) -> str | None:
    """A public key as JSON; a private one is refused, because its place is with the sender."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            key = json.loads(file.read(JWK_BYTES_MAX))
    except (OSError, ValueError) as error:
        raise VerbRefused(f"{path} is not a JSON Web Key", EXIT_USAGE) from error
    if not isinstance(key, dict) or "kty" not in key or "d" in key:
        raise VerbRefused(f"{path} is not a public JSON Web Key", EXIT_USAGE)
    return json.dumps(key)


async def _add(operator: Operator) -> int:
    options = operator.options
    made = await _register(
        operator.config,
        operator.database,
        options.name,
        options.email,
        options.identity_level,
        options.identity_method,
        read_jwk(options.public_jwk),
    )
    record = {"sender": str(made.sender), "client_id": made.client_id, "client_secret": made.client_secret}
    command.print_record(record, as_json=options.json)
    return EXIT_YES


async def _birth_date(operator: Operator) -> int:
    """Whether its letters to consumers need the birth date."""
    options = operator.options
    rows = await operator.database.fetch("operate_sender_birth_date", options.sender, options.required)
    if not rows:
        raise VerbRefused(f"there is no sender {options.sender}", EXIT_NO)
    command.print_record(rows[0], as_json=options.json)
    return EXIT_YES


def birth_date_verb(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> command.Verb:
    """`birth-date`, among the verbs about senders."""
    verb = actions.add_parser("birth-date", help="whether its letters to consumers need the birth date")
    verb.add_argument("sender", type=UUID, metavar="ID")
    how = verb.add_mutually_exclusive_group(required=True)
    how.add_argument("--required", action="store_true", help="a letter without it is refused: birth_date_required")
    how.add_argument("--optional", action="store_true", help="it is compared where it was given")
    command.add_options(verb)
    return _birth_date


def add_verb(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> command.Verb:
    """`add`, among the verbs about senders."""
    add = actions.add_parser("add", help="a new sender with one API client")
    add.add_argument("--name", required=True, help="as evidence will name it")
    add.add_argument("--email", required=True)
    add.add_argument("--identity-level", choices=get_args(AssuranceLevel), default="substantial")
    add.add_argument("--identity-method", default="operator", help="how it was identified, as evidence will say")
    add.add_argument("--public-jwk", type=Path, help="its public key; the default is a secret, embedded only")
    command.add_options(add)
    return _add
