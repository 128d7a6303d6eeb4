"""What the set-up prints: progress with elapsed times, then one table. No colour: the same on a terminal and in a file.

Owns     the words of the first screen
Rules    progress goes to standard error, answers to standard output
"""

import contextlib
import hashlib
import os
import ssl
import sys
import time

from deploy.local.layout import HOST, Layout, TcpPorts
from deploy.local.record import Running
from deploy.local.settings import DATABASE

WEAK = """What is weak in this mode:
  keys are in a software token (SoftHSM), not in hardware
  the certificate authority and the time-stamping authority are this machine's own; nobody else vouches for them
  letters and database are on one local disk, without a replica or a backup
  one OS user runs everything: nothing separates the processes from each other
  no transport security: every address here answers on this machine only
  this is a demonstration service, not a legally recognised one"""
WEAK_AS_ROOT = (
    "  one OS user (root; PostgreSQL: {account}) runs everything: nothing separates the processes from each other"
)

NEXT = (
    ("./qerds demo{state}", "one registered letter, from sending to offline verification"),
    ("./qerds status{state}", "what runs"),
    ("./qerds down{state}", "stop (or Ctrl-C where it runs)"),
    ("./qerds reset --yes{state}", "wipe letters, keys and proofs"),
)


class Progress:
    """Lines with the time since the command was given; QERDS_BEGAN (microseconds) says when that was."""

    def __init__(self) -> None:
        began = os.environ.get("QERDS_BEGAN", "")
        before = time.time() - int(began) / 1e6 if began.isdecimal() else 0.0
        self._began = time.monotonic() - max(0.0, before)

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(f"{time.monotonic() - self._began:6.1f} s  {text}", file=sys.stderr, flush=True)


def answer(text: str) -> None:
    """On standard output. A reader that has gone away is no reason to stop a service that runs."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def addresses(layout: Layout, ports: TcpPorts, run_dir: str) -> list[tuple[str, str]]:
    """Everything a person or a program may want to reach."""
    gateway = ports.gateway_url
    return [
        ("gateway", gateway),
        ("API docs", f"{gateway}/docs"),
        ("portal", f"{gateway}/c/…  (the link is in each mail; {gateway}/verify checks proofs)"),
        ("mail", f"{layout.mail_url(ports)}/  (whoever has this address reads the mails)"),
        ("metrics", f"http://{HOST}:{ports.health(0)}/metrics (hsm_bridge; the others on the ports after it)"),
        ("database", f"postgresql://qerds_operate@/{DATABASE}?host={run_dir}/pg&port={ports.database}"),
        ("state directory", str(layout.state)),
        ("trust anchor", f"{layout.ca_certificate}  SHA-256 {ca_digest(layout)}"),
    ]


def ca_digest(layout: Layout) -> str:
    """Of the certificate's DER bytes, as `openssl x509 -fingerprint -sha256` has it, without colons."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(layout.ca_certificate.read_text())).hexdigest()
    except (OSError, ValueError):
        return "not made yet"


def table(layout: Layout, running: Running) -> str:
    """Where a running installation answers."""
    return aligned(addresses(layout, running.ports, running.run_dir))


def aligned(rows: list[tuple[str, str]]) -> str:
    """Two columns."""
    width = max(len(first) for first, _ in rows)
    return "\n".join(f"  {first:<{width}}  {second}" for first, second in rows)


def first_screen(layout: Layout, ports: TcpPorts, run_dir: str, account: str | None, state_option: str) -> str:
    """Table, warnings, and what to try."""
    weak = WEAK
    if account is not None:
        own = next(line for line in WEAK.splitlines() if "one OS user" in line)
        weak = WEAK.replace(own, WEAK_AS_ROOT.format(account=account))
    commands = [(command.format(state=state_option), purpose) for command, purpose in NEXT]
    return "\n\n".join(["", aligned(addresses(layout, ports, run_dir)), weak, f"Next:\n{aligned(commands)}", ""])


def processes(running: Running) -> str:
    """One line per process."""
    rows = [(p.name, p.state, str(p.pid or "-"), f"started {p.starts}x") for p in running.processes]
    width = max((len(name) for name, *_ in rows), default=0)
    return "\n".join(f"  {name:<{width}}  {state:<8}  pid {pid:<7}  {starts}" for name, state, pid, starts in rows)
