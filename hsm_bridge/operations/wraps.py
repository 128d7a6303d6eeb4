"""Wraps: their form, of a content for later letters, of a letter for its addressee.

Owns     what a wrap looks like, making and opening one; the conditions of wrap_content and derive_wrap
Rules    a content's wrap says what the content is and until when letters may be made of it; a letter's wrap is made
         only of the wraps of exactly the contents that its context names, in its order, while each is open. The keys
         pass through memory and are dropped: no answer here holds one
Elsewhere: the only operation that gives a letter's keys out (recipients)
"""

from datetime import datetime

from hsm_bridge import wire
from hsm_bridge.operations.vault import Done, Moment, Refused, Vault
from hsm_bridge.token.device import TagMismatch
from pipeline.formats.context import (
    ContentContext,
    ContextInvalid,
    WrapContext,
    parse_content_context,
    parse_wrap_context,
)

DEK_BYTES = 32
DEKS_MAX = 200  # per wrap: one per upload part
WRAP_VERSION = b"\x01"
WRAP_NONCE_BYTES = 12


def wrap_content(vault: Vault, item: wire.WrapContent, moment: Moment) -> Done[wire.Wrapped]:
    """Binds an upload's keys to what `encrypt` found it to be."""
    if len(item.keys) % DEK_BYTES or not DEK_BYTES <= len(item.keys) <= DEK_BYTES * DEKS_MAX:
        raise Refused("item_invalid", f"1 to {DEKS_MAX} keys of {DEK_BYTES} bytes")
    about = _content(item.context)
    if about.open_until <= moment.now:
        raise Refused("content_closed", "open_until has passed")
    wrapped = wrap(vault, item.keys, item.context, moment.now)
    return Done(wrapped, wrapped.key_id, f"upload {about.upload}")


def derive_wrap(vault: Vault, item: wire.DeriveWrap, moment: Moment) -> Done[wire.Wrapped]:
    """A letter's wrap. Steps: 1 what the letter names, 2 each content is that, open, and opens, 3 the wrap."""
    about = parse_context(item.context)  # 1
    if len(item.contents) != len(about.parts):
        raise Refused("content_mismatch", f"{len(item.contents)} contents for {len(about.parts)} parts")
    keys = b"".join(
        _keys_of(vault, content, part, moment) for content, part in zip(item.contents, about.parts, strict=True)
    )  # 2
    if len(keys) > DEK_BYTES * DEKS_MAX:
        raise Refused("item_invalid", f"a letter has at most {DEKS_MAX} content keys")
    wrapped = wrap(vault, keys, item.context, moment.now)  # 3
    return Done(wrapped, wrapped.key_id, str(about.delivery))


def wrap(vault: Vault, keys: bytes, associated: bytes, now: datetime) -> wire.Wrapped:
    """Content keys under a context; the newest KEK is used."""
    key = vault.keyring.newest("kek", now)
    nonce = vault.token.random(WRAP_NONCE_BYTES)
    sealed = vault.token.encrypt(key.key_id, nonce, keys, associated)
    label = key.key_id.encode()
    return wire.Wrapped(key_id=key.key_id, wrapped=WRAP_VERSION + bytes([len(label)]) + label + nonce + sealed)


def unwrap(vault: Vault, key_id: str, wrapped: bytes, associated: bytes) -> bytes:
    """The content keys in a wrap, opened under its context. Raises Refused."""
    label = key_id.encode()
    header = WRAP_VERSION + bytes([len(label) & 0xFF]) + label
    if not wrapped.startswith(header):
        raise Refused("wrap_invalid", "the wrap names another key or has another form")
    vault.keyring.by_id(key_id, "kek")
    nonce, sealed = wrapped[len(header) :][:WRAP_NONCE_BYTES], wrapped[len(header) + WRAP_NONCE_BYTES :]
    if len(sealed) < DEK_BYTES or len(sealed) > DEK_BYTES * (DEKS_MAX + 1):
        raise Refused("wrap_invalid", "the wrap has another length")
    try:
        return vault.token.decrypt(key_id, nonce, sealed, associated)
    except TagMismatch as error:
        raise Refused("wrap_invalid", "the wrap does not open with this context") from error


def parse_context(data: bytes) -> WrapContext:
    """A letter's context. Raises Refused."""
    try:
        return parse_wrap_context(data)
    except ContextInvalid as error:
        raise Refused("context_invalid", str(error)) from error


def _content(data: bytes) -> ContentContext:
    try:
        return parse_content_context(data)
    except ContextInvalid as error:
        raise Refused("context_invalid", str(error)) from error


def _keys_of(vault: Vault, content: wire.WrappedContent, part: tuple[bytes, bytes, int], moment: Moment) -> bytes:
    """Checked before it is opened: what is refused costs no use of the key."""
    about = _content(content.context)
    if about.part != part:
        raise Refused("content_mismatch", "the letter's part is another content")
    if about.open_until <= moment.now:
        raise Refused("content_closed", f"no letter is made of this content after {about.open_until:%Y-%m-%d}")
    return unwrap(vault, content.key_id, content.wrapped, content.context)
