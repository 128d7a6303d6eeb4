"""PostgreSQL over the network: a list of hosts, TLS, a certificate that is verified."""

import gc
import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from deploy.local.softhsm import SoftToken
from pipeline.adapters.postgres.link import Link
from pipeline.errors import Transient
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import DatabaseSettings
from tests.bridge_process import BridgeHome, stop
from tests.fakes import pki
from tests.s3_server import free_ports
from tests.servers import PostgresServer, short_directory
from tests.tls_door import Door, open_door
from tests.waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
    # The driver forgets the transport of a session that it gives up; `forgotten` has it collected here, not later.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SEAL = ("pipeline", "seal")
WAITING = ("not published yet", "clocks not compared")  # what the bridge says
SESSIONS_OF_A_STAGE = 3  # pipeline/adapters/postgres/mailbox.py
UNKNOWN_AUTHORITY = "unable to get local issuer certificate"
WRONG_NAME = "Hostname mismatch, certificate is not valid for 'localhost'"


@dataclass(frozen=True, slots=True)
class Secure:
    """A door with TLS before the database, and what its clients know of it."""

    door: Door
    ca_file: Path

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.door.port}"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What the driver left behind goes with the test that it is of."""
    yield
    gc.collect()


@pytest.fixture
def secure(database: DatabaseSettings, tmp_path: Path) -> Iterator[Secure]:
    """Its certificate says 127.0.0.1 and no name."""
    authority = pki.authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "other.pem").write_bytes(pki.authority("Another Authority").pem)
    with open_door(database, pki.leaf(authority, "a server", addresses=["127.0.0.1"])) as door:
        yield Secure(door, tmp_path / "ca.pem")


def over_tcp(database: DatabaseSettings, ca_file: Path, *hosts: str) -> DatabaseSettings:
    """The same database, reached by these hosts and no socket."""
    return replace(database, hosts=hosts, ca_file=ca_file, socket_dir=None, port=None)


def sessions(postgres: PostgresServer, database: DatabaseSettings, role: str) -> int:
    """How many the server has of this role."""
    where = f"usename = '{role}' AND datname = '{database.name}'"
    return int(postgres.psql(f"SELECT count(*) FROM pg_stat_activity WHERE {where}"))


@dataclass(frozen=True, slots=True)
class Program:
    """A process, and what it wrote on stderr."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()


@contextmanager
def started(home: BridgeHome, *program: str) -> Iterator[Program]:
    """A program with this configuration, whether it comes up or not; told to stop at the end."""
    log = home.home / f"{program[-1]}.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *program],
            env={"PATH": "/usr/bin:/bin", "QERDS_CONFIG": str(home.config_path), "PYTHONPATH": ":".join(sys.path)},
            stderr=errors,
        )
    try:
        yield Program(process, log)
    finally:
        stop(process)


async def test_a_stage_and_the_bridge_over_tls(
    postgres: PostgresServer, database: DatabaseSettings, secure: Secure, make_softhsm: Callable[[], SoftToken]
) -> None:
    """Both come up by way of a certificate that is verified, and every session of theirs came through it."""
    home = BridgeHome(short_directory(), make_softhsm(), over_tcp(database, secure.ca_file, secure.host))
    home.write()
    home.ceremony()
    with started(home, "hsm_bridge") as bridge, started(home, *SEAL) as seal:

        async def both_are_in() -> bool:
            found = [sessions(postgres, database, role) for role in ("qerds_bridge", "qerds_seal")]
            return found == [1, SESSIONS_OF_A_STAGE]

        await until(both_are_in, 30)
    assert secure.door.handshakes == secure.door.knocks == 1 + SESSIONS_OF_A_STAGE
    assert int(postgres.psql("SELECT count(*) FROM qerds.published_key", database.name)) > 0
    for program in (bridge, seal):
        assert (program.process.returncode, program.said) == (0, "")


@pytest.mark.parametrize(
    ("name", "authority", "why"),
    [("127.0.0.1", "other.pem", UNKNOWN_AUTHORITY), ("localhost", "ca.pem", WRONG_NAME)],
    ids=["wrong authority", "wrong name"],
)
async def test_a_refused_certificate_is_waited_for(
    database: DatabaseSettings,
    secure: Secure,
    make_softhsm: Callable[[], SoftToken],
    name: str,
    authority: str,
    why: str,
) -> None:
    """Stage and bridge say which certificate and why, tell nobody the password, and go on trying."""
    host = f"{name}:{secure.door.port}"
    where = over_tcp(database, secure.ca_file.with_name(authority), host)
    home = BridgeHome(short_directory(), make_softhsm(), where)
    home.write()
    home.ceremony()
    said = f"PostgreSQL is away: {host} has a certificate that is refused ({why})"
    with started(home, *SEAL) as seal, started(home, "hsm_bridge") as bridge:

        async def tried_twice() -> bool:
            return seal.said.count(said) > 1 and bridge.said.count(WAITING[0]) > 1

        await until(tried_twice, 30)
        assert (seal.process.poll(), bridge.process.poll()) == (None, None)
    assert secure.door.handshakes == 0
    lines = [json.loads(line) for line in seal.said.splitlines()]
    assert {(line["where"], line["type"], line["text"]) for line in lines} == {("epoch", "Transient", said)}
    assert set(bridge.said.splitlines()) == {f"bridge: {what}, trying again: {said}" for what in WAITING}
    assert (home.config.bridge.data_dir / "audit.jsonl").read_bytes() == b""  # no key is used for what nobody can read
    for role, program in (("qerds_seal", seal), ("qerds_bridge", bridge)):
        assert database.password(role) not in program.said


async def test_a_replaced_authority_is_seen_without_a_restart(database: DatabaseSettings, secure: Secure) -> None:
    """The file is read at each connection: who was refused is let in as soon as the file is right."""
    other = secure.ca_file.with_name("other.pem")
    link = Link(over_tcp(database, other, secure.host).dsn("qerds_seal"))
    with pytest.raises(Transient, match=UNKNOWN_AUTHORITY):
        await link.open()
    other.write_bytes(secure.ca_file.read_bytes())
    await link.open()
    assert link.is_open
    await link.close()


async def test_a_file_that_holds_no_authority_is_named(database: DatabaseSettings, secure: Secure) -> None:
    """A wrong path is no reason to wait: no certificate could ever be trusted."""
    for path in (secure.ca_file.with_name("absent.pem"), database.password_dir / "qerds_seal"):
        with pytest.raises(ConfigInvalid, match=f"database.ca_file: {path} must be a readable file of PEM"):
            await Link(over_tcp(database, path, secure.host).dsn("qerds_seal")).open()


async def test_a_server_without_tls_gets_no_password(database: DatabaseSettings, secure: Secure) -> None:
    """TLS is demanded, not preferred: whoever sits between cannot talk us out of it."""
    with open_door(database, None) as door:
        link = Link(over_tcp(database, secure.ca_file, f"127.0.0.1:{door.port}").dsn("qerds_seal"))
        with pytest.raises(Transient, match=f"away: 127.0.0.1:{door.port} offers no TLS"):
            await link.open()
    assert (door.knocks, door.handshakes) == (1, 0)


async def test_a_dead_host_before_a_living_one(database: DatabaseSettings, secure: Secure) -> None:
    """The list is walked; the one that answered is tried first from then on."""
    dead = f"127.0.0.1:{free_ports(1)[0]}"
    dsn = over_tcp(database, secure.ca_file, dead, secure.host).dsn("qerds_seal")
    link = Link(dsn)
    await link.open()
    assert [str(host) for host in dsn.hosts] == [secure.host, dead]
    await link.close()


async def test_a_server_that_takes_no_writes_is_no_host(
    postgres: PostgresServer, database: DatabaseSettings, secure: Secure
) -> None:
    """A standby, or a primary that was fenced, answers too; every host of the list is named with its own reason."""
    dead = f"127.0.0.1:{free_ports(1)[0]}"
    postgres.psql(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    link = Link(over_tcp(database, secure.ca_file, secure.host, dead).dsn("qerds_seal"))
    with pytest.raises(Transient, match=f"{secure.host} takes no writes, {dead} says ConnectionRefusedError"):
        await link.open()


async def test_a_password_that_is_wrong_is_not_told(database: DatabaseSettings, secure: Secure, tmp_path: Path) -> None:
    """A role that is not let in waits too, and the text does not hold the word that was tried."""
    word = secrets.token_urlsafe(16)
    (tmp_path / "qerds_seal").write_text(word)
    (tmp_path / "qerds_seal").chmod(0o600)
    where = replace(over_tcp(database, secure.ca_file, secure.host), password_dir=tmp_path)
    with pytest.raises(Transient, match="says InvalidPasswordError") as caught:
        await Link(where.dsn("qerds_seal")).open()
    assert word not in str(caught.value)
