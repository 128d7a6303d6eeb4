"""`qerds get`: fetch a letter's package of proofs, or its evidence, into a folder."""

import argparse
import re
from pathlib import Path

import anyio

from pipeline.client.api import QerdsClient
from pipeline.client.credentials import Credentials
from pipeline.client.terminal import EXIT_NO, EXIT_YES, Speaker

WAIT_SECONDS = 60.0
NAME = re.compile(r"[0-9A-Za-z.-]{1,64}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `get` takes."""
    parser.add_argument("number", metavar="NUMBER", help="public number (spaces allowed) or id")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--package", action="store_true", help="the ASiC-E package of all proofs")
    choice.add_argument("--evidence", action="store_true", help="each evidence as XML")
    parser.add_argument("--snapshot", type=int, metavar="N", help="of the package; without it, the newest")
    parser.add_argument("-o", "--output", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--wait-seconds", type=float, default=WAIT_SECONDS)


async def run(client: QerdsClient, options: argparse.Namespace, whom: Credentials, speaker: Speaker) -> int:
    """The exit status."""
    name = options.number.replace(" ", "")
    options.output.mkdir(parents=True, exist_ok=True)
    files = await (_package(client, name, options) if options.package else _evidence(client, name, options.output))
    if not files:
        speaker.complaint("no evidence of this letter is time-stamped yet")
        return EXIT_NO
    speaker.answer({"files": [str(path) for path in files]}, [str(path) for path in files])
    return EXIT_YES


async def _package(client: QerdsClient, name: str, options: argparse.Namespace) -> list[Path]:
    package = await client.package(name, options.snapshot, options.wait_seconds)
    delivery = await client.delivery(name)
    n = next((s["n"] for s in delivery.body["snapshots"] if s["sha256"] == package.sha256), "package")
    return [await write_file(options.output, f"{delivery.number}-{n}.asice", package.content)]


async def _evidence(client: QerdsClient, name: str, folder: Path) -> list[Path]:
    files = []
    for sequence, evidence in enumerate(await client.evidence(name), start=1):
        document = await client.evidence_document(name, evidence.id)
        files.append(await write_file(folder, f"{sequence:02d}-{evidence.event}.xml", document))
    return files


async def write_file(folder: Path, name: str, content: bytes) -> Path:
    """Under its final name only when it is whole. The name is made of what the service said: it stays in the folder."""
    if not NAME.fullmatch(name) or name.startswith("."):
        raise ValueError("the service answers with a name that is no file name")
    path, draft = folder / name, folder / f".{name}.unfinished"
    await anyio.Path(draft).write_bytes(content)
    await anyio.Path(draft).rename(path)
    return path
