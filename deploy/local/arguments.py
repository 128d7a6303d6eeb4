"""Arguments that several verbs have in common."""

import argparse
import os
from pathlib import Path

from deploy.local.layout import DEFAULT_STATE, Layout

STATE_ENVIRONMENT = "QERDS_STATE"


def add_state(parser: argparse.ArgumentParser) -> None:
    """--state DIR."""
    usual = Path(os.environ.get(STATE_ENVIRONMENT, DEFAULT_STATE))
    parser.add_argument("--state", type=Path, default=usual, metavar="DIR", help="directory (default .qerds/state)")


def layout_of(options: argparse.Namespace) -> Layout:
    """The layout below the directory that was given."""
    return Layout(options.state.resolve())


def state_option(layout: Layout) -> str:
    """What to add to a command so that it means this installation; nothing for the usual directory."""
    return "" if layout.state == DEFAULT_STATE else f" --state {layout.state}"
