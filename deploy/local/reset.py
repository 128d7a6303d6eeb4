"""qerds reset --yes: wipe the state of an installation that does not run: letters, keys, proofs, everything.

Exits    0 gone, 1 it runs, 2 without --yes or not a state directory
"""

import argparse
import shutil
import sys
from collections.abc import Sequence

from deploy.local import accounts, postgres, record
from deploy.local.arguments import add_state, layout_of


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="qerds reset", description="Wipe the state: letters, keys, proofs, everything."
    )
    add_state(parser)
    parser.add_argument("--yes", action="store_true", help="really")
    options = parser.parse_args(arguments)
    layout = layout_of(options)
    if not layout.state.exists():
        print(f"nothing at {layout.state}", file=sys.stderr)
        return 0
    if not layout.lock.exists():
        parser.error(f"{layout.state} is not a state directory of qerds; nothing was removed")
    if not options.yes:
        parser.error(f"this removes {layout.state} with all letters, keys and proofs; repeat with --yes")
    lock = record.take_lock(layout)
    if lock is None:
        print("it is running; ./qerds down first", file=sys.stderr)
        return 1
    elsewhere = postgres.place(layout.state, accounts.database_account())
    if elsewhere != layout.state:
        shutil.rmtree(elsewhere)
    shutil.rmtree(layout.state)
    print(f"removed {layout.state}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
