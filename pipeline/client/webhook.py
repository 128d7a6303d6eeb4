"""`qerds webhook`: endpoints of yours that are told of events, and `listen`, which needs none."""

import argparse
from collections.abc import Mapping
from typing import Any

from pipeline.client import webhook_listen
from pipeline.client.api import QerdsClient
from pipeline.client.credentials import Credentials
from pipeline.client.options import shared_options
from pipeline.client.terminal import EXIT_YES, Speaker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `webhook` takes."""
    again = [shared_options(of_action=True)]
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", parents=again, help="have events sent to an address of yours")
    add.add_argument("url", metavar="URL", help="https, reachable from the service")
    add.add_argument("--types", metavar="T", default="", help="only these, separated by commas")
    add.add_argument("--signature", choices=("v1a", "v1"), default="v1a", help="v1a: ed25519; v1: a shared secret")
    actions.add_parser("list", parents=again, help="all of them, and how they do")
    test = actions.add_parser("test", parents=again, help="send a test event")
    replay = actions.add_parser("replay", parents=again, help="send again what came after a cursor")
    replay.add_argument("--after", metavar="C", required=True)
    for action in (test, replay):
        action.add_argument("webhook", metavar="ID")
    listen = actions.add_parser("listen", parents=again, help="forward events to a program on this machine")
    listen.add_argument("--forward", metavar="URL", required=True, help="such as http://127.0.0.1:8000/hook")
    listen.add_argument("--after", metavar="C", help="begin after this cursor; else with what happens from now on")
    listen.add_argument("--types", metavar="T", default="")


async def run(client: QerdsClient, options: argparse.Namespace, whom: Credentials, speaker: Speaker) -> int:
    """The exit status."""
    if options.action == "listen":
        return await webhook_listen.run(client, options.forward, options.after, _types(options.types), speaker)
    if options.action == "list":
        webhooks = await client.webhooks()
        speaker.answer({"items": webhooks}, [line for webhook in webhooks for line in shown(webhook)] or ["none"])
        return EXIT_YES
    if options.action == "add":
        made = await client.create_webhook(options.url, types=_types(options.types), signature=options.signature)
    elif options.action == "test":
        made = await client.test_webhook(options.webhook)
    else:
        made = await client.replay_webhook(options.webhook, options.after)
    speaker.answer(made, shown(made))
    return EXIT_YES


def shown(webhook: Mapping[str, Any]) -> list[str]:
    """A webhook, or what was done with it, for a person."""
    return [f"{name}  {value}" for name, value in webhook.items() if value not in (None, [], "")]


def _types(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
