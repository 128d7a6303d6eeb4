"""qerds status: what runs on a state directory, and where it answers.

Exits    0 everything is ready, 1 something is not, or nothing runs
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict

from deploy.local import record, screen
from deploy.local.arguments import add_state, layout_of
from deploy.local.layout import HOST, Layout


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="qerds status", description="What runs here, and where it answers.")
    add_state(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument("--env", action="store_true", help='as shell exports: eval "$(./qerds status --env)"')
    options = parser.parse_args(arguments)
    layout = layout_of(options)
    running = record.read_living(layout) if layout.state.exists() else None
    if options.json:
        print(json.dumps(as_json(layout, running), indent=1))
    elif running is None:
        print(f"nothing runs on {layout.state}", file=sys.stderr)
    elif options.env:
        for name, value in exports(layout, running).items():
            print(f"export {name}={shlex.quote(value)}")
    else:
        print(f"{screen.table(layout, running)}\n\n{screen.processes(running)}")
    return 0 if running is not None and running.is_ready else 1


def as_json(layout: Layout, running: record.Running | None) -> dict[str, object]:
    """The same facts as the table."""
    if running is None:
        return {"running": False, "state": str(layout.state)}
    return {
        "running": True,
        "ready": running.is_ready,
        "pid": running.pid,
        "state": str(layout.state),
        "base_port": running.base_port,
        "run_dir": running.run_dir,
        "ca_sha256": screen.ca_digest(layout),
        "environment": exports(layout, running),
        "processes": [asdict(process) for process in running.processes],
    }


def exports(layout: Layout, running: record.Running) -> dict[str, str]:
    """What a shell or a test needs to talk to it. Files of secrets are named, not quoted; the key of the mail catcher's
    page is part of its address."""
    ports = running.ports
    return {
        "QERDS_CONFIG": str(layout.config),
        "QERDS_GATEWAY_URL": ports.gateway_url,
        "QERDS_MAIL_URL": layout.mail_url(ports),
        "QERDS_SMTP": f"{HOST}:{ports.smtp}",
        "QERDS_CA": str(layout.ca_certificate),
        "QERDS_CLIENT_FILE": str(layout.demo_client),
        "PGHOST": f"{running.run_dir}/pg",
        "PGPORT": str(ports.database),
        "PGDATABASE": "qerds",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
