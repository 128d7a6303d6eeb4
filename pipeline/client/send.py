"""`qerds send FILE..`: one letter, from files to a delivery, and if asked on to a state.

Owns     the options and what a person sees; answers on stdout, progress on stderr
Exits    0 sent (and the state reached), 1 refused, or another final state, 2 wrong usage, 3 no credentials,
         4 unreachable
"""

import argparse
import json
import mimetypes
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio

from pipeline.client import credentials
from pipeline.client.api import ApiProblem, QerdsClient, Unreachable

WAIT_SECONDS = 120.0
FINAL = frozenset({"rejected", "notice_failed", "refused", "unclaimed", "received", "uncollected"})
# Which states lie on the way to which: waiting for an earlier one is over when a later one is reached.
LATER = {
    "submitted": ("submitted", "deposited", "notified", "accepted", "received"),
    "deposited": (
        "deposited",
        "notified",
        "accepted",
        "received",
        "refused",
        "unclaimed",
        "uncollected",
        "notice_failed",
    ),
    "notified": ("notified", "accepted", "received", "refused", "unclaimed", "uncollected"),
    "accepted": ("accepted", "received", "uncollected"),
    "received": ("received",),
    "refused": ("refused",),
    "unclaimed": ("unclaimed",),
    "rejected": ("rejected",),
    "notice_failed": ("notice_failed",),
}


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="qerds send", description="Send one registered delivery.")
    p.add_argument("files", nargs="+", type=Path, metavar="FILE", help="PDF, PNG, JPEG or UTF-8 text")
    p.add_argument("--to", required=True, metavar="EMAIL")
    p.add_argument("--kind", required=True, choices=("consumer", "professional"))
    p.add_argument("--given-names", required=True, metavar="NAMES", help="all first names, as in the civil register")
    p.add_argument("--birth-name", required=True, metavar="NAME")
    p.add_argument("--usage-name", metavar="NAME")
    p.add_argument("--birth-date", metavar="YYYY-MM-DD")
    p.add_argument("--subject", default="Registered delivery", help="shown to the recipient after acceptance")
    p.add_argument("--language", choices=("fr", "en"), default="fr", help="of the notice")
    p.add_argument("--consent", metavar="REF", help="a consumer must have consented; the reference you recorded")
    p.add_argument(
        "--record-consent", action="store_true", help="record such a consent now, for trying the service out"
    )
    p.add_argument("--ref", metavar="REF", help="your own reference; the same one is never sent twice")
    p.add_argument("--wait", choices=sorted(LATER), metavar="STATE", help=f"wait for a state: {', '.join(LATER)}")
    credentials.add_options(p)
    return p


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    p = parser()
    options = p.parse_args(arguments)
    for path in options.files:
        if not path.is_file():
            p.error(f"{path} is not a file")
    try:
        return anyio.run(send, options)
    except credentials.NoCredentials as error:
        print(error, file=sys.stderr)
        return 3
    except ApiProblem as problem:
        print(f"refused: {problem.code}: {problem.detail}", file=sys.stderr)
        for pointer, detail in problem.mistakes:
            print(f"  {pointer or 'the request'} {detail}", file=sys.stderr)
        return 1
    except Unreachable as error:
        print(f"unreachable: {error}", file=sys.stderr)
        return 4
    except TimeoutError:
        print(f"sent, but not {options.wait} within {WAIT_SECONDS:.0f} s", file=sys.stderr)
        return 4


async def send(options: argparse.Namespace) -> int:
    """Upload, submit, wait."""
    async with QerdsClient(credentials.find(options.state)) as client:
        consent = await _consent(client, options)
        documents = []
        for path in options.files:
            print(f"uploading {path.name}", file=sys.stderr)
            documents.append((await client.upload(path, _content_type(path))).as_json())
        answer = await client.submit(_delivery(options, consent, documents))
        if options.wait:
            print(f"{answer['number']}: waiting for {options.wait}", file=sys.stderr)
            wanted = frozenset(LATER[options.wait])
            answer = await client.wait(str(answer["id"]), wanted | FINAL, WAIT_SECONDS)
        _print(answer, options.json)
        return 0 if not options.wait or answer["state"] in LATER[options.wait] else 1


async def _consent(client: QerdsClient, options: argparse.Namespace) -> str | None:
    if not options.record_consent:
        return str(options.consent) if options.consent else None
    text = f"{options.given_names} {options.birth_name} consents to registered deliveries at {options.to}"
    ref = options.consent or f"tried-{sha256(text.encode()).hexdigest()[:16]}"
    record = {
        "email": options.to,
        "given_names": options.given_names,
        "birth_name": options.birth_name,
        "obtained_at": datetime.now(UTC).isoformat(timespec="milliseconds"),  # noqa: TID251 - a person's own machine
        "method": "command_line",
        "text_sha256": sha256(text.encode()).hexdigest(),
    }
    try:
        await client.put_consent(ref, record)
    except ApiProblem as problem:
        if problem.status != 409:  # recorded before, with its own time: that one stands
            raise
    return str(ref)


def _delivery(options: argparse.Namespace, consent: str | None, documents: list[dict[str, str]]) -> dict[str, Any]:
    recipient = {
        "kind": options.kind,
        "email": options.to,
        "given_names": options.given_names,
        "birth_name": options.birth_name,
        "usage_name": options.usage_name,
        "birth_date": options.birth_date,
        "language": options.language,
    }
    body = {
        "recipient": {name: value for name, value in recipient.items() if value is not None},
        "subject": options.subject,
        "documents": documents,
        "consent_ref": consent,
        "client_ref": options.ref,
    }
    return {name: value for name, value in body.items() if value is not None}


def _content_type(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    number = str(answer["number"])
    print(f"number  {' '.join(number[i : i + 4] for i in range(0, len(number), 4))}")
    for name in ("id", "state", "client_ref", "submitted_at", "deposited_at", "notified_at", "last_day", "received_at"):
        if answer.get(name):
            print(f"{name.replace('_', ' '):<13} {answer[name]}")
    if reason := answer.get("reason"):
        print(f"reason        {reason['code']}: {reason['text']}")
