"""`python -m pipeline.operate VERB`: a literal table of verbs. The exit statuses are those of command.py."""

import sys

from pipeline.operate import clock, dead_letters, ledger, pause, sender_keys, show, top
from pipeline.operate.command import EXIT_USAGE
from pipeline.process import cores, escapes
from pipeline.process.recorder import Recorder

VERBS = {
    "sender": sender_keys.main,
    "show": show.main,
    "top": top.main,
    "pause": pause.pause,
    "resume": pause.resume,
    "dead-letters": dead_letters.main,
    "clock": clock.main,
    "ledger": ledger.main,
}


def run(arguments: list[str]) -> int:
    """The exit status."""
    if not arguments or arguments[0] not in VERBS:
        print(f"usage: qerds {'|'.join(VERBS)} ... [--config FILE] [--json]", file=sys.stderr)
        return EXIT_USAGE
    return VERBS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    cores.forbid()
    escapes.watch(Recorder("qerds"))
    sys.exit(run(sys.argv[1:]))
