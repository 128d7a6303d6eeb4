"""Where a verb finds its credentials: the environment, or the sample sender of an embedded installation."""

import argparse
import json
import os
from pathlib import Path

from pipeline.client.api import Credentials

STATE_ENVIRONMENT = "QERDS_STATE"  # set by ./qerds --state DIR
STATE_DEFAULT = Path(".qerds") / "state"
SAMPLE_SENDER = Path("secrets") / "demo-client.json"


class NoCredentials(Exception):
    """Nothing says who asks; the text says what would."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options every verb of a sender has."""
    usual = Path(os.environ.get(STATE_ENVIRONMENT, STATE_DEFAULT))
    parser.add_argument("--state", type=Path, default=usual, metavar="DIR", help="of an embedded installation")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def find(state: Path) -> Credentials:
    """QERDS_URL, QERDS_CLIENT_ID and QERDS_CLIENT_SECRET, else STATE's sample sender."""
    given = [os.environ.get(f"QERDS_{name}") for name in ("URL", "CLIENT_ID", "CLIENT_SECRET")]
    if given[0] and given[1] and given[2]:
        return Credentials(given[0], given[1], given[2])
    path = state / SAMPLE_SENDER
    try:
        found = json.loads(path.read_text())
        return Credentials(found["base_url"], found["client_id"], found["client_secret"])
    except (OSError, ValueError, KeyError) as error:
        raise NoCredentials(
            "no credentials: set QERDS_URL, QERDS_CLIENT_ID and QERDS_CLIENT_SECRET, "
            f"or start an embedded installation with ./qerds up ({path} cannot be used)"
        ) from error
