"""`qerds get NUMBER --package|--evidence`: fetch proofs into files.

Exits    0 written, 1 refused (or not yet), 2 wrong usage, 3 no credentials, 4 unreachable
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio

from pipeline.client import credentials
from pipeline.client.api import ApiProblem, QerdsClient, Unreachable

NOT_YET_SECONDS = 60.0  # a package that was asked for is written within seconds
POLL_SECONDS = 0.5


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="qerds get", description="Fetch the proofs of a delivery.")
    p.add_argument("number", help="number (with or without spaces) or id")
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--package", action="store_true", help="everything in one file")
    what.add_argument("--evidence", action="store_true", help="each evidence as XML")
    p.add_argument("--snapshot", type=int, metavar="N", help="an earlier package")
    p.add_argument("-o", "--output", type=Path, default=Path(), metavar="DIR")
    credentials.add_options(p)
    return p


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    options = parser().parse_args(arguments)
    try:
        for path in anyio.run(fetch, options):
            print(path)
        return 0
    except credentials.NoCredentials as error:
        print(error, file=sys.stderr)
        return 3
    except ApiProblem as problem:
        print(f"refused: {problem.code}: {problem.detail}", file=sys.stderr)
        return 1
    except (Unreachable, TimeoutError) as error:
        print(f"unreachable or too slow: {error}", file=sys.stderr)
        return 4


async def fetch(options: argparse.Namespace) -> list[Path]:
    """The files written."""
    number = str(options.number).replace(" ", "")
    options.output.mkdir(parents=True, exist_ok=True)
    async with QerdsClient(credentials.find(options.state)) as client:
        if options.package:
            path = options.output / f"{number}.asice"
            path.write_bytes(await package_when_ready(client, number, options.snapshot))
            return [path]
        written = []
        for n, item in enumerate(await client.evidence_list(number), start=1):
            path = options.output / f"{number}-{n:03d}-{item['event']}.xml"
            path.write_bytes(await client.evidence(number, str(item["id"])))
            written.append(path)
        return written


async def package_when_ready(client: QerdsClient, number: str, snapshot: int | None = None) -> bytes:
    """Asking for a package makes the service write it; raises TimeoutError when it does not come."""
    with anyio.fail_after(NOT_YET_SECONDS):
        while True:
            try:
                return await client.package(number, snapshot)
            except ApiProblem as problem:
                if problem.code != "not_yet":
                    raise
            await anyio.sleep(POLL_SECONDS)
