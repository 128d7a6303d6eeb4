"""How a verb of the operator runs: options, one database role, answers on stdout, exit statuses.

Owns     --config and --json, the exit statuses, and tables as aligned text
Rules    answers on stdout, everything else on stderr; one role, qerds_operate, whose grants are the verb's limits
         no verb sees an argument that could not be stored, shown and read again: what a person types is checked as
         strictly as what a program sends
Elsewhere: what a verb does. It gets an Operator and answers a status
"""

import argparse
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio

from pipeline.connect import database_of
from pipeline.errors import Transient
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import Config, load, load_from_environment

ROLE = "qerds_operate"
ANSWER_SECONDS = 900.0  # a predicate of `ledger check` reads every letter there is; a verb can be stopped by hand
UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
ID_MAX = 2**63 - 1  # PostgreSQL's bigint
EXIT_YES, EXIT_NO, EXIT_USAGE, EXIT_CANNOT_TELL, EXIT_AWAY = 0, 1, 2, 3, 4
Row = Mapping[str, Any]


class Rows(Protocol):
    """Named queries inside one transaction."""

    async def fetch(self, name: str, *arguments: Any) -> Sequence[Row]: ...


class Questions(Protocol):
    """Named queries (pipeline/adapters/postgres/sql/operate.sql, ledger.sql) under one role. Raises Transient."""

    async def fetch(self, name: str, *arguments: Any) -> Sequence[Row]: ...
    def transaction(self) -> AbstractAsyncContextManager[Rows]: ...


@dataclass(frozen=True, slots=True)
class Operator:
    """What a verb works with."""

    config: Config
    database: Questions
    options: argparse.Namespace


Verb = Callable[[Operator], Awaitable[int]]


class VerbRefused(Exception):
    """The verb cannot do what it was asked; the text says why and what would help."""

    def __init__(self, text: str, status: int = EXIT_CANNOT_TELL) -> None:
        super().__init__(text)
        self.status = status


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """A parser of `qerds NAME`."""
    return argparse.ArgumentParser(prog=f"qerds {name}", description=about)


def add_options(*parsers: argparse.ArgumentParser) -> None:
    """Those that every verb has."""
    for verb in parsers:
        verb.add_argument("--config", type=Path, help="configuration file (default: $QERDS_CONFIG)")
        verb.add_argument("--json", action="store_true", help="answer in JSON")


def run(verb: Verb, options: argparse.Namespace) -> int:
    """The verb's status; what it could not do is told on stderr."""
    try:
        check_options(options)
        config = load(options.config) if options.config else load_from_environment()
        return anyio.run(_run, verb, config, options)
    except VerbRefused as error:
        print(f"qerds: {error}", file=sys.stderr)
        return error.status
    except ConfigInvalid as error:
        print(f"qerds: {error}", file=sys.stderr)
        return EXIT_CANNOT_TELL
    except Transient as error:
        print(f"qerds: {error}", file=sys.stderr)
        return EXIT_AWAY


def check_options(options: argparse.Namespace) -> None:
    """Raises VerbRefused for a text with a character that is none in UTF-8 or moves a cursor, and for a number that is
    no id."""
    for name, value in vars(options).items():
        for argument in value if isinstance(value, list | tuple) else (value,):
            if isinstance(argument, str | Path) and (odd := UNFIT.search(str(argument))):
                raise VerbRefused(f"{name}: character {odd.start() + 1} is no character of a line of text", EXIT_USAGE)
            if isinstance(argument, int) and not -ID_MAX <= argument <= ID_MAX:
                raise VerbRefused(f"{name}: {argument} is too large", EXIT_USAGE)


async def _run(verb: Verb, config: Config, options: argparse.Namespace) -> int:
    database = database_of(config, ROLE, ANSWER_SECONDS)
    try:
        return await verb(Operator(config, database, options))
    finally:
        await database.close()


def print_rows(rows: Sequence[Row], *, as_json: bool, nothing: str = "nothing") -> None:
    """One JSON array, or columns with a heading; `nothing` when there is no row."""
    if as_json:
        print(json.dumps([dict(row) for row in rows], default=str))
    elif not rows:
        print(nothing)
    else:
        names = list(rows[0].keys())
        lines = [names, *([_text(row[name]) for name in names] for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_record(row: Row, *, as_json: bool) -> None:
    """One thing, a line per field."""
    named = dict(row)  # the driver's record iterates over values
    if as_json:
        print(json.dumps(named, default=str))
        return
    width = max(len(name) for name in named)
    for name, value in named.items():
        print(f"{name.ljust(width)}  {_text(value)}")


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
