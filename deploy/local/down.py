"""qerds down: stop in order, and wait until everything has stopped.

Exits    0 stopped, or nothing ran; 4 it still runs after the deadline, although told twice
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence

from deploy.local import record
from deploy.local.arguments import add_state, layout_of

DEADLINE_SECONDS = 60.0
HARD_SECONDS = 30.0  # after the second signal: SIGKILL for the rest, PostgreSQL's own shutdown
POLL_SECONDS = 0.02


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="qerds down", description="Stop the service on this machine.")
    add_state(parser)
    parser.add_argument("--deadline", type=float, default=DEADLINE_SECONDS, metavar="S", help="seconds to drain in")
    options = parser.parse_args(arguments)
    layout = layout_of(options)
    running = record.read_living(layout) if layout.state.exists() else None
    if running is None:
        print(f"nothing runs on {layout.state}", file=sys.stderr)
        return 0
    for seconds in (options.deadline, HARD_SECONDS):
        os.kill(running.pid, signal.SIGTERM)  # the second one cuts the drain short
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not record.lives(running.pid, running.start_time):
                print("stopped", file=sys.stderr)
                return 0
            time.sleep(POLL_SECONDS)
    print(f"pid {running.pid} still runs", file=sys.stderr)
    return 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
