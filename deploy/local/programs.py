"""What an embedded installation runs: the Procfile's lines, and the stand-ins for what a real one has elsewhere.

Owns     reading the Procfile, --scale, the environment, order and drain time of each process
Rules    the Procfile is the truth about our own processes; only the stand-ins (PostgreSQL, mail catcher, identity
         provider, recipients) are named here
"""

import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local import postgres
from deploy.local.layout import CHECKOUT, HEALTH_PORTS_MAX, HOST, TcpPorts
from deploy.local.processes import Program

PROCFILE = CHECKOUT / "Procfile"
FORKED = re.compile(r"exec python -m ((?:pipeline|gateway)(?: [a-z_]+)*)")  # what the zygote knows
SHARES_SOCKET = "export LISTEN_PID=$$ LISTEN_FDS=1; "  # the id stays when the shell becomes the process
PROCFILE_LINE = re.compile(r"([a-z][a-z0-9_]*):\s*(exec \S.*)")
PROCESSES_MAX = 32  # of one name

MAIL_URL = "QERDS_MAIL_URL"  # as `./qerds status --env` names it
BRIDGE, GATEWAY, DATABASE, CATCHER = "hsm_bridge", "gateway", "postgres", "mail_catcher"
# Those that feed others stop before them; within a group all at once.
STOP_GATEWAY, STOP_STAGES, STOP_BRIDGE, STOP_STAND_INS, STOP_DATABASE = range(5)
DRAIN_SECONDS = {STOP_GATEWAY: 15.0, STOP_STAGES: 30.0, STOP_BRIDGE: 10.0, STOP_STAND_INS: 5.0, STOP_DATABASE: 30.0}


class ProcfileInvalid(ValueError):
    """The Procfile or the --scale argument cannot be used."""


def read_procfile(path: Path = PROCFILE) -> dict[str, str]:
    """Name to shell command, in order. Every command starts with `exec`, so that signals reach the process itself."""
    commands: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = PROCFILE_LINE.fullmatch(line.strip())
        if match is None:
            raise ProcfileInvalid(f"{path.name}:{number}: expected NAME: exec COMMAND")
        if match[1] in commands:
            raise ProcfileInvalid(f"{path.name}:{number}: {match[1]} is there twice")
        commands[match[1]] = match[2]
    return commands


def read_scale(text: str, programs: Mapping[str, str]) -> dict[str, int]:
    """`seal=3,encrypt=2`."""
    scale: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, count = part.partition("=")
        if name not in programs:
            raise ProcfileInvalid(f"--scale: no process {name!r}; there are {', '.join(programs)}")
        if not count.isdecimal() or not 0 <= int(count) <= PROCESSES_MAX:
            raise ProcfileInvalid(f"--scale {name}: expected a number from 0 to {PROCESSES_MAX}")
        scale[name] = int(count)
    return scale


def procfile_programs(
    commands: Mapping[str, str], scale: Mapping[str, int], ports: TcpPorts, environment: Mapping[str, str]
) -> list[Program]:
    """One program per process; NAME when there is one of it, NAME.1, NAME.2 … when there are more."""
    programs: list[Program] = []
    for name, command in commands.items():
        count = scale.get(name, 1)
        group = {GATEWAY: STOP_GATEWAY, BRIDGE: STOP_BRIDGE}.get(name, STOP_STAGES)
        for number in range(1, count + 1):
            health = {"QERDS_HEALTH_PORT": str(ports.health(len(programs)))}
            forked = FORKED.fullmatch(command)
            is_gateway = name == GATEWAY
            programs.append(
                Program(
                    name=name if count == 1 else f"{name}.{number}",
                    command=("/bin/sh", "-c", SHARES_SOCKET + command if is_gateway else command),
                    stop_group=group,
                    drain_seconds=DRAIN_SECONDS[group],
                    environment={**environment, **health},
                    directory=CHECKOUT,
                    module=tuple(forked[1].split(" ")) if forked else (),
                    listen=(HOST, ports.gateway) if is_gateway else None,
                    overlaps=name != BRIDGE,
                )
            )
    if len(programs) > HEALTH_PORTS_MAX:
        raise ProcfileInvalid(f"--scale: {len(programs)} processes; this mode runs at most {HEALTH_PORTS_MAX}")
    return programs


def stand_ins(environment: Mapping[str, str]) -> list[Program]:
    """Mail catcher and identity provider: real protocols, no real mail and no real people."""
    return [
        Program(
            name=name,
            command=(sys.executable, "-m", f"deploy.local.{name}"),
            stop_group=STOP_STAND_INS,
            drain_seconds=DRAIN_SECONDS[STOP_STAND_INS],
            environment=environment,
            directory=CHECKOUT,
        )
        for name in (CATCHER, "identity_provider")
    ]


def recipients(ports: TcpPorts, mail_url: str) -> Program:
    """People who act by themselves, for who has a catcher. Nothing waits for them, so they count as ready at once.

    mail_url: has a key in it, so it is no argument, which every user of the machine may read.
    """
    module = ("deploy.local.recipients", ports.gateway_url)
    return Program(
        name="recipients",
        command=(sys.executable, "-m", *module),
        stop_group=STOP_STAND_INS,
        drain_seconds=DRAIN_SECONDS[STOP_STAND_INS],
        environment={MAIL_URL: mail_url},
        directory=CHECKOUT,
        ready=lambda pid: True,
        module=module,
    )


def database_program(cluster: postgres.Cluster) -> Program:
    """PostgreSQL: told to stop fast (SIGINT), also when we die; nothing of it remains on a hard stop but its WAL."""
    return Program(
        name=DATABASE,
        command=tuple(postgres.command(cluster)),
        stop_group=STOP_DATABASE,
        drain_seconds=DRAIN_SECONDS[STOP_DATABASE],
        environment={},
        directory=Path("/"),
        stop_signal=signal.SIGINT,
        hard_signal=signal.SIGQUIT,
        orphan_signal=signal.SIGINT,
        account=cluster.account,
        ready=lambda pid: postgres.is_ready(cluster, pid),
    )


def process_environment(config: Path, softhsm_conf: Path) -> dict[str, str]:
    """What every process of ours gets besides its own settings."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"QERDS_CONFIG": str(config), "SOFTHSM2_CONF": str(softhsm_conf), "PATH": path}
