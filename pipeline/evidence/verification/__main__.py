"""The command line of the offline verifier; the only file of `pipeline.evidence` that touches files.

Exit: 0 valid, 1 invalid, 2 not a proof or wrong usage, 3 cannot tell. With several files, the first of 1, 2, 3 that
any of them gets, else 0. Answers go to stdout, complaints to stderr.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from pipeline.evidence.certificates import CertificateRefused, load_anchors
from pipeline.evidence.languages import LANGUAGES
from pipeline.evidence.package.batch_proof import BATCH_PROOF_BYTES_MAX, is_batch_proof
from pipeline.evidence.package.container import CONTAINER_BYTES_MAX
from pipeline.evidence.time_stamp import LAG_SECONDS_MAX
from pipeline.evidence.verification.protocol import verify
from pipeline.evidence.verification.rendering import as_html, as_json, text
from pipeline.evidence.verification.report import ContentDigests, Report, Verdict

CHUNK_BYTES = 1_048_576
ANCHOR_BYTES_MAX = 1_048_576
_WORST_FIRST = (Verdict.INVALID, Verdict.NOT_A_PROOF, Verdict.INDETERMINATE, Verdict.VALID)
WRONG_USAGE = 2
SECONDS_DIGITS_MAX = 10  # three hundred years


class UsageError(Exception):
    """Something given on the command line cannot be used."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        reports = _verify_all(options)
        print(_shown(options, reports), end="")
        if options.report is not None:
            _write_report(options.report, reports, options.lang)
    except UsageError as error:
        print(f"verify: {error}", file=sys.stderr)
        return WRONG_USAGE
    verdicts = {report.verdict for _, report in reports}
    return next(verdict for verdict in _WORST_FIRST if verdict in verdicts).exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="verify", description="Verify packages and evidences offline: no network, no running system."
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a package or a batch's proof of deposit (.asice), or an evidence (.xml)",
    )
    parser.add_argument(
        "--trust", nargs="+", action="extend", default=[], type=Path, metavar="CERT", help="trust anchors, PEM or DER"
    )
    parser.add_argument(
        "--content", nargs="+", action="extend", default=[], type=Path, metavar="FILE", help="documents of the letter"
    )
    parser.add_argument(
        "--crl", nargs="+", action="extend", default=[], type=Path, metavar="FILE", help="revocation lists, DER"
    )
    parser.add_argument("--at", type=_time, metavar="TIME", help="refuse what was made after this time (RFC 3339)")
    parser.add_argument(
        "--lag-max",
        type=_seconds,
        default=LAG_SECONDS_MAX,
        metavar="SECONDS",
        help="tell what was proved later than so long after it happened (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write a report, .json or .html")
    parser.add_argument("--lang", choices=LANGUAGES, default="en")
    parser.add_argument("--quiet", action="store_true", help="print the verdict only")
    return parser


def _time(argument: str) -> datetime:
    moment = datetime.fromisoformat(argument)
    return moment.replace(tzinfo=UTC) if moment.utcoffset() is None else moment


def _seconds(argument: str) -> int:
    if not argument.isdecimal() or len(argument) > SECONDS_DIGITS_MAX:
        raise argparse.ArgumentTypeError(f"a whole number of seconds, not {argument[:20]!r}")
    return int(argument)


def _verify_all(options: argparse.Namespace) -> list[tuple[str, Report]]:
    anchors: list[bytes] = []
    for path in options.trust:
        try:
            anchors += load_anchors(_read(path, ANCHOR_BYTES_MAX))
        except CertificateRefused as error:
            raise UsageError(f"{path}: {error}") from error
    contents = [_digests(path) for path in options.content]
    lists = [_read(path, CONTAINER_BYTES_MAX) for path in options.crl]
    return [
        (
            str(path),
            verify(
                _read_proof(path),
                anchors,
                contents,
                options.at,
                revocation_lists=lists,
                lag_seconds_max=options.lag_max,
            ),
        )
        for path in options.files
    ]


def _read_proof(path: Path) -> bytes:
    """Only a batch's proof of deposit may be longer than a package."""
    data = _read(path, CONTAINER_BYTES_MAX)
    long = len(data) > CONTAINER_BYTES_MAX and is_batch_proof(data)
    return _read(path, BATCH_PROOF_BYTES_MAX) if long else data


def _read(path: Path, bytes_max: int) -> bytes:
    """At most one byte more than allowed, so that a huge file is refused and not loaded."""
    try:
        with path.open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _digests(path: Path) -> ContentDigests:
    first, second = hashlib.sha256(), hashlib.sha3_256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                first.update(chunk)
                second.update(chunk)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return ContentDigests(str(path), first.digest(), second.digest())


def _shown(options: argparse.Namespace, reports: list[tuple[str, Report]]) -> str:
    if options.json:
        return as_json(reports, options.lang)
    return "\n".join(text(report, name, options.lang, quiet=options.quiet) for name, report in reports)


def _write_report(path: Path, reports: list[tuple[str, Report]], language: str) -> None:
    forms = {".json": as_json, ".html": as_html}
    if path.suffix not in forms:
        raise UsageError(f"{path}: a report ends in .json or .html")
    try:
        path.write_text(forms[path.suffix](reports, language), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def program() -> NoReturn:
    """The entry of a zipped verifier: zipapp drops what its entry returns, and with it the exit code."""
    sys.exit(main())


if __name__ == "__main__":
    program()
