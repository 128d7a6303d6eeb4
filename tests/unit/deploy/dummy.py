"""A process for the supervisor's tests: `dummy.py BEHAVIOUR DIRECTORY`. It says on standard output what happens to it.

once    serves the first time; from then on it crashes
"""

import os
import signal
import socket
import sys
from pathlib import Path


def say(text: str) -> None:
    print(text, flush=True)


def ready() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])


def drain(*_: object) -> None:
    say("drained")
    sys.exit(0)


def main(behaviour: str, directory: Path) -> None:
    served = directory / "served"
    if behaviour == "once" and served.exists():
        behaviour = "crash"
    elif behaviour == "once":
        served.touch()
    if behaviour == "crash":
        say("the reason of the crash")
        sys.exit(3)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "stubborn" else drain)
    if behaviour == "impostor":
        child = os.fork()
        if child == 0:
            ready()
            os._exit(0)
        os.waitpid(child, 0)
    say(f"{behaviour} serves")
    if behaviour not in ("silent", "impostor"):
        ready()
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
