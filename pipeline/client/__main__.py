"""`python -m pipeline.client VERB`: a literal table of verbs."""

import sys

from pipeline.client import get, send

VERBS = {"send": send.main, "get": get.main}


def run(arguments: list[str]) -> int:
    """The exit status."""
    if not arguments or arguments[0] not in VERBS:
        print(f"usage: qerds {'|'.join(VERBS)} ...", file=sys.stderr)
        return 2
    return VERBS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
