"""Runs a Supervisor over dummies, for tests that send it signals.

Arguments: DIRECTORY SECONDS NAME:BEHAVIOUR:GROUP:DRAIN…
Every change of state is a JSON line on standard output; the words READY, NOT_READY and STOPPED are lines too.
"""

import json
import sys
from pathlib import Path

from deploy.local.processes import Program
from deploy.local.supervisor import Child, NotReady, Stopped, Supervisor

DUMMY = Path(__file__).with_name("dummy.py")


def program(text: str, directory: Path) -> Program:
    name, behaviour, group, drain = text.split(":")
    command = (sys.executable, "-E", "-S", str(DUMMY), behaviour, str(directory))
    overlaps = not behaviour.startswith("lone")
    return Program(name, command, int(group), float(drain), {}, directory, overlaps=overlaps)


def tell(children: list[Child]) -> None:
    states = {c.program.name: [c.state, c.process.pid if c.process else None, c.starts] for c in children}
    print(json.dumps(states), flush=True)


def restart(supervisor: Supervisor) -> None:
    """Everything, as SIGUSR1 asks for."""
    try:
        supervisor.restart(supervisor.names)
        print("RESTARTED", flush=True)
    except NotReady as error:
        print(f"NOT_RESTARTED {json.dumps(str(error))}", flush=True)


def main() -> None:
    directory, seconds = Path(sys.argv[1]), float(sys.argv[2])
    supervisor = Supervisor(directory, directory, echo=True, on_change=tell)
    supervisor.start([program(text, directory) for text in sys.argv[3:]])
    try:
        supervisor.wait_ready(supervisor.names, seconds)
        print("READY", flush=True)
        supervisor.run(lambda: restart(supervisor))
    except NotReady as error:
        print(f"NOT_READY {json.dumps(str(error))}", flush=True)
    except Stopped:
        pass
    supervisor.stop()
    print("STOPPED", flush=True)


if __name__ == "__main__":
    main()
