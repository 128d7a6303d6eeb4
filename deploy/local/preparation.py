"""The steps between an empty directory and processes that can start.

Owns     their order: token, PostgreSQL, roles, schema, keys and certificates, identity provider's keys
Rules    every step may be repeated after a crash in the middle of it: what exists stays
Elsewhere: starting the processes (up.py), the steps' own knowledge (their modules)
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.local import accounts, postgres, record, roles, settings, softhsm
from deploy.local.identity_provider import keys as identity_keys
from deploy.local.layout import Layout, TcpPorts
from deploy.local.programs import process_environment
from deploy.local.steps import start_step
from pipeline.formats.configuration import Config, load

INSTALLATION = """
INSERT INTO qerds.installation (mode, embedded) SELECT '{mode}', true
WHERE NOT EXISTS (SELECT FROM qerds.installation);
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What later steps need of the earlier ones."""

    layout: Layout
    ports: TcpPorts
    run_dir: Path
    token: softhsm.SoftToken
    cluster: postgres.Cluster
    config: Config

    @property
    def environment(self) -> dict[str, str]:
        return process_environment(self.layout.config, self.token.conf)


def make_run_dir(layout: Layout) -> Path:
    """A short directory for the sockets (their paths must fit in 107 bytes); a killed predecessor's goes."""
    last = record.read_last(layout)
    if last is not None and Path(last.run_dir).name.startswith("qerds-"):
        shutil.rmtree(last.run_dir, ignore_errors=True)
    run_dir = Path(tempfile.mkdtemp(prefix="qerds-"))
    if accounts.database_account() is not None:
        run_dir.chmod(0o711)  # PostgreSQL's account has to get to its own folder in it
    return run_dir


def prepare(layout: Layout, ports: TcpPorts, run_dir: Path) -> Prepared:
    """Folders, secrets, token, configuration file, and a database cluster that can be started."""
    account = accounts.database_account()
    for name in ("pg", "bridge"):
        (run_dir / name).mkdir(mode=0o711 if account else 0o700)
    accounts.give(account, run_dir / "pg")
    token = softhsm.prepare_token(layout.state, layout.secrets)
    roles.secret_in(layout.mail_key)
    settings.write(layout.config, settings.sections(layout, ports, run_dir, token))
    home = postgres.place(layout.state, account)
    cluster = postgres.Cluster(
        binaries=postgres.reachable_binaries(postgres.find_binaries(), home, account),
        data_dir=home / "postgres",
        socket_dir=run_dir / "pg",
        port=ports.database,
        superuser_password=roles.secret_in(layout.secrets / "postgres"),
        account=account,
    )
    postgres.create(cluster)
    return Prepared(layout, ports, run_dir, token, cluster, load(layout.config))


def prepare_database_and_keys(prepared: Prepared) -> None:
    """Roles and schema on the running server; meanwhile keys, CA, certificates and CRL in the token."""
    roles.prepare_roles(prepared.cluster, prepared.config.database)
    identity_keys.prepare(prepared.config)
    steps = [
        start_step("pipeline.adapters.postgres.migrate", prepared.environment),
        start_step("hsm_bridge.token.ceremony", prepared.environment, "--config", str(prepared.layout.config)),
    ]
    for step in steps:
        step.finish()
    postgres.psql(prepared.cluster, INSTALLATION.format(mode=prepared.config.mode), prepared.config.database.name)
