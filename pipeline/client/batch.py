"""`qerds batch`: send a whole table of letters, see how far it is, take its results and its proof home.

Owns     the actions push, status, results, cancel and proof; what a stopped push says
Rules    answers on stdout, progress on stderr (NO_COLOR obeyed). 5 means: stopped, and --resume goes on without loss
         or double
"""

import argparse
import json
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio

from pipeline.client import lines
from pipeline.client.answers import Unreachable
from pipeline.client.api import QerdsClient
from pipeline.client.bar import Bar
from pipeline.client.batches import CSV, NDJSON, Batch
from pipeline.client.credentials import DEFAULT_STATE, Credentials
from pipeline.client.get import write_file
from pipeline.client.options import shared_options
from pipeline.client.push import PART_ROWS_MAX, Push, look_through
from pipeline.client.push_state import PushState, Source
from pipeline.client.terminal import EXIT_MISSING, EXIT_NO, EXIT_STOPPED, EXIT_USAGE, EXIT_YES, Speaker
from pipeline.client.uploads import file_sha256

PATIENCE_SECONDS = 120.0  # with a service that restarts or holds back
PROOF_SECONDS = 120.0
COUNTS = ("received", "accepted", "rejected", "unprocessed")
STATUSES = ("accepted", "rejected", "unprocessed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `batch` takes."""
    again = [shared_options(of_action=True)]
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    push = actions.add_parser("push", parents=again, help="send a CSV or NDJSON file of letters as one batch")
    push.add_argument("file", nargs="?", type=Path, metavar="FILE", help=".csv or .ndjson")
    push.add_argument("--attach", type=Path, metavar="DIR", help="where the files are that the lines name")
    push.add_argument("--map", type=Path, metavar="M.toml", help="[columns] column = field, and [defaults]")
    push.add_argument("--name", help="of the batch; the file's name if not given")
    push.add_argument("--validate-only", action="store_true", help="say what would be refused; nothing is sent")
    push.add_argument("--part-lines", type=int, default=PART_ROWS_MAX, metavar="N", help="lines in a part, at most")
    push.add_argument("--resume", metavar="ID", help="go on with a push that stopped")
    status = actions.add_parser("status", parents=again, help="how far a batch is")
    results = actions.add_parser("results", parents=again, help="what became of each line, as NDJSON or CSV on stdout")
    results.add_argument("--status", choices=STATUSES)
    results.add_argument("--csv", action="store_true")
    cancel = actions.add_parser("cancel", parents=again, help="lines that are no letters yet become none")
    proof = actions.add_parser("proof", parents=again, help="the sealed proof of deposit of all its lines")
    proof.add_argument("-o", "--output", type=Path, default=Path(), metavar="DIR")
    proof.add_argument("--wait-seconds", type=float, default=PROOF_SECONDS)
    for action in (status, results, cancel, proof):
        action.add_argument("batch", metavar="ID")


async def run(client: QerdsClient, options: argparse.Namespace, whom: Credentials, speaker: Speaker) -> int:
    """The exit status."""
    if options.action == "push":
        return await _push(client, options, speaker)
    if options.action == "results":
        media_type = CSV if options.csv else NDJSON
        async for piece in client.batch_results(options.batch, options.status, media_type):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return EXIT_YES
    if options.action == "proof":
        proof = await client.batch_proof(options.batch, options.wait_seconds)
        options.output.mkdir(parents=True, exist_ok=True)
        path = await write_file(options.output, f"batch-{options.batch}.asice", proof.content)
        speaker.answer({"files": [str(path)]}, [str(path)])
        return EXIT_YES
    batch = await (client.batch(options.batch) if options.action == "status" else client.cancel_batch(options.batch))
    speaker.answer(batch.body, shown(batch))
    return EXIT_YES


def shown(batch: Batch) -> list[str]:
    """A batch for a person."""
    rows = [f"batch  {batch.id}", f"state  {batch.state}"]
    rows.append("lines  " + ", ".join(f"{batch.count(name)} {name}" for name in COUNTS))
    states = batch.body.get("deliveries_by_state") or {}
    if states:
        rows.append("letters  " + ", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    if batch.body.get("eta_seconds") is not None:
        rows.append(f"ready in about {batch.body['eta_seconds']} s")
    return rows


async def _push(client: QerdsClient, options: argparse.Namespace, speaker: Speaker) -> int:
    client.patience_seconds = PATIENCE_SECONDS
    try:
        push = await (_resumed(client, options) if options.resume else _begun(client, options))
    except (lines.SourceInvalid, _Usage) as wrong:
        speaker.complaint(str(wrong))
        return EXIT_USAGE
    except _Missing as missing:
        speaker.complaint(str(missing))
        return EXIT_MISSING
    if not options.validate_only:
        speaker.progress(f"batch {push.batch}; if this stops: ./qerds batch push --resume {push.batch}")
    try:
        with Bar(client, push.source.rows, speaker) as advance:
            push.advance = advance
            if options.validate_only:
                await push.send_parts()
                return await _validated(client, push, speaker)
            batch = await push.run()
    except (Unreachable, lines.SourceInvalid) as stopped:
        speaker.complaint(f"stopped: {stopped}")
        speaker.complaint(f"what is stored stays; go on with: ./qerds batch push --resume {push.batch}")
        return EXIT_STOPPED
    finally:
        push.state.close()
    speaker.answer(batch.body, shown(batch))
    return EXIT_YES


class _Usage(Exception):
    """What was typed cannot be."""


class _Missing(Exception):
    """Something is not there."""


async def _begun(client: QerdsClient, options: argparse.Namespace) -> Push:
    """A new batch for a file that was looked through."""
    if options.file is None:
        raise _Usage("which file? a .csv or .ndjson file, or --resume ID")
    if not options.file.is_file():
        raise _Usage(f"no such file: {options.file}")
    mapping = lines.read_map(options.map)
    count = await anyio.to_thread.run_sync(look_through, options.file, mapping, options.attach)
    attach = None if options.attach is None else options.attach.resolve()
    table = None if options.map is None else options.map.resolve()
    part_rows = max(1, min(options.part_lines, PART_ROWS_MAX))
    source = Source(options.file.resolve(), (await file_sha256(options.file)).hex(), count, attach, table, part_rows)
    made = await client.create_batch(options.name or options.file.name, defaults=mapping.defaults)
    state = PushState.create(options.state or DEFAULT_STATE, made.id, source)
    return Push(client, made.id, source, mapping, state, _nothing)


async def _resumed(client: QerdsClient, options: argparse.Namespace) -> Push:
    """The push that was written down; its table must be what it was."""
    state = PushState.find(options.state or DEFAULT_STATE, options.resume)
    source = None if state is None else state.source()
    if state is None or source is None:
        raise _Missing(f"batch {options.resume} was not pushed from here: there is nothing to go on with")
    if options.file is not None and options.file.resolve() != source.path:
        raise _Usage(f"batch {options.resume} is being pushed from {source.path}")
    if not source.path.is_file() or (await file_sha256(source.path)).hex() != source.sha256:
        raise _Usage(f"{source.path} is not what it was when the push began; begin a new one")
    return Push(client, options.resume, source, lines.read_map(source.map), state, _nothing)


def _nothing(rows: int, uploads: int) -> None:
    """Nobody watches."""


async def _validated(client: QerdsClient, push: Push, speaker: Speaker) -> int:
    """What would be rejected, line by line; the batch is given up afterwards."""
    rejected = 0
    async for row in _json_rows(client.validate_batch(push.batch, "rejected")):
        rejected += 1
        speaker.row(row, "\n".join(mistakes_shown(row)))
    await client.cancel_batch(push.batch)
    speaker.progress(f"{push.source.rows} lines, {rejected} would be rejected; nothing was sent")
    return EXIT_NO if rejected else EXIT_YES


def mistakes_shown(row: Mapping[str, Any]) -> list[str]:
    """A rejected line for a person: what to correct, field by field."""
    problem = row.get("problem") or {}
    errors = problem.get("errors") or [{"pointer": "", **problem}]
    ref = f" ({row['client_ref']})" if row.get("client_ref") else ""
    return [f"line {row['line']}{ref}: {e['pointer']} {e.get('detail', '')} ({e.get('code')})" for e in errors]


async def _json_rows(pieces: AsyncIterator[bytes]) -> AsyncIterator[Mapping[str, Any]]:
    """The objects of an NDJSON stream."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield json.loads(line)
