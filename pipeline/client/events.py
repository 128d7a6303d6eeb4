"""`qerds events`: what happened to your letters, in order; --follow waits for more."""

import argparse
from collections.abc import Mapping
from typing import Any

from pipeline.client.api import QerdsClient
from pipeline.client.credentials import Credentials
from pipeline.client.terminal import EXIT_YES, Speaker

PATIENCE_SECONDS = 600.0  # --follow outlives a restart of the service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `events` takes."""
    parser.add_argument("--follow", action="store_true", help="wait for more, until interrupted")
    parser.add_argument("--after", metavar="C", help="begin after this cursor")
    parser.add_argument("--types", metavar="T", default="", help="such as delivery.deposited,batch.completed")


async def run(client: QerdsClient, options: argparse.Namespace, whom: Credentials, speaker: Speaker) -> int:
    """The exit status."""
    types = [name.strip() for name in options.types.split(",") if name.strip()]
    if options.follow:
        client.patience_seconds = PATIENCE_SECONDS
    cursor = options.after
    async for page in client.event_pages(cursor, types=types, for_ever=options.follow):
        for event in page.items:
            speaker.row(event, shown(event))
        cursor = page.next_cursor
    if cursor is not None:
        speaker.progress(f"what comes next: --after {cursor}")
    return EXIT_YES


def shown(event: Mapping[str, Any]) -> str:
    """An event for a person."""
    about = event.get("number") or event.get("batch_id") or event.get("export_id") or event.get("webhook_id") or ""
    ref = f"  {event['client_ref']}" if event.get("client_ref") else ""
    return f"{event['sequence']:>8}  {event['time']}  {event['type']:<26} {about}{ref}"
