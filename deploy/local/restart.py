"""qerds restart [NAME..]: replace processes one at a time, under load, with the code as it is now.

Owns     the verb, and the two files by which it and the supervisor talk: what is asked, what became of it
Rules    a second process is ready before the first one drains. The bridge and the stand-ins exist once: they stop and
         start, only when they are named, and what needs them waits meanwhile. PostgreSQL restarts with `down` and `up`
Exits    0 all replaced, 1 one did not come up (its old process runs on) or nothing runs, 2 wrong usage, 4 no answer
"""

import argparse
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from deploy.local import record
from deploy.local.arguments import add_state, layout_of
from deploy.local.layout import Layout
from deploy.local.programs import DATABASE
from deploy.local.supervisor import NotReady, Stopped, Supervisor

DEADLINE_SECONDS = 600.0
POLL_SECONDS = 0.05
ID_BYTES = 8


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="qerds restart", description="Replace processes one at a time.")
    add_state(parser)
    parser.add_argument("names", nargs="*", metavar="NAME", help="as in `qerds status`; default: gateway and stages")
    parser.add_argument("--deadline", type=float, default=DEADLINE_SECONDS, metavar="S", help="seconds to wait for it")
    options = parser.parse_args(arguments)
    layout = layout_of(options)
    running = record.read_living(layout) if layout.state.exists() else None
    if running is None:
        print(f"nothing runs on {layout.state}", file=sys.stderr)
        return 1
    names = {process.name for process in running.processes} - {DATABASE}
    if unknown := sorted(set(options.names) - names):
        parser.error(f"no process {unknown[0]!r} to restart; there are {', '.join(sorted(names))}")
    return ask(layout, running, options.names, options.deadline)


def ask(layout: Layout, running: record.Running, names: Sequence[str], seconds: float) -> int:
    """Asks the supervisor and waits for its answer."""
    question_id = secrets.token_hex(ID_BYTES)
    _write(layout, "restart.json", {"id": question_id, "names": list(names)})
    os.kill(running.pid, signal.SIGUSR1)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = _read(layout, "restarted.json")
        if answer.get("id") == question_id:
            print(answer["problem"] or f"restarted: {' '.join(answer['names'])}", file=sys.stderr)
            return 1 if answer["problem"] else 0
        if not record.lives(running.pid, running.start_time):
            print("the supervisor has gone", file=sys.stderr)
            return 1
        time.sleep(POLL_SECONDS)
    print(f"no answer in {seconds:.0f} s; it goes on, see `qerds status`", file=sys.stderr)
    return 4


def answering(supervisor: Supervisor, layout: Layout, usual: Sequence[str]) -> Callable[[], None]:
    """For Supervisor.run: does what was asked for. A signal without a question asks for all of `usual`."""

    def restart() -> None:
        question = _read(layout, "restart.json")
        names = [name for name in question.get("names", []) if name in supervisor.names] or list(usual)
        problem = ""
        try:
            supervisor.restart(names)
        except NotReady as error:
            problem = f"not restarted: {error}"
        except Stopped:
            problem = "stopped meanwhile"
        _write(layout, "restarted.json", {"id": question.get("id"), "names": names, "problem": problem})
        (layout.state / "restart.json").unlink(missing_ok=True)

    return restart


def _write(layout: Layout, name: str, message: dict[str, object]) -> None:
    draft = layout.state / f"{name}.new"
    draft.write_text(json.dumps(message))
    draft.rename(layout.state / name)


def _read(layout: Layout, name: str) -> dict[str, Any]:
    try:
        message = json.loads((layout.state / name).read_text())
    except (OSError, ValueError):
        return {}
    return message if isinstance(message, dict) else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
