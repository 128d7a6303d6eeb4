"""Which OS user PostgreSQL runs as: itself refuses to run as root.

Owns     the choice of an existing unprivileged account, and whether that account can reach a path
Rules    no account is created and no parent directory's permissions are changed
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

CANDIDATES = ("postgres", "nobody")  # the first that exists; nobody is on every Debian
ACCOUNT_ENVIRONMENT = "QERDS_POSTGRES_USER"
TEST_SECONDS = 10


@dataclass(frozen=True, slots=True)
class OsUser:
    """An unprivileged OS user that exists already."""

    name: str
    uid: int
    gid: int


class SubprocessUser(TypedDict, total=False):
    """The arguments of subprocess that drop root; empty when there is nothing to drop."""

    user: int
    group: int
    extra_groups: list[int]


class NoAccount(RuntimeError):
    """We are root and found nobody else to be."""


def database_account() -> OsUser | None:
    """None: we are not root and run everything as ourselves."""
    if os.geteuid() != 0:
        return None
    configured = os.environ.get(ACCOUNT_ENVIRONMENT)
    for name in (configured,) if configured else CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return OsUser(name, entry.pw_uid, entry.pw_gid)
    raise NoAccount(f"PostgreSQL will not run as root, and there is no user {configured or ' or '.join(CANDIDATES)}")


def become(account: OsUser | None) -> SubprocessUser:
    """For `subprocess.Popen(..., **become(account))`."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def reaches(account: OsUser | None, path: Path) -> bool:
    """Whether `account` can execute or enter `path`: every directory above has to let it through."""
    if account is None:
        return True
    test = shutil.which("test") or "/usr/bin/test"
    answer = subprocess.run(
        [test, "-x", str(path)],
        **become(account),
        cwd="/",
        check=False,
        timeout=TEST_SECONDS,
    )
    return answer.returncode == 0


def give(account: OsUser | None, path: Path) -> None:
    """Hands `path` itself (nothing above or below) to `account`."""
    if account is not None:
        os.chown(path, account.uid, account.gid)
