"""qerds up: everything on this machine, from nothing to a page that says where it is.

Owns     the order of the start, --detach, and that a second `up` on the same state harms nothing
Exits    0 it runs (or ran until it was stopped), 1 a step failed, 2 wrong usage, 4 something was not ready in time
"""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local import accounts, demo_sender, postgres, programs, record, restart, screen, softhsm
from deploy.local.arguments import add_state, layout_of, state_option
from deploy.local.forking import Zygote
from deploy.local.layout import BASE_PORT, BASE_PORT_MAX, CHECKOUT, Layout, NoFreePorts, TcpPorts, free_base
from deploy.local.preparation import Prepared, make_run_dir, prepare, prepare_database_and_keys
from deploy.local.steps import StepFailed
from deploy.local.supervisor import Child, NotReady, Stopped, Supervisor
from deploy.local.terminal import Terminal, detach
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.process import cores

DATABASE_SECONDS = 60.0
READY_SECONDS = 90.0
REFUSALS = (
    StepFailed,
    NotReady,
    NoFreePorts,
    ConfigInvalid,
    postgres.PostgresFailed,
    softhsm.TokenFailed,
    accounts.NoAccount,
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="qerds up", description="Run the whole service on this machine.")
    add_state(parser)
    parser.add_argument(
        "--base-port", type=_port, metavar="N", help=f"first port (default {BASE_PORT}, or the last used)"
    )
    parser.add_argument(
        "--scale", default="", metavar="NAME=N,…", help="how many processes of a name, as in seal=3,encrypt=2"
    )
    parser.add_argument(
        "--separate", action="store_true", help="an interpreter of its own for each process: slower, for debugging"
    )
    parser.add_argument("--detach", action="store_true", help="return when everything is ready")
    options = parser.parse_args(arguments)
    commands = programs.read_procfile()
    try:
        scale = programs.read_scale(options.scale, commands)
    except programs.ProcfileInvalid as error:
        parser.error(str(error))
    cores.forbid()  # PostgreSQL's and the recipients' too: they inherit it
    layout = layout_of(options)
    layout.make(0o711 if accounts.database_account() else 0o700)
    lock = record.take_lock(layout)
    if lock is None:
        return already_running(layout)
    terminal = detach() if options.detach else Terminal()
    if isinstance(terminal, int):
        return terminal
    return run(layout, options.base_port, commands, scale, terminal, separate=options.separate)


def run(
    layout: Layout,
    base_port: int | None,
    commands: Mapping[str, str],
    scale: Mapping[str, int],
    terminal: Terminal,
    *,
    separate: bool,
) -> int:
    """From ports to the orderly end. What a failed start has begun is stopped the same way."""
    progress = screen.Progress()
    run_dir = make_run_dir(layout)
    supervisor: Supervisor | None = None
    code = 0
    try:
        ports = choose_ports(layout, base_port)
        zygote = None if separate else Zygote(CHECKOUT, layout.logs)  # its imports run beside the preparation
        supervisor = watched(layout, ports, run_dir, zygote, echo=terminal.stays)
        prepared = start(supervisor, progress, layout, ports, run_dir)
        own = programs.procfile_programs(commands, scale, ports, prepared.environment)
        if zygote is not None and not zygote.wait_ready():
            progress.say(f"each process starts by itself: the zygote did not, see {layout.logs / 'zygote.log'}")
        readers = [programs.recipients(ports, layout.mail_url(ports))] if programs.CATCHER in supervisor.names else []
        supervisor.start([*own, *readers])
        ready = [*supervisor.names]
        supervisor.wait_ready(ready, READY_SECONDS)
        progress.say(f"{len(ready)} processes ready")
        account = prepared.cluster.account.name if prepared.cluster.account else None
        screen.answer(screen.first_screen(layout, ports, str(run_dir), account, state_option(layout)))
        terminal.leave(layout.logs / "supervisor.log")
        supervisor.run(restart.answering(supervisor, layout, [p.name for p in own if p.overlaps]))
    except Stopped:
        pass
    except REFUSALS as error:
        progress.say(f"failed: {error}")
        code = 4 if isinstance(error, NotReady) else 1
    finally:
        if supervisor is not None:
            progress.say("stopping: gateway, stages, bridge, PostgreSQL (Ctrl-C once more: at once)")
            supervisor.stop()
        shutil.rmtree(run_dir, ignore_errors=True)
        record.forget(layout)
    return code


def start(
    supervisor: Supervisor, progress: screen.Progress, layout: Layout, ports: TcpPorts, run_dir: Path
) -> Prepared:
    """All that comes before our own processes."""
    fresh = not layout.config.exists()
    prepared = prepare(layout, ports, run_dir)
    supervisor.check_stop()
    progress.say("token and database cluster made" if fresh else "token and database cluster found")
    supervisor.start([programs.database_program(prepared.cluster)])
    supervisor.wait_ready(["postgres"], DATABASE_SECONDS)
    progress.say("PostgreSQL ready")
    prepare_database_and_keys(prepared)
    supervisor.check_stop()
    progress.say("schema, keys and certificates in place")
    supervisor.start(programs.stand_ins(prepared.environment))
    demo_sender.enrol(layout, ports, prepared.environment)
    return prepared


def watched(layout: Layout, ports: TcpPorts, run_dir: Path, zygote: Zygote | None, *, echo: bool) -> Supervisor:
    """A supervisor whose every change is written down for `status`."""

    def note(children: list[Child]) -> None:
        states = [
            record.ProcessState(c.program.name, c.state, c.process.pid if c.process else None, c.starts)
            for c in children
        ]
        record.write(layout, ports.base, run_dir, processes=states)

    return Supervisor(run_dir, layout.logs, echo=echo, on_change=note, zygote=zygote)


def choose_ports(layout: Layout, base: int | None) -> TcpPorts:
    """The base asked for, or the last one used here (links in mails stay true), or the next free one."""
    last = layout.state / "base-port"
    remembered = int(last.read_text()) if last.exists() else BASE_PORT
    ports = free_base(base or remembered)
    last.write_text(f"{ports.base}\n")
    return ports


def already_running(layout: Layout) -> int:
    """Says so, and where; the one that runs notices nothing."""
    running = record.read_living(layout)
    if running is None:
        print(f"another qerds is just starting or stopping on {layout.state}", file=sys.stderr)
        return 0
    print(f"already running on {layout.state} (pid {running.pid})", file=sys.stderr)
    print(f"\n{screen.table(layout, running)}\n")
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 1024 <= port <= BASE_PORT_MAX:
        raise argparse.ArgumentTypeError(f"from 1024 to {BASE_PORT_MAX}")
    return port


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
