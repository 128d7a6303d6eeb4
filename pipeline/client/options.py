"""The options that every verb and every action of a verb takes."""

import argparse
from pathlib import Path


def shared_options(*, of_action: bool = False) -> argparse.ArgumentParser:
    """A parent for parsers. of_action: the verb has its own already, so that a default here would undo what it got."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS if of_action else None)
    parser.add_argument("--state", type=Path, metavar="DIR", help="state directory of an embedded installation")
    flag = {"default": argparse.SUPPRESS} if of_action else {"default": False}
    parser.add_argument("--json", action="store_true", help="answer in JSON", **flag)
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr", **flag)
    return parser
