"""What children say about themselves: the receiving end of sd_notify(3).

Owns     the datagram socket below the run directory
Rules    the kernel tells who sent a datagram (SCM_CREDENTIALS): a process speaks for itself only
Elsewhere: what follows from it (supervisor.py)
"""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

DATAGRAM_BYTES_MAX = 4096
CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class Notifications:
    """`path` is every child's NOTIFY_SOCKET; `socket` is readable when one has spoken."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(str(self.path))

    def read(self) -> Iterator[tuple[int, list[str]]]:
        """Who has said what, so far."""
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(DATAGRAM_BYTES_MAX, socket.CMSG_SPACE(CREDENTIALS.size))
            except BlockingIOError:
                return
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    yield CREDENTIALS.unpack(value[: CREDENTIALS.size])[0], data.decode(errors="replace").splitlines()

    def close(self) -> None:
        """Nobody speaks any more."""
        self.socket.close()
        self.path.unlink(missing_ok=True)
