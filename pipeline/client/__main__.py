"""`python -m pipeline.client VERB`: the sender's verbs.

Owns     the command line, and turning what can go wrong into one line and an exit status
Rules    interrupted, a verb ends with 5: whatever it had stored stays, and it can be given again
Elsewhere: what a verb does (one file each)
"""

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence

import anyio

from pipeline.client import batch, events, export, get, send, webhook
from pipeline.client.answers import Refused, TimedOut, Unreachable
from pipeline.client.api import QerdsClient
from pipeline.client.credentials import Credentials, CredentialsMissing, find_credentials
from pipeline.client.options import shared_options
from pipeline.client.terminal import EXIT_MISSING, EXIT_NO, EXIT_STOPPED, EXIT_UNREACHABLE, Speaker

VERBS = {"send": send, "get": get, "batch": batch, "events": events, "webhook": webhook, "export": export}
RUN: dict[str, Callable[[QerdsClient, argparse.Namespace, Credentials, Speaker], Awaitable[int]]] = {
    "send": send.run,
    "get": get.run,
    "batch": batch.run,
    "events": events.run,
    "webhook": webhook.run,
    "export": export.run,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="qerds")
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, module in VERBS.items():
        summary = (module.__doc__ or "").partition(": ")[2].strip()
        module.add_arguments(verbs.add_parser(name, parents=[shared_options()], help=summary, description=summary))
    return whole


async def run(options: argparse.Namespace, whom: Credentials, speaker: Speaker) -> int:
    """The exit status of a verb; what it raises as one line."""
    try:
        async with QerdsClient(whom.base_url, whom.client_id, whom.client_secret) as client:
            return await RUN[options.verb](client, options, whom, speaker)
    except Refused as refused:
        speaker.complaint(f"refused: {refused.code}: {refused.detail} {refused.remedy}".rstrip())
        for pointer, code, detail in refused.mistakes:
            speaker.complaint(f"  {pointer or 'body'}: {detail} ({code})")
        return EXIT_NO
    except (Unreachable, TimedOut) as error:
        speaker.complaint(str(error))
        return EXIT_UNREACHABLE
    except OSError as error:
        speaker.complaint(f"{error.filename or 'file'}: {error.strerror}")
        return EXIT_MISSING


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    options = parser().parse_args(arguments)
    speaker = Speaker(options.json, options.quiet)
    try:
        whom = find_credentials(options.state)
    except CredentialsMissing as missing:
        speaker.complaint(str(missing))
        return EXIT_MISSING
    try:
        return anyio.run(run, options, whom, speaker)
    except KeyboardInterrupt:
        speaker.complaint("interrupted; what was stored stays")
        return EXIT_STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
