"""The envelope of a content segment: a stream cipher for its bytes, a seal for its key.

Owns     the wire format of Tink's AES256_GCM_HKDF_1MB streaming AEAD (others can read what we keep), incremental and
         in constant memory; HPKE (RFC 9180) to the intake key; the key of a content under the key of its pack; the
         ciphertext's length from the content's
Rules    a fresh key per segment, used for one stream and forgotten; a Decryptor gives out only authenticated bytes, and
         what it gave out is a complete content only after `finish` returned
Elsewhere: where keys and random bytes come from, what the HPKE information says (pipeline.formats.context), the
         opening of a sealed key (only the bridge holds the intake key)

    stream   = 0x28 || salt (32) || nonce prefix (7) || segment ...      segment = ciphertext || tag (16)
    key      = HKDF-SHA256(ikm = content key, salt, info = associated data)
    nonce    = prefix || counter (4, big-endian) || 1 when it is the last segment, else 0
"""

from typing import cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_der_public_key

CONTENT_FORMAT = "tink-aes256-gcm-hkdf-1mb"  # the whole object is the stream; its key is sealed to the intake key
PACKED_FORMAT = "tink-aes256-gcm-hkdf-1mb in a pack"  # a range of the object; its key is encrypted under the pack's
KEY_BYTES = 32
SALT_BYTES = 32  # Tink: as long as the derived key
NONCE_PREFIX_BYTES = 7
HEADER_BYTES = 1 + SALT_BYTES + NONCE_PREFIX_BYTES  # 0x28 = 40, and says so in its first byte
TAG_BYTES = 16  # NIST SP 800-38D, the full tag
SEGMENT_BYTES = 1024 * 1024  # of ciphertext, tag included; the first one also holds the header
PLAIN_BYTES = SEGMENT_BYTES - TAG_BYTES
FIRST_PLAIN_BYTES = PLAIN_BYTES - HEADER_BYTES
SEGMENTS_MAX = 2**32  # the counter has four bytes

# RFC 9180: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM: P-256 is what tokens hold.
SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
SEALED_KEY_BYTES = 65 + KEY_BYTES + TAG_BYTES  # encapsulated point, encrypted key, tag
NONCE_BYTES = 12  # of a key in a pack: random, under a key that encrypts some thousands of keys and is forgotten


class ContentInvalid(ValueError):
    """These bytes are not what was encrypted under this key and name: altered, cut, reordered or another object's."""


def associated_data(object_name: str) -> bytes:
    """What a stream is bound to: an object copied under another name does not open."""
    return b"qerds-content-v1\x00" + object_name.encode("ascii")


def stream_data(content_format: str, object_name: str, offset: int) -> bytes:
    """What the stream of a segment is bound to, by its format. Raises ContentInvalid for a format that is not ours."""
    if content_format == CONTENT_FORMAT and offset == 0:
        return associated_data(object_name)
    if content_format == PACKED_FORMAT:
        return b"qerds-pack-v1\x00" + object_name.encode("ascii") + offset.to_bytes(8, "big")
    raise ContentInvalid(f"no content of format {content_format!r} begins at {offset}")


def cipher_bytes(plain_bytes: int) -> int:
    """The length of the stream that encrypts `plain_bytes` bytes; an empty content has one empty segment."""
    beyond_first = max(plain_bytes - FIRST_PLAIN_BYTES, 0)
    segments = 1 + -(-beyond_first // PLAIN_BYTES)
    return HEADER_BYTES + plain_bytes + segments * TAG_BYTES


def seal_key(intake_spki: bytes, info: bytes, key: bytes) -> bytes:
    """HPKE-encrypts a content key to the intake key (`enc || ct`); afterwards only the bridge can tell it."""
    public = load_der_public_key(intake_spki)
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise ValueError("the intake key must be a P-256 key")
    if len(key) != KEY_BYTES:
        raise ValueError(f"a content key has {KEY_BYTES} bytes")
    return SUITE.encrypt(key, public, info=info)


def seal_packed_key(pack_key: bytes, nonce: bytes, key: bytes, associated: bytes) -> bytes:
    """A content key under its pack's key (nonce || ciphertext || tag)."""
    return nonce + AESGCM(pack_key).encrypt(nonce, key, associated)


def open_packed_key(pack_key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """What seal_packed_key sealed; raises ContentInvalid."""
    if len(sealed) != NONCE_BYTES + KEY_BYTES + TAG_BYTES:
        raise ContentInvalid("not a content key under a pack's key")
    try:
        return AESGCM(pack_key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except InvalidTag as error:
        raise ContentInvalid("the content key does not open at this place") from error


class _Segments:
    """The key and the running nonce of one stream, in either direction."""

    def __init__(self, key: bytes, associated: bytes, salt: bytes, nonce_prefix: bytes) -> None:
        if len(key) != KEY_BYTES or len(salt) != SALT_BYTES or len(nonce_prefix) != NONCE_PREFIX_BYTES:
            raise ValueError("a stream needs a key of 32, a salt of 32 and a nonce prefix of 7 bytes")
        self._aead = AESGCM(HKDF(SHA256(), KEY_BYTES, salt, associated).derive(key))
        self._prefix = nonce_prefix
        self._counter = 0

    def encrypt(self, plain: memoryview, last: bool) -> bytearray:
        sealed = bytearray(len(plain) + TAG_BYTES)
        self._aead.encrypt_into(self._nonce(last), plain, None, sealed)
        return sealed

    def decrypt(self, sealed: memoryview, last: bool) -> bytearray:
        if len(sealed) < TAG_BYTES:
            raise ContentInvalid("the stream is cut")
        plain = bytearray(len(sealed) - TAG_BYTES)
        try:
            self._aead.decrypt_into(self._nonce(last), sealed, None, plain)
        except InvalidTag as error:
            raise ContentInvalid("a segment does not authenticate") from error
        return plain

    def _nonce(self, last: bool) -> bytes:
        if self._counter >= SEGMENTS_MAX:
            raise ValueError("a stream has at most 2^32 segments")
        nonce = self._prefix + self._counter.to_bytes(4, "big") + (b"\x01" if last else b"\x00")
        self._counter += 1
        return nonce


class _Held:
    """At most one segment, held until a further byte shows that it is not the last. As large as what it holds."""

    def __init__(self, first_bytes: int) -> None:
        self._buffer = bytearray()
        self._filled = 0
        self._room = first_bytes

    def fill(self, data: memoryview) -> int:
        """Takes what fits, answers how much."""
        taken = min(self._room - self._filled, len(data))
        if (missing := self._filled + taken - len(self._buffer)) > 0:
            self._buffer.extend(bytes(max(missing, min(len(self._buffer), SEGMENT_BYTES - len(self._buffer)))))
        self._buffer[self._filled : self._filled + taken] = data[:taken]
        self._filled += taken
        return taken

    @property
    def full(self) -> bool:
        return self._filled == self._room

    def content(self) -> memoryview:
        return memoryview(self._buffer)[: self._filled]

    def empty(self, next_bytes: int) -> None:
        self._filled = 0
        self._room = next_bytes


class Encryptor:
    """Encrypts one content as it passes. `salt` and `nonce_prefix` are fresh random bytes."""

    def __init__(self, key: bytes, associated: bytes, salt: bytes, nonce_prefix: bytes) -> None:
        self._segments = _Segments(key, associated, salt, nonce_prefix)
        self._header = bytes([HEADER_BYTES]) + salt + nonce_prefix
        self._held = _Held(FIRST_PLAIN_BYTES)

    def update(self, plain: bytes | bytearray | memoryview) -> bytes:
        """The ciphertext that is ready after `plain`; empty while a segment fills."""
        rest = memoryview(plain)
        ready = []
        while len(rest):
            if self._held.full:
                ready.append(self._flush(last=False))
            rest = rest[self._held.fill(rest) :]
        return b"".join(ready)

    def finish(self) -> bytes:
        """The end of the stream. Nothing may follow."""
        return self._flush(last=True)

    def _flush(self, last: bool) -> bytes:
        sealed = self._segments.encrypt(self._held.content(), last)
        self._held.empty(PLAIN_BYTES)
        header, self._header = self._header, b""
        return header + sealed


class Decryptor:
    """Decrypts one stream as it arrives. Raises ContentInvalid; then nothing of the content may be trusted."""

    def __init__(self, key: bytes, associated: bytes) -> None:
        self._key = key
        self._associated = associated
        self._header = bytearray()
        self._segments: _Segments | None = None
        self._held = _Held(SEGMENT_BYTES - HEADER_BYTES)

    def update(self, sealed: bytes | bytearray | memoryview) -> bytes:
        """The plain bytes that are authenticated after `sealed`; empty while a segment fills."""
        rest = self._after_header(memoryview(sealed))
        ready = []
        while len(rest):
            if self._held.full:
                ready.append(self._flush(last=False))
            rest = rest[self._held.fill(rest) :]
        return b"".join(ready)

    def finish(self) -> bytes:
        """The last plain bytes; raises ContentInvalid when the stream ended too early."""
        if self._segments is None:
            raise ContentInvalid("the stream ends in its header")
        return self._flush(last=True)

    def _after_header(self, sealed: memoryview) -> memoryview:
        if self._segments is not None:
            return sealed
        missing = HEADER_BYTES - len(self._header)
        self._header += sealed[:missing]
        if len(self._header) == HEADER_BYTES:
            if self._header[0] != HEADER_BYTES:
                raise ContentInvalid("not a stream of this format")
            salt, prefix = bytes(self._header[1 : 1 + SALT_BYTES]), bytes(self._header[1 + SALT_BYTES :])
            self._segments = _Segments(self._key, self._associated, salt, prefix)
        return sealed[missing:]

    def _flush(self, last: bool) -> bytes:
        plain = cast("_Segments", self._segments).decrypt(self._held.content(), last)
        self._held.empty(SEGMENT_BYTES)
        return bytes(plain)
