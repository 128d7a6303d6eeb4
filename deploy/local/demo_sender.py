"""The sample sender of an embedded installation, so that `send` and `demo` work at once.

Owns     STATE/secrets/demo-client.json (base_url, client_id, client_secret)
Rules    enrolled once per state directory, by the verb with which an operator enrols real ones. A crash before the file
         is written leaves a sender that nobody uses
Elsewhere: enrolment itself (pipeline/operate/senders.py)
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from deploy.local.layout import Layout, TcpPorts
from deploy.local.steps import start_step

SENDER = ("--name", "Demo Sender", "--email", "sender@demo.example", "--identity-method", "demonstration")


def enrol(layout: Layout, ports: TcpPorts, environment: Mapping[str, str]) -> None:
    """At each start: makes the client when there is none, and writes down where the gateway is now."""
    if layout.demo_client.exists():
        credentials = json.loads(layout.demo_client.read_text())
    else:
        credentials = json.loads(
            start_step("pipeline.operate", environment, "sender", "add", *SENDER, "--json").finish()
        )
    client = {"base_url": ports.gateway_url} | {name: credentials[name] for name in ("client_id", "client_secret")}
    if client != credentials:
        _write_private(layout.demo_client, json.dumps(client) + "\n")


def _write_private(path: Path, text: str) -> None:
    """Whole, by rename, for us alone."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.rename(path)
