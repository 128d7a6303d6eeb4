"""Hold something back and let it go: a stage, a sender, a batch, or the intake of letters.

Owns     `pause [SCOPE --reason T]` and `resume SCOPE`
Rules    nothing is lost or refused for ever by a pause: messages wait, a paused sender and a closed intake get a clear
         no. What is under way when the pause comes is finished; a stage notices within about a second. Duties of the
         law go on: legal slack counts paused letters
Elsewhere: obeying it (adapters/postgres/mailbox.py, gateway/sender/oauth.py, stages/ingest.py)
"""

import argparse
from dataclasses import dataclass
from uuid import UUID

from pipeline.delivery.routes import DRAW, RECEIVER, STAGES
from pipeline.operate import command
from pipeline.operate.command import EXIT_NO, EXIT_USAGE, EXIT_YES, Operator, Questions, VerbRefused

INTAKE = "intake"
REASON_LENGTH_MAX = 500  # characters, as outbox.pause allows
HOW = "stage:NAME, sender:ID, batch:ID or intake"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is held back."""

    kind: str
    subject: str

    @property
    def text(self) -> str:
        return self.kind if self.kind == INTAKE else f"{self.kind}:{self.subject}"


def scope_of(text: str) -> Scope:
    """`stage:seal`, `sender:ID`, `batch:ID`, `intake`."""
    kind, _, subject = text.partition(":")
    if text == INTAKE:
        return Scope(INTAKE, "")
    if kind == "stage":
        if subject not in STAGES:
            raise VerbRefused(f"no stage {subject!r}; there are {', '.join(STAGES)}", EXIT_USAGE)
        return Scope(kind, subject)
    if kind not in ("sender", "batch"):
        raise VerbRefused(f"{text!r} is not {HOW}", EXIT_USAGE)
    try:
        return Scope(kind, str(UUID(subject)))
    except ValueError as error:
        raise VerbRefused(f"{subject!r} is not the id of a {kind}", EXIT_USAGE) from error


async def hold(database: Questions, scope: Scope, reason: str) -> bool:
    """Whether it was not held back before. Durable on return."""
    if not 0 < len(reason) <= REASON_LENGTH_MAX:
        raise VerbRefused(f"a reason has 1 to {REASON_LENGTH_MAX} characters", EXIT_USAGE)
    if scope.kind in ("sender", "batch"):
        rows = await database.fetch("operate_subject", scope.kind, UUID(scope.subject))
        if not rows[0]["is_known"]:
            raise VerbRefused(f"there is no {scope.kind} {scope.subject}", EXIT_NO)
    return bool(await database.fetch("operate_pause", scope.kind, scope.subject, reason))


async def _pause(operator: Operator) -> int:
    options = operator.options
    if options.scope is None:
        rows = await operator.database.fetch("operate_pauses")
        command.print_rows(rows, as_json=options.json, nothing="nothing is paused")
        return EXIT_YES
    scope = scope_of(options.scope)
    if options.reason is None:
        raise VerbRefused("--reason says why; who finds it paused will ask", EXIT_USAGE)
    is_new = await hold(operator.database, scope, options.reason)
    print(f"{scope.text} is paused" if is_new else f"{scope.text} was paused already; its reason stays")
    return EXIT_YES


async def _resume(operator: Operator) -> int:
    scope = scope_of(operator.options.scope)
    rows = await operator.database.fetch("operate_resume", scope.kind, scope.subject)
    if not rows:
        print(f"{scope.text} is not paused")
        return EXIT_NO
    await operator.database.fetch("ring", [scope.subject] if scope.kind == "stage" else [RECEIVER[DRAW]])
    print(f"{scope.text} goes on; it was paused since {rows[0]['since'].isoformat(timespec='seconds')}")
    return EXIT_YES


def pause(arguments: list[str]) -> int:
    """qerds pause [SCOPE --reason T]."""
    parser = command.parser("pause", "Hold something back; without SCOPE: what is held back now.")
    parser.add_argument("scope", nargs="?", metavar="SCOPE", help=HOW)
    parser.add_argument("--reason", metavar="T")
    return command.run(_pause, _options(parser, arguments))


def resume(arguments: list[str]) -> int:
    """qerds resume SCOPE."""
    parser = command.parser("resume", "Let something go on that was paused.")
    parser.add_argument("scope", metavar="SCOPE", help=HOW)
    return command.run(_resume, _options(parser, arguments))


def _options(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    command.add_options(parser)
    return parser.parse_args(arguments)
