"""The token door: locks, attributes, PINs, and a token that goes away."""

import os
import threading
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from pkcs11 import Attribute, KeyType, MechanismFlag

from deploy.local.softhsm import SoftToken
from hsm_bridge.token import device as door
from hsm_bridge.token.device import KeyMissing, PointInvalid, TagMismatch, Token, TokenAway, TokenStopped
from hsm_bridge.token.signatures import der_signature
from pipeline.formats.configuration import TokenSettings

PREHASHED = ec.ECDSA(utils.Prehashed(SHA256()))


def settings(token: SoftToken) -> TokenSettings:
    return TokenSettings(token.module, token.label, token.pin_file, token.conf, sessions=2)


@pytest.fixture
def token(softhsm: SoftToken) -> Iterator[Token]:
    opened = Token(settings(softhsm), writable=True)
    opened.generate("seal-2026-1", "seal")
    opened.generate("kek-202601", "kek")
    opened.generate("intake-202601", "intake")
    yield opened
    opened.close()


def test_the_module_is_started_with_its_own_locks(token: Token) -> None:
    """Eight threads on two sessions: without locks this module crashes the process within seconds."""
    public = token.public_key("seal-2026-1")
    failures: list[Exception] = []

    def work(number: int) -> None:
        digest, nonce = bytes([number]) * 32, os.urandom(12)
        try:
            for _ in range(40):
                public.verify(der_signature(token.sign("seal-2026-1", digest)), digest, PREHASHED)
                sealed = token.encrypt("kek-202601", nonce, b"key", b"context")
                assert token.decrypt("kek-202601", nonce, sealed, b"context") == b"key"
        except (AssertionError, TokenAway) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_no_key_made_here_can_leave(token: Token) -> None:
    """Attributes are read back, and the value is asked for: a key that gives it is refused."""
    for label, use in (("seal-2026-1", "seal"), ("kek-202601", "kek"), ("intake-202601", "intake")):
        token.check_key(label, use)  # type: ignore[arg-type]
    with pytest.raises(TokenStopped, match="not safe"):
        token.check_key("seal-2026-1", "intake")  # signs, but was asked about as an agreement key


def test_a_key_that_could_leave_is_refused(token: Token) -> None:
    """Somebody's extractable key under one of our names stops the start."""
    token._anchor.generate_key(
        KeyType.AES,
        256,
        label="kek-202602",
        id=b"kek-202602",
        store=True,
        capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
        template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
    )
    with pytest.raises(TokenStopped, match="EXTRACTABLE"):
        token.check_key("kek-202602", "kek")


def test_a_wrong_context_is_told_from_a_sick_token(token: Token) -> None:
    """The token gives one error for both; a wrong tag is a refusal, and the session serves on."""
    nonce = token.random(12)
    sealed = token.encrypt("kek-202601", nonce, b"key", b"context")
    for _ in range(5):
        with pytest.raises(TagMismatch):
            token.decrypt("kek-202601", nonce, sealed, b"another")
    assert token.decrypt("kek-202601", nonce, sealed, b"context") == b"key"


def test_points_off_the_curve_are_refused(token: Token) -> None:
    """An invalid point would leak the key bit by bit; it never reaches the token."""
    for point in (b"", b"\x00", b"\x04" + bytes(64), b"\x04" + b"\x01" * 64, b"\x04" + bytes(63)):
        with pytest.raises(PointInvalid):
            token.agree("intake-202601", point)


def test_an_unknown_key_is_no_reason_to_restart(token: Token) -> None:
    """A name that never was is KeyMissing; a label is given once."""
    with pytest.raises(KeyMissing):
        token.sign("seal-1999-1", bytes(32))
    with pytest.raises(TokenStopped, match="exists"):
        token.generate("seal-2026-1", "seal")


def test_a_token_that_vanishes_is_lost_and_a_restart_brings_it_back(token: Token, softhsm: SoftToken) -> None:
    """While it is away every call says so; when it is back only a restart of the module helps, and it does."""
    token.sign("seal-2026-1", bytes(32))
    away = softhsm.token_dir.with_name("away")
    softhsm.token_dir.rename(away)
    with pytest.raises(TokenAway) as gone:
        token.sign("seal-2026-1", bytes(32))
    assert gone.value.lost
    with pytest.raises(TokenAway):
        token.restart()
    away.rename(softhsm.token_dir)
    with pytest.raises(TokenAway):
        token.sign("seal-2026-1", bytes(32))
    token.restart()
    assert len(token.sign("seal-2026-1", bytes(32))) == 64


def test_a_token_that_comes_back_without_its_keys_is_not_trusted(token: Token, softhsm: SoftToken) -> None:
    """A key that was there and is not is a lost token, not an unknown name."""
    token.sign("seal-2026-1", bytes(32))
    for path in list(softhsm.token_dir.glob("*/*.object")):
        if path.name != "token.object":
            path.unlink()
    token.restart()
    with pytest.raises(TokenAway) as vanished:
        token.sign("seal-2026-1", bytes(32))
    assert vanished.value.lost


def test_a_wrong_pin_is_tried_once(softhsm: SoftToken) -> None:
    """A PIN error ends the start: trying again would lock the token."""
    softhsm.pin_file.write_text("not the pin\n")
    with pytest.raises(TokenStopped, match="PinIncorrect"):
        Token(settings(softhsm))


def test_two_keys_of_one_name_stop_the_bridge(token: Token) -> None:
    """An ambiguous name is never resolved by luck."""
    door._generate(token._anchor, "mac-1", door.TEMPLATES["mac"])
    door._generate(token._anchor, "mac-1", door.TEMPLATES["mac"])
    with pytest.raises(TokenStopped, match="share a label"):
        token.mac("mac-1", b"data")


def test_a_module_that_is_none_is_refused(softhsm: SoftToken, make_softhsm: Callable[[], SoftToken]) -> None:
    """A token of another label is away, not taken by mistake."""
    wrong = TokenSettings(softhsm.module, "another", softhsm.pin_file, make_softhsm().conf)
    with pytest.raises(TokenAway):
        Token(wrong)
