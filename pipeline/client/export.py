"""`qerds export`: packages and evidence of many letters, in zip files, into a folder of yours."""

import argparse
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import anyio

from pipeline.client.answers import TimedOut
from pipeline.client.api import QerdsClient
from pipeline.client.credentials import Credentials
from pipeline.client.terminal import EXIT_USAGE, EXIT_YES, Speaker
from pipeline.client.uploads import file_sha256

KINDS = ("package", "evidence")
WAIT_SECONDS = 3600.0
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
ORDER_FILE = "export.json"  # in the folder: which export it is, so that the same command goes on with it
DAYS_IN = ZoneInfo("Europe/Paris")  # a day of this service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `export` takes."""
    parser.add_argument("--batch", metavar="ID")
    parser.add_argument("--from", dest="first", metavar="D", help="deposited from this day or time on (Paris)")
    parser.add_argument("--to", dest="end", metavar="D", help="and before this day or time")
    parser.add_argument("--kinds", metavar="K", default=KINDS[0], help="package, evidence, or both with a comma")
    parser.add_argument("-o", "--output", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--wait-seconds", type=float, default=WAIT_SECONDS)


async def run(client: QerdsClient, options: argparse.Namespace, whom: Credentials, speaker: Speaker) -> int:
    """The exit status."""
    try:
        order = order_of(options)
    except ValueError as wrong:
        speaker.complaint(str(wrong))
        return EXIT_USAGE
    client.patience_seconds = PATIENCE_SECONDS
    options.output.mkdir(parents=True, exist_ok=True)
    export = await _same_or_new(client, order, options.output)
    speaker.progress(f"export {export}")
    files = await _take(client, export, options, speaker)
    speaker.answer({"id": export, "files": files}, files or ["nothing to export"])
    return EXIT_YES


def order_of(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of create_export; raises ValueError for what cannot be meant."""
    kinds = [name.strip() for name in options.kinds.split(",")]
    if not kinds or not set(kinds) <= set(KINDS):
        raise ValueError(f"--kinds takes {' and '.join(KINDS)}")
    if bool(options.batch) == bool(options.first or options.end) or bool(options.first) != bool(options.end):
        raise ValueError("give --batch ID, or both --from D and --to D")
    if options.batch:
        return {"batch": options.batch, "kinds": kinds}
    return {"from_time": _time(options.first), "to_time": _time(options.end), "kinds": kinds}


def _time(text: str) -> str:
    """RFC 3339 with a zone; a day begins at midnight in Paris."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no day and no time") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=DAYS_IN)
    return moment.isoformat(timespec="milliseconds")


async def _same_or_new(client: QerdsClient, order: Mapping[str, Any], folder: Path) -> str:
    """The export that this folder is for already, or a new one."""
    file = anyio.Path(folder / ORDER_FILE)
    if await file.is_file():
        record = json.loads(await file.read_text())
        if record.get("order") == order:
            return str(record["id"])
    made = await client.create_export(**order)
    await file.write_text(json.dumps({"id": made["id"], "order": order}))
    return str(made["id"])


async def _take(client: QerdsClient, export: str, options: argparse.Namespace, speaker: Speaker) -> list[str]:
    """Parts as they are made, until the last one is; what is in the folder already is not taken again."""
    taken: dict[str, Path] = {}
    with anyio.move_on_after(options.wait_seconds):
        while True:
            answer = await client.export(export)
            for number, part in enumerate(answer["parts"], start=1):
                if part["url"] not in taken:
                    taken[part["url"]] = await _part(client, part, options.output / f"export-{number:04d}.zip")
                    speaker.progress(f"part {number}: {part['deliveries']} letters, {part['bytes']} bytes")
            if answer["state"] == "ready":
                return [str(path) for path in taken.values()]
            await anyio.sleep(POLL_SECONDS)
    raise TimedOut(f"the export {export} was not ready in {options.wait_seconds:g} s; the same command goes on with it")


async def _part(client: QerdsClient, part: Mapping[str, Any], path: Path) -> Path:
    if not (await anyio.Path(path).is_file() and (await file_sha256(path)).hex() == part["sha256"]):
        await client.download(urlsplit(part["url"]).path, part["sha256"], path)
    return path
