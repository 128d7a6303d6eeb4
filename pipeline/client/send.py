"""`qerds send`: upload files, send them as one registered letter, and if asked wait for a state."""

import argparse
import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.client.answers import Delivery
from pipeline.client.api import QerdsClient
from pipeline.client.credentials import Credentials
from pipeline.client.terminal import EXIT_NO, EXIT_USAGE, EXIT_YES, Speaker

WAIT_SECONDS = 120.0
# Which states mean that a letter has come at least as far. What ended elsewhere never will.
AFTER_DEPOSIT = ("notified", "notice_failed", "accepted", "refused", "unclaimed", "received", "uncollected")
REACHED: dict[str, tuple[str, ...]] = {
    "deposited": ("deposited", *AFTER_DEPOSIT),
    "rejected": ("rejected",),
    "notified": ("notified", "accepted", "refused", "unclaimed", "received", "uncollected"),
    "notice_failed": ("notice_failed",),
    "accepted": ("accepted", "received", "uncollected"),
    "refused": ("refused",),
    "unclaimed": ("unclaimed",),
    "received": ("received",),
    "uncollected": ("uncollected",),
}
FINAL = ("rejected", "notice_failed", "refused", "unclaimed", "received", "uncollected")
DEMO_CONSENT_TEXT = "I agree to receive registered letters in electronic form from this sender."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `send` takes."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="pdf, png, jpg or txt; 1 to 20")
    parser.add_argument("--to", required=True, metavar="EMAIL")
    parser.add_argument("--kind", required=True, choices=("consumer", "professional"))
    parser.add_argument("--given-names", required=True)
    parser.add_argument("--birth-name", required=True)
    parser.add_argument("--birth-date", metavar="YYYY-MM-DD")
    parser.add_argument("--usage-name")
    parser.add_argument("--consent", metavar="REF", help="a recorded consent; a consumer needs one")
    parser.add_argument("--record-consent", action="store_true", help="embedded installation: record a demo consent")
    parser.add_argument("--subject", help="shown after acceptance; the first file's name if not given")
    parser.add_argument("--ref", help="your reference; the same letter under it is sent once")
    parser.add_argument("--language", choices=("fr", "en"), default="fr", help="of the notice")
    parser.add_argument("--wait", choices=tuple(REACHED), metavar="STATE", help=", ".join(REACHED))
    parser.add_argument("--wait-seconds", type=float, default=WAIT_SECONDS)


async def run(client: QerdsClient, options: argparse.Namespace, whom: Credentials, speaker: Speaker) -> int:
    """The exit status."""
    if wrong := _usage_mistake(options, whom):
        speaker.progress(wrong)
        return EXIT_USAGE
    consent = options.consent
    if options.record_consent:
        consent = await _record_consent(client, options)
        speaker.progress(f"recorded the demo consent {consent}")
    documents = []
    for path in options.files:
        uploaded = await client.upload(path)
        documents.append({"upload_id": uploaded.id, "file_name": uploaded.file_name, "sha256": uploaded.sha256})
        speaker.progress(f"uploaded {uploaded.file_name} (SHA-256 {uploaded.sha256})")
    sent = await client.submit(letter(options, consent, documents))
    again = " (was there already)" if sent.body.get("replayed") else ""
    speaker.progress(f"sent: number {sent.number}{again}")
    status = EXIT_YES
    if options.wait:
        states = REACHED[options.wait]
        sent = await client.wait_for(sent.id, _come_to_rest(states), options.wait_seconds)
        status = EXIT_YES if sent.state in states else EXIT_NO
    speaker.answer(sent.body, _lines(sent))
    return status


def letter(options: argparse.Namespace, consent: str | None, documents: list[dict[str, str]]) -> dict[str, Any]:
    """The body of POST /v1/deliveries; what was not given is left out."""
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
        "client_ref": options.ref,
        "recipient": {name: value for name, value in recipient.items() if value is not None},
        "consent_ref": consent,
        "subject": options.subject or options.files[0].name,
        "documents": documents,
    }
    return {name: value for name, value in body.items() if value is not None}


def _usage_mistake(options: argparse.Namespace, whom: Credentials) -> str | None:
    missing = [str(path) for path in options.files if not path.is_file()]
    if missing:
        return f"no such file: {', '.join(missing)}"
    if options.record_consent and (options.consent or not whom.is_demo):
        return "--record-consent is for an embedded installation, and instead of --consent"
    if options.kind == "consumer" and not options.consent and not options.record_consent:
        return (
            "a consumer receives registered letters electronically only after agreeing to it: name the recorded "
            "consent with --consent REF (in an embedded installation --record-consent records one for the demo)"
        )
    return None


async def _record_consent(client: QerdsClient, options: argparse.Namespace) -> str:
    """A consent made up for the demo; a real one is recorded by whoever obtained it."""
    ref = f"demo-{secrets.token_hex(8)}"
    await client.put_consent(
        ref,
        {
            "email": options.to,
            "given_names": options.given_names,
            "birth_name": options.birth_name,
            "obtained_at": (await client.service_time()).isoformat(),
            "method": "demo",
            "text_sha256": hashlib.sha256(DEMO_CONSENT_TEXT.encode()).hexdigest(),
        },
    )
    return ref


def _come_to_rest(states: tuple[str, ...]) -> Callable[[Delivery], bool]:
    return lambda delivery: delivery.state in states or delivery.state in FINAL


def _lines(sent: Delivery) -> list[str]:
    lines = [f"number  {sent.number}", f"id      {sent.id}", f"state   {sent.state}"]
    if reason := sent.body.get("reason"):
        lines.append(f"reason  {reason['code']}: {reason['text']}")
    return lines
