"""The PostgreSQL launcher, with real servers."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import accounts, postgres
from deploy.local.children import child_environment
from deploy.local.roles import ROLES
from tests.servers import PostgresServer, short_directory

ROOT = Path(__file__).resolve().parents[2]
STARTER = """
import sys, signal
from pathlib import Path
from deploy.local import accounts, postgres
home = Path(sys.argv[1])
account = accounts.database_account()
binaries = postgres.reachable_binaries(postgres.find_binaries(), home, account)
cluster = postgres.Cluster(binaries, home / "data", home / "s", 5432, "secret", account)
postgres.create(cluster, durable=False)
print(postgres.start(cluster, home / "log").pid, flush=True)
signal.pause()
"""


@pytest.fixture(name="server")
def _server(request: pytest.FixtureRequest) -> PostgresServer:
    """The session's server; its own name is taken here by the launcher's module."""
    server = request.getfixturevalue("postgres")
    assert isinstance(server, PostgresServer)
    return server


def cluster_in(home: Path) -> postgres.Cluster:
    home.chmod(0o711)
    (home / "s").mkdir(mode=0o711, exist_ok=True)
    account = accounts.database_account()
    accounts.give(account, home / "s")
    binaries = postgres.reachable_binaries(postgres.find_binaries(), home, account)
    return postgres.Cluster(binaries, home / "data", home / "s", 5432, "secret", account, postgres.FOR_TESTS)


def test_a_wrong_password_is_refused(server: PostgresServer) -> None:
    """Roles are real also over the Unix socket: nobody gets in by being on this machine."""
    cluster = server.cluster
    wrong = postgres.Cluster(
        cluster.binaries, cluster.data_dir, cluster.socket_dir, cluster.port, "wrong", cluster.account
    )
    with pytest.raises(postgres.PostgresFailed, match="password authentication failed"):
        postgres.psql(wrong, "SELECT 1")


def test_no_role_of_ours_is_powerful(server: PostgresServer) -> None:
    """Every process kind has a login of its own, none of which can make roles, databases or bypass row policies."""
    rows = server.psql(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'qerds%' AND rolcanlogin"
        " AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls OR rolreplication)"
    )
    assert set(rows.split()) == set(ROLES)


def test_the_server_listens_on_no_network(server: PostgresServer) -> None:
    """The database of an embedded installation is reached through its socket directory only."""
    assert server.psql("SHOW listen_addresses").strip() == ""


def test_a_half_made_cluster_is_made_again(state_dir: Path) -> None:
    """A crash inside initdb does not leave a directory that never starts."""
    cluster = cluster_in(state_dir)
    assert postgres.create(cluster, durable=False)
    assert not postgres.create(cluster, durable=False)
    (state_dir / "data.being-made").touch()
    (state_dir / "data" / "global" / "pg_control").unlink()
    assert postgres.create(cluster, durable=False)
    process = postgres.start(cluster, state_dir / "log")
    postgres.stop(process)
    assert process.returncode == 0
    assert not list((state_dir / "s").glob("initial-password"))


def test_it_stops_cleanly_when_its_parent_is_killed(state_dir: Path) -> None:
    """SIGKILL of the process that started it leaves no server behind, and nothing to recover."""
    cluster_in(state_dir)
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(state_dir)],
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment({"PYTHONPATH": str(ROOT)}),
    ) as starter:
        assert starter.stdout is not None
        handle = os.pidfd_open(int(starter.stdout.readline()))
        starter.kill()
    assert select.select([handle], [], [], 15)[0]
    os.close(handle)
    assert "database system is shut down" in (state_dir / "log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has somebody to become")
def test_unreachable_binaries_are_copied() -> None:
    """Below a private home the account that runs PostgreSQL gets a copy it can execute; no permission is widened."""
    private, home = short_directory(), short_directory()
    private.chmod(0o700)
    try:
        package = private / postgres.WHEEL
        package.mkdir()
        (package / "pginstall").symlink_to(postgres.find_binaries().parent)
        account = accounts.database_account()
        binaries = postgres.reachable_binaries(package / "pginstall" / "bin", home, account)
        assert binaries.is_relative_to(home)
        assert accounts.reaches(account, binaries / "initdb")
        assert postgres.reachable_binaries(package / "pginstall" / "bin", home, account) == binaries
        assert private.stat().st_mode & 0o777 == 0o700
    finally:
        for path in (private, home):
            subprocess.run(["rm", "-rf", str(path)], check=True)
