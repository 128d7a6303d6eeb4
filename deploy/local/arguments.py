"""Arguments that several verbs have in common."""

import argparse
from pathlib import Path

from deploy.local.layout import DEFAULT_STATE, Layout


def add_state(parser: argparse.ArgumentParser) -> None:
    """--state DIR."""
    parser.add_argument(
        "--state", type=Path, default=DEFAULT_STATE, metavar="DIR", help="state directory (default .qerds/state)"
    )


def layout_of(options: argparse.Namespace) -> Layout:
    """The layout below the directory that was given."""
    return Layout(options.state.resolve())


def state_option(layout: Layout) -> str:
    """What to add to a command so that it means this installation; nothing for the usual directory."""
    return "" if layout.state == DEFAULT_STATE else f" --state {layout.state}"
