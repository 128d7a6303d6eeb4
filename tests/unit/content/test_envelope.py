"""The envelope: Tink's bytes, constant memory, and every alteration noticed."""

import hashlib
import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.content import envelope
from pipeline.content.envelope import ContentInvalid, Decryptor, Encryptor, associated_data, cipher_bytes, seal_key

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tink_streams.json").read_text("utf-8"))
KEY = bytes.fromhex(VECTORS["key"])
ASSOCIATED = associated_data(VECTORS["object_name"])
SALT = bytes(range(100, 132))
PREFIX = bytes(range(7))


def plain_of(length: int) -> bytes:
    """The content that the vector file describes."""
    period = bytes((7 * i + 3) % 256 for i in range(256))
    return (period * (length // 256 + 1))[:length]


def encrypted(plain: bytes, step: int = 64 * 1024, salt: bytes = SALT, prefix: bytes = PREFIX) -> bytes:
    encryptor = Encryptor(KEY, ASSOCIATED, salt, prefix)
    ready = [encryptor.update(plain[i : i + step]) for i in range(0, len(plain), step)]
    return b"".join([*ready, encryptor.finish()])


def decrypted(sealed: bytes, step: int = 64 * 1024, associated: bytes = ASSOCIATED, key: bytes = KEY) -> bytes:
    decryptor = Decryptor(key, associated)
    ready = [decryptor.update(sealed[i : i + step]) for i in range(0, len(sealed), step)]
    return b"".join([*ready, decryptor.finish()])


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: str(v["plain_bytes"]))
def test_streams_are_those_of_tink(vector: dict[str, object]) -> None:
    """Given Tink's salt and prefix we write the bytes that Tink wrote, at every boundary size."""
    plain = plain_of(int(str(vector["plain_bytes"])))
    salt, prefix = bytes.fromhex(str(vector["salt"])), bytes.fromhex(str(vector["nonce_prefix"]))
    sealed = encrypted(plain, salt=salt, prefix=prefix)
    assert hashlib.sha256(sealed).hexdigest() == vector["cipher_sha256"]
    assert len(sealed) == vector["cipher_bytes"] == cipher_bytes(len(plain))
    assert decrypted(sealed) == plain


@pytest.mark.parametrize("step", [1, 39, 40, 41, 1000])
def test_the_cut_of_the_input_does_not_matter(step: int) -> None:
    """However the bytes arrive, header included, the same stream and the same content come out."""
    plain = plain_of(3000)
    assert encrypted(plain, step) == encrypted(plain)
    assert decrypted(encrypted(plain), step) == plain


@pytest.mark.parametrize("step", [envelope.SEGMENT_BYTES, 3 * envelope.SEGMENT_BYTES + 5])
def test_large_pieces_cross_segments(step: int) -> None:
    """A piece larger than a segment is cut into segments."""
    plain = plain_of(3 * envelope.SEGMENT_BYTES + 11)
    assert decrypted(encrypted(plain, step), step) == plain


def test_any_changed_byte_is_noticed() -> None:
    """No byte of a stream, header included, can be changed."""
    sealed = encrypted(plain_of(50))
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises(ContentInvalid):
            decrypted(bytes(altered))


def test_any_cut_is_noticed() -> None:
    """A stream that ends early is never taken for a complete content."""
    sealed = encrypted(plain_of(50))
    for length in range(len(sealed)):
        with pytest.raises(ContentInvalid):
            decrypted(sealed[:length])


def test_segments_cannot_be_removed_swapped_or_added() -> None:
    """A missing, exchanged or repeated segment does not authenticate, nor does a cut at a segment's end."""
    sealed = encrypted(plain_of(4 * envelope.SEGMENT_BYTES))
    marks = [0, *range(envelope.SEGMENT_BYTES, len(sealed), envelope.SEGMENT_BYTES), len(sealed)]
    a, b, c, d, e = (sealed[start:end] for start, end in pairwise(marks))
    for wrong in (a + c + d + e, a + c + b + d + e, a + b + c + d, a + b, a + b + c + d + e + e, a + b + b + c + d + e):
        with pytest.raises(ContentInvalid):
            decrypted(wrong, envelope.SEGMENT_BYTES)


def test_a_stream_opens_only_under_its_own_name_and_key() -> None:
    """An object copied over another one's name does not open."""
    sealed = encrypted(b"letter")
    with pytest.raises(ContentInvalid):
        decrypted(sealed, associated=associated_data("0" * 32))
    with pytest.raises(ContentInvalid):
        decrypted(sealed, key=bytes(32))


def test_memory_does_not_grow_with_the_content() -> None:
    """A content of 64 MiB passes through encryption and decryption in a few segments of memory."""
    piece = bytes(64 * 1024)
    encryptor, decryptor = Encryptor(KEY, ASSOCIATED, SALT, PREFIX), Decryptor(KEY, ASSOCIATED)
    tracemalloc.start()
    try:
        for _ in range(1024):
            decryptor.update(encryptor.update(piece))
        decryptor.update(encryptor.finish())
        decryptor.finish()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 * envelope.SEGMENT_BYTES


def test_a_sealed_key_opens_only_with_its_own_information() -> None:
    """A content key sealed for one upload does not open under another one's description."""
    private = ec.generate_private_key(ec.SECP256R1())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    sealed = seal_key(spki, b"this upload", KEY)
    assert len(sealed) == envelope.SEALED_KEY_BYTES
    assert envelope.SUITE.decrypt(sealed, private, info=b"this upload") == KEY
    with pytest.raises(InvalidTag):
        envelope.SUITE.decrypt(sealed, private, info=b"another upload")


def test_only_p256_keys_seal() -> None:
    """A published key of another kind is refused before anything is encrypted to it."""
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(ValueError, match="P-256"):
        seal_key(other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), b"", KEY)


NAME = "00112233445566778899aabbccddeeff"


def test_a_stream_is_bound_to_its_object_and_its_place() -> None:
    """By its format: the whole object, or a place in a pack; no two places share what they are bound to."""
    assert envelope.stream_data(envelope.CONTENT_FORMAT, NAME, 0) == associated_data(NAME)
    places = [(NAME, 0), (NAME, 1), (NAME, 256), (NAME[::-1], 0)]
    bound = {envelope.stream_data(envelope.PACKED_FORMAT, name, offset) for name, offset in places}
    assert len(bound | {associated_data(NAME)}) == 5
    for content_format, offset in ((envelope.CONTENT_FORMAT, 1), ("another", 0)):
        with pytest.raises(ContentInvalid):
            envelope.stream_data(content_format, NAME, offset)


def test_a_content_s_key_under_its_pack_s() -> None:
    """It comes back under the same key and place; every alteration and every other length is refused."""
    pack_key, key, nonce = bytes(32), bytes(range(32)), bytes(range(12))
    sealed = envelope.seal_packed_key(pack_key, nonce, key, b"place")
    assert envelope.open_packed_key(pack_key, sealed, b"place") == key
    wrong = [(pack_key, sealed, b"elsewhere"), (key, sealed, b"place"), (pack_key, b"", b"place")]
    wrong += [(pack_key, sealed[:-1], b"place"), (pack_key, sealed + b"x", b"place")]
    wrong += [(pack_key, sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :], b"place") for i in range(len(sealed))]
    for given in wrong:
        with pytest.raises(ContentInvalid):
            envelope.open_packed_key(*given)


def test_a_small_content_costs_little_memory() -> None:
    """A pack of thousands of letters does not take a megabyte for each."""
    tracemalloc.start()
    try:
        for _ in range(50):
            assert decrypted(encrypted(b"Dear customer")) == b"Dear customer"
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 256 * 1024
