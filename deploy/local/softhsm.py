"""A software PKCS#11 token: the stand-in for hardware in an embedded installation and in tests.

Owns     finding the SoftHSM module, its configuration file, and initialising one token
Rules    `python -m deploy.local.softhsm` does the initialising in a process of its own, because a PKCS#11 module keeps
         state in whoever loaded it; PINs come by files, never by argv, which every OS user can read
Elsewhere: keys (hsm_bridge/token/ceremony.py). The PKCS#11 binding has no call that initialises a token, hence ctypes
"""

import ctypes
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.local.children import child_environment

MODULE_ENVIRONMENT = "QERDS_PKCS11_MODULE"
UNPACKED_ENVIRONMENT = "QERDS_SOFTHSM_ROOT"  # where `./qerds` unpacked the Debian packages without root
PLACES = (
    "usr/lib/softhsm/libsofthsm2.so",
    "usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)
LABEL = "qerds"
LABEL_BYTES = 32  # PKCS#11 v2.40 C_InitToken: 32 bytes, padded with blanks
PIN_BYTES = 24
INIT_SECONDS_MAX = 30

# PKCS#11 v2.40, pkcs11t.h
CKR_OK = 0
CKU_SO = 0
CKF_RW_SESSION_AND_SERIAL = 0x2 | 0x4


class TokenFailed(RuntimeError):
    """There is no module, or it refused."""


@dataclass(frozen=True, slots=True)
class SoftToken:
    """A software token on disk."""

    module: Path
    conf: Path
    token_dir: Path
    pin_file: Path
    label: str = LABEL


def find_module() -> Path:
    """libsofthsm2.so: configured, installed, or unpacked."""
    configured = os.environ.get(MODULE_ENVIRONMENT)
    if configured:
        return Path(configured)
    roots = [Path("/")]
    if unpacked := os.environ.get(UNPACKED_ENVIRONMENT):
        roots.append(Path(unpacked))
    for root in roots:
        for place in PLACES:
            if (root / place).exists():
                return root / place
    raise TokenFailed("SoftHSM is not installed: apt-get install softhsm2")


def prepare_token(home: Path, secrets_dir: Path) -> SoftToken:
    """The token below `home`, made when it is not there yet; may be called at every start."""
    token = SoftToken(find_module(), home / "softhsm2.conf", home / "token", secrets_dir / "token-pin")
    token.token_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    token.conf.write_text(
        f"directories.tokendir = {token.token_dir}\n"
        "objectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )
    made = secrets_dir / "token-made"
    if not made.exists():
        # A crash before the mark leaves an unlabelled or half-made token without keys: start over.
        for entry in token.token_dir.iterdir():
            _remove_tree(entry)
        _write_secret(token.pin_file, secrets.token_urlsafe(PIN_BYTES))
        _initialise_apart(token)
        made.touch(mode=0o600)
    return token


def _initialise_apart(token: SoftToken) -> None:
    """Runs this module as a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "deploy.local.softhsm", str(token.module), str(token.pin_file), token.label],
        env=child_environment({"SOFTHSM2_CONF": str(token.conf)}),
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=INIT_SECONDS_MAX,
    )
    if answer.returncode != 0:
        raise TokenFailed(f"the token could not be initialised: {answer.stderr.strip()[-1000:]}")


def initialise(module: Path, pin: bytes, label: str) -> None:
    """C_InitToken and C_InitPIN on the first free slot. The security officer's PIN is made here and forgotten."""
    library = ctypes.CDLL(str(module))
    so_pin = secrets.token_urlsafe(PIN_BYTES).encode()
    name = label.encode().ljust(LABEL_BYTES)[:LABEL_BYTES]
    session, slots, count = ctypes.c_ulong(), (ctypes.c_ulong * 16)(), ctypes.c_ulong(16)

    def call(function: str, *arguments: object) -> None:
        code = getattr(library, function)(*arguments)
        if code != CKR_OK:
            raise TokenFailed(f"{function} answered 0x{code:x}")

    call("C_Initialize", None)
    call("C_GetSlotList", ctypes.c_ubyte(0), slots, ctypes.byref(count))
    slot = ctypes.c_ulong(slots[0])
    call("C_InitToken", slot, so_pin, ctypes.c_ulong(len(so_pin)), name)
    call("C_OpenSession", slot, ctypes.c_ulong(CKF_RW_SESSION_AND_SERIAL), None, None, ctypes.byref(session))
    call("C_Login", session, ctypes.c_ulong(CKU_SO), so_pin, ctypes.c_ulong(len(so_pin)))
    call("C_InitPIN", session, pin, ctypes.c_ulong(len(pin)))
    call("C_Finalize", None)


def _write_secret(path: Path, text: str) -> None:
    """A file that only we can read, from its first byte."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")


def _remove_tree(path: Path) -> None:
    """One token's folder: flat, as SoftHSM makes it."""
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


if __name__ == "__main__":
    initialise(Path(sys.argv[1]), Path(sys.argv[2]).read_text().strip().encode(), sys.argv[3])
