"""Tell the supervisor that we serve (sd_notify protocol, systemd.io).

Owns     one datagram; without NOTIFY_SOCKET nobody is listening and nothing happens
"""

import os
import socket

SEND_SECONDS = 2.0


def notify(state: str) -> None:
    """READY=1 once serving, STOPPING=1 when the drain begins."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(SEND_SECONDS)
        sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
