"""`python -m deploy.local.zygote FD`: import once what every process of ours needs, then fork them on demand.

Owns     the imports, the two forks, and what turns a fork into a process like any other: descriptors, group,
         environment, name, parent-death signal
Rules    one thread until the fork, or nothing is forked. Twice forked, so that the child belongs to the supervisor (a
         child subreaper) and not to us: when the zygote dies, nobody else does. A child goes on only after the
         supervisor has said that it knows it
Why      ten interpreters that import for themselves cost seconds of CPU and each its own copy of the same memory
Elsewhere: the bridge and PostgreSQL, which are programs of their own
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

from deploy.local.children import LISTEN_FD, be_orphaned_by, name_this_process
from deploy.local.forking import HELLO, ForkOrder

ORDER_BYTES_MAX = 256 * 1024
DESCRIPTORS_MAX = 3  # output, go-ahead, shared socket
MODULES = ("pipeline", "gateway", "deploy.local.recipients")  # what it may run
PRELOADED = (
    "pipeline.__main__",
    "gateway.__main__",
    "deploy.local.recipient",  # what the recipients import; they are run themselves, as the main module of a child
    "anyio._backends._asyncio",  # the others are what libraries import when they are first used
    "uvloop",
    "uvicorn.protocols.http.auto",
)
EXIT_NOT_STARTED = 127
PID_BYTES = 16


def preload() -> None:
    """Everything that the processes import, once; none of it opens a socket or starts a thread."""
    for module in PRELOADED:
        importlib.import_module(module)
    for module in MODULES:
        sys.modules.pop(f"{module}.__main__", None)  # it is run anew, as the main module of a child


def main(control: socket.socket) -> None:
    """In the zygote until the supervisor has gone; in a child, its whole life."""
    supervisor = os.getppid()
    preload()
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        sys.exit("an import has started a thread: a fork of it could hang")
    gc.collect()
    gc.freeze()  # the collector writes to what it looks at, and written pages are no longer shared
    control.send(HELLO)
    order = serve(control, supervisor)
    if order is not None:
        sys.argv = [order.module[0], *order.module[1:]]
        runpy.run_module(order.module[0], run_name="__main__", alter_sys=True)


def serve(control: socket.socket, supervisor: int) -> ForkOrder | None:
    """Forks for each order. Returns the order in the child, None in the zygote when nobody asks any more."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, ORDER_BYTES_MAX, DESCRIPTORS_MAX)
        if not data:
            return None
        order = ForkOrder(**json.loads(data))
        if order.module[0] not in MODULES:
            raise ValueError(f"{order.module[0]} is not run by the zygote")
        reader, writer = os.pipe()
        between = os.fork()
        if between == 0:
            os.close(reader)
            if _is_child(writer):
                control.close()
                become_process(order, descriptors, supervisor)
                return order
        os.close(writer)
        for descriptor in descriptors:
            os.close(descriptor)
        pid = os.read(reader, PID_BYTES)
        os.close(reader)
        os.waitpid(between, 0)  # now the child is the supervisor's
        control.send(json.dumps({"pid": int(pid)} if pid else {"error": "no fork"}).encode())


def _is_child(writer: int) -> bool:
    """In the process between: forks, tells the id, ends. True in the child."""
    try:
        pid = os.fork()
    except OSError:
        os._exit(EXIT_NOT_STARTED)
    if pid != 0:
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.close(writer)
    return True


def become_process(order: ForkOrder, descriptors: list[int], supervisor: int) -> None:
    """From a fork to a process of its own."""
    output, go_ahead, *shared = descriptors
    os.setpgid(0, 0)
    if not os.read(go_ahead, 1):
        os._exit(EXIT_NOT_STARTED)
    be_orphaned_by(supervisor, signal.Signals(order.orphan_signal))
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, source in enumerate((nothing, output, output)):
        os.dup2(source, number)
    environment = dict(order.environment)
    for descriptor in shared:
        environment |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        if descriptor != LISTEN_FD:
            os.dup2(descriptor, LISTEN_FD)
    for descriptor in {nothing, output, go_ahead, *shared} - {0, 1, 2, *([LISTEN_FD] if shared else [])}:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(order.directory)
    name_this_process(order.name)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
