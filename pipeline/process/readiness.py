"""Tell the supervisor how this process is (sd_notify protocol of systemd): one datagram.

Without NOTIFY_SOCKET nobody listens and nothing happens. A supervisor that went away is no reason to stop serving.
"""

import contextlib
import os
import socket

SEND_SECONDS = 2.0


def notify(state: str) -> None:
    """READY=1 once serving, STOPPING=1 when the drain begins."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.settimeout(SEND_SECONDS)
        sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
