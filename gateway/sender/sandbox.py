"""/v1/sandbox/clock: the demo clock, moved by a sender's program, so that it sees fifteen days pass in a second.

Owns     reading how far; these routes exist where the ports have a sandbox, that is in an embedded installation
Rules    forward only and bounded by what its keys live, as `qerds clock advance`. The clock is that of the whole
         installation, because a sandbox is an installation of its own. Asked twice, it moves twice
Elsewhere: people who decide by themselves (deploy/local/recipients.py)
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import Address, Row, read_body
from gateway.limits import JSON_BYTES_MAX, REQUEST_SECONDS
from gateway.problems import field_problem, problem_of
from gateway.sender.json_body import declared_json_object
from gateway.sender.oauth import SUBMITTING, OAuth
from gateway.sender.ports import SenderPorts
from pipeline.formats.instants import time_text
from pipeline.intake.mistakes import Mistake
from pipeline.intake.period import AHEAD_MAX, clock_bound, period
from pipeline.intake.reading import Fields
from pipeline.stores.senders import SandboxClock

WHAT = f"a period such as P16D or PT90M, at most {AHEAD_MAX.days} days"


class Sandbox:
    """What only a sandbox has."""

    def __init__(self, clock: SandboxClock, oauth: OAuth) -> None:
        self._clock = clock
        self._oauth = oauth

    async def advance(self, request: Request) -> Response:
        """POST: 200, the new time of the law."""
        await self._oauth.authorise(request, SUBMITTING)
        mistakes: list[Mistake] = []
        fields = Fields(declared_json_object(request, await read_body(request)), mistakes)
        span = fields.parsed("advance", period, WHAT)
        fields.end()
        if span is None or mistakes:
            raise problem_of(mistakes)
        moved, end = await self._clock.advance(span), await self._clock.end()
        if moved is None:
            raise field_problem("field_invalid", "/advance", clock_bound(end))
        return JSONResponse({"legal_time": time_text(moved), "until": time_text(end)})


def routes(ports: SenderPorts, oauth: OAuth) -> list[Row]:
    """None where there is no sandbox: the address is then like any other that is not there."""
    if ports.sandbox is None:
        return []
    return [
        Address("POST", "/v1/sandbox/clock", Sandbox(ports.sandbox, oauth).advance, REQUEST_SECONDS, JSON_BYTES_MAX)
    ]
