"""The software token's set-up."""

import stat
import subprocess
import sys
from collections.abc import Callable

from deploy.local.children import child_environment
from deploy.local.softhsm import SoftToken, prepare_token

LOGIN = """
import sys, pkcs11
token = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[3])
with token.open(rw=True, user_pin=open(sys.argv[2]).read().strip()) as session:
    session.generate_keypair(pkcs11.KeyType.RSA, 2048, store=True, label="k")
    print(len(list(session.get_objects())))
"""


def objects_after_login(token: SoftToken) -> int:
    arguments = [sys.executable, "-c", LOGIN, str(token.module), str(token.pin_file), token.label]
    environment = child_environment({"SOFTHSM2_CONF": str(token.conf)})
    answer = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True, timeout=20)
    return int(answer.stdout)


def test_the_pin_in_its_file_opens_the_token(softhsm: SoftToken) -> None:
    """After the set-up a process with the PIN file can log in and keep keys; nobody else can read that file."""
    assert stat.S_IMODE(softhsm.pin_file.stat().st_mode) == 0o600
    assert objects_after_login(softhsm) == 2


def test_a_second_set_up_keeps_the_keys(softhsm: SoftToken) -> None:
    """Starting again must never re-initialise a token: that would destroy every key in it."""
    assert objects_after_login(softhsm) == 2
    again = prepare_token(softhsm.conf.parent, softhsm.pin_file.parent)
    assert again == softhsm
    assert objects_after_login(again) == 4


def test_copies_of_the_template_are_independent(make_softhsm: Callable[[], SoftToken]) -> None:
    """A test's keys are not another test's keys."""
    one, two = make_softhsm(), make_softhsm()
    assert objects_after_login(one) == 2
    assert objects_after_login(two) == 2
