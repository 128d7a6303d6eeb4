"""The recipient's way: identify, decide, open. The only way to a letter's keys.

Owns     the conditions of begin_identity, verify_identity, decide and release
Rules    the addressee is read from the context that authenticates with the wrap, never from the caller; a ticket is
         given only on a match at the level the letter asks; keys are given only for a living ticket and the receipt of
         an acceptance by the same person
Elsewhere: checks of tokens and names (hsm_bridge/identity), the forms of tickets and receipts (tickets)
"""

import hashlib
from datetime import datetime, timedelta
from functools import partial
from typing import cast
from uuid import UUID

from hsm_bridge import wire
from hsm_bridge.identity import matching
from hsm_bridge.identity.jose import IdentityRefused, pinned_keys
from hsm_bridge.identity.tokens import Verifier
from hsm_bridge.operations import tickets
from hsm_bridge.operations.vault import Done, Moment, Refused, Vault
from hsm_bridge.operations.wraps import parse_context, unwrap
from hsm_bridge.token.device import KeyMissing, PointInvalid
from pipeline.formats.assurance import ORDER
from pipeline.formats.context import WrapContext, documents_sha256
from pipeline.formats.identity_providers import IdentityProviderSettings

SESSION_BYTES = DIGEST_BYTES = 32  # SHA-256
WORDS_VERSION_CHARACTERS_MAX = 20
NONCE_CHARACTERS_MAX = 200


def begin_identity(vault: Vault, item: wire.BeginIdentity, moment: Moment) -> Done[wire.Begun]:
    """A nonce for one login, bound to this delivery, browser session and provider; the bridge remembers nothing."""
    _check_session(item.session)
    salt = vault.token.random(tickets.NONCE_SALT_BYTES)
    _provider(vault, item.provider)
    nonce = tickets.issue_nonce(vault.mac, tickets.Login(item.delivery, item.session, item.provider), salt, moment.now)
    return Done(wire.Begun(nonce=nonce), "", str(item.delivery))


def verify_identity(vault: Vault, item: wire.VerifyIdentity, moment: Moment) -> Done[wire.Identified]:
    """Steps: 1 the nonce is ours, 2 the wrap opens (and is dropped), 3 the tokens hold, 4 the person, 5 ticket."""
    _check_session(item.session)
    if len(item.nonce) > NONCE_CHARACTERS_MAX:
        raise Refused("nonce_invalid", "not a nonce")
    mac = vault.mac
    try:
        tickets.check_nonce(mac, item.nonce, tickets.Login(item.delivery, item.session, item.provider), moment.now)  # 1
    except tickets.TicketInvalid as error:
        raise Refused("nonce_invalid", str(error)) from error
    addressed = _authentic_context(vault, item.wrap_key_id, item.wrapped, item.context, item.delivery)[0]  # 2
    try:
        minimum = max(addressed.minimum_level, vault.config.identity.minimum_level, key=ORDER.__getitem__)
        identified = _verifier(vault, item.provider, moment.now).verify(
            item.tokens.id_token, item.tokens.userinfo, item.nonce, minimum, moment.now
        )  # 3
    except IdentityRefused as error:
        raise Refused(error.code, str(error)) from error
    person = identified.person
    compared = matching.compare(addressed.addressee, person)  # 4
    ticket = None
    if compared.match == "match":  # 5
        expires = moment.now + timedelta(seconds=tickets.TICKET_SECONDS)
        right = tickets.Right(
            item.delivery,
            person.person_sha256,
            person.level,
            addressed.addressee.kind,
            documents_sha256(part[0] for part in addressed.parts),
            hashlib.sha256(identified.proof).digest(),
            compared.kind,
        )
        ticket = tickets.issue_ticket(mac, tickets.Ticket(right, moment.now, expires))
    answer = wire.Identified(
        match=compared.match, kind=compared.kind, person=person, ticket=ticket, proof=identified.proof
    )
    return Done(answer, item.wrap_key_id, f"{item.delivery} {compared.match}")


def decide(vault: Vault, item: wire.Decide, moment: Moment) -> Done[wire.Decided]:
    """The receipt of a decision, at the legal time: for whom, in which capacity, over which documents, after which
    words, and for which evidences."""
    if item.act not in ("accept", "refuse"):
        raise Refused("item_invalid", "act is accept or refuse")
    if len(item.words_sha256) != DIGEST_BYTES or not 0 < len(item.words_version) <= WORDS_VERSION_CHARACTERS_MAX:
        raise Refused("item_invalid", "the words shown are named by a version and a digest")
    act = cast("tickets.Act", item.act)
    ticket = _ticket(vault, item.ticket, item.delivery, moment)
    decision = tickets.Decision(item.intent, item.words_version, item.words_sha256)
    receipt = tickets.Receipt(ticket.right, act, moment.legal_time, decision)
    sealed = tickets.issue_receipt(vault.mac, receipt)
    answer = wire.Decided(receipt=sealed, act=act, person_sha256=ticket.right.person, at=receipt.at)
    return Done(answer, "", f"{item.delivery} {act}")


def release(vault: Vault, item: wire.Release, moment: Moment) -> Done[wire.Released]:
    """The only way out for keys. Steps: 1 whose letter, 2 a living ticket, 3 that person's acceptance, 4 keys."""
    delivery = parse_context(item.context).delivery  # 1
    ticket = _ticket(vault, item.ticket, delivery, moment)  # 2
    mac = vault.mac
    try:
        accepted = tickets.open_receipt(mac, item.receipt, delivery, "accept")  # 3
    except tickets.TicketInvalid as error:
        raise Refused("receipt_invalid", str(error)) from error
    if accepted.right.person != ticket.right.person:
        raise Refused("receipt_invalid", "another person accepted this letter")
    addressed, keys = _authentic_context(vault, item.wrap_key_id, item.wrapped, item.context, delivery)  # 4
    if accepted.right.documents_sha256 != documents_sha256(part[0] for part in addressed.parts):
        raise Refused("receipt_invalid", "other documents were accepted")
    handover = tickets.Receipt(ticket.right, "handover", moment.legal_time, None)
    answer = wire.Released(keys=keys, receipt=tickets.issue_receipt(mac, handover))
    return Done(answer, item.wrap_key_id, str(delivery))


def _authentic_context(
    vault: Vault, key_id: str, wrapped: bytes, context: bytes, delivery: UUID
) -> tuple[WrapContext, bytes]:
    """The context, authenticated by the wrap that opens with it, and the keys in the wrap."""
    addressed = parse_context(context)
    if addressed.delivery != delivery:
        raise Refused("context_invalid", "the context is of another delivery")
    return addressed, unwrap(vault, key_id, wrapped, context)


def _ticket(vault: Vault, ticket: bytes, delivery: UUID, moment: Moment) -> tickets.Ticket:
    try:
        return tickets.open_ticket(vault.mac, ticket, delivery, moment.now)
    except tickets.TicketInvalid as error:
        raise Refused("ticket_invalid", str(error)) from error


def _provider(vault: Vault, name: str) -> IdentityProviderSettings:
    provider = vault.config.identity.providers.get(name)
    if provider is None:
        raise Refused("item_invalid", "no such identity provider")
    return provider


def _verifier(vault: Vault, name: str, now: datetime) -> Verifier:
    provider = _provider(vault, name)
    jwks = provider_keys(vault, name, provider, now)
    return Verifier(name, provider, pinned_keys(jwks, provider.switches.signature), partial(_agree, vault))


def provider_keys(vault: Vault, name: str, provider: IdentityProviderSettings, now: datetime) -> bytes:
    """Of the pinned file, read each time: the operator replaces it, nobody else can. Or those that this bridge fetched
    itself, while they count."""
    if provider.jwks_file is None:
        fetched = vault.issuer_keys.get(name)
        if fetched is None or not fetched.count(now):
            raise Refused("keys_missing", "the identity provider's keys could not be fetched")
        return fetched.jwks
    try:
        return provider.jwks_file.read_bytes()
    except OSError as error:
        raise Refused("keys_missing", "no keys of the identity provider are pinned") from error


def _agree(vault: Vault, key_id: str | None, point: bytes) -> bytes:
    keyring = vault.keyring
    try:
        key = keyring.by_id(key_id, "identity") if key_id is not None else keyring.last("identity")
        return vault.token.agree(key.key_id, point)
    except KeyMissing as error:
        raise IdentityRefused("decryption_failed", "encrypted to an unknown key") from error
    except PointInvalid as error:
        raise IdentityRefused("decryption_failed", "the ephemeral key is not on P-256") from error


def _check_session(session: bytes) -> None:
    if len(session) != SESSION_BYTES:
        raise Refused("item_invalid", f"session is a digest of {SESSION_BYTES} bytes")
